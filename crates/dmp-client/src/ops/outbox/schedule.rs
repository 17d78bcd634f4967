//! When an entry is tried again, and when that is no use (D21). Values in, values out.

use dmp_core::id::UnixTime;

use super::publish::{PublishFailure, SendStep};
use crate::error::WriteError;
use crate::limits::{OUTBOX_BACKOFF_MAX_SECS, OUTBOX_BACKOFF_SECS, OUTBOX_NOTICE_TRIES};
use crate::store::{OutboxEntry, OutboxState};

/// Whether a write that failed like this fails again however often it is repeated.
///
/// What a full name, mailbox or store refuses may fit later; so may the manifest of a node that gives no reason, since its chunks
/// were taken.
pub(super) fn is_permanent(step: SendStep, error: &WriteError) -> bool {
    match error {
        WriteError::Refused { reason, .. } if reason.is_empty() => step == SendStep::Chunks,
        WriteError::Refused { reason, .. } => !names_a_full_place(reason),
        WriteError::NotAuthorised(_)
        | WriteError::NotZone
        | WriteError::TooLarge { .. }
        | WriteError::Unsuitable(_)
        | WriteError::Misconfigured(_) => true,
        WriteError::ServerFailure(_) | WriteError::Unreachable(_) | WriteError::Unverified(_) => {
            false
        }
    }
}

/// Whether a claim that failed like this is worth another attempt.
pub(super) const fn is_claim_retried(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::ServerFailure(_) | WriteError::Unreachable(_) | WriteError::Unverified(_)
    )
}

/// The nodes' words for a place without room: "already holds", "would hold", "holds as much as it may".
fn names_a_full_place(reason: &str) -> bool {
    reason.contains("hold")
}

/// Seconds until the next attempt: doubling, and scattered over the second half so that many clients do not come back together.
pub(super) fn back_off(setbacks: u32, jitter: u64) -> u64 {
    let doublings = setbacks.saturating_sub(1).min(16);
    let full = (OUTBOX_BACKOFF_SECS << doublings).min(OUTBOX_BACKOFF_MAX_SECS);
    full / 2 + jitter % (full / 2 + 1)
}

/// A random number of the message: its id is one.
fn jitter(entry: &OutboxEntry) -> u64 {
    let (random, _) = entry.item.msg_id.as_bytes().split_at(8);
    random
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Whether the values have to be published: never were, not all of them, or half of their life in the node is over while the message
/// lives longer (crypto.md 14.1).
pub(super) fn needs_publication(entry: &OutboxEntry, now: UnixTime) -> bool {
    entry.delivery.kept_until.is_none()
        || entry.delivery.missing > 0
        || renewal(entry).is_some_and(|at| at <= now)
}

/// When the values are to be published again; `None` if they last as long as the message.
pub(super) fn renewal(entry: &OutboxEntry) -> Option<UnixTime> {
    let until = entry.delivery.kept_until?;
    (until < entry.item.expires)
        .then(|| UnixTime::new(until.as_secs().saturating_sub(entry.delivery.ttl / 2)))
}

/// State and next time of an entry whose publication failed.
pub(super) fn after_failure(entry: &mut OutboxEntry, failure: &PublishFailure, now: UnixTime) {
    let PublishFailure {
        step,
        stored,
        ref error,
    } = *failure;
    entry.delivery.last_error = Some(format!("publishing the {step}: {error}"));
    entry.delivery.setbacks = entry.delivery.setbacks.saturating_add(1);
    if is_permanent(step, error) {
        entry.due = None;
        entry.state = OutboxState::Failed {
            reason: error.to_string(),
        };
        return;
    }
    entry.due = Some(now.saturating_add(back_off(entry.delivery.setbacks, jitter(entry))));
    // What an earlier publication left may still be there.
    if entry.delivery.kept_until.is_none_or(|until| until <= now) {
        entry.state = match stored {
            0 => OutboxState::Queued,
            stored => OutboxState::Publishing {
                stored,
                total: entry.total(),
            },
        };
    }
}

/// State and next time of an entry whose values are stored; `undone` names what of the rest is worth another attempt.
pub(super) fn after_publication(entry: &mut OutboxEntry, undone: Option<String>, now: UnixTime) {
    let (total, jitter) = (entry.total(), jitter(entry));
    let delivery = &mut entry.delivery;
    entry.state = match (delivery.seen, delivery.announced_in.is_empty()) {
        (Some(_), false) => OutboxState::Announced,
        (Some(_), true) => OutboxState::Published,
        (None, _) => OutboxState::Publishing {
            stored: total - delivery.missing,
            total,
        },
    };
    let again = match &undone {
        Some(_) => {
            delivery.setbacks = delivery.setbacks.saturating_add(1);
            (delivery.missing > 0 || delivery.setbacks < OUTBOX_NOTICE_TRIES)
                .then(|| now.saturating_add(back_off(delivery.setbacks, jitter)))
        }
        None => {
            delivery.setbacks = 0;
            None
        }
    };
    delivery.last_error = undone;
    entry.due = [again, renewal(entry)].into_iter().flatten().min();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_is_scattered_over_its_second_half() {
        for (setbacks, full) in [
            (1, 30),
            (2, 60),
            (3, 120),
            (7, 1_920),
            (8, 3_600),
            (40, 3_600),
        ] {
            assert_eq!(back_off(setbacks, 0), full / 2, "{setbacks}");
            assert_eq!(back_off(setbacks, full / 2), full, "{setbacks}");
            assert!((full / 2..=full).contains(&back_off(setbacks, u64::MAX)));
        }
    }

    #[test]
    fn refusals_for_scope_size_and_key_are_permanent_and_full_places_are_not() {
        let refused = |reason: &str| WriteError::Refused {
            reason: reason.to_owned(),
            ttl_cap: None,
        };
        use SendStep::{Chunks, Manifest};
        for (step, error, permanent) in [
            (Chunks, refused(""), true),
            (Manifest, refused(""), false),
            (Chunks, refused("value exceeds cap of 100 bytes"), true),
            (
                Manifest,
                refused("RRset at slot-1.mb-0 already holds 64 values"),
                false,
            ),
            (
                Manifest,
                refused("this writer would hold more than 32000 bytes at one name"),
                false,
            ),
            (
                Manifest,
                refused("HTTP 413 — RRset at slot-1 already holds 64 values"),
                false,
            ),
            (Chunks, WriteError::NotAuthorised("BADKEY".into()), true),
            (Chunks, WriteError::NotZone, true),
            (Chunks, WriteError::ServerFailure("HTTP 429".into()), false),
            (Chunks, WriteError::Unreachable("no route".into()), false),
        ] {
            assert_eq!(is_permanent(step, &error), permanent, "{step}: {error}");
        }
    }
}
