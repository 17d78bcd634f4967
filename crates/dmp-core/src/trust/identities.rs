//! Identity records found at an address, judged against one wanted key (crypto.md 11.7, D28). Pins nothing.

use std::collections::HashMap;

use crate::address::Address;
use crate::keys::SigningPublicKey;
use crate::name::Zone;
use crate::owner::{OwnerName, identity_owner_anchored, identity_owner_hashed};
use crate::record::IdentityRecord;
use crate::signed::Verified;

/// "Does this key belong to user@host?"
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct IdentityQuestion {
    /// The user name, in its original case where that is known.
    pub user: String,
    /// The host.
    pub host: Zone,
    /// The key that is expected there.
    pub wanted: SigningPublicKey,
}

/// Whether all the names of a question could be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Every name answered, if only with nothing.
    All,
    /// At least one query failed.
    Partial,
}

/// What the records at an address say about the wanted key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// It is theirs; of several records the one with the highest `ts`.
    Wanted(Verified<IdentityRecord>),
    /// Somebody else's; the first of them.
    Other(Verified<IdentityRecord>),
    /// No record of that name verifies.
    Absent,
    /// The wanted key was not seen, but not everything could be asked.
    Unreachable,
}

/// The answers of one receive run.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    findings: HashMap<IdentityQuestion, Finding>,
}

impl IdentityQuestion {
    /// The question about an address; `None` if DNS cannot be asked for its host.
    #[must_use]
    pub fn at(address: &Address, wanted: SigningPublicKey) -> Option<Self> {
        let host = Zone::parse(address.host()).ok()?;
        Some(Self {
            user: address.local().to_owned(),
            host,
            wanted,
        })
    }

    /// Where to ask, in order; the values of all names together are the answer.
    #[must_use]
    pub fn owner_names(&self) -> Vec<OwnerName> {
        let lower = self.user.to_lowercase();
        let mut names = vec![
            identity_owner_anchored(&self.host),
            identity_owner_hashed(&self.user, &self.host),
        ];
        if lower != self.user {
            names.push(identity_owner_hashed(&lower, &self.host));
        }
        names
    }

    /// Judges the TXT values found.
    #[must_use]
    pub fn judge<'v>(&self, values: impl IntoIterator<Item = &'v str>, reach: Reach) -> Finding {
        let user = self.user.to_lowercase();
        let (mut wanted, mut other): (Option<Verified<IdentityRecord>>, _) = (None, None);
        for record in values
            .into_iter()
            .filter_map(|value| IdentityRecord::parse(value).ok())
        {
            if record.username.to_lowercase() != user {
                continue;
            }
            if record.signing != self.wanted {
                other.get_or_insert(record);
            } else if wanted.as_ref().is_none_or(|best| record.ts > best.ts) {
                wanted = Some(record);
            }
        }
        match (wanted, other, reach) {
            (Some(record), _, _) => Finding::Wanted(record),
            (None, _, Reach::Partial) => Finding::Unreachable,
            (None, Some(record), Reach::All) => Finding::Other(record),
            (None, None, Reach::All) => Finding::Absent,
        }
    }
}

impl Identities {
    /// Takes an answer as [`IdentityQuestion::judge`] saw it, or as it was remembered from an earlier run.
    pub fn learn(&mut self, question: IdentityQuestion, finding: Finding) {
        self.findings.insert(question, finding);
    }

    pub(super) fn finding(&self, question: &IdentityQuestion) -> Option<&Finding> {
        self.findings.get(question)
    }
}
