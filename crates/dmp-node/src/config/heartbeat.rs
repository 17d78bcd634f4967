//! The settings of the heartbeat (federation.md 2.3). What is missing or unreadable of them is told when it begins and keeps no node
//! from starting.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::environment::{ConfigError, Environment, must_be};
use super::variables;
use crate::federation::seed_zone;
use crate::limits::HEARTBEAT_TTL_MAX;
use crate::zone::Owner;

/// How this node tells others of itself, and whom it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// The HTTP API as others reach it.
    pub endpoint: Option<String>,
    /// File with the operator's key, in any form of records.md 15.
    pub key: Option<PathBuf>,
    /// Zones to begin with.
    pub seeds: Vec<Owner>,
    /// Pause between rounds.
    pub interval: Duration,
    /// Life of a heartbeat, seconds.
    pub ttl: u64,
    /// Zones asked in one round at most.
    pub most_zones: usize,
    /// Nodes remembered at most.
    pub most_known: usize,
    /// What it calls its software.
    pub version: String,
    /// Resolvers to ask; empty means those of this machine.
    pub resolvers: Vec<SocketAddr>,
    /// Whether only validated answers count.
    pub dnssec_required: bool,
}

/// Reads the settings, also while it is off: what is no value at all is an error in any case.
pub(super) fn heartbeat(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<HeartbeatConfig>, ConfigError> {
    let enabled = environment.switch("DMP_HEARTBEAT_ENABLED")? == Some(true);
    let ttl = "DMP_HEARTBEAT_TTL_SECONDS";
    let config = HeartbeatConfig {
        endpoint: environment
            .text("DMP_HEARTBEAT_SELF_ENDPOINT")?
            .map(str::to_owned),
        key: environment
            .text("DMP_HEARTBEAT_OPERATOR_KEY_PATH")?
            .map(PathBuf::from),
        seeds: seeds(environment, warnings)?,
        interval: variables::interval(environment, "DMP_HEARTBEAT_INTERVAL_SECONDS", 300.0)?,
        ttl: environment.integer(ttl, 86_400, 1..=HEARTBEAT_TTL_MAX)?,
        most_zones: environment.integer("DMP_HEARTBEAT_MAX_PEERS", 25, 0..=1_000)?,
        most_known: environment.integer("DMP_HEARTBEAT_SEEN_MAX_ROWS", 10_000, 0..=1_000_000)?,
        version: environment
            .text("DMP_HEARTBEAT_VERSION")?
            .unwrap_or(env!("CARGO_PKG_VERSION"))
            .to_owned(),
        resolvers: resolvers(environment)?,
        dnssec_required: environment.switch("DMP_HEARTBEAT_DNSSEC_REQUIRED")? == Some(true),
    };
    Ok(enabled.then_some(config))
}

fn seeds(environment: &Environment, warnings: &mut Vec<String>) -> Result<Vec<Owner>, ConfigError> {
    let variable = "DMP_HEARTBEAT_SEEDS";
    let mut seeds = Vec::new();
    for seed in environment.list(variable)? {
        match seed_zone(seed) {
            Some(zone) => seeds.push(zone),
            None => warnings.push(format!("{variable}: {seed} names no zone and is left out")),
        }
    }
    Ok(seeds)
}

fn resolvers(environment: &Environment) -> Result<Vec<SocketAddr>, ConfigError> {
    let variable = "DMP_HEARTBEAT_DNS_RESOLVERS";
    let address = |item: &&str| {
        let bare = item.parse::<IpAddr>();
        let with_port = bare.map(|address| SocketAddr::new(address, 53));
        with_port
            .or_else(|_| item.parse())
            .map_err(|_| must_be(variable, "IP addresses with an optional port", item))
    };
    environment.list(variable)?.iter().map(address).collect()
}
