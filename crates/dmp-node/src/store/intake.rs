//! Adding many values to the file at once, from elsewhere: what is there stays, equal values become one with the later
//! expiry.
//!
//! The bounds that an operator sets for writers do not hold here, the hard ones of the index do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::offline::Position;
use super::tombstones::{Mark as Buried, Tombstones, hash_of};
use crate::limits::{NAME_CONTENT, VALUE_OCTETS, VALUE_OVERHEAD};
use crate::zone::Owner;

/// A value at a name, or a name alone, as 128 bits of a hash: a million of them fit in memory.
type Mark = [u8; 16];

/// A value to add; times are Unix seconds.
pub(crate) struct Incoming<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) value: &'a str,
    pub(crate) ttl: i64,
    pub(crate) expires_at: i64,
}

/// When the values of an intake were written, as far as deletes are concerned (D24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// By whoever runs the intake: what was deleted before comes back.
    Now,
    /// At some time: what was deleted here stays so.
    Unknown,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is there now.
    Added,
    /// It was there and lives longer now.
    Extended,
    /// It was there.
    Present,
    /// Its life is over, or it was deleted here.
    Expired,
    /// It is not there, for this reason.
    Refused(&'static str),
}

/// A value that the file holds.
struct Held {
    row: i64,
    expires_at: i64,
    /// Of an earlier value of the same intake.
    is_new: bool,
}

/// Values on their way into the file, inside a transaction of the caller's.
pub(crate) struct Intake<'c> {
    sql: &'c Connection,
    millis: u64,
    now: i64,
    position: Position,
    written: Written,
    tombstones: Tombstones,
    held: HashMap<Mark, Held>,
    content: HashMap<Mark, u64>,
}

impl<'c> Intake<'c> {
    /// Reads what is there already.
    pub(crate) fn new(
        sql: &'c Connection,
        millis: u64,
        position: Position,
        written: Written,
    ) -> rusqlite::Result<Self> {
        let mut intake = Self {
            sql,
            millis,
            now: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
            position,
            written,
            tombstones: Tombstones::load(sql)?,
            held: HashMap::new(),
            content: HashMap::new(),
        };
        let mut statement = sql.prepare("SELECT id, owner, value, expires_at FROM record")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (owner, value): (String, String) = (row.get(1)?, row.get(2)?);
            let held = Held {
                row: row.get(0)?,
                expires_at: row.get(3)?,
                is_new: false,
            };
            *intake.content.entry(mark(&owner, None)).or_default() += size(&value);
            intake.held.insert(mark(&owner, Some(&value)), held);
        }
        Ok(intake)
    }

    /// Where the rows of this intake end.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Adds one value.
    pub(crate) fn take(&mut self, incoming: &Incoming<'_>) -> rusqlite::Result<Taken> {
        let Incoming {
            owner,
            value,
            ttl,
            expires_at,
        } = *incoming;
        if expires_at <= self.now || !self.exhume(owner, value)? {
            return Ok(Taken::Expired);
        }
        // As it stands in the file: the time of the row, or not known.
        let written_at = (self.written == Written::Unknown).then_some(0);
        let owner = owner.to_string();
        let vacant = match self.held.entry(mark(&owner, Some(value))) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                if held.expires_at >= expires_at {
                    return Ok(Taken::Present);
                }
                let (row, stamp) = self.position.take(self.millis);
                let update = "UPDATE record SET id = ?2, ttl = ?3, stored_ms = ?4, expires_at = ?5, written_at = ?6
                              WHERE id = ?1";
                self.sql
                    .prepare_cached(update)?
                    .execute(params![held.row, row, ttl, stamp, expires_at, written_at])?;
                (held.row, held.expires_at) = (row, expires_at);
                // One that came twice is one value, counted where it was added.
                let taken = if held.is_new {
                    Taken::Present
                } else {
                    Taken::Extended
                };
                return Ok(taken);
            }
            Entry::Vacant(vacant) => vacant,
        };
        if value.len() as u64 > VALUE_OCTETS {
            return Ok(Taken::Refused(
                "the value is longer than one TXT record holds",
            ));
        }
        let content = self.content.entry(mark(&owner, None)).or_default();
        if *content + size(value) > NAME_CONTENT {
            return Ok(Taken::Refused(
                "the values at this name are more than one name may hold",
            ));
        }
        *content += size(value);
        let (row, stamp) = self.position.take(self.millis);
        vacant.insert(Held {
            row,
            expires_at,
            is_new: true,
        });
        let insert =
            "INSERT INTO record (id, owner, value, ttl, stored_ms, expires_at, writer, written_at)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)";
        self.sql.prepare_cached(insert)?.execute(params![
            row, owner, value, ttl, stamp, expires_at, written_at
        ])?;
        Ok(Taken::Added)
    }

    /// Whether the value may be there: none that was deleted, unless it is written anew, which ends its tombstone.
    fn exhume(&mut self, owner: &Owner, value: &str) -> rusqlite::Result<bool> {
        if self.tombstones.is_empty() {
            return Ok(true);
        }
        let buried = Buried::new(owner, &hash_of(value));
        let Some(tombstone) = self.tombstones.find(&buried) else {
            return Ok(true);
        };
        if self.written == Written::Unknown && tombstone.expires_at as i64 > self.now {
            return Ok(false);
        }
        let delete = "DELETE FROM tombstone WHERE id = ?1";
        self.sql.prepare_cached(delete)?.execute([tombstone.row])?;
        self.tombstones.set(buried, None);
        Ok(true)
    }
}

fn mark(owner: &str, value: Option<&str>) -> Mark {
    let mut hash = Sha256::new();
    hash.update(owner.as_bytes());
    if let Some(value) = value {
        hash.update([0]);
        hash.update(value.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut mark = [0; 16];
    mark.copy_from_slice(&digest[..16]);
    mark
}

/// What a value counts towards [`NAME_CONTENT`].
fn size(value: &str) -> u64 {
    value.len() as u64 + VALUE_OVERHEAD
}
