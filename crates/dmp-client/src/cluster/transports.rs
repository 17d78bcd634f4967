//! How the nodes of a cluster are spoken to (federation.md 4.5): HTTP with the token that is meant for them, DNS at their own
//! endpoint. Making a transport asks nobody.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_core::record::{ClusterManifest, ClusterNode};
use dmp_net::PoolOptions;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::config::{Config, normalize_endpoint};
use crate::home::{Home, host_of_endpoint};
use crate::mesh::{Clock, Lookup, Pending, Reader, UpdateTarget, Writer};
use crate::reader::Resolvers;
use crate::writer::HttpWriter;

/// Port of a node's DNS where its endpoint states none.
const DNS_PORT: u16 = 53;

/// Makes writers and readers of nodes.
pub trait Transports: Send + Sync {
    /// The writer of a node.
    ///
    /// # Errors
    /// What is wrong with its description.
    fn writer(
        &self,
        node: &ClusterNode,
        manifest: &ClusterManifest,
    ) -> Result<Arc<dyn Writer>, String>;

    /// The reader of a node.
    ///
    /// # Errors
    /// What is wrong with its description.
    fn reader(&self, node: &ClusterNode) -> Result<Arc<dyn Reader>, String>;
}

/// Where the DNS of a node is: `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address (federation.md 4.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsEndpoint {
    /// Host name in lower case, or address.
    pub host: String,
    /// 53 unless stated.
    pub port: u16,
}

impl FromStr for DnsEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not host[:port] or [v6]:port");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or_else(wrong)?;
                let is_v6 = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
                match behind.strip_prefix(':') {
                    _ if !is_v6 => return Err(wrong()),
                    None if !behind.is_empty() => return Err(wrong()),
                    port => (host, port),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        if host.parse::<IpAddr>().is_err() && Zone::parse(host).is_err() {
            return Err(wrong());
        }
        let port = match port {
            None => DNS_PORT,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(wrong)?,
            Some(_) => return Err(wrong()),
        };
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl From<DnsEndpoint> for UpdateTarget {
    fn from(endpoint: DnsEndpoint) -> Self {
        Self {
            host: endpoint.host,
            port: Some(endpoint.port),
        }
    }
}

/// Which token goes to a node (federation.md 4.5, 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClusterCredential {
    /// `cluster_node_token`.
    ClusterToken,
    /// `http_token`, because its endpoint is part of the cluster.
    HttpToken,
    /// The one that was saved for the node's host.
    SavedToken,
    /// Nothing.
    None,
}

/// Transports as the configuration of a home describes them.
pub struct HomeTransports {
    home: Home,
    cluster_token: Option<Zeroizing<String>>,
    http_token: Option<Zeroizing<String>>,
    /// Of the node that `http_token` is for.
    endpoint: String,
    resolvers: Resolvers,
    options: PoolOptions,
    clock: Arc<dyn Clock>,
}

impl HomeTransports {
    /// `resolvers` find the addresses of nodes and stand in for a node that has no DNS endpoint; `options` are those of a single
    /// server.
    #[must_use]
    pub fn new(
        config: &Config,
        home: &Home,
        resolvers: Resolvers,
        options: PoolOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let secret = |text: &str| {
            let text = text.trim();
            (!text.is_empty()).then(|| Zeroizing::new(text.to_owned()))
        };
        Self {
            home: home.clone(),
            cluster_token: secret(&config.cluster_node_token),
            http_token: config.http_token.as_deref().and_then(secret),
            endpoint: config.endpoint.clone(),
            resolvers,
            options,
            clock,
        }
    }

    /// Which token goes to a node. `http_token` belongs to whoever runs `endpoint`: it goes to the cluster only if that is a node
    /// of it, lies in its domain, or is not stated at all.
    #[must_use]
    pub fn credential(&self, node: &ClusterNode, manifest: &ClusterManifest) -> ClusterCredential {
        if self.cluster_token.is_some() {
            return ClusterCredential::ClusterToken;
        }
        if self.http_token.is_some() && is_of_cluster(&self.endpoint, manifest) {
            return ClusterCredential::HttpToken;
        }
        match self.saved_token(node) {
            Some(_) => ClusterCredential::SavedToken,
            None => ClusterCredential::None,
        }
    }

    fn token(&self, node: &ClusterNode, manifest: &ClusterManifest) -> Option<Zeroizing<String>> {
        match self.credential(node, manifest) {
            ClusterCredential::ClusterToken => self.cluster_token.clone(),
            ClusterCredential::HttpToken => self.http_token.clone(),
            ClusterCredential::SavedToken => self.saved_token(node),
            ClusterCredential::None => None,
        }
    }

    fn saved_token(&self, node: &ClusterNode) -> Option<Zeroizing<String>> {
        let now = self.clock.now().as_secs();
        let saved = self.home.token_for_endpoint(&node.http_endpoint, now)?;
        Some(Zeroizing::new(saved.token.clone()))
    }
}

