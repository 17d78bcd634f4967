//! `bootstrap`: what an operator signs and publishes, and what a user finds from a domain alone (cli.md 3.13, federation.md 5, 6).

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::node::{Node, OPERATOR_TOKEN};
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
