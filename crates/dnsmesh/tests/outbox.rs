//! Messages on bad days: a node that is away, texts at the border of what fits, waiting, trying again, taking back (cli.md 3.4, 3.16).

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::User;
use common::node::{self, Node};

/// A registered user of the node with a published identity; nothing leaves this machine.
fn join(dir: &Path, name: &str, node: &Node) -> User {
    let user = node.user(dir, name);
    node.give_key(&user);
    publish(&user);
    user
}

fn publish(user: &User) {
    user.run(&["identity", "publish"]).expect(0);
    user.run(&["identity", "refresh-prekeys", "--count", "5"])
        .expect(0);
}

fn pin(user: &User, whom: &User, node: &Node) {
    let address = format!("{}@{}", whom.name(), node.zone);
    user.run(&["identity", "fetch", &address, "--add"])
        .expect(0);
}

/// Alice, who can write to Bob, and Bob, who can read her.
fn pair(dir: &Path, node: &Node) -> (User, User) {
    let (alice, bob) = (join(dir, "alice", node), join(dir, "bob", node));
    pin(&alice, &bob, node);
    pin(&bob, &alice, node);
    (alice, bob)
}

/// The texts that `recv` delivers, sorted: messages of one second come in no order.
fn received(user: &User) -> Vec<String> {
    let ran = user.run(&["recv", "--json"]).expect(0);
    let mut texts: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            message["body"].as_str().unwrap().to_owned()
        })
        .collect();
    texts.sort();
    texts
}

#[test]
fn a_message_waits_for_a_node_that_is_away_and_arrives_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let (alice, bob) = pair(dir.path(), &node);
    let (dns, http) = (node.dns.port().to_string(), node.http.port().to_string());
    assert_eq!(node.stop("TERM"), Some(0));

    alice
        .run(&["send", "bob@alpha.test", "later"])
        .expect(2)
        .nothing_on_stdout()
        .warns("dnsmesh: send failed: publishing the chunks (0 of 5 values stored): ")
        .warns("[send-chunks-failed]")
        .warns("the message is number 1 of the outbox and is tried again")
        .warns("do not send it a second time");
    let waiting = alice
        .run(&["outbox", "show", "1", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&waiting["state"], &waiting["kept_until"], &waiting["to"]),
        (
            &"queued".into(),
            &serde_json::Value::Null,
            &"bob@alpha.test".into()
        )
    );
    assert!(waiting["next_attempt_at"].is_string() && waiting["last_error"].is_string());
    alice.run(&["outbox", "retry", "1"]).expect(2);
    let waiting = ["--wait", "--wait-timeout", "1"];
    alice
        .run(&[&["send", "bob@alpha.test", "even later"][..], &waiting].concat())
        .expect(2)
        .nothing_on_stdout()
        .warns("dnsmesh: send failed: not published in time, queued: publishing the chunks: ")
        .warns("[send-not-published]")
        .warns("the message is number 2 of the outbox");

    let mut command = node::command(dir.path(), "alpha.test");
    command.env("DMP_DNS_PORT", dns).env("DMP_HTTP_PORT", http);
    let node = Node::spawn(command, "alpha.test");
    alice
        .run(&["outbox", "retry", "--all"])
        .expect(0)
        .says("1  bob@alpha.test  announced\n2  bob@alpha.test  announced\n");
    let shown = alice.run(&["outbox", "show", "1"]).expect(0);
    assert!(!shown.stdout.contains("later"), "the text is not kept");
    shown
        .says("state:             announced\n")
        .says("slot:              slot-")
        .says("forward secrecy:   no: the contact's prekeys could not be looked up");
    assert_eq!(received(&bob), ["even later", "later"]);
    alice
        .run(&["outbox", "retry", "1"])
        .expect(0)
        .says("(nothing to do)\n");
    assert_eq!(received(&bob), [""; 0]);
    drop(node);
}

