//! Answers of the HTTP interface: JSON as the reference spells it, and errors that are RFC 9457 problems as well.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use serde_json::ser::Formatter;
use std::io;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: &str = "application/problem+json";

/// An answer before it is put on the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    /// A later one replaces an earlier one of the same name.
    headers: Vec<(HeaderName, HeaderValue)>,
    is_problem: bool,
}

impl Reply {
    /// A status without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            body: Vec::new(),
            headers: Vec::new(),
            is_problem: false,
        }
    }

    /// 200 with a text of the media type.
    pub(crate) fn text(media: &'static str, body: String) -> Self {
        Self {
            body: body.into(),
            ..Self::empty(StatusCode::OK)
        }
        .with(CONTENT_TYPE, HeaderValue::from_static(media))
    }

    /// A JSON body.
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        Self {
            body: encode(value),
            ..Self::empty(status)
        }
        .with(CONTENT_TYPE, JSON)
    }

    /// An error: the reference's member `error`, and those of RFC 9457 section 3.1 beside it.
    pub(crate) fn error(status: StatusCode, text: &str) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        let body = json!({
            "error": text,
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "detail": text,
        });
        Self {
            is_problem: true,
            ..Self::json(status, &body)
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "not found")
    }

    /// The path exists and not for this method (RFC 9110 15.5.6).
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let error = Self::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        error.with(ALLOW, HeaderValue::from_static(allow))
    }

    /// Too many requests, with the seconds after which the next one has a chance (RFC 9110 10.2.3).
    pub(crate) fn too_many(text: &str, retry_after: u64) -> Self {
        Self::error(StatusCode::TOO_MANY_REQUESTS, text)
            .with(RETRY_AFTER, HeaderValue::from(retry_after))
    }

    pub(crate) fn internal_error() -> Self {
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The message on the wire.
    pub(crate) fn into_response(mut self, errors: ErrorMedia) -> Response<Full<Bytes>> {
        if let (true, ErrorMedia::Problem) = (self.is_problem, errors) {
            let media = HeaderValue::from_static(PROBLEM);
            self.headers.push((CONTENT_TYPE, media));
        }
        let mut response = Response::new(Full::from(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What an error is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ErrorMedia {
    Json,
    Problem,
}

impl ErrorMedia {
    /// A problem only for a client that asks for problems (node.md 6.1).
    pub(crate) fn wanted_by(request: &HeaderMap) -> Self {
        let mut values = request
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        if values.any(|value| value.contains(PROBLEM)) {
            Self::Problem
        } else {
            Self::Json
        }
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut body = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut body, Spaced);
    // Writing to memory does not fail, and no value here has a key that is no text.
    if let Err(error) = value.serialize(&mut serializer) {
        tracing::error!(%error, "an answer was not encoded");
    }
    body
}

/// `", "` and `": "` as separators, which scripts of operators search for (node.md 6.1).
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
