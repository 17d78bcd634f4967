//! What is known of the cluster at the moment, for whoever answers a peer or an operator. Decides nothing.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use dmp_core::name::DomainName;
use serde::Serialize;

/// The cluster as this node sees it.
#[derive(Debug, Default)]
pub struct ClusterView {
    base: ArcSwapOption<DomainName>,
    peers: ArcSwap<Vec<PeerView>>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerView {
    /// Its id in the manifest, or what follows from its URL.
    pub id: String,
    /// Where its HTTP API is.
    pub url: String,
    /// Unix second since which this node knows of it.
    pub known_at: u64,
    /// Unix second at which it was last read up to its end.
    pub complete_at: Option<u64>,
    /// Why it could not be read the last time; `None` if it could.
    pub fault: Option<String>,
}

impl PeerView {
    fn complete_or_known(&self) -> u64 {
        self.complete_at.unwrap_or(self.known_at)
    }
}

impl ClusterView {
    /// The cluster's name, configured or found out.
    pub fn base(&self) -> Option<Arc<DomainName>> {
        self.base.load_full()
    }

    /// The peers; empty where nothing is replicated.
    pub fn peers(&self) -> Arc<Vec<PeerView>> {
        self.peers.load_full()
    }

    /// Seconds since the peer that was read longest ago was read to its end, or became known; `None` without peers.
    pub(crate) fn lag(&self, now: u64) -> Option<u64> {
        let peers = self.peers.load();
        let oldest = peers.iter().map(PeerView::complete_or_known).min()?;
        Some(now.saturating_sub(oldest))
    }

    pub(super) fn set_base(&self, base: Option<DomainName>) {
        self.base.store(base.map(Arc::new));
    }

    pub(super) fn set_peers(&self, peers: Vec<PeerView>) {
        self.peers.store(Arc::new(peers));
    }

    /// Changes what is told of one peer.
    pub(super) fn update(&self, url: &str, change: impl FnOnce(&mut PeerView)) {
        let mut peers = self.peers.load().to_vec();
        if let Some(peer) = peers.iter_mut().find(|peer| peer.url == url) {
            change(peer);
            self.set_peers(peers);
        }
    }
}
