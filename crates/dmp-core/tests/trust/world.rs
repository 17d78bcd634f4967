//! Bob, the people he knows or does not know, and the DNS that he can reach.

use std::collections::{HashMap, HashSet};

use dmp_core::address::Address;
use dmp_core::erasure::CodePlan;
use dmp_core::id::{MsgId, PrekeyId, Slot, UserId};
use dmp_core::keys::{AgreementSecret, Identity, Signer, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::open::{HashPolicy, Shares, open};
use dmp_core::record::{Claim, Manifest, Reason, Revocation, Rotation, Subject};
use dmp_core::seal::{SealRequest, Sealed, Wire, seal};
use dmp_core::signed::Verified;
use dmp_core::trust::{
    Admission, Author, Decision, Finding, FirstUse, Identities, IdentityQuestion, Origin, Pin,
    Proof, Quarantine, Reach, Receiver, RotationPolicy, Rotations, Standing, Unproven,
};

use crate::support::{NOW, TestRng, encode64, identity, sign};

pub(crate) const ALICE: u8 = 1;
pub(crate) const BOB: u8 = 2;
pub(crate) const MALLORY: u8 = 3;
pub(crate) const CAROL: u8 = 4;
pub(crate) const ALICE_NEXT: u8 = 5;

pub(crate) fn zone(text: &str) -> Zone {
    Zone::parse(text).unwrap()
}

pub(crate) fn spk(person: u8) -> SigningPublicKey {
    identity(person).signing_public()
}

pub(crate) fn id(person: u8) -> UserId {
    identity(person).user_id()
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A contact with both keys, fetched from its own zone.
pub(crate) fn pin(label: &str, person: u8) -> Pin {
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
pub(crate) fn signing_only(label: &str, person: u8) -> Pin {
    Pin {
        agreement: None,
        ..pin(label, person)
    }
}

/// Bob, and the DNS that he can reach.
pub(crate) struct World {
    pub(crate) zone: Zone,
    pub(crate) pins: Vec<Pin>,
    pub(crate) denylist: HashSet<SigningPublicKey>,
    pub(crate) first_use: FirstUse,
    pub(crate) rotation: RotationPolicy,
    pub(crate) records: HashMap<String, Vec<String>>,
    pub(crate) unreachable: HashSet<String>,
}

impl World {
    pub(crate) fn with(pins: impl IntoIterator<Item = Pin>) -> Self {
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

    pub(crate) fn publish(mut self, owner: &str, value: String) -> Self {
        self.records
            .entry(owner.to_owned())
            .or_default()
            .push(value);
        self
    }

    /// `person` publishes under an own zone, truthfully.
    pub(crate) fn publish_identity(self, user: &str, host: &str, person: u8) -> Self {
        self.publish(
            &format!("dmp.{host}"),
            identity_record(user, person, person, 1),
        )
    }

    pub(crate) fn receiver(&self) -> Receiver<'_> {
        Receiver {
            user_id: id(BOB),
            zone: &self.zone,
            pins: &self.pins,
            denylist: &self.denylist,
            first_use: self.first_use,
            rotation: self.rotation,
        }
    }

    pub(crate) fn admit(&self, manifest: &Verified<Manifest>, origin: Origin<'_>) -> Admission {
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

    pub(crate) fn walk(&self, person: u8, zone: &Zone) -> Admission {
        self.admit(&manifest(person, |_| ()), Origin::SlotWalk(zone))
    }

    pub(crate) fn claimed(&self, person: u8, mailbox_zone: &str) -> Admission {
        self.admit(
            &manifest(person, |_| ()),
            Origin::Claim(&claim(person, mailbox_zone)),
        )
    }

    pub(crate) fn judge(&self, author: &Author, standing: &Standing) -> Decision {
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

    pub(crate) fn look_up(&self, question: &IdentityQuestion) -> Finding {
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

    pub(crate) fn pinned(&self, author: &Author) -> Decision {
        self.judge(author, &Standing::Pinned)
    }
}

pub(crate) fn manifest(sender: u8, change: impl FnOnce(&mut Manifest)) -> Verified<Manifest> {
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

pub(crate) fn claim(sender: u8, mailbox_zone: &str) -> Verified<Claim> {
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
pub(crate) fn identity_record(user: &str, signer: u8, holder: u8, ts: u64) -> String {
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

pub(crate) fn rotation(user: &str, host: &str, old: u8, new: u8) -> String {
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

pub(crate) fn revocation(user: &str, host: &str, key: u8) -> String {
    let subject = Subject::user(user, host).unwrap();
    let revocation = Revocation {
        subject,
        revoked: spk(key),
        reason: Reason::Compromise,
        ts: NOW,
    };
    revocation.sign(Signer::Person(&identity(key))).unwrap()
}

pub(crate) fn author(signer: u8, sender: u8, from: Option<&str>) -> Author {
    Author {
        signing: spk(signer),
        sender_id: id(sender),
        from: from.map(address),
    }
}

pub(crate) fn fetch(standing: Standing) -> Admission {
    Admission::Fetch {
        standing,
        hashes: HashPolicy::Required,
    }
}

pub(crate) fn unproven(decision: &Decision) -> &Unproven {
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

pub(crate) fn proof(decision: &Decision) -> &Proof {
    match decision {
        Decision::Inbox { proof, .. } => {
            assert!(decision.consumes_prekey());
            proof
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn label(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Inbox { label, .. } | Decision::Quarantine { label, .. } => {
            label.as_ref().map(Address::as_str)
        }
        other => panic!("{other:?}"),
    }
}

/// Alice writes to Bob; Mallory announces Alice's very chunks under a manifest of their own. What Bob then sees.
pub(crate) fn re_signed(
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
