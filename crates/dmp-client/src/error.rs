//! Why an operation of the client failed, and whose fault it is. Prints nothing.

use std::io;

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::store::Holder;

/// Whose fault a failure is: one table maps it to an exit code and a hint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Something from the network or a file is not what it should be.
    Malformed,
    /// Somebody answered and said no.
    Rejected,
    /// Somebody who is needed did not answer.
    Unavailable,
    /// The caller or the configuration is wrong.
    Misuse,
    /// This program is wrong.
    Bug,
}

/// Why a node did not take a change (client.md 4.4).
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum WriteError {
    /// The node's policy says no: owner outside the credential's scope, or a cap on value, TTL or count.
    #[error("the node refused: {}", cause(.reason))]
    Refused {
        /// The node's own words, empty if it gave none.
        reason: String,
        /// The TTL cap that the node named.
        ttl_cap: Option<u64>,
    },
    /// The credential was not accepted.
    #[error("not authorised: {0}")]
    NotAuthorised(String),
    /// The name is not inside the zone that the credential writes to.
    #[error("the name is outside the zone of the credential")]
    NotZone,
    /// The node failed or throttles; the same request may succeed later.
    #[error("the node could not do it now: {0}")]
    ServerFailure(String),
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// An answer that does not prove where it comes from.
    #[error("the answer is not signed as it must be: {0}")]
    Unverified(String),
    /// One operation that no message can carry.
    #[error("a value of {bytes} bytes at a single name does not fit a message")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A value that this back-end cannot publish.
    #[error("the value cannot be published here: {0}")]
    Unsuitable(&'static str),
    /// The writer is configured wrongly.
    #[error("{0}")]
    Misconfigured(String),
}

impl WriteError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused { .. } | Self::NotAuthorised(_) | Self::NotZone => Fault::Rejected,
            Self::ServerFailure(_) | Self::Unreachable(_) => Fault::Unavailable,
            Self::Unverified(_) => Fault::Malformed,
            Self::TooLarge { .. } | Self::Unsuitable(_) | Self::Misconfigured(_) => Fault::Misuse,
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "write-refused",
            Self::NotAuthorised(_) => "write-not-authorised",
            Self::NotZone => "write-not-zone",
            Self::ServerFailure(_) => "write-server-failure",
            Self::Unreachable(_) => "write-unreachable",
            Self::Unverified(_) => "write-unverified",
            Self::TooLarge { .. } => "write-too-large",
            Self::Unsuitable(_) => "write-unsuitable",
            Self::Misconfigured(_) => "write-misconfigured",
        }
    }
}

/// What keeps a file from being written or read, where the system says so. One code and one remedy each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// No room on the disk (ENOSPC, SQLITE_FULL).
    Full,
    /// No room within what this account or process may use (EDQUOT, EFBIG).
    Quota,
    /// The file system, or the file, takes no changes (EROFS, SQLITE_READONLY).
    ReadOnly,
    /// The rights do not suffice (EACCES, EPERM).
    Forbidden,
    /// Reading or writing failed and nobody said why (EIO, SQLITE_IOERR, SQLITE_CANTOPEN).
    Broken,
}

impl Obstacle {
    /// What an error of the file system tells; `None` for one that is about something else.
    #[must_use]
    pub fn of_file(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::StorageFull => Some(Self::Full),
            io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Some(Self::Quota),
            io::ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly),
            io::ErrorKind::PermissionDenied => Some(Self::Forbidden),
            _ => None,
        }
    }

    /// The same for an error of the database, which does not pass on what the system said.
    #[must_use]
    pub fn of_database(error: &rusqlite::Error) -> Option<Self> {
        match error.sqlite_error_code()? {
            ErrorCode::DiskFull => Some(Self::Full),
            ErrorCode::ReadOnly => Some(Self::ReadOnly),
            ErrorCode::PermissionDenied => Some(Self::Forbidden),
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => Some(Self::Broken),
            _ => None,
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full => "disk-full",
            Self::Quota => "disk-quota",
            Self::ReadOnly => "disk-read-only",
            Self::Forbidden => "disk-forbidden",
            Self::Broken => "disk-broken",
        }
    }

    /// The obstacle of a code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        let all = [
            Self::Full,
            Self::Quota,
            Self::ReadOnly,
            Self::Forbidden,
            Self::Broken,
        ];
        all.into_iter().find(|obstacle| obstacle.code() == code)
    }

    /// What it is and what to do about it, in plain words.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Full => "the disk is full: make room on it and repeat the command",
            Self::Quota => {
                "a quota or a limit on file sizes is reached: make room within it or have it raised, and repeat the command"
            }
            Self::ReadOnly => {
                "it can be read but not written: mount the file system writable, or correct the mode, and repeat the command"
            }
            Self::Forbidden => {
                "this account may not do that: correct owner and mode, or use the account that the files belong to"
            }
            Self::Broken => {
                "the disk or its file system does not do its work: look at the system's log, and keep a copy of what is still readable"
            }
        }
    }
}

