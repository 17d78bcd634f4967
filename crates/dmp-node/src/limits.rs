//! Every bound of the DNS half of the node, with where it comes from.
//!
//! Values an operator may change are the defaults of [`crate::settings::Settings`]; what stands here only is not configurable.

use std::time::Duration;

/// Longest DNS name in wire form (RFC 1035 3.1).
pub const NAME_OCTETS: usize = 255;
/// Longest label (RFC 1035 3.1).
pub const LABEL_OCTETS: usize = 63;
/// Largest DNS message; also the largest datagram read (node.md 2.1).
pub const MESSAGE_OCTETS: usize = 65_535;
/// Largest answer over UDP, whatever the client advertises (D12; DNS flag day 2020).
pub const UDP_ANSWER_OCTETS: usize = 1_232;

/// Served TTL and SOA minimum when `DMP_DNS_TTL` is not set (node.md 2.4).
pub const SERVED_TTL: u32 = 60;
/// Longest TTL a writer may ask for (node.md 3.3).
pub const MAX_TTL: u64 = 86_400;
/// Longest value in UTF-8 bytes (node.md 3.3).
pub const MAX_VALUE_BYTES: u64 = 2_048;
/// Most live values at one name (node.md 3.3).
pub const MAX_VALUES_PER_NAME: u64 = 64;
/// Longest value at all: its RDATA, 255 octets a string, must fit 16 bits of length (RFC 1035 3.2.1).
pub const VALUE_OCTETS: u64 = 65_279;
/// Most octets of values at one name whatever the operator allows: half of the longest block of the index, and sixteen
/// times what an answer can carry.
pub const NAME_CONTENT: u64 = 1 << 20;
/// What one value takes beside its own octets, at most in sum over a name within [`NAME_CONTENT`] (record head, row, writer).
pub const VALUE_OVERHEAD: u64 = 48;
/// Most live values of one writer over the ten slot names of one mailbox (D13): a fifth of what the mailbox holds.
pub const MAX_VALUES_PER_WRITER_PER_MAILBOX: u64 = 128;
/// Octets of one writer at one slot name of another's mailbox (D13): half of what an answer carries, so that no writer alone
/// makes the name too long to be answered.
pub const MAILBOX_NAME_OCTETS: u64 = 32_000;
/// Most values in the store: about a gigabyte of memory, at some 500 octets a name.
pub const MAX_RECORDS: u64 = 2_000_000;
/// Most octets that the database uses: those values at the longest length have room in it.
pub const MAX_DATABASE_BYTES: u64 = 4 << 30;
/// Longest remaining life of an unsigned claim (node.md 3.3).
pub const CLAIM_MAX_TTL: u64 = 86_400;
/// TTL stored when a writer asks for 0 or sets the top bit (node.md 3.2, RFC 2181 8).
pub const DEFAULT_TTL: u64 = 60;

