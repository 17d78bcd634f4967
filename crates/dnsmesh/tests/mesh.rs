//! `peers` and `directory` against real nodes on loopback (federation.md 2.12, 2.13). No resolver of the network is asked.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::node::{Node, OPERATOR_TOKEN, command};
use common::{Ran, program};
use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::record::Heartbeat;
use tempfile::TempDir;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A node with its heartbeat on, whose only resolver is `resolver`.
fn beating(dir: &TempDir, zone: &str, resolver: SocketAddr, seeds: &str) -> Node {
    let key = dir.path().join(format!("{zone}.key"));
    std::fs::write(&key, format!("{:064x}", zone.as_bytes()[0])).unwrap();
    let mut command = command(dir.path(), zone);
    command
        .env("DMP_HEARTBEAT_ENABLED", "1")
        .env("DMP_HEARTBEAT_SELF_ENDPOINT", format!("https://{zone}"))
        .env("DMP_HEARTBEAT_OPERATOR_KEY_PATH", key)
        .env("DMP_HEARTBEAT_DNS_RESOLVERS", resolver.to_string())
        .env("DMP_HEARTBEAT_SEEDS", seeds)
        .env("DMP_HEARTBEAT_VERSION", "1.2.3");
    Node::spawn(command, zone)
}

/// An address at which nobody answers.
fn nobody() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// Somebody's heartbeat, signed `age` seconds ago.
fn heartbeat(number: u8, zone: Option<&str>, version: &str, age: i64) -> String {
    let key = OperatorKey::from_ed25519_seed([number; 32]);
    let ts = now().saturating_add_signed(-age);
    let heartbeat = Heartbeat {
        endpoint: Endpoint::parse(&format!("https://n{number}.example.com")).unwrap(),
        operator: key.public(),
        version: version.to_owned(),
        capabilities: 0,
        claim_provider_zone: zone.map(str::to_owned),
        ts: UnixTime::new(ts),
        exp: UnixTime::new(ts + 86_400),
    };
    heartbeat.sign(&key).unwrap()
}