/// Why the local store could not be used (client.md 2, 5).
#[derive(Debug, Error)]
pub enum StoreError {
    /// The passphrase gives a key that opens none of the store's wraps (D17).
    #[error("this passphrase does not open the local store")]
    WrongPassphrase,
    /// A newer program wrote the file.
    #[error("{file} has schema version {found}; this program knows versions up to {known}")]
    FutureSchema {
        /// The file.
        file: String,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A file of that name which is something else.
    #[error("{0} is not a store of this program")]
    NotAStore(String),
    /// Another process receives at the moment.
    #[error("this home is in use by {holder}")]
    Locked {
        /// Who that is.
        holder: Holder,
    },
    /// Another message was sealed to this prekey of the contact meanwhile: choose again (client.md 9.2).
    #[error("another message took this prekey of the contact")]
    PrekeyTaken,
    /// A row that does not open: the file was damaged or tampered with.
    #[error("a row of the table {0} is damaged")]
    Damaged(&'static str),
    /// The file as a whole is not in order.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The file system.
    #[error("{path}: {error}")]
    File {
        /// What was touched.
        path: String,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The database.
    #[error("local store: {0}")]
    Database(rusqlite::Error),
    /// The operating system gives no randomness.
    #[error("no randomness from the operating system")]
    NoRandomness,
}

impl StoreError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::WrongPassphrase
            | Self::FutureSchema { .. }
            | Self::NotAStore(_)
            | Self::Locked { .. } => Fault::Misuse,
            Self::PrekeyTaken => Fault::Unavailable,
            Self::Damaged(_) | Self::Corrupt(_) => Fault::Malformed,
            Self::File { .. } | Self::Database(_) | Self::NoRandomness => Fault::Unavailable,
        }
    }

    /// The stable machine code (D32); that of the [`Obstacle`] where there is one.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongPassphrase => "store-wrong-passphrase",
            Self::FutureSchema { .. } => "store-future-schema",
            Self::NotAStore(_) => "store-not-a-store",
            Self::Locked { .. } => "store-locked",
            Self::PrekeyTaken => "store-prekey-taken",
            Self::Damaged(_) => "store-damaged",
            Self::Corrupt(_) => "store-corrupt",
            Self::File { error, .. } => {
                Obstacle::of_file(error).map_or("store-file", Obstacle::code)
            }
            Self::Database(error) => {
                Obstacle::of_database(error).map_or("store-database", Obstacle::code)
            }
            Self::NoRandomness => "store-no-randomness",
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

/// The node's reason, else what a refusal without one usually means (client.md 4.4).
fn cause(reason: &str) -> &str {
    if reason.is_empty() {
        "the name is outside the credential's scope, or a limit on values, their size or their lifetime is reached"
    } else {
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_a_disk_has_one_code_each() {
        let code = |number| {
            let error = io::Error::from_raw_os_error(number);
            Obstacle::of_file(&error).map(Obstacle::code)
        };
        // Linux: EPERM, ENOENT, EACCES, EFBIG, ENOSPC, EROFS, EDQUOT.
        assert_eq!(code(1), Some("disk-forbidden"));
        assert_eq!(code(2), None);
        assert_eq!(code(13), Some("disk-forbidden"));
        assert_eq!(code(27), Some("disk-quota"));
        assert_eq!(code(28), Some("disk-full"));
        assert_eq!(code(30), Some("disk-read-only"));
        assert_eq!(code(122), Some("disk-quota"));
        for code in [
            "disk-full",
            "disk-quota",
            "disk-read-only",
            "disk-forbidden",
            "disk-broken",
        ] {
            assert_eq!(Obstacle::of_code(code).map(Obstacle::code), Some(code));
        }
    }
}
