//! The live credentials as one immutable value: TSIG keys with their scopes, and who registered here (node.md 4).
//!
//! A change makes a new value that shares the unchanged keys; the old one stays whole for whoever still reads it.

use std::collections::HashMap;
use std::sync::Arc;

use dmp_core::keys::AgreementPublicKey;
use dmp_dns::Name;
use dmp_dns::tsig::{self, Algorithm};
use zeroize::Zeroizing;

use super::{Author, Scope, ScopeKind};
use crate::zone::Owner;

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
    /// By key name in lower-case wire form.
    keys: HashMap<Box<[u8]>, TsigKey>,
    /// By subject.
    holders: HashMap<String, TokenHolder>,
    /// Keys by each mailbox hash that they make a registered recipient.
    recipients: HashMap<String, Vec<TsigKey>>,
    /// Registered signing keys with subject and expiry.
    registrants: HashMap<[u8; 32], Vec<(String, u64)>>,
}

/// One usable TSIG key with what it may do; clones are the same key.
#[derive(Clone)]
pub struct TsigKey(Arc<Grant>);

struct Grant {
    key: tsig::Key,
    expires_at: u64,
    scope: Scope,
    author: Author,
    subject: String,
    registered_spk: Option<[u8; 32]>,
    /// Mailbox hashes with the zone for which they count (node.md 4.5).
    mailboxes: Vec<(String, String)>,
}

impl TsigKey {
    /// The key of `row`; `None` when its name, algorithm, secret or patterns cannot be used.
    fn new(row: KeyRow) -> Option<Self> {
        let name: Name = row.name.parse().ok()?;
        let algorithm: Algorithm = row.algorithm.parse().ok()?;
        let key = tsig::Key::new(&name, algorithm, &row.secret).ok()?;
        let kind = if row.subject.is_empty() {
            ScopeKind::Administrative
        } else {
            ScopeKind::SelfService
        };
        let scope = Scope::new(&row.allowed_suffixes, kind)?;
        let mailboxes = mailboxes(&row);
        let writer = if row.subject.is_empty() {
            row.name.clone()
        } else {
            row.subject.clone()
        };
        let own = mailboxes.iter().map(|(hash, _)| hash.clone()).collect();
        Some(Self(Arc::new(Grant {
            key,
            expires_at: row.expires_at,
            scope,
            author: Author::Subject {
                subject: writer,
                mailboxes: own,
            },
            subject: row.subject,
            registered_spk: row.registered_spk,
            mailboxes,
        })))
    }

    /// What it may touch.
    pub fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// In whose name it writes.
    pub fn author(&self) -> &Author {
        &self.0.author
    }

    fn is_live(&self, now: u64) -> bool {
        is_live(self.0.expires_at, now)
    }
}

impl AsRef<tsig::Key> for TsigKey {
    fn as_ref(&self) -> &tsig::Key {
        &self.0.key
    }
}

impl Keyring {
    /// Builds the keyring. A row without a usable name, algorithm, secret or pattern is left out and never takes the
    /// others with it (node.md 4.1).
    pub fn new(rows: Vec<KeyRow>, holders: Vec<TokenHolder>) -> Self {
        let keys = rows
            .into_iter()
            .filter_map(TsigKey::new)
            .map(named)
            .collect();
        Self::assemble(
            keys,
            holders
                .into_iter()
                .map(|holder| (holder.subject.clone(), holder))
                .collect(),
        )
    }

    /// This keyring with the key of `row` added, or in the place of the one of that name.
    pub fn with_key(&self, row: KeyRow) -> Self {
        let mut keys = self.keys.clone();
        keys.extend(TsigKey::new(row).map(named));
        Self::assemble(keys, self.holders.clone())
    }

    /// This keyring without the key called `name`.
    pub fn without_key(&self, name: &str) -> Self {
        let mut keys = self.keys.clone();
        if let Ok(name) = name.parse::<Name>() {
            keys.remove(name.to_lower().as_wire());
        }
        Self::assemble(keys, self.holders.clone())
    }

    /// This keyring with `holder` added, or in the place of the one with that subject.
    pub fn with_holder(&self, holder: TokenHolder) -> Self {
        let mut holders = self.holders.clone();
        holders.insert(holder.subject.clone(), holder);
        Self::assemble(self.keys.clone(), holders)
    }

    /// This keyring without the token holder `subject`.
    pub fn without_holder(&self, subject: &str) -> Self {
        let mut holders = self.holders.clone();
        holders.remove(subject);
        Self::assemble(self.keys.clone(), holders)
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that live at `now`, as [`tsig::authenticate`] looks them up.
    pub fn live(&self, now: u64) -> LiveKeys<'_> {
        LiveKeys { keyring: self, now }
    }

