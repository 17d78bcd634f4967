//! One message: first gate, chunks, decryption, second gate (crypto.md 15.2-15.4, D6). Stores nothing.

use std::collections::HashMap;
use std::sync::Arc;

use dmp_core::keys::SigningPublicKey;
use dmp_core::open::{Opened, Shares, open};
use dmp_core::owner::{OwnerName, chunk_owner};
use dmp_core::trust::{
    Admission, Author, Decision, Finding, Identities, Proof, RotationQuestion, Rotations, Standing,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{self, FuturesUnordered};
use thiserror::Error;

use super::super::lookup::{identity_finding, rotation_values};
use super::Run;
use super::budget::Account;
use super::gather::Candidate;
use crate::error::StoreError;
use crate::limits::{
    CHUNKS_ASKED_AGAIN, CHUNKS_IN_FLIGHT, MESSAGES_IN_FLIGHT, QUARANTINE_MESSAGE_BYTES,
};
use crate::mesh::{Counted, Lookup};
use crate::store::{
    Authorship, HeldPrekey, InboxMessage, MessageNumber, NewIntro, Reason, Received, Succession,
};

/// Rounds of questions that one decision may need: rotations of all contacts once, identities once, and one to spare.
const QUESTION_ROUNDS: usize = 3;

/// The ways in which one message was found.
type Ways = Vec<Arc<Candidate>>;

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
    Incomplete(Shortfall),
}

/// Why chunks are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shortfall {
    /// They are not there, or could not be asked for.
    Missing,
    /// The sender has used up the queries of this run.
    Budget,
}

/// Why a way to get a message leads nowhere.
struct Refusal {
    code: &'static str,
    reason: String,
}

/// Why a message whose author is proven waits all the same (`trust_policy: verified-only`).
#[derive(Debug, Error)]
#[error("the sender's key was never compared")]
struct NotVerified;

