//! Pinning people: by hand, or from a fetched identity (client.md 3.2, 6.3). A pinned key is never replaced silently.

use dmp_core::id::UnixTime;
use dmp_core::keys::{AgreementPublicKey, SigningPublicKey};
use dmp_core::trust::{Holder, PinningRefused, check_pinning};
use thiserror::Error;

use super::Fetched;
use crate::error::{Fault, StoreError};
use crate::store::{Contact, ContactId, NewContact, Store};

/// What happens if the label is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Taken {
    /// Nothing; the operation fails.
    #[default]
    Keep,
    /// The contact's keys are replaced because the user said so.
    Replace,
}

/// What became of a fetched identity (client.md 6.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Saved {
    /// A new contact.
    Added {
        /// Its label.
        label: String,
    },
    /// A contact with this signing key and no encryption key got one.
    Upgraded {
        /// Its label.
        label: String,
    },
    /// A contact of that label was there and stays as it is.
    Kept {
        /// Its label.
        label: String,
    },
}

/// Why a contact was not stored.
#[derive(Debug, Error)]
pub enum ContactError {
    /// The label is in use.
    #[error("there is a contact `{0}` already")]
    Taken(String),
    /// Somebody else shows the same encryption key (D6).
    #[error(transparent)]
    KeyHeld(#[from] PinningRefused),
    /// The record found belongs to another user name than the one asked for.
    #[error("the record is that of `{found}`, not of `{wanted}`")]
    OtherUser {
        /// The name in the record.
        found: String,
        /// The name that was asked for.
        wanted: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ContactError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Taken(_) => Fault::Misuse,
            Self::KeyHeld(_) | Self::OtherUser { .. } => Fault::Rejected,
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Taken(_) => "contact-taken",
            Self::KeyHeld(_) => "contact-key-held",
            Self::OtherUser { .. } => "contact-other-user",
            Self::Store(error) => error.code(),
        }
    }
}

/// All contacts, sorted by label.
///
/// # Errors
/// Failures of the store.
pub fn contacts_list(store: &Store) -> Result<Vec<Contact>, StoreError> {
    let mut contacts = store.contacts()?;
    contacts.sort_by(|one, other| one.label.cmp(&other.label));
    Ok(contacts)
}

/// Adds a contact whose keys the user typed in.
///
/// # Errors
/// [`ContactError`]; nothing is stored then.
pub fn contacts_add(
    store: &Store,
    label: &str,
    agreement: AgreementPublicKey,
    signing: Option<SigningPublicKey>,
    taken: Taken,
    now: UnixTime,
) -> Result<Contact, ContactError> {
    let existing = store.contact(label)?;
    check_holders(
        store,
        label,
        &agreement,
        signing,
        existing.as_ref().map(|contact| contact.id),
    )?;
    let mut card = NewContact::new(label);
    card.agreement = Some(agreement);
    card.signing = signing;
    let stored = match (existing, taken) {
        (Some(_), Taken::Keep) => None,
        (Some(contact), Taken::Replace) => {
            store.update_contact(contact.id, &card)?;
            store.contact(label)?
        }
        (None, _) => store.insert_contact(&card, now)?,
    };
    stored.ok_or_else(|| ContactError::Taken(label.to_owned()))
}

/// Saves a fetched identity: fills in a contact that has this signing key but no encryption key, whatever its label; else keeps a
/// contact of the target label; else adds one (client.md 6.3).
///
/// # Errors
/// [`ContactError`]; nothing is stored then. The record's user name must be exactly the one asked for (records.md 8.4).
pub fn contacts_add_fetched(
    store: &Store,
    fetched: &Fetched,
    now: UnixTime,
) -> Result<Saved, ContactError> {
    let record = &fetched.record;
    if record.username != fetched.user {
        return Err(ContactError::OtherUser {
            found: record.username.clone(),
            wanted: fetched.user.clone(),
        });
    }
    let contacts = store.contacts()?;
    let placeholder = contacts
        .iter()
        .find(|contact| contact.agreement.is_none() && contact.signing == Some(record.signing));
    let label = &fetched.label;
    if placeholder.is_none() && contacts.iter().any(|contact| contact.label == *label) {
        return Ok(Saved::Kept {
            label: label.clone(),
        });
    }
    let target = placeholder.map_or(label, |contact| &contact.label).clone();
    check_holders(
        store,
        &target,
        &record.agreement,
        Some(record.signing),
        placeholder.map(|contact| contact.id),
    )?;

    let mut card =
        placeholder.map_or_else(|| NewContact::new(&target), |contact| contact.card.clone());
    card.agreement = Some(record.agreement);
    card.signing = Some(record.signing);
    card.remote_username = Some(record.username.clone());
    if let Some(zone) = &fetched.contact_zone {
        card.zone = Some(zone.clone());
    }
    match placeholder {
        Some(contact) => {
            store.update_contact(contact.id, &card)?;
            Ok(Saved::Upgraded { label: target })
        }
        None => match store.insert_contact(&card, now)? {
            Some(_) => Ok(Saved::Added { label: target }),
            None => Ok(Saved::Kept { label: target }),
        },
    }
}

/// One X25519 key belongs to one signing key, among contacts and quarantine rows (D6).
fn check_holders(
    store: &Store,
    wanted: &str,
    agreement: &AgreementPublicKey,
    signing: Option<SigningPublicKey>,
    except: Option<ContactId>,
) -> Result<(), ContactError> {
    let candidate = Holder {
        name: wanted,
        signing,
        user_id: agreement.user_id(),
    };
    let pins: Vec<_> = store
        .contacts()?
        .iter()
        .filter(|contact| Some(contact.id) != except)
        .map(|contact| contact.pin())
        .collect();
    let intros = store.intros()?;
    let names: Vec<_> = intros
        .iter()
        .map(|intro| format!("intro #{}", intro.id))
        .collect();
    let rows = intros
        .iter()
        .zip(&names)
        .filter_map(|(intro, name)| intro.holder(name));
    check_pinning(
        &candidate,
        pins.iter().filter_map(|pin| pin.holder()).chain(rows),
    )?;
    Ok(())
}