impl Transports for HomeTransports {
    fn writer(
        &self,
        node: &ClusterNode,
        manifest: &ClusterManifest,
    ) -> Result<Arc<dyn Writer>, String> {
        let endpoint = http_endpoint(node)?;
        let token = self.token(node, manifest);
        let token = token.as_ref().map(|token| token.as_str());
        Ok(Arc::new(HttpWriter::new(&endpoint, token)))
    }

    fn reader(&self, node: &ClusterNode) -> Result<Arc<dyn Reader>, String> {
        let Some(endpoint) = &node.dns_endpoint else {
            return Ok(Arc::new(self.resolvers.clone()));
        };
        let endpoint: DnsEndpoint = endpoint.parse()?;
        Ok(Arc::new(NodeReader {
            target: endpoint.into(),
            resolvers: self.resolvers.clone(),
            options: self.options,
            known: Mutex::default(),
            is_doubtful: AtomicBool::new(false),
        }))
    }
}

/// Whether clients can reach a node by what a manifest would say of it.
///
/// # Errors
/// What is wrong, with the endpoint that is.
pub fn check_node(node: &ClusterNode) -> Result<(), String> {
    http_endpoint(node)?;
    match &node.dns_endpoint {
        Some(endpoint) => endpoint.parse::<DnsEndpoint>().map(drop),
        None => Ok(()),
    }
}

/// The base URL of a node.
fn http_endpoint(node: &ClusterNode) -> Result<String, String> {
    let endpoint = normalize_endpoint(&node.http_endpoint);
    let is_http = ["http://", "https://"]
        .iter()
        .any(|scheme| endpoint.starts_with(scheme));
    let has_host = host_of_endpoint(&endpoint)
        .is_some_and(|host| host.parse::<IpAddr>().is_ok() || Zone::parse(host).is_ok());
    if is_http && has_host && !endpoint.contains(['@', '?', '#']) {
        Ok(endpoint)
    } else {
        Err(format!("`{endpoint}` is not an http or https URL"))
    }
}

/// Whether the node that an endpoint names is one of the cluster.
fn is_of_cluster(endpoint: &str, manifest: &ClusterManifest) -> bool {
    let Some(host) = host_of_endpoint(endpoint) else {
        return true;
    };
    let is_node = |node: &ClusterNode| {
        host_of_endpoint(&node.http_endpoint).is_some_and(|known| known.eq_ignore_ascii_case(host))
    };
    Zone::from(&manifest.name).contains(host) || manifest.nodes.iter().any(is_node)
}

/// Asks one node, whose address is looked up once a run.
struct NodeReader {
    target: UpdateTarget,
    resolvers: Resolvers,
    options: PoolOptions,
    known: Mutex<Option<(SocketAddr, Resolvers)>>,
    /// Whether the address is to be looked up again.
    is_doubtful: AtomicBool,
}

impl NodeReader {
    async fn node(&self) -> Result<Resolvers, String> {
        let mut known = self.known.lock().await;
        let is_doubtful = self.is_doubtful.load(Ordering::Relaxed);
        if let Some((_, node)) = known.as_ref().filter(|_| !is_doubtful) {
            return Ok(node.clone());
        }
        let address = self.resolvers.server(&self.target, DNS_PORT).await;
        let address = address.map_err(|error| error.to_string())?;
        self.is_doubtful.store(false, Ordering::Relaxed);
        match known.as_ref() {
            // What is known of the server lives on.
            Some((same, node)) if *same == address => {
                node.begin_run();
                Ok(node.clone())
            }
            _ => {
                let node = Resolvers::unpinned(vec![address], self.options);
                *known = Some((address, node.clone()));
                Ok(node)
            }
        }
    }
}

impl Reader for NodeReader {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            match self.node().await {
                Ok(node) => node.txt(owner).await,
                Err(why) => Lookup::Unreachable(why),
            }
        })
    }

    fn begin_run(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_endpoints_are_read_as_the_vectors_say() {
        let text = include_str!("../../../../vectors/fed_parsers.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = vectors["node_dns_endpoint"].as_array().unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let parsed = case["input"].as_str().unwrap().parse::<DnsEndpoint>();
            if case["error"] == true {
                assert!(parsed.is_err(), "{case}");
            } else {
                let endpoint = parsed.unwrap();
                assert_eq!(endpoint.host, case["ok"][0].as_str().unwrap());
                assert_eq!(u64::from(endpoint.port), case["ok"][1].as_u64().unwrap());
            }
        }
        for wrong in ["a b", "a:65536", "a:+53", "[192.0.2.1]", "[::1]:", "::1:x"] {
            assert!(wrong.parse::<DnsEndpoint>().is_err(), "{wrong}");
        }
    }
}
