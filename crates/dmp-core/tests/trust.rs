//! The receive decision, sentence by sentence (crypto.md 15.2-15.4, federation.md 6.5, D2, D6, D11, D15, D22, D28).

mod support;

use std::collections::{HashMap, HashSet};

use dmp_core::address::Address;
use dmp_core::erasure::CodePlan;
use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime, UserId};
use dmp_core::keys::{AgreementSecret, Identity, Signer, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::open::{HashPolicy, Shares, open};
use dmp_core::record::{
    Claim, IdentityRecord, Manifest, Reason, Revocation, Rotation, Subject, Versions,
};
use dmp_core::seal::{SealRequest, Sealed, Wire, seal};
use dmp_core::signed::Verified;
use dmp_core::trust::{
    Admission, Author, Decision, DropReason, Finding, FirstUse, Holder, Identities,
    IdentityQuestion, Origin, Pin, PinningRefused, Proof, Quarantine, Reach, Receiver,
    RotationPolicy, Rotations, Standing, TrustRefused, Unproven, check_pinning,
};
use support::{NOW, TestRng, encode64, identity, sign};

const ALICE: u8 = 1;
const BOB: u8 = 2;
const MALLORY: u8 = 3;
const CAROL: u8 = 4;
const ALICE_NEXT: u8 = 5;

fn zone(text: &str) -> Zone {
    Zone::parse(text).unwrap()
}

fn spk(person: u8) -> SigningPublicKey {
    identity(person).signing_public()
}

fn id(person: u8) -> UserId {
    identity(person).user_id()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A contact with both keys, fetched from its own zone.
fn pin(label: &str, person: u8) -> Pin {
    Pin {
        label: label.to_owned(),
        signing: Some(spk(person)),
        agreement: Some(identity(person).agreement_public()),
        username: Some(label.to_owned()),
        zone: Some(zone(&format!("{label}.example"))),
        mailbox_zone: None,
        wire: Wire::Current,
    }
}

/// A contact of which only the signing key is known.
fn signing_only(label: &str, person: u8) -> Pin {
    Pin {
        agreement: None,
        ..pin(label, person)
    }
}

/// Bob, and the DNS that he can reach.
struct World {
    zone: Zone,
    pins: Vec<Pin>,
    denylist: HashSet<SigningPublicKey>,
    first_use: FirstUse,
    rotation: RotationPolicy,
    records: HashMap<String, Vec<String>>,
    unreachable: HashSet<String>,
}

impl World {
    fn with(pins: impl IntoIterator<Item = Pin>) -> Self {
        Self {
            zone: zone("bob.example"),
            pins: pins.into_iter().collect(),
            denylist: HashSet::new(),
            first_use: FirstUse::Refuse,
            rotation: RotationPolicy::Follow,
            records: HashMap::new(),
            unreachable: HashSet::new(),
        }
    }

    fn publish(mut self, owner: &str, value: String) -> Self {
        self.records
            .entry(owner.to_owned())
            .or_default()
            .push(value);
        self
    }

    /// `person` publishes under an own zone, truthfully.
    fn publish_identity(self, user: &str, host: &str, person: u8) -> Self {
        self.publish(
            &format!("dmp.{host}"),
            identity_record(user, person, person, 1),
        )
    }

    fn receiver(&self) -> Receiver<'_> {
        Receiver {
            user_id: id(BOB),
            zone: &self.zone,
            pins: &self.pins,
            denylist: &self.denylist,
            first_use: self.first_use,
            rotation: self.rotation,
        }
    }

    fn admit(&self, manifest: &Verified<Manifest>, origin: Origin<'_>) -> Admission {
        let mut rotations = Rotations::default();
        for _ in 0..3 {
            match self.receiver().admit(manifest, origin, &rotations, NOW) {
                Admission::NeedRotations(questions) => {
                    assert!(!questions.is_empty());
                    for question in questions {
                        let values: Vec<_> = question
                            .owner_names()
                            .iter()
                            .flat_map(|name| self.records.get(name.as_str()).into_iter().flatten())
                            .map(String::as_str)
                            .collect();
                        rotations.learn(&question, values.iter().copied(), NOW);
                    }
                }
                done => return done,
            }
        }
        panic!("the first gate keeps asking");
    }

    fn walk(&self, person: u8, zone: &Zone) -> Admission {
        self.admit(&manifest(person, |_| ()), Origin::SlotWalk(zone))
    }

    fn claimed(&self, person: u8, mailbox_zone: &str) -> Admission {
        self.admit(
            &manifest(person, |_| ()),
            Origin::Claim(&claim(person, mailbox_zone)),
        )
    }

    fn judge(&self, author: &Author, standing: &Standing) -> Decision {
        let mut identities = Identities::default();
        for _ in 0..3 {
            match self.receiver().judge(author, standing, &identities) {
                Decision::NeedIdentities(questions) => {
                    assert!(!questions.is_empty());
                    for question in questions {
                        let finding = self.look_up(&question);
                        identities.learn(question, finding);
                    }
                }
                done => return done,
            }
        }
        panic!("the second gate keeps asking");
    }

    fn look_up(&self, question: &IdentityQuestion) -> Finding {
        let names = question.owner_names();
        let failed = names
            .iter()
            .any(|name| self.unreachable.contains(name.as_str()));
        let values: Vec<_> = names
            .iter()
            .filter(|name| !self.unreachable.contains(name.as_str()))
            .flat_map(|name| self.records.get(name.as_str()).into_iter().flatten())
            .map(String::as_str)
            .collect();
        question.judge(values, if failed { Reach::Partial } else { Reach::All })
    }

    fn pinned(&self, author: &Author) -> Decision {
        self.judge(author, &Standing::Pinned)
    }
}

fn manifest(sender: u8, change: impl FnOnce(&mut Manifest)) -> Verified<Manifest> {
    let mut manifest = Manifest {
        msg_id: MsgId::from_bytes([8; 16]),
        sender: spk(sender),
        recipient: id(BOB),
        plan: CodePlan::new(1, 2).unwrap(),
        prekey: None,
        ts: NOW,
        exp: NOW.saturating_add(300),
        chunk_hashes: vec![[1; 32]; 2],
    };
    change(&mut manifest);
    Manifest::parse(&manifest.sign(&identity(sender)).unwrap(), NOW).unwrap()
}

fn claim(sender: u8, mailbox_zone: &str) -> Verified<Claim> {
    let claim = Claim {
        msg_id: MsgId::from_bytes([8; 16]),
        sender: spk(sender),
        mailbox_zone: zone(mailbox_zone),
        slot: Slot::new(0).unwrap(),
        ts: NOW,
        exp: NOW.saturating_add(300),
    };
    Claim::parse(&claim.sign(&identity(sender)).unwrap(), NOW).unwrap()
}

/// An identity record signed by `signer` that shows the X25519 key of `holder`: the same person if honest.
fn identity_record(user: &str, signer: u8, holder: u8, ts: u64) -> String {
    let body = [
        &[user.len() as u8][..],
        user.as_bytes(),
        identity(holder).agreement_public().as_bytes(),
        spk(signer).as_bytes(),
        &ts.to_be_bytes(),
    ]
    .concat();
    format!(
        "v=dmp1;t=identity;d={}",
        encode64(&[&body[..], &sign(signer, &body)].concat())
    )
}

fn rotation(user: &str, host: &str, old: u8, new: u8) -> String {
    let rotation = Rotation {
        subject: Subject::user(user, host).unwrap(),
        old: spk(old),
        new: spk(new),
        seq: 1,
        ts: NOW,
        exp: NOW.saturating_add(86_400),
    };
    rotation
        .sign(
            Signer::Person(&identity(old)),
            Signer::Person(&identity(new)),
        )
        .unwrap()
}

fn revocation(user: &str, host: &str, key: u8) -> String {
    let subject = Subject::user(user, host).unwrap();
    let revocation = Revocation {
        subject,
        revoked: spk(key),
        reason: Reason::Compromise,
        ts: NOW,
    };
    revocation.sign(Signer::Person(&identity(key))).unwrap()
}

fn author(signer: u8, sender: u8, from: Option<&str>) -> Author {
    Author {
        signing: spk(signer),
        sender_id: id(sender),
        from: from.map(address),
    }
}

fn fetch(standing: Standing) -> Admission {
    Admission::Fetch {
        standing,
        hashes: HashPolicy::Required,
    }
}

fn unproven(decision: &Decision) -> &Unproven {
    match decision {
        Decision::Quarantine {
            reason: reason @ Quarantine::AuthorshipNotProven(unproven),
            ..
        } => {
            assert_eq!(reason.code(), "authorship-not-proven");
            assert!(reason.to_string().starts_with("authorship not proven"));
            assert!(!decision.consumes_prekey());
            unproven
        }
        other => panic!("{other:?}"),
    }
}

fn proof(decision: &Decision) -> &Proof {
    match decision {
        Decision::Inbox { proof, .. } => {
            assert!(decision.consumes_prekey());
            proof
        }
        other => panic!("{other:?}"),
    }
}

fn label(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Inbox { label, .. } | Decision::Quarantine { label, .. } => {
            label.as_ref().map(Address::as_str)
        }
        other => panic!("{other:?}"),
    }
}

