//! The revocation record: a key declares its own end, for good (records.md 12).

use super::{Binding, Subject, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::error::{EncodeError, Malformed, RecordError, Rejected};
use crate::id::UnixTime;
use crate::keys::{Signer, SigningPublicKey};
use crate::limits::CLOCK_SKEW;
use crate::signed::{Verified, verify};

const MAGIC: &[u8; 7] = b"DMPRV01";

/// Why a key ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// Somebody else may hold it.
    Compromise = 1,
    /// Planned.
    Routine = 2,
    /// Its owner lost it.
    LostKey = 3,
    /// Anything else.
    Other = 4,
}

impl Reason {
    /// The reason with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Compromise),
            2 => Some(Self::Routine),
            3 => Some(Self::LostKey),
            4 => Some(Self::Other),
            _ => None,
        }
    }

    /// The number on the wire, 1 to 4.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// The end of a key. It never expires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// Whose key it was.
    pub subject: Subject,
    /// The key that ended, and signed this.
    pub revoked: SigningPublicKey,
    /// Why.
    pub reason: Reason,
    /// When it was signed.
    pub ts: UnixTime,
}

impl Revocation {
    /// The TXT value.
    ///
    /// # Errors
    /// A key that is not the revoked one or not of the subject's kind.
    pub fn sign(&self, revoked: Signer<'_>) -> Result<String, EncodeError> {
        if self.revoked != revoked.public() {
            return Err(EncodeError::OtherKey);
        }
        self.subject.check_signer(&revoked)?;
        let mut body = Writer::new();
        body.bytes(MAGIC);
        self.subject.write(&mut body)?;
        body.bytes(self.revoked.as_bytes())
            .u8(self.reason.code())
            .u64(self.ts.as_secs());
        let body = body.into_body();
        let signature = revoked.sign(&body);
        seal_body(RecordType::Revocation, body, &signature)
    }

    /// Verifies a TXT value with the key inside it. `max_age` in seconds is for callers that want revocations to
    /// lapse; `None` is the protocol's rule.
    ///
    /// # Errors
    /// Anything but a well-formed, correctly signed revocation that is what the reader expects, at most 300 s ahead.
    pub fn parse(
        value: &str,
        expected: Binding<'_>,
        max_age: Option<u64>,
        now: UnixTime,
    ) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Revocation, value)?;
        let (body, signature) = split_signature(&blob)?;
        let revocation = Self::read(body)?;
        verify(&revocation.revoked, body, signature)?;
        expected.check(&revocation.revoked, &revocation.subject)?;
        if max_age.is_some_and(|age| revocation.ts.saturating_add(age) < now) {
            return Err(Rejected::TooOld.into());
        }
        if revocation.ts.saturating_sub(now) > CLOCK_SKEW {
            return Err(Rejected::Future.into());
        }
        Ok(Verified::new(revocation))
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.magic(MAGIC)?;
        let revocation = Self {
            subject: Subject::read(&mut reader)?,
            revoked: SigningPublicKey::from_bytes(reader.array()?),
            reason: Reason::from_code(reader.u8()?).ok_or(Malformed::Field("reason"))?,
            ts: UnixTime::new(reader.u64()?),
        };
        reader.finish()?;
        Ok(revocation)
    }
}