/// Token buckets kept at most (node.md 2.8).
pub const BUCKET_KEYS: usize = 10_000;
/// Requests a second and burst of one prefix: of each kind of answer over UDP, of all together over TCP (node.md 2.8).
pub const DNS_RATE: f64 = 50.0;
/// See [`DNS_RATE`].
pub const DNS_BURST: f64 = 200.0;
/// Buckets of response-rate limiting, 8 octets each: 8 MiB, within what a million prefixes may cost (D12). Beyond it the
/// fullest bucket of eight is forgotten.
pub const RATE_BUCKETS: usize = 1 << 20;
/// Microseconds by which the clocks of UDP threads may differ: each reads the time once a round, and a round ends in
/// much less.
pub const RATE_SKEW: u64 = 60_000_000;
/// Seconds that a secret of our own makes cookies; it is accepted as long again (daily, as RFC 7873 7.1 recommends).
pub const COOKIE_ROTATION: u64 = 86_400;
/// Longest server identifier: enough for a host name, and short beside an answer (RFC 5001 sets no bound).
pub const NSID_OCTETS: usize = 64;
/// Unsigned claims a second and burst for one recipient from one network (node.md 2.8).
pub const CLAIM_RATE: f64 = 0.5;
/// See [`CLAIM_RATE`].
pub const CLAIM_BURST: f64 = 30.0;
/// How many networks' claims one recipient takes at their full rate (W-11): one alone can never use up the limit.
pub const CLAIM_NETWORKS: f64 = 4.0;
/// Unsigned claims a second and at once from one network, for all recipients together (W-11). A day of it is a
/// twentieth of [`MAX_RECORDS`], and it is a five-hundredth of [`CLAIM_VERIFICATIONS`].
pub const CLAIM_SOURCE_RATE: f64 = 1.0;
/// See [`CLAIM_SOURCE_RATE`].
pub const CLAIM_SOURCE_BURST: f64 = 60.0;
/// Signatures of unsigned claims verified a second for senders whose address is proven, and as many for all others:
/// together about a twentieth of one core, so that strangers' claims never crowd out signed writers. Beyond it the answer
/// is SERVFAIL, which senders take as transient (node.md C8).
pub const CLAIM_VERIFICATIONS: f64 = 500.0;
/// Identity records that are verified to find whose a mailbox is (D13): those of a few names of one person, each with what
/// was there before it was published anew. Where more claim one mailbox they exempt nobody.
pub const IDENTITIES_PER_MAILBOX: usize = 16;
/// Live claims of one signing key and network in one mailbox (W-11): a tenth of what its ten names hold.
pub const CLAIMS_PER_SENDER: usize = 64;
/// Part of a claim name that claims from addresses which may be forged can take: a quarter.
pub const UNPROVEN_SHARE: u64 = 4;
/// Part of the store's ceilings up to which strangers' claims are taken: a half.
pub const CLAIM_SHARE: u64 = 2;

/// TSIG time window granted at most, whatever fudge the client asks for (node.md 3.7).
pub const TSIG_FUDGE: u64 = 300;
/// Applied requests remembered against replay, at 16 octets of MAC and a second, some 40 in a table: 80 MiB. That is 7 000 a second
/// for the whole window. Beyond it the window gets shorter for all, see `update::replay`: at 60 000 a second a request
/// must arrive within 35 seconds of its signature.
pub const REPLAY_ENTRIES: usize = 1 << 21;

/// Whole-message deadline of a TCP request once its first octet is there (node.md 2.1).
pub const TCP_MESSAGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a TCP connection may stay silent between requests: from the longer time while there is room down to the
/// shorter when all places are taken (node.md 2.1, RFC 7766 6.2.3).
pub const TCP_IDLE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));
/// Requests served on one TCP connection before it is closed (node.md 2.1: per-connection request cap).
pub const TCP_REQUESTS: usize = 10_000;
/// Requests of one connection in work at the same time; more wait unread, which pushes back on the sender (RFC 7766 6.2.1.1).
pub const TCP_PIPELINE: usize = 32;
/// Octets of answers to one connection that wait for the client to read; no request is read beyond it. The largest
/// answer fits, and so does what a pipeline of ordinary ones needs.
pub const TCP_UNSENT: usize = 65_536;
/// Most simultaneous TCP connections of one prefix: a quarter of the default total of 1 024 would still let four
/// prefixes take everything, an eighth keeps room for strangers.
pub const TCP_PER_PREFIX: usize = 128;
/// Prefix lengths that count as one client (node.md 2.8): IPv4 and IPv6.
pub const PREFIX_BITS: (u8, u8) = (24, 56);

/// Datagrams read or sent by one system call (dns-performance figures: more gains nothing).
pub const BATCH: usize = 64;
/// Kernel buffer asked for each UDP socket, both directions: a burst of a few thousand full-size answers.
pub const SOCKET_BUFFER: usize = 4 << 20;

/// Requests waiting for the writer thread; beyond it new ones are refused at once instead of growing memory.
pub const WRITER_QUEUE: usize = 8_192;
/// Requests joined in one durable commit at most; bounds how long the first of a group waits.
pub const GROUP_REQUESTS: usize = 1_024;
/// How often expired values leave the index and the file.
pub const EXPIRY_TICK: Duration = Duration::from_secs(1);
/// Expired rows deleted in one commit, so that an expiry wave never holds up writers.
pub const EXPIRY_ROWS: usize = 4_096;

