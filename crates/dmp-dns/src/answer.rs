//! The answer to a query, as a pure function from what the zone holds to the bytes that go out (node.md 2.3-2.7, 2.9).
//!
//! Nothing is allocated. What is hot (a TXT RRset that exists) is one lookup and a copy; everything else shares the same
//! writer. Rate limits, cookies and signatures are the caller's: it may decide before ([`respond`]), replace the answer ([`slipped`]) and sign after.

use core::net::IpAddr;

pub use crate::reply::{
    AnswerClass, Answered, Exchange, ExtendedError, Reply, Standing, Transport, respond, slipped,
};

use crate::cookie::Proof;
use crate::limits;
use crate::name::{self, Name};
use crate::query::{Query, starts_with_mailbox};
use crate::rcode::{Class, Opcode, Rcode, Rtype};
use crate::reply::{Counts, Head, write, write_records};
use crate::txt::{PackedRrset, TTL_AT};
use crate::wire::Writer;

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

/// Answers a query into `out`: one lookup with the lower-cased name, then the bytes.
///
/// UPDATE has its own walk ([`crate::update`]); any other opcode than QUERY is answered NOTIMP here.
pub fn answer<V: ZoneView + ?Sized>(
    view: &V,
    query: &Query<'_>,
    exchange: Exchange<'_>,
    out: &mut [u8],
) -> Answered {
    let mut buffer = [0; limits::NAME + 1];
    let owner = query.lower_name(&mut buffer);
    answer_located(view, query, owner, view.txt(owner), &exchange, out)
}

/// [`answer`] for a caller that has looked the name up already, as a batch does whose memory accesses overlap:
/// `owner` is [`Query::lower_name`], `located` what [`ZoneView::txt`] would return for it.
pub fn answer_located<V: ZoneView + ?Sized>(
    view: &V,
    query: &Query<'_>,
    owner: &[u8],
    located: Option<PackedRrset<'_>>,
    exchange: &Exchange<'_>,
    out: &mut [u8],
) -> Answered {
    let is_usual = query.opcode() == Opcode::QUERY
        && query.class() == Class::IN
        && query.rtype() == Rtype::TXT
        && query.edns().is_none_or(|edns| edns.version == 0);
    if !is_usual && let Err(reply) = check_request(query, &exchange.cookie) {
        return respond(query, reply, *exchange, out);
    }
    let live = located
        .map(|rrset| (rrset, rrset.live(exchange.now)))
        .filter(|(_, live)| live.count > 0);
    let (Some((rrset, live)), Rtype::TXT) = (live, query.rtype()) else {
        return answer_cold(view, query, owner, live.is_some(), exchange, out);
    };
    let ttl = live.shortest.min(view.ttl()).max(1);
    // Any order is right (RFC 2181 5); beginning elsewhere each time lets every value be first for somebody.
    let rotated = || {
        let records = || rrset.live_records(exchange.now).map(|(record, _)| record);
        let rotation = usize::from(query.id() % live.count);
        records().skip(rotation).chain(records().take(rotation))
    };
    let written = match live.count {
        1 => write_records(
            query,
            exchange,
            out,
            live.octets,
            ttl,
            [live.first].into_iter(),
        ),
        _ => write_records(query, exchange, out, live.octets, ttl, rotated()),
    };
    if let Some(answered) = written {
        return answered;
    }
    let limit = exchange.limit(query);
    write(query, exchange, out, Head::NOERROR, |writer| {
        if writer.position() + live.octets > limit {
            return None;
        }
        for record in rotated() {
            let at = writer.position();
            writer.put(record)?;
            writer.patch(at + TTL_AT, &ttl.to_be_bytes())?;
        }
        Some(Counts {
            answer: live.count,
            ..Counts::default()
        })
    })
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

/// What can be said of a request without looking anything up (node.md 2.9).
fn check_request(query: &Query<'_>, cookie: &Proof) -> Result<(), Reply<'static>> {
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
    if query.is_cookie_query() {
        // RFC 7873 5.4. A server without cookies finds no question here.
        match cookie {
            Proof::Absent => {}
            Proof::Wrong(_) => return refuse(Rcode::BADCOOKIE, None),
            Proof::First(_) | Proof::Valid(_) => return refuse(Rcode::NOERROR, None),
        }
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
    exchange: &Exchange<'_>,
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
            return respond(query, reply, *exchange, out);
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
