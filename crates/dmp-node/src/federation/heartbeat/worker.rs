//! The heartbeat of a running node: rounds in time, over real resolvers, remembered in the database (federation.md 2.3, 2.7).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dmp_core::endpoint::Endpoint;
use dmp_core::keys::OperatorKey;
use dmp_core::record::heartbeat::Heartbeat;
use dmp_dns::Name;

use dmp_net::{Dnssec, Lookup, PoolOptions, ResolverPool};
use tokio::sync::watch;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::memory::{recall, remember};
use super::{Heart, Origin, Peer, Surroundings, Terms};
use crate::access::Author;
use crate::config::{Config, HeartbeatConfig};
use crate::context::{Context, Operation};
use crate::federation::{seed_zone, with_jitter};
use crate::limits::{HEARTBEAT_FRESH, HEARTBEAT_LISTED, HEARTBEAT_PASSED_ON};
use crate::metrics::Beat;
use crate::repeated::log_repeated;
use crate::zone::Owner;

/// What this node says of itself and what it has heard, for whoever shows it.
#[derive(Debug)]
pub struct Neighbourhood {
    endpoint: String,
    operator: String,
    version: String,
    others: ArcSwap<Vec<Peer>>,
}

/// One node in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Where its HTTP API is.
    pub endpoint: String,
    /// Its operator's key, hex.
    pub operator: String,
    /// Its software.
    pub version: String,
    /// When it signed its last heartbeat, seconds.
    pub heard_at: u64,
    /// How it is known.
    pub source: Source,
}

/// How a node in a list is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is this one.
    ThisNode,
    /// The zone that it signs has published a heartbeat of it.
    ItsZone,
    /// Another zone has passed it on.
    ToldBy(Owner),
    /// It was remembered without a source.
    Unknown,
}

impl From<&Origin> for Source {
    fn from(origin: &Origin) -> Self {
        match (&origin.confirmed_at, &origin.told_by) {
            (Some(_), _) => Self::ItsZone,
            (None, Some(zone)) => Self::ToldBy(zone.clone()),
            (None, None) => Self::Unknown,
        }
    }
}

impl Neighbourhood {
    /// This node, as of now whatever others pass on of it, and the live ones that it knows, newest heartbeat first.
    pub fn list(&self, now: u64) -> Vec<Neighbour> {
        let own = Neighbour {
            endpoint: self.endpoint.clone(),
            operator: self.operator.clone(),
            version: self.version.clone(),
            heard_at: now,
            source: Source::ThisNode,
        };
        let others = self.others.load();
        let others = others.iter().filter(|peer| {
            let heartbeat = &peer.heartbeat;
            heartbeat.exp.as_secs() > now
                && (heartbeat.endpoint.as_str(), heartbeat.operator.to_string())
                    != (self.endpoint.as_str(), self.operator.clone())
        });
        let others = others.take(HEARTBEAT_LISTED).map(|peer| Neighbour {
            endpoint: peer.heartbeat.endpoint.to_string(),
            operator: peer.heartbeat.operator.to_string(),
            version: peer.heartbeat.version.clone(),
            heard_at: peer.heartbeat.ts.as_secs(),
            source: Source::from(&peer.origin),
        });
        let mut list: Vec<Neighbour> = std::iter::once(own).chain(others).collect();
        list.sort_by_key(|neighbour| std::cmp::Reverse(neighbour.heard_at));
        list
    }
}

/// The heartbeat, before it begins.
#[derive(Debug)]
pub(crate) struct Worker {
    heart: Heart,
    around: Around,
    interval: Duration,
    /// Zones of the other nodes of the own cluster.
    peers: Vec<Owner>,
    neighbourhood: Arc<Neighbourhood>,
}

impl Worker {
    /// Reads key and memory. An error is one line that names the variable; the node can do without a heartbeat.
    pub(crate) fn open(
        config: &HeartbeatConfig,
        node: &Config,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let terms = terms(config, node)?;
        let seen = recall(context, config.most_known);
        let seen = seen.map_err(|error| format!("DMP_DB_PATH: {error}"))?;
        let neighbourhood = Arc::new(Neighbourhood {
            endpoint: terms.endpoint.to_string(),
            operator: terms.key.public().to_string(),
            version: terms.version.clone(),
            others: ArcSwap::default(),
        });
        Ok(Self {
            heart: Heart::new(terms, seen),
            around: Around {
                context: Arc::clone(context),
                pool: pool(config),
            },
            interval: config.interval,
            peers: peer_zones(node),
            neighbourhood,
        })
    }

    /// What is known of others, from now on.
    pub(crate) fn neighbourhood(&self) -> Arc<Neighbourhood> {
        self.show();
        Arc::clone(&self.neighbourhood)
    }

