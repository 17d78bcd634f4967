//! Clusters as a client uses them (federation.md 4.1-4.7): the manifest under the pinned key, writes to all nodes until half of them
//! have it, reads from all nodes as one, and a refresh that moves both at once. How a node is spoken to comes through [`Transports`].

mod anchor;
mod claims;
mod composite;
mod fan_out;
mod fetch;
mod in_flight;
mod lanes;
mod members;
mod refresh;
mod status;
mod transports;
mod union;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dmp_core::record::ClusterManifest;
use dmp_core::signed::Verified;

pub use self::anchor::{Anchor, AnchorError};
pub use self::claims::ClusterClaims;
pub use self::composite::CompositeReader;
pub use self::fan_out::FanOut;
pub use self::fetch::{FetchError, Fetched, fetch};
use self::in_flight::InFlight;
use self::members::Members;
pub use self::members::{Health, NodeHealth};
pub use self::refresh::{Refresh, RefreshError, Refreshed};
pub use self::status::{NodeStatus, node_status};
pub use self::transports::{
    ClusterCredential, DnsEndpoint, HomeTransports, Transports, check_node,
};
pub use self::union::UnionReader;
use crate::error::Fault;
use crate::mesh::Clock;
use crate::writer::Outcomes;

/// Why a manifest is not put to use. What was in use stays so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InstallError {
    /// Its time is over.
    #[error("the manifest expired at {0}")]
    Expired(u64),
    /// A node cannot be reached by what the manifest says of it.
    #[error("node {id}: {reason}")]
    Node {
        /// The node's id.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

impl InstallError {
    /// Whose fault it is: the operator's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Rejected
    }

    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired(_) => "cluster-expired",
            Self::Node { .. } => "cluster-node",
        }
    }
}

/// What became of a manifest that is not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Installed {
    /// Writes and reads go by it from now on.
    Moved,
    /// Its seq is not higher than that of the one in use.
    Kept,
}

/// A cluster in use. Cloning shares it, so that writer and readers always go by the same manifest.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    transports: Box<dyn Transports>,
    clock: Arc<dyn Clock>,
    outcomes: Outcomes,
    in_flight: InFlight,
    members: RwLock<Arc<Members>>,
}

impl Cluster {
    /// A cluster with a writer and a reader for every node.
    ///
    /// # Errors
    /// [`InstallError`]: an expired manifest, or the first node that cannot be spoken to.
    pub fn new(
        manifest: Verified<ClusterManifest>,
        transports: Box<dyn Transports>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InstallError> {
        check_expiry(&manifest, clock.as_ref())?;
        let members = Members::new(manifest, transports.as_ref(), None)?;
        Ok(Self(Arc::new(Inner {
            transports,
            clock,
            outcomes: Outcomes::default(),
            in_flight: InFlight::default(),
            members: RwLock::new(Arc::new(members)),
        })))
    }

    /// Goes over to a newer manifest: every transport of it is made first, then writes and reads move in one step. Nodes that stay
    /// as they are keep connection and health; what was begun with others ends there (federation.md 4.4, 4.7).
    ///
    /// # Errors
    /// [`InstallError`]; then nothing has moved.
    pub fn install(&self, manifest: Verified<ClusterManifest>) -> Result<Installed, InstallError> {
        check_expiry(&manifest, self.0.clock.as_ref())?;
        let current = self.members();
        if manifest.seq <= current.manifest.seq {
            return Ok(Installed::Kept);
        }
        let next = Members::new(manifest, self.0.transports.as_ref(), Some(&current))?;
        let mut members = self
            .0
            .members
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Another refresh may have been faster with a newer one.
        if next.manifest.seq <= members.manifest.seq {
            return Ok(Installed::Kept);
        }
        *members = Arc::new(next);
        Ok(Installed::Moved)
    }

    /// The manifest in use.
    #[must_use]
    pub fn manifest(&self) -> ClusterManifest {
        ClusterManifest::clone(&self.members().manifest)
    }

    /// Writes to every node.
    #[must_use]
    pub fn writer(&self) -> FanOut {
        FanOut::new(self.clone())
    }

    /// Reads from every node.
    #[must_use]
    pub fn reader(&self) -> UnionReader {
        UnionReader::new(self.clone())
    }

    /// Health of every node, in the order of the manifest.
    #[must_use]
    pub fn health(&self) -> Vec<NodeHealth> {
        self.members().health()
    }

    /// What nodes did not take although the cluster did: worth telling at the end.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        self.0.outcomes.clone()
    }

    /// Waits until every write that was begun has ended, but no longer than `grace` (federation.md W27); nodes that have not
    /// answered then are among the [`Self::outcomes`].
    pub async fn settle(&self, grace: Duration) {
        for id in self.0.in_flight.settle(grace).await {
            self.0.outcomes.note(&told(&id), &in_flight::unanswered());
        }
    }

    fn members(&self) -> Arc<Members> {
        let members = self.0.members.read();
        Arc::clone(&members.unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members = self.members();
        write!(
            f,
            "Cluster({}, seq {})",
            members.manifest.name, members.manifest.seq
        )
    }
}

/// How a node is called where failures are told.
fn told(id: &str) -> String {
    format!("cluster node {id}")
}

fn check_expiry(manifest: &ClusterManifest, clock: &dyn Clock) -> Result<(), InstallError> {
    if manifest.exp < clock.now() {
        Err(InstallError::Expired(manifest.exp.as_secs()))
    } else {
        Ok(())
    }
}
