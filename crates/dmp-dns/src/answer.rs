//! The answer to a query, as a pure function from what the zone holds to the bytes that go out (node.md 2.3-2.7, 2.9).
//!
//! Nothing is allocated. What is hot (a TXT RRset that exists) is one lookup and a copy; everything else shares the same
//! writer. Rate limits, cookies and signatures are the caller's: it may decide before ([`truncated`], [`respond`]) and sign after.

use core::net::IpAddr;

use crate::limits;
use crate::name::{self, Name};
use crate::query::{Query, starts_with_mailbox};
use crate::rcode::{Class, Opcode, Rcode, Rtype};
use crate::txt::PackedRrset;
use crate::wire::Writer;

/// Extended DNS error option (RFC 8914 2).
pub(crate) const OPTION_EXTENDED_ERROR: u16 = 15;
/// Seconds of the SOA: how secondaries would behave (node.md 2.4).
const SOA_REFRESH: u32 = 3600;
const SOA_RETRY: u32 = 600;
const SOA_EXPIRE: u32 = 604_800;

/// What the server holds. Owners are lower-cased, uncompressed wire form ([`Query::lower_name`]).
pub trait ZoneView {
    /// The TXT RRset at this owner. Expired values may be in it; an RRset of nothing else counts as absent.
    fn txt(&self, owner: &[u8]) -> Option<PackedRrset<'_>>;

    /// Whether a value live at `now` is stored strictly below this name.
    fn has_below(&self, owner: &[u8], now: u64) -> bool;

    /// On whose behalf this server answers for the name (node.md 2.3, cases 1 to 4). Not asked for names that hold live values.
    fn authority(&self, name: &[u8]) -> Authority<'_>;

    /// Longest TTL in seconds of any served record (`DMP_DNS_TTL`).
    fn ttl(&self) -> u32;
}

/// The answer to [`ZoneView::authority`].
#[derive(Clone, Copy)]
pub enum Authority<'a> {
    /// Under a served apex; its SOA goes with every negative answer.
    Zone {
        /// The zone's own records.
        apex: &'a Apex,
        /// SERIAL of its SOA now: the content counter (D23).
        serial: u32,
    },
    /// Under a name that an operator publishes here without serving its zone, or anywhere while no zone is configured: authoritative, no SOA.
    Hosted,
    /// Somebody else's: REFUSED.
    Elsewhere,
}

/// The records of a served apex that come from the configuration (node.md 2.4).
#[derive(Clone, Debug)]
pub struct Apex {
    /// The zone name, lower case.
    pub name: Name,
    /// MNAME of the SOA: the first name server, else the node's host name, else the apex.
    pub primary: Name,
    /// RNAME of the SOA.
    pub mailbox: Name,
    /// NS RRset, in order; addresses only for targets inside the zone, where they are served and given as glue.
    pub name_servers: Vec<NameServer>,
    /// A and AAAA of the apex.
    pub addresses: Vec<IpAddr>,
}

/// One target of the apex's NS RRset.
#[derive(Clone, Debug)]
pub struct NameServer {
    /// NSDNAME, lower case.
    pub name: Name,
    /// Its addresses, if the name lies inside the zone and is this node; otherwise empty.
    pub addresses: Vec<IpAddr>,
}

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

/// Answers a query into `out`: one lookup with the lower-cased name, then the bytes.
///
/// UPDATE has its own walk ([`crate::update`]); any other opcode than QUERY is answered NOTIMP here.
pub fn answer<V: ZoneView + ?Sized>(
    view: &V,
    query: &Query<'_>,
    exchange: Exchange,
    out: &mut [u8],
) -> Answered {
    let mut buffer = [0; limits::NAME];
    let owner = query.lower_name(&mut buffer);
    answer_located(view, query, owner, view.txt(owner), exchange, out)
}

