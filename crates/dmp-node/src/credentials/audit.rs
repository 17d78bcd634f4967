//! What was done with bearer tokens and by the operator with keys of their own, as a table of bounded size (node.md 6.6, W-14).
//!
//! Rows about shared-pool names carry no subject and no token hash, so that the table alone cannot tell who delivered
//! to whom. Rows are written in the transaction of what they tell about, where there is one.

use super::{Credentials, TokenHash, integer};
use crate::access::bucket::TokenBuckets;
use crate::limits::{AUDIT_ROWS, AUDIT_SECONDS, STRANGER_BURST, STRANGER_RATE};
use crate::repeated::log_repeated;
use crate::store::{Draft, Failure};
use rusqlite::{Connection, params};
use std::borrow::Cow;
use std::net::IpAddr;

/// Kind of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditEvent {
    /// A token was minted, or a key of the operator's own was added.
    Issued,
    /// A token was revoked, by the operator or by a newer one; or the operator ended a TSIG key.
    Revoked,
    /// A token let a write through.
    Used,
    /// A token was good but over its rate.
    Throttled,
    /// A token or a name was not good.
    Rejected,
}

impl AuditEvent {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Revoked => "revoked",
            Self::Used => "used",
            Self::Throttled => "throttled",
            Self::Rejected => "rejected",
        }
    }
}

/// A row to write.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Kind.
    pub event: AuditEvent,
    /// The token and its subject, unless they must not be told.
    pub who: Option<(TokenHash, String)>,
    /// Where the request came from.
    pub remote: Option<IpAddr>,
    /// What it was about, without anything that identifies a recipient.
    pub detail: Cow<'static, str>,
}

/// How many rows strangers can cause: a well-formed token that nobody holds costs its sender nothing.
#[derive(Debug)]
pub(super) struct Strangers(TokenBuckets<()>);

impl Default for Strangers {
    fn default() -> Self {
        Self(TokenBuckets::new(STRANGER_RATE, STRANGER_BURST))
    }
}

impl Credentials {
    /// Writes a row about a request that changes nothing, without waiting for it; beyond a low rate rows are dropped.
    pub fn audit_refusal(&self, row: AuditRow) {
        if self.strangers.0.take(&()) {
            let work = move |draft: &mut Draft<'_>| insert(draft, &row);
            self.context.store().transact_then(work, |written| {
                if let Err(failure) = written {
                    log_repeated!(warn, %failure, "an audit row was not written");
                }
            });
        }
    }

    pub(super) async fn trim_audit(&self, now: u64) -> Result<(), Failure<rusqlite::Error>> {
        let work = move |draft: &mut Draft<'_>| {
            let sql = "DELETE FROM token_audit
                       WHERE ts < ?1 OR id <= (SELECT max(id) FROM token_audit) - ?2";
            let oldest = integer(now.saturating_sub(AUDIT_SECONDS));
            draft.sql()?.execute(sql, params![oldest, AUDIT_ROWS])?;
            Ok(())
        };
        self.context.store().transact(work).await
    }
}

/// Writes the row with the rest of the draft.
pub(crate) fn insert(draft: &mut Draft<'_>, row: &AuditRow) -> rusqlite::Result<()> {
    let now = draft.now();
    insert_at(draft.sql()?, row, now)
}

pub(super) fn insert_at(sql: &Connection, row: &AuditRow, now: u64) -> rusqlite::Result<()> {
    let (hash, subject) = match &row.who {
        Some((hash, subject)) => (Some(hash.to_string()), Some(subject)),
        None => (None, None),
    };
    sql.prepare_cached(
        "INSERT INTO token_audit (ts, event, token_hash, subject, remote_addr, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        integer(now),
        row.event.as_str(),
        hash,
        subject,
        row.remote.map(|address| address.to_string()),
        row.detail,
    ])
    .map(drop)
}
