//! Deadlines, rates and sizes of this crate, each with where it comes from.

use std::time::Duration;

/// One try at one upstream of a pool (federation.md 7.4).
pub const POOL_TRY: Duration = Duration::from_secs(5);
/// All tries at one upstream of a pool (federation.md 7.4).
pub const POOL_TOTAL: Duration = Duration::from_secs(10);
/// One try at the single system resolver (client.md 4.1).
pub const SYSTEM_TRY: Duration = Duration::from_secs(3);
/// All tries at the single system resolver (client.md 4.1).
pub const SYSTEM_TOTAL: Duration = Duration::from_secs(6);
/// How long an upstream may be silent before the next one is asked beside it: longer than a recursive resolver near by
/// takes for a name it does not know yet, shorter than anybody notices.
pub const HEDGE: Duration = Duration::from_millis(500);
/// Upstreams that one query has in flight at most: the spare one, and one more in case the spare one is dead too.
pub const HEDGED: usize = 3;
/// One query over all upstreams: one that takes all its tries, and another one after it.
pub const LOOKUP: Duration = Duration::from_secs(20);
/// How long an upstream that failed is asked last (federation.md 7.1).
pub const COOLDOWN: Duration = Duration::from_secs(60);
/// Timeouts in a row after which a run stops asking an upstream (client.md 11).
pub const TIMEOUTS_PER_RUN: u32 = 2;
/// Octets of a datagram that are read: twice the largest that a query ever allows its answer (4 096). A longer one is cut off, cannot be read
/// then, and counts for nothing.
pub const DATAGRAM: usize = 8192;
/// Queries that may go to one upstream at once: below the 200 a node takes before it falls silent (client.md 4.1).
pub const PACE_BURST: u32 = 150;
/// Queries a second to one upstream after that (client.md 4.1).
pub const PACE_PER_SECOND: u32 = 50;
/// The same at an upstream that looks things up for others, so that it expects many queries from one address.
pub const RESOLVER_PACE_PER_SECOND: u32 = 1000;
/// The same at one that speaks for its own zones and has given a cookie, which lifts a node's limit for addresses (D12): more than 16
/// queries in flight need at a millisecond each, so that what the node can do is the bound.
pub const PROVEN_PACE_PER_SECOND: u32 = 16_000;
/// An UPDATE over UDP, and again over TCP (client.md 4.4).
pub const UPDATE: Duration = Duration::from_secs(5);
/// Octets of an UPDATE that still goes over UDP, its TSIG record included (client.md 4.4).
pub const UPDATE_UDP: usize = dmp_dns::limits::UDP;
/// Servers, each from one own address, of which something is remembered; beyond it all are learnt anew. More than a pool
/// has upstreams, less than a kilobyte each.
pub const PEER_PATHS: usize = 256;
/// Octets of an answer that a scan asks for to see whether fragments come through: what servers used to advertise before 2020.
pub const LARGE_PAYLOAD: u16 = 4096;
/// Port of a DNS server where none is written.
pub(crate) const DNS_PORT: u16 = 53;
/// Port of DNS over TLS where none is written (RFC 7858 3.1).
pub(crate) const TLS_PORT: u16 = 853;
/// Port of DNS over HTTPS where none is written.
pub(crate) const HTTPS_PORT: u16 = 443;
/// Questions that wait to be written to one TLS connection; more than a client has in flight (client.md 11).
pub(crate) const PIPELINE: usize = 64;
/// Where the system says which resolvers it uses.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Name servers of a host that are tried when it has no address of its own: with two queries for each, two for the host and one
/// for its servers, fifteen queries at most, so that nobody's delegation makes this client a weapon (NXNSAttack, TsuNAME).
pub const NAME_SERVERS: usize = 6;
/// All of that.
pub const TARGET: Duration = Duration::from_secs(20);

/// How long a UDP message may stay unanswered before the identical message goes out once more: 2 s of a try of 5 s (client.md 4.4).
pub fn retransmit(timeout: Duration) -> Duration {
    timeout * 2 / 5
}

/// The same for a query, which costs a server less: 1 s of a try of 5 s.
pub fn retransmit_query(timeout: Duration) -> Duration {
    timeout / 5
}

/// How long a query may stay unanswered over UDP before TCP is tried beside it: 2 s of a try of 5 s, when the retransmission has
/// had as long as the first message. A server that does not answer at all costs one try so, not two.
pub fn tcp_beside(timeout: Duration) -> Duration {
    timeout * 2 / 5
}

/// How long to wait before an UPDATE that met SERVFAIL is tried again: 1 s of a try of 5 s, so that a busy store or a
/// rate limit has time to recover.
pub fn update_retry(timeout: Duration) -> Duration {
    timeout / 5
}
