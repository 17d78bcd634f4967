//! What the zone says about the end of a contact's pinned key, remembered for good, and the way to a new one (federation.md 6.4, 6.5; records.md
//! 18.16). It never changes a pin by itself: that is [`contacts_accept_key`], which the user asks for.

use dmp_core::id::{Fingerprint, UnixTime};
use dmp_core::keys::{PublicKeys, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::record::{IdentityRecord, Versions};
use dmp_core::trust::{RotationQuestion, Rotations};
use thiserror::Error;

use super::contacts::check_holders;
use super::lookup::{Lookups, Wanted, newest_identity, rotation_values};
use super::{ContactError, FetchError, FetchRequest, Place, contacts_find, identity_fetch};
use crate::error::{Fault, StoreError};
use crate::mesh::Reader;
use crate::store::{Contact, KeyState, SeenIdentity, Store, Succession};

/// What became of a contact's pinned key: what the zone says now, else what this home learned before. A key that was once known to be replaced or
/// revoked stays so, also while its zone cannot be asked or shows nothing any more.
pub(super) async fn key_state(
    store: &Store,
    lookups: &Lookups<'_>,
    contact: &Contact,
    own: &Zone,
    now: UnixTime,
) -> Result<KeyState, StoreError> {
    let Some(question) = question(contact, own) else {
        return Ok(contact.key);
    };
    let mut rotations = Rotations::default();
    let values = rotation_values(lookups, &question).await;
    rotations.learn(&question, values.iter().map(String::as_str), now);
    let revoked = rotations.is_revoked(&question);
    let state = match (contact.key, rotations.successor(&question)) {
        (KeyState::Revoked { .. }, _) => contact.key,
        _ if revoked => KeyState::Revoked { since: now },
        (KeyState::Replaced { by, .. }, Some(successor)) if by == successor => contact.key,
        (_, Some(by)) => KeyState::Replaced { by, since: now },
        (known, None) => known,
    };
    if state != contact.key {
        store.change_contact(contact.id, |card| {
            if card.signing == contact.signing {
                card.key = state;
            }
        })?;
    }
    Ok(state)
}

/// Remembers a chain of rotations that a received message was accepted by.
pub(super) fn remember(
    store: &Store,
    succession: &Succession,
    now: UnixTime,
) -> Result<(), StoreError> {
    let Some(contact) = store.contact(&succession.contact)? else {
        return Ok(());
    };
    let is_known = match contact.key {
        KeyState::Replaced { by, .. } => by == succession.new,
        KeyState::Revoked { .. } => true,
        KeyState::Current => false,
    };
    if contact.signing == Some(succession.old) && !is_known {
        store.change_contact(contact.id, |card| {
            card.key = KeyState::Replaced {
                by: succession.new,
                since: now,
            };
        })?;
    }
    Ok(())
}

/// The versions that a contact can receive, by the newest identity record of the pinned keys that was ever seen: an older record that is shown
/// again does not take a version away (reliability.md 7.2). `None` if no record is shown.
pub(super) async fn receivable_versions(
    store: &Store,
    lookups: &Lookups<'_>,
    contact: &Contact,
    user: &str,
    zone: &Zone,
) -> Result<Option<Versions>, StoreError> {
    let wanted = match (&contact.signing, &contact.agreement) {
        (Some(signing), _) => Wanted::Signing(signing),
        (None, Some(agreement)) => Wanted::Agreement(agreement),
        (None, None) => return Ok(None),
    };
    let Some(record) = newest_identity(lookups, user, zone, wanted).await else {
        return Ok(None);
    };
    match &contact.seen {
        Some(seen) if seen.ts > record.ts => Ok(Some(seen.versions.clone())),
        Some(seen) if seen.ts == record.ts && seen.versions == record.versions => {
            Ok(Some(record.versions))
        }
        // Only the pinned signing key vouches for what is worth remembering.
        _ if Some(record.keys()) == contact.keys() => {
            store.change_contact(contact.id, |card| note_record(card, &record))?;
            Ok(Some(record.versions))
        }
        _ => Ok(Some(record.versions)),
    }
}

/// How far the new keys are shown to be the same person's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyProof {
    /// The old key signed the new one, by a chain of rotations that is published.
    Chain,
    /// The same, seen at an earlier time; it is not published any more.
    EarlierChain {
        /// When this home learned it.
        since: UnixTime,
    },
    /// Nothing: anybody may have published the new keys.
    None,
}

/// New keys of a contact, for the user to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyOffer {
    /// The contact with the keys that are pinned.
    pub contact: Contact,
    /// The record with the new keys.
    pub record: IdentityRecord,
    /// What speaks for them.
    pub proof: KeyProof,
    /// Whether the owner of the pinned key revoked it.
    pub is_old_revoked: bool,
}

impl KeyOffer {
    /// The new keys.
    #[must_use]
    pub const fn keys(&self) -> PublicKeys {
        self.record.keys()
    }
}

/// Why there are no new keys to accept.
#[derive(Debug, Error)]
pub enum KeyChangeError {
    /// The contact, or what pinning the keys would break.
    #[error(transparent)]
    Contact(#[from] ContactError),
    /// There is no old key, or no user name to look up.
    #[error("`{0}` has no pinned signing key and user name: fetch the identity instead")]
    NothingPinned(String),
    /// What is published are the pinned keys.
    #[error("the keys of `{0}` have not changed")]
    Unchanged(String),
    /// The chain leads to a key without an identity record.
    #[error(
        "`{label}` has replaced the pinned key by {successor}, but no identity record of that key is published yet"
    )]
    NoRecord {
        /// The contact.
        label: String,
        /// The key at the end of the chain.
        successor: SigningPublicKey,
    },
    /// Nothing shows whose the new keys are, and the user has not named their fingerprint.
    #[error("nothing shows that the new keys {fingerprint} of `{label}` are the same person's")]
    Unproven {
        /// The contact.
        label: String,
        /// The new keys.
        fingerprint: Fingerprint,
    },
    /// The user named another fingerprint.
    #[error("the new keys of `{label}` have the fingerprint {found}, not {wanted}")]
    OtherFingerprint {
        /// The contact.
        label: String,
        /// What is published.
        found: Fingerprint,
        /// What the user named.
        wanted: Fingerprint,
    },
    /// The identity was not found.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl From<StoreError> for KeyChangeError {
    fn from(error: StoreError) -> Self {
        Self::Contact(error.into())
    }
}

