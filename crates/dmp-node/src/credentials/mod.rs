//! What users prove themselves with: TSIG keys and bearer tokens, who may not have them, and what was done with them.
//!
//! The rows live in the node's one database and change only on the store's writer thread; what every request needs of
//! them is in memory, swapped in the order of the commits. It decides no scope and checks no signature.

pub mod admin;
mod audit;
mod deny;
mod keys;
mod tokens;

pub(crate) use audit::insert as write_audit;
pub use audit::{AuditEvent, AuditRow};
pub use deny::Denied;
pub use keys::KeyGrant;
pub(crate) use keys::pattern_rows;
pub use tokens::{Token, TokenGrant, TokenHash, TokenText};

use crate::access::{Keyring, TokenHolder};
use crate::context::Context;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The tables, created when the store opens. Columns are those of the reference (node.md 4.1, 6.6), so that its rows
/// can be taken over; `tsig_pattern` holds the patterns without `*` once more, to find collisions by an index.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS tsig_key (
    name TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    secret BLOB NOT NULL,
    allowed_suffixes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    subject TEXT NOT NULL,
    registered_spk TEXT NOT NULL,
    registered_x25519_pub TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS tsig_key_subject ON tsig_key (subject);
CREATE TABLE IF NOT EXISTS tsig_pattern (
    pattern TEXT NOT NULL,
    key TEXT NOT NULL REFERENCES tsig_key (name) ON DELETE CASCADE,
    PRIMARY KEY (pattern, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tsig_pattern_key ON tsig_pattern (key);
CREATE TABLE IF NOT EXISTS token (
    token_hash TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    subject_hash12 TEXT NOT NULL,
    rate_per_sec REAL NOT NULL,
    rate_burst REAL NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    issuer TEXT NOT NULL,
    note TEXT NOT NULL,
    registered_spk TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS token_subject ON token (subject) WHERE revoked_at IS NULL;
CREATE TABLE IF NOT EXISTS token_audit (
    id INTEGER PRIMARY KEY,
    ts INTEGER NOT NULL,
    event TEXT NOT NULL,
    token_hash TEXT,
    subject TEXT,
    remote_addr TEXT,
    detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS token_audit_ts ON token_audit (ts);
CREATE TABLE IF NOT EXISTS denied (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) WITHOUT ROWID;
";

/// All credentials of the node.
#[derive(Debug)]
pub struct Credentials {
    context: Arc<Context>,
    tokens: RwLock<HashMap<TokenHash, Arc<Token>>>,
    strangers: audit::Strangers,
}

/// Why no credential was minted (node.md 6.5). Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The operator denied the subject or its key, or revoked this very key (D9, W-9).
    #[error("denied by the operator")]
    Denied,
    /// Another key holds the subject, or a name that would be granted (D9, W-2, W-3).
    #[error("held by another key")]
    Owned,
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

impl Credentials {
    /// Loads every live credential and puts the keyring in force.
    pub fn load(context: Arc<Context>) -> rusqlite::Result<Arc<Self>> {
        let now = context.clock().seconds();
        let (keys, tokens) = context
            .store()
            .read(|sql| Ok((keys::live(sql, now)?, tokens::live(sql, now)?)))?;
        let holders = tokens.iter().filter_map(|(_, token)| token.holder());
        let keyring = Keyring::new(keys, holders.collect());
        context.access().replace_keyring(keyring);
        Ok(Arc::new(Self {
            context,
            tokens: RwLock::new(tokens.into_iter().collect()),
            strangers: audit::Strangers::default(),
        }))
    }

    /// Forgets expired tokens and trims the audit table; to be called now and then.
    pub async fn clean_up(&self) {
        let now = self.context.clock().seconds();
        self.edit_tokens(|tokens| tokens.retain(|_, token| token.is_live(now)));
        if let Err(failure) = self.trim_audit(now).await {
            tracing::warn!(%failure, "the audit table was not trimmed");
        }
    }

    /// The live token with this hash.
    pub fn token(&self, hash: &TokenHash) -> Option<Arc<Token>> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(hash)?;
        token
            .is_live(self.context.clock().seconds())
            .then(|| Arc::clone(token))
    }

    /// How many users' tokens can be used.
    pub(crate) fn token_count(&self) -> usize {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.len()
    }

    /// Brings the views in memory to what a commit left: tokens gone, one new, and the holder of the subject.
    fn swap_tokens(&self, subject: &str, gone: &[TokenHash], new: Option<(TokenHash, Token)>) {
        let holder = new.as_ref().and_then(|(_, token)| token.holder());
        self.edit_tokens(|tokens| {
            for hash in gone {
                tokens.remove(hash);
            }
            tokens.extend(new.map(|(hash, token)| (hash, Arc::new(token))));
        });
        self.swap_keyring(|keyring| match holder {
            Some(holder) => keyring.with_holder(holder),
            None => keyring.without_holder(subject),
        });
    }

    fn edit_tokens(&self, edit: impl FnOnce(&mut HashMap<TokenHash, Arc<Token>>)) {
        edit(&mut self.tokens.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Only called on the writer thread, so that no swap can undo another.
    fn swap_keyring(&self, change: impl FnOnce(&Keyring) -> Keyring) {
        let access = self.context.access();
        access.replace_keyring(change(&access.keyring()));
    }
}

impl Token {
    /// How the set of registered recipients sees it (node.md 4.5, D11).
    fn holder(&self) -> Option<TokenHolder> {
        Some(TokenHolder {
            subject: self.subject.clone(),
            registered_spk: self.registered_spk?,
            expires_at: self.expires_at.unwrap_or(0),
        })
    }
}

/// A 32-byte key as its column holds it: lower-case hex, empty if there is none.
fn key_column(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A time or count as SQLite holds it.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
