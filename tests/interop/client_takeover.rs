//! Taking the place of the reference client in its own home (D4): nothing comes twice, nothing is lost, its files stay as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Program::{Ours, Reference};
use crate::node::Node;
use crate::proxy;
use crate::user::{Credential, Message, User};

const ZONE: &str = "alpha.test";

#[test]
fn our_client_goes_on_in_a_home_of_the_reference() {
    let node = Node::start(Ours, ZONE);
    let proxy = proxy::start(&[&node]);
    let user = |program, name| User::init(program, name, &node, &[&node], proxy);
    let mut alice = user(Ours, "alice").join(Credential::Bearer, &node);
    let mut carol = user(Ours, "carol").join(Credential::Bearer, &node);
    let mut eve = user(Ours, "eve").join(Credential::Bearer, &node);
    let bob = user(Reference, "bob").join(Credential::Bearer, &node);
    bob.register(Credential::Tsig, &node);
    bob.pin(&alice);
    for sender in [&alice, &carol, &eve] {
        sender.pin(&bob);
    }
    let key_alone = "0123456789abcdef".repeat(4);
    bob.ok(&["contacts", "add", "unpinned", &key_alone]);

    // Delivered, quarantined, trusted and blocked while the reference had the home.
    // One after the other: the reference opens only one of the messages that share a prekey (client.md 9.2).
    alice.send(&bob, "read before");
    assert_eq!(texts(&bob.receive()), ["read before"]);
    carol.send(&bob, "quarantined before");
    assert_eq!(bob.receive(), []);
    eve.send(&bob, "blocked before");
    assert_eq!(bob.receive(), []);
    let (carols, eves) = (
        number(&bob, "quarantined before"),
        number(&bob, "blocked before"),
    );
    bob.ok(&["intro", "block", &eves, "--note", "loud"]);
    let listed = bob.ok(&["intro", "list"]);
    assert!(listed.contains("quarantined before"), "{listed}");
    // Sealed to prekeys that the reference made, and waiting.
    alice.send(&bob, "sent before, read after");
    eve.send(&bob, "from a blocked key");

    let before = content(&bob.config_home());
    let mut bob = bob.continued_by(Ours);
    let first = bob.run(&["contacts", "list"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(
        first
            .stderr
            .contains("taken over from the files of the reference: 2 contact(s)"),
        "{}",
        first.stderr
    );
    assert!(
        first
            .stderr
            .contains("1 quarantined message(s), 1 blocked key(s)"),
        "{}",
        first.stderr
    );
    for label in ["alice", "unpinned"] {
        assert!(first.stdout.contains(label), "{}", first.stdout);
    }
    let second = bob.run(&["contacts", "list"]);
    assert!(!second.stderr.contains("taken over"), "{}", second.stderr);

    let received = bob.run(&["recv", "--json"]);
    assert_eq!(received.code, 0, "{}", received.stderr);
    let messages: Vec<serde_json::Value> = received
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(messages.len(), 1, "only what is new: {}", received.stdout);
    assert_eq!(messages[0]["body"], "sent before, read after");
    assert_eq!(messages[0]["from"]["contact"], "alice");
    assert_eq!(
        messages[0]["fs"], true,
        "sealed to a prekey of the reference"
    );

    let listed = bob.ok(&["intro", "list"]);
    assert!(
        listed.contains("quarantined before") && !listed.contains("blocked"),
        "{listed}"
    );
    let accepted = bob.ok(&["intro", "accept", &carols]);
    assert!(accepted.contains("quarantined before"), "{accepted}");
    assert_eq!(bob.receive(), []);

    // The TSIG block and the token work as they are, and the old prekeys are known as stock.
    bob.ok(&["identity", "publish"]);
    let refreshed = bob.ok(&["identity", "refresh-prekeys", "--count", "5"]);
    assert!(refreshed.contains("prekeys.id-"), "{refreshed}");
    bob.send(&alice, "answered after");
    assert_eq!(texts(&alice.receive()), ["answered after"]);

    let after = content(&bob.config_home());
    for (path, bytes) in &before {
        assert!(after.get(path) == Some(bytes), "{} changed", path.display());
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.text.as_str())
        .collect()
}

/// The number of the row of the quarantine with this text.
fn number(user: &User, text: &str) -> String {
    let listed = user.ok(&["intro", "list"]);
    let mut number = None;
    for line in listed.lines() {
        if let Some(rest) = line.trim_start().strip_prefix(['#', '[']) {
            number = Some(rest.chars().take_while(char::is_ascii_digit).collect());
        }
        if line.contains(text) {
            return number.unwrap_or_else(|| panic!("no number in\n{listed}"));
        }
    }
    panic!("no `{text}` in\n{listed}");
}

/// The files of the reference in a home with their content: all but the configuration, which both programs write.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), std::fs::read(&path).expect("a file"));
        }
    }
    files
}
