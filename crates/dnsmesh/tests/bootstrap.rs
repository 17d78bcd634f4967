//! `bootstrap`: what an operator signs and publishes, and what a user finds from a domain alone (cli.md 3.13, federation.md 5, 6).

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::node::{self, Node, OPERATOR_TOKEN};
use common::{Ran, User};

/// The operator of a domain: a directory with key files, and nothing of a user's.
struct Operator {
    user: User,
    dir: PathBuf,
}

impl Operator {
    fn new(dir: &Path) -> Self {
        Self {
            user: User::new(dir, "operator").with("DMP_OPERATOR_TOKEN", OPERATOR_TOKEN),
            dir: dir.to_owned(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Makes a key file and returns its public half.
    fn key(&self, name: &str) -> String {
        let made = self
            .user
            .run(&["bootstrap", "keygen", &self.path(name), "--json"])
            .expect(0)
            .json();
        made["public_key"].as_str().unwrap().to_owned()
    }

    /// Runs a verb that prints a record, keeps it in a file and publishes it at the node.
    fn publish(&self, node: &Node, verb: &[&str]) -> String {
        let value = self.user.run(verb).expect(0).stdout;
        let file = self.path("record.txt");
        fs::write(&file, &value).unwrap();
        self.put(node, &file).expect(0);
        value.trim().to_owned()
    }

    fn put(&self, node: &Node, file: &str) -> Ran {
        self.user
            .run(&["bootstrap", "publish", file, "--node", &node.url()])
    }
}

#[test]
fn a_key_file_is_private_labelled_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::new(dir.path());
    let key = operator.key("zone.key");
    let path = operator.path("zone.key");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&format!("public_hex={key}")), "{text}");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    operator
        .user
        .run(&["bootstrap", "keygen", &path])
        .expect(1)
        .nothing_on_stdout()
        .warns("[key-file]");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn what_is_signed_is_one_value_that_shows_its_content_and_goes_into_a_zone_file() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::new(dir.path());
    let (key, other) = (operator.key("zone.key"), operator.key("next.key"));
    let (file, next) = (operator.path("zone.key"), operator.path("next.key"));
    let entries = [
        format!("base=two.test,key={other}"),
        format!("base=one.test,key={other},priority=5"),
    ];
    let sign = [
        "bootstrap",
        "sign",
        "users.test",
        "--key",
        &file,
        "--seq",
        "7",
        "--entry",
        &entries[0],
        "--entry",
        &entries[1],
    ];
    let value = operator
        .user
        .run(&sign)
        .expect(0)
        .warns("_dmp.users.test")
        .stdout;
    assert!(value.starts_with("v=dmp1;t=bootstrap;") && value.lines().count() == 1);
    let shown = operator
        .user
        .run_with_input(&["bootstrap", "show", "-", "--json"], value.as_bytes())
        .expect(0)
        .json();
    assert_eq!(shown["signed_by"], *key);
    assert_eq!(shown["seq"], 7);
    assert_eq!(shown["entries"][0]["cluster_base_domain"], "one.test");
    assert_eq!(shown["entries"][1]["priority"], 10);
    operator
        .user
        .run(&[&sign[..], &["--zone-file"]].concat())
        .expect(0)
        .says("_dmp.users.test. 3600 IN TXT \"v=dmp1;t=bootstrap;");

    let rotate = [
        "bootstrap",
        "rotate",
        "users.test",
        "--old-key",
        &file,
        "--new-key",
        &next,
    ];
    let rotation = operator.user.run(&rotate).expect(0).stdout;
    let revoke = [
        "bootstrap",
        "revoke",
        "users.test",
        "--key",
        &file,
        "--reason",
        "compromise",
    ];
    let revocation = operator.user.run(&revoke).expect(0).stdout;
    let both = operator.path("both.txt");
    fs::write(&both, rotation + &revocation).unwrap();
    operator
        .user
        .run(&["bootstrap", "show", &both])
        .expect(0)
        .says("rotation at rotate._dmp.users.test")
        .says(&format!("new key:   {other}"))
        .says("revocation at rotate._dmp.users.test")
        .says("reason:    compromise");

    operator
        .user
        .run(&[
            "bootstrap",
            "rotate",
            "users.test",
            "--old-key",
            &file,
            "--new-key",
            &file,
        ])
        .expect(1)
        .warns("[rotate-same-key]");
    operator
        .user
        .run_with_input(&["bootstrap", "show", "-"], b"v=spf1 -all\n")
        .expect(1)
        .nothing_on_stdout()
        .warns("[signed-unusable]");
}

