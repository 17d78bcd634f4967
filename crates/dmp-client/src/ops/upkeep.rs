//! What has to be published again unasked, because nodes keep values for a day: prekeys (D15), the identity record, rotations and revocations
//! (client.md 12, federation.md 6.3). Publishes nothing that the user never published.

use rand_core::CryptoRng;

use super::identity::published_value;
use super::prekeys::{RefreshError, RefreshReport, RefreshRequest, prekeys_stock, refresh_prekeys};
use super::publish::record_ttl;
use super::{Session, rotation};
use crate::error::{StoreError, WriteError};
use crate::limits::{NODE_MAX_TTL, UPKEEP_DEADLINE, UPKEEP_INTERVAL, UPKEEP_PAUSE};
use crate::mesh::Operation;

/// The note under which the next two times are remembered: when upkeep is due, and before when nothing is tried.
const NOTE: &str = "upkeep";

/// What was published again.
#[derive(Clone, Debug, Default)]
pub struct Upkeep {
    /// The pool, if there is one.
    pub prekeys: Option<RefreshReport>,
    /// Identity record, rotations and revocations.
    pub records: usize,
    /// Why it is not complete; it is tried again soon.
    pub failure: Option<UpkeepFailure>,
}

/// Why upkeep is not complete.
#[derive(Clone, Debug)]
pub enum UpkeepFailure {
    /// The node did not take something.
    Write(WriteError),
    /// There was no time left.
    Deadline,
    /// No free prekey number was found.
    NoFreeId,
}

impl std::fmt::Display for UpkeepFailure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write(error) => error.fmt(formatter),
            Self::Deadline => formatter.write_str("the node took too long"),
            Self::NoFreeId => formatter.write_str("no free prekey number"),
        }
    }
}

/// Publishes again what is due: twice a day, and the prekeys as soon as less than half of them is left. `None` if nothing is. Bounded in time; after an
/// attempt it rests for some minutes, whichever process made it.
///
/// # Errors
/// Failures of the store. That the node does not answer is no error but in the report.
pub async fn maintain(
    session: &Session<'_>,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<Option<Upkeep>, StoreError> {
    let now = session.clock.now().as_secs();
    let stock = prekeys_stock(session.store, session.identity, session.clock.now())?;
    let Some((due, rest)) = times(session)? else {
        return Ok(None);
    };
    let is_due = now >= due;
    if now < rest || !(is_due || stock.wants_refill()) {
        return Ok(None);
    }
    set_times(session, due, now + UPKEEP_PAUSE)?;
    let mut upkeep = Upkeep::default();
    tokio::select! {
        biased;
        done = publish(session, stock.target, is_due, &mut upkeep, rng) => done?,
        () = session.clock.sleep(UPKEEP_DEADLINE) => {}
    }
    if is_due && upkeep.failure.is_none() {
        set_times(session, now + UPKEEP_INTERVAL, now + UPKEEP_PAUSE)?;
    }
    Ok(Some(upkeep))
}

/// Something was published for the first time: it is due again in half a day.
pub(super) fn begin(session: &Session<'_>) -> Result<(), StoreError> {
    if times(session)?.is_none() {
        let now = session.clock.now().as_secs();
        set_times(session, now + UPKEEP_INTERVAL, now)?;
    }
    Ok(())
}

async fn publish(
    session: &Session<'_>,
    target: usize,
    with_records: bool,
    upkeep: &mut Upkeep,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<(), StoreError> {
    // Until the end is reached, the deadline is what ended it.
    upkeep.failure = Some(UpkeepFailure::Deadline);
    let mut failure = None;
    if target > 0 {
        let request = RefreshRequest {
            count: target,
            lifetime: None,
        };
        match refresh_prekeys(session, &request, rng).await {
            Ok(report) => {
                failure = report.failure.clone().map(UpkeepFailure::Write);
                upkeep.prekeys = Some(report);
            }
            Err(RefreshError::NoFreeId) => failure = Some(UpkeepFailure::NoFreeId),
            Err(RefreshError::Store(error)) => return Err(error),
        }
    }
    if with_records {
        let mut operations = rotation::again(session)?;
        operations.extend(published_value(session)?.map(|value| Operation::Add {
            owner: session.profile.identity_owner(),
            ttl: record_ttl(NODE_MAX_TTL),
            value,
        }));
        if !operations.is_empty() {
            let applied = session.writer.apply(&operations).await;
            upkeep.records = applied.stored();
            failure = failure.or_else(|| applied.failure().cloned().map(UpkeepFailure::Write));
        }
    }
    upkeep.failure = failure;
    Ok(())
}

fn times(session: &Session<'_>) -> Result<Option<(u64, u64)>, StoreError> {
    let note = session.store.note(NOTE)?;
    Ok(note.and_then(|text| {
        let (due, rest) = text.split_once(' ')?;
        Some((due.parse().ok()?, rest.parse().ok()?))
    }))
}

fn set_times(session: &Session<'_>, due: u64, rest: u64) -> Result<(), StoreError> {
    session.store.set_note(NOTE, &format!("{due} {rest}"))
}
