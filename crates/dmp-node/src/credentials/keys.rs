//! The rows of TSIG keys: minting, replacing and revoking (node.md 4, D9).
//!
//! What a key may write is given by the caller; how a packet is verified with it is `access`.

use super::audit::{AuditEvent, AuditRow, insert_at};
use super::{Credentials, MintError, deny, integer, key_column};
use crate::access::{KeyRow, Keyring};
use crate::store::{Draft, Failure};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The algorithm of every key minted here.
pub(crate) const ALGORITHM: &str = "hmac-sha256";

/// A key to mint for a subject that has proved itself.
#[derive(Debug, Clone)]
pub struct KeyGrant {
    /// Key name, lower case, with trailing dot.
    pub name: String,
    /// Canonical `user@host`.
    pub subject: String,
    /// The Ed25519 key that registered.
    pub spk: [u8; 32],
    /// The X25519 key whose possession was proved.
    pub x25519: Option<[u8; 32]>,
    /// Scope patterns, sorted.
    pub allowed_suffixes: Vec<String>,
    /// Those of them that no other subject may hold.
    pub exclusive: Vec<String>,
    /// Unix second of expiry; 0 is never.
    pub expires_at: u64,
}

impl Credentials {
    /// Mints the key in one step with the check of ownership, and puts it in force before the answer (node.md 4.4, C9).
    ///
    /// A key that the same subject and Ed25519 key held before is dead from then on.
    pub async fn mint_key(
        self: &Arc<Self>,
        grant: KeyGrant,
        secret: Zeroizing<[u8; 32]>,
    ) -> Result<(), Failure<MintError>> {
        self.context.store().check_admission()?;
        let this = Arc::clone(self);
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            let sql = draft.sql()?;
            let superseded = supersede(sql, &grant, now)?;
            let row = KeyRow {
                name: grant.name,
                algorithm: ALGORITHM.to_owned(),
                secret: Zeroizing::new(secret.to_vec()),
                allowed_suffixes: grant.allowed_suffixes,
                expires_at: grant.expires_at,
                subject: grant.subject,
                registered_spk: Some(grant.spk),
                registered_x25519: grant.x25519,
            };
            insert(sql, &row, now)?;
            draft.after_commit(move || {
                this.swap_keyring(|keyring| {
                    let without = |keyring: Keyring, name: &String| keyring.without_key(name);
                    superseded.iter().fold(keyring.with_key(row), without)
                });
            });
            Ok(())
        };
        self.context.store().transact(work).await
    }

    /// Adds a key of the operator's own and puts it in force before the answer (C9). `false` if there is a key of that
    /// name, live or not: that one stays as it is (D9).
    pub async fn add_key(self: &Arc<Self>, row: KeyRow) -> Result<bool, Failure<rusqlite::Error>> {
        let this = Arc::clone(self);
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            let sql = draft.sql()?;
            let named = "SELECT 1 FROM tsig_key WHERE name = ?1";
            if sql.prepare_cached(named)?.exists([&row.name])? {
                return Ok(false);
            }
            insert(sql, &row, now)?;
            let added = AuditRow {
                event: AuditEvent::Issued,
                who: None,
                remote: None,
                detail: format!("admin key {}", row.name).into(),
            };
            insert_at(sql, &added, now)?;
            draft.after_commit(move || this.swap_keyring(|keyring| keyring.with_key(row)));
            Ok(true)
        };
        self.context.store().transact(work).await
    }

    /// Revokes a key for good: the next packet it signs is refused, and registering again does not revive it. `false`
    /// if there is no such key.
    pub async fn revoke_key(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<bool, Failure<rusqlite::Error>> {
        self.end_key(
            name,
            "UPDATE tsig_key SET revoked = 1 WHERE name = ?1",
            "revoked",
        )
        .await
    }

    /// Deletes a key's row: unlike a revocation it lets its owner register again. `false` if there is no such key.
    pub async fn delete_key(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<bool, Failure<rusqlite::Error>> {
        self.end_key(name, "DELETE FROM tsig_key WHERE name = ?1", "deleted")
            .await
    }

    /// Takes a key out of force by `statement`, which has its name as parameter; whether there was one.
    async fn end_key(
        self: &Arc<Self>,
        name: &str,
        statement: &'static str,
        done: &'static str,
    ) -> Result<bool, Failure<rusqlite::Error>> {
        let this = Arc::clone(self);
        let name = name.to_owned();
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            let sql = draft.sql()?;
            let found = sql.execute(statement, [&name])? > 0;
            if found {
                let ended = AuditRow {
                    event: AuditEvent::Revoked,
                    who: None,
                    remote: None,
                    detail: format!("key {name} {done}").into(),
                };
                insert_at(sql, &ended, now)?;
            }
            draft.after_commit(move || this.swap_keyring(|keyring| keyring.without_key(&name)));
            Ok(found)
        };
        self.context.store().transact(work).await
    }
}

