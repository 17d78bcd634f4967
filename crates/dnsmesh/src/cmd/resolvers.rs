//! `resolvers discover|list|test` (cli.md 3.11, federation.md 7.3), and the table of findings that `doctor network` prints too.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dmp_client::config::Config;
use dmp_client::connect::resolver_entries;
use dmp_net::scan::{self, Probes, Reach, ResolverReport, Verdict};
use dmp_net::{Entry, Upstream};
use serde::Serialize;

use super::Outcome;
use crate::args::resolvers::{DiscoverArgs, ResolversCommand, TestArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::report::{Report, line};
use crate::screen;

/// Does what the command line asks.
pub(super) async fn perform(context: &Context, command: ResolversCommand) -> Outcome {
    match command {
        ResolversCommand::Discover(args) => discover(context, args).await,
        ResolversCommand::List => Ok(Box::new(Listed(context.config()?.dns_resolvers))),
        ResolversCommand::Test(args) => test(context, args).await,
    }
}

/// Asks candidates and keeps those that answer.
async fn discover(context: &Context, args: DiscoverArgs) -> Outcome {
    if args.save {
        context.config()?;
    }
    let mut notes = Vec::new();
    let candidates = candidates(&args.candidates, &mut notes);
    let working = scan::discover(&candidates, &Probes::default(), args.timeout).await;
    if working.is_empty() {
        let reason = format!(
            "none of {} resolvers answered as one should",
            candidates.len()
        );
        return Err(Failure::new(Exit::Remote, "resolvers-none", reason)
            .hint("the configuration was not changed")
            .hint(
                "this network may allow its own resolver only: `dnsmesh resolvers test system`",
            ));
    }
    let resolvers: Vec<String> = working.iter().map(ToString::to_string).collect();
    let saved = match args.save {
        false => None,
        true => {
            let config = context.home.update_config(|config| {
                let before: &[String] = if args.replace {
                    &[]
                } else {
                    &config.dns_resolvers
                };
                config.dns_resolvers = merged(before, &resolvers);
            })?;
            Some(Saved {
                count: config.dns_resolvers.len(),
                path: context.home.config_path(),
            })
        }
    };
    Ok(Box::new(Discovered {
        resolvers,
        saved,
        notes,
    }))
}

/// Those to ask; what is no address is skipped with a warning (federation.md 7.3).
fn candidates(given: &[String], notes: &mut Vec<String>) -> Vec<Upstream> {
    if given.is_empty() {
        return public();
    }
    let mut candidates = Vec::new();
    for text in given.iter().filter(|text| !text.trim().is_empty()) {
        match text.parse::<Entry>() {
            Ok(entry) => candidates.extend(entry.upstreams()),
            Err(error) => notes.push(format!("warning: skipped: {error}")),
        }
    }
    candidates
}

/// Entries that the user wrote, then the resolvers that work.
pub(crate) fn merged(before: &[String], working: &[String]) -> Vec<String> {
    let own = before.iter().filter(|entry| is_own(entry));
    let mut merged: Vec<String> = own.cloned().collect();
    for resolver in working {
        if !merged.contains(resolver) {
            merged.push(resolver.clone());
        }
    }
    merged
}

/// Well-known public resolvers.
pub(crate) fn public() -> Vec<Upstream> {
    let address = |ip| Upstream::from(SocketAddr::from((ip, 53)));
    scan::PUBLIC.map(address).to_vec()
}

/// Whether an entry is more than the address of a resolver: then the user wrote it, not an earlier discovery (L18).
pub(crate) fn is_own(entry: &str) -> bool {
    let bare = entry.trim().trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_err()
}

/// Looks at the resolvers that are named, or else at those that look-ups use.
async fn test(context: &Context, args: TestArgs) -> Outcome {
    let entries = match args.resolvers.as_slice() {
        [] if context.home.has_config() => resolver_entries(&context.config()?)?,
        [] => resolver_entries(&Config::default())?,
        named => named.to_vec(),
    };
    let mut upstreams: Vec<Upstream> = Vec::new();
    let public = if args.public { public() } else { Vec::new() };
    for upstream in entries.iter().flat_map(Entry::upstreams).chain(public) {
        if !upstreams.contains(&upstream) {
            upstreams.push(upstream);
        }
    }
    let reports = scan::scan(&upstreams, &Probes::default(), args.timeout).await;
    Ok(Box::new(Tested(reports)))
}

/// The findings as a table with one line for each resolver, then one line for each thing that is not as it should be.
pub(crate) fn table(reports: &[ResolverReport]) -> String {
    let mut rows = vec![
        [
            "RESOLVER", "TLS", "UDP", "TCP", "SIZE", "EDNS", "TXT", "CASE", "NXDOMAIN", "DNSSEC",
            "USABLE",
        ]
        .map(str::to_owned),
    ];
    rows.extend(reports.iter().map(|report| {
        let usable = if report.is_usable() { "yes" } else { "no" };
        [
            report.upstream.to_string(),
            reach(&report.encrypted),
            reach(&report.udp),
            reach(&report.tcp),
            report
                .payload
                .map_or_else(|| "-".to_owned(), |size| size.to_string()),
            word(&report.edns).to_owned(),
            word(&report.txt).to_owned(),
            word(&report.case).to_owned(),
            word(&report.nxdomain).to_owned(),
            word(&report.dnssec).to_owned(),
            usable.to_owned(),
        ]
    }));
    let mut text = aligned(&rows);
    for report in reports {
        for (what, why) in faults(report) {
            let why = screen::line(why);
            text.push_str(&format!("  {}: {what}: {why}\n", report.upstream));
        }
    }
    text
}

/// The findings as one object a line.
pub(crate) fn json_lines(reports: &[ResolverReport]) -> String {
    #[derive(Serialize)]
    struct Members<'a> {
        resolver: String,
        usable: bool,
        latency_ms: Option<u64>,
        encrypted: Option<bool>,
        udp: Option<bool>,
        tcp: Option<bool>,
        payload: Option<u16>,
        edns: Option<bool>,
        txt: Option<bool>,
        case: Option<bool>,
        nxdomain: Option<bool>,
        dnssec: Option<bool>,
        faults: Vec<Fault<'a>>,
    }
    #[derive(Serialize)]
    struct Fault<'a> {
        what: &'a str,
        reason: &'a str,
    }
    let lines = reports.iter().map(|report| {
        let faults = faults(report)
            .into_iter()
            .map(|(what, reason)| Fault { what, reason });
        line(
            "dmp.resolver/1",
            &Members {
                resolver: report.upstream.to_string(),
                usable: report.is_usable(),
                latency_ms: report.latency().map(milliseconds),
                encrypted: answers(&report.encrypted),
                udp: answers(&report.udp),
                tcp: answers(&report.tcp),
                payload: report.payload,
                edns: known(&report.edns),
                txt: known(&report.txt),
                case: known(&report.case),
                nxdomain: known(&report.nxdomain),
                dnssec: known(&report.dnssec),
                faults: faults.collect(),
            },
        )
    });
    lines.collect()
}

