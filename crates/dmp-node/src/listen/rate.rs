//! Token buckets for response-rate limiting: a table of fixed size that all UDP threads share without a lock (D12).
//!
//! It knows no address and no DNS: keys are 64-bit hashes that no stranger can choose, times are microseconds of a clock
//! that does not run backwards.
//!
//! A bucket is one word: which key it belongs to, whether the last limited request was dropped, and the time at which it
//! is full again. That time says how many tokens are missing, so nothing has to be refilled. A key that is new takes the
//! fullest bucket of its set, so keys at their limit are the last to be forgotten, whatever else comes by.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{RATE_BUCKETS, RATE_SKEW};

/// Bits of the time of a bucket: a million seconds, after which it begins anew.
const TIME_BITS: u32 = 40;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// Set when the last limited request of a bucket was dropped.
const DROPPED: u64 = 1 << TIME_BITS;
/// Where the part of the key begins that a bucket keeps.
const TAG_SHIFT: u32 = TIME_BITS + 1;
/// Longest time in microseconds that a bucket may take to fill: half of what its time can tell.
const WINDOW: f64 = (1_u64 << (TIME_BITS - 1)) as f64;
/// Buckets a key can be in: one cache line.
const WAYS: usize = 8;
const _: () = assert!(
    (RATE_BUCKETS / WAYS).is_power_of_two(),
    "a mask finds the set of a key"
);

/// Buckets of one rate and burst for any number of keys.
pub(super) struct RateTable {
    sets: Arc<[Set]>,
    /// Microseconds that a token takes to come back.
    interval: u64,
    /// Microseconds that an empty bucket takes to fill.
    window: u64,
}

#[repr(align(64))]
#[derive(Debug, Default)]
struct Set([AtomicU64; WAYS]);

/// Whether a request is within its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A token was there.
    Granted,
    /// None was, and the last such request was told how to come through.
    Dropped,
    /// None was, and the last such request was dropped: this one's turn to be told.
    Slipped,
}

impl RateTable {
    /// Buckets of `burst` tokens that come back at `rate` a second; `None` when either switches the limit off.
    pub(super) fn new(rate: f64, burst: f64) -> Option<Self> {
        let sets = || (0..RATE_BUCKETS / WAYS).map(|_| Set::default()).collect();
        Self::of(sets, rate, burst)
    }

    /// The same buckets at another rate and burst: a bucket goes on missing the time that it missed.
    pub(super) fn at(&self, rate: f64, burst: f64) -> Option<Self> {
        Self::of(|| Arc::clone(&self.sets), rate, burst)
    }

    fn of(sets: impl FnOnce() -> Arc<[Set]>, rate: f64, burst: f64) -> Option<Self> {
        if rate <= 0.0 || burst <= 0.0 {
            return None;
        }
        let interval = (1e6 / rate).min(WINDOW / burst).max(1.0);
        Some(Self {
            sets: sets(),
            interval: interval as u64,
            window: (interval * burst).min(WINDOW) as u64,
        })
    }

    /// Takes a token of `key` at `micros`.
    #[inline]
    pub(super) fn take(&self, key: u64, micros: u64) -> Taken {
        let (now, tag) = (micros & TIME, key >> TAG_SHIFT);
        let Set(buckets) = &self.sets[key as usize & (self.sets.len() - 1)];
        loop {
            let (bucket, word) = find(buckets, tag, |word| self.missing(word, now));
            let is_own = word >> TAG_SHIFT == tag;
            let missing = if is_own { self.missing(word, now) } else { 0 };
            if missing + self.interval > self.window {
                let before = bucket.fetch_xor(DROPPED, Ordering::Relaxed);
                return if before & DROPPED == 0 {
                    Taken::Dropped
                } else {
                    Taken::Slipped
                };
            }
            let kept = if is_own { word & DROPPED } else { 0 };
            let full_at = (now + missing + self.interval) & TIME;
            let next = tag << TAG_SHIFT | kept | full_at;
            if bucket
                .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return Taken::Granted;
            }
        }
    }

    /// Microseconds until the bucket is full. Far beyond what an empty one takes means that it was full long ago; a
    /// little beyond, that another thread's clock is ahead.
    fn missing(&self, word: u64, now: u64) -> u64 {
        let ahead = (word & TIME).wrapping_sub(now) & TIME;
        if ahead > self.window + RATE_SKEW {
            0
        } else {
            ahead
        }
    }
}

impl fmt::Debug for RateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateTable")
            .field("interval", &self.interval)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// The bucket of this tag with what it holds, or the fullest.
