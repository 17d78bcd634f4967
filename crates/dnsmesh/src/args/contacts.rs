//! The command line of `contacts` (cli.md 3.3).

use clap::Subcommand;

/// `contacts`
#[derive(Debug, Subcommand)]
pub(crate) enum ContactsCommand {
    /// Pin somebody's keys by hand
    Add(ContactArgs),
    /// Print all contacts
    List,
}

/// `contacts add`
#[derive(Debug, clap::Args)]
pub(crate) struct ContactArgs {
    /// Label of the contact
    pub(crate) name: String,
    /// Agreement (X25519) key, 64 hex digits
    pub(crate) pubkey: String,
    /// Signing (Ed25519) key, 64 hex digits
    #[arg(long, value_name = "HEX")]
    pub(crate) signing_key: Option<String>,
    /// Replace the keys of a contact of this name
    #[arg(long)]
    pub(crate) force: bool,
}
