//! The resolvers of this machine's network, as the system's configuration file names them (resolv.conf(5)).
//!
//! It is read when it is asked for, so that a machine that has moved asks the resolvers of its new network.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};

use crate::limits;

/// The name servers of the file in its order, or the one on loopback if it names none or cannot be read.
pub(crate) fn resolvers() -> Vec<SocketAddr> {
    named_in(
        &fs::read(limits::RESOLV_CONF).unwrap_or_default(),
        interface,
    )
}

fn named_in(text: &[u8], interface: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = Vec::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let server = words.next().and_then(|word| match word.split_once('%') {
            None => Some(SocketAddr::new(word.parse().ok()?, limits::DNS_PORT)),
            // A link-local address is one of an interface, and useless without it.
            Some((address, scope)) => {
                let address = address.parse().ok()?;
                let scope = interface(scope)?;
                Some(SocketAddrV6::new(address, limits::DNS_PORT, 0, scope).into())
            }
        });
        servers.extend(server.filter(|server| !servers.contains(server)));
    }
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, limits::DNS_PORT).into());
    }
    servers
}

/// The number of an interface, which may be written instead of its name.
fn interface(scope: &str) -> Option<u32> {
    let is_name = scope
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    let named = || fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok();
    match scope.parse() {
        Ok(index) => Some(index),
        Err(_) => is_name.then(named)??.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<String> {
        let index = |scope: &str| (scope == "eth0").then_some(7);
        let servers = named_in(file.as_bytes(), index);
        servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn name_servers_come_in_the_order_of_the_file_each_once() {
        let file = "# comment\nsearch a.test\nno such line\nnameserver\t192.0.2.2\nnameserver 2001:db8::1\n\
                    nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions timeout:1 edns0\n";
        assert_eq!(
            texts(file),
            ["192.0.2.2:53", "[2001:db8::1]:53", "192.0.2.1:53"]
        );
    }

    #[test]
    fn a_link_local_server_keeps_its_interface_or_is_left_out() {
        let file = "nameserver fe80::1%eth0\nnameserver fe80::2%gone0\n";
        assert_eq!(texts(file), ["[fe80::1%7]:53"]);
    }

    #[test]
    fn a_file_without_servers_means_the_one_on_loopback() {
        for file in ["", "search a.test\n", "nameserver\nnameserver x\n"] {
            assert_eq!(texts(file), ["127.0.0.1:53"], "{file:?}");
        }
    }

    #[test]
    fn an_interface_is_a_number_or_a_name_that_is_no_path() {
        assert_eq!(interface("3"), Some(3));
        assert_eq!(interface("../../x"), None);
        assert_eq!(interface("no-such-interface"), None);
        assert!(interface("lo").is_some_and(|index| index > 0));
    }
}
