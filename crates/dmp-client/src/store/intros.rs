//! The quarantine and the denylist (client.md 5.2, D6). Decides nothing: what is put here comes with its reason.

use dmp_core::address::Address;
use dmp_core::id::{MsgId, PrekeyId, UnixTime, UserId};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::trust::Holder;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};
use serde::{Deserialize, Serialize};

use super::contacts::{optional, text};
use super::inbox::{Authorship, InboxMessage, MessageNumber};
use super::{Contact, NewContact, Store, stamp, time};
use crate::error::StoreError;

const TABLE: &str = "intros";
const DENYLIST: &str = "denylist";

/// A quarantine row's number; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IntroId(i64);

impl IntroId {
    /// The row that a user names by its number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number as people see it.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl std::fmt::Display for IntroId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A message kept apart from the inbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewIntro {
    /// Whose key signed the manifest.
    pub signer: SigningPublicKey,
    /// The message.
    pub msg_id: MsgId,
    /// The text, any bytes.
    pub body: Vec<u8>,
    /// When it was written, by the sender's clock.
    pub ts: UnixTime,
    /// The zone that its manifest was read from.
    pub zone: Zone,
    /// The address that the text claims, if the identity published there has this signer's key.
    pub address: Option<Address>,
    /// Who the encrypted header says wrote it; `None` only for rows of a home that was taken over (D6).
    pub sender_id: Option<UserId>,
    /// The address that the text claims, whoever it belongs to.
    pub claimed: Option<Address>,
    /// Why it is here.
    pub reason: Reason,
    /// The prekey that accepting it consumes (D15).
    pub prekey: Option<PrekeyId>,
    /// Until when its manifest lives.
    pub expires: UnixTime,
}

/// Why a message is in the quarantine, as it was judged when it came (D6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// The stable machine code.
    pub code: String,
    /// The reason in words.
    pub text: String,
}

/// A row of the quarantine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intro {
    /// The row.
    pub id: IntroId,
    /// When it was stored.
    pub received: UnixTime,
    /// The message.
    pub message: NewIntro,
}

impl std::ops::Deref for Intro {
    type Target = NewIntro;

    fn deref(&self) -> &NewIntro {
        &self.message
    }
}

impl Intro {
    /// The message as it lies in the inbox once the user has accepted it.
    #[must_use]
    pub fn into_message(self, received: UnixTime) -> InboxMessage {
        let NewIntro {
            signer,
            msg_id,
            body,
            ts,
            address,
            prekey,
            expires,
            ..
        } = self.message;
        InboxMessage {
            number: MessageNumber::UNSTORED,
            signer,
            msg_id,
            body,
            ts,
            manifest_ts: ts,
            expires,
            received,
            contact: None,
            address,
            prekey,
            authorship: Authorship::Accepted,
            succession: None,
        }
    }
}

impl NewIntro {
    /// The row as the holder of an X25519 key, under a name for the user (D6).
    #[must_use]
    pub fn holder<'a>(&self, name: &'a str) -> Option<Holder<'a>> {
        self.sender_id.map(|user_id| Holder {
            name,
            signing: Some(self.signer),
            user_id,
        })
    }
}

/// Which rows of the quarantine to delete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntroPurge {
    /// Those whose manifests have expired.
    Expired,
    /// All of them.
    All,
}

/// A key whose messages are dropped without a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocked {
    /// The key.
    pub signer: SigningPublicKey,
    /// Since when.
    pub blocked: UnixTime,
    /// Why, in the user's words.
    pub note: String,
}

