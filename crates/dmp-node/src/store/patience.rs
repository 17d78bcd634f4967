//! Whether the clock may be trusted with deleting: a clock that jumps must not empty the zone (reliability of expiry).
//!
//! It decides about removal only. What is served follows the clock at once, so a jump that is corrected leaves no trace.

use std::time::Duration;

use super::schema::ClockMark;
use crate::clock::Clock;
use crate::limits;

/// Compares the clock with the time that really passed.
#[derive(Debug)]
pub(super) struct Patience {
    /// Second the clock showed, and time that had passed, when they were last compared.
    seen: (u64, Duration),
    /// Until when nothing is removed.
    until: Option<Duration>,
}

/// What the clock has done since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It runs as it should.
    Steady,
    /// It jumped just now.
    Jumped,
    /// It jumped less than [`limits::CLOCK_HOLD`] ago.
    Waiting,
    /// It has been steady for long enough since it jumped: what it shows is the time.
    Settled,
}

impl Patience {
    /// Compares the clock with the time that the file knows, if it knows one.
    pub(super) fn new(clock: &Clock, mark: ClockMark) -> Self {
        let (now, passed) = (clock.seconds(), clock.passed());
        let is_off = mark.at > 0
            && (now.saturating_add(limits::CLOCK_STEP) < mark.at
                || now > mark.at.saturating_add(limits::CLOCK_GAP));
        if is_off {
            tracing::warn!(
                clock = now,
                last_write = mark.at,
                "the clock is far from the time of the last write: nothing that expires is removed for an hour"
            );
        }
        Self {
            seen: (now, passed),
            until: is_off.then(|| passed + limits::CLOCK_HOLD),
        }
    }

    /// Whether the clock is not in doubt.
    pub(super) fn is_trusting(&self) -> bool {
        self.until.is_none()
    }

    /// Looks at the clock.
    pub(super) fn look(&mut self, clock: &Clock) -> Verdict {
        let (now, passed) = (clock.seconds(), clock.passed());
        let (then, passed_then) = std::mem::replace(&mut self.seen, (now, passed));
        let expected = then.saturating_add(passed.saturating_sub(passed_then).as_secs());
        if now.abs_diff(expected) > limits::CLOCK_STEP {
            tracing::warn!(
                clock = now,
                expected,
                "the clock jumped: nothing that expires is removed for an hour"
            );
            self.until = Some(passed + limits::CLOCK_HOLD);
            return Verdict::Jumped;
        }
        match self.until {
            Some(until) if passed < until => Verdict::Waiting,
            Some(_) => {
                tracing::info!(
                    "the clock has been steady for an hour: what has expired is removed"
                );
                self.until = None;
                Verdict::Settled
            }
            None => Verdict::Steady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const YEARS: u64 = 10 * 365 * 86_400;

    fn begun_at(at: u64) -> (Clock, Patience) {
        let clock = Clock::manual(NOW * 1000);
        let patience = Patience::new(&clock, ClockMark { at, row: 1 });
        (clock, patience)
    }

    #[test]
    fn a_clock_that_runs_is_trusted_and_small_corrections_are_no_jump() {
        let (clock, mut patience) = begun_at(NOW - 60);
        for step in [1, 60, 86_400, YEARS] {
            clock.advance(step);
            assert_eq!(
                patience.look(&clock),
                Verdict::Steady,
                "{step} seconds passed"
            );
        }
        clock.set(clock.seconds() + limits::CLOCK_STEP);
        assert_eq!(patience.look(&clock), Verdict::Steady);
        clock.set(clock.seconds() - limits::CLOCK_STEP);
        assert_eq!(patience.look(&clock), Verdict::Steady);
    }

    #[test]
    fn a_jump_either_way_is_waited_out_and_its_correction_too() {
        for far in [3_600, YEARS] {
            for to in [NOW + far, NOW - far] {
                let (clock, mut patience) = begun_at(NOW);
                clock.set(to);
                assert_eq!(patience.look(&clock), Verdict::Jumped);
                clock.advance(limits::CLOCK_HOLD.as_secs() - 1);
                assert_eq!(patience.look(&clock), Verdict::Waiting);
                clock.set(NOW + limits::CLOCK_HOLD.as_secs() - 1);
                assert_eq!(patience.look(&clock), Verdict::Jumped, "back again");
                clock.advance(limits::CLOCK_HOLD.as_secs());
                assert_eq!(patience.look(&clock), Verdict::Settled);
                assert_eq!(patience.look(&clock), Verdict::Steady);
            }
        }
    }

    #[test]
    fn at_the_start_the_time_of_the_last_write_is_what_the_clock_is_held_against() {
        let look = |at| {
            let (clock, mut patience) = begun_at(at);
            patience.look(&clock)
        };
        assert_eq!(look(0), Verdict::Steady, "a new file knows no time");
        assert_eq!(look(NOW), Verdict::Steady);
        assert_eq!(look(NOW - limits::CLOCK_GAP), Verdict::Steady);
        assert_eq!(look(NOW - limits::CLOCK_GAP - 1), Verdict::Waiting);
        assert_eq!(look(NOW + limits::CLOCK_STEP), Verdict::Steady);
        assert_eq!(look(NOW + limits::CLOCK_STEP + 1), Verdict::Waiting);
    }
}
