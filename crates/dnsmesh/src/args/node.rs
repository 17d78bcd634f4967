//! The command line of `node` (cli.md 3.15, 3.16).

use std::path::PathBuf;

use clap::Subcommand;

use super::OutputArgs;
use super::operator::{AdminArgs, NodeCtlArgs};
use crate::cmd::node::{admin, ctl};
use crate::report::Format;

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
    /// How the verb prints.
    pub(crate) fn format(&self) -> Format {
        match &self.action {
            None | Some(NodeCommand::Run(_) | NodeCommand::Config(_)) => Format::Text,
            Some(NodeCommand::Import(args)) => args.output.into(),
            Some(NodeCommand::Check(args)) => args.output.into(),
            Some(NodeCommand::Ctl(args)) => ctl::output(&args.action).into(),
            Some(NodeCommand::Admin(args)) => admin::output(&args.action).into(),
        }
    }

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
    /// Read the settings and say what is wrong or doubtful with them; binds and changes nothing
    Check(NodeCheckArgs),
    /// Print every setting with its default, as a file to start from
    Config(NodeConfigArgs),
    /// Ask the running node, or work on its database when it does not run
    Ctl(NodeCtlArgs),
    /// Issue, list and revoke bearer tokens; also called dnsmesh-node-admin
    Admin(AdminArgs),
    /// Take over databases of the reference node: records, bearer tokens, TSIG keys
    Import(NodeImportArgs),
}

/// Where the node's settings come from.
#[derive(Debug, Default, clap::Args)]
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `node config`
#[derive(Debug, clap::Args)]
pub(crate) struct NodeConfigArgs {
    /// Print the page docs/operate/config.md instead
    #[arg(long)]
    pub(crate) markdown: bool,
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
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
