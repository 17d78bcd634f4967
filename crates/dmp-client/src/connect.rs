//! From a configuration to what a networked command works with: reader, writer, claim sender, profile (client.md 4, federation.md 3.2).
//!
//! It asks nobody, but for the manifest of a cluster that is in use: without it nobody would know whom to ask. Hosts are looked up
//! when something is written.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use dmp_core::record::ClusterManifest;
use dmp_core::signed::Verified;
use dmp_net::{Dnssec, Entry, PoolOptions, SystemFallback};

use crate::agent::is_loopback;
use crate::cluster::{
    Anchor, Cluster, ClusterClaims, CompositeReader, DnsEndpoint, FetchError, HomeTransports,
    InstallError, Refresh, RefreshError, Refreshed, fetch,
};
use crate::config::{Config, ConfigError, TrustPolicy};
use crate::error::{Fault, WriteError};
use crate::floors::Floors;
use crate::home::{Home, host_of_endpoint};
use crate::mesh::{
    Applied, ClaimSender, Operation, Pending, Reader, SystemClock, UpdateTarget, Writer,
};
use crate::ops::{
    FirstUse, KeysTrusted, Profile, Provider, ProviderConfig, RotationPolicy, Strangers,
};
use crate::publisher::{Publisher, Surroundings, publishers};
use crate::reader::Resolvers;
use crate::writer::{DnsClaims, HttpWriter, Outcomes, Several, TsigCredential, TsigWriter};

/// Port of a server that takes updates where none is configured.
const UPDATE_PORT: u16 = 53;
/// Port of the home node's DNS where only its endpoint is known (client.md 4.6).
const HOME_NODE_PORT: u16 = 5353;
/// The provider seed where the configuration names none (D26): zone and endpoint.
const BUILT_IN_SEED: (&str, &str) = ("dmp.dnsmesh.io", "https://dnsmesh.io");

/// What the environment says about a connection (cli.md 1.1).
#[derive(Debug, Clone, Copy)]
pub struct ConnectOptions {
    /// Port of unsigned claim updates to other zones.
    pub provider_dns_port: u16,
    /// Whether the system may resolve hosts of update targets although resolvers are configured.
    pub system_fallback: SystemFallback,
}

/// Why a configuration gives no connection. The user has to change it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A key is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Neither an endpoint nor a TSIG key.
    #[error("no endpoint is configured: nothing can be published")]
    NoEndpoint,
    /// Cluster mode is on, and no manifest says what the cluster is.
    #[error("cluster {base}: {reason}")]
    Manifest {
        /// Its base domain.
        base: String,
        /// Why there is none.
        reason: FetchError,
    },
    /// Cluster mode is on, and its manifest cannot be used.
    #[error("cluster {base}: {reason}")]
    Cluster {
        /// Its base domain.
        base: String,
        /// Why not.
        reason: InstallError,
    },
    /// The TSIG settings do not make a key or name no server.
    #[error("{0}")]
    Tsig(#[from] WriteError),
}

impl ConnectError {
    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::NoEndpoint => "connect-no-endpoint",
            Self::Manifest { reason, .. } => reason.code(),
            Self::Cluster { reason, .. } => reason.code(),
            Self::Tsig(_) => "connect-tsig",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Config(_) | Self::NoEndpoint | Self::Tsig(_) => Fault::Misuse,
            Self::Manifest { reason, .. } => reason.fault(),
            Self::Cluster { reason, .. } => reason.fault(),
        }
    }
}

/// How a home looks things up: the configured resolvers, and in cluster mode the cluster for the names in it.
pub struct LookUps {
    /// What operations read with.
    pub reader: Arc<dyn Reader>,
    /// The configured resolvers: addresses and name servers are always their business (federation.md W37).
    pub resolvers: Resolvers,
    /// The cluster, if one is in use.
    pub cluster: Option<ClusterInUse>,
}

/// A cluster in use and what keeps its manifest fresh.
pub struct ClusterInUse {
    /// Its nodes.
    pub cluster: Cluster,
    /// Looks for a newer manifest.
    pub refresh: Refresh,
}

