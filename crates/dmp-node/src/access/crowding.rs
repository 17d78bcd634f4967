//! Room for claims (W-11): at a full claim name whoever holds most there loses a claim, so that nobody can be kept out of a
//! mailbox by filling it.
//!
//! Who wrote a value, its mark in the store tells: for a claim the upper half stands for the network it came from, the
//! lower half for the key that signed it. This decides and deletes in the draft; rates are the claim policy's.

use std::collections::HashMap;

use super::Author;
use super::keyring::is_hash12;
use crate::context::Refusal;
use crate::limits::{CLAIMS_PER_SENDER, MAX_VALUES_PER_NAME, UNPROVEN_SHARE};
use crate::store::{Draft, WriterTag};
use crate::zone::{Owner, Value};

/// Network of every claim that came from an address which may be forged.
const UNPROVEN: u32 = u32::MAX;

/// Whoever sent an unsigned claim, as far as the store remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimant {
    network: u32,
    key: u32,
}

impl Claimant {
    /// The sender with these seeded hashes of network and signing key; `None` for a network that may be forged.
    pub(super) fn new(network: Option<u64>, key: u64) -> Self {
        Self {
            network: network.map_or(UNPROVEN, |hash| (hash as u32).min(UNPROVEN - 1)),
            key: key as u32,
        }
    }

    /// The mark of its values.
    pub(super) fn tag(self) -> WriterTag {
        WriterTag((u64::from(self.network) << 32 | u64::from(self.key)).max(1))
    }

    fn is_proven(self) -> bool {
        self.network != UNPROVEN
    }
}

/// The parts of `claim-<0-9>.mb-<12 hex>.<zone>`.
pub(crate) struct ClaimName {
    pub(crate) slot: u8,
    pub(crate) mailbox: String,
}

impl ClaimName {
    /// `None` for any other name.
    pub(crate) fn of(owner: &Owner) -> Option<Self> {
        let mut labels = owner.labels();
        let slot = labels.next()?.strip_prefix("claim-")?;
        let mailbox = labels.next()?.strip_prefix("mb-")?;
        let [digit @ b'0'..=b'9'] = slot.as_bytes() else {
            return None;
        };
        is_hash12(mailbox).then(|| Self {
            slot: digit - b'0',
            mailbox: mailbox.to_owned(),
        })
    }
}

/// Makes a stranger's claim one of a bounded number: beyond [`CLAIMS_PER_SENDER`] its sender's oldest in the mailbox goes.
/// One that may be forged displaces nothing, and there are few of them at a name. Tells how many went.
pub(super) fn bound_sender(
    draft: &mut Draft<'_>,
    claimant: Claimant,
    owner: &Owner,
    per_name: Option<u64>,
) -> Result<usize, Refusal> {
    let tag = claimant.tag();
    let own = in_mailbox(draft, owner, tag);
    if claimant.is_proven() {
        if own.len() < CLAIMS_PER_SENDER {
            return Ok(0);
        }
        let oldest = own.into_iter().min_by_key(|(_, value)| value.row);
        return Ok(oldest.map_or(0, |(at, value)| {
            usize::from(draft.displace(&at, &value.text))
        }));
    }
    let share = per_name
        .unwrap_or(MAX_VALUES_PER_NAME)
        .div_ceil(UNPROVEN_SHARE);
    let unproven = draft
        .values(owner)
        .filter(|value| network(value.writer) == UNPROVEN);
    if own.len() >= CLAIMS_PER_SENDER || unproven.count() as u64 >= share {
        let mailbox = ClaimName::of(owner).map_or_else(String::new, |name| name.mailbox);
        return Err(Refusal::MailboxQuota {
            mailbox,
            limit: share,
        });
    }
    Ok(0)
}

/// Whether `author` may displace somebody else's claim at a full name: signed writers, and strangers at their own address.
pub(super) fn may_displace(author: &Author) -> bool {
    match author {
        Author::Subject { .. } => true,
        Author::Claimant(claimant) => claimant.is_proven(),
        Author::Operator | Author::Open => false,
    }
}

/// Of the claims at `owner`, the one that goes when `newcomer` brings another: the oldest of those from the network that
/// holds most, and there by the key that holds most, the newcomer's own counted with them.
pub(super) fn displaced(
    draft: &mut Draft<'_>,
    owner: &Owner,
    newcomer: WriterTag,
) -> Option<Box<str>> {
    let (mut networks, mut keys) = (HashMap::new(), HashMap::new());
    let values: Vec<&Value> = draft.values(owner).collect();
    let marks = values.iter().map(|value| value.writer).chain([newcomer.0]);
    for mark in marks.filter(|mark| *mark != WriterTag::NOBODY.0) {
        *networks.entry(network(mark)).or_insert(0) += 1;
        *keys.entry(mark).or_insert(0) += 1;
    }
    let weight = |value: &Value| {
        let of = |count: Option<&u32>| count.copied().unwrap_or(1);
        (
            of(networks.get(&network(value.writer))),
            of(keys.get(&value.writer)),
        )
    };
    let heaviest = values.iter().map(|value| weight(value)).max()?;
    let oldest = values.iter().find(|value| weight(value) == heaviest)?;
    Some(oldest.text.clone())
}

/// The values of one writer over the ten claim names of the mailbox of `owner`.
fn in_mailbox(draft: &mut Draft<'_>, owner: &Owner, tag: WriterTag) -> Vec<(Owner, Value)> {
    let Some(base) = owner.parent() else {
        return Vec::new();
    };
    let names = (0..10).filter_map(|slot| Owner::parse(&format!("claim-{slot}.{base}")).ok());
    let mut own = Vec::new();
    for name in names {
        let values = draft.values(&name).filter(|value| value.writer == tag.0);
        own.extend(values.cloned().map(|value| (name.clone(), value)));
    }
    own
}

fn network(mark: u64) -> u32 {
    (mark >> 32) as u32
}
