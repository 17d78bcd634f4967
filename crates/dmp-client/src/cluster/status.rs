//! Looking at every node of a cluster by itself (federation.md W25): does its HTTP answer, does its DNS, and which manifest has it.
//! It changes nothing and judges nothing.

use std::time::Duration;

use dmp_core::id::UnixTime;
use dmp_core::record::{ClusterManifest, ClusterNode};
use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout};

use super::{Anchor, Transports};
use crate::config::normalize_endpoint;
use crate::doctor::Instruments;
use crate::limits::{CLUSTER_READ_DEADLINE, CLUSTER_WRITE_DEADLINE};
use crate::mesh::Lookup;

/// What a node answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// As the manifest describes it.
    pub node: ClusterNode,
    /// How long `GET /health` took, or why it failed.
    pub http: Result<Duration, String>,
    /// How long the question for the manifest took, or why it failed.
    pub dns: Result<Duration, String>,
    /// The highest seq among the manifests that it has; none if it has none that verifies.
    pub seq: Option<u64>,
}

/// Asks all nodes at once, each by both ways.
pub async fn node_status(
    manifest: &ClusterManifest,
    anchor: &Anchor,
    transports: &dyn Transports,
    instruments: &dyn Instruments,
    now: UnixTime,
) -> Vec<NodeStatus> {
    let nodes = manifest.nodes.iter().map(async |node| {
        let (http, (dns, seq)) = join(
            health(node, instruments),
            ask(node, anchor, transports, now),
        )
        .await;
        NodeStatus {
            node: node.clone(),
            http,
            dns,
            seq,
        }
    });
    join_all(nodes).await
}

async fn health(node: &ClusterNode, instruments: &dyn Instruments) -> Result<Duration, String> {
    let endpoint = normalize_endpoint(&node.http_endpoint);
    let begun = Instant::now();
    match timeout(CLUSTER_WRITE_DEADLINE, instruments.health(&endpoint)).await {
        Err(_) => Err("no answer in time".to_owned()),
        Ok(Err(why)) => Err(why),
        Ok(Ok(health)) if health.status == 200 => Ok(begun.elapsed()),
        Ok(Ok(health)) => Err(format!("HTTP {}", health.status)),
    }
}

async fn ask(
    node: &ClusterNode,
    anchor: &Anchor,
    transports: &dyn Transports,
    now: UnixTime,
) -> (Result<Duration, String>, Option<u64>) {
    let reader = match transports.reader(node) {
        Ok(reader) => reader,
        Err(why) => return (Err(why), None),
    };
    let begun = Instant::now();
    let owner = anchor.owner();
    let answer = timeout(CLUSTER_READ_DEADLINE, reader.txt(&owner)).await;
    let took = begun.elapsed();
    match answer {
        Err(_) => (Err("no answer in time".to_owned()), None),
        Ok(Lookup::Unreachable(why)) => (Err(why), None),
        Ok(Lookup::Absent) => (Ok(took), None),
        Ok(Lookup::Found(values)) => {
            let values = values.iter().map(String::as_str);
            let (operator, base) = (&anchor.operator, Some(&anchor.base));
            let manifest = ClusterManifest::choose(values, operator, base, now);
            (Ok(took), manifest.map(|manifest| manifest.seq))
        }
    }
}
