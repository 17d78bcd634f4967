//! Taking the place of a reference node (D4): its databases as it made them, its users as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::Program::{Ours, Reference};
use crate::node::{Extras, Node};
use crate::proxy;
use crate::tools::{self, Key};
use crate::user::{Credential, Message, User};

const ZONE: &str = "alpha.test";
/// The files of a reference node, all of which go into an import.
const FILES: [&str; 4] = [
    "dmp.db",
    "dmp_tokens.db",
    "dmp_tsig.db",
    "dmp_heartbeats.db",
];

/// A reference node with users, records, tokens, keys and a heartbeat of another node, stopped.
struct Scene {
    node: Node,
    alice: User,
    bob: User,
    /// Has a TSIG key, with which the reference publishes and does not send (its values are longer than one string).
    dora: User,
    /// A token that its operator issued to carol, and one revoked since.
    tokens: [String; 2],
}

impl Scene {
    fn set() -> Self {
        let (alpha, beta) = with_heartbeats();
        let proxy = proxy::start(&[&alpha]);
        let user = |name| User::init(Reference, name, &alpha, &[&alpha], proxy);
        let mut alice = user("alice").join(Credential::Bearer, &alpha);
        let bob = user("bob").join(Credential::Bearer, &alpha);
        let dora = user("dora").join(Credential::Tsig, &alpha);
        for (one, other) in [
            (&alice, &bob),
            (&bob, &alice),
            (&alice, &dora),
            (&dora, &alice),
        ] {
            one.pin(other);
        }
        for recipient in [&bob, &dora] {
            alice.send(recipient, "sent before, read after");
        }
        alpha.publish(&format!("long.{ZONE}"), &"x".repeat(600), 3_000);
        alpha.publish(&format!("MiXeD.{ZONE}"), "case", 3_000);
        alpha.publish("dmp.elsewhere.example", "hosted here", 3_000);
        Key::of(&dora).add(&alpha, "by an UPDATE");
        let tokens = ["carol", "dave"].map(|name| issue(&alpha, &format!("{name}@{ZONE}")));
        let revoked = admin(&alpha, &["token", "revoke", &format!("dave@{ZONE}")]);
        assert!(revoked.contains("revoked"), "{revoked}");
        drop(beta);
        Self {
            node: alpha,
            alice,
            bob,
            dora,
            tokens,
        }
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.node.folder().path().join(folder);
        FILES.iter().map(|file| folder.join(file)).collect()
    }

    /// Our node on `database`, at the ports where the reference was.
    fn take_over(&self, database: &Path) -> Node {
        let extras = Extras {
            folder: Some(self.node.folder()),
            database: Some(database.to_owned()),
            ports: Some((self.node.dns.port(), self.node.http.port())),
            ..Extras::default()
        };
        Node::start_with(Ours, ZONE, &extras)
    }
}

