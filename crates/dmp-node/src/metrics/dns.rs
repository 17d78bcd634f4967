//! The counters of the DNS service: cells of its own for each thread, summed when somebody asks.

use super::histogram::{Cells, Snapshot};
use super::{DURATIONS, nanoseconds};
use dmp_dns::answer::Transport;
use dmp_dns::query::Query;
use dmp_dns::{Opcode, Rcode, Rtype};
use std::cell::Cell;
use std::marker::PhantomData;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of answers in octets; 512 and 1 232 are the limits over UDP.
pub(super) const SIZES: [u64; 9] = [64, 128, 256, 512, 1_232, 4_096, 16_384, 32_768, 65_535];
/// Values of the label `proto`.
pub(super) const PROTOCOLS: [&str; 2] = ["udp", "tcp"];
/// Values of the label `family`, as CoreDNS writes them: IPv4 and IPv6.
const FAMILIES: [&str; 2] = ["1", "2"];
/// Response codes with a cell each; the last is for all others.
const RCODES: [&str; 13] = [
    "noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "yxdomain", "yxrrset",
    "nxrrset", "notauth", "notzone", "badvers", "other",
];

/// What a request asks for, coarsely: opcode and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    A,
    Aaaa,
    Any,
    Ns,
    Soa,
    Txt,
    OtherType,
    Update,
    OtherOpcode,
    /// Refused before, or because, it could not be read.
    Unread,
}

const KINDS: [(&str, &str); 10] = [
    ("QUERY", "A"),
    ("QUERY", "AAAA"),
    ("QUERY", "ANY"),
    ("QUERY", "NS"),
    ("QUERY", "SOA"),
    ("QUERY", "TXT"),
    ("QUERY", "other"),
    ("UPDATE", "none"),
    ("other", "none"),
    ("unread", "none"),
];

impl Kind {
    #[inline]
    pub(crate) fn of(query: &Query<'_>) -> Self {
        match query.opcode() {
            Opcode::QUERY => match query.rtype() {
                Rtype::TXT => Self::Txt,
                Rtype::A => Self::A,
                Rtype::AAAA => Self::Aaaa,
                Rtype::ANY => Self::Any,
                Rtype::NS => Self::Ns,
                Rtype::SOA => Self::Soa,
                _ => Self::OtherType,
            },
            Opcode::UPDATE => Self::Update,
            _ => Self::OtherOpcode,
        }
    }
}

/// A request as it is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    protocol: usize,
    family: usize,
    kind: Kind,
}

impl Request {
    pub(crate) fn transport(self) -> Transport {
        match self.protocol {
            0 => Transport::UDP,
            _ => Transport::Tcp,
        }
    }

    /// A request from `peer`, IPv4 mapped into IPv6.
    #[inline]
    pub(crate) fn new(transport: Transport, peer: Ipv6Addr, kind: Kind) -> Self {
        let protocol = usize::from(matches!(transport, Transport::Tcp));
        let family = usize::from(u128::from(peer) >> 32 != 0xffff);
        Self {
            protocol,
            family,
            kind,
        }
    }
}

/// What became of a request: the label `outcome` of node.md 6.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered on its merits: the response code says how.
    Answered,
    /// Its signature does not hold.
    TsigFailed,
    /// It cannot be read.
    Malformed,
    /// Its sender asks too often.
    RateLimited,
}

const OUTCOMES: [&str; 3] = ["tsig_failed", "malformed", "rate_limited"];

/// The cells of one thread, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct DnsCells {
    requests: [[[AtomicU64; KINDS.len()]; FAMILIES.len()]; PROTOCOLS.len()],
    /// Answers whose outcome is their response code.
    answered: [[AtomicU64; RCODES.len()]; PROTOCOLS.len()],
    /// Answers whose outcome is something else.
    otherwise: [[AtomicU64; RCODES.len()]; PROTOCOLS.len()],
    outcomes: [AtomicU64; OUTCOMES.len()],
    sizes: [Cells<{ SIZES.len() }>; PROTOCOLS.len()],
    /// Queries, then updates.
    durations: [[Cells<{ DURATIONS.len() }>; 2]; PROTOCOLS.len()],
}

