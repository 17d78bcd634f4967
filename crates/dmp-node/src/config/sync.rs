//! The settings of a cluster (federation.md 4.8). What is doubtful about them is told and keeps no node from starting.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dmp_core::endpoint::is_public;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use hyper::header::HeaderValue;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::environment::{ConfigError, Environment};
use super::variables;
use crate::federation::sync::PeerUrl;
use crate::limits::PEER_TOKEN_OCTETS;

/// Where the cluster's manifest is looked for if nobody says.
pub const DEFAULT_MANIFEST: &str = "/var/lib/dmp/cluster.json";

/// Which nodes this one shares its records with, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Bases of the peers' HTTP APIs; if there are none, the file says.
    pub peers: Vec<PeerUrl>,
    /// File with the cluster's manifest, or with a list of its nodes; at [`DEFAULT_MANIFEST`] there need not be one.
    pub manifest: PathBuf,
    /// What the manifest calls this node.
    pub node_id: Option<String>,
    /// Where the peers find this node.
    pub own_endpoint: Option<PeerUrl>,
    /// Where the peers ask this node, if not where everybody does.
    pub listen: Option<SocketAddr>,
    /// What the nodes of the cluster show each other; without it there is no replication in either direction.
    pub token: Option<PeerToken>,
    /// Pause between rounds.
    pub interval: Duration,
    /// The operator's key, which manifests must be signed with.
    pub operator: Option<SigningPublicKey>,
    /// File with the roots that https peers are trusted by; `None` is the public ones.
    pub roots: Option<PathBuf>,
    /// The cluster's name; `None` follows from the manifest.
    pub base_domain: Option<DomainName>,
}

/// The token that the nodes of a cluster share. Never shown; compared in constant time.
#[derive(Clone)]
pub struct PeerToken(Zeroizing<String>);

impl PeerToken {
    /// One that can be sent: visible ASCII and spaces.
    pub fn new(text: &str) -> Option<Self> {
        let is_sendable = |octet: u8| octet.is_ascii_graphic() || octet == b' ';
        let is_token =
            (1..=PEER_TOKEN_OCTETS).contains(&text.len()) && text.bytes().all(is_sendable);
        is_token.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Whether an `Authorization` header is `Bearer` with this token, octet for octet; takes the same time wherever they differ.
    pub fn check(&self, authorization: &[u8]) -> bool {
        bool::from(self.bearer().as_bytes().ct_eq(authorization))
    }

    /// The header to send, marked as one that is not logged.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut header = HeaderValue::from_str(&self.bearer()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", *self.0))
    }
}

impl fmt::Debug for PeerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerToken(..)")
    }
}

impl PartialEq for PeerToken {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.0.as_bytes().ct_eq(other.0.as_bytes()))
    }
}

impl Eq for PeerToken {}

const TOKEN: &str = "DMP_SYNC_PEER_TOKEN";
const PEERS: &str = "DMP_SYNC_PEERS";

pub(super) fn sync(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<SyncConfig, ConfigError> {
    let file = preferred(environment, MANIFEST_NAMES, warnings);
    let interval = preferred(environment, INTERVAL_NAMES, warnings);
    let config = SyncConfig {
        peers: peers(environment, warnings)?,
        manifest: environment.text(file)?.unwrap_or(DEFAULT_MANIFEST).into(),
        node_id: environment.text("DMP_NODE_ID")?.map(str::to_owned),
        own_endpoint: own_endpoint(environment, warnings)?,
        listen: environment.parsed(
            "DMP_SYNC_LISTEN",
            "an address with a port such as 10.0.0.1:8054",
        )?,
        token: token(environment)?,
        interval: variables::interval(environment, interval, 10.0)?,
        operator: operator(environment, warnings)?,
        roots: environment.text("DMP_SYNC_ROOTS")?.map(PathBuf::from),
        base_domain: base_domain(environment, warnings)?,
    };
    if !config.peers.is_empty() && config.token.is_none() {
        warnings.push(format!(
            "{PEERS} is set but {TOKEN} is not: this node replicates with nobody"
        ));
    }
    Ok(config)
}

/// The two names of a setting, the preferred one first.
pub(super) const MANIFEST_NAMES: [&str; 2] = ["DMP_CLUSTER_FILE", "DMP_CLUSTER_MANIFEST_PATH"];
/// See [`MANIFEST_NAMES`].
pub(super) const INTERVAL_NAMES: [&str; 2] = ["DMP_SYNC_INTERVAL", "DMP_SYNC_INTERVAL_SECONDS"];

/// The name that counts: the first, unless only the file has it and a variable is set under the second.
fn preferred(
    environment: &Environment,
    [name, alias]: [&'static str; 2],
    warnings: &mut Vec<String>,
) -> &'static str {
    match (environment.is_set(name), environment.is_set(alias)) {
        (true, true) if environment.is_from_file(name) => alias,
        (true, true) => {
            warnings.push(format!("{name} and {alias} are both set; {name} counts"));
            name
        }
        (false, true) => alias,
        (_, false) => name,
    }
}

fn peers(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Vec<PeerUrl>, ConfigError> {
    let mut peers = Vec::new();
    for text in environment.list(PEERS)? {
        let Some(peer) = PeerUrl::parse(text) else {
            warnings.push(format!(
                "{PEERS}: {text:?} is no http or https URL and is left out"
            ));
            continue;
        };
        let address: Option<IpAddr> = peer.host().parse().ok();
        if !peer.is_https() && address.is_some_and(is_public) {
            warnings.push(format!(
                "{PEERS}: {peer} is a public address in the clear: records and the token can be read on the way"
            ));
        }
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    Ok(peers)
}

fn own_endpoint(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<PeerUrl>, ConfigError> {
    let variable = "DMP_SYNC_SELF_ENDPOINT";
    let text = environment.text(variable)?;
    let endpoint = text.and_then(PeerUrl::parse);
    if let (Some(text), None) = (text, &endpoint) {
        warnings.push(format!(
            "{variable}: {text:?} is no http or https URL and is left out"
        ));
    }
    Ok(endpoint)
}

/// The value is secret, so the error does not repeat it.
fn token(environment: &Environment) -> Result<Option<PeerToken>, ConfigError> {
    let Some(text) = environment.text(TOKEN)? else {
        return Ok(None);
    };
    let reason = format!("must be {PEER_TOKEN_OCTETS} visible ASCII characters at most");
    let token = PeerToken::new(text).ok_or_else(|| ConfigError::new(TOKEN, reason))?;
    Ok(Some(token))
}

fn operator(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<SigningPublicKey>, ConfigError> {
    let variable = "DMP_SYNC_OPERATOR_SPK";
    let text = environment.text(variable)?;
    let operator = text.and_then(|text| SigningPublicKey::from_hex(text).ok());
    if text.is_some() && operator.is_none() {
        warnings.push(format!(
            "{variable} is not 64 hex digits and is left out: no manifest is verified or adopted"
        ));
    }
    Ok(operator)
}

/// The served zone has been read from it by then, so it is a DNS name; a manifest's is shorter.
fn base_domain(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<DomainName>, ConfigError> {
    let variable = "DMP_CLUSTER_BASE_DOMAIN";
    let text = environment.text(variable)?;
    let lower = text.map(|text| text.trim_end_matches('.').to_ascii_lowercase());
    let name = lower.and_then(|lower| DomainName::parse(&lower).ok());
    if let (Some(text), None) = (text, &name) {
        warnings.push(format!(
            "{variable}: {text:?} cannot be the name of a cluster: letters, digits and hyphens, 64 at most"
        ));
    }
    Ok(name)
}
