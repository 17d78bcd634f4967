//! The replay window (node.md 3.7, D13): a signed request that comes again gets the answer it got, and changes nothing.
//!
//! A request is known by its MAC, which covers all of it but the message id. What was applied is remembered until its
//! signature is too old to be accepted. When more is applied than there is memory for, what was signed longest ago is
//! forgotten first, and from then on nothing that was signed up to then is accepted any more (BADTIME): requests signed
//! now go on, and none is applied twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use dmp_dns::tsig::Authenticated;
use foldhash::fast::RandomState;

use super::ReplyTo;
use crate::access::TsigKey;
use crate::limits::{REPLAY_ENTRIES, TSIG_FUDGE};

/// Octets of a MAC that tell requests apart: 128 bits.
const MAC_OCTETS: usize = 16;

/// Requests that changed something, or are about to, within the time window.
#[derive(Debug, Default)]
pub(crate) struct ReplayCache(Mutex<State>);

/// By what a request is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    mac: [u8; MAC_OCTETS],
    /// Unix second, by the signer's clock.
    signed_at: u64,
}

#[derive(Default)]
struct State {
    /// In work; whoever sends it again waits for the same answer.
    in_work: HashMap<Signature, Vec<(u16, ReplyTo)>, RandomState>,
    /// Durable, by the second of signing, with the second of the answer (modulo 2^32).
    applied: BTreeMap<u64, HashMap<[u8; MAC_OCTETS], u32, RandomState>>,
    /// How many those are.
    count: usize,
    /// Nothing signed up to this second is new.
    forgotten: u64,
}

/// What to do with a request.
pub(crate) enum Seen {
    /// New: apply it and report with [`ReplayCache::finish`].
    First(ReplyTo),
    /// Dealt with here: it is answered along with the one that came first.
    InWork,
    /// It was applied and answered at this second; answer the same again.
    Applied(ReplyTo, u64),
    /// Whether it was applied is not known any more.
    Forgotten(ReplyTo),
}

impl Signature {
    pub(crate) fn of(signed: &Authenticated<TsigKey>) -> Self {
        Self::new(signed.mac(), signed.signed_at())
    }

    fn new(full: &[u8], signed_at: u64) -> Self {
        let mut mac = [0; MAC_OCTETS];
        for (octet, full) in mac.iter_mut().zip(full) {
            *octet = *full;
        }
        Self { mac, signed_at }
    }
}

impl ReplayCache {
    /// Takes note of the request. When it is in work already, `reply` gets that one's answer as soon as it is there.
    pub(crate) fn begin(&self, signature: Signature, id: u16, now: u64, reply: ReplyTo) -> Seen {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire(now);
        if let Some(waiting) = state.in_work.get_mut(&signature) {
            waiting.push((id, reply));
            return Seen::InWork;
        }
        let applied = state.applied.get(&signature.signed_at);
        if let Some(second) = applied.and_then(|applied| applied.get(&signature.mac)) {
            let ago = (now as u32).wrapping_sub(*second) as i32;
            return Seen::Applied(reply, now.saturating_add_signed(-i64::from(ago)));
        }
        if signature.signed_at <= state.forgotten {
            return Seen::Forgotten(reply);
        }
        state.in_work.insert(signature, Vec::new());
        Seen::First(reply)
    }

    /// Reports what became of the request; whoever waits for it gets `answer`.
    pub(crate) fn finish(&self, signature: Signature, answer: &[u8], keep: Keep) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = state.in_work.remove(&signature).unwrap_or_default();
        if let Keep::Since(second) = keep {
            state.keep(signature, second, REPLAY_ENTRIES);
        }
        drop(state);
        for (id, reply) in waiting {
            reply(with_id(answer, id));
        }
    }
}

/// Whether a request is to be known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It was applied, and answered at this Unix second.
    Since(u64),
    /// It was not; sent again it is judged again.
    No,
}

