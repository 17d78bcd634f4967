//! The text and byte layer of every record: prefixes, caps, base64, big-endian fields. Knows no record's meaning.
//!
//! The only file that touches offsets. Nothing is allocated for a length that the input merely claims:
//! caps come before decoding, and a field is borrowed from bytes that are there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{EncodeError, Malformed};
use crate::limits::{CLAIM_WIRE_MAX, MANIFEST_CHUNKS_MAX, USERNAME_MAX, WIRE_MAX};

/// The record types of records.md 2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RecordType {
    /// One share of a message.
    Chunk,
    /// Announces a message.
    Manifest,
    /// A person's keys.
    Identity,
    /// A one-time key.
    Prekey,
    /// The nodes of a cluster.
    Cluster,
    /// The clusters of a user domain.
    Bootstrap,
    /// A key's successor.
    Rotation,
    /// A key's end.
    Revocation,
    /// A pointer to a manifest.
    Claim,
    /// A node's sign of life.
    Heartbeat,
}

impl RecordType {
    /// All types, in the order of the registry.
    pub const ALL: [Self; 10] = [
        Self::Chunk,
        Self::Manifest,
        Self::Identity,
        Self::Prekey,
        Self::Cluster,
        Self::Bootstrap,
        Self::Rotation,
        Self::Revocation,
        Self::Claim,
        Self::Heartbeat,
    ];

    /// The exact text in front of the base64.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Chunk => "v=dmp1;t=chunk;d=",
            Self::Manifest => "v=dmp1;t=manifest;d=",
            Self::Identity => "v=dmp1;t=identity;d=",
            Self::Prekey => "v=dmp1;t=prekey;d=",
            Self::Cluster => "v=dmp1;t=cluster;",
            Self::Bootstrap => "v=dmp1;t=bootstrap;",
            Self::Rotation => "v=dmp1;t=rotation;",
            Self::Revocation => "v=dmp1;t=revocation;",
            Self::Claim => "v=dmp1;t=claim;",
            Self::Heartbeat => "v=dmp1;t=heartbeat;",
        }
    }

    /// The longest value of this type, characters with prefix: the cap of records.md 2, or what the layout can fill.
    #[must_use]
    pub const fn value_max(self) -> usize {
        match self {
            Self::Chunk => value_len(self, crate::limits::CHUNK_LEN),
            Self::Manifest => value_len(self, 172 + 32 * MANIFEST_CHUNKS_MAX as usize),
            Self::Identity => value_len(self, 1 + USERNAME_MAX + 32 + 32 + 8 + 1 + 255 + 64),
            Self::Prekey => value_len(self, 108),
            Self::Claim => CLAIM_WIRE_MAX,
            Self::Cluster
            | Self::Bootstrap
            | Self::Rotation
            | Self::Revocation
            | Self::Heartbeat => WIRE_MAX,
        }
    }

    /// The type whose prefix this value starts with; nothing else about it is checked.
    #[must_use]
    pub fn of(value: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| value.starts_with(kind.prefix()))
    }
}

/// Characters of a value whose decoded part has `blob_len` bytes.
pub(crate) const fn value_len(kind: RecordType, blob_len: usize) -> usize {
    kind.prefix().len() + 4 * blob_len.div_ceil(3)
}

/// Prefix, cap, canonical base64: the bytes behind a value's prefix.
pub(crate) fn decode(kind: RecordType, value: &str) -> Result<Vec<u8>, Malformed> {
    let payload = value.strip_prefix(kind.prefix()).ok_or(Malformed::Prefix)?;
    if value.len() > kind.value_max() {
        return Err(Malformed::TooLong);
    }
    decode_base64(payload)
}

/// The value for these bytes, refused above the type's cap.
pub(crate) fn encode(kind: RecordType, blob: &[u8]) -> Result<String, EncodeError> {
    let value = encode_base64(kind, blob);
    if value.len() > kind.value_max() {
        Err(Malformed::TooLong.into())
    } else {
        Ok(value)
    }
}

/// Prefix and base64, whatever the length.
pub(crate) fn encode_base64(kind: RecordType, blob: &[u8]) -> String {
    let mut value = String::with_capacity(value_len(kind, blob.len()));
    value.push_str(kind.prefix());
    STANDARD.encode_string(blob, &mut value);
    value
}

/// Canonical base64 only: exact padding, zero trailing bits, nothing else in between (D5).
pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD.decode(text).map_err(|_| Malformed::Base64)
}

/// A blob as its body and the signature at its end (records.md 3.2).
pub(crate) fn split_signature(blob: &[u8]) -> Result<(&[u8], &[u8; 64]), Malformed> {
    blob.split_last_chunk().ok_or(Malformed::Length)
}

/// Reads a body front to back.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(*head)
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

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn magic(&mut self, expected: &[u8; 7]) -> Result<(), Malformed> {
        if self.array::<7>()? == *expected {
            Ok(())
        } else {
            Err(Malformed::Magic)
        }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(head)
    }

    /// Text behind a length of one byte.
    pub(crate) fn text8(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u8()?;
        self.text(usize::from(length))
    }

    /// Text behind a length of two bytes.
    pub(crate) fn text16(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u16()?;
        self.text(usize::from(length))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Trailing bytes always reject (records.md 3.4).
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Length)
        }
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        core::str::from_utf8(self.bytes(length)?).map_err(|_| Malformed::Text)
    }
}

/// Writes a body front to back.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A number of entries in one byte.
    pub(crate) fn count8(&mut self, count: usize) -> Result<&mut Self, Malformed> {
        Ok(self.u8(u8::try_from(count).map_err(|_| Malformed::Length)?))
    }

    /// Text behind a length of one byte.
    pub(crate) fn text8(&mut self, text: &str) -> Result<&mut Self, Malformed> {
        Ok(self.count8(text.len())?.bytes(text.as_bytes()))
    }

    /// Text behind a length of two bytes.
    pub(crate) fn text16(&mut self, text: &str) -> Result<&mut Self, Malformed> {
        let length = u16::try_from(text.len()).map_err(|_| Malformed::Length)?;
        Ok(self.u16(length).bytes(text.as_bytes()))
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.0
    }
}
