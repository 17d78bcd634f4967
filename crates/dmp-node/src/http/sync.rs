//! The routes by which the nodes of a cluster read from each other (federation.md 4.9). What is read is decided by the store.
//!
//! Who shows the cluster's token is not held up by anybody else: only requests without it are counted and limited, and a
//! few readings at once are made for all peers together (W10).

use super::reply::Reply;
use super::route::percent_decoded;
use super::{Api, Client, body};
use crate::federation::sync::may_replicate;
use crate::limits::{
    DIGEST_ROWS, DIGEST_ROWS_MOST, PULL_ANSWER_OCTETS, PULL_BODY_OCTETS, PULL_NAMES,
};
use crate::repeated::log_repeated;
use crate::store::{Cursor, Deletes, DigestRow, InvalidCursor, Store};
use crate::zone::Owner;
use dmp_core::id::UnixTime;
use dmp_core::name::DomainName;
use dmp_core::record::ClusterManifest;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// GET digest: what the store holds, in the order in which it came.
pub(super) async fn digest(api: &Arc<Api>, client: &Client, query: &str) -> Reply {
    if let Err(reply) = admit(api, client) {
        return reply;
    }
    let asked = match Asked::parse(query) {
        Ok(asked) => asked,
        Err(text) => return bad_request(&text),
    };
    read(api, move |store| {
        let Asked {
            after,
            limit,
            deletes,
        } = asked;
        let page = store.digest(&after, limit, deletes, may_replicate)?;
        let rows = page.rows.iter().map(|row| Listed::new(row, deletes));
        Ok(Reply::json(
            StatusCode::OK,
            &Listing {
                records: rows.collect(),
                has_more: page.has_more,
                next_cursor: page.next.to_string(),
            },
        ))
    })
    .await
}

/// POST pull: the live values of some names.
pub(super) async fn pull(api: &Arc<Api>, client: &Client, body: Incoming) -> Reply {
    if let Err(reply) = admit(api, client) {
        return reply;
    }
    let body = match body::octets(body, PULL_BODY_OCTETS).await {
        Ok(body) => body,
        Err(invalid) => return bad_request(&invalid.to_string()),
    };
    let names = match names(&body) {
        Ok(names) => names,
        Err(text) => return bad_request(text),
    };
    read(api, move |store| {
        let values = store.values_of(&names, PULL_ANSWER_OCTETS, may_replicate)?;
        let records = values.into_iter().map(|value| Pulled {
            name: value.owner.to_string(),
            value: value.value,
            ttl: value.ttl,
        });
        let answer = Answer {
            records: records.collect(),
        };
        Ok(Reply::json(StatusCode::OK, &answer))
    })
    .await
}

/// GET cluster-manifest: the newest manifest that a peer may want to know.
pub(super) fn cluster_manifest(api: &Api, client: &Client) -> Reply {
    if let Err(reply) = admit(api, client) {
        return reply;
    }
    let Some(base) = base(api) else {
        return Reply::empty(StatusCode::NO_CONTENT);
    };
    let owner = Owner::parse(&format!("cluster.{base}"));
    let values = owner.map_or_else(|_| Vec::new(), |owner| api.context.values(&owner));
    let now = UnixTime::new(api.context.clock().seconds());
    let usable = values.into_iter().filter_map(|wire| {
        let manifest = match &api.sync.operator {
            Some(operator) => ClusterManifest::parse(&wire, operator, Some(&base), now),
            // Whoever signed it: that is all that can be asked for without a pinned key.
            None => {
                let operator = ClusterManifest::claimed_operator(&wire).ok()?;
                ClusterManifest::parse(&wire, &operator, None, now)
            }
        };
        Some((manifest.ok()?.into_inner(), wire))
    });
    let best = usable.reduce(|best, next| if next.0.seq > best.0.seq { next } else { best });
    let Some((manifest, wire)) = best else {
        return Reply::empty(StatusCode::NO_CONTENT);
    };
    Reply::json(
        StatusCode::OK,
        &json!({
            "wire": wire,
            "seq": manifest.seq,
            "exp": manifest.exp.as_secs(),
            "cluster_name": manifest.name.as_str(),
        }),
    )
}

/// The cluster's name, as it was found out or as it is configured.
fn base(api: &Api) -> Option<DomainName> {
    let found = api.cluster.base().map(|base| DomainName::clone(&base));
    found.or_else(|| api.sync.base_domain.clone())
}

/// Lets peers in. The token is compared first, so that a flood of others' requests takes no peer's share.
fn admit(api: &Api, client: &Client) -> Result<(), Reply> {
    let shown = client.headers.get(AUTHORIZATION);
    let token = api.sync.token.as_ref();
    if token
        .zip(shown)
        .is_some_and(|(token, shown)| token.check(shown.as_bytes()))
    {
        return Ok(());
    }
    if api.strangers.take(&client.key) {
        Err(Reply::error(StatusCode::FORBIDDEN, "forbidden"))
    } else {
        let wait = api.strangers.retry_after();
        Err(Reply::too_many("rate limit exceeded", wait))
    }
}

/// Reads the store on a thread that may block, few at a time.
async fn read(
    api: &Arc<Api>,
    work: impl FnOnce(&Store) -> rusqlite::Result<Reply> + Send + 'static,
) -> Reply {
    let _place = api.peer_readings.acquire().await;
    let context = Arc::clone(&api.context);
    let reading = tokio::task::spawn_blocking(move || work(context.store()));
    match reading.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => {
            log_repeated!(warn, %error, "a peer could not read the store");
            Reply::internal_error()
        }
        Err(_) => Reply::internal_error(), // a panic, which was logged
    }
}

