//! The second gate: D6, sentence by sentence.

use dmp_core::address::Address;
use dmp_core::id::PrekeyId;
use dmp_core::keys::AgreementSecret;
use dmp_core::trust::{
    Admission, Author, Decision, Identities, IdentityQuestion, Origin, Pin, Proof, Quarantine,
    Rotations, Standing, Unproven,
};

use crate::support::{NOW, identity};
use crate::world::*;

#[test]
fn the_inner_sender_must_be_the_pinned_x25519_key() {
    let world = World::with([pin("alice", ALICE)]);
    assert_eq!(
        proof(&world.pinned(&author(ALICE, ALICE, None))),
        &Proof::PinnedKey
    );
    assert_eq!(
        unproven(&world.pinned(&author(ALICE, MALLORY, None))),
        &Unproven::PinnedKeyDiffers
    );
}

#[test]
fn a_pinned_x25519_key_that_does_not_match_is_final() {
    let world = World::with([pin("alice", ALICE)]).publish(
        "dmp.alice.example",
        identity_record("alice", ALICE, MALLORY, 1),
    );
    let decision = world.pinned(&author(ALICE, MALLORY, Some("alice@alice.example")));
    assert_eq!(unproven(&decision), &Unproven::PinnedKeyDiffers);
}

#[test]
fn with_only_the_signing_key_pinned_the_identity_record_decides() {
    let world = World::with([signing_only("alice", ALICE)]);
    let decision = world.pinned(&author(ALICE, ALICE, None));
    assert_eq!(unproven(&decision), &Unproven::NoRecord, "without a record");

    let world = world.publish_identity("alice", "alice.example", ALICE);
    let record = Proof::Record(identity(ALICE).agreement_public());
    assert_eq!(
        proof(&world.pinned(&author(ALICE, ALICE, None))),
        &record,
        "with a record"
    );
    assert_eq!(
        unproven(&world.pinned(&author(ALICE, MALLORY, None))),
        &Unproven::RecordKeyDiffers
    );
}

#[test]
fn the_record_is_sought_at_the_contacts_zone_then_at_the_claimed_address() {
    let elsewhere =
        World::with([signing_only("alice", ALICE)]).publish_identity("al", "id.example", ALICE);
    let decision = elsewhere.pinned(&author(ALICE, ALICE, Some("al@id.example")));
    assert_eq!(
        proof(&decision),
        &Proof::Record(identity(ALICE).agreement_public())
    );
    assert_eq!(label(&decision), Some("al@id.example"));
    assert_eq!(
        unproven(&elsewhere.pinned(&author(ALICE, ALICE, None))),
        &Unproven::NoRecord
    );

    let both = elsewhere.publish(
        "dmp.alice.example",
        identity_record("alice", ALICE, CAROL, 1),
    );
    let decision = both.pinned(&author(ALICE, ALICE, Some("al@id.example")));
    assert_eq!(
        unproven(&decision),
        &Unproven::RecordKeyDiffers,
        "the first source that exists decides"
    );
}

#[test]
fn a_record_of_another_signing_key_at_the_contacts_address_proves_nothing() {
    let world = World::with([signing_only("alice", ALICE)]).publish(
        "id-2bd806c97f0e00af.alice.example",
        identity_record("alice", MALLORY, ALICE, 9),
    );
    assert_eq!(
        unproven(&world.pinned(&author(ALICE, ALICE, None))),
        &Unproven::NoRecord
    );
    let world = world.publish(
        "id-2bd806c97f0e00af.alice.example",
        identity_record("alice", ALICE, ALICE, 1),
    );
    assert_eq!(
        proof(&world.pinned(&author(ALICE, ALICE, None))),
        &Proof::Record(identity(ALICE).agreement_public())
    );
}

