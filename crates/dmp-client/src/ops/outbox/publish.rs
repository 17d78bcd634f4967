//! Getting the values of one message into the own zone: chunks before the manifest, giving way to what the node refuses.

use std::sync::atomic::{AtomicUsize, Ordering};

use dmp_core::id::Slot;
use dmp_core::owner::{OwnerName, chunk_owner, manifest_owner};
use futures_util::StreamExt;
use futures_util::stream;

use super::super::Session;
use super::super::publish::record_ttl;
use crate::error::WriteError;
use crate::limits::{CHUNK_RETRY_WAIT, CHUNK_WRITES_IN_FLIGHT, TTL_LADDER};
use crate::mesh::{Capacity, Counted, Message, Operation};
use crate::store::OutboxItem;

/// How far publishing came before it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendStep {
    /// Publishing the chunks: what is stored is unreadable without the manifest and expires.
    Chunks,
    /// Publishing the manifest: the chunks are stored, nobody was told.
    Manifest,
}

impl std::fmt::Display for SendStep {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Chunks => "chunks",
            Self::Manifest => "manifest",
        })
    }
}

/// What publishing used.
pub(super) struct Publication {
    /// TTL of the values, seconds.
    pub(super) ttl: u64,
    /// The requests, in order.
    pub(super) messages: Vec<Message>,
    /// Chunks that the node did not take, although the manifest is published.
    pub(super) missing: usize,
}

/// Why a message is not published.
#[derive(Clone, Debug)]
pub(in crate::ops) struct PublishFailure {
    pub(in crate::ops) step: SendStep,
    /// Values that are stored.
    pub(in crate::ops) stored: usize,
    pub(in crate::ops) error: WriteError,
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

/// Publishes chunks and manifest with a TTL, or a shorter one if the node wants that; the item's slot is the one used.
pub(super) async fn publish(
    session: &Session<'_>,
    item: &mut OutboxItem,
    ttl: u64,
) -> Result<Publication, PublishFailure> {
    let mut publication = Publication {
        ttl,
        messages: Vec::new(),
        missing: 0,
    };
    match session.writer.capacity() {
        Capacity::Many => publish_together(session, item, &mut publication).await?,
        Capacity::One => publish_singly(session, item, &mut publication).await?,
    }
    let all = item.chunks.len() + 1;
    session.watcher.count(Counted::Stored, all, all);
    Ok(publication)
}

/// All in one request if it fits. If the node refuses that, chunks alone, with shorter TTLs where that may help, then the manifest
/// (crypto.md 14.1).
async fn publish_together(
    session: &Session<'_>,
    item: &mut OutboxItem,
    publication: &mut Publication,
) -> Result<(), PublishFailure> {
    let chunks = item.chunks.len();
    let mut all = chunk_operations(item, publication.ttl);
    all.push(manifest_operation(item, item.slot, publication.ttl));
    session.watcher.count(Counted::Stored, 0, all.len());
    let attempt = publication.apply(session, &all).await;
    let Some(error) = attempt.failure else {
        return Ok(());
    };
    if attempt.stored >= chunks {
        // The request that failed carried the manifest alone.
        let others = item.slot.others().filter(|_| is_refusal(&error));
        return publish_manifest(session, item, publication, others, error.clone()).await;
    }
    let first = match &error {
        // It carried the manifest too: the refusal may be about its name, which the chunks do not care for.
        WriteError::Refused { ttl_cap: None, .. } if attempt.failed_end > chunks => {
            Some(publication.ttl)
        }
        error => shorter_ttl(publication.ttl, error),
    };
    let (mut stored, mut error) = (attempt.stored, error);
    let mut ttl = first;
    loop {
        let Some(next) = ttl else {
            return Err(PublishFailure {
                step: SendStep::Chunks,
                stored,
                error,
            });
        };
        publication.ttl = next;
        let attempt = publication
            .apply(session, &chunk_operations(item, next))
            .await;
        let Some(failure) = attempt.failure else {
            break;
        };
        ttl = shorter_ttl(next, &failure);
        (stored, error) = (attempt.stored, failure);
    }
    let slots = std::iter::once(item.slot).chain(item.slot.others());
    publish_manifest(session, item, publication, slots, error).await
}

/// Each value in a request of its own: chunks side by side, then the manifest. Enough chunks are enough: parity makes up for what the
/// node could not take (client.md 8.6).
async fn publish_singly(
    session: &Session<'_>,
    item: &mut OutboxItem,
    publication: &mut Publication,
) -> Result<(), PublishFailure> {
    let total = item.chunks.len();
    let outcomes = loop {
        let operations = chunk_operations(item, publication.ttl);
        let outcomes = publish_each(session, &operations).await;
        let shorter = outcomes
            .iter()
            .filter_map(|outcome| shorter_ttl(publication.ttl, outcome.as_ref().err()?))
            .min();
        match shorter {
            Some(ttl) => publication.ttl = ttl,
            None => break outcomes,
        }
    };
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    publication
        .messages
        .extend(outcomes.iter().enumerate().map(|(index, outcome)| Message {
            operations: index..index + 1,
            bytes: 0,
            outcome: outcome.clone(),
        }));
    let failures: Vec<WriteError> = outcomes.into_iter().filter_map(Result::err).collect();
    let enough = item.needed + (total - item.needed).div_ceil(2);
    let refused = failures.iter().find(|error| !is_passing(error));
    if let Some(error) = refused.or(failures.first())
        && (refused.is_some() || stored < enough)
    {
        return Err(PublishFailure {
            step: SendStep::Chunks,
            stored,
            error: error.clone(),
        });
    }
    publication.missing = total - stored;
    let slots = std::iter::once(item.slot).chain(item.slot.others());
    let untried = WriteError::ServerFailure("no slot was tried".to_owned());
    publish_manifest(session, item, publication, slots, untried).await
}

/// Every operation for itself, a bounded number at a time; what fails in passing is tried once more, unless nobody answers at all.
async fn publish_each(
    session: &Session<'_>,
    operations: &[Operation],
) -> Vec<Result<(), WriteError>> {
    let done = AtomicUsize::new(0);
    let apply = async |index: usize| {
        let operation = operations.get(index..=index).unwrap_or_default();
        let outcome = session.writer.apply(operation).await.into_result();
        if outcome.is_ok() {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            // The manifest comes after them.
            session
                .watcher
                .count(Counted::Stored, done, operations.len() + 1);
        }
        (index, outcome)
    };
    let mut outcomes: Vec<Result<(), WriteError>> = vec![Ok(()); operations.len()];
    let mut waiting: Vec<usize> = (0..operations.len()).collect();
    for again in [true, false] {
        let results: Vec<_> = stream::iter(waiting.iter().map(|index| apply(*index)))
            .buffer_unordered(CHUNK_WRITES_IN_FLIGHT)
            .collect()
            .await;
        for (index, outcome) in results {
            if let Some(place) = outcomes.get_mut(index) {
                *place = outcome;
            }
        }
        waiting
            .retain(|index| matches!(outcomes.get(*index), Some(Err(error)) if is_passing(error)));
        let silent = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(WriteError::Unreachable(_))));
        if waiting.is_empty() || silent || !again {
            break;
        }
        session.clock.sleep(CHUNK_RETRY_WAIT).await;
    }
    outcomes
}

