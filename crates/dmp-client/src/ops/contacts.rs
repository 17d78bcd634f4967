//! The people a user knows: pinned by hand, from a fetched identity or from an address URI; compared, changed, removed (client.md 3.2,
//! 6.3). A pinned key is never replaced silently; what the network says about its end is in [`super::key_change`].

use dmp_core::id::UnixTime;
use dmp_core::keys::{AgreementPublicKey, Identity, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::safety::SafetyNumber;
use dmp_core::seal::Wire;
use dmp_core::trust::{Holder, PinningRefused, check_pinning};
use dmp_core::uri::AddressUri;
use thiserror::Error;

use super::Fetched;
use crate::error::{Fault, StoreError};
use crate::store::{Contact, ContactId, Method, NewContact, Store, Verification};

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
    /// A contact of that label has the fetched keys instead of its own now.
    Replaced {
        /// Its label.
        label: String,
    },
    /// A contact of that label was there and stays as it is.
    Kept {
        /// Its label.
        label: String,
    },
}

/// Why a contact was not stored, changed or verified.
#[derive(Debug, Error)]
pub enum ContactError {
    /// The label is in use.
    #[error("there is a contact `{0}` already")]
    Taken(String),
    /// Nobody is called that.
    #[error("unknown contact `{0}`")]
    Unknown(String),
    /// Nothing, or something that no terminal shows.
    #[error("a label is not empty and has no control characters")]
    Label,
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
    /// A safety number needs all four keys.
    #[error("only one key of `{0}` is pinned: there is nothing to compare yet")]
    KeysIncomplete(String),
    /// What was typed is not a safety number.
    #[error("a safety number has 60 digits")]
    NotANumber,
    /// The numbers differ.
    #[error("the safety number of `{0}` is another one: one of you does not have the other's keys")]
    NumberDiffers(String),
    /// The URI that was scanned has other keys.
    #[error("the address URI has other keys than those pinned for `{0}`")]
    KeysDiffer(String),
    /// Somebody else pinned other keys while the user was asked.
    #[error("the keys of `{0}` were changed in the meantime")]
    Changed(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ContactError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Taken(_)
            | Self::Unknown(_)
            | Self::Label
            | Self::KeysIncomplete(_)
            | Self::NotANumber => Fault::Misuse,
            Self::KeyHeld(_)
            | Self::OtherUser { .. }
            | Self::NumberDiffers(_)
            | Self::KeysDiffer(_)
            | Self::Changed(_) => Fault::Rejected,
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Taken(_) => "contact-taken",
            Self::Unknown(_) => "contact-unknown",
            Self::Label => "contact-label",
            Self::KeyHeld(_) => "contact-key-held",
            Self::OtherUser { .. } => "contact-other-user",
            Self::KeysIncomplete(_) => "contact-keys-incomplete",
            Self::NotANumber => "contact-not-a-number",
            Self::NumberDiffers(_) => "contact-number-differs",
            Self::KeysDiffer(_) => "contact-keys-differ",
            Self::Changed(_) => "contact-changed",
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
    check_label(label)?;
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
    save_fetched(store, fetched, Taken::Keep, now)
}

/// As [`contacts_add_fetched`], but a contact of the target label gets the fetched keys, because the user said so.
///
/// # Errors
/// [`ContactError`]; nothing is stored then.
pub fn contacts_replace_fetched(
    store: &Store,
    fetched: &Fetched,
    now: UnixTime,
) -> Result<Saved, ContactError> {
    save_fetched(store, fetched, Taken::Replace, now)
}

/// Pins both keys of an address URI that the user scanned or pasted: no first use is trusted, the contact counts as verified. A contact
/// who has these keys already, or only this signing key, becomes verified under the label that it has; one of the same label with other
/// keys is replaced only if the user said so.
///
/// # Errors
/// [`ContactError`]; nothing is stored then.
pub fn contacts_add_uri(
    store: &Store,
    uri: &AddressUri,
    label: Option<&str>,
    taken: Taken,
    now: UnixTime,
) -> Result<Contact, ContactError> {
    let label = label.unwrap_or(uri.address.as_str());
    check_label(label)?;
    let contacts = store.contacts()?;
    let same = contacts.iter().find(|contact| {
        contact.signing == Some(uri.keys.signing)
            && contact
                .agreement
                .is_none_or(|agreement| agreement == uri.keys.agreement)
    });
    let namesake = contacts.iter().find(|contact| contact.label == label);
    let existing = match (same, namesake, taken) {
        (Some(same), _, _) => Some(same),
        (None, Some(namesake), Taken::Replace) => Some(namesake),
        (None, Some(_), Taken::Keep) => return Err(ContactError::Taken(label.to_owned())),
        (None, None, _) => None,
    };
    let target = existing.map_or(label, |contact| &contact.label).to_owned();
    check_holders(
        store,
        &target,
        &uri.keys.agreement,
        Some(uri.keys.signing),
        existing.map(|contact| contact.id),
    )?;
    let describe = |card: &mut NewContact| {
        card.replace_keys(Some(uri.keys.agreement), Some(uri.keys.signing));
        card.remote_username = Some(uri.address.local().to_owned());
        card.zone = Zone::parse(uri.address.host()).ok();
        if uri.mailbox_zone.is_some() {
            card.mailbox_zone.clone_from(&uri.mailbox_zone);
        }
        card.verification = Verification::Verified {
            at: now,
            by: Method::Uri,
        };
    };
    let stored = match existing {
        Some(contact) => store.change_contact(contact.id, describe)?,
        None => {
            let mut card = NewContact::new(&target);
            describe(&mut card);
            store.insert_contact(&card, now)?
        }
    };
    stored.ok_or(ContactError::Taken(target))
}

/// The contact that a name means: the exact label, else the part before `@`.
///
/// # Errors
/// [`ContactError::Unknown`], failures of the store.
pub fn contacts_find(store: &Store, name: &str) -> Result<Contact, ContactError> {
    store
        .find_contact(name)?
        .ok_or_else(|| ContactError::Unknown(name.to_owned()))
}

/// What to change about a contact; `None` leaves it as it is, an inner `None` takes it away.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ContactChanges {
    /// Another label.
    pub label: Option<String>,
    /// Which manifests are exchanged (D2).
    pub wire: Option<Wire>,
    /// The zone of identity, rotation and prekeys.
    pub zone: Option<Option<Zone>>,
    /// The zone of the mailbox where it is another (client.md 6.4).
    pub mailbox_zone: Option<Option<Zone>>,
    /// The protocol user name.
    pub username: Option<Option<String>>,
}

