//! The command line of `identity` (cli.md 3.2).

use clap::Subcommand;

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
}
