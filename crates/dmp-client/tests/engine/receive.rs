//! Receiving: once, in order, with what is missing or dead, within bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dmp_client::error::{StoreError, WriteError};
use dmp_client::mesh::Operation;
use dmp_client::ops::{
    self, Phases, Provider, ProviderConfig, ReceiveError, ReceiveRequest, SendRequest,
};
use dmp_client::store::{NewContact, OutboxItem};
use dmp_core::id::{MsgId, Slot};
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::owner::{chunk_owner, claim_owner, manifest_owner};
use dmp_core::record::{Claim, Manifest};

use crate::world::{NOW, Person, World, codes, run, texts};

/// Alice and Bob in their own zones, who know each other.
fn pair(world: &Arc<World>) -> (Person, Person) {
    let (alice, bob) = (
        world.person("alice", "alice.example"),
        world.person("bob", "bob.example"),
    );
    alice.pin(&bob);
    bob.pin(&alice);
    (alice, bob)
}

fn phases(phases: Phases) -> ReceiveRequest {
    ReceiveRequest {
        phases,
        ..ReceiveRequest::default()
    }
}

/// The last message that a person has sent.
fn sent(person: &Person) -> OutboxItem {
    person.store.outbox().unwrap().pop().unwrap().item
}

/// A chunk that is gone from the world for a while.
struct TakenChunk {
    owner: String,
    values: Vec<String>,
}

impl TakenChunk {
    fn put_back(&self, world: &World) {
        for value in &self.values {
            world.zone.publish(&self.owner, value, 86_400);
        }
    }
}

/// Removes a chunk from the world.
fn take_chunk(world: &World, item: &OutboxItem, index: u16) -> TakenChunk {
    let owner = chunk_owner(
        &item.msg_id,
        &item.recipient,
        &item.signer,
        index,
        &item.zone,
    )
    .into_string();
    let values = world.zone.query(&owner);
    assert!(world.zone.delete_name(&owner));
    TakenChunk { owner, values }
}

fn chunk_queries(world: &World) -> usize {
    world
        .take_queries()
        .iter()
        .filter(|name| name.starts_with("chunk-"))
        .count()
}

#[test]
fn a_message_arrives_once_also_in_a_new_process() {
    run(async {
        let world = World::new();
        let home = tempfile::tempdir().unwrap();
        let mut alice = world.person("alice", "alice.example");
        let bob = || {
            world.person_with(
                "bob",
                "bob.example",
                Identity::from_seed([5; 32]),
                Some(home.path().to_owned()),
            )
        };
        let first = bob();
        first.pin(&alice);
        alice.pin(&first);
        alice.send(&first, "once").await.unwrap();
        assert_eq!(texts(&first.receive().await), ["once"]);
        assert!(first.receive().await.inbox.is_empty());
        drop(first);
        let report = bob().receive().await;
        assert!(report.inbox.is_empty());
        assert!(codes(&report).contains("replay"));
    });
}

#[test]
fn a_message_that_was_stored_but_never_shown_is_shown_by_the_next_run() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        let interrupted = ops::receive(&bob.session(), &ReceiveRequest::default())
            .await
            .unwrap();
        assert_eq!(texts(&interrupted), ["hello"]);
        assert_eq!(texts(&bob.receive().await), ["hello"]);
        assert!(bob.receive().await.inbox.is_empty());
    });
}

#[test]
fn two_concurrent_runs_deliver_once() {
    run(async {
        let world = World::new();
        *world.latency.lock().unwrap() = Duration::from_millis(20);
        let home = tempfile::tempdir().unwrap();
        let mut alice = world.person("alice", "alice.example");
        let bob = || {
            world.person_with(
                "bob",
                "bob.example",
                Identity::from_seed([5; 32]),
                Some(home.path().to_owned()),
            )
        };
        let (one, two) = (bob(), bob());
        one.pin(&alice);
        alice.pin(&one);
        alice.send(&one, "once").await.unwrap();
        let (first, second) = futures_util::future::join(one.receive(), two.receive()).await;
        let mut all = texts(&first);
        all.extend(texts(&second));
        assert_eq!(all, ["once"]);
    });
}

