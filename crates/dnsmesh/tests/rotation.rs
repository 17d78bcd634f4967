//! New keys over a real node: `identity rotate|revoke|unpublish`, and what contacts see of it (cli.md 3.2, 8; client.md 13).

mod common;

use std::fs;
use std::path::Path;

use common::User;
use common::node::Node;

/// A registered user with published identity and prekeys; nothing leaves this machine.
fn person(dir: &Path, name: &str, node: &Node) -> User {
    let user = node.user(dir, name);
    node.give_key(&user);
    user.run(&["identity", "publish"]).expect(0);
    user.run(&["identity", "refresh-prekeys", "--count", "3"])
        .expect(0);
    user
}

fn add(user: &User, whom: &str) {
    user.run(&["contacts", "add", whom]).expect(0);
}

fn signing_key(user: &User) -> String {
    user.run(&["identity", "show", "--json"]).expect(0).json()["signing_public_key"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn key_file(dir: &Path, passphrase: &str) -> String {
    let path = dir.join("new.pw");
    fs::write(&path, passphrase).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_rotation_is_refused_for_every_wrong_reason_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = person(dir.path(), "alice", &node);
    let (before, config) = (signing_key(&alice), alice.config());
    let rotate = |user: &User, arguments: &[&str]| {
        user.run(&[&["identity", "rotate", "--yes"], arguments].concat())
            .expect(1)
    };
    rotate(&alice, &["--new-passphrase-file", "/does/not/exist"]).warns("/does/not/exist");
    let empty = key_file(dir.path(), " \n");
    rotate(&alice, &["--new-passphrase-file", &empty]).warns("is empty");
    let same = key_file(dir.path(), "passphrase of alice\n");
    rotate(&alice, &["--new-passphrase-file", &same, "--experimental"]).warns("the same keys");
    let new = key_file(dir.path(), "new\n");
    for span in ["0", "157680001"] {
        rotate(
            &alice,
            &["--new-passphrase-file", &new, "--exp-seconds", span],
        )
        .warns("a rotation counts for");
    }
    let wrong = User::new(dir.path(), "alice").with("DMP_PASSPHRASE", "mistyped");
    rotate(&wrong, &["--new-passphrase-file", &new]).warns("passphrase mismatch");

    let declined = alice.run_with_input(
        &["identity", "rotate", "--new-passphrase-file", &new],
        b"\n",
    );
    declined
        .expect(1)
        .says(&format!("current signing key: {before}\n"))
        .says("new signing key:     ")
        .warns("warning: a rotation replaces your keys")
        .warns("aborted.");
    assert_eq!((signing_key(&alice), alice.config()), (before, config));
    // Nothing was published and the store has not learned the new passphrase.
    alice
        .run(&["identity", "fetch", "alice"])
        .expect(0)
        .says(&signing_key(&alice));
    let early = User::new(dir.path(), "alice").with("DMP_PASSPHRASE", "new");
    early
        .run(&["identity", "show"])
        .expect(1)
        .warns("passphrase mismatch");
}

#[test]
fn a_routine_rotation_switches_this_home_and_contacts_follow_when_they_accept() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| person(dir.path(), name, &node));
    add(&bob, "alice@alpha.test");
    add(&alice, "bob@alpha.test");
    let (old, salt) = (signing_key(&alice), alice.setting("kdf_salt"));
    fs::write(dir.path().join("new.pw"), "the new one\n").unwrap();
    let mut rotating = alice.command(&[
        "identity",
        "rotate",
        "--experimental",
        "--yes",
        "--new-passphrase-file",
        "new.pw",
    ]);
    let ran = common::Ran::of(
        &["identity", "rotate"],
        rotating.current_dir(dir.path()).output().unwrap(),
    );
    let ran = ran
        .expect(3)
        .says(&format!("current signing key: {old}\n"))
        .says("published RotationRecord to rotate.id-")
        .says("no RevocationRecord is published for a routine rotation")
        .says("published identity to id-")
        .says("local identity swapped atomically (")
        .says("identity refresh-prekeys")
        .says("contacts accept-key")
        .warns("DMP_PASSPHRASE still holds the old passphrase");
    assert!(!ran.stdout.contains("published RevocationRecord"));
    assert_eq!(alice.setting("kdf_salt"), salt);
    assert_eq!(
        alice.setting("passphrase_file"),
        dir.path().join("new.pw").to_str().unwrap(),
        "absolute"
    );

    // The old passphrase in the environment is refused, also with the override, since the store knows better.
    for insisting in ["0", "1"] {
        User::new(dir.path(), "alice")
            .with("DMP_PASSPHRASE_OVERRIDE_VERIFY", insisting)
            .run(&["identity", "show"])
            .expect(1)
            .warns("passphrase mismatch");
    }
    let alice = alice.without("DMP_PASSPHRASE");
    let new = signing_key(&alice);
    assert_ne!(new, old);
    assert_eq!(alice.setting("verify_pubkey"), new);
    alice
        .run(&["contacts", "list"])
        .expect(0)
        .says("bob@alpha.test");
    alice
        .run(&["identity", "refresh-prekeys", "--count", "2"])
        .expect(0)
        .says("  local live prekey count: 2\n");

    // Bob: blocked, told why, and on with the new key once he accepts it.
    let send = ["send", "alice@alpha.test", "hello"];
    bob.run(&send)
        .expect(2)
        .warns("has replaced the pinned key")
        .warns("[send-key-replaced]");
    bob.run(&["contacts", "show", "alice@alpha.test"])
        .expect(0)
        .says(&format!("key state:          replaced by {new}"));
    bob.run(&["identity", "fetch", "alice@alpha.test", "--add"])
        .expect(0)
        .says(&new)
        .warns("these are not the keys that are pinned");
    bob.run_with_input(&["contacts", "accept-key", "alice@alpha.test"], b"no\n")
        .expect(1)
        .warns("proof:        the old key signed the new one")
        .warns("aborted.");
    bob.run(&["contacts", "accept-key", "alice@alpha.test", "--yes"])
        .expect(0)
        .says("pinned the new keys of alice@alpha.test");
    bob.run(&send).expect(0);
    alice.run(&["recv"]).expect(0).says("  hello\n");
    bob.run(&["contacts", "accept-key", "alice@alpha.test", "--yes"])
        .expect(1)
        .warns("have not changed");
}

