//! One round of the heartbeat: tell who this node is, ask others who they are, pass on what they say (federation.md 2.7, 2.10).
//!
//! It opens no socket and reads no clock, so that a thousand nodes can be simulated in one process.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::keys::{OperatorKey, SigningPublicKey};
use dmp_core::record::heartbeat::{Heartbeat, Skew};
use futures_util::StreamExt;
use futures_util::stream;

use super::fair::{Turns, fairly, network};
use super::seen::{Feed, Seen};
use crate::context::Operation;
use crate::limits::{
    HEARTBEAT_FRESH, HEARTBEAT_PASSED_ON_OF_ONE, HEARTBEAT_TURNS_KEPT, HEARTBEAT_VALUES_PER_NAME,
    HEARTBEAT_ZONES_IN_FLIGHT,
};
use crate::zone::Owner;

/// What a round needs of the world around it.
pub trait Surroundings: Sync {
    /// The TXT values at a name of another zone, as a resolver tells them; `None` if nobody could be asked.
    fn ask(&self, name: &Owner) -> impl Future<Output = Option<Vec<String>>> + Send;

    /// The values at a name of the own zone.
    fn values(&self, name: &Owner) -> Vec<String>;

    /// Applies all of the operations to the own zone, or none and says why.
    fn write(&self, operations: Vec<Operation>) -> impl Future<Output = Result<(), String>> + Send;
}

/// What this node says of itself, and how far it looks.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where its HTTP API is.
    pub endpoint: Endpoint,
    /// Signs its heartbeats.
    pub key: Arc<OperatorKey>,
    /// Its software.
    pub version: String,
    /// What it offers.
    pub capabilities: u16,
    /// The zone that it serves, which its records are published in. Without one it only listens.
    pub zone: Option<Owner>,
    /// Life of its heartbeats and of what it passes on, seconds.
    pub ttl: u64,
    /// Zones to begin with.
    pub seeds: Vec<Owner>,
    /// Zones asked in one round at most.
    pub most_zones: usize,
    /// Heartbeats of others that it passes on at most.
    pub most_passed_on: usize,
}

/// What a round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Zones that were asked.
    pub asked: usize,
    /// Zones of which at least one heartbeat was taken.
    pub answered: usize,
    /// Why something could not be published, one line each.
    pub faults: Vec<String>,
}

/// The state between rounds. What is not in [`Seen`] is rebuilt after a restart from what lies in the zone.
#[derive(Debug)]
pub struct Heart {
    terms: Terms,
    seen: Seen,
    /// Zones that gave nothing the last time, and are left out this time.
    resting: HashSet<Owner>,
    turns: ZoneTurns,
    rounds: u64,
    own: Published,
    passed_on: Published,
}

/// Who was asked when, where not all can be asked.
#[derive(Debug, Default)]
struct ZoneTurns {
    zones: Turns<Owner>,
    networks: Turns<Owner>,
    tellers: Turns<Option<Owner>>,
}

/// What lies in the zone under one name because of us.
#[derive(Debug, Default)]
struct Published {
    values: Vec<String>,
    /// Whether the leftovers of an earlier process are gone.
    is_swept: bool,
}

impl Heart {
    /// Begins with what is known of others.
    pub fn new(terms: Terms, seen: Seen) -> Self {
        Self {
            terms,
            seen,
            resting: HashSet::new(),
            turns: ZoneTurns::default(),
            rounds: 0,
            own: Published::default(),
            passed_on: Published::default(),
        }
    }

    /// What it says of itself.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Those it has heard of.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The same, to be stored or trimmed.
    pub fn seen_mut(&mut self) -> &mut Seen {
        &mut self.seen
    }

    /// One round at second `now`; `peers` are the zones of the other nodes of the own cluster.
    pub async fn beat(&mut self, around: &impl Surroundings, peers: &[Owner], now: u64) -> Round {
        let mut round = Round::default();
        self.publish_own(around, now, &mut round.faults).await;
        self.harvest(around, peers, now, &mut round).await;
        self.seen.expire(now);
        self.pass_on(around, now, &mut round.faults).await;
        round
    }

    /// The zones to ask, in order (federation.md 2.7 step 2).
    fn zones(&mut self, peers: &[Owner], now: u64) -> Vec<Owner> {
        let most = self.terms.most_zones;
        let mut known: HashSet<Owner> = self.terms.zone.iter().cloned().collect();
        let told = self.terms.seeds.iter().chain(peers).cloned();
        let mut zones: Vec<Owner> = told.filter(|zone| known.insert(zone.clone())).collect();
        zones.truncate(most);
        let room = most - zones.len();
        let mut learned = self.seen.zones(now, usize::MAX);
        learned.retain(|zone| !known.contains(zone));
        if learned.len() > room {
            learned = self.turns_of(learned, room, now);
        }
        zones.extend(learned);
        zones
    }

