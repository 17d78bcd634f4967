//! One X25519 key belongs to one signing key: what must hold before a key is pinned or a quarantined sender trusted (D6).

use thiserror::Error;

use super::{Author, Quarantine, Receiver};
use crate::id::UserId;
use crate::keys::SigningPublicKey;

/// A contact or quarantine row that holds an X25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder<'a> {
    /// What the user calls it.
    pub name: &'a str,
    /// The signing key it goes with.
    pub signing: Option<SigningPublicKey>,
    /// The hash of the X25519 key; a row's sender id.
    pub user_id: UserId,
}

/// Somebody else has this X25519 key.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{wanted} and {held_by} show the same encryption key under different signing keys")]
pub struct PinningRefused {
    /// Whom the user wanted to pin.
    pub wanted: String,
    /// The contact or quarantine row that has the key.
    pub held_by: String,
}

/// Why a quarantined sender must not be trusted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TrustRefused {
    /// The signing key is a contact's already, and this text is not proven to be theirs.
    #[error("the signing key is that of {label}, but the authorship of this message is not proven")]
    Unproven {
        /// The contact.
        label: String,
    },
    /// The sender id is somebody else's.
    #[error(transparent)]
    KeyHeld(#[from] PinningRefused),
}

/// Checks that nobody holds the candidate's X25519 key under another signing key.
///
/// `holders` are all contacts ([`Pin::holder`](super::Pin::holder)) and all quarantine rows.
///
/// # Errors
/// [`PinningRefused`] with both names.
pub fn check_pinning<'h>(
    candidate: &Holder<'_>,
    holders: impl IntoIterator<Item = Holder<'h>>,
) -> Result<(), PinningRefused> {
    let differ = |one: Option<_>, other: Option<_>| {
        one.zip(other)
            .is_some_and(|(one, other): (SigningPublicKey, _)| one != other)
    };
    let other = |holder: &Holder<'_>| {
        holder.user_id == candidate.user_id && differ(holder.signing, candidate.signing)
    };
    match holders.into_iter().find(other) {
        Some(holder) => Err(PinningRefused {
            wanted: candidate.name.to_owned(),
            held_by: holder.name.to_owned(),
        }),
        None => Ok(()),
    }
}

impl Receiver<'_> {
    /// Checks that the sender of a quarantine row may be trusted under `name`; `rows` are the other rows.
    ///
    /// # Errors
    /// [`TrustRefused`].
    pub fn check_trusting<'h>(
        &self,
        name: &str,
        author: &Author,
        reason: &Quarantine,
        rows: impl IntoIterator<Item = Holder<'h>>,
    ) -> Result<(), TrustRefused> {
        let contact = self.pins.iter().find(|pin| pin.holds(&author.signing));
        if let (Some(contact), Quarantine::AuthorshipNotProven(_)) = (contact, reason) {
            return Err(TrustRefused::Unproven {
                label: contact.label.clone(),
            });
        }
        let candidate = Holder {
            name,
            signing: Some(author.signing),
            user_id: author.sender_id,
        };
        check_pinning(&candidate, self.pins.iter().filter_map(super::Pin::holder))?;
        check_pinning(&candidate, rows)?;
        Ok(())
    }
}
