//! Adding many values to the file at once, from elsewhere: what is there stays, equal values become one with the later
//! expiry.
//!
//! The bounds that an operator sets for writers do not hold here, the hard ones of the index do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::limits::{NAME_CONTENT, VALUE_OCTETS, VALUE_OVERHEAD};
use crate::zone::Owner;

/// A value at a name, or a name alone, as 128 bits of a hash: a million of them fit in memory.
type Mark = [u8; 16];

/// A value to add; times are Unix seconds, `stored_ms` milliseconds.
pub(crate) struct Incoming<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) value: &'a str,
    pub(crate) ttl: i64,
    pub(crate) stored_ms: i64,
    pub(crate) expires_at: i64,
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
    /// Its life is over.
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
    now: i64,
    next_row: i64,
    held: HashMap<Mark, Held>,
    content: HashMap<Mark, u64>,
}

impl<'c> Intake<'c> {
    /// Reads what is there already.
    pub(crate) fn new(sql: &'c Connection, now: u64, next_row: i64) -> rusqlite::Result<Self> {
        let mut intake = Self {
            sql,
            now: i64::try_from(now).unwrap_or(i64::MAX),
            next_row,
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

    /// Row id after the last one used.
    pub(crate) fn next_row(&self) -> i64 {
        self.next_row
    }

    /// Adds one value.
    pub(crate) fn take(&mut self, incoming: &Incoming<'_>) -> rusqlite::Result<Taken> {
        let Incoming {
            owner,
            value,
            ttl,
            stored_ms,
            expires_at,
        } = *incoming;
        if expires_at <= self.now {
            return Ok(Taken::Expired);
        }
        let owner = owner.to_string();
        let vacant = match self.held.entry(mark(&owner, Some(value))) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                if held.expires_at >= expires_at {
                    return Ok(Taken::Present);
                }
                held.expires_at = expires_at;
                let update =
                    "UPDATE record SET ttl = ?2, stored_ms = ?3, expires_at = ?4 WHERE id = ?1";
                self.sql
                    .prepare_cached(update)?
                    .execute(params![held.row, ttl, stored_ms, expires_at])?;
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
        vacant.insert(Held {
            row: self.next_row,
            expires_at,
            is_new: true,
        });
        let insert = "INSERT INTO record (id, owner, value, ttl, stored_ms, expires_at, writer)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)";
        self.sql.prepare_cached(insert)?.execute(params![
            self.next_row,
            owner,
            value,
            ttl,
            stored_ms,
            expires_at
        ])?;
        self.next_row += 1;
        Ok(Taken::Added)
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
