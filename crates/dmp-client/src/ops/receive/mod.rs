//! Receiving (client.md 10, crypto.md 15): look everywhere at once, decide about each message for itself, store what is ready in one
//! transaction. Nothing in any message, record or answer can abort a run or lose another message (D16).

mod budget;
mod clear;
mod gather;
mod message;
mod rhythm;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_core::record::Manifest;
use dmp_core::signed::Verified;
use dmp_core::trust::{Pin, Receiver};
use futures_util::future::join;
use thiserror::Error;

use self::budget::Budget;
use self::clear::OwnRecord;
pub use self::clear::clear_away;
use self::gather::Candidate;
use self::message::Outcome;
pub use self::rhythm::{Rhythm, Turn};
use super::lookup::Lookups;
use super::{KeysTrusted, Session, key_change};
use crate::error::{Fault, StoreError};
use crate::limits::{LOCK_POLL, LOCK_WAIT, RECEIVE_DEADLINE};
use crate::mesh::{Counted, Operation};
use crate::store::{Committed, HeldPrekey, InboxMessage, Intro, Received, RunLock, Verification};

/// Which places are looked at (federation.md 3.7). Providers always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phases {
    /// Claims in the own zone, then the slots of every zone.
    #[default]
    All,
    /// Claims only.
    PrimaryOnly,
    /// Slots only.
    SkipPrimary,
    /// Claims only, once anybody is pinned; else all (`recv_secondary_disable`).
    PrimaryOncePinned,
}

/// How to receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiveRequest {
    /// Where to look.
    pub phases: Phases,
    /// When to stop looking; what is decrypted by then is delivered.
    pub deadline: Duration,
    /// What another process with this home is told that this one does, in a few words.
    pub work: &'static str,
}

impl Default for ReceiveRequest {
    fn default() -> Self {
        Self {
            phases: Phases::All,
            deadline: RECEIVE_DEADLINE,
            work: "",
        }
    }
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct ReceiveReport {
    /// Every message that was never shown, in order; mark them as shown once they are on the screen
    /// ([`Store::mark_shown`](crate::store::Store::mark_shown)).
    pub inbox: Vec<InboxMessage>,
    /// Rows that are new in the quarantine.
    pub intros: Vec<Intro>,
    /// Waiting messages of strangers that were given up: for want of room, or after their time.
    pub given_up: usize,
    /// Polled zones that could not be asked, wholly or partly.
    pub unreachable: Vec<UnreachableZone>,
    /// Polled zones that answered, wholly or partly.
    pub answered: Vec<Zone>,
    /// Live messages that are not complete yet; a later run tries again.
    pub waiting: usize,
    /// What was dropped, and why.
    pub dropped: Vec<Dropped>,
    /// Whether the deadline ended the run.
    pub timed_out: bool,
    /// Whether slots were walked although the configuration says claims only, because nobody is pinned.
    pub walked_for_first_contact: bool,
    /// Prekeys that senders can still pick.
    pub live_prekeys: usize,
    /// Queries sent.
    pub queries: usize,
    /// Deletions of records in the own zone that nobody needs any more ([`clear_away`]).
    pub finished: Vec<Operation>,
}

impl ReceiveReport {
    /// Whether no polled zone answered and there is nothing to show.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.answered.is_empty()
            && !self.unreachable.is_empty()
            && self.inbox.is_empty()
            && self.intros.is_empty()
    }
}

/// A zone that could not be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnreachableZone {
    /// The zone.
    pub zone: Zone,
    /// Why.
    pub reason: String,
    /// Whether some of its names answered.
    pub partly: bool,
}

/// Something that was not delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// The stable machine code of the reason.
    pub code: &'static str,
    /// The reason in words.
    pub reason: String,
    /// Where it was found.
    pub zone: Zone,
    /// Who signed it, as far as anybody did.
    pub signer: Option<SigningPublicKey>,
    /// Which message it is.
    pub msg_id: Option<MsgId>,
}

/// Why a run could not begin or end.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// The store, or another run that did not end in time.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReceiveError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
        }
    }
}

