//! The operator's deny list: subjects and signing keys that get no credential (W-9, D9).

use super::{Credentials, MintError, integer};
use crate::store::{Draft, Failure};
use rusqlite::{Connection, params};

/// Whom the operator denies credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// A canonical `user@host`.
    Subject(String),
    /// An Ed25519 key, whatever subject it registers.
    SigningKey([u8; 32]),
}

impl Denied {
    fn columns(&self) -> (&'static str, String) {
        match self {
            Self::Subject(subject) => ("subject", subject.clone()),
            Self::SigningKey(key) => ("spk", hex::encode(key)),
        }
    }
}

impl Credentials {
    /// Denies credentials from now on; those already issued live on until they are revoked.
    pub async fn deny(&self, denied: Denied) -> Result<(), Failure<rusqlite::Error>> {
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            insert(draft.sql()?, &denied, now)
        };
        self.context.store().transact(work).await
    }

    /// Lifts a denial; `false` if there was none.
    pub async fn allow(&self, denied: Denied) -> Result<bool, Failure<rusqlite::Error>> {
        let work = move |draft: &mut Draft<'_>| {
            let (kind, value) = denied.columns();
            let sql = "DELETE FROM denied WHERE kind = ?1 AND value = ?2";
            Ok(draft.sql()?.execute(sql, params![kind, value])? > 0)
        };
        self.context.store().transact(work).await
    }
}

pub(super) fn insert(sql: &Connection, denied: &Denied, now: u64) -> rusqlite::Result<()> {
    let (kind, value) = denied.columns();
    sql.prepare_cached("INSERT OR IGNORE INTO denied (kind, value, since) VALUES (?1, ?2, ?3)")?
        .execute(params![kind, value, integer(now)])
        .map(drop)
}

/// An error if the subject or the key (hex) is denied.
pub(super) fn check(sql: &Connection, subject: &str, spk: &str) -> Result<(), MintError> {
    let listed = sql
        .prepare_cached(
            "SELECT 1 FROM denied WHERE (kind = 'subject' AND value = ?1) OR (kind = 'spk' AND value = ?2)",
        )?
        .exists(params![subject, spk])?;
    if listed {
        Err(MintError::Denied)
    } else {
        Ok(())
    }
}
