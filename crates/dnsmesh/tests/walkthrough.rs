//! Two people, their nodes and the program, from registration to the read message (cli.md 5, 5.1, 6), over real sockets.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::User;
use common::node::{Node, OPERATOR_TOKEN};

/// How a user writes at the home node.
#[derive(Clone, Copy)]
enum Credential {
    Bearer,
    Tsig,
}

/// A user with a configuration for `node` who resolves through all nodes; nothing leaves this machine.
fn init(dir: &Path, name: &str, node: &Node, resolvers: &[&Node]) -> User {
    let user = User::new(dir, name);
    let address = format!("{name}@{}", node.zone);
    let resolvers: Vec<String> = resolvers.iter().map(|node| node.dns.to_string()).collect();
    user.run(&[
        "init",
        &address,
        "--endpoint",
        &node.url(),
        "--dns-resolvers",
        &resolvers.join(","),
        "--no-probe-local-dns",
    ])
    .expect(0);
    user.configure(&format!(
        "local_node_dns_server: 127.0.0.1\nlocal_node_dns_port: {}\nprovider_seeds: []",
        node.dns.port()
    ));
    user
}

fn register(user: &User, credential: Credential, node: &Node) {
    let address = format!("{}@{}", user.name(), node.zone);
    let ran = match credential {
        Credential::Bearer => user.run(&["register", "--node", &node.url()]),
        Credential::Tsig => node.give_key(user),
    };
    ran.expect(0)
        .says(&format!("registered {address} on 127.0.0.1\n"));
}

fn publish(user: &User, arguments: &[&str]) {
    user.run(&[&["identity", "publish"], arguments].concat())
        .expect(0)
        .says("published identity to id-");
    user.run(&["identity", "refresh-prekeys", "--count", "5"])
        .expect(0)
        .says("published 5/5 prekeys to prekeys.id-")
        .says("  local live prekey count: 5\n");
}

fn pin(user: &User, whom: &str) {
    user.run(&["identity", "fetch", whom, "--add"])
        .expect(0)
        .says(&format!("added contact {whom} (pinned signing key)\n"));
}

/// Messages in the output of `recv`: the line of the sender and the text.
fn received(output: &str) -> Vec<(String, String)> {
    let blocks = output
        .split("\n\n")
        .filter(|block| block.starts_with("from "));
    blocks
        .map(|block| {
            let mut lines = block.lines();
            let sender = lines.next().unwrap().to_owned();
            assert!(lines.next().unwrap().starts_with("  ts="), "{output}");
            (
                sender,
                lines
                    .map(|line| line.strip_prefix("  ").unwrap())
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
        })
        .collect()
}

fn texts(output: &str) -> Vec<String> {
    received(output).into_iter().map(|(_, text)| text).collect()
}

fn short_key(user: &User) -> String {
    user.run(&["identity", "show", "--json"]).expect(0).json()["signing_public_key"]
        .as_str()
        .unwrap()[..16]
        .to_owned()
}

fn two_users_of_one_node_write_to_each_other(credential: Credential) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let user = init(dir.path(), name, &node, &[&node])
            .with("DMP_PROVIDER_DNS_PORT", &node.dns.port().to_string());
        user.configure(
            "claim_provider_override: http://127.0.0.1:9\nclaim_provider_zone: alpha.test",
        );
        register(&user, credential, &node);
        publish(&user, &[]);
        user
    });
    pin(&alice, "bob");
    pin(&bob, "alice@alpha.test");
    assert!(alice.home.join("dnsmesh.db").exists());

    alice
        .run(&["send", "bob", "hello\nbob"])
        .expect(0)
        .says("sent → bob (+ 1/1 claim publishes)\n");
    let first = bob.run(&["recv"]).expect(0);
    assert!(
        first
            .stdout
            .starts_with(&format!("from {}...", short_key(&alice))),
        "{}",
        first.stdout
    );
    assert_eq!(texts(&first.stdout), ["hello\nbob"]);
    bob.run(&["recv"]).expect(0).says("(no new messages)\n");

    bob.run_with_input(
        &["send", "alice@alpha.test", "-"],
        "ein grüner \u{1b}[31mGruß\n".as_bytes(),
    )
    .expect(0)
    .says("sent → alice@alpha.test");
    let reply = alice.run(&["recv", "--primary-only"]).expect(0);
    assert_eq!(texts(&reply.stdout), ["ein grüner \\x1b[31mGruß"]);

    // One prekey of each pool was used up: its record is gone and another one is published.
    bob.run(&["identity", "refresh-prekeys", "--count", "5"])
        .expect(0)
        .says("published 5/5 prekeys");
    bob.run(&[
        "send",
        "alice@alpha.test",
        "with forward secrecy",
        "--require-fs",
        "--ttl",
        "1h",
    ])
    .expect(0);
    let message = alice
        .run(&["recv", "--skip-primary", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (message["schema"].as_str(), message["body"].as_str()),
        (Some("dmp.message/1"), Some("with forward secrecy"))
    );
    assert_eq!(
        (&message["fs"], &message["from"]["authorship"]),
        (&true.into(), &"proven".into())
    );
    alice
        .run(&["contacts", "list"])
        .expect(0)
        .says("bob  ")
        .says("  (pinned)\n");
    alice
        .run(&["intro", "list"])
        .expect(0)
        .says("(no pending intros)\n");
}

