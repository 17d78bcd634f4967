//! The live credentials as one immutable value: TSIG keys with their scopes, and the registered recipients (node.md 4.5).

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Scope, ScopeKind};

/// One row of the key table (node.md 4.1). Rows that are revoked are not handed over.
#[derive(Clone)]
pub struct KeyRow {
    /// Key name, lower case, with or without trailing dot.
    pub name: String,
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
    pub algorithm: String,
    /// Raw secret.
    pub secret: Zeroizing<Vec<u8>>,
    /// Scope patterns (node.md 3.4).
    pub allowed_suffixes: Vec<String>,
    /// Unix second of expiry; 0 = never.
    pub expires_at: u64,
    /// Canonical `user@host`; empty for administrative keys.
    pub subject: String,
    /// Ed25519 key that registered.
    pub registered_spk: Option<[u8; 32]>,
    /// X25519 key whose possession was proved.
    pub registered_x25519: Option<[u8; 32]>,
}

/// The holder of a live bearer token, for the registered-recipient set (D11).
#[derive(Clone, Debug)]
pub struct TokenHolder {
    /// Canonical `user@host`.
    pub subject: String,
    /// Ed25519 key that registered.
    pub registered_spk: [u8; 32],
    /// Unix second of expiry; 0 = never.
    pub expires_at: u64,
}

/// All live credentials that the DNS half needs.
#[derive(Default)]
pub struct Keyring {
    keys: HashMap<String, Arc<Key>>,
    holders: Vec<TokenHolder>,
}

/// One usable TSIG key.
pub(crate) struct Key {
    pub(crate) row: KeyRow,
    pub(crate) scope: Scope,
}

impl Keyring {
    /// Builds the keyring. A row without a usable name, algorithm, secret or pattern is left out and never takes the
    /// others with it (node.md 4.1).
    pub fn new(rows: Vec<KeyRow>, holders: Vec<TokenHolder>) -> Self {
        let keys = rows
            .into_iter()
            .filter(|row| !row.secret.is_empty())
            .filter_map(|row| {
                let kind = if row.subject.is_empty() {
                    ScopeKind::Administrative
                } else {
                    ScopeKind::SelfService
                };
                let scope = Scope::new(&row.allowed_suffixes, kind)?;
                let name = row.name.trim_end_matches('.').to_ascii_lowercase();
                Some((name, Arc::new(Key { row, scope })))
            })
            .collect();
        Self { keys, holders }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("keys", &self.keys.len())
            .field("holders", &self.holders.len())
            .finish()
    }
}
