//! The outbox at work (D20, D21): what was interrupted, refused for the moment, dies in the node before the message does, or was not
//! seen or announced yet is taken up again, always with the bytes that were recorded.
//!
//! It has no thread and no timer of its own: whoever has a session calls [`advance`] now and then.

mod announce;
mod cancel;
mod deliver;
mod publish;
mod schedule;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dmp_core::id::UnixTime;
use futures_util::future::join_all;

pub use self::cancel::{CancelError, Cancelled, Deletion, cancel};
pub(super) use self::deliver::{Work, deliver};
pub use self::publish::SendStep;
pub(super) use self::publish::{PublishFailure, records};
use super::lookup::Lookups;
use super::{Session, providers};
use crate::error::StoreError;
use crate::limits::{OUTBOX_DEADLINE, OUTBOX_PASS_MAX, SEND_WAIT_PAUSE, SEND_WAIT_PAUSE_MAX};
use crate::store::{Leasing, OutboxEntry, OutboxId, OutboxState};

/// Which entries are taken up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Selection {
    /// Those whose time has come.
    #[default]
    Due,
    /// One, whether its time has come or not, also if it had failed.
    Entry(OutboxId),
    /// All that are not done, whether their time has come or not, also those that had failed.
    All,
}

/// How much one pass does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdvanceRequest {
    /// Which entries.
    pub selection: Selection,
    /// How many at most.
    pub limit: usize,
    /// When to stop; what was reached is kept.
    pub deadline: Duration,
}

impl Default for AdvanceRequest {
    fn default() -> Self {
        Self {
            selection: Selection::Due,
            limit: OUTBOX_PASS_MAX,
            deadline: OUTBOX_DEADLINE,
        }
    }
}

/// What one pass did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AdvanceReport {
    /// The entries that were worked on, as they are now, with the state they had before.
    pub entries: Vec<Advanced>,
    /// Entries that another process works on.
    pub busy: Vec<(OutboxId, u32)>,
    /// Entries beyond the limit of the pass.
    pub left: usize,
    /// Whether the deadline ended it.
    pub timed_out: bool,
}

/// One entry that was worked on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advanced {
    /// The state before.
    pub before: OutboxState,
    /// The entry now.
    pub entry: OutboxEntry,
}

/// How far a message has to be for a caller who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Milestone {
    /// Read back through a resolver.
    #[default]
    Published,
    /// And a server took a claim.
    Announced,
}

impl Milestone {
    /// Whether a message in this state has come so far.
    #[must_use]
    pub const fn is_reached(self, state: &OutboxState) -> bool {
        match self {
            Self::Published => matches!(state, OutboxState::Published | OutboxState::Announced),
            Self::Announced => matches!(state, OutboxState::Announced),
        }
    }
}

/// One pass over the outbox: each entry is tried once, side by side, and recorded. An entry that fails waits longer, that is all.
///
/// Cheap while nothing is due: nothing is asked of the network then.
///
/// # Errors
/// Failures of the store.
pub async fn advance(
    session: &Session<'_>,
    request: &AdvanceRequest,
) -> Result<AdvanceReport, StoreError> {
    let now = session.clock.now();
    session.store.prune_outbox(now)?;
    let ids = match request.selection {
        Selection::Due => session.store.due_outbox(now)?,
        Selection::All => session.store.undone_outbox(now)?,
        Selection::Entry(id) => vec![id],
    };
    let mut report = AdvanceReport::default();
    let mut works = Vec::new();
    for id in ids {
        if works.len() == request.limit {
            report.left += 1;
            continue;
        }
        match session.store.lease_outbox(id, now)? {
            Leasing::Granted(leased) => {
                let mut work = Work::new(session.store, *leased);
                let before = work.entry().state.clone();
                if take_up(&mut work, request.selection, now) {
                    works.push((work, before));
                }
            }
            Leasing::Busy { process } => report.busy.push((id, process)),
            Leasing::Unknown => {}
        }
    }
    if works.is_empty() {
        return Ok(report);
    }
    let done = Mutex::new(Vec::new());
    let pass = async {
        let lookups = Lookups::new(session.reader);
        let providers = providers::known(session, &lookups, None, now).await;
        join_all(works.into_iter().map(async |(mut work, before)| {
            deliver(session, &mut work, &providers).await;
            let advanced = work.finish().map(|entry| Advanced { before, entry });
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(advanced);
        }))
        .await;
    };
    tokio::select! {
        biased;
        () = pass => {}
        () = session.clock.sleep(request.deadline) => report.timed_out = true,
    }
    report.entries = done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_iter()
        .collect::<Result<_, _>>()?;
    report.entries.sort_by_key(|advanced| advanced.entry.id);
    Ok(report)
}

/// Tries one entry again and again until it has come so far, nothing more will happen to it, or the time is over. Returns it as it is
/// then; `None` if there is no such entry.
///
/// # Errors
/// Failures of the store.
pub async fn wait_for(
    session: &Session<'_>,
    id: OutboxId,
    milestone: Milestone,
    timeout: Duration,
) -> Result<Option<OutboxEntry>, StoreError> {
    let looking = async {
        let mut pause = SEND_WAIT_PAUSE;
        loop {
            match session.store.outbox_entry(id)? {
                Some(entry) if !milestone.is_reached(&entry.state) && entry.due.is_some() => {}
                _ => return Ok::<(), StoreError>(()),
            }
            session.clock.sleep(pause).await;
            pause = (pause * 2).min(SEND_WAIT_PAUSE_MAX);
            let request = AdvanceRequest {
                selection: Selection::Entry(id),
                ..AdvanceRequest::default()
            };
            advance(session, &request).await?;
        }
    };
    tokio::select! {
        biased;
        outcome = looking => outcome?,
        () = session.clock.sleep(timeout) => {}
    }
    session.store.outbox_entry(id)
}

/// Whether a leased entry is worked on. What the user asks for by name starts afresh, also after a failure.
fn take_up(work: &mut Work<'_>, selection: Selection, now: UnixTime) -> bool {
    let entry = work.entry_mut();
    let is_failed = matches!(entry.state, OutboxState::Failed { .. });
    let is_wanted = entry.delivery.cancelled.is_none()
        && entry.item.expires >= now
        && match selection {
            // Another process may have been here since the list was made.
            Selection::Due => entry.due.is_some_and(|due| due <= now),
            Selection::Entry(_) | Selection::All => entry.due.is_some() || is_failed,
        };
    if is_wanted && is_failed {
        entry.delivery.setbacks = 0;
        entry.delivery.refused_in.clear();
        if entry.delivery.kept_until.is_none_or(|until| until <= now) {
            entry.delivery.kept_until = None;
        }
        entry.state = OutboxState::Queued;
        entry.due = Some(now);
    }
    is_wanted
}