#[test]
fn with_bearer_tokens_two_users_of_one_node_write_to_each_other() {
    two_users_of_one_node_write_to_each_other(Credential::Bearer);
}

#[test]
fn with_tsig_keys_two_users_of_one_node_write_to_each_other() {
    two_users_of_one_node_write_to_each_other(Credential::Tsig);
}

#[test]
fn a_token_is_saved_privately_and_a_second_key_cannot_take_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = init(dir.path(), "alice", &node, &[&node]);
    register(&alice, Credential::Bearer, &node);
    let file = alice.home.join("tokens/127.0.0.1.json");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let token: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(token["subject"], "alice@alpha.test");

    let other = init(dir.path(), "other", &node, &[&node]);
    other.configure("username: alice");
    let taken = other
        .run(&["register", "--node", &node.url()])
        .expect(1)
        .nothing_on_stdout();
    assert!(
        taken
            .stderr
            .starts_with("dnsmesh: alice@alpha.test is held by another key"),
        "{}",
        taken.stderr
    );

    alice
        .run(&[
            "register",
            "--node",
            &node.url(),
            "--node-name",
            "beta.test",
        ])
        .expect(1)
        .warns("nothing was signed");
    let closed = Node::spawn(
        {
            let mut command = common::node::command(&dir.path().join("closed"), "closed.test");
            command.env("DMP_REGISTRATION_ENABLED", "0");
            command
        },
        "closed.test",
    );
    alice
        .run(&["register", "--node", &closed.url()])
        .expect(1)
        .warns("registration is disabled");
}

#[test]
fn without_a_credential_publishing_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = init(dir.path(), "alice", &node, &[&node]);
    alice
        .run(&["identity", "publish"])
        .expect(2)
        .nothing_on_stdout()
        .warns("dnsmesh: publish to id-")
        .warns("HTTP 401")
        .warns("tsig register");
    alice
        .run(&["identity", "refresh-prekeys", "--count", "3"])
        .expect(2)
        .says("published 0/3 prekeys to ")
        .warns("HTTP 401");
    alice
        .run(&["identity", "fetch", "bob"])
        .expect(2)
        .nothing_on_stdout()
        .warns("dnsmesh: no identity record at id-");
    alice
        .run(&["identity", "fetch", "bob@alpha.test"])
        .expect(2)
        .warns("no identity record at dmp.alpha.test or id-");
}