/// [`answer`] for a caller that has looked the name up already, as a batch does whose memory accesses overlap:
/// `owner` is [`Query::lower_name`], `located` what [`ZoneView::txt`] would return for it.
pub fn answer_located<V: ZoneView + ?Sized>(
    view: &V,
    query: &Query<'_>,
    owner: &[u8],
    located: Option<PackedRrset<'_>>,
    exchange: Exchange,
    out: &mut [u8],
) -> Answered {
    if let Err(reply) = check_request(query) {
        return respond(query, reply, exchange, out);
    }
    let live = located
        .map(|rrset| (rrset, rrset.live(exchange.now)))
        .filter(|(_, live)| live.count > 0);
    let (Some((rrset, live)), Rtype::TXT) = (live, query.rtype()) else {
        return answer_cold(view, query, owner, live.is_some(), exchange, out);
    };
    let rotation = usize::from(query.id()) % usize::from(live.count);
    let ttl = live.shortest.min(view.ttl()).max(1).to_be_bytes();
    let limit = exchange.limit(query);
    write(query, exchange, out, Head::NOERROR, |writer| {
        if writer.position() + live.octets > limit {
            return None;
        }
        // Any order is right (RFC 2181 5); beginning elsewhere each time lets every value be first for somebody.
        let rotated = rrset
            .live_records(exchange.now)
            .skip(rotation)
            .chain(rrset.live_records(exchange.now).take(rotation));
        for (record, _) in rotated {
            let at = writer.position();
            writer.put(record)?;
            writer.patch(at + 6, &ttl)?;
        }
        Some(Counts {
            answer: live.count,
            ..Counts::default()
        })
    })
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
    fn limit(&self, query: &Query<'_>) -> usize {
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

impl Apex {
    /// Addresses served at `owner`: the apex's own, or those of a name server inside the zone.
    fn addresses_at(&self, owner: &[u8]) -> &[IpAddr] {
        if self.name.as_wire() == owner {
            return &self.addresses;
        }
        let server = self
            .name_servers
            .iter()
            .find(|server| server.name.as_wire() == owner);
        server.map_or(&[], |server| &server.addresses)
    }

    /// Whether a configured record makes this name exist: the apex, and name servers with addresses and what lies above them.
    fn makes_exist(&self, owner: &[u8]) -> bool {
        let above = |server: &NameServer| {
            !server.addresses.is_empty() && name::is_under(server.name.as_wire(), owner)
        };
        self.name.as_wire() == owner || self.name_servers.iter().any(above)
    }
}

/// Header bits and OPT of an answer.
#[derive(Clone, Copy)]
struct Head<'e> {
    rcode: Rcode,
    standing: Standing,
    truncated: bool,
    error: Option<ExtendedError<'e>>,
}

impl Head<'_> {
    const NOERROR: Self = Self {
        rcode: Rcode::NOERROR,
        standing: Standing::Authoritative,
        truncated: false,
        error: None,
    };
}

/// How many records the body of an answer put into each section.
#[derive(Default)]
struct Counts {
    answer: u16,
    authority: u16,
    additional: u16,
}