#[test]
fn a_run_that_waits_too_long_for_another_names_the_holder() {
    run(async {
        let world = World::new();
        let home = tempfile::tempdir().unwrap();
        let bob = world.person_with(
            "bob",
            "bob.example",
            Identity::from_seed([5; 32]),
            Some(home.path().to_owned()),
        );
        let _held = bob.store.lock_receiving("dnsmesh recv").unwrap();
        let error = ops::receive(&bob.session(), &ReceiveRequest::default())
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            ReceiveError::Store(StoreError::Locked { .. })
        ));
        assert!(error.to_string().ends_with("(dnsmesh recv)"), "{error}");
    });
}

#[test]
fn messages_come_in_the_order_in_which_they_were_written() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let mut expected = Vec::new();
        for number in 0..12 {
            let text = format!("message {number}");
            alice.send(&bob, &text).await.unwrap();
            expected.push(text);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(texts(&bob.receive().await), expected);
    });
}

#[test]
fn only_as_many_chunks_are_fetched_as_are_needed() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let text = "x".repeat(400);
        alice.send(&bob, &text).await.unwrap();
        let (k, n) = (6, 8);
        assert_eq!(sent(&alice).chunks.len(), n);
        world.take_queries();
        assert_eq!(texts(&bob.receive().await), [text]);
        assert_eq!(chunk_queries(&world), k);
    });
}

#[test]
fn lost_chunks_up_to_the_parity_do_not_matter_and_one_more_is_only_a_delay() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let text = "x".repeat(400);
        alice.send(&bob, &text).await.unwrap();
        let item = sent(&alice);
        let taken = take_chunk(&world, &item, 0);
        take_chunk(&world, &item, 4);
        take_chunk(&world, &item, 7);
        world.take_queries();
        let report = bob.receive().await;
        assert!(report.inbox.is_empty());
        assert_eq!(report.waiting, 1);
        assert!(codes(&report).contains("incomplete"));
        assert!(chunk_queries(&world) <= 8);
        taken.put_back(&world);
        assert_eq!(texts(&bob.receive().await), [text]);
    });
}

#[test]
fn a_hopeless_message_is_given_up_before_every_chunk_was_asked_for() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, &"x".repeat(3_000)).await.unwrap();
        let item = sent(&alice);
        let n = item.chunks.len();
        for index in 0..n {
            take_chunk(&world, &item, index as u16);
        }
        world.take_queries();
        assert_eq!(bob.receive().await.waiting, 1);
        assert!(
            chunk_queries(&world) < n - 10,
            "n - k + 1 misses and what was in flight"
        );
    });
}

#[test]
fn an_unanswered_chunk_is_asked_for_once_more() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        let item = sent(&alice);
        take_chunk(&world, &item, 3);
        let flaky =
            chunk_owner(&item.msg_id, &item.recipient, &item.signer, 1, &item.zone).into_string();
        world.flaky.lock().unwrap().insert(flaky);
        assert_eq!(texts(&bob.receive().await), ["hello"]);
    });
}

#[test]
fn poison_beside_a_chunk_does_not_matter() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        let item = sent(&alice);
        for (index, value) in (0..).zip(&item.chunks) {
            let owner = chunk_owner(
                &item.msg_id,
                &item.recipient,
                &item.signer,
                index,
                &item.zone,
            );
            world.zone.delete_name(owner.as_str());
            let other = &item.chunks[(usize::from(index) + 1) % item.chunks.len()];
            for poison in ["junk", "v=dmp1;t=chunk;d=", "v=spf1 -all", other, value] {
                world.zone.publish(owner.as_str(), poison, 86_400);
            }
        }
        assert_eq!(texts(&bob.receive().await), ["hello"]);
    });
}