impl State {
    /// Forgets what is too old to be accepted by its time alone.
    fn expire(&mut self, now: u64) {
        while let Some(oldest) = self.applied.first_entry()
            && oldest.key().saturating_add(TSIG_FUDGE) < now
        {
            self.count -= oldest.remove().len();
        }
    }

    fn keep(&mut self, signature: Signature, answered_at: u64, most: usize) {
        let applied = self.applied.entry(signature.signed_at).or_default();
        let known = applied.insert(signature.mac, answered_at as u32);
        self.count += usize::from(known.is_none());
        while self.count > most
            && let Some((second, forgotten)) = self.applied.pop_first()
        {
            self.count -= forgotten.len();
            self.forgotten = self.forgotten.max(second);
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("in_work", &self.in_work.len())
            .field("applied", &self.count)
            .field("forgotten", &self.forgotten)
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

    fn signed(mac: &[u8], signed_at: u64) -> Signature {
        Signature::new(mac, signed_at)
    }

    fn begin(cache: &ReplayCache, signature: Signature, now: u64) -> Seen {
        cache.begin(signature, 1, now, reply().0)
    }

    #[test]
    fn a_repeat_of_a_request_in_work_waits_for_the_one_answer() {
        let cache = ReplayCache::default();
        let request = signed(b"mac", 100);
        assert!(matches!(begin(&cache, request, 100), Seen::First(_)));
        let (again, answers) = reply();
        assert!(matches!(cache.begin(request, 2, 100, again), Seen::InWork));
        assert!(answers.try_recv().is_err(), "nothing is durable yet");
        cache.finish(request, &[0, 1, 9], Keep::Since(100));
        assert_eq!(answers.try_recv().unwrap(), [0, 2, 9]);
        assert!(matches!(begin(&cache, request, 100), Seen::Applied(_, 100)));
    }

    #[test]
    fn what_changed_nothing_is_forgotten_at_once_and_the_rest_when_its_time_is_over() {
        let cache = ReplayCache::default();
        let (refused, applied) = (signed(b"refused", 100), signed(b"applied", 100));
        for _ in 0..2 {
            assert!(matches!(begin(&cache, refused, 100), Seen::First(_)));
            cache.finish(refused, &[0, 1], Keep::No);
        }
        assert!(matches!(begin(&cache, applied, 100), Seen::First(_)));
        cache.finish(applied, &[0, 1], Keep::Since(100));
        let last = 100 + TSIG_FUDGE;
        assert!(matches!(
            begin(&cache, applied, last),
            Seen::Applied(_, 100)
        ));
        // From here on its time alone refuses it, before anybody asks here.
        assert!(matches!(begin(&cache, applied, last + 1), Seen::First(_)));
        assert_eq!(cache.0.lock().unwrap().count, 0);
    }

    #[test]
    fn beyond_its_memory_it_refuses_the_oldest_signatures_and_applies_nothing_twice() {
        let mut state = State::default();
        for number in 0..10_u32 {
            let second = 100 + u64::from(number / 2);
            state.keep(signed(&number.to_be_bytes(), second), 100, 6);
        }
        assert!(state.count <= 6, "{state:?}");
        let cache = ReplayCache(Mutex::new(state));
        for number in 0..10_u32 {
            let again = signed(&number.to_be_bytes(), 100 + u64::from(number / 2));
            assert!(
                matches!(
                    begin(&cache, again, 105),
                    Seen::Applied(_, 100) | Seen::Forgotten(_)
                ),
                "request {number} would be applied twice"
            );
        }
        assert!(matches!(
            begin(&cache, signed(b"late", 100), 105),
            Seen::Forgotten(_)
        ));
        assert!(matches!(
            begin(&cache, signed(b"new", 105), 105),
            Seen::First(_)
        ));
        assert!(matches!(
            begin(&cache, signed(b"ahead", 400), 105),
            Seen::First(_)
        ));
    }
}
