//! Many nodes in one process with virtual time: their zones lie in memory, their rounds are the engine's own.
//!
//! Time goes in steps. Nodes whose round falls into a step run side by side and see what was published before it, so that a run is
//! the same whatever the number of threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::record::heartbeat::{Heartbeat, Skew};
use dmp_node::context::Operation;
use dmp_node::federation::heartbeat::{Heart, Seen, Surroundings, Terms};
use dmp_node::zone::Owner;

use super::liar::Liar;

/// The first second of every run.
pub(crate) const START: u64 = 1_800_000_000;
/// Pause between two rounds of a node, seconds (federation.md 2.3), give or take a tenth (W35).
pub(crate) const INTERVAL: u64 = 300;
/// How far time goes at once, seconds.
const STEP: u64 = 15;
/// Octets of a query and of an answer beside its records: header, a name of usual length, type and class, EDNS.
const EMPTY_MESSAGE: usize = 12 + 40 + 4 + 11;
/// What one answer can carry over TCP.
const LARGEST_MESSAGE: usize = 65_535;

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Nodes that do as the specification says.
    pub(crate) honest: usize,
    /// Zones whose owner wants to push others out.
    pub(crate) hostile: usize,
    /// Honest zones that everybody is told to begin with.
    pub(crate) seeds: usize,
    /// Zones asked in one round.
    pub(crate) most_zones: usize,
    /// Heartbeats passed on.
    pub(crate) most_passed_on: usize,
    /// Nodes remembered.
    pub(crate) most_known: usize,
}

/// One node.
struct Node {
    heart: Heart,
    next: u64,
    own: BTreeMap<String, Vec<String>>,
}

/// All of them.
pub(crate) struct World {
    nodes: Vec<Node>,
    liars: Vec<Liar>,
    published: HashMap<String, Vec<String>>,
    /// Operators of the honest nodes, hex.
    honest: BTreeSet<String>,
    now: u64,
    queries: AtomicU64,
    octets: AtomicU64,
}

/// How the world looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// Honest others that each honest node knows, and those of them whose zone it has found itself.
    pub(crate) known: Vec<usize>,
    pub(crate) confirmed: Vec<usize>,
    /// Everybody that each honest node remembers.
    pub(crate) rows: Vec<usize>,
    /// Honest among what each node passes on, and all of it.
    pub(crate) passed_on: Vec<(usize, usize)>,
    /// Whether everybody can be reached from the first node by who has found whom.
    pub(crate) is_connected: bool,
}