#[test]
fn several_messages_on_one_prekey_all_decrypt_before_it_is_consumed() {
    run(async {
        let world = World::new();
        let mut bob = world.person("bob", "bob.example");
        bob.refresh(1).await;
        let mut prekey = None;
        for name in ["alice", "carol", "dave"] {
            let mut sender = world.person(name, &format!("{name}.example"));
            sender.pin(&bob);
            bob.pin(&sender);
            let report = sender.send(&bob, name).await.unwrap();
            assert!(matches!(
                report.forward_secrecy,
                ops::ForwardSecrecy::Prekey { .. }
            ));
            prekey = sent(&sender).prekey();
        }
        let report = bob.receive().await;
        let mut received = texts(&report);
        received.sort();
        assert_eq!(received, ["alice", "carol", "dave"]);
        assert!(
            bob.store
                .prekey_secret(prekey.unwrap(), NOW)
                .unwrap()
                .is_none()
        );
        assert!(
            world
                .zone
                .query(bob.profile.prekey_owner().as_str())
                .is_empty(),
            "the published value is gone too"
        );
    });
}

#[test]
fn an_incomplete_message_of_a_contact_keeps_the_prekey_that_another_one_consumed() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        let mut carol = world.person("carol", "carol.example");
        bob.pin(&carol);
        carol.pin(&bob);
        bob.refresh(1).await;
        alice.send(&bob, "first").await.unwrap();
        carol.send(&bob, "second").await.unwrap();
        let item = sent(&carol);
        assert_eq!(item.prekey(), sent(&alice).prekey());
        let taken = [take_chunk(&world, &item, 0), take_chunk(&world, &item, 1)];
        assert_eq!(texts(&bob.receive().await), ["first"]);
        let prekey = item.prekey().unwrap();
        assert!(
            bob.store.prekey_secret(prekey, NOW).unwrap().is_some(),
            "carol's message still needs it"
        );
        assert_eq!(
            bob.store.live_prekeys(NOW).unwrap(),
            0,
            "but nobody new may use it"
        );
        for chunk in taken {
            chunk.put_back(&world);
        }
        assert_eq!(texts(&bob.receive().await), ["second"]);
        assert!(bob.store.prekey_secret(prekey, NOW).unwrap().is_none());
    });
}

#[test]
fn what_does_not_decrypt_consumes_nothing_and_costs_no_other_message() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        let mut carol = world.person("carol", "carol.example");
        bob.pin(&carol);
        carol.pin(&bob);
        carol.send(&bob, "unharmed").await.unwrap();
        bob.refresh(1).await;
        alice.send(&bob, "hello").await.unwrap();
        let item = sent(&alice);
        let prekey = item.prekey().unwrap();
        let real = Manifest::parse(&item.manifest, NOW).unwrap().into_inner();
        let slot = manifest_owner(&item.recipient, item.slot, &item.zone);
        // Its own words under another id, and under the long-term key instead of the prekey.
        let renamed = Manifest {
            msg_id: MsgId::from_bytes([3; 16]),
            ..real.clone()
        };
        let other_key = Manifest {
            prekey: None,
            ..real.clone()
        };
        for (index, value) in (0..).zip(&item.chunks) {
            let owner = chunk_owner(
                &renamed.msg_id,
                &item.recipient,
                &item.signer,
                index,
                &item.zone,
            );
            world.zone.publish(owner.as_str(), value, 300);
        }
        world.zone.delete_name(slot.as_str());
        for manifest in [&renamed, &other_key] {
            let value = manifest.sign(&alice.identity).unwrap();
            world.zone.publish(slot.as_str(), &value, 300);
        }
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["unharmed"]);
        let failed = report
            .dropped
            .iter()
            .filter(|dropped| dropped.code == "decrypt-failed")
            .count();
        assert_eq!(failed, 2);
        assert!(bob.store.prekey_secret(prekey, NOW).unwrap().is_some());
        assert_eq!(
            world.zone.query(bob.profile.prekey_owner().as_str()).len(),
            1
        );

        world.zone.publish(slot.as_str(), &item.manifest, 300);
        assert_eq!(texts(&bob.receive().await), ["hello"]);
        assert!(bob.store.prekey_secret(prekey, NOW).unwrap().is_none());
    });
}

