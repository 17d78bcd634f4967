//! The record routes: query, publish, delete (node.md 6.4).

use super::authorize::{self, Denial, Operation as Asked, Permit};
use super::body::{self, DeleteBody, InvalidBody, PublishBody};
use super::names::{is_publishable_value, publishable_owner};
use super::reply::Reply;
use super::{Api, Client};
use crate::context::{Applied, Operation, Refusal, apply};
use crate::credentials::write_audit;
use crate::repeated::log_repeated;
use crate::store::{Draft, Failure};
use crate::zone::Owner;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde_json::json;
use std::sync::Arc;

const INVALID_NAME: &str = "invalid record name";
const INVALID_VALUE: &str = "invalid record value";

/// GET: the live values, in the order of their publication.
pub(super) fn query(api: &Api, client: &Client, name: &str) -> Reply {
    if !api.general.take(&client.key) {
        return rate_limited(api);
    }
    if !authorize::may_read(&api.http, &client.headers) {
        return unauthorized();
    }
    let owner = Owner::parse(name).ok();
    let values = owner
        .map(|owner| api.context.values(&owner))
        .unwrap_or_default();
    let status = if values.is_empty() {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::OK
    };
    Reply::json(status, &json!({ "name": name, "values": values }))
}

/// POST: appends or refreshes one value.
pub(super) async fn publish(api: &Api, client: &Client, name: &str, body: Incoming) -> Reply {
    let permit = match permit(api, client, Asked::Publish, name) {
        Ok(permit) => permit,
        Err(reply) => return reply,
    };
    let body = match body::read(body).await {
        Ok(body) => body,
        Err(invalid) => return invalid_body(invalid),
    };
    let Some(PublishBody { value, ttl }) = PublishBody::parse(&body) else {
        return bad_request("value (str) and ttl (int > 0) required");
    };
    let caps = api.context.settings().caps;
    // Unlike over DNS, no cap of these two means that nothing passes (node.md 3.3).
    let max_ttl = caps.max_ttl.unwrap_or(0);
    if ttl > max_ttl {
        return refused(&Refusal::Ttl { limit: max_ttl });
    }
    let max_bytes = caps.max_value_bytes.unwrap_or(0);
    if value.len() as u64 > max_bytes {
        return refused(&Refusal::ValueTooLong { limit: max_bytes });
    }
    let Some(owner) = publishable_owner(name) else {
        return bad_request(INVALID_NAME);
    };
    if let Some(limit) = caps.max_values_per_name {
        let live = api.context.values(&owner);
        let values = live.len() as u64;
        if values >= limit && !live.contains(&value) {
            return refused(&Refusal::NameFull { owner, values });
        }
    }
    if !is_publishable_value(&value) {
        return bad_request(INVALID_VALUE);
    }
    match write(api, permit, Operation::Publish { owner, value, ttl }).await {
        Ok(_) => Reply::json(StatusCode::CREATED, &json!({ "ok": true })),
        Err(failure) => failed(failure),
    }
}

/// DELETE: one value, or the whole set if the body names none.
pub(super) async fn delete(api: &Api, client: &Client, name: &str, body: Incoming) -> Reply {
    let permit = match permit(api, client, Asked::Delete, name) {
        Ok(permit) => permit,
        Err(reply) => return reply,
    };
    let Some(owner) = publishable_owner(name) else {
        return bad_request(INVALID_NAME);
    };
    let body = match body::read(body).await {
        Ok(body) => body,
        Err(invalid) => return invalid_body(invalid),
    };
    let operation = match DeleteBody::parse(&body) {
        Some(DeleteBody::All) => Operation::DeleteAll { owner },
        Some(DeleteBody::Value(value)) if is_publishable_value(&value) => {
            Operation::DeleteValue { owner, value }
        }
        _ => return bad_request(INVALID_VALUE),
    };
    match write(api, permit, operation).await {
        Ok(Applied { removed: 0, .. }) => Reply::empty(StatusCode::NOT_FOUND),
        Ok(_) => Reply::empty(StatusCode::NO_CONTENT),
        Err(failure) => failed(failure),
    }
}

/// Why a write that was allowed did not happen.
enum WriteError {
    Refused(Refusal),
    Sql(rusqlite::Error),
}

fn permit(api: &Api, client: &Client, asked: Asked, name: &str) -> Result<Permit, Reply> {
    if !api.general.take(&client.key) {
        return Err(rate_limited(api));
    }
    let Client {
        headers, address, ..
    } = client;
    let permit = authorize::write(&api.http, &api.credentials, headers, *address, asked, name);
    permit.map_err(|denial| match denial {
        Denial::Unauthorized => unauthorized(),
        Denial::Throttled { retry_after } => {
            Reply::too_many("per-token rate limit exceeded", retry_after)
        }
    })
}

/// The operation and its audit row, in one transaction.
async fn write(
    api: &Api,
    permit: Permit,
    operation: Operation,
) -> Result<Applied, Failure<WriteError>> {
    api.context.store().check_admission()?;
    let caps = api.context.settings().caps;
    let access = Arc::clone(api.context.access());
    let work = move |draft: &mut Draft<'_>| {
        let operations = [operation];
        let applied = apply(draft, &caps, &access, &permit.author, &operations)
            .map_err(WriteError::Refused)?;
        if let Some(row) = &permit.audit {
            write_audit(draft, row).map_err(WriteError::Sql)?;
        }
        Ok(applied)
    };
    api.context.store().transact(work).await
}

fn failed(failure: Failure<WriteError>) -> Reply {
    let text = match failure {
        Failure::Refused(WriteError::Refused(refusal)) => return refused(&refusal),
        Failure::Full => {
            return Reply::error(StatusCode::INSUFFICIENT_STORAGE, "the store is full");
        }
        Failure::Busy => return Reply::error(StatusCode::SERVICE_UNAVAILABLE, "the store is busy"),
        Failure::Draining => {
            return Reply::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the node takes no writes now",
            );
        }
        Failure::Refused(WriteError::Sql(error)) => error.to_string(),
        Failure::Unavailable(text) => text,
        Failure::ReadOnly => "read-only".to_owned(),
        Failure::Stopped => "closed".to_owned(),
    };
    log_repeated!(warn, reason = text, "a write over HTTP was not stored");
    Reply::json(StatusCode::BAD_GATEWAY, &json!({ "ok": false }))
}

fn refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::Ttl { .. } | Refusal::ValueTooLong { .. } => StatusCode::BAD_REQUEST,
        Refusal::NameFull { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::StoreFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::MailboxQuota { .. } | Refusal::MailboxOctets { .. } => {
            StatusCode::TOO_MANY_REQUESTS
        }
    };
    Reply::error(status, &refusal.to_string())
}

fn unauthorized() -> Reply {
    Reply::error(StatusCode::UNAUTHORIZED, "unauthorized")
}

fn rate_limited(api: &Api) -> Reply {
    Reply::too_many("rate limit exceeded", api.general.retry_after())
}

fn bad_request(text: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, text)
}

fn invalid_body(invalid: InvalidBody) -> Reply {
    bad_request(&invalid.to_string())
}