impl LookUps {
    /// What the configuration describes. In cluster mode the manifest is looked up first, and nothing stands in for it
    /// (federation.md 4.2). Resolvers that failed in the last command are asked last (W19). `now` decides whether a saved token is still
    /// worth sending.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn open(
        config: &Config,
        home: &Home,
        fallback: SystemFallback,
        now: u64,
    ) -> Result<Self, ConnectError> {
        let resolvers = reader(config, fallback)?;
        home.recall_demotions(&resolvers, UnixTime::new(now));
        let outside: Arc<dyn Reader> = Arc::new(resolvers.clone());
        let anchor = Anchor::of_config(config)?.filter(|_| config.cluster_active());
        let Some(anchor) = anchor else {
            return Ok(Self {
                reader: outside,
                resolvers,
                cluster: None,
            });
        };
        let base = || anchor.base.to_string();
        let floors = Floors::of_home(home);
        let fetched = fetch(outside.as_ref(), &anchor, &floors, UnixTime::new(now)).await;
        let manifest = match fetched {
            Ok(fetched) => fetched.manifest,
            Err(reason) => {
                let base = base();
                return Err(ConnectError::Manifest { base, reason });
            }
        };
        let cluster = match cluster(manifest, config, home, &resolvers) {
            Ok(cluster) => cluster,
            Err(reason) => {
                let base = base();
                return Err(ConnectError::Cluster { base, reason });
            }
        };
        let inside = Arc::new(cluster.reader());
        let interval = u64::try_from(config.cluster_refresh_interval).unwrap_or(0);
        let zone = anchor.zone();
        Ok(Self {
            reader: Arc::new(CompositeReader::new(zone, inside, Arc::clone(&outside))),
            resolvers,
            cluster: Some(ClusterInUse {
                refresh: Refresh::new(
                    cluster.clone(),
                    anchor,
                    outside,
                    floors,
                    Duration::from_secs(interval),
                ),
                cluster,
            }),
        })
    }
}

/// A cluster as a home uses it: nodes are found by its resolvers and get the tokens that are meant for them.
///
/// # Errors
/// [`InstallError`]: an expired manifest, or the first node that cannot be spoken to by what the manifest says of it.
pub fn cluster(
    manifest: Verified<ClusterManifest>,
    config: &Config,
    home: &Home,
    resolvers: &Resolvers,
) -> Result<Cluster, InstallError> {
    let clock = Arc::new(SystemClock);
    let transports = transports(config, home, resolvers);
    Cluster::new(manifest, Box::new(transports), clock)
}

/// How the nodes of a cluster are spoken to from a home.
#[must_use]
pub fn transports(config: &Config, home: &Home, resolvers: &Resolvers) -> HomeTransports {
    let options = PoolOptions {
        dnssec: dnssec(config),
        ..PoolOptions::system()
    };
    let clock = Arc::new(SystemClock);
    HomeTransports::new(config, home, resolvers.clone(), options, clock)
}

/// What a networked command works with.
pub struct Connection {
    /// Who the user is.
    pub profile: Profile,
    /// Look-ups.
    pub reader: Arc<dyn Reader>,
    /// The configured resolvers behind them.
    pub resolvers: Resolvers,
    /// Changes to the own zone.
    pub writer: Box<dyn Writer>,
    /// Claims in other zones.
    pub claims: Box<dyn ClaimSender>,
    /// What is left of writes when the command is done.
    pub aftermath: Aftermath,
    refresh: Option<Refresh>,
}

