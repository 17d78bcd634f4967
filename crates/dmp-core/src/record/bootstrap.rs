//! The bootstrap record: which clusters serve a user domain (records.md 11). The cluster manifest is the second hop.

use super::{check_horizon, seal_body};
use crate::codec::{Reader, RecordType, Writer, decode, split_signature};
use crate::error::{EncodeError, Malformed, RecordError, Rejected};
use crate::id::UnixTime;
use crate::keys::{OperatorKey, SigningPublicKey};
use crate::limits::{BOOTSTRAP_ENTRIES_MAX, HORIZON_LONG};
use crate::name::DomainName;
use crate::signed::{Verified, verify};

const MAGIC: &[u8; 7] = b"DMPBS01";

/// The clusters of a user domain as its zone signer publishes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootstrapRecord {
    /// The highest of several wins.
    pub seq: u64,
    /// When it dies; still live at that second.
    pub exp: UnixTime,
    /// The zone signer's key, which the reader must have pinned.
    pub signer: SigningPublicKey,
    /// The domain of the users.
    pub domain: DomainName,
    /// 1 to 16 clusters. A parsed record has them by rising priority, ties in record order: try them in that order.
    pub entries: Vec<BootstrapEntry>,
}

/// One cluster of a user domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootstrapEntry {
    /// Lower is preferred.
    pub priority: u16,
    /// The cluster's base domain.
    pub base: DomainName,
    /// The operator's key to pin for that cluster.
    pub operator: SigningPublicKey,
}

impl BootstrapRecord {
    /// The TXT value, entries sorted by priority.
    ///
    /// # Errors
    /// Another signer than `signer`, none or more than 16 entries, two with equal priority and base, or more than 1200 characters.
    pub fn sign(&self, signer: &OperatorKey) -> Result<String, EncodeError> {
        if self.signer != signer.public() {
            return Err(EncodeError::OtherKey);
        }
        check_entries(&self.entries)?;
        let mut body = Writer::new();
        body.bytes(MAGIC)
            .u64(self.seq)
            .u64(self.exp.as_secs())
            .bytes(self.signer.as_bytes())
            .text8(self.domain.as_str())?
            .count8(self.entries.len())?;
        let mut entries: Vec<&BootstrapEntry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.priority);
        for entry in entries {
            body.u16(entry.priority)
                .text8(entry.base.as_str())?
                .bytes(entry.operator.as_bytes());
        }
        let body = body.into_body();
        let signature = signer.sign(&body);
        seal_body(RecordType::Bootstrap, body, &signature)
    }

    /// Verifies a TXT value with the pinned key. Who fetched it by name passes that name.
    ///
    /// # Errors
    /// Anything but a well-formed, live record of that signer for that domain, at most 5 years ahead.
    pub fn parse(
        value: &str,
        signer: &SigningPublicKey,
        domain: Option<&DomainName>,
        now: UnixTime,
    ) -> Result<Verified<Self>, RecordError> {
        let blob = decode(RecordType::Bootstrap, value)?;
        let (body, signature) = split_signature(&blob)?;
        verify(signer, body, signature)?;
        let record = Self::read(body)?;
        if record.signer != *signer {
            return Err(Rejected::OtherKey.into());
        }
        if record.exp < now {
            return Err(Rejected::Expired.into());
        }
        check_horizon(record.exp, now, HORIZON_LONG)?;
        if domain.is_some_and(|domain| *domain != record.domain) {
            return Err(Rejected::OtherName.into());
        }
        Ok(Verified::new(record))
    }

    /// The usable record of an RRset: the highest `seq`, the first of equals (records.md 5.3).
    pub fn choose<'a>(
        values: impl IntoIterator<Item = &'a str>,
        signer: &SigningPublicKey,
        domain: Option<&DomainName>,
        now: UnixTime,
    ) -> Option<Verified<Self>> {
        values
            .into_iter()
            .filter_map(|value| Self::parse(value, signer, domain, now).ok())
            .reduce(|best, next| if next.seq > best.seq { next } else { best })
    }

    /// The key that a value names as its signer: what can be told to somebody who has pinned none, and nothing to trust.
    ///
    /// # Errors
    /// A value that is no bootstrap record.
    pub fn claimed_signer(value: &str) -> Result<SigningPublicKey, RecordError> {
        let blob = decode(RecordType::Bootstrap, value)?;
        Ok(Self::read(split_signature(&blob)?.0)?.signer)
    }

    fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.magic(MAGIC)?;
        let seq = reader.u64()?;
        let exp = UnixTime::new(reader.u64()?);
        let signer = SigningPublicKey::from_bytes(reader.array()?);
        let domain =
            DomainName::parse(reader.text8()?).map_err(|_| Malformed::Field("user domain"))?;
        let count = reader.u8()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let priority = reader.u16()?;
            let base =
                DomainName::parse(reader.text8()?).map_err(|_| Malformed::Field("cluster base"))?;
            let operator = SigningPublicKey::from_bytes(reader.array()?);
            entries.push(BootstrapEntry {
                priority,
                base,
                operator,
            });
        }
        reader.finish()?;
        check_entries(&entries)?;
        entries.sort_by_key(|entry| entry.priority);
        Ok(Self {
            seq,
            exp,
            signer,
            domain,
            entries,
        })
    }
}

fn check_entries(entries: &[BootstrapEntry]) -> Result<(), Malformed> {
    if !(1..=BOOTSTRAP_ENTRIES_MAX).contains(&entries.len()) {
        return Err(Malformed::Field("entry count"));
    }
    let mut rest = entries;
    while let Some((first, others)) = rest.split_first() {
        if others
            .iter()
            .any(|other| other.priority == first.priority && other.base == first.base)
        {
            return Err(Malformed::Field("entry that repeats another"));
        }
        rest = others;
    }
    Ok(())
}
