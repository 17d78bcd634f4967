//! What a peer listed and could not be taken, so that it is neither asked for in every round nor in the way of what follows (W3).
//!
//! It is forgotten at a restart; then it is asked for once more.

use std::collections::HashMap;

use crate::limits::{DOUBT_FIRST, DOUBT_LONGEST, DOUBTS};
use crate::zone::Owner;

/// A value at a name, by its SHA-256.
pub type Pair = (Owner, [u8; 32]);

/// The doubtful values of one peer, a bounded number.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubts(HashMap<Pair, Doubt>);

#[derive(Clone, Copy, Debug)]
struct Doubt {
    times: u32,
    /// Milliseconds until which it is not asked for again.
    until: u64,
}

impl Doubts {
    /// Whether the value is left alone for now.
    pub(super) fn is_settled(&self, pair: &Pair, now: u64) -> bool {
        self.0.get(pair).is_some_and(|doubt| now < doubt.until)
    }

    /// Notes that it was refused: it is left alone for a minute, and for twice as long each time.
    pub(super) fn refuse(&mut self, pair: Pair, now: u64) {
        let doubt = self.entry(pair, now);
        doubt.times += 1;
        doubt.until = now.saturating_add(pause(doubt.times));
    }

    /// Notes that it was listed but not handed over as listed. That happens when it goes in between, so the first time it is
    /// asked for again in the next round.
    pub(super) fn miss(&mut self, pair: Pair, now: u64) {
        let doubt = self.entry(pair, now);
        doubt.times += 1;
        if doubt.times > 1 {
            doubt.until = now.saturating_add(pause(doubt.times - 1));
        }
    }

    /// Forgets what has been taken after all.
    pub(super) fn clear(&mut self, pair: &Pair) {
        self.0.remove(pair);
    }

    fn entry(&mut self, pair: Pair, now: u64) -> &mut Doubt {
        if self.0.len() >= DOUBTS && !self.0.contains_key(&pair) {
            // The half that is due first goes; what of it is listed again is asked for again.
            let mut due: Vec<u64> = self.0.values().map(|doubt| doubt.until).collect();
            let middle = due.len() / 2;
            let bound = *due.select_nth_unstable(middle).1;
            self.0.retain(|_, doubt| doubt.until > bound);
        }
        self.0.entry(pair).or_insert(Doubt {
            times: 0,
            until: now,
        })
    }
}

/// Milliseconds to leave something alone after so many times.
fn pause(times: u32) -> u64 {
    let doubled = DOUBT_FIRST.checked_shl(times.saturating_sub(1));
    doubled.unwrap_or(DOUBT_LONGEST).min(DOUBT_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(number: usize) -> Pair {
        (Owner::parse(&format!("n{number}.test")).unwrap(), [0; 32])
    }

    #[test]
    fn a_refusal_is_left_alone_for_longer_each_time() {
        let mut doubts = Doubts::default();
        let mut now = 0;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(!doubts.is_settled(&pair(1), now));
            doubts.refuse(pair(1), now);
            assert!(doubts.is_settled(&pair(1), now + minutes * 60_000 - 1));
            now += minutes * 60_000;
        }
        doubts.clear(&pair(1));
        doubts.miss(pair(1), now);
        assert!(!doubts.is_settled(&pair(1), now), "asked for once more");
        doubts.miss(pair(1), now);
        assert!(doubts.is_settled(&pair(1), now));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut doubts = Doubts::default();
        for number in 0..3 * DOUBTS {
            doubts.refuse(pair(number), number as u64);
            assert!(doubts.0.len() <= DOUBTS);
        }
        assert!(doubts.0.len() > DOUBTS / 3);
        assert!(doubts.is_settled(&pair(3 * DOUBTS - 1), 3 * DOUBTS as u64));
    }
}
