//! What a correspondent or a stranger may try with somebody else's words and keys (D6), and that none of it works.

use dmp_client::ops::{self, ContactError, FirstUse, IntroError, PublishRequest, Taken};
use dmp_client::store::{Authorship, InboxMessage};
use dmp_core::id::{MsgId, Slot};
use dmp_core::keys::{Identity, Signer};
use dmp_core::owner::{chunk_owner, claim_owner, manifest_owner};
use dmp_core::record::{
    Claim, IdentityRecord, Manifest, Reason, Revocation, Rotation, Subject, Versions,
};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest, Sha256};

use crate::world::{NOW, Person, World, codes, run, texts};

/// The manifest of the only message that a person has sent to another.
fn manifest_from(sender: &Person, recipient: &Person) -> Manifest {
    let prefix = manifest_owner(
        &recipient.identity.user_id(),
        Slot::new(0).unwrap(),
        sender.zone(),
    );
    let suffix = prefix.as_str().split_once('.').unwrap().1.to_owned();
    let names = sender
        .world
        .names("slot-")
        .into_iter()
        .filter(|name| name.ends_with(&suffix));
    let mut found: Vec<Manifest> = names
        .flat_map(|name| sender.world.zone.query(&name))
        .filter_map(|value| Manifest::parse(&value, sender.now()).ok())
        .map(|manifest| manifest.into_inner())
        .filter(|manifest| manifest.sender == sender.identity.signing_public())
        .collect();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// Publishes somebody's chunks again under the thief's own manifest, in the thief's zone.
fn re_sign(thief: &Person, victim: &Person, manifest: &Manifest) -> Manifest {
    let zone = &thief.world.zone;
    let own = Manifest {
        sender: thief.identity.signing_public(),
        ..manifest.clone()
    };
    for index in 0..own.plan.n() as u16 {
        let (msg_id, recipient) = (&own.msg_id, &own.recipient);
        let from = chunk_owner(msg_id, recipient, &manifest.sender, index, victim.zone());
        let to = chunk_owner(msg_id, recipient, &own.sender, index, thief.zone());
        for value in zone.query(from.as_str()) {
            zone.publish(to.as_str(), &value, 86_400);
        }
    }
    let owner = manifest_owner(&own.recipient, own.msg_id.slot(), thief.zone());
    zone.publish(owner.as_str(), &own.sign(&thief.identity).unwrap(), 86_400);
    own
}

/// Tells the recipient's zone about a message.
fn claim(sender: &Person, recipient: &Person, msg_id: MsgId) {
    let claim = Claim {
        msg_id,
        sender: sender.identity.signing_public(),
        mailbox_zone: sender.zone().clone(),
        slot: msg_id.slot(),
        ts: sender.now(),
        exp: sender.now().saturating_add(300),
    };
    let owner = claim_owner(&recipient.identity.user_id(), claim.slot, recipient.zone());
    sender
        .world
        .zone
        .publish(owner.as_str(), &claim.sign(&sender.identity).unwrap(), 300);
}

/// An identity record that names somebody else's X25519 key: the library signs none, so the bytes are made here.
fn borrowed_record(thief: &Person, victim: &Person) -> String {
    let name = thief.profile.username.as_bytes();
    let mut body = vec![name.len() as u8];
    body.extend_from_slice(name);
    body.extend_from_slice(victim.identity.agreement_public().as_bytes());
    body.extend_from_slice(thief.identity.signing_public().as_bytes());
    body.extend_from_slice(&NOW.as_secs().to_be_bytes());
    let seed = Sha256::new()
        .chain_update(thief.identity.agreement().as_bytes())
        .chain_update(b"DMP-v1-Ed25519-signing-key")
        .finalize();
    let key = SigningKey::from_bytes(&seed.into());
    let signature = key.sign(&body).to_bytes();
    body.extend_from_slice(&signature);
    let value = format!("v=dmp1;t=identity;d={}", base64(&body));
    IdentityRecord::parse(&value).expect("a valid record, which is the point");
    value
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn publish_record(person: &Person, value: &str) {
    person
        .world
        .zone
        .publish(person.profile.identity_owner().as_str(), value, 86_400);
}

fn reasons(person: &Person) -> Vec<String> {
    person
        .store
        .intros()
        .unwrap()
        .iter()
        .map(|row| row.reason.code.clone())
        .collect()
}

/// The last message of a person, whatever its text.
fn only(messages: &[InboxMessage]) -> &InboxMessage {
    assert_eq!(messages.len(), 1);
    &messages[0]
}

#[test]
fn words_re_signed_by_a_pinned_contact_go_to_the_quarantine_and_the_original_arrives() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        let mallory = world.person("mallory", "mallory.example");
        bob.pin(&mallory);
        bob.pin(&alice);
        bob.refresh(1).await;
        alice.pin(&bob);
        let report = alice.send(&bob, "from alice").await.unwrap();
        assert!(matches!(
            report.forward_secrecy,
            ops::ForwardSecrecy::Prekey { .. }
        ));
        let original = manifest_from(&alice, &bob);
        re_sign(&mallory, &alice, &original);

        // Mallory's copy alone: the prekey must survive it.
        world.kill("alice.example");
        let report = bob.receive().await;
        assert!(texts(&report).is_empty());
        assert_eq!(reasons(&bob), ["authorship-not-proven"]);
        let row = &bob.store.intros().unwrap()[0];
        assert_eq!(row.signer, mallory.identity.signing_public());
        assert_eq!(row.sender_id, Some(alice.identity.user_id()));
        let prekey = original.prekey.unwrap();
        assert!(
            bob.store
                .prekey_secret(prekey, bob.now())
                .unwrap()
                .is_some()
        );

        // Trusting it is refused: the key is pinned, the words are not its own.
        let refused = ops::intros_trust(
            &bob.store,
            &bob.profile,
            &bob.identity,
            row.id,
            None,
            None,
            NOW,
        )
        .unwrap_err();
        assert!(matches!(refused, IntroError::Refused(_)), "{refused}");

        world.revive("alice.example");
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["from alice"]);
        assert_eq!(only(&report.inbox).signer, alice.identity.signing_public());
        assert!(
            bob.store
                .prekey_secret(prekey, bob.now())
                .unwrap()
                .is_none()
        );
    });
}

