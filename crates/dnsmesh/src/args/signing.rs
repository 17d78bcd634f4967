//! What the verbs of operators' records have in common: `cluster` and `bootstrap` with `keygen`, `sign`, `show`, `rotate`, `revoke`,
//! `publish` (federation.md 4.1, 5, 6).

use std::path::PathBuf;

use super::duration;
use super::identity::RevokeReason;

/// `keygen`
#[derive(Debug, clap::Args)]
pub(crate) struct KeygenArgs {
    /// The new file; one that exists is never overwritten
    pub(crate) file: PathBuf,
}

/// How a new record is numbered and how long it counts.
#[derive(Debug, clap::Args)]
pub(crate) struct TermsArgs {
    /// Number of the record: of several the highest wins [default: the time in Unix milliseconds]
    #[arg(long, value_name = "N")]
    pub(crate) seq: Option<u64>,
    /// How long it counts, five years at most: 365d, 12h, 300s
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = duration::parse)]
    pub(crate) valid: u64,
    /// Print a line of a zone file instead of the bare value
    #[arg(long)]
    pub(crate) zone_file: bool,
}

/// `rotate`
#[derive(Debug, clap::Args)]
pub(crate) struct RotateKeyArgs {
    /// The domain whose key it is: the cluster's base domain, or the users' domain
    pub(crate) domain: String,
    /// File of the key that ends
    #[arg(long, value_name = "FILE")]
    pub(crate) old_key: PathBuf,
    /// File of the key that follows
    #[arg(long, value_name = "FILE")]
    pub(crate) new_key: PathBuf,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
}

/// `revoke`
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeKeyArgs {
    /// The domain whose key it is: the cluster's base domain, or the users' domain
    pub(crate) domain: String,
    /// File of the key that ends
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Why
    #[arg(long, value_enum)]
    pub(crate) reason: RevokeReason,
    /// Print a line of a zone file instead of the bare value
    #[arg(long)]
    pub(crate) zone_file: bool,
}

/// `show`
#[derive(Debug, clap::Args)]
pub(crate) struct ShowRecordArgs {
    /// File with a record in each line, `-` for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `publish`
#[derive(Debug, clap::Args)]
pub(crate) struct PublishRecordArgs {
    /// File with a record in each line, `-` for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Node to publish at with the operator's token: host, host:port or URL [default: what the configuration of this home writes to]
    #[arg(long, value_name = "URL")]
    pub(crate) node: Option<String>,
    /// File with that token [default: DMP_OPERATOR_TOKEN]
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(crate) token_file: Option<PathBuf>,
    /// Lifetime in the node, seconds; publish again before it ends
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(crate) ttl: u64,
}
