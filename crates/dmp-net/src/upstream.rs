//! Text forms of resolvers: `dns_resolvers` entries of the client's configuration (federation.md 7.1).
//!
//! Addresses only; a host name here would need a resolver before there is one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::{limits, system};

/// The entry that stands for the resolvers of this machine's network.
const SYSTEM: &str = "system";

/// A resolver and how it is spoken to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Upstream {
    address: SocketAddr,
}

impl Upstream {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self { address }
    }
}

/// The shortest form that [`Entry`] reads as the same.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.port() == limits::DNS_PORT {
            self.address.ip().fmt(f)
        } else {
            self.address.fmt(f)
        }
    }
}

/// One entry of a list of resolvers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Entry {
    /// `system`: whatever the system uses when the pool is made.
    System,
    /// One resolver.
    Upstream(Upstream),
}

impl Entry {
    /// The resolvers that it stands for now, at least one.
    pub fn upstreams(&self) -> Vec<Upstream> {
        match self {
            Self::System => system::resolvers()
                .into_iter()
                .map(Upstream::from)
                .collect(),
            Self::Upstream(upstream) => vec![upstream.clone()],
        }
    }
}

impl<T: Into<Upstream>> From<T> for Entry {
    fn from(upstream: T) -> Self {
        Self::Upstream(upstream.into())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str(SYSTEM),
            Self::Upstream(upstream) => upstream.fmt(f),
        }
    }
}

impl FromStr for Entry {
    type Err = UpstreamError;

    fn from_str(entry: &str) -> Result<Self, UpstreamError> {
        let text = entry.trim();
        if text.eq_ignore_ascii_case(SYSTEM) {
            return Ok(Self::System);
        }
        Ok(parse_upstream(text)?.into())
    }
}

/// Why text is not a resolver address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Neither `v4`, `v4:port`, `v6`, `[v6]` nor `[v6]:port`.
    #[error("`{0}` is not an IP address, optionally with a port ([v6]:port)")]
    Address(String),
    /// The port is not a number from 1 to 65535.
    #[error("`{0}` does not end in a port from 1 to 65535")]
    Port(String),
    /// Nothing between the commas.
    #[error("no resolver is given")]
    Empty,
}

/// One entry: `v4`, `v4:port`, `v6`, `[v6]` or `[v6]:port`, white space around it ignored. Port 53 unless given.
pub fn parse_upstream(entry: &str) -> Result<SocketAddr, UpstreamError> {
    let text = entry.trim();
    let address = || UpstreamError::Address(text.to_owned());
    let port = |digits: &str| {
        let well_formed = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let port = digits.parse().ok().filter(|port| well_formed && *port != 0);
        port.ok_or_else(|| UpstreamError::Port(text.to_owned()))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or_else(address)?;
        let host: IpAddr = host.parse().map_err(|_| address())?;
        let port = match behind.strip_prefix(':') {
            Some(digits) => port(digits)?,
            None if behind.is_empty() => limits::DNS_PORT,
            None => return Err(address()),
        };
        return Ok((host, port).into());
    }
    match text.split_once(':') {
        Some((host, digits)) if !digits.contains(':') => {
            let host: Ipv4Addr = host.parse().map_err(|_| address())?;
            Ok((host, port(digits)?).into())
        }
        _ => Ok((
            text.parse::<IpAddr>().map_err(|_| address())?,
            limits::DNS_PORT,
        )
            .into()),
    }
}

/// A comma-separated list; empty items are ignored, a list of nothing is an error.
pub fn parse_upstreams(list: &str) -> Result<Vec<SocketAddr>, UpstreamError> {
    let entries = list.split(',').filter(|entry| !entry.trim().is_empty());
    let upstreams = entries.map(parse_upstream).collect::<Result<Vec<_>, _>>()?;
    if upstreams.is_empty() {
        Err(UpstreamError::Empty)
    } else {
        Ok(upstreams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> serde_json::Value {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../vectors/fed_parsers.json"
        );
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn resolver_entries_are_read_as_the_vectors_say() {
        let vector = vector();
        let cases = vector["resolver_entry"].as_array().unwrap();
        assert!(cases.len() > 6);
        for case in cases {
            let parsed = parse_upstream(case["input"].as_str().unwrap());
            if case["error"] == true {
                assert!(parsed.is_err(), "{case}");
            } else {
                let ip: IpAddr = case["ok"][0].as_str().unwrap().parse().unwrap();
                let port = case["ok"][1].as_u64().map_or(53, |port| port as u16);
                assert_eq!(parsed, Ok((ip, port).into()), "{case}");
            }
        }
    }

    #[test]
    fn an_entry_is_written_as_it_is_read() {
        for (read, written) in [
            ("system", "system"),
            (" System ", "system"),
            ("192.0.2.1:53", "192.0.2.1"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            let entry: Entry = read.parse().unwrap();
            assert_eq!(entry.to_string(), written);
            assert_eq!(written.parse::<Entry>(), Ok(entry));
        }
        assert!("systems".parse::<Entry>().is_err());
    }

    #[test]
    fn empty_items_are_ignored_and_an_empty_list_is_an_error() {
        let two = vec![
            parse_upstream("1.1.1.1").unwrap(),
            parse_upstream("[::1]:5353").unwrap(),
        ];
        assert_eq!(parse_upstreams(" 1.1.1.1 ,, [::1]:5353 ,"), Ok(two));
        assert_eq!(parse_upstreams(" , "), Err(UpstreamError::Empty));
        assert!(parse_upstreams("1.1.1.1, dns.example").is_err());
    }
}
