//! The command line (cli.md 1, 3): one definition that feeds parser and help.
//!
//! Values are taken apart here only as far as their form goes; what they mean is decided by each verb.

pub(crate) mod backup;
pub(crate) mod bootstrap;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod contacts;
pub(crate) mod credentials;
pub(crate) mod directory;
pub(crate) mod doctor;
mod duration;
pub(crate) mod identity;
pub(crate) mod init;
pub(crate) mod mail;
mod node;
mod operator;
pub(crate) mod peers;
pub(crate) mod resolvers;
pub(crate) mod setup;
pub(crate) mod signing;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use backup::BackupCommand;
use bootstrap::BootstrapCommand;
use cluster::ClusterCommand;
use config::SettingCommand;
use contacts::ContactsCommand;
use credentials::{RegisterArgs, SavedTokenCommand, TsigCommand};
use directory::DirectoryArgs;
use doctor::DoctorArgs;
use identity::IdentityCommand;
use init::InitArgs;
use mail::{IntroCommand, OutboxCommand, RecvArgs, SendArgs};
use peers::PeersArgs;
use resolvers::ResolversCommand;
use setup::SetupArgs;

pub(crate) use node::{
    ConfigCommand, ConfigMigrateArgs, ConfigShowArgs, NodeArgs, NodeCheckArgs, NodeCommand,
    NodeConfigArgs, NodeHealthArgs, NodeImportArgs, NodeLoadArgs, NodeRunArgs, NodeSettingsArgs,
    NodeSetupArgs,
};
pub(crate) use operator::{
    AdminArgs, AdminCommand, AuditCommand, CtlCommand, IssueArgs, KeyAddArgs, KeyCommand,
    NodeCtlArgs, QuotaCommand, TokenCommand, UserCommand as CtlUserCommand, ZoneCommand,
};

/// What stands below the verbs.
const AFTER_HELP: &str = "First steps: `dnsmesh demo` shows it all on this machine, `dnsmesh setup user@host` sets an address up, `dnsmesh doctor` looks \
     what is wrong. What is not protected: the names that you look up, when you write and how much, and whose keys you took without \
     comparing them; `dnsmesh man` and docs/guide/not-protected.md tell more.";

/// Encrypted messages delivered as DNS records.
#[derive(Debug, Parser)]
#[command(
    name = "dnsmesh",
    version,
    infer_long_args = true,
    disable_help_subcommand = true,
    after_help = AFTER_HELP
)]
pub(crate) struct Args {
    /// Directory of configuration and store [default: ~/.dmp, or DMP_CONFIG_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) config_home: Option<PathBuf>,
    /// Directory of saved bearer tokens [default: <config-home>/tokens, or DMP_TOKENS_HOME]
    #[arg(long, value_name = "DIR")]
    pub(crate) tokens_home: Option<PathBuf>,
    /// Print JSON instead of text; warnings and errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no notes and no advice; warnings and errors stay
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say on standard error what is done; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Ask nothing: what would be a question is an error that says how to answer it
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: When,
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
        // Help is printed before there are arguments.
        let color = (0..arguments.len()).find_map(|from| asked_color(arguments.get(from..)?));
        let color = match color {
            Some(When::Always) => ColorChoice::Always,
            Some(When::Never) => ColorChoice::Never,
            Some(When::Auto) | None => ColorChoice::Auto,
        };
        let mut command = Self::command().color(color);
        let matches = command.try_get_matches_from_mut(arguments)?;
        let args = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if let Command::User(UserCommand::Contacts(verb)) = &args.command {
            let wrong = |reason| command.error(ErrorKind::MissingRequiredArgument, reason);
            verb.check().map_err(wrong)?;
        }
        Ok(args)
    }
}

/// `--color WHEN` or `--color=WHEN`.
fn asked_color(words: &[OsString]) -> Option<When> {
    let mut words = words.iter().map_while(|word| word.to_str());
    let when = match words.next()? {
        "--color" => words.next()?,
        word => word.strip_prefix("--color=")?,
    };
    When::from_str(when, false).ok()
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum When {
    // On a terminal, unless NO_COLOR, CLICOLOR_FORCE or TERM=dumb says otherwise.
    #[default]
    Auto,
    Always,
    Never,
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
    /// Explain a verb or an error code
    Help(HelpArgs),
    /// Print completions for a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page of the program, or write all pages
    Man {
        /// Write all pages into this directory, as MANPATH wants it
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// The verbs of a user.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Set up an address: configuration, keys, registration, publication and a test, in one resumable command
    Setup(SetupArgs),
    /// Create the configuration of a new identity
    Init(InitArgs),
    /// Register at a node for a bearer token
    Register(RegisterArgs),
    /// Register at a node for a TSIG key, show or remove it
    #[command(subcommand)]
    Tsig(TsigCommand),
    /// List and delete saved bearer tokens
    #[command(subcommand)]
    Token(SavedTokenCommand),
    /// Read and change the configuration
    #[command(subcommand)]
    Config(SettingCommand),
    /// Find out what is wrong and what to do about it
    Doctor(DoctorArgs),
    /// A home in one encrypted file, an identity on one page
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Show, publish and look up identities
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// The people you write to
    #[command(subcommand)]
    Contacts(ContactsCommand),
    /// Encrypt and publish a message
    Send(SendArgs),
    /// Messages on their way: what became of them, try again, take back
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Fetch and decrypt what waits for you
    Recv(RecvArgs),
    /// Messages of senders nobody pinned
    #[command(subcommand)]
    Intro(IntroCommand),
    /// The resolvers that look-ups go through
    #[command(subcommand)]
    Resolvers(ResolversCommand),
    /// Show the node of a zone and the other nodes that it has heard of
    Peers(PeersArgs),
    /// Make a public page of the mesh from what zones publish
    Directory(DirectoryArgs),
    /// A cluster: nodes of one operator that are used as one
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// From a domain to the cluster that serves it, each step signed
    #[command(subcommand)]
    Bootstrap(BootstrapCommand),
}

/// `help`
#[derive(Debug, clap::Args)]
pub(crate) struct HelpArgs {
    /// A verb with its sub-verbs, an error code, or `codes` for a list of these
    #[arg(value_name = "VERB|CODE")]
    pub(crate) words: Vec<String>,
}

/// `demo`
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leave node and homes in place until Ctrl-C, and say how to look around
    #[arg(long)]
    pub(crate) keep: bool,
    /// Three nodes in place of one; one of them is killed while messages are on their way, and comes back
    #[arg(long)]
    pub(crate) cluster: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }
}