#[test]
fn a_published_record_takes_the_place_of_the_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "users.test");
    let operator = Operator::new(dir.path());
    // Read back through the node itself: `publish` takes the resolvers of the home.
    operator
        .user
        .run(&[
            "init",
            "operator@users.test",
            "--dns-resolvers",
            &node.dns.to_string(),
        ])
        .expect(0);
    let (key, file) = (operator.key("zone.key"), operator.path("zone.key"));
    let entry = format!("base=users.test,key={key}");
    let sign = |seq: &'static str| {
        [
            "bootstrap",
            "sign",
            "users.test",
            "--key",
            &file,
            "--seq",
            seq,
            "--entry",
            &entry,
        ]
        .map(str::to_owned)
    };
    for seq in ["1", "2"] {
        let verb = sign(seq);
        operator.publish(&node, &verb.each_ref().map(String::as_str));
    }
    let record = operator.path("record.txt");
    operator
        .put(&node, &record)
        .expect(0)
        .says("published bootstrap to _dmp.users.test for 86400 s\n");
    let verb = sign("3");
    let value = operator
        .user
        .run(&verb.each_ref().map(String::as_str))
        .expect(0)
        .stdout;
    fs::write(&record, value).unwrap();
    operator
        .put(&node, &record)
        .expect(0)
        .says(", 1 older removed");

    let poor = operator.user.without("DMP_OPERATOR_TOKEN");
    poor.run(&["bootstrap", "publish", &record, "--node", &node.url()])
        .expect(1)
        .warns("[operator-token]");
}

#[test]
fn a_pin_is_checked_and_stored_without_asking_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let alice = User::new(dir.path(), "alice");
    let key = "AB".repeat(32);
    alice
        .run(&["bootstrap", "pin", "users.test", &key])
        .expect(1)
        .warns("no config at");
    alice
        .run(&["init", "alice@users.test", "--dns-resolvers", "127.0.0.1:1"])
        .expect(0);
    alice
        .run(&["bootstrap", "pin", "Users.test.", &key])
        .expect(0)
        .says("pinned bootstrap signer for Users.test");
    assert_eq!(alice.setting("bootstrap_user_domain"), "Users.test");
    assert_eq!(alice.setting("bootstrap_signer_spk"), key.to_lowercase());
    let bob = User::new(dir.path(), "bob");
    let init = ["init", "bob@users.test", "--bootstrap-signer"];
    bob.run(&[&init[..], &["abcd"]].concat())
        .expect(1)
        .warns("[bootstrap-key]");
    bob.run(&[&init[..], &[&key]].concat()).expect(0);
    assert_eq!(bob.setting("bootstrap_user_domain"), "users.test");
    assert_eq!(bob.setting("bootstrap_signer_spk"), key.to_lowercase());

    let before = alice.config();
    for (domain, key) in [
        ("us ers.test", &*key),
        ("users.test", "abcd"),
        ("users.test", "x"),
    ] {
        alice
            .run(&["bootstrap", "pin", domain, key])
            .expect(1)
            .nothing_on_stdout();
    }
    assert_eq!(alice.config(), before);
}

/// Three nodes of one operator on loopback addresses of their own, because saved tokens are known by host.
struct Mesh {
    base: &'static str,
    nodes: Vec<Node>,
    operator: Operator,
    operator_spk: String,
}

impl Mesh {
    /// Nodes with the manifest of their cluster, signed by `operator.key`.
    fn start(dir: &Path, base: &'static str) -> Self {
        let nodes = (2..5).map(|number| {
            let host = format!("127.0.0.{number}");
            let mut command = node::command(&dir.join(format!("node-{number}")), base);
            command
                .env("DMP_HTTP_HOST", &host)
                .env("DMP_DNS_HOST", &host);
            Node::spawn(command, base)
        });
        let operator = Operator::new(dir);
        let mesh = Self {
            base,
            nodes: nodes.collect(),
            operator_spk: operator.key("operator.key"),
            operator,
        };
        mesh.publish("1");
        mesh
    }

    /// Puts the manifest on every node.
    fn publish(&self, seq: &str) {
        let nodes = self.nodes.iter().enumerate();
        let nodes: Vec<String> = nodes
            .map(|(index, node)| format!("id=node-{index},http={},dns={}", node.url(), node.dns))
            .collect();
        let key = self.operator.path("operator.key");
        let mut sign = vec!["cluster", "sign", self.base, "--key", &key, "--seq", seq];
        for node in &nodes {
            sign.extend(["--node", node]);
        }
        self.put(&self.operator.user.run(&sign).expect(0).stdout);
    }

