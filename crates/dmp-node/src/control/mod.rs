//! The operator's way into a running node: one request and its answer, as lines of JSON over a socket in the data directory.
//!
//! The same requests work on the database of a node that is not running ([`Operator::offline`]). Nothing here prints.

mod client;
mod dump;
mod key;
mod operator;
mod place;
mod server;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::credentials::admin::Which;

pub use client::{Connection, ControlError};
pub use key::{KeySecret, KeySecretError, NewKey};
pub(crate) use operator::Running;
pub use operator::{OfflineError, Operator};
pub use place::socket_path;
pub(crate) use server::{ControlListener, ControlServer};

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// How the node is.
    Status,
    /// Read the settings again.
    Reload,
    /// Take no writes from now on, and go on answering.
    Drain,
    /// Take writes again.
    Resume,
    /// All TSIG keys.
    KeyList,
    /// One TSIG key.
    KeyShow {
        /// Its name.
        name: String,
    },
    /// A TSIG key of the operator's own.
    KeyAdd(NewKey),
    /// End a key for good.
    KeyRevoke {
        /// Its name.
        name: String,
    },
    /// Forget a key.
    KeyDelete {
        /// Its name.
        name: String,
    },
    /// Who is denied credentials.
    UserList,
    /// Deny credentials.
    UserDeny {
        /// A subject or a signing key in hex.
        who: String,
    },
    /// Lift a denial.
    UserAllow {
        /// A subject or a signing key in hex.
        who: String,
    },
    /// How much each writer holds.
    QuotaShow,
    /// The zone in presentation format.
    ZoneDump,
    /// A copy of the database.
    Backup {
        /// Where, as the node sees it.
        path: PathBuf,
    },
    /// A new bearer token.
    TokenIssue(Issue),
    /// A new bearer token in the place of all others of its subject.
    TokenRotate(Issue),
    /// Bearer tokens.
    TokenList {
        /// Of one subject.
        subject: Option<String>,
        /// Which.
        which: Which,
    },
    /// End tokens.
    TokenRevoke {
        /// A subject or the beginning of a hash.
        target: String,
    },
    /// The newest rows of the audit.
    AuditTail {
        /// Of one kind.
        event: Option<String>,
        /// How many.
        limit: u32,
    },
}

/// A bearer token to issue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// `user@host`.
    pub subject: String,
    /// Seconds it lives; `None` is for ever.
    pub lifetime: Option<u64>,
    /// Requests a second.
    pub rate: f64,
    /// Requests at once.
    pub burst: u32,
    /// For the operator's own records.
    pub note: String,
    /// Who issues it.
    pub issuer: String,
    /// Agreement key whose prekeys the holder may publish, 64 hex digits.
    pub prekey_scope: Option<String>,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A part of a long text; more follows.
    Data(String),
    /// It is done; the last line.
    Done(Value),
    /// It is not done; the last line.
    Failed(Failed),
}

/// Why a request was not done. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Failed {
    /// Whose fault.
    pub code: FailedCode,
    /// One line.
    pub reason: String,
}

/// Whose fault it is that a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailedCode {
    /// The request makes no sense.
    Misuse,
    /// What it is about is not there.
    Absent,
    /// It means several things at once.
    Ambiguous,
    /// The node cannot at the moment.
    Unavailable,
    /// Something that the request leads to is wrong, for instance a setting.
    Refused,
}

impl Failed {
    fn new(code: FailedCode, reason: impl ToString) -> Self {
        Self {
            code,
            reason: reason.to_string(),
        }
    }
}
