//! The inbox, and the one transaction that a received message passes through (D15, crypto.md 15.5). Judges no message.

use std::collections::BTreeSet;

use dmp_core::address::Address;
use dmp_core::id::{MsgId, PrekeyId, UnixTime};
use dmp_core::keys::SigningPublicKey;
use rusqlite::{Row, Transaction};
use serde::{Deserialize, Serialize};

use super::contacts::{optional, text};
use super::{Displaced, IntroId, NewIntro, Store, record_replay, stamp, time};
use crate::error::StoreError;

const TABLE: &str = "inbox";

/// A message's number in the inbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageNumber(pub(super) i64);

impl MessageNumber {
    /// The number of a message that is not stored yet.
    pub const UNSTORED: Self = Self(0);

    /// The number as people see it.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A delivered message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboxMessage {
    /// The row.
    pub number: MessageNumber,
    /// Whose key signed the manifest.
    pub signer: SigningPublicKey,
    /// The message.
    pub msg_id: MsgId,
    /// The text, any bytes.
    pub body: Vec<u8>,
    /// When it was written, by the sender's clock.
    pub ts: UnixTime,
    /// When its manifest was signed; the second key of the order (client.md 10.6).
    pub manifest_ts: UnixTime,
    /// Until when its manifest lives.
    pub expires: UnixTime,
    /// When it was stored here.
    pub received: UnixTime,
    /// The contact that it comes from, by label at that time.
    pub contact: Option<String>,
    /// The address that the text claims, if the identity published there has this signer's key.
    pub address: Option<Address>,
    /// The prekey that it was sealed to; without one it has no forward secrecy.
    pub prekey: Option<PrekeyId>,
    /// How sure it is that the signer wrote the text.
    pub authorship: Authorship,
    /// Set if the signer is known only through a chain of rotations (D22).
    pub succession: Option<Succession>,
}

/// How sure it is that the signer of a message wrote its text (D6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authorship {
    /// The sender named inside the encryption holds the X25519 key of the signer.
    Proven,
    /// Delivered on first use: nobody is pinned and the user wants it so.
    Unverified,
    /// The user accepted it from the quarantine.
    Accepted,
}

/// A key that replaced a pinned one by a verified chain of rotations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Succession {
    /// The contact's label.
    pub contact: String,
    /// The pinned key, which stays pinned.
    pub old: SigningPublicKey,
    /// The key that signed.
    pub new: SigningPublicKey,
}

/// A message that was decrypted and judged.
#[derive(Clone, Debug)]
pub enum Received {
    /// For the inbox; its prekey is consumed.
    Inbox(InboxMessage),
    /// For the quarantine; its prekey stays.
    Quarantine(NewIntro),
}

/// A prekey that another authentic message, not decrypted yet, still waits for (D15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldPrekey {
    /// Its number.
    pub id: PrekeyId,
    /// Until when its private half is kept for that message.
    pub until: UnixTime,
}

/// What a transaction stored.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Messages that are in the inbox now, numbered.
    pub inbox: Vec<InboxMessage>,
    /// Rows that are in the quarantine now.
    pub quarantined: Vec<IntroId>,
    /// Rows of strangers that gave way because the quarantine was full; they may be new ones.
    pub displaced: Vec<Displaced>,
}

impl Store {
    /// Stores messages that are ready together: texts, replay entries and the consumption of their prekeys are one transaction
    /// (D15). `held` names prekeys whose private half must stay although a message sealed to them is delivered now.
    ///
    /// A message that is in the inbox already is left out; one that waits in the quarantine moves to the inbox if that is what was
    /// decided now, and stays where it is otherwise.
    ///
    /// # Errors
    /// Failures of the database; nothing is stored then.
    pub fn commit_received(
        &self,
        messages: Vec<Received>,
        held: &[HeldPrekey],
        now: UnixTime,
    ) -> Result<Committed, StoreError> {
        let mut consumed = false;
        let pinned = self.pinned_senders()?;
        let committed = self.write(|transaction| {
            let mut committed = Committed::default();
            for message in messages {
                match message {
                    Received::Inbox(message) => {
                        let tag = self.message_tag(&message.signer, &message.msg_id);
                        let released =
                            transaction.execute("DELETE FROM intros WHERE tag = ?1", [tag])? == 1;
                        if record_replay(transaction, &tag, message.expires)? || released {
                            committed
                                .inbox
                                .push(self.insert_message(transaction, message, now)?);
                        }
                    }
                    Received::Quarantine(intro) => {
                        let tag = self.message_tag(&intro.signer, &intro.msg_id);
                        if record_replay(transaction, &tag, intro.expires)? {
                            committed.quarantined.extend(self.insert_intro(
                                transaction,
                                &intro,
                                now,
                            )?);
                        }
                    }
                }
            }
            if !committed.quarantined.is_empty() {
                committed.displaced = self.make_room(transaction, &pinned)?;
                let gone = |id: &IntroId| committed.displaced.iter().any(|row| row.id == *id);
                committed.quarantined.retain(|id| !gone(id));
            }
            let used: BTreeSet<PrekeyId> = committed
                .inbox
                .iter()
                .filter_map(|message| message.prekey)
                .collect();
            for prekey in used {
                let until = held
                    .iter()
                    .filter(|held| held.id == prekey)
                    .map(|held| held.until)
                    .max();
                self.consume_prekey(transaction, prekey, until)?;
                consumed = true;
            }
            Ok(committed)
        })?;
        if consumed {
            self.scrub_log()?;
        }
        Ok(committed)
    }