    /// One round at once, then one an interval, until it is told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.round() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                () = sleep(with_jitter(self.interval)) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn round(&mut self) {
        self.around.pool.begin_run();
        let now = self.around.context.clock().seconds();
        let round = self.heart.beat(&self.around, &self.peers, now).await;
        for fault in &round.faults {
            log_repeated!(error, %fault, "the heartbeat is not complete");
        }
        let metrics = self.around.context.metrics();
        metrics.beats.count(if round.faults.is_empty() {
            Beat::Complete
        } else {
            Beat::Incomplete
        });
        let now = self.around.context.clock().seconds();
        metrics.peers_known(self.heart.seen().list(now, usize::MAX).len());
        self.show();
        let changes = self.heart.seen_mut().take_changes();
        if let Err(error) = remember(&self.around.context, changes).await {
            log_repeated!(warn, %error, "what was heard of other nodes is not stored");
        }
    }

    fn show(&self) {
        let now = self.around.context.clock().seconds();
        let others = self
            .heart
            .seen()
            .pick(now, HEARTBEAT_FRESH, usize::MAX, HEARTBEAT_LISTED);
        let others = others.into_iter();
        self.neighbourhood
            .others
            .store(Arc::new(others.cloned().collect()));
    }
}

/// Zones that the hosts of the cluster's peers stand for; a name of one label is a machine's and no zone (W17).
fn peer_zones(node: &Config) -> Vec<Owner> {
    let hosts = node
        .sync
        .peers
        .iter()
        .filter_map(|peer| seed_zone(peer.as_str()));
    hosts.filter(|zone| zone.label_count() > 1).collect()
}

/// What the settings say of this node.
pub(crate) fn terms(config: &HeartbeatConfig, node: &Config) -> Result<Terms, String> {
    let variable = "DMP_HEARTBEAT_SELF_ENDPOINT";
    let endpoint = config
        .endpoint
        .as_deref()
        .ok_or(format!("{variable} is not set"))?;
    let endpoint = Endpoint::parse(endpoint).map_err(|_| {
        format!("{variable} must be http or https, a public host and a port, and nothing behind it, not {endpoint}")
    })?;
    let variable = "DMP_HEARTBEAT_OPERATOR_KEY_PATH";
    let path = config
        .key
        .as_deref()
        .ok_or(format!("{variable} is not set"))?;
    let key =
        read_key(path).map_err(|reason| format!("{variable}: {}: {reason}", path.display()))?;
    let serves_claims = node.is_claim_provider() && node.update.enabled && node.zone.is_some();
    Ok(Terms {
        endpoint,
        key: Arc::new(key),
        version: config.version.clone(),
        capabilities: if serves_claims {
            Heartbeat::CLAIM_PROVIDER
        } else {
            0
        },
        zone: node.zone.clone(),
        ttl: config.ttl,
        seeds: config.seeds.clone(),
        most_zones: config.most_zones,
        most_passed_on: HEARTBEAT_PASSED_ON,
    })
}

/// The operator's key, in any of the forms of records.md 15.
fn read_key(path: &Path) -> Result<OperatorKey, String> {
    let octets = Zeroizing::new(fs::read(path).map_err(|error| error.to_string())?);
    OperatorKey::from_file(&octets).map_err(|error| error.to_string())
}

fn pool(config: &HeartbeatConfig) -> ResolverPool {
    let dnssec = if config.dnssec_required {
        Dnssec::Requested
    } else {
        Dnssec::Ignored
    };
    let options = PoolOptions {
        dnssec,
        ..PoolOptions::default()
    };
    let own = PoolOptions {
        dnssec,
        ..PoolOptions::system()
    };
    ResolverPool::new(config.resolvers.clone(), options)
        .unwrap_or_else(|_| ResolverPool::system(own))
}

/// The zone of this node, and the resolvers.
#[derive(Debug)]
struct Around {
    context: Arc<Context>,
    pool: ResolverPool,
}

impl Surroundings for Around {
    async fn ask(&self, name: &Owner) -> Option<Vec<String>> {
        let name: Name = name.to_string().parse().ok()?;
        match self.pool.txt(&name).await {
            Lookup::Found(values) => Some(values),
            Lookup::Absent => Some(Vec::new()),
            Lookup::Unreachable(_) => None,
        }
    }

    fn values(&self, name: &Owner) -> Vec<String> {
        self.context.values(name)
    }

    async fn write(&self, mut operations: Vec<Operation>) -> Result<(), String> {
        let most = self.context.settings().caps.max_ttl.unwrap_or(u64::MAX);
        for operation in &mut operations {
            if let Operation::Publish { ttl, .. } = operation {
                *ttl = most.min(*ttl);
            }
        }
        let applied = self.context.submit(Author::Operator, operations).await;
        applied.map(drop).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Overrides};

    #[test]
    fn peers_of_the_cluster_are_asked_unless_they_are_names_of_machines_or_addresses() {
        let peers =
            "http://node-b:8053,https://B.example,http://10.0.0.3:8053,http://c.example:1/x";
        let environment = Environment::from_pairs([("DMP_SYNC_PEERS", peers)]);
        let config = Config::read(&environment, &Overrides::default()).unwrap();
        let zones: Vec<String> = peer_zones(&config)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(zones, ["b.example", "c.example"]);
    }
}
