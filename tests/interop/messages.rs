//! Messages between clients and nodes of both makes, each way, each once.

use dmp_core::name::Zone;
use dmp_core::owner::prekey_owner;

use crate::Program::{self, Ours, Reference};
use crate::node::Node;
use crate::proxy;
use crate::user::{Credential, Message, User};

#[test]
fn the_reference_with_itself() {
    let node = Node::start(Reference, "alpha.test");
    same_node(
        &node,
        (Reference, Credential::Bearer),
        (Reference, Credential::Bearer),
    );
}

#[test]
fn the_reference_with_itself_across_zones() {
    across_zones(Reference, Reference, Reference, Reference);
}

#[test]
fn our_clients_at_our_node() {
    let node = Node::start(Ours, "alpha.test");
    same_node(&node, (Ours, Credential::Tsig), (Ours, Credential::Bearer));
}

#[test]
fn our_client_and_the_reference_client_at_our_node() {
    let node = Node::start(Ours, "alpha.test");
    same_node(
        &node,
        (Ours, Credential::Tsig),
        (Reference, Credential::Bearer),
    );
}

#[test]
fn our_client_and_the_reference_client_at_a_reference_node() {
    let node = Node::start(Reference, "alpha.test");
    same_node(
        &node,
        (Ours, Credential::Tsig),
        (Reference, Credential::Bearer),
    );
}

#[test]
fn our_clients_at_a_reference_node() {
    let node = Node::start(Reference, "alpha.test");
    same_node(&node, (Ours, Credential::Bearer), (Ours, Credential::Tsig));
}

#[test]
fn reference_clients_at_our_node() {
    let node = Node::start(Ours, "alpha.test");
    same_node(
        &node,
        (Reference, Credential::Bearer),
        (Reference, Credential::Bearer),
    );
}

#[test]
fn between_our_node_and_a_reference_node() {
    across_zones(Ours, Ours, Reference, Reference);
}

#[test]
fn between_our_clients_of_which_one_has_a_reference_node() {
    across_zones(Ours, Ours, Ours, Reference);
}

/// Alice has a token at the node of alpha.test, or a TSIG key if her client is ours; Bob likewise in beta.test.
fn across_zones(alice: Program, alpha: Program, bob: Program, beta: Program) {
    let credential = |client| {
        if client == Ours {
            Credential::Tsig
        } else {
            Credential::Bearer
        }
    };
    let (alpha, beta) = (
        Node::start(alpha, "alpha.test"),
        Node::start(beta, "beta.test"),
    );
    let world = [&alpha, &beta];
    let proxy = proxy::start(&world);
    let alice = User::init(alice, "alice", &alpha, &world, proxy).join(credential(alice), &alpha);
    let bob = User::init(bob, "bob", &beta, &world, proxy).join(credential(bob), &beta);
    exchange((alice, &alpha), (bob, &beta));
}

fn same_node(node: &Node, alice: (Program, Credential), bob: (Program, Credential)) {
    let proxy = proxy::start(&[node]);
    let alice = User::init(alice.0, "alice", node, &[node], proxy).join(alice.1, node);
    let bob = User::init(bob.0, "bob", node, &[node], proxy).join(bob.1, node);
    exchange((alice, node), (bob, node));
}

/// Both pin each other and write; every message arrives once, and each consumes a prekey of its recipient.
fn exchange((mut alice, alice_node): (User, &Node), (mut bob, bob_node): (User, &Node)) {
    alice.pin(&bob);
    bob.pin(&alice);

    alice.send(&bob, "hello Bob");
    assert_eq!(bob.receive(), [from(&alice, "hello Bob")]);
    assert_eq!(
        prekeys(&bob, bob_node),
        prekeys_left(&alice, &bob),
        "the consumed prekey's record is deleted"
    );
    assert_eq!(bob.receive(), [], "nothing is delivered twice");

    let long = "0123456789".repeat(300);
    bob.send(&alice, &long);
    assert_eq!(alice.receive(), [from(&bob, &long)]);
    assert_eq!(
        prekeys(&alice, alice_node),
        prekeys_left(&bob, &alice),
        "the consumed prekey's record is deleted"
    );
    assert_eq!(alice.receive(), [], "nothing is delivered twice");

    let mut received = Vec::new();
    alice.send(&bob, "Grüße,\nin two lines");
    if !alice.is_ours() && !bob.is_ours() {
        received = bob.receive(); // one at a time where none of ours is in the pair
    }
    alice.send(&bob, &long);
    received.extend(bob.receive());
    received.sort_by_key(|message| message.text.len());
    assert_eq!(
        received,
        [from(&alice, "Grüße,\nin two lines"), from(&alice, &long)]
    );
    assert_eq!(bob.receive(), [], "nothing is delivered twice");
}

fn from(sender: &User, text: &str) -> Message {
    Message {
        from: sender.signing_key().short(),
        text: text.to_owned(),
    }
}

/// How many of the five published prekeys one message leaves.
fn prekeys_left(sender: &User, recipient: &User) -> usize {
    if sender.uses_prekeys_of(recipient) {
        4
    } else {
        5
    }
}

fn prekeys(user: &User, node: &Node) -> usize {
    node.values(prekey_owner(user.name(), &Zone::parse(&node.zone).expect("a zone")).as_str())
        .len()
}
