//! Sending: what is asked and written, what happens when a server says no, and what the user is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::{Counted, Operation, UpdateTarget};
use dmp_client::ops::{
    self, ForwardSecrecy, ForwardSecrecyPolicy, NoForwardSecrecy, Provider, ProviderConfig,
    PublishRequest, SendError, SendRequest, SendStep,
};
use dmp_client::store::{NewContact, OutboxState};
use dmp_core::keys::{AgreementPublicKey, Identity, Signer};
use dmp_core::name::Zone;
use dmp_core::record::{Manifest, PrekeyRecord, Reason, Revocation, Rotation, Subject};
use dmp_core::seal::{SealError, Wire};

use crate::world::{NOW, Person, World, refused, run, texts};

fn is_manifest(operation: &Operation) -> bool {
    operation.owner().as_str().starts_with("slot-")
}

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

fn states(person: &Person) -> Vec<OutboxState> {
    person
        .store
        .outbox()
        .unwrap()
        .into_iter()
        .map(|entry| entry.state)
        .collect()
}

#[test]
fn a_message_is_written_chunks_first_announced_and_read_back() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let report = alice.send(&bob, "hello").await.unwrap();
        let written = world.take_written();
        let kinds: Vec<bool> = written.iter().map(is_manifest).collect();
        assert_eq!(kinds, [false, false, false, false, true]);
        assert_eq!(
            (report.chunks, report.messages.len(), report.read_back),
            ((3, 4), 1, true)
        );
        assert_eq!(report.recipient_claim, Some(Ok(())));
        assert_eq!(
            (report.provider_claims.sent, report.provider_claims.tried),
            (0, 0)
        );
        assert_eq!(states(&alice), [OutboxState::Announced]);
        let names: Vec<_> = written
            .iter()
            .map(|operation| operation.owner().to_string())
            .collect();
        assert_eq!(
            report
                .records
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>(),
            names
        );
        assert_eq!(texts(&bob.receive().await), ["hello"]);
    });
}

#[test]
fn unknown_contacts_and_contacts_without_key_fail_before_any_network_use() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        assert!(matches!(
            alice.send(&bob, "x").await,
            Err(SendError::UnknownContact(_))
        ));
        alice.pin_signing_only(&bob);
        assert!(matches!(
            alice.send(&bob, "x").await,
            Err(SendError::NoEncryptionKey(_))
        ));
        assert!(world.take_queries().is_empty() && world.take_written().is_empty());
        assert!(world.claims.lock().unwrap().is_empty() && states(&alice).is_empty());
    });
}

#[test]
fn a_recipient_is_found_by_the_part_before_the_at_sign() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        let mut card = NewContact::new("bob");
        card.agreement = Some(bob.identity.agreement_public());
        alice.store.insert_contact(&card, NOW).unwrap();
        assert_eq!(alice.send(&bob, "x").await.unwrap().contact, "bob");
    });
}

#[test]
fn a_failing_chunk_leaves_no_manifest_and_no_claim() {
    for failing in 0..4 {
        run(async {
            let world = World::new();
            let (mut alice, bob) = pair(&world);
            world.request_size.store(1, Ordering::Relaxed);
            let seen = AtomicUsize::new(0);
            world.judge_writes(move |_| {
                if seen.fetch_add(1, Ordering::Relaxed) < failing {
                    Ok(())
                } else {
                    Err(WriteError::ServerFailure("full disk".into()))
                }
            });
            let error = alice.send(&bob, "hello").await.unwrap_err();
            let SendError::Publish {
                step,
                stored,
                total,
                ..
            } = &error
            else {
                panic!("{error}")
            };
            assert_eq!((*step, *stored, *total), (SendStep::Chunks, failing, 5));
            assert!(world.names("slot-").is_empty() && world.claims.lock().unwrap().is_empty());
            let waiting = match failing {
                0 => OutboxState::Queued,
                stored => OutboxState::Publishing { stored, total: 5 },
            };
            assert_eq!(states(&alice), [waiting], "a passing failure is no end");
            let entry = alice.store.outbox().unwrap().remove(0);
            let due = entry.due.unwrap();
            assert!(due > NOW && due <= NOW.saturating_add(30), "{due:?}");
            assert!(entry.delivery.last_error.unwrap().contains("full disk"));
            assert!(error.to_string().contains("chunks"), "{error}");
        });
    }
}

