//! Getting the values of one message into the own zone: chunks before the manifest, giving way to what the node refuses.

use dmp_core::id::Slot;
use dmp_core::owner::{OwnerName, chunk_owner, manifest_owner};

use super::super::Session;
use super::super::publish::record_ttl;
use super::{SendError, SendStep};
use crate::error::WriteError;
use crate::limits::{NODE_MAX_TTL, TTL_LADDER};
use crate::mesh::{Message, Operation};
use crate::store::{OutboxId, OutboxItem, OutboxState};

/// What publishing used.
pub(super) struct Publication {
    /// TTL of the values, seconds.
    pub(super) ttl: u64,
    pub(super) messages: Vec<Message>,
}

/// What one list of operations came to.
struct Attempt {
    /// Leading operations that are stored.
    stored: usize,
    /// The operation behind the last one of the failed request.
    failed_end: usize,
    failure: Option<WriteError>,
}

impl Publication {
    async fn apply(&mut self, session: &Session<'_>, operations: &[Operation]) -> Attempt {
        let applied = session.writer.apply(operations).await;
        let attempt = Attempt {
            stored: applied.stored(),
            failed_end: applied
                .messages
                .last()
                .map_or(0, |message| message.operations.end),
            failure: applied.failure().cloned(),
        };
        self.messages.extend(applied.messages);
        attempt
    }
}

/// Publishes chunks and manifest, in one request if it fits. If the node refuses that, chunks alone, with shorter TTLs where that may
/// help, then the manifest at its slot and the other nine (crypto.md 14.1, D30).
pub(super) async fn publish(
    session: &Session<'_>,
    outbox: OutboxId,
    item: &mut OutboxItem,
    lifetime: u64,
) -> Result<Publication, SendError> {
    let total = item.chunks.len() + 1;
    session.store.record_progress(
        outbox,
        item,
        &OutboxState::Publishing { stored: 0, total },
        None,
    )?;
    let mut publication = Publication {
        ttl: lifetime.min(NODE_MAX_TTL),
        messages: Vec::new(),
    };
    let Err((step, stored, error)) = publish_somehow(session, item, &mut publication).await else {
        return Ok(publication);
    };
    let state = OutboxState::Failed {
        reason: error.to_string(),
    };
    session.store.record_progress(outbox, item, &state, None)?;
    Err(SendError::Publish {
        step,
        stored,
        total,
        error,
        outbox,
    })
}

async fn publish_somehow(
    session: &Session<'_>,
    item: &mut OutboxItem,
    publication: &mut Publication,
) -> Result<(), (SendStep, usize, WriteError)> {
    let chunks = item.chunks.len();
    let wanted = item.slot;
    let mut all = chunk_operations(item, publication.ttl);
    all.push(manifest_operation(item, wanted, publication.ttl));
    let attempt = publication.apply(session, &all).await;
    let Some(mut error) = attempt.failure else {
        return Ok(());
    };
    let slots: Vec<Slot> = if attempt.stored >= chunks {
        // The request that failed carried the manifest alone.
        wanted.others().filter(|_| is_refusal(&error)).collect()
    } else {
        let first = match &error {
            // It carried the manifest too: the refusal may be about its name, which the chunks do not care for.
            WriteError::Refused { ttl_cap: None, .. } if attempt.failed_end > chunks => {
                Some(publication.ttl)
            }
            error => shorter_ttl(publication.ttl, error),
        };
        publish_chunks(
            session,
            item,
            publication,
            first,
            (attempt.stored, error.clone()),
        )
        .await?;
        std::iter::once(wanted).chain(wanted.others()).collect()
    };
    for slot in slots {
        let manifest = manifest_operation(item, slot, publication.ttl);
        match publication.apply(session, &[manifest]).await.failure {
            None => {
                item.slot = slot;
                return Ok(());
            }
            Some(failure) => error = failure,
        }
        if !is_refusal(&error) {
            break;
        }
    }
    Err((SendStep::Manifest, chunks, error))
}

/// Publishes the chunks alone, with a shorter life after each refusal that may be about that.
async fn publish_chunks(
    session: &Session<'_>,
    item: &OutboxItem,
    publication: &mut Publication,
    first: Option<u64>,
    so_far: (usize, WriteError),
) -> Result<(), (SendStep, usize, WriteError)> {
    let (mut stored, mut error) = so_far;
    let mut ttl = first;
    while let Some(next) = ttl {
        publication.ttl = next;
        let attempt = publication
            .apply(session, &chunk_operations(item, next))
            .await;
        let Some(failure) = attempt.failure else {
            return Ok(());
        };
        ttl = shorter_ttl(next, &failure);
        (stored, error) = (attempt.stored, failure);
    }
    Err((SendStep::Chunks, stored, error))
}

/// Whether the node said no, so that another name or a shorter life may help.
const fn is_refusal(error: &WriteError) -> bool {
    matches!(error, WriteError::Refused { .. })
}

/// The TTL to try after a refusal: the cap that the node named; without any word from it, the next lower usual cap.
fn shorter_ttl(ttl: u64, error: &WriteError) -> Option<u64> {
    match error {
        WriteError::Refused {
            ttl_cap: Some(cap), ..
        } => Some(*cap).filter(|cap| *cap < ttl),
        WriteError::Refused { reason, .. } if reason.is_empty() => {
            TTL_LADDER.into_iter().find(|shorter| *shorter < ttl)
        }
        _ => None,
    }
}

fn chunk_operations(item: &OutboxItem, ttl: u64) -> Vec<Operation> {
    chunk_records(item)
        .map(|(owner, value)| Operation::Add {
            owner,
            ttl: record_ttl(ttl),
            value: value.clone(),
        })
        .collect()
}

fn manifest_operation(item: &OutboxItem, slot: Slot, ttl: u64) -> Operation {
    Operation::Add {
        owner: manifest_owner(&item.recipient, slot, &item.zone),
        ttl: record_ttl(ttl),
        value: item.manifest.clone(),
    }
}

/// The chunks with their owner names, in index order.
fn chunk_records(item: &OutboxItem) -> impl Iterator<Item = (OwnerName, &String)> {
    (0..).zip(&item.chunks).map(|(index, value)| {
        (
            chunk_owner(
                &item.msg_id,
                &item.recipient,
                &item.signer,
                index,
                &item.zone,
            ),
            value,
        )
    })
}

/// Owner names and value lengths in the order of publication.
pub(super) fn records(item: &OutboxItem) -> Vec<(String, usize)> {
    let manifest = manifest_owner(&item.recipient, item.slot, &item.zone);
    chunk_records(item)
        .map(|(owner, value)| (owner.into_string(), value.len()))
        .chain(std::iter::once((
            manifest.into_string(),
            item.manifest.len(),
        )))
        .collect()
}
