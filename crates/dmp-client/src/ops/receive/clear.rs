//! What is cleared away once messages are with the user: published values of consumed prekeys, claims and manifests in the own zone
//! (client.md 9.3, 12). Best effort: nothing here fails a run, and all of it is tried again by the next one.

use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use futures_util::future::join;

use super::super::Session;
use super::super::publish::delete_values;
use super::{ReceiveReport, Run, State};
use crate::error::StoreError;
use crate::limits::{CLEAR_DEADLINE, CLEARED_ONE_BY_ONE, CLEARED_PER_RUN, SENDER_READ_BACK};
use crate::mesh::{Capacity, Operation};

/// A record addressed to the user that lies in the own zone, where the user may delete it.
pub(super) struct OwnRecord {
    pub(super) signer: SigningPublicKey,
    pub(super) msg_id: MsgId,
    pub(super) owner: OwnerName,
    pub(super) value: String,
    /// Not before this: a sender of the same zone reads the manifest back (D21).
    pub(super) from: UnixTime,
}

/// Clears away what the messages of a run leave behind. Call it once the user has the output; it takes as long as the node.
///
/// # Errors
/// Failures of the store; what the node refuses is left for the next run or for its end of life.
pub async fn clear_away(session: &Session<'_>, report: &ReceiveReport) -> Result<(), StoreError> {
    let cleared = join(withdraw(session), async {
        if !report.finished.is_empty() {
            session.writer.apply(&report.finished).await;
        }
    });
    tokio::select! {
        biased;
        (withdrawn, ()) = cleared => withdrawn,
        () = session.clock.sleep(CLEAR_DEADLINE) => Ok(()),
    }
}

impl Run<'_> {
    /// Remembers a record of the own zone; others' zones are not the user's to tidy.
    pub(super) fn remember(&self, zone: &Zone, record: OwnRecord) {
        if *zone == self.session.profile.mesh_zone {
            self.with_state(|state| state.own_records.push(record));
        }
    }
}

/// The deletions of records whose messages are done with: delivered, and not waiting in the quarantine.
pub(super) fn finished(
    session: &Session<'_>,
    state: &State,
    now: UnixTime,
) -> Result<Vec<Operation>, StoreError> {
    let most = match session.writer.capacity() {
        Capacity::Many => CLEARED_PER_RUN,
        Capacity::One => CLEARED_ONE_BY_ONE,
    };
    let mut operations = Vec::new();
    for record in state.own_records.iter().filter(|record| record.from <= now) {
        let (signer, msg_id) = (&record.signer, &record.msg_id);
        if operations.len() == most {
            break;
        }
        if session.store.is_replay(signer, msg_id)?
            && !session.store.is_quarantined(signer, msg_id)?
        {
            operations.push(Operation::DeleteValue {
                owner: record.owner.clone(),
                value: record.value.clone(),
            });
        }
    }
    Ok(operations)
}

/// From when a manifest may be deleted.
pub(super) fn after_read_back(written: UnixTime) -> UnixTime {
    written.saturating_add(SENDER_READ_BACK)
}

/// Removes the published values of consumed prekeys, so that nobody picks them any more.
async fn withdraw(session: &Session<'_>) -> Result<(), StoreError> {
    let pending = session.store.withdrawals()?;
    let values: Vec<String> = pending
        .iter()
        .map(|withdrawal| withdrawal.value.clone())
        .collect();
    let gone = delete_values(session, &session.profile.prekey_owner(), &values).await;
    let done: Vec<_> = pending
        .into_iter()
        .zip(gone)
        .filter(|(_, gone)| *gone)
        .map(|(withdrawal, _)| withdrawal)
        .collect();
    if done.is_empty() {
        return Ok(());
    }
    session.store.forget_withdrawals(&done)
}
