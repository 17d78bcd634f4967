//! One round with one peer: what is new there, what of it is missing here, and whether it may be stored (federation.md 4.10).
//!
//! It opens no socket, reads no clock and no file, so that a hostile peer can be played in a test.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use dmp_core::record::ClusterManifest;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::accept::{Accepted, accept, is_of_a_node};
use super::doubt::{Doubts, Pair};
use super::members::Member;
use super::wire::{Ask, Delivery, Entry, Fault, Handed, delivery, listing, manifest};
use crate::limits::{
    PULL_NAMES, PULL_REQUEST_OCTETS, PULLS_IN_FLIGHT, REPLICATED_LIFE_SLACK, SYNC_ROUND, SYNC_WALK,
    TOMBSTONE_SECONDS,
};
use crate::store::{Cursor, Replicated, Standing};
use crate::zone::Owner;

/// What a round needs of the world around it.
pub trait Surroundings: Sync {
    /// The body of a peer's answer with status 200; empty for 204.
    fn ask(&self, peer: &Member, ask: Ask) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// What this node has of each value.
    fn standing(
        &self,
        pairs: Vec<Pair>,
    ) -> impl Future<Output = Result<Vec<Standing>, Fault>> + Send;

    /// Whether this node has the value.
    fn holds(&self, owner: &Owner, value: &str) -> bool;

    /// Stores values; what became of each.
    fn store(
        &self,
        values: Vec<Incoming>,
    ) -> impl Future<Output = Result<Vec<Replicated>, Fault>> + Send;

    /// Takes note of deletes; how many were new.
    fn bury(&self, burials: Vec<Burial>) -> impl Future<Output = Result<u64, Fault>> + Send;

    /// Does work that takes the processor for a while.
    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// Unix milliseconds.
    fn now(&self) -> u64;
}

/// A verified value of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Where.
    pub owner: Owner,
    /// What.
    pub value: String,
    /// For how many seconds.
    pub ttl: u64,
    /// When a client last wrote it, if the peer knows.
    pub written_at: Option<u64>,
}

/// A delete that a peer tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burial {
    /// Where.
    pub owner: Owner,
    /// SHA-256 of the value.
    pub hash: [u8; 32],
    /// When, milliseconds.
    pub deleted_at: u64,
    /// For how many seconds it is kept in mind.
    pub ttl: u64,
}

/// What holds for all peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The key that a manifest must be signed with.
    pub operator: Option<SigningPublicKey>,
    /// The cluster's name; with it and the key, peers are asked for the manifest.
    pub base: Option<DomainName>,
    /// Longest life of a value in seconds (W38).
    pub max_ttl: u64,
}

/// Why something of a peer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An entry or a record that is none, or is dated too far ahead.
    Malformed,
    /// A value of a name that was not asked for.
    Unsolicited,
    /// A value that was not listed.
    Hash,
    /// No life left.
    Life,
    /// It fails the check of 4.11.
    Record,
    /// Listed, but not handed over.
    Missing,
    /// No room in the own store.
    Full,
}

impl Reason {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Unsolicited,
        Self::Hash,
        Self::Life,
        Self::Record,
        Self::Missing,
        Self::Full,
    ];
}

/// What came of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Pages that were read.
    pub pages: u64,
    /// Values that were not there before.
    pub new: u64,
    /// Values that live longer now, or are known to have been written again.
    pub refreshed: u64,
    /// Deletes that were not known.
    pub buried: u64,
    /// What was not taken, in the order of [`Reason::ALL`].
    pub refused: [u64; Reason::ALL.len()],
    /// Why it ended early.
    pub fault: Option<Fault>,
    /// Whether the peer has more.
    pub has_more: bool,
    /// The cluster's manifest as the peer has it, verified under key and name.
    pub manifest: Option<(String, ClusterManifest)>,
    /// Whether a manifest that the pinned key signed was among the records.
    pub brought_manifest: bool,
}

impl Round {
    /// How often something was not taken for this reason.
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize]
    }

    fn refuse(&mut self, reason: Reason, times: u64) {
        self.refused[reason as usize] += times;
    }
}

/// What is known of one peer between rounds.
#[derive(Clone, Debug)]
pub struct Exchange {
    member: Member,
    /// All up to it has been dealt with.
    mark: Cursor,
    doubts: Doubts,
    /// Where a slow walk through everything has got to.
    walk: Option<Cursor>,
    /// When the next one begins, milliseconds.
    walk_at: u64,
}

