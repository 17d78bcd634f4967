//! Which identities open the store: its data key lies wrapped once for each (client.md 2, 13; D17). Seals no row.
//!
//! There is one wrap, or two from the moment before a rotation is published until the first start with the new passphrase: then the older
//! one goes, and with it the old passphrase. A wrap whose rotation is not published yet has no time of creation: it opens the store, but
//! takes nobody's place.

use std::path::Path;

use dmp_core::id::UnixTime;
use dmp_core::keys::Identity;
use rusqlite::{Connection, OpenFlags};

use super::vault::Vault;
use super::{STORE_FILE, Store, stamp};
use crate::error::StoreError;
use crate::limits::SQLITE_BUSY_TIMEOUT;

/// A wrap that was added for another identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrapId(i64);

/// What a home's store says about an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// There is no store yet.
    NoStore,
    /// It does not open the store.
    Refused,
    /// It opens the store, but is not the one that the store belongs to: a rotation is under way.
    Other,
    /// It is the one that the store belongs to.
    Current,
}

impl Store {
    /// What the store of a home says about an identity, without opening it for use.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn opening(home: &Path, identity: &Identity) -> Result<Opening, StoreError> {
        let path = home.join(STORE_FILE);
        if !path.exists() {
            return Ok(Opening::NoStore);
        }
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(SQLITE_BUSY_TIMEOUT)?;
        if !connection.table_exists(None, "wraps")? {
            return Ok(Opening::NoStore);
        }
        let (wraps, key) = (wraps(&connection)?, identity.store_key());
        let own = wraps
            .iter()
            .find(|wrap| Vault::unwrap(&wrap.sealed, &key).is_some());
        Ok(match own {
            None => Opening::Refused,
            Some(own) if Some(own.id) == newest(&wraps) => Opening::Current,
            Some(_) => Opening::Other,
        })
    }

    /// Lets another identity open the store as well: before a rotation to it is published, so that no later step can lock the user out.
    /// What an earlier attempt left behind goes.
    ///
    /// # Errors
    /// Failures of the database or of the system's randomness.
    pub fn add_wrap(&self, identity: &Identity) -> Result<WrapId, StoreError> {
        let wrapped = self.vault.wrap(&identity.store_key())?;
        self.write(|transaction| {
            transaction.execute("DELETE FROM wraps WHERE created = 0", ())?;
            transaction.execute(
                "INSERT INTO wraps (created, wrapped) VALUES (0, ?1)",
                [wrapped],
            )?;
            Ok(WrapId(transaction.last_insert_rowid()))
        })
    }

    /// The rotation is published: the identity of this wrap is the one that the store belongs to.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn confirm_wrap(&self, wrap: WrapId, now: UnixTime) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE wraps SET created = ?2 WHERE id = ?1",
                (wrap.0, stamp(now).max(1)),
            )?;
            Ok(())
        })
    }

    /// Takes a wrap back, because the rotation that it was for did not happen.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn drop_wrap(&self, wrap: WrapId) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM wraps WHERE id = ?1", [wrap.0])?;
            Ok(())
        })?;
        self.scrub_log()
    }
}

/// Opens the data key with the wrap that this identity made. If the store belongs to it, every older wrap is removed: the rotation is complete.
pub(super) fn unlock(
    connection: &Connection,
    key: &[u8; 32],
) -> Result<(Vault, WrapsRemoved), StoreError> {
    let wraps = wraps(connection)?;
    if wraps.is_empty() {
        return Err(StoreError::Damaged("wraps"));
    }
    let (id, vault) = wraps
        .iter()
        .find_map(|wrap| Some((wrap.id, Vault::unwrap(&wrap.sealed, key)?)))
        .ok_or(StoreError::WrongPassphrase)?;
    let mut removed = WrapsRemoved::None;
    if newest(&wraps) == Some(id)
        && connection.execute("DELETE FROM wraps WHERE id < ?1", [id])? > 0
    {
        removed = WrapsRemoved::Some;
    }
    Ok((vault, removed))
}

/// Whether opening the store ended somebody's access to it: then the log must not keep the wrap either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WrapsRemoved {
    None,
    Some,
}

struct Wrap {
    id: i64,
    is_confirmed: bool,
    sealed: Vec<u8>,
}

/// All wraps, the newest first.
fn wraps(connection: &Connection) -> Result<Vec<Wrap>, StoreError> {
    let mut statement =
        connection.prepare("SELECT id, created != 0, wrapped FROM wraps ORDER BY id DESC")?;
    let rows = statement.query_map((), |row| {
        Ok(Wrap {
            id: row.get(0)?,
            is_confirmed: row.get(1)?,
            sealed: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

/// The wrap of the identity that the store belongs to.
fn newest(wraps: &[Wrap]) -> Option<i64> {
    wraps
        .iter()
        .find(|wrap| wrap.is_confirmed)
        .map(|wrap| wrap.id)
}
