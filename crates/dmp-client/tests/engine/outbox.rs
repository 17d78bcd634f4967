//! The life of a message in the outbox (D20, D21): interruptions, back-off, renewal, notices, leases, cancelling.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::Operation;
use dmp_client::ops::outbox::{
    self, AdvanceReport, AdvanceRequest, CancelError, Cancelled, Deletion, Milestone, Selection,
};
use dmp_client::ops::{ForwardSecrecyPolicy, Provider, ProviderConfig, SendError, SendRequest};
use dmp_client::store::{OutboxEntry, OutboxState, Store};
use dmp_core::name::Zone;

use crate::world::{CountingRng, NOW, Person, World, refused, run, texts};

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

fn unreachable() -> WriteError {
    WriteError::Unreachable("no route".into())
}

fn only(person: &Person) -> OutboxEntry {
    let mut entries = person.store.outbox().unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

async fn advance(person: &Person) -> AdvanceReport {
    select(person, Selection::Due).await
}

async fn select(person: &Person, selection: Selection) -> AdvanceReport {
    let request = AdvanceRequest {
        selection,
        ..AdvanceRequest::default()
    };
    outbox::advance(&person.session(), &request).await.unwrap()
}

/// Lets the time of the next attempt come.
async fn wait_until_due(person: &Person) {
    let due = person.store.next_outbox_due().unwrap().unwrap();
    let seconds = due.saturating_sub(person.now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn values(operations: &[Operation]) -> Vec<(String, String)> {
    operations
        .iter()
        .map(|operation| match operation {
            Operation::Add { owner, value, .. } => (owner.to_string(), value.clone()),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_node_that_is_away_delays_a_message_and_it_arrives_once_with_the_recorded_bytes() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|_| Err(unreachable()));
        let error = alice.send(&bob, "hello").await.unwrap_err();
        let SendError::Publish { outbox, again, .. } = error else {
            panic!("{error}")
        };
        let recorded = only(&alice);
        assert_eq!((recorded.id, recorded.due), (outbox, again));
        assert!(
            advance(&alice).await.entries.is_empty(),
            "not before its time"
        );
        let mut waits = Vec::new();
        for _ in 0..4 {
            let before = alice.now();
            wait_until_due(&alice).await;
            waits.push(alice.now().saturating_sub(before));
            let report = advance(&alice).await;
            assert_eq!(report.entries[0].entry.state, OutboxState::Queued);
        }
        for (wait, full) in waits.iter().zip([30, 60, 120, 240]) {
            assert!((full / 2..=full).contains(wait), "{waits:?}");
        }
        world.judge_writes(|_| Ok(()));
        wait_until_due(&alice).await;
        let report = advance(&alice).await;
        assert_eq!(report.entries[0].entry.state, OutboxState::Announced);
        let entry = only(&alice);
        assert_eq!(
            (entry.due, entry.attempts, &entry.item),
            (None, 6, &recorded.item)
        );
        assert_eq!(texts(&bob.receive().await), ["hello"]);
        assert!(bob.receive().await.inbox.is_empty());
    });
}

#[test]
fn a_send_that_is_cut_off_at_any_request_is_finished_later_and_arrives_once() {
    for cut in 0..6 {
        run(async {
            let world = World::new();
            let (mut alice, bob) = pair(&world);
            world.request_size.store(1, Ordering::Relaxed);
            let seen = Arc::new(AtomicUsize::new(0));
            let stopped = Arc::new(tokio::sync::Notify::new());
            let (count, stop) = (Arc::clone(&seen), Arc::clone(&stopped));
            world.judge_writes(move |_| {
                if count.fetch_add(1, Ordering::Relaxed) == cut {
                    stop.notify_one();
                    return Err(unreachable());
                }
                Ok(())
            });
            // The process ends at this request: its future is dropped with the request unanswered.
            {
                *world.latency.lock().unwrap() = Duration::from_secs(1);
                let address = bob.address();
                let request = SendRequest::new(&address, b"hello");
                tokio::select! {
                    biased;
                    () = stopped.notified() => {}
                    _ = alice.send_request(&request) => {}
                }
            }
            *world.latency.lock().unwrap() = Duration::ZERO;
            world.judge_writes(|_| Ok(()));
            let before = only(&alice);
            tokio::time::sleep(Duration::from_secs(60)).await;
            advance(&alice).await;
            let after = only(&alice);
            assert_eq!(after.item, before.item);
            assert_eq!(after.state, OutboxState::Announced, "cut at {cut}");
            assert_eq!(texts(&bob.receive().await), ["hello"]);
            assert!(bob.receive().await.inbox.is_empty(), "cut at {cut}");
        });
    }
}

#[test]
fn an_entry_that_a_killed_process_left_behind_is_finished_by_the_next() {
    run(async {
        let world = World::new();
        let dir = tempfile::tempdir().unwrap();
        let bob = world.person("bob", "bob.example");
        let identity = || dmp_core::keys::Identity::from_seed([4; 32]);
        let mut alice = world.person_with(
            "alice",
            "alice.example",
            identity(),
            Some(dir.path().to_owned()),
        );
        alice.pin(&bob);
        bob.pin(&alice);
        world.judge_writes(|_| Err(unreachable()));
        alice.send(&bob, "hello").await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(60)).await;
        // A lease that nobody ended, as a process leaves it that was killed while it worked.
        let id = only(&alice).id;
        let leased = alice.store.lease_outbox(id, alice.now()).unwrap();
        assert!(matches!(leased, dmp_client::store::Leasing::Granted(_)));
        world.judge_writes(|_| Ok(()));
        alice.store = Store::open(dir.path(), &identity(), alice.now()).unwrap();
        let report = advance(&alice).await;
        assert_eq!(
            (report.entries.len(), report.busy),
            (0, vec![(id, std::process::id())]),
            "this process lives, so the lease counts"
        );
        tokio::time::sleep(Duration::from_secs(121)).await;
        assert_eq!(advance(&alice).await.entries.len(), 1);
        assert_eq!(texts(&bob.receive().await), ["hello"]);
    });
}

#[test]
fn two_processes_never_work_on_one_entry() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|_| Err(unreachable()));
        alice.send(&bob, "hello").await.unwrap_err();
        world.judge_writes(|_| Ok(()));
        *world.latency.lock().unwrap() = Duration::from_secs(1);
        tokio::time::sleep(Duration::from_secs(60)).await;
        world.take_written();
        let (one, other) = tokio::join!(advance(&alice), advance(&alice));
        assert_eq!(one.entries.len() + other.entries.len(), 1);
        assert_eq!(one.busy.len() + other.busy.len(), 1);
        assert_eq!(world.take_written().len(), 5, "published once");
    });
}

