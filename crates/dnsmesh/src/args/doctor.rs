//! The command line of `doctor` (cli.md 3.7; product.md 5.5).

use clap::Subcommand;

/// `doctor`
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Look for the DNS port of the home node and save it; do nothing else
    #[arg(long, conflicts_with = "fix")]
    pub(crate) repair: bool,
    /// Put right what can be undone: file modes, a missing local DNS endpoint; with `network`, resolvers that do not work
    #[arg(long, global = true)]
    pub(crate) fix: bool,
    /// Do not ask before other resolvers are saved
    #[arg(long, short = 'y', global = true, requires = "fix")]
    pub(crate) yes: bool,
    /// What to look at [default: configuration, node and what is published]
    #[command(subcommand)]
    pub(crate) part: Option<DoctorPart>,
}

/// What to look at.
#[derive(Debug, Subcommand)]
pub(crate) enum DoctorPart {
    /// Whether this network carries messages: every resolver, one by one
    Network {
        /// Also look at well-known public resolvers
        #[arg(long)]
        public: bool,
    },
    /// What strangers see who look you up, through every resolver
    Identity {
        /// Also look through well-known public resolvers
        #[arg(long)]
        public: bool,
    },
    /// Whether messages to somebody arrive, and theirs to you
    Contact {
        /// Label of the contact, or user@host
        address: String,
    },
}
