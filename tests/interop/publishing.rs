//! Registration and publishing by each kind of credential at each make of node.

use dmp_core::name::Zone;
use dmp_core::owner::{identity_owner_hashed, prekey_owner};

use crate::Program::{self, Ours, Reference};
use crate::node::{Extras, Node};
use crate::proxy;
use crate::user::{Credential, User};

#[test]
fn the_reference_registers_by_tsig_and_publishes_by_update_at_our_node() {
    publishes(Reference, Credential::Tsig, Ours);
}

#[test]
fn the_reference_registers_for_a_token_and_publishes_over_http_at_our_node() {
    publishes(Reference, Credential::Bearer, Ours);
}

#[test]
fn our_client_registers_by_tsig_and_publishes_by_update_at_a_reference_node() {
    publishes(Ours, Credential::Tsig, Reference);
}

#[test]
fn our_client_registers_for_a_token_and_publishes_over_http_at_a_reference_node() {
    publishes(Ours, Credential::Bearer, Reference);
}

#[test]
fn the_reference_publishes_at_a_reference_node() {
    publishes(Reference, Credential::Tsig, Reference);
}

/// A user registers and publishes; the records stand at their owner names and both clients read them.
fn publishes(program: Program, credential: Credential, host: Program) {
    let node = Node::start(host, "alpha.test");
    let proxy = proxy::start(&[&node]);
    let carol = User::init(program, "carol", &node, &[&node], proxy);
    let said = carol.register(credential, &node);
    if credential == Credential::Tsig {
        assert!(said.contains(&carol.setting("tsig_key_name")), "{said}");
        assert_eq!(
            carol.setting("tsig_zone").trim_end_matches('.'),
            "alpha.test"
        );
    }

    let zone = Zone::parse("alpha.test").expect("a zone");
    let identity = identity_owner_hashed("carol", &zone);
    let said = carol.ok(&["identity", "publish"]);
    assert!(
        said.contains(&format!("published identity to {}", identity.as_str())),
        "{said}"
    );
    assert_eq!(node.values(identity.as_str()).len(), 1);

    let prekeys = prekey_owner("carol", &zone);
    let said = carol.ok(&["identity", "refresh-prekeys", "--count", "7"]);
    assert!(
        said.contains(&format!("published 7/7 prekeys to {}", prekeys.as_str())),
        "{said}"
    );
    assert_eq!(node.values(prekeys.as_str()).len(), 7);

    for reader in [Ours, Reference] {
        let reader = User::init(reader, "dave", &node, &[&node], proxy);
        let fetched = reader.ok(&["identity", "fetch", "carol@alpha.test", "--json"]);
        let fetched: serde_json::Value = serde_json::from_str(&fetched).expect("JSON");
        assert_eq!(
            fetched["signing_public_key"],
            carol.signing_key().to_string()
        );
    }
}

#[test]
fn claims_for_which_datagrams_have_no_room_come_over_tcp() {
    // Ours announces a message at the recipient's node and at its own, which are the same here.
    for (program, claims_a_message) in [(Ours, 2), (Reference, 1)] {
        // Room for one message from addresses that may be forged, and for one more from proven ones (W-11).
        let extras = Extras {
            environment: vec![
                ("DMP_CLAIM_RATE_PER_USER_PER_SEC", "0.000001".to_owned()),
                ("DMP_CLAIM_RATE_BURST", claims_a_message.to_string()),
            ],
            ..Extras::default()
        };
        let node = Node::start_with(Ours, "alpha.test", &extras);
        let proxy = proxy::start(&[&node]);
        let init = |name| User::init(program, name, &node, &[&node], proxy);
        let mut alice = init("alice").join(Credential::Bearer, &node);
        let bob = init("bob").join(Credential::Bearer, &node);
        alice.pin(&bob);
        let claims = || -> usize {
            let mailbox = bob.user_id().mailbox().to_string();
            let owner = |slot| format!("claim-{slot}.mb-{mailbox}.alpha.test");
            (0..10).map(|slot| node.values(&owner(slot)).len()).sum()
        };
        for sent in 1..=2 {
            alice.send(&bob, "hello");
            assert_eq!(claims(), sent, "{program:?}");
        }
    }
}
