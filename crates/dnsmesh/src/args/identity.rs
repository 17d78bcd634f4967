//! The command line of `identity` (cli.md 3.2).

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// `identity`
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Print the own keys
    Show(ShowArgs),
    /// Print the own address URI as a QR code for others to scan
    Qr,
    /// Publish the own identity record
    Publish(PublishArgs),
    /// Publish one-time keys, so that messages to you have forward secrecy
    RefreshPrekeys(RefreshArgs),
    /// Look up somebody's identity record
    Fetch(FetchArgs),
    /// Replace the own keys: a new passphrase, signed over to by the old key
    Rotate(RotateArgs),
    /// Declare the own key to be at its end, without a successor
    Revoke(RevokeArgs),
    /// Remove the own identity record from the zone
    Unpublish,
}

/// `identity show`
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Print the address URI, which holds the address and both keys, and nothing else
    #[arg(long)]
    pub(crate) uri: bool,
}

/// `identity publish`
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// Lifetime of the record in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(crate) ttl: u64,
    /// Invite messages that name their sender
    #[arg(long)]
    pub(crate) advertise_v2: bool,
}

/// `identity refresh-prekeys`
#[derive(Debug, clap::Args)]
pub(crate) struct RefreshArgs {
    /// How many
    #[arg(long, default_value_t = 25)]
    pub(crate) count: usize,
    /// Lifetime of new keys in seconds [default: a week]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
}

/// `identity fetch`
#[derive(Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// User name, or user@host
    pub(crate) user: String,
    /// Zone of a bare user name [default: the own one]
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// Pin the keys as a contact
    #[arg(long)]
    pub(crate) add: bool,
    /// Which of several records to take
    #[arg(long, value_name = "HEX16")]
    pub(crate) accept_fingerprint: Option<String>,
    /// Ask the cluster of the pinned domain, found anew by its bootstrap record, and nobody else
    #[arg(long)]
    pub(crate) via_bootstrap: bool,
}

/// `identity rotate`
#[derive(Debug, clap::Args)]
pub(crate) struct RotateArgs {
    /// File with the new passphrase [default: DMP_NEW_PASSPHRASE, else a prompt]
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Lifetime of the records in the node, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(crate) ttl: u64,
    /// How long the rotation counts, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 31_536_000)]
    pub(crate) exp_seconds: u64,
    /// Do not ask; with a passphrase file the configuration is switched to it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why; all but routine revoke the old key
    #[arg(long, value_enum, default_value_t = RotateReason::Routine)]
    pub(crate) reason: RotateReason,
    /// Accepted and not needed
    #[arg(long, hide = true)]
    pub(crate) experimental: bool,
    /// Invite messages that name their sender
    #[arg(long)]
    pub(crate) advertise_v2: bool,
}

/// Why a key is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum RotateReason {
    /// Planned
    Routine,
    /// Somebody else may hold it
    Compromise,
    /// It is lost
    LostKey,
}

/// `identity revoke`
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Why
    #[arg(long, value_enum)]
    pub(crate) reason: RevokeReason,
    /// Lifetime of the record in the node, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(crate) ttl: u64,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Why a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum RevokeReason {
    /// Somebody else may hold it
    Compromise,
    /// It is lost
    LostKey,
    /// Anything else
    Other,
}
