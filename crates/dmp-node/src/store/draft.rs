//! What one transaction sees and does: the zone as earlier requests of the same group left it, and its own changes.
//!
//! Record changes stay in memory until the whole group is written, so a refused request costs no disk access; SQL of
//! other modules runs at once under a savepoint of its own.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use crate::zone::{Owner, Value, ZoneIndex};

/// Who wrote a value, as the per-writer quota counts it (D13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterTag(pub(crate) u64);

impl WriterTag {
    /// Operator, replication and unsigned claims: counted by no writer's quota.
    pub const NOBODY: Self = Self(0);
}

/// What a publish did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The value was not there.
    New,
    /// The value was there; its life starts anew.
    Refreshed,
}

type Hook = Box<dyn FnOnce() + Send>;

struct NewRow {
    id: i64,
    owner: Owner,
    text: Box<str>,
    ttl: u64,
    expires_at: u64,
    writer: u64,
}

/// One transaction inside the group of requests that share a commit. Nothing it does is visible outside before that.
pub struct Draft<'w> {
    connection: &'w Connection,
    zone: &'w ZoneIndex,
    millis: u64,
    /// Owner names that the group has looked at, with the values they will have.
    touched: HashMap<Owner, Vec<Value>>,
    /// Those whose values change.
    changed: HashSet<Owner>,
    inserts: Vec<NewRow>,
    deletes: Vec<i64>,
    hooks: Vec<Hook>,
    serial: u32,
    next_row: i64,
    begun: bool,
    octets_in_use: Option<u64>,
    request: Request,
}

/// What undoing the current request takes.
#[derive(Default)]
struct Request {
    before: HashMap<Owner, Vec<Value>>,
    inserts: usize,
    deletes: usize,
    hooks: usize,
    savepoint: bool,
}

impl<'w> Draft<'w> {
    pub(super) fn new(
        connection: &'w Connection,
        zone: &'w ZoneIndex,
        millis: u64,
        serial: u32,
        next_row: i64,
    ) -> Self {
        Self {
            connection,
            zone,
            millis,
            touched: HashMap::new(),
            changed: HashSet::new(),
            inserts: Vec::new(),
            deletes: Vec::new(),
            hooks: Vec::new(),
            serial,
            next_row,
            begun: false,
            octets_in_use: None,
            request: Request::default(),
        }
    }

    /// Unix seconds that every request of this group takes as now.
    pub fn now(&self) -> u64 {
        self.millis / 1000
    }

    /// Unix milliseconds of the same moment.
    pub fn now_millis(&self) -> u64 {
        self.millis
    }

    /// The live values of `owner`, oldest first, with the changes made so far.
    pub fn values(&mut self, owner: &Owner) -> impl Iterator<Item = &Value> {
        let now = self.now();
        self.entry(owner)
            .iter()
            .filter(move |value| value.expires_at > now)
    }

    /// Appends `text` at `owner` for `ttl` seconds; an equal live value is replaced and moves to the end (node.md 5.2).
    pub fn publish(&mut self, owner: &Owner, text: &str, ttl: u64, writer: WriterTag) -> Published {
        let now = self.now();
        let id = self.next_row;
        self.next_row += 1;
        let expires_at = now.saturating_add(ttl);
        let values = self.change(owner);
        let mut published = Published::New;
        let mut replaced = None;
        if let Some(index) = values.iter().position(|value| &*value.text == text) {
            let old = values.remove(index);
            if old.expires_at > now {
                published = Published::Refreshed;
            }
            replaced = Some(old.row);
        }
        values.push(Value {
            text: text.into(),
            expires_at,
            row: id,
            writer: writer.0,
        });
        self.deletes.extend(replaced);
        self.inserts.push(NewRow {
            id,
            owner: owner.clone(),
            text: text.into(),
            ttl,
            expires_at,
            writer: writer.0,
        });
        published
    }

    /// Deletes the value equal to `text`; whether a live one was there.
    pub fn delete_value(&mut self, owner: &Owner, text: &str) -> bool {
        self.delete(owner, |value| &*value.text == text) > 0
    }

    /// Deletes every value of `owner`; how many live ones there were.
    pub fn delete_all(&mut self, owner: &Owner) -> usize {
        self.delete(owner, |_| true)
    }

    /// How many values the store holds with the changes made so far.
    pub(crate) fn rows(&self) -> u64 {
        (self.zone.live_values() + self.inserts.len() as u64)
            .saturating_sub(self.deletes.len() as u64)
    }

