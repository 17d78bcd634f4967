//! What the node counts about itself, for `GET /metrics` (node.md 6.7).
//!
//! Counting takes no lock on the way of a DNS query and never allocates there: each UDP thread adds to cells of its own,
//! which are summed when somebody asks. No label holds an address, a user or an owner name. It decides nothing.

mod dns;
mod exposition;
mod families;
mod histogram;
mod labels;
mod panics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) use dns::{DnsTally, Kind, Outcome, Request, ThreadTally};
pub(crate) use exposition::Format;
pub(crate) use families::{Observed, expose};
pub(crate) use labels::{
    Beat, Claim, ConnectionEvent, Dropped, Labelled, Limited, Part, Registration, Renewal, Role,
    StoreWrite, SyncRefused, SyncRound, SyncValue, Update,
};
pub use panics::log_panics;

use crate::store::Failure;
use dmp_dns::answer::Transport;
use dmp_dns::tsig::TsigError;
use dns::Dns;
use histogram::Histogram;
use labels::Tsig;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Upper bounds of durations, in nanoseconds: from a look-up in memory to a disk that hangs.
const DURATIONS: [u64; 16] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
];
/// Upper bounds of how many requests share a commit; the last one is the most that can.
const GROUPS: [u64; 6] = [1, 4, 16, 64, 256, 1_024];

/// All counters of one node.
#[derive(Debug)]
pub struct Metrics {
    start: Instant,
    dns: Dns,
    dropped: [Labelled<Dropped>; 2],
    pub(crate) limited: Labelled<Limited>,
    tsig_errors: Labelled<Tsig>,
    pub(crate) updates: Labelled<Update>,
    pub(crate) claims: Labelled<Claim>,
    evicted_claims: AtomicU64,
    pub(crate) dns_connections: Connections,
    pub(crate) http_connections: Connections,
    http_requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    http_durations: Histogram<{ DURATIONS.len() }>,
    pub(crate) registrations: Labelled<Registration>,
    pub(crate) renewals: Labelled<Renewal>,
    pub(crate) beats: Labelled<Beat>,
    peers_known: AtomicU64,
    pub(crate) sync_rounds: Labelled<SyncRound>,
    pub(crate) sync_values: Labelled<SyncValue>,
    pub(crate) sync_refused: Labelled<SyncRefused>,
    pub(crate) store_writes: Labelled<StoreWrite>,
    commit_durations: Histogram<{ DURATIONS.len() }>,
    commit_requests: Histogram<{ GROUPS.len() }>,
    expired_values: AtomicU64,
    clock_jumps: AtomicU64,
    removed_rows: AtomicU64,
    pub(crate) panics: Labelled<Part>,
}

/// Connections of one listener.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: AtomicU64,
    pub(crate) events: Labelled<ConnectionEvent>,
}

/// One open connection, counted while it lives.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a AtomicU64);

impl Metrics {
    /// All zeros; the uptime begins now.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            dns: Dns::default(),
            dropped: Default::default(),
            limited: Labelled::default(),
            tsig_errors: Labelled::default(),
            updates: Labelled::default(),
            claims: Labelled::default(),
            evicted_claims: AtomicU64::new(0),
            dns_connections: Connections::default(),
            http_connections: Connections::default(),
            http_requests: Mutex::default(),
            http_durations: Histogram::new(DURATIONS),
            registrations: Labelled::default(),
            renewals: Labelled::default(),
            beats: Labelled::default(),
            peers_known: AtomicU64::new(0),
            sync_rounds: Labelled::default(),
            sync_values: Labelled::default(),
            sync_refused: Labelled::default(),
            store_writes: Labelled::default(),
            commit_durations: Histogram::new(DURATIONS),
            commit_requests: Histogram::new(GROUPS),
            expired_values: AtomicU64::new(0),
            clock_jumps: AtomicU64::new(0),
            removed_rows: AtomicU64::new(0),
            panics: Labelled::default(),
        })
    }

    /// Cells for one more thread that answers queries.
    pub(crate) fn dns_thread(&self) -> ThreadTally {
        self.dns.thread()
    }

    /// The cells that everybody else counts DNS in.
    pub(crate) fn dns(&self) -> &impl DnsTally {
        self.dns.shared()
    }

    /// Requests without an answer.
    pub(crate) fn dropped(&self, transport: Transport) -> &Labelled<Dropped> {
        &self.dropped[usize::from(matches!(transport, Transport::Tcp))]
    }

    pub(crate) fn tsig_failed(&self, error: TsigError) {
        self.tsig_errors.count(match error {
            TsigError::BADKEY => Tsig::BadKey,
            TsigError::BADSIG => Tsig::BadSig,
            TsigError::BADTIME => Tsig::BadTime,
            TsigError::BADTRUNC => Tsig::BadTrunc,
            _ => Tsig::Formerr,
        });
    }

    pub(crate) fn http_request(&self, method: &'static str, status: u16, took: Duration) {
        self.http_durations.observe(nanoseconds(took));
        let mut requests = self
            .http_requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method, status)).or_default() += 1;
    }

    pub(crate) fn commit(&self, requests: usize, took: Duration) {
        self.commit_durations.observe(nanoseconds(took));
        self.commit_requests.observe(requests as u64);
    }

    pub(crate) fn store_write<T, E>(&self, result: &Result<T, Failure<E>>) {
        self.store_writes.count(match result {
            Ok(_) => StoreWrite::Committed,
            Err(Failure::Refused(_) | Failure::Draining) => StoreWrite::Refused,
            Err(Failure::ReadOnly) => StoreWrite::ReadOnly,
            Err(Failure::Full) => StoreWrite::Full,
            Err(Failure::Busy) => StoreWrite::Busy,
            Err(Failure::Unavailable(_)) => StoreWrite::Failed,
            Err(Failure::Stopped) => StoreWrite::Stopped,
        });
    }

    pub(crate) fn peers_known(&self, count: usize) {
        self.peers_known.store(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn values_expired(&self, count: usize) {
        self.expired_values
            .fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn claims_evicted(&self, count: usize) {
        self.evicted_claims
            .fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn clock_jumped(&self) {
        self.clock_jumps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rows_removed(&self, count: usize) {
        self.removed_rows.fetch_add(count as u64, Ordering::Relaxed);
    }
}

impl Connections {
    /// Counts a connection as accepted, and as open until what this gives is dropped.
    pub(crate) fn open(&self) -> Open<'_> {
        self.events.count(ConnectionEvent::Accepted);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(&self.open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
