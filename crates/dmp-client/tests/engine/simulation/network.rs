//! One person's way to the DNS: answers are lost, denied, mixed with junk, taken from somewhere else or from memory; writes are refused,
//! or done without a word about it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::{
    Applied, ClaimNotice, ClaimSender, Lookup, Message, Operation, Pending, Reader, Writer,
};
use dmp_core::owner::OwnerName;

use crate::world::World;

/// How bad it is, in percent of all questions and changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Questions without an answer.
    pub(super) lost: u64,
    /// Answers of a resolver that lies.
    pub(super) lies: u64,
    /// Answers of a cache, as old as its first.
    pub(super) stale: u64,
    /// Changes that the node refuses or never sees.
    pub(super) refused: u64,
    /// Changes that are made, of which nobody tells.
    pub(super) silent: u64,
}

/// The network as one person sees it.
pub(super) struct Network {
    world: Arc<World>,
    dice: AtomicU64,
    weather: Mutex<Weather>,
    /// What a cache holds.
    remembered: Mutex<BTreeMap<String, Lookup>>,
    pub(super) faults: AtomicU64,
}

impl Network {
    pub(super) fn new(world: &Arc<World>, seed: u64) -> Self {
        Self {
            world: Arc::clone(world),
            dice: AtomicU64::new(seed),
            weather: Mutex::default(),
            remembered: Mutex::default(),
            faults: AtomicU64::new(0),
        }
    }

    /// From now on it is like this; what caches remember of a better or worse time is gone.
    pub(super) fn turn(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
        self.remembered.lock().unwrap().clear();
    }

    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    /// A number below `sides`.
    fn roll(&self, sides: u64) -> u64 {
        let seed = self
            .dice
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut word = seed;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    }

    fn happens(&self, percent: u64) -> bool {
        let happens = self.roll(100) < percent;
        self.faults.fetch_add(u64::from(happens), Ordering::Relaxed);
        happens
    }

    fn lie(&self, owner: &OwnerName, truth: Lookup) -> Lookup {
        let true_values = match truth {
            Lookup::Found(values) => values,
            _ => Vec::new(),
        };
        match self.roll(5) {
            0 => Lookup::Absent,
            1 => Lookup::Found(vec!["v=spf1 -all".to_owned(), String::new()]),
            2 => {
                // What stands at another name, in place of what stands here.
                let kind = owner.as_str().split(['-', '.']).next().unwrap_or_default();
                let names = self.world.names(kind);
                match names.get(self.roll(names.len().max(1) as u64) as usize) {
                    Some(name) => Lookup::Found(self.world.zone.query(name)),
                    None => Lookup::Absent,
                }
            }
            3 => {
                // One character of each value is another.
                let bent = true_values.into_iter().map(|value| {
                    let at = self.roll(value.len().max(1) as u64) as usize;
                    let mut bytes = value.into_bytes();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = if *byte == b'A' { b'B' } else { b'A' };
                    }
                    String::from_utf8_lossy(&bytes).into_owned()
                });
                Lookup::Found(bent.collect())
            }
            _ => {
                let junk = (0..20).map(|_| format!("v=dmp1;t=chunk;d={}", self.roll(u64::MAX)));
                Lookup::Found(junk.chain(true_values).collect())
            }
        }
    }
}

impl Reader for Network {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            let weather = self.weather();
            if self.happens(weather.lost) {
                tokio::time::sleep(Duration::from_secs(5)).await;
                return Lookup::Unreachable("no answer".to_owned());
            }
            let truth = self.world.txt(owner).await;
            if self.happens(weather.lies) {
                return self.lie(owner, truth);
            }
            // A one-time key from a cache may be used up, which no sender can know: that is the protocol's limit.
            let may_be_stale = !owner.as_str().starts_with("prekeys.");
            let mut remembered = self.remembered.lock().unwrap();
            if may_be_stale && self.happens(weather.stale) {
                let cached = remembered.entry(owner.to_string()).or_insert(truth);
                return cached.clone();
            }
            truth
        })
    }
}

impl Writer for Network {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let weather = self.weather();
            let unreachable = || Err(WriteError::Unreachable("no answer".to_owned()));
            if self.happens(weather.refused) {
                // The first message of a list may be through when the second is not.
                let through = self.roll(operations.len() as u64 + 1) as usize;
                let mut applied = Applied::default();
                if let Some(first) = operations.get(..through).filter(|first| !first.is_empty()) {
                    applied = self.world.apply(first).await;
                }
                applied.messages.push(Message {
                    operations: through..operations.len(),
                    bytes: 0,
                    outcome: unreachable(),
                });
                return applied;
            }
            let applied = self.world.apply(operations).await;
            if self.happens(weather.silent) {
                return Applied {
                    messages: vec![Message {
                        operations: 0..operations.len(),
                        bytes: 0,
                        outcome: unreachable(),
                    }],
                };
            }
            applied
        })
    }
}

impl ClaimSender for Network {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        Box::pin(async move {
            if self.happens(self.weather().refused) {
                return Err(WriteError::Unreachable("no answer".to_owned()));
            }
            ClaimSender::send(&*self.world, notice).await
        })
    }
}
