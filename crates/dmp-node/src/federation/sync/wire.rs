//! What nodes of a cluster say to each other over HTTP, from the side that asks (federation.md 4.9, 4.10). Pure.
//!
//! Answers are read as far as they make sense: an entry that is none is counted, an answer that is none is a fault. Nothing is
//! allocated for more entries than were asked for.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use thiserror::Error;

use crate::limits::{
    DELIVERY_OCTETS, DELIVERY_VALUES, DIGEST_ROWS, LISTING_OCTETS, MANIFEST_BODY_OCTETS,
    PEER_CLOCK_SKEW,
};
use crate::store::Cursor;
use crate::zone::Owner;

/// A question to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What is new after a place, deletes included.
    Digest(Cursor),
    /// All values of these names.
    Pull(Vec<String>),
    /// The cluster's manifest.
    Manifest,
}

/// Why a peer could not be asked, or what is wrong with its answer. One line; its words come from the peer in part.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer in time")]
    Slow,
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// Longer than anything that was asked for.
    #[error("the answer is too long")]
    TooLong,
    /// Not what was asked for.
    #[error("the answer is no {0}")]
    Body(&'static str),
    /// The own store refuses.
    #[error("the own store: {0}")]
    Store(String),
}

/// One row of a peer's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The name as the peer writes it.
    pub(super) name: String,
    /// The name as it is stored here.
    pub(super) owner: Owner,
    /// SHA-256 of the value.
    pub(super) hash: [u8; 32],
    /// The peer's milliseconds, by which it orders its rows.
    pub(super) ts: u64,
    /// Seconds left.
    pub(super) ttl: u64,
    /// When a client last wrote it, milliseconds; `None` if the peer does not say.
    pub(super) written_at: Option<u64>,
    /// When it was deleted, milliseconds; `None` of a live value.
    pub(super) deleted_at: Option<u64>,
}

impl Entry {
    /// Its place in the digest.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            ts: self.ts,
            name: self.name.clone(),
            hash: Some(self.hash),
        }
    }
}

/// A page of a peer's digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// What may be meant seriously, in the peer's order.
    pub(super) entries: Vec<Entry>,
    /// How many entries are none.
    pub(super) rejected: u64,
    /// Whether the peer says that there is more.
    pub(super) has_more: bool,
}

/// One value as a peer hands it over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Handed {
    /// Its name.
    pub(super) name: String,
    /// The value.
    pub(super) value: String,
    /// Seconds left.
    pub(super) ttl: u64,
}

/// The answer to a pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Values in the peer's order.
    pub(super) values: Vec<Handed>,
    /// How many records are none.
    pub(super) rejected: u64,
}

impl Ask {
    /// Path and query.
    pub fn target(&self) -> String {
        match self {
            Self::Digest(after) => {
                format!("/v1/sync/digest?cursor={after}&limit={DIGEST_ROWS}&deleted=1")
            }
            Self::Pull(_) => "/v1/sync/pull".to_owned(),
            Self::Manifest => "/v1/sync/cluster-manifest".to_owned(),
        }
    }

    /// The body to post; `None` is a GET.
    pub fn body(&self) -> Option<Vec<u8>> {
        match self {
            Self::Pull(names) => Some(json!({ "names": names }).to_string().into_bytes()),
            _ => None,
        }
    }

    /// Octets of the longest answer that can be honest.
    pub fn longest_answer(&self) -> usize {
        match self {
            Self::Digest(_) => LISTING_OCTETS,
            Self::Pull(_) => DELIVERY_OCTETS,
            Self::Manifest => MANIFEST_BODY_OCTETS,
        }
    }
}

/// Reads a page of the digest; `now` in milliseconds screens the peer's clock.
pub(super) fn listing(body: &[u8], now: u64) -> Result<Listing, Fault> {
    #[derive(Deserialize)]
    struct Body {
        records: AtMost<Row, DIGEST_ROWS>,
        #[serde(default)]
        has_more: bool,
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| Fault::Body("digest"))?;
    let mut listing = Listing {
        has_more: body.has_more,
        ..Listing::default()
    };
    for row in body.records.items {
        match row.read().and_then(|row| row.check(now)) {
            Some(entry) => listing.entries.push(entry),
            None => listing.rejected += 1,
        }
    }
    Ok(listing)
}

/// Reads the answer to a pull.
pub(super) fn delivery(body: &[u8]) -> Result<Delivery, Fault> {
    #[derive(Deserialize)]
    struct Body {
        records: AtMost<Handed, DELIVERY_VALUES>,
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| Fault::Body("list of records"))?;
    let mut delivery = Delivery::default();
    for record in body.records.items {
        match record.read() {
            Some(record) => delivery.values.push(record),
            None => delivery.rejected += 1,
        }
    }
    Ok(delivery)
}