/// What can be said of a request without looking anything up (node.md 2.9).
fn check_request(query: &Query<'_>) -> Result<(), Reply<'static>> {
    let refuse = |rcode, error: Option<u16>| {
        let error = error.map(|code| ExtendedError { code, text: "" });
        Err(Reply {
            rcode,
            standing: Standing::NotAuthoritative,
            error,
        })
    };
    if query.edns().is_some_and(|edns| edns.version > 0) {
        return refuse(Rcode::BADVERS, None); // RFC 6891 6.1.3
    }
    if query.opcode() != Opcode::QUERY {
        return refuse(Rcode::NOTIMP, None);
    }
    if !query.has_question() {
        return refuse(Rcode::FORMERR, None); // RFC 9619 4
    }
    if query.class() != Class::IN {
        return refuse(Rcode::REFUSED, Some(ExtendedError::NOT_AUTHORITATIVE));
    }
    match query.rtype() {
        Rtype(0) | Rtype::OPT | Rtype::TSIG | Rtype::TKEY | Rtype::NXNAME => {
            refuse(Rcode::FORMERR, None)
        }
        Rtype::MAILA | Rtype::MAILB => refuse(Rcode::NOTIMP, None),
        Rtype::AXFR | Rtype::IXFR => refuse(Rcode::REFUSED, Some(ExtendedError::NOT_SUPPORTED)),
        _ => Ok(()),
    }
}

/// Everything but a TXT RRset that exists: the apex's records, ANY, and the three kinds of "no".
fn answer_cold<V: ZoneView + ?Sized>(
    view: &V,
    query: &Query<'_>,
    owner: &[u8],
    has_txt: bool,
    exchange: Exchange,
    out: &mut [u8],
) -> Answered {
    let zone = match view.authority(owner) {
        Authority::Zone { apex, serial } => Some((apex, serial)),
        Authority::Elsewhere if !has_txt => {
            let error = Some(ExtendedError {
                code: ExtendedError::NOT_AUTHORITATIVE,
                text: "",
            });
            let reply = Reply {
                rcode: Rcode::REFUSED,
                standing: Standing::NotAuthoritative,
                error,
            };
            return respond(query, reply, exchange, out);
        }
        Authority::Hosted | Authority::Elsewhere => None,
    };
    let ttl = view.ttl();
    let rtype = query.rtype();
    let addresses = zone.map_or(&[][..], |(apex, _)| apex.addresses_at(owner));
    let at_apex = zone.filter(|(apex, _)| apex.name.as_wire() == owner);

    let exists = has_txt
        || zone.is_some_and(|(apex, _)| apex.makes_exist(owner))
        || view.has_below(owner, exchange.now);
    // D23: a resolver that minimises names asks other types and bare mailboxes first, and would keep NXDOMAIN for all below.
    let is_mailbox = || {
        zone.is_some_and(|(apex, _)| {
            starts_with_mailbox(owner) && name::parent(owner) == Some(apex.name.as_wire())
        })
    };
    let missing = !exists && rtype == Rtype::TXT && !is_mailbox();
    let head = Head {
        rcode: if missing {
            Rcode::NXDOMAIN
        } else {
            Rcode::NOERROR
        },
        ..Head::NOERROR
    };

    write(query, exchange, out, head, |writer| {
        let mut records = Records { writer, owner, ttl };
        let mut counts = Counts::default();
        match (rtype, at_apex) {
            (Rtype::A | Rtype::AAAA, _) => {
                counts.answer = records.addresses(owner, addresses, Some(rtype))?
            }
            (Rtype::NS, Some((apex, _))) => {
                for server in &apex.name_servers {
                    records.record(owner, Rtype::NS, |records| {
                        records.name(server.name.as_wire())
                    })?;
                    counts.answer += 1;
                }
                for server in &apex.name_servers {
                    counts.additional +=
                        records.addresses(server.name.as_wire(), &server.addresses, None)?;
                }
            }
            (Rtype::SOA, Some((apex, serial))) => {
                records.soa(apex, serial)?;
                counts.answer = 1;
            }
            (Rtype::ANY, _) if has_txt || at_apex.is_some() || !addresses.is_empty() => {
                // RFC 8482 4.2: who asks for everything gets next to nothing.
                records.record(owner, Rtype::HINFO, |records| {
                    records.writer.put(b"\x07RFC8482\x00")
                })?;
                counts.answer = 1;
            }
            _ => {}
        }
        if let (0, Some((apex, serial))) = (counts.answer, zone) {
            records.soa(apex, serial)?; // RFC 2308 3
            counts.authority = 1;
        }
        Some(counts)
    })
}

/// Writes records behind a question, compressing names against QNAME.
struct Records<'w, 'b> {
    writer: &'w mut Writer<'b>,
    owner: &'w [u8],
    ttl: u32,
}

impl Records<'_, '_> {
    /// A name; the longest suffix it shares with QNAME becomes a pointer (RFC 1035 4.1.4).
    fn name(&mut self, mut wire: &[u8]) -> Option<()> {
        while let Some(behind) = name::parent(wire) {
            if name::is_under(self.owner, wire) {
                let offset = limits::HEADER + self.owner.len().checked_sub(wire.len())?;
                return self.writer.u16(0xc000 | offset as u16);
            }
            self.writer.put(wire.get(..wire.len() - behind.len())?)?;
            wire = behind;
        }
        self.writer.put(&[0])
    }

    fn record(
        &mut self,
        owner: &[u8],
        rtype: Rtype,
        rdata: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.name(owner)?;
        self.writer.u16(rtype.0)?;
        self.writer.u16(Class::IN.0)?;
        self.writer.u32(self.ttl)?;
        self.writer.u16(0)?;
        let start = self.writer.position();
        rdata(self)?;
        let length = u16::try_from(self.writer.position() - start).ok()?;
        self.writer.patch(start - 2, &length.to_be_bytes())
    }

    /// A and AAAA records of `addresses`, or those of one of both types. Returns their count.
    fn addresses(
        &mut self,
        owner: &[u8],
        addresses: &[IpAddr],
        only: Option<Rtype>,
    ) -> Option<u16> {
        let mut count = 0;
        for address in addresses {
            let rtype = if address.is_ipv4() {
                Rtype::A
            } else {
                Rtype::AAAA
            };
            if only.is_none_or(|only| only == rtype) {
                self.record(owner, rtype, |records| match address {
                    IpAddr::V4(address) => records.writer.put(&address.octets()),
                    IpAddr::V6(address) => records.writer.put(&address.octets()),
                })?;
                count += 1;
            }
        }
        Some(count)
    }

    fn soa(&mut self, apex: &Apex, serial: u32) -> Option<()> {
        self.record(apex.name.as_wire(), Rtype::SOA, |records| {
            records.name(apex.primary.as_wire())?;
            records.name(apex.mailbox.as_wire())?;
            let minimum = records.ttl;
            for value in [serial, SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, minimum] {
                records.writer.u32(value)?;
            }
            Some(())
        })
    }
}

/// Echoes the question, lets `body` write records, appends OPT, then fills in the header. A body that does not fit
/// becomes TC=1 over UDP and SERVFAIL over TCP (node.md 2.6).
fn write(
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
    // Opcode and RD are the query's; RA, Z, AD and CD stay clear (node.md 2.5).
    writer.patch(
        2,
        &[
            0x80 | flags & 0x79 | authoritative | truncated,
            (head.rcode.0 & 15) as u8,
        ],
    )?;
    writer.patch(4, &u16::from(query.has_question()).to_be_bytes())?;
    writer.patch(6, &counts.answer.to_be_bytes())?;
    writer.patch(8, &counts.authority.to_be_bytes())?;
    let additional = counts.additional + u16::from(query.edns().is_some());
    writer.patch(10, &additional.to_be_bytes())
}

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
    writer.put(&[0])?;
    writer.u16(Rtype::OPT.0)?;
    writer.u16(exchange.transport.payload())?;
    writer.put(&[(head.rcode.0 >> 4) as u8, 0, dnssec_ok, 0])?;
    let Some(error) = head.error else {
        return writer.u16(0);
    };
    let length = u16::try_from(error.text.len() + 2).ok()?;
    writer.u16(length + 4)?;
    writer.u16(OPTION_EXTENDED_ERROR)?;
    writer.u16(length)?;
    writer.u16(error.code)?;
    writer.put(error.text.as_bytes())
}

fn opt_len(query: &Query<'_>, head: &Head<'_>) -> usize {
    match (query.edns(), head.error) {
        (None, _) => 0,
        (Some(_), None) => 11,
        (Some(_), Some(error)) => 17 + error.text.len(),
    }
}
