//! Claims between clients and nodes of both makes: at the recipient's zone, and at a provider for people who do not know each other.

use crate::Program::{self, Ours, Reference};
use crate::node::{Extras, Node};
use crate::proxy;
use crate::user::{Credential, Message, User};

/// Alice at her node tells Bob's zone; Bob looks nowhere else.
fn told_at_the_recipients_zone(alice: (Program, Program), bob: (Program, Program)) {
    let (alpha, beta) = (
        Node::start(alice.1, "alpha.test"),
        Node::start(bob.1, "beta.test"),
    );
    let world = [&alpha, &beta];
    let proxy = proxy::start(&world);
    let mut alice =
        User::init(alice.0, "alice", &alpha, &world, proxy).join(Credential::Bearer, &alpha);
    let bob = User::init(bob.0, "bob", &beta, &world, proxy).join(Credential::Bearer, &beta);
    alice.pin(&bob);
    bob.pin(&alice);
    alice.send(&bob, "by claim");
    let said = bob.ok(&["recv", "--primary-only"]);
    assert!(said.contains("  by claim\n"), "{said}");
    assert_eq!(bob.receive(), [], "nothing is delivered twice");
}

#[test]
fn our_client_tells_a_reference_client_at_its_own_node() {
    told_at_the_recipients_zone((Ours, Ours), (Reference, Reference));
}

#[test]
fn the_reference_client_tells_ours_at_our_node() {
    told_at_the_recipients_zone((Reference, Reference), (Ours, Ours));
}

#[test]
fn each_client_tells_at_the_node_of_the_other_make() {
    told_at_the_recipients_zone((Ours, Reference), (Reference, Ours));
    told_at_the_recipients_zone((Reference, Ours), (Ours, Reference));
}

/// Kate, whom Hugo does not know, writes to him by way of a provider whom neither of them belongs to.
fn first_contact(kate: Program, hugo: Program, provider: Program) {
    let home = Node::start(Ours, "alpha.test");
    let extras = Extras {
        environment: vec![("DMP_CLAIM_PROVIDER", "1".to_owned())],
        ..Extras::default()
    };
    let provider = Node::start_with(provider, "gamma.test", &extras);
    let world = [&home, &provider];
    let proxy = proxy::start(&world);
    let user = |program, name| {
        let user = User::init(program, name, &home, &world, proxy).join(Credential::Bearer, &home);
        user.configure(&[("claim_provider_zone", "gamma.test")]);
        user
    };
    let (mut kate, hugo) = (user(kate, "kate"), user(hugo, "hugo"));
    kate.pin(&hugo);
    let said = kate.send_through(&provider, &hugo, "you do not know me");
    assert!(said.contains(" (+ 1/1 claim publishes)"), "{said}");

    let said = hugo.ok(&["recv"]);
    assert!(
        said.contains("(1 new intro(s) from un-pinned senders"),
        "{said}"
    );
    let said = hugo.ok(&["intro", "list"]);
    assert!(said.contains("  message:    you do not know me"), "{said}");
    let said = hugo.ok(&["intro", "trust", "1", "--username", "kate"]);
    assert!(said.contains("trusted intro #1 as `kate`"), "{said}");

    kate.send_through(&provider, &hugo, "now you do");
    assert_eq!(
        hugo.receive(),
        [Message {
            from: kate.signing_key().short(),
            text: "now you do".to_owned(),
        }]
    );
}

#[test]
fn first_contact_through_our_provider() {
    first_contact(Ours, Reference, Ours);
    first_contact(Reference, Ours, Ours);
}

#[test]
fn first_contact_through_a_provider_of_the_reference() {
    first_contact(Ours, Reference, Reference);
    first_contact(Reference, Ours, Reference);
}