/// What one honest node asked since the last look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) queries_per_node: f64,
    pub(crate) octets_per_node: f64,
}

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        let seeds: Vec<Owner> = (0..setting.seeds).map(|seed| zone("n", seed)).collect();
        let nodes: Vec<Node> = (0..setting.honest)
            .map(|number| {
                // Nothing is pushed, so a new node is heard of once somebody has it as a seed: here two each, and a liar now and then.
                let sponsored =
                    (2 * number + 1..=2 * number + 2).filter(|new| *new < setting.honest);
                let sponsored = sponsored.map(|new| zone("n", new));
                let deceived = (number < setting.hostile).then(|| zone("h", number));
                let seeds = seeds.iter().cloned().chain(sponsored).chain(deceived);
                let zone = zone("n", number);
                let terms = Terms {
                    endpoint: Endpoint::parse(&format!("https://{zone}")).unwrap(),
                    key: std::sync::Arc::new(key("n", number)),
                    version: "0.1.0".to_owned(),
                    capabilities: Heartbeat::CLAIM_PROVIDER,
                    zone: Some(zone),
                    ttl: 86_400,
                    seeds: seeds.collect(),
                    most_zones: setting.most_zones,
                    most_passed_on: setting.most_passed_on,
                };
                Node {
                    heart: Heart::new(terms, Seen::new(setting.most_known)),
                    // Everybody begins within the first interval.
                    next: START + dice(number as u64, 0) % INTERVAL,
                    own: BTreeMap::new(),
                }
            })
            .collect();
        let honest = nodes.iter().map(|node| node.heart.terms().key.public());
        let honest = honest.map(|key| key.to_string()).collect();
        Self {
            nodes,
            liars: (0..setting.hostile).map(Liar::new).collect(),
            published: HashMap::new(),
            honest,
            now: START,
            queries: AtomicU64::new(0),
            octets: AtomicU64::new(0),
        }
    }

    /// Lets one interval pass.
    pub(crate) fn interval(&mut self) {
        let end = self.now + INTERVAL;
        for liar in &mut self.liars {
            liar.think(self.now);
        }
        while self.now < end {
            self.step();
            self.now += STEP;
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let due: Vec<&mut Node> = self
            .nodes
            .iter_mut()
            .filter(|node| node.next < now + STEP)
            .collect();
        let threads = thread::available_parallelism().map_or(1, |count| count.get());
        let share = due.len().div_ceil(threads).max(1);
        let around = (&self.published, &self.liars, &self.queries, &self.octets);
        let mut due = due;
        thread::scope(|scope| {
            for nodes in due.chunks_mut(share) {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread();
                    let runtime = { runtime }.build().unwrap();
                    for node in nodes {
                        runtime.block_on(node.beat(around, now));
                    }
                });
            }
        });
        for node in &mut self.nodes {
            if node.next < now + STEP {
                let spread = INTERVAL / 5;
                let seed = node.heart.terms().key.public();
                let chance = dice(
                    u64::from(seed.as_bytes()[0]) << 8 | u64::from(seed.as_bytes()[1]),
                    now,
                );
                node.next += INTERVAL - spread / 2 + chance % spread;
                let own = node.own.iter();
                self.published
                    .extend(own.map(|(name, values)| (name.clone(), values.clone())));
            }
        }
    }

    /// What honest nodes asked since the last call, over so many hours.
    pub(crate) fn take_traffic(&self, hours: f64) -> Traffic {
        let per_node = |count: &AtomicU64| {
            count.swap(0, Ordering::Relaxed) as f64 / self.nodes.len() as f64 / hours
        };
        Traffic {
            queries_per_node: per_node(&self.queries),
            octets_per_node: per_node(&self.octets),
        }
    }

    pub(crate) fn sight(&self) -> Sight {
        let is_honest =
            |heartbeat: &Heartbeat| self.honest.contains(&heartbeat.operator.to_string());
        let mut sight = Sight::default();
        for node in &self.nodes {
            let everybody = node.heart.seen().list(self.now, usize::MAX);
            sight.rows.push(everybody.len());
            let known = everybody.iter().filter(|peer| is_honest(&peer.heartbeat));
            sight.known.push(known.count());
            let confirmed = everybody.iter().filter(|peer| peer.is_confirmed());
            let confirmed = confirmed.filter(|peer| is_honest(&peer.heartbeat));
            sight.confirmed.push(confirmed.count());
            let zone = node.heart.terms().zone.as_ref().unwrap();
            let values = self.published.get(&format!("_dnsmesh-seen.{zone}"));
            let beats = values.into_iter().flatten().filter_map(|wire| {
                let at = UnixTime::new(self.now);
                Heartbeat::parse(wire, Skew::Unlimited, at).ok()
            });
            let beats: Vec<Heartbeat> = beats.map(|beat| beat.into_inner()).collect();
            let honest = beats.iter().filter(|beat| is_honest(beat)).count();
            sight.passed_on.push((honest, beats.len()));
        }
        sight.is_connected = self.reached() == self.nodes.len();
        sight
    }

    /// The honest operators whose zone each honest node has found itself.
    pub(crate) fn acquaintances(&self) -> Vec<BTreeSet<String>> {
        let of = |node: &Node| {
            let everybody = node.heart.seen().list(self.now, usize::MAX).into_iter();
            let confirmed = everybody.filter(|peer| peer.is_confirmed());
            let operators = confirmed.map(|peer| peer.heartbeat.operator.to_string());
            operators.filter(|key| self.honest.contains(key)).collect()
        };
        self.nodes.iter().map(of).collect()
    }

    /// How many honest nodes one gets to from the first by asking each for those it has found.
    fn reached(&self) -> usize {
        let acquaintances = self.acquaintances();
        let number: HashMap<String, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(number, node)| (node.heart.terms().key.public().to_string(), number))
            .collect();
        let (mut reached, mut next) = (BTreeSet::from([0]), vec![0]);
        while let Some(node) = next.pop() {
            for key in &acquaintances[node] {
                if reached.insert(number[key]) {
                    next.push(number[key]);
                }
            }
        }
        reached.len()
    }
}

