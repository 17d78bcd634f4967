//! Keys that end: rotating and revoking the own one, noticing and accepting a contact's.

use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::Operation;
use dmp_client::ops::{
    self, FetchError, KeyChangeError, KeyProof, PublishRequest, RotateError, RotateRequest,
    Rotated, RotationReason, SendError,
};
use dmp_client::store::{KeyState, Method, Opening, Store, Verification};
use dmp_core::id::Fingerprint;
use dmp_core::keys::{Identity, Signer};
use dmp_core::limits::HORIZON_LONG;
use dmp_core::record::{IdentityRecord, Reason, Rotation, Subject, Versions};

use crate::world::{NOW, Person, World, refused, run};

fn request(reason: RotationReason) -> RotateRequest {
    RotateRequest {
        ttl: 86_400,
        lifetime: 31_536_000,
        reason,
        versions: Versions::default(),
        milliseconds: NOW.as_secs() * 1_000,
    }
}

async fn rotate(person: &Person, new: &Identity, reason: RotationReason) -> Rotated {
    ops::identity_rotate(&person.session(), new, &request(reason))
        .await
        .unwrap()
}

/// The same person with other keys, and the same store.
fn switch(person: Person, new: Identity) -> Person {
    Person {
        identity: new,
        ..person
    }
}

fn state(of: &Person, contact: &Person) -> KeyState {
    of.store.contact(&contact.address()).unwrap().unwrap().key
}

async fn offer(user: &Person, contact: &Person) -> Result<ops::KeyOffer, KeyChangeError> {
    ops::contacts_new_key(
        &user.store,
        &*user.world,
        user.zone(),
        &contact.address(),
        None,
        user.now(),
    )
    .await
}

#[test]
fn a_routine_rotation_publishes_the_successor_and_its_identity_and_revokes_nothing() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        alice.publish(3).await;
        bob.meet(&alice).await;
        let new = Identity::from_seed([7; 32]);
        world.take_written();
        let rotated = rotate(&alice, &new, RotationReason::Routine).await;
        assert!(rotated.revocation.is_none());
        assert_eq!(rotated.identity.unwrap().record.keys(), new.public_keys());
        assert_eq!(rotated.old_identity.unwrap().removed, 1);
        assert_eq!(rotated.rotation.seq, NOW.as_secs() * 1_000);
        assert_eq!(world.zone.query(rotated.owner.as_str()).len(), 1);
        // The rotation goes out before the identity record, and that before the old one is taken away.
        let kinds: Vec<_> = world
            .take_written()
            .iter()
            .map(|operation| match operation {
                Operation::Add { owner, .. } if *owner == rotated.owner => "rotation",
                Operation::Add { .. } => "identity",
                _ => "delete",
            })
            .collect();
        assert_eq!(kinds, ["rotation", "identity", "delete"]);
        let fetched = bob.fetch(&alice).await.unwrap();
        assert_eq!(fetched.record.keys(), new.public_keys());
    });
}

#[test]
fn a_rotation_is_refused_before_anything_is_written() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        let seed = *alice.identity.agreement().as_bytes();
        let attempt = async |new: &Identity, request: &RotateRequest| {
            ops::identity_rotate(&alice.session(), new, request)
                .await
                .unwrap_err()
        };
        let routine = request(RotationReason::Routine);
        let same = attempt(&Identity::from_seed(seed), &routine).await;
        assert!(matches!(same, RotateError::SameKey), "{same}");
        for lifetime in [0, HORIZON_LONG + 1] {
            let request = RotateRequest {
                lifetime,
                ..routine.clone()
            };
            let wrong = attempt(&Identity::from_seed([7; 32]), &request).await;
            assert!(matches!(wrong, RotateError::Lifetime), "{wrong}");
        }
        let nameless = world.person("", "alice.example");
        let wrong =
            ops::identity_rotate(&nameless.session(), &Identity::from_seed([7; 32]), &routine)
                .await;
        assert!(matches!(wrong, Err(RotateError::Subject(_))));
        assert!(world.take_written().is_empty());
    });
}

