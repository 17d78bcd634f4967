//! What to say about a pinned key of an operator or zone signer that has been replaced or has ended (federation.md 6.6). It looks and
//! advises; who pins a key is the user.

use dmp_client::mesh::Reader;
use dmp_client::successor::{KeyStanding, key_standing};
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;

use super::signing::{Role, word};
use crate::exit::Failure;
use crate::time::now;

/// What is published about the pinned key of a domain.
pub(super) async fn standing(
    reader: &dyn Reader,
    role: Role,
    domain: &str,
    pinned: &SigningPublicKey,
) -> KeyStanding {
    match role.subject(domain) {
        Ok(subject) => key_standing(reader, &subject, pinned, UnixTime::new(now())).await,
        Err(_) => KeyStanding::Unchanged,
    }
}

/// The lines to print about it; none if there is nothing to say.
pub(super) fn lines(standing: KeyStanding, role: Role, domain: &str) -> Vec<String> {
    match standing {
        KeyStanding::Unchanged => Vec::new(),
        KeyStanding::Replaced(successor) => vec![
            format!("the pinned key of {domain} has signed over to another one: {successor}"),
            format!(
                "nothing follows it by itself: compare it with what the operator says over another channel, then `{}`",
                role.pin_command(domain, &successor.to_string())
            ),
        ],
        KeyStanding::Revoked(reason) => vec![
            format!(
                "the pinned key of {domain} was revoked ({}): what it signed is not to be relied on, whoever shows it",
                word(reason)
            ),
            format!(
                "get the new key from the operator over another channel, then `{}`",
                role.pin_command(domain, "KEY")
            ),
        ],
        KeyStanding::Unclear => vec![
            format!(
                "the pinned key of {domain} has signed over to another one, but the chain from there cannot be followed: it forks, ends at a revoked key or is too long"
            ),
            format!(
                "ask the operator over another channel which key counts, then `{}`",
                role.pin_command(domain, "KEY")
            ),
        ],
    }
}

/// A failure to find a verified record, with what the zone says of the key that it should verify under.
pub(super) async fn explain(
    failure: Failure,
    reader: &dyn Reader,
    role: Role,
    domain: &str,
    pinned: &SigningPublicKey,
) -> Failure {
    let standing = standing(reader, role, domain, pinned).await;
    lines(standing, role, domain)
        .into_iter()
        .fold(failure, Failure::hint)
}