impl Exchange {
    /// Goes on where an earlier process was; the default is the beginning.
    pub fn new(member: Member, mark: Cursor, now: u64) -> Self {
        Self {
            member,
            mark,
            doubts: Doubts::default(),
            walk: None,
            walk_at: now.saturating_add(SYNC_WALK),
        }
    }

    /// The peer.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// How far the peer has been read.
    pub fn mark(&self) -> &Cursor {
        &self.mark
    }

    /// The same peer as a newer manifest calls it.
    pub fn rename(&mut self, member: Member) {
        self.member = member;
    }

    /// Reads everything that is new at the peer, within the time of a round.
    pub async fn round(&mut self, around: &impl Surroundings, terms: &Terms) -> Round {
        let mut round = Round::default();
        self.read_news(around, terms, &mut round).await;
        if round.fault.is_none() && !round.has_more {
            self.walk_on(around, terms, &mut round).await;
        }
        if round.fault.is_none() {
            self.gossip(around, terms, &mut round).await;
        }
        round
    }

    async fn read_news(&mut self, around: &impl Surroundings, terms: &Terms, round: &mut Round) {
        let begun = around.now();
        let mut cursor = self.mark.clone();
        let mut is_solid = true;
        loop {
            let Some(page) = self.read_page(around, terms, &cursor, round).await else {
                return;
            };
            if is_solid {
                let mut dealt = page.dealt.iter();
                let solid = page
                    .entries
                    .iter()
                    .take_while(|_| dealt.next() == Some(&true));
                if let Some(last) = solid.map(Entry::cursor).last() {
                    self.mark = std::mem::take(&mut self.mark).max(last);
                }
                is_solid = page.dealt.iter().all(|dealt| *dealt);
            }
            let last = page.entries.last().map(Entry::cursor);
            round.has_more = page.has_more && last.as_ref().is_some_and(|last| *last > cursor);
            let is_over = around.now().saturating_sub(begun) >= SYNC_ROUND;
            match last {
                Some(last) if round.has_more && round.fault.is_none() && !is_over => cursor = last,
                _ => break,
            }
        }
        // What cannot be taken now is tried again in time, not at once.
        round.has_more &= is_solid && round.fault.is_none();
    }

    /// One more page of the slow walk, if it is time for one.
    async fn walk_on(&mut self, around: &impl Surroundings, terms: &Terms, round: &mut Round) {
        let now = around.now();
        if self.walk.is_none() && now >= self.walk_at {
            self.walk = Some(Cursor::default());
        }
        let Some(cursor) = self.walk.clone() else {
            return;
        };
        let Some(page) = self.read_page(around, terms, &cursor, round).await else {
            return;
        };
        let last = page.entries.last().map(Entry::cursor);
        self.walk = last.filter(|last| page.has_more && *last > cursor && *last < self.mark);
        if self.walk.is_none() {
            self.walk_at = now.saturating_add(SYNC_WALK);
        }
    }

    /// Asks for the manifest, where it could be adopted.
    async fn gossip(&mut self, around: &impl Surroundings, terms: &Terms, round: &mut Round) {
        let (Some(operator), Some(base)) = (&terms.operator, &terms.base) else {
            return;
        };
        // A peer without one, or without the route, is none the worse.
        let Ok(body) = around.ask(&self.member, Ask::Manifest).await else {
            return;
        };
        let now = UnixTime::new(around.now() / 1_000);
        round.manifest = manifest(&body).and_then(|wire| {
            let manifest = ClusterManifest::parse(&wire, operator, Some(base), now).ok()?;
            Some((wire, manifest.into_inner()))
        });
    }

    async fn read_page(
        &mut self,
        around: &impl Surroundings,
        terms: &Terms,
        after: &Cursor,
        round: &mut Round,
    ) -> Option<Page> {
        let answer = around.ask(&self.member, Ask::Digest(after.clone())).await;
        let now = around.now();
        let read = match answer {
            Ok(body) => around.work(move || listing(&body, now)).await,
            Err(fault) => Err(fault),
        };
        let listing = match read {
            Ok(listing) => listing,
            Err(fault) => {
                round.fault = Some(fault);
                return None;
            }
        };
        round.pages += 1;
        round.refuse(Reason::Malformed, listing.rejected);
        let mut page = Page {
            dealt: vec![false; listing.entries.len()],
            entries: listing.entries,
            has_more: listing.has_more,
        };
        let taken = self.take(around, terms, &mut page, round).await;
        if let Err(fault) = taken {
            round.fault = Some(fault);
        }
        Some(page)
    }

