//! Whole receive runs over the zone contents of the vectors, with nothing but this crate: poll, admit, collect, open, judge.
//!
//! The loop is the simplest that obeys the two gates; the real one fetches in parallel and keeps its state.

mod support;

use std::collections::HashSet;

use dmp_core::id::{PrekeyId, Slot};
use dmp_core::keys::{AgreementPublicKey, AgreementSecret, Identity, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::open::{HashPolicy, Shares, open};
use dmp_core::owner::{OwnerName, chunk_owner, claim_owner, manifest_owner};
use dmp_core::record::{Claim, Manifest};
use dmp_core::replay::{ReplayKey, ReplayWindow};
use dmp_core::seal::Wire;
use dmp_core::signed::Verified;
use dmp_core::trust::{
    Admission, Author, Decision, FirstUse, Identities, Origin, Pin, Reach, Receiver,
    RotationPolicy, Rotations, Standing,
};
use serde_json::{Value, json};
use support::{bytes, cases, now, number, text};

#[test]
fn every_scenario_ends_as_required() {
    for case in cases("receive_scenarios.json", "cases", 49) {
        let expected = if case["required"] == "either" {
            &case["recommended"]
        } else {
            &case["required"]
        };
        let mut run = Run::new(&case);
        run.receive();
        assert_eq!(run.delivered(), *expected, "{}", case["note"]);
        if let Some(left) = case.get("prekey_left_after_run") {
            assert_eq!(
                Value::Bool(!run.prekeys.is_empty()),
                *left,
                "{}",
                case["note"]
            );
        }

        let first = run.delivered();
        run.receive();
        assert_eq!(
            run.delivered(),
            first,
            "a second run delivers nothing: {}",
            case["note"]
        );
    }
}

struct Run<'c> {
    case: &'c Value,
    identity: Identity,
    zone: Zone,
    pins: Vec<Pin>,
    prekeys: Vec<(PrekeyId, AgreementSecret)>,
    replay: ReplayWindow,
    denylist: HashSet<SigningPublicKey>,
    inbox: Vec<String>,
    quarantine: Vec<String>,
}

impl<'c> Run<'c> {
    fn new(case: &'c Value) -> Self {
        let list = |value: &'c Value| value.as_array().map_or(&[][..], Vec::as_slice);
        let pin = |pinned: &Value| Pin {
            label: text(pinned, "name").to_owned(),
            signing: Some(SigningPublicKey::from_bytes(bytes(pinned, "ed25519_hex"))),
            agreement: Some(AgreementPublicKey::from_bytes(bytes(pinned, "x25519_hex"))),
            username: Some(text(pinned, "name").to_owned()),
            zone: Some(zone(text(pinned, "zone"))),
            mailbox_zone: None,
            wire: Wire::Current,
        };
        let prekey = |prekey: &Value| {
            let id = PrekeyId::new(number(prekey, "prekey_id") as u32).expect("not zero");
            (
                id,
                AgreementSecret::from_bytes(bytes(prekey, "private_hex")),
            )
        };
        Self {
            case,
            identity: Identity::from_seed(bytes(&case["recipient"], "x25519_private_hex")),
            zone: zone(text(&case["recipient"], "zone")),
            pins: list(&case["pinned"]).iter().map(pin).collect(),
            prekeys: list(&case["prekeys"]).iter().map(prekey).collect(),
            replay: ReplayWindow::default(),
            denylist: HashSet::new(),
            inbox: Vec::new(),
            quarantine: Vec::new(),
        }
    }

