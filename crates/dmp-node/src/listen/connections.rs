//! Which TCP connections are open: bounded in total and by prefix, idle ones give way (node.md 2.8).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::prefix::Prefix;
use crate::limits::TCP_IDLE;

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: AtomicUsize,
    most_per_prefix: AtomicUsize,
    start: Instant,
    open: Mutex<Open>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    states: HashMap<u64, Arc<State>>,
    per_prefix: HashMap<Prefix, usize>,
}

#[derive(Debug)]
struct State {
    prefix: Prefix,
    /// Microseconds since the start of the listener at which it was accepted or a request was complete.
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
    pub(super) fn new(most: usize, most_per_prefix: usize) -> Arc<Self> {
        Arc::new(Self {
            most: AtomicUsize::new(most),
            most_per_prefix: AtomicUsize::new(most_per_prefix),
            start: Instant::now(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// Other bounds from now on. Who is connected stays connected.
    pub(super) fn configure(&self, most: usize, most_per_prefix: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.most_per_prefix
            .store(most_per_prefix, Ordering::Relaxed);
    }

    /// Admits a connection from `prefix`. When all places are taken the one idle for longest is told to close and its
    /// place given away, so that holding idle connections locks nobody out. `None`: all are busy, or the prefix has
    /// its share.
    pub(super) fn admit(self: &Arc<Self>, prefix: Prefix) -> Option<Connection> {
        let mut open = self.open();
        let own = open.per_prefix.get(&prefix).copied().unwrap_or(0);
        if own >= self.most_per_prefix.load(Ordering::Relaxed) {
            open.evict(|state| state.prefix == prefix)?;
        } else if open.states.len() >= self.most.load(Ordering::Relaxed) {
            open.evict(|_| true)?;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State {
            prefix,
            active_at: AtomicU64::new(self.micros()),
            busy: AtomicUsize::new(0),
            evicted: Notify::new(),
        });
        open.states.insert(id, Arc::clone(&state));
        *open.per_prefix.entry(prefix).or_default() += 1;
        Some(Connection {
            id,
            state,
            all: Arc::clone(self),
        })
    }

    /// Tells the connection idle for longest to close, because the system has no descriptor for another.
    pub(super) fn make_room(&self) {
        let _ = self.open().evict(|_| true);
    }

    /// How long a connection may be silent now: less the more places are taken (RFC 7766 6.2.3).
    pub(super) fn idle_limit(&self) -> Duration {
        let (longest, shortest) = TCP_IDLE;
        let most = self.most.load(Ordering::Relaxed);
        let taken = self.count().min(most) as f64 / most.max(1) as f64;
        longest - (longest - shortest).mul_f64(taken)
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open().states.len()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Open {
    /// Closes the books on the connection idle for longest among those, and tells it. `None`: there is no idle one.
    fn evict(&mut self, among: impl Fn(&State) -> bool) -> Option<()> {
        let idle = self
            .states
            .iter()
            .filter(|(_, state)| among(state) && state.busy.load(Ordering::Relaxed) == 0);
        let (&id, _) = idle.min_by_key(|(_, state)| state.active_at.load(Ordering::Relaxed))?;
        self.remove(id)?.evicted.notify_one();
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Arc<State>> {
        let state = self.states.remove(&id)?;
        if let Some(count) = self.per_prefix.get_mut(&state.prefix) {
            *count -= 1;
            if *count == 0 {
                self.per_prefix.remove(&state.prefix);
            }
        }
        Some(state)
    }
}

impl Connection {
    /// Notes a complete request; the connection is not idle while what this gives is kept.
    pub(super) fn begin_request(&self) -> Busy {
        self.state
            .active_at
            .store(self.all.micros(), Ordering::Relaxed);
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
        self.all.open().remove(self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::prefix::mapped;
    use super::*;
    use crate::settings::PrefixLengths;

    fn prefix(third: u8) -> Prefix {
        Prefix::of(mapped([192, 0, third, 77].into()), PrefixLengths::default())
    }

    #[tokio::test]
    async fn at_the_cap_the_longest_idle_connection_gives_way_and_a_busy_one_never() {
        let all = Connections::new(2, 2);
        let first = all.admit(prefix(1)).unwrap();
        let second = all.admit(prefix(2)).unwrap();
        let busy = first.begin_request();
        let third = all.admit(prefix(3)).unwrap();
        second.evicted().await;
        let _also_busy = third.begin_request();
        assert!(all.admit(prefix(4)).is_none());
        drop(busy);
        let fourth = all.admit(prefix(4)).unwrap();
        first.evicted().await;
        drop((first, second, fourth));
        assert_eq!(all.count(), 1);
        assert_eq!(all.open().per_prefix.len(), 1, "the books agree");
    }

    #[tokio::test]
    async fn one_prefix_cannot_take_every_place() {
        let all = Connections::new(10_000, 3);
        let held: Vec<_> = (0..3).map(|_| all.admit(prefix(1)).unwrap()).collect();
        let mut busy: Vec<_> = held.iter().map(Connection::begin_request).collect();
        assert!(all.admit(prefix(1)).is_none());
        let _other = all.admit(prefix(2)).unwrap();
        busy.pop();
        let _fresh = all.admit(prefix(1)).unwrap();
        held[2].evicted().await;
        assert_eq!(all.count(), 4, "an idle one of the same prefix gave way");
    }

    #[tokio::test]
    async fn other_bounds_hold_for_the_next_connection() {
        let all = Connections::new(4, 4);
        let held = [1, 2].map(|third| all.admit(prefix(third)).unwrap());
        let _busy = held.each_ref().map(Connection::begin_request);
        all.configure(2, 4);
        assert!(all.admit(prefix(3)).is_none());
        all.configure(9, 1);
        assert!(all.admit(prefix(1)).is_none());
        assert!(all.admit(prefix(3)).is_some());
    }

    #[test]
    fn the_more_places_are_taken_the_sooner_an_idle_connection_is_closed() {
        let all = Connections::new(4, 4);
        let mut held = Vec::new();
        let mut limits = vec![all.idle_limit()];
        for third in 0..4 {
            held.push(all.admit(prefix(third)).unwrap());
            limits.push(all.idle_limit());
        }
        let seconds: Vec<f64> = limits.iter().map(Duration::as_secs_f64).collect();
        assert_eq!(seconds, [30.0, 23.75, 17.5, 11.25, 5.0]);
    }

    #[tokio::test]
    async fn without_descriptors_an_idle_connection_is_closed() {
        let all = Connections::new(4, 4);
        all.make_room();
        let held = all.admit(prefix(1)).unwrap();
        all.make_room();
        held.evicted().await;
        assert_eq!(all.count(), 0);
    }
}
