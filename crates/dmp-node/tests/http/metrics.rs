//! `GET /metrics`: the reference's three families to the octet, the full list of names, and what moves which counter
//! (node.md 6.7, product.md 7); the page, the dashboard and the alert rules that speak of those names.

use crate::process::update;
use crate::support::{Answer, OPERATOR, TestNode, User, bearer, multi_tenant};
use dmp_dns::message::QueryBuilder;
use dmp_dns::{Rcode, Rtype};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every family with its type; whoever adds one tells operators what it is for.
const FAMILIES: &[(&str, &str)] = &[
    ("dmp_acme_renewals_total", "counter"),
    ("dmp_build_info", "gauge"),
    ("dmp_claims_evicted_total", "counter"),
    ("dmp_claims_total", "counter"),
    ("dmp_clock_jumps_total", "counter"),
    ("dmp_dns_dropped_total", "counter"),
    ("dmp_dns_queries_total", "counter"),
    ("dmp_dns_request_duration_seconds", "histogram"),
    ("dmp_dns_requests_total", "counter"),
    ("dmp_dns_response_size_bytes", "histogram"),
    ("dmp_dns_responses_total", "counter"),
    ("dmp_dns_tcp_connections", "gauge"),
    ("dmp_dns_tcp_connections_total", "counter"),
    ("dmp_heartbeat_peers", "gauge"),
    ("dmp_heartbeat_rounds_total", "counter"),
    ("dmp_http_connections", "gauge"),
    ("dmp_http_connections_total", "counter"),
    ("dmp_http_request_duration_seconds", "histogram"),
    ("dmp_http_requests_total", "counter"),
    ("dmp_panics_total", "counter"),
    ("dmp_records", "gauge"),
    ("dmp_registration_total", "counter"),
    ("dmp_role", "gauge"),
    ("dmp_rrl_total", "counter"),
    ("dmp_store_bytes", "gauge"),
    ("dmp_store_commit_duration_seconds", "histogram"),
    ("dmp_store_commit_requests", "histogram"),
    ("dmp_store_expired_total", "counter"),
    ("dmp_store_full", "gauge"),
    ("dmp_store_read_only", "gauge"),
    ("dmp_store_records", "gauge"),
    ("dmp_store_rows_removed_total", "counter"),
    ("dmp_store_writes_total", "counter"),
    ("dmp_sync_lag_seconds", "gauge"),
    ("dmp_sync_peers", "gauge"),
    ("dmp_sync_peers_failing", "gauge"),
    ("dmp_sync_refused_total", "counter"),
    ("dmp_sync_rounds_total", "counter"),
    ("dmp_sync_values_total", "counter"),
    ("dmp_tls_certificate_expiry_timestamp_seconds", "gauge"),
    ("dmp_tokens", "gauge"),
    ("dmp_tsig_errors_total", "counter"),
    ("dmp_tsig_keys", "gauge"),
    ("dmp_update_total", "counter"),
    ("dmp_uptime_seconds", "gauge"),
    ("dmp_zone_serial", "gauge"),
];

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path: PathBuf = root.join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn scrape(node: &TestNode) -> String {
    let answer = node.request("GET", "/metrics", &bearer(OPERATOR), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The value of a series, written as in the text.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
        .parse()
        .unwrap()
}

fn ask(node: &TestNode, request: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.send_to(request, node.dns_address()).unwrap();
    let mut answer = vec![0; 4_096];
    let length = socket.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

fn query(name: &str, rtype: Rtype) -> Vec<u8> {
    QueryBuilder::new(name.parse().unwrap(), rtype).build(9)
}

/// The text, once `series` has `expected`: what follows an answer is counted a moment later.
async fn scrape_until(node: &TestNode, series: &str, expected: f64) -> String {
    loop {
        let text = scrape(node).await;
        if value(&text, series) >= expected {
            return text;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_families_of_the_reference_are_as_it_writes_them() {
    let node = TestNode::start(&[("DMP_DOMAIN", "mesh.test")]).await;
    node.publish("", "a.mesh.test", r#"{"value": "x"}"#).await;
    node.get("/nope").await;
    for _ in 0..3 {
        ask(&node, &query("a.mesh.test", Rtype::TXT));
    }
    ask(&node, &query("b.mesh.test", Rtype::TXT));
    let answer = node.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4");
    let reference = "\
# HELP dmp_dns_queries_total DMP DNS queries by outcome
# TYPE dmp_dns_queries_total counter
dmp_dns_queries_total{outcome=\"noerror\"} 3.0
dmp_dns_queries_total{outcome=\"nxdomain\"} 1.0
# HELP dmp_http_requests_total Total DMP HTTP API requests, by method and status
# TYPE dmp_http_requests_total counter
dmp_http_requests_total{method=\"GET\",status=\"404\"} 1.0
dmp_http_requests_total{method=\"POST\",status=\"201\"} 1.0
# HELP dmp_records Live records in the DMP mailbox store
# TYPE dmp_records gauge
dmp_records 1.0
";
    let names = [
        "dmp_dns_queries_total",
        "dmp_http_requests_total",
        "dmp_records",
    ];
    let of_reference = |line: &&str| {
        let rest = line
            .trim_start_matches("# HELP ")
            .trim_start_matches("# TYPE ");
        names.iter().any(|name| {
            rest.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        })
    };
    let shown: Vec<&str> = answer.body.lines().filter(of_reference).collect();
    assert_eq!(shown, reference.lines().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_reads_them_where_there_is_a_token() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    for token in ["", "wrong"] {
        let answer = node.request("GET", "/metrics", &bearer(token), "").await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (401, "unauthorized")
        );
    }
    assert!(scrape(&node).await.lines().count() > 100);
    let closed = TestNode::start(&[("DMP_AUTH_MODE", "multi-tenant")]).await;
    assert_eq!(
        closed.get("/metrics").await.status,
        401,
        "no token, many users"
    );
    let open = TestNode::start(&[]).await;
    assert_eq!(open.get("/metrics").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_that_asks_for_openmetrics_gets_it() {
    let node = TestNode::start(&[]).await;
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let answer = node.request("GET", "/metrics", accept, "").await;
    assert!(answer.headers["content-type"].starts_with("application/openmetrics-text"));
    assert!(answer.body.contains("# TYPE dmp_store_writes counter\n"));
    assert!(answer.body.ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_names_is_complete_and_every_series_belongs_to_one() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    node.get("/health").await;
    ask(&node, &query("b.mesh.test", Rtype::TXT));
    let text = scrape(&node).await;
    let shown: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    assert_eq!(shown, FAMILIES);
    let mut family = ("", "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (_, words) = help.split_once(' ').unwrap();
            assert!(!words.is_empty(), "{line}");
        } else if let Some(named) = line.strip_prefix("# TYPE ") {
            family = named.split_once(' ').unwrap();
            let is_counter = family.1 == "counter";
            assert_eq!(family.0.ends_with("_total"), is_counter, "{line}");
        } else {
            let (series, number) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.0).unwrap_or("?");
            let suffixes: &[&str] = match family.1 {
                "histogram" => &["_bucket", "_count", "_sum"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(number.contains(['.', 'e']), "values are floats: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_over_dns_is_counted() {
    let node = TestNode::start(&multi_tenant(&[("DMP_DNS_RATE", "0")])).await;
    let user = User::new("alice@mesh.test", 1);
    let key = node.register("tsig-confirm", &user).await.json();
    let owner = key["allowed_suffixes"][5].as_str().unwrap().to_owned();
    let dns = node.dns_address();
    assert_eq!(update(dns, &key, &owner, "v=1"), (Rcode::NOERROR, true));
    let foreign = "id-0000000000000000.mesh.test";
    assert_eq!(update(dns, &key, foreign, "v=1"), (Rcode::REFUSED, true));
    let name = key["tsig_key_name"].as_str().unwrap();
    assert!(node.credentials().revoke_key(name).await.unwrap());
    assert_eq!(update(dns, &key, &owner, "v=2"), (Rcode::NOTAUTH, false));
    ask(&node, &query(&owner, Rtype::A));
    ask(&node, &query("elsewhere.example", Rtype::TXT));
    let cut = query(&owner, Rtype::TXT);
    assert_eq!(ask(&node, &cut[..cut.len() - 20])[3] & 15, 1, "FORMERR");
    let unsigned = dmp_dns::update::UpdateBuilder::new(&"mesh.test".parse().unwrap()).build(5);
    assert_eq!(ask(&node, &unsigned)[3] & 15, 5, "no claim in it");
    let nothing = UdpSocket::bind("127.0.0.1:0").unwrap();
    nothing.send_to(b"short", dns).unwrap();
    let mut stream = TcpStream::connect(dns).unwrap();
    let request = query(&owner, Rtype::TXT);
    stream
        .write_all(&(request.len() as u16).to_be_bytes())
        .unwrap();
    stream.write_all(&request).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();

    let dropped = r#"dmp_dns_dropped_total{proto="udp",reason="unanswerable"}"#;
    let text = scrape_until(&node, dropped, 1.0).await;
    for (series, expected) in [
        (r#"dmp_update_total{result="applied"}"#, 1.0),
        (r#"dmp_update_total{result="refused"}"#, 2.0),
        (r#"dmp_tsig_errors_total{error="badkey"}"#, 1.0),
        (r#"dmp_claims_total{result="refused"}"#, 1.0),
        (r#"dmp_dns_queries_total{outcome="tsig_failed"}"#, 1.0),
        (r#"dmp_dns_queries_total{outcome="malformed"}"#, 2.0),
        (r#"dmp_dns_queries_total{outcome="refused"}"#, 3.0),
        (r#"dmp_dns_queries_total{outcome="noerror"}"#, 3.0),
        (
            r#"dmp_dns_responses_total{proto="udp",rcode="notauth"}"#,
            1.0,
        ),
        (
            r#"dmp_dns_responses_total{proto="udp",rcode="formerr"}"#,
            1.0,
        ),
        (
            r#"dmp_dns_responses_total{proto="tcp",rcode="noerror"}"#,
            1.0,
        ),
        (
            r#"dmp_dns_requests_total{proto="udp",family="1",opcode="UPDATE",type="none"}"#,
            4.0,
        ),
        (
            r#"dmp_dns_requests_total{proto="udp",family="1",opcode="QUERY",type="A"}"#,
            1.0,
        ),
        (
            r#"dmp_dns_requests_total{proto="tcp",family="1",opcode="QUERY",type="TXT"}"#,
            1.0,
        ),
        (
            r#"dmp_dns_request_duration_seconds_count{opcode="UPDATE",proto="udp"}"#,
            3.0,
        ),
        (
            r#"dmp_dns_request_duration_seconds_count{opcode="QUERY",proto="udp"}"#,
            2.0,
        ),
        (r#"dmp_dns_response_size_bytes_count{proto="udp"}"#, 7.0),
        (r#"dmp_dns_tcp_connections"#, 1.0),
        (r#"dmp_dns_tcp_connections_total{event="accepted"}"#, 1.0),
        (r#"dmp_registration_total{result="challenge"}"#, 1.0),
        (r#"dmp_registration_total{result="key"}"#, 1.0),
        (r#"dmp_store_writes_total{result="committed"}"#, 3.0),
        (r#"dmp_store_writes_total{result="refused"}"#, 1.0),
        ("dmp_tsig_keys", 0.0),
        ("dmp_store_records", 1.0),
        ("dmp_store_read_only", 0.0),
        (r#"dmp_role{role="claim_receiver"}"#, 1.0),
        (r#"dmp_role{role="claim_provider"}"#, 0.0),
        (r#"dmp_panics_total{part="dns"}"#, 0.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    assert!(value(&text, r#"dmp_store_bytes{file="database"}"#) > 0.0);
    assert!(value(&text, "dmp_store_commit_duration_seconds_count") >= 2.0);
    assert!(value(&text, "dmp_zone_serial") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_is_counted() {
    let node = TestNode::start(&[("DMP_CLEANUP_INTERVAL", "0.01")]).await;
    node.publish("", "a.test", r#"{"value": "x", "ttl": 5}"#)
        .await;
    node.clock.advance(6);
    let text = scrape_until(&node, "dmp_store_rows_removed_total", 1.0).await;
    assert_eq!(value(&text, "dmp_store_expired_total"), 1.0);
    assert_eq!(value(&text, "dmp_records"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_client_is_told_when_to_come_back() {
    let settings = [("DMP_HTTP_RATE", "0.25"), ("DMP_HTTP_BURST", "1")];
    let node = TestNode::start(&settings).await;
    let get = || node.get("/v1/records/a.test");
    assert_eq!(get().await.status, 404);
    let limited: Answer = get().await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.headers["retry-after"], "4");
}

#[test]
fn the_operators_page_lists_every_name_with_its_type() {
    let page = file("docs/operate/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name, cells.next()?))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    assert_eq!(rows, FAMILIES);
}

/// Every word in the text that looks like one of our names.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("dmp_"));
    ours.map(str::to_owned).collect()
}

#[track_caller]
fn assert_known(used: &BTreeSet<String>) {
    for name in used {
        let is_known = FAMILIES.iter().any(|(family, kind)| {
            let parts = ["_bucket", "_count", "_sum"];
            family == name
                || *kind == "histogram"
                    && parts.iter().any(|part| *name == format!("{family}{part}"))
        });
        assert!(is_known, "{name} is no metric");
    }
}

#[test]
fn the_dashboard_shows_every_family_and_none_that_does_not_exist() {
    let dashboard: Value = serde_json::from_str(&file("dist/grafana/dnsmesh-node.json")).unwrap();
    let mut expressions = String::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions += target["expr"].as_str().unwrap();
            expressions += "\n";
        }
    }
    let used = names_in(&expressions);
    assert_known(&used);
    for (family, _) in FAMILIES.iter().filter(|(family, _)| *family != "dmp_role") {
        assert!(
            used.iter().any(|name| name.starts_with(family)),
            "{family} is on no panel"
        );
    }
}

#[test]
fn every_alert_uses_names_that_exist_and_has_a_runbook() {
    let rules: yaml_serde::Value =
        yaml_serde::from_str(&file("dist/prometheus/alerts.yaml")).unwrap();
    let rules: Value = serde_json::to_value(rules).unwrap();
    let page = file("docs/operate/metrics.md");
    let headings: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let mut alerts = Vec::new();
    for rule in rules {
        let alert = rule["alert"].as_str().unwrap();
        alerts.push(alert);
        let expression = rule["expr"].as_str().unwrap();
        let used = names_in(expression);
        assert_known(&used);
        assert!(!used.is_empty() || alert == "DnsmeshDown", "{alert}");
        let runbook = rule["annotations"]["runbook"].as_str().unwrap();
        let anchor = format!("docs/operate/metrics.md#{}", alert.to_lowercase());
        assert_eq!(runbook, anchor);
        assert!(rule["annotations"]["summary"].is_string(), "{alert}");
    }
    assert_eq!(
        alerts, headings,
        "one runbook line each, in the order of the rules"
    );
}