#[test]
fn a_failing_manifest_leaves_no_claim() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|operation| {
            if is_manifest(operation) {
                Err(WriteError::Unreachable("gone".into()))
            } else {
                Ok(())
            }
        });
        world.request_size.store(1, Ordering::Relaxed);
        let error = alice.send(&bob, "hello").await.unwrap_err();
        assert!(
            matches!(
                error,
                SendError::Publish {
                    step: SendStep::Manifest,
                    stored: 4,
                    ..
                }
            ),
            "{error}"
        );
        assert!(world.claims.lock().unwrap().is_empty());
    });
}

#[test]
fn a_full_slot_moves_the_manifest_to_another_and_the_claim_names_it() {
    for request_size in [1, usize::MAX] {
        run(async {
            let world = World::new();
            let (mut alice, bob) = pair(&world);
            world.request_size.store(request_size, Ordering::Relaxed);
            world.judge_writes(|operation| {
                let only_slot_7 =
                    is_manifest(operation) && !operation.owner().as_str().starts_with("slot-7.");
                if only_slot_7 { Err(refused()) } else { Ok(()) }
            });
            let report = alice.send(&bob, "hello").await.unwrap();
            assert_eq!(report.slot.get(), 7);
            let claims = world.claims.lock().unwrap().clone();
            assert!(claims[0].owner.as_str().starts_with("claim-7."));
            assert_eq!(alice.store.outbox().unwrap()[0].item.slot.get(), 7);
            assert_eq!(texts(&bob.receive().await), ["hello"]);
        });
    }
}

#[test]
fn a_refusal_for_the_lifetime_is_repeated_with_the_named_cap_and_the_message_keeps_its_own() {
    for cap in [Some(7_200), None] {
        run(async {
            let world = World::new();
            let (mut alice, bob) = pair(&world);
            world.judge_writes(move |operation| match operation {
                Operation::Add { ttl, .. } if u64::from(*ttl) > cap.unwrap_or(3_600) => {
                    let reason = cap
                        .map(|cap| format!("ttl exceeds cap of {cap}s"))
                        .unwrap_or_default();
                    Err(WriteError::Refused {
                        reason,
                        ttl_cap: cap,
                    })
                }
                _ => Ok(()),
            });
            let report = alice.send(&bob, "hello").await.unwrap();
            let wanted = cap.unwrap_or(3_600);
            for operation in world.take_written() {
                let Operation::Add { ttl, .. } = operation else {
                    panic!()
                };
                assert_eq!(u64::from(ttl), wanted);
            }
            assert_eq!(report.expires, NOW.saturating_add(86_400));
            let entry = &alice.store.outbox().unwrap()[0];
            assert_eq!(
                entry.due,
                Some(NOW.saturating_add(wanted / 2)),
                "published again at half of its life"
            );
        });
    }
}

#[test]
fn a_refusal_with_a_reason_is_final() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.judge_writes(|operation| match operation {
            operation if is_manifest(operation) => Ok(()),
            _ => Err(WriteError::Refused {
                reason: "value exceeds cap of 100 bytes".into(),
                ttl_cap: None,
            }),
        });
        let error = alice.send(&bob, "hello").await.unwrap_err();
        assert!(
            matches!(&error, SendError::Publish { again: None, error: WriteError::Refused { reason, .. }, .. }
                if reason == "value exceeds cap of 100 bytes"),
            "{error}"
        );
        assert!(
            matches!(&states(&alice)[..], [OutboxState::Failed { reason }] if reason.contains("value exceeds cap"))
        );
        assert_eq!(alice.store.outbox().unwrap()[0].due, None);
        assert!(world.take_written().is_empty());
        let error = alice.send(&bob, "hello").await.unwrap_err();
        assert!(
            matches!(
                error,
                SendError::Seal(SealError::NothingFits {
                    max_value_bytes: 100
                })
            ),
            "the cap that the node named is known from now on: {error}"
        );
    });
}

