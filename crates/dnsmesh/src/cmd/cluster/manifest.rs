//! `cluster fetch` and `cluster enable`: the manifest under the pinned key, and its use.

use std::path::PathBuf;

use dmp_client::cluster::{Anchor, ClusterCredential, Fetched, fetch as fetch_manifest};
use dmp_client::config::Config;
use dmp_client::connect::{self, ConnectError};
use dmp_client::floors::Floors;
use dmp_client::reader::Resolvers;
use dmp_core::id::UnixTime;
use dmp_core::record::{ClusterManifest, ClusterNode};
use serde::Serialize;

use super::pinned;
use crate::args::cluster::FetchArgs;
use crate::cmd::signing::Role;
use crate::cmd::{Outcome, successor};
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// Whose key this is about.
const ROLE: Role = Role::ClusterOperator;

/// Looks the manifest up and prints it.
pub(super) async fn fetch(context: &Context, args: &FetchArgs) -> Outcome {
    let config = context.config()?;
    let anchor = pinned(&config)?;
    let (fetched, resolvers) = look(context, &config, &anchor).await?;
    let saved = match args.save {
        true => Some(context.home.save_manifest(&fetched.wire)?),
        false => None,
    };
    Ok(Box::new(Found {
        manifest: fetched.manifest.into_inner(),
        enabled: config.cluster_enabled,
        saved,
        switched: None,
        notes: key_warnings(&resolvers, &anchor).await,
    }))
}

/// Uses the cluster from now on. One change of the configuration, made only when the manifest verifies and every node of it can be
/// spoken to (federation.md 8).
pub(super) async fn enable(context: &Context) -> Outcome {
    let config = context.config()?;
    let anchor = pinned(&config)?;
    let (fetched, resolvers) = look(context, &config, &anchor).await?;
    let manifest = fetched.manifest.clone().into_inner();
    let made = connect::cluster(fetched.manifest, &config, &context.home, &resolvers);
    made.map_err(|reason| {
        let base = anchor.base.to_string();
        unchanged(ConnectError::Cluster { base, reason })
    })?;
    let was_enabled = config.cluster_enabled;
    let mut notes = notes(context, &config, &manifest, &resolvers);
    notes.extend(key_warnings(&resolvers, &anchor).await);
    if !was_enabled {
        let mut is_other = false;
        context.home.update_config(|stored| {
            // Pinned anew while the manifest was looked up: that one was not verified.
            is_other = Anchor::of_config(stored).ok().flatten().as_ref() != Some(&anchor);
            stored.cluster_enabled = !is_other;
        })?;
        if is_other {
            return Err(Failure::user(
                "cluster-pinned-meanwhile",
                "another cluster was pinned meanwhile, and is not enabled",
            ));
        }
        notes.insert(0, format!(
            "note: your zone is {} from now on: publish your identity and prekeys there (`dnsmesh identity publish`, `dnsmesh identity refresh-prekeys`)",
            anchor.base
        ));
    }
    Ok(Box::new(Found {
        manifest,
        enabled: true,
        saved: None,
        switched: Some(!was_enabled),
        notes,
    }))
}

/// The manifest, through the configured resolvers.
pub(super) async fn look(
    context: &Context,
    config: &Config,
    anchor: &Anchor,
) -> Result<(Fetched, Resolvers), Failure> {
    let resolvers = connect::reader(config, context.system_fallback())?;
    let floors = Floors::of_home(&context.home);
    let fetched = fetch_manifest(&resolvers, anchor, &floors, UnixTime::new(now())).await;
    match fetched {
        Ok(fetched) => Ok((fetched, resolvers)),
        Err(reason) => {
            let base = anchor.base.to_string();
            let failure = unchanged(ConnectError::Manifest { base, reason });
            let (base, operator) = (anchor.base.as_str(), &anchor.operator);
            Err(successor::explain(failure, &resolvers, ROLE, base, operator).await)
        }
    }
}

