//! Keys that are replaced or revoked: the reference's rotation followed by us, ours as the reference sees it.

use dmp_core::name::Zone;
use dmp_core::owner::{identity_owner_hashed, rotation_owner_hashed};

use crate::Program::{self, Ours, Reference};
use crate::node::{Node, OPERATOR_TOKEN};
use crate::proxy;
use crate::user::{Credential, User};

#[test]
fn we_follow_a_rotation_of_the_reference_at_our_node() {
    the_reference_rotates(Ours);
}

#[test]
fn we_follow_a_rotation_of_the_reference_at_a_reference_node() {
    the_reference_rotates(Reference);
}

/// With a TSIG key the reference cannot publish a value of that length, so it rotates with the operator's token (client.md 4.4).
fn the_reference_rotates(host: Program) {
    let node = Node::start(host, "alpha.test");
    let proxy = proxy::start(&[&node]);
    let mut alice = User::init(Reference, "alice", &node, &[&node], proxy);
    alice.configure(&[("http_token", OPERATOR_TOKEN)]);
    alice.ok(&["identity", "publish"]);
    let mut bob = User::init(Ours, "bob", &node, &[&node], proxy).join(Credential::Tsig, &node);
    bob.pin(&alice);
    alice.pin(&bob);
    let old = alice.signing_key();
    let said = alice.rotate("another passphrase", "routine");
    assert!(said.contains("published RotationRecord to "), "{said}");
    let new = alice.signing_key();
    assert_ne!(old, new);

    // What the new key signs arrives, and answers to the old key are refused.
    alice.send(&bob, "under the new key");
    let received = bob.receive();
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(received[0].from, new.short());
    let refused = bob.run(&["send", &alice.address, "to the old key"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("send-key-replaced"),
        "{}",
        refused.stderr
    );
    bob.ok(&["contacts", "accept-key", &alice.address, "--yes"]);
    bob.send(&alice, "to the new key");
    assert_eq!(alice.receive().len(), 1);
}

#[test]
fn the_reference_sees_our_new_key_at_our_node() {
    we_rotate(Ours, "routine");
}

#[test]
fn the_reference_sees_our_new_key_at_a_reference_node() {
    we_rotate(Reference, "routine");
}

#[test]
fn the_reference_drops_our_compromised_key_at_our_node() {
    we_rotate(Ours, "compromise");
}

#[test]
fn the_reference_drops_our_compromised_key_at_a_reference_node() {
    we_rotate(Reference, "compromise");
}

/// We rotate by TSIG. Somebody shows our old identity record again: neither program falls for it.
fn we_rotate(host: Program, reason: &str) {
    let node = Node::start(host, "alpha.test");
    let proxy = proxy::start(&[&node]);
    let mut alice = User::init(Ours, "alice", &node, &[&node], proxy).join(Credential::Tsig, &node);
    let zone = Zone::parse("alpha.test").expect("a zone");
    let identity = identity_owner_hashed("alice", &zone);
    let old_record = node.values(identity.as_str()).remove(0);
    let old = alice.signing_key();
    alice.rotate("another passphrase", reason);
    let new = alice.signing_key();
    let expected = if reason == "routine" { 1 } else { 2 };
    let rotations = rotation_owner_hashed("alice", &zone);
    assert_eq!(node.values(rotations.as_str()).len(), expected);
    assert_eq!(
        node.values(identity.as_str()).len(),
        1,
        "the old one is gone"
    );

    node.publish(identity.as_str(), &old_record, 3_600);
    for program in [Reference, Ours] {
        let bob = User::init(program, "bob", &node, &[&node], proxy);
        let said = bob.ok(&["identity", "fetch", &alice.address]);
        assert!(
            said.contains(&new.to_string()) && !said.contains(&old.to_string()),
            "{program:?}: {said}"
        );
    }
}
