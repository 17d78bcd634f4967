//! How this client speaks HTTP (client.md 4.3): TLS verified, no redirects, no `.netrc`, proxies from the environment.
//!
//! It makes agents; requests are made where they are needed.

use std::env;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// An agent for requests to one host. Every HTTP status is an answer, not an error, and no redirect is followed.
///
/// A loopback host is never asked through a proxy: the proxy's loopback is another machine.
pub(crate) fn agent_for(host: &str, timeout: Duration) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .http_status_as_error(false);
    if is_loopback(host) {
        config = config.proxy(None);
    }
    if let Some(roots) = roots_of_environment() {
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    config.build().into()
}

/// Whether a host, without port and brackets, can only be this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Certificates of the file that `REQUESTS_CA_BUNDLE` or `SSL_CERT_FILE` names, instead of the built-in ones (cli.md 1.1).
///
/// A file that cannot be read trusts nobody rather than everybody.
fn roots_of_environment() -> Option<RootCerts> {
    let path = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]
        .iter()
        .find_map(|name| env::var_os(name).filter(|path| !path.is_empty()))?;
    let pem = fs::read(path).unwrap_or_default();
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Some(RootCerts::from(certificates.collect::<Vec<_>>()))
}