    /// Takes what is missing here of a page, and marks what has been dealt with.
    async fn take(
        &mut self,
        around: &impl Surroundings,
        terms: &Terms,
        page: &mut Page,
        round: &mut Round,
    ) -> Result<(), Fault> {
        self.bury(around, page, round).await?;
        let wanted = self.wanted(around, terms, page).await?;
        let mut pulls = stream::iter(batches(wanted))
            .map(|batch| pull(around, &self.member, terms, batch))
            .buffered(PULLS_IN_FLIGHT);
        let mut outcomes = Vec::new();
        let mut fault = None;
        while let Some(pulled) = pulls.next().await {
            round.new += pulled.new;
            round.refreshed += pulled.refreshed;
            round.brought_manifest |= pulled.brought_manifest;
            for (reason, times) in Reason::ALL.into_iter().zip(pulled.refused) {
                round.refuse(reason, times);
            }
            outcomes.extend(pulled.outcomes);
            fault = fault.or(pulled.fault);
        }
        drop(pulls);
        let now = around.now();
        let mut dealt = HashSet::new();
        for (pair, outcome) in outcomes {
            match outcome {
                Outcome::Taken => {
                    self.doubts.clear(&pair);
                    dealt.insert(pair);
                }
                Outcome::Refused => {
                    self.doubts.refuse(pair.clone(), now);
                    dealt.insert(pair);
                }
                Outcome::Missed => self.doubts.miss(pair, now),
                Outcome::NoRoom => {}
            }
        }
        for (entry, is_dealt) in page.entries.iter().zip(&mut page.dealt) {
            *is_dealt |= dealt.contains(&entry.pair());
        }
        fault.map_or(Ok(()), Err)
    }

    async fn bury(
        &self,
        around: &impl Surroundings,
        page: &mut Page,
        round: &mut Round,
    ) -> Result<(), Fault> {
        let burial = |entry: &Entry| {
            Some(Burial {
                owner: entry.owner.clone(),
                hash: entry.hash,
                deleted_at: entry.deleted_at.filter(|_| !is_of_a_node(&entry.owner))?,
                ttl: entry.ttl.clamp(1, TOMBSTONE_SECONDS),
            })
        };
        let burials: Vec<Burial> = page.entries.iter().filter_map(burial).collect();
        if !burials.is_empty() {
            round.buried += around.bury(burials).await?;
        }
        for (entry, is_dealt) in page.entries.iter().zip(&mut page.dealt) {
            *is_dealt |= entry.deleted_at.is_some() || is_of_a_node(&entry.owner);
        }
        Ok(())
    }

    /// The values to ask for, each once; the others are dealt with.
    async fn wanted(
        &self,
        around: &impl Surroundings,
        terms: &Terms,
        page: &mut Page,
    ) -> Result<Vec<Wanted>, Fault> {
        let now = around.now();
        let mut places: HashMap<Pair, Vec<usize>> = HashMap::new();
        let mut order: Vec<&Entry> = Vec::new();
        for (place, (entry, is_dealt)) in page.entries.iter().zip(&mut page.dealt).enumerate() {
            *is_dealt |= self.doubts.is_settled(&entry.pair(), now);
            if !*is_dealt {
                let places = places.entry(entry.pair()).or_default();
                if places.is_empty() {
                    order.push(entry);
                }
                places.push(place);
            }
        }
        if order.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = order.iter().map(|entry| entry.pair()).collect();
        let standings = around.standing(pairs).await?;
        let mut wanted = Vec::new();
        for (entry, standing) in order.into_iter().zip(standings) {
            if is_wanted(entry, standing, terms) {
                wanted.push(Wanted {
                    name: entry.name.clone(),
                    pair: entry.pair(),
                    written_at: entry.written_at,
                });
            } else {
                for place in places.get(&entry.pair()).into_iter().flatten() {
                    if let Some(is_dealt) = page.dealt.get_mut(*place) {
                        *is_dealt = true;
                    }
                }
            }
        }
        Ok(wanted)
    }
}

/// A page of the digest, and which of its entries have been dealt with.
struct Page {
    entries: Vec<Entry>,
    dealt: Vec<bool>,
    has_more: bool,
}