#[test]
fn two_rotations_in_one_millisecond_are_both_followed() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        let [first, second] = [7, 8].map(|seed| Identity::from_seed([seed; 32]));
        rotate(&alice, &first, RotationReason::Routine).await;
        let alice = switch(alice, first);
        rotate(&alice, &second, RotationReason::Routine).await;
        let offer = offer(&bob, &alice).await.unwrap();
        assert_eq!(
            (offer.keys(), offer.proof),
            (second.public_keys(), KeyProof::Chain)
        );
    });
}

#[test]
fn a_replaced_key_blocks_sending_until_the_new_one_is_accepted_also_behind_a_dead_zone() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        let contact = bob.store.contact(&alice.address()).unwrap().unwrap();
        bob.store
            .change_contact(contact.id, |card| {
                card.verification = Verification::Verified {
                    at: NOW,
                    by: Method::SafetyNumber,
                };
            })
            .unwrap();
        let new = Identity::from_seed([7; 32]);
        rotate(&alice, &new, RotationReason::Routine).await;
        let replaced = |error: Result<_, SendError>| matches!(error, Err(SendError::KeyReplaced { successor, .. }) if successor == new.signing_public());
        assert!(replaced(bob.send(&alice, "x").await));
        assert_eq!(
            state(&bob, &alice),
            KeyState::Replaced {
                by: new.signing_public(),
                since: NOW
            }
        );

        world.kill("alice.example");
        assert!(
            replaced(bob.send(&alice, "x").await),
            "who hides the rotation does not hide what is known"
        );
        world.revive("alice.example");

        let offer = offer(&bob, &alice).await.unwrap();
        assert_eq!(
            (offer.keys(), offer.proof, offer.is_old_revoked),
            (new.public_keys(), KeyProof::Chain, false)
        );
        let accepted = ops::contacts_accept_key(&bob.store, &offer).unwrap();
        assert_eq!(accepted.keys(), Some(new.public_keys()));
        assert_eq!(accepted.verification, Verification::Unverified);
        assert_eq!(accepted.key, KeyState::Current);

        let alice = switch(alice, new);
        alice.pin(&bob);
        bob.send(&alice, "to the new key").await.unwrap();
        assert_eq!(alice.receive().await.inbox.len(), 1);
    });
}

#[test]
fn a_chain_that_expired_in_the_zone_still_proves_what_was_seen() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        let new = Identity::from_seed([7; 32]);
        rotate(&alice, &new, RotationReason::Routine).await;
        bob.send(&alice, "x").await.unwrap_err();
        let seen = bob.now();
        // The node keeps it for a day; the identity record is published anew.
        tokio::time::sleep(Duration::from_secs(90_000)).await;
        let alice = switch(alice, new);
        ops::identity_publish(&alice.session(), &PublishRequest::default())
            .await
            .unwrap();
        let offer = offer(&bob, &alice).await.unwrap();
        assert_eq!(offer.proof, KeyProof::EarlierChain { since: seen });
        assert_eq!(offer.keys(), alice.identity.public_keys());
    });
}

#[test]
fn a_message_under_the_new_key_tells_of_the_rotation_and_blocks_answers_to_the_old_one() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.publish(1).await;
        bob.meet(&alice).await;
        let new = Identity::from_seed([7; 32]);
        rotate(&alice, &new, RotationReason::Routine).await;
        let mut alice = switch(alice, new);
        alice.pin(&bob);
        alice.send(&bob, "under the new key").await.unwrap();
        let report = bob.receive().await;
        assert_eq!(report.inbox.len(), 1);
        assert!(report.inbox[0].succession.is_some());
        assert!(
            matches!(state(&bob, &alice), KeyState::Replaced { by, .. } if by == alice.identity.signing_public())
        );
        world.kill("alice.example");
        assert!(matches!(
            bob.send(&alice, "x").await,
            Err(SendError::KeyReplaced { .. })
        ));
    });
}

