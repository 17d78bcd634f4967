//! The command lines of an operator: `node ctl` (cli.md 3.16) and `dnsmesh-node-admin` (cli.md 4).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dmp_dns::tsig::Algorithm;

use super::duration;
use super::node::NodeSettingsArgs;

/// `node ctl`
#[derive(Debug, Args)]
pub(crate) struct NodeCtlArgs {
    #[command(flatten)]
    pub(crate) settings: NodeSettingsArgs,
    /// What to do
    #[command(subcommand)]
    pub(crate) action: CtlCommand,
}

/// `node ctl` subcommands
#[derive(Debug, Subcommand)]
pub(crate) enum CtlCommand {
    /// Say how the node is
    Status,
    /// Read the settings again and bring into force what a running node can change
    Reload,
    /// Take no writes from now on and go on answering questions; `ctl resume` or a restart ends it
    Drain,
    /// Take writes again
    Resume,
    /// TSIG keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Who gets no credentials
    #[command(subcommand)]
    User(UserCommand),
    /// How much each writer holds
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// The zone as text
    #[command(subcommand)]
    Zone(ZoneCommand),
    /// Write a copy of the database, which may be in use, to a new file
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Check a copy and put it in the place of the database; the node must not run
    Restore {
        /// The copy
        file: PathBuf,
    },
}

/// `node ctl key`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Print all keys; never their secrets
    List,
    /// Print one key with its scope
    Show(NameArgs),
    /// Add a key of your own that belongs to no user, and print it this once as a key file for `nsupdate -k`
    Add(KeyAddArgs),
    /// End a key for good: its next packet is refused, and registering again does not revive it
    Revoke(NameArgs),
    /// Forget a key: its owner may register again
    Delete(NameArgs),
}

/// A key by its name.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Key name
    pub(crate) name: String,
}

/// `node ctl key add`
#[derive(Debug, Args)]
pub(crate) struct KeyAddArgs {
    /// Key name, a domain name that no key has yet
    pub(crate) name: String,
    /// Names that it may write, at and under PATTERN; `*` stands for any run of characters of a label, and such a
    /// pattern never deletes. May be repeated
    #[arg(long, value_name = "PATTERN", required = true)]
    pub(crate) scope: Vec<String>,
    /// hmac-sha256, hmac-sha384 or hmac-sha512
    #[arg(long, default_value_t = Algorithm::HmacSha256)]
    pub(crate) algorithm: Algorithm,
    /// File with the secret in base64, at least 16 octets [default: a random secret]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Life as 90d, 12h, 300s [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) expires: Option<u64>,
}

/// `node ctl user`
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Print who is denied
    List,
    /// Give no new credential to a user or to a signing key; those they have are revoked separately
    Deny(WhoArgs),
    /// Lift a denial
    Allow(WhoArgs),
}

/// A user or a key.
#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// user@host, or a signing key of 64 hex digits
    pub(crate) who: String,
}

/// `node ctl quota`
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// Print the largest writers
    Show,
}

/// `node ctl zone`
#[derive(Debug, Subcommand)]
pub(crate) enum ZoneCommand {
    /// Print every record in presentation format
    Dump,
}

/// `dnsmesh-node-admin`, also `node admin`
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Database file [default: DMP_DB_PATH, or the settings file's]
    #[arg(long, value_name = "PATH")]
    pub(crate) db: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(crate) action: AdminCommand,
}

/// `dnsmesh-node-admin` subcommands
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Bearer tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// What was done with them
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// `token`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Issue a token and print it this once
    Issue(IssueArgs),
    /// Print the tokens; never their text
    List {
        /// Only those of a user
        #[arg(long, value_name = "USER@HOST")]
        subject: Option<String>,
        /// Revoked ones too
        #[arg(long)]
        include_revoked: bool,
    },
    /// End all tokens of a user, or the one whose hash begins so
    Revoke {
        /// user@host, or the beginning of a hash
        target: String,
    },
    /// End all tokens of a user and issue a new one
    Rotate {
        /// user@host
        subject: String,
        #[command(flatten)]
        terms: TermsArgs,
    },
}

/// `token issue`
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// user@host
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) terms: TermsArgs,
    /// For your own records
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    /// Agreement key whose prekeys the holder may publish
    #[arg(long, value_name = "X25519_HEX")]
    pub(crate) with_prekey_scope: Option<String>,
}

/// What a new token allows.
#[derive(Debug, Args)]
pub(crate) struct TermsArgs {
    /// Life as 90d, 12h, 300s [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) expires: Option<u64>,
    /// Requests a second
    #[arg(long, default_value_t = 10.0)]
    pub(crate) rate: f64,
    /// Requests at once
    #[arg(long, default_value_t = 50)]
    pub(crate) burst: u32,
}

/// `audit`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Print the newest rows first
    Tail {
        /// Only rows of a kind: issued, revoked, used, throttled, rejected
        #[arg(long)]
        event: Option<String>,
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}
