//! The first gate.

use std::collections::HashSet;

use dmp_core::erasure::CodePlan;
use dmp_core::id::{MsgId, UnixTime};
use dmp_core::name::Zone;
use dmp_core::open::HashPolicy;
use dmp_core::record::Manifest;
use dmp_core::seal::Wire;
use dmp_core::signed::Verified;
use dmp_core::trust::{
    Admission, DropReason, FirstUse, Origin, Pin, RotationPolicy, Rotations, Standing,
};

use crate::support::NOW;
use crate::world::*;

#[test]
fn a_pinned_key_passes_in_its_contacts_zone_and_in_the_own_zone_only() {
    let world = World::with([pin("alice", ALICE), pin("carol", CAROL)]);
    assert_eq!(
        world.walk(ALICE, &zone("alice.example")),
        fetch(Standing::Pinned)
    );
    assert_eq!(
        world.walk(ALICE, &zone("bob.example")),
        fetch(Standing::Pinned)
    );
    assert_eq!(
        world.walk(ALICE, &zone("carol.example")),
        Admission::Drop(DropReason::PinnedElsewhere)
    );
    assert_eq!(
        world.walk(ALICE, &zone("ALICE.Example.")),
        fetch(Standing::Pinned),
        "zones compare as names"
    );
}

#[test]
fn a_contact_without_a_stated_zone_belongs_to_the_own_zone() {
    let world = World::with([Pin {
        zone: None,
        ..pin("alice", ALICE)
    }]);
    assert_eq!(
        world.walk(ALICE, &zone("bob.example")),
        fetch(Standing::Pinned)
    );
    assert_eq!(
        world.walk(ALICE, &zone("alice.example")),
        Admission::Drop(DropReason::PinnedElsewhere)
    );
}

#[test]
fn a_confirmed_mailbox_zone_counts_as_the_contacts() {
    let world = World::with([Pin {
        mailbox_zone: Some(zone("mesh.example")),
        ..pin("alice", ALICE)
    }]);
    assert_eq!(
        world.walk(ALICE, &zone("mesh.example")),
        fetch(Standing::Pinned)
    );
    assert_eq!(
        world.walk(ALICE, &zone("alice.example")),
        fetch(Standing::Pinned)
    );
}

#[test]
fn an_unpinned_key_is_dropped_by_the_slot_walk_and_quarantined_by_a_claim() {
    let stranger = fetch(Standing::Stranger { pinned_as: None });
    for world in [World::with([pin("alice", ALICE)]), World::with([])] {
        assert_eq!(
            world.walk(MALLORY, &zone("bob.example")),
            Admission::Drop(DropReason::NotPinned)
        );
        assert_eq!(world.claimed(MALLORY, "mallory.example"), stranger);
    }
}

#[test]
fn a_pinned_key_claimed_through_a_foreign_zone_is_a_stranger_of_that_name() {
    let world = World::with([pin("alice", ALICE)]);
    let stranger = Standing::Stranger {
        pinned_as: Some("alice".to_owned()),
    };
    assert_eq!(world.claimed(ALICE, "evil.example"), fetch(stranger));
    assert_eq!(
        world.claimed(ALICE, "alice.example"),
        fetch(Standing::Pinned)
    );
    assert_eq!(world.claimed(ALICE, "bob.example"), fetch(Standing::Pinned));
}

#[test]
fn first_use_delivers_only_while_nobody_is_pinned_and_only_in_the_slot_walk() {
    let mut world = World::with([Pin {
        signing: None,
        ..pin("alice", ALICE)
    }]);
    world.first_use = FirstUse::Deliver;
    assert_eq!(
        world.walk(MALLORY, &zone("bob.example")),
        fetch(Standing::FirstUse)
    );
    assert_eq!(
        world.claimed(MALLORY, "mallory.example"),
        fetch(Standing::Stranger { pinned_as: None })
    );
    world.pins.push(pin("carol", CAROL));
    assert_eq!(
        world.walk(MALLORY, &zone("bob.example")),
        Admission::Drop(DropReason::NotPinned)
    );
}

#[test]
fn a_denylisted_key_is_dropped_before_the_gate_pinned_or_not() {
    let mut world = World::with([pin("alice", ALICE)]);
    world.denylist = HashSet::from([spk(ALICE), spk(MALLORY)]);
    for person in [ALICE, MALLORY] {
        assert_eq!(
            world.walk(person, &zone("bob.example")),
            Admission::Drop(DropReason::Blocked)
        );
        assert_eq!(
            world.claimed(person, "bob.example"),
            Admission::Drop(DropReason::Blocked)
        );
    }
    let reconsidered =
        world
            .receiver()
            .reconsider(&spk(ALICE), &zone("alice.example"), &Rotations::default());
    assert_eq!(reconsidered, Err(Admission::Drop(DropReason::Blocked)));
}

