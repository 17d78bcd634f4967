//! Own prekeys: private halves, what was published of them, what is to be withdrawn (client.md 9, D15). Generates none.

use dmp_core::id::{PrekeyId, UnixTime};
use dmp_core::keys::AgreementSecret;
use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Store, stamp, time};
use crate::error::StoreError;
use crate::limits::PREKEY_GRACE;

const TABLE: &str = "prekeys";
const WITHDRAWALS: &str = "withdrawals";

/// A prekey about to be published: its private half is stored first.
pub struct NewPrekey {
    /// Its number.
    pub id: PrekeyId,
    /// Its private half.
    pub secret: AgreementSecret,
    /// Last second of its published life.
    pub expires: UnixTime,
}

/// A published value that is to disappear from the zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withdrawal {
    id: i64,
    /// The exact text, published at the own prekey name.
    pub value: String,
}

impl Store {
    /// Stores private halves that are not published yet.
    ///
    /// # Errors
    /// Failures of the database, an id that is in use.
    pub fn insert_prekeys(&self, prekeys: &[NewPrekey], now: UnixTime) -> Result<(), StoreError> {
        self.write(|transaction| {
            for prekey in prekeys {
                transaction.execute(
                    "INSERT INTO prekeys (id, expires, created, sealed) VALUES (?1, ?2, ?3, ?4)",
                    (
                        prekey.id.get(),
                        stamp(prekey.expires),
                        stamp(now),
                        self.seal_prekey(&prekey.secret, "")?,
                    ),
                )?;
            }
            Ok(())
        })
    }

