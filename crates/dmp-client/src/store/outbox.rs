//! Messages on their way out: recorded before anything is published, with the exact values to publish (D21). Publishes nothing.

use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime, UserId};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{ContactId, Store, stamp, time};
use crate::error::StoreError;

const TABLE: &str = "outbox";

/// An outbox row's number; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OutboxId(i64);

impl OutboxId {
    /// The number as people see it.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// How far a message has come (D21).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutboxState {
    /// Recorded, nothing sent yet.
    Queued,
    /// The node has stored this many of the values.
    Publishing {
        /// Values stored.
        stored: usize,
        /// Values of the whole message, the manifest included.
        total: usize,
    },
    /// Its manifest was read back through a resolver.
    Published,
    /// A server took a claim for it.
    Announced,
    /// Its lifetime is over.
    Expired,
    /// It cannot be published; the reason says why.
    Failed {
        /// For the user.
        reason: String,
    },
}

/// Everything needed to publish a message again, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxItem {
    /// The message.
    pub msg_id: MsgId,
    /// The signer of its manifest.
    pub signer: SigningPublicKey,
    /// Whose mailbox it is for.
    pub recipient: UserId,
    /// The contact's label at that time.
    pub contact: String,
    /// The zone that it is published in.
    pub zone: Zone,
    /// The slot of the manifest; changes if a name is full (D30).
    pub slot: Slot,
    /// Chunk values in index order.
    pub chunks: Vec<String>,
    /// The manifest's value.
    pub manifest: String,
    /// The prekey it is sealed to; `None` means no forward secrecy.
    pub prekey: Option<PrekeyId>,
    /// Last second of its life.
    pub expires: UnixTime,
}

/// A message about to be recorded.
#[derive(Clone, Debug)]
pub struct NewOutboxEntry {
    /// What to publish.
    pub item: OutboxItem,
    /// The contact whose prekey is used up by it.
    pub contact: ContactId,
    /// When that prekey expires and may be forgotten.
    pub prekey_expires: UnixTime,
}

/// A recorded message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxEntry {
    /// The row.
    pub id: OutboxId,
    /// When it was recorded.
    pub created: UnixTime,
    /// How far it has come.
    pub state: OutboxState,
    /// How often publishing was begun.
    pub attempts: u32,
    /// When the next attempt or re-publication is due.
    pub due: Option<UnixTime>,
    /// What to publish.
    pub item: OutboxItem,
}

impl Store {
    /// Records a message before anything is published, and its prekey as used, in one transaction.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn enqueue(&self, entry: &NewOutboxEntry, now: UnixTime) -> Result<OutboxId, StoreError> {
        let item = &entry.item;
        let sealed = self.seal(TABLE, &ItemRow::new(item, None))?;
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO outbox (tag, created, expires, state, total, due, sealed) VALUES (?1, ?2, ?3, 'queued', ?4, ?2, ?5)",
                (
                    self.vault.tag("outbox", &[item.msg_id.as_bytes()]),
                    stamp(now),
                    stamp(item.expires),
                    i64::try_from(item.chunks.len() + 1).unwrap_or(i64::MAX),
                    sealed,
                ),
            )?;
            let id = OutboxId(transaction.last_insert_rowid());
            if let Some(prekey) = item.prekey {
                transaction.execute(
                    "INSERT INTO used_prekeys (contact, prekey, expires) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    (entry.contact.0, prekey.get(), stamp(entry.prekey_expires)),
                )?;
            }
            Ok(id)
        })
    }

    /// Notes how far a message has come, the slot that its manifest lies at, and when it is due again.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn record_progress(
        &self,
        id: OutboxId,
        item: &OutboxItem,
        state: &OutboxState,
        due: Option<UnixTime>,
    ) -> Result<(), StoreError> {
        let failure = if let OutboxState::Failed { reason } = state {
            Some(reason.clone())
        } else {
            None
        };
        let sealed = self.seal(TABLE, &ItemRow::new(item, failure))?;
        let stored = match state {
            OutboxState::Publishing { stored, .. } => {
                Some(i64::try_from(*stored).unwrap_or(i64::MAX))
            }
            _ => None,
        };
        self.connection().execute(
            "UPDATE outbox SET state = ?2, stored = coalesce(?3, stored), due = ?4, sealed = ?5,
                 attempts = attempts + (?2 = 'publishing' AND state IN ('queued', 'failed')) WHERE id = ?1",
            (id.0, state.name(), stored, due.map(stamp), sealed),
        )?;
        Ok(())
    }

    /// The outbox, oldest first.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn outbox(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT id, created, state, stored, total, attempts, due, sealed FROM outbox ORDER BY id")?;
        let rows = statement
            .query_map((), read_row)?
            .collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|row| {
                let item: ItemRow = self.unseal(TABLE, &row.sealed)?;
                let failure = item.failure.clone();
                let item = item.into_item().ok_or(StoreError::Damaged(TABLE))?;
                Ok(OutboxEntry {
                    id: OutboxId(row.id),
                    created: time(row.created),
                    state: state(&row, failure).ok_or(StoreError::Damaged(TABLE))?,
                    attempts: row.attempts,
                    due: row.due.map(time),
                    item,
                })
            })
            .collect()
    }
}

