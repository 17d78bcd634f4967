//! The version 2 plaintext envelope that names the sender's address (crypto.md 11.1-11.3).
//! Decides neither whether to wrap nor whether the claimed address is true.

use std::borrow::Cow;

use serde_json::Value;

use crate::address::Address;
use crate::limits::ENVELOPE_HEADER_MAX;

const PREFIX: &[u8] = b"DMPV2:";

/// A decrypted text taken out of its envelope, if it had one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// What the person wrote.
    pub body: &'a [u8],
    /// The address the sender claims; proves nothing (crypto.md 11.6).
    pub from: Option<Address>,
}

/// Puts `body` into an envelope; unchanged without an address or with one too long for the header (crypto.md 11.2).
#[must_use]
pub fn encode<'a>(body: &'a [u8], from: Option<&Address>) -> Cow<'a, [u8]> {
    // A canonical address needs no JSON escape.
    let header = from.map(|address| format!("{{\"from\":\"{address}\"}}"));
    match header.filter(|header| header.len() <= ENVELOPE_HEADER_MAX) {
        Some(header) => [PREFIX, header.as_bytes(), b"\n", body].concat().into(),
        None => body.into(),
    }
}

/// Takes `plaintext` out of its envelope; whatever is not one is all body (crypto.md 11.3).
#[must_use]
pub fn decode(plaintext: &[u8]) -> Envelope<'_> {
    read_envelope(plaintext).unwrap_or(Envelope {
        body: plaintext,
        from: None,
    })
}

fn read_envelope(plaintext: &[u8]) -> Option<Envelope<'_>> {
    let rest = plaintext.strip_prefix(PREFIX)?;
    let end = rest
        .iter()
        .take(ENVELOPE_HEADER_MAX + 1)
        .position(|&byte| byte == b'\n')?;
    let (header, body) = rest.split_at_checked(end)?;
    if !header.is_ascii() {
        return None;
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(header) else {
        return None;
    };
    let from = members
        .get("from")
        .and_then(Value::as_str)
        .and_then(|text| Address::parse(text).ok());
    Some(Envelope {
        body: body.strip_prefix(b"\n")?,
        from,
    })
}