/// One run over everything that may hold a message for this user. Show what it found, mark it as shown, then [`clear_away`].
///
/// # Errors
/// [`ReceiveError`]. That zones could not be asked is not an error but in the report.
pub async fn receive(
    session: &Session<'_>,
    request: &ReceiveRequest,
) -> Result<ReceiveReport, ReceiveError> {
    let _lock = lock(session, request.work).await?;
    let now = session.clock.now();
    session.store.purge(now)?;
    let expired = session.store.expire_intros(now)?;
    let contacts = session.store.contacts()?;
    let pins: Vec<Pin> = contacts.iter().map(|contact| contact.pin()).collect();
    let verified = match session.profile.contacts {
        KeysTrusted::Pinned => None,
        KeysTrusted::Verified => Some(
            contacts
                .iter()
                .filter(|contact| contact.verification != Verification::Unverified)
                .filter_map(|contact| contact.signing)
                .collect(),
        ),
    };
    let denylist: HashSet<SigningPublicKey> = session
        .store
        .denylist()?
        .into_iter()
        .map(|blocked| blocked.signer)
        .collect();
    let run = Run {
        session,
        now,
        receiver: Receiver {
            user_id: session.identity.user_id(),
            zone: &session.profile.mesh_zone,
            pins: &pins,
            denylist: &denylist,
            first_use: session.profile.first_use,
            rotation: session.profile.rotation,
        },
        verified,
        lookups: Lookups::new(session.reader),
        budget: Budget::default(),
        searched: Tally::default(),
        fetched: Tally::default(),
        state: Mutex::default(),
    };
    let mut report = ReceiveReport {
        given_up: expired,
        ..ReceiveReport::default()
    };
    let somebody_pinned = pins.iter().any(|pin| pin.signing.is_some());
    let phases = match request.phases {
        Phases::PrimaryOncePinned if somebody_pinned => Phases::PrimaryOnly,
        Phases::PrimaryOncePinned => {
            report.walked_for_first_contact = true;
            Phases::All
        }
        phases => phases,
    };

    let deadline = session.clock.sleep(request.deadline);
    // A zone that does not answer may not eat the time for the messages of the others.
    let searching = session.clock.sleep(request.deadline / 2);
    tokio::select! {
        biased;
        () = run.gather(phases) => {}
        () = searching => report.timed_out = true,
    }
    tokio::select! {
        biased;
        ((), ()) = join(run.decide(), run.reconsider()) => {}
        () = deadline => report.timed_out = true,
    }
    let mut state = run
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let committed = commit(session, &pins, &mut state, now)?;
    for id in committed.quarantined {
        report.intros.extend(session.store.intro(id)?);
    }
    report.given_up += committed.displaced.len();
    for displaced in committed.displaced {
        state.dropped.push(Dropped {
            code: "quarantine-full",
            reason: "gave way to other strangers' messages".to_owned(),
            zone: displaced.zone,
            signer: Some(displaced.signer),
            msg_id: Some(displaced.msg_id),
        });
    }
    report.finished = clear::finished(session, &state, now)?;
    for zone in &state.polled {
        let health = run.lookups.health(zone);
        if health.answered > 0 {
            report.answered.push(zone.clone());
        }
        if health.failed > 0 || health.answered == 0 {
            let reason = if health.failed > 0 {
                health.reason
            } else {
                "no answer before the deadline".to_owned()
            };
            report.unreachable.push(UnreachableZone {
                zone: zone.clone(),
                reason,
                partly: health.answered > 0,
            });
        }
    }
    report.waiting = state
        .messages
        .iter()
        .filter(|message| message.is_waiting())
        .count();
    report.dropped = state.dropped;
    report.queries = run.lookups.queries();
    report.inbox = session.store.unshown_messages()?;
    for succession in report
        .inbox
        .iter()
        .filter_map(|message| message.succession.as_ref())
    {
        key_change::remember(session.store, succession, now)?;
    }
    report.live_prekeys = session.store.live_prekeys(now)?;
    Ok(report)
}

