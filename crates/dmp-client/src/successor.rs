//! What the zone says of a pinned key of an operator or zone signer: that another one follows, or that it has ended (federation.md 6.4,
//! 6.6). For people to read; nothing is ever pinned by it.

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::limits::ROTATION_HOPS_MAX;
use dmp_core::record::{Binding, Reason, Revocation, Rotation, Subject, SubjectKind};
use dmp_core::rotation::walk;

use crate::mesh::{Lookup, Reader};

/// How a pinned key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyStanding {
    /// Nothing is published about it, or nobody answers.
    Unchanged,
    /// It signed over to this key, directly or in several steps.
    Replaced(SigningPublicKey),
    /// It was declared to have ended, for good; no successor counts.
    Revoked(Reason),
    /// It signed over to another key, but the chain from there contradicts itself, is too long or ends at a revoked key.
    Unclear,
}

/// Looks at the rotations and revocations of the role that `subject` names, from the pinned key on.
pub async fn key_standing(
    reader: &dyn Reader,
    subject: &Subject,
    pinned: &SigningPublicKey,
    now: UnixTime,
) -> KeyStanding {
    let mut values = Vec::new();
    for owner in subject.owner_names() {
        if let Lookup::Found(found) = reader.txt(&owner).await {
            values.extend(found);
        }
    }
    let about = Binding {
        key: Some(pinned),
        subject: Some(subject),
    };
    let revocation = values
        .iter()
        .find_map(|value| Revocation::parse(value, about, None, now).ok());
    if let Some(revocation) = revocation {
        return KeyStanding::Revoked(revocation.reason);
    }
    let texts = || values.iter().map(String::as_str);
    match walk(pinned, subject, texts(), ROTATION_HOPS_MAX, now) {
        Some(successor) => KeyStanding::Replaced(successor),
        None if texts().any(|value| Rotation::parse(value, about, now).is_ok()) => {
            KeyStanding::Unclear
        }
        None => KeyStanding::Unchanged,
    }
}

/// The command that pins a key of this role for a domain.
#[must_use]
pub fn pin_command(kind: SubjectKind, domain: &str, key: &str) -> String {
    match kind {
        SubjectKind::User => format!("dnsmesh contacts accept-key {domain}"),
        SubjectKind::ClusterOperator => format!("dnsmesh cluster pin {key} {domain}"),
        SubjectKind::BootstrapSigner => format!("dnsmesh bootstrap pin {domain} {key}"),
    }
}
