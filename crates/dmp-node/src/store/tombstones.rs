//! What was deleted and must not come back from another node (D24): the tombstones in memory, by name and value.
//!
//! Their rows are written by [`super::Draft`]; which of value and tombstone wins is decided there.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::zone::Owner;

/// A value at a name, as 128 bits of a hash: half a million of them fit in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark([u8; 16]);

impl Mark {
    /// The value whose SHA-256 is `hash`, at `owner`.
    pub(super) fn new(owner: &Owner, hash: &[u8; 32]) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(owner.as_wire())
            .chain_update(hash)
            .finalize()
            .into();
        let mut mark = [0; 16];
        mark.copy_from_slice(&digest[..16]);
        Self(mark)
    }
}

/// SHA-256 of a value, by which nodes name it to each other.
pub(super) fn hash_of(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// One deleted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// Its row.
    pub(super) row: i64,
    /// Unix milliseconds of the delete, at the node that took it.
    pub(super) deleted_at: u64,
    /// Unix second at which it ends.
    pub(super) expires_at: u64,
}

/// All of them; those that have ended stay until they are removed from the file.
#[derive(Debug, Default)]
pub(super) struct Tombstones(HashMap<Mark, Tombstone, RandomState>);

impl Tombstones {
    /// Those in the file.
    pub(super) fn load(sql: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            sql.prepare("SELECT id, owner, hash, deleted_at, expires_at FROM tombstone")?;
        let mut rows = statement.query([])?;
        let mut tombstones = HashMap::default();
        while let Some(row) = rows.next()? {
            // A name that no value can have bars none.
            let Ok(owner) = Owner::parse(row.get_ref(1)?.as_str()?) else {
                continue;
            };
            let tombstone = Tombstone {
                row: row.get(0)?,
                deleted_at: row.get::<_, i64>(3)?.unsigned_abs(),
                expires_at: row.get::<_, i64>(4)?.unsigned_abs(),
            };
            tombstones.insert(Mark::new(&owner, &row.get(2)?), tombstone);
        }
        Ok(Self(tombstones))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn find(&self, mark: &Mark) -> Option<Tombstone> {
        self.0.get(mark).copied()
    }

    pub(super) fn set(&mut self, mark: Mark, tombstone: Option<Tombstone>) {
        match tombstone {
            Some(tombstone) => self.0.insert(mark, tombstone),
            None => self.0.remove(&mark),
        };
    }

    /// Those of deletes after `millis`.
    pub(super) fn deleted_after(&self, millis: u64) -> Vec<(Mark, Tombstone)> {
        let after = self.0.iter().filter(|(_, one)| one.deleted_at > millis);
        after.map(|(mark, one)| (*mark, *one)).collect()
    }

    /// Up to `most` of those that have ended by `now`.
    pub(super) fn ended(&self, now: u64, most: usize) -> Vec<Mark> {
        let ended = self.0.iter().filter(|(_, one)| one.expires_at <= now);
        ended.map(|(mark, _)| *mark).take(most).collect()
    }
}

/// Whether other nodes are told of what is at `owner`: each serves its own heartbeat and those that it has seen
/// (federation.md 4.11).
pub(super) fn is_shared(owner: &Owner) -> bool {
    let first = owner.labels().next();
    !first.is_some_and(|label| label.starts_with("_dnsmesh-"))
}
