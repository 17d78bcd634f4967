//! What the operator does with credentials (node.md 8): tokens issued, listed, revoked and rotated, keys listed and
//! deleted, the audit read. Everything is checked before anything changes, and changes in one transaction.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::audit::{AuditEvent, AuditRow, insert_at};
use super::tokens::revoke;
use super::{Credentials, Denied, Token, TokenHash, TokenText, deny, integer, key_column};
use crate::access::bucket::TokenBuckets;
use crate::config::Rate;
use crate::store::{Draft, Failure};

/// A token that the operator issues.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Canonical `user@host`.
    pub subject: String,
    /// Mailbox hash of the agreement key whose prekeys it may publish.
    pub subject_hash12: Option<String>,
    /// Requests it allows.
    pub rate: Rate,
    /// Seconds it lives; `None` is for ever.
    pub lifetime: Option<u64>,
    /// Who issued it, as `admin:<login name>`.
    pub issuer: String,
    /// For the operator's own records.
    pub note: String,
}

/// A token as it was issued; the text is shown this once.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: TokenText,
    /// Unix second of expiry; `None` is never.
    pub expires_at: Option<u64>,
    /// Tokens of the subject that this one ended.
    pub revoked: usize,
}

/// A row of the token table, as lists print it (cli.md 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// Canonical `user@host`.
    pub subject: String,
    /// Always 1: a user.
    pub subject_type: u8,
    /// Mailbox hash, if the operator stored one.
    pub subject_hash12: Option<String>,
    /// Requests a second.
    pub rate_per_sec: f64,
    /// Requests at once.
    pub rate_burst: u64,
    /// Unix second.
    pub issued_at: i64,
    /// Unix second; `None` is never.
    pub expires_at: Option<i64>,
    /// Unix second; `None` if it was not revoked.
    pub revoked_at: Option<i64>,
    /// Who issued it.
    pub issuer: String,
    /// The operator's note.
    pub note: String,
    /// Neither revoked nor expired.
    pub live: bool,
}

/// A row of the audit, as it is printed (cli.md 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditInfo {
    /// Unix second.
    pub ts: i64,
    /// Kind.
    pub event: String,
    /// The token, unless it must not be told.
    pub token_hash: Option<String>,
    /// Its subject, unless it must not be told.
    pub subject: Option<String>,
    /// Where the request came from.
    pub remote_addr: Option<String>,
    /// What it was about.
    pub detail: String,
}

/// A TSIG key without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Key name, with trailing dot.
    pub name: String,
    /// Algorithm.
    pub algorithm: String,
    /// Canonical `user@host`; empty for administrative keys.
    pub subject: String,
    /// Scope patterns.
    pub allowed_suffixes: Vec<String>,
    /// Unix second.
    pub created_at: i64,
    /// Unix second; 0 is never.
    pub expires_at: i64,
    /// Revoked for good.
    pub revoked: bool,
    /// Neither revoked nor expired.
    pub live: bool,
    /// The Ed25519 key that registered, hex; empty if none.
    pub registered_spk: String,
}

/// What a revocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Every token of a subject: how many.
    Subject(usize),
    /// One token, found by the beginning of its hash.
    One {
        /// Its hash.
        hash: TokenHash,
        /// Its subject.
        subject: String,
    },
    /// No unrevoked token is meant.
    Nothing,
    /// The beginning of the hash is that of several: how many.
    Ambiguous(usize),
}

impl Credentials {
    /// Issues a token beside those that the subject has.
    pub async fn issue_token(
        self: &Arc<Self>,
        issue: Issue,
        token: TokenText,
    ) -> Result<Issued, Failure<rusqlite::Error>> {
        self.issue(issue, token, |_, _, _| Ok(Vec::new())).await
    }

    /// Ends every token of the subject and issues one, in one step.
    pub async fn rotate_token(
        self: &Arc<Self>,
        issue: Issue,
        token: TokenText,
    ) -> Result<Issued, Failure<rusqlite::Error>> {
        self.issue(issue, token, |sql, subject, now| {
            revoke(sql, "subject = ?1", subject, now)
        })
        .await
    }