#[test]
fn for_a_rotated_contact_only_the_record_of_the_new_key_at_the_contacts_zone_counts() {
    let standing = Standing::Rotated {
        label: "alice".to_owned(),
        old: spk(ALICE),
    };
    let world = World::with([pin("alice", ALICE)]);
    let new = author(ALICE_NEXT, ALICE_NEXT, None);
    assert_eq!(unproven(&world.judge(&new, &standing)), &Unproven::NoRecord);
    let still_old = author(ALICE_NEXT, ALICE, None);
    assert_eq!(
        unproven(&world.judge(&still_old, &standing)),
        &Unproven::NoRecord,
        "the pinned key does not count"
    );
    let kept = World::with([pin("alice", ALICE)]).publish(
        "dmp.alice.example",
        identity_record("alice", ALICE_NEXT, ALICE, 1),
    );
    assert!(
        matches!(
            proof(&kept.judge(&still_old, &standing)),
            Proof::Rotation { .. }
        ),
        "but may be in the record"
    );

    let elsewhere =
        World::with([pin("alice", ALICE)]).publish_identity("al", "id.example", ALICE_NEXT);
    let claimed = author(ALICE_NEXT, ALICE_NEXT, Some("al@id.example"));
    assert_eq!(
        unproven(&elsewhere.judge(&claimed, &standing)),
        &Unproven::NoRecord,
        "not the claimed address"
    );

    let world = world.publish_identity("alice", "alice.example", ALICE_NEXT);
    let agreement = identity(ALICE_NEXT).agreement_public();
    let followed = Proof::Rotation {
        label: "alice".to_owned(),
        old: spk(ALICE),
        agreement,
    };
    assert_eq!(proof(&world.judge(&new, &standing)), &followed);
    assert_eq!(
        unproven(&world.judge(&author(ALICE_NEXT, MALLORY, None), &standing)),
        &Unproven::RecordKeyDiffers
    );
}

#[test]
fn chunks_re_signed_by_a_pinned_contact_are_quarantined() {
    for (mallory, differs) in [
        (pin("mallory", MALLORY), Unproven::PinnedKeyDiffers),
        (signing_only("mallory", MALLORY), Unproven::RecordKeyDiffers),
    ] {
        let known = World::with([pin("alice", ALICE), mallory.clone()]).publish_identity(
            "mallory",
            "mallory.example",
            MALLORY,
        );
        let (manifest, author) = re_signed(None, None);
        let admission = known.admit(&manifest, Origin::SlotWalk(&zone("mallory.example")));
        assert_eq!(admission, fetch(Standing::Pinned));
        let decision = known.pinned(&author);
        assert_eq!(
            unproven(&decision),
            &Unproven::SenderIsContact {
                label: "alice".to_owned()
            }
        );

        let unknown_victim =
            World::with([mallory]).publish_identity("mallory", "mallory.example", MALLORY);
        assert_eq!(unproven(&unknown_victim.pinned(&author)), &differs);
    }
}

#[test]
fn chunks_re_signed_by_a_stranger_with_a_claim_are_quarantined_and_keep_the_prekey() {
    let world = World::with([pin("alice", ALICE)]);
    let private = AgreementSecret::from_bytes([0x77; 32]);
    let id = PrekeyId::new(77).unwrap();
    for prekey in [None, Some((id, &private))] {
        let (manifest, author) = re_signed(prekey, None);
        let claim = claim(MALLORY, "mallory.example");
        let Admission::Fetch { standing, .. } = world.admit(&manifest, Origin::Claim(&claim))
        else {
            panic!("a stranger's claim is fetched");
        };
        let decision = world.judge(&author, &standing);
        assert_eq!(
            unproven(&decision),
            &Unproven::SenderIsContact {
                label: "alice".to_owned()
            }
        );

        let decision = World::with([]).judge(&author, &standing);
        let expected = Decision::Quarantine {
            label: None,
            reason: Quarantine::NotPinned,
        };
        assert_eq!(
            decision, expected,
            "an unknown victim: a stranger's message like any other"
        );
        assert!(!decision.consumes_prekey());
    }
}

#[test]
fn a_borrowed_x25519_key_is_found_out_by_the_contact_it_belongs_to() {
    let borrowed = Pin {
        agreement: Some(identity(ALICE).agreement_public()),
        ..pin("mallory", MALLORY)
    };
    let re_signed = author(MALLORY, ALICE, None);
    let is_alice = Unproven::SenderIsContact {
        label: "alice".to_owned(),
    };
    let world = World::with([borrowed.clone(), pin("alice", ALICE)]);
    assert_eq!(unproven(&world.pinned(&re_signed)), &is_alice);

    let by_record = World::with([signing_only("mallory", MALLORY), pin("alice", ALICE)]).publish(
        "dmp.mallory.example",
        identity_record("mallory", MALLORY, ALICE, 1),
    );
    assert_eq!(unproven(&by_record.pinned(&re_signed)), &is_alice);

    let without_key = Pin {
        signing: None,
        ..pin("alice", ALICE)
    };
    let by_record = World::with([signing_only("mallory", MALLORY), without_key]).publish(
        "dmp.mallory.example",
        identity_record("mallory", MALLORY, ALICE, 1),
    );
    assert_eq!(
        unproven(&by_record.pinned(&re_signed)),
        &is_alice,
        "also one without a signing key"
    );
}

