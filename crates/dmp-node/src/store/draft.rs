//! What one transaction sees and does: the zone as earlier requests of the same group left it, and its own changes.
//!
//! Record changes stay in memory until the whole group is written, so a refused request costs no disk access; SQL of
//! other modules runs at once under a savepoint of its own.

mod burial;
mod restamp;

use std::collections::HashMap;

pub use burial::Replicated;
use foldhash::quality::RandomState;
use rusqlite::{Connection, params};

use super::Shared;
use super::schema::{ClockMark, State};
use super::tombstones::{Mark, Tombstone};
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
    life: Life,
}

/// How long a value lives, since when, and on whose account.
#[derive(Clone, Copy)]
struct Life {
    ttl: u64,
    expires_at: u64,
    writer: u64,
    /// Unix milliseconds of the last client write; 0 if that is unknown.
    written_at: u64,
}

/// A tombstone on its way into the file.
struct Burial {
    owner: Owner,
    hash: [u8; 32],
    tombstone: Tombstone,
}

/// One transaction inside the group of requests that share a commit. Nothing it does is visible outside before that.
pub struct Draft<'w> {
    connection: &'w Connection,
    shared: &'w Shared,
    millis: u64,
    /// Seconds for which a delete leaves a tombstone at least; `None`: deletes leave none.
    tombstone_life: Option<u64>,
    /// Owner names that the group has looked at, with their places in `touched`.
    places: HashMap<Owner, usize, RandomState>,
    touched: Vec<Touched>,
    inserts: Vec<NewRow>,
    deletes: Vec<i64>,
    burials: Vec<Burial>,
    /// Rows of tombstones that end.
    unburied: Vec<i64>,
    /// Tombstones as the group leaves them, where that is not as it found them.
    graves: HashMap<Mark, Option<Tombstone>, RandomState>,
    hooks: Vec<Hook>,
    state: State,
    notes_time: bool,
    begun: bool,
    octets_in_use: Option<u64>,
    request: Request,
}

/// An owner name with the values it will have.
struct Touched {
    owner: Owner,
    values: Vec<Value>,
    is_changed: bool,
    /// Number of the request that changed it last.
    request: u64,
}

/// What undoing the current request takes.
#[derive(Default)]
struct Request {
    /// Requests of the group so far, this one included.
    number: u64,
    /// The place of each owner name it changed, with the values before and whether earlier requests had changed them.
    before: Vec<(usize, Vec<Value>, bool)>,
    inserts: usize,
    deletes: usize,
    burials: usize,
    unburied: usize,
    /// What `graves` had of each tombstone that it changed, in the order of the changes.
    graves: Vec<(Mark, Option<Option<Tombstone>>)>,
    hooks: usize,
    savepoint: bool,
}

impl<'w> Draft<'w> {
    pub(super) fn new(
        connection: &'w Connection,
        shared: &'w Shared,
        millis: u64,
        state: State,
    ) -> Self {
        Self {
            connection,
            shared,
            millis,
            tombstone_life: shared.tombstone_life(),
            places: HashMap::default(),
            touched: Vec::new(),
            inserts: Vec::new(),
            deletes: Vec::new(),
            burials: Vec::new(),
            unburied: Vec::new(),
            graves: HashMap::default(),
            hooks: Vec::new(),
            state,
            notes_time: false,
            begun: false,
            octets_in_use: None,
            request: Request::default(),
        }
    }

    /// Unix seconds that every request of this group takes as now.
    pub fn now(&self) -> u64 {
        self.millis / 1000
    }

    /// The index as the last commit left it.
    pub(crate) fn zone(&self) -> &ZoneIndex {
        &self.shared.zone
    }

    /// Unix milliseconds of the same moment.
    pub fn now_millis(&self) -> u64 {
        self.millis
    }

    /// The live values of `owner`, oldest first, with the changes made so far.
    pub fn values(&mut self, owner: &Owner) -> impl Iterator<Item = &Value> {
        let now = self.now();
        self.entry(owner)
            .values
            .iter()
            .filter(move |value| value.expires_at > now)
    }

    /// How many live values of the writer marked `writer` stand at the name `owner` (lower-case wire form). Unlike
    /// [`Draft::values`] it keeps nothing of a name that nobody changes.
    pub(crate) fn held_by(&self, owner: &[u8], writer: WriterTag) -> u64 {
        let now = self.now();
        let is_held = |value: &&Value| value.writer == writer.0 && value.expires_at > now;
        let held = match self.places.get(owner) {
            Some(place) => self.touched[*place].values.iter().filter(is_held).count(),
            None => self
                .zone()
                .entry_at(owner, now)
                .iter()
                .filter(is_held)
                .count(),
        };
        held as u64
    }

