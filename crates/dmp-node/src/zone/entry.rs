//! How one owner name lies in its block: header, name, answer records, and what the writer keeps per value.
//!
//! Words: `[0]` name octets (bits 0-7), values (8-31), octets of the packed records (32-63); `[1]` owners with values
//! below (0-31), latest expiry below (32-63); `[2]` second of the scheduled expiry check (0-31);
//! then the name, the packed records ([`dmp_dns::txt::pack`]) and two words a value: row id, writer.
//! Only word 1 and word 2 ever change in place; everything else is written once, before the block can be found.

use std::sync::atomic::{AtomicU64, Ordering};

use dmp_dns::txt::{self, PackedRrset};

use super::Value;
use crate::limits::NAME_OCTETS;

const HEADER_WORDS: usize = 3;
/// Words copied in one step of the loop.
const STRIDE: usize = 8;

/// What stands in the first three words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name_octets: usize,
    pub(super) values: usize,
    pub(super) packed_octets: usize,
    /// Owner names below this one that have values.
    pub(super) below: u32,
    /// Second until which one of them lives, modulo 2^32.
    pub(super) below_until: u32,
    /// Second at which the expiry queue looks at this entry, modulo 2^32; 0 = not queued.
    pub(super) scheduled: u32,
}

impl Header {
    #[inline]
    pub(super) fn read(block: &[AtomicU64]) -> Option<Self> {
        let [first, second, third] = block.first_chunk::<HEADER_WORDS>()?;
        let below = second.load(Ordering::Relaxed);
        Some(Self {
            below: below as u32,
            below_until: (below >> 32) as u32,
            scheduled: third.load(Ordering::Relaxed) as u32,
            ..Self::sizes(first.load(Ordering::Relaxed))
        })
    }

    /// What the first word says.
    #[inline]
    fn sizes(word: u64) -> Self {
        Self {
            name_octets: (word & 0xff) as usize,
            values: (word >> 8 & 0xff_ffff) as usize,
            packed_octets: (word >> 32) as usize,
            ..Self::default()
        }
    }

    /// Writes the part that changes in place.
    pub(super) fn store_below(&self, block: &[AtomicU64]) {
        if let Some(word) = block.get(1) {
            word.store(
                u64::from(self.below) | u64::from(self.below_until) << 32,
                Ordering::Relaxed,
            );
        }
    }

    /// Writes the scheduled second.
    pub(super) fn store_scheduled(&self, block: &[AtomicU64]) {
        if let Some(word) = block.get(2) {
            word.store(u64::from(self.scheduled), Ordering::Relaxed);
        }
    }

    /// Words of the whole block.
    pub(super) fn words(&self) -> usize {
        self.meta_at() + 2 * self.values
    }

    fn packed_at(&self) -> usize {
        HEADER_WORDS + self.name_octets.div_ceil(8)
    }

    fn meta_at(&self) -> usize {
        self.packed_at() + self.packed_octets.div_ceil(8)
    }
}

/// Whether the block is the entry of the lower-case wire name `name`.
#[inline]
pub(super) fn is_named(block: &[AtomicU64], name: &[u8]) -> bool {
    let Some(sizes) = block.first() else {
        return false;
    };
    if (sizes.load(Ordering::Relaxed) & 0xff) as usize != name.len() {
        return false;
    }
    let Some(words) = block.get(HEADER_WORDS..HEADER_WORDS + name.len().div_ceil(8)) else {
        return false;
    };
    let (chunks, rest) = name.as_chunks::<8>();
    for (chunk, word) in chunks.iter().zip(words) {
        if u64::from_le_bytes(*chunk) != word.load(Ordering::Relaxed) {
            return false;
        }
    }
    rest.is_empty()
        || words
            .last()
            .is_some_and(|word| padded_end(name, rest) == word.load(Ordering::Relaxed))
}

/// [`padded`] of `rest`, the up to seven octets at the end of `name`, read in one piece if the name has eight.
#[inline]
fn padded_end(name: &[u8], rest: &[u8]) -> u64 {
    match name.last_chunk::<8>() {
        Some(end) => u64::from_le_bytes(*end) >> (8 * (8 - rest.len())),
        None => padded(rest),
    }
}

/// Where a copy of an entry lies in a scratch buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    name_octets: usize,
    packed_at: usize,
    packed_octets: usize,
}