#[test]
fn the_longest_text_passes_and_one_byte_more_fails_before_anything_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let (alice, bob) = pair(dir.path(), &node);
    let file = dir.path().join("text");
    for (ttl, longest) in [("300", 3_732), ("86400", 3_730)] {
        let text = "x".repeat(longest);
        std::fs::write(&file, format!("{text}y")).unwrap();
        alice
            .run(&[
                "send",
                "bob@alpha.test",
                "--ttl",
                ttl,
                "--file",
                file.to_str().unwrap(),
            ])
            .expect(1)
            .nothing_on_stdout()
            .warns(&format!(
                "the text has {} bytes, this message can carry {longest} [send-too-large]",
                longest + 1
            ))
            .warns("nothing was published");
        std::fs::write(&file, &text).unwrap();
        alice
            .run(&[
                "send",
                "bob@alpha.test",
                "--ttl",
                ttl,
                "--file",
                file.to_str().unwrap(),
            ])
            .expect(0)
            .says("sent → bob@alpha.test\n");
        assert_eq!(received(&bob), [text]);
    }
    let rows = alice.run(&["outbox", "list", "--json"]).expect(0).stdout;
    assert_eq!(
        rows.lines().count(),
        2,
        "what did not fit was never recorded"
    );
}

#[test]
fn the_caps_of_the_node_decide_what_fits() {
    let dir = tempfile::tempdir().unwrap();
    let node_with = |zone: &str, cap: &str| {
        let mut command = node::command(dir.path(), zone);
        command.env("DMP_MAX_VALUE_BYTES", cap);
        Node::spawn(command, zone)
    };
    let small = node_with("small.test", "1200");
    let (alice, bob) = pair(&dir.path().join("small"), &small);
    let text = "x".repeat(2_500);
    alice
        .run(&["send", "bob@small.test", &text])
        .expect(2)
        .warns("value exceeds cap of 1200 bytes")
        .warns("kept as number 1 of the outbox");
    // From now on the cap is known, and the number is the real one.
    let refused = alice.run(&["send", "bob@small.test", &text]).expect(1);
    let (_, rest) = refused
        .stderr
        .split_once("this message can carry ")
        .unwrap();
    let longest: usize = rest.split(' ').next().unwrap().parse().unwrap();
    alice
        .run(&["send", "bob@small.test", &text[..longest + 1]])
        .expect(1);
    alice
        .run(&["send", "bob@small.test", &text[..longest]])
        .expect(0);
    assert_eq!(received(&bob), [&text[..longest]]);

    let large = node_with("large.test", "8000");
    let (alice, bob) = pair(&dir.path().join("large"), &large);
    let text = "y".repeat(9_000);
    alice.run(&["send", "bob@large.test", &text]).expect(1);
    alice
        .run(&["config", "set", "max_value_bytes", "8000"])
        .expect(0);
    alice.run(&["send", "bob@large.test", &text]).expect(0);
    assert_eq!(received(&bob), [text]);
}

#[test]
fn a_send_waits_for_the_state_it_is_told_and_says_how_far_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let (alice, bob) = pair(dir.path(), &node);
    let to_bob = |arguments: &[&str]| alice.run(&[&["send", "bob@alpha.test"], arguments].concat());
    let sent = to_bob(&["one", "--wait", "--json"]).expect(0).json();
    assert_eq!(
        (&sent["state"], &sent["outbox"]),
        (&"announced".into(), &1.into())
    );
    to_bob(&["two", "--wait=announced"]).expect(0);
    assert_eq!(received(&bob), ["one", "two"]);

    // The own node is not known, so nobody takes the notice.
    alice.configure("local_node_dns_server: ''\ntsig_dns_server: 127.0.0.1\ndns_port: 9");
    alice.configure("local_node_dns_server: 127.0.0.1\nlocal_node_dns_port: 9");
    let late = to_bob(&["three", "--wait=announced", "--wait-timeout", "1", "--json"]).expect(2);
    assert_eq!(late.json()["state"], "published");
    assert!(
        late.stderr
            .contains("that is as far as it came in time: published")
    );
    assert_eq!(received(&bob), ["three"]);

    to_bob(&["x", "--wait=seen"]).expect(2).nothing_on_stdout();
    to_bob(&["x", "--wait-timeout", "1"]).expect(2);
    to_bob(&["x", "--file", "y"]).expect(2).nothing_on_stdout();
    to_bob(&[]).expect(2).nothing_on_stdout();
    to_bob(&["--file", "no such file"])
        .expect(1)
        .warns("no such file: ");
    to_bob(&["x", "--ttl", "31d"])
        .expect(1)
        .warns("a message can live 2592000 seconds (30 days) at most");
    to_bob(&["x", "--ttl", "30d"]).expect(0);
}

