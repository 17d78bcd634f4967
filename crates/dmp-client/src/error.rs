//! Why an operation of the client failed, and whose fault it is. Prints nothing.

use thiserror::Error;

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
    #[error("another process ({holder}) is receiving with this home")]
    Locked {
        /// What the lock file says about the holder.
        holder: String,
    },
    /// Another message was sealed to this prekey of the contact meanwhile: choose again (client.md 9.2).
    #[error("another message took this prekey of the contact")]
    PrekeyTaken,
    /// A row that does not open: the file was damaged or tampered with.
    #[error("a row of the table {0} is damaged")]
    Damaged(&'static str),
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
    Database(#[from] rusqlite::Error),
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
            Self::Damaged(_) => Fault::Malformed,
            Self::File { .. } | Self::Database(_) | Self::NoRandomness => Fault::Unavailable,
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongPassphrase => "store-wrong-passphrase",
            Self::FutureSchema { .. } => "store-future-schema",
            Self::NotAStore(_) => "store-not-a-store",
            Self::Locked { .. } => "store-locked",
            Self::PrekeyTaken => "store-prekey-taken",
            Self::Damaged(_) => "store-damaged",
            Self::File { .. } => "store-file",
            Self::Database(_) => "store-database",
            Self::NoRandomness => "store-no-randomness",
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
