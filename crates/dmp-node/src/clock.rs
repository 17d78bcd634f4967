//! The time the node goes by: the system's clock, or one that a test moves by hand.
//!
//! It does not sleep and knows no time zone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of Unix time. Clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        begun: Instant,
    },
    Manual {
        millis: Arc<AtomicU64>,
        passed: Arc<AtomicU64>,
    },
}

impl Clock {
    /// The operating system's wall clock.
    pub fn system() -> Self {
        Self(Source::System {
            begun: Instant::now(),
        })
    }

    /// A clock that stands at `millis` milliseconds since the epoch until it is moved.
    pub fn manual(millis: u64) -> Self {
        Self(Source::Manual {
            millis: Arc::new(AtomicU64::new(millis)),
            passed: Arc::default(),
        })
    }

    /// Milliseconds since the Unix epoch; 0 when the system's clock stands before it.
    pub fn millis(&self) -> u64 {
        match &self.0 {
            Source::System { .. } => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
                }),
            Source::Manual { millis, .. } => millis.load(Ordering::Acquire),
        }
    }

    /// Time that has passed since this clock was made, whatever its hands were set to meanwhile.
    pub fn passed(&self) -> Duration {
        match &self.0 {
            Source::System { begun } => begun.elapsed(),
            Source::Manual { passed, .. } => Duration::from_millis(passed.load(Ordering::Acquire)),
        }
    }

    /// Seconds since the Unix epoch, rounded down.
    pub fn seconds(&self) -> u64 {
        self.millis() / 1000
    }

    /// Lets `seconds` pass on a manual clock; the system's clock is not ours to move and stays.
    pub fn advance(&self, seconds: u64) {
        if let Source::Manual { millis, passed } = &self.0 {
            millis.fetch_add(seconds.saturating_mul(1000), Ordering::AcqRel);
            passed.fetch_add(seconds.saturating_mul(1000), Ordering::AcqRel);
        }
    }

    /// Sets the hands of a manual clock to second `seconds` without letting time pass; the system's clock stays.
    pub fn set(&self, seconds: u64) {
        if let Source::Manual { millis, .. } = &self.0 {
            millis.store(seconds.saturating_mul(1000), Ordering::Release);
        }
    }
}
