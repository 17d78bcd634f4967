//! The outer message and its JSON header, written in one exact form and read strictly (crypto.md 5, 6).
//! Decrypts nothing and compares the header with nothing.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::id::{MsgId, PrekeyId, UnixTime, UserId};
use crate::limits::{OUTER_TRAILER_LEN, WIRE_INTEGER_MAX};

/// What a message is for; only `Data` is ever sent (crypto.md 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageType {
    /// A text for a person.
    Data,
    /// Reserved.
    Ack,
    /// Reserved.
    Discovery,
    /// Reserved.
    Identity,
    /// Reserved.
    Mailbox,
}

impl MessageType {
    const ALL: [Self; 5] = [
        Self::Data,
        Self::Ack,
        Self::Discovery,
        Self::Identity,
        Self::Mailbox,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "DATA",
            Self::Ack => "ACK",
            Self::Discovery => "DISCOVERY",
            Self::Identity => "IDENTITY",
            Self::Mailbox => "MAILBOX",
        }
    }
}

/// The readable part of a message; authenticated as associated data, but by nobody's signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterHeader {
    /// What the message is for.
    pub message_type: MessageType,
    /// The message's identity.
    pub msg_id: MsgId,
    /// Who claims to have written it.
    pub sender: UserId,
    /// Whom it is encrypted to.
    pub recipient: UserId,
    /// When it was written.
    pub ts: UnixTime,
    /// For how many seconds it lives.
    pub ttl: u64,
}

/// Why a decoded message is not an outer message; it is dropped, and only it (crypto.md 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum HeaderError {
    /// Shorter than its header and trailer.
    #[error("outer message too short")]
    Length,
    /// Not UTF-8, not JSON, nested too deeply, or not an object.
    #[error("header is not a JSON object")]
    Json,
    /// The member is missing, has the wrong type or lies outside its range.
    #[error("header member {0} is not valid")]
    Member(&'static str),
}

impl OuterHeader {
    /// The header as it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.json_with_total(1)
    }

    /// The bytes that the encryption binds besides the text (crypto.md 6).
    #[must_use]
    pub fn associated_data(&self, prekey: Option<PrekeyId>) -> Vec<u8> {
        let mut data = self.json_with_total(0).into_bytes();
        data.extend_from_slice(&prekey.map_or(0, PrekeyId::get).to_be_bytes());
        data
    }

    /// Reads a header; unknown members are ignored and of duplicate members the last one counts.
    ///
    /// # Errors
    /// [`HeaderError`] for anything crypto.md 5 lists. Version 1 is required; hex digits may be of either case.
    pub fn parse(text: &[u8]) -> Result<Self, HeaderError> {
        // serde_json refuses more than 127 levels, long before the stack ends.
        let Ok(Value::Object(members)) = serde_json::from_slice(text) else {
            return Err(HeaderError::Json);
        };
        if integer(&members, "v")? != 1 {
            return Err(HeaderError::Member("v"));
        }
        // Constants that bind nothing: any integer will do.
        integer(&members, "total")?;
        integer(&members, "chunk")?;
        let type_name = string(&members, "type")?;
        Ok(Self {
            message_type: MessageType::ALL
                .into_iter()
                .find(|known| known.as_str() == type_name)
                .ok_or(HeaderError::Member("type"))?,
            msg_id: MsgId::from_hex(string(&members, "msg_id")?)
                .map_err(|_| HeaderError::Member("msg_id"))?,
            sender: UserId::from_hex(string(&members, "sender")?)
                .map_err(|_| HeaderError::Member("sender"))?,
            recipient: UserId::from_hex(string(&members, "recipient")?)
                .map_err(|_| HeaderError::Member("recipient"))?,
            ts: UnixTime::new(integer(&members, "ts")?),
            ttl: integer(&members, "ttl")?,
        })
    }

    /// The last second in which the message is live (D31).
    #[must_use]
    pub const fn exp(&self) -> UnixTime {
        self.ts.saturating_add(self.ttl)
    }

    fn json_with_total(&self, total: u8) -> String {
        let Self {
            message_type,
            msg_id,
            sender,
            recipient,
            ts,
            ttl,
        } = self;
        let message_type = message_type.as_str();
        format!(
            "{{\"v\":1,\"type\":\"{message_type}\",\"msg_id\":\"{msg_id}\",\"sender\":\"{sender}\",\
             \"recipient\":\"{recipient}\",\"total\":{total},\"chunk\":0,\"ts\":{ts},\"ttl\":{ttl}}}"
        )
    }
}

