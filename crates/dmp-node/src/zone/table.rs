//! The hash table of the index: one atomic word a slot, open addressing, one writer, readers that never wait.
//!
//! A slot word holds the block address (31 bits), a version (17 bits) and a tag of the hash (16 bits). The writer builds a
//! new block aside and publishes it with one store. A reader reads the slot, reads the block, and reads the slot again: if
//! the word is the same, the block was the entry's during the whole reading, for its address is given up before the
//! block is reused (fences below), and the version, which counts all that the writer ever published, tells a block that
//! came back to the same slot.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::arena::BlockAt;

/// Never used since the table was made; ends a search.
const EMPTY: u64 = 0;
/// Used once; a search goes on behind it.
const DELETED: u64 = 1;
const TAG_BITS: u32 = 16;
const VERSION_BITS: u32 = 17;

/// Slots at least.
const SMALLEST: usize = 1_024;

/// A table of fixed size; a larger one takes its place when it fills.
#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[AtomicU64]>,
    /// Set when a larger table is in force: what is read here may be stale.
    retired: AtomicBool,
}

/// A live slot as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) index: usize,
    word: u64,
}

impl Slot {
    pub(super) fn block(self) -> BlockAt {
        BlockAt((self.word >> (TAG_BITS + VERSION_BITS)) as u32)
    }
}

impl Table {
    /// A table that stays at most half full with `names` entries.
    pub(super) fn for_names(names: usize) -> Self {
        let size = (names * 2).next_power_of_two().max(SMALLEST);
        Self {
            slots: (0..size).map(|_| AtomicU64::new(EMPTY)).collect(),
            retired: AtomicBool::new(false),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.slots.len()
    }

    /// The word in the first slot that `hash` may be in: reading it early is what fetches its line.
    pub(super) fn home(&self, hash: u64) -> u64 {
        self.slots
            .get(self.first(hash))
            .map_or(EMPTY, |slot| slot.load(Ordering::Relaxed))
    }

    /// The live slots whose entry may have `hash`, in search order.
    #[inline]
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = Slot> {
        let (slots, mask, tag) = (&*self.slots, self.slots.len() - 1, tag(hash));
        let first = self.first(hash);
        let mut steps = 0..slots.len();
        std::iter::from_fn(move || {
            loop {
                let index = (first + steps.next()?) & mask;
                // Acquire: the words of the block are seen as they were when it was published.
                let word = slots.get(index)?.load(Ordering::Acquire);
                if word == EMPTY {
                    return None;
                }
                if word > DELETED && word & tag_mask() == tag {
                    return Some(Slot { index, word });
                }
            }
        })
    }

    /// Whether everything read from the slot's block since the slot was read was the entry's.
    #[inline]
    pub(super) fn is_unchanged(&self, slot: Slot) -> bool {
        // Pairs with the fence of the writer before it reuses a block: had a word of the block been written anew and
        // been seen here, the slot's new word, or the retirement of the table, would be seen too.
        fence(Ordering::Acquire);
        let word = self
            .slots
            .get(slot.index)
            .map(|slot| slot.load(Ordering::Relaxed));
        word == Some(slot.word) && !self.retired.load(Ordering::Relaxed)
    }

    /// Whether a larger table has taken this one's place.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Every live slot (writer only).
    pub(super) fn live(&self) -> impl Iterator<Item = Slot> {
        let words = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        words
            .enumerate()
            .map(|(index, word)| Slot { index, word })
            .filter(|slot| slot.word > DELETED)
    }

    /// Puts a new entry into the first slot free for `hash`; whether that slot was never used before (writer only).
    pub(super) fn insert(&self, hash: u64, block: BlockAt, version: u64) -> bool {
        let size = self.slots.len();
        let first = self.first(hash);
        for step in 0..size {
            let Some(slot) = self.slots.get((first + step) & (size - 1)) else {
                break;
            };
            let word = slot.load(Ordering::Relaxed);
            if word <= DELETED {
                slot.store(word_of(block, version, tag(hash)), Ordering::Release);
                return word == EMPTY;
            }
        }
        false // not reached: the writer grows the table before it is full
    }

    /// Puts `block` in the place of what `slot` holds (writer only).
    pub(super) fn replace(&self, slot: Slot, block: BlockAt, version: u64) {
        self.store(slot, word_of(block, version, slot.word & tag_mask()));
    }

    /// Empties `slot` (writer only).
    pub(super) fn remove(&self, slot: Slot) {
        self.store(slot, DELETED);
    }

    /// Takes this table out of force, after the larger one is in (writer only).
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        before_reuse();
    }

    fn store(&self, slot: Slot, word: u64) {
        if let Some(place) = self.slots.get(slot.index) {
            place.store(word, Ordering::Release);
        }
        before_reuse();
    }

    fn first(&self, hash: u64) -> usize {
        // The tag is the low bits; the place comes from the others, which stay apart in a table of any size.
        (hash >> TAG_BITS) as usize & (self.slots.len() - 1)
    }
}

/// Orders giving up a block before every later write to it; see [`Table::is_unchanged`].
fn before_reuse() {
    fence(Ordering::Release);
}

fn word_of(block: BlockAt, version: u64, tag: u64) -> u64 {
    let version = version & ((1 << VERSION_BITS) - 1);
    u64::from(block.0) << (TAG_BITS + VERSION_BITS) | version << TAG_BITS | tag
}

fn tag(hash: u64) -> u64 {
    hash & tag_mask()
}

const fn tag_mask() -> u64 {
    (1 << TAG_BITS) - 1
}
