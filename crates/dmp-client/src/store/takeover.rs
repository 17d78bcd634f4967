//! Fills a new store with what a home of the reference held (D4). Reads no file of the reference: see [`crate::takeover`].

use dmp_core::id::UnixTime;
use dmp_core::keys::Identity;
use dmp_core::record::PrekeyRecord;
use rusqlite::Connection;

use super::{Store, record_replay, stamp};
use crate::error::StoreError;
use crate::takeover::{ReferenceHome, ReferencePrekey};

/// How much was taken over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TakenOver {
    /// Contacts.
    pub contacts: usize,
    /// Private halves of prekeys.
    pub prekeys: usize,
    /// Messages that were received before.
    pub replays: usize,
    /// Rows of the quarantine.
    pub intros: usize,
    /// Blocked keys.
    pub denylist: usize,
}

impl Store {
    /// Stores everything; the caller holds the transaction that creates the store.
    pub(super) fn fill(
        &self,
        connection: &Connection,
        found: &ReferenceHome,
        identity: &Identity,
        now: UnixTime,
    ) -> Result<TakenOver, StoreError> {
        for card in &found.contacts {
            connection.execute(
                "INSERT INTO contacts (tag, created, sealed) VALUES (?1, ?2, ?3)",
                (
                    self.label_tag(&card.label),
                    stamp(now),
                    self.seal_card(card)?,
                ),
            )?;
        }
        for prekey in &found.prekeys {
            let sealed = self.seal_prekey(&prekey.secret, &prekey.wire)?;
            connection.execute(
                "INSERT INTO prekeys (id, expires, created, published, sealed) VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    prekey.id.get(),
                    stamp(prekey.expires),
                    stamp(prekey.created),
                    is_usable(prekey, identity, now),
                    sealed,
                ),
            )?;
        }
        let mut replays = 0;
        for (signer, msg_id, expires) in &found.replays {
            let tag = self.message_tag(signer, msg_id);
            replays += usize::from(record_replay(connection, &tag, *expires)?);
        }
        let mut intros = 0;
        for intro in &found.intros {
            let message = &intro.message;
            intros += connection.execute(
                "INSERT INTO intros (id, tag, sender, received, expires, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                (
                    intro.number,
                    self.message_tag(&message.signer, &message.msg_id),
                    self.sender_tag(&message.signer),
                    stamp(intro.received),
                    stamp(message.expires),
                    self.seal_intro(message)?,
                ),
            )?;
        }
        // Numbers are never given twice, also those of rows that are gone.
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'intros'", ())?;
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'intros', max(?1, coalesce(max(id), 0)) FROM intros",
            [found.last_intro],
        )?;
        for blocked in &found.denylist {
            self.deny(connection, &blocked.signer, &blocked.note, blocked.blocked)?;
        }
        Ok(TakenOver {
            contacts: found.contacts.len(),
            prekeys: found.prekeys.len(),
            replays,
            intros,
            denylist: found.denylist.len(),
        })
    }
}

/// Whether senders find the prekey and take it: published, and signed by the key in force. A pool from before a rotation is kept for
/// messages on their way, but is no stock.
fn is_usable(prekey: &ReferencePrekey, identity: &Identity, now: UnixTime) -> bool {
    PrekeyRecord::parse(&prekey.wire, &identity.signing_public(), now)
        .is_ok_and(|record| record.id == prekey.id && record.public == prekey.secret.public())
}
