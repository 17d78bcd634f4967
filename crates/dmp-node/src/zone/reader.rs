//! Reading the index: lookups that take no lock, allocate nothing and can be split so that memory accesses overlap.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dmp_dns::txt::PackedRrset;

use super::ZoneIndex;
use super::entry::{self, Copied};
use super::table::{Slot, Table};

/// Words in six cache lines of 64 octets: header, name and a value of 250 octets, wherever in a line they begin.
const WORDS_AHEAD: usize = 41;

/// One thread's way into the index. It follows the index when that grows.
#[derive(Debug)]
pub struct Reader<'z> {
    pub(super) zone: &'z ZoneIndex,
    table: Arc<Table>,
}

/// What the index holds at a name: where in the scratch buffer its entry was copied to, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located(Option<Copied>);

/// What [`Reader::find`] came upon: most likely the entry of the name it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'z> {
    slot: Slot,
    block: &'z [AtomicU64],
}

impl Located {
    /// No entry.
    pub const NOTHING: Self = Self(None);

    /// The packed records; `None` without an entry, empty when there are only names below.
    #[inline]
    pub fn packed(self, scratch: &[u8]) -> Option<PackedRrset<'_>> {
        self.0?.packed(scratch)
    }
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

impl<'z> Reader<'z> {
    /// Hash of a lower-case wire name, for the other functions.
    pub fn hash(&self, name: &[u8]) -> u64 {
        self.zone.hash(name)
    }

    /// First step of a lookup: sets the slot on its way from memory.
    #[inline]
    pub fn fetch(&self, hash: u64) {
        black_box(self.table.home(hash));
    }

    /// Second step: looks at the slots and sets the entry they lead to on its way from memory.
    #[inline]
    pub fn find(&self, hash: u64) -> Option<Candidate<'z>> {
        let slot = self.table.candidates(hash).next()?;
        let block = self.zone.arena.block(slot.block())?;
        if let Some(words) = block.first_chunk::<WORDS_AHEAD>() {
            let word = |at: usize| words[at].load(Ordering::Relaxed);
            black_box(word(0) ^ word(8) ^ word(16) ^ word(24) ^ word(32) ^ word(40));
        }
        Some(Candidate { slot, block })
    }

    /// Last step: copies the entry of the lower-case wire name `name`, for whose hash `found` came up, into `scratch`,
    /// which only ever grows.
    #[inline]
    pub fn locate(
        &self,
        found: Option<Candidate<'_>>,
        name: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Located {
        match found {
            None if !self.table.is_retired() => return Located::NOTHING,
            None => {}
            Some(Candidate { slot, block }) => {
                if let Some(copied) = entry::copy(block, scratch)
                    && self.table.is_unchanged(slot)
                    && copied.is_named(scratch, name)
                {
                    return Located(Some(copied));
                }
            }
        }
        self.search(name, scratch)
    }

    /// All three steps in one.
    pub fn search(&self, name: &[u8], scratch: &mut Vec<u8>) -> Located {
        let copied = self.read(name, self.hash(name), |block| entry::copy(block, scratch));
        Located(copied.flatten())
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

    #[inline]
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
