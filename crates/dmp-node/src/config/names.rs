//! Names and addresses in settings: the served zone, the host to bind, the proxies to trust.
//!
//! Nothing here resolves a name except [`BindHost::addresses`].

use crate::zone::Owner;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A zone or host name: labels of letters, digits, `-` and `_`, no `-` at either end. `None` if it is none.
pub(crate) fn dns_name(text: &str) -> Option<Owner> {
    let text = text.trim().trim_end_matches('.');
    let mut labels = text.split('.');
    let has_hyphen = labels.any(|label| label.starts_with('-') || label.ends_with('-'));
    Owner::parse(text).ok().filter(|_| !has_hyphen)
}

/// The host part of a bind address: an IP literal or a name to resolve when binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindHost(String);

impl BindHost {
    /// 127.0.0.1.
    pub(crate) fn loopback() -> Self {
        Self(Ipv4Addr::LOCALHOST.to_string())
    }

    /// Whether only this machine can reach it: 127.0.0.0/8, `::1` or `localhost` (node.md 6.3). Every other name
    /// counts as public, whatever it resolves to.
    pub fn is_loopback(&self) -> bool {
        match self.0.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.0.eq_ignore_ascii_case("localhost"),
        }
    }

    /// The address to bind: the literal, or the first one that the system resolves the name to.
    pub fn address(&self, port: u16) -> io::Result<SocketAddr> {
        let mut addresses = (self.0.as_str(), port).to_socket_addrs()?;
        addresses.next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{self} has no address"))
        })
    }
}

impl From<IpAddr> for BindHost {
    fn from(address: IpAddr) -> Self {
        Self(address.to_string())
    }
}

impl FromStr for BindHost {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if bare.parse::<IpAddr>().is_ok() || dns_name(bare).is_some() {
            Ok(Self(bare.to_owned()))
        } else {
            Err(())
        }
    }
}

impl fmt::Display for BindHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address prefix such as `10.0.0.0/8`; an address alone is the prefix of its full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// First address, IPv4 mapped into IPv6.
    network: u128,
    mask: u128,
    /// Whether it is one of IPv4, which no prefix of IPv6 contains.
    is_ipv4: bool,
}

impl Prefix {
    /// Whether the address is inside. An IPv4 address mapped into IPv6 is the IPv4 address.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = mapped(address);
        address & self.mask == self.network && (address >> 32 == 0xffff) == self.is_ipv4
    }
}

#[inline]
fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => 0xffff << 32 | u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

impl FromStr for Prefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (network, length) = match text.split_once('/') {
            Some((network, length)) => (network, Some(length.parse::<u8>().map_err(drop)?)),
            None => (text, None),
        };
        let network: IpAddr = network.parse().map_err(drop)?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(longest);
        let host = longest.checked_sub(length).ok_or(())?;
        let mask = u128::MAX.checked_shl(u32::from(host)).unwrap_or(0);
        Ok(Self {
            network: mapped(network) & mask,
            mask,
            is_ipv4: network.is_ipv4(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_127_8_and_1_and_localhost_and_nothing_else() {
        let is_loopback = |text: &str| text.parse::<BindHost>().unwrap().is_loopback();
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "localhost",
            "LOCALHOST",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "0.0.0.0",
            "::",
            "0",
            "192.0.2.1",
            "::ffff:127.0.0.1",
            "node.example",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_prefix_contains_by_its_leading_bits() {
        let inside = |prefix: &str, address: &str| {
            let prefix: Prefix = prefix.parse().unwrap();
            prefix.contains(address.parse().unwrap())
        };
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("192.0.2.7", "192.0.2.7"));
        assert!(inside("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(!inside("192.0.2.7", "192.0.2.6"));
        assert!(inside("0.0.0.0/0", "203.0.113.9"));
        assert!(!inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(inside("::/0", "2001:db8::1"));
        assert!(!inside("::/0", "192.0.2.1"));
        for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "proxy", "10.0.0.0/"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_held_in_lower_case_without_its_final_dot() {
        let name = dns_name(" Mesh.Example. ").unwrap();
        assert_eq!(name.to_string(), "mesh.example");
        for wrong in [
            "",
            ".",
            "a..b",
            "a b",
            "a/b",
            "-a.b",
            "a-.b",
            "b\u{fc}r.example",
            &"a".repeat(64),
        ] {
            assert_eq!(dns_name(wrong), None, "{wrong}");
        }
    }
}