impl NotVerified {
    /// The stable machine code.
    const fn code(&self) -> &'static str {
        "not-verified"
    }
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
    /// Decides about every message found, all senders at once and a few messages of each, oldest first; each decision is in the
    /// state as soon as it is made.
    pub(super) async fn decide(&self) {
        let mut of_sender: HashMap<SigningPublicKey, Vec<(usize, Ways)>> = HashMap::new();
        self.with_state(|state| {
            for (index, message) in state.messages.iter().enumerate() {
                if let Some(first) = message.candidates.first() {
                    of_sender
                        .entry(first.manifest.sender)
                        .or_default()
                        .push((index, message.candidates.clone()));
                }
            }
        });
        join_all(of_sender.into_values().map(async |mut messages| {
            messages.sort_by_key(|(_, candidates)| candidates.first().map(|c| c.manifest.ts));
            stream::iter(messages)
                .for_each_concurrent(MESSAGES_IN_FLIGHT, async |(index, candidates)| {
                    let outcome = self.outcome(&candidates).await;
                    self.with_state(|state| {
                        if let Some(message) = state.messages.get_mut(index) {
                            message.outcome = Some(outcome);
                        }
                    });
                })
                .await;
        }))
        .await;
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
                Ok(Attempt::Incomplete(shortfall)) => {
                    let refusal = match shortfall {
                        Shortfall::Missing => Refusal::new("incomplete", "chunks are missing"),
                        Shortfall::Budget => Refusal::new(
                            "too-many-queries",
                            "the rest of this sender's messages is left for a later run",
                        ),
                    };
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
            self.learn(&questions, &mut rotations).await;
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
        let is_stranger = matches!(standing, Standing::Stranger { .. });
        if store.is_replay(signer, msg_id)? {
            let Some(row) = store.intro_of(signer, msg_id)? else {
                return Err(Refusal::new("replay", "nothing new"));
            };
            // The row itself is judged again; only one that came through another zone, or names no sender, is fetched anew.
            if is_stranger || (row.zone == candidate.zone && row.sender_id.is_some()) {
                return Err(Refusal::new(
                    "already-pending",
                    "it waits in the quarantine",
                ));
            }
        }
        if standing == (Standing::Stranger { pinned_as: None })
            && manifest.plan.capacity() > QUARANTINE_MESSAGE_BYTES
        {
            return Err(Refusal::new(
                "intro-too-large",
                "longer than the quarantine takes from a stranger",
            ));
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
        let account = account_of(candidate, standing);
        let shortfall = self.collect(candidate, account, &mut shares).await;
        if let Some(shortfall) = shortfall {
            return Ok(Attempt::Incomplete(shortfall));
        }
        let opened = open(manifest, &shares, key, self.now)
            .map_err(|error| Refusal::new("decrypt-failed", error))?;
        let author = Author::of(manifest, &opened);
        match self.judge(account, &author, standing).await {
            Decision::Inbox { label, .. } if !self.is_verified(&manifest.sender) => {
                let reason = Reason {
                    code: NotVerified.code().to_owned(),
                    text: NotVerified.to_string(),
                };
                Ok(Attempt::Quarantine(intro(candidate, opened, label, reason)))
            }
            Decision::Inbox { label, proof } => {
                let (authorship, succession) = provenance(proof, manifest.sender);
                Ok(Attempt::Inbox(InboxMessage {
                    number: MessageNumber::UNSTORED,
                    signer: manifest.sender,
                    msg_id: manifest.msg_id,
                    ts: opened.ts,
                    body: opened.body,
                    manifest_ts: manifest.ts,
                    expires: manifest.exp,
                    received: self.now,
                    contact: self.contact_label(&manifest.sender, standing),
                    address: label,
                    prekey: manifest.prekey,
                    authorship,
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

    /// Tells what became of contacts' keys. These look-ups are the user's business: their names are those of contacts.
    pub(super) async fn learn(&self, questions: &[RotationQuestion], rotations: &mut Rotations) {
        let asked = questions
            .iter()
            .map(|question| rotation_values(&self.lookups, question));
        for (question, values) in questions.iter().zip(join_all(asked).await) {
            rotations.learn(question, values.iter().map(String::as_str), self.now);
        }
    }

    /// The second gate, with the look-ups that it asks for. The sender chooses the address that it claims, so they are on its account.
    pub(super) async fn judge(
        &self,
        account: Account,
        author: &Author,
        standing: &Standing,
    ) -> Decision {
        let mut identities = Identities::default();
        let mut decision = self.receiver.judge(author, standing, &identities);
        for _ in 0..QUESTION_ROUNDS {
            let Decision::NeedIdentities(questions) = decision else {
                break;
            };
            let findings = join_all(questions.iter().map(async |question| {
                let mut names = question.owner_names();
                names.retain(|name| !self.lookups.is_known(name));
                if self.budget.spend(account, names.len()) {
                    identity_finding(&self.lookups, question).await
                } else {
                    Finding::Unreachable
                }
            }))
            .await;
            for (question, finding) in questions.into_iter().zip(findings) {
                identities.learn(question, finding);
            }
            decision = self.receiver.judge(author, standing, &identities);
        }
        decision
    }

    /// Fetches chunks, data before parity, never more at a time than are needed, until enough are held or too many are missing. What
    /// could not be asked is asked once more (client.md 10.5).
    async fn collect(
        &self,
        candidate: &Candidate,
        account: Account,
        shares: &mut Shares,
    ) -> Option<Shortfall> {
        let mut missing = 0;
        let mut unasked = Vec::new();
        self.tally(Counted::Fetched, shares.needed(), 0);
        let indices: Vec<u16> = shares.wanted().collect();
        let mut next = indices.into_iter();
        let mut fetching = FuturesUnordered::new();
        loop {
            while fetching.len() < shares.needed().min(CHUNKS_IN_FLIGHT) {
                let Some(index) = next.next() else { break };
                let owner = chunk_name(candidate, index);
                fetching
                    .push(async move { (index, self.txt(account, &candidate.zone, &owner).await) });
            }
            let Some((index, answer)) = fetching.next().await else {
                break;
            };
            let Some(answer) = answer else {
                return Some(Shortfall::Budget);
            };
            if let Lookup::Unreachable(_) = &answer {
                unasked.push(index);
            }
            if offer(shares, index, &answer) {
                self.tally(Counted::Fetched, 0, 1);
            } else {
                missing += 1;
                if shares.hopeless(missing) && unasked.is_empty() {
                    return Some(Shortfall::Missing);
                }
            }
        }
        drop(fetching);
        unasked.truncate(CHUNKS_ASKED_AGAIN);
        if !shares.is_complete() {
            let again = unasked.into_iter().map(|index| {
                let owner = chunk_name(candidate, index);
                async move {
                    let answer = self.lookups.txt_again(&candidate.zone, &owner).await;
                    (index, answer)
                }
            });
            for (index, answer) in join_all(again).await {
                offer(shares, index, &answer);
            }
        }
        (!shares.is_complete()).then_some(Shortfall::Missing)
    }

    /// The contact that a key belongs to, as it stands.
    pub(super) fn contact_label(
        &self,
        signer: &SigningPublicKey,
        standing: &Standing,
    ) -> Option<String> {
        match standing {
            Standing::Rotated { label, .. } => Some(label.clone()),
            _ => {
                let mut pins = self.receiver.pins.iter();
                pins.find(|pin| pin.signing == Some(*signer))
                    .map(|pin| pin.label.clone())
            }
        }
    }

    fn drop_candidate(&self, candidate: &Candidate, refusal: Refusal) {
        let whose = Some((candidate.manifest.sender, candidate.manifest.msg_id));
        self.drop_record(&candidate.zone, refusal.code, refusal.reason, whose);
    }
}

/// What the inbox says about who wrote a message.
pub(super) fn provenance(
    proof: Proof,
    signer: SigningPublicKey,
) -> (Authorship, Option<Succession>) {
    match proof {
        Proof::Unverified => (Authorship::Unverified, None),
        Proof::PinnedKey | Proof::Record(_) => (Authorship::Proven, None),
        Proof::Rotation { label, old, .. } => {
            let succession = Succession {
                contact: label,
                old,
                new: signer,
            };
            (Authorship::Proven, Some(succession))
        }
    }
}

fn account_of(candidate: &Candidate, standing: &Standing) -> Account {
    let sender = candidate.manifest.sender;
    match standing {
        Standing::Stranger { pinned_as: None } | Standing::FirstUse => Account::Stranger(sender),
        // Also somebody pinned for another zone than this one.
        Standing::Pinned | Standing::Rotated { .. } | Standing::Stranger { .. } => {
            Account::Contact(sender)
        }
    }
}

fn chunk_name(candidate: &Candidate, index: u16) -> OwnerName {
    let manifest = &candidate.manifest;
    chunk_owner(
        &manifest.msg_id,
        &manifest.recipient,
        &manifest.sender,
        index,
        &candidate.zone,
    )
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
