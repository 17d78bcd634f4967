//! Which addresses count as one client (node.md 2.8).

use std::net::IpAddr;

use crate::settings::PrefixLengths;

/// The network part of a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Prefix(IpAddr);

impl Prefix {
    /// The first bits of an address; an IPv4 address mapped into IPv6 is the IPv4 address.
    pub(super) fn of(address: IpAddr, lengths: PrefixLengths) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(ip) => {
                let host = u32::MAX.checked_shr(u32::from(lengths.v4)).unwrap_or(0);
                IpAddr::V4((u32::from(ip) & !host).into())
            }
            IpAddr::V6(ip) => {
                let host = u128::MAX.checked_shr(u32::from(lengths.v6)).unwrap_or(0);
                IpAddr::V6((u128::from(ip) & !host).into())
            }
        })
    }

    /// Its first address.
    pub(super) fn address(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_prefix_count_as_one_client() {
        let of = |text: &str| Prefix::of(text.parse().unwrap(), PrefixLengths::default());
        assert_eq!(of("192.0.2.77"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.77"), of("192.0.3.77"));
        assert_eq!(of("2001:db8:0:11::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("2001:db8:0:100::1"), of("2001:db8:0:200::1"));
        let whole = PrefixLengths { v4: 32, v6: 128 };
        let of = |text: &str| Prefix::of(text.parse().unwrap(), whole);
        assert_ne!(of("192.0.2.77"), of("192.0.2.78"));
        assert_ne!(of("2001:db8::1"), of("2001:db8::2"));
        let all = PrefixLengths { v4: 0, v6: 0 };
        let of = |text: &str| Prefix::of(text.parse().unwrap(), all);
        assert_eq!(of("192.0.2.77"), of("10.0.0.1"));
    }
}
