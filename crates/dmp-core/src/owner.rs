//! Every owner-name formula of records.md 4.2, one function each. Always lower case, never a trailing dot.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::id::{MsgId, Slot, UserId};
use crate::keys::SigningPublicKey;
use crate::name::{DomainName, Zone};

/// The name that an RRset hangs on, as text of at most 253 characters: the argument types leave no room for longer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerName(String);

impl OwnerName {
    /// The text, lower case, without trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives up the type.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl AsRef<str> for OwnerName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OwnerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for OwnerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OwnerName({})", self.0)
    }
}

/// Manifests for one recipient; `zone` is the sender's.
#[must_use]
pub fn manifest_owner(recipient: &UserId, slot: Slot, zone: &Zone) -> OwnerName {
    OwnerName(format!("slot-{slot}.mb-{}.{zone}", recipient.mailbox()))
}

/// One chunk of a message; `zone` is the one its manifest is in.
#[must_use]
pub fn chunk_owner(
    message: &MsgId,
    recipient: &UserId,
    sender: &SigningPublicKey,
    index: u16,
    zone: &Zone,
) -> OwnerName {
    let digest = Sha256::new()
        .chain_update(message.as_bytes())
        .chain_update(recipient.as_bytes())
        .chain_update(sender.as_bytes())
        .finalize();
    OwnerName(format!(
        "chunk-{index:04}-{}.{zone}",
        hex_prefix(digest.as_ref(), 12)
    ))
}

/// Claims for one recipient; `zone` is a provider's or the recipient's.
#[must_use]
pub fn claim_owner(recipient: &UserId, slot: Slot, zone: &Zone) -> OwnerName {
    OwnerName(format!("claim-{slot}.mb-{}.{zone}", recipient.mailbox()))
}

/// The identity of a user in a shared zone. `user` is the bare user name, hashed byte by byte, never `user@host`.
#[must_use]
pub fn identity_owner_hashed(user: &str, zone: &Zone) -> OwnerName {
    OwnerName(format!("id-{}.{zone}", user_hash(user, 16)))
}

/// The identity of the one user of a zone.
#[must_use]
pub fn identity_owner_anchored(zone: &Zone) -> OwnerName {
    OwnerName(format!("dmp.{zone}"))
}

/// The prekey pool of a user; the hash is four digits shorter than the identity's.
#[must_use]
pub fn prekey_owner(user: &str, zone: &Zone) -> OwnerName {
    OwnerName(format!("prekeys.id-{}.{zone}", user_hash(user, 12)))
}

/// Rotations and revocations of a user in a shared zone.
#[must_use]
pub fn rotation_owner_hashed(user: &str, zone: &Zone) -> OwnerName {
    OwnerName(format!("rotate.id-{}.{zone}", user_hash(user, 16)))
}

/// Rotations and revocations of the one user of a zone.
#[must_use]
pub fn rotation_owner_anchored(zone: &Zone) -> OwnerName {
    OwnerName(format!("rotate.dmp.{zone}"))
}

/// Rotations and revocations of a cluster operator.
#[must_use]
pub fn rotation_owner_cluster(base: &DomainName) -> OwnerName {
    lower(format!("rotate.cluster.{base}"))
}

/// Rotations and revocations of a bootstrap signer.
#[must_use]
pub fn rotation_owner_bootstrap(domain: &DomainName) -> OwnerName {
    lower(format!("rotate._dmp.{domain}"))
}

/// The manifest of a cluster.
#[must_use]
pub fn cluster_owner(name: &DomainName) -> OwnerName {
    lower(format!("cluster.{name}"))
}

/// The bootstrap record of a user domain.
#[must_use]
pub fn bootstrap_owner(domain: &DomainName) -> OwnerName {
    lower(format!("_dmp.{domain}"))
}

/// The heartbeats of a zone's own nodes.
#[must_use]
pub fn heartbeat_owner(zone: &Zone) -> OwnerName {
    OwnerName(format!("_dnsmesh-heartbeat.{zone}"))
}

/// The heartbeats of others that a zone has seen.
#[must_use]
pub fn seen_owner(zone: &Zone) -> OwnerName {
    OwnerName(format!("_dnsmesh-seen.{zone}"))
}

/// Domain names keep the case they were written in; owner names do not.
fn lower(mut name: String) -> OwnerName {
    name.make_ascii_lowercase();
    OwnerName(name)
}

fn user_hash(user: &str, digits: usize) -> String {
    hex_prefix(Sha256::digest(user.as_bytes()).as_ref(), digits)
}

fn hex_prefix(digest: &[u8], digits: usize) -> String {
    let mut text = hex::encode(digest);
    text.truncate(digits);
    text
}