#[test]
fn the_keys_that_follow_a_blocked_contacts_key_are_blocked_too() {
    for policy in [RotationPolicy::Follow, RotationPolicy::Ignore] {
        let mut world = World::with([pin("alice", ALICE), pin("carol", CAROL)]).publish(
            "rotate.dmp.alice.example",
            rotation("alice", "alice.example", ALICE, ALICE_NEXT),
        );
        world.rotation = policy;
        world.denylist = HashSet::from([spk(ALICE)]);
        let blocked = Admission::Drop(DropReason::Blocked);
        for from in ["alice.example", "bob.example", "carol.example"] {
            assert_eq!(world.walk(ALICE_NEXT, &zone(from)), blocked, "{from}");
            assert_eq!(world.claimed(ALICE_NEXT, from), blocked, "{from}");
        }
        assert_eq!(world.claimed(ALICE_NEXT, "evil.example"), blocked);
        assert_eq!(
            world.claimed(MALLORY, "evil.example"),
            fetch(Standing::Stranger { pinned_as: None }),
            "others are strangers as ever"
        );
        world.pins.push(pin("alice-again", ALICE_NEXT));
        assert_eq!(
            world.walk(ALICE_NEXT, &zone("bob.example")),
            fetch(Standing::Pinned),
            "unless the user pinned that key"
        );
    }
}

#[test]
fn what_is_not_for_us_or_not_alive_is_dropped() {
    let world = World::with([pin("alice", ALICE)]);
    let own = zone("bob.example");
    let walk = |manifest: &Verified<Manifest>| world.admit(manifest, Origin::SlotWalk(&own));
    let other = manifest(ALICE, |manifest| manifest.recipient = id(CAROL));
    assert_eq!(walk(&other), Admission::Drop(DropReason::OtherRecipient));
    let expired = manifest(ALICE, |manifest| {
        manifest.exp = UnixTime::new(NOW.as_secs() - 1)
    });
    assert_eq!(walk(&expired), Admission::Drop(DropReason::Expired));
    let last_second = manifest(ALICE, |manifest| manifest.exp = NOW);
    assert_eq!(walk(&last_second), fetch(Standing::Pinned));
}

#[test]
fn a_claim_admits_only_the_message_and_the_signer_it_names() {
    let world = World::with([pin("alice", ALICE)]);
    let announced = claim(ALICE, "alice.example");
    let copied = manifest(MALLORY, |_| ());
    assert_eq!(
        world.admit(&copied, Origin::Claim(&announced)),
        Admission::Drop(DropReason::OtherSigner)
    );
    let other = manifest(ALICE, |manifest| {
        manifest.msg_id = MsgId::from_bytes([9; 16])
    });
    assert_eq!(
        world.admit(&other, Origin::Claim(&announced)),
        Admission::Drop(DropReason::OtherMessage)
    );
    assert_eq!(Origin::Claim(&announced).zone(), &zone("alice.example"));
}

#[test]
fn n_above_256_is_dropped_for_everybody() {
    let world = World::with([pin("alice", ALICE)]);
    for (n, admitted) in [(256, true), (257, false)] {
        let manifest = manifest(ALICE, |manifest| {
            manifest.plan = CodePlan::new(1, n).unwrap();
            manifest.chunk_hashes = vec![[0; 32]; n as usize];
        });
        let admission = world.admit(&manifest, Origin::SlotWalk(&zone("bob.example")));
        let dropped = Admission::Drop(DropReason::TooManyShares);
        assert_eq!(
            admission,
            if admitted {
                fetch(Standing::Pinned)
            } else {
                dropped
            }
        );
    }
}

#[test]
fn a_manifest_without_hashes_passes_only_from_the_pinned_key_of_a_legacy_contact() {
    let hashless = |person| manifest(person, |manifest| manifest.chunk_hashes.clear());
    let own = zone("bob.example");
    let dropped = Admission::Drop(DropReason::NoChunkHashes);
    let legacy = Pin {
        wire: Wire::Legacy,
        ..pin("alice", ALICE)
    };
    let world = World::with([legacy.clone(), pin("carol", CAROL)]);
    let allowed = Admission::Fetch {
        standing: Standing::Pinned,
        hashes: HashPolicy::LegacyAllowed,
    };
    assert_eq!(
        world.admit(&hashless(ALICE), Origin::SlotWalk(&own)),
        allowed
    );
    assert_eq!(
        world.admit(&hashless(CAROL), Origin::SlotWalk(&own)),
        dropped
    );
    let foreign = claim(ALICE, "evil.example");
    assert_eq!(
        world.admit(&hashless(ALICE), Origin::Claim(&foreign)),
        dropped,
        "nor through a foreign zone"
    );
    let stranger = claim(MALLORY, "mallory.example");
    assert_eq!(
        world.admit(&hashless(MALLORY), Origin::Claim(&stranger)),
        dropped
    );

    let rotated = World::with([legacy]).publish(
        "rotate.dmp.alice.example",
        rotation("alice", "alice.example", ALICE, ALICE_NEXT),
    );
    assert_eq!(
        rotated.admit(&hashless(ALICE_NEXT), Origin::SlotWalk(&own)),
        dropped,
        "nor a key rotated to"
    );
    let mut first_use = World::with([]);
    first_use.first_use = FirstUse::Deliver;
    assert_eq!(
        first_use.admit(&hashless(ALICE), Origin::SlotWalk(&own)),
        dropped
    );
}

