//! What is published again unasked: only what was published, only when it is due, never for long.

use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::Operation;
use dmp_client::ops::{
    self, RotateRequest, RotationReason, Upkeep, UpkeepFailure, identity_rotate,
};
use dmp_core::keys::Identity;
use dmp_core::record::Versions;

use crate::world::{NOW, Person, World, run};

const HOUR: u64 = 3_600;

async fn maintain(person: &mut Person) -> Option<Upkeep> {
    let mut rng = crate::world::CountingRng(person.rng.0);
    let done = ops::maintain(&person.session(), &mut rng).await.unwrap();
    person.rng = rng;
    done
}

async fn hours(count: u64) {
    tokio::time::sleep(Duration::from_secs(count * HOUR)).await;
}

#[test]
fn who_never_published_anything_publishes_nothing() {
    run(async {
        let world = World::new();
        let mut bob = world.person("bob", "bob.example");
        for _ in 0..3 {
            assert!(maintain(&mut bob).await.is_none());
            hours(24).await;
        }
        assert!(world.take_written().is_empty());
    });
}

#[test]
fn identity_prekeys_and_rotation_stay_visible_for_whoever_runs_it_daily_but_half() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        alice.publish(4).await;
        let request = RotateRequest {
            ttl: 86_400,
            lifetime: 100 * 86_400,
            reason: RotationReason::Compromise,
            versions: Versions::new([1, 2]).unwrap(),
            milliseconds: 1,
        };
        let new = Identity::from_seed([7; 32]);
        let rotated = identity_rotate(&alice.session(), &new, &request)
            .await
            .unwrap();
        let mut alice = Person {
            identity: new,
            ..alice
        };
        alice.refresh(4).await;
        let identity = world.zone.query(alice.profile.identity_owner().as_str());
        for _ in 0..6 {
            hours(1).await;
            assert!(maintain(&mut alice).await.is_none(), "not due yet");
            hours(12).await;
            let done = maintain(&mut alice).await.unwrap();
            assert!(done.failure.is_none());
            assert_eq!(done.records, 3, "rotation, revocation, identity");
            assert_eq!(done.prekeys.unwrap().published, 4);
        }
        let names = [
            alice.profile.identity_owner(),
            alice.profile.prekey_owner(),
            rotated.owner,
        ];
        let counts = names.map(|name| world.zone.query(name.as_str()).len());
        assert_eq!(counts, [1, 4, 2]);
        assert_eq!(
            world.zone.query(alice.profile.identity_owner().as_str()),
            identity,
            "the same record, not a new one"
        );
    });
}

#[test]
fn an_unpublished_identity_stays_unpublished() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        alice.publish(2).await;
        ops::identity_unpublish(&alice.session()).await.unwrap();
        hours(13).await;
        let done = maintain(&mut alice).await.unwrap();
        assert_eq!(done.records, 0);
        assert!(
            world
                .zone
                .query(alice.profile.identity_owner().as_str())
                .is_empty()
        );
    });
}

#[test]
fn a_pool_below_half_is_filled_up_at_once_and_one_above_is_left_alone() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "bob.example");
        bob.publish(4).await;
        alice.meet(&bob).await;
        bob.pin(&alice);
        for (round, due) in [(1, false), (2, false), (3, true)] {
            alice.send(&bob, &format!("{round}")).await.unwrap();
            bob.receive().await;
            let done = maintain(&mut bob).await;
            assert_eq!(done.is_some(), due, "{} used", round);
        }
        let stock = ops::prekeys_stock(&bob.store, &bob.identity, bob.now()).unwrap();
        assert_eq!((stock.live, stock.target), (4, 4));
        assert!(!stock.is_low());
    });
}

#[test]
fn a_node_that_does_not_answer_is_told_once_and_not_asked_at_every_turn() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        alice.publish(2).await;
        hours(13).await;
        world.judge_writes(|_| Err(WriteError::Unreachable("no answer".to_owned())));
        let failed = maintain(&mut alice).await.unwrap();
        assert!(matches!(failed.failure, Some(UpkeepFailure::Write(_))));
        assert!(maintain(&mut alice).await.is_none(), "it rests");
        world.judge_writes(|_| Ok(()));
        tokio::time::sleep(Duration::from_secs(301)).await;
        let done = maintain(&mut alice).await.unwrap();
        assert!(done.failure.is_none());
        assert!(maintain(&mut alice).await.is_none());
        assert!(
            !world
                .zone
                .query(alice.profile.prekey_owner().as_str())
                .is_empty()
        );
    });
}

#[test]
fn expired_rotations_are_not_shown_again() {
    run(async {
        let world = World::new();
        let alice = world.person("alice", "alice.example");
        let request = RotateRequest {
            ttl: 86_400,
            lifetime: HOUR,
            reason: RotationReason::Routine,
            versions: Versions::default(),
            milliseconds: NOW.as_secs() * 1_000,
        };
        let new = Identity::from_seed([7; 32]);
        identity_rotate(&alice.session(), &new, &request)
            .await
            .unwrap();
        let mut alice = Person {
            identity: new,
            ..alice
        };
        hours(13).await;
        world.take_written();
        let done = maintain(&mut alice).await.unwrap();
        assert_eq!(done.records, 1);
        let written = world.take_written();
        assert!(
            matches!(&written[..], [Operation::Add { owner, .. }] if *owner == alice.profile.identity_owner())
        );
    });
}
