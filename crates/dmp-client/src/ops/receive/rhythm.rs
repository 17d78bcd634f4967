//! When somebody who keeps looking looks next, and where (client.md 3, 10.1). Waits for nothing and looks nowhere.
//!
//! Claims are asked for at the primary interval. The slots of contacts' zones cost ten queries each and are walked less often: at
//! first at the secondary interval, more often while walks bring mail (then claims do not reach this user), never more often than
//! claims are asked for. While nothing can be asked the wait doubles. Every wait is a little longer or shorter than that, so that
//! clients do not keep step and a watcher learns no exact time.

use std::time::Duration;

use rand_core::CryptoRng;

use super::{Phases, ReceiveReport};
use crate::limits::{FOLLOW_JITTER, FOLLOW_WAIT_MIN};

/// The next look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// How long to wait before it.
    pub wait: Duration,
    /// Where to look.
    pub phases: Phases,
}

/// The state of somebody who keeps looking.
#[derive(Clone, Debug)]
pub struct Rhythm {
    wanted: Phases,
    primary: Duration,
    secondary: Duration,
    /// Time between walks now.
    walk_every: Duration,
    /// Time since the last walk, waits only.
    since_walk: Duration,
    last: Phases,
    /// Runs in a row that could ask nobody.
    failures: u32,
}

impl Rhythm {
    /// A rhythm for what the user wants to look at, with the two intervals of the configuration.
    #[must_use]
    pub fn new(wanted: Phases, primary: Duration, secondary: Duration) -> Self {
        let primary = primary.max(FOLLOW_WAIT_MIN);
        let secondary = secondary.max(primary);
        Self {
            wanted,
            primary,
            secondary,
            walk_every: secondary,
            since_walk: Duration::ZERO,
            last: wanted,
            failures: 0,
        }
    }

    /// The first look: at once, everywhere that is wanted.
    #[must_use]
    pub const fn first(&self) -> Turn {
        Turn {
            wait: Duration::ZERO,
            phases: self.wanted,
        }
    }

    /// What follows a run.
    pub fn next(&mut self, report: &ReceiveReport, rng: &mut (dyn CryptoRng + Send)) -> Turn {
        let walked = self.last != Phases::PrimaryOnly;
        if report.is_cut_off() {
            self.failures = self.failures.saturating_add(1);
        } else {
            self.failures = 0;
            if walked {
                self.since_walk = Duration::ZERO;
                self.walk_every = if report.inbox.is_empty() {
                    (self.walk_every * 2).min(self.secondary)
                } else {
                    (self.walk_every / 2).max(self.primary)
                };
            }
        }
        let regular = match self.wanted {
            Phases::SkipPrimary => self.walk_every,
            _ => self.primary,
        };
        let wait = if self.failures == 0 {
            regular
        } else {
            let doubled = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
            regular.saturating_mul(doubled).min(self.secondary)
        };
        self.since_walk = self.since_walk.saturating_add(wait);
        let phases = match self.wanted {
            // Somebody is back after an outage: what came in the meantime may lie anywhere.
            Phases::All if self.failures > 0 || self.since_walk >= self.walk_every => Phases::All,
            Phases::All => Phases::PrimaryOnly,
            wanted => wanted,
        };
        self.last = phases;
        Turn {
            wait: jittered(wait, rng),
            phases,
        }
    }
}

