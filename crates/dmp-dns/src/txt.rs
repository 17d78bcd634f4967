//! TXT values: one value is the concatenation of all character-strings of one RR (records.md 5), and the RRset in which
//! the server keeps values ready to be copied into an answer.

use crate::limits;
use crate::rcode::{Class, Rtype};
use crate::wire::{Malformed, Reader};

/// Octets before the RDATA of a packed record: owner pointer, type, class, TTL, length.
const RECORD_HEAD: usize = 12;
/// Offset of the TTL in a packed record.
pub(crate) const TTL_AT: usize = 6;

/// RDATA of `value`: pieces of 255 octets, the last one shorter; an empty value is one empty string (records.md 5.1).
pub fn encode_rdata(value: &[u8]) -> Vec<u8> {
    let mut rdata = Vec::with_capacity(rdata_len(value.len()));
    append_rdata(&mut rdata, value);
    rdata
}

/// Octets of [`encode_rdata`] for a value of `value_len` octets.
pub fn rdata_len(value_len: usize) -> usize {
    value_len.saturating_add(value_len.div_ceil(limits::CHARACTER_STRING).max(1))
}

/// The value in TXT RDATA: all strings joined.
///
/// Errors: no string at all, or a string that does not end with the RDATA.
pub fn decode_rdata(rdata: &[u8]) -> Result<Vec<u8>, Malformed> {
    if rdata.is_empty() {
        return Err(Malformed::Rdata);
    }
    let mut value = Vec::with_capacity(rdata.len());
    let mut reader = Reader::new(rdata, 0);
    while !reader.is_at_end() {
        let length = reader.u8().map_err(|_| Malformed::Rdata)?;
        value.extend_from_slice(
            reader
                .take(usize::from(length))
                .map_err(|_| Malformed::Rdata)?,
        );
    }
    Ok(value)
}

fn append_rdata(rdata: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        rdata.push(0);
    }
    for piece in value.chunks(limits::CHARACTER_STRING) {
        rdata.push(piece.len() as u8);
        rdata.extend_from_slice(piece);
    }
}

/// Appends one value to a packed RRset: the answer record as it goes out (owner as a pointer to the question at offset
/// 12, TXT, IN, RDATA), with the Unix second at which the value expires where the TTL will stand.
///
/// `value` is at most 65 279 octets, so that its RDATA fits 16 bits; a longer one is an error and appends nothing. The expiry is kept
/// modulo 2^32, which is exact while it lies within 68 years of the clock that reads it.
pub fn pack(rrset: &mut Vec<u8>, value: &[u8], expires: u64) -> Result<(), Malformed> {
    let length = u16::try_from(rdata_len(value.len())).map_err(|_| Malformed::Rdata)?;
    rrset.reserve(RECORD_HEAD.saturating_add(usize::from(length)));
    rrset.extend_from_slice(&[0xc0, limits::HEADER as u8]);
    rrset.extend_from_slice(&Rtype::TXT.0.to_be_bytes());
    rrset.extend_from_slice(&Class::IN.0.to_be_bytes());
    rrset.extend_from_slice(&(expires as u32).to_be_bytes());
    rrset.extend_from_slice(&length.to_be_bytes());
    append_rdata(rrset, value);
    Ok(())
}

/// A TXT RRset in the form [`pack`] makes, borrowed from the server's memory. Expired values may still be in it; they are never served.
#[derive(Clone, Copy)]
pub struct PackedRrset<'a>(&'a [u8]);

/// What an answer needs to know of a packed RRset before it writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Live<'a> {
    /// The first record of a live value.
    pub(crate) first: &'a [u8],
    /// How many values are live.
    pub(crate) count: u16,
    /// Octets of their records.
    pub(crate) octets: usize,
    /// Seconds until the first of them expires.
    pub(crate) shortest: u32,
}

impl<'a> PackedRrset<'a> {
    /// Borrows what [`pack`] wrote, one call after the other.
    #[inline]
    pub fn new(packed: &'a [u8]) -> Self {
        Self(packed)
    }

    /// The values that are live at `now`, each as its RDATA.
    pub fn rdata(self, now: u64) -> impl Iterator<Item = &'a [u8]> {
        self.live_records(now)
            .filter_map(|(record, _)| record.get(RECORD_HEAD..))
    }

    #[inline]
    pub(crate) fn live(self, now: u64) -> Live<'a> {
        let mut live = Live {
            first: &[],
            count: 0,
            octets: 0,
            shortest: u32::MAX,
        };
        for (record, remaining) in self.live_records(now) {
            if live.count == 0 {
                live.first = record;
            }
            live.count = live.count.saturating_add(1);
            live.octets = live.octets.saturating_add(record.len());
            live.shortest = live.shortest.min(remaining);
        }
        live
    }

    /// All values, expired ones too: each as its RDATA and the second at which it expires, modulo 2^32.
    pub fn records(self) -> impl Iterator<Item = (&'a [u8], u32)> {
        self.raw()
            .filter_map(|(record, expires)| Some((record.get(RECORD_HEAD..)?, expires)))
    }

    /// Live records with their remaining seconds (at least 1).
    #[inline]
    pub(crate) fn live_records(self, now: u64) -> impl Iterator<Item = (&'a [u8], u32)> {
        let now = now as u32;
        self.raw()
            .map(move |(record, expires)| (record, expires.wrapping_sub(now) as i32))
            .filter(|(_, remaining)| *remaining > 0)
            .map(|(record, remaining)| (record, remaining as u32))
    }

    #[inline]
    fn raw(self) -> impl Iterator<Item = (&'a [u8], u32)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let [.., e0, e1, e2, e3, length0, length1] = *rest.first_chunk::<RECORD_HEAD>()?;
            let length = RECORD_HEAD + usize::from(u16::from_be_bytes([length0, length1]));
            let (record, behind) = rest.split_at_checked(length)?;
            rest = behind;
            let expires = u32::from_be_bytes([e0, e1, e2, e3]);
            Some((record, expires))
        })
    }
}