impl Connection {
    /// Chooses reader and writer as client.md 4.2 says; `now` decides whether a saved token is still worth sending.
    ///
    /// # Errors
    /// [`ConnectError`]. In cluster mode nothing stands in for a manifest that cannot be had.
    pub async fn open(
        config: &Config,
        home: &Home,
        options: ConnectOptions,
        now: u64,
    ) -> Result<Self, ConnectError> {
        let LookUps {
            reader,
            resolvers,
            cluster,
        } = LookUps::open(config, home, options.system_fallback, now).await?;
        let (cluster, refresh) = cluster
            .map(|ClusterInUse { cluster, refresh }| (cluster, refresh))
            .unzip();
        let node = || node_writer(config, home, &resolvers, cluster.as_ref(), now);
        let (writer, publishers) = match &config.publisher {
            None => (node()?, Outcomes::default()),
            Some(setting) => {
                let surroundings = Surroundings {
                    home,
                    zone: config.mesh_zone()?,
                    variable: &|name| std::env::var(name).ok(),
                };
                let mut writers = publishers(setting, &surroundings)?
                    .into_iter()
                    .map(|(name, publisher)| {
                        let writer: Box<dyn Writer> = match publisher {
                            Publisher::Node => node()?,
                            Publisher::Update { server, credential } => Box::new(UpdateServer {
                                resolvers: resolvers.clone(),
                                server,
                                credential,
                            }),
                            Publisher::Cloudflare(writer) => Box::new(writer),
                            Publisher::Route53(writer) => Box::new(writer),
                            Publisher::File(writer) => Box::new(writer),
                        };
                        Ok((name, writer))
                    })
                    .collect::<Result<Vec<_>, ConnectError>>()?;
                match (writers.pop(), writers.is_empty()) {
                    (Some((_, only)), true) => (only, Outcomes::default()),
                    (last, _) => {
                        writers.extend(last);
                        let several = Several::new(writers);
                        let outcomes = several.outcomes();
                        (Box::new(several) as Box<dyn Writer>, outcomes)
                    }
                }
            }
        };
        let mut profile = profile(config)?;
        let claims = DnsClaims::new(resolvers.clone(), options.provider_dns_port);
        let claims: Box<dyn ClaimSender> = match &cluster {
            None => Box::new(claims),
            Some(cluster) => {
                go_by(&cluster.manifest(), &mut profile, config);
                let zone = profile.mesh_zone.clone();
                Box::new(ClusterClaims::new(cluster.clone(), zone, claims))
            }
        };
        Ok(Self {
            profile,
            reader,
            resolvers,
            writer,
            claims,
            aftermath: Aftermath {
                publishers,
                cluster,
            },
            refresh,
        })
    }

    /// Begins a new run of a process that makes several: resolvers and nodes that were given up are asked again, and if it is time
    /// the cluster's manifest is looked up. What came of that is returned; whatever it is, the connection works on.
    pub async fn begin_run(&self) -> Option<Result<Refreshed, RefreshError>> {
        self.reader.begin_run();
        match &self.refresh {
            Some(refresh) => refresh.if_due().await,
            None => None,
        }
    }
}

/// What is left of writes when a command is done. Cloning shares it.
#[derive(Clone, Default, Debug)]
pub struct Aftermath {
    publishers: Outcomes,
    cluster: Option<Cluster>,
}

impl Aftermath {
    /// Publishers and nodes that did not take everything although the writes succeeded through others, with the first reason.
    /// Nodes of a cluster that have not answered are given `grace` (federation.md W27); what was told is forgotten.
    pub async fn take_failures(&self, grace: Duration) -> Vec<(String, WriteError)> {
        let publishers = self.publishers.take_failures().into_iter();
        let mut failures: Vec<_> = publishers
            .map(|(name, failure)| (format!("publisher {name}"), failure))
            .collect();
        if let Some(cluster) = &self.cluster {
            cluster.settle(grace).await;
            failures.extend(cluster.outcomes().take_failures());
        }
        failures
    }
}

/// What a manifest adds to a profile: zones whose feeds are read (federation.md 3.2), and a node that takes claims in the own zone
/// where the configuration names none.
fn go_by(manifest: &ClusterManifest, profile: &mut Profile, config: &Config) {
    if let ProviderConfig::Discovered { candidates, .. } = &mut profile.providers {
        let hosts = manifest.nodes.iter().filter_map(|node| {
            let host = host_of_endpoint(&node.http_endpoint)?;
            Zone::parse(host).ok().filter(|_| is_name(host))
        });
        for zone in hosts {
            if !candidates.contains(&zone) {
                candidates.push(zone);
            }
        }
    }
    let is_stated = !config.tsig_dns_server.is_empty()
        || (!config.local_node_dns_server.is_empty() && config.local_node_dns_port != 0);
    let mut endpoints = manifest.nodes.iter().filter_map(|node| {
        let endpoint: DnsEndpoint = node.dns_endpoint.as_ref()?.parse().ok()?;
        Some(UpdateTarget::from(endpoint))
    });
    if let Some(first) = endpoints.next().filter(|_| !is_stated) {
        profile.own_node = Some(first);
    }
}