/// Publishes a value with the operator's token.
fn publish(node: &Node, owner: &str, value: &str) {
    let body = format!("{{\"value\": \"{value}\", \"ttl\": 300}}");
    let mut stream = TcpStream::connect(node.http).unwrap();
    write!(
        stream,
        "POST /v1/records/{owner} HTTP/1.1\r\nHost: n\r\nConnection: close\r\nAuthorization: Bearer {OPERATOR_TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

/// A run without any home or configuration.
fn run(dir: &TempDir, arguments: &[&str]) -> Ran {
    let mut command = program(arguments);
    command.env("HOME", dir.path()).current_dir(dir.path());
    Ran::of(arguments, command.output().unwrap())
}

/// Repeats a run until its standard output holds `text`.
fn run_until(dir: &TempDir, arguments: &[&str], text: &str) -> Ran {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let ran = run(dir, arguments).expect(0);
        if ran.stdout.contains(text) {
            return ran;
        }
        assert!(Instant::now() < end, "no `{text}`: {}", ran.stdout);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn peers_shows_the_node_of_a_zone_and_whom_it_has_heard_of_of_any_age() {
    let dir = tempfile::tempdir().unwrap();
    let alpha = beating(&dir, "alpha.test", nobody(), "");
    let resolver = alpha.dns.to_string();
    let peers = ["peers", "https://Alpha.test:8053/", "--resolver", &resolver];
    let own = "  self endpoint: https://alpha.test\n  operator spk:  ";
    let ran = run_until(&dir, &peers, own);
    let (head, tail) = ran.stdout.split_once("operator spk:  ").unwrap();
    assert_eq!(
        head,
        "zone:    alpha.test\n  self endpoint: https://alpha.test\n  "
    );
    let (key, tail) = tail.split_once('\n').unwrap();
    assert_eq!(key.len(), 64);
    assert_eq!(
        tail,
        "  claim zone:    alpha.test\n  version:       1.2.3\n\n(no peers seen yet)\n"
    );

    // Beta hears of alpha. Beside that, somebody's old heartbeat, one from the future, and junk lie in its zone.
    let beta = beating(&dir, "beta.test", alpha.dns, "alpha.test");
    let resolver = beta.dns.to_string();
    let peers = ["peers", "beta.test", "--resolver", &resolver];
    run_until(&dir, &peers, "peers (1):\n  https://alpha.test\n");
    for value in [
        heartbeat(7, None, "0.7.5\u{1b}[31m", 2 * 3_600 + 60),
        heartbeat(8, None, "", -4_000),
        "v=dmp1;t=heartbeat;AAAA".to_owned(),
    ] {
        publish(&beta, "_dnsmesh-seen.beta.test", &value);
    }
    let ran = run(&dir, &peers).expect(0);
    let (_, list) = ran.stdout.split_once("peers (2):\n").unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines[0], "  https://alpha.test");
    assert!(
        lines[1].starts_with(&format!(
            "    spk={}...{}  version=1.2.3  last heard ",
            &key[..8],
            &key[60..]
        )) && lines[1].ends_with("s ago"),
        "{list}"
    );
    assert_eq!(lines[2], "  https://n7.example.com");
    assert!(lines[3].ends_with("last heard 2h ago"), "{list}");
    assert!(!list.contains('\u{1b}'), "{list}");

    let json = run(&dir, &[&peers[..], &["--json"]].concat())
        .expect(0)
        .json();
    assert_eq!(json["zone"], "beta.test");
    assert_eq!(json["self"]["endpoint"], "https://beta.test");
    assert_eq!(json["self"]["claim_provider_zone"], "beta.test");
    let wire = json["self"]["wire"].as_str().unwrap();
    assert!(Heartbeat::parse(wire, dmp_core::record::Skew::INGEST, UnixTime::new(now())).is_ok());
    assert_eq!(json["seen"].as_array().unwrap().len(), 2);
    assert_eq!(json["seen"][0]["operator_spk_hex"], key);
    assert_eq!(json["seen"][1]["claim_provider_zone"], "");
    assert_eq!(json["seen"][1].get("wire"), None);
}

#[test]
fn peers_of_a_zone_that_publishes_nothing_is_no_failure_and_of_none_that_answers_is() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let resolver = node.dns.to_string();
    let asked = ["peers", "ALPHA.test", "--resolver", &resolver];
    let ran = run(&dir, &asked).expect(0);
    assert_eq!(
        ran.stdout,
        "zone:    alpha.test\n  (_dnsmesh-heartbeat.alpha.test not published yet)\n\n(no peers seen yet)\n"
    );
    let json = run(&dir, &[&asked[..], &["--json"]].concat())
        .expect(0)
        .json();
    assert_eq!(json["self"], serde_json::Value::Null);
    assert_eq!(json["seen"], serde_json::json!([]));

    // With a configuration its resolvers are asked.
    let user = common::User::new(dir.path(), "u");
    user.run(&["init", "alice", "--dns-resolvers", &resolver])
        .expect(0);
    user.run(&["peers", "alpha.test", "--timeout", "3"])
        .expect(0)
        .says("(no peers seen yet)");

    let nobody = nobody().to_string();
    run(&dir, &["peers", "alpha.test", "--resolver", &nobody])
        .expect(2)
        .nothing_on_stdout()
        .warns("[peers-unreachable]");
    for wrong in [
        "https://192.0.2.1",
        "http://[2001:db8::1]:8053",
        "https://localhost",
        "a b",
        "",
    ] {
        run(&dir, &["peers", wrong, "--resolver", &nobody])
            .expect(1)
            .warns("[peers-zone]");
    }
}

#[test]
fn directory_writes_a_feed_and_a_page_that_names_nobody_as_markup() {
    let dir = tempfile::tempdir().unwrap();
    let alpha = beating(&dir, "alpha.test", nobody(), "");
    let beta = beating(&dir, "beta.test", alpha.dns, "alpha.test");
    let [alphas, betas] = [&alpha, &beta].map(|node| node.dns.to_string());
    run_until(
        &dir,
        &["peers", "beta.test", "--resolver", &betas],
        "peers (1):",
    );
    run_until(
        &dir,
        &["peers", "alpha.test", "--resolver", &alphas],
        "  self endpoint: ",
    );
    for value in [
        heartbeat(
            7,
            Some("<svg/onload=alert(1)>"),
            "<script>alert(1)</script>",
            700,
        ),
        heartbeat(8, None, "", -4_000),
        "v=dmp1;t=heartbeat;AAAA".to_owned(),
    ] {
        publish(&beta, "_dnsmesh-seen.beta.test", &value);
    }
    let seeds = dir.path().join("seeds.txt");
    std::fs::write(&seeds, "# ours\n\nhttps://BETA.test/\nhttp://192.0.2.1\n").unwrap();
    let seeds = seeds.to_str().unwrap();
    let asked = [
        "directory",
        "--seed",
        "Alpha.test/",
        "--seeds-file",
        seeds,
        "--resolver",
        &betas,
        "--resolver",
        &alphas,
        "--log-level",
        "warning",
    ];
    let ran = run(&dir, &asked)
        .expect(0)
        .warns("`http://192.0.2.1` names no zone");
    assert_eq!(
        ran.stdout,
        "wrote feed.json and index.html to ./public\n3 node(s), 2 edge(s); 2 of 2 zone(s) answered; \
         2 of 4 looks through resolvers found a heartbeat\n"
    );
    let public = dir.path().join("public");
    let names = std::fs::read_dir(&public).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["feed.json", "index.html"]);

    let text = std::fs::read_to_string(public.join("feed.json")).unwrap();
    assert!(
        text.starts_with("{\n  \"version\": 2,\n  \"generated_at\": ") && text.ends_with("}\n")
    );
    let feed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(feed["node_count"], 3);
    let nodes = feed["nodes"].as_array().unwrap();
    assert!(nodes[0]["ts"].as_u64() >= nodes[1]["ts"].as_u64());
    assert_eq!(nodes[2]["endpoint"], "https://n7.example.com");
    assert_eq!(nodes[2]["version"], "<script>alert(1)</script>");
    assert_eq!(nodes[2]["last_seen_via"], serde_json::json!(["beta.test"]));
    assert_eq!(nodes[2]["geo"], serde_json::Value::Null);
    assert_eq!(nodes[2]["host"], serde_json::Value::Null);
    let both = nodes
        .iter()
        .find(|node| node["endpoint"] == "https://alpha.test")
        .unwrap();
    assert_eq!(
        both["last_seen_via"],
        serde_json::json!(["alpha.test", "beta.test"])
    );
    for node in nodes {
        let wire = node["wire"].as_str().unwrap();
        let skew = dmp_core::record::Skew::PassedOn;
        assert!(Heartbeat::parse(wire, skew, UnixTime::new(now())).is_ok());
    }
    let edges = feed["seen_edges"].as_array().unwrap();
    assert_eq!(edges.len(), 2);
    assert!(
        edges
            .iter()
            .any(|edge| edge["to_spk"] == both["operator_spk_hex"])
    );
    let looks = feed["resolvers"].as_array().unwrap();
    assert_eq!(looks.len(), 4);
    for look in looks {
        let own = [("alpha.test", &alphas), ("beta.test", &betas)];
        let is_own = own
            .iter()
            .any(|(zone, resolver)| look["zone"] == *zone && look["addr"] == **resolver);
        assert_eq!(look["ok"], is_own, "{look}");
        assert_eq!(look["detail"] == "ok", is_own, "{look}");
        assert_eq!(look["endpoint"].is_string(), is_own, "{look}");
    }

    let html = std::fs::read_to_string(public.join("index.html")).unwrap();
    for wanted in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "default-src 'none'",
        "https://n7.example.com",
        "<svg viewBox",
    ] {
        assert!(html.contains(wanted), "{wanted}: {html}");
    }
    for forbidden in ["<script", "<svg/", "src=", "@import", "url(", "<link"] {
        assert!(!html.contains(forbidden), "{forbidden}: {html}");
    }

    // When nobody answers, what was is kept.
    let dead = nobody().to_string();
    run(
        &dir,
        &["directory", "--seed", "alpha.test", "--resolver", &dead],
    )
    .expect(2)
    .warns("[directory-unreachable]");
    assert_eq!(
        std::fs::read_to_string(public.join("feed.json")).unwrap(),
        text
    );
    run(&dir, &["directory", "--resolver", &dead])
        .expect(1)
        .warns("[directory-seeds]");
    run(&dir, &["directory", "--seed", "a..b", "--resolver", &dead])
        .expect(1)
        .warns("warning: `a..b` names no zone");
    let quiet = [
        "directory",
        "--seed",
        "alpha.test",
        "--resolver",
        &alphas,
        "--no-resolver-matrix",
        "--json",
    ];
    let json = run(&dir, &quiet).expect(0).json();
    assert_eq!((&json["nodes"], &json["checks"]), (&1.into(), &0.into()));
}
