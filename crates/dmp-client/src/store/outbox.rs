//! Messages on their way out: recorded before anything is published, with the exact values to publish (D21). Publishes nothing.
//!
//! Who works on an entry holds a lease on it, so that two processes never publish one message side by side.

mod row;

use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime, UserId};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use rusqlite::{OptionalExtension, Transaction};

use self::row::{COLUMNS, OutboxRow, SealedRow};
use super::{ContactId, Store, stamp, time};
use crate::error::StoreError;
use crate::limits::{OUTBOX_KEPT_MAX, OUTBOX_KEPT_SECS, OUTBOX_LEASE_SECS};

const TABLE: &str = "outbox";

/// An outbox row's number; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OutboxId(i64);

impl OutboxId {
    /// The row that people know by this number.
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

/// How far a message has come (D21).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutboxState {
    /// Recorded, nothing stored yet.
    Queued,
    /// The node has stored this many of the values.
    Publishing {
        /// Values stored.
        stored: usize,
        /// Values of the whole message.
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

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Expired | Self::Failed { .. })
    }
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
    /// The zone of the recipient that is told of it, if the user named one.
    pub notice_zone: Option<Zone>,
    /// The slot of the manifest; changes if a name is full (D30).
    pub slot: Slot,
    /// Chunk values in index order.
    pub chunks: Vec<String>,
    /// How many of the chunks make the message readable (k).
    pub needed: usize,
    /// The manifest's value.
    pub manifest: String,
    /// Whether a one-time key protects it.
    pub key: MessageKey,
    /// Last second of its life.
    pub expires: UnixTime,
}

impl OutboxItem {
    /// The prekey that it is sealed to; `None` means no forward secrecy.
    #[must_use]
    pub const fn prekey(&self) -> Option<PrekeyId> {
        match self.key {
            MessageKey::Prekey { id, .. } => Some(id),
            MessageKey::LongTerm { .. } => None,
        }
    }
}

/// The key that a message is sealed to (D15).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MessageKey {
    /// A prekey of the recipient.
    Prekey {
        /// Its number.
        id: PrekeyId,
        /// Until when the recipient surely keeps its private half.
        expires: UnixTime,
    },
    /// The recipient's long-term key: no forward secrecy.
    LongTerm {
        /// Why there was no prekey.
        reason: String,
    },
}

/// What became of a message's values and notices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delivery {
    /// TTL of the last publication, seconds; 0 before the first.
    pub ttl: u64,
    /// Until when the node keeps the values of the last publication.
    pub kept_until: Option<UnixTime>,
    /// Chunks that the node did not take, although the message can be read without them.
    pub missing: usize,
    /// When the manifest was read back after the last publication.
    pub seen: Option<UnixTime>,
    /// Zones in which a claim was taken since the last publication.
    pub announced_in: Vec<Zone>,
    /// Zones that do not take claims for it, and why.
    pub refused_in: Vec<(Zone, String)>,
    /// Attempts in a row that left something undone.
    pub setbacks: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When the user took it back.
    pub cancelled: Option<UnixTime>,
}

/// A message about to be recorded.
#[derive(Clone, Debug)]
pub struct NewOutboxEntry {
    /// What to publish.
    pub item: OutboxItem,
    /// The contact whose prekey is used up by it.
    pub contact: ContactId,
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
    /// What became of it.
    pub delivery: Delivery,
    /// The process that works on it at the moment.
    pub worker: Option<u32>,
}

impl OutboxEntry {
    /// Values of the whole message: the chunks and the manifest.
    #[must_use]
    pub fn total(&self) -> usize {
        self.item.chunks.len() + 1
    }
}

/// An entry that this process works on; nobody else does before the lease ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeasedEntry {
    /// The entry; changes become durable by [`Store::save_outbox`] and [`Store::release_outbox`].
    pub entry: OutboxEntry,
    lease: Lease,
}

/// Who works on an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lease {
    /// Tells this lease from every other.
    token: u64,
    /// The process.
    process: u32,
    /// Last second.
    until: UnixTime,
}

/// What became of the wish to work on an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leasing {
    /// It is this process's.
    Granted(Box<LeasedEntry>),
    /// Somebody else works on it.
    Busy {
        /// The process.
        process: u32,
    },
    /// There is no such entry, or none that opens.
    Unknown,
}