type Around<'a> = (
    &'a HashMap<String, Vec<String>>,
    &'a Vec<Liar>,
    &'a AtomicU64,
    &'a AtomicU64,
);

impl Node {
    async fn beat(&mut self, (published, liars, queries, octets): Around<'_>, now: u64) {
        let view = View {
            published,
            liars,
            queries,
            octets,
            own: Mutex::new(std::mem::take(&mut self.own)),
            now,
        };
        let round = self.heart.beat(&view, &[], now).await;
        assert_eq!(round.faults, Vec::<String>::new());
        self.own = view.own.into_inner().unwrap();
    }
}

/// The world as one node sees it.
struct View<'a> {
    published: &'a HashMap<String, Vec<String>>,
    liars: &'a [Liar],
    queries: &'a AtomicU64,
    octets: &'a AtomicU64,
    own: Mutex<BTreeMap<String, Vec<String>>>,
    now: u64,
}

impl Surroundings for View<'_> {
    async fn ask(&self, name: &Owner) -> Option<Vec<String>> {
        let name = name.to_string();
        let values = match self.published.get(&name) {
            Some(values) => values.clone(),
            None => self
                .liars
                .iter()
                .find_map(|liar| liar.answer(&name, self.now))
                .unwrap_or_default(),
        };
        // A value costs its text, a length octet for each 255 of it, and the record around it.
        let records = values
            .iter()
            .map(|value| value.len() + value.len() / 255 + 13);
        let answer = (EMPTY_MESSAGE + records.sum::<usize>()).min(LARGEST_MESSAGE);
        self.queries.fetch_add(1, Ordering::Relaxed);
        let octets = (EMPTY_MESSAGE + answer) as u64;
        self.octets.fetch_add(octets, Ordering::Relaxed);
        Some(values)
    }

    fn values(&self, name: &Owner) -> Vec<String> {
        let own = self.own.lock().unwrap();
        own.get(&name.to_string()).cloned().unwrap_or_default()
    }

    async fn write(&self, operations: Vec<Operation>) -> Result<(), String> {
        let mut own = self.own.lock().unwrap();
        for operation in operations {
            match operation {
                Operation::Publish { owner, value, .. } => {
                    let values = own.entry(owner.to_string()).or_default();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                Operation::DeleteValue { owner, value } => {
                    let values = own.entry(owner.to_string()).or_default();
                    values.retain(|other| *other != value);
                }
                Operation::DeleteAll { .. } => return Err("never the whole RRset".to_owned()),
            }
        }
        Ok(())
    }
}

/// Each party has a name that it had to register.
pub(crate) fn zone(party: &str, number: usize) -> Owner {
    Owner::parse(&format!("mesh.{party}{number}.test")).unwrap()
}

/// A key that nobody else has.
pub(crate) fn key(party: &str, number: usize) -> OperatorKey {
    let mut seed = [0; 32];
    for (place, octet) in seed.iter_mut().zip(party.bytes()) {
        *place = octet;
    }
    seed[24..].copy_from_slice(&(number as u64).to_be_bytes());
    OperatorKey::from_ed25519_seed(seed)
}

/// Chance that is the same in every run (splitmix64).
pub(crate) fn dice(seed: u64, turn: u64) -> u64 {
    let mut value = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(turn)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
