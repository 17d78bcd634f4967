//! Text forms of resolvers: `dns_resolvers` entries of the client's configuration (federation.md 7.1), and those of encrypted
//! resolvers.
//!
//! Every entry holds an address; a host name alone would need a resolver before there is one.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use rustls::pki_types::ServerName;

use crate::{limits, system};

/// The entry that stands for the resolvers of this machine's network.
const SYSTEM: &str = "system";
/// How an entry of DNS over TLS begins.
const TLS: &str = "tls://";
/// How an entry of DNS over HTTPS begins.
const HTTPS: &str = "https://";
/// The path of a URL that has none (RFC 8484 4.1.1).
const DEFAULT_PATH: &str = "/dns-query";

/// A resolver and how it is spoken to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Upstream {
    address: SocketAddr,
    transport: Transport,
}

/// The ways of DNS. A resolver without a name has a certificate for its address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Transport {
    /// UDP and TCP.
    Plain,
    /// RFC 7858.
    Tls {
        /// The name that its certificate is for.
        name: Option<String>,
    },
    /// RFC 8484.
    Https {
        /// The name that its certificate is for.
        name: Option<String>,
        /// The path of its URL, with the slash.
        path: String,
    },
}

impl Upstream {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether nobody on the way can read what it is asked.
    pub fn is_encrypted(&self) -> bool {
        self.transport != Transport::Plain
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What its certificate has to be for.
    pub(crate) fn server_name(&self) -> io::Result<ServerName<'static>> {
        match &self.transport {
            Transport::Tls { name: Some(name) }
            | Transport::Https {
                name: Some(name), ..
            } => ServerName::try_from(name.clone()).map_err(io::Error::other),
            Transport::Plain | Transport::Tls { .. } | Transport::Https { .. } => {
                Ok(self.address.ip().into())
            }
        }
    }

    /// Host and port of its URL.
    pub(crate) fn authority(&self) -> String {
        let host = match (&self.transport, self.address.ip()) {
            (
                Transport::Https {
                    name: Some(name), ..
                },
                _,
            ) => name.clone(),
            (_, IpAddr::V4(address)) => address.to_string(),
            (_, IpAddr::V6(address)) => format!("[{address}]"),
        };
        match self.address.port() {
            limits::HTTPS_PORT => host,
            port => format!("{host}:{port}"),
        }
    }

    /// `tls://address[:port][#name]`
    fn tls(text: &str) -> Option<Self> {
        let (place, name) = match text.split_once('#') {
            Some((place, name)) => (place, Some(host_name(name)?)),
            None => (text, None),
        };
        let address = socket_address(place, limits::TLS_PORT)?;
        let transport = Transport::Tls { name };
        Some(Self { address, transport })
    }

    /// `https://address[:port][/path]` or `https://name[:port][/path]@address`
    fn https(text: &str) -> Option<Self> {
        let (url, bootstrap) = match text.rsplit_once('@') {
            Some((url, address)) => (url, Some(bare_address(address)?)),
            None => (text, None),
        };
        let (authority, path) = match url.find('/') {
            Some(at) => url.split_at(at),
            None => (url, DEFAULT_PATH),
        };
        let (address, name) = match bootstrap {
            None => (socket_address(authority, limits::HTTPS_PORT)?, None),
            Some(address) => {
                let (name, port) = match authority.split_once(':') {
                    Some((name, digits)) => (name, port(digits)?),
                    None => (authority, limits::HTTPS_PORT),
                };
                ((address, port).into(), Some(host_name(name)?))
            }
        };
        let is_path = path
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&octet));
        let path = is_path.then(|| path.to_owned())?;
        let transport = Transport::Https { name, path };
        Some(Self { address, transport })
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            transport: Transport::Plain,
        }
    }
}

