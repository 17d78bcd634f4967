//! `contacts` as people type it, without any network (cli.md 3.3, 3.16).

mod common;

use common::User;

fn user(dir: &std::path::Path, name: &str) -> User {
    let user = User::new(dir, name);
    let address = format!("{name}@{name}.example");
    user.run(&["init", &address, "--no-probe-local-dns"])
        .expect(0);
    user
}

fn uri(user: &User) -> String {
    user.run(&["identity", "show", "--uri"])
        .expect(0)
        .stdout
        .trim()
        .to_owned()
}

fn card(user: &User, label: &str) -> serde_json::Value {
    user.run(&["contacts", "show", label, "--json"])
        .expect(0)
        .json()
}

#[test]
fn keys_typed_in_are_checked_and_an_existing_label_needs_force() {
    let dir = tempfile::tempdir().unwrap();
    let bob = user(dir.path(), "bob");
    let (one, two) = ("11".repeat(32), "2A".repeat(32));
    for wrong in [&one[2..], "zz", ""] {
        bob.run(&["contacts", "add", "alice", wrong])
            .expect(1)
            .warns("the public key is not 64 hex digits")
            .nothing_on_stdout();
    }
    bob.run(&["contacts", "add", "alice", &one, "--signing-key", "11"])
        .expect(1)
        .warns("the signing key is not 64 hex digits");
    bob.run(&["contacts", "list"])
        .expect(0)
        .says("(no contacts yet");

    bob.run(&["contacts", "add", "alice", &one])
        .expect(0)
        .nothing_on_stdout()
        .warns("added contact alice")
        .warns("no signing key is pinned");
    bob.run(&["contacts", "add", "carol", &two, "--signing-key", &one])
        .expect(0)
        .says("added contact carol (pinned signing key)\n");
    bob.run(&["contacts", "list"])
        .expect(0)
        .says(&format!("alice  {one}  (UNPINNED)\n"))
        .says(&format!("carol  {}  (pinned)\n", two.to_lowercase()));
    bob.run(&["contacts", "add", "alice", &two])
        .expect(1)
        .warns("there is a contact `alice` already")
        .warns("--force");
    let three = "33".repeat(32);
    bob.run(&["contacts", "add", "alice", &three, "--force"])
        .expect(0);
    assert_eq!(card(&bob, "alice")["public_key"], three);
}

#[test]
fn an_address_uri_is_shown_scanned_and_pins_a_verified_contact() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = (user(dir.path(), "alice"), user(dir.path(), "bob"));
    let text = uri(&alice);
    assert!(text.starts_with("dmp:alice@alice.example?x="), "{text}");
    let code = alice.run(&["identity", "qr"]).expect(0).stdout;
    assert!(code.ends_with(&format!("{text}\n")), "{code}");
    assert!(code.lines().count() > 20 && code.contains('▀'), "{code}");
    assert!(!code.contains('\u{1b}'), "no colours without a terminal");
    let json = alice.run(&["identity", "qr", "--json"]).expect(0).json();
    assert_eq!(json["uri"], text.as_str());

    bob.run(&["contacts", "add", &text.to_uppercase()])
        .expect(0)
        .says("added contact alice@alice.example (pinned signing key)\n");
    let shown = card(&bob, "alice@alice.example");
    let own = alice.run(&["identity", "show", "--json"]).expect(0).json();
    for key in ["public_key", "signing_public_key"] {
        assert_eq!(shown[key], own[key]);
    }
    assert_eq!(
        (&shown["verified_by"], &shown["fingerprint"]),
        (&"uri".into(), &json["fingerprint"])
    );
    bob.run(&["contacts", "add", &text[..text.len() - 1]])
        .expect(1)
        .warns("address URI: the parameter `s` is not a key");
}