    /// Octets of the database that hold something, as the group found it: looked up once a group, for that costs a statement.
    pub(crate) fn octets_in_use(&mut self) -> u64 {
        *self.octets_in_use.get_or_insert_with(|| {
            let sql = "SELECT (c.page_count - f.freelist_count) * s.page_size
                       FROM pragma_page_count() c, pragma_freelist_count() f, pragma_page_size() s";
            let octets = self
                .connection
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)));
            // A database that cannot tell this cannot commit either, and that is what the writer is told then.
            octets.map_or(0, i64::unsigned_abs)
        })
    }

    /// The connection inside the group's transaction, for tables of other modules. The first call sets a savepoint, so
    /// that an `Err` of this request undoes its statements and no others.
    pub fn sql(&mut self) -> rusqlite::Result<&Connection> {
        self.begin()?;
        if !self.request.savepoint {
            self.connection
                .prepare_cached("SAVEPOINT request")?
                .execute([])?;
            self.request.savepoint = true;
        }
        Ok(self.connection)
    }

    /// Runs `hook` on the writer thread once the commit is durable, before any answer of the group leaves and in the
    /// order of the commits: the place to swap a view in memory. Not run if this request or the commit fails.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    fn delete(&mut self, owner: &Owner, matches: impl Fn(&Value) -> bool) -> usize {
        let now = self.now();
        if !self.entry(owner).iter().any(&matches) {
            return 0;
        }
        let mut rows = Vec::new();
        let mut live = 0;
        self.change(owner).retain(|value| {
            let gone = matches(value);
            if gone {
                rows.push(value.row);
                live += usize::from(value.expires_at > now);
            }
            !gone
        });
        self.deletes.extend(rows);
        live
    }

    fn entry(&mut self, owner: &Owner) -> &mut Vec<Value> {
        match self.touched.entry(owner.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.zone.entry(owner, self.millis / 1000)),
        }
    }

    /// The values of `owner` for changing, remembered as they were for the case that the request fails.
    fn change(&mut self, owner: &Owner) -> &mut Vec<Value> {
        if !self.request.before.contains_key(owner) {
            let before = self.entry(owner).clone();
            self.request.before.insert(owner.clone(), before);
        }
        self.entry(owner)
    }

    pub(super) fn begin_request(&mut self) {
        self.request = Request {
            inserts: self.inserts.len(),
            deletes: self.deletes.len(),
            hooks: self.hooks.len(),
            ..Request::default()
        };
    }

    /// Keeps what the request did. An error leaves the transaction unusable; the group must then be given up.
    pub(super) fn keep_request(&mut self) -> rusqlite::Result<()> {
        if self.request.savepoint {
            self.connection
                .prepare_cached("RELEASE request")?
                .execute([])?;
        }
        if self.inserts.len() > self.request.inserts || self.deletes.len() > self.request.deletes {
            self.serial = self.serial.wrapping_add(1); // one message, one serial step (RFC 1982 arithmetic)
        }
        self.changed
            .extend(self.request.before.drain().map(|(owner, _)| owner));
        Ok(())
    }

    /// Undoes what the request did. An error as in [`Draft::keep_request`].
    pub(super) fn undo_request(&mut self) -> rusqlite::Result<()> {
        if self.request.savepoint {
            self.connection
                .execute_batch("ROLLBACK TO request; RELEASE request")?;
        }
        self.inserts.truncate(self.request.inserts);
        self.deletes.truncate(self.request.deletes);
        self.hooks.truncate(self.request.hooks);
        for (owner, values) in std::mem::take(&mut self.request.before) {
            self.touched.insert(owner, values);
        }
        Ok(())
    }

    /// Marks rows for deletion that are in no owner's values any more.
    pub(super) fn delete_rows(&mut self, rows: impl IntoIterator<Item = i64>) {
        self.deletes.extend(rows);
    }

    /// Writes the group and makes it durable. `Ok` with nothing to write costs no disk access.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        if !self.inserts.is_empty() || !self.deletes.is_empty() {
            self.begin()?;
            let mut insert = self.connection.prepare_cached(
                "INSERT INTO record (id, owner, value, ttl, stored_ms, expires_at, writer) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for row in &self.inserts {
                insert.execute(params![
                    row.id,
                    row.owner.to_string(),
                    row.text,
                    row.ttl as i64,
                    self.millis as i64,
                    row.expires_at as i64,
                    row.writer as i64, // the bits of the tag; SQLite knows signed integers only
                ])?;
            }
            let mut delete = self
                .connection
                .prepare_cached("DELETE FROM record WHERE id = ?1")?;
            for row in &self.deletes {
                delete.execute([row])?;
            }
            self.connection
                .prepare_cached("UPDATE state SET serial = ?1, next_row = ?2")?
                .execute(params![self.serial, self.next_row])?;
        }
        if self.begun {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Makes a committed group visible and gives the hooks to run, the serial and the next row id.
    pub(super) fn publish_group(self) -> (Vec<Hook>, u32, i64) {
        for owner in &self.changed {
            if let Some(values) = self.touched.get(owner) {
                self.zone.replace(owner, values, self.millis / 1000);
            }
        }
        self.zone.set_serial(self.serial);
        (self.hooks, self.serial, self.next_row)
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if !self.begun {
            self.connection
                .prepare_cached("BEGIN IMMEDIATE")?
                .execute([])?;
            self.begun = true;
        }
        Ok(())
    }
}
