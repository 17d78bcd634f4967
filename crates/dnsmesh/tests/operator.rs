//! `dnsmesh-node-admin` and `node ctl` (cli.md 3.16, 4; node.md 8): outputs, statuses, and that both work on a running node
//! as on one that does not run.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::node::{self, Node};
use common::{Ran, program};
use dmp_dns::tsig::{Key, sign_request};
use dmp_dns::update::{Operation, UpdateBuilder};

const ZONE: &str = "mesh.test";

/// A directory with a node's database in it.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(ZONE)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path(&format!("{ZONE}/dmp.db"))
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(arguments, self.command(arguments).output().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command
            .env("USER", "olga")
            .env("HOME", self.dir.path())
            .env("DMP_DB_PATH", self.database())
            .env("DMP_DOMAIN", ZONE);
        command
    }

    fn admin(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["node", "admin"], arguments].concat())
    }

    fn ctl(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["node", "ctl"], arguments].concat())
    }

    /// The text of a new token.
    fn token(&self, subject: &str) -> String {
        let issued = self
            .admin(&["token", "issue", subject, "--json"])
            .expect(0)
            .json();
        issued["token"].as_str().unwrap().to_owned()
    }
}

/// Status of one HTTP request that publishes a value.
fn publish(node: SocketAddr, token: &str, name: &str) -> u16 {
    let body = r#"{"value": "v", "ttl": 3600}"#;
    let mut stream = TcpStream::connect(node).unwrap();
    let request = format!(
        "POST /v1/records/{name} HTTP/1.1\r\nHost: n\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].parse().unwrap()
}

/// A name that a token of `alice@mesh.test` may write.
const ALICES: &str = "dmp.alice.mesh.test";

#[test]
fn a_token_is_shown_once_and_listed_without_its_text() {
    let site = Site::new();
    let key = "ab".repeat(32);
    let issued = site
        .admin(&[
            "token", "issue", "Bob@mesh.test", "--expires", "1h", "--rate", "2.5", "--burst", "7", "--note", "a note",
            "--with-prekey-scope", &key,
        ])
        .expect(0)
        .says("  subject:    bob@mesh.test\n  prekey h12: 9a2db2e23f15\n  rate:       2.5 req/s  burst=7\n  expires:    20")
        .says("\n\n  note: a note\n");
    let token = issued
        .stdout
        .lines()
        .find(|line| line.starts_with("      dmp_v1_"))
        .unwrap();
    assert_eq!(token.trim().len(), 59);
    let list = site.admin(&["token", "list"]).expect(0);
    let lines: Vec<&str> = list.stdout.lines().collect();
    let head = [
        "HASH-PREFIX",
        "SUBJECT",
        "ISSUED",
        "EXPIRES",
        "REVOKED",
        "STATUS",
    ];
    assert_eq!(lines[0], head.map(|cell| format!("{cell:<20}")).join("  "));
    assert_eq!(lines[1].get(22..35), Some("bob@mesh.test"));
    assert!(lines[1].ends_with("live                ") && !list.stdout.contains("dmp_v1_"));
    let json = site.admin(&["token", "list", "--json"]).expect(0).json();
    let members: Vec<_> = json[0].as_object().unwrap().iter().collect();
    let text = |name: &str| {
        members
            .iter()
            .find(|(member, _)| *member == name)
            .unwrap()
            .1
            .to_string()
    };
    assert_eq!(
        (text("issuer"), text("note")),
        ("\"admin:olga\"".into(), "\"a note\"".into())
    );
    assert_eq!(
        (text("rate_burst"), text("subject_type")),
        ("7".into(), "1".into())
    );
    site.admin(&["token", "list", "--subject", "nobody"])
        .expect(0)
        .says("(no tokens)\n");
    site.admin(&["audit", "tail"])
        .expect(0)
        .says("  issued      subject=bob@mesh.test             hash=");
    site.admin(&["audit", "tail", "--event", "used", "--json"])
        .expect(0)
        .says("[]\n");
}

#[test]
fn tokens_are_revoked_by_subject_or_by_the_beginning_of_their_hash() {
    let site = Site::new();
    site.token("alice@mesh.test");
    site.token("alice@mesh.test");
    site.token("carol@mesh.test");
    site.admin(&["token", "revoke", "ALICE@mesh.test"])
        .expect(0)
        .says("revoked 2 token(s) for subject 'alice@mesh.test'\n");
    site.admin(&["token", "revoke", "alice@mesh.test"])
        .expect(1)
        .nothing_on_stdout();
    site.token("carol@mesh.test");
    site.admin(&["token", "revoke", ""])
        .expect(2)
        .nothing_on_stdout();
    let list = site.admin(&["token", "list", "--json"]).expect(0).json();
    let hash = list[0]["token_hash"].as_str().unwrap();
    site.admin(&["token", "revoke", &hash[..12]])
        .expect(0)
        .says(&format!(
            "revoked token {}… (subject carol@mesh.test)\n",
            &hash[..16]
        ));
    let json = |arguments: &[&str]| {
        site.admin(arguments)
            .expect(0)
            .json()
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(json(&["token", "list", "--json"]), 1);
    assert_eq!(json(&["token", "list", "--json", "--include-revoked"]), 4);
}

#[test]
fn a_rotation_is_one_step_and_a_typing_error_changes_nothing() {
    let site = Site::new();
    site.token("alice@mesh.test");
    let before = site.admin(&["token", "list", "--json"]).expect(0).stdout;
    for wrong in ["1Y", "0", "-5", "1.5h", ""] {
        site.admin(&[
            "token",
            "rotate",
            "alice@mesh.test",
            &format!("--expires={wrong}"),
        ])
        .expect(2)
        .nothing_on_stdout();
    }
    site.admin(&["token", "rotate", "alice", "--expires", "1d"])
        .expect(2);
    site.admin(&["token", "issue", "BAD"]).expect(2);
    site.admin(&[
        "token",
        "issue",
        "bob@mesh.test",
        "--with-prekey-scope",
        "zz",
    ])
    .expect(2);
    assert_eq!(
        site.admin(&["token", "list", "--json"]).expect(0).stdout,
        before
    );
    site.admin(&["token", "rotate", "alice@mesh.test", "--expires", " 1d "])
        .expect(0)
        .says("revoked 1 old token(s) for 'alice@mesh.test'\nnew token:\n  dmp_v1_");
    let list = site.admin(&["token", "list", "--json"]).expect(0).json();
    assert_eq!(
        (list.as_array().unwrap().len(), &list[0]["note"]),
        (1, &"rotation".into())
    );
}

#[test]
fn the_database_is_named_by_flag_or_variable_and_never_made_in_a_place_that_is_not_there() {
    let site = Site::new();
    site.admin(&["--db", "/nonexistent/dmp.db", "token", "list"])
        .expect(2);
    site.admin(&["token", "list"])
        .expect(1)
        .warns("there is no database");
    let other = site.path("other.db");
    site.admin(&[
        "--db",
        other.to_str().unwrap(),
        "token",
        "issue",
        "a@mesh.test",
    ])
    .expect(0);
    assert!(other.exists() && !site.database().exists());
    let sql = rusqlite::Connection::open(&other).unwrap();
    sql.pragma_update(None, "user_version", 9_999).unwrap();
    drop(sql);
    site.admin(&["--db", other.to_str().unwrap(), "token", "list"])
        .expect(1)
        .warns("has schema version 9999");
}

#[test]
fn the_program_answers_to_the_name_of_the_admin_command() {
    let site = Site::new();
    site.token("alice@mesh.test");
    let link = site.path("dnsmesh-node-admin");
    symlink(env!("CARGO_BIN_EXE_dnsmesh"), &link).unwrap();
    let ran = Command::new(link)
        .args(["token", "list"])
        .env("DMP_DB_PATH", site.database())
        .output()
        .unwrap();
    Ran::from(ran).expect(0).says("alice@mesh.test");
}

#[test]
fn what_the_operator_does_holds_for_the_next_request() {
    let site = Site::new();
    let node = Node::start(site.dir.path(), ZONE);
    let token = site.token("alice@mesh.test");
    assert_eq!(publish(node.http, &token, ALICES), 201);
    site.ctl(&["drain"]).expect(0);
    assert_eq!(publish(node.http, &token, ALICES), 503);
    site.ctl(&["status"]).expect(0).says("draining: true\n");
    site.ctl(&["resume"]).expect(0);
    assert_eq!(publish(node.http, &token, ALICES), 201);
    site.admin(&["token", "revoke", "alice@mesh.test"])
        .expect(0);
    assert_eq!(publish(node.http, &token, ALICES), 401);
    site.ctl(&["status"])
        .expect(0)
        .says("running: true\n")
        .says(&format!("http: {}\n", node.http))
        .says("records: 1\n")
        .says("store: working\n");
    let socket = site.path(&format!("{ZONE}/dmp.db.sock"));
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(node.stop("TERM"), Some(0));
    assert!(!socket.exists());
    site.ctl(&["status"]).expect(0).says("running: false\n");
    site.ctl(&["drain"]).expect(1).warns("no node is running");
}

#[test]
fn a_node_is_well_while_it_runs_and_its_store_works() {
    let site = Site::new();
    let health = || site.run(&["node", "health"]);
    let reason = format!("fail  node: none runs on {}\n", site.database().display());
    health().expect(1).says(&reason);
    let node = Node::start(site.dir.path(), ZONE);
    health()
        .expect(0)
        .says(&format!("ok    node: answering on {}\n", node.dns));
    let json = site.run(&["node", "health", "--json"]).expect(0).json();
    assert_eq!(json["schema"], "dmp.finding/1");
    assert_eq!(node.stop("TERM"), Some(0));
    health().expect(1).says(&reason);
}

#[test]
fn users_and_keys_are_managed_by_name() {
    let site = Site::new();
    let source = site.path("dmp_tsig.db");
    rusqlite::Connection::open(&source)
        .unwrap()
        .execute_batch(
            "CREATE TABLE tsig_keys (name TEXT PRIMARY KEY, algorithm TEXT, secret BLOB, allowed_suffixes TEXT,
                 created_at INTEGER, expires_at INTEGER, revoked INTEGER);
             INSERT INTO tsig_keys VALUES ('k1.mesh.test.', 'hmac-sha256', x'0102030405', 'mesh.test', 1, 0, 0),
                 ('k2.mesh.test.', 'hmac-sha256', x'0102030405', 'mesh.test', 1, 0, 0);",
        )
        .unwrap();
    site.run(&["node", "import", source.to_str().unwrap()])
        .expect(0);
    let node = Node::start(site.dir.path(), ZONE);
    site.ctl(&["key", "list"])
        .expect(0)
        .says("live     never                 k1.mesh.test.  \n");
    site.ctl(&["key", "revoke", "K1.mesh.test"]).expect(0);
    site.ctl(&["key", "delete", "k2.mesh.test."]).expect(0);
    let list = site.ctl(&["key", "list"]).expect(0).says("revoked  never");
    assert!(!list.stdout.contains("k2"));
    let show = site
        .ctl(&["key", "show", "k1.mesh.test"])
        .expect(0)
        .says("allowed_suffixes: mesh.test\n");
    assert!(!show.stdout.contains("0102030405"));
    for verb in ["show", "revoke", "delete"] {
        site.ctl(&["key", verb, "k2.mesh.test"])
            .expect(1)
            .warns("no key k2.mesh.test.");
    }
    site.ctl(&["user", "deny", "mallory@mesh.test"]).expect(0);
    site.ctl(&["user", "list"])
        .expect(0)
        .says("subject  mallory@mesh.test\n");
    site.ctl(&["user", "allow", "mallory@mesh.test"]).expect(0);
    site.ctl(&["user", "allow", "mallory@mesh.test"]).expect(1);
    site.ctl(&["user", "deny", "nonsense"]).expect(2);
    assert_eq!(node.stop("TERM"), Some(0));
}

/// The key of a file that `nsupdate -k` reads, whose text is exactly this and nothing more.
fn key_of(file: &str, name: &str, algorithm: &str) -> Key {
    let head = format!("key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"");
    let secret = file
        .strip_prefix(&head)
        .and_then(|rest| rest.strip_suffix("\";\n};\n"));
    key(name, algorithm, secret.unwrap_or_else(|| panic!("{file}")))
}

fn key(name: &str, algorithm: &str, secret: &str) -> Key {
    let secret = BASE64_STANDARD.decode(secret).unwrap();
    Key::new(&name.parse().unwrap(), algorithm.parse().unwrap(), &secret).unwrap()
}

/// RCODE of the answer to one signed update, whose signature is proven where the update succeeds.
fn update(node: SocketAddr, key: &Key, operation: Operation) -> u8 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut update = UpdateBuilder::new(&ZONE.parse().unwrap());
    update.push(&operation).unwrap();
    let mut message = update.build(1);
    let signature = sign_request(key, &mut message, now).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.send_to(&message, node).unwrap();
    let mut answer = [0; 1_232];
    let length = socket.recv(&mut answer).unwrap();
    let rcode = answer[3] & 0x0f;
    if rcode == NOERROR {
        signature.verify_answer(&answer[..length], now).unwrap();
    }
    rcode
}

fn add(owner: &str) -> Operation {
    Operation::Add {
        owner: owner.parse().unwrap(),
        ttl: 3_600,
        value: "by the operator".to_owned(),
    }
}

fn delete(owner: &str) -> Operation {
    Operation::DeleteRrset {
        owner: owner.parse().unwrap(),
    }
}

const NOERROR: u8 = 0;
const REFUSED: u8 = 5;
const NOTAUTH: u8 = 9;

#[test]
fn an_operators_key_signs_the_very_next_packet_and_none_after_its_end() {
    let site = Site::new();
    let node = Node::start(site.dir.path(), ZONE);
    let new = ["key", "add", "Ops.Mesh.Test", "--scope", "Mesh.Test."];
    let added = site.ctl(&new).expect(0);
    assert_eq!(added.stderr, "");
    let ops = key_of(&added.stdout, "ops.mesh.test.", "hmac-sha256");
    assert_eq!(update(node.dns, &ops, add(ALICES)), NOERROR);
    assert_eq!(
        update(node.dns, &ops, delete(ALICES)),
        NOERROR,
        "the zone as scope deletes anything"
    );

    let wild = [
        "key",
        "add",
        "wild",
        "--scope",
        "slot-*.mb-*.mesh.test",
        "--algorithm",
        "hmac-sha512",
    ];
    let wild = key_of(&site.ctl(&wild).expect(0).stdout, "wild.", "hmac-sha512");
    let slot = "slot-0.mb-0123456789ab.mesh.test";
    assert_eq!(update(node.dns, &wild, add(slot)), NOERROR);
    assert_eq!(
        update(node.dns, &wild, delete(slot)),
        REFUSED,
        "a pattern with * never deletes"
    );
    assert_eq!(update(node.dns, &wild, add(ALICES)), REFUSED);

    let refused = || {
        site.ctl(&new)
            .expect(1)
            .nothing_on_stdout()
            .warns("there is a key ops.mesh.test. already")
    };
    refused();
    assert_eq!(
        update(node.dns, &ops, add(ALICES)),
        NOERROR,
        "the key is as it was"
    );
    site.ctl(&["key", "list"])
        .expect(0)
        .says("live     never                 ops.mesh.test.  \n");
    site.ctl(&["key", "show", "ops.mesh.test"])
        .expect(0)
        .says("allowed_suffixes: mesh.test\n")
        .says("subject: \n");
    site.admin(&["audit", "tail", "--event", "issued"])
        .expect(0)
        .says("  admin key ops.mesh.test.\n");

    site.ctl(&["key", "revoke", "ops.mesh.test"]).expect(0);
    assert_eq!(update(node.dns, &ops, add(ALICES)), NOTAUTH);
    refused();
    site.ctl(&["key", "delete", "ops.mesh.test"]).expect(0);
    site.admin(&["audit", "tail", "--event", "revoked"])
        .expect(0)
        .says("  key ops.mesh.test. revoked\n")
        .says("  key ops.mesh.test. deleted\n");
    let again = key_of(
        &site.ctl(&new).expect(0).stdout,
        "ops.mesh.test.",
        "hmac-sha256",
    );
    assert_eq!(
        update(node.dns, &ops, add(ALICES)),
        NOTAUTH,
        "another secret"
    );
    assert_eq!(update(node.dns, &again, delete(ALICES)), NOERROR);
    assert_eq!(node.stop("TERM"), Some(0));
}

#[test]
fn an_operators_key_is_added_before_the_node_has_ever_run() {
    let site = Site::new();
    let arguments = [
        "key",
        "add",
        "ops.mesh.test",
        "--scope",
        "mesh.test",
        "--scope",
        "b.other.test",
        "--scope",
        "MESH.test.",
        "--algorithm",
        "hmac-sha384",
        "--expires",
        "1h",
        "--json",
    ];
    let added = site
        .ctl(&arguments)
        .expect(0)
        .warns("b.other.test matches nothing in mesh.test")
        .warns("updates are off (update.enabled)");
    let json = added.json();
    let members: Vec<&String> = json.as_object().unwrap().keys().collect();
    let expected = [
        "algorithm",
        "allowed_suffixes",
        "expires_at",
        "name",
        "schema",
        "secret_base64",
    ];
    assert_eq!(members, expected);
    assert_eq!(json["schema"], "dmp.node-key-added/1");
    assert_eq!(json["name"], "ops.mesh.test.");
    assert_eq!(
        json["allowed_suffixes"],
        serde_json::json!(["b.other.test", "mesh.test"])
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let date = Command::new("date")
        .args(["-u", "+%s", "-d", json["expires_at"].as_str().unwrap()])
        .output()
        .unwrap();
    let end: u64 = String::from_utf8(date.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let left = end - now;
    assert!((3_500..=3_600).contains(&left), "{left}");
    let ops = key(
        "ops.mesh.test",
        "hmac-sha384",
        json["secret_base64"].as_str().unwrap(),
    );
    site.ctl(&arguments).expect(1).nothing_on_stdout();

    let node = Node::start(site.dir.path(), ZONE);
    assert_eq!(update(node.dns, &ops, add(ALICES)), NOERROR);
    assert_eq!(node.stop("TERM"), Some(0));
}

#[test]
fn a_secret_from_a_file_is_used_and_never_printed() {
    let site = Site::new();
    let file = site.path("secret");
    let secret = BASE64_STANDARD.encode([7; 16]);
    fs::write(&file, format!("{secret}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.to_str().unwrap();
    let node = Node::start(site.dir.path(), ZONE);
    let add_key = |name: &str, more: &[&str]| {
        let arguments = [
            "key",
            "add",
            name,
            "--scope",
            "mesh.test",
            "--secret-file",
            path,
        ];
        site.ctl(&[&arguments, more].concat()).expect(0)
    };
    let added = add_key("one", &[]).warns("has mode 0644");
    assert_eq!(added.stdout, "added one.\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let added = add_key("two", &["--json"]);
    assert_eq!(added.stderr, "");
    assert_eq!(added.json()["secret_base64"], serde_json::Value::Null);
    for name in ["one", "two"] {
        let key = key(name, "hmac-sha256", &secret);
        assert_eq!(update(node.dns, &key, add(ALICES)), NOERROR);
    }
    assert_eq!(node.stop("TERM"), Some(0));
}

#[test]
fn a_key_that_cannot_be_is_refused_and_nothing_is_added() {
    let site = Site::new();
    let file = |name: &str, content: &[u8]| {
        let path = site.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let short = file("short", BASE64_STANDARD.encode([7; 15]).as_bytes());
    let text = file("text", b"no base64!");
    let long = file("long", BASE64_STANDARD.encode([7; 1_025]).as_bytes());
    let huge = file("huge", &[b'A'; 100_000]);
    let octets = file("octets", &[0xff; 32]);
    let missing = site.path("missing").to_str().unwrap().to_owned();
    let node = Node::start(site.dir.path(), ZONE);
    let refuse = || {
        for (arguments, status, reason) in [
            (&["ops"][..], 2, "--scope"),
            (&["--scope", "mesh.test"], 2, "<NAME>"),
            (&["a..b", "--scope", "mesh.test"], 2, "key name 'a..b'"),
            (&["a b", "--scope", "mesh.test"], 2, "key name 'a b'"),
            (&["ops", "--scope", ""], 2, "scope pattern ''"),
            (
                &["ops", "--scope", "mesh.test", "--scope", "a..b"],
                2,
                "scope pattern 'a..b'",
            ),
            (&["ops", "--scope", "a,b.mesh.test"], 2, "outside A-Z"),
            (
                &["ops", "--scope", "mesh.test", "--expires", "0"],
                2,
                "more than 0",
            ),
            (
                &["ops", "--scope", "mesh.test", "--expires", "soon"],
                2,
                "expected digits",
            ),
            (
                &["ops", "--scope", "mesh.test", "--algorithm", "hmac-md5"],
                2,
                "none of hmac-sha256",
            ),
            (
                &["ops", "--scope", "mesh.test", "--secret-file", &short],
                1,
                "has 15 octets",
            ),
            (
                &["ops", "--scope", "mesh.test", "--secret-file", &text],
                1,
                "is not base64",
            ),
            (
                &["ops", "--scope", "mesh.test", "--secret-file", &long],
                1,
                "has 1025 octets",
            ),
            (
                &["ops", "--scope", "mesh.test", "--secret-file", &huge],
                1,
                "more than 2048 octets",
            ),
            (
                &["ops", "--scope", "mesh.test", "--secret-file", &octets],
                1,
                "UTF-8",
            ),
            (
                &["ops", "--scope", "mesh.test", "--secret-file", &missing],
                1,
                "No such file",
            ),
        ] {
            site.ctl(&[&["key", "add"], arguments].concat())
                .expect(status)
                .nothing_on_stdout()
                .warns(reason);
        }
        site.ctl(&["key", "list"]).expect(0).says("(no keys)\n");
    };
    refuse();
    assert_eq!(node.stop("TERM"), Some(0));
    refuse();
}

#[test]
fn a_backup_is_taken_from_a_running_node_and_restored_while_it_stands() {
    let site = Site::new();
    let node = Node::start(site.dir.path(), ZONE);
    let token = site.token("alice@mesh.test");
    assert_eq!(publish(node.http, &token, ALICES), 201);
    let (copy, place) = (site.path("copy.db"), site.path("copy.db"));
    let copy = copy.to_str().unwrap();
    site.ctl(&["backup", copy]).expect(0).says("wrote ");
    assert_eq!(
        fs::metadata(&place).unwrap().permissions().mode() & 0o777,
        0o600
    );
    site.ctl(&["backup", copy])
        .expect(1)
        .warns("is there already");
    site.ctl(&["restore", copy])
        .expect(1)
        .warns("is in use by process ");
    let dump = site.ctl(&["zone", "dump"]).expect(0);
    assert!(
        dump.stdout.starts_with("mesh.test. 60 IN SOA "),
        "{}",
        dump.stdout
    );
    assert!(
        dump.stdout
            .contains("dmp.alice.mesh.test. 60 IN TXT \"v\" ; expires "),
        "{}",
        dump.stdout
    );
    site.ctl(&["quota", "show"])
        .expect(0)
        .says("alice@mesh.test\n");
    let later = "prekeys.id-2bd806c97f0e.mesh.test";
    assert_eq!(publish(node.http, common::node::OPERATOR_TOKEN, later), 201);
    let serial = |ran: &Ran| {
        let words: Vec<&str> = ran.stdout.split_whitespace().collect();
        words[6].parse::<u32>().unwrap()
    };
    let before = serial(&site.ctl(&["zone", "dump"]).expect(0).says(later));
    assert_eq!(node.stop("KILL"), None);
    site.ctl(&["restore", copy]).expect(0);
    let restored = site.ctl(&["zone", "dump"]).expect(0).says(ALICES);
    assert!(!restored.stdout.contains(later));
    assert!(
        serial(&restored) > before,
        "nobody sees the serial fall behind"
    );
    assert!(site.path(&format!("{ZONE}/dmp.db.before-restore")).exists());
    let node = Node::start(site.dir.path(), ZONE);
    assert_eq!(
        publish(node.http, &token, ALICES),
        201,
        "tokens came back too"
    );
    assert_eq!(node.stop("TERM"), Some(0));
}

#[test]
fn what_is_no_whole_backup_is_never_put_in_place() {
    let site = Site::new();
    site.token("alice@mesh.test");
    let copy = site.path("copy.db");
    site.ctl(&["backup", copy.to_str().unwrap()]).expect(0);
    let whole = fs::read(&copy).unwrap();
    let before = fs::read(site.database()).unwrap();
    let refuse = |content: &[u8], reason: &str| {
        let file = site.path("bad.db");
        fs::write(&file, content).unwrap();
        site.ctl(&["restore", file.to_str().unwrap()])
            .expect(1)
            .warns(reason);
        assert_eq!(fs::read(site.database()).unwrap(), before);
        assert!(!Path::new(&format!("{}.restore", site.database().display())).exists());
    };
    refuse(b"", "is no backup of this node");
    refuse(b"SQLite format 3\0", "is no backup of this node");
    refuse(&whole[..whole.len() - 4_096], "bad.db");
    let mut torn = whole.clone();
    torn[4_096..8_192].fill(0xa5);
    refuse(&torn, "bad.db");
}

#[test]
fn the_service_manager_hears_when_the_node_is_ready_alive_and_stopping() {
    let site = Site::new();
    let socket = site.path("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    manager
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    let hear = || {
        let mut state = [0; 256];
        let length = manager.recv(&mut state).unwrap();
        String::from_utf8(state[..length].to_vec()).unwrap()
    };
    let mut command = common::node::command(site.dir.path(), ZONE);
    command
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "100000");
    let node = Node::spawn(command, ZONE);
    assert_eq!(hear(), format!("READY=1\nSTATUS=answering on {}", node.dns));
    assert_eq!(
        (hear(), hear()),
        ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned())
    );
    assert_eq!(node.stop("TERM"), Some(0));
    let mut heard = hear();
    while heard == "WATCHDOG=1" {
        heard = hear();
    }
    assert_eq!(heard, "STOPPING=1");
}

#[test]
fn a_check_online_walks_from_the_resolver_to_the_name_server() {
    let site = Site::new();
    let mut command = common::node::command(site.dir.path(), ZONE);
    command.env("DMP_DNS_APEX_NS", ZONE);
    let node = Node::spawn(command, ZONE);
    let (resolver, port) = (node.dns.to_string(), node.dns.port().to_string());
    let http_port = node.http.port().to_string();
    let check = |name_server: &str, zone: &str| {
        let arguments = [
            "node",
            "check",
            "--online",
            "--resolver",
            &resolver,
            "--server-port",
            &port,
            "--http-port",
            &http_port,
        ];
        let mut command = site.command(&arguments);
        command
            .env("DMP_DOMAIN", zone)
            .env("DMP_DNS_APEX_NS", name_server)
            .env("DMP_DNS_APEX_A", "127.0.0.1")
            .env("DMP_HTTP_HOST", "127.0.0.1");
        Ran::from(command.output().unwrap())
    };
    check(ZONE, ZONE)
        .expect(0)
        .says(&format!("ok    HTTP: {} is well\n", node.http))
        .says("ok    delegation: NS mesh.test\n")
        .says(": SOA over UDP, letters in any case\n")
        .says(": SOA over TCP\n")
        .says(": SOA in negative answers\n")
        .says(": EDNS with 512, 1232, 4096 octets\n")
        .says(": answers are limited\n");
    check("ns.elsewhere.test", ZONE)
        .expect(1)
        .says("fail  delegation: resolvers see NS mesh.test, the settings say ns.elsewhere.test\n");
    check("ns.other.test", "other.test")
        .expect(1)
        .says("fail  delegation: ");
    assert_eq!(node.stop("TERM"), Some(0));
    check(ZONE, ZONE).expect(1).says("fail  HTTP: ");
}

#[test]
fn a_path_that_no_socket_address_holds_keeps_neither_the_node_nor_its_operator_out() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let ctl = |database: &Path, arguments: &[&str]| -> Ran {
        let mut command = program(&[&["node", "ctl"], arguments].concat());
        command.env("DMP_DB_PATH", database).env("HOME", dir.path());
        command.output().unwrap().into()
    };
    let start = |database: &Path| {
        let mut command = node::command(dir.path(), ZONE);
        command.env("DMP_DB_PATH", database);
        Node::spawn(command, ZONE)
    };
    let database = deep.join("dmp.db");
    let running = start(&database);
    let mode = fs::metadata(deep.join("dmp.db.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        ctl(&database, &["status", "--json"]).expect(0).json()["running"],
        true
    );
    assert_eq!(running.stop("TERM"), Some(0));
    assert!(!deep.join("dmp.db.sock").exists());

    // Not even the name fits: the node starts, and whoever asks is told that it has the database.
    let database = deep.join(format!("{}.db", "f".repeat(110)));
    let running = start(&database);
    ctl(&database, &["status"]).expect(1).warns("in use");
    assert_eq!(running.stop("TERM"), Some(0));
    assert_eq!(
        ctl(&database, &["status", "--json"]).expect(0).json()["running"],
        false
    );
}