/// What one run works with.
struct Run<'a> {
    session: &'a Session<'a>,
    now: UnixTime,
    receiver: Receiver<'a>,
    /// The keys that are delivered from, where not all pinned ones are.
    verified: Option<HashSet<SigningPublicKey>>,
    lookups: Lookups<'a>,
    budget: Budget,
    /// Zones.
    searched: Tally,
    /// Chunks.
    fetched: Tally,
    state: Mutex<State>,
}

/// How much of what is known by now is done.
#[derive(Default)]
struct Tally {
    done: AtomicUsize,
    of: AtomicUsize,
}

/// What the run knows so far; complete at any moment, so that the deadline may come at any moment.
#[derive(Default)]
struct State {
    polled: Vec<Zone>,
    slots: HashMap<OwnerName, Arc<[Verified<Manifest>]>>,
    messages: Vec<Message>,
    /// Rows of the quarantine that are for the inbox now.
    released: Vec<Received>,
    own_records: Vec<OwnRecord>,
    dropped: Vec<Dropped>,
}

/// One message, found once or more often.
struct Message {
    candidates: Vec<Arc<Candidate>>,
    /// `None` until it is decided.
    outcome: Option<Outcome>,
}

impl Message {
    fn is_waiting(&self) -> bool {
        matches!(self.outcome, None | Some(Outcome::Waiting { .. }))
    }
}

impl Run<'_> {
    /// Counts work that was found, and work that was done, for who watches.
    fn tally(&self, what: Counted, found: usize, done: usize) {
        let tally = match what {
            Counted::Fetched => &self.fetched,
            _ => &self.searched,
        };
        let of = tally.of.fetch_add(found, Ordering::Relaxed) + found;
        let done = tally.done.fetch_add(done, Ordering::Relaxed) + done;
        self.session.watcher.count(what, done, of);
    }

    /// Whether messages of a key may go to the inbox as far as the user has to have compared it.
    fn is_verified(&self, signer: &SigningPublicKey) -> bool {
        let verified = self.verified.as_ref();
        verified.is_none_or(|keys| keys.contains(signer))
    }

    /// Changes the state; never held across an await.
    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn drop_record(
        &self,
        zone: &Zone,
        code: &'static str,
        reason: impl ToString,
        whose: Option<(SigningPublicKey, MsgId)>,
    ) {
        let reason = reason.to_string();
        tracing::info!(code, "a record was not delivered");
        tracing::debug!(code, %zone, %reason, "why it was not");
        let dropped = Dropped {
            code,
            reason,
            zone: zone.clone(),
            signer: whose.map(|(signer, _)| signer),
            msg_id: whose.map(|(_, msg_id)| msg_id),
        };
        self.with_state(|state| state.dropped.push(dropped));
    }
}

/// Waits for another run of the same home to end.
async fn lock(session: &Session<'_>, work: &str) -> Result<RunLock, StoreError> {
    let mut waited = Duration::ZERO;
    loop {
        match session.store.lock_receiving(work) {
            Err(StoreError::Locked { .. }) if waited < LOCK_WAIT => {
                session.clock.sleep(LOCK_POLL).await;
                waited += LOCK_POLL;
            }
            outcome => return outcome,
        }
    }
}

/// Stores what is ready. A prekey stays for every message of a pinned key that names it and could not be decrypted yet (D15).
fn commit(
    session: &Session<'_>,
    pins: &[Pin],
    state: &mut State,
    now: UnixTime,
) -> Result<Committed, StoreError> {
    let mut held = Vec::new();
    let mut ready: Vec<Received> = std::mem::take(&mut state.released);
    for message in &state.messages {
        match &message.outcome {
            Some(Outcome::Ready(received)) => ready.push(received.as_ref().clone()),
            Some(Outcome::Waiting {
                prekey: Some(prekey),
                ..
            }) => held.push(*prekey),
            Some(_) => {}
            None => held.extend(message.candidates.iter().filter_map(|candidate| {
                let manifest = &candidate.manifest;
                let pinned = pins.iter().any(|pin| pin.signing == Some(manifest.sender));
                manifest.prekey.filter(|_| pinned).map(|id| HeldPrekey {
                    id,
                    until: manifest.exp,
                })
            })),
        }
    }
    if ready.is_empty() {
        return Ok(Committed::default());
    }
    session.store.commit_received(ready, &held, now)
}
