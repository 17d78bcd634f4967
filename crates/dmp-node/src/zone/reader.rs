//! Reading the index: lookups that take no lock, allocate nothing and can be split so that memory accesses overlap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::table::{Table, block_of};
use super::{ZoneIndex, entry};

/// Words of one 64-octet cache line.
const LINE_WORDS: usize = 8;
/// Lines of an entry fetched ahead: header, name and a value of 250 octets.
const LINES_AHEAD: usize = 6;

/// One thread's way into the index. It follows the index when that grows.
#[derive(Debug)]
pub struct Reader<'z> {
    pub(super) zone: &'z ZoneIndex,
    table: Arc<Table>,
}

/// What the index holds at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// No entry: neither values nor names with values below.
    Nothing,
    /// An entry, its packed records in this many octets at the start of the scratch buffer; 0 = none, only names below.
    Packed(usize),
}

impl ZoneIndex {
    /// A reader for the calling thread to keep.
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            zone: self,
            table: self.table.load_full(),
        }
    }
}

impl Reader<'_> {
    /// Hash of a lower-case wire name, for the other functions.
    pub fn hash(&self, name: &[u8]) -> u64 {
        self.zone.hash(name)
    }

    /// First step of a lookup made ahead of time: fetches the slot. What it gives is for [`Reader::fetch_entry`].
    pub fn fetch_slot(&self, hash: u64) -> u64 {
        self.table.home(hash)
    }

    /// Second step: fetches the entry that the slot most likely leads to. The result carries no meaning; handing it to
    /// `std::hint::black_box` keeps the reads from being dropped.
    pub fn fetch_entry(&self, slot: u64) -> u64 {
        let Some(block) = block_of(slot).and_then(|at| self.zone.arena.block(at)) else {
            return 0;
        };
        let lines = block.iter().step_by(LINE_WORDS).take(LINES_AHEAD);
        lines.fold(0, |seen, word| seen ^ word.load(Ordering::Relaxed))
    }

    /// Looks up the lower-case wire name `name` and copies its packed records into `scratch`, which only ever grows.
    pub fn locate(&self, name: &[u8], hash: u64, scratch: &mut Vec<u8>) -> Located {
        match self
            .read(name, hash, |block| entry::copy_packed(block, scratch))
            .flatten()
        {
            Some(octets) => Located::Packed(octets),
            None => Located::Nothing,
        }
    }

    /// Whether a name strictly below `name` has a value at `now`.
    pub fn has_below(&self, name: &[u8], now: u64) -> bool {
        let hash = self.hash(name);
        self.read(name, hash, entry::Header::read)
            .flatten()
            .is_some_and(|header| {
                header.below > 0 && header.below_until.wrapping_sub(now as u32) as i32 > 0
            })
    }

    /// Takes up the table in force, so that lookups need not. Cheap when nothing has changed.
    pub fn refresh(&mut self) {
        if self.table.is_retired() {
            self.table = self.zone.table.load_full();
        }
    }

    /// Runs `read` on the entry of `name`. It may run more than once, on words of another entry: only the result of the
    /// last run, which was not disturbed, is given back.
    pub(super) fn read<T>(
        &self,
        name: &[u8],
        hash: u64,
        mut read: impl FnMut(&[AtomicU64]) -> T,
    ) -> Option<T> {
        if !self.table.is_retired()
            && let Ok(found) = self.read_in(&self.table, name, hash, &mut read)
        {
            return found;
        }
        loop {
            let table = self.zone.table.load_full();
            if let Ok(found) = self.read_in(&table, name, hash, &mut read) {
                return found;
            }
        }
    }

    fn read_in<T>(
        &self,
        table: &Table,
        name: &[u8],
        hash: u64,
        read: &mut impl FnMut(&[AtomicU64]) -> T,
    ) -> Result<Option<T>, Disturbed> {
        for slot in table.candidates(hash) {
            let block = self.zone.arena.block(slot.block());
            let found = block
                .filter(|block| entry::is_named(block, name))
                .map(&mut *read);
            if !table.is_unchanged(slot) {
                return Err(Disturbed);
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        // A name that only the larger table has must not be missed.
        if table.is_retired() {
            Err(Disturbed)
        } else {
            Ok(None)
        }
    }
}

/// The entry changed while it was read.
struct Disturbed;