/// What the reference's keys describe: UPDATE with the TSIG key, else all nodes of the cluster, else HTTP at the endpoint
/// (client.md 4.2).
fn node_writer(
    config: &Config,
    home: &Home,
    resolvers: &Resolvers,
    cluster: Option<&Cluster>,
    now: u64,
) -> Result<Box<dyn Writer>, ConnectError> {
    if let Some(writer) = tsig_writer(config, resolvers)? {
        return Ok(Box::new(writer));
    }
    if let Some(cluster) = cluster {
        return Ok(Box::new(cluster.writer()));
    }
    if config.endpoint.is_empty() {
        return Err(ConnectError::NoEndpoint);
    }
    let saved = home.token_for_endpoint(&config.endpoint, now);
    let token = config
        .http_token
        .as_deref()
        .or(saved.as_ref().map(|saved| saved.token.as_str()));
    Ok(Box::new(HttpWriter::new(&config.endpoint, token)))
}

/// The look-ups that a configuration describes (client.md 4.1): pool, single resolver or system.
pub fn reader(config: &Config, fallback: SystemFallback) -> Result<Resolvers, ConfigError> {
    let dnssec = dnssec(config);
    let options = |base| PoolOptions { dnssec, ..base };
    let entries = resolver_entries(config)?;
    Ok(if config.dns_resolvers.is_empty() {
        Resolvers::unpinned(entries, options(PoolOptions::system()))
    } else {
        Resolvers::configured(entries, options(PoolOptions::default()), fallback)
    })
}

fn dnssec(config: &Config) -> Dnssec {
    if config.dnssec_required {
        Dnssec::Requested
    } else {
        Dnssec::Ignored
    }
}

/// Whom look-ups ask: `dns_resolvers`, else `dns_host`, else the system's resolvers (client.md 4.1). At least one.
pub fn resolver_entries(config: &Config) -> Result<Vec<Entry>, ConfigError> {
    let unusable = |key, error: &dyn std::fmt::Display| ConfigError::Unusable {
        key,
        reason: error.to_string(),
    };
    if !config.dns_resolvers.is_empty() {
        let entries = config
            .dns_resolvers
            .iter()
            .map(|entry| entry.parse::<Entry>());
        return entries
            .map(|entry| entry.map_err(|error| unusable("dns_resolvers", &error)))
            .collect();
    }
    Ok(vec![match &config.dns_host {
        Some(host) => {
            let address: IpAddr = host
                .trim()
                .parse()
                .map_err(|error| unusable("dns_host", &error))?;
            SocketAddr::new(address, config.dns_port).into()
        }
        None => Entry::System,
    }])
}

/// The parts of a configuration that operations need (client.md 1, 3).
pub fn profile(config: &Config) -> Result<Profile, ConfigError> {
    let mut profile = Profile::new(config.username.as_str(), config.mesh_zone()?);
    profile.identity_zone = config.identity_zone()?;
    let trust = config.trust_policy();
    profile.first_use = match trust {
        TrustPolicy::Tofu => FirstUse::Deliver,
        TrustPolicy::Notify | TrustPolicy::VerifiedOnly => FirstUse::Refuse,
    };
    profile.contacts = match trust {
        TrustPolicy::Tofu | TrustPolicy::Notify => KeysTrusted::Pinned,
        TrustPolicy::VerifiedOnly => KeysTrusted::Verified,
    };
    profile.rotation = if config.follows_rotations() {
        RotationPolicy::Follow
    } else {
        RotationPolicy::Ignore
    };
    profile.strangers = if config.accepts_strangers() {
        Strangers::Quarantine
    } else {
        Strangers::Ignore
    };
    profile.providers = providers(config);
    profile.own_node = own_node(config);
    Ok(profile)
}

