//! Publishing an identity so that others find one, and finding other people's.

use std::time::Duration;

use dmp_client::ops::{
    self, ContactError, FetchError, FetchRequest, Place, PublishRequest, Saved, Taken,
};
use dmp_client::store::NewContact;
use dmp_core::id::Fingerprint;
use dmp_core::keys::{Identity, Signer};
use dmp_core::name::Zone;
use dmp_core::record::{IdentityRecord, Reason, Revocation, Rotation, Subject, Versions};

use crate::world::{NOW, Person, World, run};

async fn publish(person: &Person) -> ops::Published {
    ops::identity_publish(&person.session(), &PublishRequest::default())
        .await
        .unwrap()
}

fn at(person: &Person) -> FetchRequest {
    FetchRequest {
        user: person.profile.username.clone(),
        place: Place::Address(
            person
                .profile
                .identity_zone
                .clone()
                .unwrap_or_else(|| person.zone().clone()),
        ),
        accept: None,
    }
}

async fn fetch(reader: &World, request: &FetchRequest) -> Result<ops::Fetched, FetchError> {
    ops::identity_fetch(reader, request, NOW).await
}

/// The same user with other keys.
fn namesake(person: &Person, seed: u8) -> Person {
    person.world.person_with(
        &person.profile.username,
        person.zone().as_str(),
        Identity::from_seed([seed; 32]),
        None,
    )
}

fn rotation(person: &Person, old: &Identity, new: &Identity) {
    let subject = Subject::user(&person.profile.username, person.zone().as_str()).unwrap();
    let record = Rotation {
        subject: subject.clone(),
        old: old.signing_public(),
        new: new.signing_public(),
        seq: 1,
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

fn revocation(person: &Person, key: &Identity) {
    let subject = Subject::user(&person.profile.username, person.zone().as_str()).unwrap();
    let record = Revocation {
        subject: subject.clone(),
        revoked: key.signing_public(),
        reason: Reason::Compromise,
        ts: NOW,
    };
    person.world.zone.publish(
        subject.owner_names()[0].as_str(),
        &record.sign(Signer::Person(key)).unwrap(),
        1_000,
    );
}

#[test]
fn publishing_again_removes_the_own_older_value_and_nobody_elses() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        publish(&namesake(&alice, 9)).await;
        let first = publish(&alice).await;
        assert_eq!(first.removed, 0);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let second = publish(&alice).await;
        assert_eq!(
            (second.removed, second.record.ts.as_secs()),
            (1, NOW.as_secs() + 5)
        );
        let values = world.zone.query(second.owner.as_str());
        assert_eq!(values.len(), 2, "the namesake's and the new one");
    });
}

#[test]
fn an_older_value_that_no_resolver_shows_is_removed_from_memory() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        publish(&alice).await;
        world.kill("alice.example");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(publish(&alice).await.removed, 1);
    });
}

#[test]
fn a_fetched_identity_is_saved_once_and_never_replaced() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        publish(&alice).await;
        let fetched = fetch(&world, &at(&alice)).await.unwrap();
        assert_eq!(fetched.owner, alice.profile.identity_owner());
        assert_eq!(fetched.label, "alice@alice.example");
        let saved = ops::contacts_add_fetched(&bob.store, &fetched, NOW).unwrap();
        assert_eq!(
            saved,
            Saved::Added {
                label: "alice@alice.example".into()
            }
        );
        let contact = bob.store.contacts().unwrap().remove(0);
        assert_eq!(contact.agreement, Some(alice.identity.agreement_public()));
        assert_eq!(contact.signing, Some(alice.identity.signing_public()));
        assert_eq!(
            (contact.username(), contact.zone.as_ref()),
            (Some("alice"), Some(alice.zone()))
        );

        let other = namesake(&alice, 9);
        world
            .zone
            .delete_name(alice.profile.identity_owner().as_str());
        publish(&other).await;
        let fetched = fetch(&world, &at(&alice)).await.unwrap();
        let saved = ops::contacts_add_fetched(&bob.store, &fetched, NOW).unwrap();
        assert_eq!(
            saved,
            Saved::Kept {
                label: "alice@alice.example".into()
            }
        );
        assert_eq!(bob.store.contacts().unwrap().remove(0), contact);
    });
}