    /// Puts a record on every node.
    fn put(&self, value: &str) {
        let file = self.operator.path("put.txt");
        fs::write(&file, value).unwrap();
        for node in &self.nodes {
            self.operator.put(node, &file).expect(0);
        }
    }

    /// The nodes as resolvers: each answers for its own zone.
    fn resolvers(&self) -> String {
        let places: Vec<_> = self.nodes.iter().map(|node| node.dns.to_string()).collect();
        places.join(",")
    }

    /// Signs that this cluster serves `domain`.
    fn bootstrap(&self, domain: &str, key: &str, seq: &str) -> String {
        let entry = format!("base={},key={}", self.base, self.operator_spk);
        let path = self.operator.path(key);
        let sign = [
            "bootstrap",
            "sign",
            domain,
            "--key",
            &path,
            "--seq",
            seq,
            "--entry",
            &entry,
        ];
        self.operator.user.run(&sign).expect(0).stdout
    }
}

fn user(dir: &Path, name: &str, domain: &str, resolvers: &str) -> User {
    let user = User::new(dir, name);
    let address = format!("{name}@{domain}");
    user.run(&[
        "init",
        &address,
        "--dns-resolvers",
        resolvers,
        "--no-probe-local-dns",
    ])
    .expect(0);
    user
}

#[test]
fn discovery_writes_nothing_and_auto_pin_writes_all_of_it_for_the_own_domain_only() {
    let dir = tempfile::tempdir().unwrap();
    let home = Node::start(dir.path(), "users.test");
    let mesh = Mesh::start(dir.path(), "mesh.test");
    let operator = &mesh.operator;
    let key = operator.key("zone.key");
    let resolvers = format!("{},{}", home.dns, mesh.resolvers());
    let alice = user(dir.path(), "alice", "users.test", &resolvers);

    // Nothing pinned, nothing published.
    alice
        .run(&["bootstrap", "fetch"])
        .expect(1)
        .warns("[bootstrap-no-pin]");
    let discover = ["bootstrap", "discover", "alice@users.test"];
    alice.run(&discover).expect(1).warns("[bootstrap-no-pin]");
    alice
        .run(&["bootstrap", "discover", "alice", "--signer-spk", &key])
        .expect(1);
    alice
        .run(&["bootstrap", "pin", "users.test", &key])
        .expect(0);
    alice
        .run(&["bootstrap", "fetch"])
        .expect(2)
        .warns("[bootstrap-no-record]");

    // A domain whose only cluster is nowhere.
    let nowhere = format!("base=nowhere.test,key={key}");
    let zone_key = operator.path("zone.key");
    let sign = [
        "bootstrap",
        "sign",
        "users.test",
        "--key",
        &zone_key,
        "--seq",
        "1",
        "--entry",
        &nowhere,
    ];
    operator.publish(&home, &sign);
    let before = alice.config();
    alice
        .run(&discover)
        .expect(0)
        .says("  cluster_base_domain: nowhere.test\n")
        .warns("no cluster of this domain can be used now");
    let auto = [&discover[..], &["--auto-pin"]].concat();
    alice
        .run(&auto)
        .expect(2)
        .nothing_on_stdout()
        .warns("[bootstrap-no-cluster]");
    assert_eq!(alice.config(), before);

    // One in front of the real one.
    let real = format!("base=mesh.test,key={}", mesh.operator_spk);
    let sign = [
        "bootstrap",
        "sign",
        "users.test",
        "--key",
        &zone_key,
        "--seq",
        "2",
        "--entry",
        &nowhere,
        "--entry",
        &real,
    ];
    operator.publish(&home, &sign);
    alice
        .run(&["bootstrap", "fetch"])
        .expect(0)
        .says("user_domain: users.test\nseq:         2\nexpires:     ")
        .says("entries (sorted by priority):\n  priority=10  cluster=nowhere.test  operator_spk=")
        .says(&format!(
            "  priority=20  cluster=mesh.test  operator_spk={}...\n",
            &mesh.operator_spk[..16]
        ));
    alice
        .run(&discover)
        .expect(0)
        .says("address:     alice@users.test\nuser_domain: users.test  (seq=2, exp=")
        .says("shown entry: priority=20\n  cluster_base_domain: mesh.test\n")
        .says(&format!(
            "dnsmesh cluster pin {} mesh.test",
            mesh.operator_spk
        ))
        .warns("passed over nowhere.test");
    assert_eq!(alice.config(), before);

    // Somebody else's domain never takes this home along, whatever key is given.
    let foreign = [
        "bootstrap",
        "discover",
        "bob@mesh.test",
        "--signer-spk",
        &key,
        "--auto-pin",
    ];
    alice
        .run(&foreign)
        .expect(1)
        .warns("[bootstrap-other-domain]");
    alice
        .run(&["bootstrap", "fetch", "--user-domain", "mesh.test"])
        .expect(1)
        .warns("[bootstrap-no-pin]");
    assert_eq!(alice.config(), before);

    alice.configure("http_token: of-the-old-node");
    alice.configure("cluster_node_token: of-the-old-cluster");
    alice.configure("tsig_key_name: alice.old.test.");
    alice.configure("tsig_secret_hex: \"00\"");
    alice.configure("tsig_zone: old.test");
    alice
        .run(&["bootstrap", "discover", "alice@Users.test", "--auto-pin"])
        .expect(0)
        .says("\nwrote config:\n  bootstrap_user_domain = users.test\n")
        .says("\n  cluster_base_domain   = mesh.test\n")
        .says("\n  cluster_enabled       = True\n")
        .warns("http_token and cluster_node_token were cleared")
        .warns("TSIG key alice.old.test.");
    for (key, value) in [
        ("bootstrap_user_domain", "users.test"),
        ("cluster_base_domain", "mesh.test"),
        ("cluster_operator_spk", &*mesh.operator_spk),
        ("cluster_enabled", "true"),
        ("http_token", "null"),
        ("cluster_node_token", "''"),
        ("tsig_key_name", "''"),
        ("tsig_secret_hex", "''"),
    ] {
        assert_eq!(alice.setting(key), value, "{key}");
    }

    // What others look up lies in the zone of the cluster.
    alice
        .run(&["setup"])
        .expect(0)
        .says("alice@mesh.test works")
        .warns("your address is alice@mesh.test: users.test only says");
}

