//! Changing the index: entries are built aside and published whole; the ancestors of names with values are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::arena::{Allocator, BlockAt};
use super::entry::{self, Header};
use super::expiry::ExpiryQueue;
use super::owner::parent_wire;
use super::table::{Slot, Table};
use super::{Owner, Value, ZoneIndex};
use crate::repeated::log_repeated;

/// Expiry checks queued beyond twice the names before the queue is made anew: names deleted and added again leave
/// checks behind that lead nowhere.
const STALE_CHECKS: usize = 4_096;

/// The writer's own state.
#[derive(Debug)]
pub(super) struct IndexWriter {
    allocator: Allocator,
    /// Slots used since the table was made, deleted ones included.
    used: usize,
    names: usize,
    /// Blocks published so far.
    version: u64,
    expiry: ExpiryQueue,
    words: Vec<u64>,
}

/// A slot with what its block's header says.
type Found = Option<(Slot, Header)>;

impl IndexWriter {
    pub(super) fn new() -> Self {
        Self {
            allocator: Allocator::new(),
            used: 0,
            names: 0,
            version: 0,
            expiry: ExpiryQueue::default(),
            words: Vec::new(),
        }
    }

    pub(super) fn reserve(&mut self, zone: &ZoneIndex, names: usize) {
        if self.used == 0 && names > zone.table.load().size() / 2 {
            let old = zone.table.swap(Arc::new(Table::for_names(names)));
            old.retire();
        }
    }

    pub(super) fn append(&mut self, zone: &ZoneIndex, owner: &Owner, value: Value, now: u64) {
        let name = owner.as_wire();
        let hash = zone.hash(name);
        let found = find(zone, name, hash);
        let before = found.filter(|(_, header)| header.values > 0);
        let values =
            before.and_then(|(slot, _)| entry::read_values(zone.arena.block(slot.block())?, now));
        match values {
            None => self.replace_found(zone, owner, hash, found, &[value], now),
            Some(mut values) => {
                values.push(value);
                self.replace_found(zone, owner, hash, found, &values, now);
            }
        }
    }

    pub(super) fn replace(&mut self, zone: &ZoneIndex, owner: &Owner, values: &[Value], now: u64) {
        let hash = zone.hash(owner.as_wire());
        let found = find(zone, owner.as_wire(), hash);
        self.replace_found(zone, owner, hash, found, values, now);
    }

    fn replace_found(
        &mut self,
        zone: &ZoneIndex,
        owner: &Owner,
        hash: u64,
        found: Found,
        values: &[Value],
        now: u64,
    ) {
        let name = owner.as_wire();
        let mut header = found.map(|(_, header)| header).unwrap_or_default();
        let before = header.values;
        if before == 0 && values.is_empty() {
            return;
        }
        match values.iter().map(|value| value.expires_at).min() {
            // A check that comes too early only looks and queues itself again; so a refreshed value costs no new one.
            Some(first) if header.scheduled == 0 || is_before(first as u32, header.scheduled) => {
                header.scheduled = (first as u32).max(1);
                self.expiry.push(first, hash);
            }
            Some(_) => {}
            None => header.scheduled = 0,
        }
        self.put(zone, name, hash, found, values, header);
        zone.live.fetch_add(values.len() as u64, Ordering::Relaxed);
        zone.live.fetch_sub(before as u64, Ordering::Relaxed);
        self.count_below(zone, owner, before > 0, values);
        zone.identities.note(owner, values);
        self.drop_stale_checks(zone, now);
    }

    pub(super) fn reap(&mut self, zone: &ZoneIndex, now: u64) -> Vec<i64> {
        let mut rows = Vec::new();
        while let Some((second, hashes)) = self.expiry.pop_due(now) {
            for hash in hashes {
                for (owner, values) in due(zone, hash, second, now) {
                    let (live, expired): (Vec<_>, Vec<_>) =
                        values.into_iter().partition(|value| value.expires_at > now);
                    rows.extend(expired.iter().map(|value| value.row));
                    self.replace(zone, &owner, &live, now);
                }
            }
        }
        rows
    }

    /// Publishes a new block for `name`, or none when nothing is left to say about it.
    fn put(
        &mut self,
        zone: &ZoneIndex,
        name: &[u8],
        hash: u64,
        found: Found,
        values: &[Value],
        header: Header,
    ) {
        let block = if values.is_empty() && header.below == 0 {
            None
        } else {
            self.build(zone, name, values, header)
        };
        self.version += 1;
        let table = zone.table.load();
        match (found, block) {
            (Some((slot, old)), Some(block)) => {
                table.replace(slot, block, self.version);
                self.allocator.free(slot.block(), old.words());
            }
            (Some((slot, old)), None) => {
                table.remove(slot);
                self.allocator.free(slot.block(), old.words());
                self.names -= 1;
            }
            (None, Some(block)) => {
                let table = self
                    .grown(zone, &table)
                    .unwrap_or_else(|| Arc::clone(&table));
                self.used += usize::from(table.insert(hash, block, self.version));
                self.names += 1;
            }
            (None, None) => {}
        }
    }

