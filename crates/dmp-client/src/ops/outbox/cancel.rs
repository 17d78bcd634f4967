//! Taking a message back: nothing more is published, and what can be deleted is (best effort). Who has read it has read it.

use dmp_core::id::UnixTime;
use thiserror::Error;

use super::super::Session;
use super::deliver::Work;
use super::publish::records;
use crate::error::{Fault, StoreError, WriteError};
use crate::mesh::Operation;
use crate::store::{Leasing, OutboxEntry, OutboxId, OutboxState};

/// Why the reason of a cancelled entry reads as it does.
const CANCELLED: &str = "cancelled";

/// What cancelling did.
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// The state before.
    pub before: OutboxState,
    /// The entry now.
    pub entry: OutboxEntry,
    /// What became of the published values.
    pub deletion: Deletion,
}

/// What became of the published values of a cancelled message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// All are deleted. Resolvers may remember them for a while.
    Done,
    /// They stay until the node forgets them: most credentials may not delete what they wrote into another's mailbox
    /// (client.md 4.4).
    Refused {
        /// Why.
        error: WriteError,
        /// Until when they can be read.
        readable_until: UnixTime,
    },
}

/// Why an entry was not cancelled.
#[derive(Debug, Error)]
pub enum CancelError {
    /// No such entry.
    #[error("the outbox has no message {}", .0.get())]
    Unknown(OutboxId),
    /// Somebody works on it.
    #[error("process {process} is publishing message {} at this moment", .id.get())]
    Busy {
        /// The entry.
        id: OutboxId,
        /// The process.
        process: u32,
    },
    /// There is nothing to stop.
    #[error("message {} has {}", .id.get(), if *.is_cancelled { "been cancelled already" } else { "expired" })]
    Over {
        /// The entry.
        id: OutboxId,
        /// Whether it was cancelled before.
        is_cancelled: bool,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CancelError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Unknown(_) | Self::Over { .. } => Fault::Misuse,
            Self::Busy { .. } => Fault::Unavailable,
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "outbox-unknown",
            Self::Busy { .. } => "outbox-busy",
            Self::Over { .. } => "outbox-over",
            Self::Store(error) => error.code(),
        }
    }
}

/// Stops publication and retries of a message for good, then tries to delete what was published, the manifest first.
///
/// # Errors
/// [`CancelError`]. That values could not be deleted is not an error but in the report.
pub async fn cancel(session: &Session<'_>, id: OutboxId) -> Result<Cancelled, CancelError> {
    let now = session.clock.now();
    let leased = match session.store.lease_outbox(id, now)? {
        Leasing::Granted(leased) => leased,
        Leasing::Busy { process } => return Err(CancelError::Busy { id, process }),
        Leasing::Unknown => return Err(CancelError::Unknown(id)),
    };
    let mut work = Work::new(session.store, *leased);
    let entry = work.entry_mut();
    let is_cancelled = entry.delivery.cancelled.is_some();
    if is_cancelled || entry.state == OutboxState::Expired || entry.item.expires < now {
        return Err(CancelError::Over { id, is_cancelled });
    }
    let before = std::mem::replace(
        &mut entry.state,
        OutboxState::Failed {
            reason: CANCELLED.to_owned(),
        },
    );
    entry.due = None;
    entry.delivery.cancelled = Some(now);
    // Durable before the network is asked: whatever happens then, nothing is published again.
    let entry = work.finish()?;
    let deletion = delete(session, &entry).await;
    Ok(Cancelled {
        before,
        entry,
        deletion,
    })
}

/// Also where nothing is known to be stored: an attempt whose end nobody saw may have stored anything.
async fn delete(session: &Session<'_>, entry: &OutboxEntry) -> Deletion {
    let mut operations: Vec<Operation> = records(&entry.item)
        .into_iter()
        .map(|(owner, value)| Operation::DeleteValue { owner, value })
        .collect();
    // Without its manifest the message is gone, whatever becomes of the chunks.
    operations.reverse();
    match session.writer.apply(&operations).await.into_result() {
        Ok(()) => Deletion::Done,
        Err(error) => {
            let kept = entry.delivery.kept_until;
            Deletion::Refused {
                error,
                readable_until: kept.unwrap_or(entry.item.expires).min(entry.item.expires),
            }
        }
    }
}
