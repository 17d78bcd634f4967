//! The change of a configuration that moves a home to a cluster (federation.md 5, `--auto-pin`). It saves nothing: whoever does saves all
//! of it at once.

use dmp_core::name::Zone;
use dmp_core::record::BootstrapEntry;

use super::Anchor;
use crate::config::Config;

/// What was taken out of the configuration because it belongs to another operator, and what was left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Adopted {
    /// Whether there were tokens.
    pub tokens: bool,
    /// The name of a TSIG key of another zone (W24): all writes would go on going there.
    pub tsig_key: Option<String>,
    /// Whether the key `publisher` goes on saying how the own zone is written, which only its owner can judge.
    pub publisher: bool,
}

/// Pins signer and cluster, switches to the cluster, and drops what would send credentials or writes to the operator before.
pub fn adopt(config: &mut Config, anchor: &Anchor, entry: &BootstrapEntry) -> Adopted {
    config.bootstrap_user_domain = anchor.domain.as_str().to_owned();
    config.bootstrap_signer_spk = anchor.signer.to_string();
    config.cluster_base_domain = entry.base.as_str().to_owned();
    config.cluster_operator_spk = entry.operator.to_string();
    config.cluster_enabled = true;
    let mut dropped = Adopted {
        tokens: config.http_token.is_some() || !config.cluster_node_token.is_empty(),
        tsig_key: None,
        publisher: config.publisher.is_some(),
    };
    config.http_token = None;
    config.cluster_node_token.clear();
    if !config.tsig_key_name.is_empty() && !is_zone(&config.tsig_zone, entry) {
        dropped.tsig_key = Some(config.tsig_key_name.clone());
        config.forget_tsig();
    }
    dropped
}

/// Whether a zone of the configuration is the cluster's base domain.
fn is_zone(text: &str, entry: &BootstrapEntry) -> bool {
    Zone::parse(text).is_ok_and(|zone| zone.as_str().eq_ignore_ascii_case(entry.base.as_str()))
}