/// Counts DNS requests in some cells.
pub(crate) trait DnsTally {
    fn cells(&self) -> &DnsCells;

    /// Adds to one of [`DnsTally::cells`].
    fn add(&self, cell: &AtomicU64, by: u64);

    /// Counts a request and what became of it.
    #[inline]
    fn request(&self, request: Request, outcome: Outcome) {
        let cells = self.cells();
        let Request {
            protocol,
            family,
            kind,
        } = request;
        self.add(&cells.requests[protocol][family][kind as usize], 1);
        let special = match outcome {
            Outcome::Answered => return,
            Outcome::TsigFailed => 0,
            Outcome::Malformed => 1,
            Outcome::RateLimited => 2,
        };
        self.add(&cells.outcomes[special], 1);
    }

    /// Counts an answer of `octets` to it.
    #[inline]
    fn answer(&self, request: Request, outcome: Outcome, rcode: Rcode, octets: usize) {
        let cells = self.cells();
        let protocol = request.protocol;
        let by_rcode = match outcome {
            Outcome::Answered => &cells.answered[protocol],
            _ => &cells.otherwise[protocol],
        };
        let rcode = match rcode {
            Rcode(code @ 0..=10) => usize::from(code),
            Rcode::BADVERS => 11,
            _ => 12,
        };
        self.add(&by_rcode[rcode], 1);
        let sizes = &cells.sizes[protocol];
        self.add(sizes.cell(&SIZES, octets as u64), 1);
        self.add(&sizes.sum, octets as u64);
    }

    /// Counts how long `count` requests of this kind took, each.
    fn took(&self, transport: Transport, kind: Kind, took: Duration, count: usize) {
        let protocol = usize::from(matches!(transport, Transport::Tcp));
        let durations = &self.cells().durations[protocol][usize::from(kind == Kind::Update)];
        let nanoseconds = nanoseconds(took);
        self.add(durations.cell(&DURATIONS, nanoseconds), count as u64);
        self.add(&durations.sum, nanoseconds.saturating_mul(count as u64));
    }
}

/// Cells that only their holder adds to, and so without a locked instruction.
#[derive(Debug)]
pub(crate) struct ThreadTally {
    cells: Arc<DnsCells>,
    /// One thread at a time.
    _alone: PhantomData<Cell<()>>,
}

impl DnsTally for ThreadTally {
    #[inline]
    fn cells(&self) -> &DnsCells {
        &self.cells
    }

    #[inline]
    fn add(&self, cell: &AtomicU64, by: u64) {
        cell.store(
            cell.load(Ordering::Relaxed).wrapping_add(by),
            Ordering::Relaxed,
        );
    }
}

impl DnsTally for DnsCells {
    fn cells(&self) -> &DnsCells {
        self
    }

    fn add(&self, cell: &AtomicU64, by: u64) {
        cell.fetch_add(by, Ordering::Relaxed);
    }
}

/// The cells of all threads.
#[derive(Debug, Default)]
pub(super) struct Dns {
    shared: DnsCells,
    threads: Mutex<Vec<Arc<DnsCells>>>,
}

