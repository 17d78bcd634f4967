//! The contact list: who is pinned how, what may be changed, and how keys are compared.

use dmp_client::ops::{self, ContactChanges, ContactError, KeysTrusted, Saved, Taken};
use dmp_client::store::{KeyState, Method, NewContact, SeenIdentity, Verification};
use dmp_core::address::Address;
use dmp_core::id::UnixTime;
use dmp_core::keys::{Identity, PublicKeys};
use dmp_core::name::Zone;
use dmp_core::record::Versions;
use dmp_core::seal::Wire;
use dmp_core::uri::AddressUri;

use crate::world::{NOW, Person, World, run, texts};

fn uri(person: &Person) -> AddressUri {
    AddressUri {
        address: Address::parse(&person.address()).unwrap(),
        keys: person.identity.public_keys(),
        mailbox_zone: None,
    }
}

fn other_keys(seed: u8) -> PublicKeys {
    Identity::from_seed([seed; 32]).public_keys()
}

fn scanned() -> Verification {
    Verification::Verified {
        at: NOW,
        by: Method::Uri,
    }
}

#[test]
fn a_scanned_uri_pins_both_keys_without_any_look_up_and_counts_as_verified() {
    run(async {
        let world = World::new();
        let (alice, mut bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        let contact =
            ops::contacts_add_uri(&bob.store, &uri(&alice), None, Taken::Keep, NOW).unwrap();
        assert_eq!(contact.label, "alice@alice.example");
        assert_eq!(contact.keys(), Some(alice.identity.public_keys()));
        assert_eq!(contact.zone.as_ref(), Some(alice.zone()));
        assert_eq!(contact.username(), Some("alice"));
        assert_eq!(contact.verification, scanned());
        assert!(world.take_queries().is_empty());

        alice.pin(&bob);
        bob.send(&alice, "scanned").await.unwrap();
        assert_eq!(alice.receive().await.inbox.len(), 1);
    });
}

#[test]
fn a_uri_with_a_mailbox_zone_says_where_the_mail_is() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        let mut with_mailbox = uri(&alice);
        with_mailbox.mailbox_zone = Some(Zone::parse("mesh.example").unwrap());
        let contact =
            ops::contacts_add_uri(&bob.store, &with_mailbox, Some("al"), Taken::Keep, NOW).unwrap();
        assert_eq!(contact.label, "al");
        assert_eq!(contact.mailbox_zone_or(bob.zone()).as_str(), "mesh.example");
    });
}

#[test]
fn a_uri_verifies_whom_it_names_and_replaces_nobody_unasked() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        // Known by the signing key only: filled in and verified, under the label that is there.
        bob.pin_signing_only(&alice);
        let contact =
            ops::contacts_add_uri(&bob.store, &uri(&alice), Some("new"), Taken::Keep, NOW).unwrap();
        assert_eq!(contact.label, alice.address());
        assert_eq!(contact.keys(), Some(alice.identity.public_keys()));
        assert_eq!(contact.verification, scanned());

        let mut forged = uri(&alice);
        forged.keys = other_keys(7);
        let refused = ops::contacts_add_uri(&bob.store, &forged, None, Taken::Keep, NOW);
        assert!(
            matches!(refused, Err(ContactError::Taken(_))),
            "{refused:?}"
        );
        let replaced =
            ops::contacts_add_uri(&bob.store, &forged, None, Taken::Replace, NOW).unwrap();
        assert_eq!(replaced.keys(), Some(other_keys(7)));
        assert_eq!(bob.store.contacts().unwrap().len(), 1);
    });
}

#[test]
fn a_uri_with_a_borrowed_encryption_key_is_refused() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        bob.pin(&alice);
        let borrowed = AddressUri {
            address: Address::parse("mallory@evil.example").unwrap(),
            keys: PublicKeys {
                agreement: alice.identity.agreement_public(),
                signing: other_keys(9).signing,
            },
            mailbox_zone: None,
        };
        let refused = ops::contacts_add_uri(&bob.store, &borrowed, None, Taken::Keep, NOW);
        assert!(
            matches!(refused, Err(ContactError::KeyHeld(_))),
            "{refused:?}"
        );
        assert_eq!(bob.store.contacts().unwrap().len(), 1);
    });
}

