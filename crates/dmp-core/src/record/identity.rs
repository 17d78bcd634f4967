//! The identity record: a person's two public keys under a name (records.md 8). Proves its signing key only.

use std::collections::BTreeSet;

use super::seal_body;
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::error::{EncodeError, Malformed, RecordError};
use crate::id::{Fingerprint, UnixTime};
use crate::keys::{AgreementPublicKey, Identity, PublicKeys, SigningPublicKey};
use crate::limits::USERNAME_MAX;
use crate::signed::{Verified, verify};

/// A person as they publish themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityRecord {
    /// The bare user name, 1 to 64 bytes, case-sensitive. May hold control characters: escape it on display.
    pub username: String,
    /// The X25519 key that messages go to. The record does not prove that its signer holds it (D6).
    pub agreement: AgreementPublicKey,
    /// The key that verifies this record.
    pub signing: SigningPublicKey,
    /// When it was published; never checked.
    pub ts: UnixTime,
    /// The protocol versions that the person can receive.
    pub versions: Versions,
}

impl IdentityRecord {
    /// Both keys.
    #[must_use]
    pub const fn keys(&self) -> PublicKeys {
        PublicKeys {
            agreement: self.agreement,
            signing: self.signing,
        }
    }

    /// What people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.keys().fingerprint()
    }

    /// The TXT value.
    ///
    /// # Errors
    /// Keys that are not both the identity's, or an empty or over-long user name.
    pub fn sign(&self, identity: &Identity) -> Result<String, EncodeError> {
        if self.signing != identity.signing_public()
            || self.agreement != identity.agreement_public()
        {
            return Err(EncodeError::OtherKey);
        }
        check_username(&self.username)?;
        let mut body = Writer::new();
        body.text8(&self.username)?
            .bytes(self.agreement.as_bytes())
            .bytes(self.signing.as_bytes())
            .u64(self.ts.as_secs());
        if self.versions != Versions::default() {
            let versions: Vec<u8> = self.versions.iter().collect();
            body.count8(versions.len())?.bytes(&versions);
        }
        let body = body.into_body();
        let signature = identity.sign(&body);
        seal_body(RecordType::Identity, body, &signature)
    }

    /// Verifies a TXT value with the key inside it.
    ///
    /// # Errors
    /// Anything but a well-formed, correctly signed identity record.
    pub fn parse(value: &str) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Identity, value)?;
        let (body, signature) = split_signature(&blob)?;
        let record = Self::read(body)?;
        verify(&record.signing, body, signature)?;
        Ok(Verified::new(record))
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let username = reader.text8()?;
        check_username(username)?;
        let agreement = AgreementPublicKey::from_bytes(reader.array()?);
        let signing = SigningPublicKey::from_bytes(reader.array()?);
        let ts = UnixTime::new(reader.u64()?);
        let mut versions = Versions::default();
        if !reader.is_empty() {
            let count = reader.u8()?;
            let listed = reader.bytes(usize::from(count))?;
            if !listed.is_sorted_by(|earlier, later| earlier < later) {
                return Err(Malformed::Field("versions"));
            }
            versions = Versions::new(listed.iter().copied()).ok_or(Malformed::Field("versions"))?;
        }
        reader.finish()?;
        Ok(Self {
            username: username.to_owned(),
            agreement,
            signing,
            ts,
            versions,
        })
    }
}

fn check_username(username: &str) -> Result<(), Malformed> {
    if (1..=USERNAME_MAX).contains(&username.len()) {
        Ok(())
    } else {
        Err(Malformed::Field("user name"))
    }
}

/// The protocol versions that a person can receive, never empty; {1} unless stated (records.md 8.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versions(BTreeSet<u8>);

impl Versions {
    /// `None` for an empty set, or all 256 numbers, which the count byte cannot say.
    pub fn new(versions: impl IntoIterator<Item = u8>) -> Option<Self> {
        let set: BTreeSet<u8> = versions.into_iter().collect();
        (1..=usize::from(u8::MAX))
            .contains(&set.len())
            .then_some(Self(set))
    }

    /// Whether the person can receive this version.
    #[must_use]
    pub fn contains(&self, version: u8) -> bool {
        self.0.contains(&version)
    }

    /// The versions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().copied()
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self(BTreeSet::from([1]))
    }
}