/// The manifest at the first of the slots that takes it (D30); `error` is why the last try failed, if there was one.
async fn publish_manifest(
    session: &Session<'_>,
    item: &mut OutboxItem,
    publication: &mut Publication,
    slots: impl Iterator<Item = Slot>,
    mut error: WriteError,
) -> Result<(), PublishFailure> {
    for slot in slots {
        let manifest = [manifest_operation(item, slot, publication.ttl)];
        let mut failure = publication.apply(session, &manifest).await.failure;
        if matches!(failure, Some(WriteError::ServerFailure(_)))
            && session.writer.capacity() == Capacity::One
        {
            session.clock.sleep(CHUNK_RETRY_WAIT).await;
            failure = publication.apply(session, &manifest).await.failure;
        }
        match failure {
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
    Err(PublishFailure {
        step: SendStep::Manifest,
        stored: item.chunks.len() - publication.missing,
        error,
    })
}

/// Whether the node said no, so that another name or a shorter life may help.
const fn is_refusal(error: &WriteError) -> bool {
    matches!(error, WriteError::Refused { .. })
}

/// Whether the same request may succeed a moment later.
const fn is_passing(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::ServerFailure(_) | WriteError::Unreachable(_)
    )
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

/// Owner names and values in the order of publication.
pub(in crate::ops) fn records(item: &OutboxItem) -> Vec<(OwnerName, String)> {
    let manifest = manifest_owner(&item.recipient, item.slot, &item.zone);
    chunk_records(item)
        .map(|(owner, value)| (owner, value.clone()))
        .chain(std::iter::once((manifest, item.manifest.clone())))
        .collect()
}
