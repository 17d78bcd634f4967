//! A peer that answers as a test says, and a store in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use dmp_node::federation::sync::{Ask, Burial, Fault, Incoming, Member, Pair, Surroundings};
use dmp_node::store::{Replicated, Standing};
use dmp_node::zone::Owner;
use sha2::{Digest, Sha256};

/// What a node has of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Live { ttl: u64, written_at: Option<u64> },
    Buried { deleted_at: u64 },
}

type Script = Box<dyn FnMut(&Ask) -> Result<Vec<u8>, Fault> + Send>;

/// The world of one node: its store and its peer.
pub(crate) struct World {
    pub(crate) now: Mutex<u64>,
    /// By name and value; a deleted value by its hash.
    pub(crate) held: Mutex<BTreeMap<(String, String), Held>>,
    pub(crate) asked: Mutex<Vec<Ask>>,
    pub(crate) has_room: bool,
    script: Mutex<Script>,
}

impl World {
    pub(crate) fn new(
        now: u64,
        script: impl FnMut(&Ask) -> Result<Vec<u8>, Fault> + Send + 'static,
    ) -> Self {
        Self {
            now: Mutex::new(now),
            held: Mutex::default(),
            asked: Mutex::default(),
            has_room: true,
            script: Mutex::new(Box::new(script)),
        }
    }

    pub(crate) fn hold(&self, name: &str, value: &str, ttl: u64, written_at: Option<u64>) {
        let key = (name.to_owned(), value.to_owned());
        let live = Held::Live { ttl, written_at };
        self.held.lock().unwrap().insert(key, live);
    }

    /// Name, value and life of everything live.
    pub(crate) fn live(&self) -> Vec<(String, String, u64)> {
        let held = self.held.lock().unwrap();
        let live = held.iter().filter_map(|((name, value), held)| match held {
            Held::Live { ttl, .. } => Some((name.clone(), value.clone(), *ttl)),
            Held::Buried { .. } => None,
        });
        live.collect()
    }

    /// How often the peer was asked so.
    pub(crate) fn count(&self, is_meant: impl Fn(&Ask) -> bool) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|ask| is_meant(ask)).count()
    }
}

pub(crate) fn hash_of(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

impl Surroundings for World {
    async fn ask(&self, _peer: &Member, ask: Ask) -> Result<Vec<u8>, Fault> {
        let answer = (self.script.lock().unwrap())(&ask);
        self.asked.lock().unwrap().push(ask);
        let body = answer?;
        Ok(body)
    }

    async fn standing(&self, pairs: Vec<Pair>) -> Result<Vec<Standing>, Fault> {
        let held = self.held.lock().unwrap();
        let standing = pairs.iter().map(|(owner, hash)| {
            let name = owner.to_string();
            let mut of_name = held
                .range((name.clone(), String::new())..)
                .take_while(|((other, _), _)| *other == name);
            let found = of_name
                .find(|((_, value), _)| hash_of(value) == *hash || *value == hex::encode(hash));
            match found.map(|(_, held)| held) {
                None => Standing::Absent,
                Some(Held::Live { ttl, written_at }) => Standing::Live {
                    ttl: *ttl,
                    written_at: *written_at,
                },
                Some(Held::Buried { deleted_at }) => Standing::Buried {
                    deleted_at: *deleted_at,
                },
            }
        });
        Ok(standing.collect())
    }

    fn holds(&self, owner: &Owner, value: &str) -> bool {
        let key = (owner.to_string(), value.to_owned());
        matches!(self.held.lock().unwrap().get(&key), Some(Held::Live { .. }))
    }

    async fn store(&self, values: Vec<Incoming>) -> Result<Vec<Replicated>, Fault> {
        let mut held = self.held.lock().unwrap();
        let stored = values.into_iter().map(|value| {
            if !self.has_room {
                return Replicated::Full;
            }
            let live = Held::Live {
                ttl: value.ttl,
                written_at: value.written_at,
            };
            match held.insert((value.owner.to_string(), value.value), live) {
                None => Replicated::New,
                Some(_) => Replicated::Refreshed,
            }
        });
        Ok(stored.collect())
    }

    async fn bury(&self, burials: Vec<Burial>) -> Result<u64, Fault> {
        let mut held = self.held.lock().unwrap();
        for burial in &burials {
            let name = burial.owner.to_string();
            held.retain(|(other, value), _| *other != name || hash_of(value) != burial.hash);
            let deleted_at = burial.deleted_at;
            held.insert(
                (name, hex::encode(burial.hash)),
                Held::Buried { deleted_at },
            );
        }
        Ok(burials.len() as u64)
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }

    fn now(&self) -> u64 {
        *self.now.lock().unwrap()
    }
}
