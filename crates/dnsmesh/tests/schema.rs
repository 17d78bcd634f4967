//! Every object that `--json` prints has a schema in `docs/schema`, every schema is printed, and what verbs really print is valid.
//!
//! A new verb: write its schema, add its row to `docs/schema/README.md`, and run it with `--json` in the scene below that it belongs to.
//! What a run prints is checked by [`common::Ran::of`], here and in every other test of the program.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

use common::node::{self, Node};
use common::{Ran, User, program, schema};

#[test]
fn every_schema_is_met_by_what_a_verb_prints() {
    thread::scope(|scope| {
        scope.spawn(two_people);
        scope.spawn(an_operator);
        scope.spawn(a_domain_in_a_cluster);
    });
    let never: Vec<_> = schema::names()
        .difference(&schema::seen())
        .cloned()
        .collect();
    assert_eq!(never, [""; 0], "no run above prints these");
}

/// Everything that users do.
fn two_people() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| person(dir.path(), name, &node));

    alice
        .run(&["init", "alice@alpha.test", "--json"])
        .expect(1)
        .nothing_on_stdout();
    alice
        .run(&["register", "--node", &node.url(), "--json"])
        .expect(0);
    alice.run(&["token", "list", "--json"]).expect(0);
    alice
        .run(&["token", "forget", "127.0.0.1", "--json"])
        .expect(0);
    alice.run(&["config", "path", "--json"]).expect(0);
    alice
        .run(&["config", "list", "--origin", "--json"])
        .expect(0);
    alice
        .run(&["config", "set", "allow-tofu", "false", "--json"])
        .expect(0);
    alice
        .run(&["identity", "show", "-vv", "--json"])
        .expect(0)
        .warns("reading the configuration");
    alice.run(&["resolvers", "list", "--json"]).expect(0);
    alice.run(&["peers", "alpha.test", "--json"]).expect(0);
    let public = dir.path().join("public").to_str().unwrap().to_owned();
    let resolver = node.dns.to_string();
    let directory = ["directory", "--seed", "alpha.test", "--out-dir", &public];
    alice
        .run(&[&directory[..], &["--resolver", &resolver, "--json"]].concat())
        .expect(0);
    let carol = User::new(dir.path(), "carol");
    let (url, dns) = (node.url(), node.dns.to_string());
    carol
        .run(&[
            "setup",
            "carol@alpha.test",
            "--node",
            &url,
            "--dns-resolvers",
            &dns,
            "--json",
        ])
        .expect(0);
    alice.run(&["doctor", "--json"]).expect(0);
    alice.run(&["doctor", "--repair", "--json"]).expect(1);
    alice
        .run(&["resolvers", "test", "--timeout", "0.3", "--json"])
        .expect(2);
    let port = node.dns.port().to_string();
    let server = ["--dns-server", "127.0.0.1", "--dns-port", &port, "--json"];
    for person in [&alice, &bob] {
        person
            .run(&[&["tsig", "register", "--node", &node.url()][..], &server].concat())
            .expect(0);
        person.run(&["identity", "show", "--json"]).expect(0);
        person.run(&["identity", "publish", "--json"]).expect(0);
        person
            .run(&["identity", "refresh-prekeys", "--count", "3", "--json"])
            .expect(0);
    }
    alice
        .run(&["identity", "fetch", "bob@alpha.test", "--add", "--json"])
        .expect(0);
    alice.run(&["contacts", "list", "--json"]).expect(0);
    alice
        .run(&["contacts", "verify", "bob@alpha.test", "--json"])
        .expect(0);
    alice.run(&["identity", "qr", "--json"]).expect(0);

    // Bob does not know Alice: the quarantine.
    for text in ["one", "two", "three", "taken back"] {
        alice
            .run(&["send", "bob@alpha.test", text, "--json"])
            .expect(0);
    }
    alice.run(&["outbox", "list", "--json"]).expect(0);
    alice.run(&["outbox", "cancel", "4", "--json"]).expect(0);
    bob.run(&["recv", "--json"]).expect(0);
    let waiting = bob.run(&["intro", "list", "--json"]).expect(0);
    let waiting = waiting.stdout.lines().map(|row| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        row["id"].to_string()
    });
    let waiting: Vec<String> = waiting.collect();
    bob.run(&["intro", "accept", &waiting[0], "--json"])
        .expect(0);
    bob.run(&["intro", "block", &waiting[1], "--json"])
        .expect(0);

    bob.run(&["identity", "fetch", "alice@alpha.test", "--add", "--json"])
        .expect(0);
    bob.run(&["send", "alice@alpha.test", "-", "--json"])
        .expect(0);
    alice
        .run(&["identity", "fetch", "bob@alpha.test", "--add", "--json"])
        .expect(0);
    alice.run(&["recv", "--json"]).expect(0);
    alice.run(&["recv", "--dropped", "--json"]).expect(0);

    let blocked = bob.run(&["intro", "denied", "--json"]).expect(0).json();
    let blocked = blocked["signing_public_key"].as_str().unwrap().to_owned();
    bob.run(&["intro", "unblock", &blocked, "--json"]).expect(0);
    bob.run(&["intro", "purge", "--all", "--json"]).expect(0);
    // New keys, followed, and an end.
    alice.run(&["identity", "unpublish", "--json"]).expect(0);
    let alice = alice.with("DMP_NEW_PASSPHRASE", "the new one");
    alice
        .run(&["identity", "rotate", "--yes", "--json"])
        .expect(0);
    bob.run(&[
        "contacts",
        "accept-key",
        "alice@alpha.test",
        "--yes",
        "--json",
    ])
    .expect(0);
    let alice = alice.with("DMP_PASSPHRASE", "the new one");
    alice
        .run(&["identity", "revoke", "--reason", "other", "--yes", "--json"])
        .expect(0);
    bob.run(&["contacts", "block", "alice@alpha.test", "--json"])
        .expect(0);
    bob.run(&["contacts", "remove", "alice@alpha.test", "--yes", "--json"])
        .expect(0);
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let alice = alice.with("DMP_BACKUP_PASSPHRASE", "of the backup");
    alice
        .run(&["backup", "export", &at("a.age"), "--json"])
        .expect(0);
    alice
        .run(&["backup", "import", &at("a.age"), "--force", "--json"])
        .expect(0);
    alice.run(&["backup", "sheet", "--json"]).expect(0);
    alice
        .run(&["backup", "sheet", &at("sheet.txt"), "--json"])
        .expect(0);
    let again = User::new(&dir.path().join("again"), "alice").with("DMP_PASSPHRASE", "the new one");
    again
        .run(&["backup", "restore-sheet", &at("sheet.txt"), "--json"])
        .expect(0);
    alice.run(&["tsig", "show", "--bind", "--json"]).expect(0);
    alice.run(&["tsig", "forget", "--json"]).expect(0);
}

