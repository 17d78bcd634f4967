//! The writer thread: takes what waits, lets each request draft its changes, commits them together, then answers.
//!
//! While one group is being flushed the next one gathers in the queue; no timer is needed to form groups.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use super::schema::Opened;
use super::{Draft, Failure};
use crate::clock::Clock;
use crate::limits;
use crate::metrics::{Metrics, Part};
use crate::repeated::log_repeated;
use crate::zone::ZoneIndex;

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
    zone: Arc<ZoneIndex>,
    clock: Clock,
    condition: Arc<AtomicU8>,
    /// Rows of expired values that are still in the file.
    expired: Vec<i64>,
    cleanup: Duration,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        zone: Arc<ZoneIndex>,
        clock: Clock,
        condition: Arc<AtomicU8>,
        expired: Vec<i64>,
        cleanup: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            opened,
            zone,
            clock,
            condition,
            expired,
            cleanup,
            metrics,
        }
    }

    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let mut group = Vec::new();
        let mut next_tick = Instant::now() + limits::EXPIRY_TICK;
        let mut next_cleanup = Instant::now() + self.cleanup;
        let mut cleaning = false;
        loop {
            let wait = match cleaning {
                true => Duration::ZERO,
                false => next_tick.saturating_duration_since(Instant::now()),
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
            let now = Instant::now();
            if now >= next_tick {
                let reaped = self.zone.reap(self.clock.seconds());
                self.metrics.values_expired(reaped.len());
                self.expired.extend(reaped);
                next_tick = now + limits::EXPIRY_TICK;
            }
            if now >= next_cleanup {
                cleaning = !self.expired.is_empty();
                next_cleanup = now + self.cleanup;
            }
            if cleaning || !group.is_empty() {
                let before = self.expired.len();
                self.commit(&mut group, cleaning);
                // Piece by piece until none is left; a piece that failed waits for the next time.
                cleaning &= self.expired.len() < before && !self.expired.is_empty();
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

    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>, clean: bool) {
        let verdict = if self.condition.load(Ordering::Acquire) == READ_ONLY {
            Verdict::ReadOnly
        } else {
            self.write(group, clean)
        };
        for job in group.drain(..) {
            let verdict = verdict.clone();
            if catch_unwind(AssertUnwindSafe(|| job.finish(verdict))).is_err() {
                self.metrics.panics.count(Part::Store);
            }
        }
    }

    fn write(&mut self, group: &mut [Box<dyn Job>], clean: bool) -> Verdict {
        let mut draft = Draft::new(
            &self.opened.connection,
            &self.zone,
            self.clock.millis(),
            self.opened.serial,
            self.opened.next_row,
        );
        match draft_all(
            &mut draft,
            group,
            if clean { &self.expired } else { &[] },
            &self.metrics,
        ) {
            Ok(cleaned) => {
                let (hooks, serial, next_row) = draft.publish_group();
                (self.opened.serial, self.opened.next_row) = (serial, next_row);
                self.condition.store(WORKING, Ordering::Release);
                for hook in hooks {
                    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
                        self.metrics.panics.count(Part::Store);
                    }
                }
                if cleaned > 0 {
                    self.expired.drain(..cleaned);
                    self.metrics.rows_removed(cleaned);
                    tracing::info!(rows = cleaned, "expired rows removed");
                }
                Verdict::Committed
            }
            Err(error) => self.fail(&error),
        }
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

fn draft_all(
    draft: &mut Draft<'_>,
    group: &mut [Box<dyn Job>],
    expired: &[i64],
    metrics: &Metrics,
) -> rusqlite::Result<usize> {
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
    let cleaned = expired.len().min(limits::EXPIRY_ROWS);
    draft.delete_rows(expired[..cleaned].iter().copied());
    let begun = Instant::now();
    draft.commit()?;
    metrics.commit(requests, begun.elapsed());
    Ok(cleaned)
}