    /// Whether `key` is still in force at `now`: neither expired nor taken out nor replaced since it was looked up.
    pub fn holds(&self, key: &TsigKey, now: u64) -> bool {
        let present = self.keys.get(key.0.key.name().as_wire());
        key.is_live(now) && present.is_some_and(|present| Arc::ptr_eq(&present.0, &key.0))
    }

    /// Whether a live key makes `mailbox` (12 hex digits) a registered recipient of `zone` (node.md 4.5).
    pub(crate) fn has_recipient(&self, mailbox: &str, zone: &Owner, now: u64) -> bool {
        let zone = zone.to_string();
        self.recipients.get(mailbox).is_some_and(|keys| {
            keys.iter().any(|key| {
                let here = |(hash, of): &(String, String)| hash == mailbox && *of == zone;
                key.is_live(now) && key.0.mailboxes.iter().any(here)
            })
        })
    }

    /// The signing keys that registered the live keys which hold `mailbox` (12 hex digits), in any zone.
    pub(crate) fn registrants_of(&self, mailbox: &str, now: u64) -> impl Iterator<Item = [u8; 32]> {
        let keys = self.recipients.get(mailbox).into_iter().flatten();
        keys.filter(move |key| key.is_live(now))
            .filter_map(|key| key.0.registered_spk)
    }

    /// The subjects of live credentials that `signing` registered.
    pub(crate) fn subjects_of(&self, signing: &[u8; 32], now: u64) -> impl Iterator<Item = &str> {
        let registered = self.registrants.get(signing).into_iter().flatten();
        registered
            .filter(move |(_, expires_at)| is_live(*expires_at, now))
            .map(|(subject, _)| &**subject)
    }

    fn assemble(keys: HashMap<Box<[u8]>, TsigKey>, holders: HashMap<String, TokenHolder>) -> Self {
        let mut ring = Self {
            keys,
            holders,
            ..Self::default()
        };
        for key in ring.keys.values() {
            for (hash, _) in &key.0.mailboxes {
                ring.recipients
                    .entry(hash.clone())
                    .or_default()
                    .push(key.clone());
            }
            if let (Some(signing), false) = (key.0.registered_spk, key.0.subject.is_empty()) {
                ring.registrants
                    .entry(signing)
                    .or_default()
                    .push((key.0.subject.clone(), key.0.expires_at));
            }
        }
        for holder in ring.holders.values() {
            let registered = (holder.subject.clone(), holder.expires_at);
            ring.registrants
                .entry(holder.registered_spk)
                .or_default()
                .push(registered);
        }
        ring
    }
}

/// A keyring at one moment: what has expired is not found.
#[derive(Clone, Copy, Debug)]
pub struct LiveKeys<'k> {
    keyring: &'k Keyring,
    now: u64,
}

impl tsig::Keyring for LiveKeys<'_> {
    type Row = TsigKey;

    fn row(&self, name: &[u8]) -> Option<TsigKey> {
        self.keyring
            .keys
            .get(name)
            .filter(|key| key.is_live(self.now))
            .cloned()
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

impl std::fmt::Debug for TsigKey {
    /// The name only; the secret never shows.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TsigKey").field(self.0.key.name()).finish()
    }
}

fn named(key: TsigKey) -> (Box<[u8]>, TsigKey) {
    (key.0.key.name().as_wire().into(), key)
}

fn is_live(expires_at: u64, now: u64) -> bool {
    expires_at == 0 || expires_at > now
}

/// Mailbox hashes of which the row's holder is a registered recipient, each with the zone it counts for (node.md 4.5).
fn mailboxes(row: &KeyRow) -> Vec<(String, String)> {
    let proved = row.registered_x25519.map(|key| {
        AgreementPublicKey::from_bytes(key)
            .user_id()
            .mailbox()
            .to_string()
    });
    let mut mailboxes = Vec::new();
    for pattern in &row.allowed_suffixes {
        let pattern = pattern.trim_matches('.').to_ascii_lowercase();
        let (first, rest) = pattern.split_once('.').unwrap_or((&pattern, ""));
        let of_mailbox = first.strip_prefix("mb-");
        if let Some(hash) = of_mailbox.filter(|hash| is_hash12(hash)) {
            mailboxes.push((hash.to_owned(), rest.to_owned()));
        }
        let Some(proved) = &proved else { continue };
        let zone = if of_mailbox.is_some() {
            rest
        } else if first.starts_with("slot-") || first.starts_with("claim-") {
            match rest.split_once('.') {
                Some((mailbox, zone)) if mailbox.starts_with("mb-") => zone,
                _ => continue,
            }
        } else {
            &pattern
        };
        mailboxes.push((proved.clone(), zone.to_owned()));
    }
    mailboxes.sort();
    mailboxes.dedup();
    mailboxes
}

pub(crate) fn is_hash12(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
