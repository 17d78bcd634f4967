//! `init`: the configuration of a new identity (cli.md 3.1, D29).

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dmp_client::bootstrap::Anchor;
use dmp_client::config::{Config, normalize_endpoint};
use dmp_client::connect;
use dmp_client::home::host_of_endpoint;
use dmp_client::mesh::system_random;
use dmp_client::probe::find_node_dns;
use dmp_core::address::{Address, validate_local_part};
use dmp_core::keys::Salt;
use dmp_core::name::Zone;
use dmp_net::{Entry, SystemFallback};
use serde::Serialize;

use super::Outcome;
use crate::args::init::{DEFAULT_DOMAIN, InitArgs};
use crate::context::Context;
use crate::exit::Failure;
use crate::prompt;
use crate::report::{Report, line};
use crate::terminal;

/// Resolvers written when the user names none.
const DEFAULT_RESOLVERS: [&str; 2] = ["1.1.1.1", "8.8.8.8"];

/// Writes `config.yaml` with a fresh salt.
pub(crate) async fn init(context: &Context, args: InitArgs) -> Outcome {
    let path = context.home.config_path();
    if context.home.has_config() && !args.force {
        return Err(Failure::user(
            "init-config-exists",
            format!("config already exists at {}", path.display()),
        )
        .hint("--force overwrites it with a new salt, which makes a new identity"));
    }
    if context.home.has_config() && std::io::stdin().is_terminal() && terminal::may_ask() {
        prompt::agreed(&format!(
            "{} holds an identity that nobody can bring back without it. Replace it? [y/N] ",
            path.display()
        ))?;
    }
    let mut notes = Vec::new();
    let probes = !args.no_probe_local_dns;
    let mut config = compose(args, &mut notes)?;
    if probes && let Some(server) = probe(&config).await {
        config.local_node_dns_server = server.ip().to_string();
        config.local_node_dns_port = server.port();
    }
    context.home.save_config(&config)?;
    Ok(Box::new(Written {
        path,
        config,
        notes,
    }))
}

/// The configuration of a new identity, with a fresh salt; nothing is written.
pub(super) fn compose(args: InitArgs, notes: &mut Vec<String>) -> Result<Config, Failure> {
    let (username, domain) = own_name(&args, notes)?;
    let dns_resolvers = resolvers(&args)?;
    let identity_domain = args.identity_domain.trim().to_owned();
    if !identity_domain.is_empty() {
        zone("--identity-domain", &identity_domain)?;
    }
    let anchor = match &args.bootstrap_signer {
        Some(signer) => Some(Anchor::parse(&domain, signer)?),
        None => None,
    };
    let (bootstrap_user_domain, bootstrap_signer_spk) = anchor
        .map(|anchor| (anchor.domain.to_string(), anchor.signer.to_string()))
        .unwrap_or_default();
    Ok(Config {
        username,
        domain,
        bootstrap_user_domain,
        bootstrap_signer_spk,
        endpoint: normalize_endpoint(args.endpoint.as_deref().unwrap_or_default()),
        http_token: args.http_token.filter(|token| !token.is_empty()),
        dns_host: args.dns_host.filter(|host| !host.is_empty()),
        dns_port: args.dns_port,
        dns_resolvers,
        identity_domain,
        allow_tofu: args.allow_tofu,
        dnssec_required: args.require_dnssec,
        kdf_salt: Salt::generate(&mut system_random()).to_hex(),
        ..Config::default()
    })
}

/// Looks for the DNS listener of the home node (node.md C1), through the resolvers just configured (client.md 4.7).
async fn probe(config: &Config) -> Option<SocketAddr> {
    let host = host_of_endpoint(&config.endpoint)?;
    let resolvers = connect::reader(config, SystemFallback::Forbidden).ok()?;
    find_node_dns(host, &resolvers).await
}

