//! Receiving within bounds: what one sender, one message or one dead server may cost, and what is left behind.

use std::sync::Arc;
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::limits::{
    CHUNKS_ASKED_AGAIN, CLEARED_ONE_BY_ONE, QUARANTINE_MESSAGE_BYTES, QUARANTINE_ROWS_PER_SENDER,
    QUERIES_PER_SENDER, SENDER_READ_BACK, STRANGER_QUERIES_PER_SENDER,
};
use dmp_client::mesh::Operation;
use dmp_client::ops::{Phases, ReceiveRequest, Strangers};
use dmp_client::store::OutboxItem;
use dmp_core::erasure::CodePlan;
use dmp_core::id::MsgId;
use dmp_core::owner::{chunk_owner, claim_owner, manifest_owner};
use dmp_core::record::{Claim, Manifest};
use dmp_core::seal::{SealRequest, Wire, seal};

use crate::world::{NOW, Person, World, codes, refused, run, texts};

fn known(world: &Arc<World>, bob: &Person, name: &str) -> Person {
    let person = world.person(name, &format!("{name}.example"));
    person.pin(bob);
    bob.pin(&person);
    person
}

fn sent(person: &Person) -> OutboxItem {
    person.store.outbox().unwrap().pop().unwrap().item
}

/// Takes every chunk of a message out of the world.
fn lose_chunks(world: &World, item: &OutboxItem) {
    for index in 0..item.chunks.len() {
        let owner = chunk_owner(
            &item.msg_id,
            &item.recipient,
            &item.signer,
            index as u16,
            &item.zone,
        );
        assert!(world.zone.delete_name(owner.as_str()));
    }
}

/// Publishes the manifest of a long message whose chunks are nowhere.
fn announce_nothing(sender: &Person, number: u8) {
    let item = sent(sender);
    let real = Manifest::parse(&item.manifest, NOW).unwrap().into_inner();
    let manifest = Manifest {
        msg_id: MsgId::from_bytes([number; 16]),
        plan: CodePlan::new(196, 255).unwrap(),
        chunk_hashes: vec![[number; 32]; 255],
        ..real
    };
    let owner = manifest_owner(&item.recipient, item.slot, &item.zone);
    let value = manifest.sign(&sender.identity).unwrap();
    sender.world.zone.publish(owner.as_str(), &value, 3_600);
}

/// Publishes and claims a message that a node with default caps would refuse.
fn publish_long(sender: &mut Person, recipient: &Person, text: &str) {
    let request = SealRequest {
        sender: &sender.identity,
        recipient: &recipient.identity.agreement_public(),
        prekey: None,
        body: text.as_bytes(),
        from: None,
        msg_id: MsgId::from_bytes([7; 16]),
        now: NOW,
        ttl: 3_600,
        wire: Wire::Current,
    };
    let sealed = seal(&request, usize::from(u16::MAX), &mut sender.rng).unwrap();
    let zone = &sender.world.zone;
    for (index, chunk) in (0..).zip(&sealed.chunks) {
        let owner = chunk_owner(
            &sealed.msg_id,
            &sealed.recipient,
            &sealed.sender,
            index,
            sender.zone(),
        );
        zone.publish(owner.as_str(), chunk, 3_600);
    }
    let owner = manifest_owner(&sealed.recipient, sealed.slot, sender.zone());
    zone.publish(owner.as_str(), &sealed.manifest, 3_600);
    let claim = Claim {
        msg_id: sealed.msg_id,
        sender: sealed.sender,
        mailbox_zone: sender.zone().clone(),
        slot: sealed.slot,
        ts: NOW,
        exp: NOW.saturating_add(3_600),
    };
    let owner = claim_owner(&sealed.recipient, sealed.slot, recipient.zone());
    zone.publish(
        owner.as_str(),
        &claim.sign(&sender.identity).unwrap(),
        3_600,
    );
}

fn asked(world: &World, start: &str, end: &str) -> usize {
    let queries = world.take_queries();
    queries
        .iter()
        .filter(|name| name.starts_with(start) && name.ends_with(end))
        .count()
}

