//! Bearer tokens: their text, of which only the hash is kept, and their rows (node.md 6.6).
//!
//! Which record a token may write is decided by `http`.

use super::audit::{AuditEvent, AuditRow, insert_at};
use super::{Credentials, Denied, MintError, deny, integer, key_column};
use crate::access::bucket::TokenBuckets;
use crate::config::Rate;
use crate::store::{Draft, Failure};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What every token begins with.
const PREFIX: &str = "dmp_v1_";
/// Base32 digits of 32 octets without padding.
const DIGITS: usize = 52;
/// RFC 4648 section 6.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// `issuer` of tokens that users registered for themselves; rows of other issuers are the operator's.
const SELF_SERVICE: &str = "self-service";

/// A token as its holder presents it. Shown once, when it is minted.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// The token of 32 random octets.
    pub fn new(random: &Zeroizing<[u8; 32]>) -> Self {
        let mut text = String::with_capacity(PREFIX.len() + DIGITS);
        text.push_str(PREFIX);
        for digit in 0..DIGITS {
            // Five bits from bit 5 * digit on; the last digit has one bit of the octets and four zeros.
            let (octet, shift) = (digit * 5 / 8, digit * 5 % 8);
            let next = random.get(octet + 1).copied().unwrap_or(0);
            let window = u16::from_be_bytes([random[octet], next]);
            let value = usize::from(window << shift >> 11);
            text.push(char::from(ALPHABET[value]));
        }
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash it is known by.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// SHA-256 of a token's whole text: how it is stored and looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a text that has the shape of a token, `None` for any other: prefix, 52 alphanumeric characters, none
    /// of them lower case.
    pub fn of_presented(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let in_shape = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        (digits.len() == DIGITS && digits.bytes().all(in_shape)).then(|| Self::of(text))
    }

    pub(super) fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What a live token allows, without the token.
#[derive(Debug)]
pub struct Token {
    /// Canonical `user@host`.
    pub subject: String,
    /// Mailbox hash of its holder, where the operator stored one.
    pub subject_hash12: String,
    /// Unix second of expiry; `None` is never.
    pub expires_at: Option<u64>,
    /// The Ed25519 key that registered; `None` for tokens that the operator issued.
    pub registered_spk: Option<[u8; 32]>,
    pub(super) bucket: TokenBuckets<()>,
}

impl Token {
    /// Whether it is still live; revoked tokens are not kept.
    pub fn is_live(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|expiry| now < expiry)
    }

    /// Seconds until a token over its rate may be used again.
    pub fn retry_after(&self) -> u64 {
        self.bucket.retry_after()
    }

    /// Takes one request from its rate; `false` when that is used up.
    pub fn take(&self) -> bool {
        self.bucket.take(&())
    }
}

/// A token to mint for a subject that has proved itself.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    /// Canonical `user@host`.
    pub subject: String,
    /// The Ed25519 key that registered.
    pub spk: [u8; 32],
    /// Requests it allows.
    pub rate: Rate,
    /// Unix second of expiry; `None` is never.
    pub expires_at: Option<u64>,
}

impl Credentials {
    /// Mints the token in one step with the check of ownership and the end of the subject's earlier ones (node.md 6.6).
    pub async fn mint_token(
        self: &Arc<Self>,
        grant: TokenGrant,
        hash: TokenHash,
    ) -> Result<(), Failure<MintError>> {
        self.context.store().check_admission()?;
        let this = Arc::clone(self);
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            let gone = insert(draft.sql()?, &grant, hash, now)?;
            let token = Token {
                subject: grant.subject.clone(),
                subject_hash12: String::new(),
                expires_at: grant.expires_at,
                registered_spk: Some(grant.spk),
                bucket: TokenBuckets::new(grant.rate.per_second, grant.rate.burst),
            };
            draft
                .after_commit(move || this.swap_tokens(&grant.subject, &gone, Some((hash, token))));
            Ok(())
        };
        self.context.store().transact(work).await
    }

    /// Revokes every token of a subject and denies new ones to the keys that registered them (W-9); how many there were.
    pub async fn revoke_tokens(
        self: &Arc<Self>,
        subject: &str,
    ) -> Result<usize, Failure<rusqlite::Error>> {
        let this = Arc::clone(self);
        let subject = subject.to_owned();
        let work = move |draft: &mut Draft<'_>| {
            let now = draft.now();
            let sql = draft.sql()?;
            let rows = revoke(sql, "subject = ?1", &subject, now)?;
            for key in rows.iter().filter_map(|(_, key)| *key) {
                deny::insert(sql, &Denied::SigningKey(key), now)?;
            }
            let gone: Vec<TokenHash> = rows.into_iter().map(|(hash, _)| hash).collect();
            let count = gone.len();
            draft.after_commit(move || this.swap_tokens(&subject, &gone, None));
            Ok(count)
        };
        self.context.store().transact(work).await
    }
}

