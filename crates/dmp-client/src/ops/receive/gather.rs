//! Finding messages: claims in the own zone and at providers, slots of every polled zone, all at once (client.md 10.1-10.3).
//! Fetches no chunk and trusts nobody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dmp_core::id::{MsgId, Slot};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::{claim_owner, manifest_owner};
use dmp_core::record::{Claim, Manifest};
use dmp_core::signed::Verified;
use dmp_core::trust::Origin;
use futures_util::future::{join, join_all};

use super::super::{Strangers, providers};
use super::budget::Account;
use super::clear::{OwnRecord, after_read_back};
use super::{Message, Phases, Run};
use crate::limits::{CLAIMS_PER_RUN, CLAIMS_PER_SENDER};
use crate::mesh::{Counted, Lookup};

/// A verified manifest and how it was found.
pub(super) struct Candidate {
    pub(super) manifest: Verified<Manifest>,
    pub(super) zone: Zone,
    /// The claim that pointed here; `None` for a slot walk.
    pub(super) claim: Option<Verified<Claim>>,
}

impl Candidate {
    pub(super) fn origin(&self) -> Origin<'_> {
        self.claim
            .as_ref()
            .map_or(Origin::SlotWalk(&self.zone), Origin::Claim)
    }
}

impl Run<'_> {
    /// Looks everywhere; what is found is in the state at once.
    pub(super) async fn gather(&self, phases: Phases) {
        let own = &self.session.profile.mesh_zone;
        let mut slot_zones: Vec<Zone> = Vec::new();
        if phases != Phases::PrimaryOnly {
            for pin in self.receiver.pins {
                for zone in [
                    pin.mailbox_zone.as_ref(),
                    Some(pin.zone.as_ref().unwrap_or(own)),
                ]
                .into_iter()
                .flatten()
                {
                    if !slot_zones.contains(zone) {
                        slot_zones.push(zone.clone());
                    }
                }
            }
            if !slot_zones.contains(own) {
                slot_zones.push(own.clone());
            }
        }
        let claim_zones = if phases == Phases::SkipPrimary {
            Vec::new()
        } else {
            vec![own.clone()]
        };
        self.poll(slot_zones.iter().chain(&claim_zones));

        self.tally(Counted::Searched, slot_zones.len() + claim_zones.len(), 0);
        let slots = join_all(slot_zones.iter().map(|zone| self.walk(zone)));
        let claims = async {
            let found = providers::known(self.session, &self.lookups, None, self.now);
            let (at_home, providers) = join(self.claims(&claim_zones), found).await;
            let mut elsewhere: Vec<Zone> = Vec::new();
            for provider in providers {
                if !claim_zones.contains(&provider.zone) && !elsewhere.contains(&provider.zone) {
                    elsewhere.push(provider.zone);
                }
            }
            self.poll(&elsewhere);
            self.tally(Counted::Searched, elsewhere.len(), claim_zones.len());
            let mut claims = at_home;
            claims.extend(self.claims(&elsewhere).await);
            self.tally(Counted::Searched, 0, elsewhere.len());
            let silent = elsewhere.iter().filter(|zone| {
                let health = self.lookups.health(zone);
                health.answered == 0 && health.failed > 0
            });
            let silent = silent.map(|zone| (zone, providers::Worked::No));
            providers::learn(self.session, silent, self.now);
            self.follow(claims).await;
        };
        join(slots, claims).await;
    }

    fn poll<'z>(&self, zones: impl IntoIterator<Item = &'z Zone>) {
        self.with_state(|state| {
            for zone in zones {
                if !state.polled.contains(zone) {
                    state.polled.push(zone.clone());
                }
            }
        });
    }

    /// The ten slots of a zone.
    async fn walk(&self, zone: &Zone) {
        join_all(Slot::all().map(async |slot| {
            for manifest in self.manifests(zone, slot, Account::Own).await.iter() {
                self.add(Candidate {
                    manifest: manifest.clone(),
                    zone: zone.clone(),
                    claim: None,
                });
            }
        }))
        .await;
        self.tally(Counted::Searched, 0, 1);
    }

    /// The claims of some zones that are worth following.
    async fn claims(&self, zones: &[Zone]) -> Vec<Verified<Claim>> {
        let mailbox = &self.receiver.user_id;
        let places = zones
            .iter()
            .flat_map(|zone| Slot::all().map(move |slot| (zone, claim_owner(mailbox, slot, zone))));
        let answers = join_all(places.map(async |(zone, owner)| {
            let answer = self.lookups.txt(zone, &owner).await;
            (zone, owner, answer)
        }))
        .await;
        let mut claims = Vec::new();
        for (zone, owner, answer) in answers {
            let Lookup::Found(values) = answer else {
                continue;
            };
            for value in values {
                match Claim::parse(&value, self.now) {
                    Ok(claim) => {
                        let record = OwnRecord {
                            signer: claim.sender,
                            msg_id: claim.msg_id,
                            owner: owner.clone(),
                            value,
                            from: claim.ts,
                        };
                        self.remember(zone, record);
                        claims.push(claim);
                    }
                    Err(error) => self.drop_record(zone, "invalid-claim", error, None),
                }
            }
        }
        claims
    }

    /// Fetches the manifests that claims point to: those of pinned keys first, so that strangers cannot crowd them out.
    async fn follow(&self, mut claims: Vec<Verified<Claim>>) {
        let pinned: HashSet<SigningPublicKey> = self
            .receiver
            .pins
            .iter()
            .filter_map(|pin| pin.signing)
            .collect();
        claims.sort_by_key(|claim| !pinned.contains(&claim.sender));
        let mut seen = HashSet::new();
        let mut per_sender: HashMap<SigningPublicKey, usize> = HashMap::new();
        let mut followed = 0;
        claims.retain(|claim| {
            let whose = Some((claim.sender, claim.msg_id));
            if !seen.insert((claim.sender, claim.msg_id, claim.mailbox_zone.clone())) {
                return false;
            }
            if let Some(code) =
                self.known(&claim.sender, &claim.msg_id, pinned.contains(&claim.sender))
            {
                self.drop_record(&claim.mailbox_zone, code, "nothing new", whose);
                return false;
            }
            if self.session.profile.strangers == Strangers::Ignore
                && !pinned.contains(&claim.sender)
            {
                self.drop_record(
                    &claim.mailbox_zone,
                    "stranger-ignored",
                    "claims of strangers are ignored",
                    whose,
                );
                return false;
            }
            let of_sender = per_sender.entry(claim.sender).or_default();
            if followed >= CLAIMS_PER_RUN || *of_sender >= CLAIMS_PER_SENDER {
                self.drop_record(
                    &claim.mailbox_zone,
                    "too-many-claims",
                    "left for a later run",
                    whose,
                );
                return false;
            }
            *of_sender += 1;
            followed += 1;
            true
        });
        join_all(claims.into_iter().map(async |claim| {
            let account = if pinned.contains(&claim.sender) {
                Account::Contact(claim.sender)
            } else {
                Account::Stranger(claim.sender)
            };
            self.resolve(claim, account).await;
        }))
        .await;
    }

    /// Why a claimed message needs no look: seen, blocked, or waiting for the user; of a pinned key it may have become deliverable.
    fn known(
        &self,
        signer: &SigningPublicKey,
        msg_id: &MsgId,
        pinned: bool,
    ) -> Option<&'static str> {
        if self.receiver.denylist.contains(signer) {
            return Some("denylisted");
        }
        if !matches!(self.session.store.is_replay(signer, msg_id), Ok(true)) {
            return None;
        }
        match self.session.store.is_quarantined(signer, msg_id) {
            Ok(true) if pinned => None,
            Ok(true) => Some("already-pending"),
            _ => Some("replay"),
        }
    }

    /// The manifest that a claim points to: at the slot it names, else at any other.
    async fn resolve(&self, claim: Verified<Claim>, account: Account) {
        let zone = claim.mailbox_zone.clone();
        let same = |manifest: &&Verified<Manifest>| {
            manifest.msg_id == claim.msg_id && manifest.sender == claim.sender
        };
        let hinted = self.manifests(&zone, claim.slot, account).await;
        let mut found = hinted.iter().find(same).cloned();
        if found.is_none() {
            let others = join_all(
                claim
                    .slot
                    .others()
                    .map(|slot| self.manifests(&zone, slot, account)),
            )
            .await;
            found = others
                .iter()
                .flat_map(|slot| slot.iter())
                .find(same)
                .cloned();
        }
        match found {
            Some(manifest) => self.add(Candidate {
                manifest,
                zone,
                claim: Some(claim),
            }),
            None => {
                let whose = Some((claim.sender, claim.msg_id));
                let health = self.lookups.health(&zone);
                if health.failed == 0 {
                    self.drop_record(
                        &zone,
                        "manifest-not-found",
                        "the claimed message is not there",
                        whose,
                    );
                } else {
                    self.drop_record(&zone, "dns-query-failed", health.reason, whose);
                    // Mail of a contact may lie there; what a stranger names is not the user's problem.
                    if matches!(account, Account::Contact(_)) {
                        self.poll([&zone]);
                    }
                }
            }
        }
    }

    /// The verified manifests in a slot of this user's mailbox; each slot's signatures are verified once.
    async fn manifests(
        &self,
        zone: &Zone,
        slot: Slot,
        account: Account,
    ) -> Arc<[Verified<Manifest>]> {
        let owner = manifest_owner(&self.receiver.user_id, slot, zone);
        let Some(Lookup::Found(values)) = self.txt(account, zone, &owner).await else {
            return Arc::default();
        };
        if let Some(known) = self.with_state(|state| state.slots.get(&owner).cloned()) {
            return known;
        }
        let mut manifests = Vec::new();
        for value in values {
            match Manifest::parse(&value, self.now) {
                Ok(manifest) => {
                    let record = OwnRecord {
                        signer: manifest.sender,
                        msg_id: manifest.msg_id,
                        owner: owner.clone(),
                        value,
                        from: after_read_back(manifest.ts),
                    };
                    self.remember(zone, record);
                    manifests.push(manifest);
                }
                Err(error) => self.drop_record(zone, error.code(), error, None),
            }
        }
        let manifests: Arc<[Verified<Manifest>]> = manifests.into();
        self.with_state(|state| state.slots.insert(owner, Arc::clone(&manifests)));
        manifests
    }

    /// Puts a candidate to the others of the same message.
    fn add(&self, candidate: Candidate) {
        let candidate = Arc::new(candidate);
        let (sender, msg_id) = (candidate.manifest.sender, candidate.manifest.msg_id);
        self.with_state(|state| {
            let same = |message: &&mut Message| {
                message.candidates.first().is_some_and(|first| {
                    first.manifest.sender == sender && first.manifest.msg_id == msg_id
                })
            };
            match state.messages.iter_mut().find(same) {
                Some(message) => message.candidates.push(candidate),
                None => state.messages.push(Message {
                    candidates: vec![candidate],
                    outcome: None,
                }),
            }
        });
    }
}