    fn build(
        &mut self,
        zone: &ZoneIndex,
        name: &[u8],
        values: &[Value],
        header: Header,
    ) -> Option<BlockAt> {
        entry::build(&mut self.words, name, values, header);
        let Some(at) = self.allocator.allocate(&zone.arena, self.words.len()) else {
            log_repeated!(error, "no memory left in the index: a name is not served");
            return None;
        };
        for (place, word) in zone
            .arena
            .block(at)
            .unwrap_or_default()
            .iter()
            .zip(&self.words)
        {
            place.store(*word, Ordering::Relaxed);
        }
        Some(at)
    }

    /// A table with room for one more name, put in force, when the present one has none.
    fn grown(&mut self, zone: &ZoneIndex, old: &Table) -> Option<Arc<Table>> {
        if (self.used + 1) * 4 <= old.size() * 3 {
            return None;
        }
        let table = Arc::new(Table::for_names(self.names + 1));
        self.used = self.names;
        for slot in old.live() {
            let name = zone.arena.block(slot.block()).and_then(entry::read_name);
            if let Some((name, octets)) = name {
                table.insert(zone.hash(&name[..octets]), slot.block(), self.version);
            }
        }
        zone.table.store(Arc::clone(&table));
        old.retire();
        Some(table)
    }

    /// Counts `owner` in or out at the names above it, up to the served apex (not included) or the root (included).
    fn count_below(&mut self, zone: &ZoneIndex, owner: &Owner, was_there: bool, values: &[Value]) {
        let is_there = !values.is_empty();
        let until = values
            .iter()
            .map(|value| value.expires_at)
            .max()
            .unwrap_or(0) as u32;
        let apex = zone.apex.as_ref().filter(|apex| owner.is_under(apex));
        if zone.apex.is_some() && apex.is_none() && was_there != is_there {
            zone.foreign.count(owner, is_there);
        }
        if apex.is_some_and(|apex| apex == owner) {
            return;
        }
        let mut name = owner.as_wire();
        while let Some(above) =
            parent_wire(name).filter(|above| apex.is_none_or(|apex| apex.as_wire() != *above))
        {
            name = above;
            let hash = zone.hash(above);
            let found = find(zone, above, hash);
            let mut header = found.map(|(_, header)| header).unwrap_or_default();
            if header.below == 0 || (is_there && is_before(header.below_until, until)) {
                header.below_until = until;
            }
            match (was_there, is_there) {
                (false, true) => header.below += 1,
                (true, false) => header.below = header.below.saturating_sub(1),
                _ => {}
            }
            match found {
                Some((slot, _)) if header.below > 0 || header.values > 0 => {
                    header.store_below(zone.arena.block(slot.block()).unwrap_or_default());
                }
                _ => self.put(zone, above, hash, found, &[], header),
            }
        }
    }

    fn drop_stale_checks(&mut self, zone: &ZoneIndex, now: u64) {
        if self.expiry.len() <= 2 * self.names + STALE_CHECKS {
            return;
        }
        self.expiry.clear();
        for slot in zone.table.load().live() {
            let block = zone.arena.block(slot.block()).unwrap_or_default();
            let (Some(header), Some((name, octets))) =
                (Header::read(block), entry::read_name(block))
            else {
                continue;
            };
            if header.scheduled != 0 {
                let ahead = i64::from(header.scheduled.wrapping_sub(now as u32) as i32);
                self.expiry
                    .push(now.saturating_add_signed(ahead), zone.hash(&name[..octets]));
            }
        }
    }
}

/// Whether second `a` comes before second `b`, both modulo 2^32.
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The entry of `name`; the writer's own look-up, which nothing disturbs.
fn find(zone: &ZoneIndex, name: &[u8], hash: u64) -> Found {
    let table = zone.table.load();
    table.candidates(hash).find_map(|slot| {
        let block = zone
            .arena
            .block(slot.block())
            .filter(|block| entry::is_named(block, name))?;
        Some((slot, Header::read(block)?))
    })
}

/// The names whose check is the one of `hash` at `second`; they are no longer scheduled afterwards.
fn due(zone: &ZoneIndex, hash: u64, second: u64, now: u64) -> Vec<(Owner, Vec<Value>)> {
    let take = |block: &[AtomicU64]| {
        let mut header =
            Header::read(block).filter(|header| header.scheduled == (second as u32).max(1))?;
        header.scheduled = 0;
        header.store_scheduled(block);
        let (name, octets) = entry::read_name(block)?;
        Some((
            Owner::from_wire(&name[..octets]).ok()?,
            entry::read_values(block, now)?,
        ))
    };
    let table = zone.table.load();
    table
        .candidates(hash)
        .filter_map(|slot| take(zone.arena.block(slot.block())?))
        .collect()
}