impl Copied {
    /// Whether it is the entry of `name`.
    #[inline]
    pub(super) fn is_named(self, scratch: &[u8], name: &[u8]) -> bool {
        scratch.get(..self.name_octets) == Some(name)
    }

    /// The packed records.
    #[inline]
    pub(super) fn packed(self, scratch: &[u8]) -> Option<PackedRrset<'_>> {
        let end = self.packed_at + self.packed_octets;
        scratch.get(self.packed_at..end).map(PackedRrset::new)
    }
}

/// Copies name and packed records to the start of `scratch`, which grows as needed.
#[inline]
pub(super) fn copy(block: &[AtomicU64], scratch: &mut Vec<u8>) -> Option<Copied> {
    let header = Header::sizes(block.first()?.load(Ordering::Relaxed));
    let words = block.get(HEADER_WORDS..header.meta_at())?;
    if scratch.len() < words.len() * 8 {
        scratch.resize(words.len() * 8, 0);
    }
    copy_words(words, scratch);
    Some(Copied {
        name_octets: header.name_octets,
        packed_at: (header.packed_at() - HEADER_WORDS) * 8,
        packed_octets: header.packed_octets,
    })
}

/// The owner name.
pub(super) fn read_name(block: &[AtomicU64]) -> Option<([u8; NAME_OCTETS + 1], usize)> {
    let header = Header::read(block)?;
    let mut name = [0; NAME_OCTETS + 1];
    copy_words(block.get(HEADER_WORDS..header.packed_at())?, &mut name);
    Some((name, header.name_octets))
}

/// The values with their rows and writers, expired ones too; expiries are read as lying within 68 years of `now`.
pub(super) fn read_values(block: &[AtomicU64], now: u64) -> Option<Vec<Value>> {
    let header = Header::read(block)?;
    let mut scratch = Vec::new();
    let copied = copy(block, &mut scratch)?;
    let meta = block.get(header.meta_at()..header.words())?;
    let records = copied.packed(&scratch)?.records();
    let values = records
        .zip(meta.chunks_exact(2))
        .map(|((rdata, expires), meta)| Value {
            text: txt::decode_rdata(rdata)
                .map(|text| String::from_utf8_lossy(&text).into())
                .unwrap_or_default(),
            expires_at: now
                .saturating_add_signed(i64::from(expires.wrapping_sub(now as u32) as i32)),
            row: meta[0].load(Ordering::Relaxed) as i64,
            writer: meta[1].load(Ordering::Relaxed),
        });
    Some(values.collect())
}

/// Builds the words of an entry in `words`, which is cleared first.
pub(super) fn build(
    words: &mut Vec<u64>,
    name: &[u8],
    values: &[Value],
    mut header: Header,
) -> Header {
    let mut packed = Vec::new();
    for value in values {
        // Only values that fit 16 bits of RDATA reach the index (limits::VALUE_OCTETS).
        let _ = txt::pack(&mut packed, value.text.as_bytes(), value.expires_at);
    }
    header.name_octets = name.len();
    header.values = values.len();
    header.packed_octets = packed.len();
    words.clear();
    words.push(name.len() as u64 | (values.len() as u64) << 8 | (packed.len() as u64) << 32);
    words.push(u64::from(header.below) | u64::from(header.below_until) << 32);
    words.push(u64::from(header.scheduled));
    words.extend(name.chunks(8).map(padded));
    words.extend(packed.chunks(8).map(padded));
    words.extend(
        values
            .iter()
            .flat_map(|value| [value.row as u64, value.writer]),
    );
    header
}

#[inline]
fn copy_words(words: &[AtomicU64], bytes: &mut [u8]) {
    let (places, _) = bytes.as_chunks_mut::<8>();
    let length = words.len().min(places.len());
    let (words, words_left) = words[..length].as_chunks::<STRIDE>();
    let (places, places_left) = places[..length].as_chunks_mut::<STRIDE>();
    for (places, words) in places.iter_mut().zip(words) {
        for at in 0..STRIDE {
            places[at] = words[at].load(Ordering::Relaxed).to_le_bytes();
        }
    }
    for (place, word) in places_left.iter_mut().zip(words_left) {
        *place = word.load(Ordering::Relaxed).to_le_bytes();
    }
}

/// Up to eight octets as a word, the missing ones 0.
fn padded(octets: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..octets.len()].copy_from_slice(octets);
    u64::from_le_bytes(word)
}