#[test]
fn across_two_zones_claims_bring_messages_and_strangers_wait_as_intros() {
    let dir = tempfile::tempdir().unwrap();
    let (alpha, beta) = (
        Node::start(dir.path(), "alpha.test"),
        Node::start(dir.path(), "beta.test"),
    );
    let join = |name: &str, home: &Node, other: &Node| {
        let user = init(dir.path(), name, home, &[home, other]);
        register(&user, Credential::Tsig, home);
        publish(&user, &["--advertise-v2"]);
        user
    };
    let (hugo, ines, kate) = (
        join("hugo", &alpha, &beta),
        join("ines", &beta, &alpha),
        join("kate", &beta, &alpha),
    );
    let to =
        |user: User, node: &Node| user.with("DMP_PROVIDER_DNS_PORT", &node.dns.port().to_string());
    pin(&hugo, "ines@beta.test");
    pin(&ines, "hugo@alpha.test");

    let hugo = to(hugo, &beta);
    hugo.run(&["send", "ines@beta.test", "by claim"])
        .expect(0)
        .says("sent → ines@beta.test\n");
    let ran = ines.run(&["recv", "--primary-only"]).expect(0);
    let (sender, text) = received(&ran.stdout).remove(0);
    assert_eq!(text, "by claim");
    assert!(
        sender.starts_with(&format!("from {}...", short_key(&hugo)))
            && sender.contains("hugo@alpha.test"),
        "{sender}"
    );

    // With a wrong port the claim is lost and the message is found in the sender's zone.
    let hugo = hugo.with("DMP_PROVIDER_DNS_PORT", "9");
    hugo.run(&["send", "ines@beta.test", "by the slots"])
        .expect(0)
        .warns("the recipient's node took no notice");
    assert_eq!(
        texts(&ines.run(&["recv"]).expect(0).stdout),
        ["by the slots"]
    );

    let kate = to(kate, &alpha);
    pin(&kate, "hugo@alpha.test");
    kate.run(&["send", "hugo@alpha.test", "you do not know me"])
        .expect(0);
    hugo.run(&["recv"])
        .expect(0)
        .says("(1 new intro(s) from un-pinned senders — ");
    hugo.run(&["recv"]).expect(0).says("(no new messages)\n");
    hugo.run(&["intro", "list"])
        .expect(0)
        .says("#1  kate@beta.test  [fresh]\n  sender_spk: ")
        .says("  from zone:  beta.test\n  received:   ")
        .says("  message:    you do not know me\n  reason:     ");
    hugo.run(&["intro", "trust", "7"])
        .expect(1)
        .warns("no pending intro with id 7");
    hugo.run(&["intro", "trust", "1", "--username", "kate"])
        .expect(0)
        .says("trusted intro #1 as `kate`\n  you do not know me\n");
    kate.run(&["send", "hugo@alpha.test", "now you do"])
        .expect(0);
    assert_eq!(texts(&hugo.run(&["recv"]).expect(0).stdout), ["now you do"]);

    hugo.run(&["send", "kate", "hi"])
        .expect(1)
        .warns("identity fetch");
    hugo.run(&["identity", "fetch", "kate@beta.test", "--add"])
        .expect(0)
        .says("upgraded contact `kate` (filled in X25519 pubkey for kate)\n");
    to(hugo, &beta).run(&["send", "kate", "hi"]).expect(0);
    assert_eq!(texts(&kate.run(&["recv"]).expect(0).stdout), ["hi"]);
}

