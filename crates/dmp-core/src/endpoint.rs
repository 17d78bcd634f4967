//! The endpoint rule of heartbeats: a bare public HTTP origin (records.md 14). Resolves nothing: who connects must
//! screen the addresses it gets with [`is_public`] again (D18).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::Malformed;
use crate::limits::HEARTBEAT_ENDPOINT_MAX;

/// `http://host[:port]` or `https://host[:port]`, either case, and nothing behind it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint(String);

impl Endpoint {
    /// Checks the whole rule.
    ///
    /// # Errors
    /// [`Malformed::Field`] for other schemes, user information, a path, query or fragment, an empty or malformed
    /// host, a port outside 1 to 65535, names of the own host, IPv4 shorthand, and addresses that are not public.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if is_endpoint(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Malformed::Field("endpoint"))
        }
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether an address may be that of somebody else's node: global unicast, nothing private or special inside it.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_endpoint(text: &str) -> bool {
    if text.len() > HEARTBEAT_ENDPOINT_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return false;
    }
    if let Some(literal) = authority.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else {
            return false;
        };
        return address.parse().is_ok_and(is_public_v6)
            && (port.is_empty() || is_port_suffix(port));
    }
    match authority.split_once(':') {
        None => is_host(authority),
        Some((host, port)) => is_host(host) && is_port(port),
    }
}

/// A host name or dotted-quad address. Lengths of labels are left to the resolver.
fn is_host(host: &str) -> bool {
    if let Ok(address) = host.parse() {
        return is_public_v4(address);
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // Resolvers read a name whose last label is a number as an address: 127.1, 2130706433, 0x7f.1, 0177.0.0.1.
    let last = host
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let own = last == "localhost"
        || host.eq_ignore_ascii_case("localhost.localdomain")
        || host.eq_ignore_ascii_case("ip6-localhost");
    host.split('.').all(label) && !number && !own
}

fn is_port_suffix(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0 // this network
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || (a == 100 && (64..128).contains(&b)) // shared by carriers, RFC 6598
        || (a == 192 && b == 0 && c == 0) // protocol assignments, RFC 6890
        || (a == 198 && (b == 18 || b == 19)) // benchmarking, RFC 2544
        || a >= 224; // multicast, reserved, broadcast
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let [a, b, c, ..] = address.segments();
    if a == 0x2002 {
        // 6to4 carries an IPv4 address behind its prefix, RFC 3056.
        let ([high_a, high_b], [low_a, low_b]) = (b.to_be_bytes(), c.to_be_bytes());
        return is_public_v4(Ipv4Addr::new(high_a, high_b, low_a, low_b));
    }
    // Global unicast is 2000::/3; this leaves out 64:ff9b::/96 too, whatever it embeds.
    let special = a & 0xe000 != 0x2000
        || (a == 0x2001 && b < 0x0200) // protocol assignments and Teredo, RFC 2928
        || (a == 0x2001 && b == 0x0db8) // documentation, RFC 3849
        || (a == 0x3fff && b < 0x1000); // documentation, RFC 9637
    !special
}
