//! `cluster sign`: which nodes a cluster has.

use std::fs;
use std::path::Path;

use dmp_client::signing::{Content, read_key};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use dmp_core::record::{ClusterManifest, ClusterNode};
use serde::Deserialize;

use crate::args::cluster::{SignArgs, usable};
use crate::cmd::Outcome;
use crate::cmd::signing::{Role, parse_domain, read_records, signed, terms};
use crate::exit::Failure;

/// Signs the manifest and prints it.
pub(super) fn sign(args: &SignArgs, role: Role) -> Outcome {
    let name = parse_domain(&args.base_domain)?;
    let key = read_key(&args.key)?;
    let mut nodes = match &args.nodes {
        Some(file) => read_nodes(file)?,
        None => Vec::new(),
    };
    nodes.extend(args.node.iter().map(|node| node.0.clone()));
    let (mut seq, exp) = terms(&args.terms);
    if let Some(file) = &args.previous {
        seq = next_seq(file, &name, &key.public())?;
    }
    let manifest = ClusterManifest {
        seq,
        exp,
        operator: key.public(),
        name,
        nodes,
    };
    signed(manifest.sign(&key), role, args.terms.zone_file)
}

/// One more than the highest number that this key has signed for this cluster in a file.
fn next_seq(file: &Path, name: &DomainName, key: &SigningPublicKey) -> Result<u64, Failure> {
    let records = read_records(file)?;
    let known = records.iter().filter_map(|record| match &record.content {
        Content::Cluster(manifest) if manifest.name == *name && manifest.operator == *key => {
            Some(manifest.seq)
        }
        _ => None,
    });
    let wrong =
        |reason: &str| Failure::user("signed-file", format!("{}: {reason}", file.display()));
    let highest = known
        .max()
        .ok_or_else(|| wrong("no manifest of this cluster under this key"))?;
    highest
        .checked_add(1)
        .ok_or_else(|| wrong("its seq is the highest that there is"))
}

/// A file of nodes. The reference's names of the fields are known too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nodes {
    nodes: Vec<NodeRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeRow {
    #[serde(alias = "node_id")]
    id: String,
    #[serde(alias = "http_endpoint")]
    http: String,
    #[serde(default, alias = "dns_endpoint")]
    dns: Option<String>,
}

fn read_nodes(file: &Path) -> Result<Vec<ClusterNode>, Failure> {
    let wrong = |reason: &dyn std::fmt::Display| {
        let reason = reason.to_string();
        let reason = reason.trim_end().replace('\n', " ");
        Failure::user(
            "cluster-nodes-file",
            format!("{}: {reason}", file.display()),
        )
    };
    let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
    let nodes: Nodes = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| wrong(&error))?
    } else {
        toml::from_str(&text).map_err(|error| wrong(&error))?
    };
    let nodes = nodes.nodes.into_iter().map(|node| {
        usable(ClusterNode {
            id: node.id,
            http_endpoint: node.http,
            dns_endpoint: node.dns.filter(|endpoint| !endpoint.is_empty()),
        })
        .map_err(|error| wrong(&error))
    });
    nodes.collect()
}