#[test]
fn strangers_are_accepted_once_or_blocked_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [hugo, kate] = ["hugo", "kate"].map(|name| {
        let user = init(dir.path(), name, &node, &[&node]);
        register(&user, Credential::Bearer, &node);
        publish(&user, &[]);
        user
    });
    pin(&kate, "hugo@alpha.test");
    let write = |text: &str| kate.run(&["send", "hugo@alpha.test", text]).expect(0);
    write("first");
    hugo.run(&["recv"])
        .expect(0)
        .says("(1 new intro(s) from un-pinned senders");
    write("second \u{1b}[2J");
    hugo.run(&["recv"])
        .expect(0)
        .says("(1 new intro(s) from un-pinned senders");
    let list = hugo
        .run(&["intro", "list"])
        .expect(0)
        .says("  message:    second \\x1b[2J\n");
    let ids: Vec<&str> = list
        .stdout
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| &line[..2])
        .collect();
    assert_eq!(ids, ["#2", "#1"], "newest first");
    let rows: Vec<serde_json::Value> = hugo
        .run(&["intro", "list", "--json"])
        .expect(0)
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&rows[1]["id"], &rows[1]["body"], &rows[1]["state"]),
        (&1.into(), &"first".into(), &"fresh".into())
    );

    hugo.run(&["intro", "accept", "1"])
        .expect(0)
        .says("accepted intro #1\n  first\n");
    hugo.run(&["contacts", "list"])
        .expect(0)
        .says("(no contacts yet");
    hugo.run(&["intro", "block", "2", "--note", "spam"])
        .expect(0)
        .says("blocked intro #2\n  sender_spk: ");
    hugo.run(&["intro", "block", "2"])
        .expect(1)
        .warns("no pending intro with id 2");
    write("third");
    hugo.run(&["recv"]).expect(0).says("(no new messages)\n");
    hugo.run(&["intro", "list"])
        .expect(0)
        .says("(no pending intros)\n");

    let denied = hugo.run(&["intro", "denied"]).expect(0).says("  spam\n");
    let key = denied.stdout.split_whitespace().next().unwrap().to_owned();
    let listed = format!("intro-{}", &key[..12]);
    hugo.run(&["intro", "unblock", &listed])
        .expect(0)
        .says(&format!("unblocked {key}\n"));
    hugo.run(&["intro", "denied"])
        .expect(0)
        .says("(nobody is blocked)\n");
    hugo.run(&["intro", "unblock", &key])
        .expect(1)
        .warns("[sender-not-blocked]");
    hugo.run(&["intro", "unblock", &listed])
        .expect(1)
        .warns("[sender-unknown]");
    hugo.run(&["recv"]).expect(0).says("(1 new intro(s)");
    hugo.run(&["intro", "purge"])
        .expect(0)
        .says("deleted 0 waiting message(s)\n");
    hugo.run(&["intro", "purge", "--all"])
        .expect(0)
        .says("deleted 1 waiting message(s)\n");
    hugo.run(&["recv"]).expect(0).says("(no new messages)\n");
}

/// Hugo and Kate of one node who know each other.
fn acquaintances(dir: &Path, node: &Node) -> [User; 2] {
    let [hugo, kate] = ["hugo", "kate"].map(|name| {
        let user = init(dir, name, node, &[node]);
        register(&user, Credential::Tsig, node);
        publish(&user, &[]);
        user
    });
    pin(&hugo, "kate@alpha.test");
    pin(&kate, "hugo@alpha.test");
    [hugo, kate]
}

/// A `recv` that goes on until it is dropped.
struct Following(std::process::Child);

