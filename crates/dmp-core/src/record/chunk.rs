//! One share of a message as it is published (records.md 6). Unsigned: the manifest's hash binds it.

use sha2::{Digest, Sha256};

use crate::codec::{RecordType, decode_base64, encode_base64, value_len};
use crate::erasure::Share;
use crate::error::Malformed;
use crate::limits::{CHUNK_LEN, SHARE_CHECKSUM_LEN, SHARE_PARITY_LEN};
use crate::rs::{correct, parity};

/// 168 bytes: the first 8 of SHA-256(share), the share, its Reed-Solomon parity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk([u8; CHUNK_LEN]);

impl Chunk {
    /// Wraps a share.
    #[must_use]
    pub fn wrap(share: &Share) -> Self {
        let digest = Sha256::digest(share);
        let parity: [u8; SHARE_PARITY_LEN] = parity(share);
        let mut bytes = [0; CHUNK_LEN];
        let parts = digest
            .iter()
            .take(SHARE_CHECKSUM_LEN)
            .chain(share)
            .chain(&parity);
        for (target, source) in bytes.iter_mut().zip(parts) {
            *target = *source;
        }
        Self(bytes)
    }

    /// The bytes on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; CHUNK_LEN] {
        &self.0
    }

    /// The share, with up to 16 wrong bytes repaired; `None` if there are more or the checksum disagrees (crypto.md 9).
    #[must_use]
    pub fn unwrap_share(&self) -> Option<Share> {
        let share = self.repair()?;
        let (checksum, _) = self.0.split_first_chunk::<SHARE_CHECKSUM_LEN>()?;
        Sha256::digest(share).starts_with(checksum).then_some(share)
    }

    /// The share that the codeword spells after repair, whatever the checksum says.
    pub(crate) fn repair(&self) -> Option<Share> {
        let codeword = self.0.last_chunk()?;
        correct(codeword)?.first_chunk().copied()
    }

    /// What a manifest lists: SHA-256 of the 168 bytes.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// The TXT value, 241 characters.
    #[must_use]
    pub fn to_txt(&self) -> String {
        encode_base64(RecordType::Chunk, &self.0)
    }

    /// Reads the canonical value, behind which `;m=` and anything else may follow and is ignored (D5).
    /// Checks neither checksum nor parity.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse_txt(value: &str) -> Result<Self, Malformed> {
        let payload = value
            .strip_prefix(RecordType::Chunk.prefix())
            .ok_or(Malformed::Prefix)?;
        let length = value_len(RecordType::Chunk, CHUNK_LEN) - RecordType::Chunk.prefix().len();
        let (payload, rest) = payload.split_at_checked(length).ok_or(Malformed::Length)?;
        if !rest.is_empty() && !rest.starts_with(";m=") {
            return Err(Malformed::Length);
        }
        let bytes = decode_base64(payload)?;
        Ok(Self(bytes.try_into().map_err(|_| Malformed::Length)?))
    }
}