#[test]
fn the_safety_number_is_the_same_on_both_sides_and_verifies_only_when_it_agrees() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        alice.pin(&bob);
        bob.pin(&alice);
        let number = |user: &Person, name: &str| {
            let contact = ops::contacts_find(&user.store, name).unwrap();
            ops::contacts_safety_number(&user.identity, &contact).unwrap()
        };
        let shown = number(&alice, &bob.address());
        assert_eq!(shown, number(&bob, &alice.address()));

        let compare = |typed: &str| {
            ops::contacts_verify_number(&bob.store, &bob.identity, &alice.address(), typed, NOW)
        };
        assert!(matches!(compare("12345"), Err(ContactError::NotANumber)));
        let last = shown.digits().chars().last().unwrap();
        let wrong = format!(
            "{}{}",
            &shown.digits()[..59],
            if last == '9' { '0' } else { '9' }
        );
        assert!(matches!(
            compare(&wrong),
            Err(ContactError::NumberDiffers(_))
        ));
        let unverified = ops::contacts_find(&bob.store, &alice.address()).unwrap();
        assert_eq!(unverified.verification, Verification::Unverified);
        let verified = compare(&shown.to_string()).unwrap();
        assert_eq!(
            verified.verification,
            Verification::Verified {
                at: NOW,
                by: Method::SafetyNumber
            }
        );
    });
}

#[test]
fn a_contact_with_one_key_has_no_safety_number() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        bob.pin_signing_only(&alice);
        let contact = ops::contacts_find(&bob.store, &alice.address()).unwrap();
        assert!(matches!(
            ops::contacts_safety_number(&bob.identity, &contact),
            Err(ContactError::KeysIncomplete(_))
        ));
    });
}

#[test]
fn scanning_for_verification_compares_and_never_replaces() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        bob.pin(&alice);
        let mut forged = uri(&alice);
        forged.keys = other_keys(7);
        let differs = ops::contacts_verify_uri(&bob.store, &alice.address(), &forged, NOW);
        assert!(matches!(differs, Err(ContactError::KeysDiffer(_))));
        let contact = ops::contacts_find(&bob.store, &alice.address()).unwrap();
        assert_eq!(contact.keys(), Some(alice.identity.public_keys()));
        let verified =
            ops::contacts_verify_uri(&bob.store, &alice.address(), &uri(&alice), NOW).unwrap();
        assert_eq!(verified.verification, scanned());
    });
}

#[test]
fn other_keys_take_everything_with_them_that_was_known_about_the_old_ones() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        ops::contacts_add_uri(&bob.store, &uri(&alice), None, Taken::Keep, NOW).unwrap();
        let contact = ops::contacts_find(&bob.store, &alice.address()).unwrap();
        let key = KeyState::Replaced {
            by: other_keys(7).signing,
            since: UnixTime::new(5),
        };
        let seen = SeenIdentity {
            ts: NOW,
            versions: Versions::new([1, 2]).unwrap(),
        };
        let known = bob
            .store
            .change_contact(contact.id, |card| {
                card.key = key;
                card.seen = Some(seen.clone());
            })
            .unwrap()
            .unwrap();
        let stored = bob.store.contact(&alice.address()).unwrap().unwrap();
        assert_eq!(stored, known, "key state and record survive the row");
        assert_eq!((stored.key, stored.seen.clone()), (key, Some(seen)));

        let new = other_keys(7);
        let changed = bob
            .store
            .change_contact(contact.id, |card| {
                card.replace_keys(Some(new.agreement), Some(new.signing));
            })
            .unwrap()
            .unwrap();
        assert_eq!(changed.verification, Verification::Unverified);
        assert_eq!(
            (changed.key, changed.seen.clone()),
            (KeyState::Current, None)
        );
    });
}

