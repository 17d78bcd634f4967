//! The pool of own prekeys: filled, shown again, never with a key that cannot be opened.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::Operation;
use dmp_client::ops::{self, RefreshRequest};
use dmp_core::record::PrekeyRecord;

use crate::world::{CountingRng, NOW, Person, World, refused, run};

fn visible(person: &Person) -> Vec<PrekeyRecord> {
    let values = person
        .world
        .zone
        .query(person.profile.prekey_owner().as_str());
    let signer = person.identity.signing_public();
    values
        .iter()
        .map(|value| {
            PrekeyRecord::parse(value, &signer, person.now())
                .unwrap()
                .into_inner()
        })
        .collect()
}

fn all_openable(person: &Person) {
    for record in visible(person) {
        let secret = person
            .store
            .prekey_secret(record.id, person.now())
            .unwrap()
            .expect("its private half is here");
        assert_eq!(secret.public(), record.public);
    }
}

#[test]
fn a_pool_lives_a_week_and_its_values_a_day() {
    run(async {
        let world = World::new();
        let mut bob = world.person("bob", "bob.example");
        let report = bob.refresh(25).await;
        assert_eq!(
            (report.published, report.fresh, report.live, report.wanted),
            (25, 25, 25, 25)
        );
        assert_eq!(report.failure, None);
        for operation in world.take_written() {
            let Operation::Add { ttl, .. } = operation else {
                panic!()
            };
            assert_eq!(ttl, 86_400);
        }
        assert!(
            visible(&bob)
                .iter()
                .all(|record| record.exp == NOW.saturating_add(7 * 86_400))
        );
        all_openable(&bob);
    });
}

#[test]
fn a_daily_refresh_shows_the_same_prekeys_again_and_replaces_the_used_and_the_old() {
    run(async {
        let world = World::new();
        let mut bob = world.person("bob", "bob.example");
        let mut alice = world.person("alice", "alice.example");
        alice.pin(&bob);
        bob.pin(&alice);
        bob.refresh(5).await;
        let first = visible(&bob);
        alice.send(&bob, "x").await.unwrap();
        bob.receive().await;
        tokio::time::sleep(Duration::from_secs(86_401)).await;
        assert!(visible(&bob).is_empty(), "the node keeps values for a day");
        let report = bob.refresh(5).await;
        assert_eq!((report.published, report.fresh, report.live), (5, 1, 5));
        let again = visible(&bob)
            .into_iter()
            .filter(|record| first.contains(record))
            .count();
        assert_eq!(again, 4);

        // On the sixth day they no longer outlive a message of the default lifetime.
        tokio::time::sleep(Duration::from_secs(5 * 86_400)).await;
        let report = bob.refresh(5).await;
        assert_eq!((report.published, report.fresh), (5, 4));
        all_openable(&bob);
    });
}

#[test]
fn a_lifetime_from_the_user_is_used() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let request = RefreshRequest {
            count: 2,
            lifetime: Some(600),
        };
        ops::refresh_prekeys(&bob.session(), &request, &mut CountingRng(1))
            .await
            .unwrap();
        assert!(
            visible(&bob)
                .iter()
                .all(|record| record.exp == NOW.saturating_add(600))
        );
    });
}

#[test]
fn a_full_name_takes_what_fits_and_the_rest_leaves_no_private_half() {
    for request_size in [1, 4, usize::MAX] {
        run(async {
            let world = World::new();
            world.request_size.store(request_size, Ordering::Relaxed);
            world.values_per_name.store(7, Ordering::Relaxed);
            let mut bob = world.person("bob", "bob.example");
            let report = bob.refresh(12).await;
            assert_eq!((report.published, report.live), (7, 7));
            assert_eq!(report.failure, Some(refused()));
            assert_eq!(visible(&bob).len(), 7);
            all_openable(&bob);
        });
    }
}

#[test]
fn a_lower_cap_of_the_node_is_respected() {
    run(async {
        let world = World::new();
        let mut bob = world.person("bob", "bob.example");
        world.judge_writes(|operation| match operation {
            Operation::Add { ttl, .. } if *ttl > 3_600 => Err(WriteError::Refused {
                reason: "ttl exceeds cap of 3600s".into(),
                ttl_cap: Some(3_600),
            }),
            _ => Ok(()),
        });
        assert_eq!(bob.refresh(3).await.published, 3);
    });
}

#[test]
fn an_answer_that_got_lost_keeps_the_private_half_because_senders_may_see_the_prekey() {
    run(async {
        let world = World::new();
        let mut bob = world.person("bob", "bob.example");
        world.judge_writes(|_| Err(WriteError::Unreachable("no answer".into())));
        let report = bob.refresh(2).await;
        assert_eq!((report.published, report.live), (0, 2));
        assert!(matches!(report.failure, Some(WriteError::Unreachable(_))));
        world.judge_writes(|_| Ok(()));
        let report = bob.refresh(2).await;
        assert_eq!(
            (report.published, report.fresh),
            (2, 0),
            "the same ones are shown"
        );
        all_openable(&bob);
    });
}

#[test]
fn a_refresh_withdraws_own_prekeys_whose_private_halves_are_not_here() {
    run(async {
        let world = World::new();
        let mut lost = world.person("bob", "bob.example");
        lost.refresh(3).await;
        let theirs = visible(&lost);
        // The same keys with an empty store, as after a restore from a recovery sheet; and somebody else's value at that name.
        let mut bob = world.person("bob", "bob.example");
        let mut namesake = world.person_with(
            "bob",
            "bob.example",
            dmp_core::keys::Identity::from_seed([9; 32]),
            None,
        );
        namesake.refresh(1).await;
        bob.rng.0 ^= 1;
        let report = bob.refresh(2).await;
        assert_eq!((report.published, report.live), (2, 2));
        let values = world.zone.query(bob.profile.prekey_owner().as_str());
        let of = |person: &Person| -> Vec<PrekeyRecord> {
            let signer = person.identity.signing_public();
            let parsed = values
                .iter()
                .filter_map(|value| PrekeyRecord::parse(value, &signer, NOW).ok());
            parsed.map(|record| record.into_inner()).collect()
        };
        assert_eq!((of(&bob).len(), of(&namesake).len()), (2, 1));
        for record in of(&bob) {
            assert!(!theirs.contains(&record));
            assert!(bob.store.prekey_secret(record.id, NOW).unwrap().is_some());
        }
    });
}