#[test]
fn a_message_costs_at_most_its_chunks_and_a_small_constant() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut alice = known(&world, &bob, "alice");
        alice.send(&bob, &"x".repeat(2_000)).await.unwrap();
        let chunks = sent(&alice).chunks.len();
        for name in world.names("chunk-") {
            world.flaky.lock().unwrap().insert(name);
        }
        world.take_queries();
        bob.receive().await;
        let queries = asked(&world, "chunk-", ".alice.example");
        assert!(queries > chunks, "some were asked for again");
        assert!(queries <= chunks + CHUNKS_ASKED_AGAIN);
    });
}

#[test]
fn a_contact_who_floods_spends_an_own_budget_and_holds_up_nobody() {
    run(async {
        let world = World::new();
        *world.latency.lock().unwrap() = Duration::from_millis(20);
        let bob = world.person("bob", "bob.example");
        let mut loud = known(&world, &bob, "loud");
        let mut carol = known(&world, &bob, "carol");
        // Each is given up when sixty chunks are missing.
        loud.send(&bob, "first").await.unwrap();
        for number in 0..(QUERIES_PER_SENDER / 60 + 4) as u8 {
            announce_nothing(&loud, number);
        }
        carol.send(&bob, "hello").await.unwrap();
        world.take_queries();
        let started = tokio::time::Instant::now();
        let request = ReceiveRequest {
            deadline: Duration::from_secs(4),
            ..ReceiveRequest::default()
        };
        let report = bob.receive_request(&request).await;
        assert!(texts(&report).contains(&"hello".to_owned()));
        assert!(codes(&report).contains("incomplete"));
        assert!(codes(&report).contains("too-many-queries"));
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(asked(&world, "chunk-", ".loud.example") <= QUERIES_PER_SENDER);
    });
}

#[test]
fn one_stranger_cannot_spend_what_is_meant_for_all() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut loud = world.person("loud", "loud.example");
        let mut shy = world.person("shy", "shy.example");
        for stranger in [&loud, &shy] {
            stranger.pin(&bob);
        }
        for _ in 0..8 {
            loud.send(&bob, &"x".repeat(2_000)).await.unwrap();
            lose_chunks(&world, &sent(&loud));
        }
        shy.send(&bob, "excuse me").await.unwrap();
        world.take_queries();
        let report = bob.receive().await;
        assert_eq!(report.intros.len(), 1);
        assert_eq!(report.intros[0].body, b"excuse me");
        assert!(asked(&world, "", ".loud.example") <= STRANGER_QUERIES_PER_SENDER);
    });
}

#[test]
fn no_chunk_is_fetched_of_a_strangers_message_that_is_too_long_to_wait() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut alice = world.person("alice", "alice.example");
        alice.pin(&bob);
        let text = "x".repeat(QUARANTINE_MESSAGE_BYTES);
        publish_long(&mut alice, &bob, &text);
        let report = bob.receive().await;
        assert!(report.intros.is_empty());
        assert!(
            codes(&report).contains("intro-too-large"),
            "{:?}",
            report.dropped
        );
        assert_eq!(asked(&world, "chunk-", ""), 0);

        bob.pin(&alice);
        assert_eq!(texts(&bob.receive().await), [text], "a contact's arrives");
    });
}

#[test]
fn claims_of_strangers_can_be_ignored_altogether() {
    run(async {
        let world = World::new();
        let mut bob = world.person("bob", "bob.example");
        bob.profile.strangers = Strangers::Ignore;
        let mut alice = known(&world, &bob, "alice");
        let mut stranger = world.person("eve", "eve.example");
        stranger.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        stranger.send(&bob, "buy").await.unwrap();
        world.take_queries();
        let request = ReceiveRequest {
            phases: Phases::PrimaryOnly,
            ..ReceiveRequest::default()
        };
        let report = bob.receive_request(&request).await;
        assert_eq!(texts(&report), ["hello"]);
        assert!(report.intros.is_empty());
        assert!(codes(&report).contains("stranger-ignored"));
        assert_eq!(asked(&world, "", ".eve.example"), 0, "nobody is told");
    });
}

#[test]
fn what_strangers_lost_for_want_of_room_is_reported() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut loud = world.person("loud", "loud.example");
        loud.pin(&bob);
        let mut given_up = 0;
        for _ in 0..QUARANTINE_ROWS_PER_SENDER + 2 {
            loud.send(&bob, "hello").await.unwrap();
            let report = bob.receive().await;
            given_up += report.given_up;
            assert_eq!(
                report.given_up == 1,
                codes(&report).contains("quarantine-full")
            );
        }
        assert_eq!(given_up, 2);
        assert_eq!(
            bob.store.intros().unwrap().len(),
            QUARANTINE_ROWS_PER_SENDER
        );
    });
}

