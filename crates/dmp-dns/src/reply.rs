//! What every answer of a server is made of: header bits, the question echoed, OPT, and the limit of its transport
//! (node.md 2.5, 2.6).
//!
//! Which records go between question and OPT is [`crate::answer`]'s; signatures are appended by [`crate::tsig`].

use crate::limits;
use crate::query::Query;
use crate::rcode::{Rcode, Rtype};
use crate::wire::Writer;

/// Extended DNS error option (RFC 8914 2).
pub(crate) const OPTION_EXTENDED_ERROR: u16 = 15;
/// How a request came and what its answer must leave room for.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// UDP with its limit, or TCP.
    pub transport: Transport,
    /// Unix seconds.
    pub now: u64,
    /// Octets that the caller will append (a TSIG record).
    pub reserve: usize,
}

/// The transport, as far as it bounds an answer (node.md 2.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// At most what the client advertises, 512 without EDNS, and never more than `payload` (1232, D12).
    Udp {
        /// The server's own limit, also advertised in OPT.
        payload: u16,
    },
    /// 65 535 octets; the EDNS payload never counts here.
    Tcp,
}

impl Transport {
    /// UDP with the default limit of D12.
    pub const UDP: Self = Self::Udp {
        payload: limits::UDP as u16,
    };

    /// The payload size our OPT advertises.
    #[inline]
    fn payload(self) -> u16 {
        match self {
            Self::Udp { payload } => payload,
            Self::Tcp => limits::UDP as u16,
        }
    }
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    /// Octets at the start of the buffer; 0 means that the buffer cannot hold even the question.
    pub len: usize,
    /// The response code, extended bits included.
    pub rcode: Rcode,
    /// The kind of answer, for counters and limits by class.
    pub class: AnswerClass,
}

/// Kinds of answers that limits and counters tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AnswerClass {
    /// Records in the answer section.
    Positive,
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// TC=1, sections empty.
    Truncated,
    /// Any other response code.
    Error,
}

/// Extended error information of an answer (RFC 8914); written only if the request had OPT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtendedError<'a> {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT, may be empty.
    pub text: &'a str,
}

impl ExtendedError<'_> {
    /// INFO-CODE 0, Other: the text says it.
    pub const OTHER: u16 = 0;
    /// INFO-CODE 18, Prohibited.
    pub const PROHIBITED: u16 = 18;
    /// INFO-CODE 20, Not Authoritative.
    pub const NOT_AUTHORITATIVE: u16 = 20;
    /// INFO-CODE 21, Not Supported.
    pub const NOT_SUPPORTED: u16 = 21;
}

/// Whether an answer speaks for its zone (the AA bit, node.md 2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// AA=1.
    Authoritative,
    /// AA=0.
    NotAuthoritative,
}

/// An answer without records: the result of an UPDATE, SERVFAIL, a refusal by policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply<'e> {
    /// Response code.
    pub rcode: Rcode,
    /// AA bit; for an UPDATE: whether the zone is served here.
    pub standing: Standing,
    /// Why, for a client that speaks EDNS.
    pub error: Option<ExtendedError<'e>>,
}

/// Writes header, question (the zone section of an UPDATE) and, if the request had one, OPT.
pub fn respond(
    query: &Query<'_>,
    reply: Reply<'_>,
    exchange: Exchange,
    out: &mut [u8],
) -> Answered {
    let head = Head {
        rcode: reply.rcode,
        standing: reply.standing,
        error: reply.error,
        truncated: false,
    };
    write(query, exchange, out, head, |_| Some(Counts::default()))
}

/// Writes the empty TC=1 answer that sends a client to TCP, as a limiter does instead of answering in full.
pub fn truncated(query: &Query<'_>, exchange: Exchange, out: &mut [u8]) -> Answered {
    write(
        query,
        exchange,
        out,
        Head {
            truncated: true,
            ..Head::NOERROR
        },
        |_| Some(Counts::default()),
    )
}

impl Exchange {
    /// Octets that the message may have without what the caller appends.
    #[inline]
    pub(crate) fn limit(&self, query: &Query<'_>) -> usize {
        let limit = match (self.transport, query.edns()) {
            (Transport::Tcp, _) => limits::MESSAGE,
            (Transport::Udp { .. }, None) => limits::UDP_PLAIN,
            (Transport::Udp { payload }, Some(edns)) => {
                usize::from(edns.payload.min(payload)).max(limits::UDP_PLAIN)
            }
        };
        limit.saturating_sub(self.reserve)
    }
}

/// Header bits and OPT of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Head<'e> {
    pub(crate) rcode: Rcode,
    pub(crate) standing: Standing,
    pub(crate) truncated: bool,
    pub(crate) error: Option<ExtendedError<'e>>,
}

