//! What an operator signs: key files, cluster manifests, bootstrap records, the rotation and the end of the keys behind them
//! (federation.md 4.1, 5, 6.1, records.md 15), and their publication.
//!
//! It signs nothing by itself on behalf of anybody and pins nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use dmp_core::codec::RecordType;
use dmp_core::error::{EncodeError, Malformed, RecordError};
use dmp_core::id::UnixTime;
use dmp_core::keys::{KeyFileError, OperatorKey, Signer, SigningPublicKey};
use dmp_core::owner::{OwnerName, bootstrap_owner, cluster_owner};
use dmp_core::record::{
    Binding, BootstrapRecord, ClusterManifest, Reason, Revocation, Rotation, Subject, SubjectKind,
};
use rand_core::Rng as _;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::error::{Fault, WriteError};
use crate::limits::OPERATOR_KEY_FILE_MAX;
use crate::mesh::{Lookup, Operation, Reader, Writer, system_random};
use crate::ops::publish_capped;
use crate::writer::zone_file_value;

/// Why a key file cannot be read or written.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file system.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Not a key.
    #[error("{}: {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyFileError,
    },
}

impl KeyError {
    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "key-file",
            Self::Content { .. } => "key-file-content",
        }
    }
}

/// Makes a key and writes it to a new file, mode 0600; `purpose` says in it what it signs. Returns the key to pin.
///
/// # Errors
/// A file that is there already, or that cannot be written.
pub fn generate_key(path: &Path, purpose: &str) -> Result<SigningPublicKey, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    system_random().fill_bytes(seed.as_mut_slice());
    let text = OperatorKey::file_text(&seed, purpose);
    let mut options = OpenOptions::new();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(|error| KeyError::File {
        path: path.to_owned(),
        error,
    })?;
    Ok(OperatorKey::from_ed25519_seed(*seed).public())
}

/// The key in a file, whatever its form (records.md 15).
///
/// # Errors
/// [`KeyError`].
pub fn read_key(path: &Path) -> Result<OperatorKey, KeyError> {
    let failed = |error| KeyError::File {
        path: path.to_owned(),
        error,
    };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > OPERATOR_KEY_FILE_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let octets = Zeroizing::new(fs::read(path).map_err(failed)?);
    OperatorKey::from_file(&octets).map_err(|error| KeyError::Content {
        path: path.to_owned(),
        error,
    })
}

/// A rotation of an operator's or zone signer's key: `new` follows `old` in the role that `subject` names (federation.md 6.2).
///
/// # Errors
/// Equal keys, or the subject of a person.
pub fn rotation(
    subject: Subject,
    old: &OperatorKey,
    new: &OperatorKey,
    seq: u64,
    ts: UnixTime,
    exp: UnixTime,
) -> Result<String, EncodeError> {
    let rotation = Rotation {
        subject,
        old: old.public(),
        new: new.public(),
        seq,
        ts,
        exp,
    };
    rotation.sign(Signer::Operator(old), Signer::Operator(new))
}

/// A revocation of such a key, for good.
///
/// # Errors
/// The subject of a person.
pub fn revocation(
    subject: Subject,
    key: &OperatorKey,
    reason: Reason,
    ts: UnixTime,
) -> Result<String, EncodeError> {
    let revocation = Revocation {
        subject,
        revoked: key.public(),
        reason,
        ts,
    };
    revocation.sign(Signer::Operator(key))
}

/// An operator's record that verifies under the keys it names itself. Whether these are the keys to trust, only who pinned them knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedRecord {
    /// The TXT value.
    pub value: String,
    /// What it says.
    pub content: Content,
}

/// The records of operators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// The nodes of a cluster.
    Cluster(ClusterManifest),
    /// The clusters of a user domain.
    Bootstrap(BootstrapRecord),
    /// A key's successor.
    Rotation(Rotation),
    /// A key's end.
    Revocation(Revocation),
}

impl SignedRecord {
    /// Reads a TXT value.
    ///
    /// # Errors
    /// Another type, a record of a person, one that has expired or whose signature does not verify.
    pub fn read(value: &str, now: UnixTime) -> Result<Self, RecordError> {
        let value = value.trim();
        let anything = Binding::default();
        let content = match RecordType::of(value) {
            Some(RecordType::Cluster) => {
                let operator = ClusterManifest::claimed_operator(value)?;
                let manifest = ClusterManifest::parse(value, &operator, None, now)?;
                Content::Cluster(manifest.into_inner())
            }
            Some(RecordType::Bootstrap) => {
                let signer = BootstrapRecord::claimed_signer(value)?;
                let record = BootstrapRecord::parse(value, &signer, None, now)?;
                Content::Bootstrap(record.into_inner())
            }
            Some(RecordType::Rotation) => {
                Content::Rotation(Rotation::parse(value, anything, now)?.into_inner())
            }
            Some(RecordType::Revocation) => {
                Content::Revocation(Revocation::parse(value, anything, None, now)?.into_inner())
            }
            _ => return Err(Malformed::Prefix.into()),
        };
        let record = Self {
            value: value.to_owned(),
            content,
        };
        match record.subject().map(Subject::kind) {
            Some(SubjectKind::User) => Err(Malformed::Field("subject").into()),
            _ => Ok(record),
        }
    }