/// Rows that share one millisecond in the digest at most: as many as a page of the default length, which reads one such
/// group beyond its end. A million rows a second keep pace with the clock.
pub const ROWS_PER_STAMP: usize = 1_024;
/// Milliseconds by which a row's stamp may be ahead of the clock of who reads it (federation.md 4.10).
pub const STAMP_LEAD: u64 = 60_000;
/// Rows of a digest page that asks for no number, and at most (federation.md 4.9).
pub const DIGEST_ROWS: usize = 1_000;
/// See [`DIGEST_ROWS`].
pub const DIGEST_ROWS_MOST: usize = 10_000;
/// Names in one pull request at most (federation.md 4.9).
pub const PULL_NAMES: usize = 256;
/// Octets of its body: so many names of 253 characters with quotes, comma and space, and room to spare (W2).
pub const PULL_BODY_OCTETS: usize = 72 * 1_024;
/// Octets of the answer to it: eight times the most that one name holds.
pub const PULL_ANSWER_OCTETS: usize = 8 << 20;
/// Requests of peers that read the store at the same time: one reads while another's answer is encoded.
pub const PEER_READINGS: usize = 2;
/// Deletes remembered for other nodes at most: a quarter of [`MAX_RECORDS`], and 50 MiB of memory. Beyond it the oldest
/// are forgotten.
pub const TOMBSTONES: usize = 1 << 19;
/// Seconds by which a value must live longer at another node to be taken over again: what transfers and rounding add
/// (federation.md 4.10).
pub const REPLICATED_LIFE_SLACK: u64 = 5;

/// Largest HTTP request body, in octets (node.md 6.1).
pub const BODY_OCTETS: usize = 16_384;
/// Time to send a request's header, and then its body (node.md 6.1).
pub const HTTP_READ: Duration = Duration::from_secs(10);
/// Age at which an HTTP connection is closed after the request in progress: nobody holds a place for ever by sending
/// one request every few seconds.
pub const HTTP_CONNECTION: Duration = Duration::from_secs(120);
/// Connections at once to the listener for monitors: a scraper and a few probes.
pub const MONITOR_CONNECTIONS: usize = 16;
/// Connections at once to the listener for the peers of a cluster: two of each node that a manifest may have.
pub const PEER_CONNECTIONS: usize = 64;
/// How often the files of certificate and key are looked at: they are renewed days before they expire.
pub const TLS_WATCH: Duration = Duration::from_secs(10);
/// Time that requests in progress get when the node stops (node.md 8).
pub const DRAIN: Duration = Duration::from_secs(10);
/// Header section of a request: names fit 253 characters, tokens 59; the rest is what browsers and proxies add.
pub const HTTP_HEADER_OCTETS: usize = 16_384;

/// Time for one request to a CA.
pub const ACME_REQUEST: Duration = Duration::from_secs(30);
/// Longest answer of a CA: a chain of a few certificates takes some 10 000 octets.
pub const ACME_ANSWER_OCTETS: usize = 1 << 20;
/// Time to obtain a certificate, the CA's validation from several places included.
pub const ACME_ATTEMPT: Duration = Duration::from_secs(600);
/// Seconds after which a proof in the zone ends by itself: as long as an attempt takes at most.
pub const ACME_PROOF_SECONDS: u64 = 600;
/// How often the clock is looked at, and so the shortest time between two attempts.
pub const ACME_LOOK: Duration = Duration::from_secs(60);
/// Seconds after a first failure. With their doubling four attempts fall into the first hour; public CAs allow five failed
/// validations in one.
pub const ACME_RETRY: u64 = 300;
/// Seconds after many failures: twice a day.
pub const ACME_LONGEST_WAIT: u64 = 43_200;
/// Least seconds after the CA said that it is asked too much.
pub const ACME_LIMITED: u64 = 3_600;
/// Seconds for which a CA's word, or a booking of an earlier run, puts the next attempt off at most: a week.
pub const ACME_PATIENCE: u64 = 604_800;