/// A person with a configuration; nothing leaves this machine.
fn person(dir: &Path, name: &str, node: &Node) -> User {
    let port = node.dns.port().to_string();
    let user = User::new(dir, name).with("DMP_PROVIDER_DNS_PORT", &port);
    let (address, resolver) = (format!("{name}@{}", node.zone), node.dns.to_string());
    user.run(&[
        "init",
        &address,
        "--endpoint",
        &node.url(),
        "--dns-resolvers",
        &resolver,
        "--no-probe-local-dns",
        "--json",
    ])
    .expect(0);
    user.configure(&format!(
        "local_node_dns_server: 127.0.0.1\nlocal_node_dns_port: {port}\nprovider_seeds: []"
    ));
    user
}

/// What the operator of a domain signs, and what its users find.
fn a_domain_in_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "users.test");
    let alice = User::new(dir.path(), "alice").with("DMP_OPERATOR_TOKEN", node::OPERATOR_TOKEN);
    alice
        .run(&[
            "init",
            "alice@users.test",
            "--dns-resolvers",
            &node.dns.to_string(),
        ])
        .expect(0);
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (key, record) = (path("zone.key"), path("record.txt"));
    let made = alice
        .run(&["bootstrap", "keygen", &key, "--json"])
        .expect(0)
        .json();
    let public = made["public_key"].as_str().unwrap();
    let entry = format!("base=users.test,key={public}");
    let sign = [
        "bootstrap",
        "sign",
        "users.test",
        "--key",
        &key,
        "--entry",
        &entry,
    ];
    let value = alice.run(&sign).expect(0).stdout;
    fs::write(&record, value).unwrap();
    alice
        .run(&["bootstrap", "show", &record, "--json"])
        .expect(0);
    let url = node.url();
    alice
        .run(&["bootstrap", "publish", &record, "--node", &url, "--json"])
        .expect(0);
    alice
        .run(&["bootstrap", "pin", "users.test", public, "--json"])
        .expect(0);
    let (key, manifest) = (path("operator.key"), path("manifest.txt"));
    let made = alice.run(&["cluster", "keygen", &key, "--json"]).expect(0);
    let node_text = format!("id=a,http={url},dns={}", node.dns);
    let sign = ["cluster", "sign", "users.test", "--key", &key];
    let value = alice
        .run(&[&sign[..], &["--node", &node_text]].concat())
        .expect(0)
        .stdout;
    fs::write(&manifest, value).unwrap();
    alice
        .run(&["cluster", "publish", &manifest, "--node", &url, "--json"])
        .expect(0);
    let made = made.json();
    let public = made["public_key"].as_str().unwrap();
    alice
        .run(&["cluster", "pin", public, "users.test", "--json"])
        .expect(0);
    for verb in ["fetch", "enable", "status", "disable"] {
        alice.run(&["cluster", verb, "--json"]).expect(0);
    }
    alice.run(&["bootstrap", "fetch", "--json"]).expect(0);
    alice
        .run(&["bootstrap", "discover", "alice@users.test", "--json"])
        .expect(0);
}