#[test]
fn both_sides_see_one_safety_number_and_comparing_it_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = (user(dir.path(), "alice"), user(dir.path(), "bob"));
    let keys_of = |user: &User| {
        let json = user.run(&["identity", "show", "--json"]).expect(0).json();
        ["public_key", "signing_public_key"].map(|key| json[key].as_str().unwrap().to_owned())
    };
    for (user, label, keys) in [
        (&alice, "bob", keys_of(&bob)),
        (&bob, "alice", keys_of(&alice)),
    ] {
        user.run(&[
            "contacts",
            "add",
            label,
            &keys[0],
            "--signing-key",
            &keys[1],
        ])
        .expect(0);
    }
    let number = |user: &User, label: &str| {
        let json = user
            .run(&["contacts", "verify", label, "--json"])
            .expect(0)
            .json();
        assert_eq!(json["verified"], false);
        json["number"].as_str().unwrap().to_owned()
    };
    let digits = number(&alice, "bob");
    assert_eq!((digits.len(), &digits), (60, &number(&bob, "alice")));
    let shown = alice.run(&["contacts", "verify", "bob"]).expect(0).stdout;
    assert!(shown.contains(&format!("    {} {}", &digits[..5], &digits[5..10])));
    assert!(shown.contains("dmp:alice@alice.example?x="), "{shown}");

    let wrong: String = digits.chars().rev().collect();
    alice
        .run(&["contacts", "verify", "bob", "--number", &wrong])
        .expect(1)
        .warns("the safety number of `bob` is another one");
    alice
        .run(&["contacts", "verify", "bob", "--number", "123"])
        .expect(1)
        .warns("60 digits");
    let spaced = format!("{} {}", &digits[..30], &digits[30..]);
    alice
        .run(&["contacts", "verify", "bob", "--number", &spaced])
        .expect(0)
        .says("verified contact bob\n");
    assert_eq!(card(&alice, "bob")["verified_by"], "safety-number");

    bob.run(&["contacts", "verify", "alice", "--scan", &uri(&bob)])
        .expect(1)
        .warns("other keys than those pinned for `alice`");
    bob.run(&["contacts", "verify", "alice", "--scan", &uri(&alice)])
        .expect(0);
    assert_eq!(card(&bob, "alice")["verified_by"], "uri");
}

#[test]
fn a_contact_is_changed_renamed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let bob = user(dir.path(), "bob");
    let key = "11".repeat(32);
    bob.run(&["contacts", "add", "alice", &key, "--signing-key", &key])
        .expect(0);
    bob.run(&["contacts", "set", "alice"]).expect(2);
    bob.run(&["contacts", "set", "alice", "--zone", "a..b"])
        .expect(1)
        .warns("`a..b`");
    bob.run(&[
        "contacts",
        "set",
        "alice",
        "--wire",
        "legacy",
        "--zone",
        "a.example",
        "--mailbox-zone",
        "m.example",
        "--label",
        "aunt",
    ])
    .expect(0)
    .says("wire:               legacy\n")
    .says("mailbox zone:       m.example\n");
    let shown = card(&bob, "aunt");
    assert_eq!(
        (&shown["zone"], &shown["remote_username"]),
        (&"a.example".into(), &"alice".into())
    );
    bob.run(&["contacts", "show", "aunt"])
        .expect(0)
        .says("verified:           no")
        .says("key state:          current\n")
        .says("blocked:            no\n");

    bob.run_with_input(&["contacts", "remove", "aunt"], b"n\n")
        .expect(1)
        .warns("the pinned keys of aunt are forgotten")
        .warns("aborted.");
    bob.run(&["contacts", "remove", "aunt"])
        .expect(1)
        .warns("cannot ask");
    bob.run(&["contacts", "remove", "aunt", "--yes"])
        .expect(0)
        .says("removed contact aunt\n");
    bob.run(&["contacts", "show", "aunt"])
        .expect(1)
        .warns("unknown contact `aunt`");
}

#[test]
fn a_contact_or_key_is_blocked_and_unblocked() {
    let dir = tempfile::tempdir().unwrap();
    let bob = user(dir.path(), "bob");
    let (key, other) = ("11".repeat(32), "22".repeat(32));
    bob.run(&["contacts", "add", "alice", &key, "--signing-key", &key])
        .expect(0);
    bob.run(&["contacts", "block", "alice", "--note", "enough"])
        .expect(0)
        .says(&format!("blocked alice\n  sender_spk: {key}\n"));
    bob.run(&["contacts", "show", "alice"])
        .expect(0)
        .says("blocked:            yes\n");
    bob.run(&["contacts", "unblock", &key])
        .expect(0)
        .says("unblocked ");
    bob.run(&["contacts", "unblock", "alice"])
        .expect(1)
        .warns("alice is not blocked");
    bob.run(&["contacts", "block", &other]).expect(0);
    bob.run(&["contacts", "block", "nobody"])
        .expect(1)
        .warns("`nobody` is no signing key");
}
