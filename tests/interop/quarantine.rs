//! First contact between programs of both makes: quarantine, trust, block, and the answer afterwards.

use crate::Program::{self, Ours, Reference};
use crate::node::Node;
use crate::proxy;
use crate::user::{Credential, Message, User};

#[test]
fn a_stranger_with_the_reference_writes_to_our_user() {
    first_contact(Reference, Ours);
}

#[test]
fn a_stranger_with_our_client_writes_to_a_user_of_the_reference() {
    first_contact(Ours, Reference);
}

#[test]
fn strangers_with_our_client_write_to_each_other() {
    first_contact(Ours, Ours);
}

/// Kate and Mallory write to Hugo, who knows nobody; he trusts the one and blocks the other.
fn first_contact(stranger: Program, recipient: Program) {
    let node = Node::start(Ours, "alpha.test");
    let proxy = proxy::start(&[&node]);
    let join = |program, name| {
        User::init(program, name, &node, &[&node], proxy).join(Credential::Bearer, &node)
    };
    let [mut kate, mut mallory] = ["kate", "mallory"].map(|name| join(stranger, name));
    let hugo = join(recipient, "hugo");
    for writer in [&mut kate, &mut mallory] {
        writer.pin(&hugo);
    }

    kate.send(&hugo, "may I?");
    assert_eq!(row_of(&hugo, &kate, "may I?"), "#1");
    assert_eq!(hugo.receive(), [], "what waits is told once");
    let trusted = hugo.ok(&["intro", "trust", "1", "--username", "kate"]);
    assert!(
        trusted.starts_with("trusted intro #1 as `kate`\n  may I?\n"),
        "{trusted}"
    );
    assert_eq!(hugo.ok(&["intro", "list"]), "(no pending intros)\n");
    // The reference may take the same prekey twice; a run that reaches the network removes the one used up.
    assert_eq!(hugo.receive(), []);

    kate.send(&hugo, "thank you");
    let from_kate = Message {
        from: kate.signing_key().short(),
        text: "thank you".to_owned(),
    };
    assert_eq!(hugo.receive(), [from_kate]);

    let refused = hugo.run(&["send", "kate", "hello"]);
    assert_ne!(refused.code, 0, "her encryption key is not known yet");
    let fetched = hugo.ok(&["identity", "fetch", "kate@alpha.test", "--add"]);
    assert!(fetched.contains("upgraded contact `kate`"), "{fetched}");
    hugo.ok(&["send", "kate", "hello"]);
    let answer = kate.receive();
    let texts: Vec<_> = answer.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["hello"]);

    mallory.send(&hugo, "buy this");
    let row = row_of(&hugo, &mallory, "buy this");
    assert_eq!(row, "#2", "numbers are never used again");
    let blocked = hugo.ok(&["intro", "block", "2", "--note", "spam"]);
    assert!(blocked.starts_with("blocked intro #2\n"), "{blocked}");
    mallory.send(&hugo, "buy more");
    assert_eq!(hugo.ok(&["recv"]), "(no new messages)\n");
    assert_eq!(hugo.ok(&["intro", "list"]), "(no pending intros)\n");

    kate.send(&hugo, "still here");
    assert_eq!(hugo.receive().len(), 1, "others are not affected");
}

/// Receives and finds the row that one stranger's message made; its number.
fn row_of(user: &User, stranger: &User, text: &str) -> String {
    let received = user.ok(&["recv"]);
    assert!(
        received.contains("(1 new intro(s) from un-pinned senders"),
        "{received}"
    );
    assert!(!received.starts_with("from "), "{received}");
    let list = user.ok(&["intro", "list"]);
    let key = stranger.signing_key();
    assert!(list.contains(&format!("  sender_spk: {key}\n")), "{list}");
    assert!(list.contains("  from zone:  alpha.test\n"), "{list}");
    let [row] = rows_with(&list, text).try_into().expect("one row");
    row
}

/// The numbers of the rows that show a text.
fn rows_with(list: &str, text: &str) -> Vec<String> {
    let shown = format!("  message:    {text}");
    let rows = list
        .split("\n\n")
        .filter(|row| row.lines().any(|line| line == shown));
    rows.filter_map(|row| row.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}
