//! The nodes that this one has heard of, each by its newest heartbeat (federation.md 2.9). A value: it asks nobody and keeps no file.
//!
//! Keys cost nothing, so a bound alone would let whoever invents most push out everybody else. A node that its own zone speaks for
//! is confirmed and counts for the network of that zone; all else is hearsay and counts for whoever told it, or for the network that
//! it speaks of if that is known. Where room is short the
//! network that takes most of it loses first, and hearsay before what is confirmed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::record::heartbeat::{Heartbeat, Skew};

use super::fair::{fairly, network};
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
    /// How it came to be known.
    pub origin: Origin,
    /// Order of reception, where seconds are equal.
    turn: u64,
}

/// How a node came to be known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The zone that told of it first.
    pub told_by: Option<Owner>,
    /// When the zone that it signs last published a heartbeat of it, seconds.
    pub confirmed_at: Option<u64>,
}

/// Which of the two names of a zone a heartbeat was found at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// `_dnsmesh-heartbeat`: the zone speaks of its own nodes.
    Own,
    /// `_dnsmesh-seen`: it speaks of others.
    PassedOn,
}

impl Peer {
    /// The zone that answers for this node: the one it signs, else the host of its endpoint. Always the signed one, however old
    /// the heartbeat is (W12).
    pub fn zone(&self) -> Option<Owner> {
        signed_zone(&self.heartbeat)
    }

    /// Whether its own zone has spoken of it.
    pub fn is_confirmed(&self) -> bool {
        self.origin.confirmed_at.is_some()
    }

    /// When it was signed; a clock that is ahead gains nothing by it (W13).
    fn heard(&self, now: u64) -> u64 {
        self.heartbeat.ts.as_secs().min(now)
    }
}