#[test]
fn the_size_limit_is_judged_before_anything_is_published() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let bob = world.person("bob", "bob.example");
        alice.pin(&bob);
        for (ttl, limit) in [(300, 3_732), (86_400, 3_730)] {
            let address = bob.address();
            let body = vec![b'x'; limit + 1];
            let request = SendRequest {
                ttl,
                ..SendRequest::new(&address, &body)
            };
            let error = alice.send_request(&request).await.unwrap_err();
            let SendError::Seal(SealError::TooLarge {
                limit_body_bytes, ..
            }) = error
            else {
                panic!("{error}")
            };
            assert_eq!(limit_body_bytes, limit);
            assert!(world.take_written().is_empty() && states(&alice).is_empty());
            let request = SendRequest {
                ttl,
                ..SendRequest::new(&address, &body[1..])
            };
            alice.send_request(&request).await.unwrap();
            assert_eq!(
                alice
                    .store
                    .outbox()
                    .unwrap()
                    .pop()
                    .unwrap()
                    .item
                    .chunks
                    .len(),
                42
            );
            world.take_written();
            alice = world.person("alice", "alice.example");
            alice.pin(&bob);
        }
    });
}

#[test]
fn prekeys_are_used_once_each_and_then_the_user_is_told() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        bob.refresh(3).await;
        let mut used = Vec::new();
        for left in [2, 1, 0] {
            let report = alice.send(&bob, "hello").await.unwrap();
            assert_eq!(report.prekeys_left, left);
            let ForwardSecrecy::Prekey { id, opens_until } = report.forward_secrecy else {
                panic!()
            };
            assert_eq!(opens_until, None, "a week outlives a day");
            assert!(!used.contains(&id));
            used.push(id);
        }
        let report = alice.send(&bob, "fourth").await.unwrap();
        assert_eq!(
            report.forward_secrecy,
            ForwardSecrecy::None(NoForwardSecrecy::AllUsed)
        );
        let address = bob.address();
        let request = SendRequest {
            forward_secrecy: ForwardSecrecyPolicy::Required,
            ..SendRequest::new(&address, b"fifth")
        };
        let error = alice.send_request(&request).await.unwrap_err();
        assert!(
            matches!(
                error,
                SendError::NoForwardSecrecy(NoForwardSecrecy::AllUsed)
            ),
            "{error}"
        );
        let received = bob.receive().await;
        assert_eq!(received.inbox.len(), 4);
        assert_eq!(received.live_prekeys, 0);
    });
}

#[test]
fn long_work_is_counted_from_nothing_to_all_of_it() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        *world.singly.lock().unwrap() = Some(Duration::from_millis(1));
        alice.send(&bob, &"x".repeat(1000)).await.unwrap();
        let counted = std::mem::take(&mut *world.counted.lock().unwrap());
        let values = world.take_written().len();
        assert!(values > 4);
        let steps: Vec<usize> = counted.iter().map(|(_, done, _)| *done).collect();
        assert!(steps.is_sorted(), "{counted:?}");
        assert_eq!(counted.last(), Some(&(Counted::Stored, values, values)));

        bob.receive().await;
        let counted = std::mem::take(&mut *world.counted.lock().unwrap());
        let last = |kind| {
            let mut of_kind = counted.iter().filter(|(what, _, _)| *what == kind);
            of_kind.next_back().map(|(_, done, of)| (*done, *of))
        };
        let needed = last(Counted::Fetched).unwrap();
        assert!(needed.0 > 3 && needed.0 == needed.1, "{needed:?}");
        let (done, of) = last(Counted::Searched).unwrap();
        assert_eq!(done, of);
    });
}