    async fn issue(
        self: &Arc<Self>,
        issue: Issue,
        token: TokenText,
        end_others: impl FnOnce(&Connection, &str, u64) -> rusqlite::Result<Ended> + Send + 'static,
    ) -> Result<Issued, Failure<rusqlite::Error>> {
        let this = Arc::clone(self);
        let hash = token.hash();
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            let sql = draft.sql()?;
            let ended = end_others(sql, &issue.subject, now)?;
            let expires_at = issue.lifetime.map(|seconds| now.saturating_add(seconds));
            insert(sql, &issue, hash, now, expires_at)?;
            let new = Token::issued(&issue, expires_at);
            let revoked = ended.len();
            draft.after_commit(move || {
                this.forget(&issue.subject, &ended);
                this.edit_tokens(|tokens| {
                    tokens.insert(hash, Arc::new(new));
                });
            });
            Ok((expires_at, revoked))
        };
        let (expires_at, revoked) = self.context.store().transact(work).await?;
        Ok(Issued {
            token,
            expires_at,
            revoked,
        })
    }

    /// Ends the tokens that `target` means: a subject, or the beginning of the hash of an unrevoked token. The signing keys
    /// that registered them get no new one (W-9).
    pub async fn revoke_target(
        self: &Arc<Self>,
        target: String,
    ) -> Result<Revoked, Failure<rusqlite::Error>> {
        let this = Arc::clone(self);
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            let sql = draft.sql()?;
            let (subject, ended, outcome) = match revoke(sql, "subject = ?1", &target, now)? {
                ended if !ended.is_empty() => {
                    let outcome = Revoked::Subject(ended.len());
                    (target, ended, outcome)
                }
                _ => match by_prefix(sql, &target)?.as_slice() {
                    [] => return Ok(Revoked::Nothing),
                    [(hash, subject)] => {
                        let condition = format!("subject = ?1 AND token_hash = '{hash}'");
                        let ended = revoke(sql, &condition, subject, now)?;
                        let outcome = Revoked::One {
                            hash: *hash,
                            subject: subject.clone(),
                        };
                        (subject.clone(), ended, outcome)
                    }
                    several => return Ok(Revoked::Ambiguous(several.len())),
                },
            };
            for key in ended.iter().filter_map(|(_, key)| *key) {
                deny::insert(sql, &Denied::SigningKey(key), now)?;
            }
            draft.after_commit(move || this.forget(&subject, &ended));
            Ok(outcome)
        };
        self.context.store().transact(work).await
    }

    /// Takes ended tokens out of the views in memory. A subject's registration stays known while its token lives.
    fn forget(&self, subject: &str, ended: &Ended) {
        self.edit_tokens(|tokens| {
            for (hash, _) in ended {
                tokens.remove(hash);
            }
        });
        if ended.iter().any(|(_, key)| key.is_some()) {
            self.swap_keyring(|keyring| keyring.without_holder(subject));
        }
    }
}

impl Token {
    fn issued(issue: &Issue, expires_at: Option<u64>) -> Self {
        Self {
            subject: issue.subject.clone(),
            subject_hash12: issue.subject_hash12.clone().unwrap_or_default(),
            expires_at,
            registered_spk: None,
            bucket: TokenBuckets::new(issue.rate.per_second, issue.rate.burst),
        }
    }
}

/// Tokens that were ended, each with the key that registered it.
type Ended = Vec<(TokenHash, Option<[u8; 32]>)>;

/// Tokens, newest first.
pub fn tokens(
    sql: &Connection,
    subject: Option<&str>,
    which: Which,
    now: u64,
) -> rusqlite::Result<Vec<TokenInfo>> {
    let mut statement = sql.prepare(
        "SELECT token_hash, subject, subject_hash12, rate_per_sec, rate_burst, issued_at, expires_at, revoked_at,
                issuer, note
         FROM token WHERE (?1 IS NULL OR subject = ?1) AND (?2 OR revoked_at IS NULL)
         ORDER BY issued_at DESC, rowid DESC",
    )?;
    let rows = statement.query_map(params![subject, which == Which::RevokedToo], |row| {
        token_info(row, now)
    })?;
    rows.collect()
}

/// Which tokens a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Those that were not revoked.
    Unrevoked,
    /// All.
    RevokedToo,
}