#[test]
fn a_compromise_revokes_the_old_key_and_what_was_known_to_be_revoked_stays_so() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        let new = Identity::from_seed([7; 32]);
        let rotated = rotate(&alice, &new, RotationReason::Compromise).await;
        assert_eq!(rotated.revocation, Some(Ok(())));
        assert_eq!(world.zone.query(rotated.owner.as_str()).len(), 2);
        assert!(matches!(
            bob.send(&alice, "x").await,
            Err(SendError::KeyRevoked(_))
        ));
        world.kill("alice.example");
        assert!(matches!(
            bob.send(&alice, "x").await,
            Err(SendError::KeyRevoked(_))
        ));
        world.revive("alice.example");
        // A revocation ends the chain: the new keys prove nothing, the user has to compare them.
        let offer = offer(&bob, &alice).await.unwrap();
        assert_eq!(
            (offer.keys(), offer.proof, offer.is_old_revoked),
            (new.public_keys(), KeyProof::None, true)
        );
    });
}

#[test]
fn a_revocation_that_the_node_refuses_is_a_warning_and_the_rotation_stands() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        world.judge_writes(|operation| match operation {
            // A revocation is shorter than a rotation.
            Operation::Add { owner, value, .. }
                if owner.as_str().starts_with("rotate.") && value.len() < 250 =>
            {
                Err(refused())
            }
            _ => Ok(()),
        });
        let new = Identity::from_seed([7; 32]);
        let rotated = rotate(&alice, &new, RotationReason::LostKey).await;
        assert!(matches!(
            rotated.revocation,
            Some(Err(WriteError::Refused { .. }))
        ));
        assert!(rotated.identity.is_ok());
    });
}

#[test]
fn an_identity_record_that_the_node_refuses_leaves_the_old_one_in_place() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        alice.publish(1).await;
        world.judge_writes(|operation| match operation {
            Operation::Add { owner, .. } if owner.as_str().starts_with("id-") => Err(refused()),
            _ => Ok(()),
        });
        let rotated = rotate(
            &alice,
            &Identity::from_seed([7; 32]),
            RotationReason::Routine,
        )
        .await;
        assert!(rotated.identity.is_err());
        assert_eq!(rotated.old_identity, None);
        assert_eq!(
            world
                .zone
                .query(alice.profile.identity_owner().as_str())
                .len(),
            1
        );
    });
}

#[test]
fn keys_that_only_the_zone_speaks_for_are_offered_without_proof_and_a_fork_not_at_all() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        let unchanged = offer(&bob, &alice).await.unwrap_err();
        assert!(
            matches!(unchanged, KeyChangeError::Unchanged(_)),
            "{unchanged}"
        );

        ops::identity_unpublish(&alice.session()).await.unwrap();
        let [first, second] = [7, 8].map(|seed| {
            world.person_with(
                "alice",
                "alice.example",
                Identity::from_seed([seed; 32]),
                None,
            )
        });
        ops::identity_publish(&first.session(), &PublishRequest::default())
            .await
            .unwrap();
        let changed = offer(&bob, &alice).await.unwrap();
        assert_eq!(changed.proof, KeyProof::None);
        let wanted = Fingerprint::from_bytes([1; 8]);
        let other = ops::contacts_new_key(
            &bob.store,
            &*world,
            bob.zone(),
            &alice.address(),
            Some(wanted),
            NOW,
        )
        .await
        .unwrap_err();
        assert!(
            matches!(other, KeyChangeError::OtherFingerprint { .. }),
            "{other}"
        );

        // The old key names two successors.
        for (seq, new) in [(1, &first), (2, &second)] {
            publish_rotation(&alice, &alice.identity, &new.identity, seq);
        }
        ops::identity_publish(&second.session(), &PublishRequest::default())
            .await
            .unwrap();
        let fork = offer(&bob, &alice).await.unwrap_err();
        assert!(
            matches!(fork, KeyChangeError::Fetch(FetchError::Ambiguous { .. })),
            "{fork}"
        );
        assert_eq!(state(&bob, &alice), KeyState::Current);
    });
}