/// A prekey that some key signed, published in Bob's pool.
fn publish_prekey(bob: &Person, signer: &Identity, id: u32, lifetime: u64) {
    let record = PrekeyRecord {
        id: dmp_core::id::PrekeyId::new(id).unwrap(),
        public: AgreementPublicKey::from_bytes([9; 32]),
        exp: NOW.saturating_add(lifetime),
    };
    bob.world.zone.publish(
        bob.profile.prekey_owner().as_str(),
        &record.sign(signer).unwrap(),
        86_400,
    );
}

#[test]
fn prekeys_that_expired_or_that_somebody_else_signed_are_no_prekeys() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        publish_prekey(&bob, &alice.identity, 5, 1_000);
        world.zone.publish(
            bob.profile.prekey_owner().as_str(),
            "v=dmp1;t=prekey;d=junk",
            86_400,
        );
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!(
            report.forward_secrecy,
            ForwardSecrecy::None(NoForwardSecrecy::NonePublished)
        );
        publish_prekey(&bob, &bob.identity, 6, 10);
        tokio::time::sleep(std::time::Duration::from_secs(11)).await;
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!(
            report.forward_secrecy,
            ForwardSecrecy::None(NoForwardSecrecy::NonePublished)
        );
        world.kill("bob.example");
        let report = alice.send(&bob, "hello").await.unwrap();
        assert!(matches!(
            report.forward_secrecy,
            ForwardSecrecy::None(NoForwardSecrecy::Unreachable(_))
        ));
    });
}

#[test]
fn a_prekey_that_outlives_the_message_is_preferred_and_else_the_longest_with_its_date() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        publish_prekey(&bob, &bob.identity, 1, 1_000);
        publish_prekey(&bob, &bob.identity, 2, 2_000);
        let address = bob.address();
        let request = SendRequest {
            ttl: 1_500,
            ..SendRequest::new(&address, b"x")
        };
        let report = alice.send_request(&request).await.unwrap();
        let expected = dmp_core::id::PrekeyId::new(2).unwrap();
        assert_eq!(
            report.forward_secrecy,
            ForwardSecrecy::Prekey {
                id: expected,
                opens_until: None
            }
        );
        let report = alice.send_request(&request).await.unwrap();
        let ForwardSecrecy::Prekey { id, opens_until } = report.forward_secrecy else {
            panic!()
        };
        assert_eq!(
            (id.get(), opens_until),
            (1, Some(NOW.saturating_add(1_000)))
        );
    });
}

#[test]
fn prekeys_are_found_in_the_mailbox_zone_and_by_the_local_part_of_the_label() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alice.example");
        let mut bob = world.person("bob", "mesh.example");
        bob.refresh(1).await;
        let mut card = NewContact::new("bob@bob.example");
        card.agreement = Some(bob.identity.agreement_public());
        card.signing = Some(bob.identity.signing_public());
        card.zone = Some(Zone::parse("bob.example").unwrap());
        card.mailbox_zone = Some(Zone::parse("mesh.example").unwrap());
        alice.store.insert_contact(&card, NOW).unwrap();
        let report = alice
            .send_request(&SendRequest::new("bob@bob.example", b"x"))
            .await
            .unwrap();
        assert!(matches!(
            report.forward_secrecy,
            ForwardSecrecy::Prekey { .. }
        ));
        assert_eq!(
            world.claims.lock().unwrap()[0].zone.as_str(),
            "mesh.example"
        );
    });
}

