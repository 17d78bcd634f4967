//! `doctor` against a real node and against servers that are none: lines, exit codes, `--repair`, `--fix`, JSON.

mod common;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use common::User;
use common::node::Node;
use serde_json::Value;

/// The findings of a run in JSON: code and level; the last line is the summary.
fn findings(output: &str) -> (Vec<(String, String)>, Value) {
    let mut lines: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary["schema"], "dmp.doctor/1");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = lines
        .iter()
        .filter(|line| line["schema"] == "dmp.check/1")
        .map(|line| (text(&line["code"]), text(&line["level"])))
        .collect();
    (checks, summary)
}

fn level<'a>(checks: &'a [(String, String)], code: &str) -> &'a str {
    checks
        .iter()
        .find(|(found, _)| found == code)
        .map(|(_, level)| level.as_str())
        .unwrap_or_else(|| panic!("no {code} in {checks:?}"))
}

#[test]
fn from_a_fresh_home_to_a_published_identity_the_doctor_follows() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = node.user(dir.path(), "alice");
    // No passphrase was ever given.
    let first = alice.run(&["doctor"]).expect(0);
    let head = format!(
        "CONFIG\n------\n  config: {}\n  username: alice\n  domain: alpha.test\n  endpoint: {}\n\nCHECKS\n------\n",
        alice.home.join("config.yaml").display(),
        node.url()
    );
    let body = first
        .stdout
        .strip_prefix(&head)
        .unwrap_or_else(|| panic!("{}", first.stdout));
    assert!(
        body.starts_with("  PASS  endpoint reachable\n        http"),
        "{body}"
    );
    let first = first
        .says("  PASS  local DNS endpoint answers\n")
        .says("  PASS  node serves your zone\n")
        .says("  WARN  TSIG not registered\n")
        .says("\n        → dnsmesh tsig register");
    let warnings = first.stdout.matches("  WARN  ").count();
    assert!(
        first
            .stdout
            .ends_with(&format!("\nDOCTOR: {warnings} WARN\n")),
        "{}",
        first.stdout
    );
    assert!(!first.stdout.contains('\u{1b}'));
    alice
        .run(&["--color", "always", "doctor"])
        .expect(0)
        .says("  \u{1b}[32mPASS\u{1b}[0m  endpoint reachable\n")
        .says("  \u{1b}[33mWARN\u{1b}[0m  TSIG not registered\n");

    node.give_key(&alice);
    alice
        .run(&["identity", "publish", "--advertise-v2"])
        .expect(0);
    alice.run(&["identity", "refresh-prekeys"]).expect(0);
    let clean = alice.without("DMP_PASSPHRASE").run(&["doctor"]).expect(0);
    assert!(
        clean.stdout.ends_with("\nDOCTOR: clean\n"),
        "{}",
        clean.stdout
    );
    let clean = clean
        .says("  PASS  TSIG key configured\n")
        .says("  PASS  node accepts the TSIG key\n")
        .says("  PASS  clock agrees with the node's\n")
        .says("  PASS  credential lasts\n")
        .says("  PASS  files are private\n")
        .says("  PASS  identity record is visible through the configured resolvers\n");
    assert!(
        clean.stdout.contains("        until 20"),
        "{}",
        clean.stdout
    );
}

#[test]
fn what_does_not_answer_fails_with_status_1() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = node.user(dir.path(), "alice");
    node.give_key(&alice);
    // A secret that the node does not know.
    let secret = alice.setting("tsig_secret_hex");
    alice
        .run(&[
            "config",
            "set",
            "tsig_secret_hex",
            &"00".repeat(secret.trim_matches('\'').len() / 2),
        ])
        .expect(0);
    let ran = alice.run(&["doctor", "--json"]).expect(1);
    let (checks, summary) = findings(&ran.stdout);
    assert_eq!(
        (level(&checks, "endpoint"), level(&checks, "tsig-accepted")),
        ("ok", "fail")
    );
    assert_eq!(
        (&summary["about"], &summary["fail"]),
        (&"home".into(), &1.into())
    );
    assert_eq!(
        summary["ok"].as_u64().unwrap() + summary["warn"].as_u64().unwrap() + 1,
        checks.len() as u64
    );

    alice.run(&["identity", "show"]).expect(0);
    node.stop("TERM");
    let ran = alice.run(&["doctor"]).expect(1);
    let ran = ran
        .says("  FAIL  endpoint unreachable\n")
        .says("  FAIL  local DNS endpoint does not answer as a node\n");
    assert!(
        ran.stdout.contains("DOCTOR: ") && ran.stdout.contains(" FAIL, "),
        "{}",
        ran.stdout
    );
    alice.run(&["doctor", "network", "--json"]).expect(1);
    User::new(dir.path(), "nobody")
        .run(&["doctor"])
        .expect(1)
        .warns("no config at ");
}