impl Following {
    fn start(user: &User, arguments: &[&str]) -> Self {
        let mut command = user.command(&[&["recv", "--follow"], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Ctrl-C, and what was printed after what the test has read.
    fn interrupt(mut self) -> (Option<i32>, String, String) {
        let pid = self.0.id().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(kill.success());
        let status = self.0.wait().unwrap().code();
        let mut texts = [String::new(), String::new()];
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_string(&mut texts[0]).unwrap();
        }
        if let Some(mut err) = self.0.stderr.take() {
            err.read_to_string(&mut texts[1]).unwrap();
        }
        let [out, err] = texts;
        (status, out, err)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn following_prints_messages_as_they_come_until_it_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [hugo, kate] = acquaintances(dir.path(), &node);
    hugo.configure("recv_primary_interval_seconds: 1");
    let mut following = Following::start(&hugo, &["--json"]);
    let out = following.0.stdout.take().unwrap();
    let mut lines = BufReader::new(out).lines();
    for text in ["first", "second"] {
        kate.run(&["send", "hugo@alpha.test", text]).expect(0);
        let line = lines.next().unwrap().unwrap();
        let message: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["schema"], "dmp.message/1");
        assert_eq!(message["body"], text, "while it goes on");
    }
    let (status, _, _) = following.interrupt();
    assert_eq!(status, Some(130));
    // However soon the interrupt came behind the line, nothing is shown twice.
    hugo.run(&["recv"]).expect(0).says("(no new messages)\n");
}

#[test]
fn following_tells_a_lost_network_once_and_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [hugo, kate] = acquaintances(dir.path(), &node);
    kate.run(&["send", "hugo@alpha.test", "hello"]).expect(0);
    hugo.configure("recv_primary_interval_seconds: 1");
    let ran = hugo.run(&["recv", "--follow", "--for", "3s"]).expect(0);
    assert_eq!(texts(&ran.stdout), ["hello"]);
    assert!(!ran.stdout.contains("(no new messages)"));
    assert!(!ran.stderr.contains("asked"), "{}", ran.stderr);

    drop(node);
    let ran = hugo.run(&["recv", "--follow", "--for", "4s"]).expect(0);
    let told = |text: &str| ran.stderr.matches(text).count();
    assert_eq!(told("warning: nobody can be asked"), 1, "{}", ran.stderr);
    assert_eq!(told("alpha.test cannot be asked"), 1, "{}", ran.stderr);
}

#[test]
fn a_command_gets_messages_on_its_input_and_a_failing_one_keeps_them_unread() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [hugo, kate] = acquaintances(dir.path(), &node);
    kate.run(&["send", "hugo@alpha.test", "$(touch pwned)"])
        .expect(0);
    hugo.run(&["recv", "--exec", "exit 3"])
        .expect(1)
        .nothing_on_stdout()
        .warns("it ended with exit status: 3; it stays unread");
    let taken = dir.path().join("taken");
    let command = format!("cat >{0}; env >>{0}", taken.display());
    hugo.run(&["recv", "--exec", &command])
        .expect(0)
        .nothing_on_stdout();
    let text = fs::read_to_string(&taken).unwrap();
    let (message, environment) = text.split_once('\n').unwrap();
    let message: serde_json::Value = serde_json::from_str(message).unwrap();
    assert_eq!(message["body"], "$(touch pwned)");
    assert!(!environment.contains("passphrase of"), "{environment}");
    hugo.run(&["recv"]).expect(0).says("(no new messages)\n");
    hugo.run(&["recv", "--exec", "exit 3"])
        .expect(0)
        .says("(no new messages)\n");
}

#[test]
fn what_was_dropped_is_told_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [hugo, kate] = acquaintances(dir.path(), &node);
    kate.run(&["send", "hugo@alpha.test", "hello"]).expect(0);
    hugo.run(&["recv"])
        .expect(0)
        .warns("note: 4 one-time key(s) are left for senders");
    hugo.run(&["recv", "--dropped"])
        .expect(0)
        .says("(no new messages)\n")
        .warns("dropped: nothing new in alpha.test (message ")
        .warns("[replay]")
        .warns("note: 4 one-time key(s) are left for senders");
    hugo.run(&["recv", "-v"])
        .expect(0)
        .warns("a record was not delivered")
        .warns("replay");
    let objects: Vec<serde_json::Value> = hugo
        .run(&["recv", "--dropped", "--json"])
        .expect(0)
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [dropped, run] = objects.as_slice() else {
        panic!("{objects:?}");
    };
    assert_eq!(dropped["schema"], "dmp.dropped/1");
    assert_eq!(dropped["code"], "replay");
    assert_eq!(run["schema"], "dmp.recv/1");
    assert_eq!(
        (&run["messages"], &run["prekeys_left"]),
        (&0.into(), &4.into())
    );
}

