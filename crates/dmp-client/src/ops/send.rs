//! Sending one message (client.md 8, crypto.md 14): choose the prekey, seal, record, publish chunks before the manifest, announce.

use dmp_core::address::Address;
use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, chunk_owner, claim_owner, manifest_owner, prekey_owner};
use dmp_core::record::{Claim, PrekeyRecord};
use dmp_core::seal::{SealError, SealRequest, Wire, seal};
use dmp_core::trust::{RotationQuestion, Rotations};
use futures_util::future::{join, join_all, join4};
use rand_core::CryptoRng;
use thiserror::Error;

use super::lookup::{Lookups, Wanted, newest_identity, rotation_values};
use super::publish::record_ttl;
use super::{Provider, RotationPolicy, Session, providers};
use crate::error::{Fault, StoreError, WriteError};
use crate::limits::{
    CLAIM_TTL_MAX, CLAIM_ZONE_MAX, MESSAGE_TTL, NODE_MAX_TTL, NODE_MAX_VALUE_BYTES,
    READ_BACK_DEADLINE, TTL_LADDER,
};
use crate::mesh::{ClaimNotice, Lookup, Message, Operation, UpdateTarget};
use crate::store::{Contact, NewOutboxEntry, OutboxId, OutboxItem, OutboxState};

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    /// The contact as the user names it.
    pub recipient: &'a str,
    /// The text, any bytes.
    pub body: &'a [u8],
    /// Lifetime, seconds (D20).
    pub ttl: u64,
    /// What to do if there is no prekey.
    pub forward_secrecy: ForwardSecrecyPolicy,
    /// The largest value that the own node takes, bytes.
    pub max_value_bytes: usize,
    /// The message's identity if the caller chose one; the outbox takes each only once.
    pub msg_id: Option<MsgId>,
}

impl<'a> SendRequest<'a> {
    /// A request with the defaults.
    #[must_use]
    pub const fn new(recipient: &'a str, body: &'a [u8]) -> Self {
        Self {
            recipient,
            body,
            ttl: MESSAGE_TTL,
            forward_secrecy: ForwardSecrecyPolicy::Preferred,
            max_value_bytes: NODE_MAX_VALUE_BYTES,
            msg_id: None,
        }
    }
}

/// Whether a message may go out without a one-time key (D15).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ForwardSecrecyPolicy {
    /// With a prekey if there is one.
    #[default]
    Preferred,
    /// Not without (`--require-fs`).
    Required,
}

/// Whether a message is protected by a one-time key (D15).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardSecrecy {
    /// Sealed to a prekey.
    Prekey {
        /// Its number.
        id: PrekeyId,
        /// Set if the prekey expires before the message: until then it can surely be opened.
        opens_until: Option<UnixTime>,
    },
    /// Sealed to the long-term key.
    None(NoForwardSecrecy),
}

/// Why there was no prekey to use.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NoForwardSecrecy {
    /// Without a pinned signing key nobody vouches for a prekey.
    #[error("no signing key is pinned for this contact")]
    NoSigningKey,
    /// Without a user name there is no place to look.
    #[error("the user name of this contact is not known")]
    NoUserName,
    /// The contact publishes none.
    #[error("the contact has published no usable prekey")]
    NonePublished,
    /// Each was used for an earlier message.
    #[error("every prekey of the contact was used already")]
    AllUsed,
    /// The contact's zone could not be asked.
    #[error("the contact's prekeys could not be looked up: {0}")]
    Unreachable(String),
}

/// How far a send came before it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendStep {
    /// Publishing the chunks: what is stored is unreadable without the manifest and expires.
    Chunks,
    /// Publishing the manifest: the chunks are stored, nobody was told.
    Manifest,
}

impl std::fmt::Display for SendStep {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Chunks => "chunks",
            Self::Manifest => "manifest",
        })
    }
}