#[test]
fn a_send_that_was_killed_is_finished_beside_the_next_one_and_arrives_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let (alice, bob) = pair(dir.path(), &node);
    // A server that takes updates and never answers; a message is too long for a datagram.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    alice.configure(&format!("tsig_dns_port: {port}"));
    let mut killed = alice
        .command(&["send", "bob@alpha.test", "one"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    silent.set_nonblocking(true).unwrap();
    let _connection = loop {
        match silent.accept() {
            Ok(connection) => break connection,
            Err(_) => assert!(killed.try_wait().unwrap().is_none(), "it publishes first"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    alice
        .run(&["outbox", "retry", "1"])
        .expect(2)
        .warns(&format!(
            "1 is being published by process {} at this moment",
            killed.id()
        ));
    alice
        .run(&["outbox", "cancel", "1"])
        .expect(2)
        .warns("nothing was changed");
    killed.kill().unwrap();
    killed.wait().unwrap();

    alice.configure(&format!("tsig_dns_port: {}", node.dns.port()));
    alice
        .run(&["send", "bob@alpha.test", "two"])
        .expect(0)
        .says("sent → bob@alpha.test\n")
        .warns("note: outbox: 1 to bob@alpha.test: announced\n");
    assert_eq!(received(&bob), ["one", "two"]);
    assert_eq!(received(&bob), [""; 0]);
}

#[test]
fn a_send_that_the_node_does_not_take_names_step_cause_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let (alice, bob) = pair(dir.path(), &node);
    let (key, secret) = (
        alice.setting("tsig_key_name"),
        alice.setting("tsig_secret_hex"),
    );
    let failing = |setting: &str, cause: &str, remedy: &str| {
        alice.configure(setting);
        let ran = alice
            .run(&["send", "bob@alpha.test", "kept"])
            .expect(2)
            .nothing_on_stdout();
        assert!(
            ran.stderr.starts_with(
                "dnsmesh: send failed: publishing the chunks (0 of 5 values stored): "
            ),
            "{}",
            ran.stderr
        );
        ran.warns(cause).warns(remedy).warns("dnsmesh outbox retry");
    };
    failing(
        &format!("tsig_secret_hex: {}", "00".repeat(32)),
        "the TSIG secret is wrong (BADSIG)",
        "tsig register",
    );
    failing(
        &format!("tsig_secret_hex: {secret}\ntsig_key_name: nobody.alpha.test."),
        "the server does not know the TSIG key (BADKEY)",
        "tsig register",
    );
    failing(
        &format!("tsig_key_name: {key}\ntsig_zone: other.test"),
        "the name is outside the zone of the credential",
        "tsig_zone in the configuration does not contain the own zone",
    );
    failing(
        "tsig_key_name: ''",
        "HTTP 401",
        "register at the node first",
    );
    failing(
        "http_token: dmp_v1_expired",
        "HTTP 401",
        "register at the node first",
    );

    // Every one of them is still there and goes out once the credential is right.
    alice.configure(&format!("tsig_key_name: {key}\ntsig_zone: alpha.test"));
    alice
        .run(&["outbox", "retry", "1"])
        .expect(0)
        .says("1  bob@alpha.test  announced\n");
    alice.run(&["outbox", "retry", "--all"]).expect(0);
    assert_eq!(received(&bob), ["kept"; 5]);
}

#[test]
fn a_message_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let (alice, bob) = pair(dir.path(), &node);
    alice.run(&["send", "bob@alpha.test", "wait"]).expect(0);
    alice
        .run(&["outbox", "cancel", "1"])
        .expect(0)
        .says("cancelled message 1 to bob@alpha.test\n")
        .warns("what was published may still be read until 20");
    alice
        .run(&["outbox", "cancel", "1"])
        .expect(1)
        .warns("message 1 has been cancelled already");
    alice
        .run(&["outbox", "retry", "1"])
        .expect(1)
        .warns("message 1 was cancelled");
    alice
        .run(&["outbox", "show", "2"])
        .expect(1)
        .warns("no message with number 2");
    alice.run(&["outbox", "cancel", "2"]).expect(1);
    alice
        .run(&["outbox", "list"])
        .expect(0)
        .says("1  bob@alpha.test  failed (cancelled)  expires 20");
    bob.run(&["outbox", "list"])
        .expect(0)
        .says("(the outbox is empty)\n");

    // With a credential that may delete, nothing is left to read.
    alice.configure(&format!(
        "tsig_key_name: ''\nhttp_token: {}",
        node::OPERATOR_TOKEN
    ));
    alice.run(&["send", "bob@alpha.test", "gone"]).expect(0);
    alice
        .run(&["outbox", "cancel", "2"])
        .expect(0)
        .warns("its records are deleted from the node");
    assert_eq!(received(&bob), ["wait"]);
}
