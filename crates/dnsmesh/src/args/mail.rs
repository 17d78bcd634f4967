//! The command lines of messages: `send`, `recv`, `intro` (cli.md 3.4 to 3.6).

use clap::Subcommand;

use super::duration;

/// `send`
#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Label of the contact
    pub(crate) recipient: String,
    /// The text; - reads it from standard input
    pub(crate) message: String,
    /// Lifetime of the message: seconds, or with suffix m, h, d or w [default: one day]
    #[arg(long, value_parser = duration::parse)]
    pub(crate) ttl: Option<u64>,
    /// Refuse to send without a one-time key of the recipient
    #[arg(long)]
    pub(crate) require_fs: bool,
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