/// `u16(length) || header || sealed || 32 zero bytes`.
pub(crate) fn encode_outer(header: &OuterHeader, sealed: &[u8]) -> Vec<u8> {
    let header = header.to_json();
    // At most 293 bytes: 253 and two numbers of up to 20 digits.
    let length = header.len() as u16;
    let mut outer = Vec::with_capacity(2 + header.len() + sealed.len() + OUTER_TRAILER_LEN);
    outer.extend_from_slice(&length.to_be_bytes());
    outer.extend_from_slice(header.as_bytes());
    outer.extend_from_slice(sealed);
    outer.extend_from_slice(&[0; OUTER_TRAILER_LEN]);
    outer
}

/// Splits an outer message into its header and its sealed part; the trailer may hold anything.
///
/// # Errors
/// [`HeaderError`].
pub fn parse_outer(outer: &[u8]) -> Result<(OuterHeader, &[u8]), HeaderError> {
    let (length, rest) = outer.split_first_chunk().ok_or(HeaderError::Length)?;
    let (header, rest) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or(HeaderError::Length)?;
    let (sealed, _trailer) = rest
        .split_last_chunk::<OUTER_TRAILER_LEN>()
        .ok_or(HeaderError::Length)?;
    Ok((OuterHeader::parse(header)?, sealed))
}

fn string<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, HeaderError> {
    members
        .get(name)
        .and_then(Value::as_str)
        .ok_or(HeaderError::Member(name))
}

