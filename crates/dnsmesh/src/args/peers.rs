//! The command line of `peers` (cli.md 3.14).

use dmp_net::Entry;

/// `peers`
#[derive(Debug, clap::Args)]
pub(crate) struct PeersArgs {
    /// The zone of a node, or a URL with its name as the host
    #[arg(value_name = "ZONE|URL")]
    pub(crate) zone: String,
    /// Ask this resolver instead of the configured ones; may be given several times
    #[arg(long, value_name = "RESOLVER")]
    pub(crate) resolver: Vec<Entry>,
    /// Has no effect: resolvers have deadlines of their own
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
}
