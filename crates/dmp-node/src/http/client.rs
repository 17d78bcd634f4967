//! Who a request comes from: the peer, or behind a trusted proxy the address that proxy tells of (node.md 6.1, W-6).

use crate::config::Prefix;
use hyper::header::HeaderMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address of the client: of a trusted peer, the right-most address in `X-Forwarded-For` that is not trusted
/// itself; an entry that is no address ends the search at the last trusted one.
pub(crate) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Prefix]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|prefix| prefix.contains(address));
    let mut client = peer.to_canonical();
    let lists = headers.get_all("x-forwarded-for");
    let lists: Vec<&str> = lists
        .iter()
        .map(|list| list.to_str().unwrap_or("?"))
        .collect();
    let mut forwarded = lists.iter().flat_map(|list| list.split(',')).rev();
    while is_trusted(client) {
        match forwarded.next().and_then(parse) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// What requests are counted by: an IPv4 address, or the /64 of an IPv6 address, which is what one subscriber has.
pub(crate) fn limiter_key(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}

/// An address, perhaps with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = match text.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_) => text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let trusted = ["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append("x-forwarded-for", list.parse().unwrap());
        }
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(seen("127.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("::ffff:127.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn the_right_most_untrusted_address_counts() {
        assert_eq!(
            seen("127.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(
            seen("127.0.0.1", &["203.0.113.9", "198.51.100.1"]),
            "198.51.100.1"
        );
        assert_eq!(seen("127.0.0.1", &["198.51.100.1, unknown"]), "127.0.0.1");
        assert_eq!(
            seen("127.0.0.1", &["198.51.100.1, unknown, 10.1.1.1"]),
            "10.1.1.1"
        );
        assert_eq!(seen("127.0.0.1", &["10.0.0.7"]), "10.0.0.7");
    }

    #[test]
    fn ports_and_brackets_are_understood() {
        assert_eq!(seen("127.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(seen("127.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(seen("127.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn one_ipv6_subscriber_is_one_key() {
        let key = |text: &str| limiter_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
