//! The quarantine as the user works through it, and the denylist (federation.md 3.9, D6). Needs no network.

use dmp_core::id::UnixTime;
use dmp_core::keys::{Identity, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::trust::{Author, Quarantine, Receiver, RotationPolicy, TrustRefused, Unproven};
use thiserror::Error;

use super::{FirstUse, Profile};
use crate::error::{Fault, StoreError};
use crate::store::{
    Blocked, Contact, ContactChange, InboxMessage, Intro, IntroId, IntroPurge, NewContact, Store,
};

/// Why a row of the quarantine was left alone.
#[derive(Debug, Error)]
pub enum IntroError {
    /// No such row.
    #[error("no pending intro with id {0}")]
    Unknown(IntroId),
    /// The label belongs to another key or zone.
    #[error("the label `{label}` belongs to a contact with another key or zone")]
    LabelTaken {
        /// The label.
        label: String,
    },
    /// The sender must not be trusted by this message.
    #[error(transparent)]
    Refused(#[from] TrustRefused),
    /// Neither a key nor the name of one.
    #[error("`{0}` is no signing key, no contact with one and no blocked intro")]
    UnknownSender(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntroError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Unknown(_) | Self::LabelTaken { .. } | Self::UnknownSender(_) => Fault::Misuse,
            Self::Refused(_) => Fault::Rejected,
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "intro-unknown",
            Self::UnknownSender(_) => "sender-unknown",
            Self::LabelTaken { .. } => "intro-label-taken",
            Self::Refused(TrustRefused::Unproven { .. }) => "intro-authorship-not-proven",
            Self::Refused(TrustRefused::KeyHeld(_)) => "contact-key-held",
            Self::Store(error) => error.code(),
        }
    }
}

/// The quarantine, newest first, expired rows included.
///
/// # Errors
/// Failures of the store.
pub fn intros_list(store: &Store) -> Result<Vec<Intro>, StoreError> {
    store.intros()
}

/// Moves a message to the inbox without pinning anybody.
///
/// # Errors
/// [`IntroError::Unknown`], failures of the store.
pub fn intros_accept(
    store: &Store,
    id: IntroId,
    now: UnixTime,
) -> Result<InboxMessage, IntroError> {
    store
        .accept_intro(id, None, now)?
        .ok_or(IntroError::Unknown(id))
}

/// Moves a message to the inbox and pins its signing key: under `label`, else the user name, else `intro-<12 hex>`. The user name is
/// stored also when it equals the label. An encryption key that the contact has already stays (cli.md 3.6).
///
/// # Errors
/// [`IntroError`]; nothing is changed then.
pub fn intros_trust(
    store: &Store,
    profile: &Profile,
    identity: &Identity,
    id: IntroId,
    label: Option<&str>,
    username: Option<&str>,
    now: UnixTime,
) -> Result<(Contact, InboxMessage), IntroError> {
    let intro = store.intro(id)?.ok_or(IntroError::Unknown(id))?;
    let fallback = nameless_label(&intro.signer);
    let stated = label.or(username);
    let label = stated.unwrap_or(&fallback);
    check_trust(store, profile, identity, &intro, label)?;

    let known = store
        .contacts()?
        .into_iter()
        .find(|contact| contact.signing == Some(intro.signer));
    let existing = match known {
        // The key is pinned already: the contact learns where its mail comes from (client.md 6.4).
        Some(contact) if stated.is_none_or(|stated| stated == contact.label) => Some(contact),
        _ => store.contact(label)?,
    };
    let card = pinned_card(
        existing.as_ref(),
        &intro,
        label,
        username,
        &profile.mesh_zone,
    )
    .ok_or_else(|| IntroError::LabelTaken {
        label: label.to_owned(),
    })?;
    let change = existing
        .as_ref()
        .map_or(ContactChange::New(&card), |contact| {
            ContactChange::Change(contact, &card)
        });
    let message = store
        .accept_intro(id, Some(change), now)?
        .ok_or(IntroError::Unknown(id))?;
    let contact = store.contact(&card.label)?.ok_or(IntroError::Unknown(id))?;
    Ok((contact, message))
}

/// Removes a row and silences its signer; other rows of that key stay.
///
/// # Errors
/// [`IntroError::Unknown`], failures of the store.
pub fn intros_block(
    store: &Store,
    id: IntroId,
    note: &str,
    now: UnixTime,
) -> Result<SigningPublicKey, IntroError> {
    store
        .block_intro(id, note, now)?
        .ok_or(IntroError::Unknown(id))
}

/// Deletes rows unread; says how many.
///
/// # Errors
/// Failures of the store.
pub fn intros_purge(store: &Store, which: IntroPurge, now: UnixTime) -> Result<usize, StoreError> {
    store.remove_intros(which, now)
}

/// Silences a signing key: whatever it signs is dropped, wherever it is found, pinned or not. The first note of a key stays.
///
/// # Errors
/// Failures of the store.
pub fn sender_block(
    store: &Store,
    signer: &SigningPublicKey,
    note: &str,
    now: UnixTime,
) -> Result<(), StoreError> {
    store.block(signer, note, now)
}

/// Takes a signing key off the denylist; `false` if it was not on it.
///
/// # Errors
/// Failures of the store.
pub fn sender_unblock(store: &Store, signer: &SigningPublicKey) -> Result<bool, StoreError> {
    store.unblock(signer)
}

/// The denylist, oldest entry first.
///
/// # Errors
/// Failures of the store.
pub fn senders_blocked(store: &Store) -> Result<Vec<Blocked>, StoreError> {
    store.denylist()
}

/// The signing key that a user means: 64 hex digits, the label of a contact, or the name `intro-<12 hex>` under which a blocked or
/// waiting key was shown.
///
/// # Errors
/// [`IntroError::UnknownSender`], failures of the store.
pub fn sender_named(store: &Store, text: &str) -> Result<SigningPublicKey, IntroError> {
    if let Ok(key) = SigningPublicKey::from_hex(text) {
        return Ok(key);
    }
    if let Some(key) = store.contact(text)?.and_then(|contact| contact.signing) {
        return Ok(key);
    }
    let blocked = store.denylist()?.into_iter().map(|blocked| blocked.signer);
    let waiting = store.intros()?.into_iter().map(|intro| intro.signer);
    blocked
        .chain(waiting)
        .find(|key| nameless_label(key) == text)
        .ok_or_else(|| IntroError::UnknownSender(text.to_owned()))
}

/// What a key is called while it has no better name.
fn nameless_label(key: &SigningPublicKey) -> String {
    let digits: String = key.short().chars().take(12).collect();
    format!("intro-{digits}")
}

/// The contact that trusting a row makes; `None` if the label is that of another key or zone.
fn pinned_card(
    existing: Option<&Contact>,
    intro: &Intro,
    label: &str,
    username: Option<&str>,
    own: &Zone,
) -> Option<NewContact> {
    let mut card = existing.map_or_else(|| NewContact::new(label), |contact| contact.card.clone());
    match existing {
        None => {
            card.signing = Some(intro.signer);
            card.zone = Some(intro.zone.clone());
        }
        Some(contact) if contact.signing != Some(intro.signer) => return None,
        Some(contact)
            if contact.label == label
                && contact
                    .zone
                    .as_ref()
                    .is_some_and(|zone| *zone != intro.zone) =>
        {
            return None;
        }
        Some(contact) => {
            if *contact.zone_or(own) != intro.zone {
                card.mailbox_zone = Some(intro.zone.clone());
            }
        }
    }
    if let Some(username) = username {
        card.remote_username = Some(username.to_owned());
    }
    Some(card)
}

fn check_trust(
    store: &Store,
    profile: &Profile,
    identity: &Identity,
    intro: &Intro,
    label: &str,
) -> Result<(), IntroError> {
    // A row that was taken over from a reference home names no sender: nothing can be held against it.
    let Some(sender_id) = intro.sender_id else {
        return Ok(());
    };
    let pins: Vec<_> = store
        .contacts()?
        .iter()
        .map(|contact| contact.pin())
        .collect();
    let others: Vec<_> = store
        .intros()?
        .into_iter()
        .filter(|row| row.id != intro.id)
        .collect();
    let names: Vec<_> = others
        .iter()
        .map(|row| format!("intro #{}", row.id))
        .collect();
    let receiver = Receiver {
        user_id: identity.user_id(),
        zone: &profile.mesh_zone,
        pins: &pins,
        denylist: &std::collections::HashSet::new(),
        first_use: FirstUse::Refuse,
        rotation: RotationPolicy::Ignore,
    };
    let author = Author {
        signing: intro.signer,
        sender_id,
        from: intro.claimed.clone(),
    };
    let unproven = Quarantine::AuthorshipNotProven(Unproven::NoRecord);
    let reason = if intro.reason.code == unproven.code() {
        unproven
    } else {
        Quarantine::NotPinned
    };
    let rows = others
        .iter()
        .zip(&names)
        .filter_map(|(row, name)| row.holder(name));
    receiver.check_trusting(label, &author, &reason, rows)?;
    Ok(())
}
