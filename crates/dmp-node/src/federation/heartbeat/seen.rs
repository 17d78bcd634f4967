//! The nodes that this one has heard of, each by its newest heartbeat (federation.md 2.9). A value: it asks nobody and keeps no file.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::record::heartbeat::{Heartbeat, Skew};

use crate::federation::seed_zone;
use crate::zone::Owner;

/// Who a heartbeat tells about: its signer and where it says to be.
pub type PeerKey = (SigningPublicKey, String);

/// One node as it was last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it says, verified.
    pub heartbeat: Heartbeat,
    /// The text as received.
    pub wire: String,
    /// When this node took it, seconds.
    pub received_at: u64,
    /// Order of reception, where seconds are equal.
    turn: u64,
}

impl Peer {
    /// The zone that answers for this node: the one it signs, else the host of its endpoint. Always the signed one, however old
    /// the heartbeat is (W12).
    pub fn zone(&self) -> Option<Owner> {
        let heartbeat = &self.heartbeat;
        match heartbeat.claim_provider_zone.as_deref().map(str::trim) {
            Some(zone) if !zone.is_empty() => seed_zone(zone),
            _ => seed_zone(heartbeat.endpoint.as_str()),
        }
    }
}

/// All of them, at most a fixed number.
#[derive(Clone, Debug)]
pub struct Seen {
    peers: BTreeMap<PeerKey, Peer>,
    most: usize,
    turn: u64,
    changed: BTreeSet<PeerKey>,
}

/// What became of a peer since changes were last taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new, or was heard of again.
    Heard(Peer),
    /// It went.
    Gone(PeerKey),
}

impl Seen {
    /// Nobody yet.
    pub fn new(most: usize) -> Self {
        Self {
            peers: BTreeMap::new(),
            most,
            turn: 0,
            changed: BTreeSet::new(),
        }
    }

    /// Offers a text from the DNS. Whether it verifies; an older one than is known leaves what is known.
    pub fn accept(&mut self, wire: &str, now: u64) -> bool {
        let at = UnixTime::new(now);
        let Ok(heartbeat) = Heartbeat::parse(wire, Skew::INGEST, at) else {
            return false;
        };
        self.take(heartbeat.into_inner(), wire, now);
        true
    }

    /// Takes back what was stored before a restart: as [`Seen::accept`], but of any age.
    pub fn restore(&mut self, wire: &str, received_at: u64, now: u64) {
        if let Ok(heartbeat) = Heartbeat::parse(wire, Skew::Unlimited, UnixTime::new(now)) {
            self.take(heartbeat.into_inner(), wire, received_at);
        }
    }

    /// The live ones, newest heartbeat first, at most `limit`.
    pub fn list(&self, now: u64, limit: usize) -> Vec<&Peer> {
        let live = self.peers.values();
        let mut live: Vec<&Peer> = live.filter(|peer| is_live(peer, now)).collect();
        live.sort_by_key(|peer| std::cmp::Reverse((peer.heartbeat.ts, peer.turn)));
        live.truncate(limit);
        live
    }

    /// The zones of [`Seen::list`], each once.
    pub fn zones(&self, now: u64, limit: usize) -> Vec<Owner> {
        let mut known = HashSet::new();
        let zones = self.list(now, limit).into_iter().filter_map(Peer::zone);
        zones.filter(|zone| known.insert(zone.clone())).collect()
    }

    /// Forgets those whose heartbeat has expired.
    pub fn expire(&mut self, now: u64) {
        let dead: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| !is_live(peer, now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in dead {
            self.remove(&key);
        }
    }

    /// What has changed since this was last asked.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        let change = |key: PeerKey| match self.peers.get(&key) {
            Some(peer) => Change::Heard(peer.clone()),
            None => Change::Gone(key),
        };
        changed.into_iter().map(change).collect()
    }

    fn take(&mut self, heartbeat: Heartbeat, wire: &str, received_at: u64) {
        self.expire(received_at);
        let key = (heartbeat.operator, heartbeat.endpoint.as_str().to_owned());
        if self
            .peers
            .get(&key)
            .is_some_and(|known| known.heartbeat.ts > heartbeat.ts)
        {
            return;
        }
        self.turn += 1;
        let peer = Peer {
            heartbeat,
            wire: wire.to_owned(),
            received_at,
            turn: self.turn,
        };
        self.peers.insert(key.clone(), peer);
        self.changed.insert(key);
        while self.peers.len() > self.most {
            let oldest = self.peers.iter();
            let oldest = oldest.min_by_key(|(_, peer)| (peer.received_at, peer.turn));
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &PeerKey) {
        self.peers.remove(key);
        self.changed.insert(key.clone());
    }
}

fn is_live(peer: &Peer, now: u64) -> bool {
    peer.heartbeat.exp.as_secs() > now
}