#[test]
fn a_chain_to_a_key_without_identity_record_pins_nothing_yet() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        publish_rotation(&alice, &alice.identity, &Identity::from_seed([7; 32]), 1);
        let missing = offer(&bob, &alice).await.unwrap_err();
        assert!(
            matches!(missing, KeyChangeError::NoRecord { .. }),
            "{missing}"
        );
        assert!(matches!(state(&bob, &alice), KeyState::Replaced { .. }));
    });
}

#[test]
fn an_offer_is_void_once_the_contact_has_other_keys() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        rotate(
            &alice,
            &Identity::from_seed([7; 32]),
            RotationReason::Routine,
        )
        .await;
        let offer = offer(&bob, &alice).await.unwrap();
        let other = Identity::from_seed([9; 32]).public_keys();
        bob.store
            .change_contact(offer.contact.id, |card| {
                card.replace_keys(Some(other.agreement), Some(other.signing));
            })
            .unwrap();
        assert!(matches!(
            ops::contacts_accept_key(&bob.store, &offer),
            Err(ops::ContactError::Changed(_))
        ));
        let contact = bob.store.contact(&alice.address()).unwrap().unwrap();
        assert_eq!(contact.keys(), Some(other));
    });
}

#[test]
fn a_revoked_key_takes_its_identity_record_along() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        alice.publish(1).await;
        bob.meet(&alice).await;
        let revoked = ops::identity_revoke(&alice.session(), Reason::Other, 86_400)
            .await
            .unwrap();
        assert_eq!((revoked.identity.removed, revoked.identity.left), (1, 0));
        assert!(matches!(
            bob.send(&alice, "x").await,
            Err(SendError::KeyRevoked(_))
        ));
        let gone = bob.fetch(&alice).await.unwrap_err();
        assert!(matches!(gone, FetchError::NotFound { .. }), "{gone}");
    });
}

#[test]
fn unpublishing_removes_the_own_records_and_nobody_elses() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut namesake =
            world.person_with("alice", "alice.example", Identity::from_seed([9; 32]), None);
        alice.publish(0).await;
        namesake.publish(0).await;
        let done = ops::identity_unpublish(&alice.session()).await.unwrap();
        assert_eq!((done.removed, done.left), (1, 0));
        assert_eq!(world.zone.query(done.owner.as_str()).len(), 1);
        let again = ops::identity_unpublish(&alice.session()).await.unwrap();
        assert_eq!((again.removed, again.left), (0, 0));

        world.judge_writes(|operation| match operation {
            Operation::DeleteValue { .. } => Err(refused()),
            _ => Ok(()),
        });
        let kept = ops::identity_unpublish(&namesake.session()).await.unwrap();
        assert_eq!((kept.removed, kept.left), (0, 1));
    });
}

#[test]
fn an_older_identity_record_that_is_shown_again_takes_no_version_away() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        bob.meet_after_publishing(&mut alice).await;
        let sent = bob.send(&alice, "one").await.unwrap();
        assert!(sent.envelope.is_some(), "versions 1 and 2");

        ops::identity_unpublish(&alice.session()).await.unwrap();
        let record = |ts| IdentityRecord {
            username: "alice".to_owned(),
            agreement: alice.identity.agreement_public(),
            signing: alice.identity.signing_public(),
            ts,
            versions: Versions::default(),
        };
        let owner = alice.profile.identity_owner();
        let older = record(dmp_core::id::UnixTime::new(NOW.as_secs() - 1_000));
        let value = older.sign(&alice.identity).unwrap();
        world.zone.publish(owner.as_str(), &value, 1_000);
        let sent = bob.send(&alice, "two").await.unwrap();
        assert!(sent.envelope.is_some(), "the newest that was seen counts");

        let newer = record(NOW.saturating_add(10))
            .sign(&alice.identity)
            .unwrap();
        world.zone.publish(owner.as_str(), &newer, 1_000);
        let sent = bob.send(&alice, "three").await.unwrap();
        assert!(sent.envelope.is_none(), "its owner took the version back");
    });
}