// --- The first gate ---

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

// --- The second gate, D6 sentence by sentence ---

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

// --- Identity look-ups, D28 ---

#[test]
fn the_newest_record_of_the_wanted_key_wins_whatever_the_order() {
    let records = [
        identity_record("alice", ALICE, ALICE, 10),
        identity_record("alice", ALICE, CAROL, 30),
        identity_record("alice", MALLORY, MALLORY, 99),
        identity_record("alice", ALICE, BOB, 20),
        identity_record("bob", ALICE, BOB, 100),
        "v=dmp1;t=identity;d=garbage".to_owned(),
    ];
    let question = IdentityQuestion {
        user: "alice".to_owned(),
        host: zone("x.example"),
        wanted: spk(ALICE),
    };
    for rotate in 0..records.len() {
        let mut values: Vec<&str> = records.iter().map(String::as_str).collect();
        values.rotate_left(rotate);
        for reach in [Reach::All, Reach::Partial] {
            let Finding::Wanted(record) = question.judge(values.iter().copied(), reach) else {
                panic!("the wanted key is there");
            };
            assert_eq!(
                (record.ts, record.agreement),
                (UnixTime::new(30), identity(CAROL).agreement_public())
            );
        }
    }
}

#[test]
fn another_key_is_reported_only_when_every_name_was_asked() {
    let question = IdentityQuestion {
        user: "alice".to_owned(),
        host: zone("x.example"),
        wanted: spk(ALICE),
    };
    let squatter = identity_record("alice", MALLORY, MALLORY, 1);
    assert!(matches!(
        question.judge([squatter.as_str()], Reach::All),
        Finding::Other(_)
    ));
    assert_eq!(
        question.judge([squatter.as_str()], Reach::Partial),
        Finding::Unreachable
    );
    assert_eq!(question.judge([], Reach::All), Finding::Absent);
    assert_eq!(question.judge([], Reach::Partial), Finding::Unreachable);
}