/// The node of the scene, and another one that has told it of itself.
fn with_heartbeats() -> (Node, Node) {
    let heartbeat = |seed: u8, endpoint: &str| {
        vec![
            ("DMP_HEARTBEAT_ENABLED", "1".to_owned()),
            ("DMP_HEARTBEAT_SELF_ENDPOINT", format!("https://{endpoint}")),
            ("DMP_HEARTBEAT_OPERATOR_KEY_PATH", key_file(seed)),
        ]
    };
    let extras = Extras {
        environment: heartbeat(1, "beta.test"),
        ..Extras::default()
    };
    let beta = Node::start_with(Reference, "beta.test", &extras);
    let until = Instant::now() + Duration::from_secs(30);
    while beta.values("_dnsmesh-heartbeat.beta.test").is_empty() {
        assert!(Instant::now() < until, "no heartbeat\n{}", beta.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut environment = heartbeat(2, ZONE);
    environment.push(("DMP_HEARTBEAT_SEEDS", "beta.test".to_owned()));
    environment.push(("DMP_HEARTBEAT_DNS_RESOLVERS", beta.dns.to_string()));
    let extras = Extras {
        environment,
        ..Extras::default()
    };
    let alpha = Node::start_with(Reference, ZONE, &extras);
    let seen = alpha.folder().path().join("node/dmp_heartbeats.db");
    while count(&seen, "heartbeats_seen") == 0 {
        assert!(Instant::now() < until, "no peer seen\n{}", alpha.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    (alpha, beta)
}

/// The path of a file with the key of an operator, kept for as long as the tests run.
fn key_file(seed: u8) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file, &[seed; 32]).expect("a key");
    let (_, path) = file.keep().expect("a file");
    path.display().to_string()
}

fn count(database: &Path, table: &str) -> i64 {
    let read = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    Connection::open_with_flags(database, read)
        .and_then(|sql| {
            sql.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
        })
        .unwrap_or(0)
}

fn admin(node: &Node, arguments: &[&str]) -> String {
    let output = Command::new(Reference.executable().with_file_name("dnsmesh-node-admin"))
        .args(arguments)
        .env(
            "DMP_TOKEN_DB_PATH",
            node.folder().path().join("node/dmp_tokens.db"),
        )
        .output()
        .expect("the admin command of the reference");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn issue(node: &Node, subject: &str) -> String {
    let issued = admin(
        node,
        &["token", "issue", subject, "--expires", "30d", "--json"],
    );
    let issued: Value = serde_json::from_str(&issued).expect("JSON");
    issued["token"].as_str().expect("a token").to_owned()
}

/// Runs `dnsmesh node import` and gives its report.
pub(crate) fn import(files: &[PathBuf], database: &Path, more: &[&str]) -> Value {
    let output = Command::new(Ours.executable())
        .args(["node", "import", "--json", "--db-path"])
        .arg(database)
        .args(more)
        .args(files)
        .env_clear()
        .output()
        .expect("our program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&said).expect("JSON")
}

fn added(report: &Value) -> [i64; 3] {
    ["records", "keys", "tokens"].map(|kind| report[kind]["added"].as_i64().expect("a number"))
}

/// Every live value that the reference holds, by name in lower case.
fn live(database: &Path) -> BTreeMap<String, Vec<String>> {
    let sql = Connection::open(database).expect("the records of the reference");
    let mut rows = sql
        .prepare("SELECT lower(name), value FROM records WHERE expires_at > unixepoch() + 60")
        .expect("the table of records");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let mut live = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in rows.expect("rows").map(Result::unwrap) {
        live.entry(name).or_default().push(value);
    }
    live.values_mut().for_each(|values| values.sort());
    live
}

#[test]
fn our_node_takes_the_place_of_a_reference_node_and_its_users_go_on() {
    let mut scene = Scene::set();
    let folder = scene.node.folder();
    let key = Key::of(&scene.dora);
    scene.node.stop();
    let (files, database) = (scene.files("node"), folder.path().join("own/node.db"));
    let expected = live(&files[0]);
    assert!(expected.len() >= 10, "{expected:?}");
    let before: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();

    let dry = import(&files, &database, &["--dry-run"]);
    assert!(!database.exists(), "a dry run writes nothing");
    let report = import(&files, &database, &[]);
    assert_eq!(added(&dry), added(&report));
    let [records, keys, tokens] = added(&report);
    assert!(records >= expected.values().map(Vec::len).sum::<usize>() as i64);
    assert!(keys == 1 && tokens >= 2, "{report}");
    assert_eq!(
        report["heartbeats"]["added"]
            .as_i64()
            .map(|added| added > 0),
        Some(true),
        "{report}"
    );
    assert_eq!(
        added(&import(&files, &database, &[])),
        [0, 0, 0],
        "a second import adds nothing"
    );
    let after: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    assert!(
        before == after,
        "the files of the reference stay as they are"
    );

    let node = scene.take_over(&database);
    for (name, values) in &expected {
        assert_eq!(tools::txt(&node, name), *values, "{name}");
    }
    let [issued, revoked] = &scene.tokens;
    assert_eq!(
        node.publish_as(issued, &format!("dmp.carol.{ZONE}"), "carol's"),
        201
    );
    assert_eq!(
        node.publish_as(revoked, &format!("dmp.dave.{ZONE}"), "dave's"),
        401
    );
    key.add(&node, "by an UPDATE to the new node");

    // Nobody registers again: what was sent before arrives, and so does what is sent now, both ways.
    let from = |sender: &User, text: &str| Message {
        from: sender.signing_key().short(),
        text: text.to_owned(),
    };
    let (alice, bob, dora) = (&mut scene.alice, &mut scene.bob, &scene.dora);
    for recipient in [&*bob, dora] {
        assert_eq!(
            recipient.receive(),
            [from(alice, "sent before, read after")]
        );
    }
    for user in [&*alice, &*bob, dora] {
        let said = user.ok(&["identity", "refresh-prekeys", "--count", "5"]);
        assert!(said.contains("published 5/5 prekeys to "), "{said}");
        assert!(
            user.ok(&["identity", "publish"])
                .contains("published identity to ")
        );
    }
    bob.send(alice, "after");
    assert_eq!(alice.receive(), [from(bob, "after")]);
    for recipient in [&*bob, dora] {
        alice.send(recipient, "after, too");
        assert_eq!(recipient.receive(), [from(alice, "after, too")]);
    }
}

#[test]
fn databases_of_the_first_versions_are_taken_over_as_well() {
    let mut scene = Scene::set();
    let folder = scene.node.folder();
    scene.node.stop();
    let (new, old) = (folder.path().join("node"), folder.path().join("old"));
    std::fs::create_dir(&old).expect("a directory");
    let expected = live(&new.join("dmp.db"));
    // As 0.5.1 made them: no column that came later, no index on one, no number of a version.
    let later = [
        ("dmp.db", "records", &["stored_ts", "value_hash"][..]),
        ("dmp_tokens.db", "tokens", &["registered_spk"]),
        (
            "dmp_tsig.db",
            "tsig_keys",
            &["subject", "registered_spk", "registered_x25519_pub"],
        ),
        ("dmp_heartbeats.db", "heartbeats_seen", &[]),
    ];
    for (file, table, columns) in later {
        let sql = Connection::open(new.join(file)).expect("a database of the reference");
        let copy = old.join(file);
        sql.execute("VACUUM INTO ?1", [copy.to_str().expect("a path")])
            .expect("a copy");
        let sql = Connection::open(&copy).expect("the copy");
        let mut indexes = sql
            .prepare("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
            .expect("the schema");
        let names = indexes
            .query_map([], |row| row.get::<_, String>(0))
            .expect("names");
        let names: Vec<String> = names.map(Result::unwrap).collect();
        for index in names {
            sql.execute_batch(&format!("DROP INDEX {index}"))
                .expect("no index");
        }
        for column in columns {
            sql.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {column}"))
                .expect("no column");
        }
        sql.pragma_update(None, "user_version", 0)
            .expect("no version");
    }
    let database = folder.path().join("own/node.db");
    let report = import(&scene.files("old"), &database, &[]);
    let [_, keys, tokens] = added(&report);
    assert!(keys == 1 && tokens >= 2, "{report}");

    let node = scene.take_over(&database);
    for (name, values) in &expected {
        assert_eq!(tools::txt(&node, name), *values, "{name}");
    }
    Key::of(&scene.dora).add(&node, "by an UPDATE to the new node");
    assert_eq!(
        node.publish_as(&scene.tokens[0], &format!("dmp.carol.{ZONE}"), "carol's"),
        201
    );
}
