//! The directory for people: one HTML page that loads nothing, sends nothing and runs nothing (federation.md 2.13).

use std::fmt::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dmp_core::id::UnixTime;
use sha2::{Digest, Sha256};

use super::graph::graph;
use super::{Beat, Check, Listed, Survey};
use crate::limits::{DIRECTORY_FRESH, DIRECTORY_GRAPH_NODES};

const STYLE: &str = include_str!("page.css");

/// How alive a node is, as far as its heartbeat tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    Fresh,
    Stale,
    Expired,
}

impl Liveness {
    pub(super) fn of(beat: &Beat, now: UnixTime) -> Self {
        if beat.heartbeat.exp <= now {
            Self::Expired
        } else if now.saturating_sub(beat.heartbeat.ts) < DIRECTORY_FRESH {
            Self::Fresh
        } else {
            Self::Stale
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
        }
    }
}

/// The whole page; `made` is the time `now` as people read it.
#[must_use]
pub fn page(survey: &Survey, checks: &[Check], now: UnixTime, made: &str) -> String {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
    );
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>DNS Mesh directory</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>DNS Mesh directory</h1>\n\
         <p class=\"lead\">{} heard of through {} of {} zones. Made at <time>{}</time>; the same for programs: \
         <a href=\"feed.json\">feed.json</a>.</p>\n",
        counted(survey.nodes.len(), "node"),
        survey.answered(),
        survey.zones.len(),
        escaped(made)
    );
    nodes(&mut html, &survey.nodes, now);
    if let Some(graph) = graph(survey, now) {
        let more = survey.nodes.len().saturating_sub(DIRECTORY_GRAPH_NODES);
        let more = if more > 0 {
            format!(" The {DIRECTORY_GRAPH_NODES} heard of last are shown.")
        } else {
            String::new()
        };
        let _ = write!(
            html,
            "<h2>Who has heard of whom</h2>\n<p>A line: the node of one zone passes on the heartbeat of the other.{more}</p>\n\
             <div class=\"scroll\" tabindex=\"0\">{graph}</div>\n"
        );
    }
    resolvers(&mut html, survey, checks);
    html.push_str(
        "<h2>About</h2>\n<p>Every entry is a heartbeat that its node signed. A listing says that a node exists, \
         not that it can be trusted. This page loads nothing and runs no script.</p>\n</main>\n</body>\n</html>\n",
    );
    html
}

fn nodes(html: &mut String, nodes: &[Listed], now: UnixTime) {
    html.push_str("<h2>Nodes</h2>\n");
    if nodes.is_empty() {
        html.push_str("<p>None of the zones publishes a heartbeat that verifies.</p>\n");
        return;
    }
    html.push_str(
        "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th>Endpoint</th><th>State</th><th>Last heard</th>\
         <th>Version</th><th>Operator key</th><th>Heard of through</th></tr></thead>\n<tbody>\n",
    );
    for Listed { beat, via } in nodes {
        let endpoint = escaped(beat.heartbeat.endpoint.as_str());
        let state = Liveness::of(beat, now).word();
        let via: Vec<String> = via.iter().map(|zone| escaped(zone.as_str())).collect();
        let _ = writeln!(
            html,
            "<tr><td><a href=\"{endpoint}\" rel=\"nofollow noopener\">{endpoint}</a></td>\
             <td><span class=\"pill {state}\">{state}</span></td><td>{}</td><td>{}</td>\
             <td><code title=\"{}\">{}</code></td><td class=\"via\">{}</td></tr>",
            age(now.saturating_sub(beat.heartbeat.ts)),
            escaped(&beat.heartbeat.version),
            beat.heartbeat.operator,
            beat.short_operator(),
            via.join(", ")
        );
    }
    html.push_str("</tbody>\n</table></div>\n");
}

/// A row for each resolver, a column for each zone; the checks come resolver by resolver.
fn resolvers(html: &mut String, survey: &Survey, checks: &[Check]) {
    if checks.is_empty() {
        return;
    }
    html.push_str(
        "<h2>Resolvers</h2>\n<p>Whether the users of a resolver find the nodes of a zone.</p>\n\
         <div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th>Resolver</th>",
    );
    for (zone, _) in &survey.zones {
        let _ = write!(html, "<th>{}</th>", escaped(zone.as_str()));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in checks.chunk_by(|a, b| (&a.name, &a.address) == (&b.name, &b.address)) {
        let Some(first) = row.first() else { continue };
        let name = if first.name == first.address {
            String::new()
        } else {
            escaped(&first.name) + " "
        };
        let address = escaped(&first.address);
        let _ = write!(html, "<tr><td>{name}<code>{address}</code></td>");
        for check in row {
            let (class, text) = match check.latency.filter(|_| check.is_ok()) {
                Some(took) => ("fresh", format!("ok, {} ms", took.as_millis())),
                None => ("expired", check.detail.clone()),
            };
            let text = escaped(&text);
            let _ = write!(html, "<td><span class=\"{class}\">{text}</span></td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
}

/// The host of an endpoint, for where there is little room.
pub(super) fn host_of(endpoint: &str) -> &str {
    endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host)
}

/// Text as it stands in HTML, in or outside of quotes. What cannot be seen, or turns the direction of what stands beside it, is written
/// as its number.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                let _ = write!(html, "{}", character.escape_unicode());
            }
            _ if character.is_control() => {
                let _ = write!(html, "{}", character.escape_unicode());
            }
            _ => html.push(character),
        }
    }
    html
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// How long ago.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup_or_turns_the_line() {
        assert_eq!(
            escaped("<b title=\"'x'\">&\u{202e}\u{1b}"),
            "&lt;b title=&quot;&#39;x&#39;&quot;&gt;&amp;\\u{202e}\\u{1b}"
        );
    }

    #[test]
    fn the_style_is_the_only_thing_that_the_policy_allows_and_it_loads_nothing() {
        let html = page(&Survey::default(), &[], UnixTime::new(0), "now");
        assert!(html.contains("default-src 'none'; style-src 'sha256-"));
        for forbidden in ["url(", "@import", "http:", "</"] {
            assert!(!STYLE.contains(forbidden), "{forbidden}");
        }
        for forbidden in ["<script", "style=", "src=", "<link"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}
