//! What is known about the rotation chains of contacts. Keeps verdicts, not records.

use std::collections::HashMap;

use crate::id::UnixTime;
use crate::keys::SigningPublicKey;
use crate::limits::ROTATION_HOPS_MAX;
use crate::name::Zone;
use crate::owner::OwnerName;
use crate::record::Subject;
use crate::rotation::{is_revoked, walk};

/// "What became of this key of U@zone?"
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationQuestion {
    /// Whose key it is.
    pub subject: Subject,
    /// The key that is pinned.
    pub pinned: SigningPublicKey,
}

impl RotationQuestion {
    /// `None` for a user name or zone that cannot be the subject of a rotation.
    #[must_use]
    pub fn new(username: &str, zone: &Zone, pinned: SigningPublicKey) -> Option<Self> {
        let subject = Subject::user(username, zone.as_str()).ok()?;
        Some(Self { subject, pinned })
    }

    /// Where to ask; the values of all names together are the answer.
    #[must_use]
    pub fn owner_names(&self) -> Vec<OwnerName> {
        self.subject.owner_names()
    }

    fn key(&self) -> (String, SigningPublicKey) {
        (self.subject.as_str().to_owned(), self.pinned)
    }
}

/// The answers of one receive run; nothing in them outlives it.
#[derive(Clone, Debug, Default)]
pub struct Rotations {
    verdicts: HashMap<(String, SigningPublicKey), Verdict>,
}

#[derive(Clone, Debug)]
struct Verdict {
    revoked: bool,
    successor: Option<SigningPublicKey>,
}

impl Rotations {
    /// Takes the answer; a failed query is no values (federation.md 6.4).
    pub fn learn<'v>(
        &mut self,
        question: &RotationQuestion,
        values: impl IntoIterator<Item = &'v str> + Clone,
        now: UnixTime,
    ) {
        let RotationQuestion { subject, pinned } = question;
        let verdict = Verdict {
            revoked: is_revoked(pinned, subject, values.clone(), now),
            successor: walk(pinned, subject, values, ROTATION_HOPS_MAX, now),
        };
        self.verdicts.insert(question.key(), verdict);
    }

    pub(super) fn is_answered(&self, question: &RotationQuestion) -> bool {
        self.verdicts.contains_key(&question.key())
    }

    /// Whether the owner revoked the key.
    #[must_use]
    pub fn is_revoked(&self, question: &RotationQuestion) -> bool {
        self.verdicts
            .get(&question.key())
            .is_some_and(|verdict| verdict.revoked)
    }

    /// The key that follows it.
    #[must_use]
    pub fn successor(&self, question: &RotationQuestion) -> Option<SigningPublicKey> {
        self.verdicts.get(&question.key())?.successor
    }
}