#[test]
fn values_are_published_again_at_half_of_their_life_with_a_new_claim_and_arrive_once() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        bob.refresh(1).await;
        world.take_written();
        let address = bob.address();
        let request = SendRequest {
            ttl: 3 * 86_400,
            ..SendRequest::new(&address, b"three days")
        };
        alice.send_request(&request).await.unwrap();
        let first = values(&world.take_written());
        assert_eq!(only(&alice).due, Some(NOW.saturating_add(43_200)));
        let mut renewals = 0;
        while only(&alice).due.is_some() {
            wait_until_due(&alice).await;
            let report = advance(&alice).await;
            assert_eq!(report.entries[0].entry.state, OutboxState::Announced);
            assert_eq!(values(&world.take_written()), first, "the same bytes");
            renewals += 1;
        }
        assert_eq!(renewals, 4, "every twelve hours until the rest is covered");
        let claims = world.claims.lock().unwrap().len();
        assert_eq!(claims, 5, "each publication is announced");
        tokio::time::sleep(Duration::from_secs(43_000)).await;
        assert_eq!(texts(&bob.receive().await), ["three days"]);
    });
}

#[test]
fn a_shorter_cap_of_the_node_is_kept_for_the_next_publication() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|operation| match operation {
            Operation::Add { ttl, .. } if *ttl > 7_200 => Err(WriteError::Refused {
                reason: "ttl exceeds cap of 7200s".into(),
                ttl_cap: Some(7_200),
            }),
            _ => Ok(()),
        });
        alice.send(&bob, "hello").await.unwrap();
        let entry = only(&alice);
        assert_eq!(
            (entry.due, entry.delivery.ttl),
            (Some(NOW.saturating_add(3_600)), 7_200)
        );
        wait_until_due(&alice).await;
        world.judge_writes(|operation| match operation {
            Operation::Add { ttl, .. } if *ttl > 7_200 => panic!("asked for {ttl} again"),
            _ => Ok(()),
        });
        advance(&alice).await;
        assert_eq!(only(&alice).attempts, 2);
    });
}