impl Store {
    /// Records a message before anything is published, and its prekey as used, in one transaction. The entry is due at once and
    /// leased to the caller.
    ///
    /// # Errors
    /// [`StoreError::PrekeyTaken`] if another message was sealed to the same prekey meanwhile: nothing is recorded. Failures of the
    /// database.
    pub fn enqueue(&self, new: &NewOutboxEntry, now: UnixTime) -> Result<LeasedEntry, StoreError> {
        let lease = Lease::begin(now)?;
        let mut entry = OutboxEntry {
            id: OutboxId(0),
            created: now,
            state: OutboxState::Queued,
            attempts: 0,
            due: Some(now),
            item: new.item.clone(),
            delivery: Delivery::default(),
            worker: Some(lease.process),
        };
        let sealed = self.seal(TABLE, &SealedRow::new(&entry, Some(lease)))?;
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO outbox (tag, created, expires, state, total, due, sealed) VALUES (?1, ?2, ?3, 'queued', ?4, ?2, ?5)",
                (
                    self.vault.tag("outbox", &[entry.item.msg_id.as_bytes()]),
                    stamp(now),
                    stamp(entry.item.expires),
                    i64::try_from(entry.total()).unwrap_or(i64::MAX),
                    sealed,
                ),
            )?;
            entry.id = OutboxId(transaction.last_insert_rowid());
            if let MessageKey::Prekey { id, expires } = entry.item.key {
                let added = transaction.execute(
                    "INSERT INTO used_prekeys (contact, prekey, expires) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    (new.contact.0, id.get(), stamp(expires)),
                )?;
                if added == 0 {
                    return Err(StoreError::PrekeyTaken);
                }
            }
            Ok(())
        })?;
        Ok(LeasedEntry { entry, lease })
    }

    /// Begins to work on an entry, unless a live process does so already. A damaged row is passed over.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn lease_outbox(&self, id: OutboxId, now: UnixTime) -> Result<Leasing, StoreError> {
        let lease = Lease::begin(now)?;
        self.write(|transaction| {
            let row = self.outbox_row(transaction, id);
            let row = self.unless_damaged(id.0.to_be_bytes(), row)?;
            let Some((mut entry, held)) = row.flatten() else {
                return Ok(Leasing::Unknown);
            };
            if let Some(held) = held.filter(|held| held.is_held(now)) {
                return Ok(Leasing::Busy {
                    process: held.process,
                });
            }
            entry.worker = Some(lease.process);
            self.write_outbox(transaction, &entry, Some(lease))?;
            Ok(Leasing::Granted(Box::new(LeasedEntry { entry, lease })))
        })
    }

    /// Notes how far a leased entry has come; `false` if the lease is somebody else's by now, in which case nothing changes.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn save_outbox(&self, leased: &LeasedEntry) -> Result<bool, StoreError> {
        self.store_leased(leased, Some(leased.lease))
    }

    /// As [`Store::save_outbox`], and ends the lease.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn release_outbox(&self, leased: &LeasedEntry) -> Result<bool, StoreError> {
        self.store_leased(leased, None)
    }

    /// The outbox, oldest first; damaged rows are passed over.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn outbox(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox ORDER BY id"))?;
        let rows = statement
            .query_map((), OutboxRow::read)?
            .collect::<Result<Vec<_>, _>>()?;
        rows.iter()
            .map(|row| {
                let entry = self.open_outbox(row).map(|(entry, _)| entry);
                self.unless_damaged(row.id.to_be_bytes(), entry)
            })
            .filter_map(Result::transpose)
            .collect()
    }

    /// One entry.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn outbox_entry(&self, id: OutboxId) -> Result<Option<OutboxEntry>, StoreError> {
        let row = self
            .connection()
            .query_row(
                &format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1"),
                [id.0],
                OutboxRow::read,
            )
            .optional()?;
        row.map(|row| Ok(self.open_outbox(&row)?.0)).transpose()
    }

    /// The entries whose time has come, the longest waiting first.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn due_outbox(&self, now: UnixTime) -> Result<Vec<OutboxId>, StoreError> {
        self.outbox_ids(
            "SELECT id FROM outbox WHERE due <= ?1 ORDER BY due, id",
            now,
        )
    }

    /// The entries that live and are not done, whether their time has come or not; failed ones too.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn undone_outbox(&self, now: UnixTime) -> Result<Vec<OutboxId>, StoreError> {
        self.outbox_ids(
            "SELECT id FROM outbox WHERE expires >= ?1 AND (due IS NOT NULL OR state = 'failed') ORDER BY id",
            now,
        )
    }

    /// When the next entry is due; `None` while nothing waits.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn next_outbox_due(&self) -> Result<Option<UnixTime>, StoreError> {
        let due = self
            .connection()
            .query_row("SELECT min(due) FROM outbox", (), |row| {
                row.get::<_, Option<i64>>(0)
            })?;
        Ok(due.map(time))
    }

    /// Marks what has expired, and forgets what was over long ago: 30 days after its expiry, or as one of more than 1 000 rows.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn prune_outbox(&self, now: UnixTime) -> Result<(), StoreError> {
        let long_ago = now.as_secs().saturating_sub(OUTBOX_KEPT_SECS);
        let connection = self.connection();
        connection.execute(
            "UPDATE outbox SET state = 'expired', due = NULL WHERE expires < ?1 AND state NOT IN ('expired', 'failed')",
            [stamp(now)],
        )?;
        connection.execute(
            "DELETE FROM outbox WHERE due IS NULL AND expires < ?2 AND (expires < ?1 OR id NOT IN
                 (SELECT id FROM outbox ORDER BY id DESC LIMIT ?3))",
            (stamp(UnixTime::new(long_ago)), stamp(now), OUTBOX_KEPT_MAX),
        )?;
        Ok(())
    }

    fn outbox_ids(&self, query: &str, now: UnixTime) -> Result<Vec<OutboxId>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(query)?;
        let ids = statement
            .query_map([stamp(now)], |row| row.get(0).map(OutboxId))?
            .collect::<Result<Vec<_>, _>>()?;
        Ok(ids)
    }

    fn store_leased(&self, leased: &LeasedEntry, lease: Option<Lease>) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let found = self.outbox_row(transaction, leased.entry.id)?;
            if found.and_then(|(_, held)| held).map(|held| held.token) != Some(leased.lease.token) {
                return Ok(false);
            }
            self.write_outbox(transaction, &leased.entry, lease)?;
            Ok(true)
        })
    }

    fn write_outbox(
        &self,
        transaction: &Transaction<'_>,
        entry: &OutboxEntry,
        lease: Option<Lease>,
    ) -> Result<(), StoreError> {
        let sealed = self.seal(TABLE, &SealedRow::new(entry, lease))?;
        let stored = match entry.state {
            OutboxState::Publishing { stored, .. } => {
                Some(i64::try_from(stored).unwrap_or(i64::MAX))
            }
            _ => None,
        };
        transaction.execute(
            "UPDATE outbox SET state = ?2, stored = coalesce(?3, stored), attempts = ?4, due = ?5, sealed = ?6 WHERE id = ?1",
            (
                entry.id.0,
                entry.state.name(),
                stored,
                entry.attempts,
                entry.due.map(stamp),
                sealed,
            ),
        )?;
        Ok(())
    }

    fn outbox_row(
        &self,
        transaction: &Transaction<'_>,
        id: OutboxId,
    ) -> Result<Option<(OutboxEntry, Option<Lease>)>, StoreError> {
        let row = transaction
            .query_row(
                &format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1"),
                [id.0],
                OutboxRow::read,
            )
            .optional()?;
        row.map(|row| self.open_outbox(&row)).transpose()
    }

    fn open_outbox(&self, row: &OutboxRow) -> Result<(OutboxEntry, Option<Lease>), StoreError> {
        let sealed: SealedRow = self.unseal(TABLE, &row.sealed)?;
        sealed.into_entry(row).ok_or(StoreError::Damaged(TABLE))
    }
}

impl Lease {
    /// A lease of this process from now on.
    fn begin(now: UnixTime) -> Result<Self, StoreError> {
        let mut token = [0; 8];
        getrandom::fill(&mut token).map_err(|_| StoreError::NoRandomness)?;
        Ok(Self {
            token: u64::from_le_bytes(token),
            process: std::process::id(),
            until: now.saturating_add(OUTBOX_LEASE_SECS),
        })
    }

    /// Whether it still binds others: it has not ended, and neither has its process, where the system shows processes.
    fn is_held(&self, now: UnixTime) -> bool {
        let processes = std::path::Path::new("/proc");
        let shows = |process: u32| processes.join(process.to_string()).exists();
        let has_ended = shows(std::process::id()) && !shows(self.process);
        self.until >= now && !has_ended
    }
}
