//! Looking the manifest of a pinned cluster up (federation.md 4.1): the highest verified one, and never an older one than before.
//! It installs nothing.

use dmp_core::error::RecordError;
use dmp_core::id::UnixTime;
use dmp_core::owner::OwnerName;
use dmp_core::record::ClusterManifest;
use dmp_core::signed::Verified;

use super::Anchor;
use crate::error::Fault;
use crate::floors::{FloorError, Floors};
use crate::mesh::{Lookup, Reader};

/// A manifest and the text that it was signed as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Verified under the pinned key and bound to the pinned name.
    pub manifest: Verified<ClusterManifest>,
    /// The TXT value.
    pub wire: String,
}

/// Why there is no manifest to go by.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no record.
    #[error("no manifest at {0}")]
    Absent(OwnerName),
    /// Nobody could be asked.
    #[error("{owner} could not be looked up: {why}")]
    Unreachable {
        /// Where.
        owner: OwnerName,
        /// Resolver by resolver.
        why: String,
    },
    /// None of the values there is a live manifest of this operator for this cluster.
    #[error("no manifest at {owner} verifies under the pinned key ({reason})")]
    Unusable {
        /// Where.
        owner: OwnerName,
        /// What is wrong with the first that is a manifest at all, or else with the first value.
        reason: RecordError,
    },
    /// A newer one was seen before, or that cannot be known.
    #[error("the manifest at {owner} is not taken: {reason}")]
    Floor {
        /// Where.
        owner: OwnerName,
        /// Why.
        reason: FloorError,
    },
}

impl FetchError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Absent(_) | Self::Unreachable { .. } => Fault::Unavailable,
            Self::Unusable { .. } => Fault::Rejected,
            Self::Floor { reason, .. } => reason.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Absent(_) => "cluster-no-manifest",
            Self::Unreachable { .. } => "cluster-unreachable",
            Self::Unusable { .. } => "cluster-unusable",
            Self::Floor { reason, .. } => reason.code(),
        }
    }
}

/// Looks the manifest up: of all values that verify the one with the highest seq, the first of equals. One without nodes does not
/// verify (W28), one with a lower seq than was ever seen is refused (W22).
///
/// # Errors
/// [`FetchError`], naming the owner.
pub async fn fetch(
    reader: &dyn Reader,
    anchor: &Anchor,
    floors: &Floors,
    now: UnixTime,
) -> Result<Fetched, FetchError> {
    let owner = anchor.owner();
    let values = match reader.txt(&owner).await {
        Lookup::Found(values) => values,
        Lookup::Absent => return Err(FetchError::Absent(owner)),
        Lookup::Unreachable(why) => return Err(FetchError::Unreachable { owner, why }),
    };
    let (mut best, mut wrong): (Option<Fetched>, Option<RecordError>) = (None, None);
    for wire in values {
        match ClusterManifest::parse(&wire, &anchor.operator, Some(&anchor.base), now) {
            Ok(manifest)
                if best
                    .as_ref()
                    .is_none_or(|best| manifest.seq > best.manifest.seq) =>
            {
                best = Some(Fetched { manifest, wire });
            }
            Ok(_) => {}
            // What is refused says more than what is no manifest at all.
            Err(error) => match (&wrong, &error) {
                (None, _) | (Some(RecordError::Malformed(_)), RecordError::Rejected(_)) => {
                    wrong = Some(error);
                }
                _ => {}
            },
        }
    }
    let fetched = match (best, wrong) {
        (Some(fetched), _) => fetched,
        (None, Some(reason)) => return Err(FetchError::Unusable { owner, reason }),
        (None, None) => return Err(FetchError::Absent(owner)),
    };
    match floors.accept(&owner, &anchor.operator, fetched.manifest.seq) {
        Ok(()) => Ok(fetched),
        Err(reason) => Err(FetchError::Floor { owner, reason }),
    }
}