#[test]
fn a_withdrawal_that_fails_is_repeated_and_absence_counts_as_done() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        bob.refresh(1).await;
        alice.send(&bob, "hello").await.unwrap();
        world.judge_writes(|operation| match operation {
            Operation::DeleteValue { .. } => Err(WriteError::ServerFailure("was absent".into())),
            _ => Ok(()),
        });
        assert_eq!(texts(&bob.receive().await), ["hello"]);
        assert_eq!(
            bob.store.withdrawals().unwrap().len(),
            1,
            "it is still visible"
        );
        world.zone.delete_name(bob.profile.prekey_owner().as_str());
        bob.receive().await;
        assert!(bob.store.withdrawals().unwrap().is_empty());
    });
}

#[test]
fn claims_in_the_own_zone_are_followed_on_every_run() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        assert_eq!(
            texts(&bob.receive_request(&phases(Phases::PrimaryOnly)).await),
            ["hello"]
        );

        // Also while nobody is pinned: a stranger's message is quarantined.
        let carol = world.person("carol", "carol.example");
        alice.pin(&carol);
        alice.send(&carol, "first contact").await.unwrap();
        let report = carol.receive().await;
        assert_eq!((report.inbox.len(), report.intros.len()), (0, 1));
        assert_eq!(carol.receive().await.intros.len(), 0, "once");
        assert_eq!(carol.store.intros().unwrap().len(), 1);
    });
}

#[test]
fn phases_look_where_they_say() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        let zone = Zone::parse("provider.example").unwrap();
        bob.profile.providers = ProviderConfig::Fixed(
            Provider::fixed("https://provider.example", Some(&zone)).unwrap(),
        );
        let asked = |kind: &str, zone: &str, queries: &[String]| {
            queries
                .iter()
                .filter(|name| name.starts_with(kind) && name.ends_with(zone))
                .count()
        };
        for (wanted, own_claims, slots) in [
            (Phases::All, 10, 10),
            (Phases::PrimaryOnly, 10, 0),
            (Phases::SkipPrimary, 0, 10),
            (Phases::PrimaryOncePinned, 10, 0),
        ] {
            world.take_queries();
            let report = bob.receive_request(&phases(wanted)).await;
            let queries = world.take_queries();
            assert_eq!(
                asked("claim-", ".bob.example", &queries),
                own_claims,
                "{wanted:?}"
            );
            assert_eq!(
                asked("slot-", ".alice.example", &queries),
                slots,
                "{wanted:?}"
            );
            assert_eq!(
                asked("slot-", ".bob.example", &queries),
                slots,
                "{wanted:?}"
            );
            assert_eq!(
                asked("claim-", ".provider.example", &queries),
                10,
                "providers always: {wanted:?}"
            );
            assert!(!report.walked_for_first_contact);
        }
        let lonely = world.person("carol", "carol.example");
        let report = lonely
            .receive_request(&phases(Phases::PrimaryOncePinned))
            .await;
        assert!(report.walked_for_first_contact);

        // A claim at a provider leads to the message.
        alice.profile.providers = bob.profile.providers.clone();
        world.kill("bob.example");
        alice.send(&bob, "via provider").await.unwrap();
        assert_eq!(
            texts(&bob.receive_request(&phases(Phases::PrimaryOnly)).await),
            ["via provider"]
        );
    });
}

#[test]
fn dead_zones_are_reported_and_do_not_hold_up_the_others() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        bob.pin(&world.person("carol", "carol.example"));
        alice.send(&bob, "hello").await.unwrap();
        world.kill("carol.example");
        let started = tokio::time::Instant::now();
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["hello"]);
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{:?}",
            started.elapsed()
        );
        let unreachable: Vec<_> = report
            .unreachable
            .iter()
            .map(|zone| (zone.zone.as_str(), zone.partly))
            .collect();
        assert_eq!(unreachable, [("carol.example", false)]);
        assert_eq!((report.answered.len(), report.is_cut_off()), (2, false));

        world.kill("example");
        let report = bob.receive().await;
        assert!(report.is_cut_off());
        assert_eq!(report.unreachable.len(), 3);
        assert!(!report.timed_out);
    });
}