#[test]
fn the_envelope_is_written_only_for_an_identity_of_the_pinned_key_that_asks_for_it() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        assert_eq!(alice.send(&bob, "no record").await.unwrap().envelope, None);
        ops::identity_publish(&bob.session(), &PublishRequest::default())
            .await
            .unwrap();
        assert_eq!(alice.send(&bob, "version 1").await.unwrap().envelope, None);
        let squatter = world.person_with("bob", "bob.example", Identity::from_seed([77; 32]), None);
        let mut squatter = squatter;
        squatter.publish(0).await;
        assert_eq!(
            alice
                .send(&bob, "another key lists 2")
                .await
                .unwrap()
                .envelope,
            None
        );
        bob.publish(0).await;
        let report = alice.send(&bob, "versions 1 and 2").await.unwrap();
        assert_eq!(report.envelope.unwrap().as_str(), "alice@alice.example");
        let received = bob.receive().await;
        assert_eq!(
            texts(&received).last().unwrap(),
            "versions 1 and 2",
            "without the envelope"
        );
    });
}

#[test]
fn claims_go_to_every_provider_and_failing_ones_do_not_fail_the_send() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let zone = Zone::parse("provider.example").unwrap();
        let provider = Provider::fixed("https://node.provider.example:8443", Some(&zone)).unwrap();
        alice.profile.providers = ProviderConfig::Fixed(provider);
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!(
            (report.provider_claims.sent, report.provider_claims.tried),
            (1, 1)
        );
        let claims = world.claims.lock().unwrap().clone();
        let at_provider = claims.iter().find(|claim| claim.zone == zone).unwrap();
        assert_eq!(
            at_provider.target,
            UpdateTarget {
                host: "node.provider.example".into(),
                port: None
            }
        );
        assert!(at_provider.ttl <= 86_100, "a day less five minutes");

        world.kill("provider.example");
        world.kill("bob.example");
        let report = alice.send(&bob, "again").await.unwrap();
        assert_eq!(
            (report.provider_claims.sent, report.provider_claims.tried),
            (0, 1)
        );
        assert_eq!(report.provider_claims.failures.len(), 1);
        assert!(matches!(
            report.recipient_claim,
            Some(Err(WriteError::Unreachable(_)))
        ));
        assert_eq!(states(&alice).last(), Some(&OutboxState::Published));
    });
}

#[test]
fn the_recipients_zone_gets_a_claim_only_if_the_user_named_it() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "shared.example");
        let bob = world.person("bob", "shared.example");
        let mut card = NewContact::new("bob");
        card.agreement = Some(bob.identity.agreement_public());
        let contact = alice.store.insert_contact(&card, NOW).unwrap().unwrap();
        let report = alice
            .send_request(&SendRequest::new("bob", b"x"))
            .await
            .unwrap();
        assert_eq!(report.recipient_claim, None);
        card.zone = Some(bob.zone().clone());
        alice.store.update_contact(contact.id, &card).unwrap();
        let report = alice
            .send_request(&SendRequest::new("bob", b"x"))
            .await
            .unwrap();
        assert!(
            matches!(
                report.recipient_claim,
                Some(Err(WriteError::Misconfigured(_)))
            ),
            "no own node is known"
        );
        alice.profile.own_node = Some(UpdateTarget {
            host: "127.0.0.1".into(),
            port: Some(5_353),
        });
        let report = alice
            .send_request(&SendRequest::new("bob", b"x"))
            .await
            .unwrap();
        assert_eq!(report.recipient_claim, Some(Ok(())));
        assert_eq!(
            world.claims.lock().unwrap().last().unwrap().target.port,
            Some(5_353)
        );
    });
}

#[test]
fn an_own_zone_too_long_for_a_claim_sends_without_one() {
    run(async {
        let world = World::new();
        let long = format!("{}.example", "a".repeat(40));
        let mut alice = world.person("alice", &long);
        let bob = world.person("bob", "bob.example");
        alice.pin(&bob);
        let report = alice.send(&bob, "hello").await.unwrap();
        assert!(matches!(
            report.recipient_claim,
            Some(Err(WriteError::Misconfigured(_)))
        ));
        assert!(world.claims.lock().unwrap().is_empty());
    });
}