#[test]
fn a_renamed_contact_keeps_its_user_name_and_a_taken_label_is_refused() {
    run(async {
        let world = World::new();
        let (alice, carol, bob) = (
            world.person("alice", "alice.example"),
            world.person("carol", "carol.example"),
            world.person("bob", "bob.example"),
        );
        let keys = alice.identity.public_keys();
        ops::contacts_add(
            &bob.store,
            "alice",
            keys.agreement,
            Some(keys.signing),
            Taken::Keep,
            NOW,
        )
        .unwrap();
        bob.pin(&carol);
        let rename = |label: &str| {
            let changes = ContactChanges {
                label: Some(label.to_owned()),
                ..ContactChanges::default()
            };
            ops::contacts_set(&bob.store, "alice", &changes)
        };
        assert!(matches!(
            rename(&carol.address()),
            Err(ContactError::Taken(_))
        ));
        assert!(matches!(rename(" "), Err(ContactError::Label)));
        assert!(matches!(rename("a\u{1b}[31m"), Err(ContactError::Label)));
        let renamed = rename("Aunt Alice").unwrap();
        assert_eq!(renamed.username(), Some("alice"));
        assert!(ops::contacts_find(&bob.store, "alice").is_err());

        let changes = ContactChanges {
            wire: Some(Wire::Legacy),
            zone: Some(Some(Zone::parse("z.example").unwrap())),
            mailbox_zone: Some(Some(Zone::parse("m.example").unwrap())),
            username: Some(Some("al".to_owned())),
            label: None,
        };
        let changed = ops::contacts_set(&bob.store, "Aunt Alice", &changes).unwrap();
        assert_eq!(changed.wire, Wire::Legacy);
        assert_eq!(changed.zone_or(bob.zone()).as_str(), "z.example");
        assert_eq!(changed.mailbox_zone_or(bob.zone()).as_str(), "m.example");
        assert_eq!(changed.username(), Some("al"));
        let cleared = ContactChanges {
            zone: Some(None),
            mailbox_zone: Some(None),
            ..ContactChanges::default()
        };
        let cleared = ops::contacts_set(&bob.store, "Aunt Alice", &cleared).unwrap();
        assert_eq!(cleared.mailbox_zone_or(bob.zone()), bob.zone());
    });
}

#[test]
fn a_removed_contact_is_a_stranger_again() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "alice.example"),
        );
        alice.pin(&bob);
        bob.pin(&alice);
        alice.send(&bob, "known").await.unwrap();
        assert_eq!(bob.receive().await.inbox.len(), 1);
        ops::contacts_remove(&bob.store, &alice.address()).unwrap();
        assert!(matches!(
            ops::contacts_remove(&bob.store, &alice.address()),
            Err(ContactError::Unknown(_))
        ));
        alice.send(&bob, "who am I?").await.unwrap();
        assert!(bob.receive().await.inbox.is_empty());
    });
}

#[test]
fn a_fetched_identity_replaces_pinned_keys_only_when_the_user_says_so() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        alice.publish(1).await;
        let keys = other_keys(7);
        ops::contacts_add(
            &bob.store,
            &alice.address(),
            keys.agreement,
            Some(keys.signing),
            Taken::Keep,
            NOW,
        )
        .unwrap();
        let fetched = bob.fetch(&alice).await.unwrap();
        let kept = ops::contacts_add_fetched(&bob.store, &fetched, NOW).unwrap();
        assert!(matches!(kept, Saved::Kept { .. }));
        let replaced = ops::contacts_replace_fetched(&bob.store, &fetched, NOW).unwrap();
        assert!(matches!(replaced, Saved::Replaced { .. }));
        let contact = ops::contacts_find(&bob.store, &alice.address()).unwrap();
        assert_eq!(contact.keys(), Some(alice.identity.public_keys()));
    });
}

#[test]
fn with_verified_only_nobody_is_written_to_or_delivered_from_before_the_keys_were_compared() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        alice.pin(&bob);
        bob.pin(&alice);
        bob.profile.contacts = KeysTrusted::Verified;
        world.take_queries();
        let refused = bob.send(&alice, "hello").await.unwrap_err();
        assert_eq!(refused.code(), "send-not-verified");
        assert_eq!(world.take_queries(), [""; 0], "nothing is asked");

        alice.send(&bob, "first").await.unwrap();
        let report = bob.receive().await;
        assert!(report.inbox.is_empty());
        let reasons: Vec<&str> = report
            .intros
            .iter()
            .map(|intro| intro.reason.code.as_str())
            .collect();
        assert_eq!(reasons, ["not-verified"]);
        assert!(bob.receive().await.inbox.is_empty(), "it goes on waiting");

        let pinned = ops::contacts_find(&bob.store, &alice.address()).unwrap();
        let compared = |card: &mut NewContact| {
            card.verification = Verification::Verified {
                at: NOW,
                by: Method::SafetyNumber,
            };
        };
        bob.store.change_contact(pinned.id, compared).unwrap();
        assert_eq!(texts(&bob.receive().await), ["first"]);
        alice.send(&bob, "second").await.unwrap();
        assert_eq!(texts(&bob.receive().await), ["second"]);
        bob.send(&alice, "hello").await.unwrap();
    });
}