impl Store {
    /// The quarantine, newest first, expired rows included; damaged rows are passed over.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn intros(&self) -> Result<Vec<Intro>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT id, received, expires, sealed FROM intros ORDER BY received DESC, id DESC",
        )?;
        let rows = statement
            .query_map((), read_row)?
            .collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|row| self.unless_damaged(row.0.to_be_bytes(), self.open_intro(row)))
            .filter_map(Result::transpose)
            .collect()
    }

    /// One row.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn intro(&self, id: IntroId) -> Result<Option<Intro>, StoreError> {
        self.intro_in(&self.connection(), id)
    }

    /// As [`Store::intro`], inside a transaction.
    pub(super) fn intro_in(
        &self,
        connection: &Connection,
        id: IntroId,
    ) -> Result<Option<Intro>, StoreError> {
        let row = connection
            .prepare_cached("SELECT id, received, expires, sealed FROM intros WHERE id = ?1")?
            .query_row([id.0], read_row)
            .optional()?;
        row.map(|row| self.open_intro(row)).transpose()
    }

    /// The row in which a message waits.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn intro_of(
        &self,
        signer: &SigningPublicKey,
        msg_id: &MsgId,
    ) -> Result<Option<Intro>, StoreError> {
        let tag = self.message_tag(signer, msg_id);
        let row = self
            .connection()
            .query_row(
                "SELECT id, received, expires, sealed FROM intros WHERE tag = ?1",
                [tag],
                read_row,
            )
            .optional()?;
        row.map(|row| self.open_intro(row)).transpose()
    }

    /// Whether a message waits in the quarantine.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn is_quarantined(
        &self,
        signer: &SigningPublicKey,
        msg_id: &MsgId,
    ) -> Result<bool, StoreError> {
        let tag = self.message_tag(signer, msg_id);
        let found = self
            .connection()
            .prepare_cached("SELECT 1 FROM intros WHERE tag = ?1")?
            .query_row([tag], |_| Ok(()))
            .optional()?;
        Ok(found.is_some())
    }

    /// Deletes rows without a look at them; says how many. Their messages do not come back while their manifests live.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn remove_intros(&self, which: IntroPurge, now: UnixTime) -> Result<usize, StoreError> {
        let until = match which {
            IntroPurge::Expired => stamp(now),
            IntroPurge::All => i64::MAX,
        };
        let gone = self
            .connection()
            .execute("DELETE FROM intros WHERE expires <= ?1", [until])?;
        self.scrub_log()?;
        Ok(gone)
    }

    /// Moves a row to the inbox and consumes its prekey, in one transaction, together with the contact that the user pins by it.
    /// `None` if the row is gone.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn accept_intro(
        &self,
        id: IntroId,
        pin: Option<ContactChange<'_>>,
        now: UnixTime,
    ) -> Result<Option<InboxMessage>, StoreError> {
        let Some(intro) = self.intro(id)? else {
            return Ok(None);
        };
        let pinned = match &pin {
            None => None,
            Some(ContactChange::New(card)) | Some(ContactChange::Change(_, card)) => {
                Some((card.label.clone(), self.seal_card(card)?))
            }
        };
        let message = self.write(|transaction| {
            if transaction.execute("DELETE FROM intros WHERE id = ?1", [id.0])? == 0 {
                return Ok(None);
            }
            match (&pin, &pinned) {
                (Some(ContactChange::New(_)), Some((label, sealed))) => transaction.execute(
                    "INSERT INTO contacts (tag, created, sealed) VALUES (?1, ?2, ?3)",
                    (self.label_tag(label), stamp(now), sealed),
                )?,
                (Some(ContactChange::Change(contact, _)), Some((label, sealed))) => transaction
                    .execute(
                        "UPDATE contacts SET tag = ?2, sealed = ?3 WHERE id = ?1",
                        (contact.id.0, self.label_tag(label), sealed),
                    )?,
                _ => 0,
            };
            let prekey = intro.prekey;
            let mut message = intro.into_message(now);
            message.contact = pinned.as_ref().map(|(label, _)| label.clone());
            let message = self.insert_message(transaction, message, now)?;
            if let Some(prekey) = prekey {
                self.consume_prekey(transaction, prekey, None)?;
            }
            Ok(Some(message))
        })?;
        self.scrub_log()?;
        Ok(message)
    }

    /// Removes a row and puts its signer on the denylist; the first note of a key stays. `None` if the row is gone.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn block_intro(
        &self,
        id: IntroId,
        note: &str,
        now: UnixTime,
    ) -> Result<Option<SigningPublicKey>, StoreError> {
        let Some(intro) = self.intro(id)? else {
            return Ok(None);
        };
        self.write(|transaction| {
            transaction.execute("DELETE FROM intros WHERE id = ?1", [id.0])?;
            self.deny(transaction, &intro.signer, note, now)
        })?;
        Ok(Some(intro.signer))
    }

    /// Puts a key on the denylist; the first note stays.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn block(
        &self,
        signer: &SigningPublicKey,
        note: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        self.write(|transaction| self.deny(transaction, signer, note, now))
    }

    /// Takes a key off the denylist; `false` if it was not on it.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn unblock(&self, signer: &SigningPublicKey) -> Result<bool, StoreError> {
        Ok(self.connection().execute(
            "DELETE FROM denylist WHERE sender = ?1",
            [self.sender_tag(signer)],
        )? == 1)
    }

    /// Whether messages of this key are dropped.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn is_blocked(&self, signer: &SigningPublicKey) -> Result<bool, StoreError> {
        let tag = self.sender_tag(signer);
        let found = self
            .connection()
            .query_row(
                "SELECT 1 FROM denylist WHERE sender = ?1",
                [tag],
                |_| Ok(()),
            )
            .optional()?;
        Ok(found.is_some())
    }

    /// The denylist, oldest entry first; damaged rows are passed over, and go on keeping their keys out.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn denylist(&self) -> Result<Vec<Blocked>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT sender, blocked, sealed FROM denylist ORDER BY blocked")?;
        let rows = statement
            .query_map((), |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                ))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|(sender, blocked, sealed)| {
                self.unless_damaged(sender, self.open_blocked(time(blocked), &sealed))
            })
            .filter_map(Result::transpose)
            .collect()
    }

    /// Adds a row; nothing for a denylisted signer or a message that is there already.
    pub(super) fn insert_intro(
        &self,
        transaction: &Transaction<'_>,
        intro: &NewIntro,
        now: UnixTime,
    ) -> Result<Option<IntroId>, StoreError> {
        let sender = self.sender_tag(&intro.signer);
        let sealed = self.seal_intro(intro)?;
        let added = transaction.execute(
            "INSERT INTO intros (tag, sender, received, expires, sealed)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM denylist WHERE sender = ?2)
             ON CONFLICT (tag) DO NOTHING",
            (
                self.message_tag(&intro.signer, &intro.msg_id),
                sender,
                stamp(now),
                stamp(intro.expires),
                sealed,
            ),
        )?;
        Ok((added == 1).then(|| IntroId(transaction.last_insert_rowid())))
    }

    /// The sealed form of a row.
    pub(super) fn seal_intro(&self, intro: &NewIntro) -> Result<Vec<u8>, StoreError> {
        self.seal(TABLE, &IntroRow::from(intro))
    }

    pub(super) fn deny(
        &self,
        connection: &Connection,
        signer: &SigningPublicKey,
        note: &str,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let sealed = self.seal(
            DENYLIST,
            &BlockedRow {
                signer: signer.to_string(),
                note: note.to_owned(),
            },
        )?;
        connection.execute(
            "INSERT INTO denylist (sender, blocked, sealed) VALUES (?1, ?2, ?3) ON CONFLICT (sender) DO NOTHING",
            (self.sender_tag(signer), stamp(now), sealed),
        )?;
        Ok(())
    }

    fn open_blocked(&self, blocked: UnixTime, sealed: &[u8]) -> Result<Blocked, StoreError> {
        let row: BlockedRow = self.unseal(DENYLIST, sealed)?;
        let signer =
            SigningPublicKey::from_hex(&row.signer).map_err(|_| StoreError::Damaged(DENYLIST))?;
        Ok(Blocked {
            signer,
            blocked,
            note: row.note,
        })
    }

    fn open_intro(
        &self,
        (id, received, expires, sealed): (i64, i64, i64, Vec<u8>),
    ) -> Result<Intro, StoreError> {
        let row: IntroRow = self.unseal(TABLE, &sealed)?;
        let message = row
            .into_intro(time(expires))
            .ok_or(StoreError::Damaged(TABLE))?;
        Ok(Intro {
            id: IntroId(id),
            received: time(received),
            message,
        })
    }
}