#[test]
fn a_contacts_claim_that_leads_to_a_dead_zone_is_told() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let mut stranger = world.person("eve", "eve.example");
        stranger.pin(&bob);
        alice.send(&bob, "hello").await.unwrap();
        stranger.send(&bob, "hello").await.unwrap();
        world.kill("alice.example");
        world.kill("eve.example");
        let report = bob.receive_request(&phases(Phases::PrimaryOnly)).await;
        assert!(report.inbox.is_empty());
        assert!(codes(&report).contains("dns-query-failed"));
        let unreachable: Vec<_> = report
            .unreachable
            .iter()
            .map(|zone| zone.zone.as_str())
            .collect();
        assert_eq!(unreachable, ["alice.example"]);
    });
}

#[test]
fn the_deadline_ends_a_run_and_what_was_decrypted_is_delivered() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let mut slow = world.person("slow", "slow.example");
        slow.pin(&bob);
        bob.pin(&slow);
        alice.send(&bob, "fast").await.unwrap();
        slow.send(&bob, "slow").await.unwrap();
        for name in world
            .names("chunk-")
            .into_iter()
            .filter(|name| name.ends_with(".slow.example"))
        {
            world.kill(&name);
        }
        let request = ReceiveRequest {
            deadline: Duration::from_secs(4),
            ..ReceiveRequest::default()
        };
        let report = bob.receive_request(&request).await;
        assert_eq!(texts(&report), ["fast"]);
        assert!(report.timed_out);
        assert_eq!(report.waiting, 1);
        world.dead.lock().unwrap().clear();
        assert_eq!(texts(&bob.receive().await), ["slow"]);
    });
}

#[test]
fn three_zones_at_a_tenth_of_a_second_take_less_than_two() {
    run(async {
        let world = World::new();
        *world.latency.lock().unwrap() = Duration::from_millis(100);
        let bob = world.person("bob", "bob.example");
        for name in ["alice", "carol", "dave"] {
            let mut sender = world.person(name, &format!("{name}.example"));
            sender.pin(&bob);
            bob.pin(&sender);
            sender.send(&bob, name).await.unwrap();
        }
        let started = tokio::time::Instant::now();
        assert_eq!(bob.receive().await.inbox.len(), 3);
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
        assert!(world.most_in_flight.load(Ordering::Relaxed) <= 16);
    });
}

/// A claim for a message that need not exist.
fn claim(signer: &Identity, bob: &Person, number: u8, zone: &str) {
    let msg_id = MsgId::from_bytes([number; 16]);
    let claim = Claim {
        msg_id,
        sender: signer.signing_public(),
        mailbox_zone: Zone::parse(zone).unwrap(),
        slot: msg_id.slot(),
        ts: NOW,
        exp: NOW.saturating_add(300),
    };
    let owner = claim_owner(
        &bob.identity.user_id(),
        Slot::new(number % 10).unwrap(),
        bob.zone(),
    );
    bob.world
        .zone
        .publish(owner.as_str(), &claim.sign(signer).unwrap(), 300);
}

#[test]
fn claims_are_bounded_per_sender_and_per_run_and_strangers_have_a_query_budget() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        world.zone.delete_name(
            manifest_owner(&bob.identity.user_id(), sent(&alice).slot, bob.zone()).as_str(),
        );
        let loud = Identity::from_seed([60; 32]);
        for number in 0..30 {
            claim(&loud, &bob, number, &format!("loud{number}.example"));
        }
        for number in 0..100 {
            claim(
                &Identity::from_seed([100 + number; 32]),
                &bob,
                number,
                &format!("z{number}.example"),
            );
        }
        let report = bob.receive_request(&phases(Phases::PrimaryOnly)).await;
        assert_eq!(texts(&report), ["hello"], "a contact is not crowded out");
        let queries = world.take_queries();
        let slots = |zone: &str| {
            queries
                .iter()
                .filter(|name| name.starts_with("slot-") && name.contains(zone))
                .count()
        };
        assert!(slots(".loud") <= 16 * 10);
        assert!(
            slots(".loud") + slots(".z") <= 256,
            "the budget for unknown senders"
        );
        let left = report
            .dropped
            .iter()
            .filter(|dropped| dropped.code == "too-many-claims")
            .count();
        assert_eq!(left, 131 - 64);
    });
}

