//! What other nodes of a cluster read: everything in the order in which it came here, page by page (federation.md 4.9).
//!
//! Reading has a connection of its own: neither queries nor writes wait for it. It decides nothing about who may read.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::PoisonError;

use rusqlite::{Connection, OptionalExtension, Row, Rows};
use thiserror::Error;

use super::tombstones::{Mark, hash_of, is_shared};
use super::{Store, schema};
use crate::zone::Owner;

/// Where a reader has got to: rows after it are to come. Ordered as the digest is; the default is its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Unix milliseconds.
    pub ts: u64,
    /// Owner name, or what stands in its place.
    pub name: String,
    /// SHA-256 of the value; `None` is before any.
    pub hash: Option<[u8; 32]>,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cursor must be '<ts>:<name>:<value_hash>'")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    /// Reads `<ts>:<name>:<hash>`; the hash and its colon may be missing.
    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.splitn(3, ':');
        let ts = parts.next().unwrap_or_default();
        let name = parts.next().ok_or(InvalidCursor)?;
        let is_number = !ts.is_empty() && ts.bytes().all(|digit| digit.is_ascii_digit());
        if !is_number || name.chars().count() > NAME_CHARACTERS {
            return Err(InvalidCursor);
        }
        let hash = match parts.next().unwrap_or_default() {
            "" => None,
            digits => {
                let mut hash = [0; 32];
                hex::decode_to_slice(digits, &mut hash).map_err(|_| InvalidCursor)?;
                if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
                    return Err(InvalidCursor);
                }
                Some(hash)
            }
        };
        Ok(Self {
            ts: ts.parse().unwrap_or(u64::MAX), // nothing comes after a time that large
            name: name.to_owned(),
            hash,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.hash.map(hex::encode).unwrap_or_default();
        write!(f, "{}:{}:{hash}", self.ts, self.name)
    }
}

/// Longest name in a cursor (federation.md 4.9).
const NAME_CHARACTERS: usize = 253;

/// Whether a page tells of deletes (D24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// Live values only.
    Hidden,
    /// Tombstones too.
    Shown,
}

/// One row of the digest: a live value, or a deleted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestRow {
    /// Owner name.
    pub name: String,
    /// SHA-256 of the value.
    pub hash: [u8; 32],
    /// Unix milliseconds at which this node wrote it last.
    pub ts: u64,
    /// Seconds that the value, or the tombstone, has left; at least 1.
    pub ttl: u64,
    /// Unix milliseconds of the last client write, if that is known; `None` of a tombstone.
    pub written_at: Option<u64>,
    /// Unix milliseconds of the delete; `None` of a live value.
    pub deleted_at: Option<u64>,
}

/// A piece of the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its rows, in order.
    pub rows: Vec<DigestRow>,
    /// Whether more rows are there already.
    pub has_more: bool,
    /// The place of the last row, or the one asked for if there is none.
    pub next: Cursor,
}

/// A live value as another node takes it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredValue {
    /// Its name.
    pub owner: Owner,
    /// The value.
    pub value: String,
    /// Seconds that it has left; at least 1.
    pub ttl: u64,
}

/// What this node has of a value that another one lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// The value.
    Live {
        /// Seconds that it has left.
        ttl: u64,
        /// Unix milliseconds of the last client write, if that is known.
        written_at: Option<u64>,
    },
    /// The knowledge that it was deleted.
    Buried {
        /// Unix milliseconds of the delete.
        deleted_at: u64,
    },
}

/// Whether other nodes are told of a value at a name.
pub type IsListed = fn(&Owner, &str) -> bool;

impl Store {
    /// Up to `limit` rows of the digest after `after`, values as far as they are listed. Pages that follow each other show
    /// every row once, also while writes go on. Blocks the calling thread.
    pub fn digest(
        &self,
        after: &Cursor,
        limit: usize,
        deletes: Deletes,
        is_listed: IsListed,
    ) -> rusqlite::Result<Page> {
        // Before the file is looked at: what is committed later gets later stamps.
        let shown = Shown {
            until: self.shared.stamps().show(),
            now: self.shared.clock.seconds(),
            is_listed,
        };
        self.read_replica(|sql| {
            let mut records = sql.prepare_cached(
                "SELECT stored_ms, owner, expires_at, coalesce(written_at, stored_ms), value FROM record
                 WHERE id >= ?1 ORDER BY id",
            )?;
            let mut tombstones = sql.prepare_cached(
                "SELECT stored_ms, owner, expires_at, deleted_at, hash FROM tombstone
                 WHERE id >= ?1 ORDER BY id",
            )?;
            let first = first_at(sql, "record", after.ts)?;
            let mut sources = vec![Source::new(records.query([first])?, value_row)];
            if deletes == Deletes::Shown {
                let first = first_at(sql, "tombstone", after.ts)?;
                sources.push(Source::new(tombstones.query([first])?, tombstone_row));
            }
            page(&mut sources, after, limit, &shown)
        })
    }