#[test]
fn what_was_not_seen_or_announced_is_tried_again_without_publishing_anew() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let zone = Zone::parse("provider.example").unwrap();
        let provider = Provider::fixed("https://provider.example", Some(&zone)).unwrap();
        alice.profile.providers = ProviderConfig::Fixed(provider);
        for zone in ["alice.example", "bob.example", "provider.example"] {
            world.kill(zone);
        }
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!(
            report.state,
            OutboxState::Publishing {
                stored: 5,
                total: 5
            }
        );
        world.take_written();
        let entry = only(&alice);
        assert!(
            entry
                .delivery
                .last_error
                .unwrap()
                .contains("bob.example was not told")
        );
        world.revive("alice.example");
        wait_until_due(&alice).await;
        advance(&alice).await;
        assert_eq!(only(&alice).state, OutboxState::Published);
        world.revive("bob.example");
        wait_until_due(&alice).await;
        advance(&alice).await;
        let entry = only(&alice);
        assert_eq!(entry.state, OutboxState::Announced);
        assert!(entry.due.is_some(), "the provider is still to be told");
        world.revive("provider.example");
        wait_until_due(&alice).await;
        advance(&alice).await;
        let entry = only(&alice);
        assert_eq!((entry.due, entry.delivery.last_error), (None, None));
        assert!(
            world.take_written().is_empty(),
            "the values lie there already"
        );
        let zones: Vec<_> = world
            .claims
            .lock()
            .unwrap()
            .iter()
            .map(|claim| claim.zone.to_string())
            .collect();
        assert_eq!(zones, ["bob.example", "provider.example"], "each told once");
    });
}

#[test]
fn notices_are_given_up_after_an_hour_of_attempts() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.kill("bob.example");
        alice.send(&bob, "hello").await.unwrap();
        let mut attempts = 1;
        while only(&alice).due.is_some() {
            wait_until_due(&alice).await;
            advance(&alice).await;
            attempts += 1;
        }
        assert_eq!(attempts, 8);
        assert_eq!(only(&alice).state, OutboxState::Published);
    });
}

#[test]
fn permanent_refusals_fail_with_the_reason_and_can_be_retried_by_hand() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|_| Err(WriteError::NotAuthorised("HTTP 401 — expired".into())));
        let error = alice.send(&bob, "hello").await.unwrap_err();
        assert!(
            matches!(error, SendError::Publish { again: None, .. }),
            "{error}"
        );
        let entry = only(&alice);
        assert!(
            matches!(&entry.state, OutboxState::Failed { reason } if reason.contains("HTTP 401"))
        );
        world.judge_writes(|_| Ok(()));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(advance(&alice).await.entries.is_empty(), "not by itself");
        let report = select(&alice, Selection::Entry(entry.id)).await;
        assert!(matches!(
            report.entries[0].before,
            OutboxState::Failed { .. }
        ));
        assert_eq!(report.entries[0].entry.state, OutboxState::Announced);
        assert_eq!(texts(&bob.receive().await), ["hello"]);
    });
}

#[test]
fn a_full_mailbox_is_waited_for() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|operation| {
            if operation.owner().as_str().starts_with("slot-") {
                Err(refused())
            } else {
                Ok(())
            }
        });
        let error = alice.send(&bob, "hello").await.unwrap_err();
        assert!(
            matches!(
                error,
                SendError::Publish {
                    again: Some(_),
                    stored: 4,
                    ..
                }
            ),
            "{error}"
        );
        world.judge_writes(|_| Ok(()));
        wait_until_due(&alice).await;
        advance(&alice).await;
        assert_eq!(only(&alice).state, OutboxState::Announced);
    });
}

#[test]
fn a_message_expires_and_its_row_is_forgotten_a_month_later() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|_| Err(unreachable()));
        alice.send(&bob, "hello").await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(86_401)).await;
        world.judge_writes(|_| panic!("too late"));
        assert!(advance(&alice).await.entries.is_empty());
        let entry = only(&alice);
        assert_eq!((entry.state, entry.due), (OutboxState::Expired, None));
        assert!(
            select(&alice, Selection::Entry(entry.id))
                .await
                .entries
                .is_empty()
        );
        tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
        advance(&alice).await;
        assert!(alice.store.outbox().unwrap().is_empty());
    });
}

async fn cancel(person: &Person) -> Result<Cancelled, CancelError> {
    outbox::cancel(&person.session(), only(person).id).await
}

#[test]
fn cancelling_stops_everything_and_deletes_what_the_credential_may_delete() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let address = bob.address();
        let request = SendRequest {
            ttl: 3 * 86_400,
            ..SendRequest::new(&address, b"hello")
        };
        alice.send_request(&request).await.unwrap();
        let cancelled = cancel(&alice).await.unwrap();
        assert_eq!(
            (cancelled.before, cancelled.deletion),
            (OutboxState::Announced, Deletion::Done)
        );
        assert!(world.names("slot-").is_empty() && world.names("chunk-").is_empty());
        assert!(bob.receive().await.inbox.is_empty());
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert!(select(&alice, Selection::All).await.entries.is_empty());
        let entry = only(&alice);
        assert!(matches!(entry.state, OutboxState::Failed { reason } if reason == "cancelled"));
        assert!(matches!(
            cancel(&alice).await,
            Err(CancelError::Over {
                is_cancelled: true,
                ..
            })
        ));
    });
}