/// Where claims are left for people who do not know this user (federation.md 3.2, D26).
fn providers(config: &Config) -> ProviderConfig {
    let zone = |text: &str| Zone::parse(text).ok();
    if !config.claim_provider_override.is_empty() {
        let fixed = Provider::fixed(
            &config.claim_provider_override,
            zone(&config.claim_provider_zone).as_ref(),
        );
        return fixed.map_or_else(ProviderConfig::default, ProviderConfig::Fixed);
    }
    let endpoint = host_of_endpoint(&config.endpoint)
        .filter(|host| is_name(host))
        .unwrap_or_default();
    let mut candidates = Vec::new();
    for candidate in [&config.cluster_base_domain, &config.tsig_zone, endpoint]
        .into_iter()
        .filter_map(zone)
    {
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    let seeds = match &config.provider_seeds {
        None => zone(BUILT_IN_SEED.0)
            .map(|zone| Provider {
                zone,
                endpoint: BUILT_IN_SEED.1.to_owned(),
            })
            .into_iter()
            .collect(),
        Some(seeds) => seeds
            .iter()
            .filter_map(|seed| provider_seed(seed))
            .collect(),
    };
    ProviderConfig::Discovered { candidates, seeds }
}

/// A zone `z` means (z, `https://z`), a URL (its host, the URL).
fn provider_seed(seed: &str) -> Option<Provider> {
    let (zone, endpoint) = match host_of_endpoint(seed) {
        Some(host) if seed.contains("://") => (host, seed.to_owned()),
        _ => (seed, format!("https://{seed}")),
    };
    Some(Provider {
        zone: Zone::parse(zone).ok()?,
        endpoint,
    })
}

/// The DNS listener of the home node (client.md 4.6); never `dns_host`, which is usually a public resolver.
fn own_node(config: &Config) -> Option<UpdateTarget> {
    let target = |host: &str, port: u16| {
        Some(UpdateTarget {
            host: host.to_ascii_lowercase(),
            port: Some(port),
        })
    };
    if !config.local_node_dns_server.is_empty() && config.local_node_dns_port != 0 {
        return target(&config.local_node_dns_server, config.local_node_dns_port);
    }
    if !config.tsig_dns_server.is_empty() {
        return target(
            &config.tsig_dns_server,
            or_default(config.tsig_dns_port, UPDATE_PORT),
        );
    }
    target(
        host_of_endpoint(&config.endpoint)?,
        or_default(config.dns_port, HOME_NODE_PORT),
    )
}

/// The UPDATE writer, if a TSIG key is configured (client.md 4.2).
fn tsig_writer(
    config: &Config,
    resolvers: &Resolvers,
) -> Result<Option<UpdateServer>, ConnectError> {
    if config.tsig_key_name.is_empty() || config.tsig_secret_hex.is_empty() {
        return Ok(None);
    }
    let missing =
        |what: &str| WriteError::Misconfigured(format!("a TSIG key is configured, but no {what}"));
    let zone = Zone::parse(&config.tsig_zone).map_err(|_| missing("usable tsig_zone"))?;
    let host = match config.tsig_dns_server.as_str() {
        "" => host_of_endpoint(&config.endpoint)
            .filter(|host| is_name(host))
            .ok_or_else(|| missing("tsig_dns_server"))?,
        server => server,
    };
    let credential = TsigCredential::parse(
        &config.tsig_key_name,
        &config.tsig_secret_hex,
        &config.tsig_algorithm,
        &zone,
    )?;
    let server = UpdateTarget {
        host: host.to_ascii_lowercase(),
        port: Some(or_default(config.tsig_dns_port, UPDATE_PORT)),
    };
    Ok(Some(UpdateServer {
        resolvers: resolvers.clone(),
        server,
        credential,
    }))
}

/// Neither an address literal nor this machine.
fn is_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err() && !is_loopback(host)
}

fn or_default(port: u16, default: u16) -> u16 {
    if port == 0 { default } else { port }
}

/// Writes by signed UPDATE; the server's address is looked up when there is something to write.
struct UpdateServer {
    resolvers: Resolvers,
    server: UpdateTarget,
    credential: TsigCredential,
}

