//! Every number that bounds a record or a name, with where it comes from. Holds no logic.

/// Longest user name in an identity record, bytes (records.md 8.1).
pub const USERNAME_MAX: usize = 64;
/// Longest DNS label, octets (RFC 1035 2.3.4).
pub const LABEL_MAX: usize = 63;
/// Longest DNS name as text without the trailing dot: 255 wire octets less the root and the first length (RFC 1035 2.3.4).
pub const NAME_MAX: usize = 253;
/// Longest zone under which every owner name of the protocol still fits [`NAME_MAX`]:
/// the longest prefix is `rotate.id-` + 16 hex + `.` = 27 characters (records.md 4.2).
pub const ZONE_MAX: usize = NAME_MAX - 27;
/// Longest cluster name, bootstrap domain, cluster base and subject of types 2 and 3, bytes (records.md 10-12).
pub const DOMAIN_MAX: usize = 64;
/// Longest user subject of a rotation or revocation, bytes: its length field is one byte (records.md 12.1).
pub const USER_SUBJECT_MAX: usize = 255;
/// Slots of one mailbox (records.md 4.2).
pub const SLOT_COUNT: u8 = 10;

/// Bytes of one share (crypto.md 8.1).
pub const SHARE_LEN: usize = 128;
/// Bytes of Reed-Solomon parity behind a share (crypto.md 9).
pub const SHARE_PARITY_LEN: usize = 32;
/// Leading bytes of SHA-256(share) in front of it (records.md 6).
pub const SHARE_CHECKSUM_LEN: usize = 8;
/// Bytes of a chunk on the wire: checksum, share, parity (records.md 6).
pub const CHUNK_LEN: usize = SHARE_CHECKSUM_LEN + SHARE_LEN + SHARE_PARITY_LEN;
/// Most chunks that a manifest parser admits (records.md 7); more than 256 cannot be decoded.
pub const MANIFEST_CHUNKS_MAX: u32 = 1024;

/// Longest value of a cluster, bootstrap, rotation, revocation or heartbeat record, characters with prefix (records.md 2).
pub const WIRE_MAX: usize = 1200;
/// Longest claim: it fits one TXT character-string (records.md 13).
pub const CLAIM_WIRE_MAX: usize = 255;
/// Longest mailbox zone in a claim, bytes: exactly fills [`CLAIM_WIRE_MAX`] (records.md 13).
pub const CLAIM_ZONE_MAX: usize = 43;
/// A claim's ts and exp, and a heartbeat's, stay below 2^63 (records.md 13, 14).
pub const SIGNED_TIME_MAX: u64 = (1 << 63) - 1;

/// Nodes in a cluster manifest (records.md 10).
pub const CLUSTER_NODES_MAX: usize = 32;
/// Longest node id, bytes (records.md 10).
pub const NODE_ID_MAX: usize = 16;
/// Longest HTTP endpoint of a cluster node, bytes (records.md 10).
pub const HTTP_ENDPOINT_MAX: usize = 128;
/// Longest DNS endpoint of a cluster node, bytes (records.md 10).
pub const DNS_ENDPOINT_MAX: usize = 64;
/// Entries in a bootstrap record (records.md 11).
pub const BOOTSTRAP_ENTRIES_MAX: usize = 16;
/// Longest heartbeat endpoint, bytes (records.md 14).
pub const HEARTBEAT_ENDPOINT_MAX: usize = 255;
/// Longest heartbeat version text, bytes (records.md 14).
pub const HEARTBEAT_VERSION_MAX: usize = 32;
/// Longest claim provider zone in a heartbeat, bytes (records.md 14).
pub const HEARTBEAT_ZONE_MAX: usize = 64;