/// What is not as it should be, in the order of the columns.
fn faults(report: &ResolverReport) -> Vec<(&'static str, &str)> {
    let reaches = [
        ("tls", &report.encrypted),
        ("udp", &report.udp),
        ("tcp", &report.tcp),
    ];
    let verdicts = [
        ("edns", &report.edns),
        ("txt", &report.txt),
        ("case", &report.case),
        ("nxdomain", &report.nxdomain),
        ("dnssec", &report.dnssec),
    ];
    let reaches = reaches.into_iter().filter_map(|(what, reach)| match reach {
        Reach::Fails(why) => Some((what, why.as_str())),
        Reach::Answers(_) | Reach::NotAsked => None,
    });
    let verdicts = verdicts
        .into_iter()
        .filter_map(|(what, verdict)| match verdict {
            Verdict::No(why) => Some((what, why.as_str())),
            Verdict::Yes | Verdict::Unknown => None,
        });
    reaches.chain(verdicts).collect()
}

/// Columns of one width, two blanks between them, none at the end of a line.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Answers(latency) => format!("{} ms", milliseconds(*latency)),
        Reach::Fails(_) => "no".to_owned(),
        Reach::NotAsked => "-".to_owned(),
    }
}

fn answers(reach: &Reach) -> Option<bool> {
    match reach {
        Reach::Answers(_) => Some(true),
        Reach::Fails(_) => Some(false),
        Reach::NotAsked => None,
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Yes => "yes",
        Verdict::No(_) => "no",
        Verdict::Unknown => "-",
    }
}

fn known(verdict: &Verdict) -> Option<bool> {
    match verdict {
        Verdict::Yes => Some(true),
        Verdict::No(_) => Some(false),
        Verdict::Unknown => None,
    }
}

/// For people, and for programs.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

struct Tested(Vec<ResolverReport>);

impl Report for Tested {
    fn text(&self) -> String {
        table(&self.0)
    }

    fn json(&self) -> String {
        json_lines(&self.0)
    }

    fn exit(&self) -> Exit {
        if self.0.iter().any(ResolverReport::is_usable) {
            Exit::Done
        } else {
            Exit::Remote
        }
    }
}

struct Listed(Vec<String>);

impl Report for Listed {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "(no dns_resolvers configured: `dnsmesh resolvers discover --save` finds some)\n"
                .to_owned();
        }
        self.0
            .iter()
            .map(|entry| screen::line(entry) + "\n")
            .collect()
    }

    fn json(&self) -> String {
        resolvers_line(&self.0, None)
    }
}

struct Discovered {
    resolvers: Vec<String>,
    saved: Option<Saved>,
    notes: Vec<String>,
}

/// What a configuration holds now.
struct Saved {
    count: usize,
    path: PathBuf,
}

impl Report for Discovered {
    fn text(&self) -> String {
        let mut text = format!("discovered {} working resolver(s):\n", self.resolvers.len());
        for resolver in &self.resolvers {
            text.push_str(&format!("  {resolver}\n"));
        }
        if let Some(Saved { count, path }) = &self.saved {
            text.push_str(&format!("saved {count} resolvers to {}\n", path.display()));
        }
        text
    }

    fn json(&self) -> String {
        resolvers_line(&self.resolvers, self.saved.as_ref())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

fn resolvers_line(resolvers: &[String], saved: Option<&Saved>) -> String {
    #[derive(Serialize)]
    struct Members<'a> {
        resolvers: &'a [String],
        saved_to: Option<String>,
    }
    line(
        "dmp.resolvers/1",
        &Members {
            resolvers,
            saved_to: saved.map(|saved| saved.path.display().to_string()),
        },
    )
}