#[test]
fn a_rotated_contact_is_followed_where_the_contact_counts() {
    let followed = fetch(Standing::Rotated {
        label: "alice".to_owned(),
        old: spk(ALICE),
    });
    for owner in [
        "rotate.dmp.alice.example",
        "rotate.id-2bd806c97f0e00af.alice.example",
    ] {
        let world = World::with([pin("carol", CAROL), pin("alice", ALICE)])
            .publish(owner, rotation("alice", "alice.example", ALICE, ALICE_NEXT));
        assert_eq!(world.walk(ALICE_NEXT, &zone("alice.example")), followed);
        assert_eq!(world.walk(ALICE_NEXT, &zone("bob.example")), followed);
        assert_eq!(world.claimed(ALICE_NEXT, "alice.example"), followed);
        assert_eq!(
            world.walk(ALICE_NEXT, &zone("carol.example")),
            Admission::Drop(DropReason::NotPinned)
        );
        let stranger = fetch(Standing::Stranger { pinned_as: None });
        assert_eq!(world.claimed(ALICE_NEXT, "carol.example"), stranger);
    }
}

#[test]
fn rotation_can_be_switched_off_but_a_revocation_always_stops_trust() {
    let mut world = World::with([pin("alice", ALICE)]).publish(
        "rotate.dmp.alice.example",
        rotation("alice", "alice.example", ALICE, ALICE_NEXT),
    );
    world.rotation = RotationPolicy::Ignore;
    assert_eq!(
        world.walk(ALICE_NEXT, &zone("bob.example")),
        Admission::Drop(DropReason::NotPinned)
    );

    for policy in [RotationPolicy::Follow, RotationPolicy::Ignore] {
        let mut world = World::with([pin("alice", ALICE)]).publish(
            "rotate.dmp.alice.example",
            revocation("alice", "alice.example", ALICE),
        );
        world.rotation = policy;
        let revoked = Admission::Drop(DropReason::Revoked);
        assert_eq!(world.walk(ALICE, &zone("alice.example")), revoked);
        assert_eq!(world.claimed(ALICE, "alice.example"), revoked);
        assert_eq!(
            world.claimed(ALICE, "evil.example"),
            revoked,
            "also where it would only be quarantined"
        );
        assert_eq!(
            world.walk(CAROL, &zone("bob.example")),
            Admission::Drop(DropReason::NotPinned)
        );
    }
}

#[test]
fn a_revocation_of_somebody_elses_key_or_subject_does_nothing() {
    let world = World::with([pin("alice", ALICE)])
        .publish(
            "rotate.dmp.alice.example",
            revocation("alice", "alice.example", MALLORY),
        )
        .publish(
            "rotate.dmp.alice.example",
            revocation("alice", "evil.example", ALICE),
        )
        .publish(
            "rotate.dmp.alice.example",
            rotation("alice", "alice.example", MALLORY, CAROL),
        );
    assert_eq!(
        world.walk(ALICE, &zone("alice.example")),
        fetch(Standing::Pinned)
    );
}

#[test]
fn a_contact_without_a_user_name_is_never_looked_up() {
    let world = World::with([Pin {
        username: None,
        ..pin("alice", ALICE)
    }]);
    let manifest = manifest(ALICE, |_| ());
    let zone = zone("alice.example");
    let admission = world.receiver().admit(
        &manifest,
        Origin::SlotWalk(&zone),
        &Rotations::default(),
        NOW,
    );
    assert_eq!(admission, fetch(Standing::Pinned));
}

#[test]
fn the_first_gate_asks_for_exactly_the_chains_that_matter() {
    let world = World::with([pin("alice", ALICE), pin("carol", CAROL)]);
    let asked = |person: u8, zone: &Zone| {
        let manifest = manifest(person, |_| ());
        match world.receiver().admit(
            &manifest,
            Origin::SlotWalk(zone),
            &Rotations::default(),
            NOW,
        ) {
            Admission::NeedRotations(questions) => questions
                .iter()
                .map(|question| question.subject.to_string())
                .collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(asked(ALICE, &zone("bob.example")), ["alice@alice.example"]);
    assert_eq!(
        asked(MALLORY, &zone("carol.example")),
        ["carol@carol.example"]
    );
    assert_eq!(
        asked(MALLORY, &zone("bob.example")),
        ["alice@alice.example", "carol@carol.example"]
    );
}