#[test]
fn words_re_signed_by_a_stranger_with_a_claim_go_to_the_quarantine_with_and_without_prekey() {
    for prekeys in [0, 1] {
        run(async {
            let world = World::new();
            let mut alice = world.person("alice", "alice.example");
            let mut bob = world.person("bob", "bob.example");
            let stranger = world.person("eve", "eve.example");
            bob.pin(&alice);
            bob.refresh(prekeys).await;
            alice.pin(&bob);
            alice.send(&bob, "from alice").await.unwrap();
            let original = manifest_from(&alice, &bob);
            assert_eq!(original.prekey.is_some(), prekeys == 1);
            let copy = re_sign(&stranger, &alice, &original);
            claim(&stranger, &bob, copy.msg_id);

            world.kill("alice.example");
            let report = bob.receive().await;
            assert!(texts(&report).is_empty());
            assert_eq!(reasons(&bob), ["authorship-not-proven"]);
            assert!(
                bob.store.intros().unwrap()[0]
                    .reason
                    .text
                    .contains("alice@alice.example")
            );

            world.revive("alice.example");
            assert_eq!(texts(&bob.receive().await), ["from alice"]);
        });
    }
}

#[test]
fn a_strangers_own_words_are_quarantined_as_not_pinned_and_keep_the_prekey_until_accepted() {
    run(async {
        let world = World::new();
        let mut eve = world.person("eve", "eve.example");
        let mut bob = world.person("bob", "bob.example");
        bob.refresh(1).await;
        eve.pin(&bob);
        eve.send(&bob, "hello").await.unwrap();
        let prekey = manifest_from(&eve, &bob).prekey.unwrap();
        let report = bob.receive().await;
        assert_eq!(
            (report.inbox.len(), report.intros.len()),
            (0, 1),
            "{:?}",
            report.dropped
        );
        assert_eq!(reasons(&bob), ["not-pinned"]);
        assert!(bob.store.prekey_secret(prekey, NOW).unwrap().is_some());

        let id = report.intros[0].id;
        let (contact, message) = ops::intros_trust(
            &bob.store,
            &bob.profile,
            &bob.identity,
            id,
            None,
            Some("eve"),
            NOW,
        )
        .unwrap();
        assert_eq!(
            (contact.label.as_str(), contact.remote_username.as_deref()),
            ("eve", Some("eve"))
        );
        assert_eq!(
            (contact.agreement, contact.zone.as_ref()),
            (None, Some(eve.zone()))
        );
        assert_eq!(
            (message.body.as_slice(), message.authorship),
            (&b"hello"[..], Authorship::Accepted)
        );
        assert!(bob.store.prekey_secret(prekey, NOW).unwrap().is_none());
    });
}

