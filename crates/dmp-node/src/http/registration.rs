//! The registration routes as JSON (node.md 6.5). What they decide is decided by `register`.

use super::reply::Reply;
use super::{Api, Client, body};
use crate::metrics::Registration;
use crate::register::{Refusal, Registrar};
use crate::repeated::log_repeated;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// GET challenge.
pub(super) fn challenge(api: &Api, client: &Client) -> Reply {
    let offer = match desk(api).and_then(|desk| limit(api, client).map(|()| desk)) {
        Ok(desk) => desk.challenge(),
        Err(reply) => return reply,
    };
    answer(
        api,
        Registration::Challenge,
        offer.map(|offer| {
            json!({
                "challenge": offer.challenge.to_string(),
                "node": offer.node,
                "expires_at": offer.expires_at,
                "server_x25519_pub": offer.server_agreement.to_string(),
                "version": 1,
            })
        }),
    )
}

/// POST confirm: a bearer token.
pub(super) async fn confirm(api: &Api, client: &Client, body: Incoming) -> Reply {
    let desk = match desk(api) {
        Ok(desk) => desk,
        Err(reply) => return reply,
    };
    let body = match limited_body(api, client, body).await {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    answer(
        api,
        Registration::Token,
        desk.confirm(&body).await.map(|issued| {
            json!({
                "token": issued.token.as_str(),
                "subject": issued.subject,
                "expires_at": issued.expires_at,
                "rate_per_sec": issued.rate.per_second,
                "rate_burst": issued.rate.burst.max(0.0) as u64, // a whole number for the reference's client
            })
        }),
    )
}

/// POST tsig-confirm: a TSIG key.
pub(super) async fn tsig_confirm(api: &Api, client: &Client, body: Incoming) -> Reply {
    let desk = match desk(api) {
        Ok(desk) if desk.issues_keys() => desk,
        Ok(_) => return answer(api, Registration::Key, Err(Refusal::KeysDisabled)),
        Err(reply) => return reply,
    };
    let body = match limited_body(api, client, body).await {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    answer(
        api,
        Registration::Key,
        desk.tsig_confirm(&body).await.map(|issued| {
            let secret = Zeroizing::new(hex::encode(issued.secret.as_slice()));
            json!({
                "tsig_key_name": issued.name,
                "tsig_secret_hex": secret.as_str(),
                "tsig_algorithm": "hmac-sha256",
                "allowed_suffixes": issued.allowed_suffixes,
                "subject": issued.subject,
                "zone": issued.zone,
                "expires_at": issued.expires_at,
            })
        }),
    )
}

/// The open desk; where there is none the routes do not exist.
fn desk(api: &Api) -> Result<&Registrar, Reply> {
    api.registrar.as_ref().ok_or_else(Reply::not_found)
}

/// All three routes share one bucket per client.
fn limit(api: &Api, client: &Client) -> Result<(), Reply> {
    if api.registration.take(&client.key) {
        Ok(())
    } else {
        count(api, Registration::Limited);
        let text = "registration rate limit exceeded";
        Err(Reply::too_many(text, api.registration.retry_after()))
    }
}

async fn limited_body(
    api: &Api,
    client: &Client,
    body: Incoming,
) -> Result<Map<String, Value>, Reply> {
    limit(api, client)?;
    let body = body::read(body).await;
    body.map_err(|invalid| {
        count(api, Registration::Invalid);
        Reply::error(StatusCode::BAD_REQUEST, &invalid.to_string())
    })
}

fn count(api: &Api, result: Registration) {
    api.context.metrics().registrations.count(result);
}

/// `good` is how a success is counted.
fn answer(api: &Api, good: Registration, outcome: Result<Value, Refusal>) -> Reply {
    count(
        api,
        outcome.as_ref().map_or_else(Refusal::counted_as, |_| good),
    );
    match outcome {
        Ok(issued) => Reply::json(StatusCode::OK, &issued),
        Err(refusal) => {
            if let Refusal::Internal(reason) = &refusal {
                log_repeated!(error, reason, "a registration failed");
            }
            let status = StatusCode::from_u16(refusal.status());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Reply::error(status, &refusal.to_string())
        }
    }
}
