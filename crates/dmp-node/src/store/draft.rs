//! What one transaction sees and does: the zone as earlier requests of the same group left it, and its own changes.
//!
//! Record changes stay in memory until the whole group is written, so a refused request costs no disk access; SQL of
//! other modules runs at once under a savepoint of its own.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use rusqlite::{Connection, params};

use super::schema::{ClockMark, State};
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
    /// Owner names that the group has looked at, with their places in `touched`.
    places: HashMap<Owner, usize, RandomState>,
    touched: Vec<Touched>,
    inserts: Vec<NewRow>,
    deletes: Vec<i64>,
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
    hooks: usize,
    savepoint: bool,
}

impl<'w> Draft<'w> {
    pub(super) fn new(
        connection: &'w Connection,
        zone: &'w ZoneIndex,
        millis: u64,
        state: State,
    ) -> Self {
        Self {
            connection,
            zone,
            millis,
            places: HashMap::default(),
            touched: Vec::new(),
            inserts: Vec::new(),
            deletes: Vec::new(),
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
        self.zone
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
                .zone
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
    pub fn publish(&mut self, owner: &Owner, text: &str, ttl: u64, writer: WriterTag) -> Published {
        let now = self.now();
        let id = self.state.next_row;
        self.state.next_row += 1;
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
        if !self.entry(owner).values.iter().any(&matches) {
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

    /// Where in `touched` the owner name stands.
    fn place(&mut self, owner: &Owner) -> usize {
        if let Some(place) = self.places.get(owner) {
            return *place;
        }
        let place = self.touched.len();
        self.touched.push(Touched {
            owner: owner.clone(),
            values: self.zone.entry(owner, self.millis / 1000),
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
        if !self.inserts.is_empty() || !self.deletes.is_empty() {
            self.begin()?;
            let mut insert = self.connection.prepare_cached(
                "INSERT INTO record (id, owner, value, ttl, stored_ms, expires_at, writer) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            let mut owner = String::new();
            for row in &self.inserts {
                owner.clear();
                row.owner.write(&mut owner);
                insert.execute(params![
                    row.id,
                    owner,
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
        } = self.state;
        let sql =
            "UPDATE state SET serial = ?1, next_row = ?2, live = ?3, clock_at = ?4, clock_row = ?5";
        self.connection.prepare_cached(sql)?.execute(params![
            serial,
            next_row,
            live as i64,
            clock.at as i64,
            clock.row
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
            self.zone
                .replace(&touched.owner, &touched.values, self.millis / 1000);
        }
        self.zone.set_serial(self.state.serial);
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