#[test]
fn pinning_a_key_that_a_contact_holds_is_refused_with_both_names() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        let mallory = world.person("mallory", "mallory.example");
        bob.pin(&alice);
        publish_record(&mallory, &borrowed_record(&mallory, &alice));

        let fetched = bob.fetch(&mallory).await.unwrap();
        let refused = ops::contacts_add_fetched(&bob.store, &fetched, NOW).unwrap_err();
        assert!(matches!(refused, ContactError::KeyHeld(_)));
        let words = refused.to_string();
        assert!(
            words.contains("mallory@mallory.example") && words.contains("alice@alice.example"),
            "{words}"
        );

        let by_hand = ops::contacts_add(
            &bob.store,
            "mallory",
            alice.identity.agreement_public(),
            Some(mallory.identity.signing_public()),
            Taken::Keep,
            NOW,
        );
        assert!(matches!(by_hand, Err(ContactError::KeyHeld(_))));
        assert_eq!(bob.store.contacts().unwrap().len(), 1);
    });
}

#[test]
fn pinning_a_key_that_a_quarantine_row_holds_is_refused() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        let mallory = world.person("mallory", "mallory.example");
        alice.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        assert_eq!(bob.receive().await.intros.len(), 1);
        publish_record(&mallory, &borrowed_record(&mallory, &alice));
        let fetched = bob.fetch(&mallory).await.unwrap();
        let refused = ops::contacts_add_fetched(&bob.store, &fetched, NOW).unwrap_err();
        assert!(refused.to_string().contains("intro #1"), "{refused}");
    });
}

#[test]
fn a_borrowed_key_proves_nothing_for_a_contact_known_by_signing_key_only() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        let mallory = world.person("mallory", "mallory.example");
        bob.pin(&alice);
        bob.pin_signing_only(&mallory);
        publish_record(&mallory, &borrowed_record(&mallory, &alice));
        alice.pin(&bob);
        alice.send(&bob, "from alice").await.unwrap();
        re_sign(&mallory, &alice, &manifest_from(&alice, &bob));
        world.kill("alice.example");
        let report = bob.receive().await;
        assert!(texts(&report).is_empty());
        assert_eq!(reasons(&bob), ["authorship-not-proven"]);
    });
}

#[test]
fn an_envelope_address_of_another_key_disproves_authorship() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        let mallory = world.person("mallory", "mallory.example");
        // Bob does not know Alice, but her text says who she is.
        bob.pin_signing_only(&mallory);
        alice.publish(0).await;
        bob.publish(0).await;
        publish_record(&mallory, &borrowed_record(&mallory, &alice));
        alice.meet(&bob).await;
        let report = alice.send(&bob, "from alice").await.unwrap();
        assert_eq!(report.envelope.unwrap().as_str(), "alice@alice.example");
        re_sign(&mallory, &alice, &manifest_from(&alice, &bob));
        let report = bob.receive().await;
        assert!(texts(&report).is_empty());
        let reasons: Vec<_> = bob
            .store
            .intros()
            .unwrap()
            .into_iter()
            .map(|row| (row.signer, row.message.reason.code))
            .collect();
        assert!(
            reasons.contains(&(
                mallory.identity.signing_public(),
                "authorship-not-proven".to_owned()
            )),
            "{reasons:?}"
        );
    });
}

#[test]
fn a_contact_known_by_signing_key_only_is_proven_by_the_published_record() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        alice.publish(0).await;
        bob.pin_signing_only(&alice);
        alice.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["hello"]);
        assert_eq!(only(&report.inbox).authorship, Authorship::Proven);
        assert_eq!(
            bob.store.contacts().unwrap()[0].agreement,
            None,
            "a proof does not pin"
        );
    });
}