impl OutboxState {
    /// The state as the table and machine-readable output name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Publishing { .. } => "publishing",
            Self::Published => "published",
            Self::Announced => "announced",
            Self::Expired => "expired",
            Self::Failed { .. } => "failed",
        }
    }
}

struct OutboxRow {
    id: i64,
    created: i64,
    state: String,
    stored: i64,
    total: i64,
    attempts: u32,
    due: Option<i64>,
    sealed: Vec<u8>,
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.get(0)?,
        created: row.get(1)?,
        state: row.get(2)?,
        stored: row.get(3)?,
        total: row.get(4)?,
        attempts: row.get(5)?,
        due: row.get(6)?,
        sealed: row.get(7)?,
    })
}

fn state(row: &OutboxRow, failure: Option<String>) -> Option<OutboxState> {
    Some(match row.state.as_str() {
        "queued" => OutboxState::Queued,
        "publishing" => OutboxState::Publishing {
            stored: usize::try_from(row.stored).ok()?,
            total: usize::try_from(row.total).ok()?,
        },
        "published" => OutboxState::Published,
        "announced" => OutboxState::Announced,
        "expired" => OutboxState::Expired,
        "failed" => OutboxState::Failed {
            reason: failure.unwrap_or_default(),
        },
        _ => return None,
    })
}

/// A message as it lies in its sealed column.
#[derive(Serialize, Deserialize)]
struct ItemRow {
    msg_id: String,
    signer: String,
    recipient: String,
    contact: String,
    zone: String,
    slot: u8,
    chunks: Vec<String>,
    manifest: String,
    prekey: u32,
    expires: u64,
    failure: Option<String>,
}

impl ItemRow {
    fn new(item: &OutboxItem, failure: Option<String>) -> Self {
        Self {
            msg_id: item.msg_id.to_string(),
            signer: item.signer.to_string(),
            recipient: item.recipient.to_string(),
            contact: item.contact.clone(),
            zone: item.zone.to_string(),
            slot: item.slot.get(),
            chunks: item.chunks.clone(),
            manifest: item.manifest.clone(),
            prekey: item.prekey.map_or(0, PrekeyId::get),
            expires: item.expires.as_secs(),
            failure,
        }
    }

    fn into_item(self) -> Option<OutboxItem> {
        Some(OutboxItem {
            msg_id: MsgId::from_hex(&self.msg_id).ok()?,
            signer: SigningPublicKey::from_hex(&self.signer).ok()?,
            recipient: UserId::from_hex(&self.recipient).ok()?,
            contact: self.contact,
            zone: Zone::parse(&self.zone).ok()?,
            slot: Slot::new(self.slot)?,
            chunks: self.chunks,
            manifest: self.manifest,
            prekey: PrekeyId::new(self.prekey),
            expires: UnixTime::new(self.expires),
        })
    }
}