/// Changes a contact's card. The keys stay.
///
/// # Errors
/// [`ContactError`]; nothing is changed then.
pub fn contacts_set(
    store: &Store,
    name: &str,
    changes: &ContactChanges,
) -> Result<Contact, ContactError> {
    let contact = contacts_find(store, name)?;
    if let Some(label) = &changes.label {
        check_label(label)?;
        if store
            .contact(label)?
            .is_some_and(|other| other.id != contact.id)
        {
            return Err(ContactError::Taken(label.clone()));
        }
    }
    let changed = store.change_contact(contact.id, |card| {
        if let Some(label) = &changes.label {
            // The user name must not change because the label does.
            card.remote_username = card.username().map(ToOwned::to_owned);
            card.label.clone_from(label);
        }
        if let Some(wire) = changes.wire {
            card.wire = wire;
        }
        if let Some(zone) = &changes.zone {
            card.zone.clone_from(zone);
        }
        if let Some(zone) = &changes.mailbox_zone {
            card.mailbox_zone.clone_from(zone);
        }
        if let Some(username) = &changes.username {
            card.remote_username.clone_from(username);
        }
    })?;
    changed.ok_or_else(|| ContactError::Unknown(name.to_owned()))
}

/// Removes a contact: the pinned keys and everything that was known about them. Received messages stay.
///
/// # Errors
/// [`ContactError::Unknown`], failures of the store.
pub fn contacts_remove(store: &Store, name: &str) -> Result<Contact, ContactError> {
    let contact = contacts_find(store, name)?;
    store.remove_contact(contact.id)?;
    Ok(contact)
}

