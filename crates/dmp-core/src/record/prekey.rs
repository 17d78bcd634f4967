//! The prekey record: one one-time X25519 key (records.md 9). Holds no private half.

use super::{check_horizon, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::error::{EncodeError, Malformed, RecordError};
use crate::id::{PrekeyId, UnixTime};
use crate::keys::{AgreementPublicKey, Identity, SigningPublicKey};
use crate::limits::HORIZON_SHORT;
use crate::signed::{Verified, verify};

/// A one-time key as its owner publishes it. The owner is not named in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrekeyRecord {
    /// Its number in the owner's pool.
    pub id: PrekeyId,
    /// The public half.
    pub public: AgreementPublicKey,
    /// When to stop using it; still live at that second.
    pub exp: UnixTime,
}

impl PrekeyRecord {
    /// Whether a sender may still pick it: `now <= exp`.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        now <= self.exp
    }

    /// The TXT value.
    ///
    /// # Errors
    /// None that a value of this type can cause; the signature is the one all records share.
    pub fn sign(&self, identity: &Identity) -> Result<String, EncodeError> {
        let mut body = Writer::new();
        body.u32(self.id.get())
            .bytes(self.public.as_bytes())
            .u64(self.exp.as_secs());
        let body = body.into_body();
        let signature = identity.sign(&body);
        seal_body(RecordType::Prekey, body, &signature)
    }

    /// Verifies a TXT value with the owner's pinned key. Expired prekeys parse: ask [`PrekeyRecord::is_live`].
    ///
    /// # Errors
    /// Anything but a well-formed prekey of that owner whose `exp` is at most 30 days ahead. That bound also keeps
    /// any other 44 bytes that an owner may ever sign from being a key for long (D8).
    pub fn parse(
        value: &str,
        owner: &SigningPublicKey,
        now: UnixTime,
    ) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Prekey, value)?;
        let (body, signature) = split_signature(&blob)?;
        let record = Self::read(body)?;
        verify(owner, body, signature)?;
        check_horizon(record.exp, now, HORIZON_SHORT)?;
        Ok(Verified::new(record))
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let id = reader.u32()?;
        let public = AgreementPublicKey::from_bytes(reader.array()?);
        let exp = UnixTime::new(reader.u64()?);
        reader.finish()?;
        let id = PrekeyId::new(id).ok_or(Malformed::Field("prekey id"))?;
        Ok(Self { id, public, exp })
    }
}
