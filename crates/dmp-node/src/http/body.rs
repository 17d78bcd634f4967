//! Request bodies: read within bounds of size and time, and parsed (node.md 6.1, 6.4).

use crate::limits::{BODY_OCTETS, HTTP_READ};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Incoming};
use serde_json::{Map, Value};

/// A body that is no JSON object, too large, too slow, or ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid body")]
pub struct InvalidBody;

/// The JSON object of a body; none at all counts as the empty object.
pub fn parse_object(body: &[u8]) -> Result<Map<String, Value>, InvalidBody> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|_| InvalidBody)
}

/// What a publish request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishBody {
    /// Any text.
    pub value: String,
    /// Seconds, at least 1.
    pub ttl: u64,
}

impl PublishBody {
    /// `None` unless `value` is a text and `ttl`, 300 if absent, a whole number above 0.
    pub fn parse(body: &Map<String, Value>) -> Option<Self> {
        let value = body.get("value")?.as_str()?.to_owned();
        let ttl = match body.get("ttl") {
            None => 300,
            Some(ttl) => ttl.as_u64().filter(|ttl| *ttl > 0)?,
        };
        Some(Self { value, ttl })
    }
}

/// What a delete request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteBody {
    /// Every value.
    All,
    /// This value.
    Value(String),
}

impl DeleteBody {
    /// `None` if `value` is there and neither text nor null.
    pub fn parse(body: &Map<String, Value>) -> Option<Self> {
        match body.get("value") {
            None | Some(Value::Null) => Some(Self::All),
            Some(Value::String(value)) => Some(Self::Value(value.clone())),
            Some(_) => None,
        }
    }
}

/// Reads a body, chunked or not. One that says it is too large is not read at all; one that ends before it should is
/// never taken for an empty one (D10).
pub(crate) async fn read(body: Incoming) -> Result<Map<String, Value>, InvalidBody> {
    parse_object(&octets(body, BODY_OCTETS).await?)
}

/// The octets of a body of at most `limit`, as [`read`] reads them.
pub(crate) async fn octets(body: Incoming, limit: usize) -> Result<Bytes, InvalidBody> {
    if body.size_hint().lower() > limit as u64 {
        return Err(InvalidBody);
    }
    let body = Limited::new(body, limit).collect();
    match tokio::time::timeout(HTTP_READ, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        _ => Err(InvalidBody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_or_invalid() {
        assert_eq!(parse_object(b"").unwrap(), Map::new());
        assert_eq!(parse_object(b" {} ").unwrap(), Map::new());
        for body in [
            r#"[]"#,
            r#""a""#,
            "1",
            "null",
            "{",
            "{} x",
            r#"{"value": "\ud800"}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(parse_object(body.as_bytes()), Err(InvalidBody), "{body}");
        }
        assert_eq!(parse_object(b"{\"value\": \"\xff\"}"), Err(InvalidBody));
    }

    #[test]
    fn a_publish_needs_a_text_and_a_whole_number_of_seconds() {
        let parse = |body: &str| PublishBody::parse(&parse_object(body.as_bytes()).unwrap());
        let parsed = |value: &str, ttl| {
            Some(PublishBody {
                value: value.to_owned(),
                ttl,
            })
        };
        assert_eq!(parse(r#"{"value": ""}"#), parsed("", 300));
        assert_eq!(parse(r#"{"value": "x", "ttl": 1}"#), parsed("x", 1));
        for ttl in [
            "0",
            "-1",
            "5.0",
            "true",
            "null",
            "\"5\"",
            "1e400",
            "99999999999999999999",
        ] {
            let body = format!(r#"{{"value": "x", "ttl": {ttl}}}"#);
            let object = parse_object(body.as_bytes());
            assert!(
                object.is_err() || PublishBody::parse(&object.unwrap()).is_none(),
                "{ttl}"
            );
        }
        assert_eq!(parse(r#"{"ttl": 5}"#), None);
        assert_eq!(parse(r#"{"value": 5}"#), None);
    }

    #[test]
    fn a_delete_takes_the_whole_set_only_without_a_value() {
        let parse = |body: &str| DeleteBody::parse(&parse_object(body.as_bytes()).unwrap());
        assert_eq!(parse("{}"), Some(DeleteBody::All));
        assert_eq!(parse(r#"{"value": null}"#), Some(DeleteBody::All));
        assert_eq!(
            parse(r#"{"value": ""}"#),
            Some(DeleteBody::Value(String::new()))
        );
        for value in ["0", "false", "[]", "{}"] {
            assert_eq!(parse(&format!(r#"{{"value": {value}}}"#)), None, "{value}");
        }
    }
}