/// Reads the text of a manifest; `None` if the peer has none, or none that is one.
pub(super) fn manifest(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        wire: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    Some(body.wire)
}

#[derive(Deserialize)]
struct Row {
    name: String,
    hash: String,
    ts: u64,
    ttl: u64,
    #[serde(default)]
    written_at: Option<u64>,
    #[serde(default)]
    deleted_at: Option<u64>,
}

impl Row {
    /// Step 3 of 4.10; a clock that is far ahead would win against every later write.
    fn check(self, now: u64) -> Option<Entry> {
        let latest = now.saturating_add(PEER_CLOCK_SKEW);
        let is_early = |at: u64| at <= latest;
        let times = [Some(self.ts), self.written_at, self.deleted_at];
        let mut hash = [0; 32];
        hex::decode_to_slice(&self.hash, &mut hash).ok()?;
        let is_lower = !self.hash.bytes().any(|digit| digit.is_ascii_uppercase());
        let has_dot = self.name.ends_with('.');
        let is_sound = is_lower
            && !has_dot
            && self.ttl <= MOST_SECONDS
            && times.into_iter().flatten().all(is_early);
        let owner = Owner::parse(&self.name).ok().filter(|_| is_sound)?;
        Some(Entry {
            name: self.name,
            owner,
            hash,
            ts: self.ts,
            ttl: self.ttl,
            written_at: self.written_at.filter(|at| *at > 0),
            deleted_at: self.deleted_at,
        })
    }
}

/// Largest number of seconds that a peer may name.
const MOST_SECONDS: u64 = 1 << 31;

/// An item, or something else in its place.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Read(T),
    Other(IgnoredAny),
}

impl<T> Lenient<T> {
    fn read(self) -> Option<T> {
        match self {
            Self::Read(item) => Some(item),
            Self::Other(IgnoredAny) => None,
        }
    }
}

/// A list of a bounded number of items; a longer one is none.
struct AtMost<T, const MOST: usize> {
    items: Vec<Lenient<T>>,
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
            type Value = Vec<Lenient<T>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() == MOST {
                        return Err(A::Error::custom("too many items"));
                    }
                    items.push(item);
                }
                Ok(items)
            }
        }

        let items = deserializer.deserialize_seq(Items::<T, MOST>(PhantomData))?;
        Ok(Self { items })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_longer_than_what_was_asked_for_is_no_answer() {
        let body = |count: usize| {
            let rows = vec!["1"; count].join(",");
            format!("{{\"records\":[{rows}],\"has_more\":false}}").into_bytes()
        };
        assert_eq!(
            listing(&body(DIGEST_ROWS), 0).unwrap().rejected,
            DIGEST_ROWS as u64
        );
        assert_eq!(
            listing(&body(DIGEST_ROWS + 1), 0),
            Err(Fault::Body("digest"))
        );
        assert_eq!(
            delivery(&body(DELIVERY_VALUES + 1)),
            Err(Fault::Body("list of records"))
        );
    }

    #[test]
    fn what_is_no_answer_is_told_as_such() {
        for wrong in [
            "",
            "<html>",
            "[]",
            "{}",
            "{\"records\":5}",
            "{\"records\":[}",
        ] {
            assert_eq!(
                listing(wrong.as_bytes(), 0),
                Err(Fault::Body("digest")),
                "{wrong}"
            );
            assert_eq!(
                delivery(wrong.as_bytes()),
                Err(Fault::Body("list of records")),
                "{wrong}"
            );
            assert_eq!(manifest(wrong.as_bytes()), None, "{wrong}");
        }
        let deep = "[".repeat(100_000);
        assert!(listing(deep.as_bytes(), 0).is_err());
    }

    #[test]
    fn no_time_lies_more_than_a_minute_ahead() {
        let hash = "ab".repeat(32);
        let read = |times: &str| {
            let body = format!(
                "{{\"records\":[{{\"name\":\"a.b\",\"hash\":\"{hash}\",\"ttl\":9,{times}}}]}}"
            );
            listing(body.as_bytes(), 1_000_000).unwrap().entries.len()
        };
        assert_eq!(read("\"ts\":1060000,\"written_at\":1060000"), 1);
        assert_eq!(read("\"ts\":1060001"), 0);
        assert_eq!(read("\"ts\":1,\"written_at\":1060001"), 0);
        assert_eq!(read("\"ts\":1,\"deleted_at\":1060000"), 1);
        assert_eq!(read("\"ts\":1,\"deleted_at\":1060001"), 0);
        assert_eq!(read("\"ts\":1,\"deleted_at\":true"), 0);
        assert_eq!(read("\"ts\":1,\"written_at\":null"), 1);
    }
}
