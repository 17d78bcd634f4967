//! The walk from a pinned key to its current successor, and the question whether a key was revoked (records.md 12.4).
//!
//! Takes the values of the subject's RRsets ([`Subject::owner_names`]) as they came; a failed query is no values.

use std::collections::HashSet;

use crate::id::UnixTime;
use crate::keys::SigningPublicKey;
use crate::record::{Binding, Revocation, Rotation, Subject};

/// The key that follows `pinned`, or `None` if no successor can be trusted; the pinned key itself is judged separately.
///
/// A fork, a sequence that does not rise, a revoked key on the way, a cycle or more than `max_hops` hops
/// ([`ROTATION_HOPS_MAX`](crate::limits::ROTATION_HOPS_MAX) by default) give `None`: to prefer one branch of a fork
/// would be a race that an attacker wins.
#[must_use]
pub fn walk<'a>(
    pinned: &SigningPublicKey,
    subject: &Subject,
    values: impl IntoIterator<Item = &'a str>,
    max_hops: usize,
    now: UnixTime,
) -> Option<SigningPublicKey> {
    let (rotations, revoked) = collect(subject, values, now);
    if revoked.contains(pinned) {
        return None;
    }
    let mut head = *pinned;
    let mut last_seq = None;
    for _ in 0..max_hops {
        let Some(next) = successor(&rotations, &head)? else {
            break;
        };
        // A cycle fails here too: what was followed from a key once has a lower sequence the second time.
        if last_seq.is_some_and(|seq| next.seq <= seq) || revoked.contains(&next.new) {
            return None;
        }
        last_seq = Some(next.seq);
        head = next.new;
    }
    let exhausted = rotations.iter().all(|rotation| rotation.old != head);
    (head != *pinned && exhausted).then_some(head)
}

/// Whether a revocation in the subject's RRsets names `key`.
#[must_use]
pub fn is_revoked<'a>(
    key: &SigningPublicKey,
    subject: &Subject,
    values: impl IntoIterator<Item = &'a str>,
    now: UnixTime,
) -> bool {
    let expected = Binding {
        key: Some(key),
        subject: Some(subject),
    };
    values
        .into_iter()
        .any(|value| Revocation::parse(value, expected, None, now).is_ok())
}

/// The verified rotations of the subject and the keys revoked for it; everything else is dropped.
fn collect<'a>(
    subject: &Subject,
    values: impl IntoIterator<Item = &'a str>,
    now: UnixTime,
) -> (Vec<Rotation>, HashSet<SigningPublicKey>) {
    let expected = Binding {
        key: None,
        subject: Some(subject),
    };
    let mut rotations = Vec::new();
    let mut revoked = HashSet::new();
    for value in values {
        if let Ok(rotation) = Rotation::parse(value, expected, now) {
            rotations.push(rotation.into_inner());
        } else if let Ok(revocation) = Revocation::parse(value, expected, None, now) {
            revoked.insert(revocation.revoked);
        }
    }
    (rotations, revoked)
}

/// The hop to take from `head`, of equal ones that with the smallest sequence; the outer `None` is a fork.
fn successor<'r>(
    rotations: &'r [Rotation],
    head: &SigningPublicKey,
) -> Option<Option<&'r Rotation>> {
    let mut candidates = rotations.iter().filter(|rotation| rotation.old == *head);
    let Some(first) = candidates.next() else {
        return Some(None);
    };
    candidates
        .try_fold(first, |best, next| {
            (next.new == best.new).then_some(if next.seq < best.seq { next } else { best })
        })
        .map(Some)
}