#[test]
fn claims_in_the_own_zone_go_once_their_message_is_delivered() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut alice = known(&world, &bob, "alice");
        let mut eve = world.person("eve", "eve.example");
        eve.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        eve.send(&bob, "psst").await.unwrap();
        assert_eq!(world.names("claim-").len(), 2);
        world.take_written();
        bob.receive().await;
        let claims: Vec<_> = world
            .names("claim-")
            .iter()
            .flat_map(|name| world.zone.query(name))
            .collect();
        assert_eq!(
            claims.len(),
            1,
            "the waiting one's stays until it is decided"
        );
        let slots = world.names("slot-");
        assert_eq!(slots.len(), 2, "other people's zones are theirs to tidy");
        assert!(
            world
                .take_written()
                .iter()
                .all(|operation| matches!(operation, Operation::DeleteValue { .. })),
            "exact values, never a whole name"
        );
    });
}

#[test]
fn manifests_in_the_own_zone_go_once_their_sender_has_had_time_to_read_them_back() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut alice = world.person("alice", "bob.example");
        alice.pin(&bob);
        bob.pin(&alice);
        alice.send(&bob, "hello").await.unwrap();
        let item = sent(&alice);
        let slot = manifest_owner(&item.recipient, item.slot, &item.zone);
        world.zone.publish(slot.as_str(), "something else", 86_400);
        assert_eq!(texts(&bob.receive().await), ["hello"]);
        assert_eq!(world.zone.query(slot.as_str()).len(), 2);
        tokio::time::sleep(Duration::from_secs(SENDER_READ_BACK + 1)).await;
        assert!(bob.receive().await.inbox.is_empty());
        assert_eq!(world.zone.query(slot.as_str()), ["something else"]);
        world.take_written();
        bob.receive().await;
        assert!(world.take_written().is_empty(), "and once is enough");
    });
}

#[test]
fn a_writer_that_needs_a_request_for_each_clears_a_few_at_a_time() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut alice = known(&world, &bob, "alice");
        let many = CLEARED_ONE_BY_ONE + 2;
        for _ in 0..many {
            alice.send(&bob, "hello").await.unwrap();
        }
        *world.singly.lock().unwrap() = Some(Duration::from_millis(1));
        let report = bob.receive().await;
        assert_eq!(
            (report.inbox.len(), report.finished.len()),
            (many, CLEARED_ONE_BY_ONE)
        );
        assert_eq!(bob.receive().await.finished.len(), 2, "the rest comes next");
        assert!(world.names("claim-").is_empty());
    });
}

#[test]
fn a_node_that_lets_nothing_be_deleted_is_no_failure() {
    run(async {
        let world = World::new();
        let bob = world.person("bob", "bob.example");
        let mut alice = known(&world, &bob, "alice");
        alice.send(&bob, "hello").await.unwrap();
        world.judge_writes(|_| Err(refused()));
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["hello"]);
        assert_eq!(report.finished.len(), 1);
        world.judge_writes(|_| Err(WriteError::Unreachable("gone".into())));
        assert!(bob.receive().await.inbox.is_empty());
        world.judge_writes(|_| Ok(()));
        bob.receive().await;
        assert!(world.names("claim-").is_empty(), "a later run does it");
    });
}

#[test]
fn a_dead_node_among_three_contacts_costs_less_than_fifteen_seconds() {
    run(async {
        for dead in ["carol.example", "bob.example"] {
            let world = World::new();
            *world.latency.lock().unwrap() = Duration::from_millis(100);
            let bob = world.person("bob", "bob.example");
            for name in ["alice", "carol", "dave"] {
                known(&world, &bob, name).send(&bob, name).await.unwrap();
            }
            world.kill(dead);
            let started = tokio::time::Instant::now();
            let report = bob.receive().await;
            assert!(
                started.elapsed() < Duration::from_secs(15),
                "{:?}",
                started.elapsed()
            );
            let expected = if dead == "bob.example" { 3 } else { 2 };
            assert_eq!(report.inbox.len(), expected);
            assert_eq!(report.unreachable.len(), 1);
            assert_eq!(report.unreachable[0].zone.as_str(), dead);
            assert!(!report.is_cut_off() && !report.timed_out);
        }
    });
}
