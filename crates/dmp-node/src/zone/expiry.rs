//! When to look at which name for expired values: buckets of one second, one entry a name, never a scan of everything.

use std::collections::BTreeMap;

/// Name hashes by the second at which one of their values may have expired.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue {
    buckets: BTreeMap<u64, Vec<u64>>,
    queued: usize,
}

impl ExpiryQueue {
    pub(super) fn push(&mut self, second: u64, hash: u64) {
        self.buckets.entry(second).or_default().push(hash);
        self.queued += 1;
    }

    /// Takes the earliest bucket that is due at `now`.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<(u64, Vec<u64>)> {
        let bucket = self
            .buckets
            .first_entry()
            .filter(|bucket| *bucket.key() <= now)?;
        let (second, hashes) = bucket.remove_entry();
        self.queued -= hashes.len();
        Some((second, hashes))
    }

    /// Entries queued, those that their names no longer refer to included.
    pub(super) fn len(&self) -> usize {
        self.queued
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
