//! Deletes that other nodes are told of, and values and deletes that they tell (federation.md 4.9, 4.10, D24).
//!
//! Of the last write and the last delete of a value at a name the later one wins, and of equals the delete. Whether a node
//! may say anything, and whether a value may be stored at all, has been decided by the caller.

use rusqlite::params;

use super::{Burial, Draft, Life, WriterTag};
use crate::limits::{
    NAME_CONTENT, REPLICATED_LIFE_SLACK, TOMBSTONES, VALUE_OCTETS, VALUE_OVERHEAD,
};
use crate::repeated::log_repeated;
use crate::store::digest::written_at;
use crate::store::stamps::Run;
use crate::store::tombstones::{Mark, Tombstone, hash_of, is_shared};
use crate::zone::{Owner, Value};

/// What became of a value that another node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicated {
    /// It was not here and is now.
    New,
    /// It was here and lives longer, or is known to have been written later.
    Refreshed,
    /// It was here, with nothing to learn.
    Known,
    /// A delete wins: it is not stored.
    Buried,
    /// The value, or with it all values of the name, would be longer than the index holds.
    Full,
}

impl Draft<'_> {
    /// Stores a value of another node for `ttl` seconds, written by a client at `written_at` (Unix milliseconds; `None`:
    /// unknown, which loses against any tombstone). A value that is here lives as long as the longer of both (W5).
    ///
    /// It counts in no writer's quota. The bounds of the store are the caller's to check, after [`Replicated::New`].
    pub fn replicate(
        &mut self,
        owner: &Owner,
        text: &str,
        ttl: u64,
        written_at: Option<u64>,
    ) -> Replicated {
        let (now, written_at) = (self.now(), written_at.unwrap_or(0));
        let tombstone = self.tombstone_of(owner, text);
        if tombstone.is_some_and(|(_, tombstone)| written_at <= tombstone.deleted_at) {
            return Replicated::Buried;
        }
        let mut life = Life {
            ttl,
            expires_at: now.saturating_add(ttl),
            writer: WriterTag::NOBODY.0,
            written_at,
        };
        let mut octets = text.len() as u64;
        let mut held = None;
        for value in self.values(owner) {
            octets += value.text.len() as u64 + VALUE_OVERHEAD;
            if &*value.text == text {
                held = Some((value.row, value.expires_at, value.writer));
            }
        }
        let replicated = match held {
            Some((row, expires_at, writer)) => {
                let known = self.written_at(row);
                let is_longer = life.expires_at > expires_at + REPLICATED_LIFE_SLACK;
                if !is_longer && written_at <= known {
                    return Replicated::Known;
                }
                life.expires_at = life.expires_at.max(expires_at);
                life.ttl = life.expires_at - now;
                life.written_at = written_at.max(known);
                life.writer = writer;
                Replicated::Refreshed
            }
            None if text.len() as u64 > VALUE_OCTETS || octets > NAME_CONTENT => {
                return Replicated::Full;
            }
            None => Replicated::New,
        };
        if let Some((mark, tombstone)) = tombstone {
            self.unbury(mark, tombstone);
        }
        self.put(owner, text, life);
        replicated
    }

    /// Takes over another node's tombstone of the value with this SHA-256, deleted at `deleted_at` (Unix milliseconds)
    /// and remembered for `ttl` seconds: the value goes, unless it was written later. Whether that was news.
    pub fn bury(&mut self, owner: &Owner, hash: &[u8; 32], deleted_at: u64, ttl: u64) -> bool {
        let mark = Mark::new(owner, hash);
        let known = self.tombstone(&mark);
        if known.is_some_and(|known| known.deleted_at >= deleted_at) {
            return false;
        }
        let mut values = self.values(owner);
        let held = values.find(|value| hash_of(&value.text) == *hash).cloned();
        drop(values);
        if let Some(value) = held {
            if self.written_at(value.row) > deleted_at {
                return false;
            }
            self.displace(owner, &value.text);
        }
        let expires_at = self.now().saturating_add(ttl);
        self.keep_tombstone(owner, *hash, deleted_at, expires_at);
        true
    }

    /// Leaves the tombstone of a value that is deleted here; `held` is the live value, if there was one.
    pub(super) fn bury_own(&mut self, owner: &Owner, text: &str, held: Option<&Value>) {
        let Some(life) = self.tombstone_life.filter(|_| is_shared(owner)) else {
            return;
        };
        let hash = hash_of(text);
        let written_at = held.map_or(0, |value| self.written_at(value.row));
        let known = self.tombstone(&Mark::new(owner, &hash));
        // Whichever clock the write went by, the delete comes after it.
        let deleted_at = self
            .now_millis()
            .max(written_at)
            .max(known.map_or(0, |known| known.deleted_at));
        let expires_at = self
            .now()
            .saturating_add(life)
            .max(held.map_or(0, |value| value.expires_at));
        self.keep_tombstone(owner, hash, deleted_at, expires_at);
    }

    /// The time at which a client that writes `text` now has written it; ends a tombstone of it.
    pub(super) fn time_of_write(&mut self, owner: &Owner, text: &str) -> u64 {
        let mut time = self.now_millis();
        if let Some((mark, tombstone)) = self.tombstone_of(owner, text) {
            self.unbury(mark, tombstone);
            // Whichever clock the delete went by, this comes after it.
            time = time.max(tombstone.deleted_at + 1);
        }
        if self.tombstone_life.is_some() {
            let held = self.values(owner).find(|value| &*value.text == text);
            if let Some(row) = held.map(|value| value.row) {
                time = time.max(self.written_at(row));
            }
        }
        time
    }

    /// Ends the tombstones of `marks` that have no life left.
    pub(in crate::store) fn prune(&mut self, marks: &[Mark]) {
        for mark in marks {
            let found = self.find_tombstone(mark);
            if let Some(ended) = found.filter(|found| found.expires_at <= self.now()) {
                self.unbury(*mark, ended);
            }
        }
    }

    /// Writes the group's tombstones. Beyond the bound the oldest go: what they bar may come back.
    pub(super) fn write_tombstones(&mut self, stamps: &mut Run) -> rusqlite::Result<()> {
        let mut owner = String::new();
        for burial in &self.burials {
            owner.clear();
            burial.owner.write(&mut owner);
            let insert =
                "INSERT INTO tombstone (id, owner, hash, deleted_at, stored_ms, expires_at)
                          VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            self.connection.prepare_cached(insert)?.execute(params![
                burial.tombstone.row,
                owner,
                burial.hash,
                burial.tombstone.deleted_at as i64,
                stamps.take(self.now_millis()) as i64,
                burial.tombstone.expires_at as i64,
            ])?;
        }
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM tombstone WHERE id = ?1")?;
        for row in &self.unburied {
            delete.execute([row])?;
        }
        let held = self.shared.tombstones().len() + self.burials.len();
        let beyond = held.saturating_sub(self.unburied.len() + TOMBSTONES);
        if self.burials.is_empty() || beyond == 0 {
            return Ok(());
        }
        log_repeated!(
            warn,
            limit = TOMBSTONES,
            "more deletes than are remembered: the oldest are forgotten"
        );
        let select = "SELECT id, owner, hash FROM tombstone ORDER BY id LIMIT ?1";
        let mut statement = self.connection.prepare_cached(select)?;
        let mut rows = statement.query([beyond as i64])?;
        while let Some(row) = rows.next()? {
            delete.execute([row.get::<_, i64>(0)?])?;
            if let Ok(owner) = Owner::parse(row.get_ref(1)?.as_str()?) {
                self.graves.insert(Mark::new(&owner, &row.get(2)?), None);
            }
        }
        Ok(())
    }

    /// The tombstone of `text` at `owner`, in force.
    fn tombstone_of(&self, owner: &Owner, text: &str) -> Option<(Mark, Tombstone)> {
        if self.graves.is_empty() && self.shared.tombstones().is_empty() {
            return None; // spares hashing where nothing was deleted
        }
        let mark = Mark::new(owner, &hash_of(text));
        Some((mark, self.tombstone(&mark)?))
    }

    fn tombstone(&self, mark: &Mark) -> Option<Tombstone> {
        let found = self.find_tombstone(mark);
        found.filter(|found| found.expires_at > self.now())
    }

    /// Also one that has ended.
    fn find_tombstone(&self, mark: &Mark) -> Option<Tombstone> {
        match self.graves.get(mark) {
            Some(changed) => *changed,
            None => self.shared.tombstones().find(mark),
        }
    }

    fn keep_tombstone(&mut self, owner: &Owner, hash: [u8; 32], deleted_at: u64, expires_at: u64) {
        let mark = Mark::new(owner, &hash);
        if let Some(old) = self.find_tombstone(&mark) {
            self.unburied.push(old.row);
        }
        let tombstone = Tombstone {
            row: self.take_row(),
            deleted_at,
            expires_at,
        };
        self.burials.push(Burial {
            owner: owner.clone(),
            hash,
            tombstone,
        });
        self.set_grave(mark, Some(tombstone));
    }

    fn unbury(&mut self, mark: Mark, tombstone: Tombstone) {
        self.unburied.push(tombstone.row);
        self.set_grave(mark, None);
    }

    /// Changes what the group leaves of a tombstone, remembered as it was for the case that the request fails.
    fn set_grave(&mut self, mark: Mark, tombstone: Option<Tombstone>) {
        let before = self.graves.insert(mark, tombstone);
        self.request.graves.push((mark, before));
    }

    /// When a client last wrote the value in `row`, in Unix milliseconds; 0 if that is unknown.
    fn written_at(&self, row: i64) -> u64 {
        match self.inserts.binary_search_by_key(&row, |insert| insert.id) {
            Ok(at) => self.inserts.get(at).map_or(0, |row| row.life.written_at),
            Err(_) => written_at(self.connection, row).unwrap_or_else(|error| {
                // A database that cannot tell this cannot commit either, and that is what the writer is told then.
                log_repeated!(warn, %error, "a row was not read");
                0
            }),
        }
    }
}
