//! Sending one message (client.md 8, crypto.md 14): choose the prekey, seal, record, publish chunks before the manifest, announce.

mod announce;
mod prepare;
mod publish;

use dmp_core::address::Address;
use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::seal::{SealError, SealRequest, Wire, seal};
use futures_util::future::join4;
use rand_core::CryptoRng;
use thiserror::Error;

use self::announce::announce;
use self::prepare::{choose, envelope_address, key_change, prekey_pool};
use self::publish::{publish, records};
use super::lookup::Lookups;
use super::{Session, providers};
use crate::error::{Fault, StoreError, WriteError};
use crate::limits::{MESSAGE_TTL, NODE_MAX_VALUE_BYTES};
use crate::mesh::Message;
use crate::store::{NewOutboxEntry, OutboxId, OutboxItem, OutboxState};

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