#[test]
fn a_borrowed_x25519_key_is_found_out_by_the_address_in_the_envelope() {
    let borrowed = Pin {
        agreement: Some(identity(ALICE).agreement_public()),
        ..pin("mallory", MALLORY)
    };
    let from = author(MALLORY, ALICE, Some("alice@alice.example"));
    let expected = Unproven::AddressOfAnother(address("alice@alice.example"));
    let world = World::with([borrowed.clone()]).publish_identity("alice", "alice.example", ALICE);
    assert_eq!(unproven(&world.pinned(&from)), &expected);

    let by_record = World::with([signing_only("mallory", MALLORY)])
        .publish(
            "dmp.mallory.example",
            identity_record("mallory", MALLORY, ALICE, 1),
        )
        .publish_identity("alice", "alice.example", ALICE);
    assert_eq!(unproven(&by_record.pinned(&from)), &expected);

    let stranger = Standing::Stranger { pinned_as: None };
    let decision = World::with([])
        .publish_identity("alice", "alice.example", ALICE)
        .judge(&from, &stranger);
    assert_eq!(unproven(&decision), &expected);
    assert_eq!(label(&decision), None);

    // What remains: the victim is unknown and the text carries no envelope.
    assert_eq!(
        proof(&World::with([borrowed]).pinned(&author(MALLORY, ALICE, None))),
        &Proof::PinnedKey
    );
}

#[test]
fn one_person_under_two_labels_is_not_another_contact() {
    let by_hand = Pin {
        signing: None,
        ..pin("alice", ALICE)
    };
    let fetched = Pin {
        label: "alice@alice.example".to_owned(),
        ..pin("alice", ALICE)
    };
    let world = World::with([by_hand, fetched.clone(), pin("alice", ALICE)]);
    assert_eq!(
        proof(&world.pinned(&author(ALICE, ALICE, None))),
        &Proof::PinnedKey
    );
}

#[test]
fn first_use_delivers_unverified_without_this_check() {
    let world = World::with([]).publish_identity("alice", "alice.example", ALICE);
    let decision = world.judge(
        &author(MALLORY, ALICE, Some("alice@alice.example")),
        &Standing::FirstUse,
    );
    assert_eq!(
        decision,
        Decision::Inbox {
            label: None,
            proof: Proof::Unverified
        }
    );
}

#[test]
fn a_key_pinned_for_another_zone_goes_to_quarantine_even_when_proven() {
    let world = World::with([pin("alice", ALICE)]);
    let standing = Standing::Stranger {
        pinned_as: Some("alice".to_owned()),
    };
    let reason = Quarantine::PinnedElsewhere {
        label: "alice".to_owned(),
    };
    let decision = world.judge(&author(ALICE, ALICE, None), &standing);
    assert_eq!(
        decision,
        Decision::Quarantine {
            label: None,
            reason
        }
    );
    assert!(!decision.consumes_prekey());
    let decision = world.judge(&author(ALICE, MALLORY, None), &standing);
    assert_eq!(unproven(&decision), &Unproven::PinnedKeyDiffers);
}

#[test]
fn a_row_that_waits_for_a_record_is_proven_on_a_later_run() {
    let mut world = World::with([signing_only("alice", ALICE)]).publish_identity(
        "alice",
        "alice.example",
        ALICE,
    );
    world.unreachable.insert("dmp.alice.example".to_owned());
    let author = author(ALICE, ALICE, None);
    let Decision::Quarantine { reason, .. } = world.pinned(&author) else {
        panic!("nothing proves it yet");
    };
    assert_eq!(reason, Quarantine::AuthorshipNotProven(Unproven::NoRecord));
    assert!(reason.is_provable_later());

    world.unreachable.clear();
    let mut rotations = Rotations::default();
    let from = zone("alice.example");
    let Err(Admission::NeedRotations(questions)) =
        world.receiver().reconsider(&spk(ALICE), &from, &rotations)
    else {
        panic!("revocations are looked for again");
    };
    questions
        .iter()
        .for_each(|question| rotations.learn(question, [], NOW));
    let standing = world
        .receiver()
        .reconsider(&spk(ALICE), &from, &rotations)
        .unwrap();
    assert_eq!(
        proof(&world.judge(&author, &standing)),
        &Proof::Record(identity(ALICE).agreement_public())
    );

    for final_reason in [
        Quarantine::NotPinned,
        Quarantine::PinnedElsewhere {
            label: "alice".to_owned(),
        },
        Quarantine::AuthorshipNotProven(Unproven::PinnedKeyDiffers),
        Quarantine::AuthorshipNotProven(Unproven::RecordKeyDiffers),
    ] {
        assert!(!final_reason.is_provable_later(), "{final_reason}");
    }
}

