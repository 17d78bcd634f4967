//! The settings of automatic certificates, and what they need of others to make sense (RFC 8555).

use super::environment::{ConfigError, Environment, must_be};
use super::names::dns_name;
use crate::zone::Owner;
use dmp_core::registration::NodeName;
use hyper::Uri;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where certificates come from unless the operator says otherwise.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const ENABLED: &str = "DMP_ACME_ENABLED";
const NAMES: &str = "DMP_ACME_NAMES";
/// Names at most: what Let's Encrypt puts into one certificate.
const MOST_NAMES: usize = 100;

/// Certificates that the node obtains and renews by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// Host names of the certificate, at least one.
    pub names: Vec<Owner>,
    /// URL of the CA's directory: https, or http to this machine.
    pub directory: Uri,
    /// E-mail address that the CA may write to.
    pub contact: Option<String>,
    /// How the names are proven.
    pub challenge: ChallengeKind,
    /// PEM file of the roots that the CA's own server is trusted by, in the place of the public ones.
    pub roots: Option<PathBuf>,
}

/// How a name is proven to the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// By a TXT record in the node's own zone (RFC 8555 8.4).
    Dns01,
    /// By a certificate in a handshake on the HTTP port, which must be 443 from outside (RFC 8737).
    TlsAlpn01,
}

impl ChallengeKind {
    /// The name in the protocol and in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// Whether a host is this machine, without asking anybody.
pub(crate) fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match literal.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Reads the settings; `None` if automatic certificates are off.
pub(super) fn acme(
    environment: &Environment,
    zone: Option<&Owner>,
    node_name: Option<&NodeName>,
) -> Result<Option<AcmeConfig>, ConfigError> {
    let enabled = environment.switch(ENABLED)? == Some(true);
    let terms_agreed = environment.switch("DMP_ACME_TERMS_AGREED")? == Some(true);
    let directory = directory(environment)?;
    let contact = contact(environment)?;
    let wanted = challenge(environment)?;
    let roots = environment.text("DMP_ACME_ROOTS")?.map(PathBuf::from);
    let configured = names(environment)?;
    if !enabled {
        return Ok(None);
    }
    if !terms_agreed {
        let reason = "must be on: a CA issues certificates only to those who agree to its terms of service, \
                      which the node cannot do for you";
        return Err(ConfigError::new("DMP_ACME_TERMS_AGREED", reason));
    }
    let names = match node_name.map(NodeName::host) {
        _ if !configured.is_empty() => configured,
        Some(host) => {
            let name = host_name(host).ok_or_else(|| {
                must_be(
                    "DMP_NODE_HOSTNAME",
                    "a host name to get a certificate for",
                    host,
                )
            })?;
            vec![name]
        }
        None => {
            let reason = "is unset and so is DMP_NODE_HOSTNAME: what would the certificate be for?";
            return Err(ConfigError::new(NAMES, reason));
        }
    };
    let outside = names
        .iter()
        .find(|name| !zone.is_some_and(|zone| name.is_under(zone)));
    let challenge = match (wanted, outside) {
        (None, None) => ChallengeKind::Dns01,
        (None, Some(_)) => ChallengeKind::TlsAlpn01,
        (Some(ChallengeKind::Dns01), Some(outside)) => {
            let reason = format!(
                "dns-01 proves names by records in the zone of this node, and {outside} is not in it; tls-alpn-01 proves any name"
            );
            return Err(ConfigError::new("DMP_ACME_CHALLENGE", reason));
        }
        (Some(wanted), _) => wanted,
    };
    Ok(Some(AcmeConfig {
        names,
        directory,
        contact,
        challenge,
        roots,
    }))
}

fn names(environment: &Environment) -> Result<Vec<Owner>, ConfigError> {
    let items = environment.list(NAMES)?;
    if items.len() > MOST_NAMES {
        let reason = format!("holds {} names; {MOST_NAMES} is the most", items.len());
        return Err(ConfigError::new(NAMES, reason));
    }
    let expected = "host names of at least two labels, no address and no wildcard";
    let name = |item: &str| host_name(item).ok_or_else(|| must_be(NAMES, expected, item));
    items.into_iter().map(name).collect()
}

/// A name that a public CA could certify: at least two labels, no underscore, and no IPv4 address.
fn host_name(text: &str) -> Option<Owner> {
    let name = dns_name(text)?;
    let text = name.to_string();
    let (_, last) = text.rsplit_once('.')?;
    let is_address = last.bytes().all(|octet| octet.is_ascii_digit());
    (!text.contains('_') && !is_address).then_some(name)
}

/// An unencrypted way to a CA would let anybody on it forge its answers (D18).
fn directory(environment: &Environment) -> Result<Uri, ConfigError> {
    let variable = "DMP_ACME_DIRECTORY";
    let text = environment.text(variable)?.unwrap_or(LETS_ENCRYPT);
    let expected = "an https:// URL; http:// goes to this machine only";
    let wrong = || must_be(variable, expected, text);
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Ok(uri),
        (Some("http"), Some(host)) if is_loopback(host) => Ok(uri),
        _ => Err(wrong()),
    }
}

fn contact(environment: &Environment) -> Result<Option<String>, ConfigError> {
    let variable = "DMP_ACME_CONTACT";
    let Some(text) = environment.text(variable)? else {
        return Ok(None);
    };
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_graphic());
    let is_address = address.split_once('@').is_some_and(|(local, host)| {
        is_plain(local) && is_plain(host) && !address.contains([',', '?', '<', '>'])
    });
    if !is_address {
        return Err(must_be(variable, "one e-mail address", text));
    }
    Ok(Some(address.to_owned()))
}

fn challenge(environment: &Environment) -> Result<Option<ChallengeKind>, ConfigError> {
    let variable = "DMP_ACME_CHALLENGE";
    match environment.text(variable)? {
        None => Ok(None),
        Some("dns-01") => Ok(Some(ChallengeKind::Dns01)),
        Some("tls-alpn-01") => Ok(Some(ChallengeKind::TlsAlpn01)),
        Some("http-01") => {
            let reason = "http-01 needs a second, unencrypted listener on port 80, which this node does not have; \
                          dns-01 needs no port but DNS, tls-alpn-01 the one of HTTPS";
            Err(ConfigError::new(variable, reason))
        }
        Some(other) => Err(must_be(variable, "dns-01 or tls-alpn-01", other)),
    }
}
