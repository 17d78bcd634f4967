//! The one local file: contacts, prekeys, replay entries, inbox, quarantine, denylist and outbox, encrypted at rest (client.md 2, 5;
//! D17). Decides nothing about trust and speaks to no network.
//!
//! `dnsmesh.db` is a SQLite database in WAL mode with full synchronisation: what a method returned as done survives a crash. The
//! method that stores received messages is one transaction, see [`Store::commit_received`].

mod contacts;
mod damage;
mod inbox;
mod intros;
mod lock;
mod outbox;
mod prekeys;
mod quarantine;
mod schema;
mod takeover;
mod vault;
mod wraps;

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::{Identity, SigningPublicKey};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::contacts::{
    Contact, ContactId, KeyState, Method, NewContact, SeenIdentity, Verification,
};
pub use self::damage::{Damage, DamagedRows};
pub use self::inbox::{
    Authorship, Committed, HeldPrekey, InboxMessage, MessageNumber, Received, Succession,
};
pub use self::intros::{Blocked, ContactChange, Intro, IntroId, IntroPurge, NewIntro, Reason};
pub use self::lock::{Holder, RunLock};
pub use self::outbox::{
    Delivery, LeasedEntry, Leasing, MessageKey, NewOutboxEntry, OutboxEntry, OutboxId, OutboxItem,
    OutboxState,
};
pub use self::prekeys::{NewPrekey, Withdrawal};
pub use self::quarantine::Displaced;
pub use self::takeover::TakenOver;
use self::vault::{Tag, Vault};
use self::wraps::WrapsRemoved;
pub use self::wraps::{Opening, WrapId};
use crate::error::StoreError;
use crate::limits::{PREKEY_GRACE, SQLITE_BUSY_TIMEOUT};
use crate::takeover::ReferenceHome;

/// Name of the store inside a home.
pub const STORE_FILE: &str = "dnsmesh.db";
/// Name of the file that a receive run locks.
pub const LOCK_FILE: &str = "lock";

/// An open store. Safe to share between threads; every method is short and blocking.
pub struct Store {
    connection: Mutex<Connection>,
    vault: Vault,
    damage: Damage,
    /// The home, `None` in memory.
    home: Option<PathBuf>,
}