#[inline]
fn find(buckets: &[AtomicU64; WAYS], tag: u64, missing: impl Fn(u64) -> u64) -> (&AtomicU64, u64) {
    let held = || {
        buckets
            .iter()
            .map(|bucket| (bucket, bucket.load(Ordering::Relaxed)))
    };
    let own = held().find(|(_, word)| word >> TAG_SHIFT == tag);
    own.or_else(|| held().min_by_key(|(_, word)| missing(*word)))
        .unwrap_or((&buckets[0], 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;
    use std::sync::atomic::AtomicUsize;

    const SECOND: u64 = 1_000_000;

    fn key(number: u64) -> u64 {
        foldhash::quality::FixedState::default().hash_one(number)
    }

    #[test]
    fn a_bucket_starts_full_and_tokens_come_back_with_time() {
        let table = RateTable::new(0.5, 2.0).unwrap();
        let take = |number, at| table.take(key(number), at) == Taken::Granted;
        assert!(take(1, 0) && take(1, 0));
        assert!(!take(1, 0));
        assert!(take(2, 0), "other keys are not affected");
        assert!(!take(1, 2 * SECOND - 1));
        assert!(take(1, 2 * SECOND), "a refused request costs nothing");
        assert!(!take(1, 3 * SECOND));
        assert!(take(1, 100 * SECOND) && take(1, 100 * SECOND));
        assert!(!take(1, 100 * SECOND), "never more than the burst");
    }

    #[test]
    fn every_second_limited_request_is_told_how_to_come_through() {
        let table = RateTable::new(0.001, 1.0).unwrap();
        let taken: Vec<_> = (0..5).map(|at| table.take(key(1), at)).collect();
        assert_eq!(taken[0], Taken::Granted);
        assert_eq!(
            taken[1..],
            [
                Taken::Dropped,
                Taken::Slipped,
                Taken::Dropped,
                Taken::Slipped
            ]
        );
    }

    #[test]
    fn at_another_rate_the_buckets_are_the_same() {
        let table = RateTable::new(1.0, 2.0).unwrap();
        assert_eq!(table.take(key(1), 0), Taken::Granted);
        assert_eq!(table.take(key(1), 0), Taken::Granted);
        let table = table.at(4.0, 9.0).unwrap();
        let granted = (0..9).filter(|_| table.take(key(1), 0) == Taken::Granted);
        assert_eq!(
            granted.count(),
            1,
            "two seconds are missing, of nine quarters"
        );
        assert!(table.at(0.0, 9.0).is_none());
    }

    #[test]
    fn no_rate_or_no_burst_means_no_limit() {
        for (rate, burst) in [(0.0, 5.0), (5.0, 0.0), (-1.0, 1.0)] {
            assert!(RateTable::new(rate, burst).is_none());
        }
    }

    #[test]
    fn extreme_settings_keep_their_sense() {
        let fast = RateTable::new(1e12, 1e12).unwrap();
        assert!((0..10_000).all(|_| fast.take(key(1), 5) == Taken::Granted));
        let slow = RateTable::new(1e-12, 2.0).unwrap();
        let granted = |at| slow.take(key(1), at) == Taken::Granted;
        assert!(granted(0) && granted(0) && !granted(0));
        assert!(!granted(24 * 3600 * SECOND), "still after a day");
        let less_than_one = RateTable::new(1.0, 0.5).unwrap();
        assert_eq!(less_than_one.take(key(1), 5), Taken::Dropped);
    }

    #[test]
    fn time_goes_round_and_threads_may_disagree_a_little() {
        let table = RateTable::new(50.0, 4.0).unwrap();
        for start in [0, TIME - 10_000, 7 * (TIME + 1) - 1, 1 << 50] {
            let at = |micros| table.take(key(start), start + micros) == Taken::Granted;
            assert!((0..4).all(|_| at(1000)), "{start}");
            assert!(!at(1000) && !at(0), "an earlier clock fills nothing");
            assert!(!at(20_000) && at(21_000) && !at(21_000), "{start}");
            assert!((0..4).all(|_| at(200 * 1000)), "full again: {start}");
            assert!((0..4).all(|_| at(3 * 24 * 3600 * SECOND)), "{start}");
        }
    }

    #[test]
    fn keys_at_their_limit_are_kept_whatever_number_of_others_comes_by() {
        let table = RateTable::new(50.0, 200.0).unwrap();
        let limited = key(u64::MAX);
        while table.take(limited, 0) == Taken::Granted {}
        // More keys than buckets within a millisecond: as many as a flood from forged sources could bring in a second.
        for number in 0..2 * RATE_BUCKETS as u64 {
            table.take(key(number), 1000);
        }
        assert_ne!(table.take(limited, 1000), Taken::Granted);
    }

    #[test]
    fn the_table_has_a_fixed_size() {
        let table = RateTable::new(50.0, 200.0).unwrap();
        assert_eq!(size_of_val(&*table.sets), 8 << 20);
    }

    #[test]
    fn threads_together_are_granted_what_one_would_be() {
        let table = RateTable::new(1.0, 1000.0).unwrap();
        let granted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if table.take(key(1), 0) == Taken::Granted {
                            granted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(granted.into_inner(), 1000);
    }
}