#[test]
fn without_a_record_such_a_message_waits_and_moves_once_the_record_is_there() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        bob.pin_signing_only(&alice);
        alice.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        assert!(texts(&bob.receive().await).is_empty());
        assert_eq!(reasons(&bob), ["authorship-not-proven"]);
        assert!(texts(&bob.receive().await).is_empty());
        assert_eq!(bob.store.intros().unwrap().len(), 1, "once");

        ops::identity_publish(&alice.session(), &PublishRequest::default())
            .await
            .unwrap();
        assert_eq!(texts(&bob.receive().await), ["hello"]);
        assert!(bob.store.intros().unwrap().is_empty());
        assert!(texts(&bob.receive().await).is_empty());
    });
}

/// Publishes a rotation of a person's key to that of another identity, and the new identity if wanted.
fn rotate(person: &Person, new: &Identity, record: bool) {
    let subject = Subject::user(&person.profile.username, person.zone().as_str()).unwrap();
    let rotation = Rotation {
        subject: subject.clone(),
        old: person.identity.signing_public(),
        new: new.signing_public(),
        seq: 1,
        ts: NOW,
        exp: NOW.saturating_add(86_400),
    };
    let value = rotation
        .sign(Signer::Person(&person.identity), Signer::Person(new))
        .unwrap();
    person
        .world
        .zone
        .publish(subject.owner_names()[1].as_str(), &value, 86_400);
    if record {
        let record = IdentityRecord {
            username: person.profile.username.clone(),
            agreement: new.agreement_public(),
            signing: new.signing_public(),
            ts: NOW,
            versions: Versions::default(),
        };
        publish_record(person, &record.sign(new).unwrap());
    }
}

#[test]
fn a_rotated_contact_is_delivered_and_told_if_the_new_record_proves_the_author() {
    run(async {
        let world = World::new();
        let old = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        bob.pin(&old);
        let mut alice = world.person_with(
            "alice",
            "alice.example",
            Identity::from_seed([99; 32]),
            None,
        );
        rotate(&old, &alice.identity, true);
        alice.pin(&bob);
        alice.send(&bob, "new key").await.unwrap();
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["new key"], "{:?}", report.dropped);
        let told = only(&report.inbox).succession.clone().unwrap();
        assert_eq!(
            (told.contact.as_str(), told.old, told.new),
            (
                "alice@alice.example",
                old.identity.signing_public(),
                alice.identity.signing_public()
            )
        );
        let pinned = bob.store.contacts().unwrap()[0].signing;
        assert_eq!(
            pinned,
            Some(old.identity.signing_public()),
            "the pin changes only by the user"
        );
    });
}

#[test]
fn a_rotated_contact_without_a_record_goes_to_the_quarantine() {
    run(async {
        let world = World::new();
        let old = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        bob.pin(&old);
        let mut alice = world.person_with(
            "alice",
            "alice.example",
            Identity::from_seed([99; 32]),
            None,
        );
        rotate(&old, &alice.identity, false);
        alice.pin(&bob);
        alice.send(&bob, "new key").await.unwrap();
        let report = bob.receive().await;
        assert!(texts(&report).is_empty());
        assert_eq!(reasons(&bob), ["authorship-not-proven"]);
    });
}

#[test]
fn a_rotation_is_not_followed_where_that_is_switched_off() {
    run(async {
        let world = World::new();
        let old = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        bob.profile.rotation = ops::RotationPolicy::Ignore;
        bob.pin(&old);
        let mut alice = world.person_with(
            "alice",
            "alice.example",
            Identity::from_seed([99; 32]),
            None,
        );
        rotate(&old, &alice.identity, true);
        alice.pin(&bob);
        alice.send(&bob, "new key").await.unwrap();
        bob.receive().await;
        assert_eq!(reasons(&bob), ["not-pinned"]);
    });
}

#[test]
fn a_revoked_key_delivers_nothing() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        bob.pin(&alice);
        alice.pin(&bob);
        alice.send(&bob, "stolen").await.unwrap();
        let subject = Subject::user("alice", "alice.example").unwrap();
        let revocation = Revocation {
            subject: subject.clone(),
            revoked: alice.identity.signing_public(),
            reason: Reason::Compromise,
            ts: NOW,
        };
        let value = revocation.sign(Signer::Person(&alice.identity)).unwrap();
        world
            .zone
            .publish(subject.owner_names()[0].as_str(), &value, 86_400);
        let report = bob.receive().await;
        assert!(report.inbox.is_empty() && report.intros.is_empty());
        assert!(codes(&report).contains("revoked"));
    });
}

