//! The rotation record: a key names its successor, and both sign (records.md 12). The walk along a chain is in [`crate::rotation`].

use super::{Binding, Subject, check_horizon, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::error::{EncodeError, Malformed, RecordError, Rejected};
use crate::id::UnixTime;
use crate::keys::{Signer, SigningPublicKey};
use crate::limits::HORIZON_LONG;
use crate::signed::{Verified, verify};

const MAGIC: &[u8; 7] = b"DMPROT1";

/// One hop from a key to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Whose key it is.
    pub subject: Subject,
    /// The key that ends.
    pub old: SigningPublicKey,
    /// The key that follows.
    pub new: SigningPublicKey,
    /// Rises along a chain; writers use Unix milliseconds.
    pub seq: u64,
    /// When it was signed; never checked.
    pub ts: UnixTime,
    /// When it dies; still live at that second.
    pub exp: UnixTime,
}

impl Rotation {
    /// The TXT value, signed by the old key, then the new one.
    ///
    /// # Errors
    /// Keys that are not the record's or not of the subject's kind, or equal ones.
    pub fn sign(&self, old: Signer<'_>, new: Signer<'_>) -> Result<String, EncodeError> {
        if self.old != old.public() || self.new != new.public() {
            return Err(EncodeError::OtherKey);
        }
        self.subject.check_signer(&old)?;
        self.subject.check_signer(&new)?;
        self.check()?;
        let mut body = Writer::new();
        body.bytes(MAGIC);
        self.subject.write(&mut body)?;
        body.bytes(self.old.as_bytes())
            .bytes(self.new.as_bytes())
            .u64(self.seq)
            .u64(self.ts.as_secs())
            .u64(self.exp.as_secs());
        let mut body = body.into_body();
        let (first, second) = (old.sign(&body), new.sign(&body));
        body.extend_from_slice(&first);
        seal_body(RecordType::Rotation, body, &second)
    }

    /// Verifies a TXT value with both keys inside it; one signature alone is never enough.
    ///
    /// # Errors
    /// Anything but a well-formed, live rotation that is what the reader expects, at most 5 years ahead.
    pub fn parse(
        value: &str,
        expected: Binding<'_>,
        now: UnixTime,
    ) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Rotation, value)?;
        let (rest, signature_new) = split_signature(&blob)?;
        let (body, signature_old) = split_signature(rest)?;
        let rotation = Self::read(body)?;
        verify(&rotation.old, body, signature_old)?;
        verify(&rotation.new, body, signature_new)?;
        expected.check(&rotation.old, &rotation.subject)?;
        if rotation.exp < now {
            return Err(Rejected::Expired.into());
        }
        check_horizon(rotation.exp, now, HORIZON_LONG)?;
        Ok(Verified::new(rotation))
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.magic(MAGIC)?;
        let rotation = Self {
            subject: Subject::read(&mut reader)?,
            old: SigningPublicKey::from_bytes(reader.array()?),
            new: SigningPublicKey::from_bytes(reader.array()?),
            seq: reader.u64()?,
            ts: UnixTime::new(reader.u64()?),
            exp: UnixTime::new(reader.u64()?),
        };
        reader.finish()?;
        rotation.check()?;
        Ok(rotation)
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.old == self.new {
            Err(Malformed::Field("new key"))
        } else {
            Ok(())
        }
    }
}