    /// The live and listed values of `names`, in the order of the digest. Names whose values would make the answer longer
    /// than `octets` of JSON are left out, and all after them; the first never is. Blocks the calling thread.
    pub fn values_of(
        &self,
        names: &[Owner],
        octets: usize,
        is_listed: IsListed,
    ) -> rusqlite::Result<Vec<StoredValue>> {
        let now = self.shared.clock.seconds();
        let mut found = Vec::new();
        let mut taken = 0;
        for owner in names.iter().filter(|owner| is_shared(owner)) {
            let mut values = self.shared.zone.entry(owner, now);
            values.retain(|value| value.expires_at > now && is_listed(owner, &value.text));
            taken += values
                .iter()
                .map(|value| json_octets(owner, &value.text))
                .sum::<usize>();
            if taken > octets && !found.is_empty() {
                break;
            }
            found.extend(values.into_iter().map(|value| (owner, value)));
        }
        let mut stamped = self.read_replica(|sql| {
            let mut statement = sql.prepare_cached("SELECT stored_ms FROM record WHERE id = ?1")?;
            let stamped = found.into_iter().map(|(owner, value)| {
                let stamp = statement.query_row([value.row], |row| row.get::<_, i64>(0));
                // One that was written anew meanwhile is now among the last.
                let stamp = stamp.optional()?.unwrap_or(i64::MAX);
                let place = (stamp, owner.to_string(), hash_of(&value.text));
                Ok((place, owner, value))
            });
            stamped.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        stamped.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let values = stamped.into_iter().map(|(_, owner, value)| StoredValue {
            owner: owner.clone(),
            ttl: value.expires_at.saturating_sub(now).max(1),
            value: value.text.into(),
        });
        Ok(values.collect())
    }

    /// What this node has of each value, named by its SHA-256. Blocks the calling thread.
    pub fn standing(&self, pairs: &[(Owner, [u8; 32])]) -> rusqlite::Result<Vec<Standing>> {
        let now = self.shared.clock.seconds();
        self.read_replica(|sql| {
            let standing = pairs.iter().map(|(owner, hash)| {
                let values = self.shared.zone.entry(owner, now).into_iter();
                let mut live = values.filter(|value| value.expires_at > now);
                if let Some(value) = live.find(|value| hash_of(&value.text) == *hash) {
                    return Ok(Standing::Live {
                        ttl: value.expires_at - now,
                        written_at: known(written_at(sql, value.row)?),
                    });
                }
                let tombstone = self.shared.tombstones().find(&Mark::new(owner, hash));
                let tombstone = tombstone.filter(|tombstone| tombstone.expires_at > now);
                Ok(
                    tombstone.map_or(Standing::Absent, |tombstone| Standing::Buried {
                        deleted_at: tombstone.deleted_at,
                    }),
                )
            });
            standing.collect()
        })
    }

    /// Reads one moment of the file on the connection for other nodes.
    fn read_replica<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let reader = self.replica_reader.lock();
        let mut reader = reader.unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *reader {
            Some(connection) => connection,
            none => none.insert(schema::reader(&self.path)?),
        };
        let moment = connection.unchecked_transaction()?;
        let read = work(&moment)?;
        moment.finish().map(|()| read)
    }
}

/// When a client last wrote the value in `row` (Unix milliseconds), as the file has it; 0 if that is unknown, or the row
/// is gone.
pub(super) fn written_at(sql: &Connection, row: i64) -> rusqlite::Result<u64> {
    let select = "SELECT coalesce(written_at, stored_ms) FROM record WHERE id = ?1";
    let found: Option<i64> = sql
        .prepare_cached(select)?
        .query_row([row], |row| row.get(0))
        .optional()?;
    Ok(found.map_or(0, i64::unsigned_abs))
}

fn known(written_at: u64) -> Option<u64> {
    Some(written_at).filter(|at| *at > 0)
}

/// What a page shows.
struct Shown {
    /// Rows with later stamps are not shown yet.
    until: u64,
    /// Unix seconds.
    now: u64,
    is_listed: IsListed,
}

/// The rows of one table from some row on.
struct Source<'s> {
    rows: Rows<'s>,
    /// The row that `rows` stands at, with its stamp.
    next: Option<(u64, DigestRow)>,
    read: ReadRow,
}