impl Entry {
    fn pair(&self) -> Pair {
        (self.owner.clone(), self.hash)
    }
}

/// Step 4 of 4.10, with what is known of writes and deletes (D24).
fn is_wanted(entry: &Entry, standing: Standing, terms: &Terms) -> bool {
    match standing {
        Standing::Absent => true,
        Standing::Buried { deleted_at } => entry.written_at.is_some_and(|at| at > deleted_at),
        Standing::Live { ttl, written_at } => {
            let is_manifest = entry.owner.labels().next() == Some("cluster");
            let life = match is_manifest {
                true => entry.ttl,
                false => entry.ttl.min(terms.max_ttl),
            };
            life > ttl.saturating_add(REPLICATED_LIFE_SLACK) || entry.written_at > written_at
        }
    }
}

/// A value to ask for.
#[derive(Clone, Debug)]
struct Wanted {
    name: String,
    pair: Pair,
    written_at: Option<u64>,
}

/// Values whose names fit one request (W2), in the order of the digest. All values of a name are in one batch.
fn batches(wanted: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let mut batches: Vec<Vec<Wanted>> = Vec::new();
    let mut batch_of: HashMap<String, usize> = HashMap::new();
    let (mut names, mut octets) = (0, 0);
    for value in wanted {
        if let Some(batch) = batch_of
            .get(&value.name)
            .and_then(|batch| batches.get_mut(*batch))
        {
            batch.push(value);
            continue;
        }
        let more = value.name.len() + 3; // quotes and a comma
        let is_full = names == PULL_NAMES || octets + more > PULL_REQUEST_OCTETS;
        if is_full || batches.is_empty() {
            batches.push(Vec::new());
            (names, octets) = (0, FRAME_OCTETS);
        }
        names += 1;
        octets += more;
        batch_of.insert(value.name.clone(), batches.len() - 1);
        if let Some(batch) = batches.last_mut() {
            batch.push(value);
        }
    }
    batches
}

/// `{"names":[]}`.
const FRAME_OCTETS: usize = 12;

/// What came of one batch.
#[derive(Default)]
struct Pulled {
    new: u64,
    refreshed: u64,
    refused: [u64; Reason::ALL.len()],
    outcomes: Vec<(Pair, Outcome)>,
    brought_manifest: bool,
    fault: Option<Fault>,
}

enum Outcome {
    Taken,
    Refused,
    Missed,
    NoRoom,
}

/// Asks for the names of a batch, verifies what comes and stores it. What does not fit one answer is asked for again.
async fn pull(
    around: &impl Surroundings,
    peer: &Member,
    terms: &Terms,
    batch: Vec<Wanted>,
) -> Pulled {
    let mut pulled = Pulled::default();
    let mut waiting = VecDeque::from([names(&batch)]);
    let wanted: Arc<HashMap<Pair, Option<u64>>> = Arc::new(
        batch
            .into_iter()
            .map(|value| (value.pair, value.written_at))
            .collect(),
    );
    let mut missing: HashSet<Pair> = wanted.keys().cloned().collect();
    while let Some(names) = waiting.pop_front() {
        let body = match around.ask(peer, Ask::Pull(names.clone())).await {
            Err(Fault::TooLong) if names.len() > 1 => {
                let half = names.len() / 2;
                waiting.push_front(names[half..].to_vec());
                waiting.push_front(names[..half].to_vec());
                continue;
            }
            Err(fault) => {
                pulled.fault = Some(fault);
                return pulled;
            }
            Ok(body) => body,
        };
        let now = UnixTime::new(around.now() / 1_000);
        let (asked, shared, known) = (names.clone(), Arc::clone(&wanted), terms.clone());
        let judged = around
            .work(move || delivery(&body).map(|it| judge(it, &asked, &shared, &known, now)))
            .await;
        let judged = match judged {
            Ok(judged) => judged,
            Err(fault) => {
                pulled.fault = Some(fault);
                return pulled;
            }
        };
        // A full answer ends early: what comes after the last name in it is asked for again.
        if let Some(rest) = judged
            .last_name
            .and_then(|last| names.get(last + 1..))
            .filter(|rest| !rest.is_empty())
        {
            waiting.push_front(rest.to_vec());
        }
        pulled.take(around, judged, &mut missing).await;
        if pulled.fault.is_some() {
            return pulled;
        }
    }
    pulled.refused[Reason::Missing as usize] += missing.len() as u64;
    let missed = missing.into_iter().map(|pair| (pair, Outcome::Missed));
    pulled.outcomes.extend(missed);
    pulled
}

