//! Token buckets by key (node.md 2.8): capacity `burst`, starting full, `rate` tokens a second, one a request.
//!
//! Memory is bounded: at the bound the key used longest ago is forgotten, which fills its bucket again.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::BUCKET_KEYS;

/// A set of token buckets with one rate and burst.
#[derive(Debug)]
pub struct TokenBuckets<K> {
    start: Instant,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    rate: f64,
    burst: f64,
    buckets: HashMap<K, Bucket>,
    /// Keys in the order of their last use.
    order: BTreeMap<u64, K>,
    uses: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled_at: f64,
    used: u64,
}

impl<K: Clone + Eq + Hash> TokenBuckets<K> {
    /// Buckets of `burst` tokens filled at `rate` a second; either at or below 0 switches the limit off.
    pub fn new(rate: f64, burst: f64) -> Self {
        let state = State {
            rate,
            burst,
            buckets: HashMap::new(),
            order: BTreeMap::new(),
            uses: 0,
        };
        Self {
            start: Instant::now(),
            state: Mutex::new(state),
        }
    }

    /// Other numbers from now on; what each key has used up stays used.
    pub fn configure(&self, rate: f64, burst: f64) {
        let mut state = self.lock();
        (state.rate, state.burst) = (rate, burst);
    }

    /// Takes one token of `key`; `false` when there is none.
    pub fn take(&self, key: &K) -> bool {
        self.take_at(key, self.start.elapsed().as_secs_f64())
    }

    /// [`TokenBuckets::take`] at `seconds` of any clock that does not run backwards.
    pub fn take_at(&self, key: &K, seconds: f64) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        if state.rate <= 0.0 || state.burst <= 0.0 {
            return true;
        }
        state.uses += 1;
        let used = state.uses;
        let bucket = match state.buckets.get_mut(key) {
            Some(bucket) => {
                state.order.remove(&bucket.used);
                bucket
            }
            None => {
                if state.buckets.len() >= BUCKET_KEYS
                    && let Some((_, oldest)) = state.order.pop_first()
                {
                    state.buckets.remove(&oldest);
                }
                state.buckets.entry(key.clone()).or_insert(Bucket {
                    tokens: state.burst,
                    filled_at: seconds,
                    used,
                })
            }
        };
        state.order.insert(used, key.clone());
        bucket.used = used;
        let passed = (seconds - bucket.filled_at).max(0.0);
        bucket.tokens = (bucket.tokens + passed * state.rate).min(state.burst);
        bucket.filled_at = seconds;
        // A refused request costs nothing.
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    /// Seconds after which an empty bucket holds a token again, at most a day.
    pub fn retry_after(&self) -> u64 {
        (1.0 / self.lock().rate).ceil().clamp(1.0, 86_400.0) as u64
    }

    /// Forgets `key`, for instance when its credential is revoked.
    pub fn forget(&self, key: &K) {
        let mut state = self.lock();
        if let Some(bucket) = state.buckets.remove(key) {
            state.order.remove(&bucket.used);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_starts_full_and_fills_with_time() {
        let buckets = TokenBuckets::new(0.5, 2.0);
        assert!(buckets.take_at(&1, 0.0) && buckets.take_at(&1, 0.0));
        assert!(!buckets.take_at(&1, 0.0));
        assert!(buckets.take_at(&2, 0.0), "other keys are not affected");
        assert!(!buckets.take_at(&1, 1.9));
        assert!(buckets.take_at(&1, 2.0), "fractions are kept");
    }

    #[test]
    fn the_wait_for_a_token_is_told_in_whole_seconds() {
        let wait = |rate| TokenBuckets::<()>::new(rate, 1.0).retry_after();
        assert_eq!((wait(10.0), wait(0.4), wait(5.0 / 3600.0)), (1, 3, 720));
        assert_eq!(wait(1e-9), 86_400);
    }

    #[test]
    fn no_rate_or_no_burst_means_no_limit() {
        for (rate, burst) in [(0.0, 5.0), (5.0, 0.0), (-1.0, 1.0)] {
            let buckets = TokenBuckets::new(rate, burst);
            assert!((0..100).all(|_| buckets.take_at(&(), 0.0)));
        }
    }

    #[test]
    fn other_numbers_hold_at_once_and_give_back_nothing() {
        let buckets = TokenBuckets::new(0.001, 1.0);
        assert!(buckets.take_at(&1, 0.0) && !buckets.take_at(&1, 0.0));
        buckets.configure(1.0, 2.0);
        assert!(!buckets.take_at(&1, 0.5));
        assert!(buckets.take_at(&1, 2.0));
        assert!(buckets.take_at(&2, 2.0) && buckets.take_at(&2, 2.0));
        buckets.configure(0.0, 2.0);
        assert!((0..9).all(|_| buckets.take_at(&1, 2.0)));
    }

    #[test]
    fn beyond_the_bound_the_least_recently_used_key_is_forgotten() {
        let buckets = TokenBuckets::new(0.001, 1.0);
        for key in 0..BUCKET_KEYS {
            assert!(buckets.take_at(&key, 0.0));
        }
        assert!(
            !buckets.take_at(&0, 0.0),
            "still known, and now the youngest"
        );
        assert!(buckets.take_at(&BUCKET_KEYS, 0.0), "pushes out key 1");
        assert!(!buckets.take_at(&0, 0.0));
        assert!(buckets.take_at(&1, 0.0), "its bucket is full again");
        assert_eq!(buckets.state.lock().unwrap().buckets.len(), BUCKET_KEYS);
    }
}