/// Seconds a registration challenge is good for (node.md 6.5).
pub const CHALLENGE_SECONDS: u64 = 60;
/// Challenges waiting at most (node.md 6.5); about 200 octets each.
pub const CHALLENGES: usize = 10_000;
/// Longest local part of a subject that gets a key (D9; RFC 5321 4.5.3.1.1).
pub const SUBJECT_LOCAL_OCTETS: usize = 64;
/// Octets of the local part in a key's label: 63 less `-`, 8 digits, `-` and 16 digits (D9).
pub const KEY_NAME_LOCAL_OCTETS: usize = 37;

/// Octets of the secret of an operator's own key at least: 128 bits, which nobody guesses.
pub const KEY_SECRET_LEAST: usize = 16;
/// Octets of it at most: eight times the block of SHA-512, beyond which HMAC gains nothing; a longer file is not a secret.
pub const KEY_SECRET_MOST: usize = 1_024;

/// Audit rows kept at most (W-14): about 15 MB.
pub const AUDIT_ROWS: i64 = 100_000;
/// Seconds an audit row is kept: 90 days, the default lifetime of a token.
pub const AUDIT_SECONDS: u64 = 7_776_000;
/// Audit rows a second, and at once, about requests that change nothing and cost their sender nothing (W-14).
pub const STRANGER_RATE: f64 = 1.0;
/// See [`STRANGER_RATE`].
pub const STRANGER_BURST: f64 = 60.0;

/// Rows that an import names when it leaves them out; beyond that it only counts them.
pub const REPORTED_ROWS: usize = 100;

/// Connections to the control socket at once: a handful of tools of one operator.
pub const CONTROL_CONNECTIONS: usize = 8;
/// How long a connection to the control socket may stay silent.
pub const CONTROL_IDLE: Duration = Duration::from_secs(60);
/// Longest request on the control socket: names and a note fit many times over.
pub const CONTROL_REQUEST_OCTETS: u64 = 65_536;

/// TTL of the records that a parent zone is asked to hold: an hour, so that a mistake in them is soon forgotten.
pub const DELEGATION_TTL: u32 = 3_600;
/// Servers of a parent zone that are asked: the most that the root and large registries have.
pub const PARENT_SERVERS: usize = 13;

/// Pages (4 KiB) of the write-ahead log after which it is written back: 16 MiB, which is read again in a few hundredths of
/// a second at a start after a crash.
pub const LOG_PAGES: i64 = 4_096;
/// Octets that the log's file keeps after it was longer.
pub const LOG_KEPT_OCTETS: i64 = 64 << 20;
/// Seconds by which a clock that is set may differ from the time that passed before it counts as a jump: a TSIG window,
/// within which signers and node agree about the time.
pub const CLOCK_STEP: u64 = TSIG_FUDGE;
/// How long after a jump nothing that expires is removed: time for an operator, or the time service, to put it right.
pub const CLOCK_HOLD: Duration = Duration::from_secs(3_600);
/// How often the time is written down while nothing else is.
pub const CLOCK_NOTE: u64 = 3_600;
/// Seconds between the last write and a start after which the clock is waited for: twice what a running node lets pass.
pub const CLOCK_GAP: u64 = 2 * CLOCK_NOTE;

/// Empty pages (4 KiB) that the database keeps for what comes next: 4 MiB.
pub const SPARE_PAGES: u64 = 1_024;
/// Pages given back in one commit, so that shrinking never holds up writers: 1 MiB is moved at most.
pub const SHRINK_PAGES: u32 = 256;