/// Splits `user@host` and checks that the address has the one canonical form (D29).
fn own_name(args: &InitArgs, notes: &mut Vec<String>) -> Result<(String, String), Failure> {
    let (typed, host) = match args.username.split_once('@') {
        Some((user, host)) if user.is_empty() || host.is_empty() => {
            return Err(Failure::user(
                "init-address",
                format!("`{}` is not user@host: one half is empty", args.username),
            ));
        }
        Some((user, host)) => (user, Some(host)),
        None => (args.username.as_str(), None),
    };
    let username = typed.to_ascii_lowercase();
    if username != typed {
        notes.push(format!(
            "note: the user name is written in lower case: {username}"
        ));
    }
    validate_local_part(&username).map_err(|error| {
        Failure::user("init-user-name", format!("user name `{typed}`: {error}"))
    })?;
    let domain = match host {
        Some(host) if args.domain == DEFAULT_DOMAIN => host,
        _ => args.domain.as_str(),
    };
    let zone = zone("mesh zone", domain)?;
    Address::new(&username, zone.as_str()).map_err(|error| {
        Failure::user(
            "init-address",
            format!("`{username}@{domain}` is not an address: {error}"),
        )
    })?;
    if !zone.as_str().contains('.') {
        notes.push(format!(
            "warning: `{domain}` has one label only; nodes refuse to register such addresses"
        ));
    }
    Ok((username, domain.to_owned()))
}

fn zone(what: &str, text: &str) -> Result<Zone, Failure> {
    Zone::parse(text)
        .map_err(|error| Failure::user("init-zone", format!("{what} `{text}`: {error}")))
}

fn resolvers(args: &InitArgs) -> Result<Vec<String>, Failure> {
    match &args.dns_resolvers {
        Some(list) if !list.is_empty() => {
            let items = list
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            let entries: Vec<String> = items.map(canonical_resolver).collect::<Result<_, _>>()?;
            if entries.is_empty() {
                return Err(Failure::user(
                    "init-resolvers",
                    "invalid --dns-resolvers: the list is empty",
                ));
            }
            Ok(entries)
        }
        _ if args.no_default_resolvers => Ok(Vec::new()),
        _ => Ok(DEFAULT_RESOLVERS.map(str::to_owned).to_vec()),
    }
}

/// `ip`, `ip:port` and `[ipv6]:port` where a port was written, and whatever else names a resolver.
fn canonical_resolver(entry: &str) -> Result<String, Failure> {
    let parsed = entry.parse::<Entry>().map_err(|error| {
        Failure::user(
            "init-resolvers",
            format!("invalid --dns-resolvers: {error}"),
        )
    })?;
    // A port that was typed stays, also the usual one.
    let typed: Option<SocketAddr> = entry.parse().ok();
    Ok(typed.map_or_else(|| parsed.to_string(), |address| address.to_string()))
}

struct Written {
    path: PathBuf,
    config: Config,
    notes: Vec<String>,
}

impl Written {
    fn local_dns(&self) -> Option<String> {
        let Config {
            local_node_dns_server: server,
            local_node_dns_port: port,
            ..
        } = &self.config;
        (!server.is_empty()).then(|| format!("{server}:{port}"))
    }
}

impl Report for Written {
    fn text(&self) -> String {
        let probed = self
            .local_dns()
            .map(|endpoint| format!("  probed local DNS endpoint: {endpoint}\n"))
            .unwrap_or_default();
        format!(
            "{probed}wrote config to {}\n\
             Set a passphrase: DMP_PASSPHRASE, passphrase_file in that file, or type it when asked.\n\
             Keep that file: without its salt the passphrase alone does not bring your keys back.\n",
            self.path.display()
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            path: &'a Path,
            local_dns: Option<String>,
        }
        line(
            "dmp.init/1",
            &Members {
                path: &self.path,
                local_dns: self.local_dns(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.local_dns().is_none() {
            notes.push(
                "hint: no DNS endpoint of the home node is known; messages inside your own zone arrive faster with \
                 local_node_dns_server and local_node_dns_port set"
                    .to_owned(),
            );
        }
        notes
    }
}
