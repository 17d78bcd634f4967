//! The k-of-n code across the chunks of one message (crypto.md 8).

use crate::limits::MANIFEST_CHUNKS_MAX;

/// How a message is cut: any `k` of its `n` chunks give it back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodePlan {
    k: u32,
    n: u32,
}

impl CodePlan {
    /// `None` unless `1 <= k <= n <= 1024`, what a manifest may say (records.md 7).
    #[must_use]
    pub const fn new(k: u32, n: u32) -> Option<Self> {
        if 1 <= k && k <= n && n <= MANIFEST_CHUNKS_MAX {
            Some(Self { k, n })
        } else {
            None
        }
    }

    /// Chunks needed.
    #[must_use]
    pub const fn k(self) -> u32 {
        self.k
    }

    /// Chunks published.
    #[must_use]
    pub const fn n(self) -> u32 {
        self.n
    }
}