impl Store {
    /// Opens or creates the store of a home (directory 0700, file 0600).
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`] if the identity does not open an existing store (D17), [`StoreError::FutureSchema`] and
    /// [`StoreError::NotAStore`] with the file untouched, and failures of the file system.
    pub fn open(home: &Path, identity: &Identity, now: UnixTime) -> Result<Self, StoreError> {
        Self::take_over(home, identity, now, &ReferenceHome::default()).map(|(store, _)| store)
    }

    /// Creates the store of a home with everything that the reference left there, in one transaction: after a crash there is the
    /// complete store or none. A store that exists already, because another process was first, is opened as it is (D4).
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn take_over(
        home: &Path,
        identity: &Identity,
        now: UnixTime,
        found: &ReferenceHome,
    ) -> Result<(Self, Option<TakenOver>), StoreError> {
        private_directory(home)?;
        let path = home.join(STORE_FILE);
        private_file(&path)?;
        let connection = Connection::open(&path)?;
        Self::prepare(connection, identity, now, Some(home.to_owned()), found)
    }

    /// Whether a home has a store already. A creation that was interrupted left none.
    #[must_use]
    pub fn exists(home: &Path) -> bool {
        let path = home.join(STORE_FILE);
        let mut journal = path.clone().into_os_string();
        journal.push("-journal"); // only creation uses one; what it holds is rolled back
        path.metadata().is_ok_and(|file| file.len() > 0) && !Path::new(&journal).exists()
    }

    /// A store that ends with the process: for tests and simulations.
    ///
    /// # Errors
    /// Failures of the database or of the system's randomness.
    pub fn in_memory(identity: &Identity, now: UnixTime) -> Result<Self, StoreError> {
        let connection = Connection::open_in_memory()?;
        Self::prepare(connection, identity, now, None, &ReferenceHome::default())
            .map(|(store, _)| store)
    }

    /// The whole store as it is now, in the form of its file, for a backup. Sealed rows stay sealed.
    ///
    /// # Errors
    /// Failures of the database or of the file system.
    pub fn snapshot(&self) -> Result<Vec<u8>, StoreError> {
        let connection = self.connection();
        // What SQLite writes is one moment of the database, whoever else changes it; it needs a file for that.
        let name = self
            .home
            .as_ref()
            .map(|home| home.join("dnsmesh.db.snapshot"));
        let path = name.ok_or(StoreError::NotAStore(":memory:".to_owned()))?;
        let failed = |error| StoreError::File {
            path: path.display().to_string(),
            error,
        };
        let remove = || match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
        remove()?; // left by a run that was killed
        private_file(&path)?;
        let written = connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]);
        let content = written
            .map_err(StoreError::from)
            .and_then(|_| std::fs::read(&path).map_err(failed));
        remove()?;
        content
    }

    /// Makes sure that a file which is not in use is a whole store of this program, without opening a row.
    ///
    /// # Errors
    /// [`StoreError::FutureSchema`], [`StoreError::NotAStore`], failures of the database.
    pub fn check_file(path: &Path) -> Result<(), StoreError> {
        let foreign = || StoreError::NotAStore(path.display().to_string());
        let connection =
            Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        match (
            verdict.as_str(),
            schema::check(&connection, &path.display().to_string())?,
        ) {
            ("ok", schema::Found::Store) => Ok(()),
            _ => Err(foreign()),
        }
    }

    /// Takes the lock of receive runs at once; `work` is what another process is told that this one does.
    ///
    /// # Errors
    /// [`StoreError::Locked`] naming the holder.
    pub fn lock_receiving(&self, work: &str) -> Result<RunLock, StoreError> {
        self.home.as_ref().map_or_else(
            || Ok(RunLock::private()),
            |home| RunLock::take(&home.join(LOCK_FILE), work),
        )
    }

    /// Deletes what no clock needs any more: replay entries, used-prekey notes and withdrawals past their expiry, private halves past
    /// expiry and grace, or past the message that they were held for (D15).
    ///
    /// # Errors
    /// Failures of the database.
    pub fn purge(&self, now: UnixTime) -> Result<(), StoreError> {
        let now_secs = stamp(now);
        let dead = stamp(UnixTime::new(now.as_secs().saturating_sub(PREKEY_GRACE)));
        self.write(|transaction| {
            transaction.execute("DELETE FROM replay WHERE expires < ?1", [now_secs])?;
            transaction.execute("DELETE FROM used_prekeys WHERE expires < ?1", [now_secs])?;
            transaction.execute("DELETE FROM withdrawals WHERE expires < ?1", [now_secs])?;
            transaction.execute("DELETE FROM prekeys WHERE expires < ?1 OR held_until < ?2", [dead, now_secs])?;
            transaction.execute(
                "UPDATE outbox SET state = 'expired', due = NULL WHERE expires < ?1 AND state NOT IN ('expired', 'failed')",
                [now_secs],
            )?;
            Ok(())
        })
    }

    /// Whether a message was delivered or quarantined before (crypto.md 13).
    ///
    /// # Errors
    /// Failures of the database.
    pub fn is_replay(&self, signer: &SigningPublicKey, msg_id: &MsgId) -> Result<bool, StoreError> {
        let tag = self.message_tag(signer, msg_id);
        let found = self
            .connection()
            .query_row("SELECT 1 FROM replay WHERE tag = ?1", [tag], |_| Ok(()))
            .optional()?;
        Ok(found.is_some())
    }

    /// Remembers messages that were delivered elsewhere: the replay cache of a home that is taken over (D4).
    ///
    /// # Errors
    /// Failures of the database.
    pub fn record_replays(
        &self,
        seen: &[(SigningPublicKey, MsgId, UnixTime)],
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            for (signer, msg_id, expires) in seen {
                record_replay(transaction, &self.message_tag(signer, msg_id), *expires)?;
            }
            Ok(())
        })
    }

    /// A single fact that an operation left for its next run.
    pub(crate) fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sealed = self
            .connection()
            .query_row("SELECT sealed FROM meta WHERE name = ?1", [name], |row| {
                row.get::<_, Vec<u8>>(0)
            })
            .optional()?;
        match sealed {
            Some(sealed) => self.unless_damaged(name, self.unseal("meta", &sealed)),
            None => Ok(None),
        }
    }

    /// Opens every fact, for [`Store::inspect`].
    fn open_every_note(&self) -> Result<(), StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare("SELECT name, sealed FROM meta")?;
        let rows = statement
            .query_map((), |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        for (name, sealed) in rows {
            self.unless_damaged(name, self.unseal::<String>("meta", &sealed))?;
        }
        Ok(())
    }

    /// Leaves a fact for the next run.
    pub(crate) fn set_note(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let sealed = self.seal("meta", &value)?;
        self.connection().execute(
            "INSERT INTO meta (name, sealed) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
            (name, sealed),
        )?;
        Ok(())
    }

    fn prepare(
        connection: Connection,
        identity: &Identity,
        now: UnixTime,
        home: Option<PathBuf>,
        first: &ReferenceHome,
    ) -> Result<(Self, Option<TakenOver>), StoreError> {
        let file = home.as_ref().map_or_else(
            || ":memory:".to_owned(),
            |home| home.join(STORE_FILE).display().to_string(),
        );
        connection.busy_timeout(SQLITE_BUSY_TIMEOUT)?;
        let key = identity.store_key();
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // Every early return drops the connection, which rolls back.
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let found = schema::prepare(&connection, &file)?;
        let (vault, removed) = match found {
            schema::Found::Store => wraps::unlock(&connection, &key)?,
            schema::Found::Nothing => {
                let vault = Vault::generate()?;
                connection.execute(
                    "INSERT INTO wraps (created, wrapped) VALUES (?1, ?2)",
                    (stamp(now), vault.wrap(&key)?),
                )?;
                (vault, WrapsRemoved::None)
            }
        };
        let store = Self {
            connection: Mutex::new(connection),
            vault,
            damage: Damage::default(),
            home,
        };
        let connection = store.connection();
        let taken = match found {
            schema::Found::Store => None,
            schema::Found::Nothing => Some(store.fill(&connection, first, identity, now)?),
        };
        connection.execute_batch("COMMIT")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        drop(connection);
        if removed == WrapsRemoved::Some {
            store.scrub_log()?;
        }
        Ok((store, taken))
    }

    /// The connection. A panic elsewhere leaves no half transaction behind, so a poisoned lock is as good as any.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction, rolled back on error.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        transact(&mut self.connection(), work)
    }

    /// One transaction that a loss of power may undo, though no end of the process: it reaches the disk with the next one, or when the
    /// store is closed, and nobody waits for that.
    fn write_soon<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let value = transact(&mut connection, work);
        connection.pragma_update(None, "synchronous", "FULL")?;
        value
    }

    /// Makes sure that deleted secrets are gone from the write-ahead log too.
    fn scrub_log(&self) -> Result<(), StoreError> {
        self.connection()
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
        Ok(())
    }

    /// Seals a row of a table.
    fn seal(&self, table: &'static str, row: &impl Serialize) -> Result<Vec<u8>, StoreError> {
        let plain = zeroize::Zeroizing::new(
            serde_json::to_vec(row).map_err(|_| StoreError::Damaged(table))?,
        );
        self.vault.seal(table, &plain)
    }

    /// Opens a row of a table.
    fn unseal<T: DeserializeOwned>(
        &self,
        table: &'static str,
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        let plain = self
            .vault
            .open(table, sealed)
            .ok_or(StoreError::Damaged(table))?;
        serde_json::from_slice(&plain).map_err(|_| StoreError::Damaged(table))
    }

    fn message_tag(&self, signer: &SigningPublicKey, msg_id: &MsgId) -> Tag {
        self.vault
            .tag("message", &[signer.as_bytes(), msg_id.as_bytes()])
    }

    fn sender_tag(&self, signer: &SigningPublicKey) -> Tag {
        self.vault.tag("sender", &[signer.as_bytes()])
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

/// One transaction, rolled back on error.
fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Marks a message as seen until its manifest expires.
fn record_replay(
    connection: &Connection,
    tag: &Tag,
    expires: UnixTime,
) -> Result<bool, StoreError> {
    let added = connection.execute(
        "INSERT INTO replay (tag, expires) VALUES (?1, ?2) ON CONFLICT (tag) DO NOTHING",
        (tag, stamp(expires)),
    )?;
    Ok(added == 1)
}

/// Seconds as SQLite keeps them; times beyond its range are for ever.
fn stamp(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// The reverse of [`stamp`].
fn time(stamp: i64) -> UnixTime {
    UnixTime::new(u64::try_from(stamp).unwrap_or(0))
}

/// Creates the directory for its owner alone, or takes everybody else's rights to an existing one away.
fn private_directory(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::File {
        path: path.display().to_string(),
        error,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    let mode = path.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Creates the database file for its owner alone before SQLite opens it; SQLite gives the journal the same mode.
///
/// An existing file is not opened: closing it again would drop the locks of other connections in this process.
fn private_file(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::File {
        path: path.display().to_string(),
        error,
    };
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_code_of_its_own_and_harms_nothing() {
        let now = UnixTime::new(1_800_000_000);
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), &Identity::from_seed([1; 32]), now).unwrap();
        store
            .insert_contact(&NewContact::new("alice"), now)
            .unwrap();
        store
            .connection()
            .pragma_update(None, "max_page_count", 1)
            .unwrap(); // as many as there are, at least
        let mut card = NewContact::new("bob");
        card.remote_username = Some("b".repeat(1 << 20));
        let full = store.insert_contact(&card, now).unwrap_err();
        assert_eq!(full.code(), "disk-full", "{full}");
        assert_eq!(store.contacts().unwrap().len(), 1);
        store
            .connection()
            .pragma_update(None, "max_page_count", 1 << 20)
            .unwrap();
        assert!(store.insert_contact(&card, now).unwrap().is_some());
    }
}
