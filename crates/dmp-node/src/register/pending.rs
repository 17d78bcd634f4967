//! Challenges that wait for their confirmation: in memory, each good once, a bounded number (node.md 6.5).

use crate::limits::CHALLENGES;
use dmp_core::keys::AgreementSecret;
use dmp_core::registration::Challenge;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the node remembers of a challenge.
pub(super) struct Pending {
    pub(super) expires_at: u64,
    /// The private half of the key that came with the challenge.
    pub(super) secret: AgreementSecret,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// All challenges that were issued and not yet used.
#[derive(Debug, Default)]
pub(super) struct Challenges(Mutex<Issued>);

#[derive(Debug, Default)]
struct Issued {
    pending: HashMap<[u8; 32], Pending>,
    /// In the order of issue, which is the order of expiry; used ones stay in until they are old.
    order: VecDeque<([u8; 32], u64)>,
}

impl Challenges {
    /// Remembers a challenge; at the bound the one that expires first is forgotten.
    pub(super) fn insert(&self, challenge: Challenge, pending: Pending, now: u64) {
        let mut issued = self.purged(now);
        while issued.order.len() >= CHALLENGES {
            issued.forget_oldest();
        }
        let challenge = *challenge.as_bytes();
        issued.order.push_back((challenge, pending.expires_at));
        issued.pending.insert(challenge, pending);
    }

    /// Uses a challenge up; `None` if it is not there or has expired.
    pub(super) fn take(&self, challenge: &Challenge, now: u64) -> Option<Pending> {
        let pending = self.purged(now).pending.remove(challenge.as_bytes())?;
        (pending.expires_at > now).then_some(pending)
    }

    fn purged(&self, now: u64) -> MutexGuard<'_, Issued> {
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while issued
            .order
            .front()
            .is_some_and(|(_, expires_at)| *expires_at <= now)
        {
            issued.forget_oldest();
        }
        issued
    }
}

impl Issued {
    fn forget_oldest(&mut self) {
        if let Some((challenge, _)) = self.order.pop_front() {
            self.pending.remove(&challenge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(number: usize) -> Challenge {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Challenge::from_bytes(bytes)
    }

    fn pending(expires_at: u64) -> Pending {
        let secret = AgreementSecret::from_bytes([1; 32]);
        Pending { expires_at, secret }
    }

    #[test]
    fn a_challenge_is_good_once_and_until_it_expires() {
        let challenges = Challenges::default();
        challenges.insert(challenge(1), pending(160), 100);
        challenges.insert(challenge(2), pending(160), 100);
        assert!(challenges.take(&challenge(1), 159).is_some());
        assert!(challenges.take(&challenge(1), 159).is_none());
        assert!(challenges.take(&challenge(2), 160).is_none());
        assert!(challenges.take(&challenge(3), 100).is_none());
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_forgotten() {
        let challenges = Challenges::default();
        for number in 0..=CHALLENGES {
            challenges.insert(challenge(number), pending(160), 100);
        }
        assert!(challenges.take(&challenge(0), 100).is_none());
        assert!(challenges.take(&challenge(1), 100).is_some());
        assert!(challenges.take(&challenge(CHALLENGES), 100).is_some());
        assert!(challenges.0.lock().unwrap().order.len() <= CHALLENGES);
    }
}
