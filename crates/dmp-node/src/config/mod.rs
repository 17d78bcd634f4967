//! The settings of a node: every key of the file and every `DMP_*` variable read once, checked, and given its default
//! (node.md 7, D3, D25).
//!
//! It binds nothing and prints nothing: a wrong setting is a [`ConfigError`], a doubtful one a line in
//! [`Config::warnings`].

mod acme;
mod environment;
mod file;
mod heartbeat;
mod names;
mod read;
mod reload;
mod show;
mod summary;
mod sync;
pub(crate) mod table;
mod variables;

pub(crate) use acme::is_loopback;
pub use acme::{AcmeConfig, ChallengeKind};
pub use environment::{ConfigError, Environment};
pub use file::{ConfigFile, DEFAULT_FILE};
pub use heartbeat::HeartbeatConfig;
pub(crate) use names::dns_name;
pub use names::{BindHost, Prefix};
pub use reload::{Reload, Source};
pub use show::{Migrated, SECRETS_DIRECTORY, Secret, Shown, migrate};
pub use sync::{DEFAULT_MANIFEST, PeerToken, SyncConfig};
pub use table::{example, reference};

use crate::settings::PrefixLengths;
use crate::zone::Owner;
use dmp_core::registration::NodeName;
use dmp_dns::cookie::Secrets;
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Settings of a node, all checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the database goes.
    pub database: DatabasePath,
    /// The zone this node is authoritative for; `None` is zone-less mode (node.md 2.3).
    pub zone: Option<Owner>,
    /// DNS listeners and answers.
    pub dns: DnsConfig,
    /// Dynamic update and the keys it accepts.
    pub update: UpdateConfig,
    /// Claims accepted without a signature (node.md 3.5).
    pub claims: ClaimsConfig,
    /// Bounds of what one writer may store.
    pub caps: Caps,
    /// HTTP listener and who may write through it.
    pub http: HttpConfig,
    /// Self-service registration.
    pub registration: RegistrationConfig,
    /// How often expired records are removed from the database.
    pub cleanup_interval: Duration,
    /// Telling other nodes of this one; `None` is off.
    pub heartbeat: Option<HeartbeatConfig>,
    /// Sharing records with the other nodes of the cluster.
    pub sync: SyncConfig,
    /// How much is logged, and in which form.
    pub log: LogConfig,
    /// Doubtful settings, one line each, to be shown at start.
    pub warnings: Vec<String>,
    /// Files that variables of the reference name: none of them may exist (node.md 5.4).
    pub foreign_databases: Vec<(&'static str, PathBuf)>,
    /// What was set, with digests in the place of secrets.
    given: Environment,
    overrides: Overrides,
    /// Where a reload reads again; `None` if that is not known.
    source: Option<Source>,
}

/// Settings from the command line, which win over the environment (cli.md 3.15).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`: the file, which then must exist.
    pub config: Option<PathBuf>,
    /// `--db-path`
    pub db_path: Option<PathBuf>,
    /// `--dns-port`
    pub dns_port: Option<u16>,
    /// `--http-port`
    pub http_port: Option<u16>,
}

/// Path of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePath {
    /// The path to use.
    pub path: PathBuf,
    /// In the user's data directory: what to use if nothing was configured and `path` cannot be written (D25).
    pub fallback: Option<PathBuf>,
}

/// DNS listeners and answers (node.md 2).
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// Host of both transports.
    pub host: BindHost,
    /// Port of both transports; 0 lets the kernel choose.
    pub port: u16,
    /// Highest TTL served, and the SOA minimum, in seconds.
    pub ttl: u32,
    /// Answers of one kind per client prefix over UDP, requests per client prefix over TCP.
    pub rate: Rate,
    /// Leading bits of an address that make a client.
    pub prefixes: PrefixLengths,
    /// Addresses without a limit.
    pub rate_exempt: Vec<Prefix>,
    /// Secrets of cookies that several nodes share; `None`: random ones that change daily.
    pub cookie_secrets: Option<Secrets>,
    /// The node's identifier for who asks (RFC 5001).
    pub nsid: Option<Vec<u8>>,
    /// Largest answer over UDP, in octets.
    pub udp_payload: u16,
    /// Requests in progress at once.
    pub max_concurrency: usize,
    /// Open TCP connections; `None` follows from the requests in progress.
    pub tcp_connections: Option<usize>,
    /// Open TCP connections of one client prefix.
    pub tcp_connections_per_prefix: usize,
    /// Address of the apex (A).
    pub apex_a: Option<Ipv4Addr>,
    /// Address of the apex (AAAA).
    pub apex_aaaa: Option<Ipv6Addr>,
    /// Name servers of the apex.
    pub apex_ns: Vec<Owner>,
    /// Mailbox name of the SOA.
    pub apex_soa_rname: Option<Owner>,
}

/// Dynamic update (node.md 3, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateConfig {
    /// Whether UPDATE is answered at all, and keys are registered.
    pub enabled: bool,
    /// What a newly minted key may write.
    pub scope: ScopeMode,
}

/// What a newly minted TSIG key may write (node.md 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeMode {
    /// Own names, and adding to the shared pools.
    Default,
    /// Own names only.
    Tight,
    /// The whole zone.
    Loose,
}

/// Claims accepted without a signature (node.md 3.5, D11).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClaimsConfig {
    /// Claims for anybody.
    pub provider: bool,
    /// Claims for those registered in the zone.
    pub receiver: bool,
    /// Longest lifetime of a claim in seconds; `None` is no bound.
    pub max_ttl: Option<u64>,
    /// Claims per recipient.
    pub rate: Rate,
}