/// Why a message was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// No such contact; nothing was asked of the network.
    #[error("unknown contact `{0}`")]
    UnknownContact(String),
    /// The contact has a signing key only; nothing was asked of the network.
    #[error("no encryption key is known for `{0}`: fetch the contact's identity first")]
    NoEncryptionKey(String),
    /// The contact's pinned key was revoked.
    #[error("`{0}` has revoked the pinned key")]
    KeyRevoked(String),
    /// The contact's pinned key was replaced.
    #[error("`{label}` has replaced the pinned key by {successor}: accept the new key first")]
    KeyReplaced {
        /// The contact.
        label: String,
        /// The key that a chain of rotations leads to.
        successor: SigningPublicKey,
    },
    /// Forward secrecy was required.
    #[error("no forward secrecy: {0}")]
    NoForwardSecrecy(NoForwardSecrecy),
    /// The text does not fit, or the recipient's key is unusable; nothing was published.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The node did not take the message.
    #[error("publishing the {step} failed ({stored} of {total} values are stored): {error}")]
    Publish {
        /// What was being published.
        step: SendStep,
        /// Values that are stored.
        stored: usize,
        /// Values of the whole message.
        total: usize,
        /// Why it stopped.
        error: WriteError,
        /// The outbox row.
        outbox: OutboxId,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SendError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::UnknownContact(_) | Self::NoEncryptionKey(_) => Fault::Misuse,
            Self::Seal(SealError::TooLarge { .. } | SealError::NothingFits { .. }) => Fault::Misuse,
            Self::KeyRevoked(_) | Self::KeyReplaced { .. } | Self::Seal(SealError::UnusableKey) => {
                Fault::Rejected
            }
            Self::NoForwardSecrecy(_) => Fault::Unavailable,
            Self::Seal(_) => Fault::Bug,
            Self::Publish { error, .. } => error.fault(),
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownContact(_) => "send-unknown-contact",
            Self::NoEncryptionKey(_) => "send-no-encryption-key",
            Self::KeyRevoked(_) => "send-key-revoked",
            Self::KeyReplaced { .. } => "send-key-replaced",
            Self::NoForwardSecrecy(_) => "send-no-forward-secrecy",
            Self::Seal(SealError::TooLarge { .. }) => "send-too-large",
            Self::Seal(SealError::NothingFits { .. }) => "send-nothing-fits",
            Self::Seal(SealError::UnusableKey) => "send-unusable-key",
            Self::Seal(_) => "send-bug",
            Self::Publish {
                step: SendStep::Chunks,
                ..
            } => "send-chunks-failed",
            Self::Publish {
                step: SendStep::Manifest,
                ..
            } => "send-manifest-failed",
            Self::Store(error) => error.code(),
        }
    }
}

/// Claims that were left at providers.
#[derive(Clone, Debug, Default)]
pub struct ClaimCount {
    /// Providers that took it.
    pub sent: usize,
    /// Providers that were tried.
    pub tried: usize,
    /// Why the others did not, by provider zone.
    pub failures: Vec<(Zone, WriteError)>,
}

/// A message that is published.
#[derive(Clone, Debug)]
pub struct SendReport {
    /// The message.
    pub msg_id: MsgId,
    /// The contact's label.
    pub contact: String,
    /// The outbox row.
    pub outbox: OutboxId,
    /// How far it came.
    pub state: OutboxState,
    /// Whether a one-time key protects it.
    pub forward_secrecy: ForwardSecrecy,
    /// The own address, if the recipient understands envelopes.
    pub envelope: Option<Address>,
    /// Chunks that carry it, k and n.
    pub chunks: (u32, u32),
    /// The slot of its manifest.
    pub slot: Slot,
    /// When it dies.
    pub expires: UnixTime,
    /// What went to the own node, in order: owner name and value length.
    pub records: Vec<(String, usize)>,
    /// The requests that carried them.
    pub messages: Vec<Message>,
    /// Claims at providers.
    pub provider_claims: ClaimCount,
    /// The claim at the recipient's zone, if the contact has one.
    pub recipient_claim: Option<Result<(), WriteError>>,
    /// Whether the manifest was read back through the resolver.
    pub read_back: bool,
}