    /// Notes that a prekey is in the zone, and with which exact text.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn mark_prekey_published(&self, id: PrekeyId, wire: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            if let Some(mut row) = self.prekey_row(transaction, id)? {
                wire.clone_into(&mut row.wire);
                let sealed = self.seal(TABLE, &row)?;
                transaction.execute(
                    "UPDATE prekeys SET published = 1, sealed = ?2 WHERE id = ?1",
                    (id.get(), sealed),
                )?;
            }
            Ok(())
        })
    }

    /// Deletes private halves for which nothing was published.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn discard_prekeys(&self, ids: &[PrekeyId]) -> Result<(), StoreError> {
        self.write(|transaction| {
            for id in ids {
                transaction.execute("DELETE FROM prekeys WHERE id = ?1", [id.get()])?;
            }
            Ok(())
        })
    }

    /// The private half of a prekey while it is kept: until its expiry and the grace of D15.
    ///
    /// # Errors
    /// Failures of the database, a damaged row.
    pub fn prekey_secret(
        &self,
        id: PrekeyId,
        now: UnixTime,
    ) -> Result<Option<AgreementSecret>, StoreError> {
        let connection = self.connection();
        let row = connection
            .query_row(
                "SELECT sealed FROM prekeys WHERE id = ?1 AND expires >= ?2",
                (
                    id.get(),
                    stamp(UnixTime::new(now.as_secs().saturating_sub(PREKEY_GRACE))),
                ),
                |row| row.get::<_, Vec<u8>>(0),
            )
            .optional()?;
        let Some(sealed) = row else { return Ok(None) };
        let row: PrekeyRow = self.unseal(TABLE, &sealed)?;
        Ok(Some(AgreementSecret::from_bytes(row.private)))
    }

    /// How many published, unused prekeys senders can still pick.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn live_prekeys(&self, now: UnixTime) -> Result<usize, StoreError> {
        let count = self.connection().query_row(
            "SELECT count(*) FROM prekeys WHERE published = 1 AND held_until IS NULL AND expires >= ?1",
            [stamp(now)],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Published, unused prekeys that live at least until then: number, exact text, expiry; the longest life first. Damaged rows are
    /// passed over.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn published_prekeys(
        &self,
        until: UnixTime,
    ) -> Result<Vec<(PrekeyId, String, UnixTime)>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT id, expires, sealed FROM prekeys
             WHERE published = 1 AND held_until IS NULL AND expires >= ?1 ORDER BY expires DESC, id",
        )?;
        let rows = statement
            .query_map([stamp(until)], |row| {
                Ok((
                    row.get::<_, u32>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                ))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|(id, expires, sealed)| {
                let row = self.unseal(TABLE, &sealed).and_then(|mut row: PrekeyRow| {
                    let id = PrekeyId::new(id).ok_or(StoreError::Damaged(TABLE))?;
                    Ok((id, std::mem::take(&mut row.wire), time(expires)))
                });
                self.unless_damaged(id.to_be_bytes(), row)
            })
            .filter_map(Result::transpose)
            .collect()
    }

    /// Opens every private half, for [`Store::inspect`].
    pub(super) fn open_every_prekey(&self) -> Result<(), StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare("SELECT id, sealed FROM prekeys")?;
        let rows = statement
            .query_map((), |row| {
                Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        for (id, sealed) in rows {
            self.unless_damaged(id.to_be_bytes(), self.unseal::<PrekeyRow>(TABLE, &sealed))?;
        }
        Ok(())
    }

    /// Whether an id is taken by a stored prekey.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn has_prekey(&self, id: PrekeyId) -> Result<bool, StoreError> {
        let found = self
            .connection()
            .query_row(
                "SELECT 1 FROM prekeys WHERE id = ?1",
                [id.get()],
                |_| Ok(()),
            )
            .optional()?;
        Ok(found.is_some())
    }

    /// Published values that are still to be removed from the zone; damaged rows are passed over.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn withdrawals(&self) -> Result<Vec<Withdrawal>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT id, sealed FROM withdrawals ORDER BY id")?;
        let rows = statement
            .query_map((), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|(id, sealed)| {
                let row = self.unseal(WITHDRAWALS, &sealed);
                let row = row.map(|row: WithdrawalRow| Withdrawal {
                    id,
                    value: row.value,
                });
                self.unless_damaged(id.to_be_bytes(), row)
            })
            .filter_map(Result::transpose)
            .collect()
    }

    /// Forgets withdrawals that the node has carried out.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn forget_withdrawals(&self, done: &[Withdrawal]) -> Result<(), StoreError> {
        self.write(|transaction| {
            for withdrawal in done {
                transaction.execute("DELETE FROM withdrawals WHERE id = ?1", [withdrawal.id])?;
            }
            Ok(())
        })
    }

    /// Consumes a prekey inside the transaction that delivers a message: its private half goes, or stays for a message that still
    /// waits for it; its published value is queued for removal (D15). A row that is damaged stays as it is: the message comes first.
    pub(super) fn consume_prekey(
        &self,
        transaction: &Transaction<'_>,
        id: PrekeyId,
        held_until: Option<UnixTime>,
    ) -> Result<(), StoreError> {
        let row = self.prekey_row(transaction, id);
        let row = self.unless_damaged(id.get().to_be_bytes(), row)?;
        let Some(mut row) = row.flatten() else {
            return Ok(());
        };
        if !row.wire.is_empty() {
            let sealed = self.seal(
                WITHDRAWALS,
                &WithdrawalRow {
                    value: std::mem::take(&mut row.wire),
                },
            )?;
            transaction.execute(
                "INSERT INTO withdrawals (expires, sealed) SELECT expires, ?2 FROM prekeys WHERE id = ?1",
                (id.get(), sealed),
            )?;
        }
        match held_until {
            None => transaction.execute("DELETE FROM prekeys WHERE id = ?1", [id.get()])?,
            Some(until) => {
                let sealed = self.seal(TABLE, &row)?;
                transaction.execute(
                    "UPDATE prekeys SET held_until = max(coalesce(held_until, 0), ?2), sealed = ?3 WHERE id = ?1",
                    (id.get(), stamp(until), sealed),
                )?
            }
        };
        Ok(())
    }

    /// The sealed form of a private half and the text that was published of it.
    pub(super) fn seal_prekey(
        &self,
        secret: &AgreementSecret,
        wire: &str,
    ) -> Result<Vec<u8>, StoreError> {
        let row = PrekeyRow {
            private: *secret.as_bytes(),
            wire: wire.to_owned(),
        };
        self.seal(TABLE, &row)
    }

    fn prekey_row(
        &self,
        transaction: &Transaction<'_>,
        id: PrekeyId,
    ) -> Result<Option<PrekeyRow>, StoreError> {
        let sealed = transaction
            .query_row(
                "SELECT sealed FROM prekeys WHERE id = ?1",
                [id.get()],
                |row| row.get::<_, Vec<u8>>(0),
            )
            .optional()?;
        sealed.map(|sealed| self.unseal(TABLE, &sealed)).transpose()
    }
}

/// A prekey as it lies in its sealed column.
#[derive(Serialize, Deserialize)]
struct PrekeyRow {
    #[serde(with = "hex::serde")]
    private: [u8; 32],
    wire: String,
}

impl Drop for PrekeyRow {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

#[derive(Serialize, Deserialize)]
struct WithdrawalRow {
    value: String,
}