#[test]
fn what_cannot_be_deleted_is_told_with_the_time_it_can_be_read() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        alice.send(&bob, "hello").await.unwrap();
        world.judge_writes(|operation| match operation {
            Operation::Add { .. } => Ok(()),
            _ => Err(refused()),
        });
        let cancelled = cancel(&alice).await.unwrap();
        assert_eq!(
            cancelled.deletion,
            Deletion::Refused {
                error: refused(),
                readable_until: NOW.saturating_add(86_400)
            }
        );
    });
}

#[test]
fn one_pass_takes_a_bounded_number_and_stops_in_time() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|_| Err(unreachable()));
        for text in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"] {
            alice.send(&bob, text).await.unwrap_err();
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        world.judge_writes(|_| Ok(()));
        world.kill("bob.example");
        world.kill("alice.example");
        *world.latency.lock().unwrap() = Duration::from_secs(1);
        let request = AdvanceRequest {
            deadline: Duration::from_secs(2),
            ..AdvanceRequest::default()
        };
        let started = alice.now();
        let report = outbox::advance(&alice.session(), &request).await.unwrap();
        assert!(alice.now().saturating_sub(started) <= 2);
        assert_eq!(
            (report.left, report.timed_out, report.entries.len()),
            (2, true, 0)
        );
        let kept = alice.store.outbox().unwrap();
        let published = kept
            .iter()
            .filter(|entry| entry.delivery.kept_until.is_some());
        assert_eq!(published.count(), 8, "what was reached is kept");
        assert!(kept.iter().all(|entry| entry.worker.is_none()));
    });
}

#[test]
fn waiting_ends_when_the_message_has_come_so_far_or_nothing_more_will_happen() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.kill("alice.example");
        let report = alice.send(&bob, "hello").await.unwrap();
        let timeout = Duration::from_secs(60);
        let wait = async |milestone, timeout| {
            outbox::wait_for(&alice.session(), report.outbox, milestone, timeout)
                .await
                .unwrap()
                .unwrap()
                .state
        };
        assert!(matches!(
            wait(Milestone::Published, Duration::from_secs(3)).await,
            OutboxState::Publishing { .. }
        ));
        world.revive("alice.example");
        assert_eq!(
            wait(Milestone::Announced, timeout).await,
            OutboxState::Announced
        );
    });
}

#[test]
fn the_same_prekey_is_never_taken_by_two_sends_at_once() {
    run(async {
        let world = World::new();
        let (alice, mut bob) = pair(&world);
        bob.refresh(2).await;
        *world.latency.lock().unwrap() = Duration::from_millis(50);
        let address = bob.address();
        let request = SendRequest {
            forward_secrecy: ForwardSecrecyPolicy::Required,
            ..SendRequest::new(&address, b"hello")
        };
        let session = alice.session();
        // The first number of each chooses the message id, so that both look at the same two prekeys and may choose the same.
        let (mut one, mut other, mut third) = (CountingRng(1), CountingRng(2), CountingRng(5));
        let (one, other, third) = tokio::join!(
            dmp_client::ops::send(&session, &request, &mut one),
            dmp_client::ops::send(&session, &request, &mut other),
            dmp_client::ops::send(&session, &request, &mut third),
        );
        let sent = [&one, &other, &third]
            .iter()
            .filter(|outcome| outcome.is_ok())
            .count();
        assert_eq!(sent, 2, "two prekeys, two messages");
        let refused = [one, other, third].into_iter().find_map(Result::err);
        assert!(matches!(refused, Some(SendError::NoForwardSecrecy(_))));
        let contact = alice.store.contacts().unwrap().remove(0);
        assert_eq!(alice.store.used_prekeys(contact.id).unwrap().len(), 2);
        assert_eq!(bob.receive().await.inbox.len(), 2);
    });
}

/// A node that takes one value per request.
fn one_by_one(world: &World) {
    *world.singly.lock().unwrap() = Some(Duration::from_millis(10));
}