#[test]
fn a_claimed_address_out_of_reach_costs_a_pinned_key_only_its_label() {
    let mut world =
        World::with([pin("alice", ALICE)]).publish_identity("alice", "alice.example", ALICE);
    let from = author(ALICE, ALICE, Some("alice@alice.example"));
    assert_eq!(label(&world.pinned(&from)), Some("alice@alice.example"));
    world.unreachable.insert("dmp.alice.example".to_owned());
    let decision = world.pinned(&from);
    assert_eq!(
        (proof(&decision), label(&decision)),
        (&Proof::PinnedKey, None)
    );
}

#[test]
fn a_claimed_address_out_of_reach_stops_what_a_record_alone_proves() {
    let mut world = World::with([signing_only("alice", ALICE)]).publish_identity(
        "alice",
        "alice.example",
        ALICE,
    );
    world.unreachable.insert("dmp.victim.example".to_owned());
    let decision = world.pinned(&author(ALICE, ALICE, Some("eve@victim.example")));
    let expected = Unproven::AddressUnreachable(address("eve@victim.example"));
    assert_eq!(unproven(&decision), &expected);
    assert!(Quarantine::AuthorshipNotProven(expected).is_provable_later());
    let absent = world.pinned(&author(ALICE, ALICE, Some("eve@nowhere.example")));
    assert_eq!(
        proof(&absent),
        &Proof::Record(identity(ALICE).agreement_public())
    );
}

#[test]
fn the_label_is_empty_on_a_key_mismatch() {
    let world = World::with([]).publish_identity("alice", "alice.example", ALICE);
    let stranger = Standing::Stranger { pinned_as: None };
    let honest = world.judge(
        &author(ALICE, ALICE, Some("alice@alice.example")),
        &stranger,
    );
    let labelled = Decision::Quarantine {
        label: Some(address("alice@alice.example")),
        reason: Quarantine::NotPinned,
    };
    assert_eq!(honest, labelled);
    assert_eq!(
        label(&world.judge(
            &author(MALLORY, MALLORY, Some("alice@alice.example")),
            &stranger
        )),
        None
    );
}

#[test]
fn an_address_that_dns_cannot_carry_is_no_claim() {
    let host = format!(
        "{}.{}.{}.{}",
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61)
    );
    let from = Address::new("alice", &host).unwrap();
    assert_eq!(IdentityQuestion::at(&from, spk(ALICE)), None);
    let author = Author {
        from: Some(from),
        ..author(ALICE, ALICE, None)
    };
    let decision = World::with([pin("alice", ALICE)]).pinned(&author);
    assert_eq!(
        (proof(&decision), label(&decision)),
        (&Proof::PinnedKey, None)
    );
}

#[test]
fn the_second_gate_asks_for_nothing_that_cannot_change_its_mind() {
    let world = World::with([pin("alice", ALICE), signing_only("carol", CAROL)]);
    let asked = |author: &Author, standing: Standing| -> Vec<String> {
        match world
            .receiver()
            .judge(author, &standing, &Identities::default())
        {
            Decision::NeedIdentities(questions) => questions
                .iter()
                .map(|question| format!("{}@{}", question.user, question.host))
                .collect(),
            _ => Vec::new(),
        }
    };
    let none: [&str; 0] = [];
    assert_eq!(asked(&author(ALICE, ALICE, None), Standing::Pinned), none);
    assert_eq!(
        asked(
            &author(ALICE, ALICE, Some("al@id.example")),
            Standing::Pinned
        ),
        ["al@id.example"]
    );
    assert_eq!(
        asked(&author(CAROL, CAROL, None), Standing::Pinned),
        ["carol@carol.example"]
    );
    assert_eq!(
        asked(&author(CAROL, ALICE, None), Standing::Pinned),
        none,
        "another contact's id is final"
    );
    let stranger = Standing::Stranger { pinned_as: None };
    assert_eq!(asked(&author(MALLORY, MALLORY, None), stranger), none);
}
