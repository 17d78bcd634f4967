//! Contacts, and which of their prekeys were used (client.md 3.2, 9.2). Pins nothing by itself: callers ask for conflicts first.

use std::fmt;

use dmp_core::id::{PrekeyId, UnixTime};
use dmp_core::keys::{AgreementPublicKey, PublicKeys, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::record::Versions;
use dmp_core::seal::Wire;
use dmp_core::trust;
use rusqlite::{OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::{Store, stamp, time};
use crate::error::StoreError;

const TABLE: &str = "contacts";

/// A contact's row number; never used again after removal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContactId(pub(super) i64);

/// A person this user knows (client.md 3.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contact {
    /// The row.
    pub id: ContactId,
    /// When it was added.
    pub created: UnixTime,
    /// Everything else.
    pub card: NewContact,
}

/// What is known about a person. At least one of the keys is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewContact {
    /// The local name, unique.
    pub label: String,
    /// X25519 key; without it nothing can be sent (`pub`).
    pub agreement: Option<AgreementPublicKey>,
    /// Ed25519 key; without it nothing is accepted (`spk`).
    pub signing: Option<SigningPublicKey>,
    /// The zone that the user gave; `None` is treated as the own zone.
    pub zone: Option<Zone>,
    /// Protocol user name where it differs from the label.
    pub remote_username: Option<String>,
    /// Where the mailbox lives if not in `zone` (client.md 6.4).
    pub mailbox_zone: Option<Zone>,
    /// Which manifests are exchanged with this contact (D2).
    pub wire: Wire,
    /// Whether the user compared the keys.
    pub verification: Verification,
    /// Whether the pinned signing key still holds, as far as this home has ever seen.
    pub key: KeyState,
    /// The newest identity record of the pinned keys that was ever seen: an older one that is shown later does not count.
    pub seen: Option<SeenIdentity>,
}

/// Whether the user compared a contact's keys over another channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Verification {
    /// The keys came over the network.
    #[default]
    Unverified,
    /// The user compared them.
    Verified {
        /// When.
        at: UnixTime,
        /// How.
        by: Method,
    },
}

/// How a user made sure of a contact's keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Both compared the safety number.
    SafetyNumber,
    /// The user scanned or pasted the address URI that the contact showed.
    Uri,
}

/// What is known about the end of a pinned signing key. Once known it stays known, whatever the zone shows later (federation.md 6.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyState {
    /// Nothing.
    #[default]
    Current,
    /// Its owner signed it over to another key, by a chain of rotations.
    Replaced {
        /// The key at the end of the chain.
        by: SigningPublicKey,
        /// When this home learned it.
        since: UnixTime,
    },
    /// Its owner revoked it.
    Revoked {
        /// When this home learned it.
        since: UnixTime,
    },
}

/// What the newest identity record said that was seen of a pair of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenIdentity {
    /// When it was published, by its owner's clock.
    pub ts: UnixTime,
    /// Which versions its owner can receive.
    pub versions: Versions,
}

impl NewContact {
    /// A contact with nothing but a label.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            agreement: None,
            signing: None,
            zone: None,
            remote_username: None,
            mailbox_zone: None,
            wire: Wire::Current,
            verification: Verification::Unverified,
            key: KeyState::Current,
            seen: None,
        }
    }

    /// Both keys, where both are pinned.
    #[must_use]
    pub fn keys(&self) -> Option<PublicKeys> {
        let (agreement, signing) = self.agreement.zip(self.signing)?;
        Some(PublicKeys { agreement, signing })
    }

    /// Pins other keys; what was known about the old ones (verification, key state, identity record) goes with them.
    pub fn replace_keys(
        &mut self,
        agreement: Option<AgreementPublicKey>,
        signing: Option<SigningPublicKey>,
    ) {
        if (self.agreement, self.signing) != (agreement, signing) {
            self.verification = Verification::Unverified;
            self.seen = None;
        }
        if self.signing != signing {
            self.key = KeyState::Current;
        }
        (self.agreement, self.signing) = (agreement, signing);
    }

    /// The protocol user name (client.md 3.2): the stated one, else the local part of the label; none for an intro whose keys were
    /// never fetched.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        if let Some(name) = &self.remote_username {
            return Some(name);
        }
        match self.label.split_once('@') {
            Some((local, _)) => Some(local),
            None if self.agreement.is_none() && self.signing.is_some() => None,
            None => Some(&self.label),
        }
    }

    /// The zone that identity, rotation and prekeys are sought in.
    #[must_use]
    pub fn zone_or<'a>(&'a self, own: &'a Zone) -> &'a Zone {
        self.zone.as_ref().unwrap_or(own)
    }

    /// The zone that this contact's messages come from.
    #[must_use]
    pub fn mailbox_zone_or<'a>(&'a self, own: &'a Zone) -> &'a Zone {
        self.mailbox_zone
            .as_ref()
            .unwrap_or_else(|| self.zone_or(own))
    }

    /// The contact as the receive decision sees it.
    #[must_use]
    pub fn pin(&self) -> trust::Pin {
        trust::Pin {
            label: self.label.clone(),
            signing: self.signing,
            agreement: self.agreement,
            username: self.username().map(ToOwned::to_owned),
            zone: self.zone.clone(),
            mailbox_zone: self.mailbox_zone.clone(),
            wire: self.wire,
        }
    }

    /// Every zone that this contact's records may be found in, the mailbox first.
    #[must_use]
    pub fn zones<'a>(&'a self, own: &'a Zone) -> Vec<&'a Zone> {
        let (mailbox, zone) = (self.mailbox_zone_or(own), self.zone_or(own));
        if mailbox == zone {
            vec![zone]
        } else {
            vec![mailbox, zone]
        }
    }
}

