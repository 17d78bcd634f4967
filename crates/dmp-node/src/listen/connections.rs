//! Which TCP connections are open: bounded in total and by prefix, idle ones give way (node.md 2.8).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::limits::{PREFIX_BITS, TCP_PER_PREFIX};

/// The addresses that count as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Prefix(IpAddr);

impl Prefix {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(ip) => {
                IpAddr::V4((u32::from(ip) & (u32::MAX << (32 - PREFIX_BITS.0))).into())
            }
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(
                u128::from(ip) & (u128::MAX << (128 - PREFIX_BITS.1)),
            )),
        })
    }
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    start: Instant,
    open: Mutex<HashMap<u64, Arc<State>>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct State {
    prefix: Prefix,
    /// Milliseconds since the start of the listener at which it last read or wrote a message.
    active_at: AtomicU64,
    /// Requests in work.
    busy: AtomicUsize,
    evicted: Notify,
}

/// One open connection; closed in the books when dropped.
#[derive(Debug)]
pub(super) struct Connection {
    id: u64,
    state: Arc<State>,
    all: Arc<Connections>,
}

/// One request in work on a connection.
#[derive(Debug)]
pub(super) struct Busy(Arc<State>);

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            start: Instant::now(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// Admits a connection from `prefix`. When all places are taken the one idle for longest is told to close and its
    /// place given away, so that holding idle connections locks nobody out. `None`: all are busy, or the prefix has
    /// its share.
    pub(super) fn admit(self: &Arc<Self>, prefix: Prefix) -> Option<Connection> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_prefix = open.iter().filter(|(_, state)| state.prefix == prefix);
        let own = of_prefix.clone().count();
        let victim = if own >= TCP_PER_PREFIX {
            Some(longest_idle(of_prefix)?)
        } else if open.len() >= self.most {
            Some(longest_idle(open.iter())?)
        } else {
            None
        };
        if let Some(state) = victim.and_then(|id| open.remove(&id)) {
            state.evicted.notify_one();
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State {
            prefix,
            active_at: AtomicU64::new(self.millis()),
            busy: AtomicUsize::new(0),
            evicted: Notify::new(),
        });
        open.insert(id, Arc::clone(&state));
        Some(Connection {
            id,
            state,
            all: Arc::clone(self),
        })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Connection {
    /// Notes a complete request; the connection is not idle while what this gives is kept.
    pub(super) fn begin_request(&self) -> Busy {
        self.state
            .active_at
            .store(self.all.millis(), Ordering::Relaxed);
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.state))
    }

    /// Waits until the connection is told to make room.
    pub(super) async fn evicted(&self) {
        self.state.evicted.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

fn longest_idle<'a>(open: impl Iterator<Item = (&'a u64, &'a Arc<State>)>) -> Option<u64> {
    open.filter(|(_, state)| state.busy.load(Ordering::Relaxed) == 0)
        .min_by_key(|(_, state)| state.active_at.load(Ordering::Relaxed))
        .map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(third: u8) -> Prefix {
        Prefix::of(IpAddr::from([192, 0, third, 77]))
    }

    #[test]
    fn addresses_of_one_prefix_count_as_one_client() {
        assert_eq!(prefix(2), Prefix::of("::ffff:192.0.2.9".parse().unwrap()));
        assert_ne!(prefix(2), prefix(3));
        let of = |text: &str| Prefix::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:11::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("2001:db8:0:100::1"), of("2001:db8:0:200::1"));
    }

    #[tokio::test]
    async fn at_the_cap_the_longest_idle_connection_gives_way_and_a_busy_one_never() {
        let all = Connections::new(2);
        let first = all.admit(prefix(1)).unwrap();
        let second = all.admit(prefix(2)).unwrap();
        let busy = first.begin_request();
        let third = all.admit(prefix(3)).unwrap();
        second.evicted().await;
        let _also_busy = third.begin_request();
        assert!(all.admit(prefix(4)).is_none());
        drop(busy);
        assert!(all.admit(prefix(4)).is_some());
        first.evicted().await;
        drop((first, second));
        assert_eq!(all.count(), 1);
    }

    #[test]
    fn one_prefix_cannot_take_every_place() {
        let all = Connections::new(10_000);
        let held: Vec<_> = (0..TCP_PER_PREFIX)
            .map(|_| all.admit(prefix(1)).unwrap())
            .collect();
        let busy: Vec<_> = held.iter().map(Connection::begin_request).collect();
        assert!(all.admit(prefix(1)).is_none());
        assert!(all.admit(prefix(2)).is_some());
        drop(busy);
        assert!(
            all.admit(prefix(1)).is_some(),
            "an idle one of the same prefix gives way"
        );
    }
}