/// All of them, at most a fixed number.
#[derive(Clone, Debug)]
pub struct Seen {
    peers: BTreeMap<PeerKey, Peer>,
    /// Whose text that is: what comes again word for word is not verified again.
    texts: HashMap<String, PeerKey>,
    /// Networks with confirmed nodes, and how many.
    confirmed: HashMap<Owner, usize>,
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
            texts: HashMap::new(),
            confirmed: HashMap::new(),
            most,
            turn: 0,
            changed: BTreeSet::new(),
        }
    }

    /// Offers a text from nowhere in particular. Whether it verifies; an older one than is known leaves what is known.
    pub fn accept(&mut self, wire: &str, now: u64) -> bool {
        let Ok(heartbeat) = Heartbeat::parse(wire, Skew::INGEST, UnixTime::new(now)) else {
            return false;
        };
        self.expire(now);
        self.take(heartbeat.into_inner(), wire, Origin::default(), now);
        self.trim();
        true
    }

    /// Offers a text that a zone publishes. Whether it verifies and is not signed by `own`; what a zone says of its own nodes has to be
    /// fresh. The bound holds after [`Seen::trim`].
    pub fn hear(
        &mut self,
        wire: &str,
        from: &Owner,
        feed: Feed,
        own: &SigningPublicKey,
        now: u64,
    ) -> bool {
        let at = UnixTime::new(now);
        let skew = match feed {
            Feed::Own => Skew::INGEST,
            Feed::PassedOn => Skew::PassedOn, // W12
        };
        let known = self.texts.get(wire).and_then(|key| self.peers.get(key));
        let heartbeat = match known {
            Some(peer) => {
                let heartbeat = peer.heartbeat.clone();
                heartbeat.check_times(skew, at).map(|()| heartbeat)
            }
            None => {
                let heartbeat = Heartbeat::parse(wire, skew, at);
                heartbeat.map(|heartbeat| heartbeat.into_inner())
            }
        };
        let Ok(heartbeat) = heartbeat else {
            return false;
        };
        if heartbeat.operator == *own {
            return false;
        }
        let is_own = feed == Feed::Own && signed_zone(&heartbeat).as_ref() == Some(from);
        let origin = Origin {
            told_by: Some(from.clone()),
            confirmed_at: is_own.then_some(now),
        };
        self.take(heartbeat, wire, origin, now);
        true
    }

    /// Takes back what was stored before a restart, of any age.
    pub fn restore(&mut self, wire: &str, received_at: u64, origin: Origin, now: u64) {
        if let Ok(heartbeat) = Heartbeat::parse(wire, Skew::Unlimited, UnixTime::new(now)) {
            self.take(heartbeat.into_inner(), wire, origin, received_at);
            self.trim();
        }
    }

    /// The live ones, newest heartbeat first, at most `limit`.
    pub fn list(&self, now: u64, limit: usize) -> Vec<&Peer> {
        let live = self.peers.values();
        let mut live: Vec<&Peer> = live.filter(|peer| is_live(peer, now)).collect();
        let age = |peer: &&Peer| Reverse((peer.heard(now), peer.heartbeat.ts, peer.turn));
        live.sort_by_key(age);
        live.truncate(limit);
        live
    }

    /// The live ones that are worth telling of, at most `limit`: confirmed before hearsay, so that nobody vouches for what somebody
    /// made up, fresh before old, and of each kind no network before every other had its turn; `most_of_one` of one network at most.
    /// `fresh` is the age in seconds up to which every reader believes a heartbeat.
    pub fn pick(&self, now: u64, fresh: u64, most_of_one: usize, limit: usize) -> Vec<&Peer> {
        let kind = |peer: &Peer| (peer.is_confirmed(), now - peer.heard(now) <= fresh);
        let live = self.list(now, usize::MAX);
        let kinds = [(true, true), (true, false), (false, true), (false, false)];
        let picked = kinds.into_iter().flat_map(|wanted| {
            let peers = live.iter().copied().filter(|peer| kind(peer) == wanted);
            fairly(peers.collect(), |peer| self.group(peer))
        });
        let mut taken: HashMap<Option<Owner>, usize> = HashMap::new();
        let picked = picked.filter(|peer| {
            let group = self.group(peer);
            let is_known = group.is_some();
            let count = taken.entry(group).or_default();
            *count += 1;
            *count <= most_of_one || !is_known
        });
        picked.take(limit).collect()
    }

    /// The zones of [`Seen::list`], each once.
    pub fn zones(&self, now: u64, limit: usize) -> Vec<Owner> {
        let mut known = HashSet::new();
        let zones = self.list(now, limit).into_iter().filter_map(Peer::zone);
        zones.filter(|zone| known.insert(zone.clone())).collect()
    }

    /// Whether a node whose zone belongs to this network has been found there.
    pub(super) fn is_confirmed(&self, network: &Owner) -> bool {
        self.confirmed.contains_key(network)
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

    /// Forgets those who are too many: of the network that has most, by its own zones and by its word, hearsay first and then whoever
    /// was heard of longest ago.
    pub fn trim(&mut self) {
        let excess = self.peers.len().saturating_sub(self.most);
        if excess == 0 {
            return;
        }
        // Who goes first stands last.
        let mut groups: BTreeMap<Option<Owner>, Vec<_>> = BTreeMap::new();
        for (key, peer) in &self.peers {
            let members = groups.entry(self.group(peer)).or_default();
            let order = (peer.is_confirmed(), peer.received_at, peer.turn);
            members.push(Reverse((order, key.clone())));
        }
        groups.values_mut().for_each(|members| members.sort());
        for _ in 0..excess {
            let heaviest = groups.values_mut().max_by_key(|members| members.len());
            if let Some(Reverse((_, key))) = heaviest.and_then(Vec::pop) {
                self.remove(&key);
            }
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

    fn take(&mut self, heartbeat: Heartbeat, wire: &str, origin: Origin, received_at: u64) {
        let key = (heartbeat.operator, heartbeat.endpoint.as_str().to_owned());
        let known = self.peers.get(&key);
        if known.is_some_and(|known| known.heartbeat.ts > heartbeat.ts) {
            return;
        }
        let origin = match known {
            // A node that has moved is not confirmed where it is now.
            Some(known) if signed_zone(&known.heartbeat) == signed_zone(&heartbeat) => Origin {
                told_by: known.origin.told_by.clone().or(origin.told_by),
                confirmed_at: origin.confirmed_at.or(known.origin.confirmed_at),
            },
            _ => origin,
        };
        self.turn += 1;
        let peer = Peer {
            heartbeat,
            wire: wire.to_owned(),
            received_at,
            origin,
            turn: self.turn,
        };
        self.forget(&key);
        if let Some(network) = confirmed_network(&peer) {
            *self.confirmed.entry(network).or_default() += 1;
        }
        self.texts.insert(peer.wire.clone(), key.clone());
        self.peers.insert(key.clone(), peer);
        self.changed.insert(key);
    }

    fn remove(&mut self, key: &PeerKey) {
        self.forget(key);
        self.changed.insert(key.clone());
    }

    fn forget(&mut self, key: &PeerKey) {
        let Some(peer) = self.peers.remove(key) else {
            return;
        };
        self.texts.remove(&peer.wire);
        if let Some(network) = confirmed_network(&peer)
            && let Some(count) = self.confirmed.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.confirmed.remove(&network);
            }
        }
    }

    /// The network that a node's place counts for: its own if anything was ever found there, else that of whoever told of it.
    fn group(&self, peer: &Peer) -> Option<Owner> {
        let own = peer.zone().map(|zone| network(&zone));
        own.filter(|network| self.is_confirmed(network))
            .or_else(|| peer.origin.told_by.as_ref().map(network))
    }
}

fn confirmed_network(peer: &Peer) -> Option<Owner> {
    let zone = peer.is_confirmed().then(|| peer.zone()).flatten()?;
    Some(network(&zone))
}

fn signed_zone(heartbeat: &Heartbeat) -> Option<Owner> {
    match heartbeat.claim_provider_zone.as_deref().map(str::trim) {
        Some(zone) if !zone.is_empty() => seed_zone(zone),
        _ => seed_zone(heartbeat.endpoint.as_str()),
    }
}

fn is_live(peer: &Peer, now: u64) -> bool {
    peer.heartbeat.exp.as_secs() > now
}
