//! The index of live values that every query reads.
//!
//! It holds no file and takes no decision about who may write; the store's writer thread is its only mutator.

mod owner;

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use owner::{Labels, Owner, OwnerError};

/// One TXT value of an owner name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Pre-encoded TXT RDATA.
    pub rdata: Box<[u8]>,
    /// Unix second at which the value stops being visible.
    pub expires_at: u64,
    /// Row in the store.
    pub row: i64,
    /// Who wrote it; 0 for those that no quota counts.
    pub writer: u64,
}

/// The in-memory zone.
#[derive(Debug, Default)]
pub struct ZoneIndex {
    names: RwLock<HashMap<Owner, Vec<Value>>>,
    live: AtomicU64,
    serial: AtomicU32,
}

impl ZoneIndex {
    /// Values of `owner` visible at `now` (Unix seconds), oldest first.
    pub fn values(&self, owner: &Owner, now: u64) -> Vec<String> {
        let names = self
            .names
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(values) = names.get(owner) else {
            return Vec::new();
        };
        values
            .iter()
            .filter(|value| value.expires_at > now)
            .map(Value::text)
            .collect()
    }

    /// How many values the index holds; expired ones leave it within a tick.
    pub fn live_values(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// SOA serial of the served content.
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Relaxed)
    }

    pub(crate) fn set_serial(&self, serial: u32) {
        self.serial.store(serial, Ordering::Relaxed);
    }

    pub(crate) fn entry(&self, owner: &Owner) -> Vec<Value> {
        let names = self
            .names
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        names.get(owner).cloned().unwrap_or_default()
    }

    pub(crate) fn replace(&self, owner: &Owner, values: &[Value]) {
        let mut names = self
            .names
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let before = if values.is_empty() {
            names.remove(owner)
        } else {
            names.insert(owner.clone(), values.to_vec())
        };
        self.live.fetch_sub(
            before.map_or(0, |values| values.len() as u64),
            Ordering::Relaxed,
        );
        self.live.fetch_add(values.len() as u64, Ordering::Relaxed);
    }

    /// Adds one value while the store is being loaded.
    pub(crate) fn append(&self, owner: &Owner, value: Value) {
        let mut values = self.entry(owner);
        values.push(value);
        self.replace(owner, &values);
    }

    pub(crate) fn reap(&self, now: u64) -> Vec<i64> {
        let mut names = self
            .names
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut rows = Vec::new();
        names.retain(|_, values| {
            values.retain(|value| {
                let live = value.expires_at > now;
                if !live {
                    rows.push(value.row);
                }
                live
            });
            !values.is_empty()
        });
        self.live.fetch_sub(rows.len() as u64, Ordering::Relaxed);
        rows
    }
}

impl Value {
    /// The value as text: the character-strings joined.
    pub fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(self.rdata.len());
        let mut rest = &self.rdata[..];
        while let Some((&length, tail)) = rest.split_first() {
            let (string, after) = tail.split_at(usize::from(length).min(tail.len()));
            bytes.extend_from_slice(string);
            rest = after;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// TXT RDATA of `text`: character-strings of up to 255 octets, one empty string for an empty value.
pub(crate) fn encode_txt(text: &[u8]) -> Box<[u8]> {
    if text.is_empty() {
        return Box::new([0]);
    }
    let mut rdata = Vec::with_capacity(text.len() + text.len().div_ceil(255));
    for piece in text.chunks(255) {
        rdata.push(piece.len() as u8);
        rdata.extend_from_slice(piece);
    }
    rdata.into_boxed_slice()
}
