//! The command line of `init` (cli.md 3.1).

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
    /// Resolvers to ask, comma separated: ip, ip:port, [ipv6]:port, system, tls://ip#name, https://name/path@ip
    #[arg(long, value_name = "LIST")]
    pub(crate) dns_resolvers: Option<String>,
    /// Do not write the default resolvers 1.1.1.1 and 8.8.8.8
    #[arg(long)]
    pub(crate) no_default_resolvers: bool,
    /// Zone of the identity record, where it is not the mesh zone
    #[arg(long, value_name = "ZONE", default_value = "")]
    pub(crate) identity_domain: String,
    /// Pin this key as the one that signs for the domain; `bootstrap discover --auto-pin` goes by it
    #[arg(long, value_name = "HEX")]
    pub(crate) bootstrap_signer: Option<String>,
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
}

/// The mesh zone when nobody names one (cli.md 3.1).
pub(crate) const DEFAULT_DOMAIN: &str = "mesh.local";
