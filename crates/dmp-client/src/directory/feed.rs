//! The directory for programs: `feed.json`, version 2 (federation.md 2.13). Whoever uses it verifies each `wire` again.

use dmp_core::id::UnixTime;
use serde::Serialize;

use super::{Check, Survey};

#[derive(Serialize)]
struct Feed<'a> {
    version: u8,
    generated_at: u64,
    node_count: usize,
    nodes: Vec<Node<'a>>,
    seen_edges: Vec<Edge>,
    resolvers: Vec<Resolver<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    operator_spk_hex: String,
    endpoint: &'a str,
    version: &'a str,
    ts: u64,
    exp: u64,
    wire: &'a str,
    last_seen_via: Vec<&'a str>,
    /// Unsigned decoration that others fetch from third parties.
    geo: Option<()>,
    host: Option<()>,
}

#[derive(Serialize)]
struct Edge {
    from_spk: String,
    to_spk: String,
    last_seen_ts: u64,
}

#[derive(Serialize)]
struct Resolver<'a> {
    name: &'a str,
    addr: &'a str,
    zone: &'a str,
    endpoint: Option<&'a str>,
    ok: bool,
    latency_ms: Option<u64>,
    detail: &'a str,
}

/// The whole document, ended by a line feed.
#[must_use]
pub fn feed(survey: &Survey, checks: &[Check], now: UnixTime) -> String {
    let nodes = survey.nodes.iter().map(|node| {
        let heartbeat = &node.beat.heartbeat;
        Node {
            operator_spk_hex: heartbeat.operator.to_string(),
            endpoint: heartbeat.endpoint.as_str(),
            version: &heartbeat.version,
            ts: heartbeat.ts.as_secs(),
            exp: heartbeat.exp.as_secs(),
            wire: &node.beat.wire,
            last_seen_via: node.via.iter().map(|zone| zone.as_str()).collect(),
            geo: None,
            host: None,
        }
    });
    let edges = survey.edges.iter().map(|edge| Edge {
        from_spk: edge.from.to_string(),
        to_spk: edge.to.to_string(),
        last_seen_ts: edge.last_seen.as_secs(),
    });
    let resolvers = checks.iter().map(|check| Resolver {
        name: &check.name,
        addr: &check.address,
        zone: check.zone.as_str(),
        endpoint: check.endpoint.as_deref(),
        ok: check.is_ok(),
        latency_ms: check
            .latency
            .map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        detail: &check.detail,
    });
    let feed = Feed {
        version: 2,
        generated_at: now.as_secs(),
        node_count: survey.nodes.len(),
        nodes: nodes.collect(),
        seen_edges: edges.collect(),
        resolvers: resolvers.collect(),
    };
    // Only maps with keys that are no text and failing writers can fail here.
    serde_json::to_string_pretty(&feed).unwrap_or_default() + "\n"
}
