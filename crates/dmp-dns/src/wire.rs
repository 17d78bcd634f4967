//! Reading a DNS message from borrowed bytes and writing one into a fixed buffer; the only file that touches offsets of both.

use crate::limits;
use crate::rcode::{Class, Rtype};

/// Why bytes are not what they should be. Always the sender's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The message ends before what it announces.
    #[error("message ends too early")]
    Truncated,
    /// Bytes follow the last announced record.
    #[error("bytes after the last record")]
    Trailing,
    /// A label type other than text and pointer (RFC 6891 5 withdrew the others).
    #[error("unknown label type")]
    LabelType,
    /// A compression pointer that does not point backwards (RFC 1035 4.1.4).
    #[error("compression pointer does not point backwards")]
    Pointer,
    /// A name above 255 octets, or a label above 63 (RFC 1035 2.3.4).
    #[error("name or label too long")]
    NameTooLong,
    /// Text that is not a domain name.
    #[error("not a domain name")]
    NameText,
    /// RDATA that does not have the form of its type.
    #[error("record data has the wrong form")]
    Rdata,
    /// A message that is not the kind expected (a query where a response should be, another count of questions).
    #[error("not the expected kind of message")]
    Kind,
}

/// Reads a message front to back; every read is checked against the end.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8], at: usize) -> Self {
        Self { message, at }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// [`Reader::position`]; nothing longer than 65 535 octets is a message.
    pub(crate) fn position16(&self) -> Result<u16, Malformed> {
        u16::try_from(self.at).map_err(|_| Malformed::Trailing)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.message.len()
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed::Truncated)?;
        let bytes = self.message.get(self.at..end).ok_or(Malformed::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Reads a name, following pointers, and hands each label to `label`. Ends behind the name's bytes at this place.
    pub(crate) fn name_with(&mut self, mut label: impl FnMut(&'a [u8])) -> Result<(), Malformed> {
        let mut cursor = *self;
        let mut length = 1usize; // the root label
        let mut segment_start = cursor.at;
        let mut resume = None;
        loop {
            let first = cursor.u8()?;
            match first {
                0 => break,
                1..=63 => {
                    let text = cursor.take(usize::from(first))?;
                    length = length.saturating_add(text.len()).saturating_add(1);
                    if length > limits::NAME {
                        return Err(Malformed::NameTooLong);
                    }
                    label(text);
                }
                0xc0..=0xff => {
                    let target = usize::from(first & 0x3f) << 8 | usize::from(cursor.u8()?);
                    // Each jump goes before the start of the piece it leaves, so there are finitely many.
                    if target >= segment_start {
                        return Err(Malformed::Pointer);
                    }
                    resume.get_or_insert(cursor.at);
                    segment_start = target;
                    cursor.at = target;
                }
                _ => return Err(Malformed::LabelType),
            }
        }
        self.at = resume.unwrap_or(cursor.at);
        Ok(())
    }

    /// Reads an uncompressed name and returns its wire form, root label included.
    #[inline]
    pub(crate) fn plain_name(&mut self) -> Result<&'a [u8], Malformed> {
        let rest = self.message.get(self.at..).unwrap_or_default();
        let mut end = 0usize;
        loop {
            let length = usize::from(*rest.get(end).ok_or(Malformed::Truncated)?);
            end += 1;
            match length {
                0 => break,
                1..=limits::LABEL => end += length,
                0xc0.. => return Err(Malformed::Pointer),
                _ => return Err(Malformed::LabelType),
            }
            if end >= limits::NAME {
                return Err(Malformed::NameTooLong);
            }
        }
        self.take(end)
    }

    /// Reads one resource record; its RDATA stays bytes.
    #[inline]
    pub(crate) fn record(&mut self) -> Result<RawRecord<'a>, Malformed> {
        let start = self.at;
        match self.message.get(start) {
            Some(0) => self.at += 1, // the root, as of OPT
            _ => self.name_with(|_| {})?,
        }
        let [type0, type1, class0, class1, ttl @ .., length0, length1] = self.array::<10>()?;
        let rtype = Rtype(u16::from_be_bytes([type0, type1]));
        let class = Class(u16::from_be_bytes([class0, class1]));
        let ttl = u32::from_be_bytes(ttl);
        let rdata_at = self.at;
        let rdata = self.take(usize::from(u16::from_be_bytes([length0, length1])))?;
        Ok(RawRecord {
            start,
            rtype,
            class,
            ttl,
            rdata_at,
            rdata,
        })
    }
}

/// A resource record as it stands in a message.
#[derive(Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    /// Offset of the owner name.
    pub(crate) start: usize,
    pub(crate) rtype: Rtype,
    pub(crate) class: Class,
    pub(crate) ttl: u32,
    /// Offset of the RDATA, where names inside it are read from.
    pub(crate) rdata_at: usize,
    pub(crate) rdata: &'a [u8],
}

/// Writes into a fixed buffer; `None` means that it is full and nothing more may be trusted.
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Octets of the buffer, written or not.
    pub(crate) fn capacity(&self) -> usize {
        self.out.len()
    }

    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    pub(crate) fn u16(&mut self, value: u16) -> Option<()> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> Option<()> {
        self.put(&value.to_be_bytes())
    }

    /// Overwrites bytes written before.
    #[inline]
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let end = at.checked_add(bytes.len())?;
        if end > self.at {
            return None;
        }
        self.out.get_mut(at..end)?.copy_from_slice(bytes);
        Some(())
    }

    /// Forgets everything from `at` on.
    pub(crate) fn rewind(&mut self, at: usize) {
        self.at = self.at.min(at);
    }
}
