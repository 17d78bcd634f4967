//! The replay window (node.md 3.7, D13): a signed request that comes again gets the answer it got, and changes nothing.
//!
//! A request is known by its MAC, which covers all of it but the message id.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::ReplyTo;
use crate::limits::{REPLAY_ENTRIES, TSIG_FUDGE};

/// Requests that changed something, or are about to, within twice the time window.
#[derive(Debug, Default)]
pub(crate) struct ReplayCache(Mutex<State>);

#[derive(Default)]
struct State {
    entries: HashMap<Box<[u8]>, Entry>,
    /// MACs with the second at which they may be forgotten, oldest first.
    order: VecDeque<(u64, Box<[u8]>)>,
}

enum Entry {
    /// In work; whoever sends it again waits for the same answer.
    Pending(Vec<(u16, ReplyTo)>),
    /// Durable; the signed answer.
    Answered(Box<[u8]>),
}

/// What to do with a request.
pub(crate) enum Seen {
    /// New: apply it and report with [`ReplayCache::finish`].
    First(ReplyTo),
    /// Dealt with here.
    Again,
}

impl ReplayCache {
    /// Takes note of the request with `mac`. When it was seen before, `reply` gets the cached answer now or as soon as it
    /// is there.
    pub(crate) fn begin(&self, mac: &[u8], id: u16, now: u64, reply: ReplyTo) -> Seen {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(now);
        match state.entries.get_mut(mac) {
            Some(Entry::Pending(waiting)) => {
                waiting.push((id, reply));
                Seen::Again
            }
            Some(Entry::Answered(answer)) => {
                let answer = with_id(answer, id);
                drop(state);
                reply(answer);
                Seen::Again
            }
            None => {
                state.entries.insert(mac.into(), Entry::Pending(Vec::new()));
                // Twice the window: the request may be dated up to one window ahead of now.
                state
                    .order
                    .push_back((now.saturating_add(2 * TSIG_FUDGE), mac.into()));
                Seen::First(reply)
            }
        }
    }

    /// Reports what became of the request: the answer to keep, or nothing to keep since it changed nothing; either way
    /// whoever waits gets `answer`.
    pub(crate) fn finish(&self, mac: &[u8], answer: &[u8], keep: Keep) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match keep {
            // What was forgotten in the meantime stays forgotten.
            Keep::Yes => {
                let entry = state.entries.get_mut(mac);
                entry.map(|entry| std::mem::replace(entry, Entry::Answered(answer.into())))
            }
            Keep::No => state.entries.remove(mac),
        };
        drop(state);
        if let Some(Entry::Pending(waiting)) = entry {
            for (id, reply) in waiting {
                reply(with_id(answer, id));
            }
        }
    }
}

/// Whether an answer is worth repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The request was applied.
    Yes,
    /// It was not; sent again it is judged again.
    No,
}

impl State {
    fn forget(&mut self, now: u64) {
        while self
            .order
            .front()
            .is_some_and(|(until, _)| *until < now || self.order.len() > REPLAY_ENTRIES)
        {
            if let Some((_, mac)) = self.order.pop_front() {
                self.entries.remove(&mac);
            }
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("entries", &self.entries.len())
            .finish()
    }
}

/// The same answer to the same request under another message id; the signature covers the original one (RFC 8945 5.3).
fn with_id(answer: &[u8], id: u16) -> Vec<u8> {
    let mut answer = answer.to_vec();
    if let Some(place) = answer.first_chunk_mut::<2>() {
        *place = id.to_be_bytes();
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn reply() -> (ReplyTo, Receiver<Vec<u8>>) {
        let (sender, answers) = channel();
        (Box::new(move |answer| drop(sender.send(answer))), answers)
    }

    #[test]
    fn a_repeat_of_a_request_in_work_waits_for_the_one_answer() {
        let cache = ReplayCache::default();
        let (first, _) = reply();
        assert!(matches!(cache.begin(b"mac", 1, 100, first), Seen::First(_)));
        let (again, answers) = reply();
        assert!(matches!(cache.begin(b"mac", 2, 100, again), Seen::Again));
        assert!(answers.try_recv().is_err(), "nothing is durable yet");
        cache.finish(b"mac", &[0, 1, 9], Keep::Yes);
        assert_eq!(answers.try_recv().unwrap(), [0, 2, 9]);
        let (later, answers) = reply();
        assert!(matches!(cache.begin(b"mac", 3, 100, later), Seen::Again));
        assert_eq!(answers.try_recv().unwrap(), [0, 3, 9]);
    }

    #[test]
    fn what_changed_nothing_is_forgotten_at_once_and_the_rest_after_twice_the_window() {
        let cache = ReplayCache::default();
        let begin = |mac: &[u8], now| cache.begin(mac, 1, now, reply().0);
        assert!(matches!(begin(b"refused", 100), Seen::First(_)));
        cache.finish(b"refused", &[0, 1], Keep::No);
        assert!(matches!(begin(b"refused", 100), Seen::First(_)));
        assert!(matches!(begin(b"applied", 100), Seen::First(_)));
        cache.finish(b"applied", &[0, 1], Keep::Yes);
        assert!(matches!(
            begin(b"applied", 100 + 2 * TSIG_FUDGE),
            Seen::Again
        ));
        assert!(matches!(
            begin(b"applied", 101 + 2 * TSIG_FUDGE),
            Seen::First(_)
        ));
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_oldest() {
        let cache = ReplayCache::default();
        for number in 0..=REPLAY_ENTRIES + 10 {
            assert!(matches!(
                cache.begin(&number.to_be_bytes(), 1, 100, reply().0),
                Seen::First(_)
            ));
        }
        let state = cache.0.lock().unwrap();
        assert!(
            state.entries.len() <= REPLAY_ENTRIES + 1 && state.order.len() == state.entries.len()
        );
    }
}
