//! The nodes of one manifest with their transports and health. What a write or a query comes to is decided elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use dmp_core::id::UnixTime;
use dmp_core::record::{ClusterManifest, ClusterNode};
use dmp_core::signed::Verified;

use super::lanes::Lanes;
use super::{InstallError, Transports};
use crate::mesh::{Reader, Writer};

/// How a node did on one side (federation.md 4.3).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Failures since the last success.
    pub failures: u32,
    /// When it failed last.
    pub last_failure: Option<UnixTime>,
    /// When it succeeded last.
    pub last_success: Option<UnixTime>,
    /// Why it failed last; none after a success.
    pub error: Option<String>,
}

/// A node of the manifest and how it did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeHealth {
    /// As the manifest describes it.
    pub node: ClusterNode,
    /// Of writes.
    pub writes: Health,
    /// Of queries.
    pub reads: Health,
}

/// One manifest in use.
pub(super) struct Members {
    pub(super) manifest: Verified<ClusterManifest>,
    /// In the order of the manifest.
    pub(super) nodes: Vec<Arc<Node>>,
}

/// A node in use.
pub(super) struct Node {
    pub(super) description: ClusterNode,
    pub(super) writer: Arc<dyn Writer>,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) writes: Side,
    pub(super) reads: Side,
    pub(super) lanes: Lanes,
}

/// Health of one side. What was begun before a node moved counts for the old place only.
#[derive(Default)]
pub(super) struct Side(Mutex<Health>);

impl Side {
    pub(super) fn succeeded(&self, now: UnixTime) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        health.failures = 0;
        health.last_success = Some(now);
        health.error = None;
    }

    pub(super) fn failed(&self, why: &str, now: UnixTime) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        health.failures = health.failures.saturating_add(1);
        health.last_failure = Some(now);
        health.error = Some(why.to_owned());
    }

    pub(super) fn health(&self) -> Health {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn carried(&self) -> Self {
        Self(Mutex::new(self.health()))
    }
}

impl Members {
    /// Makes both transports of every node; those that stay as they are in `before` are taken from there.
    pub(super) fn new(
        manifest: Verified<ClusterManifest>,
        transports: &dyn Transports,
        before: Option<&Self>,
    ) -> Result<Self, InstallError> {
        let known = |id: &str| {
            let nodes = before.map_or(&[][..], |before| &before.nodes);
            nodes.iter().find(|node| node.description.id == id)
        };
        let nodes = manifest.nodes.iter().map(|description| {
            let old = known(&description.id);
            if let Some(same) = old.filter(|old| old.description == *description) {
                return Ok(Arc::clone(same));
            }
            let unusable = |reason| InstallError::Node {
                id: description.id.clone(),
                reason,
            };
            Ok(Arc::new(Node {
                description: description.clone(),
                writer: transports
                    .writer(description, &manifest)
                    .map_err(unusable)?,
                reader: transports.reader(description).map_err(unusable)?,
                writes: old.map(|old| old.writes.carried()).unwrap_or_default(),
                reads: old.map(|old| old.reads.carried()).unwrap_or_default(),
                lanes: Lanes::default(),
            }))
        });
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Self { manifest, nodes })
    }

    pub(super) fn health(&self) -> Vec<NodeHealth> {
        let nodes = self.nodes.iter().map(|node| NodeHealth {
            node: node.description.clone(),
            writes: node.writes.health(),
            reads: node.reads.health(),
        });
        nodes.collect()
    }
}
