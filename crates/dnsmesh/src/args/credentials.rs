//! The command lines of the credentials: `register` and `tsig` (cli.md 3.8, 3.9).

use clap::{Subcommand, ValueEnum};

/// What both registrations take.
#[derive(Debug, clap::Args)]
pub(crate) struct RegisterArgs {
    /// The node: host, host:port or URL
    #[arg(long, value_name = "HOST")]
    pub(crate) node: String,
    /// Address to register [default: the own one]
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Scheme to use [default: the URL's, else https]
    #[arg(long, value_enum)]
    pub(crate) scheme: Option<Scheme>,
    /// Name that the node signs with, where it differs from its host
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
}

/// `--scheme`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheme {
    /// With TLS
    Https,
    /// Without; anybody on the way can read the credential
    Http,
}

/// `tsig`
#[derive(Debug, Subcommand)]
pub(crate) enum TsigCommand {
    /// Register for a TSIG key: all writes then go as signed DNS UPDATE
    Register {
        #[command(flatten)]
        node: RegisterArgs,
        /// DNS server that takes the updates [default: the node's host]
        #[arg(long, value_name = "HOST")]
        dns_server: Option<String>,
        /// Its port
        #[arg(long, value_name = "PORT", default_value_t = 53)]
        dns_port: u16,
    },
}
