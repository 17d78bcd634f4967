//! The walk through the clusters of a domain, by rising priority, to the first that can be used (federation.md 5). It changes nothing.

use dmp_core::id::UnixTime;
use dmp_core::record::{BootstrapEntry, BootstrapRecord, ClusterManifest};
use dmp_core::signed::Verified;

use super::{Anchor, FetchError, fetch};
use crate::cluster::{self, Cluster, InstallError};
use crate::floors::Floors;
use crate::mesh::Reader;

/// What was found for a domain.
#[derive(Debug)]
pub struct Discovery {
    /// The record of the domain.
    pub record: Verified<BootstrapRecord>,
    /// The clusters that come before the usable one and cannot be used, in that order; all of them if none can.
    pub skipped: Vec<Skipped>,
    /// The first cluster that can be used, with a writer and a reader for every node.
    pub usable: Option<(BootstrapEntry, Cluster)>,
}

/// A cluster that was passed over.
#[derive(Debug)]
pub struct Skipped {
    /// Its entry in the record.
    pub entry: BootstrapEntry,
    /// Why.
    pub reason: Unusable,
}

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no manifest under the key of the entry.
    #[error(transparent)]
    Manifest(#[from] cluster::FetchError),
    /// Its nodes cannot be spoken to by what the manifest says of them.
    #[error(transparent)]
    Nodes(#[from] InstallError),
}

impl Discovery {
    /// The entry to show: the one that can be used, or else the most preferred.
    #[must_use]
    pub fn best(&self) -> Option<&BootstrapEntry> {
        match &self.usable {
            Some((entry, _)) => Some(entry),
            None => self.record.entries.first(),
        }
    }
}

/// Fetches the record of the domain, then tries its clusters one after the other. `connect` makes writers and readers for a manifest
/// and asks nobody, as [`crate::connect::cluster`] does.
///
/// # Errors
/// [`FetchError`]: there is no record to go by. That no cluster of it can be used is no error here.
pub async fn discover(
    reader: &dyn Reader,
    anchor: &Anchor,
    floors: &Floors,
    now: UnixTime,
    connect: impl Fn(Verified<ClusterManifest>) -> Result<Cluster, InstallError>,
) -> Result<Discovery, FetchError> {
    let record = fetch(reader, anchor, floors, now).await?;
    let (mut skipped, mut usable) = (Vec::new(), None);
    for entry in record.entries.clone() {
        match try_entry(reader, &entry, floors, now, &connect).await {
            Ok(cluster) => {
                usable = Some((entry, cluster));
                break;
            }
            Err(reason) => skipped.push(Skipped { entry, reason }),
        }
    }
    Ok(Discovery {
        record,
        skipped,
        usable,
    })
}

async fn try_entry(
    reader: &dyn Reader,
    entry: &BootstrapEntry,
    floors: &Floors,
    now: UnixTime,
    connect: impl Fn(Verified<ClusterManifest>) -> Result<Cluster, InstallError>,
) -> Result<Cluster, Unusable> {
    let anchor = cluster::Anchor {
        base: entry.base.clone(),
        operator: entry.operator,
    };
    let fetched = cluster::fetch(reader, &anchor, floors, now).await?;
    Ok(connect(fetched.manifest)?)
}