/// An integer of 0 to 2^63-1 (D31); a number written with a fraction or an exponent is none.
fn integer(members: &Map<String, Value>, name: &'static str) -> Result<u64, HeaderError> {
    members
        .get(name)
        .and_then(Value::as_u64)
        .filter(|&value| value <= WIRE_INTEGER_MAX)
        .ok_or(HeaderError::Member(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = concat!(
        r#"{"v":1,"type":"DATA","msg_id":"000102030405060708090a0b0c0d0e0f","#,
        r#""sender":"1111111111111111111111111111111111111111111111111111111111111111","#,
        r#""recipient":"2222222222222222222222222222222222222222222222222222222222222222","#,
        r#""total":1,"chunk":0,"ts":1700000000,"ttl":300}"#
    );

    fn header() -> OuterHeader {
        OuterHeader::parse(GOOD.as_bytes()).unwrap()
    }

    fn error(from: &str, to: &str) -> HeaderError {
        assert!(GOOD.contains(from));
        OuterHeader::parse(GOOD.replacen(from, to, 1).as_bytes()).unwrap_err()
    }

    #[test]
    fn a_header_is_written_as_it_was_read() {
        assert_eq!(header().to_json(), GOOD);
    }

    #[test]
    fn a_missing_member_drops_the_message() {
        for member in [
            "v",
            "type",
            "msg_id",
            "sender",
            "recipient",
            "total",
            "chunk",
            "ts",
            "ttl",
        ] {
            assert_eq!(
                error(&format!("\"{member}\":"), "\"x\":"),
                HeaderError::Member(member)
            );
        }
    }

    #[test]
    fn a_member_of_the_wrong_json_type_drops_the_message() {
        for (from, to, member) in [
            ("\"v\":1", "\"v\":\"1\"", "v"),
            ("\"v\":1", "\"v\":true", "v"),
            ("\"v\":1", "\"v\":2", "v"),
            ("\"DATA\"", "7", "type"),
            ("\"DATA\"", "\"data\"", "type"),
            ("\"DATA\"", "\"CHAT\"", "type"),
            ("\"000102030405060708090a0b0c0d0e0f\"", "5", "msg_id"),
            ("\"total\":1", "\"total\":null", "total"),
            ("\"chunk\":0", "\"chunk\":[0]", "chunk"),
            ("\"ts\":1700000000", "\"ts\":\"1700000000\"", "ts"),
        ] {
            assert_eq!(error(from, to), HeaderError::Member(member), "{to}");
        }
    }

    #[test]
    fn bad_hex_or_a_wrong_hex_length_drops_the_message() {
        assert_eq!(error("0e0f\"", "0e0\""), HeaderError::Member("msg_id"));
        assert_eq!(error("0e0f\"", "0e0f0f\""), HeaderError::Member("msg_id"));
        assert_eq!(error("0e0f\"", "0e0g\""), HeaderError::Member("msg_id"));
        assert_eq!(error("1111\"", "11\""), HeaderError::Member("sender"));
        assert_eq!(error("1111\"", "111z\""), HeaderError::Member("sender"));
        assert_eq!(
            error("2222\"", "222222\""),
            HeaderError::Member("recipient")
        );
    }

    #[test]
    fn integers_are_taken_from_0_to_2_63_less_1() {
        for good in ["0", "9223372036854775807"] {
            let text = GOOD.replace("1700000000", good);
            assert_eq!(
                OuterHeader::parse(text.as_bytes()).unwrap().ts.to_string(),
                good
            );
        }
        for bad in [
            "9223372036854775808",
            "18446744073709551616",
            "-1",
            "-0",
            "1.0",
            "1e3",
            "NaN",
            "01",
        ] {
            let text = GOOD.replace("1700000000", bad);
            assert!(OuterHeader::parse(text.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_end_of_life_saturates() {
        let header = OuterHeader {
            ts: UnixTime::new(u64::MAX - 1),
            ttl: 300,
            ..header()
        };
        assert_eq!(header.exp(), UnixTime::new(u64::MAX));
    }

    #[test]
    fn what_is_not_a_json_object_drops_the_message() {
        let bomb = "[".repeat(60_000);
        let nested = format!("{{\"x\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
        for text in ["", "[1]", "null", "\"x\"", "{}x", "{", &bomb, &nested] {
            assert_eq!(OuterHeader::parse(text.as_bytes()), Err(HeaderError::Json));
        }
        assert_eq!(OuterHeader::parse(b"\xff{}"), Err(HeaderError::Json));
        assert_eq!(
            OuterHeader::parse(GOOD.replace("DATA", "D\u{0}TA").as_bytes()),
            Err(HeaderError::Json)
        );
    }

    #[test]
    fn the_last_of_duplicate_members_counts() {
        let text = GOOD.replace("\"ttl\":300", "\"ttl\":1,\"ttl\":2");
        assert_eq!(OuterHeader::parse(text.as_bytes()).unwrap().ttl, 2);
    }

    #[test]
    fn unknown_members_white_space_order_and_upper_case_do_not_matter() {
        let text = GOOD
            .replace("{\"v\":1,", "{ \"new\" : {\"deep\":[1]},\n")
            .replace("\"ttl\":300}", "\"ttl\":300,\"v\":1}")
            .replace("0a0b0c", "0A0B0C")
            .replace("\"total\":1,\"chunk\":0", "\"total\":77,\"chunk\":9");
        assert_eq!(OuterHeader::parse(text.as_bytes()).unwrap(), header());
    }

    #[test]
    fn an_outer_message_splits_into_header_and_sealed_part() {
        let mut outer = encode_outer(&header(), b"sealed");
        assert_eq!(parse_outer(&outer), Ok((header(), b"sealed".as_slice())));
        *outer.last_mut().unwrap() = 1;
        assert_eq!(parse_outer(&outer), Ok((header(), b"sealed".as_slice())));
    }

    #[test]
    fn an_outer_message_shorter_than_header_and_trailer_is_dropped() {
        let outer = encode_outer(&header(), b"");
        assert!(parse_outer(&outer).is_ok());
        for length in 0..outer.len() {
            assert_eq!(
                parse_outer(&outer[..length]),
                Err(HeaderError::Length),
                "{length} bytes"
            );
        }
        assert_eq!(parse_outer(&[0; 33]), Err(HeaderError::Length));
        assert_eq!(parse_outer(&[0; 34]), Err(HeaderError::Json));
        assert_eq!(parse_outer(&[0xff; 200]), Err(HeaderError::Length));
    }
}
