//! The landing page: what this node is and how to use it, for somebody with a browser (node.md 6.8).
//!
//! It is made of the configuration, the count of records and the nodes that are known, never of what the request says, so every
//! cache may keep it.
//! It loads nothing from anywhere and runs no script.

use super::reply::Reply;
use crate::config::{AuthMode, Config};
use crate::federation::heartbeat::{Neighbour, Source};
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
    about: String,
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
            "</dd>\n{}{}</dl>\n<h2>Use this node</h2>\n{}{}",
            row("Signed updates", updates),
            row("Claims", claims),
            usage(config, registrar, zone.as_deref(), node),
            zone.as_deref().map(look_ups).unwrap_or_default(),
        );
        let about = format!(
            "<h2>About</h2>\n\
             <p>The program, its documentation and the protocol: <a href=\"{PROJECT}\">{PROJECT}</a></p>\n\
             </main>\n</body>\n</html>\n"
        );
        Self {
            before_count,
            after_count,
            about,
            headers: headers(),
        }
    }

    /// The page at second `now`, with the nodes of the neighbourhood if there is one.
    pub(super) fn reply(&self, records: u64, nodes: Option<&[Neighbour]>, now: u64) -> Reply {
        let nodes = nodes.map_or_else(|| NO_HEARTBEAT.to_owned(), |nodes| table(nodes, now));
        let (head, middle, end) = (&self.before_count, &self.after_count, &self.about);
        let body = format!("{head}{records}{middle}{nodes}{end}");
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
        &format!("dig _dnsmesh-heartbeat.{zone} TXT +tcp"),
        &format!("dig _dnsmesh-seen.{zone} TXT +tcp"),
        &format!("dnsmesh identity fetch somebody@{zone}"),
    ]);
    format!("<h2>Look around</h2>\n<p>Everything here is plain DNS:</p>\n{commands}")
}

/// What stands in the place of the table where the heartbeat is off.
const NO_HEARTBEAT: &str = "<h2>Other nodes</h2>\n<p>This node neither tells others of itself nor learns of them. \
     Its operator switches that on with <code>heartbeat.enabled</code>, <code>heartbeat.endpoint</code> and \
     <code>heartbeat.key_file</code> (<code>DMP_HEARTBEAT_ENABLED</code>, <code>DMP_HEARTBEAT_SELF_ENDPOINT</code>, \
     <code>DMP_HEARTBEAT_OPERATOR_KEY_PATH</code>).</p>\n";

/// The nodes that are known, this one among them (federation.md 2.11).
fn table(nodes: &[Neighbour], now: u64) -> String {
    let rows: String = nodes.iter().map(|node| node_row(node, now)).collect();
    format!(
        "<h2>Nodes</h2>\n<div class=\"scroll\" tabindex=\"0\"><table>\n\
         <thead><tr><th>Endpoint</th><th>Operator key</th><th>Version</th><th>Last heard</th><th>Source</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn node_row(node: &Neighbour, now: u64) -> String {
    let endpoint = escaped(&node.endpoint);
    let operator = &node.operator;
    let (head, tail) = (
        operator.get(..8),
        operator.get(operator.len().saturating_sub(4)..),
    );
    let operator = format!(
        "{}...{}",
        head.unwrap_or_default(),
        tail.unwrap_or_default()
    );
    let (class, age) = age(now.saturating_sub(node.heard_at));
    let source = match &node.source {
        Source::ThisNode => "this node".to_owned(),
        Source::ItsZone => "its own zone".to_owned(),
        Source::ToldBy(zone) => format!("told by {}", escaped(&zone.to_string())),
        Source::Unknown => String::new(),
    };
    format!(
        "<tr><td><a href=\"{endpoint}\" rel=\"nofollow noopener\">{endpoint}</a></td><td><code>{}</code></td>\
         <td>{}</td><td class=\"{class}\">{age}</td><td>{source}</td></tr>\n",
        escaped(&operator),
        escaped(&node.version)
    )
}

/// How long ago, and whether that is long.
fn age(seconds: u64) -> (&'static str, String) {
    match seconds {
        0..60 => ("fresh", format!("{seconds}s ago")),
        60..3_600 => ("fresh", format!("{}m ago", seconds / 60)),
        3_600..86_400 => ("stale", format!("{}h ago", seconds / 3_600)),
        _ => ("stale", format!("{}d ago", seconds / 86_400)),
    }
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
