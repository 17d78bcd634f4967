//! The landing page: what this node is and how to use it, for somebody with a browser (node.md 6.8).
//!
//! It is made of the configuration and the count of records, never of what the request says, so every cache may keep it.
//! It loads nothing from anywhere and runs no script.

use super::reply::Reply;
use crate::config::{AuthMode, Config};
use crate::register::Registrar;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
/// Where people find the program.
const PROJECT: &str = env!("CARGO_PKG_REPOSITORY");

/// The page with everything but the count of records.
#[derive(Debug)]
pub(super) struct Page {
    before_count: String,
    after_count: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Page {
    pub(super) fn new(config: &Config, registrar: Option<&Registrar>) -> Self {
        let zone = config.zone.as_ref().map(ToString::to_string);
        let node = config.registration.node_name.as_ref();
        let node = node.map(|node| node.as_str());
        let title = match &zone {
            Some(zone) => format!("DNS Mesh node for {}", escaped(zone)),
            None => "DNS Mesh node".to_owned(),
        };
        let claims = match (config.is_claim_provider(), config.is_claim_receiver()) {
            (true, _) => "accepted for everybody",
            (false, true) => "accepted for users registered here",
            (false, false) => "not accepted",
        };
        let updates = if config.update.enabled { "on" } else { "off" };
        let endpoint = node.map_or(String::new(), |node| {
            row(
                "Endpoint",
                &format!("<code>https://{}</code>", escaped(node)),
            )
        });
        let zone_row = match &zone {
            Some(zone) => row("Zone", &format!("<code>{}</code>", escaped(zone))),
            None => row("Zone", "none; records are served under any name"),
        };
        let before_count = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
             <p class=\"lead\">This server keeps end-to-end encrypted messages as DNS records. \
             It cannot read them; their recipients fetch them through any resolver.</p>\n\
             <dl>\n{}{zone_row}{endpoint}<dt>Live records</dt><dd>",
            row("Status", "answering")
        );
        let after_count = format!(
            "</dd>\n{}{}</dl>\n<h2>Use this node</h2>\n{}{}<h2>About</h2>\n\
             <p>The program, its documentation and the protocol: <a href=\"{PROJECT}\">{PROJECT}</a></p>\n\
             </main>\n</body>\n</html>\n",
            row("Signed updates", updates),
            row("Claims", claims),
            usage(config, registrar, zone.as_deref(), node),
            zone.as_deref().map(look_ups).unwrap_or_default(),
        );
        Self {
            before_count,
            after_count,
            headers: headers(),
        }
    }

    pub(super) fn reply(&self, records: u64) -> Reply {
        let body = format!("{}{records}{}", self.before_count, self.after_count);
        let reply = Reply::text("text/html; charset=utf-8", body);
        self.headers.iter().fold(reply, |reply, (name, value)| {
            reply.with(name.clone(), value.clone())
        })
    }
}

/// Nothing may be loaded, framed, sent or run, but for the one style that is in the page.
fn headers() -> Vec<(HeaderName, HeaderValue)> {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Base64 and the text around it are visible ASCII.
    let policy = HeaderValue::try_from(policy).ok();
    let plain = [
        (CACHE_CONTROL, "public, max-age=30"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let plain = plain.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let policy = policy.map(|policy| (CONTENT_SECURITY_POLICY, policy));
    plain.into_iter().chain(policy).collect()
}

/// How one gets to write here.
fn usage(
    config: &Config,
    registrar: Option<&Registrar>,
    zone: Option<&str>,
    node: Option<&str>,
) -> String {
    let registration = registrar.zip(zone).zip(node);
    match (registration, config.http.auth) {
        (Some(((registrar, zone), node)), _) => {
            let verb = if registrar.issues_keys() {
                "tsig register"
            } else {
                "register"
            };
            let domains: Vec<String> = registrar
                .domains()
                .iter()
                .map(|domain| format!("<code>{}</code>", escaped(domain)))
                .collect();
            let commands = commands(&[
                &format!("dnsmesh init you@{zone} --endpoint https://{node}"),
                &format!("dnsmesh {verb} --node {node}"),
                "dnsmesh identity publish",
                "dnsmesh identity refresh-prekeys",
            ]);
            format!(
                "<p>Registration is open for addresses at {}. It takes a name of your choice and no personal data; \
                 your key proves that the address is yours.</p>\n{commands}",
                domains.join(", ")
            )
        }
        (None, AuthMode::MultiTenant) => {
            "<p>Users write here with a token that the operator gives them. Ask the operator for one.</p>\n".to_owned()
        }
        (None, AuthMode::Legacy) => {
            "<p>Only the operator writes here. Everybody may read what is published.</p>\n".to_owned()
        }
        (None, AuthMode::Open) => "<p class=\"warning\"><strong>Open:</strong> everybody who reaches this address may \
             write and delete records. That is meant for trying things out.</p>\n"
            .to_owned(),
    }
}

fn look_ups(zone: &str) -> String {
    let commands = commands(&[
        &format!("dig {zone} SOA"),
        &format!("dig {zone} NS +tcp"),
        &format!("dnsmesh identity fetch somebody@{zone}"),
    ]);
    format!("<h2>Look around</h2>\n<p>Everything here is plain DNS:</p>\n{commands}")
}

/// Commands to copy, one a line; what is wider than the screen can be scrolled to with the keyboard.
fn commands(lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    let text = lines.join("\n");
    format!("<pre tabindex=\"0\"><code>{text}</code></pre>\n")
}

/// One row of the table; `value` is HTML.
fn row(name: &str, value: &str) -> String {
    format!("<dt>{name}</dt><dd>{value}</dd>\n")
}

/// Text as it stands in HTML, in or outside of quotes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_text_is_escaped() {
        assert_eq!(
            escaped("<a href=\"x\">'&'</a>"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;"
        );
        assert_eq!(
            commands(&["a <b>"]),
            "<pre tabindex=\"0\"><code>a &lt;b&gt;</code></pre>\n"
        );
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
        let headers = headers();
        let (_, policy) = headers
            .iter()
            .find(|(name, _)| name == CONTENT_SECURITY_POLICY)
            .unwrap();
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(
            !policy.contains("-inline") && !policy.contains("-eval") && !policy.contains("http")
        );
        for forbidden in ["url(", "@import", "http", "</"] {
            assert!(!STYLE.contains(forbidden), "{forbidden}");
        }
    }
}