#[test]
fn where_a_request_carries_one_value_chunks_go_side_by_side_and_the_manifest_after_them() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        one_by_one(&world);
        let text = "x".repeat(3_000);
        let report = alice.send(&bob, &text).await.unwrap();
        let written = values(&world.take_written());
        assert_eq!(
            (written.len(), report.missing),
            (report.chunks.1 as usize + 1, 0)
        );
        assert!(written.last().unwrap().0.starts_with("slot-"));
        assert!(
            written
                .iter()
                .rev()
                .skip(1)
                .all(|(name, _)| name.starts_with("chunk-"))
        );
        assert_eq!(world.most_writes_in_flight.load(Ordering::Relaxed), 8);
        assert_eq!(texts(&bob.receive().await), [text]);
    });
}

/// Chunks of a ten-chunk message that are refused in passing, each as often as it says.
fn refuse_chunks(world: &World, count: u32, times: usize) {
    let seen = std::sync::Mutex::new(std::collections::HashMap::<String, usize>::new());
    world.judge_writes(move |operation| {
        let name = operation.owner().to_string();
        let index: u32 = match name.strip_prefix("chunk-") {
            Some(rest) => rest[..4].parse().unwrap(),
            None => return Ok(()),
        };
        let mut seen = seen.lock().unwrap();
        let tries = seen.entry(name).or_default();
        *tries += 1;
        if index < count && *tries <= times {
            return Err(WriteError::ServerFailure("HTTP 503".into()));
        }
        Ok(())
    });
}

#[test]
fn a_chunk_that_the_node_cannot_take_at_once_is_tried_once_more() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        one_by_one(&world);
        refuse_chunks(&world, 4, 1);
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!((report.missing, report.state), (0, OutboxState::Announced));
    });
}

#[test]
fn enough_chunks_are_enough_and_the_rest_follows() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        one_by_one(&world);
        let text = "x".repeat(800);
        // k = 8, n = 11: ten make the message readable with half of the parity to spare.
        refuse_chunks(&world, 1, usize::MAX);
        let report = alice.send(&bob, &text).await.unwrap();
        let (needed, all) = report.chunks;
        let enough = needed + (all - needed).div_ceil(2);
        assert_eq!(report.missing, 1);
        assert!(all > enough);
        let entry = only(&alice);
        assert!(entry.due.is_some() && entry.delivery.last_error.unwrap().contains("1 chunk(s)"));
        assert_eq!(texts(&bob.receive().await), std::slice::from_ref(&text));
        world.judge_writes(|_| Ok(()));
        wait_until_due(&alice).await;
        advance(&alice).await;
        let entry = only(&alice);
        assert_eq!((entry.delivery.missing, entry.due), (0, None));
        assert_eq!(world.names("chunk-").len(), all as usize);

        refuse_chunks(&world, all - enough + 1, usize::MAX);
        world.take_written();
        let error = alice.send(&bob, &text).await.unwrap_err();
        assert!(
            matches!(
                error,
                SendError::Publish {
                    step: dmp_client::ops::SendStep::Chunks,
                    again: Some(_),
                    ..
                }
            ),
            "{error}"
        );
        let written = values(&world.take_written());
        assert!(
            written.iter().all(|(name, _)| name.starts_with("chunk-")),
            "no manifest"
        );
    });
}

#[test]
fn a_node_that_does_not_answer_at_all_is_not_asked_twice_in_one_attempt() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        one_by_one(&world);
        let tries = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&tries);
        world.judge_writes(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Err(unreachable())
        });
        alice.send(&bob, "hello").await.unwrap_err();
        assert_eq!(tries.load(Ordering::Relaxed), 4, "each chunk once");
    });
}

#[test]
fn a_cap_on_the_lifetime_is_followed_where_a_request_carries_one_value() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        one_by_one(&world);
        world.judge_writes(|operation| match operation {
            Operation::Add { ttl, .. } if *ttl > 7_200 => Err(WriteError::Refused {
                reason: "HTTP 400 — ttl exceeds cap of 7200s".into(),
                ttl_cap: Some(7_200),
            }),
            _ => Ok(()),
        });
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!(report.state, OutboxState::Announced);
        assert_eq!(only(&alice).delivery.ttl, 7_200);
    });
}

#[test]
fn a_provider_in_the_zone_of_the_recipient_gets_one_claim() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let zone = bob.zone().clone();
        let provider = Provider::fixed("https://bob.example", Some(&zone)).unwrap();
        alice.profile.providers = ProviderConfig::Fixed(provider);
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!(
            (report.provider_claims.sent, report.provider_claims.tried),
            (1, 1)
        );
        assert_eq!(report.recipient_claim, Some(Ok(())));
        assert_eq!(world.claims.lock().unwrap().len(), 1);
    });
}