#[test]
fn an_address_and_the_operators_key_are_enough_to_set_a_user_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut mesh = Mesh::start(dir.path(), "mesh.test");
    let key = mesh.operator.key("zone.key");
    mesh.put(&mesh.bootstrap("mesh.test", "zone.key", "1"));
    let resolvers = mesh.resolvers();
    let carol = User::new(dir.path(), "carol");
    let setup = [
        "setup",
        "carol@mesh.test",
        "--yes",
        "--dns-resolvers",
        &resolvers,
    ];

    // Never on trust: what is published is told, but not so that it could be copied from there.
    let refused = carol.run(&setup).expect(1).warns("[setup-bootstrap-key]");
    let refused = refused
        .warns("_dmp.mesh.test")
        .warns("--bootstrap-signer KEY");
    assert!(!refused.stderr.contains(&key), "{}", refused.stderr);
    assert_eq!(carol.setting("cluster_enabled"), "false");

    let other = mesh.operator.key("other.key");
    let with = |key: &str| carol.run(&[&setup[..], &["--bootstrap-signer", key]].concat());
    let before = carol.config();
    with(&other).expect(2).warns("[bootstrap-unusable]");
    assert_eq!(
        carol.config(),
        before,
        "a key that does not fit changes nothing"
    );

    with(&key)
        .expect(0)
        .says("cluster        mesh.test, by the word of mesh.test")
        .says("bearer tokens for 3 of 3 nodes")
        .says("carol@mesh.test works");
    assert_eq!(carol.setting("bootstrap_signer_spk"), key);
    assert_eq!(carol.setting("cluster_enabled"), "true");
    let tokens = fs::read_dir(carol.home.join("tokens")).unwrap().count();
    assert_eq!(tokens, 3);

    // Again: nothing is left to do, with the key and without.
    let again = carol.run(&["setup", "--json"]).expect(0);
    assert!(again.stdout.contains("\"changed\":[]"), "{}", again.stdout);
    with(&key).expect(0);

    // Bob pins the domain alone; his own resolver has none of it, the cluster has.
    let home = Node::start(dir.path(), "bob.test");
    let resolvers = format!("{},{}", home.dns, mesh.nodes[2].dns);
    let bob = user(dir.path(), "bob", "bob.test", &resolvers);
    let fetch = ["identity", "fetch", "carol@mesh.test", "--via-bootstrap"];
    bob.run(&fetch).expect(1).warns("[bootstrap-no-pin]");
    bob.run(&["bootstrap", "pin", "mesh.test", &key]).expect(0);
    let before = bob.config();
    bob.run(&fetch)
        .expect(0)
        .says("address:            carol@mesh.test");
    bob.run(&["identity", "fetch", "carol", "--via-bootstrap"])
        .expect(1);
    bob.run(&["identity", "fetch", "carol@bob.test", "--via-bootstrap"])
        .expect(1)
        .warns("[bootstrap-no-pin]");
    assert_eq!(bob.config(), before);
    bob.run(&[&fetch[..], &["--add"]].concat())
        .expect(0)
        .says("added contact carol@mesh.test");
    mesh.publish("2");
    bob.run(&fetch).expect(0);

    // A node that is away keeps nobody out.
    drop(mesh.nodes.remove(0));
    let dave = User::new(dir.path(), "dave");
    dave.run(&[
        "setup",
        "dave@mesh.test",
        "--yes",
        "--dns-resolvers",
        &mesh.resolvers(),
        "--bootstrap-signer",
        &key,
    ])
    .expect(0)
    .says("bearer tokens for 2 of 3 nodes")
    .says("dave@mesh.test works")
    .warns("node node-0 gave no token");
}