/// What became of the operator's key, if anything did (federation.md 6.6).
async fn key_warnings(resolvers: &Resolvers, anchor: &Anchor) -> Vec<String> {
    let base = anchor.base.as_str();
    let standing = successor::standing(resolvers, ROLE, base, &anchor.operator).await;
    let lines = successor::lines(standing, ROLE, base).into_iter();
    lines.map(|line| format!("warning: {line}")).collect()
}

fn unchanged(error: ConnectError) -> Failure {
    Failure::new(error.fault(), error.code(), &error)
        .hint("the configuration was not changed")
        .hint("`dnsmesh doctor network` says whether names can be looked up")
}

/// What would keep writes from reaching the cluster.
fn notes(
    context: &Context,
    config: &Config,
    manifest: &ClusterManifest,
    resolvers: &Resolvers,
) -> Vec<String> {
    if !config.tsig_key_name.is_empty() && !config.tsig_secret_hex.is_empty() {
        let zone = dmp_core::name::Zone::from(&manifest.name);
        return if zone.contains(&config.tsig_zone) {
            Vec::new()
        } else {
            vec![format!(
                "warning: writes go by the TSIG key for {}, which is not the zone of the cluster, so they will be refused; \
                 register at a node of the cluster, or remove the key with `dnsmesh tsig forget`",
                screen::line(&config.tsig_zone)
            )]
        };
    }
    let transports = connect::transports(config, &context.home, resolvers);
    let without: Vec<_> = manifest
        .nodes
        .iter()
        .filter(|node| transports.credential(node, manifest) == ClusterCredential::None)
        .map(|node| node.id.as_str())
        .collect();
    if without.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "note: there is no token for {}; register there (`dnsmesh register --node <host>`), or set cluster_node_token if the operator gave you one",
        screen::line(&without.join(", "))
    )]
}

struct Found {
    manifest: ClusterManifest,
    enabled: bool,
    saved: Option<PathBuf>,
    /// `enable` only: whether that changed anything.
    switched: Option<bool>,
    notes: Vec<String>,
}

impl Report for Found {
    fn text(&self) -> String {
        let manifest = &self.manifest;
        let mut text = format!(
            "cluster: {}\n  seq:   {}\n  exp:   {}\n  nodes: {}\n",
            manifest.name,
            manifest.seq,
            manifest.exp.as_secs(),
            manifest.nodes.len()
        );
        for node in &manifest.nodes {
            text.push_str(&format!(
                "    {}  http={}  dns={}\n",
                screen::line(&node.id),
                screen::line(&node.http_endpoint),
                screen::line(dns_of(node))
            ));
        }
        if let Some(path) = &self.saved {
            text.push_str(&format!(
                "saved signed manifest wire to {}\n",
                path.display()
            ));
        }
        match self.switched {
            Some(true) => text.push_str("cluster mode enabled.\n"),
            Some(false) => text.push_str("cluster mode was already enabled.\n"),
            None => {}
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            cluster: &'a str,
            operator_spk: String,
            seq: u64,
            expires_at: String,
            nodes: Vec<Node<'a>>,
            enabled: bool,
            changed: bool,
            saved_to: Option<String>,
        }
        #[derive(Serialize)]
        struct Node<'a> {
            id: &'a str,
            http: &'a str,
            dns: Option<&'a str>,
        }
        let manifest = &self.manifest;
        let nodes = manifest.nodes.iter().map(|node| Node {
            id: &node.id,
            http: &node.http_endpoint,
            dns: node.dns_endpoint.as_deref(),
        });
        line(
            "dmp.cluster/1",
            &Members {
                cluster: manifest.name.as_str(),
                operator_spk: manifest.operator.to_string(),
                seq: manifest.seq,
                expires_at: utc_of(manifest.exp),
                nodes: nodes.collect(),
                enabled: self.enabled,
                changed: self.switched == Some(true),
                saved_to: self.saved.as_ref().map(|path| path.display().to_string()),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// Where a node's DNS is, as the reference prints it.
fn dns_of(node: &ClusterNode) -> &str {
    node.dns_endpoint
        .as_deref()
        .unwrap_or("(via bootstrap reader)")
}