#[test]
fn mixed_case_user_names_are_found() {
    let mixed = IdentityRecord {
        username: "Alice".to_owned(),
        agreement: identity(ALICE).agreement_public(),
        signing: spk(ALICE),
        ts: NOW,
        versions: Versions::default(),
    };
    let question = IdentityQuestion {
        user: "Alice".to_owned(),
        host: zone("mesh.example"),
        wanted: spk(ALICE),
    };
    let names: Vec<String> = question
        .owner_names()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "dmp.mesh.example",
            "id-3bc51062973c458d.mesh.example",
            "id-2bd806c97f0e00af.mesh.example"
        ]
    );
    // The envelope's address is lower case; the contact's name tells the hash to look for.
    let contact = Pin {
        username: Some("Alice".to_owned()),
        ..pin("alice", ALICE)
    };
    let world = World::with([contact]).publish(&names[1], mixed.sign(&identity(ALICE)).unwrap());
    let decision = world.pinned(&author(ALICE, ALICE, Some("alice@mesh.example")));
    assert_eq!(label(&decision), Some("alice@mesh.example"));
}

// --- One X25519 key belongs to one signing key ---

#[test]
fn pinning_a_key_held_under_another_signing_key_is_refused_with_both_names() {
    let alice = pin("alice", ALICE);
    let row = Holder {
        name: "intro #7",
        signing: Some(spk(ALICE)),
        user_id: id(ALICE),
    };
    let mallory = Holder {
        name: "mallory",
        signing: Some(spk(MALLORY)),
        user_id: id(ALICE),
    };
    for (holder, held_by) in [(alice.holder().unwrap(), "alice"), (row, "intro #7")] {
        let refused = PinningRefused {
            wanted: "mallory".to_owned(),
            held_by: held_by.to_owned(),
        };
        assert!(refused.to_string().contains("mallory") && refused.to_string().contains(held_by));
        assert_eq!(check_pinning(&mallory, [holder]), Err(refused));
    }
    let again = Holder {
        name: "alice@alice.example",
        signing: Some(spk(ALICE)),
        user_id: id(ALICE),
    };
    assert_eq!(
        check_pinning(&again, [alice.holder().unwrap(), row]),
        Ok(())
    );
    let by_hand = Holder {
        signing: None,
        ..again
    };
    assert_eq!(check_pinning(&by_hand, [row]), Ok(()));
    assert_eq!(check_pinning(&row, [by_hand]), Ok(()));
    assert_eq!(signing_only("alice", ALICE).holder(), None);
}