    /// Where it is published; every operator's record has one name.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerName> {
        match &self.content {
            Content::Cluster(manifest) => Some(cluster_owner(&manifest.name)),
            Content::Bootstrap(record) => Some(bootstrap_owner(&record.domain)),
            Content::Rotation(_) | Content::Revocation(_) => self.subject()?.owner_names().pop(),
        }
    }

    /// The key that signed it; of a rotation the old one.
    #[must_use]
    pub const fn key(&self) -> &SigningPublicKey {
        match &self.content {
            Content::Cluster(manifest) => &manifest.operator,
            Content::Bootstrap(record) => &record.signer,
            Content::Rotation(rotation) => &rotation.old,
            Content::Revocation(revocation) => &revocation.revoked,
        }
    }

    /// Its number; a revocation has none.
    #[must_use]
    pub const fn seq(&self) -> Option<u64> {
        match &self.content {
            Content::Cluster(manifest) => Some(manifest.seq),
            Content::Bootstrap(record) => Some(record.seq),
            Content::Rotation(rotation) => Some(rotation.seq),
            Content::Revocation(_) => None,
        }
    }

    /// When it dies; a revocation never does.
    #[must_use]
    pub const fn expires(&self) -> Option<UnixTime> {
        match &self.content {
            Content::Cluster(manifest) => Some(manifest.exp),
            Content::Bootstrap(record) => Some(record.exp),
            Content::Rotation(rotation) => Some(rotation.exp),
            Content::Revocation(_) => None,
        }
    }

    /// The same as a line of a zone file.
    #[must_use]
    pub fn zone_line(&self, ttl: u32) -> Option<String> {
        let owner = self.owner()?;
        Some(format!(
            "{owner}. {ttl} IN TXT {}",
            zone_file_value(&self.value)
        ))
    }

    /// Whether `other` is an older record in the same place, which this one makes useless. Rotations and revocations stay for good.
    fn supersedes(&self, other: &Self) -> bool {
        let is_state =
            |content: &Content| matches!(content, Content::Cluster(_) | Content::Bootstrap(_));
        is_state(&self.content)
            && is_state(&other.content)
            && self.owner() == other.owner()
            && self.key() == other.key()
            && other.seq() < self.seq()
    }

    const fn subject(&self) -> Option<&Subject> {
        match &self.content {
            Content::Rotation(rotation) => Some(&rotation.subject),
            Content::Revocation(revocation) => Some(&revocation.subject),
            Content::Cluster(_) | Content::Bootstrap(_) => None,
        }
    }
}

/// A record that is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Where.
    pub owner: OwnerName,
    /// Lifetime in the node, seconds, as the node took it.
    pub ttl: u64,
    /// Older records of the same key there that are gone.
    pub removed: usize,
}

/// Why a record is not published.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PublishError {
    /// A subject that DNS could not ask for.
    #[error("the record names nothing that DNS could ask for")]
    NoOwner,
    /// The node or provider did not take it.
    #[error("publish to {owner} failed: {error}")]
    Write {
        /// Where it should have gone.
        owner: OwnerName,
        /// Why not.
        error: WriteError,
    },
}

impl PublishError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoOwner => Fault::Misuse,
            Self::Write { error, .. } => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoOwner => "signed-no-owner",
            Self::Write { error, .. } => error.code(),
        }
    }
}

/// Publishes a record, then removes what it supersedes: earlier manifests or bootstrap records of the same key with a lower number,
/// each by its exact value. That one of these could not be removed is no error: they lose against the higher number anyway.
///
/// # Errors
/// [`PublishError`].
pub async fn publish(
    reader: &dyn Reader,
    writer: &dyn Writer,
    record: &SignedRecord,
    ttl: u64,
    now: UnixTime,
) -> Result<Published, PublishError> {
    let owner = record.owner().ok_or(PublishError::NoOwner)?;
    let add = |ttl| {
        vec![Operation::Add {
            owner: owner.clone(),
            ttl,
            value: record.value.clone(),
        }]
    };
    let ttl = publish_capped(writer, ttl, add)
        .await
        .map_err(|error| PublishError::Write {
            owner: owner.clone(),
            error,
        })?;
    let visible = match reader.txt(&owner).await {
        Lookup::Found(values) => values,
        Lookup::Absent | Lookup::Unreachable(_) => Vec::new(),
    };
    let older: Vec<Operation> = visible
        .into_iter()
        .filter(|value| SignedRecord::read(value, now).is_ok_and(|other| record.supersedes(&other)))
        .map(|value| Operation::DeleteValue {
            owner: owner.clone(),
            value,
        })
        .collect();
    let removed = if older.is_empty() {
        0
    } else {
        writer.apply(&older).await.stored()
    };
    Ok(Published {
        owner,
        ttl,
        removed,
    })
}