/// Sends a message to a contact. It is in the outbox before the first value is published.
///
/// # Errors
/// [`SendError`]. Failing claims are no error: see the report.
pub async fn send(
    session: &Session<'_>,
    request: &SendRequest<'_>,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<SendReport, SendError> {
    let contact = session
        .store
        .find_contact(request.recipient)?
        .ok_or_else(|| SendError::UnknownContact(request.recipient.to_owned()))?;
    let recipient = contact
        .agreement
        .ok_or_else(|| SendError::NoEncryptionKey(contact.label.clone()))?;

    let now = session.clock.now();
    let lookups = Lookups::new(session.reader);
    let (pool, envelope, key_change, providers) = join4(
        prekey_pool(session, &lookups, &contact, now),
        envelope_address(session, &lookups, &contact),
        key_change(session, &lookups, &contact, now),
        providers::find(&lookups, &session.profile.providers, now),
    )
    .await;
    key_change?;

    let msg_id = request.msg_id.unwrap_or_else(|| MsgId::generate(rng));
    let prekey = choose(pool?, now.saturating_add(request.ttl), rng);
    if let (Err(reason), ForwardSecrecyPolicy::Required) = (&prekey, request.forward_secrecy) {
        return Err(SendError::NoForwardSecrecy(reason.clone()));
    }
    let chosen = prekey.as_ref().ok();
    let sealed = seal(
        &SealRequest {
            sender: session.identity,
            recipient: &recipient,
            prekey: chosen.map(|prekey| (prekey.id, prekey.public)),
            body: request.body,
            from: envelope.as_ref(),
            msg_id,
            now,
            ttl: request.ttl,
            wire: contact.wire,
        },
        request.max_value_bytes,
        rng,
    )?;
    let forward_secrecy = match &prekey {
        Ok(prekey) => ForwardSecrecy::Prekey {
            id: prekey.id,
            opens_until: Some(prekey.exp).filter(|exp| *exp < sealed.exp),
        },
        Err(reason) => ForwardSecrecy::None(reason.clone()),
    };
    let chunks = (sealed.plan.k(), sealed.plan.n());
    let mut item = OutboxItem {
        msg_id,
        signer: sealed.sender,
        recipient: sealed.recipient,
        contact: contact.label.clone(),
        zone: session.profile.mesh_zone.clone(),
        slot: sealed.slot,
        chunks: sealed.chunks,
        manifest: sealed.manifest,
        prekey: chosen.map(|prekey| prekey.id),
        expires: sealed.exp,
    };
    let prekey_expires = chosen.map_or(now, |prekey| prekey.exp);
    let entry = NewOutboxEntry {
        item,
        contact: contact.id,
        prekey_expires,
    };
    let outbox = session.store.enqueue(&entry, now)?;
    item = entry.item;

    let published = publish(session, outbox, &mut item, sealed.ttl).await?;
    let (provider_claims, recipient_claim, read_back) =
        announce(session, &item, &contact, &providers).await;
    let announced = provider_claims.sent > 0 || matches!(recipient_claim, Some(Ok(())));
    let total = item.chunks.len() + 1;
    let state = match (read_back, announced) {
        (true, true) => OutboxState::Announced,
        (true, false) => OutboxState::Published,
        (false, _) => OutboxState::Publishing {
            stored: total,
            total,
        },
    };
    // Values are published again at half of their life in the node, while the message lives longer than that.
    let again = Some(now.saturating_add(published.ttl / 2))
        .filter(|_| item.expires > now.saturating_add(published.ttl));
    session
        .store
        .record_progress(outbox, &item, &state, again)?;
    Ok(SendReport {
        msg_id,
        contact: item.contact.clone(),
        outbox,
        state,
        forward_secrecy,
        envelope: envelope.filter(|_| contact.wire == Wire::Current),
        chunks,
        slot: item.slot,
        expires: item.expires,
        records: records(&item),
        messages: published.messages,
        provider_claims,
        recipient_claim,
        read_back,
    })
}

/// Unused, live prekeys of the contact, or why there is none.
async fn prekey_pool(
    session: &Session<'_>,
    lookups: &Lookups<'_>,
    contact: &Contact,
    now: UnixTime,
) -> Result<Result<Vec<PrekeyRecord>, NoForwardSecrecy>, StoreError> {
    let Some(signing) = contact.signing else {
        return Ok(Err(NoForwardSecrecy::NoSigningKey));
    };
    let Some(user) = contact.username() else {
        return Ok(Err(NoForwardSecrecy::NoUserName));
    };
    let used = session.store.used_prekeys(contact.id)?;
    let zones = contact.zones(&session.profile.mesh_zone);
    let answers = join_all(
        zones
            .into_iter()
            .map(async |zone| lookups.txt(zone, &prekey_owner(user, zone)).await),
    )
    .await;

    let mut pool: Vec<PrekeyRecord> = Vec::new();
    let mut unreachable = None;
    for answer in answers {
        match answer {
            Lookup::Found(values) => pool.extend(
                values
                    .iter()
                    .filter_map(|value| PrekeyRecord::parse(value, &signing, now).ok())
                    .map(|record| record.into_inner())
                    .filter(|record| record.is_live(now)),
            ),
            Lookup::Absent => {}
            Lookup::Unreachable(reason) => unreachable = Some(reason),
        }
    }
    pool.sort_by_key(|record| record.id);
    pool.dedup_by_key(|record| record.id);
    let any = !pool.is_empty();
    pool.retain(|record| !used.contains(&record.id));
    Ok(match (pool.is_empty(), any, unreachable) {
        (false, ..) => Ok(pool),
        (true, true, _) => Err(NoForwardSecrecy::AllUsed),
        (true, false, Some(reason)) => Err(NoForwardSecrecy::Unreachable(reason)),
        (true, false, None) => Err(NoForwardSecrecy::NonePublished),
    })
}