#[test]
fn trusting_a_row_whose_key_is_pinned_but_unproven_is_refused() {
    let world = World::with([pin("alice", ALICE)]);
    let receiver = world.receiver();
    let doubtful = Quarantine::AuthorshipNotProven(Unproven::PinnedKeyDiffers);
    let refused = receiver.check_trusting("new", &author(ALICE, MALLORY, None), &doubtful, []);
    assert_eq!(
        refused,
        Err(TrustRefused::Unproven {
            label: "alice".to_owned()
        })
    );

    let elsewhere = Quarantine::PinnedElsewhere {
        label: "alice".to_owned(),
    };
    assert_eq!(
        receiver.check_trusting("alice", &author(ALICE, ALICE, None), &elsewhere, []),
        Ok(())
    );

    let stranger = author(MALLORY, MALLORY, None);
    assert_eq!(
        receiver.check_trusting("mallory", &stranger, &Quarantine::NotPinned, []),
        Ok(())
    );
    let copied = receiver.check_trusting(
        "mallory",
        &author(MALLORY, ALICE, None),
        &Quarantine::NotPinned,
        [],
    );
    let held = PinningRefused {
        wanted: "mallory".to_owned(),
        held_by: "alice".to_owned(),
    };
    assert_eq!(copied, Err(TrustRefused::KeyHeld(held)));
    let row = Holder {
        name: "intro #2",
        signing: Some(spk(CAROL)),
        user_id: id(MALLORY),
    };
    let copied = receiver.check_trusting("mallory", &stranger, &Quarantine::NotPinned, [row]);
    let held = PinningRefused {
        wanted: "mallory".to_owned(),
        held_by: "intro #2".to_owned(),
    };
    assert_eq!(copied, Err(TrustRefused::KeyHeld(held)));
}

/// Alice writes to Bob; Mallory announces Alice's very chunks under a manifest of their own. What Bob then sees.
fn re_signed(
    prekey: Option<(PrekeyId, &AgreementSecret)>,
    from: Option<&Address>,
) -> (Verified<Manifest>, Author) {
    let (alice, bob): (Identity, Identity) = (identity(ALICE), identity(BOB));
    let request = SealRequest {
        sender: &alice,
        recipient: &bob.agreement_public(),
        prekey: prekey.map(|(id, private)| (id, private.public())),
        body: b"I owe you nothing",
        from,
        msg_id: MsgId::from_bytes([8; 16]),
        now: NOW,
        ttl: 300,
        wire: Wire::Current,
    };
    let Sealed {
        manifest, chunks, ..
    } = seal(&request, usize::MAX, &mut TestRng::new(1)).unwrap();
    let mut copy = Manifest::parse(&manifest, NOW).unwrap().into_inner();
    copy.sender = spk(MALLORY);
    let copy = Manifest::parse(&copy.sign(&identity(MALLORY)).unwrap(), NOW).unwrap();
    let mut shares = Shares::new(&copy, HashPolicy::Required).unwrap();
    for (index, value) in (0..).zip(&chunks) {
        assert!(shares.offer(index, value));
    }
    let key = prekey.map_or(bob.agreement(), |(_, private)| private);
    let opened = open(&copy, &shares, key, NOW).expect("a copied message decrypts");
    let author = Author::of(&copy, &opened);
    assert_eq!(
        (author.signing, author.sender_id),
        (spk(MALLORY), id(ALICE))
    );
    (copy, author)
}
