//! Unsigned claims: who may be notified through this node, and what a claim must look like (node.md 3.5, D11).
//!
//! It looks things up and changes nothing but the token buckets; applying is the update's.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::record::Claim;

use super::bucket::TokenBuckets;
use super::crowding::{ClaimName, Claimant};
use super::mailboxes::Mailboxes;
use crate::context::Operation;
use crate::limits::{CLAIM_NETWORKS, CLAIM_SOURCE_BURST, CLAIM_SOURCE_RATE, CLAIM_VERIFICATIONS};
use crate::repeated::log_repeated;
use crate::settings::Claims;

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

/// Where an unsigned update came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// First address of the network, which counts as one client.
    pub(crate) network: IpAddr,
    /// Whether the sender reads what is sent to its address.
    pub(crate) address: Address,
    /// Whether this network has limits at all.
    pub(crate) limit: SourceLimit,
}

/// What is known of a sender's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// TCP, or UDP with a valid cookie.
    Proven,
    /// Whatever the datagram says.
    Claimed,
}

/// Whether the limits of one network hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceLimit {
    /// They do.
    Applies,
    /// The operator has exempted it.
    Exempt,
}

/// The claim policy with its token buckets.
#[derive(Debug)]
pub(crate) struct ClaimPolicy {
    settings: ArcSwap<Claims>,
    /// Two of everything, so that forged addresses use up nothing that senders with an address of their own need.
    proven: Lane,
    claimed: Lane,
    /// Seeded anew at every start: the marks in the store tell senders apart and not who they are.
    marks: RandomState,
}

/// The limits of senders whose address is known equally well.
#[derive(Debug)]
struct Lane {
    per_network: TokenBuckets<IpAddr>,
    verifications: TokenBuckets<()>,
    per_network_and_recipient: TokenBuckets<(IpAddr, String)>,
    per_recipient: TokenBuckets<String>,
}

/// An operation that passed, and who signed the claim.
type Accepted = (Operation, SigningPublicKey);

impl ClaimPolicy {
    pub(crate) fn new(settings: Claims) -> Self {
        Self {
            proven: Lane::new(&settings),
            claimed: Lane::new(&settings),
            marks: RandomState::new(),
            settings: ArcSwap::from_pointee(settings),
        }
    }

    /// Other settings from now on; what each bucket has given stays given.
    pub(crate) fn configure(&self, settings: Claims) {
        for lane in [&self.proven, &self.claimed] {
            lane.configure(&settings);
        }
        self.settings.store(Arc::new(settings));
    }

    /// Checks every operation in order; all must pass. Gives them back with the lifetime they are stored for, and who
    /// sends them.
    pub(crate) fn accept(
        &self,
        view: &Mailboxes<'_>,
        source: Source,
        operations: Vec<Operation>,
    ) -> Result<(Vec<Operation>, Claimant), ClaimRefusal> {
        let settings = self.settings.load();
        if !settings.provider && !settings.receiver {
            return Err(ClaimRefusal::Refused("updates must be signed"));
        }
        let mut accepted = Vec::with_capacity(operations.len());
        let mut sender = None;
        for operation in operations {
            let (operation, key) = self.accept_one(&settings, view, source, operation)?;
            if sender.is_some_and(|sender| sender != key) {
                return Err(ClaimRefusal::Refused(
                    "the claims of one update must have one sender",
                ));
            }
            sender = Some(key);
            accepted.push(operation);
        }
        let Some(sender) = sender else {
            return Err(ClaimRefusal::Refused(
                "an unsigned update must carry a claim",
            ));
        };
        let network = match source.address {
            Address::Proven => Some(self.marks.hash_one(source.network)),
            Address::Claimed => None,
        };
        let key = self.marks.hash_one(sender.as_bytes());
        Ok((accepted, Claimant::new(network, key)))
    }

    fn accept_one(
        &self,
        settings: &Claims,
        view: &Mailboxes<'_>,
        source: Source,
        operation: Operation,
    ) -> Result<Accepted, ClaimRefusal> {
        let Operation::Publish { owner, value, ttl } = operation else {
            return Err(ClaimRefusal::Refused("an unsigned update cannot delete"));
        };
        let is_in_zone =
            owner.label_count() == view.apex.label_count() + 2 && owner.is_under(view.apex);
        let Some(name) = ClaimName::of(&owner).filter(|_| is_in_zone) else {
            return Err(ClaimRefusal::Refused(
                "an unsigned update must carry a claim at claim-<0-9>.mb-<hash>",
            ));
        };
        if !settings.provider && !view.is_registered(&name.mailbox) {
            log_repeated!(info, "claim for a recipient who is not registered here");
            return Err(ClaimRefusal::Unregistered);
        }
        // The form is looked at before the signature is: only what may be a claim costs a verification.
        if value.len() > 255 || !value.starts_with("v=dmp1;t=claim;") {
            return Err(ClaimRefusal::Refused("the value is not a claim"));
        }
        let lane = match source.address {
            Address::Proven => &self.proven,
            Address::Claimed => &self.claimed,
        };
        if !lane.may_verify(source) {
            log_repeated!(info, "too many claims to look at");
            return Err(ClaimRefusal::TooMany);
        }
        let claim = Claim::parse(&value, UnixTime::new(view.now))
            .map_err(|_| ClaimRefusal::Refused("the value is not a valid claim"))?;
        if claim.slot.get() != name.slot {
            return Err(ClaimRefusal::Refused(
                "the claim names another slot than its owner name",
            ));
        }
        let remaining = claim.exp.as_secs().saturating_sub(view.now);
        if settings.max_ttl.is_some_and(|limit| remaining > limit) {
            return Err(ClaimRefusal::Refused("the claim lives too long"));
        }
        if !lane.may_notify(source, name.mailbox) {
            log_repeated!(info, "too many claims for one recipient");
            return Err(ClaimRefusal::TooMany);
        }
        let operation = Operation::Publish {
            owner,
            value,
            ttl: ttl.min(remaining),
        };
        Ok((operation, claim.sender))
    }
}

impl Lane {
    fn new(settings: &Claims) -> Self {
        let (rate, burst) = (settings.rate, settings.burst);
        Self {
            per_network: TokenBuckets::new(CLAIM_SOURCE_RATE, CLAIM_SOURCE_BURST),
            verifications: TokenBuckets::new(CLAIM_VERIFICATIONS, CLAIM_VERIFICATIONS),
            per_network_and_recipient: TokenBuckets::new(rate, burst),
            per_recipient: TokenBuckets::new(CLAIM_NETWORKS * rate, CLAIM_NETWORKS * burst),
        }
    }

    fn configure(&self, settings: &Claims) {
        let (rate, burst) = (settings.rate, settings.burst);
        self.per_network_and_recipient.configure(rate, burst);
        self.per_recipient
            .configure(CLAIM_NETWORKS * rate, CLAIM_NETWORKS * burst);
    }

    /// Takes what looking at a claim costs: of the network first, so that one cannot use up what is there for all.
    fn may_verify(&self, source: Source) -> bool {
        let is_within =
            source.limit == SourceLimit::Exempt || self.per_network.take(&source.network);
        is_within && self.verifications.take(&())
    }

    /// Takes what a claim for this recipient costs.
    fn may_notify(&self, source: Source, mailbox: String) -> bool {
        let pair = (source.network, mailbox);
        self.per_network_and_recipient.take(&pair) && self.per_recipient.take(&pair.1)
    }
}
