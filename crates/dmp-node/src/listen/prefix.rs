//! Which addresses count as one client (node.md 2.8).

use std::net::{IpAddr, Ipv6Addr};

use crate::settings::PrefixLengths;

/// The first 96 bits of IPv4 addresses mapped into IPv6 (RFC 4291 2.5.5.2).
const MAPPED: u128 = 0xffff;

/// The network part of a client's address, as an IPv6 address whatever the family: one word to hash and compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Prefix(u128);

impl Prefix {
    /// The first bits of an address, which is IPv4 when it lies where IPv4 is mapped.
    #[inline]
    pub(super) fn of(address: Ipv6Addr, lengths: PrefixLengths) -> Self {
        let address = u128::from(address);
        let length = match address >> 32 {
            MAPPED => 96 + u32::from(lengths.v4),
            _ => u32::from(lengths.v6),
        };
        Self(address & !u128::MAX.checked_shr(length).unwrap_or(0))
    }

    /// Its first address.
    pub(super) fn address(self) -> IpAddr {
        Ipv6Addr::from(self.0).to_canonical()
    }
}

/// An address of either family as an IPv6 one: sixteen octets to carry, and one way to compare them.
#[inline]
pub(super) fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_prefix_count_as_one_client() {
        let of = |text: &str| Prefix::of(mapped(text.parse().unwrap()), PrefixLengths::default());
        assert_eq!(of("192.0.2.77"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.77"), of("192.0.3.77"));
        assert_eq!(of("2001:db8:0:11::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("2001:db8:0:100::1"), of("2001:db8:0:200::1"));
        let whole = PrefixLengths { v4: 32, v6: 128 };
        let of = |text: &str| Prefix::of(mapped(text.parse().unwrap()), whole);
        assert_ne!(of("192.0.2.77"), of("192.0.2.78"));
        assert_ne!(of("2001:db8::1"), of("2001:db8::2"));
        let all = PrefixLengths { v4: 0, v6: 0 };
        let of = |text: &str| Prefix::of(mapped(text.parse().unwrap()), all);
        assert_eq!(of("192.0.2.77"), of("10.0.0.1"));
    }
}
