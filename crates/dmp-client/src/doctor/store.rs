//! Whether the local store can still be read, row by row where the passphrase is at hand. Changes no row.

use dmp_core::id::UnixTime;
use dmp_core::keys::Identity;

use super::Check;
use crate::error::StoreError;
use crate::home::Home;
use crate::store::{DamagedRows, Opening, Store};

const CODE: &str = "store";
const RESTORE: &str =
    "keep a copy of the file, look at the disk, and restore a backup: dnsmesh backup import";

/// Judges the store of a home; without the identity only its file can be looked at. `None` while there is no store.
#[must_use]
pub fn check_store(home: &Home, identity: Option<&Identity>, now: UnixTime) -> Option<Check> {
    if !Store::exists(home.dir()) {
        return None;
    }
    let path = home.store_path();
    let checked = match identity {
        None => Store::check_file(&path).map(|()| None),
        Some(identity) => inspect(home, identity, now).map(Some),
    };
    Some(match checked {
        Ok(None) => Check::ok(
            CODE,
            "store file is whole",
            "its rows are looked at when the passphrase is there without asking",
        ),
        Ok(Some(damaged)) if damaged.is_empty() => {
            Check::ok(CODE, "store can be read", path.display().to_string())
        }
        Ok(Some(damaged)) => {
            let tables: Vec<String> = damaged
                .iter()
                .map(|damaged| format!("{}: {}", damaged.table, damaged.rows))
                .collect();
            Check::fail(
                CODE,
                "store has damaged rows",
                format!("{}; they are passed over", tables.join(", ")),
                RESTORE,
            )
        }
        Err(error @ StoreError::WrongPassphrase) => Check::fail(
            CODE,
            "store does not open",
            error.to_string(),
            "use the passphrase of this home",
        ),
        Err(error) => Check::fail(CODE, "store does not open", error.to_string(), RESTORE),
    })
}

fn inspect(
    home: &Home,
    identity: &Identity,
    now: UnixTime,
) -> Result<Vec<DamagedRows>, StoreError> {
    match Store::opening(home.dir(), identity)? {
        Opening::Refused => Err(StoreError::WrongPassphrase),
        _ => Store::open(home.dir(), identity, now)?.inspect(),
    }
}
