//! The slot manifest: announces one message to one recipient (records.md 7). Decides nothing about whom to trust.

use super::{check_horizon, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature, value_len};
use crate::erasure::CodePlan;
use crate::error::{EncodeError, Malformed, RecordError};
use crate::id::{MsgId, PrekeyId, UnixTime, UserId};
use crate::keys::{Identity, SigningPublicKey};
use crate::limits::HORIZON_SHORT;
use crate::signed::{Verified, verify};

/// A message as its sender announces it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The message.
    pub msg_id: MsgId,
    /// Who signed this.
    pub sender: SigningPublicKey,
    /// Whom it is for.
    pub recipient: UserId,
    /// How the message is cut: n, then k on the wire.
    pub plan: CodePlan,
    /// The one-time key it is encrypted to; `None` for the recipient's long-term key.
    pub prekey: Option<PrekeyId>,
    /// When it was published; never checked.
    pub ts: UnixTime,
    /// When to forget it; still live at that second.
    pub exp: UnixTime,
    /// SHA-256 of each chunk in index order; empty only in the form of peers before 0.7 (D2).
    pub chunk_hashes: Vec<[u8; 32]>,
}

impl Manifest {
    /// Characters of the value of a manifest with `n` chunk hashes.
    #[must_use]
    pub const fn value_len(n: usize) -> usize {
        value_len(RecordType::Manifest, 172 + 32 * n)
    }

    /// Whether the receiver may still act on it: `now <= exp`.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        now <= self.exp
    }

    /// The TXT value.
    ///
    /// # Errors
    /// Another signer than `sender`, or a number of hashes other than 0 or n.
    pub fn sign(&self, identity: &Identity) -> Result<String, EncodeError> {
        if self.sender != identity.signing_public() {
            return Err(EncodeError::OtherKey);
        }
        if !self.chunk_hashes.is_empty() && self.chunk_hashes.len() != self.plan.n() as usize {
            return Err(Malformed::Field("number of chunk hashes").into());
        }
        let mut body = Writer::new();
        body.bytes(self.msg_id.as_bytes())
            .bytes(self.sender.as_bytes())
            .bytes(self.recipient.as_bytes())
            .u32(self.plan.n())
            .u32(self.plan.k())
            .u32(self.prekey.map_or(0, PrekeyId::get))
            .u64(self.ts.as_secs())
            .u64(self.exp.as_secs())
            .bytes(self.chunk_hashes.as_flattened());
        let body = body.into_body();
        let signature = identity.sign(&body);
        seal_body(RecordType::Manifest, body, &signature)
    }

    /// Verifies a TXT value with the key inside it. Expired manifests parse: ask [`Manifest::is_live`].
    ///
    /// # Errors
    /// Anything but a well-formed, correctly signed manifest whose `exp` is at most 30 days ahead.
    pub fn parse(value: &str, now: UnixTime) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Manifest, value)?;
        let (body, signature) = split_signature(&blob)?;
        let manifest = Self::read(body)?;
        verify(&manifest.sender, body, signature)?;
        check_horizon(manifest.exp, now, HORIZON_SHORT)?;
        Ok(Verified::new(manifest))
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let msg_id = MsgId::from_bytes(reader.array()?);
        let sender = SigningPublicKey::from_bytes(reader.array()?);
        let recipient = UserId::from_bytes(reader.array()?);
        let (n, k) = (reader.u32()?, reader.u32()?);
        let prekey = PrekeyId::new(reader.u32()?);
        let ts = UnixTime::new(reader.u64()?);
        let exp = UnixTime::new(reader.u64()?);
        let plan = CodePlan::new(k, n).ok_or(Malformed::Field("chunk count"))?;
        let mut chunk_hashes = Vec::new();
        if !reader.is_empty() {
            for _ in 0..n {
                chunk_hashes.push(reader.array()?);
            }
        }
        reader.finish()?;
        Ok(Self {
            msg_id,
            sender,
            recipient,
            plan,
            prekey,
            ts,
            exp,
            chunk_hashes,
        })
    }
}
