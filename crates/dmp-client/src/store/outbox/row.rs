//! An outbox row as it lies in the table: clear columns, and the sealed column with everything that names a person (D17).

use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime, UserId};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::super::contacts::{optional, text};
use super::super::time;
use super::{Delivery, Lease, MessageKey, OutboxEntry, OutboxId, OutboxItem, OutboxState};

/// The columns of a query that [`OutboxRow::read`] reads.
pub(super) const COLUMNS: &str = "id, created, state, stored, total, attempts, due, sealed";

/// The clear columns, and the sealed one unopened.
pub(super) struct OutboxRow {
    pub(super) id: i64,
    created: i64,
    state: String,
    stored: i64,
    total: i64,
    attempts: u32,
    due: Option<i64>,
    pub(super) sealed: Vec<u8>,
}

impl OutboxRow {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
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

    fn state(&self, failure: Option<String>) -> Option<OutboxState> {
        Some(match self.state.as_str() {
            "queued" => OutboxState::Queued,
            "publishing" => OutboxState::Publishing {
                stored: usize::try_from(self.stored).ok()?,
                total: usize::try_from(self.total).ok()?,
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
}

/// A message as it lies in its sealed column; absent members are the defaults of rows that an earlier version wrote.
#[derive(Serialize, Deserialize)]
pub(super) struct SealedRow {
    msg_id: String,
    signer: String,
    recipient: String,
    contact: String,
    zone: String,
    #[serde(default)]
    notice_zone: String,
    slot: u8,
    chunks: Vec<String>,
    #[serde(default)]
    needed: usize,
    manifest: String,
    prekey: u32,
    #[serde(default)]
    prekey_expires: u64,
    #[serde(default)]
    no_prekey: String,
    expires: u64,
    failure: Option<String>,
    #[serde(default)]
    delivery: DeliveryRow,
    #[serde(default)]
    lease: Option<LeaseRow>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct DeliveryRow {
    ttl: u64,
    kept_until: Option<u64>,
    missing: usize,
    seen: Option<u64>,
    announced_in: Vec<String>,
    refused_in: Vec<(String, String)>,
    setbacks: u32,
    last_error: Option<String>,
    cancelled: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct LeaseRow {
    token: u64,
    process: u32,
    until: u64,
}

impl SealedRow {
    pub(super) fn new(entry: &OutboxEntry, lease: Option<Lease>) -> Self {
        let item = &entry.item;
        let (prekey, prekey_expires, no_prekey) = match &item.key {
            MessageKey::Prekey { id, expires } => (id.get(), expires.as_secs(), String::new()),
            MessageKey::LongTerm { reason } => (0, 0, reason.clone()),
        };
        Self {
            msg_id: item.msg_id.to_string(),
            signer: item.signer.to_string(),
            recipient: item.recipient.to_string(),
            contact: item.contact.clone(),
            zone: item.zone.to_string(),
            notice_zone: text(item.notice_zone.as_ref()),
            slot: item.slot.get(),
            chunks: item.chunks.clone(),
            needed: item.needed,
            manifest: item.manifest.clone(),
            prekey,
            prekey_expires,
            no_prekey,
            expires: item.expires.as_secs(),
            failure: match &entry.state {
                OutboxState::Failed { reason } => Some(reason.clone()),
                _ => None,
            },
            delivery: DeliveryRow::new(&entry.delivery),
            lease: lease.map(|lease| LeaseRow {
                token: lease.token,
                process: lease.process,
                until: lease.until.as_secs(),
            }),
        }
    }

    pub(super) fn into_entry(self, row: &OutboxRow) -> Option<(OutboxEntry, Option<Lease>)> {
        let lease = self.lease.map(|lease| Lease {
            token: lease.token,
            process: lease.process,
            until: UnixTime::new(lease.until),
        });
        let key = match PrekeyId::new(self.prekey) {
            Some(id) => MessageKey::Prekey {
                id,
                expires: UnixTime::new(self.prekey_expires),
            },
            None => MessageKey::LongTerm {
                reason: self.no_prekey,
            },
        };
        let item = OutboxItem {
            msg_id: MsgId::from_hex(&self.msg_id).ok()?,
            signer: SigningPublicKey::from_hex(&self.signer).ok()?,
            recipient: UserId::from_hex(&self.recipient).ok()?,
            contact: self.contact,
            zone: Zone::parse(&self.zone).ok()?,
            notice_zone: optional(&self.notice_zone, Zone::parse)?,
            slot: Slot::new(self.slot)?,
            needed: self.needed.min(self.chunks.len()),
            chunks: self.chunks,
            manifest: self.manifest,
            key,
            expires: UnixTime::new(self.expires),
        };
        let entry = OutboxEntry {
            id: OutboxId(row.id),
            created: time(row.created),
            state: row.state(self.failure)?,
            attempts: row.attempts,
            due: row.due.map(time),
            item,
            delivery: self.delivery.into_delivery(),
            worker: lease.map(|lease| lease.process),
        };
        Some((entry, lease))
    }
}

impl DeliveryRow {
    fn new(delivery: &Delivery) -> Self {
        let secs = |time: Option<UnixTime>| time.map(UnixTime::as_secs);
        Self {
            ttl: delivery.ttl,
            kept_until: secs(delivery.kept_until),
            missing: delivery.missing,
            seen: secs(delivery.seen),
            announced_in: delivery.announced_in.iter().map(Zone::to_string).collect(),
            refused_in: delivery
                .refused_in
                .iter()
                .map(|(zone, reason)| (zone.to_string(), reason.clone()))
                .collect(),
            setbacks: delivery.setbacks,
            last_error: delivery.last_error.clone(),
            cancelled: secs(delivery.cancelled),
        }
    }

    fn into_delivery(self) -> Delivery {
        let zone = |text: &String| Zone::parse(text).ok();
        Delivery {
            ttl: self.ttl,
            kept_until: self.kept_until.map(UnixTime::new),
            missing: self.missing,
            seen: self.seen.map(UnixTime::new),
            announced_in: self.announced_in.iter().filter_map(zone).collect(),
            refused_in: self
                .refused_in
                .iter()
                .filter_map(|(text, reason)| Some((zone(text)?, reason.clone())))
                .collect(),
            setbacks: self.setbacks,
            last_error: self.last_error,
            cancelled: self.cancelled.map(UnixTime::new),
        }
    }
}
