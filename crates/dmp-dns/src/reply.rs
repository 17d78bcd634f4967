//! What every answer of a server is made of: header bits, the question echoed, OPT, and the limit of its transport
//! (node.md 2.5, 2.6).
//!
//! Which records go between question and OPT is [`crate::answer`]'s; signatures are appended by [`crate::tsig`].

use crate::cookie::Proof;
use crate::limits;
use crate::query::{Edns, OPTION_COOKIE, OPTION_NSID, Query};
use crate::rcode::{Opcode, Rcode, Rtype};
use crate::txt;
use crate::wire::Writer;

/// Extended DNS error option (RFC 8914 2).
pub(crate) const OPTION_EXTENDED_ERROR: u16 = 15;
/// Octets of an OPT record without options.
const OPT: usize = 11;
/// Octets of an option's code and length.
const OPTION: usize = 4;

/// How a request came, and what its answer carries or leaves room for beside what was asked.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// UDP with its limit, or TCP.
    pub transport: Transport,
    /// Unix seconds.
    pub now: u64,
    /// Octets that the caller will append (a TSIG record).
    pub reserve: usize,
    /// What the request's cookie proves, and the one that goes back.
    pub cookie: Proof,
    /// The server's identifier, for who asks for it (RFC 5001).
    pub nsid: Option<&'a [u8]>,
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
    exchange: Exchange<'_>,
    out: &mut [u8],
) -> Answered {
    let head = Head {
        rcode: reply.rcode,
        standing: reply.standing,
        error: reply.error,
        truncated: false,
    };
    write(query, &exchange, out, head, |_| Some(Counts::default()))
}

/// Writes the short answer by which a limiter tells an unproven client how to come through: BADCOOKIE with a cookie to
/// come back with for one that speaks cookies (RFC 7873 5.2.3), else an empty answer with TC=1, which sends it to TCP.
///
/// Without a cookie in the request it is never longer than the request.
pub fn slipped(query: &Query<'_>, exchange: Exchange<'_>, out: &mut [u8]) -> Answered {
    let mut head = Head::NOERROR;
    if exchange.cookie.answer().is_some() {
        head.rcode = Rcode::BADCOOKIE;
        head.standing = Standing::NotAuthoritative;
    } else {
        head.truncated = true;
        // Not even a client that overlooks TC may take this for a change that was made (node.md C8).
        if query.opcode() == Opcode::UPDATE {
            head.rcode = Rcode::SERVFAIL;
        }
    }
    write(query, &exchange.unidentified(), out, head, |_| {
        Some(Counts::default())
    })
}

impl Exchange<'_> {
    /// A request that came by `transport` at `now` (Unix seconds): nothing to append, no cookie looked at, no identifier.
    pub const fn new(transport: Transport, now: u64) -> Self {
        Self {
            transport,
            now,
            reserve: 0,
            cookie: Proof::Absent,
            nsid: None,
        }
    }

    /// The same without the server's identifier: short, and free to outlive it.
    pub fn unidentified(self) -> Exchange<'static> {
        Exchange {
            transport: self.transport,
            now: self.now,
            reserve: self.reserve,
            cookie: self.cookie,
            nsid: None,
        }
    }

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
    exchange: &Exchange<'_>,
    out: &mut [u8],
    mut head: Head<'_>,
    body: impl FnOnce(&mut Writer<'_>) -> Option<Counts>,
) -> Answered {
    let limit = exchange.limit(query);
    let echo = query.echo();
    let mut writer = Writer::new(out);
    let opt_len = opt_len(query, exchange);
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
        put_opt(&mut writer, query, exchange, &head, limit)?;
        writer.patch(2, &header(query, &head, &counts))?;
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

/// An answer to a query out of whole records, when it needs nothing but them: no option in the OPT record, everything
/// within the limit. `None`: [`write`] must do it; what this writes, that would write the same.
///
/// `records` are `octets` long together, each beginning with the twelve octets of [`crate::txt::pack`].
#[inline]
pub(crate) fn write_records<'r>(
    query: &Query<'_>,
    exchange: &Exchange<'_>,
    out: &mut [u8],
    octets: usize,
    ttl: u32,
    records: impl Iterator<Item = &'r [u8]>,
) -> Option<Answered> {
    let echo = query.echo();
    let edns = query.edns();
    let len = echo.len() + octets + edns.map_or(0, |_| OPT);
    let wants_options = exchange.nsid.is_some() && edns.is_some_and(|edns| edns.wants_nsid);
    if exchange.cookie != Proof::Absent || wants_options || len > exchange.limit(query) {
        return None;
    }
    let (echoed, mut rest) = out.get_mut(..len)?.split_at_mut_checked(echo.len())?;
    echoed.copy_from_slice(echo);
    let mut counts = Counts::default();
    for record in records {
        let (place, behind) = rest.split_at_mut_checked(record.len())?;
        place.copy_from_slice(record);
        *place.get_mut(txt::TTL_AT..)?.first_chunk_mut()? = ttl.to_be_bytes();
        rest = behind;
        counts.answer += 1;
    }
    if let Some(edns) = edns {
        *rest.first_chunk_mut()? = opt(edns, exchange, Rcode::NOERROR);
    }
    *echoed.get_mut(2..)?.first_chunk_mut()? = header(query, &Head::NOERROR, &counts);
    Some(Answered {
        len,
        rcode: Rcode::NOERROR,
        class: AnswerClass::Positive,
    })
}