/// The number that the user and a contact compare.
///
/// # Errors
/// [`ContactError::KeysIncomplete`].
pub fn contacts_safety_number(
    identity: &Identity,
    contact: &Contact,
) -> Result<SafetyNumber, ContactError> {
    let keys = contact
        .keys()
        .ok_or_else(|| ContactError::KeysIncomplete(contact.label.clone()))?;
    Ok(SafetyNumber::of(&identity.public_keys(), &keys))
}

/// Compares the safety number that a contact read out with the own one; if they are equal, the contact is verified.
///
/// # Errors
/// [`ContactError`]; nothing is changed then.
pub fn contacts_verify_number(
    store: &Store,
    identity: &Identity,
    name: &str,
    typed: &str,
    now: UnixTime,
) -> Result<Contact, ContactError> {
    let contact = contacts_find(store, name)?;
    let number = contacts_safety_number(identity, &contact)?;
    if !SafetyNumber::is_form(typed) {
        return Err(ContactError::NotANumber);
    }
    if !number.is(typed) {
        return Err(ContactError::NumberDiffers(contact.label.clone()));
    }
    let verified = store.change_contact(contact.id, |card| {
        card.verification = Verification::Verified {
            at: now,
            by: Method::SafetyNumber,
        };
    })?;
    verified.ok_or_else(|| ContactError::Unknown(name.to_owned()))
}

/// Compares the keys of an address URI with those pinned; if they are equal, the contact is verified. A key that was not pinned yet is pinned.
///
/// # Errors
/// [`ContactError`]; nothing is changed then.
pub fn contacts_verify_uri(
    store: &Store,
    name: &str,
    uri: &AddressUri,
    now: UnixTime,
) -> Result<Contact, ContactError> {
    let contact = contacts_find(store, name)?;
    let agrees = contact
        .agreement
        .is_none_or(|agreement| agreement == uri.keys.agreement)
        && contact
            .signing
            .is_none_or(|signing| signing == uri.keys.signing);
    if !agrees {
        return Err(ContactError::KeysDiffer(contact.label.clone()));
    }
    check_holders(
        store,
        &contact.label,
        &uri.keys.agreement,
        Some(uri.keys.signing),
        Some(contact.id),
    )?;
    let verified = store.change_contact(contact.id, |card| {
        card.replace_keys(Some(uri.keys.agreement), Some(uri.keys.signing));
        card.verification = Verification::Verified {
            at: now,
            by: Method::Uri,
        };
    })?;
    verified.ok_or_else(|| ContactError::Unknown(name.to_owned()))
}

fn save_fetched(
    store: &Store,
    fetched: &Fetched,
    taken: Taken,
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
    let namesake = contacts.iter().find(|contact| contact.label == *label);
    if placeholder.is_none() && namesake.is_some() && taken == Taken::Keep {
        return Ok(Saved::Kept {
            label: label.clone(),
        });
    }
    let existing = placeholder.or(namesake);
    let target = existing.map_or(label, |contact| &contact.label).clone();
    check_holders(
        store,
        &target,
        &record.agreement,
        Some(record.signing),
        existing.map(|contact| contact.id),
    )?;

    let describe = |card: &mut NewContact| {
        card.replace_keys(Some(record.agreement), Some(record.signing));
        card.remote_username = Some(record.username.clone());
        if let Some(zone) = &fetched.contact_zone {
            card.zone = Some(zone.clone());
        }
    };
    if let Some(contact) = existing {
        store.change_contact(contact.id, describe)?;
        return Ok(if placeholder.is_some() {
            Saved::Upgraded { label: target }
        } else {
            Saved::Replaced { label: target }
        });
    }
    let mut card = NewContact::new(&target);
    describe(&mut card);
    Ok(match store.insert_contact(&card, now)? {
        Some(_) => Saved::Added { label: target },
        None => Saved::Kept { label: target },
    })
}

/// A label is something that a person can type and read.
fn check_label(label: &str) -> Result<(), ContactError> {
    if label.trim().is_empty() || label.contains(char::is_control) {
        Err(ContactError::Label)
    } else {
        Ok(())
    }
}

/// One X25519 key belongs to one signing key, among contacts and quarantine rows (D6).
pub(super) fn check_holders(
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
