//! The writer thread: takes what waits, lets each request draft its changes, commits them together, then answers.
//!
//! While one group is being flushed the next one gathers in the queue; no timer is needed to form groups.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use super::patience::{self, Patience};
use super::schema::Opened;
use super::tombstones::Mark;
use super::{Draft, Failure, Shared};
use crate::limits;
use crate::metrics::{Metrics, Part};
use crate::repeated::log_repeated;

pub(super) const WORKING: u8 = 0;
pub(super) const FULL: u8 = 1;
pub(super) const READ_ONLY: u8 = 2;

pub(super) enum Message {
    Job(Box<dyn Job>),
    Stop,
}

/// What became of the commit that a request was part of.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Committed,
    ReadOnly,
    Full,
    Busy,
    Failed(Arc<str>),
    Stopped,
}

/// One queued request: drafted once, answered once.
pub(super) trait Job: Send {
    /// Whether its changes are to be kept.
    fn draft(&mut self, draft: &mut Draft<'_>) -> bool;
    fn finish(self: Box<Self>, verdict: Verdict);
}

/// A closure of [`super::Store::transact_then`] with its outcome.
pub(super) struct Task<F, D, T, E> {
    work: Option<F>,
    done: D,
    outcome: Option<Result<T, E>>,
}

impl<F, D, T, E> Task<F, D, T, E> {
    pub(super) fn new(work: F, done: D) -> Self {
        Self {
            work: Some(work),
            done,
            outcome: None,
        }
    }
}

impl<F, D, T, E> Job for Task<F, D, T, E>
where
    F: FnOnce(&mut Draft<'_>) -> Result<T, E> + Send,
    D: FnOnce(Result<T, Failure<E>>) + Send,
    T: Send,
    E: Send,
{
    fn draft(&mut self, draft: &mut Draft<'_>) -> bool {
        self.outcome = self.work.take().map(|work| work(draft));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, verdict: Verdict) {
        let result = match (self.outcome, verdict) {
            // What the request itself refused stays refused whatever became of the others.
            (Some(Err(refusal)), _) => Err(Failure::Refused(refusal)),
            (Some(Ok(value)), Verdict::Committed) => Ok(value),
            (None, Verdict::Committed) => Err(Failure::Unavailable(
                "the request broke off with a panic".into(),
            )),
            (_, Verdict::ReadOnly) => Err(Failure::ReadOnly),
            (_, Verdict::Full) => Err(Failure::Full),
            (_, Verdict::Busy) => Err(Failure::Busy),
            (_, Verdict::Failed(reason)) => Err(Failure::Unavailable(reason.to_string())),
            (_, Verdict::Stopped) => Err(Failure::Stopped),
        };
        (self.done)(result);
    }
}

pub(super) struct Writer {
    opened: Opened,
    shared: Arc<Shared>,
    condition: Arc<AtomicU8>,
    /// Rows of expired values that are still in the file.
    expired: Vec<i64>,
    /// Tombstones that have ended and are still there.
    ended: Vec<Mark>,
    cleanup: Duration,
    patience: Patience,
    /// Whether the clock is trusted with removing.
    is_steady: bool,
    metrics: Arc<Metrics>,
}

/// What the writer does on its own account along with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    Nothing,
    /// Note the time.
    NoteTime,
    /// Remove a piece of what has expired.
    Remove,
    /// Bring rows back that a wrong clock has stamped with a time to come.
    Restamp,
    /// Give a piece of the file back.
    Shrink,
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        shared: Arc<Shared>,
        condition: Arc<AtomicU8>,
        expired: Vec<i64>,
        cleanup: Duration,
        patience: Patience,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            opened,
            shared,
            condition,
            expired,
            ended: Vec::new(),
            cleanup,
            patience,
            is_steady: false, // until the first look, before the first group
            metrics,
        }
    }

    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut group = Vec::new();
        let mut next_tick = Instant::now();
        let mut next_cleanup = next_tick + self.cleanup;
        let mut chore = Chore::Nothing;
        loop {
            let now = Instant::now();
            if now >= next_tick {
                self.tick();
                next_tick = now + limits::EXPIRY_TICK;
            }
            if now >= next_cleanup {
                self.find_ended();
                chore = self.chore_after(Chore::Nothing);
                next_cleanup = now + self.cleanup;
            }
            let wait = match chore {
                Chore::Nothing => next_tick.saturating_duration_since(now),
                _ => Duration::ZERO,
            };
            let mut stop = false;
            match messages.recv_timeout(wait) {
                Ok(Message::Job(job)) => group.push(job),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            while !stop && group.len() < limits::GROUP_REQUESTS {
                match messages.try_recv() {
                    Ok(Message::Job(job)) => group.push(job),
                    Ok(Message::Stop) => stop = true,
                    Err(_) => break,
                }
            }
            if chore != Chore::Nothing || !group.is_empty() {
                let is_done = self.commit(&mut group, chore);
                // Piece by piece until nothing is left; a piece that failed waits for the next time.
                let last = chore;
                chore = match last {
                    Chore::Remove | Chore::Shrink if is_done => self.chore_after(last),
                    _ => Chore::Nothing,
                };
                if last == Chore::Shrink && chore != Chore::Shrink {
                    self.write_back();
                }
            }
            if stop {
                // Senders that won the race against the stop are answered too.
                while let Ok(message) = messages.try_recv() {
                    if let Message::Job(job) = message {
                        job.finish(Verdict::Stopped);
                    }
                }
                return;
            }
        }
    }

    /// Takes what has expired out of the index, unless the clock is in doubt.
    fn tick(&mut self) {
        self.look();
        if self.is_steady {
            let reaped = self.shared.zone.reap(self.shared.clock.seconds());
            self.metrics.values_expired(reaped.len());
            self.expired.extend(reaped);
        }
    }

    /// Looks for tombstones that have ended, unless the clock is in doubt.
    fn find_ended(&mut self) {
        if self.is_steady {
            let (tombstones, now) = (self.shared.tombstones(), self.shared.clock.seconds());
            self.ended = tombstones.ended(now, limits::TOMBSTONES);
        }
    }

    /// Looks at the clock: before anything that depends on it is removed or written down.
    fn look(&mut self) {
        let verdict = self.patience.look(&self.shared.clock);
        self.is_steady = matches!(
            verdict,
            patience::Verdict::Steady | patience::Verdict::Settled
        );
        if verdict == patience::Verdict::Jumped {
            self.metrics.clock_jumped();
        }
    }

    /// What is to be done with the file when `last` is done.
    fn chore_after(&self, last: Chore) -> Chore {
        if !self.is_steady {
            return Chore::Nothing;
        }
        if !self.expired.is_empty() || !self.ended.is_empty() {
            return Chore::Remove;
        }
        let now = self.shared.clock.millis();
        if self.shared.stamps().last() > now.saturating_add(2 * limits::STAMP_LEAD) {
            return Chore::Restamp;
        }
        let connection = &self.opened.connection;
        let pages =
            |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let [empty, all] = ["freelist_count", "page_count"].map(|pragma| {
            // A database that cannot tell cannot be shrunk either.
            pages(pragma).map_or(0, i64::unsigned_abs)
        });
        let spare = match last {
            // Once begun, it goes on until little is left to give back.
            Chore::Shrink => limits::SPARE_PAGES,
            _ => limits::SPARE_PAGES + all / 4,
        };
        if empty > spare {
            return Chore::Shrink;
        }
        let since = self
            .shared
            .clock
            .seconds()
            .saturating_sub(self.opened.state.clock.at);
        if since >= limits::CLOCK_NOTE {
            Chore::NoteTime
        } else {
            Chore::Nothing
        }
    }

    /// Writes the log back, which is when the file gets shorter.
    fn write_back(&self) {
        let connection = &self.opened.connection;
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            // The log has everything; it is written back another time.
            log_repeated!(warn, %error, "the log was not written back");
        }
    }

    /// Whether the time of this group may be taken for the time. It may not while the clock is in doubt, nor go back while
    /// rows that are dead by the time noted last are still in the file.
    fn may_note_time(&self) -> bool {
        let goes_on = self.shared.clock.seconds() >= self.opened.state.clock.at;
        self.is_steady && (goes_on || self.expired.is_empty())
    }

    /// Answers the group; whether it is durable.
    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>, chore: Chore) -> bool {
        let verdict = if self.condition.load(Ordering::Acquire) == READ_ONLY {
            Verdict::ReadOnly
        } else {
            self.write(group, chore)
        };
        let is_durable = matches!(verdict, Verdict::Committed);
        for job in group.drain(..) {
            let verdict = verdict.clone();
            if catch_unwind(AssertUnwindSafe(|| job.finish(verdict))).is_err() {
                self.metrics.panics.count(Part::Store);
            }
        }
        is_durable
    }

    fn write(&mut self, group: &mut [Box<dyn Job>], chore: Chore) -> Verdict {
        self.look();
        let chore = match chore {
            // It was chosen before this look at the clock.
            Chore::Restamp if !self.is_steady => Chore::Nothing,
            chore => chore,
        };
        let mut draft = Draft::new(
            &self.opened.connection,
            &self.shared,
            self.shared.clock.millis(),
            self.opened.state,
        );
        if self.may_note_time() {
            draft.note_time();
        }
        let gone = match chore {
            Chore::Remove => Gone {
                rows: &self.expired[..self.expired.len().min(limits::EXPIRY_ROWS)],
                tombstones: &self.ended[..self.ended.len().min(limits::EXPIRY_ROWS)],
            },
            _ => Gone::default(),
        };
        let (cleaned, pruned) = (gone.rows.len(), gone.tombstones.len());
        let written = draft_all(&mut draft, group, chore, &gone, &self.metrics);
        let verdict = match written {
            Ok(()) => {
                if draft.has_written() {
                    self.condition.store(WORKING, Ordering::Release);
                }
                let (hooks, state) = draft.publish_group();
                self.opened.state = state;
                for hook in hooks {
                    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
                        self.metrics.panics.count(Part::Store);
                    }
                }
                self.ended.drain(..pruned);
                if cleaned > 0 {
                    self.expired.drain(..cleaned);
                    self.metrics.rows_removed(cleaned);
                    tracing::info!(rows = cleaned, "expired rows removed");
                }
                Verdict::Committed
            }
            Err(error) => self.fail(&error),
        };
        self.shared.stamps().end(self.opened.state.stamp);
        verdict
    }

    /// Gives up the transaction. What the disk did with a failed flush is unknown, so it is never tried again (D14);
    /// a full disk has written nothing and recovers by itself.
    fn fail(&mut self, error: &rusqlite::Error) -> Verdict {
        let rolled_back = self.opened.connection.is_autocommit()
            || self.opened.connection.execute_batch("ROLLBACK").is_ok();
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        if full && rolled_back {
            log_repeated!(
                error,
                "the disk is full: writes are refused until there is room"
            );
            self.condition.store(FULL, Ordering::Release);
            return Verdict::Full;
        }
        tracing::error!(%error, "a commit failed: the node is read-only from here on");
        self.condition.store(READ_ONLY, Ordering::Release);
        Verdict::Failed(error.to_string().into())
    }
}

/// A piece of what has no life left.
#[derive(Default)]
struct Gone<'a> {
    rows: &'a [i64],
    tombstones: &'a [Mark],
}

fn draft_all(
    draft: &mut Draft<'_>,
    group: &mut [Box<dyn Job>],
    chore: Chore,
    gone: &Gone<'_>,
    metrics: &Metrics,
) -> rusqlite::Result<()> {
    let requests = group.len();
    for job in group {
        draft.begin_request();
        match catch_unwind(AssertUnwindSafe(|| job.draft(draft))) {
            Ok(true) => draft.keep_request()?,
            Ok(false) => draft.undo_request()?,
            Err(_) => {
                metrics.panics.count(Part::Store);
                draft.undo_request()?;
            }
        }
    }
    match chore {
        Chore::Nothing => {}
        Chore::NoteTime => draft.write_state()?,
        Chore::Remove => {
            draft.delete_rows(gone.rows.iter().copied());
            draft.prune(gone.tombstones);
        }
        Chore::Restamp => draft.restamp()?,
        Chore::Shrink => draft.shrink(limits::SHRINK_PAGES)?,
    }
    let begun = Instant::now();
    draft.commit()?;
    metrics.commit(requests, begun.elapsed());
    Ok(())
}
