//! The command line of `node` (cli.md 3.15, 3.16).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Subcommand;

use super::duration;
use super::operator::{AdminArgs, NodeCtlArgs};

/// `node`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodeArgs {
    /// What to do with the node [default: run]
    #[command(subcommand)]
    pub(crate) action: Option<NodeCommand>,
    #[command(flatten)]
    pub(crate) run: NodeRunArgs,
}

impl NodeArgs {
    /// `node` and `node run` are the same command (D3).
    pub(crate) fn into_command(self) -> NodeCommand {
        self.action.unwrap_or(NodeCommand::Run(self.run))
    }
}

/// `node` subcommands
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Run the node in the foreground
    Run(NodeRunArgs),
    /// Make a new node ready: write its settings, print the records for the parent zone, verify the delegation
    Setup(NodeSetupArgs),
    /// Read the settings and say what is wrong or doubtful with them; binds and changes nothing
    Check(NodeCheckArgs),
    /// Ask the running node whether it is well; status 1 if it is not
    Health(NodeHealthArgs),
    /// Print every setting with its default, as a file to start from; or show, check and migrate settings
    Config(NodeConfigArgs),
    /// Ask the running node, or work on its database when it does not run
    Ctl(NodeCtlArgs),
    /// Issue, list and revoke bearer tokens; also called dnsmesh-node-admin
    Admin(AdminArgs),
    /// Take over databases of the reference node: records, bearer tokens, TSIG keys
    Import(NodeImportArgs),
    /// Fill the node's database from a zone file, such as `ctl zone dump` writes
    Load(NodeLoadArgs),
}

/// Where the node's settings come from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct NodeSettingsArgs {
    /// Settings file [default: /etc/dnsmesh/node.toml if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Database file
    #[arg(long, value_name = "PATH")]
    pub(crate) db_path: Option<PathBuf>,
}

/// Settings of the node that win over its file and its environment.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct NodeRunArgs {
    #[command(flatten)]
    pub(crate) settings: NodeSettingsArgs,
    /// DNS port, UDP and TCP; 0 lets the system choose
    #[arg(long, value_name = "PORT")]
    pub(crate) dns_port: Option<u16>,
    /// HTTP port; 0 lets the system choose
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,
}

/// `node check`
#[derive(Debug, clap::Args)]
pub(crate) struct NodeCheckArgs {
    #[command(flatten)]
    pub(crate) run: NodeRunArgs,
    /// Also ask resolvers for the delegation, the name servers for the zone, and the running node for its health
    #[arg(long)]
    pub(crate) online: bool,
    /// Resolver to ask, ip or ip:port; may be repeated [default: those of this machine]
    #[arg(long, value_name = "ADDRESS", requires = "online", value_parser = resolver)]
    pub(crate) resolver: Vec<SocketAddr>,
    /// Port at which the name servers are asked
    #[arg(long, value_name = "PORT", requires = "online", default_value_t = 53)]
    pub(crate) server_port: u16,
}

/// `node setup`
#[derive(Debug, clap::Args)]
pub(crate) struct NodeSetupArgs {
    #[command(flatten)]
    pub(crate) settings: NodeSettingsArgs,
    /// Zone of the node [default: asked, as are the next two]
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Public address of this host; may be given twice, for IPv4 and IPv6
    #[arg(long)]
    pub(crate) address: Vec<IpAddr>,
    /// Name server as the parent zone names it: the zone itself, or a host outside of it
    #[arg(long, value_name = "NAME")]
    pub(crate) ns_name: Option<String>,
    /// Answer DNS on this address of the host only [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<IpAddr>,
    /// Speak HTTPS on port 443 with a certificate that the node obtains by ACME. You agree to the terms of service of its CA
    #[arg(long)]
    pub(crate) acme: bool,
    /// E-mail address that the CA may write to
    #[arg(long, value_name = "ADDRESS", requires = "acme")]
    pub(crate) acme_contact: Option<String>,
    /// Ask nothing: take what is offered, and change settings that are there
    #[arg(long)]
    pub(crate) yes: bool,
    /// Change nothing; look at the running node and at its delegation as resolvers see it
    #[arg(long)]
    pub(crate) verify: bool,
    /// Resolver to ask, ip or ip:port; may be repeated [default: those of this machine]
    #[arg(long, value_name = "ADDRESS", value_parser = resolver)]
    pub(crate) resolver: Vec<SocketAddr>,
    /// Port at which name servers are asked
    #[arg(long, value_name = "PORT", default_value_t = 53)]
    pub(crate) server_port: u16,
}

/// `node health`
#[derive(Debug, clap::Args)]
pub(crate) struct NodeHealthArgs {
    #[command(flatten)]
    pub(crate) settings: NodeSettingsArgs,
}

/// `node config`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodeConfigArgs {
    /// What to do with the settings [default: print all with their defaults]
    #[command(subcommand)]
    pub(crate) action: Option<ConfigCommand>,
    /// Print the page docs/operate/config.md instead
    #[arg(long)]
    pub(crate) markdown: bool,
}

/// `node config` subcommands
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings that hold
    Show(ConfigShowArgs),
    /// The same as `node check`
    Check(NodeCheckArgs),
    /// Print an environment file as a settings file
    Migrate(ConfigMigrateArgs),
}

/// `node config show`
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigShowArgs {
    #[command(flatten)]
    pub(crate) run: NodeRunArgs,
    /// Say of each where it comes from
    #[arg(long)]
    pub(crate) origin: bool,
}

/// `node config migrate`
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigMigrateArgs {
    /// Environment file, such as /etc/dnsmesh/node.env of the reference node; read only
    #[arg(long, value_name = "FILE")]
    pub(crate) from_env: PathBuf,
    /// Write secrets to new files in this directory [default: only name files in /etc/dnsmesh]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) secrets: Option<PathBuf>,
}

/// `node import`
#[derive(Debug, clap::Args)]
pub(crate) struct NodeImportArgs {
    /// Database files of the reference; they are read and never changed
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Say what would happen and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) settings: NodeSettingsArgs,
}

/// `node load`
#[derive(Debug, clap::Args)]
pub(crate) struct NodeLoadArgs {
    /// Zone file in presentation format; all of it is loaded or, if anything in it is wrong, nothing
    #[arg(value_name = "ZONEFILE")]
    pub(crate) file: PathBuf,
    /// How long every value lives, in seconds or with a unit s, m, h, d or w [default: what a dump says was left, else its TTL]
    #[arg(long, value_name = "N", value_parser = duration::parse)]
    pub(crate) ttl: Option<u64>,
    /// Say what would happen and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) settings: NodeSettingsArgs,
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    let with_port = text
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, 53));
    with_port
        .or_else(|_| text.parse())
        .map_err(|_| "must be ip, ip:port or [ipv6]:port".to_owned())
}