/// Everything that an operator does, with a node and without.
fn an_operator() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(dir.path().join("mesh.test")).unwrap();
    let database = path("mesh.test/dmp.db");
    let run = |arguments: &[&str]| {
        let mut command = program(&[&["node"], arguments, &["--json"]].concat());
        command
            .env("HOME", dir.path())
            .env("DMP_DB_PATH", &database)
            .env("DMP_DOMAIN", "mesh.test");
        Ran::of(&["node", "--json"], command.output().unwrap())
    };

    for verb in [
        &["help", "codes"][..],
        &["completion", "bash"],
        &["man", &path("man")],
    ] {
        let arguments = [verb, &["--json"]].concat();
        Ran::of(&arguments, program(&arguments).output().unwrap()).expect(0);
    }
    run(&["config"]).expect(0);
    run(&["config", "--markdown"]).expect(0);
    run(&["config", "show"]).expect(0);
    run(&["check"]).expect(0);
    run(&["health"]).expect(1);
    run(&["ctl", "status"]).expect(1);
    fs::write(
        path("node.env"),
        "DMP_DOMAIN=mesh.test\nDMP_OPERATOR_TOKEN=secret-secret-secret\n",
    )
    .unwrap();
    run(&["config", "migrate", "--from-env", &path("node.env")]).expect(0);
    let setup = [
        "setup",
        "--yes",
        "--zone",
        "mesh.test",
        "--address",
        "192.0.2.1",
        "--config",
    ];
    run(&[&setup[..], &[&path("node.toml")]].concat()).expect(0);

    run(&["admin", "token", "issue", "alice@mesh.test"]).expect(0);
    run(&["admin", "token", "rotate", "alice@mesh.test"]).expect(0);
    run(&["admin", "token", "list", "--include-revoked"]).expect(0);
    run(&["admin", "audit", "tail"]).expect(0);
    run(&["admin", "token", "revoke", "alice@mesh.test"]).expect(0);
    run(&["ctl", "key", "add", "ops.mesh.test", "--scope", "mesh.test"]).expect(0);
    fs::write(path("zone"), "a.mesh.test. 600 IN TXT \"v=dmp1; one\"\n").unwrap();
    run(&["load", &path("zone")]).expect(0);

    let node = Node::start(dir.path(), "mesh.test");
    run(&["ctl", "status"]).expect(0);
    run(&["ctl", "drain"]).expect(0);
    run(&["ctl", "resume"]).expect(0);
    run(&["ctl", "reload"]).expect(0);
    run(&["ctl", "key", "list"]).expect(0);
    run(&["ctl", "key", "show", "ops.mesh.test"]).expect(0);
    run(&["ctl", "key", "revoke", "ops.mesh.test"]).expect(0);
    run(&["ctl", "user", "deny", "mallory@mesh.test"]).expect(0);
    run(&["ctl", "user", "list"]).expect(0);
    run(&["ctl", "quota", "show"]).expect(0);
    run(&["ctl", "zone", "dump"]).expect(0);
    run(&["ctl", "backup", &path("copy.db")]).expect(0);
    assert_eq!(node.stop("TERM"), Some(0));
    run(&["ctl", "restore", &path("copy.db")]).expect(0);
    run(&["import", &reference_database(dir.path())]).expect(0);
}

/// A database as the reference's node makes it, empty.
fn reference_database(dir: &Path) -> String {
    let path = dir.join("reference.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE records (name TEXT NOT NULL, value TEXT NOT NULL, ttl INTEGER NOT NULL, expires_at INTEGER NOT NULL,
             created_at INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (name, value));",
        )
        .unwrap();
    path.to_str().unwrap().to_owned()
}

/// Schema names in a source text: `"dmp.thing/1"`.
fn names_in(text: &str, names: &mut BTreeSet<String>) {
    for literal in text.split("\"dmp.").skip(1) {
        let literal = literal.split('"').next().unwrap_or_default();
        let is_name = literal.rsplit_once('/').is_some_and(|(thing, major)| {
            thing
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
                && major.parse::<u16>().is_ok()
        });
        if is_name {
            names.insert(format!("dmp.{literal}"));
        }
    }
}

fn sources(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, names);
        } else {
            names_in(&fs::read_to_string(&path).unwrap(), names);
        }
    }
}

#[test]
fn each_schema_that_the_source_names_has_a_file_and_each_file_is_named() {
    let mut named = BTreeSet::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut named,
    );
    assert_eq!(named, schema::names());
}

#[test]
fn the_page_of_schemas_lists_each_of_them_once() {
    let page = fs::read_to_string(schema::directory().join("README.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| [`"));
    let mut listed = BTreeMap::new();
    for row in rows {
        let (name, rest) = row.split_once("`](").unwrap();
        let (file, _) = rest.split_once(')').unwrap();
        assert_eq!(file, format!("{}.json", name.replace('/', ".")));
        assert_eq!(listed.insert(name.to_owned(), ()), None, "{name} twice");
    }
    assert_eq!(listed.into_keys().collect::<BTreeSet<_>>(), schema::names());
}