/// The wait, up to [`FOLLOW_JITTER`] parts of a thousand longer or shorter.
fn jittered(wait: Duration, rng: &mut (dyn CryptoRng + Send)) -> Duration {
    let parts = 1_000 - FOLLOW_JITTER + rng.next_u32() % (2 * FOLLOW_JITTER + 1);
    wait / 1_000 * parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::system_random;
    use crate::ops::UnreachableZone;
    use crate::store::{Authorship, InboxMessage, MessageNumber};
    use dmp_core::id::{MsgId, UnixTime};
    use dmp_core::keys::SigningPublicKey;
    use dmp_core::name::Zone;

    const PRIMARY: Duration = Duration::from_secs(30);
    const SECONDARY: Duration = Duration::from_secs(600);

    fn rhythm(wanted: Phases) -> Rhythm {
        Rhythm::new(wanted, PRIMARY, SECONDARY)
    }

    fn cut_off() -> ReceiveReport {
        ReceiveReport {
            unreachable: vec![UnreachableZone {
                zone: Zone::parse("a.example").unwrap(),
                reason: String::new(),
                partly: false,
            }],
            ..ReceiveReport::default()
        }
    }

    fn mail() -> ReceiveReport {
        let now = UnixTime::new(0);
        let message = InboxMessage {
            number: MessageNumber::UNSTORED,
            signer: SigningPublicKey::from_bytes([1; 32]),
            msg_id: MsgId::from_bytes([1; 16]),
            body: Vec::new(),
            ts: now,
            manifest_ts: now,
            expires: now,
            received: now,
            contact: None,
            address: None,
            prekey: None,
            authorship: Authorship::Proven,
            succession: None,
        };
        ReceiveReport {
            inbox: vec![message],
            ..ReceiveReport::default()
        }
    }

    fn next(rhythm: &mut Rhythm, report: &ReceiveReport) -> Turn {
        rhythm.next(report, &mut system_random())
    }

    fn is_about(wait: Duration, expected: Duration) -> bool {
        wait >= expected * 9 / 10 && wait <= expected * 11 / 10
    }

    #[test]
    fn claims_are_asked_for_at_the_primary_and_slots_at_the_secondary_interval() {
        let mut rhythm = rhythm(Phases::All);
        assert_eq!(rhythm.first().phases, Phases::All);
        let turns: Vec<Turn> = (0..40)
            .map(|_| next(&mut rhythm, &ReceiveReport::default()))
            .collect();
        assert!(turns.iter().all(|turn| is_about(turn.wait, PRIMARY)));
        let walks: Vec<usize> = (0..40)
            .filter(|index| turns[*index].phases == Phases::All)
            .collect();
        assert_eq!(walks, [19, 39], "600 s are 20 times 30 s");
        assert!(turns.iter().any(|turn| turn.wait != PRIMARY), "jitter");
    }

    #[test]
    fn walks_that_bring_mail_come_more_often_and_quiet_ones_less() {
        let mut rhythm = rhythm(Phases::All);
        let mut gap = |first: &ReceiveReport| {
            let mut turn = next(&mut rhythm, first);
            let mut turns = 1;
            while turn.phases != Phases::All {
                turn = next(&mut rhythm, &ReceiveReport::default());
                turns += 1;
            }
            turns
        };
        assert_eq!(gap(&mail()), 10);
        assert_eq!(gap(&mail()), 5);
        for _ in 0..5 {
            gap(&mail());
        }
        assert_eq!(gap(&mail()), 1, "never more often than claims");
        assert_eq!(gap(&ReceiveReport::default()), 2);
        for _ in 0..6 {
            gap(&ReceiveReport::default());
        }
        assert_eq!(gap(&ReceiveReport::default()), 20);
    }

    #[test]
    fn a_lost_network_is_asked_less_and_less_and_then_everywhere() {
        let mut rhythm = rhythm(Phases::All);
        for expected in [60, 120, 240, 480, 600, 600] {
            let turn = next(&mut rhythm, &cut_off());
            assert!(is_about(turn.wait, Duration::from_secs(expected)));
            assert_eq!(turn.phases, Phases::All);
        }
        for _ in 0..100 {
            next(&mut rhythm, &cut_off());
        }
        let turn = next(&mut rhythm, &ReceiveReport::default());
        assert!(is_about(turn.wait, PRIMARY));
        assert_eq!(turn.phases, Phases::PrimaryOnly);
    }

    #[test]
    fn who_wants_one_phase_only_gets_that() {
        for wanted in [Phases::PrimaryOnly, Phases::PrimaryOncePinned] {
            let mut rhythm = rhythm(wanted);
            let turn = next(&mut rhythm, &ReceiveReport::default());
            assert_eq!(turn.phases, wanted);
            assert!(is_about(turn.wait, PRIMARY));
        }
        let mut rhythm = rhythm(Phases::SkipPrimary);
        let turn = next(&mut rhythm, &ReceiveReport::default());
        assert_eq!(turn.phases, Phases::SkipPrimary);
        assert!(is_about(turn.wait, SECONDARY));
    }

    #[test]
    fn a_senseless_configuration_does_not_make_a_busy_loop() {
        let mut rhythm = Rhythm::new(Phases::All, Duration::ZERO, Duration::ZERO);
        let turn = next(&mut rhythm, &ReceiveReport::default());
        assert!(is_about(turn.wait, FOLLOW_WAIT_MIN));
    }
}
