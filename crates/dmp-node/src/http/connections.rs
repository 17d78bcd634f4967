//! The places for connections: a fixed number, of which nobody can keep the others out by holding theirs idle (W-7).
//!
//! At the bound a newcomer takes the place of an idle connection of the client that holds most; it is turned away if it
//! holds more than everybody with an idle one.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    limit: AtomicUsize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    places: HashMap<u64, Holder>,
    next: u64,
}

#[derive(Debug)]
struct Holder {
    peer: IpAddr,
    /// `None` while a request is in progress.
    idle_since: Option<Instant>,
    evicted: Arc<Notify>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicUsize::new(limit),
            open: Mutex::default(),
        })
    }

    /// Another number of places from now on. Who has a place keeps it.
    pub(super) fn configure(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A place for a connection from `peer`, or `None` if it has to be closed.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut open = self.lock();
        if open.places.len() >= self.limit.load(Ordering::Relaxed) {
            let victim = open.idlest_of_the_greediest(peer)?;
            let victim = open.places.remove(&victim)?;
            victim.evicted.notify_one();
        }
        let number = open.next;
        open.next += 1;
        let evicted = Arc::new(Notify::new());
        let holder = Holder {
            peer,
            idle_since: Some(Instant::now()),
            evicted: Arc::clone(&evicted),
        };
        open.places.insert(number, holder);
        Some(Place {
            connections: Arc::clone(self),
            number,
            evicted,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn idlest_of_the_greediest(&self, newcomer: IpAddr) -> Option<u64> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for holder in self.places.values() {
            *held.entry(holder.peer).or_default() += 1;
        }
        let holds = |peer: &IpAddr| held.get(peer).copied().unwrap_or(0);
        let idle = self.places.iter();
        let idle =
            idle.filter_map(|(number, holder)| Some((number, holder.peer, holder.idle_since?)));
        let (victim, peer, _) =
            idle.max_by_key(|(_, peer, since)| (holds(peer), Reverse(*since)))?;
        (holds(&peer) >= holds(&newcomer)).then_some(*victim)
    }
}

impl Place {
    /// Resolves when the place was given to somebody else.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Says that a request is in progress, until the returned value is dropped.
    pub(super) fn occupy(&self) -> Occupied<'_> {
        self.set_idle(None);
        Occupied(self)
    }

    fn set_idle(&self, since: Option<Instant>) {
        if let Some(holder) = self.connections.lock().places.get_mut(&self.number) {
            holder.idle_since = since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().places.remove(&self.number);
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct Occupied<'a>(&'a Place);

impl Drop for Occupied<'_> {
    fn drop(&mut self) {
        self.0.set_idle(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    async fn is_evicted(place: &Place) -> bool {
        let now = std::time::Duration::ZERO;
        tokio::time::timeout(now, place.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_an_idle_connection_of_the_greediest() {
        let connections = Connections::new(3);
        let modest = connections.admit(peer(1)).unwrap();
        let greedy = [
            connections.admit(peer(2)).unwrap(),
            connections.admit(peer(2)).unwrap(),
        ];
        let newcomer = connections.admit(peer(3)).unwrap();
        assert!(is_evicted(&greedy[0]).await, "the longest idle one goes");
        assert!(!is_evicted(&greedy[1]).await && !is_evicted(&modest).await);
        assert!(!is_evicted(&newcomer).await);
    }

    #[tokio::test]
    async fn a_request_in_progress_is_never_cut() {
        let connections = Connections::new(1);
        let place = connections.admit(peer(1)).unwrap();
        let occupied = place.occupy();
        assert!(connections.admit(peer(2)).is_none());
        drop(occupied);
        assert!(connections.admit(peer(2)).is_some());
        assert!(is_evicted(&place).await);
    }

    #[tokio::test]
    async fn the_greediest_displaces_only_itself() {
        let connections = Connections::new(3);
        let modest = connections.admit(peer(1)).unwrap();
        let greedy = [
            connections.admit(peer(2)).unwrap(),
            connections.admit(peer(2)).unwrap(),
        ];
        let _third = connections.admit(peer(2)).unwrap();
        assert!(is_evicted(&greedy[0]).await && !is_evicted(&modest).await);
        let busy = [greedy[1].occupy(), _third.occupy()];
        assert!(
            connections.admit(peer(2)).is_none(),
            "the modest one keeps its place"
        );
        drop(busy);
    }

    #[tokio::test]
    async fn places_are_given_back() {
        let connections = Connections::new(1);
        drop(connections.admit(peer(1)).unwrap());
        let place = connections.admit(peer(2)).unwrap();
        assert!(!is_evicted(&place).await);
        assert_eq!(connections.lock().places.len(), 1);
    }
}
