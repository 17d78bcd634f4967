//! Exit codes and failures (cli.md 1.2, D32): what went wrong in one line with a stable code, and what to do about it.
//!
//! Values only; [`crate::report`] prints them.

use std::fmt::Display;

use dmp_client::error::Fault;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, also when there was nothing to do.
    Done,
    /// A mistake of the user or in the configuration.
    User,
    /// The network, a remote side, or nothing found.
    Remote,
    /// A rotation is published, but the environment still holds the old passphrase.
    OldPassphrase,
    /// Ended by Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The process status.
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::User => 1,
            Self::Remote => 2,
            Self::OldPassphrase => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Fault> for Exit {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Misuse | Fault::Bug => Self::User,
            Fault::Malformed | Fault::Rejected | Fault::Unavailable => Self::Remote,
        }
    }
}

/// Why a verb did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// The stable machine code.
    pub(crate) code: &'static str,
    /// One line, without the program's name.
    pub(crate) reason: String,
    /// What belongs to it and what to do, one line each.
    pub(crate) hints: Vec<String>,
}

impl Failure {
    /// A failure with this exit code.
    pub(crate) fn new(exit: impl Into<Exit>, code: &'static str, reason: impl Display) -> Self {
        Self {
            exit: exit.into(),
            code,
            reason: reason.to_string(),
            hints: Vec::new(),
        }
    }

    /// A mistake of the user or in the configuration.
    pub(crate) fn user(code: &'static str, reason: impl Display) -> Self {
        Self::new(Exit::User, code, reason)
    }

    /// The same with a line of advice.
    pub(crate) fn hint(mut self, advice: impl Display) -> Self {
        self.hints.push(advice.to_string());
        self
    }
}