#[test]
fn strangers_see_what_the_doctor_shows_through_each_resolver() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = node.user(dir.path(), "alice");
    node.give_key(&alice);
    alice
        .run(&["identity", "publish", "--ttl", "3600"])
        .expect(0);
    let ran = alice.run(&["doctor", "identity", "--json"]).expect(0);
    let (checks, summary) = findings(&ran.stdout);
    assert_eq!(summary["about"], "identity");
    for (code, expected) in [
        ("identity-record", "ok"),
        ("identity-prekeys", "warn"),
        ("identity-envelopes", "warn"),
        ("tsig-accepted", "ok"),
        ("clock", "ok"),
    ] {
        assert_eq!(level(&checks, code), expected, "{code}");
    }
    let record = ran
        .stdout
        .lines()
        .find(|line| line.contains("identity-record"))
        .unwrap();
    let record: Value = serde_json::from_str(record).unwrap();
    assert!(
        record["expires_at"].is_string(),
        "the node tells the lifetime: {record}"
    );
    assert!(
        record["title"]
            .as_str()
            .unwrap()
            .contains(&node.dns.to_string()),
        "{record}"
    );
}

#[test]
fn the_way_to_a_contact_is_followed_from_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let user = node.user(dir.path(), name);
        node.give_key(&user);
        user.run(&["identity", "publish"]).expect(0);
        user.run(&["identity", "refresh-prekeys", "--count", "6"])
            .expect(0);
        user
    });
    // Not pinned: the way is looked at all the same.
    let (checks, _) = findings(
        &alice
            .run(&["doctor", "contact", "bob@alpha.test", "--json"])
            .expect(1)
            .stdout,
    );
    assert_eq!(
        (
            level(&checks, "contact-keys"),
            level(&checks, "contact-identity")
        ),
        ("fail", "ok")
    );
    alice
        .run(&["identity", "fetch", "bob@alpha.test", "--add"])
        .expect(0);
    alice
        .run(&["doctor", "contact", "bob@alpha.test"])
        .expect(0)
        .says("\nDOCTOR: clean\n");
    alice
        .run(&["doctor", "contact", "nobody"])
        .expect(1)
        .nothing_on_stdout()
        .warns("unknown contact `nobody`");
    drop(bob);
}

/// A DNS server that turns each request into an answer with this response code.
fn server(address: SocketAddr, rcode: u8) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1232];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            buffer[3] = rcode;
            // Who asked may have gone.
            let _ = socket.send_to(&buffer[..length], client);
        }
    });
    address
}

/// An address of this machine that no other run of the test uses: nodes are sought at fixed ports.
fn own_address(last: u8) -> Ipv4Addr {
    let id = std::process::id();
    Ipv4Addr::new(127, 1 + (id >> 8 & 0x7f) as u8, (id & 0xff) as u8, last)
}

#[test]
fn repair_finds_refusing_servers_and_changes_two_keys_and_no_dmp_server_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    for (last, rcode, is_node) in [(1, 5, true), (2, 9, true), (3, 4, false)] {
        let address = own_address(last);
        server((IpAddr::from(address), 5353).into(), rcode);
        let user = User::new(dir.path(), &format!("u{last}"));
        user.run(&[
            "init",
            "alice@alpha.test",
            "--endpoint",
            &format!("http://{address}:1"),
            "--no-probe-local-dns",
        ])
        .expect(0);
        let before = user.config();
        if is_node {
            user.run(&["doctor", "--repair"])
                .expect(0)
                .says(&format!("{address}:5353"));
            let changed = before
                .replace("local_node_dns_port: 0\n", "local_node_dns_port: 5353\n")
                .replace(
                    "local_node_dns_server: ''\n",
                    &format!("local_node_dns_server: {address}\n"),
                );
            assert_ne!(changed, before);
            assert_eq!(user.config(), changed);
        } else {
            user.run(&["doctor", "--repair"])
                .expect(1)
                .says("no node answers DNS at the usual ports");
            assert_eq!(user.config(), before);
        }
    }
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice@alpha.test"]).expect(0);
    let before = user.config();
    let json = user.run(&["doctor", "--repair", "--json"]).expect(1).json();
    assert_eq!(
        (&json["schema"], &json["server"]),
        (&"dmp.repair/1".into(), &Value::Null)
    );
    assert_eq!(user.config(), before);
    user.run(&["doctor", "--repair", "--fix"]).expect(2);
}

#[test]
fn fix_closes_files_and_finds_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let address = own_address(4);
    server((IpAddr::from(address), 5353).into(), 5);
    let user = User::new(dir.path(), "u");
    user.run(&[
        "init",
        "alice@alpha.test",
        "--endpoint",
        &format!("http://{address}:1"),
        "--no-probe-local-dns",
        "--dns-resolvers",
        &format!("{address}:5353"),
    ])
    .expect(0);
    let config = user.home.join("config.yaml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    user.run(&["doctor"])
        .expect(1)
        .says("  WARN  others can read files with secrets\n");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&config), 0o644, "looking changes nothing");
    let fixed = user
        .run(&["doctor", "--fix"])
        .expect(1)
        .says("  PASS  files are private\n")
        .says("  PASS  local DNS endpoint answers\n");
    assert_eq!(mode(&config), 0o600);
    assert_eq!(
        fixed.stdout.matches("  fixed: ").count(),
        2,
        "{}",
        fixed.stdout
    );
}