impl Writer for UpdateServer {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            match self.resolvers.server(&self.server, UPDATE_PORT).await {
                Ok(address) => {
                    TsigWriter::new(address, self.credential.clone())
                        .apply(operations)
                        .await
                }
                Err(error) => {
                    Applied::whole(operations, Err(WriteError::Unreachable(error.to_string())))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmp_core::keys::SigningPublicKey;
    use dmp_core::name::DomainName;
    use dmp_core::record::ClusterNode;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config {
            username: "alice".into(),
            domain: "mesh.test".into(),
            ..Config::default()
        };
        change(&mut config);
        config
    }

    fn options() -> ConnectOptions {
        ConnectOptions {
            provider_dns_port: 53,
            system_fallback: SystemFallback::Forbidden,
        }
    }

    #[test]
    fn a_fixed_provider_stops_all_discovery_and_a_useless_one_leaves_none() {
        let fixed = config(|config| {
            config.claim_provider_override = "http://127.0.0.1:9".into();
            config.claim_provider_zone = "alpha.test".into();
        });
        assert!(
            matches!(providers(&fixed), ProviderConfig::Fixed(provider) if provider.zone.as_str() == "alpha.test")
        );
        let useless = config(|config| config.claim_provider_override = "http://127.0.0.1:9".into());
        assert_eq!(providers(&useless), ProviderConfig::default());
    }

    #[test]
    fn seeds_are_the_built_in_one_or_what_the_user_says() {
        let seeds = |seeds: Option<Vec<&str>>| {
            let config = config(|config| {
                config.provider_seeds =
                    seeds.map(|seeds| seeds.into_iter().map(str::to_owned).collect())
            });
            match providers(&config) {
                ProviderConfig::Discovered { seeds, .. } => seeds
                    .into_iter()
                    .map(|seed| (seed.zone.to_string(), seed.endpoint))
                    .collect::<Vec<_>>(),
                fixed => panic!("{fixed:?}"),
            }
        };
        let pair = |zone: &str, endpoint: &str| (zone.to_owned(), endpoint.to_owned());
        assert_eq!(seeds(None), [pair("dmp.dnsmesh.io", "https://dnsmesh.io")]);
        assert_eq!(seeds(Some(vec![])), []);
        assert_eq!(
            seeds(Some(vec!["z.test", "http://u.test:8053/"])),
            [
                pair("z.test", "https://z.test"),
                pair("u.test", "http://u.test:8053/")
            ]
        );
    }

    #[test]
    fn candidates_are_zones_not_addresses_and_stand_once() {
        let config = config(|config| {
            config.tsig_zone = "Mesh.test.".into();
            config.endpoint = "https://mesh.test:8053".into();
        });
        let ProviderConfig::Discovered { candidates, .. } = providers(&config) else {
            panic!("not fixed")
        };
        assert_eq!(
            candidates.iter().map(Zone::as_str).collect::<Vec<_>>(),
            ["mesh.test"]
        );
        let literal = super::providers(&Config {
            endpoint: "http://192.0.2.1".into(),
            ..config.clone()
        });
        assert!(
            matches!(literal, ProviderConfig::Discovered { candidates, .. } if candidates.len() == 1)
        );
    }

    #[test]
    fn the_home_node_is_the_local_endpoint_then_the_update_server_then_the_endpoints_host() {
        let mut config = config(|config| {
            config.endpoint = "https://Node.test".into();
            config.dns_host = Some("9.9.9.9".into());
            config.dns_port = 0;
        });
        let place =
            |config: &Config| own_node(config).map(|target| (target.host, target.port.unwrap()));
        assert_eq!(place(&config), Some(("node.test".into(), 5353)));
        config.tsig_dns_server = "192.0.2.7".into();
        config.tsig_dns_port = 0;
        assert_eq!(place(&config), Some(("192.0.2.7".into(), 53)));
        config.local_node_dns_server = "127.0.0.1".into();
        assert_eq!(
            place(&config),
            Some(("192.0.2.7".into(), 53)),
            "half a pair does not count"
        );
        config.local_node_dns_port = 25353;
        assert_eq!(place(&config), Some(("127.0.0.1".into(), 25353)));
    }

