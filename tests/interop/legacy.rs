//! Messages to and from a contact who still uses the release before, which knows no chunk hashes (D2).

use crate::Program::{Legacy, Ours};
use crate::node::Node;
use crate::proxy;
use crate::user::{Credential, Message, User};

#[test]
fn a_contact_marked_as_legacy_is_written_to_and_read_and_nobody_else() {
    let node = Node::start(Ours, "alpha.test");
    let proxy = proxy::start(&[&node]);
    let init = |program, name, credential| {
        User::init(program, name, &node, &[&node], proxy).join(credential, &node)
    };
    let mut alice = init(Ours, "alice", Credential::Tsig);
    let mut bob = init(Legacy, "bob", Credential::Bearer);
    let mut carol = init(Legacy, "carol", Credential::Bearer);
    for other in [&bob, &carol] {
        alice.pin(other);
        other.pin(&alice);
    }

    // The two generations do not understand each other unless a person says so.
    alice.send(&bob, "unreadable");
    assert_eq!(bob.receive(), []);
    bob.send(&alice, "before");
    assert_eq!(alice.receive(), []);

    alice.ok(&["contacts", "set", &bob.address, "--wire", "legacy"]);
    let long = "0123456789".repeat(300);
    for text in ["to the old", &long] {
        alice.send(&bob, text);
        assert_eq!(bob.receive(), [from(&alice, text)]);
        assert_eq!(bob.receive(), [], "nothing is delivered twice");
    }
    assert_eq!(
        alice.receive(),
        [from(&bob, "before")],
        "it was still there"
    );
    bob.send(&alice, &long);
    carol.send(&alice, "from somebody who is pinned, but not marked");
    assert_eq!(alice.receive(), [from(&bob, &long)]);
    assert_eq!(alice.receive(), [], "nothing is delivered twice");

    alice.ok(&["contacts", "set", &bob.address, "--wire", "current"]);
    bob.send(&alice, "after");
    assert_eq!(alice.receive(), []);
}

fn from(sender: &User, text: &str) -> Message {
    Message {
        from: sender.signing_key().short(),
        text: text.to_owned(),
    }
}
