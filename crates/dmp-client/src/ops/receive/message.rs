//! One message: first gate, chunks, decryption, second gate (crypto.md 15.2-15.4, D6). Stores nothing.

use std::sync::Arc;

use dmp_core::open::{Opened, Shares, open};
use dmp_core::owner::chunk_owner;
use dmp_core::trust::{Admission, Author, Decision, Identities, Proof, Rotations, Standing};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::super::lookup::{Account, identity_finding, rotation_values};
use super::Run;
use super::gather::Candidate;
use crate::error::StoreError;
use crate::limits::CHUNKS_IN_FLIGHT;
use crate::mesh::Lookup;
use crate::store::{
    Authorship, HeldPrekey, InboxMessage, MessageNumber, NewIntro, Reason, Received, Succession,
};

/// Rounds of questions that one decision may need: rotations of all contacts once, identities once, and one to spare.
const QUESTION_ROUNDS: usize = 3;

/// What became of a message in this run.
pub(super) enum Outcome {
    /// Decrypted and judged.
    Ready(Box<Received>),
    /// Not complete yet; its prekey, if the sender is known, is kept for it.
    Waiting { prekey: Option<HeldPrekey> },
    /// Nothing for this user; the reason is in the list of dropped records.
    Dropped,
}

/// What became of one way to get a message.
enum Attempt {
    Inbox(InboxMessage),
    Quarantine(NewIntro),
    Incomplete,
}

/// Why a way to get a message leads nowhere.
struct Refusal {
    code: &'static str,
    reason: String,
}

impl Refusal {
    fn new(code: &'static str, reason: impl ToString) -> Self {
        Self {
            code,
            reason: reason.to_string(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error)
    }
}

impl Run<'_> {
    /// Decides about every message found, all at once; each decision is in the state as soon as it is made.
    pub(super) async fn decide(&self) {
        let found: Vec<Vec<Arc<Candidate>>> = self.with_state(|state| {
            state
                .messages
                .iter()
                .map(|message| message.candidates.clone())
                .collect()
        });
        let mut deciding: FuturesUnordered<_> = found
            .iter()
            .enumerate()
            .map(async |(index, candidates)| (index, self.outcome(candidates).await))
            .collect();
        while let Some((index, outcome)) = deciding.next().await {
            self.with_state(|state| state.messages[index].outcome = Some(outcome));
        }
    }

    /// Tries the ways that may lead to the inbox first: a copy in a stranger's zone must not send the original to the quarantine.
    async fn outcome(&self, candidates: &[Arc<Candidate>]) -> Outcome {
        let mut ways: Vec<(&Candidate, Standing, Shares)> = Vec::new();
        for candidate in candidates {
            match self.admit(candidate).await {
                Err(refusal) => self.drop_candidate(candidate, refusal),
                Ok((standing, shares)) => {
                    let again = ways.iter().any(|(other, known, _)| {
                        other.zone == candidate.zone
                            && *other.manifest == *candidate.manifest
                            && *known == standing
                    });
                    if !again {
                        ways.push((candidate, standing, shares));
                    }
                }
            }
        }
        ways.sort_by_key(|(_, standing, _)| matches!(standing, Standing::Stranger { .. }));

        let mut quarantine = None;
        let mut waiting = None;
        for (candidate, standing, shares) in ways {
            let known = !matches!(standing, Standing::Stranger { .. });
            match self.attempt(candidate, &standing, shares).await {
                Ok(Attempt::Inbox(message)) => {
                    return Outcome::Ready(Box::new(Received::Inbox(message)));
                }
                Ok(Attempt::Quarantine(intro)) => quarantine = quarantine.or(Some(intro)),
                Ok(Attempt::Incomplete) => {
                    let refusal = Refusal::new("incomplete", "chunks are missing");
                    self.drop_candidate(candidate, refusal);
                    let manifest = &candidate.manifest;
                    let prekey = manifest.prekey.filter(|_| known).map(|id| HeldPrekey {
                        id,
                        until: manifest.exp,
                    });
                    waiting = waiting.or(Some((known, prekey)));
                }
                Err(refusal) => self.drop_candidate(candidate, refusal),
            }
        }
        match (waiting, quarantine) {
            // It may still arrive properly.
            (Some((true, prekey)), _) => Outcome::Waiting { prekey },
            (_, Some(intro)) => Outcome::Ready(Box::new(Received::Quarantine(intro))),
            (Some((false, prekey)), None) => Outcome::Waiting { prekey },
            (None, None) => Outcome::Dropped,
        }
    }

