//! Where another node of the cluster is, and what it is called (federation.md 4.8). Resolves and opens nothing.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use hyper::Uri;
use sha2::{Digest, Sha256};

use crate::limits::{PEER_ID_HOST, PEER_URL_OCTETS};

/// The base of a peer's HTTP API: `http` or `https`, a host, perhaps a port and a path; nothing else (W7). Equal means equal
/// ignoring case.
#[derive(Clone)]
pub struct PeerUrl {
    text: String,
    is_https: bool,
    host: String,
    port: Option<u16>,
    path: String,
}

impl PeerUrl {
    /// Slashes at the end are dropped. `None` for any other scheme, user information, a query, a fragment, or no host.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('/');
        if text.len() > PEER_URL_OCTETS || text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // A port that is no number, or an empty one, would be read as none.
        let has_port = authority
            .as_str()
            .strip_prefix(authority.host())?
            .starts_with(':');
        let is_plain = !authority.as_str().contains('@') && uri.query().is_none();
        if !is_plain || authority.host().is_empty() || has_port != authority.port_u16().is_some() {
            return None;
        }
        let host = authority.host().trim_matches(['[', ']']);
        Some(Self {
            text: text.to_owned(),
            is_https,
            host: host.to_ascii_lowercase(),
            port: authority.port_u16(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The text as written, without slashes at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the way there is encrypted.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Host name or address, in lower case and without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_https { 443 } else { 80 })
    }

    /// What `Host` says.
    pub fn authority(&self) -> String {
        let host = match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// What stands before the paths of the API; empty for most.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The id of a peer that is known by its URL alone: the start of its host, and six digits of a hash of all of it.
    pub fn id(&self) -> String {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        let whole = format!("{}:{port}{}", self.host, self.path);
        let hash = hex::encode(Sha256::digest(whole));
        let host: String = self.host.chars().take(PEER_ID_HOST).collect();
        format!("{host}-{}", hash.get(..6).unwrap_or_default())
    }
}

impl PartialEq for PeerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for PeerUrl {}

impl Hash for PeerUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.to_ascii_lowercase().hash(state);
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerUrl({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_vectors_but_for_what_is_no_url() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../vectors/fed_parsers.json"
        ));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = vectors["peer_id_from_url"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let input = case["input"].as_str().unwrap();
            let id = PeerUrl::parse(input).map(|url| url.id());
            match input.contains("://") {
                true => assert_eq!(id.as_deref(), case["ok"].as_str(), "{input}"),
                // W7
                false => assert_eq!(id, None, "{input}"),
            }
        }
    }

    #[test]
    fn the_same_place_is_one_peer_however_it_is_written() {
        let url = |text| PeerUrl::parse(text).unwrap();
        assert_eq!(
            url("HTTP://Node-A.example:8053/"),
            url("http://node-a.example:8053")
        );
        assert_ne!(url("http://node-a:8053"), url("http://node-a:8054"));
        assert_ne!(url("http://node-a:8053"), url("https://node-a:8053"));
        assert_eq!(url("https://[::1]/x/").authority(), "[::1]");
        assert_eq!(url("https://[::1]/x/").path(), "/x");
        assert_eq!((url("https://a").port(), url("http://a").port()), (443, 80));
    }

    #[test]
    fn nothing_but_http_and_https_is_a_peer() {
        for wrong in [
            "file:///etc/passwd",
            "ftp://a/",
            "//a",
            "a:8053",
            "http://",
            "http://user@a",
            "http://user:secret@a:80",
            "http://a?x=1",
            "http://a#x",
            "http://a:",
            "http://a:99999",
            "http://a:80x",
            "http://a b",
            &format!("http://{}", "a".repeat(300)),
        ] {
            assert!(PeerUrl::parse(wrong).is_none(), "{wrong}");
        }
    }
}
