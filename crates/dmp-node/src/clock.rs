//! The time the node goes by: the system's clock, or one that a test moves by hand.
//!
//! It does not sleep and knows no time zone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of Unix time. Clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The operating system's wall clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `millis` milliseconds since the epoch until it is moved.
    pub fn manual(millis: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(millis))))
    }

    /// Milliseconds since the Unix epoch; 0 when the system's clock stands before it.
    pub fn millis(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
                }),
            Source::Manual(millis) => millis.load(Ordering::Acquire),
        }
    }

    /// Seconds since the Unix epoch, rounded down.
    pub fn seconds(&self) -> u64 {
        self.millis() / 1000
    }

    /// Moves a manual clock forward by `seconds`; the system's clock is not ours to move and stays.
    pub fn advance(&self, seconds: u64) {
        if let Source::Manual(millis) = &self.0 {
            millis.fetch_add(seconds.saturating_mul(1000), Ordering::AcqRel);
        }
    }
}