/// What a digest request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    after: Cursor,
    limit: usize,
    deletes: Deletes,
}

impl Asked {
    /// Reads a query. Parameters without a value, and those that are not known, count as missing; of equal ones the first
    /// counts.
    fn parse(query: &str) -> Result<Self, String> {
        let parameter = |wanted: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .map(|(name, value)| (decoded(name), decoded(value)))
                .find(|(name, value)| name == wanted && !value.is_empty())
                .map(|(_, value)| value)
        };
        let after = match (parameter("cursor"), parameter("since")) {
            (Some(cursor), _) => cursor
                .parse()
                .map_err(|invalid: InvalidCursor| invalid.to_string())?,
            // An earlier form: whatever is newer than that millisecond.
            (None, Some(since)) => match whole_number(&since) {
                None => return Err("since must be an integer".into()),
                Some(..0) => return Err("since must be >= 0".into()),
                Some(since) => Cursor {
                    ts: since.unsigned_abs() + 1,
                    ..Cursor::default()
                },
            },
            (None, None) => Cursor::default(),
        };
        let limit = match parameter("limit").map(|limit| whole_number(&limit)) {
            None => DIGEST_ROWS,
            Some(None) => return Err("limit must be an integer".into()),
            Some(Some(..=0)) => return Err("limit must be > 0".into()),
            Some(Some(limit)) => {
                usize::try_from(limit).map_or(DIGEST_ROWS_MOST, |limit| limit.min(DIGEST_ROWS_MOST))
            }
        };
        let deletes = match parameter("deleted").as_deref() {
            Some("1") => Deletes::Shown,
            _ => Deletes::Hidden,
        };
        Ok(Self {
            after,
            limit,
            deletes,
        })
    }
}

/// A number of any length; beyond 64 bits the largest that there is.
fn whole_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let beyond = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    is_number.then(|| text.parse().unwrap_or(beyond))
}

/// A piece of a query in the form of HTML's forms.
fn decoded(text: &str) -> String {
    percent_decoded(&text.replace('+', " "))
}

/// The names of a pull request. What no record of this node can be named is not there.
fn names(body: &[u8]) -> Result<Vec<Owner>, &'static str> {
    let body = match body {
        [] => Value::Null,
        body => serde_json::from_slice(body).map_err(|_| "invalid body")?,
    };
    let names = body.get("names").and_then(Value::as_array);
    let names = names.ok_or("names must be a list")?;
    if names.len() > PULL_NAMES {
        return Err("at most 256 names per request");
    }
    let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
    let mut seen = HashSet::new();
    let names = names.ok_or("names must be strings")?.into_iter();
    Ok(names
        .filter_map(|name| Owner::parse(name.trim().trim_end_matches('.')).ok())
        .filter(|name| seen.insert(name.clone()))
        .collect())
}

fn bad_request(text: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, text)
}

#[derive(Serialize)]
struct Listing<'a> {
    records: Vec<Listed<'a>>,
    has_more: bool,
    next_cursor: String,
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    hash: String,
    ts: u64,
    ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<u64>,
}

impl<'a> Listed<'a> {
    fn new(row: &'a DigestRow, deletes: Deletes) -> Self {
        Self {
            name: &row.name,
            hash: hex::encode(row.hash),
            ts: row.ts,
            ttl: row.ttl,
            written_at: row.written_at.filter(|_| deletes == Deletes::Shown),
            deleted_at: row.deleted_at,
        }
    }
}

#[derive(Serialize)]
struct Answer {
    records: Vec<Pulled>,
}

#[derive(Serialize)]
struct Pulled {
    name: String,
    value: String,
    ttl: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_a_form_is_sent() {
        let asked = |query: &str| Asked::parse(query).unwrap();
        let beginning = Asked {
            after: Cursor::default(),
            limit: DIGEST_ROWS,
            deletes: Deletes::Hidden,
        };
        for query in [
            "",
            "cursor=&limit=",
            "cursor=0%3A%3A",
            "other=1&cursor=0::&cursor=7::",
            "deleted=0",
        ] {
            assert_eq!(asked(query), beginning, "{query}");
        }
        assert_eq!(asked("deleted=1").deletes, Deletes::Shown);
        assert_eq!(asked("cursor=7:a+b:&since=x").after.name, "a b");
        assert_eq!(asked("since=7").after.to_string(), "8::");
        for limit in ["10001", "99999999999999999999"] {
            assert_eq!(asked(&format!("limit={limit}")).limit, DIGEST_ROWS_MOST);
        }
        for query in ["limit=-99999999999999999999", "limit=0"] {
            assert_eq!(Asked::parse(query), Err("limit must be > 0".into()));
        }
        for number in ["1.0", "0x1", "1_000", "++1", "-", "٣"] {
            let query = format!("limit={number}");
            assert_eq!(
                Asked::parse(&query),
                Err("limit must be an integer".into()),
                "{number}"
            );
        }
    }

    #[test]
    fn names_are_trimmed_and_asked_for_once() {
        let body = r#"{"names": [" A.test. ", "a.test", "a.test..", "b.test", "", "*.test"]}"#;
        let names = names(body.as_bytes()).unwrap();
        let names: Vec<_> = names.iter().map(Owner::to_string).collect();
        assert_eq!(names, ["a.test", "b.test"]);
    }
}
