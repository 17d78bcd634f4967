//! The command line of `setup` (product.md 5.1).

use std::path::PathBuf;

/// `setup`
#[derive(Debug, clap::Args)]
pub(crate) struct SetupArgs {
    /// The address to set up [default: the one of the configuration]
    #[arg(value_name = "USER@HOST")]
    pub(crate) address: Option<String>,
    /// The home node: host, host:port or URL [default: looked for under the host of the address]
    #[arg(long, value_name = "HOST", conflicts_with = "endpoint")]
    pub(crate) node: Option<String>,
    /// The same as HTTP base URL
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Key that signs for the domain of the address, from its operator over another channel: the cluster that serves the domain is found
    /// and used. It is never learnt from DNS
    #[arg(long, value_name = "HEX", conflicts_with_all = ["node", "endpoint"])]
    pub(crate) bootstrap_signer: Option<String>,
    /// Name that the node signs with, where it differs from its host
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// DNS server that takes updates [default: the node]
    #[arg(long, value_name = "HOST")]
    pub(crate) dns_server: Option<String>,
    /// Its port [default: where the node is found, else 53]
    #[arg(long, value_name = "PORT", requires = "dns_server")]
    pub(crate) dns_port: Option<u16>,
    /// Resolvers of a new configuration, comma separated [default: 1.1.1.1,8.8.8.8]
    #[arg(long, value_name = "LIST")]
    pub(crate) dns_resolvers: Option<String>,
    /// Where the passphrase is read from; where there is no such file, a typed passphrase is written to it, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Invite messages that name their sender
    #[arg(long)]
    pub(crate) advertise_v2: bool,
    /// Take the usual answer to every question but the passphrase
    #[arg(long)]
    pub(crate) yes: bool,
}
