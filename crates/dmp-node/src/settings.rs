//! What the DNS half of the node is told at start: plain values, already validated.
//!
//! It reads no environment and no file; `config` does and fills this in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dmp_dns::cookie::Secrets;

use crate::config::Prefix;
use crate::limits;
use crate::zone::Owner;

/// Everything the store, the zone, access control and the listeners need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Database file (`DMP_DB_PATH`); its directory is created.
    pub database: PathBuf,
    /// Tables of other modules, created when the store opens (`CREATE TABLE IF NOT EXISTS ...`).
    pub schema: Vec<&'static str>,
    /// How often expired rows leave the file (`DMP_CLEANUP_INTERVAL`); they are invisible at once.
    pub cleanup_interval: Duration,
    /// Address of both listeners; port 0 lets the kernel choose for UDP, TCP then takes the same number (node.md 2.1).
    pub dns: SocketAddr,
    /// UDP threads, each with its own socket; at least 1.
    pub udp_threads: usize,
    /// The one served zone (node.md 2.3), or none: zone-less mode.
    pub zone: Option<Owner>,
    /// Records at the apex that do not come from the store.
    pub apex: Apex,
    /// Served TTL and SOA minimum in seconds (`DMP_DNS_TTL`).
    pub served_ttl: u32,
    /// Answers of one kind a second to one prefix over UDP, requests a second of one prefix over TCP; 0 switches the
    /// limit off.
    pub dns_rate: f64,
    /// Burst of the same; 0 switches the limit off.
    pub dns_burst: f64,
    /// Which addresses count as one client.
    pub dns_prefixes: PrefixLengths,
    /// Addresses without a limit.
    pub dns_rate_exempt: Vec<Prefix>,
    /// Secrets of cookies that several nodes share; `None`: random ones that change daily.
    pub cookie_secrets: Option<Secrets>,
    /// What the node tells who asks for its identifier (RFC 5001), at most [`limits::NSID_OCTETS`].
    pub nsid: Option<Vec<u8>>,
    /// Largest answer over UDP: 512 to 1232 octets (D12).
    pub udp_payload: u16,
    /// Requests in work at the same time over TCP (`DMP_DNS_MAX_CONCURRENCY`).
    pub max_concurrency: usize,
    /// Open TCP connections; `None`: eight for each request in work, and 256 at least (node.md 2.8).
    pub tcp_connections: Option<usize>,
    /// Open TCP connections of one prefix.
    pub tcp_connections_per_prefix: usize,
    /// Whether UPDATE is served at all (`DMP_DNS_UPDATE_ENABLED`).
    pub update: bool,
    /// Roles and bounds of unsigned claims.
    pub claims: Claims,
    /// Bounds on what writers store.
    pub caps: Caps,
    /// Whether other nodes take over what is stored here, so that deletes must leave a trace for them (D24).
    pub replicates: bool,
}

/// Leading bits of an address that make a client (node.md 2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLengths {
    /// Of IPv4: at most 32.
    pub v4: u8,
    /// Of IPv6: at most 128.
    pub v6: u8,
}

/// Apex records (node.md 2.4).
#[derive(Clone, Debug, Default)]
pub struct Apex {
    /// `DMP_DNS_APEX_A`.
    pub a: Option<Ipv4Addr>,
    /// `DMP_DNS_APEX_AAAA`.
    pub aaaa: Option<Ipv6Addr>,
    /// `DMP_DNS_APEX_NS`, in order; the first is the SOA's MNAME.
    pub ns: Vec<Owner>,
    /// `DMP_DNS_APEX_SOA_RNAME`; absent means `hostmaster.<apex>` (D23).
    pub soa_rname: Option<Owner>,
    /// `DMP_NODE_HOSTNAME` as a DNS name; MNAME when no NS is set (D23).
    pub hostname: Option<Owner>,
}

/// Un-TSIG'd claims (node.md 3.5).
#[derive(Clone, Debug)]
pub struct Claims {
    /// Open provider: claims for anybody (D11: off by default).
    pub provider: bool,
    /// Receiver zone: claims for users registered here (D11: on by default).
    pub receiver: bool,
    /// Longest remaining life of a claim in seconds; `None` = no bound.
    pub max_ttl: Option<u64>,
    /// Claims a second for one recipient; 0 switches the limit off.
    pub rate: f64,
    /// Burst for one recipient; 0 switches the limit off.
    pub burst: f64,
}

/// Bounds on writers (node.md 3.3); `None` = no bound.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Longest TTL in seconds.
    pub max_ttl: Option<u64>,
    /// Longest value in bytes.
    pub max_value_bytes: Option<u64>,
    /// Most live values at one name.
    pub max_values_per_name: Option<u64>,
    /// Most live values of one writer in one mailbox (D13).
    pub max_values_per_writer_per_mailbox: Option<u64>,
    /// Most values in the whole store.
    pub max_records: Option<u64>,
    /// Most octets that the database uses; one group of writes may go beyond it.
    pub max_database_bytes: Option<u64>,
}

impl Settings {
    /// Seconds for which a delete is remembered at least: as long as a value may live elsewhere. `None`: it is not.
    pub(crate) fn tombstone_life(&self) -> Option<u64> {
        let life = self.caps.max_ttl.unwrap_or(limits::MAX_TTL).max(1);
        self.replicates.then_some(life)
    }
}

impl Default for Settings {
    /// Loopback, kernel-chosen port, `dmp.db` in the current directory, UPDATE off.
    fn default() -> Self {
        Self {
            database: PathBuf::from("dmp.db"),
            schema: Vec::new(),
            cleanup_interval: Duration::from_secs(60),
            dns: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            udp_threads: std::thread::available_parallelism().map_or(1, usize::from),
            zone: None,
            apex: Apex::default(),
            served_ttl: limits::SERVED_TTL,
            dns_rate: limits::DNS_RATE,
            dns_burst: limits::DNS_BURST,
            dns_prefixes: PrefixLengths::default(),
            dns_rate_exempt: Vec::new(),
            cookie_secrets: None,
            nsid: None,
            udp_payload: limits::UDP_ANSWER_OCTETS as u16,
            max_concurrency: 128,
            tcp_connections: None,
            tcp_connections_per_prefix: limits::TCP_PER_PREFIX,
            update: false,
            claims: Claims::default(),
            caps: Caps::default(),
            replicates: false,
        }
    }
}

impl Default for PrefixLengths {
    fn default() -> Self {
        let (v4, v6) = limits::PREFIX_BITS;
        Self { v4, v6 }
    }
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            provider: false,
            receiver: true,
            max_ttl: Some(limits::CLAIM_MAX_TTL),
            rate: limits::CLAIM_RATE,
            burst: limits::CLAIM_BURST,
        }
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            max_ttl: Some(limits::MAX_TTL),
            max_value_bytes: Some(limits::MAX_VALUE_BYTES),
            max_values_per_name: Some(limits::MAX_VALUES_PER_NAME),
            max_values_per_writer_per_mailbox: Some(limits::MAX_VALUES_PER_WRITER_PER_MAILBOX),
            max_records: Some(limits::MAX_RECORDS),
            max_database_bytes: Some(limits::MAX_DATABASE_BYTES),
        }
    }
}