/// The contact that trusting a row creates or changes.
#[derive(Clone, Copy, Debug)]
pub enum ContactChange<'a> {
    /// A contact that is not there yet.
    New(&'a NewContact),
    /// An existing contact and what it becomes.
    Change(&'a Contact, &'a NewContact),
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<(i64, i64, i64, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// A quarantined message as it lies in its sealed column.
#[derive(Serialize, Deserialize)]
struct IntroRow {
    signer: String,
    msg_id: String,
    #[serde(with = "hex::serde")]
    body: Vec<u8>,
    ts: u64,
    zone: String,
    address: String,
    claimed: String,
    sender_id: String,
    reason: Reason,
    prekey: u32,
}

impl From<&NewIntro> for IntroRow {
    fn from(intro: &NewIntro) -> Self {
        Self {
            signer: intro.signer.to_string(),
            msg_id: intro.msg_id.to_string(),
            body: intro.body.clone(),
            ts: intro.ts.as_secs(),
            zone: intro.zone.to_string(),
            address: text(intro.address.as_ref()),
            claimed: text(intro.claimed.as_ref()),
            sender_id: text(intro.sender_id.as_ref()),
            reason: intro.reason.clone(),
            prekey: intro.prekey.map_or(0, PrekeyId::get),
        }
    }
}

impl IntroRow {
    fn into_intro(self, expires: UnixTime) -> Option<NewIntro> {
        Some(NewIntro {
            signer: SigningPublicKey::from_hex(&self.signer).ok()?,
            msg_id: MsgId::from_hex(&self.msg_id).ok()?,
            body: self.body,
            ts: UnixTime::new(self.ts),
            zone: Zone::parse(&self.zone).ok()?,
            address: optional(&self.address, Address::parse)?,
            claimed: optional(&self.claimed, Address::parse)?,
            sender_id: optional(&self.sender_id, UserId::from_hex)?,
            reason: self.reason,
            prekey: PrekeyId::new(self.prekey),
            expires,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct BlockedRow {
    signer: String,
    note: String,
}