    fn connect(config: &Config) -> Result<(), ConnectError> {
        let home = Home::at("/nonexistent");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let open = Connection::open(config, &home, options(), 0);
        runtime.unwrap().block_on(open).map(drop)
    }

    #[test]
    fn a_connection_needs_an_endpoint_or_a_complete_key() {
        assert!(matches!(
            connect(&config(|_| {})),
            Err(ConnectError::NoEndpoint)
        ));
        connect(&config(|config| {
            config.endpoint = "https://node.test".into()
        }))
        .unwrap();
        let mut keyed = config(|config| {
            config.tsig_key_name = "alice-1.mesh.test.".into();
            config.tsig_secret_hex = "aa".repeat(32);
            config.tsig_zone = "mesh.test".into();
        });
        assert!(
            matches!(connect(&keyed), Err(ConnectError::Tsig(WriteError::Misconfigured(reason))) if reason.contains("tsig_dns_server"))
        );
        keyed.endpoint = "http://127.0.0.1:8053".into();
        assert!(
            connect(&keyed).is_err(),
            "an address is no default for the update server"
        );
        keyed.tsig_dns_server = "127.0.0.1".into();
        connect(&keyed).unwrap();
        keyed.tsig_algorithm = "hmac-md5".into();
        assert!(connect(&keyed).is_err());
    }

    #[test]
    fn a_cluster_that_is_pinned_wrongly_is_a_mistake_in_the_configuration() {
        let clustered = config(|config| {
            config.endpoint = "https://node.test".into();
            config.cluster_base_domain = "mesh.test".into();
            config.cluster_operator_spk = "aa".into();
            config.cluster_enabled = true;
        });
        let refused = connect(&clustered).unwrap_err();
        assert!(
            refused.to_string().contains("cluster_operator_spk"),
            "{refused}"
        );
        assert_eq!(refused.fault(), Fault::Misuse);
    }

    #[test]
    fn a_manifest_adds_zones_to_read_and_a_node_for_claims() {
        let node = |id: &str, host: &str, dns: Option<&str>| ClusterNode {
            id: id.to_owned(),
            http_endpoint: format!("https://{host}:8053"),
            dns_endpoint: dns.map(str::to_owned),
        };
        let manifest = ClusterManifest {
            seq: 1,
            exp: UnixTime::new(1),
            operator: SigningPublicKey::from_bytes([1; 32]),
            name: DomainName::parse("mesh.test").unwrap(),
            nodes: vec![
                node("a", "A.mesh.test", None),
                node("b", "192.0.2.2", Some("192.0.2.2:5353")),
                node("c", "a.mesh.test", Some("c.mesh.test")),
            ],
        };
        let adapted = |change: fn(&mut Config)| {
            let config = config(change);
            let mut profile = profile(&config).unwrap();
            go_by(&manifest, &mut profile, &config);
            profile
        };
        let profile = adapted(|config| config.endpoint = "https://old.test".into());
        let ProviderConfig::Discovered { candidates, .. } = profile.providers else {
            panic!("not fixed")
        };
        let candidates: Vec<_> = candidates.iter().map(Zone::as_str).collect();
        assert_eq!(candidates, ["old.test", "a.mesh.test"]);
        let own = profile.own_node.unwrap();
        assert_eq!((own.host.as_str(), own.port), ("192.0.2.2", Some(5353)));
        let stated = adapted(|config| {
            config.local_node_dns_server = "127.0.0.1".into();
            config.local_node_dns_port = 5300;
        });
        assert_eq!(stated.own_node.unwrap().port, Some(5300));
    }

    #[test]
    fn unusable_resolvers_are_named() {
        let error = reader(
            &config(|config| config.dns_resolvers = vec!["dns.test".into()]),
            SystemFallback::Forbidden,
        )
        .unwrap_err();
        assert!(error.to_string().contains("dns_resolvers"), "{error}");
        let error = reader(
            &config(|config| config.dns_host = Some("dns.test".into())),
            SystemFallback::Forbidden,
        )
        .unwrap_err();
        assert!(error.to_string().contains("dns_host"), "{error}");
    }
}
