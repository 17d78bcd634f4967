//! The command lines of the credentials: `register`, `tsig` and `token` (cli.md 3.8 to 3.10).

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
    /// Print the TSIG key that this home writes with
    Show {
        /// Print it as a key clause of BIND, for `nsupdate -k`: with its secret
        #[arg(long)]
        bind: bool,
    },
    /// Remove the TSIG key from the configuration: writes then go over HTTP
    Forget,
}

/// `token`
#[derive(Debug, Subcommand)]
pub(crate) enum SavedTokenCommand {
    /// Print the saved bearer tokens, never in full
    List,
    /// Delete the token saved for a node
    Forget {
        /// Host name of the node
        node: String,
    },
}