#[test]
fn a_contact_known_by_signing_key_is_filled_in_under_its_own_label() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        let mut card = NewContact::new("intro-1234");
        card.signing = Some(alice.identity.signing_public());
        bob.store.insert_contact(&card, NOW).unwrap();
        publish(&alice).await;
        let fetched = fetch(&world, &at(&alice)).await.unwrap();
        let saved = ops::contacts_add_fetched(&bob.store, &fetched, NOW).unwrap();
        assert_eq!(
            saved,
            Saved::Upgraded {
                label: "intro-1234".into()
            }
        );
        let contact = bob.store.contacts().unwrap().remove(0);
        assert_eq!(contact.agreement, Some(alice.identity.agreement_public()));
        assert_eq!(contact.remote_username.as_deref(), Some("alice"));
        assert_eq!(contact.zone.as_ref(), Some(alice.zone()));
    });
}

#[test]
fn the_zone_anchored_record_wins_and_junk_there_does_not_hide_the_hashed_one() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let squatter = namesake(&alice, 9);
        publish(&squatter).await;
        alice.profile.identity_zone = Some(alice.zone().clone());
        let anchored = publish(&alice).await;
        assert_eq!(anchored.owner.as_str(), "dmp.alice.example");
        let fetched = fetch(&world, &at(&alice)).await.unwrap();
        assert_eq!(fetched.record.signing, alice.identity.signing_public());

        world.zone.delete_name("dmp.alice.example");
        world
            .zone
            .publish("dmp.alice.example", "v=dmp1;t=identity;d=junk", 300);
        let fetched = fetch(&world, &at(&alice)).await.unwrap();
        assert_eq!(fetched.record.signing, squatter.identity.signing_public());
    });
}

#[test]
fn a_zone_anchored_name_that_cannot_be_asked_is_not_replaced_by_the_hashed_one() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        publish(&alice).await;
        world.kill("dmp.alice.example");
        let error = fetch(&world, &at(&alice)).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
    });
}

#[test]
fn nothing_and_nothing_good_are_told_apart_and_name_what_was_asked() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        let error = fetch(&world, &at(&alice)).await.unwrap_err();
        let expected = format!(
            "no identity record at dmp.alice.example or {}",
            alice.profile.identity_owner()
        );
        assert_eq!(error.to_string(), expected);
        world
            .zone
            .publish(alice.profile.identity_owner().as_str(), "junk", 300);
        assert!(matches!(
            fetch(&world, &at(&alice)).await,
            Err(FetchError::NoneVerified { .. })
        ));
        world.kill("alice.example");
        assert!(matches!(
            fetch(&world, &at(&alice)).await,
            Err(FetchError::Unreachable { .. })
        ));
    });
}

#[test]
fn several_keys_are_ambiguous_until_a_fingerprint_decides() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        let other = namesake(&alice, 9);
        publish(&alice).await;
        publish(&other).await;
        let Err(FetchError::Ambiguous { candidates, .. }) = fetch(&world, &at(&alice)).await else {
            panic!()
        };
        assert_eq!(candidates.len(), 2);
        let mut request = at(&alice);
        let upper = other.identity.fingerprint().to_string().to_uppercase();
        request.accept = Some(Fingerprint::parse(&upper).unwrap());
        let fetched = fetch(&world, &request).await.unwrap();
        assert_eq!(fetched.record.signing, other.identity.signing_public());
        request.accept = Some(Fingerprint::from_bytes([0; 8]));
        assert!(matches!(
            fetch(&world, &request).await,
            Err(FetchError::Ambiguous { .. })
        ));
    });
}

#[test]
fn several_publications_of_the_same_keys_are_one_the_newest() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        for ts in [3, 9, 5] {
            let record = IdentityRecord {
                username: "alice".into(),
                agreement: alice.identity.agreement_public(),
                signing: alice.identity.signing_public(),
                ts: NOW.saturating_add(ts),
                versions: Versions::default(),
            };
            let owner = alice.profile.identity_owner();
            world
                .zone
                .publish(owner.as_str(), &record.sign(&alice.identity).unwrap(), 300);
        }
        assert_eq!(
            fetch(&world, &at(&alice)).await.unwrap().record.ts,
            NOW.saturating_add(9)
        );
    });
}

