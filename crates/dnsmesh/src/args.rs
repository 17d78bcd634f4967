//! The command line (cli.md 1, 3): one definition that feeds parser and help.
//!
//! Values are taken apart here only as far as their form goes; what they mean is decided by each verb.

mod duration;
mod node;
mod operator;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use node::{
    ConfigCommand, ConfigMigrateArgs, ConfigShowArgs, NodeArgs, NodeCheckArgs, NodeCommand,
    NodeConfigArgs, NodeHealthArgs, NodeImportArgs, NodeLoadArgs, NodeRunArgs, NodeSettingsArgs,
    NodeSetupArgs,
};
pub(crate) use operator::{
    AdminArgs, AdminCommand, AuditCommand, CtlCommand, IssueArgs, KeyAddArgs, KeyCommand,
    NodeCtlArgs, QuotaCommand, TokenCommand, UserCommand as CtlUserCommand, ZoneCommand,
};

/// Encrypted messages delivered as DNS records.
#[derive(Debug, Parser)]
#[command(name = "dnsmesh", version, infer_long_args = true)]
pub(crate) struct Args {
    /// Directory of configuration and store [default: ~/.dmp, or DMP_CONFIG_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) config_home: Option<PathBuf>,
    /// Directory of saved bearer tokens [default: <config-home>/tokens, or DMP_TOKENS_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) tokens_home: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Parses a process's arguments. Called under the name `dnsmesh-node`, the program is `dnsmesh node`; under
    /// `dnsmesh-node-admin` it is `dnsmesh node admin` (cli.md 3.15).
    pub(crate) fn parse_from_process(mut arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let name = arguments.first().map(PathBuf::from);
        match name.as_ref().and_then(|path| path.file_stem()) {
            Some(stem) if stem == "dnsmesh-node" => arguments.insert(1, "node".into()),
            Some(stem) if stem == "dnsmesh-node-admin" => {
                arguments.splice(1..1, ["node".into(), "admin".into()]);
            }
            _ => {}
        }
        Self::try_parse_from(arguments)
    }
}

/// All verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Those that work in a home
    #[command(flatten)]
    User(UserCommand),
    /// Run the DNS node in the foreground, and what its operator needs
    Node(NodeArgs),
    /// Show the whole way of two messages on this machine: no configuration, no network
    Demo(DemoArgs),
}

/// The verbs of a user.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create the configuration of a new identity
    Init(InitArgs),
    /// Register at a node for a bearer token
    Register(RegisterArgs),
    /// Register at a node for a TSIG key
    #[command(subcommand)]
    Tsig(TsigCommand),
    /// Show, publish and look up identities
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// The people you write to
    #[command(subcommand)]
    Contacts(ContactsCommand),
    /// Encrypt and publish a message
    Send(SendArgs),
    /// Fetch and decrypt what waits for you
    Recv(RecvArgs),
    /// Messages of senders nobody pinned
    #[command(subcommand)]
    Intro(IntroCommand),
}

impl UserCommand {
    /// How the verb prints.
    pub(crate) fn output(&self) -> OutputArgs {
        match self {
            Self::Init(args) => args.output,
            Self::Register(args) | Self::Tsig(TsigCommand::Register { node: args, .. }) => {
                args.output
            }
            Self::Identity(IdentityCommand::Show(output)) => *output,
            Self::Identity(IdentityCommand::Publish(args)) => args.output,
            Self::Identity(IdentityCommand::RefreshPrekeys(args)) => args.output,
            Self::Identity(IdentityCommand::Fetch(args)) => args.output,
            Self::Contacts(ContactsCommand::Add(args)) => args.output,
            Self::Contacts(ContactsCommand::List(output)) => *output,
            Self::Send(args) => args.output,
            Self::Recv(args) => args.output,
            Self::Intro(IntroCommand::List(output)) => *output,
            Self::Intro(
                IntroCommand::Accept { output, .. } | IntroCommand::Block { output, .. },
            ) => *output,
            Self::Intro(IntroCommand::Trust(args)) => args.output,
        }
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// `init`
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// User name, or user@host
    pub(crate) username: String,
    /// Mesh zone
    #[arg(long, default_value = DEFAULT_DOMAIN)]
    pub(crate) domain: String,
    /// HTTP base URL of the home node
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Bearer token for the home node
    #[arg(long, value_name = "TOKEN")]
    pub(crate) http_token: Option<String>,
    /// Address of a single resolver
    #[arg(long, value_name = "IP")]
    pub(crate) dns_host: Option<String>,
    /// Port of the single resolver
    #[arg(long, value_name = "PORT", default_value_t = 5353)]
    pub(crate) dns_port: u16,
    /// Resolvers to ask, comma separated: ip, ip:port, [ipv6]:port
    #[arg(long, value_name = "LIST")]
    pub(crate) dns_resolvers: Option<String>,
    /// Do not write the default resolvers 1.1.1.1 and 8.8.8.8
    #[arg(long)]
    pub(crate) no_default_resolvers: bool,
    /// Zone of the identity record, where it is not the mesh zone
    #[arg(long, value_name = "ZONE", default_value = "")]
    pub(crate) identity_domain: String,
    /// Overwrite an existing configuration: a new salt, so a new identity
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not look for the home node's DNS port
    #[arg(long)]
    pub(crate) no_probe_local_dns: bool,
    /// Deliver messages of anybody while nobody is pinned
    #[arg(long)]
    pub(crate) allow_tofu: bool,
    /// Take only DNSSEC-validated answers
    #[arg(long)]
    pub(crate) require_dnssec: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The mesh zone when nobody names one (cli.md 3.1).
pub(crate) const DEFAULT_DOMAIN: &str = "mesh.local";

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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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

/// `identity`
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Print the own keys
    Show(OutputArgs),
    /// Publish the own identity record
    Publish(PublishArgs),
    /// Publish one-time keys, so that messages to you have forward secrecy
    RefreshPrekeys(RefreshArgs),
    /// Look up somebody's identity record
    Fetch(FetchArgs),
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `contacts`
#[derive(Debug, Subcommand)]
pub(crate) enum ContactsCommand {
    /// Pin somebody's keys by hand
    Add(ContactArgs),
    /// Print all contacts
    List(OutputArgs),
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `send`
#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Label of the contact
    pub(crate) recipient: String,
    /// The text; - reads it from standard input
    pub(crate) message: String,
    /// Lifetime of the message: seconds, or with suffix m, h or d [default: one day]
    #[arg(long, value_parser = parse_duration)]
    pub(crate) ttl: Option<u64>,
    /// Refuse to send without a one-time key of the recipient
    #[arg(long)]
    pub(crate) require_fs: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `intro`
#[derive(Debug, Subcommand)]
pub(crate) enum IntroCommand {
    /// Print the waiting messages
    List(OutputArgs),
    /// Take one message without pinning its sender
    Accept {
        /// Number of the message
        id: i64,
        #[command(flatten)]
        output: OutputArgs,
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
        #[command(flatten)]
        output: OutputArgs,
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `demo`
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leave node and homes in place until Ctrl-C, and say how to look around
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Seconds, or a number with suffix `s`, `m`, `h`, `d`.
fn parse_duration(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let number = digits
        .parse::<u64>()
        .map_err(|_| "not a number of seconds".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_take_suffixes() {
        assert_eq!(parse_duration("90"), Ok(90));
        assert_eq!(parse_duration("2h"), Ok(7_200));
        assert_eq!(parse_duration("30d"), Ok(2_592_000));
        for bad in ["", "h", "0", "-1", "1w", "99999999999999999999", "1é"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