/// Reads a row that has `ttl` seconds left; `None` if it is not listed.
type ReadRow = fn(&Row<'_>, ttl: u64, IsListed) -> rusqlite::Result<Option<DigestRow>>;

impl<'s> Source<'s> {
    fn new(rows: Rows<'s>, read: ReadRow) -> Self {
        Self {
            rows,
            next: None,
            read,
        }
    }

    /// Goes on to the next row that is shown.
    fn advance(&mut self, shown: &Shown) -> rusqlite::Result<()> {
        self.next = None;
        while let Some(row) = self.rows.next()? {
            let stamp = row.get::<_, i64>(0)?.unsigned_abs();
            if stamp > shown.until {
                break;
            }
            let expires_at = row.get::<_, i64>(2)?.unsigned_abs();
            if expires_at <= shown.now {
                continue;
            }
            if let Some(row) = (self.read)(row, expires_at - shown.now, shown.is_listed)? {
                self.next = Some((stamp, row));
                break;
            }
        }
        Ok(())
    }
}

fn value_row(row: &Row<'_>, ttl: u64, is_listed: IsListed) -> rusqlite::Result<Option<DigestRow>> {
    let (name, value) = (row.get_ref(1)?.as_str()?, row.get_ref(4)?.as_str()?);
    let owner = Owner::parse(name).ok();
    if !owner.is_some_and(|owner| is_shared(&owner) && is_listed(&owner, value)) {
        return Ok(None);
    }
    Ok(Some(DigestRow {
        name: name.to_owned(),
        hash: hash_of(value),
        ts: row.get::<_, i64>(0)?.unsigned_abs(),
        ttl,
        written_at: known(row.get::<_, i64>(3)?.unsigned_abs()),
        deleted_at: None,
    }))
}

fn tombstone_row(row: &Row<'_>, ttl: u64, _: IsListed) -> rusqlite::Result<Option<DigestRow>> {
    Ok(Some(DigestRow {
        name: row.get(1)?,
        hash: row.get(4)?,
        ts: row.get::<_, i64>(0)?.unsigned_abs(),
        ttl,
        written_at: None,
        deleted_at: Some(row.get::<_, i64>(3)?.unsigned_abs()),
    }))
}

/// Joins the sources stamp by stamp. Few rows share a stamp, so little is read beyond the page.
fn page(
    sources: &mut [Source<'_>],
    after: &Cursor,
    limit: usize,
    shown: &Shown,
) -> rusqlite::Result<Page> {
    for source in &mut *sources {
        source.advance(shown)?;
    }
    let mut rows: Vec<DigestRow> = Vec::new();
    while rows.len() <= limit {
        let stamps = sources.iter().filter_map(|source| source.next.as_ref());
        let Some(stamp) = stamps.map(|(stamp, _)| *stamp).min() else {
            break;
        };
        let begun = rows.len();
        for source in &mut *sources {
            while let Some((_, row)) = source.next.take_if(|(at, _)| *at == stamp) {
                rows.push(row);
                source.advance(shown)?;
            }
        }
        let group = rows.get_mut(begun..).unwrap_or_default();
        group.sort_by(DigestRow::order);
        if stamp == after.ts {
            rows.retain(|row| row.is_after(after));
        }
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Page {
        has_more,
        next: rows.last().map_or_else(|| after.clone(), DigestRow::cursor),
        rows,
    })
}

impl DigestRow {
    fn order(&self, other: &Self) -> Ordering {
        (self.ts, &self.name, self.hash).cmp(&(other.ts, &other.name, other.hash))
    }

    fn is_after(&self, cursor: &Cursor) -> bool {
        self.cursor() > *cursor
    }

    /// The place of this row.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            ts: self.ts,
            name: self.name.clone(),
            hash: Some(self.hash),
        }
    }
}

/// The id of the first row of `table` with a stamp of `ts` or later, or one beyond the last: ids and stamps rise together.
pub(super) fn first_at(sql: &Connection, table: &str, ts: u64) -> rusqlite::Result<i64> {
    let ts = i64::try_from(ts).unwrap_or(i64::MAX);
    let last = format!("SELECT coalesce(max(id), 0) FROM {table}");
    let last: i64 = sql.prepare_cached(&last)?.query_row([], |row| row.get(0))?;
    let probe = format!("SELECT id, stored_ms FROM {table} WHERE id >= ?1 ORDER BY id LIMIT 1");
    let mut probe = sql.prepare_cached(&probe)?;
    let (mut low, mut high) = (0, if ts > 0 { last + 1 } else { 0 });
    while low < high {
        let middle = low + (high - low) / 2;
        let found = probe.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)));
        match found.optional()? {
            Some::<(i64, i64)>((id, stamp)) if stamp < ts => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Octets of a value in the JSON of an answer, at most.
fn json_octets(owner: &Owner, value: &str) -> usize {
    let escaped = value.bytes().map(|octet| match octet {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    });
    owner.as_wire().len() + escaped.sum::<usize>() + JSON_OVERHEAD
}

/// Octets of `{"name": "", "value": "", "ttl": 4294967295}, `.
const JSON_OVERHEAD: usize = 48;