#[test]
fn a_squatter_with_the_same_message_id_does_not_hide_the_real_manifest() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        let item = sent(&alice);
        let squatter = Identity::from_seed([61; 32]);
        let real = Manifest::parse(&item.manifest, NOW).unwrap().into_inner();
        let fake = Manifest {
            sender: squatter.signing_public(),
            ..real
        };
        let owner = manifest_owner(&item.recipient, item.slot, &item.zone);
        world.zone.delete_name(owner.as_str());
        world
            .zone
            .publish(owner.as_str(), &fake.sign(&squatter).unwrap(), 300);
        world.zone.publish(owner.as_str(), &item.manifest, 300);
        assert_eq!(
            texts(&bob.receive_request(&phases(Phases::PrimaryOnly)).await),
            ["hello"]
        );
    });
}

#[test]
fn a_message_found_by_claim_and_slot_walk_is_delivered_once() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        let report = bob.receive().await;
        assert_eq!(texts(&report), ["hello"]);
        assert!(report.intros.is_empty());
    });
}

#[test]
fn a_pinned_key_in_the_own_zone_is_delivered_and_in_an_unpolled_one_quarantined_by_claim_then_moved()
 {
    run(async {
        let world = World::new();
        // Alice is known at alice.example, but her mail lies in mesh.example (client.md 6.4).
        let mut alice = world.person("alice", "mesh.example");
        let bob = world.person("bob", "bob.example");
        let mut card = NewContact::new("alice");
        card.signing = Some(alice.identity.signing_public());
        card.agreement = Some(alice.identity.agreement_public());
        card.zone = Some(Zone::parse("alice.example").unwrap());
        bob.store.insert_contact(&card, NOW).unwrap();
        alice.pin(&bob);
        alice.send(&bob, "from elsewhere").await.unwrap();
        let report = bob.receive().await;
        assert_eq!(report.intros.len(), 1);
        assert_eq!(report.intros[0].reason.code, "pinned-elsewhere");
        let (contact, message) = ops::intros_trust(
            &bob.store,
            &bob.profile,
            &bob.identity,
            report.intros[0].id,
            None,
            None,
            NOW,
        )
        .unwrap();
        assert_eq!(
            (contact.label.as_str(), message.body.as_slice()),
            ("alice", &b"from elsewhere"[..])
        );
        assert_eq!(
            contact.mailbox_zone.as_ref().map(Zone::as_str),
            Some("mesh.example")
        );
        assert_eq!(
            contact.agreement,
            Some(alice.identity.agreement_public()),
            "the key stays"
        );
        assert_eq!(texts(&bob.receive().await), ["from elsewhere"]);
        alice.send(&bob, "next").await.unwrap();
        assert_eq!(texts(&bob.receive().await), ["next"]);
    });
}

#[test]
fn an_expired_message_is_dropped_with_a_reason() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let address = bob.address();
        alice
            .send_request(&SendRequest {
                ttl: 300,
                ..SendRequest::new(&address, b"late")
            })
            .await
            .unwrap();
        let item = sent(&alice);
        let owner = manifest_owner(&item.recipient, item.slot, &item.zone);
        world.zone.publish(owner.as_str(), &item.manifest, 86_400);
        tokio::time::sleep(Duration::from_secs(301)).await;
        let report = bob.receive().await;
        assert!(report.inbox.is_empty());
        assert!(codes(&report).contains("manifest-expired"));
    });
}