#[test]
fn a_replaced_or_revoked_signer_is_told_with_the_command_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(dir.path(), "mesh.test");
    let operator = &mesh.operator;
    let [old, new] = ["old.key", "new.key"].map(|name| operator.key(name));
    let paths = ["old.key", "new.key"].map(|name| operator.path(name));
    let alice = user(dir.path(), "alice", "mesh.test", &mesh.resolvers());
    alice
        .run(&["bootstrap", "pin", "mesh.test", &old])
        .expect(0);
    mesh.put(&mesh.bootstrap("mesh.test", "new.key", "5"));
    let rotate = [
        "bootstrap",
        "rotate",
        "mesh.test",
        "--old-key",
        &paths[0],
        "--new-key",
        &paths[1],
    ];
    mesh.put(&operator.user.run(&rotate).expect(0).stdout);

    let before = alice.config();
    let command = format!("dnsmesh bootstrap pin mesh.test {new}");
    for verb in [
        &["bootstrap", "fetch"][..],
        &["bootstrap", "discover", "alice@mesh.test", "--auto-pin"],
        &["identity", "fetch", "bob@mesh.test", "--via-bootstrap"],
    ] {
        alice
            .run(verb)
            .expect(2)
            .warns("[bootstrap-unusable]")
            .warns(&command);
    }
    alice.run(&["doctor"]).says(&command);
    assert_eq!(alice.config(), before);

    alice
        .run(&["bootstrap", "pin", "mesh.test", &new])
        .expect(0);
    alice
        .run(&["bootstrap", "fetch"])
        .expect(0)
        .says("seq:         5");

    // The same with the operator's key of the cluster.
    let first = operator.key("first.key");
    let follow = ["cluster", "rotate", "mesh.test", "--old-key"];
    let keys = ["first.key", "operator.key"].map(|name| operator.path(name));
    let rotate = [&follow[..], &[&keys[0], "--new-key", &keys[1]]].concat();
    mesh.put(&operator.user.run(&rotate).expect(0).stdout);
    alice
        .run(&["cluster", "pin", &first, "mesh.test"])
        .expect(0);
    let before = alice.config();
    for verb in ["fetch", "enable"] {
        alice.run(&["cluster", verb]).expect(2).warns(&format!(
            "dnsmesh cluster pin {} mesh.test",
            mesh.operator_spk
        ));
    }
    assert_eq!(alice.config(), before);

    // An older record on a node that was away is not taken any more.
    let stale = operator.path("stale.txt");
    fs::write(&stale, mesh.bootstrap("mesh.test", "new.key", "4")).unwrap();
    let late = Node::start(dir.path(), "mesh.test");
    operator.put(&late, &stale).expect(0);
    let resolver = late.dns.to_string();
    alice
        .run(&["config", "set", "dns-resolvers", &resolver])
        .expect(0);
    alice
        .run(&["bootstrap", "fetch"])
        .expect(2)
        .warns("[floor-rolled-back]");
    alice
        .run(&["config", "set", "dns-resolvers", &mesh.resolvers()])
        .expect(0);

    let revoke = [
        "bootstrap",
        "revoke",
        "mesh.test",
        "--key",
        &paths[1],
        "--reason",
        "compromise",
    ];
    mesh.put(&operator.user.run(&revoke).expect(0).stdout);
    let before = alice.config();
    alice
        .run(&["bootstrap", "fetch"])
        .expect(0)
        .warns("warning: the pinned key of mesh.test was revoked (compromise)");
    alice
        .run(&["bootstrap", "discover", "alice@mesh.test", "--auto-pin"])
        .expect(2)
        .warns("[bootstrap-revoked]");
    assert_eq!(alice.config(), before);
}
