//! A message to oneself (product.md 5.1): the whole way, and nothing left of it.

use std::time::Duration;

use dmp_client::mesh::{Operation, Writer};
use dmp_client::ops::{SelfTestError, self_test};
use dmp_core::owner::prekey_owner;

use crate::world::{CountingRng, Person, World, refused, run, texts};

const PATIENCE: Duration = Duration::from_secs(90);

async fn test(person: &Person, seed: u64) -> Result<Duration, SelfTestError> {
    self_test(&person.session(), PATIENCE, &mut CountingRng(seed)).await
}

#[test]
fn it_comes_back_and_neither_inbox_nor_quarantine_nor_prekeys_know() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        let mut bob = world.person("bob", "beta.test");
        alice.publish(3).await;
        bob.publish(3).await;
        alice.meet(&bob).await;
        bob.meet(&alice).await;
        bob.send(&alice, "waits").await.unwrap();
        let prekeys = world
            .zone
            .query(prekey_owner("alice", alice.zone()).as_str());

        test(&alice, 1).await.unwrap();
        test(&alice, 2).await.unwrap();
        assert!(alice.store.outbox().unwrap().is_empty());
        assert!(alice.store.unshown_messages().unwrap().is_empty());
        assert_eq!(
            world
                .zone
                .query(prekey_owner("alice", alice.zone()).as_str()),
            prekeys,
            "nobody's one-time key was used up"
        );
        assert_eq!(
            world.claims.lock().unwrap().len(),
            1,
            "only the one for the message that waits"
        );
        let report = alice.receive().await;
        assert_eq!(texts(&report), ["waits"]);
        assert!(report.intros.is_empty());
        assert_eq!(alice.store.contacts().unwrap().len(), 1);
    });
}

/// Also if the test's own clearing up fails, a later run does not deliver it.
#[test]
fn what_is_left_of_it_in_the_zone_is_never_delivered() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        alice.publish(3).await;
        // She pinned herself, so her own messages would go to the inbox.
        let mut card = dmp_client::store::NewContact::new("me");
        card.agreement = Some(alice.identity.agreement_public());
        card.signing = Some(alice.identity.signing_public());
        alice.store.insert_contact(&card, alice.now()).unwrap();
        world.judge_writes(|operation| match operation {
            Operation::Add { .. } => Ok(()),
            _ => Err(refused()),
        });
        test(&alice, 1).await.unwrap();
        assert!(
            !world.names("slot-").is_empty(),
            "the manifest could not be removed"
        );
        assert!(alice.receive().await.inbox.is_empty());
    });
}

#[test]
fn it_waits_for_resolvers_that_are_late_and_gives_up_in_the_end() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        alice.publish(3).await;
        // What is written goes elsewhere than what is read: as through a resolver that remembers a denial.
        world.kill("alpha.test");
        match test(&alice, 1).await {
            Err(SelfTestError::NotSeen {
                waited,
                unreachable,
            }) => {
                assert!(waited >= PATIENCE, "{waited:?}");
                assert!(!unreachable.is_empty());
            }
            other => panic!("{other:?}"),
        }
        world.revive("alpha.test");
        test(&alice, 2).await.unwrap();
    });
}

#[test]
fn a_node_that_takes_nothing_is_told() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        alice.publish(3).await;
        world.judge_writes(|_| Err(refused()));
        assert!(matches!(test(&alice, 1).await, Err(SelfTestError::Send(_))));
        world.judge_writes(|_| Ok(()));
        // Nothing of the refused one is in the way.
        world.apply(&[]).await.into_result().unwrap();
        test(&alice, 2).await.unwrap();
    });
}