    /// The first gate and the replay check.
    async fn admit(&self, candidate: &Candidate) -> Result<(Standing, Shares), Refusal> {
        let manifest = &candidate.manifest;
        let mut rotations = Rotations::default();
        let mut admission = self
            .receiver
            .admit(manifest, candidate.origin(), &rotations, self.now);
        for _ in 0..QUESTION_ROUNDS {
            let Admission::NeedRotations(questions) = admission else {
                break;
            };
            let asked = questions
                .iter()
                .map(|question| rotation_values(&self.lookups, question));
            for (question, values) in questions.iter().zip(join_all(asked).await) {
                rotations.learn(question, values.iter().map(String::as_str), self.now);
            }
            admission = self
                .receiver
                .admit(manifest, candidate.origin(), &rotations, self.now);
        }
        let (standing, hashes) = match admission {
            Admission::Fetch { standing, hashes } => (standing, hashes),
            Admission::Drop(reason) => return Err(Refusal::new(reason.code(), reason)),
            Admission::NeedRotations(_) => {
                return Err(Refusal::new("undecided", "its rotations stay unknown"));
            }
        };
        let (store, signer, msg_id) = (self.session.store, &manifest.sender, &manifest.msg_id);
        if store.is_replay(signer, msg_id)? {
            let stranger = matches!(standing, Standing::Stranger { .. });
            if stranger || !store.is_quarantined(signer, msg_id)? {
                return Err(Refusal::new("replay", "nothing new"));
            }
        }
        let shares = Shares::new(manifest, hashes)
            .map_err(|error| Refusal::new("unusable-manifest", error))?;
        Ok((standing, shares))
    }

    /// From the first chunk to the decision.
    async fn attempt(
        &self,
        candidate: &Candidate,
        standing: &Standing,
        mut shares: Shares,
    ) -> Result<Attempt, Refusal> {
        let manifest = &candidate.manifest;
        let prekey = match manifest.prekey {
            None => None,
            Some(id) => {
                let kept = self.session.store.prekey_secret(id, self.now)?;
                let unknown =
                    || Refusal::new("unknown-prekey", "the prekey it is sealed to is not kept");
                Some(kept.ok_or_else(unknown)?)
            }
        };
        let key = prekey
            .as_ref()
            .unwrap_or_else(|| self.session.identity.agreement());
        self.collect(candidate, standing, &mut shares).await;
        if !shares.is_complete() {
            return Ok(Attempt::Incomplete);
        }
        let opened = open(manifest, &shares, key, self.now)
            .map_err(|error| Refusal::new("decrypt-failed", error))?;
        match self.judge(&Author::of(manifest, &opened), standing).await {
            Decision::Inbox { label, proof } => {
                let succession = match &proof {
                    Proof::Rotation { label, old, .. } => Some(Succession {
                        contact: label.clone(),
                        old: *old,
                        new: manifest.sender,
                    }),
                    _ => None,
                };
                Ok(Attempt::Inbox(InboxMessage {
                    number: MessageNumber::UNSTORED,
                    signer: manifest.sender,
                    msg_id: manifest.msg_id,
                    ts: opened.ts,
                    body: opened.body,
                    manifest_ts: manifest.ts,
                    expires: manifest.exp,
                    received: self.now,
                    contact: self.contact_label(candidate, standing),
                    address: label,
                    prekey: manifest.prekey,
                    authorship: if proof == Proof::Unverified {
                        Authorship::Unverified
                    } else {
                        Authorship::Proven
                    },
                    succession,
                }))
            }
            Decision::Quarantine { label, reason } => {
                let reason = Reason {
                    code: reason.code().to_owned(),
                    text: reason.to_string(),
                };
                Ok(Attempt::Quarantine(intro(candidate, opened, label, reason)))
            }
            Decision::NeedIdentities(_) => {
                Err(Refusal::new("undecided", "its author stays unknown"))
            }
        }
    }