impl std::ops::Deref for Contact {
    type Target = NewContact;

    fn deref(&self) -> &NewContact {
        &self.card
    }
}

impl Store {
    /// All contacts in the order in which they were added; damaged rows are passed over.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn contacts(&self) -> Result<Vec<Contact>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT id, created, sealed FROM contacts ORDER BY id")?;
        let rows = statement
            .query_map((), read_row)?
            .collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|row| self.unless_damaged(row.0.to_be_bytes(), self.open_contact(row)))
            .filter_map(Result::transpose)
            .collect()
    }

    /// The contact with exactly this label.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn contact(&self, label: &str) -> Result<Option<Contact>, StoreError> {
        let row = self
            .connection()
            .query_row(
                "SELECT id, created, sealed FROM contacts WHERE tag = ?1",
                [self.label_tag(label)],
                read_row,
            )
            .optional()?;
        row.map(|row| self.open_contact(row)).transpose()
    }

    /// The contact that a person means by a name: the exact label, else the part before `@` (client.md 3.2).
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn find_contact(&self, name: &str) -> Result<Option<Contact>, StoreError> {
        match (self.contact(name)?, name.split_once('@')) {
            (None, Some((local, _))) => self.contact(local),
            (found, _) => Ok(found),
        }
    }

    /// Adds a contact; `None` if the label is taken.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn insert_contact(
        &self,
        card: &NewContact,
        now: UnixTime,
    ) -> Result<Option<Contact>, StoreError> {
        let sealed = self.seal_card(card)?;
        let added = self.connection().execute(
            "INSERT INTO contacts (tag, created, sealed) VALUES (?1, ?2, ?3) ON CONFLICT (tag) DO NOTHING",
            (self.label_tag(&card.label), stamp(now), sealed),
        )?;
        if added == 0 {
            Ok(None)
        } else {
            self.contact(&card.label)
        }
    }

    /// Replaces what is known about a contact; `false` if it is gone.
    ///
    /// # Errors
    /// Failures of the database, a label that another contact has.
    pub fn update_contact(&self, id: ContactId, card: &NewContact) -> Result<bool, StoreError> {
        let sealed = self.seal_card(card)?;
        let changed = self.connection().execute(
            "UPDATE contacts SET tag = ?2, sealed = ?3 WHERE id = ?1",
            (id.0, self.label_tag(&card.label), sealed),
        )?;
        Ok(changed == 1)
    }

    /// Changes a contact as it stands now, in one transaction; the contact afterwards, `None` if it is gone.
    ///
    /// # Errors
    /// Failures of the database, a damaged row, a label that another contact has.
    pub fn change_contact(
        &self,
        id: ContactId,
        change: impl FnOnce(&mut NewContact),
    ) -> Result<Option<Contact>, StoreError> {
        self.write(|transaction| {
            let row = transaction
                .query_row(
                    "SELECT id, created, sealed FROM contacts WHERE id = ?1",
                    [id.0],
                    read_row,
                )
                .optional()?;
            let Some(mut contact) = row.map(|row| self.open_contact(row)).transpose()? else {
                return Ok(None);
            };
            let signing = contact.signing;
            change(&mut contact.card);
            let sealed = self.seal_card(&contact.card)?;
            transaction.execute(
                "UPDATE contacts SET tag = ?2, sealed = ?3 WHERE id = ?1",
                (id.0, self.label_tag(&contact.label), sealed),
            )?;
            if contact.signing != signing {
                // The notes are about prekeys that the old key signed.
                transaction.execute("DELETE FROM used_prekeys WHERE contact = ?1", [id.0])?;
            }
            Ok(Some(contact))
        })
    }

    /// Removes a contact and its used-prekey notes; `false` if it is gone.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn remove_contact(&self, id: ContactId) -> Result<bool, StoreError> {
        Ok(self
            .connection()
            .execute("DELETE FROM contacts WHERE id = ?1", [id.0])?
            == 1)
    }

    /// The prekeys of this contact that messages were already sealed to.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn used_prekeys(&self, contact: ContactId) -> Result<Vec<PrekeyId>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT prekey FROM used_prekeys WHERE contact = ?1")?;
        let ids = statement
            .query_map([contact.0], |row| row.get::<_, u32>(0))?
            .collect::<Result<Vec<_>, _>>()?;
        Ok(ids.into_iter().filter_map(PrekeyId::new).collect())
    }

    pub(super) fn label_tag(&self, label: &str) -> [u8; 32] {
        self.vault.tag("label", &[label.as_bytes()])
    }

    pub(super) fn seal_card(&self, card: &NewContact) -> Result<Vec<u8>, StoreError> {
        self.seal(TABLE, &ContactRow::from(card))
    }

    fn open_contact(
        &self,
        (id, created, sealed): (i64, i64, Vec<u8>),
    ) -> Result<Contact, StoreError> {
        let row: ContactRow = self.unseal(TABLE, &sealed)?;
        let card = row.into_card().ok_or(StoreError::Damaged(TABLE))?;
        Ok(Contact {
            id: ContactId(id),
            created: time(created),
            card,
        })
    }
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<(i64, i64, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// A contact as it lies in its sealed column; absent members are the defaults of rows that an earlier version wrote.
#[derive(Serialize, Deserialize)]
struct ContactRow {
    label: String,
    #[serde(rename = "pub", default)]
    agreement: String,
    #[serde(rename = "spk", default)]
    signing: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    remote_username: String,
    #[serde(default)]
    mailbox_zone: String,
    #[serde(default)]
    legacy_wire: bool,
    #[serde(default)]
    verified_at: Option<u64>,
    #[serde(default)]
    verified_by: Option<Method>,
    #[serde(default)]
    key_ended_at: Option<u64>,
    #[serde(default)]
    key_replaced_by: String,
    #[serde(default)]
    seen_ts: u64,
    #[serde(default)]
    seen_versions: Vec<u8>,
}

impl From<&NewContact> for ContactRow {
    fn from(card: &NewContact) -> Self {
        let (verified_at, verified_by) = match card.verification {
            Verification::Unverified => (None, None),
            Verification::Verified { at, by } => (Some(at.as_secs()), Some(by)),
        };
        let (key_ended_at, successor) = match card.key {
            KeyState::Current => (None, None),
            KeyState::Replaced { by, since } => (Some(since.as_secs()), Some(by)),
            KeyState::Revoked { since } => (Some(since.as_secs()), None),
        };
        Self {
            label: card.label.clone(),
            agreement: text(card.agreement.as_ref()),
            signing: text(card.signing.as_ref()),
            zone: text(card.zone.as_ref()),
            remote_username: card.remote_username.clone().unwrap_or_default(),
            mailbox_zone: text(card.mailbox_zone.as_ref()),
            legacy_wire: card.wire == Wire::Legacy,
            verified_at,
            verified_by,
            key_ended_at,
            key_replaced_by: text(successor.as_ref()),
            seen_ts: card.seen.as_ref().map_or(0, |seen| seen.ts.as_secs()),
            seen_versions: card
                .seen
                .iter()
                .flat_map(|seen| seen.versions.iter())
                .collect(),
        }
    }
}

impl ContactRow {
    fn into_card(self) -> Option<NewContact> {
        let successor = optional(&self.key_replaced_by, SigningPublicKey::from_hex)?;
        let ended = self.key_ended_at.map(UnixTime::new);
        Some(NewContact {
            label: self.label,
            agreement: optional(&self.agreement, AgreementPublicKey::from_hex)?,
            signing: optional(&self.signing, SigningPublicKey::from_hex)?,
            zone: optional(&self.zone, Zone::parse)?,
            remote_username: Some(self.remote_username).filter(|name| !name.is_empty()),
            mailbox_zone: optional(&self.mailbox_zone, Zone::parse)?,
            wire: if self.legacy_wire {
                Wire::Legacy
            } else {
                Wire::Current
            },
            verification: self.verified_at.map_or(Verification::Unverified, |at| {
                Verification::Verified {
                    at: UnixTime::new(at),
                    by: self.verified_by.unwrap_or(Method::SafetyNumber),
                }
            }),
            key: match (ended, successor) {
                (None, _) => KeyState::Current,
                (Some(since), Some(by)) => KeyState::Replaced { by, since },
                (Some(since), None) => KeyState::Revoked { since },
            },
            seen: Versions::new(self.seen_versions).map(|versions| SeenIdentity {
                ts: UnixTime::new(self.seen_ts),
                versions,
            }),
        })
    }
}

/// The text of a value, empty for none.
pub(super) fn text(value: Option<&impl fmt::Display>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// The reverse of [`text`]; `None` if the text is there but wrong.
pub(super) fn optional<T, E>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<Option<T>> {
    if text.is_empty() {
        Some(None)
    } else {
        parse(text).ok().map(Some)
    }
}
