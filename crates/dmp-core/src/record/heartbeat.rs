//! The heartbeat: a node says where it is and what it offers (records.md 14). Screens no address at connect time.

use super::{check_horizon, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::endpoint::Endpoint;
use crate::error::{EncodeError, Malformed, RecordError, Rejected};
use crate::id::UnixTime;
use crate::keys::{OperatorKey, SigningPublicKey};
use crate::limits::{
    CLOCK_SKEW, HEARTBEAT_VERSION_MAX, HEARTBEAT_ZONE_MAX, HORIZON_SHORT, SIGNED_TIME_MAX,
};
use crate::signed::{Verified, verify};

const MAGIC: &[u8; 7] = b"DMPHB03";
/// The form without a claim provider zone: read, never written.
const MAGIC_WITHOUT_ZONE: &[u8; 7] = b"DMPHB02";

/// A node's sign of life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Where its HTTP API is.
    pub endpoint: Endpoint,
    /// Who signed this.
    pub operator: SigningPublicKey,
    /// Its software, ASCII, up to 32 characters, for display.
    pub version: String,
    /// What it offers; unknown bits are kept and mean nothing.
    pub capabilities: u16,
    /// The zone whose claims it serves: ASCII without blanks, 1 to 64 bytes, not checked to be a name.
    pub claim_provider_zone: Option<String>,
    /// When it was signed.
    pub ts: UnixTime,
    /// When it dies; already dead at that second.
    pub exp: UnixTime,
}

/// How far a heartbeat's `ts` may be from the reader's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skew {
    /// At most this many seconds either way; for beats that come from their node.
    Within(u64),
    /// Any age, but at most 300 s ahead of the reader's clock: for beats that others pass on, which would all vanish within
    /// minutes otherwise (D24, W12).
    PassedOn,
    /// Any; for beats that were judged when they were stored.
    Unlimited,
}

impl Skew {
    /// The 300 s of records.md 14.
    pub const INGEST: Self = Self::Within(CLOCK_SKEW);
}

impl Heartbeat {
    /// The bit of `capabilities` that says the node serves claims.
    pub const CLAIM_PROVIDER: u16 = 1;

    /// The TXT value.
    ///
    /// # Errors
    /// Another signer than `operator`, a text that breaks its rule, `exp` not after `ts`, or a time of 2^63 or more.
    pub fn sign(&self, operator: &OperatorKey) -> Result<String, EncodeError> {
        if self.operator != operator.public() {
            return Err(EncodeError::OtherKey);
        }
        self.check()?;
        let mut body = Writer::new();
        body.bytes(MAGIC)
            .text16(self.endpoint.as_str())?
            .bytes(self.operator.as_bytes())
            .text8(&self.version)?
            .u16(self.capabilities)
            .text8(self.claim_provider_zone.as_deref().unwrap_or_default())?
            .u64(self.ts.as_secs())
            .u64(self.exp.as_secs());
        let body = body.into_body();
        let signature = operator.sign(&body);
        seal_body(RecordType::Heartbeat, body, &signature)
    }

    /// Verifies a TXT value with the key inside it.
    ///
    /// # Errors
    /// Anything but a well-formed, correctly signed, live heartbeat within the skew and at most 30 days ahead.
    pub fn parse(value: &str, skew: Skew, now: UnixTime) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Heartbeat, value)?;
        let (body, signature) = split_signature(&blob)?;
        let heartbeat = Self::read(body)?;
        verify(&heartbeat.operator, body, signature)?;
        heartbeat.check_times(skew, now)?;
        Ok(Verified::new(heartbeat))
    }

    /// Judges the times alone: of a heartbeat that was verified before and comes again.
    ///
    /// # Errors
    /// As [`Heartbeat::parse`] for its times.
    pub fn check_times(&self, skew: Skew, now: UnixTime) -> Result<(), RecordError> {
        let (ahead, behind) = match skew {
            Skew::Within(seconds) => (seconds, seconds),
            Skew::PassedOn => (CLOCK_SKEW, u64::MAX),
            Skew::Unlimited => (u64::MAX, u64::MAX),
        };
        if self.ts.saturating_sub(now) > ahead {
            return Err(Rejected::Future.into());
        }
        if now.saturating_sub(self.ts) > behind {
            return Err(Rejected::TooOld.into());
        }
        if self.exp <= now {
            return Err(Rejected::Expired.into());
        }
        check_horizon(self.exp, now, HORIZON_SHORT)?;
        Ok(())
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let magic = reader.array::<7>()?;
        if magic != *MAGIC && magic != *MAGIC_WITHOUT_ZONE {
            return Err(Malformed::Magic);
        }
        let heartbeat = Self {
            endpoint: Endpoint::parse(reader.text16()?)?,
            operator: SigningPublicKey::from_bytes(reader.array()?),
            version: reader.text8()?.to_owned(),
            capabilities: reader.u16()?,
            claim_provider_zone: read_zone(&mut reader, magic)?,
            ts: UnixTime::new(reader.u64()?),
            exp: UnixTime::new(reader.u64()?),
        };
        reader.finish()?;
        heartbeat.check()?;
        Ok(heartbeat)
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.version.len() > HEARTBEAT_VERSION_MAX || !self.version.is_ascii() {
            return Err(Malformed::Field("version"));
        }
        if let Some(zone) = &self.claim_provider_zone
            && (!(1..=HEARTBEAT_ZONE_MAX).contains(&zone.len())
                || !zone.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(Malformed::Field("claim provider zone"));
        }
        if self.exp <= self.ts || self.exp.as_secs() > SIGNED_TIME_MAX {
            return Err(Malformed::Field("exp"));
        }
        Ok(())
    }
}

/// The zone field, which the older form does not have; empty says none.
fn read_zone(reader: &mut Reader<'_>, magic: [u8; 7]) -> Result<Option<String>, Malformed> {
    if magic == *MAGIC_WITHOUT_ZONE {
        return Ok(None);
    }
    Ok(Some(reader.text8()?.to_owned()).filter(|zone| !zone.is_empty()))
}