    /// As many of these zones as there is room for, newest first. Half of the room is for zones that have spoken for themselves,
    /// half for those that others told of; in each half every network, of the zones or of those who told, has its turn, and networks
    /// of which nothing is known yet come first.
    fn turns_of(&mut self, mut learned: Vec<Owner>, room: usize, now: u64) -> Vec<Owner> {
        learned.retain(|zone| !self.resting.contains(zone));
        let mut tellers: HashMap<Owner, Option<Owner>> = HashMap::new();
        let mut confirmed: HashSet<Owner> = HashSet::new();
        for peer in self.seen.list(now, usize::MAX) {
            let Some(zone) = peer.zone() else { continue };
            if peer.is_confirmed() {
                confirmed.insert(zone);
            } else {
                let teller = peer.origin.told_by.as_ref().map(network);
                tellers.entry(zone).or_insert(teller);
            }
        }
        let turns = &self.turns;
        let (mut known, mut told): (Vec<Owner>, Vec<Owner>) = learned
            .iter()
            .cloned()
            .partition(|zone| confirmed.contains(zone));
        let teller = |zone: &Owner| tellers.get(zone).cloned().flatten();
        known.sort_by_key(|zone| (turns.networks.last(&network(zone)), turns.zones.last(zone)));
        told.sort_by_key(|zone| {
            let is_more_of_the_same = self.seen.is_confirmed(&network(zone));
            let last = (turns.tellers.last(&teller(zone)), turns.zones.last(zone));
            (is_more_of_the_same, last)
        });
        let known = fairly(known, network);
        let told = fairly(told, |zone| teller(zone));
        let of_known = known.len().min(room - told.len().min(room / 2));
        let of_told = told.len().min(room - of_known);
        let chosen: HashSet<Owner> = known
            .into_iter()
            .take(of_known)
            .chain(told.into_iter().take(of_told))
            .collect();

        let turns = &mut self.turns;
        turns.zones.next_round(HEARTBEAT_TURNS_KEPT);
        turns.networks.next_round(HEARTBEAT_TURNS_KEPT);
        turns.tellers.next_round(HEARTBEAT_TURNS_KEPT);
        for zone in &chosen {
            turns.zones.serve(zone.clone());
            if confirmed.contains(zone) {
                turns.networks.serve(network(zone));
            } else {
                turns.tellers.serve(teller(zone));
            }
        }
        learned.retain(|zone| chosen.contains(zone));
        learned
    }

    async fn harvest(
        &mut self,
        around: &impl Surroundings,
        peers: &[Owner],
        now: u64,
        round: &mut Round,
    ) {
        let zones = self.zones(peers, now);
        let rested = std::mem::take(&mut self.resting);
        let awake = zones.into_iter().filter(|zone| !rested.contains(zone));
        let rounds = self.rounds;
        self.rounds += 1;
        let ask = |zone: Owner| async move {
            let own = ask(around, &zone, HEARTBEAT, rounds).await;
            let passed_on = ask(around, &zone, SEEN, rounds).await;
            (zone, [(Feed::Own, own), (Feed::PassedOn, passed_on)])
        };
        let answers: Vec<_> = stream::iter(awake)
            .map(ask)
            .buffered(HEARTBEAT_ZONES_IN_FLIGHT)
            .collect()
            .await;
        let own = self.terms.key.public();
        self.seen.expire(now);
        for (zone, feeds) in answers {
            round.asked += 1;
            let mut taken = 0;
            for (feed, values) in feeds {
                for value in values {
                    taken += usize::from(self.seen.hear(&value, &zone, feed, &own, now));
                }
            }
            if taken > 0 {
                round.answered += 1;
            } else {
                self.resting.insert(zone);
            }
        }
        self.seen.trim();
    }

    async fn publish_own(
        &mut self,
        around: &impl Surroundings,
        now: u64,
        faults: &mut Vec<String>,
    ) {
        let Some(name) = self
            .terms
            .zone
            .as_ref()
            .and_then(|zone| under(HEARTBEAT, zone))
        else {
            return;
        };
        let heartbeat = match self.terms.sign(now) {
            Ok(heartbeat) => heartbeat,
            Err(error) => return faults.push(format!("the heartbeat cannot be signed: {error}")),
        };
        let own = self.terms.key.public();
        let mut stale = std::mem::take(&mut self.own.values);
        if !self.own.is_swept {
            let values = around.values(&name).into_iter();
            stale.extend(values.filter(|value| is_signed_by(value, &own, now)));
            self.own.is_swept = true;
        }
        let values = [heartbeat];
        self.own.values = replace(around, &name, stale, &values, self.terms.ttl, faults).await;
    }

