//! Every bound of this crate, each with where it comes from.

/// Octets of a DNS message header (RFC 1035 4.1.1).
pub const HEADER: usize = 12;
/// Octets of the longest name in wire form, root label included (RFC 1035 2.3.4).
pub const NAME: usize = 255;
/// Octets of the longest label (RFC 1035 2.3.4).
pub const LABEL: usize = 63;
/// Octets of the longest character-string (RFC 1035 3.3).
pub const CHARACTER_STRING: usize = 255;
/// Octets of the largest message: the TCP length prefix has 16 bits (RFC 1035 4.2.2).
pub const MESSAGE: usize = 65_535;
/// Octets of a UDP answer to a client without EDNS (RFC 1035 2.3.4), and the least an EDNS client can ask for (RFC 6891 6.2.3).
pub const UDP_PLAIN: usize = 512;
/// Octets of the largest UDP message we send: fits an IPv6 path MTU of 1280 without fragments (DNS flag day 2020, D12).
pub const UDP: usize = 1232;
/// Octets of which a padded query has a multiple (RFC 8467 4.1).
pub const PADDING: usize = 128;
/// Octets of a client cookie (RFC 7873 4).
pub const CLIENT_COOKIE: usize = 8;
/// Octets of a server cookie in the form of RFC 9018 4: version, three reserved, time, hash.
pub const SERVER_COOKIE: usize = 16;
/// Octets of the data of a COOKIE option at most: a server cookie has up to 32 (RFC 7873 4).
pub const COOKIE_DATA: usize = CLIENT_COOKIE + 32;
/// Seconds a server cookie is good for (RFC 9018 4.3).
pub const COOKIE_LIFE: u32 = 3600;
/// Seconds it may lie in the future, where another server of an anycast set made it (RFC 9018 4.3).
pub const COOKIE_AHEAD: u32 = 300;
/// Age in seconds at which a client is given a new one (RFC 9018 4.3).
pub const COOKIE_RENEWAL: u32 = 1800;
/// Seconds a TSIG may lie beside the server's clock, whatever fudge the client asks for (RFC 8945 10; node.md 3.7).
pub const FUDGE: u16 = 300;
/// Seconds a record lives when an UPDATE adds it with TTL 0 or with the top bit set (RFC 2181 8; node.md 3.2).
pub const DEFAULT_TTL: u32 = 60;