impl Pulled {
    async fn take(
        &mut self,
        around: &impl Surroundings,
        judged: Judged,
        missing: &mut HashSet<Pair>,
    ) {
        for (sum, more) in self.refused.iter_mut().zip(judged.refused) {
            *sum += more;
        }
        // W9: what is there already is no lie.
        let strange = judged
            .unlisted
            .iter()
            .filter(|(owner, value)| !around.holds(owner, value));
        self.refused[Reason::Hash as usize] += strange.count() as u64;
        self.brought_manifest |= judged.brought_manifest;
        for pair in judged.unacceptable {
            missing.remove(&pair);
            self.outcomes.push((pair, Outcome::Refused));
        }
        let (pairs, values): (Vec<Pair>, Vec<Incoming>) = judged.acceptable.into_iter().unzip();
        for pair in &pairs {
            missing.remove(pair);
        }
        let stored = match around.store(values).await {
            Ok(stored) => stored,
            Err(fault) => {
                self.fault = Some(fault);
                return;
            }
        };
        for (pair, stored) in pairs.into_iter().zip(stored) {
            let outcome = match stored {
                Replicated::New => {
                    self.new += 1;
                    Outcome::Taken
                }
                Replicated::Refreshed => {
                    self.refreshed += 1;
                    Outcome::Taken
                }
                Replicated::Known | Replicated::Buried => Outcome::Taken,
                Replicated::Full => {
                    self.refused[Reason::Full as usize] += 1;
                    Outcome::NoRoom
                }
            };
            self.outcomes.push((pair, outcome));
        }
    }
}

/// The names of a batch, each once, in order.
fn names(batch: &[Wanted]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for value in batch {
        if known.insert(&value.name) {
            names.push(value.name.clone());
        }
    }
    names
}

/// What a delivery is worth.
#[derive(Default)]
struct Judged {
    acceptable: Vec<(Pair, Incoming)>,
    unacceptable: Vec<Pair>,
    /// Values of names that were asked for which the digest did not list.
    unlisted: Vec<(Owner, String)>,
    refused: [u64; Reason::ALL.len()],
    /// Place of the last name, of those asked for, that values came for.
    last_name: Option<usize>,
    brought_manifest: bool,
}

/// Step 5 of 4.10 up to the storing: names, hashes, lives and signatures.
fn judge(
    delivery: Delivery,
    asked: &[String],
    wanted: &HashMap<Pair, Option<u64>>,
    terms: &Terms,
    now: UnixTime,
) -> Judged {
    let mut judged = Judged::default();
    let places: HashMap<Owner, usize> = asked
        .iter()
        .enumerate()
        .filter_map(|(place, name)| Some((Owner::parse(name).ok()?, place)))
        .collect();
    judged.refused[Reason::Malformed as usize] += delivery.rejected;
    for Handed { name, value, ttl } in delivery.values {
        let place = Owner::parse(&name).ok().and_then(|owner| {
            let place = *places.get(&owner)?;
            Some((owner, place))
        });
        let Some((owner, place)) = place else {
            judged.refused[Reason::Unsolicited as usize] += 1;
            continue;
        };
        judged.last_name = judged.last_name.max(Some(place));
        let pair = (owner, Sha256::digest(value.as_bytes()).into());
        let Some(written_at) = wanted.get(&pair) else {
            judged.unlisted.push((pair.0, value));
            continue;
        };
        if ttl == 0 {
            judged.refused[Reason::Life as usize] += 1;
            continue;
        }
        match accept(&pair.0, &value, terms.operator.as_ref(), now) {
            Err(error) => {
                judged.refused[Reason::Record as usize] += 1;
                tracing::debug!(%error, "a peer's record is not taken");
                judged.unacceptable.push(pair);
            }
            Ok(accepted) => {
                let most = match accepted {
                    Accepted::Ordinary => terms.max_ttl,
                    Accepted::Manifest { life, is_pinned } => {
                        judged.brought_manifest |= is_pinned;
                        life
                    }
                };
                let incoming = Incoming {
                    owner: pair.0.clone(),
                    value,
                    ttl: ttl.min(most),
                    written_at: *written_at,
                };
                judged.acceptable.push((pair, incoming));
            }
        }
    }
    judged
}
