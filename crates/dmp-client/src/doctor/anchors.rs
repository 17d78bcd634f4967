//! The keys of others that this home goes by: the signer of the own domain, the operator of the cluster (federation.md 5, 6.6). It pins
//! nothing.

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::record::{Subject, SubjectKind};

use super::Check;
use crate::bootstrap;
use crate::cluster;
use crate::config::Config;
use crate::floors::Floors;
use crate::mesh::Reader;
use crate::successor::{KeyStanding, key_standing, pin_command};

/// Judges what is published by and about the pinned keys; nothing where none is pinned.
pub async fn check_anchors(
    reader: &dyn Reader,
    config: &Config,
    floors: &Floors,
    now: UnixTime,
) -> Vec<Check> {
    let mut checks = Vec::new();
    // Settings that make no anchor are among the findings already.
    if let Ok(Some(anchor)) = bootstrap::Anchor::of_config(config) {
        let domain = anchor.domain.as_str();
        checks.push(match bootstrap::fetch(reader, &anchor, floors, now).await {
            Ok(record) => Check::ok(
                "bootstrap-record",
                format!("{domain} names its clusters"),
                format!("{} of them, seq {}", record.entries.len(), record.seq),
            )
            .until(Some(record.exp)),
            Err(error) => Check::warn(
                "bootstrap-record",
                format!("no bootstrap record of {domain} can be used"),
                format!("{error}; what is pinned stays in force"),
                "dnsmesh bootstrap fetch",
            ),
        });
        let kind = SubjectKind::BootstrapSigner;
        checks.extend(key(reader, kind, domain, &anchor.signer, now).await);
    }
    if let Ok(Some(anchor)) = cluster::Anchor::of_config(config) {
        let base = anchor.base.as_str();
        let failed = if config.cluster_active() {
            Check::fail
        } else {
            Check::warn
        };
        checks.push(match cluster::fetch(reader, &anchor, floors, now).await {
            Ok(fetched) => Check::ok(
                "cluster-manifest",
                format!("cluster {base} names its nodes"),
                format!(
                    "{} of them, seq {}",
                    fetched.manifest.nodes.len(),
                    fetched.manifest.seq
                ),
            )
            .until(Some(fetched.manifest.exp)),
            Err(error) => failed(
                "cluster-manifest",
                format!("no manifest of cluster {base} can be used"),
                error.to_string(),
                "dnsmesh cluster fetch",
            ),
        });
        let kind = SubjectKind::ClusterOperator;
        checks.extend(key(reader, kind, base, &anchor.operator, now).await);
    }
    checks
}

/// What is published about a pinned key, if there is anything.
async fn key(
    reader: &dyn Reader,
    kind: SubjectKind,
    domain: &str,
    pinned: &SigningPublicKey,
    now: UnixTime,
) -> Option<Check> {
    const CODE: &str = "anchor-key";
    let subject = Subject::parse(kind, domain).ok()?;
    let ask = |key: &str| {
        format!(
            "compare with the operator over another channel, then {}",
            pin_command(kind, domain, key)
        )
    };
    match key_standing(reader, &subject, pinned, now).await {
        KeyStanding::Unchanged => None,
        KeyStanding::Replaced(successor) => Some(Check::warn(
            CODE,
            format!("the pinned key of {domain} has a successor"),
            format!("it signed over to {successor}; nothing follows that by itself"),
            ask(&successor.to_string()),
        )),
        KeyStanding::Revoked(_) => Some(Check::fail(
            CODE,
            format!("the pinned key of {domain} was revoked"),
            "what it signed is not to be relied on",
            ask("KEY"),
        )),
        KeyStanding::Unclear => Some(Check::warn(
            CODE,
            format!("the pinned key of {domain} was replaced in a way that nobody can follow"),
            "the chain forks, ends at a revoked key or is too long",
            ask("KEY"),
        )),
    }
}
