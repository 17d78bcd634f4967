//! When the CA is asked: at two thirds of a certificate's life, and after a failure ever later.
//!
//! Pure: time and chance are arguments.

use crate::http::Validity;
use crate::limits::{ACME_LIMITED, ACME_LONGEST_WAIT, ACME_PATIENCE, ACME_RETRY};

/// A fraction from 0 to 255/256 that keeps many nodes from asking at once.
pub(super) type Chance = u8;

/// When a certificate is renewed: two thirds into its life, and up to a thirtieth of it later.
pub(super) fn renewal_at(validity: Validity, chance: Chance) -> u64 {
    let life = validity.life();
    let spread = share(life / 30, chance);
    validity.not_before.saturating_add(life / 3 * 2 + spread)
}

/// Seconds to wait after so many failures in a row: five minutes, twice as long each time up to twelve hours, and up to a
/// quarter more.
pub(super) fn wait_after(failures: u32, chance: Chance) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = (ACME_RETRY << doublings).min(ACME_LONGEST_WAIT);
    wait + share(wait / 4, chance)
}

/// The same when the CA said how long, or that it is asked too much: never earlier than that, and its word is taken for a
/// week at most.
pub(super) fn wait_as_told(wait: u64, retry_after: Option<u64>, limited: bool) -> u64 {
    let told = retry_after.unwrap_or(0).min(ACME_PATIENCE);
    let least = if limited { ACME_LIMITED } else { 0 };
    wait.max(told).max(least)
}

fn share(of: u64, chance: Chance) -> u64 {
    of.saturating_mul(u64::from(chance)) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let validity = Validity {
            not_before: 1_000_000,
            not_after: 1_000_000 + 90 * DAY,
        };
        assert_eq!(renewal_at(validity, 0), 1_000_000 + 60 * DAY);
        assert_eq!(renewal_at(validity, 128), 1_000_000 + 61 * DAY + DAY / 2);
        assert!(renewal_at(validity, 255) < 1_000_000 + 63 * DAY);
        let short = Validity {
            not_before: 0,
            not_after: 6 * DAY,
        };
        assert_eq!(renewal_at(short, 0), 4 * DAY);
    }

    #[test]
    fn waits_double_up_to_half_a_day() {
        let waits = [1, 2, 3, 8, 9, 40, u32::MAX].map(|failures| wait_after(failures, 0));
        assert_eq!(waits, [300, 600, 1_200, 38_400, 43_200, 43_200, 43_200]);
        assert!((300..375).contains(&wait_after(1, 255)));
        let first_hour: u64 = (1..=3).map(|failures| wait_after(failures, 0)).sum();
        assert!(
            first_hour + wait_after(4, 0) >= 3_600,
            "four attempts in the first hour"
        );
    }

    #[test]
    fn the_word_of_the_ca_counts_within_reason() {
        assert_eq!(wait_as_told(300, None, false), 300);
        assert_eq!(wait_as_told(300, Some(60), false), 300);
        assert_eq!(wait_as_told(300, Some(4_000), false), 4_000);
        assert_eq!(wait_as_told(300, None, true), 3_600);
        assert_eq!(wait_as_told(300, Some(7_200), true), 7_200);
        assert_eq!(wait_as_told(300, Some(u64::MAX), false), 7 * DAY);
    }
}