/// A random one of those that outlive the message, else of those with the longest life (client.md 9.2).
fn choose(
    pool: Result<Vec<PrekeyRecord>, NoForwardSecrecy>,
    message_expires: UnixTime,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<PrekeyRecord, NoForwardSecrecy> {
    let mut pool = pool?;
    let longest = pool
        .iter()
        .map(|record| record.exp)
        .max()
        .unwrap_or_default();
    pool.retain(|record| record.exp >= message_expires.min(longest));
    match pool.len() {
        0 => Err(NoForwardSecrecy::NonePublished),
        1 => Ok(pool.remove(0)),
        count => {
            // 64 random bits over a pool of dozens: no value is noticeably preferred.
            let index = usize::try_from(rng.next_u64() % count as u64).unwrap_or_default();
            Ok(pool.swap_remove(index))
        }
    }
}

/// The own address, if the recipient's identity of the pinned key lists envelopes (crypto.md 11.5).
async fn envelope_address(
    session: &Session<'_>,
    lookups: &Lookups<'_>,
    contact: &Contact,
) -> Option<Address> {
    let own = session.profile.address()?;
    let user = contact.username()?;
    let zone = contact.zone_or(&session.profile.mesh_zone);
    Address::new(user, zone.as_str()).ok()?;
    let wanted = match (&contact.signing, &contact.agreement) {
        (Some(signing), _) => Wanted::Signing(signing),
        (None, Some(agreement)) => Wanted::Agreement(agreement),
        (None, None) => return None,
    };
    let record = newest_identity(lookups, user, zone, wanted).await?;
    record.versions.contains(2).then_some(own)
}

/// Refuses to send to a key that its owner revoked or replaced (federation.md 6.5).
async fn key_change(
    session: &Session<'_>,
    lookups: &Lookups<'_>,
    contact: &Contact,
    now: UnixTime,
) -> Result<(), SendError> {
    let zone = contact.zone_or(&session.profile.mesh_zone);
    let question = contact
        .username()
        .zip(contact.signing)
        .and_then(|(user, signing)| RotationQuestion::new(user, zone, signing));
    let Some(question) = question else {
        return Ok(());
    };
    let mut rotations = Rotations::default();
    let values = rotation_values(lookups, &question).await;
    rotations.learn(&question, values.iter().map(String::as_str), now);
    if rotations.is_revoked(&question) {
        return Err(SendError::KeyRevoked(contact.label.clone()));
    }
    match rotations.successor(&question) {
        Some(successor) if session.profile.rotation == RotationPolicy::Follow => {
            Err(SendError::KeyReplaced {
                label: contact.label.clone(),
                successor,
            })
        }
        _ => Ok(()),
    }
}

/// What publishing used.
struct Publication {
    /// TTL of the values, seconds.
    ttl: u64,
    messages: Vec<Message>,
}

/// What one list of operations came to.
struct Attempt {
    /// Leading operations that are stored.
    stored: usize,
    /// The operation behind the last one of the failed request.
    failed_end: usize,
    failure: Option<WriteError>,
}

impl Publication {
    async fn apply(&mut self, session: &Session<'_>, operations: &[Operation]) -> Attempt {
        let applied = session.writer.apply(operations).await;
        let attempt = Attempt {
            stored: applied.stored(),
            failed_end: applied
                .messages
                .last()
                .map_or(0, |message| message.operations.end),
            failure: applied.failure().cloned(),
        };
        self.messages.extend(applied.messages);
        attempt
    }
}

/// Publishes chunks and manifest, in one request if it fits. If the node refuses that, chunks alone, with shorter TTLs where that may
/// help, then the manifest at its slot and the other nine (crypto.md 14.1, D30).
async fn publish(
    session: &Session<'_>,
    outbox: OutboxId,
    item: &mut OutboxItem,
    lifetime: u64,
) -> Result<Publication, SendError> {
    let total = item.chunks.len() + 1;
    session.store.record_progress(
        outbox,
        item,
        &OutboxState::Publishing { stored: 0, total },
        None,
    )?;
    let mut publication = Publication {
        ttl: lifetime.min(NODE_MAX_TTL),
        messages: Vec::new(),
    };
    let Err((step, stored, error)) = publish_somehow(session, item, &mut publication).await else {
        return Ok(publication);
    };
    let state = OutboxState::Failed {
        reason: error.to_string(),
    };
    session.store.record_progress(outbox, item, &state, None)?;
    Err(SendError::Publish {
        step,
        stored,
        total,
        error,
        outbox,
    })
}

async fn publish_somehow(
    session: &Session<'_>,
    item: &mut OutboxItem,
    publication: &mut Publication,
) -> Result<(), (SendStep, usize, WriteError)> {
    let chunks = item.chunks.len();
    let wanted = item.slot;
    let mut all = chunk_operations(item, publication.ttl);
    all.push(manifest_operation(item, wanted, publication.ttl));
    let attempt = publication.apply(session, &all).await;
    let Some(mut error) = attempt.failure else {
        return Ok(());
    };
    let slots: Vec<Slot> = if attempt.stored >= chunks {
        // The request that failed carried the manifest alone.
        wanted.others().filter(|_| is_refusal(&error)).collect()
    } else {
        let first = match &error {
            // It carried the manifest too: the refusal may be about its name, which the chunks do not care for.
            WriteError::Refused { ttl_cap: None, .. } if attempt.failed_end > chunks => {
                Some(publication.ttl)
            }
            error => shorter_ttl(publication.ttl, error),
        };
        publish_chunks(
            session,
            item,
            publication,
            first,
            (attempt.stored, error.clone()),
        )
        .await?;
        std::iter::once(wanted).chain(wanted.others()).collect()
    };
    for slot in slots {
        let manifest = manifest_operation(item, slot, publication.ttl);
        match publication.apply(session, &[manifest]).await.failure {
            None => {
                item.slot = slot;
                return Ok(());
            }
            Some(failure) => error = failure,
        }
        if !is_refusal(&error) {
            break;
        }
    }
    Err((SendStep::Manifest, chunks, error))
}

/// Publishes the chunks alone, with a shorter life after each refusal that may be about that.
async fn publish_chunks(
    session: &Session<'_>,
    item: &OutboxItem,
    publication: &mut Publication,
    first: Option<u64>,
    so_far: (usize, WriteError),
) -> Result<(), (SendStep, usize, WriteError)> {
    let (mut stored, mut error) = so_far;
    let mut ttl = first;
    while let Some(next) = ttl {
        publication.ttl = next;
        let attempt = publication
            .apply(session, &chunk_operations(item, next))
            .await;
        let Some(failure) = attempt.failure else {
            return Ok(());
        };
        ttl = shorter_ttl(next, &failure);
        (stored, error) = (attempt.stored, failure);
    }
    Err((SendStep::Chunks, stored, error))
}

/// Claims at providers and at the recipient's zone, and the look at the own manifest, all at once. None of them fails the send.
async fn announce(
    session: &Session<'_>,
    item: &OutboxItem,
    contact: &Contact,
    providers: &[Provider],
) -> (ClaimCount, Option<Result<(), WriteError>>, bool) {
    let at_providers = join_all(providers.iter().map(async |provider| {
        let outcome = leave_claim(session, item, &provider.zone, provider.target()).await;
        (provider.zone.clone(), outcome)
    }));
    let at_recipient = async {
        let zone = contact
            .zone
            .as_ref()
            .map(|zone| contact.mailbox_zone.as_ref().unwrap_or(zone))?;
        let target = if *zone == session.profile.mesh_zone {
            session.profile.own_node.clone()
        } else {
            Some(UpdateTarget {
                host: zone.as_str().to_owned(),
                port: None,
            })
        };
        match target {
            Some(target) => Some(leave_claim(session, item, zone, target).await),
            None => Some(Err(WriteError::Misconfigured(
                "the DNS listener of the own node is not configured".to_owned(),
            ))),
        }
    };
    let (at_providers, (at_recipient, read_back)) =
        join(at_providers, join(at_recipient, is_visible(session, item))).await;
    let mut count = ClaimCount {
        tried: at_providers.len(),
        ..ClaimCount::default()
    };
    for (zone, outcome) in at_providers {
        match outcome {
            Ok(()) => count.sent += 1,
            Err(error) => count.failures.push((zone, error)),
        }
    }
    (count, at_recipient, read_back)
}

/// Signs a claim and leaves it at one server.
async fn leave_claim(
    session: &Session<'_>,
    item: &OutboxItem,
    zone: &Zone,
    target: UpdateTarget,
) -> Result<(), WriteError> {
    if item.zone.as_str().len() > CLAIM_ZONE_MAX {
        return Err(WriteError::Misconfigured(format!(
            "a claim cannot name a zone of more than {CLAIM_ZONE_MAX} bytes"
        )));
    }
    let now = session.clock.now();
    let ttl = item.expires.saturating_sub(now).min(CLAIM_TTL_MAX);
    let claim = Claim {
        msg_id: item.msg_id,
        sender: item.signer,
        mailbox_zone: item.zone.clone(),
        slot: item.slot,
        ts: now,
        exp: now.saturating_add(ttl),
    };
    let value = claim
        .sign(session.identity)
        .map_err(|error| WriteError::Misconfigured(error.to_string()))?;
    let owner = claim_owner(&item.recipient, item.slot, zone);
    let notice = ClaimNotice {
        target,
        zone: zone.clone(),
        owner,
        ttl: record_ttl(ttl),
        value,
    };
    session.claims.send(&notice).await
}

/// Whether the manifest can be read through the resolver (D21).
async fn is_visible(session: &Session<'_>, item: &OutboxItem) -> bool {
    let owner = manifest_owner(&item.recipient, item.slot, &item.zone);
    tokio::select! {
        biased;
        answer = session.reader.txt(&owner) => {
            matches!(answer, Lookup::Found(values) if values.contains(&item.manifest))
        }
        () = session.clock.sleep(READ_BACK_DEADLINE) => false,
    }
}

/// Whether the node said no, so that another name or a shorter life may help.
const fn is_refusal(error: &WriteError) -> bool {
    matches!(error, WriteError::Refused { .. })
}

/// The TTL to try after a refusal: the cap that the node named; without any word from it, the next lower usual cap.
fn shorter_ttl(ttl: u64, error: &WriteError) -> Option<u64> {
    match error {
        WriteError::Refused {
            ttl_cap: Some(cap), ..
        } => Some(*cap).filter(|cap| *cap < ttl),
        WriteError::Refused { reason, .. } if reason.is_empty() => {
            TTL_LADDER.into_iter().find(|shorter| *shorter < ttl)
        }
        _ => None,
    }
}

fn chunk_operations(item: &OutboxItem, ttl: u64) -> Vec<Operation> {
    chunk_records(item)
        .map(|(owner, value)| Operation::Add {
            owner,
            ttl: record_ttl(ttl),
            value: value.clone(),
        })
        .collect()
}

fn manifest_operation(item: &OutboxItem, slot: Slot, ttl: u64) -> Operation {
    Operation::Add {
        owner: manifest_owner(&item.recipient, slot, &item.zone),
        ttl: record_ttl(ttl),
        value: item.manifest.clone(),
    }
}

/// The chunks with their owner names, in index order.
fn chunk_records(item: &OutboxItem) -> impl Iterator<Item = (OwnerName, &String)> {
    (0..).zip(&item.chunks).map(|(index, value)| {
        (
            chunk_owner(
                &item.msg_id,
                &item.recipient,
                &item.signer,
                index,
                &item.zone,
            ),
            value,
        )
    })
}

fn records(item: &OutboxItem) -> Vec<(String, usize)> {
    let manifest = manifest_owner(&item.recipient, item.slot, &item.zone);
    chunk_records(item)
        .map(|(owner, value)| (owner.into_string(), value.len()))
        .chain(std::iter::once((
            manifest.into_string(),
            item.manifest.len(),
        )))
        .collect()
}
