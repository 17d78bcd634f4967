//! Who may write a record over HTTP: the mode, the operator's token, users' tokens by class of name (node.md 6.3, 6.6).

use super::names::{NameClass, NameOwner};
use crate::access::Author;
use crate::config::{AuthMode, HttpConfig};
use crate::credentials::{AuditEvent, AuditRow, Credentials, Token, TokenHash};
use hyper::header::{AUTHORIZATION, HeaderMap};
use std::net::IpAddr;
use std::sync::Arc;

/// What is to be done at the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Publish,
    Delete,
}

/// A write that was allowed: on whose behalf, and what the audit table is to say of it.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) author: Author,
    pub(crate) audit: Option<AuditRow>,
}

/// A write that was not allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    Unauthorized,
    /// The token is good and over its rate.
    Throttled {
        /// Seconds until it is not.
        retry_after: u64,
    },
}

/// Whether the request bears the operator's token.
pub(crate) fn is_operator(http: &HttpConfig, headers: &HeaderMap) -> bool {
    let token = http.operator_token.as_ref();
    token
        .zip(bearer(headers))
        .is_some_and(|(token, presented)| token.check(presented))
}

/// Whether the request may read records: with the operator's token, or where there is none and not every user has a
/// secret of their own (node.md 6.2, 6.3).
pub(crate) fn may_read(http: &HttpConfig, headers: &HeaderMap) -> bool {
    match http.operator_token {
        Some(_) => is_operator(http, headers),
        None => http.auth != AuthMode::MultiTenant,
    }
}

/// Decides a write: shape of the token, known, live, class of the name, ownership, rate (node.md 6.6).
pub(crate) fn write(
    http: &HttpConfig,
    credentials: &Credentials,
    headers: &HeaderMap,
    client: IpAddr,
    operation: Operation,
    name: &str,
) -> Result<Permit, Denial> {
    if http.auth == AuthMode::Open {
        return Ok(Permit {
            author: Author::Open,
            audit: None,
        });
    }
    if is_operator(http, headers) {
        return Ok(Permit {
            author: Author::Operator,
            audit: None,
        });
    }
    if http.auth == AuthMode::Legacy {
        return Err(Denial::Unauthorized);
    }
    let hash = bearer(headers).and_then(TokenHash::of_presented);
    let hash = hash.ok_or(Denial::Unauthorized)?;
    let row = |event, who, detail: &'static str| AuditRow {
        event,
        who,
        remote: Some(client),
        detail: detail.into(),
    };
    let reject = |who, detail| {
        credentials.audit_refusal(row(AuditEvent::Rejected, who, detail));
        Denial::Unauthorized
    };
    let token = credentials
        .token(&hash)
        .ok_or_else(|| reject(None, "unknown token"))?;
    let (who, detail) = match NameClass::of(name) {
        NameClass::Owner(owner) => {
            own_name(&owner, &token, hash).map_err(|who| reject(who, "not the owner"))?
        }
        NameClass::SharedPool if operation == Operation::Publish => (None, "shared pool"),
        NameClass::SharedPool => return Err(reject(None, "delete in the shared pool")),
        NameClass::OperatorOnly | NameClass::Unknown => return Err(reject(None, "operator only")),
    };
    if !token.take() {
        credentials.audit_refusal(row(AuditEvent::Throttled, who, detail));
        return Err(Denial::Throttled {
            retry_after: token.retry_after(),
        });
    }
    let mailbox = Some(&token.subject_hash12).filter(|hash| !hash.is_empty());
    Ok(Permit {
        author: Author::Subject {
            subject: token.subject.clone(),
            mailboxes: mailbox.cloned().into_iter().collect(),
        },
        audit: Some(row(AuditEvent::Used, who, detail)),
    })
}

type Who = Option<(TokenHash, String)>;

/// What the audit table says of a write to a name with one owner; the error says it of a write by somebody else.
fn own_name(
    owner: &NameOwner,
    token: &Arc<Token>,
    hash: TokenHash,
) -> Result<(Who, &'static str), Who> {
    let who = Some((hash, token.subject.clone()));
    if owner.is(token) {
        Ok((who, "own name"))
    } else {
        Err(who)
    }
}

/// The text behind `Bearer `, which is one space and case-sensitive (node.md 6.3).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}