    /// Whether the group has looked at `owner` (lower-case wire form).
    pub(crate) fn knows(&self, owner: &[u8]) -> bool {
        self.places.contains_key(owner)
    }

    /// Appends `text` at `owner` for `ttl` seconds; an equal live value is replaced and moves to the end (node.md 5.2).
    /// A tombstone of it ends (federation.md 4.9).
    pub fn publish(&mut self, owner: &Owner, text: &str, ttl: u64, writer: WriterTag) -> Published {
        let life = Life {
            ttl,
            expires_at: self.now().saturating_add(ttl),
            writer: writer.0,
            written_at: self.time_of_write(owner, text),
        };
        match self.put(owner, text, life) {
            Some(_) => Published::Refreshed,
            None => Published::New,
        }
    }

    /// Deletes the value equal to `text` on the word of who may: where deletes leave tombstones, this one does, also of a
    /// value that has not come here yet. Whether a live one was there.
    pub fn delete_value(&mut self, owner: &Owner, text: &str) -> bool {
        let deleted = self.delete(owner, |value| &*value.text == text);
        self.bury_own(owner, text, deleted.first());
        !deleted.is_empty()
    }

    /// Deletes every value of `owner`, as [`Draft::delete_value`] does; how many live ones there were.
    pub fn delete_all(&mut self, owner: &Owner) -> usize {
        let deleted = self.delete(owner, |_| true);
        for value in &deleted {
            self.bury_own(owner, &value.text, Some(value));
        }
        deleted.len()
    }

    /// Takes the value equal to `text` away to make room here: other nodes may keep it. Whether a live one was there.
    pub(crate) fn displace(&mut self, owner: &Owner, text: &str) -> bool {
        !self.delete(owner, |value| &*value.text == text).is_empty()
    }