#[test]
fn other_users_under_the_same_name_do_not_count() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "family.example");
        let mut carol = world.person("carol", "family.example");
        for person in [&mut alice, &mut carol] {
            person.profile.identity_zone = Some(Zone::parse("family.example").unwrap());
            publish(person).await;
        }
        assert_eq!(
            fetch(&world, &at(&alice)).await.unwrap().record.username,
            "alice"
        );
    });
}

#[test]
fn a_record_in_another_spelling_is_shown_but_not_saved() {
    run(async {
        let world = World::new();
        let mut alice = world.person("Alice", "family.example");
        let bob = world.person("bob", "bob.example");
        alice.profile.identity_zone = Some(alice.zone().clone());
        publish(&alice).await;
        let request = FetchRequest {
            user: "alice".into(),
            ..at(&alice)
        };
        let fetched = fetch(&world, &request).await.unwrap();
        assert_eq!(fetched.record.username, "Alice");
        let refused = ops::contacts_add_fetched(&bob.store, &fetched, NOW);
        assert!(matches!(refused, Err(ContactError::OtherUser { .. })));
    });
}

#[test]
fn superseded_and_revoked_keys_are_left_out() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        let new = namesake(&alice, 9);
        publish(&alice).await;
        publish(&new).await;
        rotation(&alice, &alice.identity, &new.identity);
        let fetched = fetch(&world, &at(&alice)).await.unwrap();
        assert_eq!(fetched.record.signing, new.identity.signing_public());
        revocation(&alice, &new.identity);
        let fetched = fetch(&world, &at(&alice)).await.unwrap();
        assert_eq!(fetched.record.signing, alice.identity.signing_public());
        revocation(&alice, &alice.identity);
        assert!(matches!(
            fetch(&world, &at(&alice)).await,
            Err(FetchError::AllRevoked { .. })
        ));
    });
}

#[test]
fn a_bare_name_is_sought_in_the_zone_alone_and_keeps_no_zone_unless_stated() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "shared.example"),
            world.person("bob", "shared.example"),
        );
        publish(&alice).await;
        let bare = |stated| FetchRequest {
            user: "alice".into(),
            place: Place::Zone {
                zone: alice.zone().clone(),
                stated,
            },
            accept: None,
        };
        let fetched = fetch(&world, &bare(None)).await.unwrap();
        assert_eq!(
            (fetched.label.as_str(), &fetched.contact_zone),
            ("alice", &None)
        );
        assert!(
            world
                .take_queries()
                .iter()
                .all(|name| !name.starts_with("dmp."))
        );
        ops::contacts_add_fetched(&bob.store, &fetched, NOW).unwrap();
        assert_eq!(bob.store.contacts().unwrap()[0].zone, None);
        let stated = fetch(&world, &bare(Some(alice.zone().clone())))
            .await
            .unwrap();
        assert_eq!(stated.contact_zone.as_ref(), Some(alice.zone()));
    });
}

#[test]
fn a_label_is_overwritten_only_on_request() {
    run(async {
        let world = World::new();
        let (alice, bob) = (
            world.person("alice", "alice.example"),
            world.person("bob", "bob.example"),
        );
        let key = alice.identity.agreement_public();
        let add = |taken| ops::contacts_add(&bob.store, "alice", key, None, taken, NOW);
        add(Taken::Keep).unwrap();
        assert!(matches!(add(Taken::Keep), Err(ContactError::Taken(_))));
        add(Taken::Replace).unwrap();
        bob.store
            .insert_contact(&NewContact::new("aaron"), NOW)
            .unwrap();
        let labels: Vec<_> = ops::contacts_list(&bob.store)
            .unwrap()
            .into_iter()
            .map(|contact| contact.card.label)
            .collect();
        assert_eq!(labels, ["aaron", "alice"]);
    });
}
