//! What publishing operations share: giving way to a node's TTL cap, and deletions that count absence as success.

use dmp_core::owner::OwnerName;

use super::Session;
use crate::error::WriteError;
use crate::limits::NODE_MAX_TTL;
use crate::mesh::{Lookup, Operation, Writer};

/// Applies operations made for a TTL; if the node names a lower cap, once more with that. Returns the TTL in force.
pub(crate) async fn publish_capped(
    writer: &dyn Writer,
    ttl: u64,
    operations: impl Fn(u32) -> Vec<Operation>,
) -> Result<u64, WriteError> {
    let ttl = ttl.min(NODE_MAX_TTL);
    match writer
        .apply(&operations(record_ttl(ttl)))
        .await
        .into_result()
    {
        Ok(()) => Ok(ttl),
        Err(WriteError::Refused {
            ttl_cap: Some(cap), ..
        }) if cap < ttl => writer
            .apply(&operations(record_ttl(cap)))
            .await
            .into_result()
            .map(|()| cap),
        Err(error) => Err(error),
    }
}

/// Deletes exact values at a name, best effort; says of each whether it is gone.
pub(super) async fn delete_values(
    session: &Session<'_>,
    owner: &OwnerName,
    values: &[String],
) -> Vec<bool> {
    if values.is_empty() {
        return Vec::new();
    }
    let operations: Vec<Operation> = values
        .iter()
        .map(|value| Operation::DeleteValue {
            owner: owner.clone(),
            value: value.clone(),
        })
        .collect();
    let applied = session.writer.apply(&operations).await;
    let stored = applied.stored();
    let mut gone: Vec<bool> = (0..values.len()).map(|index| index < stored).collect();
    // The reference answers SERVFAIL to a deletion of what is not there: asking tells the difference (D30).
    if let Some(WriteError::ServerFailure(_)) = applied.failure() {
        let visible = match session.reader.txt(owner).await {
            Lookup::Found(visible) => visible,
            Lookup::Absent => Vec::new(),
            Lookup::Unreachable(_) => return gone,
        };
        for (gone, value) in gone.iter_mut().zip(values) {
            *gone = !visible.contains(value);
        }
    }
    gone
}

/// A TTL as a record carries it.
pub(super) fn record_ttl(ttl: u64) -> u32 {
    u32::try_from(ttl).unwrap_or(u32::MAX)
}