    /// Messages that were never handed to the user, oldest first by (written, signed, message id) (client.md 10.6); damaged rows are
    /// passed over.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn unshown_messages(&self) -> Result<Vec<InboxMessage>, StoreError> {
        self.messages_where("shown IS NULL")
    }

    /// Every message of the inbox in the same order.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn messages(&self) -> Result<Vec<InboxMessage>, StoreError> {
        self.messages_where("true")
    }

    /// Notes that the user has these messages on the screen: call it after the output was written. A loss of power in the next moment
    /// shows them once more.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn mark_shown(&self, numbers: &[MessageNumber], now: UnixTime) -> Result<(), StoreError> {
        self.write_soon(|transaction| {
            for number in numbers {
                transaction.execute(
                    "UPDATE inbox SET shown = ?2 WHERE id = ?1 AND shown IS NULL",
                    (number.0, stamp(now)),
                )?;
            }
            Ok(())
        })
    }

    pub(super) fn insert_message(
        &self,
        transaction: &Transaction<'_>,
        mut message: InboxMessage,
        now: UnixTime,
    ) -> Result<InboxMessage, StoreError> {
        message.received = now;
        let sealed = self.seal(TABLE, &MessageRow::from(&message))?;
        transaction.execute(
            "INSERT INTO inbox (tag, received, sealed) VALUES (?1, ?2, ?3)",
            (
                self.message_tag(&message.signer, &message.msg_id),
                stamp(now),
                sealed,
            ),
        )?;
        message.number = MessageNumber(transaction.last_insert_rowid());
        Ok(message)
    }

    fn messages_where(&self, condition: &str) -> Result<Vec<InboxMessage>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT id, received, sealed FROM inbox WHERE {condition}"
        ))?;
        let rows = statement
            .query_map((), |row: &Row<'_>| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                ))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let mut messages = rows
            .into_iter()
            .map(|(id, received, sealed)| {
                let message = self.unseal(TABLE, &sealed).and_then(|row: MessageRow| {
                    row.into_message(MessageNumber(id), time(received))
                        .ok_or(StoreError::Damaged(TABLE))
                });
                self.unless_damaged(id.to_be_bytes(), message)
            })
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>, _>>()?;
        messages.sort_by_key(|message| (message.ts, message.manifest_ts, message.msg_id));
        Ok(messages)
    }
}

/// A message as it lies in its sealed column.
#[derive(Serialize, Deserialize)]
struct MessageRow {
    signer: String,
    msg_id: String,
    #[serde(with = "hex::serde")]
    body: Vec<u8>,
    ts: u64,
    manifest_ts: u64,
    expires: u64,
    contact: Option<String>,
    address: String,
    prekey: u32,
    authorship: Authorship,
    succession: Option<(String, String)>,
}

impl From<&InboxMessage> for MessageRow {
    fn from(message: &InboxMessage) -> Self {
        Self {
            signer: message.signer.to_string(),
            msg_id: message.msg_id.to_string(),
            body: message.body.clone(),
            ts: message.ts.as_secs(),
            manifest_ts: message.manifest_ts.as_secs(),
            expires: message.expires.as_secs(),
            contact: message.contact.clone(),
            address: text(message.address.as_ref()),
            prekey: message.prekey.map_or(0, PrekeyId::get),
            authorship: message.authorship,
            succession: message
                .succession
                .as_ref()
                .map(|succession| (succession.contact.clone(), succession.old.to_string())),
        }
    }
}

impl MessageRow {
    fn into_message(self, number: MessageNumber, received: UnixTime) -> Option<InboxMessage> {
        let signer = SigningPublicKey::from_hex(&self.signer).ok()?;
        let succession = match self.succession {
            None => None,
            Some((contact, old)) => Some(Succession {
                contact,
                old: SigningPublicKey::from_hex(&old).ok()?,
                new: signer,
            }),
        };
        Some(InboxMessage {
            number,
            signer,
            msg_id: MsgId::from_hex(&self.msg_id).ok()?,
            body: self.body,
            ts: UnixTime::new(self.ts),
            manifest_ts: UnixTime::new(self.manifest_ts),
            expires: UnixTime::new(self.expires),
            received,
            contact: self.contact,
            address: optional(&self.address, Address::parse)?,
            prekey: PrekeyId::new(self.prekey),
            authorship: self.authorship,
            succession,
        })
    }
}