#[test]
fn the_pool_of_the_old_key_leaves_the_zone_with_the_first_refresh_under_the_new_one() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        alice.publish(3).await;
        let owner = alice.profile.prekey_owner();
        let old = world.zone.query(owner.as_str());
        let new = Identity::from_seed([7; 32]);
        rotate(&alice, &new, RotationReason::Routine).await;
        let stock = ops::prekeys_stock(&alice.store, &new, NOW).unwrap();
        assert_eq!((stock.live, stock.target), (0, 3));
        assert!(stock.is_low() && stock.wants_refill());
        let mut alice = switch(alice, new);
        let report = alice.refresh(3).await;
        assert_eq!((report.published, report.fresh, report.live), (3, 3, 3));
        let now = world.zone.query(owner.as_str());
        assert_eq!(now.len(), 3);
        assert!(old.iter().all(|value| !now.contains(value)));
    });
}

#[test]
fn the_new_passphrase_opens_the_store_before_the_rotation_is_out_and_ends_the_old_one_at_its_first_use()
 {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_owned();
    let (seed, new) = ([5; 32], Identity::from_seed([7; 32]));
    assert_eq!(Store::opening(&home, &new).unwrap(), Opening::NoStore);
    run(async {
        let world = World::new();
        let mut alice = world.person_with(
            "alice",
            "alice.example",
            Identity::from_seed(seed),
            Some(home.clone()),
        );
        alice.publish(1).await;
        assert_eq!(
            Store::opening(&home, &alice.identity).unwrap(),
            Opening::Current
        );

        // Refused: the new passphrase opens nothing. Without an answer: it opens the store, and takes nobody's place.
        world.judge_writes(|_| Err(refused()));
        let attempt = async || {
            let request = request(RotationReason::Routine);
            ops::identity_rotate(&alice.session(), &new, &request)
                .await
                .unwrap_err()
        };
        attempt().await;
        assert_eq!(Store::opening(&home, &new).unwrap(), Opening::Refused);
        world.judge_writes(|_| Err(WriteError::Unreachable("no answer".to_owned())));
        attempt().await;
        assert_eq!(Store::opening(&home, &new).unwrap(), Opening::Other);
        assert_eq!(
            Store::opening(&home, &alice.identity).unwrap(),
            Opening::Current
        );
        drop(Store::open(&home, &new, NOW).unwrap());
        assert_eq!(
            Store::opening(&home, &alice.identity).unwrap(),
            Opening::Current,
            "opening with an unconfirmed wrap ends nothing"
        );

        let (probe, probed) = (home.clone(), Identity::from_seed([7; 32]));
        world.judge_writes(move |_| {
            assert_ne!(
                Store::opening(&probe, &probed).unwrap(),
                Opening::Refused,
                "open before the first record is out"
            );
            Ok(())
        });
        rotate(&alice, &new, RotationReason::Routine).await;
        assert_eq!(Store::opening(&home, &new).unwrap(), Opening::Current);
        assert_eq!(
            Store::opening(&home, &alice.identity).unwrap(),
            Opening::Other
        );
    });
    drop(Store::open(&home, &Identity::from_seed(seed), NOW).unwrap());
    let store = Store::open(&home, &new, NOW).unwrap();
    assert_eq!(store.published_prekeys(NOW).unwrap().len(), 1);
    drop(store);
    assert!(matches!(
        Store::open(&home, &Identity::from_seed(seed), NOW),
        Err(dmp_client::error::StoreError::WrongPassphrase)
    ));
}

fn publish_rotation(person: &Person, old: &Identity, new: &Identity, seq: u64) {
    let subject = Subject::user(&person.profile.username, person.zone().as_str()).unwrap();
    let record = Rotation {
        subject: subject.clone(),
        old: old.signing_public(),
        new: new.signing_public(),
        seq,
        ts: NOW,
        exp: NOW.saturating_add(1_000),
    };
    let value = record
        .sign(Signer::Person(old), Signer::Person(new))
        .unwrap();
    person
        .world
        .zone
        .publish(subject.owner_names()[1].as_str(), &value, 1_000);
}

impl Person {
    async fn meet_after_publishing(&self, other: &mut Person) {
        other.publish(0).await;
        self.meet(other).await;
    }
}
