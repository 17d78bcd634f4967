//! Rows that do not open: each is passed over and remembered, so that it costs nobody the rows beside it (D16). Deletes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Store;
use crate::error::StoreError;

/// Damaged rows that were met so far. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Damage(Arc<Mutex<Met>>);

/// How many rows of a table do not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DamagedRows {
    /// The table.
    pub table: &'static str,
    /// How many.
    pub rows: usize,
}

#[derive(Debug, Default)]
struct Met {
    /// The keys of the rows by table; one that is met again counts once.
    rows: BTreeMap<&'static str, BTreeSet<Vec<u8>>>,
    /// How many rows of all tables were told.
    told: usize,
}

impl Damage {
    /// What was met, table by table; empty if that was told before and nothing has come to it since.
    #[must_use]
    pub fn news(&self) -> Vec<DamagedRows> {
        let mut met = self.met();
        let count = met.rows.values().map(BTreeSet::len).sum();
        if std::mem::replace(&mut met.told, count) == count {
            return Vec::new();
        }
        met.list()
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    fn list(&self) -> Vec<DamagedRows> {
        let tables = self.rows.iter();
        tables
            .map(|(table, rows)| DamagedRows {
                table,
                rows: rows.len(),
            })
            .collect()
    }
}

impl Store {
    /// What this process has met of damaged rows.
    #[must_use]
    pub fn damage(&self) -> Damage {
        self.damage.clone()
    }

    /// Opens every row once, and the structure of the file around them; what does not open.
    ///
    /// # Errors
    /// Failures of the database, a file that is damaged as a whole.
    pub fn inspect(&self) -> Result<Vec<DamagedRows>, StoreError> {
        let verdict: String = self
            .connection()
            .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt(verdict));
        }
        self.contacts()?;
        self.messages()?;
        self.intros()?;
        self.denylist()?;
        self.outbox()?;
        self.withdrawals()?;
        self.open_every_prekey()?;
        self.open_every_note()?;
        Ok(self.damage.met().list())
    }

    /// The row, or `None` if it is damaged, which is remembered. `key` tells it from the others of its table.
    pub(super) fn unless_damaged<T>(
        &self,
        key: impl AsRef<[u8]>,
        row: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(StoreError::Damaged(table)) => {
                let mut met = self.damage.met();
                let rows = met.rows.entry(table).or_default();
                rows.insert(key.as_ref().to_vec());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