/// Every key that is live at `now`.
pub(super) fn live(sql: &Connection, now: u64) -> rusqlite::Result<Vec<KeyRow>> {
    let mut statement = sql.prepare(
        "SELECT name, algorithm, secret, allowed_suffixes, expires_at, subject, registered_spk,
                registered_x25519_pub
         FROM tsig_key WHERE revoked = 0 AND (expires_at = 0 OR expires_at > ?1)",
    )?;
    let rows = statement.query_map([integer(now)], |row| {
        let suffixes: String = row.get(3)?;
        Ok(KeyRow {
            name: row.get(0)?,
            algorithm: row.get(1)?,
            secret: Zeroizing::new(row.get(2)?),
            allowed_suffixes: suffixes.lines().map(str::to_owned).collect(),
            expires_at: row.get::<_, i64>(4)?.try_into().unwrap_or(0),
            subject: row.get(5)?,
            registered_spk: key_column(&row.get::<_, String>(6)?),
            registered_x25519: key_column(&row.get::<_, String>(7)?),
        })
    })?;
    rows.collect()
}

/// Checks ownership in the order of node.md 6.5 and takes away the keys that the same subject and signing key held; the
/// names of them that differ from the new one.
fn supersede(sql: &Connection, grant: &KeyGrant, now: u64) -> Result<Vec<String>, MintError> {
    let spk = hex::encode(grant.spk);
    deny::check(sql, &grant.subject, &spk)?;
    let mine = "subject = ?1 AND registered_spk = ?2";
    let revoked = format!("SELECT 1 FROM tsig_key WHERE {mine} AND revoked <> 0");
    if sql
        .prepare_cached(&revoked)?
        .exists(params![grant.subject, spk])?
    {
        return Err(MintError::Denied);
    }
    let mut holder = sql.prepare_cached(
        "SELECT 1 FROM tsig_pattern JOIN tsig_key ON tsig_key.name = tsig_pattern.key
         WHERE pattern = ?1 AND revoked = 0 AND (expires_at = 0 OR expires_at > ?2)
           AND (subject <> ?3 OR registered_spk <> ?4)",
    )?;
    for pattern in &grant.exclusive {
        if holder.exists(params![pattern, integer(now), grant.subject, spk])? {
            return Err(MintError::Owned);
        }
    }
    let mut owner = sql.prepare_cached(
        "SELECT 1 FROM tsig_key WHERE subject = ?1 AND registered_spk NOT IN ('', ?2)
           AND revoked = 0 AND (expires_at = 0 OR expires_at > ?3)",
    )?;
    if owner.exists(params![grant.subject, spk, integer(now)])? {
        return Err(MintError::Owned);
    }
    let named = "SELECT subject = ?2 AND registered_spk = ?3 FROM tsig_key WHERE name = ?1";
    let named = sql
        .query_row(named, params![grant.name, grant.subject, spk], |row| {
            row.get(0)
        })
        .optional()?;
    if named == Some(false) {
        return Err(MintError::Owned);
    }
    let others = format!("SELECT name FROM tsig_key WHERE {mine} AND name <> ?3");
    let mut others = sql.prepare_cached(&others)?;
    let others = others.query_map([&grant.subject, &spk, &grant.name], |row| row.get(0))?;
    let superseded: Vec<String> = others.collect::<Result<_, _>>()?;
    sql.prepare_cached(&format!("DELETE FROM tsig_key WHERE {mine}"))?
        .execute(params![grant.subject, spk])?;
    Ok(superseded)
}

/// Writes the row of a key whose name is free.
fn insert(sql: &Connection, row: &KeyRow, now: u64) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "INSERT INTO tsig_key (name, algorithm, secret, allowed_suffixes, created_at, expires_at,
             revoked, subject, registered_spk, registered_x25519_pub)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9)",
    )?
    .execute(params![
        row.name,
        row.algorithm,
        *row.secret,
        row.allowed_suffixes.join("\n"),
        integer(now),
        integer(row.expires_at),
        row.subject,
        row.registered_spk.map(hex::encode).unwrap_or_default(),
        row.registered_x25519.map(hex::encode).unwrap_or_default(),
    ])?;
    pattern_rows(sql, &row.name, &row.allowed_suffixes)
}

/// Writes the patterns of a key that have no `*` where collisions are looked for.
pub(crate) fn pattern_rows(
    sql: &Connection,
    key: &str,
    patterns: &[String],
) -> rusqlite::Result<()> {
    let mut insert =
        sql.prepare_cached("INSERT INTO tsig_pattern (pattern, key) VALUES (?1, ?2)")?;
    for pattern in patterns.iter().filter(|pattern| !pattern.contains('*')) {
        insert.execute([pattern.as_str(), key])?;
    }
    Ok(())
}