#[test]
fn a_message_is_shown_again_if_its_reader_had_gone_away() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let user = init(dir.path(), name, &node, &[&node]);
        register(&user, Credential::Tsig, &node);
        publish(&user, &[]);
        user
    });
    pin(&alice, "bob");
    pin(&bob, "alice");
    alice.run(&["send", "bob", "read me"]).expect(0);
    let mut child = bob
        .command(&["recv"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(texts(&bob.run(&["recv"]).expect(0).stdout), ["read me"]);
    bob.run(&["recv"]).expect(0).says("(no new messages)\n");
}

#[test]
fn of_several_identities_a_fingerprint_selects_one() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    for name in ["bob", "impostor"] {
        let user = init(dir.path(), name, &node, &[&node]);
        user.configure(&format!("username: bob\nhttp_token: {OPERATOR_TOKEN}"));
        user.run(&["identity", "publish"]).expect(0);
        user.run(&["identity", "publish"]).expect(0);
    }
    let alice = init(dir.path(), "alice", &node, &[&node]);
    let ran = alice
        .run(&["identity", "fetch", "bob"])
        .expect(2)
        .nothing_on_stdout()
        .warns("dnsmesh: ambiguous: 2 valid identity records at id-");
    let fingerprints: Vec<&str> = ran
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("  fingerprint=")?.split(' ').next())
        .collect();
    assert_eq!(fingerprints.len(), 2, "{}", ran.stderr);
    for fingerprint in fingerprints {
        alice
            .run(&[
                "identity",
                "fetch",
                "bob",
                "--accept-fingerprint",
                &fingerprint.to_uppercase(),
            ])
            .expect(0)
            .says("username:           bob\n");
    }
    alice
        .run(&[
            "identity",
            "fetch",
            "bob",
            "--accept-fingerprint",
            "0000000000000000",
        ])
        .expect(2)
        .warns("ambiguous");
    alice
        .run(&["identity", "fetch", "bob", "--accept-fingerprint", "xyz"])
        .expect(1);
}

#[test]
fn fetch_prints_json_and_leaves_an_existing_contact_alone() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let bob = init(dir.path(), "bob", &node, &[&node]);
    register(&bob, Credential::Tsig, &node);
    publish(&bob, &[]);
    let alice = init(dir.path(), "alice", &node, &[&node]);
    let ran = alice
        .run(&["identity", "fetch", "bob@alpha.test", "--add", "--json"])
        .expect(0)
        .warns("added contact bob@alpha.test (pinned signing key)");
    let document = ran.json();
    let shown = bob.run(&["identity", "show", "--json"]).expect(0).json();
    assert_eq!(document["signing_public_key"], shown["signing_public_key"]);
    let order = [
        "username",
        "address",
        "public_key",
        "signing_public_key",
        "ts",
        "dns_name",
    ];
    let places: Vec<usize> = order
        .iter()
        .map(|member| ran.stdout.find(&format!("\n  \"{member}\": ")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{}", ran.stdout);
    alice
        .run(&["identity", "fetch", "bob@alpha.test", "--add"])
        .expect(0)
        .says("(contact `bob@alpha.test` already exists — not overwriting)\n");
    alice
        .without("DMP_PASSPHRASE")
        .run(&["identity", "fetch", "bob@alpha.test"])
        .expect(0);
}

#[test]
fn contacts_are_pinned_by_hand_and_never_replaced_silently() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice@alpha.test"]).expect(0);
    user.run(&["contacts", "list"])
        .expect(0)
        .says("(no contacts yet");
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    user.run(&["contacts", "add", "bob", &one, "--signing-key", &two])
        .expect(0)
        .says("added contact bob (pinned signing key)\n");
    user.run(&["contacts", "add", "carol", &two.to_uppercase()])
        .expect(0)
        .nothing_on_stdout()
        .warns("added contact carol")
        .warns("warning:");
    user.run(&["contacts", "add", "bob", &two])
        .expect(1)
        .nothing_on_stdout();
    for bad in ["", "11", &one[1..], &format!("{one}0"), &"zz".repeat(32)] {
        user.run(&["contacts", "add", "dave", bad]).expect(1);
    }
    let list = user.run(&["contacts", "list"]).expect(0).stdout;
    assert_eq!(
        list,
        format!("bob    {one}  (pinned)\ncarol  {two}  (UNPINNED)\n")
    );
    user.run(&["send", "nobody", "text"])
        .expect(1)
        .nothing_on_stdout();
    let user = user
        .with("DMP_PASSPHRASE", "mistyped")
        .with("DMP_PASSPHRASE_OVERRIDE_VERIFY", "1");
    user.run(&["contacts", "list"])
        .expect(1)
        .warns("passphrase mismatch");
}