/// Life of a heartbeat at most, seconds: what verifiers take (records.md 14).
pub const HEARTBEAT_TTL_MAX: i64 = 30 * 86_400;
/// Rows of the landing page's table of nodes (federation.md 2.11).
pub const HEARTBEAT_LISTED: usize = 500;
/// Values of one name of another zone that a heartbeat round looks at (federation.md 2.7).
pub const HEARTBEAT_VALUES_PER_NAME: usize = 20;
/// Those of one network of zones among them, so that nobody fills a list with names of its own: what most operators have.
pub const HEARTBEAT_PASSED_ON_OF_ONE: usize = 2;
/// Age in seconds up to which others take a heartbeat that is passed on (records.md 14).
pub const HEARTBEAT_FRESH: u64 = 300;
/// Rounds after which a zone that was asked counts as never asked: a day of rounds, the usual life of a heartbeat.
pub const HEARTBEAT_TURNS_KEPT: u64 = 288;
/// Zones asked at the same time: a handful of dead ones must not hold up the round, and no resolver sees a burst.
pub const HEARTBEAT_ZONES_IN_FLIGHT: usize = 8;
/// Heartbeats of others that a node passes on (federation.md 2.10).
pub const HEARTBEAT_PASSED_ON: usize = 50;

/// Letters of the host in the id of a peer that is known by its URL (federation.md 4.8): with `-` and six digits 16, as long as
/// an id of a manifest.
pub const PEER_ID_HOST: usize = 9;
/// Longest URL of a peer: a host of 253 octets with scheme and port; a manifest's are 128 at most.
pub const PEER_URL_OCTETS: usize = 280;
/// Longest token of a cluster: 512 octets, which no generator exceeds.
pub const PEER_TOKEN_OCTETS: usize = 512;

/// Longest page of a digest: its rows take some 460 octets each with the longest name, and reference nodes write blanks.
pub const LISTING_OCTETS: usize = 1 << 20;
/// Longest answer to a pull: one name's values are half a megabyte at most, escaped thrice that; a longer answer is asked for again
/// in halves.
pub const DELIVERY_OCTETS: usize = 16 << 20;
/// Octets of the body of a pull: below the 16 384 that reference nodes take (W2).
pub const PULL_REQUEST_OCTETS: usize = 16_000;
/// Records of one answer to a pull: 256 of each name, four times what a name holds by default.
pub const DELIVERY_VALUES: usize = 65_536;
/// Pulls of one peer at the same time: one is on the way while one is verified and one is written.
pub const PULLS_IN_FLIGHT: usize = 3;
/// Longest answer with a manifest: 1200 characters and three short members.
pub const MANIFEST_BODY_OCTETS: usize = 16_384;
/// Milliseconds that a peer's clock may be ahead (federation.md 4.10).
pub const PEER_CLOCK_SKEW: u64 = 60_000;
/// Seconds for which another node's tombstone is kept at most: the longest life of any value, a manifest's.
pub const TOMBSTONE_SECONDS: u64 = 5 * 365 * 86_400;
/// Values of one peer that are remembered because they could not be taken: some 2 MB.
pub const DOUBTS: usize = 10_000;
/// Milliseconds for which the first refusal of a value holds.
pub const DOUBT_FIRST: u64 = 60_000;
/// Milliseconds for which any refusal of a value holds at most.
pub const DOUBT_LONGEST: u64 = 3_600_000;
/// Milliseconds after which a round with one peer ends although there is more: what it has reached is written down, and the
/// manifest is looked at.
pub const SYNC_ROUND: u64 = 10_000;
/// Milliseconds between two slow walks through all that a peer has, which find what a clock or a restored backup has hidden.
pub const SYNC_WALK: u64 = 86_400_000;
/// Replicated values written in one transaction, so that no client's write waits for more.
pub const SYNC_BATCH: usize = 256;
/// Peers that are talked to at the same time.
pub const SYNC_PEERS_AT_ONCE: usize = 8;
/// Time for a peer to be connected to and to begin its answer, and between two pieces of it (federation.md 4.10).
pub const SYNC_REQUEST: Duration = Duration::from_secs(5);
/// Time for one answer in all: 16 MiB at a megabyte a second, twice over.
pub const SYNC_ANSWER: Duration = Duration::from_secs(30);
/// Connections kept open to one peer.
pub const SYNC_CONNECTIONS: usize = PULLS_IN_FLIGHT;
/// Longest file with a cluster's manifest or its nodes: 32 nodes with the longest texts.
pub const CLUSTER_FILE_OCTETS: u64 = 65_536;
/// Attempts, 20 ms apart, to get a replicated batch into a full queue of writes: a second.
pub const SYNC_PATIENCE: u32 = 50;