/// The header behind its id, which is the query's.
#[inline]
fn header(query: &Query<'_>, head: &Head<'_>, counts: &Counts) -> [u8; limits::HEADER - 2] {
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
    // Opcode and RD are the query's; RA, Z, AD and CD stay clear (node.md 2.5).
    [
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
    ]
}

/// The OPT record without options.
#[inline]
fn opt(edns: &Edns, exchange: &Exchange<'_>, rcode: Rcode) -> [u8; OPT] {
    let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 }; // RFC 3225 3
    let [type0, type1] = Rtype::OPT.0.to_be_bytes();
    let [payload0, payload1] = exchange.transport.payload().to_be_bytes();
    let rcode_high = (rcode.0 >> 4) as u8;
    [
        0, type0, type1, payload0, payload1, rcode_high, 0, dnssec_ok, 0, 0, 0,
    ]
}

fn put_opt(
    writer: &mut Writer<'_>,
    query: &Query<'_>,
    exchange: &Exchange<'_>,
    head: &Head<'_>,
    limit: usize,
) -> Option<()> {
    let Some(edns) = query.edns() else {
        return Some(());
    };
    writer.put(&opt(edns, exchange, head.rcode))?;
    let nsid = exchange.nsid.filter(|_| edns.wants_nsid);
    let cookie = exchange.cookie.answer();
    if head.error.is_some() || cookie.is_some() || nsid.is_some() {
        put_options(writer, cookie, head.error, nsid, limit)?;
    }
    Some(())
}

/// Options behind an OPT record that was written without. The cookie always has room ([`opt_len`]); what explains and
/// what identifies is left out where it has none, so that neither ever costs a record.
fn put_options(
    writer: &mut Writer<'_>,
    cookie: Option<&[u8]>,
    error: Option<ExtendedError<'_>>,
    nsid: Option<&[u8]>,
    limit: usize,
) -> Option<()> {
    let start = writer.position();
    let limit = limit.min(writer.capacity());
    let mut put = |code: u16, parts: [&[u8]; 2]| {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        writer.u16(code)?;
        writer.u16(u16::try_from(length).ok()?)?;
        parts.iter().try_for_each(|part| writer.put(part))?;
        Some(writer.position())
    };
    let mut end = start;
    if let Some(cookie) = cookie {
        end = put(OPTION_COOKIE, [cookie, &[]])?;
    }
    if let Some(error) = error {
        let code = error.code.to_be_bytes();
        let texts = [error.text, ""];
        let fitting = texts
            .iter()
            .find(|text| end + OPTION + 2 + text.len() <= limit);
        if let Some(text) = fitting {
            end = put(OPTION_EXTENDED_ERROR, [&code, text.as_bytes()])?;
        }
    }
    if let Some(nsid) = nsid.filter(|nsid| end + OPTION + nsid.len() <= limit) {
        end = put(OPTION_NSID, [nsid, &[]])?;
    }
    let length = u16::try_from(end - start).ok()?;
    writer.patch(start - 2, &length.to_be_bytes())
}

/// Octets of the OPT record that an answer needs at least.
#[inline]
fn opt_len(query: &Query<'_>, exchange: &Exchange<'_>) -> usize {
    match (query.edns(), exchange.cookie.answer()) {
        (None, _) => 0,
        (Some(_), None) => OPT,
        (Some(_), Some(cookie)) => OPT + OPTION + cookie.len(),
    }
}