#[test]
fn a_revoked_or_replaced_key_stops_the_send_before_anything_is_written() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let subject = Subject::user("bob", "bob.example").unwrap();
        let owner = subject.owner_names()[1].to_string();
        let new = Identity::from_seed([50; 32]);
        let rotation = Rotation {
            subject: subject.clone(),
            old: bob.identity.signing_public(),
            new: new.signing_public(),
            seq: 1,
            ts: NOW,
            exp: NOW.saturating_add(1_000),
        };
        let rotation = rotation
            .sign(Signer::Person(&bob.identity), Signer::Person(&new))
            .unwrap();
        world.zone.publish(&owner, &rotation, 1_000);
        let error = alice.send(&bob, "x").await.unwrap_err();
        assert!(
            matches!(&error, SendError::KeyReplaced { successor, .. } if *successor == new.signing_public()),
            "{error}"
        );
        let revocation = Revocation {
            subject,
            revoked: bob.identity.signing_public(),
            reason: Reason::LostKey,
            ts: NOW,
        };
        world.zone.publish(
            &owner,
            &revocation.sign(Signer::Person(&bob.identity)).unwrap(),
            1_000,
        );
        assert!(matches!(
            alice.send(&bob, "x").await,
            Err(SendError::KeyRevoked(_))
        ));
        assert!(world.take_written().is_empty());
    });
}

#[test]
fn a_legacy_contact_gets_the_manifest_that_it_understands() {
    run(async {
        let world = World::new();
        let (mut alice, mut bob) = pair(&world);
        bob.publish(0).await;
        let contact = alice.store.contacts().unwrap().remove(0);
        let card = NewContact {
            wire: Wire::Legacy,
            ..contact.card.clone()
        };
        alice.store.update_contact(contact.id, &card).unwrap();
        let report = alice.send(&bob, "old").await.unwrap();
        assert_eq!(report.envelope, None);
        let value = alice.store.outbox().unwrap().remove(0).item.manifest;
        assert!(
            Manifest::parse(&value, NOW)
                .unwrap()
                .chunk_hashes
                .is_empty()
        );
        assert!(
            bob.receive().await.inbox.is_empty(),
            "nobody else's hash-less manifest is accepted"
        );
        let known = bob.store.contacts().unwrap().remove(0);
        let card = NewContact {
            wire: Wire::Legacy,
            ..known.card.clone()
        };
        bob.store.update_contact(known.id, &card).unwrap();
        assert_eq!(texts(&bob.receive().await), ["old"]);
    });
}

#[test]
fn a_manifest_that_cannot_be_read_back_is_not_called_published() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        world.kill("alice.example");
        let report = alice.send(&bob, "hello").await.unwrap();
        assert!(!report.read_back);
        assert_eq!(
            states(&alice),
            [OutboxState::Publishing {
                stored: 5,
                total: 5
            }]
        );
        alice.store.purge(NOW.saturating_add(86_401)).unwrap();
        assert_eq!(states(&alice), [OutboxState::Expired]);
    });
}

#[test]
fn the_same_message_id_is_not_recorded_twice() {
    run(async {
        let world = World::new();
        let (mut alice, bob) = pair(&world);
        let address = bob.address();
        let msg_id = dmp_core::id::MsgId::from_bytes([1; 16]);
        let request = SendRequest {
            msg_id: Some(msg_id),
            ..SendRequest::new(&address, b"x")
        };
        alice.send_request(&request).await.unwrap();
        assert!(matches!(
            alice.send_request(&request).await,
            Err(SendError::Store(_))
        ));
        assert_eq!(states(&alice).len(), 1);
    });
}