impl Head<'_> {
    pub(crate) const NOERROR: Self = Self {
        rcode: Rcode::NOERROR,
        standing: Standing::Authoritative,
        truncated: false,
        error: None,
    };
}

/// How many records the body of an answer put into each section.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) answer: u16,
    pub(crate) authority: u16,
    pub(crate) additional: u16,
}

/// Echoes the question, lets `body` write records, appends OPT, then fills in the header. A body that does not fit
/// becomes TC=1 over UDP and SERVFAIL over TCP (node.md 2.6).
#[inline]
pub(crate) fn write(
    query: &Query<'_>,
    exchange: Exchange,
    out: &mut [u8],
    mut head: Head<'_>,
    body: impl FnOnce(&mut Writer<'_>) -> Option<Counts>,
) -> Answered {
    let limit = exchange.limit(query);
    let echo = query.echo();
    let mut writer = Writer::new(out);
    let opt_len = opt_len(query, &head);
    let written = writer.put(echo).and_then(|()| {
        let counts = body(&mut writer)
            .filter(|_| writer.position() + opt_len <= limit || writer.position() == echo.len());
        let counts = counts.unwrap_or_else(|| {
            writer.rewind(echo.len());
            match exchange.transport {
                Transport::Udp { .. } => head.truncated = true,
                Transport::Tcp => {
                    head = Head {
                        rcode: Rcode::SERVFAIL,
                        standing: Standing::NotAuthoritative,
                        ..Head::NOERROR
                    }
                }
            }
            Counts::default()
        });
        put_opt(&mut writer, query, exchange, &head)?;
        put_header(&mut writer, query, &head, &counts)?;
        Some(counts)
    });
    let Some(counts) = written else {
        return Answered {
            len: 0,
            rcode: Rcode::SERVFAIL,
            class: AnswerClass::Error,
        };
    };
    let class = match head.rcode {
        _ if head.truncated => AnswerClass::Truncated,
        Rcode::NOERROR if counts.answer > 0 => AnswerClass::Positive,
        Rcode::NOERROR => AnswerClass::NoData,
        Rcode::NXDOMAIN => AnswerClass::NxDomain,
        _ => AnswerClass::Error,
    };
    Answered {
        len: writer.position(),
        rcode: head.rcode,
        class,
    }
}

#[inline]
fn put_header(
    writer: &mut Writer<'_>,
    query: &Query<'_>,
    head: &Head<'_>,
    counts: &Counts,
) -> Option<()> {
    let flags = query.message().get(2).copied().unwrap_or_default();
    let authoritative = if head.standing == Standing::Authoritative {
        0x04
    } else {
        0
    };
    let truncated = if head.truncated { 0x02 } else { 0 };
    let [answer0, answer1] = counts.answer.to_be_bytes();
    let [authority0, authority1] = counts.authority.to_be_bytes();
    let additional = counts.additional + u16::from(query.edns().is_some());
    let [additional0, additional1] = additional.to_be_bytes();
    // The id stands there already. Opcode and RD are the query's; RA, Z, AD and CD stay clear (node.md 2.5).
    let header = [
        0x80 | flags & 0x79 | authoritative | truncated,
        (head.rcode.0 & 15) as u8,
        0,
        u8::from(query.has_question()),
        answer0,
        answer1,
        authority0,
        authority1,
        additional0,
        additional1,
    ];
    writer.patch(2, &header)
}

#[inline]
fn put_opt(
    writer: &mut Writer<'_>,
    query: &Query<'_>,
    exchange: Exchange,
    head: &Head<'_>,
) -> Option<()> {
    let Some(edns) = query.edns() else {
        return Some(());
    };
    let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 }; // RFC 3225 3
    let [type0, type1] = Rtype::OPT.0.to_be_bytes();
    let [payload0, payload1] = exchange.transport.payload().to_be_bytes();
    let rcode_high = (head.rcode.0 >> 4) as u8;
    let Some(error) = head.error else {
        return writer.put(&[
            0, type0, type1, payload0, payload1, rcode_high, 0, dnssec_ok, 0, 0, 0,
        ]);
    };
    writer.put(&[
        0, type0, type1, payload0, payload1, rcode_high, 0, dnssec_ok, 0,
    ])?;
    let length = u16::try_from(error.text.len() + 2).ok()?;
    writer.u16(length + 4)?;
    writer.u16(OPTION_EXTENDED_ERROR)?;
    writer.u16(length)?;
    writer.u16(error.code)?;
    writer.put(error.text.as_bytes())
}

#[inline]
fn opt_len(query: &Query<'_>, head: &Head<'_>) -> usize {
    match (query.edns(), head.error) {
        (None, _) => 0,
        (Some(_), None) => 11,
        (Some(_), Some(error)) => 17 + error.text.len(),
    }
}
