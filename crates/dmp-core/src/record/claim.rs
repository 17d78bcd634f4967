//! The claim: "this sender has mail for you in that zone" (records.md 13). The recipient is in the owner name only.

use super::{check_horizon, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::error::{EncodeError, Malformed, RecordError, Rejected};
use crate::id::{MsgId, Slot, UnixTime};
use crate::keys::{Identity, SigningPublicKey};
use crate::limits::{CLAIM_ZONE_MAX, CLOCK_SKEW, HORIZON_SHORT, SIGNED_TIME_MAX};
use crate::name::Zone;
use crate::signed::{Verified, verify};

const MAGIC: &[u8; 7] = b"DMPCL01";

/// A pointer to a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The message.
    pub msg_id: MsgId,
    /// Who signed this and must have signed the manifest.
    pub sender: SigningPublicKey,
    /// The zone that holds the manifest, at most 43 bytes.
    pub mailbox_zone: Zone,
    /// Where the manifest is; a hint, readers walk all ten.
    pub slot: Slot,
    /// When it was signed.
    pub ts: UnixTime,
    /// When it dies; already dead at that second.
    pub exp: UnixTime,
}

impl Claim {
    /// The TXT value.
    ///
    /// # Errors
    /// Another signer than `sender`, a zone over 43 bytes (then a message has no claim), `exp` not after `ts`,
    /// or a time of 2^63 or more.
    pub fn sign(&self, identity: &Identity) -> Result<String, EncodeError> {
        if self.sender != identity.signing_public() {
            return Err(EncodeError::OtherKey);
        }
        self.check()?;
        let mut body = Writer::new();
        body.bytes(MAGIC)
            .bytes(self.msg_id.as_bytes())
            .bytes(self.sender.as_bytes())
            .text8(self.mailbox_zone.as_str())?
            .u8(self.slot.get())
            .u64(self.ts.as_secs())
            .u64(self.exp.as_secs());
        let body = body.into_body();
        let signature = identity.sign(&body);
        seal_body(RecordType::Claim, body, &signature)
    }

    /// Verifies a TXT value with the key inside it.
    ///
    /// # Errors
    /// Anything but a well-formed, correctly signed, live claim: `ts` at most 300 s ahead, `exp` ahead by at most 30 days.
    pub fn parse(value: &str, now: UnixTime) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Claim, value)?;
        let (body, signature) = split_signature(&blob)?;
        let claim = Self::read(body)?;
        verify(&claim.sender, body, signature)?;
        if claim.ts.saturating_sub(now) > CLOCK_SKEW {
            return Err(Rejected::Future.into());
        }
        if claim.exp <= now {
            return Err(Rejected::Expired.into());
        }
        check_horizon(claim.exp, now, HORIZON_SHORT)?;
        Ok(Verified::new(claim))
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.magic(MAGIC)?;
        let msg_id = MsgId::from_bytes(reader.array()?);
        let sender = SigningPublicKey::from_bytes(reader.array()?);
        let mailbox_zone = reader.text8()?;
        let slot = reader.u8()?;
        let ts = UnixTime::new(reader.u64()?);
        let exp = UnixTime::new(reader.u64()?);
        reader.finish()?;
        let claim = Self {
            msg_id,
            sender,
            mailbox_zone: Zone::parse(mailbox_zone)
                .map_err(|_| Malformed::Field("mailbox zone"))?,
            slot: Slot::new(slot).ok_or(Malformed::Field("slot"))?,
            ts,
            exp,
        };
        claim.check()?;
        Ok(claim)
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.mailbox_zone.as_str().len() > CLAIM_ZONE_MAX {
            return Err(Malformed::Field("mailbox zone"));
        }
        if self.exp <= self.ts || self.exp.as_secs() > SIGNED_TIME_MAX {
            return Err(Malformed::Field("exp"));
        }
        Ok(())
    }
}
