//! Unsigned claims: who may be notified through this node, and what a claim must look like (node.md 3.5, D11).
//!
//! It looks things up and changes nothing but the token buckets; applying is the update's.

use arc_swap::ArcSwap;
use dmp_core::id::{MailboxHash, UnixTime};
use dmp_core::record::{Claim, IdentityRecord};
use sha2::{Digest, Sha256};
use std::sync::Arc;

use super::bucket::TokenBuckets;
use super::keyring::{Keyring, is_hash12};
use crate::context::Operation;
use crate::limits::CLAIM_VERIFICATIONS;
use crate::repeated::log_repeated;
use crate::settings::Claims;
use crate::zone::{Owner, ZoneIndex};

/// Why an unsigned update is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimRefusal {
    /// Policy or form: the same message will never be accepted (REFUSED).
    Refused(&'static str),
    /// The recipient is not registered here (REFUSED).
    Unregistered,
    /// Too many at the moment (SERVFAIL, node.md C8).
    TooMany,
}

/// The claim policy with its token buckets.
#[derive(Debug)]
pub(crate) struct ClaimPolicy {
    settings: ArcSwap<Claims>,
    per_recipient: TokenBuckets<String>,
    verifications: TokenBuckets<()>,
}

/// What the policy looks at.
pub(crate) struct ClaimView<'a> {
    pub(crate) zone: &'a ZoneIndex,
    pub(crate) apex: &'a Owner,
    pub(crate) keyring: &'a Keyring,
    pub(crate) now: u64,
}

impl ClaimPolicy {
    pub(crate) fn new(settings: Claims) -> Self {
        Self {
            per_recipient: TokenBuckets::new(settings.rate, settings.burst),
            verifications: TokenBuckets::new(CLAIM_VERIFICATIONS, CLAIM_VERIFICATIONS),
            settings: ArcSwap::from_pointee(settings),
        }
    }

    /// Other settings from now on; what each recipient's bucket has given stays given.
    pub(crate) fn configure(&self, settings: Claims) {
        self.per_recipient.configure(settings.rate, settings.burst);
        self.settings.store(Arc::new(settings));
    }

    /// Checks every operation in order; all must pass. Gives them back with the lifetime they are stored for.
    pub(crate) fn accept(
        &self,
        view: &ClaimView<'_>,
        operations: Vec<Operation>,
    ) -> Result<Vec<Operation>, ClaimRefusal> {
        let settings = self.settings.load();
        if !settings.provider && !settings.receiver {
            return Err(ClaimRefusal::Refused("updates must be signed"));
        }
        if operations.is_empty() {
            return Err(ClaimRefusal::Refused(
                "an unsigned update must carry a claim",
            ));
        }
        operations
            .into_iter()
            .map(|operation| self.accept_one(&settings, view, operation))
            .collect()
    }

    fn accept_one(
        &self,
        settings: &Claims,
        view: &ClaimView<'_>,
        operation: Operation,
    ) -> Result<Operation, ClaimRefusal> {
        let Operation::Publish { owner, value, ttl } = operation else {
            return Err(ClaimRefusal::Refused("an unsigned update cannot delete"));
        };
        let Some((slot, mailbox)) = claim_owner(&owner, view.apex) else {
            return Err(ClaimRefusal::Refused(
                "an unsigned update must carry a claim at claim-<0-9>.mb-<hash>",
            ));
        };
        if !settings.provider && !view.is_registered(&mailbox) {
            log_repeated!(info, "claim for a recipient who is not registered here");
            return Err(ClaimRefusal::Unregistered);
        }
        // The form is looked at before the signature is: only what may be a claim costs a verification.
        if value.len() > 255 || !value.starts_with("v=dmp1;t=claim;") {
            return Err(ClaimRefusal::Refused("the value is not a claim"));
        }
        if !self.verifications.take(&()) {
            return Err(ClaimRefusal::TooMany);
        }
        let claim = Claim::parse(&value, UnixTime::new(view.now))
            .map_err(|_| ClaimRefusal::Refused("the value is not a valid claim"))?;
        if claim.slot.get() != slot {
            return Err(ClaimRefusal::Refused(
                "the claim names another slot than its owner name",
            ));
        }
        let remaining = claim.exp.as_secs().saturating_sub(view.now);
        if settings.max_ttl.is_some_and(|limit| remaining > limit) {
            return Err(ClaimRefusal::Refused("the claim lives too long"));
        }
        if !self.per_recipient.take(&mailbox) {
            log_repeated!(info, "too many claims for one recipient");
            return Err(ClaimRefusal::TooMany);
        }
        Ok(Operation::Publish {
            owner,
            value,
            ttl: ttl.min(remaining),
        })
    }
}

impl ClaimView<'_> {
    /// Whether the mailbox belongs to somebody registered here: by a TSIG key (node.md 4.5), or by a verifying identity
    /// record that the holder of a live credential keeps at a name of their own subject (D11).
    fn is_registered(&self, mailbox: &str) -> bool {
        if self.keyring.has_recipient(mailbox, self.apex, self.now) {
            return true;
        }
        let Ok(mailbox) = MailboxHash::parse(mailbox) else {
            return false;
        };
        self.zone.identity_owners(&mailbox).iter().any(|owner| {
            owner.is_under(self.apex)
                && self
                    .zone
                    .values(owner, self.now)
                    .iter()
                    .any(|value| self.is_own_record(owner, value, &mailbox))
        })
    }

    fn is_own_record(&self, owner: &Owner, value: &str, mailbox: &MailboxHash) -> bool {
        let Ok(record) = IdentityRecord::parse(value) else {
            return false;
        };
        if record.agreement.user_id().mailbox() != *mailbox {
            return false;
        }
        let mut subjects = self
            .keyring
            .subjects_of(record.signing.as_bytes(), self.now);
        subjects.any(|subject| is_identity_owner_of(owner, subject, self.apex))
    }
}

/// Whether `owner` is where the subject `user@host` publishes an identity: hashed under the zone or the host, or anchored
/// at `dmp.<host>` or `dmp.<user>.<host>` (records.md 4.1, node.md 6.6).
fn is_identity_owner_of(owner: &Owner, subject: &str, zone: &Owner) -> bool {
    let Some((user, host)) = subject.split_once('@') else {
        return false;
    };
    let hash = hex::encode(&Sha256::digest(user.as_bytes())[..8]);
    let names = [
        format!("id-{hash}.{zone}"),
        format!("id-{hash}.{host}"),
        format!("dmp.{host}"),
        format!("dmp.{user}.{host}"),
    ];
    names
        .iter()
        .any(|name| Owner::parse(name).is_ok_and(|name| name == *owner))
}

/// Slot and mailbox hash of `claim-<0-9>.mb-<12 hex>.<apex>`, and of nothing longer or shorter.
fn claim_owner(owner: &Owner, apex: &Owner) -> Option<(u8, String)> {
    let mut labels = owner.labels();
    let slot = labels.next()?.strip_prefix("claim-")?;
    let mailbox = labels
        .next()?
        .strip_prefix("mb-")
        .filter(|hash| is_hash12(hash))?;
    let [digit @ b'0'..=b'9'] = slot.as_bytes() else {
        return None;
    };
    labels
        .eq(apex.labels())
        .then(|| (digit - b'0', mailbox.to_owned()))
}
