//! The `--node` argument: host, `host:port` or URL (cli.md 3.8).

use std::fmt;

use super::RegisterError;
use crate::agent::is_loopback;

/// How a node is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// TLS; the default.
    Https,
    /// In the clear: only where the user asked for it (D7).
    Http,
}

/// Where a node's HTTP interface is. `Display` is its base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
}

impl NodeAddress {
    /// Reads the argument; `scheme` wins over the URL's, and without either it is https.
    pub fn parse(text: &str, scheme: Option<Scheme>) -> Result<Self, RegisterError> {
        let wrong = || RegisterError::NodeAddress(text.to_owned());
        let (stated, rest) = match text.trim().split_once("://") {
            Some((stated, rest)) if stated.eq_ignore_ascii_case("https") => {
                (Some(Scheme::Https), rest)
            }
            Some((stated, rest)) if stated.eq_ignore_ascii_case("http") => {
                (Some(Scheme::Http), rest)
            }
            Some(_) => return Err(wrong()),
            None => (None, text.trim()),
        };
        let authority = rest.trim_end_matches('/');
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or_else(wrong)?;
                let port = if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or_else(wrong)?)
                };
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (authority, None),
            },
        };
        let port = port
            .map(|port| port.parse().map_err(|_| wrong()))
            .transpose()?;
        if dmp_core::registration::NodeName::parse(host).is_err() || host.contains('[') {
            return Err(wrong());
        }
        Ok(Self {
            scheme: scheme.or(stated).unwrap_or(Scheme::Https),
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Whether nobody on the way can read what is said: TLS, or this machine (D7).
    pub fn is_confidential(&self) -> bool {
        self.scheme == Scheme::Https || is_loopback(&self.host)
    }

    /// The host, lower case, without port and brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]", self.host)?
        } else {
            write!(f, "{scheme}://{}", self.host)?
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_argument_gives_the_base_url() {
        for (text, scheme, base, host) in [
            ("node.test", None, "https://node.test", "node.test"),
            (
                "Node.Test:8053/",
                None,
                "https://node.test:8053",
                "node.test",
            ),
            ("http://node.test/", None, "http://node.test", "node.test"),
            (
                "http://node.test",
                Some(Scheme::Https),
                "https://node.test",
                "node.test",
            ),
            (
                "node.test",
                Some(Scheme::Http),
                "http://node.test",
                "node.test",
            ),
            ("[::1]:8053", Some(Scheme::Http), "http://[::1]:8053", "::1"),
            ("2001:db8::1", None, "https://[2001:db8::1]", "2001:db8::1"),
            ("127.0.0.1:80", None, "https://127.0.0.1:80", "127.0.0.1"),
        ] {
            let address = NodeAddress::parse(text, scheme).unwrap();
            assert_eq!(
                (address.to_string().as_str(), address.host()),
                (base, host),
                "{text}"
            );
        }
        for wrong in [
            "",
            "ftp://node.test",
            "node.test/path",
            "node.test:99999",
            "user@node.test",
            "[::1",
            "[::1]x",
            "a b",
        ] {
            assert!(NodeAddress::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