/// Bounds of what is stored (node.md 3.3). `None` switches a bound off over DNS; over HTTP only the one per name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Highest TTL a writer may ask for, in seconds.
    pub max_ttl: Option<u64>,
    /// Longest value in octets of UTF-8.
    pub max_value_bytes: Option<u64>,
    /// Live values at one owner name.
    pub max_values_per_name: Option<u64>,
    /// Live values of one writer over the slot names of one mailbox (D13).
    pub max_values_per_writer_per_mailbox: Option<u64>,
    /// Values in the whole store.
    pub max_records: Option<u64>,
    /// Octets that the database uses.
    pub max_database_bytes: Option<u64>,
}

/// HTTP listener and who may write through it (node.md 6).
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Host to bind.
    pub host: BindHost,
    /// Port to bind; 0 lets the kernel choose.
    pub port: u16,
    /// Address of a listening socket that was passed to the process and is used instead.
    pub passed: Option<IpAddr>,
    /// Whether everybody may write from everywhere.
    pub allow_open_public_bind: bool,
    /// Who may write.
    pub auth: AuthMode,
    /// The operator's token.
    pub operator_token: Option<OperatorToken>,
    /// Requests per client address.
    pub rate: Rate,
    /// Connections open at once.
    pub max_connections: usize,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Prefix>,
    /// Where monitors on this machine read metrics, health and readiness without a token.
    pub monitor: Option<SocketAddr>,
    /// Where the certificate comes from; `None` is plain HTTP.
    pub tls: Option<TlsSource>,
}

/// Where the HTTP listener's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// Files that the operator keeps.
    Files(TlsFiles),
    /// A CA, from which the node obtains it.
    Acme(AcmeConfig),
}

impl HttpConfig {
    /// Whether others than this machine reach the listener.
    pub fn is_public(&self) -> bool {
        match self.passed {
            Some(address) => !address.is_loopback(),
            None => !self.host.is_loopback(),
        }
    }
}

/// Files of the HTTP listener's certificate, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead from it to a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Who may write over HTTP (node.md 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Everybody.
    Open,
    /// The operator.
    Legacy,
    /// The operator, and users with a token of their own.
    MultiTenant,
}

/// The operator's bearer token. Never shown; compared in constant time.
#[derive(Clone)]
pub struct OperatorToken(Zeroizing<[u8; 32]>);

impl OperatorToken {
    fn new(text: &str) -> Self {
        Self(Zeroizing::new(Sha256::digest(text.as_bytes()).into()))
    }

    /// Whether the presented text is the token; takes the same time wherever they differ.
    pub fn check(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        self.0.ct_eq(&presented).into()
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(..)")
    }
}

/// A token bucket's numbers; 0 or less in either switches the limit off (node.md 2.8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens added per second.
    pub per_second: f64,
    /// Tokens the bucket holds.
    pub burst: f64,
}

/// Self-service registration (node.md 6.5).
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// The name bound into every signature, as configured; `None` keeps the routes closed.
    pub node_name: Option<NodeName>,
    /// Whether the operator switched it on.
    pub switched_on: bool,
    /// Domains whose subjects may register; empty is the served zone and the node's host name (D9).
    pub allowlist: Vec<Owner>,
    /// Lifetime of tokens and keys; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// Rate stamped on tokens.
    pub issued_rate: Rate,
    /// Requests to the three routes per client address.
    pub endpoint_rate: Rate,
}

/// How much is logged, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The lowest level shown.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// Lowest level shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Requests too.
    Debug,
    /// What an operator reads.
    Info,
    /// What may need attention.
    Warning,
    /// What does need attention.
    Error,
}

/// Form of a log line (node.md 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `YYYY-MM-DD HH:MM:SS,mmm LEVEL logger: message`
    Text,
    /// One object per line.
    Json,
}

impl Config {
    /// Reads the settings from the file, the process's variables that override it, and the command line that overrides both.
    pub fn of_process(overrides: &Overrides) -> Result<Self, ConfigError> {
        Source::of_process(overrides.clone()).read()
    }

    /// Where a reload reads again.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// Whether claims for anybody are accepted: the role needs a zone and UPDATE (node.md 3.5).
    pub fn is_claim_provider(&self) -> bool {
        self.claims.provider && self.update.enabled && self.zone.is_some()
    }

    /// Whether claims for those registered in the zone are accepted.
    pub fn is_claim_receiver(&self) -> bool {
        self.claims.receiver && self.update.enabled && self.zone.is_some()
    }

    /// What is missing before strangers can use this node, one phrase each (D25).
    pub fn missing_for_production(&self) -> Vec<&'static str> {
        let missing = [
            (self.zone.is_none(), "no zone (DMP_DOMAIN)"),
            (
                self.dns.host.is_loopback(),
                "DNS on loopback only (DMP_DNS_HOST)",
            ),
            (
                !self.update.enabled,
                "UPDATE is off (DMP_DNS_UPDATE_ENABLED)",
            ),
            (
                self.http.operator_token.is_none(),
                "no operator token (DMP_OPERATOR_TOKEN)",
            ),
            (
                !self.registration.switched_on,
                "registration is off (DMP_REGISTRATION_ENABLED)",
            ),
        ];
        let missing = missing.into_iter().filter(|(is_missing, _)| *is_missing);
        missing.map(|(_, what)| what).collect()
    }
}