    fn values(&self, owner: &OwnerName) -> Vec<&'c str> {
        let values = self.case["zone_data"][owner.as_str()].as_array();
        values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    fn receive(&mut self) {
        let now = now(self.case);
        let user = self.identity.user_id();
        let own = self.zone.clone();
        for slot in Slot::all() {
            for value in self.values(&claim_owner(&user, slot, &own)) {
                let Ok(claim) = Claim::parse(value, now) else {
                    continue;
                };
                let names =
                    Slot::all().map(|slot| manifest_owner(&user, slot, &claim.mailbox_zone));
                let found: Vec<_> = names
                    .flat_map(|name| self.values(&name))
                    .filter_map(|value| Manifest::parse(value, now).ok())
                    .filter(|manifest| {
                        (manifest.msg_id, manifest.sender) == (claim.msg_id, claim.sender)
                    })
                    .collect();
                for manifest in found {
                    self.take(&manifest, Origin::Claim(&claim));
                }
            }
        }
        let mut zones: Vec<Zone> = self
            .pins
            .iter()
            .filter_map(|pin| pin.zone.clone())
            .chain([own])
            .collect();
        zones.dedup();
        for zone in zones {
            for slot in Slot::all() {
                for value in self.values(&manifest_owner(&user, slot, &zone)) {
                    if let Ok(manifest) = Manifest::parse(value, now) {
                        self.take(&manifest, Origin::SlotWalk(&zone));
                    }
                }
            }
        }
    }

    fn receiver(&self) -> Receiver<'_> {
        Receiver {
            user_id: self.identity.user_id(),
            zone: &self.zone,
            pins: &self.pins,
            denylist: &self.denylist,
            first_use: FirstUse::Refuse,
            rotation: RotationPolicy::Ignore,
        }
    }

    fn take(&mut self, manifest: &Verified<Manifest>, origin: Origin<'_>) {
        let now = now(self.case);
        let mut rotations = Rotations::default();
        let (standing, hashes) = loop {
            match self.receiver().admit(manifest, origin, &rotations, now) {
                Admission::Fetch { standing, hashes } => break (standing, hashes),
                Admission::Drop(_) => return,
                Admission::NeedRotations(questions) => {
                    for question in questions {
                        let values: Vec<_> = question
                            .owner_names()
                            .iter()
                            .flat_map(|name| self.values(name))
                            .collect();
                        rotations.learn(&question, values.iter().copied(), now);
                    }
                }
            }
        };
        let key = ReplayKey {
            sender: manifest.sender,
            msg_id: manifest.msg_id,
        };
        if !self.replay.claim(key, now) {
            return;
        }
        let Some((decision, body)) = self.read(manifest, origin, &standing, hashes) else {
            self.replay.release(&key);
            return;
        };
        self.replay.finalize(key, manifest.exp);
        if decision.consumes_prekey() {
            self.prekeys.retain(|(id, _)| Some(*id) != manifest.prekey);
        }
        match decision {
            Decision::Inbox { .. } => self.inbox.push(hex::encode(body)),
            _ => self.quarantine.push(hex::encode(body)),
        }
    }

    fn read(
        &self,
        manifest: &Verified<Manifest>,
        origin: Origin<'_>,
        standing: &Standing,
        hashes: HashPolicy,
    ) -> Option<(Decision, Vec<u8>)> {
        let mut shares = Shares::new(manifest, hashes).ok()?;
        let wanted: Vec<u16> = shares.wanted().collect();
        for index in wanted {
            let owner = chunk_owner(
                &manifest.msg_id,
                &manifest.recipient,
                &manifest.sender,
                index,
                origin.zone(),
            );
            self.values(&owner)
                .into_iter()
                .any(|value| shares.offer(index, value));
            if shares.is_complete() {
                break;
            }
        }
        let key = match manifest.prekey {
            None => self.identity.agreement(),
            Some(wanted) => &self.prekeys.iter().find(|(id, _)| *id == wanted)?.1,
        };
        let opened = open(manifest, &shares, key, now(self.case)).ok()?;
        let author = Author::of(manifest, &opened);
        let mut identities = Identities::default();
        loop {
            match self.receiver().judge(&author, standing, &identities) {
                Decision::NeedIdentities(questions) => {
                    for question in questions {
                        let names = question.owner_names();
                        let finding = question
                            .judge(names.iter().flat_map(|name| self.values(name)), Reach::All);
                        identities.learn(question, finding);
                    }
                }
                decision => return Some((decision, opened.body)),
            }
        }
    }

    fn delivered(&self) -> Value {
        let sorted = |bodies: &[String]| {
            let mut bodies = bodies.to_vec();
            bodies.sort();
            bodies
        };
        json!({ "inbox": sorted(&self.inbox), "quarantine": sorted(&self.quarantine) })
    }
}

fn zone(text: &str) -> Zone {
    Zone::parse(text).expect("a zone")
}