#[test]
fn what_cannot_be_sent_is_said_before_anything_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let user = init(dir.path(), name, &node, &[&node]);
        register(&user, Credential::Tsig, &node);
        user
    });
    bob.run(&["identity", "publish"]).expect(0);
    alice.run(&["identity", "publish"]).expect(0);
    pin(&alice, "bob");
    pin(&bob, "alice");
    let unknown = alice
        .run(&["send", "nobody", "text"])
        .expect(1)
        .nothing_on_stdout();
    assert!(
        unknown
            .stderr
            .starts_with("dnsmesh: unknown contact `nobody`"),
        "{}",
        unknown.stderr
    );
    alice
        .run(&["send", "bob", &"x".repeat(3_731)])
        .expect(1)
        .warns("send failed")
        .warns("3730");
    alice
        .run(&["send", "bob", "text", "--require-fs"])
        .expect(2)
        .warns("send failed: no forward secrecy");
    alice
        .run(&["send", "bob", "text"])
        .expect(0)
        .warns("note: sent without forward secrecy");
    alice.run(&["send", "bob", &"x".repeat(3_730)]).expect(0);
    let mail = bob.run(&["recv"]).expect(0);
    let mut lengths: Vec<usize> = texts(&mail.stdout).iter().map(String::len).collect();
    // Within one second their order is that of the random message ids.
    lengths.sort_unstable();
    assert_eq!(lengths, [4, 3_730]);
    assert_eq!(
        alice
            .run(&["send", "bob@elsewhere.test", "the label before the @"])
            .expect(0)
            .stdout,
        "sent → bob@elsewhere.test\n"
    );
}

#[test]
fn a_dead_node_is_said_and_not_taken_for_silence() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = init(dir.path(), "alice", &node, &[&node]);
    register(&alice, Credential::Tsig, &node);
    publish(&alice, &[]);
    alice
        .run(&["contacts", "add", "bob", &"11".repeat(32)])
        .expect(0);
    assert_eq!(node.stop("TERM"), Some(0));
    alice
        .run(&["recv"])
        .expect(2)
        .warns("warning: alpha.test could not be asked")
        .says("(no new messages)\n");
    let failed = alice
        .run(&["send", "bob", "text"])
        .expect(2)
        .nothing_on_stdout();
    assert!(
        failed
            .stderr
            .contains("dnsmesh: send failed: publishing the chunks"),
        "{}",
        failed.stderr
    );
    alice
        .run(&["identity", "publish"])
        .expect(2)
        .warns("publish to id-");
    alice
        .run(&["identity", "fetch", "bob"])
        .expect(2)
        .warns("could not be asked");
}

#[test]
fn the_node_takes_flags_over_the_environment_and_ends_on_signals() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let SocketAddr::V4(dns) = node.dns else {
        panic!("IPv4 was asked for")
    };
    let mut second = common::node::command(&dir.path().join("second"), "beta.test");
    second.args(["run", "--dns-port", &dns.port().to_string()]);
    let refused: common::Ran = second.output().unwrap().into();
    refused
        .expect(1)
        .warns("dnsmesh: ")
        .warns(&dns.port().to_string());

    let database = dir.path().join("elsewhere/node.db");
    let mut third = common::node::command(dir.path(), "gamma.test");
    third.args(["--db-path", database.to_str().unwrap()]);
    let third = Node::spawn(third, "gamma.test");
    assert!(database.exists());
    assert_eq!((third.stop("INT"), node.stop("TERM")), (Some(0), Some(0)));

    let link = dir.path().join("dnsmesh-node");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dnsmesh"), &link).unwrap();
    let named = common::node::command_of(&link, &[], dir.path(), "delta.test");
    assert_eq!(Node::spawn(named, "delta.test").stop("TERM"), Some(0));

    let wrong: common::Ran = common::node::command(dir.path(), "alpha.test")
        .env("DMP_DNS_TTL", "soon")
        .output()
        .unwrap()
        .into();
    wrong.expect(1).nothing_on_stdout().warns("DMP_DNS_TTL");
}

#[test]
fn init_says_when_no_node_answers_at_the_usual_ports() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    // Nothing listens at the usual ports of this loopback address.
    user.run(&[
        "init",
        "alice@alpha.test",
        "--endpoint",
        "http://127.77.1.9",
    ])
    .expect(0)
    .warns("hint:");
    assert_eq!(user.setting("local_node_dns_server"), "''");
}