/// How far `exp` of a manifest, prekey, claim or heartbeat may lie ahead, seconds: 30 days (records.md 2).
pub const HORIZON_SHORT: u64 = 30 * 86_400;
/// How far `exp` of a cluster, bootstrap or rotation record may lie ahead, seconds: 5 x 365 days (records.md 2).
pub const HORIZON_LONG: u64 = 5 * 365 * 86_400;
/// Clock difference tolerated for claims, heartbeats and revocations, seconds (records.md 16).
pub const CLOCK_SKEW: u64 = 300;
/// Hops of one rotation chain walk (records.md 12.4).
pub const ROTATION_HOPS_MAX: usize = 4;

/// Longest host of a canonical address, bytes (crypto.md 11.4).
pub const ADDRESS_HOST_MAX: usize = NAME_MAX;
/// Longest local part of a canonical address, bytes (crypto.md 11.4).
pub const ADDRESS_LOCAL_MAX: usize = 64;

/// Longest address URI, characters: a long address (64 + 1 + 253), a mailbox zone (226), two keys of 52 and 480 for what may be added.
pub const ADDRESS_URI_MAX: usize = 1_136;

/// Digits of a safety number: 30 for each of two people, 100 bits a person against somebody who searches for similar keys.
pub const SAFETY_NUMBER_LEN: usize = 60;
/// SHA-512 computations for one person's half of a safety number: milliseconds for who compares, years for who searches.
pub const SAFETY_NUMBER_HASHES: u32 = 5_200;

/// Argon2id memory, KiB (crypto.md 1).
pub const ARGON2_MEMORY_KIB: u32 = 32_768;
/// Argon2id passes (crypto.md 1).
pub const ARGON2_PASSES: u32 = 2;
/// Argon2id lanes (crypto.md 1).
pub const ARGON2_LANES: u32 = 2;
/// Shortest salt of an identity, bytes (crypto.md 2).
pub const SALT_MIN: usize = 8;
/// Salt of a new identity, bytes (crypto.md 2).
pub const SALT_LEN: usize = 32;

/// Shares that the code can tell apart: the points of GF(2^8) (crypto.md 8.1).
pub const CODE_SHARES_MAX: u16 = 256;
/// Most data shares a writer makes: with their parity 255, the last size at or below 256 (crypto.md 8.1).
pub const CODE_DATA_SHARES_MAX: u16 = 196;
/// Bytes of the length in front of the outer message (crypto.md 8.1).
pub const LENGTH_PREFIX_LEN: usize = 4;
/// Longest outer message, bytes: the data shares less the length prefix, 25 084 (crypto.md 10).
pub const OUTER_MAX: usize = CODE_DATA_SHARES_MAX as usize * SHARE_LEN - LENGTH_PREFIX_LEN;

/// Largest integer in a JSON header: 2^63-1 (D31).
pub const WIRE_INTEGER_MAX: u64 = (1 << 63) - 1;
/// Zero bytes behind the sealed part of an outer message (crypto.md 5).
pub const OUTER_TRAILER_LEN: usize = 32;
/// ChaCha20-Poly1305 nonce, bytes (crypto.md 1).
pub const NONCE_LEN: usize = 12;
/// Longest JSON header of a plaintext envelope, bytes (crypto.md 11.1).
pub const ENVELOPE_HEADER_MAX: usize = 256;
/// Age in seconds after which a message in hand was left by a crashed worker (crypto.md 13).
pub const IN_FLIGHT_MAX_AGE: u64 = 300;
/// Bytes of an outer message besides header and text: length(2), ephemeral key(32), nonce(12), tag(16),
/// trailer(32) (crypto.md 10).
pub const OUTER_FIXED_LEN: usize = 2 + 32 + NONCE_LEN + 16 + OUTER_TRAILER_LEN;
/// Longest lifetime of a message, seconds: 30 days less the clock difference of a receiver that would otherwise
/// refuse the manifest (crypto.md 14.1).
pub const MESSAGE_LIFETIME_MAX: u64 = HORIZON_SHORT - CLOCK_SKEW;
