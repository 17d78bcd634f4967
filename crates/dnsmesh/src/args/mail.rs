//! The command lines of messages: `send`, `outbox`, `recv`, `intro` (cli.md 3.4 to 3.6, 3.16).

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::duration;

/// `send`
#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Label of the contact
    pub(crate) recipient: String,
    /// The text; - reads it from standard input
    #[arg(required_unless_present = "file")]
    pub(crate) message: Option<String>,
    /// Read the text from this file
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    pub(crate) file: Option<PathBuf>,
    /// Lifetime of the message, 30 days at most: seconds, or with suffix m, h, d or w [default: one day]
    #[arg(long, value_parser = duration::parse)]
    pub(crate) ttl: Option<u64>,
    /// Refuse to send without a one-time key of the recipient
    #[arg(long)]
    pub(crate) require_fs: bool,
    /// Do not return before a resolver shows the message, or before a server took the notice of it too
    #[arg(
        long,
        value_name = "STATE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "published"
    )]
    pub(crate) wait: Option<WaitFor>,
    /// How long to wait for that: seconds, or with suffix m, h, d or w [default: 60]
    #[arg(long, value_parser = duration::parse, requires = "wait")]
    pub(crate) wait_timeout: Option<u64>,
}

/// What `send --wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// A resolver shows the message
    Published,
    /// A server took the notice of it, too
    Announced,
}

/// `outbox`
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// Print the messages on their way
    List {
        /// Those that have expired too
        #[arg(long)]
        all: bool,
    },
    /// Print everything about one message, but its text, which is not kept
    Show {
        /// Number of the message
        id: i64,
    },
    /// Try again now: one message, all that are not done, or those whose time has come
    Retry {
        /// Number of the message
        id: Option<i64>,
        /// All that are not done, those that failed too
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Stop publishing a message, and delete what can be deleted
    Cancel {
        /// Number of the message
        id: i64,
    },
}

/// `recv`
#[derive(Debug, clap::Args)]
pub(crate) struct RecvArgs {
    /// Only follow claims in the own zone
    #[arg(long, conflicts_with = "skip_primary")]
    pub(crate) primary_only: bool,
    /// Only walk the zones of contacts
    #[arg(long)]
    pub(crate) skip_primary: bool,
    /// Keep looking and print messages as they come, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
    /// End following after this time: seconds, or with suffix m, h, d or w
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse, requires = "follow")]
    pub(crate) span: Option<u64>,
    /// Give each message as JSON to the standard input of this shell command instead of printing it
    #[arg(long, value_name = "COMMAND")]
    pub(crate) exec: Option<String>,
    /// Also tell what was not delivered and why, and how many one-time keys are left
    #[arg(long)]
    pub(crate) dropped: bool,
}

/// `intro`
#[derive(Debug, Subcommand)]
pub(crate) enum IntroCommand {
    /// Print the waiting messages
    List,
    /// Take one message without pinning its sender
    Accept {
        /// Number of the message
        id: i64,
    },
    /// Take a message and pin the key of its sender
    Trust(TrustArgs),
    /// Drop a message and everything else its sender writes
    Block {
        /// Number of the message
        id: i64,
        /// Why, for your own records
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Print the blocked keys
    Denied,
    /// Take a key off the list of blocked ones
    Unblock {
        /// The signing key in hex, the label of a contact, or intro-<key> as it was listed
        #[arg(value_name = "KEY|LABEL")]
        sender: String,
    },
    /// Delete waiting messages unread
    Purge {
        /// Those that have expired [default]
        #[arg(long, conflicts_with = "all")]
        expired: bool,
        /// All of them
        #[arg(long)]
        all: bool,
    },
}

/// `intro trust`
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArgs {
    /// Number of the message
    pub(crate) id: i64,
    /// Label of the contact [default: the user name, else intro-<key>]
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// User name of the sender in their zone
    #[arg(long)]
    pub(crate) username: Option<String>,
}