    async fn pass_on(&mut self, around: &impl Surroundings, now: u64, faults: &mut Vec<String>) {
        let Some(name) = self.terms.zone.as_ref().and_then(|zone| under(SEEN, zone)) else {
            return;
        };
        let own = self.terms.key.public();
        let others = self
            .seen
            .pick(now, HEARTBEAT_FRESH, HEARTBEAT_PASSED_ON_OF_ONE, usize::MAX);
        let others: Vec<_> = others
            .into_iter()
            .filter(|peer| peer.heartbeat.operator != own)
            .take(self.terms.most_passed_on)
            .collect();
        let values: Vec<String> = others.iter().map(|peer| peer.wire.clone()).collect();
        let mut stale = std::mem::take(&mut self.passed_on.values);
        if !self.passed_on.is_swept {
            let newest: HashMap<_, _> = others
                .iter()
                .map(|peer| {
                    (
                        (peer.heartbeat.operator, &peer.heartbeat.endpoint),
                        &peer.wire,
                    )
                })
                .collect();
            let is_ours_to_remove = |value: &String| {
                let at = UnixTime::new(now);
                let Ok(heartbeat) = Heartbeat::parse(value, Skew::Unlimited, at) else {
                    return false;
                };
                let newer = newest.get(&(heartbeat.operator, &heartbeat.endpoint));
                heartbeat.operator == own || newer.is_some_and(|newer| *newer != value)
            };
            stale.extend(around.values(&name).into_iter().filter(is_ours_to_remove));
            self.passed_on.is_swept = true;
        }
        self.passed_on.values =
            replace(around, &name, stale, &values, self.terms.ttl, faults).await;
    }
}

impl Terms {
    fn sign(&self, now: u64) -> Result<String, dmp_core::error::EncodeError> {
        let heartbeat = Heartbeat {
            endpoint: self.endpoint.clone(),
            operator: self.key.public(),
            version: self.version.clone(),
            capabilities: self.capabilities,
            claim_provider_zone: self.zone.as_ref().map(ToString::to_string),
            ts: UnixTime::new(now),
            exp: UnixTime::new(now.saturating_add(self.ttl)),
        };
        heartbeat.sign(&self.key)
    }
}

const HEARTBEAT: &str = "_dnsmesh-heartbeat";
const SEEN: &str = "_dnsmesh-seen";

/// `None` for a zone so long that nothing fits below it.
fn under(label: &str, zone: &Owner) -> Option<Owner> {
    Owner::parse(&format!("{label}.{zone}")).ok()
}

/// Some of the values at a name of another zone, in every round others where there are more than are looked at: a server may tell
/// them in the same order each time.
async fn ask(around: &impl Surroundings, zone: &Owner, label: &str, rounds: u64) -> Vec<String> {
    let Some(name) = under(label, zone) else {
        return Vec::new();
    };
    let mut values = around.ask(&name).await.unwrap_or_default();
    if values.len() > HEARTBEAT_VALUES_PER_NAME {
        let passed = rounds.wrapping_mul(HEARTBEAT_VALUES_PER_NAME as u64) % values.len() as u64;
        values.rotate_left(usize::try_from(passed).unwrap_or(0));
        values.truncate(HEARTBEAT_VALUES_PER_NAME);
    }
    values
}

fn is_signed_by(value: &str, key: &SigningPublicKey, now: u64) -> bool {
    Heartbeat::parse(value, Skew::Unlimited, UnixTime::new(now))
        .is_ok_and(|heartbeat| heartbeat.operator == *key)
}

/// Takes `stale` away and puts `values` in their place, each by its exact text: the name may be shared with others. Returns what
/// lies there now because of us. Where all at once is refused, each is tried alone.
async fn replace(
    around: &impl Surroundings,
    name: &Owner,
    stale: Vec<String>,
    values: &[String],
    ttl: u64,
    faults: &mut Vec<String>,
) -> Vec<String> {
    let delete = |value: &String| Operation::DeleteValue {
        owner: name.clone(),
        value: value.clone(),
    };
    let publish = |value: &String| Operation::Publish {
        owner: name.clone(),
        value: value.clone(),
        ttl,
    };
    let gone: Vec<&String> = stale
        .iter()
        .filter(|value| !values.contains(value))
        .collect();
    let together = gone
        .iter()
        .copied()
        .map(delete)
        .chain(values.iter().map(publish));
    if around.write(together.collect()).await.is_ok() {
        return values.to_vec();
    }
    let mut there = Vec::new();
    for value in gone {
        if around.write(vec![delete(value)]).await.is_err() {
            there.push(value.clone());
        }
    }
    for value in values {
        match around.write(vec![publish(value)]).await {
            Ok(()) => there.push(value.clone()),
            Err(fault) => {
                faults.push(format!("{name}: {fault}"));
                there.extend(stale.iter().filter(|old| *old == value).cloned());
            }
        }
    }
    there
}