/// The newest rows of the audit.
pub fn audit(
    sql: &Connection,
    event: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<AuditInfo>> {
    let mut statement = sql.prepare(
        "SELECT ts, event, token_hash, subject, remote_addr, detail FROM token_audit
         WHERE ?1 IS NULL OR event = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![event, limit], |row| {
        Ok(AuditInfo {
            ts: row.get(0)?,
            event: row.get(1)?,
            token_hash: row.get(2)?,
            subject: row.get(3)?,
            remote_addr: row.get(4)?,
            detail: row.get(5)?,
        })
    })?;
    rows.collect()
}

/// All keys by name, or the one of this name.
pub fn keys(sql: &Connection, name: Option<&str>, now: u64) -> rusqlite::Result<Vec<KeyInfo>> {
    let mut statement = sql.prepare(
        "SELECT name, algorithm, subject, allowed_suffixes, created_at, expires_at, revoked, registered_spk
         FROM tsig_key WHERE ?1 IS NULL OR name = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([name], |row| {
        let (suffixes, expires_at, revoked): (String, i64, bool) =
            (row.get(3)?, row.get(5)?, row.get(6)?);
        Ok(KeyInfo {
            name: row.get(0)?,
            algorithm: row.get(1)?,
            subject: row.get(2)?,
            allowed_suffixes: suffixes.lines().map(str::to_owned).collect(),
            created_at: row.get(4)?,
            expires_at,
            revoked,
            live: !revoked && (expires_at == 0 || expires_at > integer(now)),
            registered_spk: row.get(7)?,
        })
    })?;
    rows.collect()
}

/// Who is denied credentials: kind and value.
pub fn denied(sql: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = sql.prepare("SELECT kind, value FROM denied ORDER BY kind, value")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn insert(
    sql: &Connection,
    issue: &Issue,
    hash: TokenHash,
    now: u64,
    expires_at: Option<u64>,
) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "INSERT INTO token (token_hash, subject, subject_hash12, rate_per_sec, rate_burst, issued_at, expires_at,
             issuer, note, registered_spk)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, '')",
    )?
    .execute(params![
        hash.to_string(),
        issue.subject,
        issue.subject_hash12.as_deref().unwrap_or_default(),
        issue.rate.per_second,
        issue.rate.burst,
        integer(now),
        expires_at.map(integer),
        issue.issuer,
        issue.note,
    ])?;
    let row = AuditRow {
        event: AuditEvent::Issued,
        who: Some((hash, issue.subject.clone())),
        remote: None,
        detail: "admin".into(),
    };
    insert_at(sql, &row, now)
}

/// Unrevoked tokens whose hash begins so.
fn by_prefix(sql: &Connection, prefix: &str) -> rusqlite::Result<Vec<(TokenHash, String)>> {
    let prefix = prefix.to_ascii_lowercase();
    if !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(Vec::new());
    }
    let mut statement = sql.prepare(
        "SELECT token_hash, subject FROM token
         WHERE substr(token_hash, 1, length(?1)) = ?1 AND revoked_at IS NULL",
    )?;
    let rows = statement.query_map([prefix], |row| {
        Ok((key_column(&row.get::<_, String>(0)?), row.get(1)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (hash, subject) = row?;
        found.extend(hash.map(|hash| (TokenHash::from_octets(hash), subject)));
    }
    Ok(found)
}

fn token_info(row: &Row<'_>, now: u64) -> rusqlite::Result<TokenInfo> {
    let hash12: String = row.get(2)?;
    let (expires_at, revoked_at): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    let rate_burst: f64 = row.get(4)?;
    Ok(TokenInfo {
        token_hash: row.get(0)?,
        subject: row.get(1)?,
        subject_type: 1,
        subject_hash12: (!hash12.is_empty()).then_some(hash12),
        rate_per_sec: row.get(3)?,
        rate_burst: rate_burst as u64, // saturates
        issued_at: row.get(5)?,
        expires_at,
        revoked_at,
        issuer: row.get(8)?,
        note: row.get(9)?,
        live: revoked_at.is_none() && expires_at.is_none_or(|expiry| integer(now) < expiry),
    })
}