#[test]
fn first_use_delivers_the_slot_walk_unverified_while_nobody_is_pinned() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "shared.example");
        let mut bob = world.person("bob", "shared.example");
        bob.profile.first_use = FirstUse::Deliver;
        alice.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["hello"]);
        assert_eq!(only(&report.inbox).authorship, Authorship::Unverified);

        bob.pin(&world.person("carol", "carol.example"));
        alice.send(&bob, "again").await.unwrap();
        let report = bob.receive().await;
        assert!(report.inbox.is_empty(), "one pin switches first use off");
    });
}

#[test]
fn a_blocked_key_is_silent_even_if_pinned() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        bob.pin(&alice);
        alice.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        bob.store
            .block(&alice.identity.signing_public(), "enough", NOW)
            .unwrap();
        let report = bob.receive().await;
        assert!(report.inbox.is_empty() && report.intros.is_empty());
        assert!(codes(&report).contains("denylisted"));
        assert!(
            !world
                .take_queries()
                .iter()
                .any(|name| name.starts_with("chunk-")),
            "no chunk is fetched for it"
        );
    });
}

#[test]
fn the_key_that_follows_a_blocked_one_is_silent_too() {
    run(async {
        let world = World::new();
        let old = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        bob.pin(&old);
        let mut alice = world.person_with(
            "alice",
            "alice.example",
            Identity::from_seed([99; 32]),
            None,
        );
        rotate(&old, &alice.identity, true);
        alice.pin(&bob);
        alice.send(&bob, "new key").await.unwrap();
        ops::sender_block(&bob.store, &old.identity.signing_public(), "", NOW).unwrap();
        let report = bob.receive().await;
        assert!(report.inbox.is_empty() && report.intros.is_empty());
        assert!(codes(&report).contains("denylisted"));
        assert!(
            !world
                .take_queries()
                .iter()
                .any(|name| name.starts_with("chunk-"))
        );
        ops::sender_unblock(&bob.store, &old.identity.signing_public()).unwrap();
        assert_eq!(texts(&bob.receive().await), ["new key"]);
    });
}

#[test]
fn a_waiting_message_is_judged_again_from_the_store_once_its_sender_is_pinned() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        alice.publish(0).await;
        bob.publish(1).await;
        alice.pin(&bob);
        alice.send(&bob, "may I?").await.unwrap();
        assert_eq!(bob.receive().await.intros.len(), 1);
        let prekey = bob.store.intros().unwrap()[0].prekey.unwrap();
        assert!(bob.store.prekey_secret(prekey, NOW).unwrap().is_some());

        bob.meet(&alice).await;
        world.take_queries();
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["may I?"]);
        let message = only(&report.inbox);
        assert_eq!(message.authorship, Authorship::Proven);
        assert_eq!(message.contact.as_deref(), Some("alice@alice.example"));
        assert!(bob.store.intros().unwrap().is_empty());
        assert!(bob.store.prekey_secret(prekey, NOW).unwrap().is_none());
        assert!(
            !world
                .take_queries()
                .iter()
                .any(|name| name.starts_with("chunk-")),
            "its text is in the store"
        );
    });
}

#[test]
fn a_copy_in_another_contacts_zone_is_dropped_and_the_original_delivered_once() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        let mallory = world.person("mallory", "mallory.example");
        bob.pin(&mallory);
        bob.pin(&alice);
        alice.pin(&bob);
        alice.send(&bob, "once").await.unwrap();
        // Mallory copies everything of Alice's, signature and all, into the own zone and claims it.
        for name in world.zone.live_names() {
            if let Some(label) = name.strip_suffix(".alice.example") {
                for value in world.zone.query(&name) {
                    world
                        .zone
                        .publish(&format!("{label}.mallory.example"), &value, 86_400);
                }
            }
        }
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["once"]);
        assert!(codes(&report).contains("pinned-elsewhere"));
        assert!(bob.receive().await.inbox.is_empty());
    });
}
