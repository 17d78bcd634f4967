//! The records of records.md 6-14, one file each: the struct's fields stand in wire order, `sign` writes, `parse` verifies.

pub mod bootstrap;
pub mod chunk;
pub mod claim;
pub mod cluster;
pub mod heartbeat;
pub mod identity;
pub mod manifest;
pub mod prekey;
pub mod revocation;
pub mod rotation;
pub mod subject;

pub use bootstrap::{BootstrapEntry, BootstrapRecord};
pub use chunk::Chunk;
pub use claim::Claim;
pub use cluster::{ClusterManifest, ClusterNode};
pub use heartbeat::{Heartbeat, Skew};
pub use identity::{IdentityRecord, Versions};
pub use manifest::Manifest;
pub use prekey::PrekeyRecord;
pub use revocation::{Reason, Revocation};
pub use rotation::Rotation;
pub use subject::{Binding, Subject, SubjectKind};

use crate::codec::{RecordType, encode};
use crate::error::{EncodeError, Rejected};
use crate::id::UnixTime;

/// The value of a body with one signature.
fn seal_body(
    kind: RecordType,
    mut body: Vec<u8>,
    signature: &[u8; 64],
) -> Result<String, EncodeError> {
    body.extend_from_slice(signature);
    encode(kind, &body)
}

/// Refuses an `exp` further ahead than the type allows, so that no record pins state for ever (records.md 2).
fn check_horizon(exp: UnixTime, now: UnixTime, horizon: u64) -> Result<(), Rejected> {
    if exp.saturating_sub(now) > horizon {
        Err(Rejected::TooFarAhead)
    } else {
        Ok(())
    }
}