    /// How many values the store holds with the changes made so far.
    pub(crate) fn rows(&self) -> u64 {
        (self.shared.zone.live_values() + self.inserts.len() as u64)
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

    /// Takes the values that match away and gives the live ones among them.
    fn delete(&mut self, owner: &Owner, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        let now = self.now();
        if !self.entry(owner).values.iter().any(&matches) {
            return Vec::new();
        }
        let values = self.change(owner);
        let (mut gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(values).into_iter().partition(matches);
        *values = kept;
        self.deletes.extend(gone.iter().map(|value| value.row));
        gone.retain(|value| value.expires_at > now);
        gone
    }

    /// Puts a value at the end of those of `owner`, in the place of an equal one; gives that if it was live.
    fn put(&mut self, owner: &Owner, text: &str, life: Life) -> Option<Value> {
        let now = self.now();
        let id = self.take_row();
        let values = self.change(owner);
        let replaced = values
            .iter()
            .position(|value| &*value.text == text)
            .map(|index| values.remove(index));
        values.push(Value {
            text: text.into(),
            expires_at: life.expires_at,
            row: id,
            writer: life.writer,
        });
        self.deletes
            .extend(replaced.as_ref().map(|value| value.row));
        self.inserts.push(NewRow {
            id,
            owner: owner.clone(),
            text: text.into(),
            life,
        });
        replaced.filter(|value| value.expires_at > now)
    }

    fn take_row(&mut self) -> i64 {
        let row = self.state.next_row;
        self.state.next_row += 1;
        row
    }

    /// Where in `touched` the owner name stands.
    fn place(&mut self, owner: &Owner) -> usize {
        if let Some(place) = self.places.get(owner) {
            return *place;
        }
        let place = self.touched.len();
        self.touched.push(Touched {
            owner: owner.clone(),
            values: self.shared.zone.entry(owner, self.millis / 1000),
            is_changed: false,
            request: 0,
        });
        self.places.insert(owner.clone(), place);
        place
    }

    fn entry(&mut self, owner: &Owner) -> &mut Touched {
        let place = self.place(owner);
        &mut self.touched[place]
    }

    /// The values of `owner` for changing, remembered as they were for the case that the request fails.
    fn change(&mut self, owner: &Owner) -> &mut Vec<Value> {
        let place = self.place(owner);
        let touched = &mut self.touched[place];
        if touched.request != self.request.number {
            touched.request = self.request.number;
            let before = (place, touched.values.clone(), touched.is_changed);
            self.request.before.push(before);
            touched.is_changed = true;
        }
        &mut touched.values
    }

    pub(super) fn begin_request(&mut self) {
        self.request = Request {
            number: self.request.number + 1,
            inserts: self.inserts.len(),
            deletes: self.deletes.len(),
            burials: self.burials.len(),
            unburied: self.unburied.len(),
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
            self.state.serial = self.state.serial.wrapping_add(1); // one message, one serial step (RFC 1982 arithmetic)
        }
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
        self.burials.truncate(self.request.burials);
        self.unburied.truncate(self.request.unburied);
        for (mark, before) in std::mem::take(&mut self.request.graves).into_iter().rev() {
            match before {
                Some(before) => self.graves.insert(mark, before),
                None => self.graves.remove(&mark),
            };
        }
        self.hooks.truncate(self.request.hooks);
        for (place, values, is_changed) in std::mem::take(&mut self.request.before) {
            let touched = &mut self.touched[place];
            (touched.values, touched.is_changed) = (values, is_changed);
            touched.request = 0; // of no request: the next one to change it remembers it anew
        }
        Ok(())
    }

    /// Marks rows for deletion that are in no owner's values any more.
    pub(super) fn delete_rows(&mut self, rows: impl IntoIterator<Item = i64>) {
        self.deletes.extend(rows);
    }

    /// Lets the commit note the time of this group as the time.
    pub(super) fn note_time(&mut self) {
        self.notes_time = true;
    }

    /// Writes the group and makes it durable. `Ok` with nothing to write costs no disk access.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        let new_rows = self.inserts.len() + self.burials.len();
        if new_rows > 0 || !self.deletes.is_empty() || !self.unburied.is_empty() {
            self.begin()?;
            let mut stamps = self.shared.stamps().begin(self.millis, new_rows);
            let mut insert = self.connection.prepare_cached(
                "INSERT INTO record (id, owner, value, ttl, stored_ms, expires_at, writer, written_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            let mut owner = String::new();
            for row in &self.inserts {
                owner.clear();
                row.owner.write(&mut owner);
                let stamp = stamps.take(self.millis);
                insert.execute(params![
                    row.id,
                    owner,
                    row.text,
                    row.life.ttl as i64,
                    stamp as i64,
                    row.life.expires_at as i64,
                    row.life.writer as i64, // the bits of the tag; SQLite knows signed integers only
                    (row.life.written_at != stamp).then_some(row.life.written_at as i64),
                ])?;
            }
            let mut delete = self
                .connection
                .prepare_cached("DELETE FROM record WHERE id = ?1")?;
            for row in &self.deletes {
                delete.execute([row])?;
            }
            self.write_tombstones(&mut stamps)?;
            self.state.stamp = stamps.last();
            self.write_state()?;
        }
        if self.begun {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(())
    }

    /// Writes counters and clock, so that the group has something to commit.
    pub(super) fn write_state(&mut self) -> rusqlite::Result<()> {
        self.begin()?;
        self.state.live = self.rows();
        if self.notes_time {
            self.state.clock = ClockMark {
                at: self.now(),
                row: self.state.next_row,
            };
        }
        let State {
            serial,
            next_row,
            live,
            clock,
            stamp,
        } = self.state;
        let sql = "UPDATE state
            SET serial = ?1, next_row = ?2, live = ?3, clock_at = ?4, clock_row = ?5, stamp = ?6";
        self.connection.prepare_cached(sql)?.execute(params![
            serial,
            next_row,
            live as i64,
            clock.at as i64,
            clock.row,
            stamp as i64
        ])?;
        Ok(())
    }

    /// Gives up to `pages` empty pages at the end of the file back to the system.
    pub(super) fn shrink(&mut self, pages: u32) -> rusqlite::Result<()> {
        self.begin()?;
        self.connection
            .execute_batch(&format!("PRAGMA incremental_vacuum({pages})"))
    }

    /// Whether the group changed the file.
    pub(super) fn has_written(&self) -> bool {
        self.begun
    }

    /// Makes a committed group visible and gives the hooks to run and the state that is in the file now.
    pub(super) fn publish_group(self) -> (Vec<Hook>, State) {
        for touched in self.touched.iter().filter(|touched| touched.is_changed) {
            self.shared
                .zone
                .replace(&touched.owner, &touched.values, self.millis / 1000);
        }
        self.shared.zone.set_serial(self.state.serial);
        if !self.graves.is_empty() {
            let mut tombstones = self.shared.tombstones_mut();
            for (mark, tombstone) in self.graves {
                tombstones.set(mark, tombstone);
            }
        }
        (self.hooks, self.state)
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