/// Every token that is live at `now`.
pub(super) fn live(sql: &Connection, now: u64) -> rusqlite::Result<Vec<(TokenHash, Arc<Token>)>> {
    let mut statement = sql.prepare(
        "SELECT token_hash, subject, subject_hash12, expires_at, registered_spk, rate_per_sec, rate_burst
         FROM token WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)",
    )?;
    let rows = statement.query_map([integer(now)], |row| {
        let token = Token {
            subject: row.get(1)?,
            subject_hash12: row.get(2)?,
            expires_at: row
                .get::<_, Option<i64>>(3)?
                .map(|expiry| expiry.max(0).unsigned_abs()),
            registered_spk: key_column(&row.get::<_, String>(4)?),
            bucket: TokenBuckets::new(row.get(5)?, row.get(6)?),
        };
        Ok((key_column(&row.get::<_, String>(0)?), token))
    })?;
    let mut tokens = Vec::new();
    for row in rows {
        let (hash, token) = row?;
        tokens.extend(hash.map(|hash| (TokenHash(hash), Arc::new(token))));
    }
    Ok(tokens)
}

/// Checks ownership and writes the row; the hashes of the tokens it ends.
fn insert(
    sql: &Connection,
    grant: &TokenGrant,
    hash: TokenHash,
    now: u64,
) -> Result<Vec<TokenHash>, MintError> {
    let spk = hex::encode(grant.spk);
    deny::check(sql, &grant.subject, &spk)?;
    let mut owner = sql.prepare_cached(
        "SELECT 1 FROM token WHERE subject = ?1 AND registered_spk NOT IN ('', ?2)
           AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?3)",
    )?;
    if owner.exists(params![grant.subject, spk, integer(now)])? {
        return Err(MintError::Owned);
    }
    let gone = revoke(
        sql,
        "subject = ?1 AND registered_spk <> ''",
        &grant.subject,
        now,
    )?;
    sql.prepare_cached(
        "INSERT INTO token (token_hash, subject, subject_hash12, rate_per_sec, rate_burst, issued_at,
             expires_at, issuer, note, registered_spk)
         VALUES (?1, ?2, '', ?3, ?4, ?5, ?6, ?7, '', ?8)",
    )?
    .execute(params![
        hash.to_string(),
        grant.subject,
        grant.rate.per_second,
        grant.rate.burst,
        integer(now),
        grant.expires_at.map(integer),
        SELF_SERVICE,
        spk,
    ])?;
    let issued = AuditRow {
        event: AuditEvent::Issued,
        who: Some((hash, grant.subject.clone())),
        remote: None,
        detail: SELF_SERVICE.into(),
    };
    insert_at(sql, &issued, now)?;
    Ok(gone.into_iter().map(|(hash, _)| hash).collect())
}

/// Ends the unrevoked tokens that `condition` finds for the subject; their hashes and the keys that registered them.
pub(super) fn revoke(
    sql: &Connection,
    condition: &str,
    subject: &str,
    now: u64,
) -> rusqlite::Result<Vec<(TokenHash, Option<[u8; 32]>)>> {
    let mut statement = sql.prepare_cached(&format!(
        "UPDATE token SET revoked_at = ?2 WHERE {condition} AND revoked_at IS NULL
         RETURNING token_hash, registered_spk"
    ))?;
    let rows = statement.query_map(params![subject, integer(now)], |row| {
        let hash = key_column(&row.get::<_, String>(0)?);
        Ok((hash, key_column(&row.get::<_, String>(1)?)))
    })?;
    let mut revoked = Vec::new();
    for row in rows {
        let (hash, key) = row?;
        revoked.extend(hash.map(|hash| (TokenHash(hash), key)));
    }
    for (hash, _) in &revoked {
        let row = AuditRow {
            event: AuditEvent::Revoked,
            who: Some((*hash, subject.to_owned())),
            remote: None,
            detail: "".into(),
        };
        insert_at(sql, &row, now)?;
    }
    Ok(revoked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_base32_of_its_octets() {
        // RFC 4648 10: "foobar" is MZXW6YTBOI; here followed by zeros.
        let mut random = Zeroizing::new([0; 32]);
        random[..6].copy_from_slice(b"foobar");
        let token = TokenText::new(&random);
        assert_eq!(token.as_str().len(), 59);
        assert!(
            token.as_str().starts_with("dmp_v1_MZXW6YTBOIAAAA"),
            "{}",
            token.as_str()
        );
        let ones = TokenText::new(&Zeroizing::new([0xff; 32]));
        assert_eq!(ones.as_str(), format!("dmp_v1_{}Q", "7".repeat(51)));
        assert_eq!(TokenHash::of_presented(ones.as_str()), Some(ones.hash()));
    }

    #[test]
    fn only_texts_in_the_shape_of_a_token_are_looked_up() {
        let digits = "A".repeat(52);
        assert!(TokenHash::of_presented(&format!("dmp_v1_{digits}")).is_some());
        for text in [
            String::new(),
            digits.clone(),
            format!("dmp_v2_{digits}"),
            format!("dmp_v1_{digits}A"),
            format!("dmp_v1_{}", &digits[1..]),
            format!("dmp_v1_{}a", &digits[1..]),
            format!("dmp_v1_{}=", &digits[1..]),
        ] {
            assert!(TokenHash::of_presented(&text).is_none(), "{text}");
        }
    }
}