/// Sums at one moment.
#[derive(Debug, Default)]
pub(super) struct DnsTotals {
    /// By outcome.
    pub(super) outcomes: Vec<(&'static str, u64)>,
    /// By protocol, family, opcode and type.
    pub(super) requests: Vec<([&'static str; 4], u64)>,
    /// By protocol and response code.
    pub(super) responses: Vec<([&'static str; 2], u64)>,
    /// By protocol.
    pub(super) sizes: Vec<(&'static str, Snapshot)>,
    /// By opcode and protocol.
    pub(super) durations: Vec<([&'static str; 2], Snapshot)>,
}

impl Dns {
    pub(super) fn shared(&self) -> &DnsCells {
        &self.shared
    }

    pub(super) fn thread(&self) -> ThreadTally {
        let cells = Arc::<DnsCells>::default();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(Arc::clone(&cells));
        ThreadTally {
            cells,
            _alone: PhantomData,
        }
    }

    pub(super) fn read(&self) -> DnsTotals {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let all =
            || std::iter::once(&self.shared).chain(threads.iter().map(|thread| thread.as_ref()));
        let sum = |cell: &dyn Fn(&DnsCells) -> &AtomicU64| -> u64 {
            all().map(|cells| cell(cells).load(Ordering::Relaxed)).sum()
        };
        let mut totals = DnsTotals::default();
        for (index, rcode) in RCODES.into_iter().enumerate() {
            let answered = [0, 1].map(|p| sum(&|cells| &cells.answered[p][index]));
            totals.outcomes.push((rcode, answered.iter().sum()));
            for (p, proto) in PROTOCOLS.into_iter().enumerate() {
                let otherwise = sum(&|cells| &cells.otherwise[p][index]);
                totals
                    .responses
                    .push(([proto, rcode], answered[p] + otherwise));
            }
        }
        for (index, outcome) in OUTCOMES.into_iter().enumerate() {
            totals
                .outcomes
                .push((outcome, sum(&|cells| &cells.outcomes[index])));
        }
        for (p, proto) in PROTOCOLS.into_iter().enumerate() {
            for (f, family) in FAMILIES.into_iter().enumerate() {
                for (k, (opcode, rtype)) in KINDS.into_iter().enumerate() {
                    let count = sum(&|cells| &cells.requests[p][f][k]);
                    totals
                        .requests
                        .push(([proto, family, opcode, rtype], count));
                }
            }
            let sizes = Cells::read(&SIZES, all().map(|cells| &cells.sizes[p]));
            totals.sizes.push((proto, sizes));
            for (index, opcode) in ["QUERY", "UPDATE"].into_iter().enumerate() {
                let of_opcode = all().map(|cells| &cells.durations[p][index]);
                let durations = Cells::read(&DURATIONS, of_opcode);
                totals.durations.push(([opcode, proto], durations));
            }
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed_with_the_shared_cells() {
        let dns = Dns::default();
        let peer = "::ffff:192.0.2.1".parse().unwrap();
        let request = Request::new(Transport::UDP, peer, Kind::Txt);
        let (one, two) = (dns.thread(), dns.thread());
        for tally in [&one as &dyn DnsTally, &one, &two, dns.shared()] {
            tally.request(request, Outcome::Answered);
            tally.answer(request, Outcome::Answered, Rcode::NXDOMAIN, 100);
        }
        let totals = dns.read();
        assert!(totals.outcomes.contains(&("nxdomain", 4)));
        assert!(totals.responses.contains(&(["udp", "nxdomain"], 4)));
        assert!(totals.requests.contains(&(["udp", "1", "QUERY", "TXT"], 4)));
        assert_eq!(totals.sizes[0].1.sum, 400);
    }

    #[test]
    fn an_answer_that_is_an_outcome_of_its_own_counts_as_response_only() {
        let dns = Dns::default();
        let peer = "2001:db8::1".parse().unwrap();
        let request = Request::new(Transport::Tcp, peer, Kind::Update);
        dns.shared().request(request, Outcome::TsigFailed);
        dns.shared()
            .answer(request, Outcome::TsigFailed, Rcode::NOTAUTH, 60);
        let totals = dns.read();
        assert!(totals.outcomes.contains(&("tsig_failed", 1)));
        assert!(totals.outcomes.contains(&("notauth", 0)));
        assert!(totals.responses.contains(&(["tcp", "notauth"], 1)));
        assert!(
            totals
                .requests
                .contains(&(["tcp", "2", "UPDATE", "none"], 1))
        );
    }
}