#[test]
fn the_first_start_with_the_new_passphrase_ends_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = person(dir.path(), "alice", &node).with("DMP_NEW_PASSPHRASE", "the new one");
    let (old, config) = (signing_key(&alice), alice.config());
    alice
        .run(&["identity", "rotate", "--yes"])
        .expect(0)
        .says("use the new passphrase from now on");
    assert_eq!(alice.config(), config, "the configuration is untouched");
    assert_eq!(signing_key(&alice), old, "until then the old one works");
    alice.run(&["contacts", "list"]).expect(0);

    let renewed = alice.with("DMP_PASSPHRASE", "the new one");
    renewed
        .run(&["contacts", "list"])
        .expect(0)
        .warns("this passphrase is the new one of your rotation");
    assert_ne!(signing_key(&renewed), old);
    let before = User::new(dir.path(), "alice");
    before
        .run(&["contacts", "list"])
        .expect(1)
        .warns("passphrase mismatch");
}

#[test]
fn a_compromise_revokes_and_the_new_key_has_to_be_compared() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| person(dir.path(), name, &node));
    add(&bob, "alice@alpha.test");
    let alice = alice.with("DMP_NEW_PASSPHRASE", "the new one");
    alice
        .run(&["identity", "rotate", "--yes", "--reason", "compromise"])
        .expect(0)
        .says("published RevocationRecord (old key, reason=compromise) to rotate.id-");
    let alice = alice.with("DMP_PASSPHRASE", "the new one");
    let fingerprint = alice.run(&["identity", "qr", "--json"]).expect(0).json()["fingerprint"]
        .as_str()
        .unwrap()
        .to_owned();
    bob.run(&["send", "alice@alpha.test", "x"])
        .expect(2)
        .warns("has revoked the pinned key");
    let accept = ["contacts", "accept-key", "alice@alpha.test"];
    bob.run(&[&accept[..], &["--yes"]].concat())
        .expect(1)
        .warns("the owner of the pinned key has revoked it")
        .warns(&format!("nothing shows that the new keys {fingerprint}"))
        .warns("--accept-fingerprint");
    bob.run(&[&accept[..], &["--accept-fingerprint", "0011223344556677"]].concat())
        .expect(1)
        .warns("not 0011223344556677");
    bob.run(
        &[
            &accept[..],
            &["--accept-fingerprint", &fingerprint.to_uppercase()],
        ]
        .concat(),
    )
    .expect(0);
    bob.run(&["send", "alice@alpha.test", "x"]).expect(0);
}

#[test]
fn a_bearer_token_may_not_rotate_and_the_keys_stay() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = node
        .user(dir.path(), "alice")
        .with("DMP_NEW_PASSPHRASE", "the new one");
    alice.run(&["register", "--node", &node.url()]).expect(0);
    let old = signing_key(&alice);
    alice
        .run(&["identity", "rotate", "--yes"])
        .expect(2)
        .warns("publish to rotate.id-")
        .warns("HTTP 40")
        .warns("over HTTP only the operator's token may write this name")
        .warns("your keys are the old ones");
    let renewed = User::new(dir.path(), "alice").with("DMP_PASSPHRASE", "the new one");
    renewed
        .run(&["identity", "show"])
        .expect(1)
        .warns("passphrase mismatch");
    assert_eq!(signing_key(&alice), old);
}

#[test]
fn an_unpublished_or_revoked_identity_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| person(dir.path(), name, &node));
    add(&bob, "alice@alpha.test");
    alice
        .run(&["identity", "unpublish"])
        .expect(0)
        .says("removed 1 identity record(s) from id-");
    bob.run(&["identity", "fetch", "alice@alpha.test"])
        .expect(2)
        .warns("no identity record at");
    alice.run(&["identity", "publish"]).expect(0);
    alice
        .run_with_input(&["identity", "revoke", "--reason", "lost_key"], b"n\n")
        .expect(1)
        .warns("a revocation is for ever")
        .warns("aborted.");
    alice
        .run(&["identity", "revoke", "--reason", "lost_key", "--yes"])
        .expect(0)
        .says("published RevocationRecord to rotate.id-");
    bob.run(&["send", "alice@alpha.test", "x"])
        .expect(2)
        .warns("has revoked the pinned key");
}
