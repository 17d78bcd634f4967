//! How large a value the own node takes: what the caller knows, what the node said when it refused one, else a node's default.

use dmp_core::id::UnixTime;

use super::super::Session;
use crate::error::{StoreError, WriteError};
use crate::limits::{LEARNT_CAP_SECS, NODE_MAX_VALUE_BYTES};

/// The store's note: the cap, a blank, and until when it is believed.
const NOTE: &str = "value cap of the node";

/// The cap to seal for.
pub(super) fn max_value_bytes(
    session: &Session<'_>,
    stated: Option<usize>,
) -> Result<usize, StoreError> {
    if let Some(stated) = stated {
        return Ok(stated);
    }
    let note = session.store.note(NOTE)?;
    let learnt = note.as_deref().and_then(|note| {
        let (cap, until) = note.split_once(' ')?;
        let until = UnixTime::new(until.parse().ok()?);
        cap.parse().ok().filter(|_| session.clock.now() <= until)
    });
    Ok(learnt.unwrap_or(NODE_MAX_VALUE_BYTES))
}

/// Remembers the cap that a refusal names: `value exceeds cap of <n> bytes` (node.md 6.4).
pub(super) fn learn(session: &Session<'_>, error: &WriteError) -> Result<(), StoreError> {
    let WriteError::Refused { reason, .. } = error else {
        return Ok(());
    };
    let named = reason
        .split_once("value exceeds cap of ")
        .and_then(|(_, rest)| rest.split_once(' ')?.0.parse::<usize>().ok());
    let Some(cap) = named else { return Ok(()) };
    let until = session.clock.now().saturating_add(LEARNT_CAP_SECS);
    session
        .store
        .set_note(NOTE, &format!("{cap} {}", until.as_secs()))
}
