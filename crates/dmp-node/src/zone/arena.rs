//! Memory for index entries: blocks of 64-bit words that readers read while the writer writes elsewhere.
//!
//! All words are atomics, so a reader that meets a block already reused sees other numbers and no undefined behaviour;
//! whether what it read was still the entry it looked for is decided by the slot in [`super::table`], not here.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

/// Words of one unit: blocks begin at multiples of it, so that 31 bits address 32 GiB.
const UNIT_WORDS: usize = 2;
/// Words of one segment (2 MiB): what an empty node takes, and the longest block.
const SEGMENT_WORDS: usize = 1 << 18;
const SEGMENT_UNITS: usize = SEGMENT_WORDS / UNIT_WORDS;
/// Segments at most: 2^31 units.
const SEGMENTS: usize = (1 << 31) / SEGMENT_UNITS;
/// Block sizes grow in steps of an eighth of a power of two, so at most an eighth of a block is unused.
const STEPS: usize = 8;
/// Size classes up to one segment: one per size up to `STEPS`, then `STEPS` for each doubling.
const CLASSES: usize = STEPS * (SEGMENT_UNITS.ilog2() as usize - STEPS.ilog2() as usize + 1) + 1;

/// Where a block begins, in units; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockAt(pub(super) u32);

/// The words, shared by readers and the writer.
#[derive(Debug)]
pub(super) struct Arena {
    segments: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

/// Which blocks are free; the writer's alone.
#[derive(Debug)]
pub(super) struct Allocator {
    /// First unit never handed out.
    next: usize,
    /// Freed blocks by size class. The oldest is taken first: a reader still copying it has had the longest time.
    free: Vec<VecDeque<u32>>,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self {
            segments: (0..SEGMENTS).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The words from `at` to the end of its segment; the entry itself says how many are its own.
    #[inline]
    pub(super) fn block(&self, at: BlockAt) -> Option<&[AtomicU64]> {
        let unit = at.0 as usize;
        let segment = self.segments.get(unit / SEGMENT_UNITS)?.get()?;
        segment.get((unit % SEGMENT_UNITS) * UNIT_WORDS..)
    }
}

impl Allocator {
    pub(super) fn new() -> Self {
        // Unit 0 stays unused, so that no block address is 0.
        Self {
            next: 1,
            free: vec![VecDeque::new(); CLASSES],
        }
    }

    /// A block of at least `words` words; `None` when it is longer than a segment or all memory is handed out.
    pub(super) fn allocate(&mut self, arena: &Arena, words: usize) -> Option<BlockAt> {
        let (class, units) = size_class(words.div_ceil(UNIT_WORDS));
        if units > SEGMENT_UNITS {
            return None;
        }
        if let Some(at) = self.free.get_mut(class).and_then(VecDeque::pop_front) {
            return Some(BlockAt(at));
        }
        if self.next % SEGMENT_UNITS + units > SEGMENT_UNITS {
            self.next = self.next.next_multiple_of(SEGMENT_UNITS); // what is left of the segment stays unused
        }
        let segment = arena.segments.get(self.next / SEGMENT_UNITS)?;
        segment.get_or_init(|| (0..SEGMENT_WORDS).map(|_| AtomicU64::new(0)).collect());
        let at = u32::try_from(self.next).ok()?;
        self.next += units;
        Some(BlockAt(at))
    }

    /// Takes back the block at `at`, which was allocated for `words` words.
    pub(super) fn free(&mut self, at: BlockAt, words: usize) {
        let (class, _) = size_class(words.div_ceil(UNIT_WORDS));
        if let Some(free) = self.free.get_mut(class) {
            free.push_back(at.0);
        }
    }
}

/// Class and rounded size, both in units, of a block of `units`.
fn size_class(units: usize) -> (usize, usize) {
    if units <= STEPS {
        return (units, units);
    }
    // The power of two at or below `units - 1`, cut into eight steps.
    let step = 1 << ((units - 1).ilog2() - STEPS.ilog2());
    let rounded = units.next_multiple_of(step);
    let doubling = (step.ilog2() + 1) as usize;
    (STEPS * doubling + (rounded - 1) / step + 1 - STEPS, rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_distinct_and_waste_an_eighth_at_most() {
        let mut last = (0, 0);
        for units in 1..=SEGMENT_UNITS {
            let (class, rounded) = size_class(units);
            assert!(
                rounded >= units && rounded - units <= units / STEPS,
                "{units} -> {rounded}"
            );
            assert!(class < CLASSES, "{units} -> class {class} of {CLASSES}");
            assert!(
                class >= last.0 && (class == last.0) == (rounded == last.1),
                "{units}"
            );
            last = (class, rounded);
        }
    }

    #[test]
    fn freed_blocks_are_used_again_and_blocks_do_not_cross_segments() {
        let (arena, mut allocator) = (Arena::new(), Allocator::new());
        let first = allocator.allocate(&arena, 50).unwrap();
        let second = allocator.allocate(&arena, 50).unwrap();
        assert_ne!(first, second);
        allocator.free(first, 50);
        assert_eq!(allocator.allocate(&arena, 50).unwrap(), first);
        for _ in 0..4 {
            let words = SEGMENT_WORDS * 2 / 3;
            let at = allocator.allocate(&arena, words).unwrap();
            assert!(arena.block(at).unwrap().len() >= words);
        }
        assert_eq!(allocator.allocate(&arena, SEGMENT_WORDS + 1), None);
    }
}
