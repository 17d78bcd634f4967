//! `cluster status`: every node asked by both ways (W25).

use std::time::Duration;

use dmp_client::cluster::{ClusterCredential, NodeStatus, node_status};
use dmp_client::connect;
use dmp_client::doctor::NetworkInstruments;
use dmp_core::id::UnixTime;
use dmp_core::record::ClusterManifest;
use serde::Serialize;

use super::manifest::look;
use super::pinned;
use crate::cmd::Outcome;
use crate::cmd::resolvers::milliseconds;
use crate::context::Context;
use crate::report::{Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// Looks the manifest up, then asks its nodes.
pub(super) async fn status(context: &Context) -> Outcome {
    let config = context.config()?;
    let anchor = pinned(&config)?;
    let (fetched, resolvers) = look(context, &config, &anchor).await?;
    let manifest = fetched.manifest.into_inner();
    let transports = connect::transports(&config, &context.home, &resolvers);
    let instruments = NetworkInstruments::new(&config, resolvers);
    let now = UnixTime::new(now());
    let nodes = node_status(&manifest, &anchor, &transports, &instruments, now).await;
    let nodes = nodes.into_iter().map(|status| Row {
        credential: transports.credential(&status.node, &manifest),
        status,
    });
    Ok(Box::new(Looked {
        nodes: nodes.collect(),
        enabled: config.cluster_enabled,
        manifest,
    }))
}

struct Row {
    status: NodeStatus,
    credential: ClusterCredential,
}

struct Looked {
    manifest: ClusterManifest,
    enabled: bool,
    nodes: Vec<Row>,
}

impl Report for Looked {
    fn text(&self) -> String {
        let Self {
            manifest, enabled, ..
        } = self;
        let mut text = format!(
            "cluster: {} (seq={}, exp={})\ncluster_enabled: {}\n",
            manifest.name,
            manifest.seq,
            manifest.exp.as_secs(),
            if *enabled { "True" } else { "False" }
        );
        text.push_str("fan-out writer snapshot:\n");
        for Row { status, credential } in &self.nodes {
            let token =
                word(*credential).map_or_else(String::new, |word| format!("  token={word}"));
            text.push_str(&(row(status, &status.http) + &token + "\n"));
        }
        text.push_str("union reader snapshot:\n");
        for Row { status, .. } in &self.nodes {
            let seq = match (&status.dns, status.seq) {
                (Err(_), _) => String::new(),
                (Ok(_), None) => "  seq=none".to_owned(),
                (Ok(_), Some(seq)) => format!("  seq={seq}"),
            };
            text.push_str(&(row(status, &status.dns) + &seq + "\n"));
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            cluster: &'a str,
            seq: u64,
            expires_at: String,
            enabled: bool,
            nodes: Vec<Node<'a>>,
        }
        #[derive(Serialize)]
        struct Node<'a> {
            id: &'a str,
            http: &'a str,
            dns: Option<&'a str>,
            token: Option<&'static str>,
            http_ms: Option<u64>,
            http_error: Option<&'a str>,
            dns_ms: Option<u64>,
            dns_error: Option<&'a str>,
            seq: Option<u64>,
        }
        let nodes = self.nodes.iter().map(|Row { status, credential }| Node {
            id: &status.node.id,
            http: &status.node.http_endpoint,
            dns: status.node.dns_endpoint.as_deref(),
            token: word(*credential),
            http_ms: status.http.as_ref().ok().copied().map(milliseconds),
            http_error: status.http.as_ref().err().map(String::as_str),
            dns_ms: status.dns.as_ref().ok().copied().map(milliseconds),
            dns_error: status.dns.as_ref().err().map(String::as_str),
            seq: status.seq,
        });
        line(
            "dmp.cluster-status/1",
            &Members {
                cluster: self.manifest.name.as_str(),
                seq: self.manifest.seq,
                expires_at: utc_of(self.manifest.exp),
                enabled: self.enabled,
                nodes: nodes.collect(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let old = self.nodes.iter().filter_map(|Row { status, .. }| {
            let has = match status.seq {
                _ if status.dns.is_err() => return None,
                Some(seq) if seq >= self.manifest.seq => return None,
                Some(seq) => format!("the manifest with seq {seq}"),
                None => "no manifest of this cluster".to_owned(),
            };
            Some(format!(
                "warning: node {} has {has}; replication has not reached it",
                screen::line(&status.node.id)
            ))
        });
        old.collect()
    }
}

/// A node on one side, as the reference prints it.
fn row(status: &NodeStatus, answer: &Result<Duration, String>) -> String {
    let (fails, error, time) = match answer {
        Ok(time) => (
            0,
            "None".to_owned(),
            format!("  ms={}", milliseconds(*time)),
        ),
        Err(why) => (1, screen::line(why).into_owned(), String::new()),
    };
    format!(
        "  {}  http={}  fails={fails}  err={error}{time}",
        screen::line(&status.node.id),
        screen::line(&status.node.http_endpoint)
    )
}

/// Which token writes to a node carry.
const fn word(credential: ClusterCredential) -> Option<&'static str> {
    match credential {
        ClusterCredential::ClusterToken => Some("cluster_node_token"),
        ClusterCredential::HttpToken => Some("http_token"),
        ClusterCredential::SavedToken => Some("saved"),
        ClusterCredential::None => None,
    }
}
