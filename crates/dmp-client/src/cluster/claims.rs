//! Leaving claims in the own zone when that is a cluster: every node takes them, so one that is away costs no claim (client.md 4.6).

use dmp_core::name::Zone;

use super::{Cluster, DnsEndpoint};
use crate::error::{Fault, WriteError};
use crate::mesh::{ClaimNotice, ClaimSender, Pending, UpdateTarget};

/// Leaves claims for the cluster's zone at one of its nodes, and all others where they say.
pub struct ClusterClaims<S> {
    cluster: Cluster,
    zone: Zone,
    sender: S,
}

impl<S> ClusterClaims<S> {
    /// Sends through `sender`.
    #[must_use]
    pub fn new(cluster: Cluster, zone: Zone, sender: S) -> Self {
        Self {
            cluster,
            zone,
            sender,
        }
    }

    /// The stated server and the nodes: who did not fail lately comes first, and among equals the stated one.
    fn targets(&self, stated: &UpdateTarget) -> Vec<UpdateTarget> {
        let nodes = self.cluster.health().into_iter().filter_map(|known| {
            let endpoint: DnsEndpoint = known.node.dns_endpoint?.parse().ok()?;
            Some((known.reads.failures, UpdateTarget::from(endpoint)))
        });
        let mut targets = vec![(0, stated.clone())];
        for (failures, target) in nodes {
            match targets.iter_mut().find(|(_, known)| *known == target) {
                Some((known, _)) => *known = failures,
                None => targets.push((failures, target)),
            }
        }
        targets.sort_by_key(|(failures, _)| *failures > 0);
        targets.into_iter().map(|(_, target)| target).collect()
    }

    async fn leave(&self, notice: &ClaimNotice) -> Result<(), WriteError>
    where
        S: ClaimSender,
    {
        let mut outcome = Err(WriteError::Unreachable("nobody was asked".to_owned()));
        for target in self.targets(&notice.target) {
            let notice = ClaimNotice {
                target,
                ..notice.clone()
            };
            outcome = self.sender.send(&notice).await;
            // A node that answers speaks for all.
            if !matches!(&outcome, Err(error) if error.fault() == Fault::Unavailable) {
                break;
            }
        }
        outcome
    }
}

impl<S: ClaimSender> ClaimSender for ClusterClaims<S> {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        if notice.zone == self.zone {
            Box::pin(self.leave(notice))
        } else {
            self.sender.send(notice)
        }
    }
}
