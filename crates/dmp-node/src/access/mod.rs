//! Who may do what: the TSIG keyring, scope patterns, quotas, the claim policy and token buckets.
//!
//! It stores nothing and talks to nobody: decisions are functions over values that others load and swap in.

pub mod bucket;
pub(crate) mod claims;
mod crowding;
mod keyring;
pub(crate) mod mailboxes;
mod quota;
mod scope;

use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

pub use crowding::Claimant;
pub use keyring::{KeyRow, Keyring, LiveKeys, TokenHolder, TsigKey};
pub use scope::{Action, Scope, ScopeKind};

use crate::settings::Claims;
use crate::store::WriterTag;
use crate::zone::ZoneIndex;
use claims::ClaimPolicy;
use mailboxes::Mailboxes;
pub(crate) use quota::Exemptions;

/// On whose behalf records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// The operator, replication or the node itself: no quota.
    Operator,
    /// Anybody, over HTTP where the operator opened writing to everybody. No quota of a writer, for lack of an identity.
    Open,
    /// Whoever sent an unsigned claim: bounded by network and signing key (W-11).
    Claimant(Claimant),
    /// The subject of a credential; its quota is shared by all its credentials.
    Subject {
        /// Canonical `user@host`, or the key's name where a key has no subject.
        subject: String,
        /// `mb-` hashes that the credential itself makes this subject's own and in which its quota does not count (D13);
        /// its identity record may make others so.
        mailboxes: Vec<String>,
    },
}

impl Author {
    /// The mark its values bear in the store.
    pub fn tag(&self) -> WriterTag {
        match self {
            Self::Operator | Self::Open => WriterTag::NOBODY,
            Self::Claimant(claimant) => claimant.tag(),
            Self::Subject { subject, .. } => {
                let digest = Sha256::digest(subject.as_bytes());
                let mut head = [0; 8];
                head.copy_from_slice(&digest[..8]);
                // 0 is taken; one subject in 2^64 shares the quota of another.
                WriterTag(u64::from_le_bytes(head).max(1))
            }
        }
    }
}

/// The access state of a running node.
#[derive(Debug)]
pub struct Access {
    keyring: ArcSwap<Keyring>,
    claims: ClaimPolicy,
}

impl Access {
    /// Starts without any credential.
    pub fn new(claims: Claims) -> Self {
        Self {
            keyring: ArcSwap::from_pointee(Keyring::default()),
            claims: ClaimPolicy::new(claims),
        }
    }

    pub(crate) fn claims(&self) -> &ClaimPolicy {
        &self.claims
    }

    /// Other roles and bounds of unsigned claims from now on.
    pub(crate) fn configure(&self, claims: Claims) {
        self.claims.configure(claims);
    }

    /// Whether a live identity record makes the mailbox the subject's own, by what is committed (D13).
    pub(crate) fn is_own(&self, zone: &ZoneIndex, mailbox: &str, subject: &str, now: u64) -> bool {
        let keyring = self.keyring.load();
        zone.apex().is_some_and(|apex| {
            let mailboxes = Mailboxes {
                zone,
                apex,
                keyring: &keyring,
                now,
            };
            mailboxes.is_own(mailbox, subject)
        })
    }

    /// The keyring as of now; the next packet may see another.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Puts `keyring` in force for the very next packet (node.md C9). Call it in a hook of
    /// [`crate::store::Draft::after_commit`], so that the order of swaps is the order of commits.
    pub fn replace_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }
}