    /// The second gate, with the look-ups that it asks for.
    async fn judge(&self, author: &Author, standing: &Standing) -> Decision {
        let mut identities = Identities::default();
        let mut decision = self.receiver.judge(author, standing, &identities);
        for _ in 0..QUESTION_ROUNDS {
            let Decision::NeedIdentities(questions) = decision else {
                break;
            };
            let asked = questions
                .iter()
                .map(|question| identity_finding(&self.lookups, question));
            let findings = join_all(asked).await;
            for (question, finding) in questions.into_iter().zip(findings) {
                identities.learn(question, finding);
            }
            decision = self.receiver.judge(author, standing, &identities);
        }
        decision
    }

    /// Fetches chunks, data before parity, never more at a time than are needed, until enough are held or too many are missing. What
    /// could not be asked is asked once more (client.md 10.5).
    async fn collect(&self, candidate: &Candidate, standing: &Standing, shares: &mut Shares) {
        let account = if matches!(standing, Standing::Stranger { .. }) {
            Account::Stranger
        } else {
            Account::Own
        };
        let mut missing = 0;
        let mut unasked = Vec::new();
        let indices: Vec<u16> = shares.wanted().collect();
        let mut next = indices.into_iter();
        let mut fetching = FuturesUnordered::new();
        loop {
            while fetching.len() < shares.needed().min(CHUNKS_IN_FLIGHT) {
                let Some(index) = next.next() else { break };
                fetching.push(self.chunk(candidate, account, index));
            }
            let Some((index, answer)) = fetching.next().await else {
                break;
            };
            if let Lookup::Unreachable(_) = &answer {
                unasked.push(index);
            }
            if !offer(shares, index, &answer) {
                missing += 1;
                if shares.hopeless(missing) && unasked.is_empty() {
                    return;
                }
            }
        }
        drop(fetching);
        for index in unasked {
            if shares.is_complete() {
                return;
            }
            let manifest = &candidate.manifest;
            let owner = chunk_owner(
                &manifest.msg_id,
                &manifest.recipient,
                &manifest.sender,
                index,
                &candidate.zone,
            );
            let answer = self.lookups.txt_again(&candidate.zone, &owner).await;
            offer(shares, index, &answer);
        }
    }

    async fn chunk(&self, candidate: &Candidate, account: Account, index: u16) -> (u16, Lookup) {
        let manifest = &candidate.manifest;
        let owner = chunk_owner(
            &manifest.msg_id,
            &manifest.recipient,
            &manifest.sender,
            index,
            &candidate.zone,
        );
        (
            index,
            self.lookups.txt_for(account, &candidate.zone, &owner).await,
        )
    }

    /// The contact that a message comes from.
    fn contact_label(&self, candidate: &Candidate, standing: &Standing) -> Option<String> {
        match standing {
            Standing::Rotated { label, .. } => Some(label.clone()),
            _ => {
                let pins = self.receiver.pins.iter();
                pins.filter(|pin| pin.signing == Some(candidate.manifest.sender))
                    .map(|pin| pin.label.clone())
                    .next()
            }
        }
    }

    fn drop_candidate(&self, candidate: &Candidate, refusal: Refusal) {
        let whose = Some((candidate.manifest.sender, candidate.manifest.msg_id));
        self.drop_record(&candidate.zone, refusal.code, refusal.reason, whose);
    }
}

fn offer(shares: &mut Shares, index: u16, answer: &Lookup) -> bool {
    matches!(answer, Lookup::Found(values) if values.iter().any(|value| shares.offer(index, value)))
}

fn intro(
    candidate: &Candidate,
    opened: Opened,
    address: Option<dmp_core::address::Address>,
    reason: Reason,
) -> NewIntro {
    let manifest = &candidate.manifest;
    NewIntro {
        signer: manifest.sender,
        msg_id: manifest.msg_id,
        body: opened.body,
        ts: opened.ts,
        zone: candidate.zone.clone(),
        address,
        claimed: opened.from,
        sender_id: Some(opened.sender_id),
        reason,
        prekey: manifest.prekey,
        expires: manifest.exp,
    }
}