impl KeyChangeError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Contact(error) => error.fault(),
            Self::NothingPinned(_) | Self::Unchanged(_) | Self::Unproven { .. } => Fault::Misuse,
            Self::OtherFingerprint { .. } => Fault::Rejected,
            Self::NoRecord { .. } => Fault::Unavailable,
            Self::Fetch(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Contact(error) => error.code(),
            Self::NothingPinned(_) => "contact-nothing-pinned",
            Self::Unchanged(_) => "contact-key-unchanged",
            Self::NoRecord { .. } => "contact-key-no-record",
            Self::Unproven { .. } => "contact-key-unproven",
            Self::OtherFingerprint { .. } => "contact-key-other-fingerprint",
            Self::Fetch(error) => error.code(),
        }
    }
}

/// Finds the new keys of a contact: those that a chain of rotations leads to, else those that are published at the contact's address.
///
/// # Errors
/// [`KeyChangeError`]; nothing is changed, except that a key that turns out to be replaced or revoked is remembered as such.
pub async fn contacts_new_key(
    store: &Store,
    reader: &dyn Reader,
    own: &Zone,
    name: &str,
    accept: Option<Fingerprint>,
    now: UnixTime,
) -> Result<KeyOffer, KeyChangeError> {
    let contact = contacts_find(store, name)?;
    let label = || contact.label.clone();
    let (Some(pinned), Some(user)) = (contact.signing, contact.username()) else {
        return Err(KeyChangeError::NothingPinned(label()));
    };
    let zone = contact.zone_or(own).clone();
    let lookups = Lookups::new(reader);
    let state = key_state(store, &lookups, &contact, own, now).await?;
    let is_old_revoked = matches!(state, KeyState::Revoked { .. });
    let (record, proof) = if let KeyState::Replaced { by, since } = state {
        let record = newest_identity(&lookups, user, &zone, Wanted::Signing(&by)).await;
        let record = record.ok_or_else(|| KeyChangeError::NoRecord {
            label: label(),
            successor: by,
        })?;
        let proof = if is_published(&lookups, &contact, own, by, now).await {
            KeyProof::Chain
        } else {
            KeyProof::EarlierChain { since }
        };
        (record, proof)
    } else {
        let request = FetchRequest {
            user: user.to_owned(),
            place: Place::Address(zone),
            accept,
        };
        let record = identity_fetch(reader, &request, now).await?.record;
        if record.signing == pinned && contact.agreement.is_none_or(|key| key == record.agreement) {
            return Err(KeyChangeError::Unchanged(label()));
        }
        (record, KeyProof::None)
    };
    if let Some(wanted) = accept.filter(|wanted| *wanted != record.fingerprint()) {
        return Err(KeyChangeError::OtherFingerprint {
            label: label(),
            found: record.fingerprint(),
            wanted,
        });
    }
    check_holders(
        store,
        &contact.label,
        &record.agreement,
        Some(record.signing),
        Some(contact.id),
    )?;
    Ok(KeyOffer {
        contact,
        record,
        proof,
        is_old_revoked,
    })
}

/// Pins the offered keys in place of the old ones. That the old ones were compared does not count for them.
///
/// # Errors
/// The contact was removed or has other keys by now, or somebody else shows the new encryption key.
pub fn contacts_accept_key(store: &Store, offer: &KeyOffer) -> Result<Contact, ContactError> {
    let KeyOffer {
        contact, record, ..
    } = offer;
    check_holders(
        store,
        &contact.label,
        &record.agreement,
        Some(record.signing),
        Some(contact.id),
    )?;
    let mut is_same = false;
    let changed = store.change_contact(contact.id, |card| {
        is_same = (card.agreement, card.signing) == (contact.agreement, contact.signing);
        if is_same {
            card.replace_keys(Some(record.agreement), Some(record.signing));
            note_record(card, record);
        }
    })?;
    match changed {
        Some(contact) if is_same => Ok(contact),
        Some(contact) => Err(ContactError::Changed(contact.label.clone())),
        None => Err(ContactError::Unknown(contact.label.clone())),
    }
}

fn note_record(card: &mut crate::store::NewContact, record: &IdentityRecord) {
    card.seen = Some(SeenIdentity {
        ts: record.ts,
        versions: record.versions.clone(),
    });
}

/// Whether the chain to this successor is published now; the answers are those that [`key_state`] got.
async fn is_published(
    lookups: &Lookups<'_>,
    contact: &Contact,
    own: &Zone,
    successor: SigningPublicKey,
    now: UnixTime,
) -> bool {
    let Some(question) = question(contact, own) else {
        return false;
    };
    let mut rotations = Rotations::default();
    let values = rotation_values(lookups, &question).await;
    rotations.learn(&question, values.iter().map(String::as_str), now);
    rotations.successor(&question) == Some(successor)
}

fn question(contact: &Contact, own: &Zone) -> Option<RotationQuestion> {
    let (user, signing) = contact.username().zip(contact.signing)?;
    RotationQuestion::new(user, contact.zone_or(own), signing)
}
