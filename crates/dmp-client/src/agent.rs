//! How this client speaks HTTP (client.md 4.3): TLS verified, no redirects, no `.netrc`, proxies from the environment.
//!
//! It makes agents; requests are made where they are needed.

use std::env;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use crate::home::host_of_endpoint;

/// An agent for requests to the origin of `url`. Every HTTP status is an answer, not an error, and no redirect is followed.
pub(crate) fn agent_for(url: &str, timeout: Duration) -> Agent {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let proxy = proxy_for(url, variable).and_then(|proxy| Proxy::new(&proxy).ok());
    let mut config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(proxy);
    if let Some(roots) = variable("REQUESTS_CA_BUNDLE").or_else(|| variable("SSL_CERT_FILE")) {
        config = config.tls_config(
            TlsConfig::builder()
                .root_certs(roots_of_file(&roots))
                .build(),
        );
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

/// The proxy for a URL: the variable of its scheme in either case, unless `no_proxy` names its host.
///
/// Loopback is never asked through a proxy: the proxy's loopback is another machine.
fn proxy_for(url: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let either_case = |name: &str| variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
    let host = host_of_endpoint(url)?.to_ascii_lowercase();
    let is_exempt = |entry: &str| {
        let entry = entry
            .trim()
            .trim_start_matches(['*', '.'])
            .to_ascii_lowercase();
        host == entry
            || host
                .strip_suffix(&entry)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let exempt = either_case("no_proxy").unwrap_or_default();
    if is_loopback(&host)
        || exempt
            .split(',')
            .any(|entry| entry.trim() == "*" || (!entry.trim().is_empty() && is_exempt(entry)))
    {
        return None;
    }
    either_case(if url.starts_with("http://") {
        "http_proxy"
    } else {
        "https_proxy"
    })
}

/// The certificates of a file, instead of the built-in ones (cli.md 1.1). A file that cannot be read trusts nobody rather than everybody.
fn roots_of_file(path: &str) -> RootCerts {
    let pem = fs::read(path).unwrap_or_default();
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    RootCerts::from(certificates.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_follows_the_scheme_and_spares_loopback_and_exempt_hosts() {
        let variables = [
            ("http_proxy", "http://plain:1"),
            ("HTTPS_PROXY", "http://secure:2"),
            ("no_proxy", "spared.test, .sub.test,other"),
        ];
        let proxy = |url| {
            let variable = |name: &str| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            proxy_for(url, variable)
        };
        assert_eq!(
            proxy("http://alpha.test/x").as_deref(),
            Some("http://plain:1")
        );
        assert_eq!(
            proxy("https://alpha.test").as_deref(),
            Some("http://secure:2")
        );
        for spared in [
            "http://127.0.0.1:8053",
            "http://[::1]",
            "http://localhost",
            "https://Spared.test",
            "http://a.spared.test",
            "http://b.sub.test:80",
        ] {
            assert_eq!(proxy(spared), None, "{spared}");
        }
        assert!(proxy("http://notspared.test").is_some());
        assert_eq!(
            proxy_for("http://alpha.test", |name| (name == "NO_PROXY"
                || name == "http_proxy")
                .then(|| "*".to_owned())),
            None
        );
    }
}