/// The shortest form that [`Entry`] reads as the same.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |usual: u16| match self.address.port() {
            port if port == usual => self.address.ip().to_string(),
            _ => self.address.to_string(),
        };
        match &self.transport {
            Transport::Plain => f.write_str(&place(limits::DNS_PORT)),
            Transport::Tls { name } => {
                write!(f, "{TLS}{}", place(limits::TLS_PORT))?;
                name.iter().try_for_each(|name| write!(f, "#{name}"))
            }
            Transport::Https { name, path } => {
                write!(f, "{HTTPS}{}{path}", self.authority())?;
                name.iter()
                    .try_for_each(|_| write!(f, "@{}", self.address.ip()))
            }
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
        let encrypted = |upstream: Option<Upstream>| {
            let upstream = upstream.map(Self::Upstream);
            upstream.ok_or_else(|| UpstreamError::Encrypted(text.to_owned()))
        };
        if let Some(rest) = text.strip_prefix(TLS) {
            encrypted(Upstream::tls(rest))
        } else if let Some(rest) = text.strip_prefix(HTTPS) {
            encrypted(Upstream::https(rest))
        } else {
            Ok(parse_upstream(text)?.into())
        }
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
    /// An encrypted resolver without an address, or not a URL.
    #[error(
        "`{0}` is none of tls://address[:port][#name], https://address[:port]/path and https://name[:port]/path@address"
    )]
    Encrypted(String),
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

/// `v4`, `v6`, `[v6]`, each with a port where that can be told apart.
fn socket_address(text: &str, usual: u16) -> Option<SocketAddr> {
    if let Some(address) = bare_address(text) {
        return Some((address, usual).into());
    }
    let (host, digits) = text.rsplit_once(':')?;
    let is_clear = host.starts_with('[') || !host.contains(':');
    let address = bare_address(host).filter(|_| is_clear)?;
    Some((address, port(digits)?).into())
}

/// An address, of IPv6 also in brackets.
fn bare_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => Some(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?)),
        None => text.parse().ok(),
    }
}

fn port(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}

/// A name that a certificate can be for, in lower case.
fn host_name(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    matches!(
        ServerName::try_from(name.as_str()),
        Ok(ServerName::DnsName(_))
    )
    .then_some(name)
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
            ("tls://192.0.2.1", "tls://192.0.2.1"),
            (
                "tls://192.0.2.1:853#Dns.Example",
                "tls://192.0.2.1#dns.example",
            ),
            ("tls://2001:db8::1", "tls://2001:db8::1"),
            (
                "tls://[2001:db8::1]:8853#dns.example",
                "tls://[2001:db8::1]:8853#dns.example",
            ),
            ("https://192.0.2.1", "https://192.0.2.1/dns-query"),
            (
                "https://[2001:db8::1]:8443/q",
                "https://[2001:db8::1]:8443/q",
            ),
            ("https://192.0.2.1:443/q", "https://192.0.2.1/q"),
            (
                "https://Dns.Example/q@192.0.2.1",
                "https://dns.example/q@192.0.2.1",
            ),
            (
                "https://dns.example:8443@[2001:db8::1]",
                "https://dns.example:8443/dns-query@2001:db8::1",
            ),
        ] {
            let entry: Entry = read.parse().unwrap();
            assert_eq!(entry.to_string(), written);
            assert_eq!(written.parse::<Entry>(), Ok(entry));
        }
        for wrong in [
            "systems",
            "tls://",
            "tls://dns.example",
            "tls://192.0.2.1#",
            "tls://192.0.2.1#192.0.2.1",
            "tls://192.0.2.1:0",
            "tls://192.0.2.1/q",
            "https://",
            "https://dns.example/q",
            "https://dns.example/q@dns.example",
            "https://192.0.2.1/q@192.0.2.1",
            "https://192.0.2.1/a b",
            "https://192.0.2.1/q#part",
            "http://192.0.2.1/q",
            "quic://192.0.2.1",
        ] {
            assert!(wrong.parse::<Entry>().is_err(), "{wrong}");
        }
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
