//! Sending one message (client.md 8, crypto.md 14): choose the prekey, seal, record. Publishing and telling others is the outbox's work.

mod caps;
mod prepare;

use dmp_core::address::Address;
use dmp_core::id::{MsgId, PrekeyId, Slot, UnixTime};
use dmp_core::keys::{AgreementPublicKey, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::record::PrekeyRecord;
use dmp_core::seal::{SealError, SealRequest, Wire, seal};
use futures_util::future::join4;
use rand_core::CryptoRng;
use thiserror::Error;

use self::prepare::{choose, envelope_address, key_change, prekey_pool};
use super::lookup::Lookups;
use super::outbox::{PublishFailure, SendStep, Work, deliver, records};
use super::{KeysTrusted, Session, providers};
use crate::error::{Fault, StoreError, WriteError};
use crate::limits::{MESSAGE_TTL, MESSAGE_TTL_MAX, PREKEY_CHOICES};
use crate::mesh::Message;
use crate::store::{
    Contact, MessageKey, NewOutboxEntry, OutboxId, OutboxItem, OutboxState, Verification,
};

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    /// The contact as the user names it.
    pub recipient: &'a str,
    /// The text, any bytes.
    pub body: &'a [u8],
    /// Lifetime, seconds, 30 days at most (D20).
    pub ttl: u64,
    /// What to do if there is no prekey.
    pub forward_secrecy: ForwardSecrecyPolicy,
    /// The largest value that the own node takes, bytes; `None` for what the node said of it, else a node's default.
    pub max_value_bytes: Option<usize>,
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
            max_value_bytes: None,
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

/// Why a message was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// No such contact; nothing was asked of the network.
    #[error("unknown contact `{0}`")]
    UnknownContact(String),
    /// The contact has a signing key only; nothing was asked of the network.
    #[error("no encryption key is known for `{0}`: fetch the contact's identity first")]
    NoEncryptionKey(String),
    /// Only verified contacts may be written to, and this one is not; nothing was asked of the network.
    #[error("the keys of `{0}` were never compared, and trust_policy is verified-only")]
    NotVerified(String),
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
    /// A message lives 30 days at most.
    #[error("a message can live {MESSAGE_TTL_MAX} seconds (30 days) at most, not {0}")]
    LifetimeTooLong(u64),
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
        /// When it is tried again; `None` if that is no use.
        again: Option<UnixTime>,
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
            Self::UnknownContact(_)
            | Self::NoEncryptionKey(_)
            | Self::NotVerified(_)
            | Self::LifetimeTooLong(_) => Fault::Misuse,
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
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownContact(_) => "send-unknown-contact",
            Self::NoEncryptionKey(_) => "send-no-encryption-key",
            Self::NotVerified(_) => "send-not-verified",
            Self::KeyRevoked(_) => "send-key-revoked",
            Self::KeyReplaced { .. } => "send-key-replaced",
            Self::LifetimeTooLong(_) => "send-ttl-too-long",
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
    /// Prekeys of the contact that were seen and are still unused: so many messages more can have forward secrecy before there are new ones.
    pub prekeys_left: usize,
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
    /// Chunks that the node did not take, although the message can be read without them.
    pub missing: usize,
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
    if request.ttl > MESSAGE_TTL_MAX {
        return Err(SendError::LifetimeTooLong(request.ttl));
    }
    let contact = session
        .store
        .find_contact(request.recipient)?
        .ok_or_else(|| SendError::UnknownContact(request.recipient.to_owned()))?;
    let recipient = contact
        .agreement
        .ok_or_else(|| SendError::NoEncryptionKey(contact.label.clone()))?;

    if session.profile.contacts == KeysTrusted::Verified
        && contact.verification == Verification::Unverified
    {
        return Err(SendError::NotVerified(contact.label.clone()));
    }

    let now = session.clock.now();
    let lookups = Lookups::new(session.reader);
    let (pool, envelope, key_change, providers) = join4(
        prekey_pool(session, &lookups, &contact, now),
        envelope_address(session, &lookups, &contact),
        key_change(session, &lookups, &contact, now),
        providers::known(session, &lookups, notice_zone(&contact), now),
    )
    .await;
    key_change?;

    let draft = Draft {
        session,
        request,
        contact: &contact,
        recipient,
        envelope: envelope.as_ref(),
        msg_id: request.msg_id.unwrap_or_else(|| MsgId::generate(rng)),
        now,
    };
    let (mut work, sealed) = draft.record(pool?, rng)?;
    let attempt = deliver(session, &mut work, &providers).await;
    if let Some(failure) = &attempt.failure {
        caps::learn(session, &failure.error)?;
    }
    let entry = work.finish()?;
    if let Some(PublishFailure {
        step,
        stored,
        error,
    }) = attempt.failure
    {
        return Err(SendError::Publish {
            step,
            stored,
            total: entry.total(),
            again: entry.due,
            error,
            outbox: entry.id,
        });
    }
    let announcement = attempt.announcement;
    let mut provider_claims = ClaimCount {
        tried: announcement.providers.len(),
        ..ClaimCount::default()
    };
    for (zone, outcome) in announcement.providers {
        match outcome {
            Ok(()) => provider_claims.sent += 1,
            Err(error) => provider_claims.failures.push((zone, error)),
        }
    }
    Ok(SendReport {
        msg_id: entry.item.msg_id,
        outbox: entry.id,
        forward_secrecy: sealed.forward_secrecy,
        prekeys_left: sealed.prekeys_left,
        envelope: envelope.filter(|_| contact.wire == Wire::Current),
        chunks: sealed.chunks,
        slot: entry.item.slot,
        expires: entry.item.expires,
        records: records(&entry.item)
            .into_iter()
            .map(|(owner, value)| (owner.into_string(), value.len()))
            .collect(),
        messages: attempt.messages,
        provider_claims,
        recipient_claim: announcement.recipient,
        read_back: announcement.seen,
        missing: entry.delivery.missing,
        contact: entry.item.contact,
        state: entry.state,
    })
}

/// A message before it is sealed.
struct Draft<'a> {
    session: &'a Session<'a>,
    request: &'a SendRequest<'a>,
    contact: &'a Contact,
    recipient: AgreementPublicKey,
    envelope: Option<&'a Address>,
    msg_id: MsgId,
    now: UnixTime,
}

/// What the report says of a sealed message.
struct Outline {
    forward_secrecy: ForwardSecrecy,
    prekeys_left: usize,
    chunks: (u32, u32),
}

impl<'a> Draft<'a> {
    /// Seals to a prekey that nobody else used and records the message. Another process may take the chosen prekey first: then the
    /// next choice.
    fn record(
        &self,
        mut pool: Result<Vec<PrekeyRecord>, NoForwardSecrecy>,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<(Work<'a>, Outline), SendError> {
        let expires = self.now.saturating_add(self.request.ttl);
        for _ in 0..PREKEY_CHOICES {
            let prekey = choose(&pool, expires, rng);
            if let (Err(reason), ForwardSecrecyPolicy::Required) =
                (&prekey, self.request.forward_secrecy)
            {
                return Err(SendError::NoForwardSecrecy(reason.clone()));
            }
            let (item, mut outline) = self.seal(&prekey, rng)?;
            let entry = NewOutboxEntry {
                item,
                contact: self.contact.id,
            };
            match self.session.store.enqueue(&entry, self.now) {
                Ok(leased) => {
                    // One of them is this message's.
                    outline.prekeys_left = pool.map_or(0, |pool| pool.len().saturating_sub(1));
                    return Ok((Work::new(self.session.store, leased), outline));
                }
                Err(StoreError::PrekeyTaken) => {
                    if let (Ok(records), Ok(taken)) = (&mut pool, &prekey) {
                        records.retain(|record| record.id != taken.id);
                        if records.is_empty() {
                            pool = Err(NoForwardSecrecy::AllUsed);
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::PrekeyTaken.into())
    }

    fn seal(
        &self,
        prekey: &Result<PrekeyRecord, NoForwardSecrecy>,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<(OutboxItem, Outline), SendError> {
        let Self {
            session, contact, ..
        } = *self;
        let sealed = seal(
            &SealRequest {
                sender: session.identity,
                recipient: &self.recipient,
                prekey: prekey
                    .as_ref()
                    .ok()
                    .map(|prekey| (prekey.id, prekey.public)),
                body: self.request.body,
                from: self.envelope,
                msg_id: self.msg_id,
                now: self.now,
                ttl: self.request.ttl,
                wire: contact.wire,
            },
            caps::max_value_bytes(session, self.request.max_value_bytes)?,
            rng,
        )?;
        let (forward_secrecy, key) = match prekey {
            Ok(prekey) => (
                ForwardSecrecy::Prekey {
                    id: prekey.id,
                    opens_until: Some(prekey.exp).filter(|exp| *exp < sealed.exp),
                },
                MessageKey::Prekey {
                    id: prekey.id,
                    expires: prekey.exp,
                },
            ),
            Err(reason) => (
                ForwardSecrecy::None(reason.clone()),
                MessageKey::LongTerm {
                    reason: reason.to_string(),
                },
            ),
        };
        let outline = Outline {
            forward_secrecy,
            prekeys_left: 0,
            chunks: (sealed.plan.k(), sealed.plan.n()),
        };
        let item = OutboxItem {
            msg_id: sealed.msg_id,
            signer: sealed.sender,
            recipient: sealed.recipient,
            contact: contact.label.clone(),
            zone: session.profile.mesh_zone.clone(),
            notice_zone: notice_zone(contact).cloned(),
            slot: sealed.slot,
            needed: usize::try_from(sealed.plan.k()).unwrap_or(usize::MAX),
            chunks: sealed.chunks,
            manifest: sealed.manifest,
            key,
            expires: sealed.exp,
        };
        Ok((item, outline))
    }
}

/// Where a claim is left for the recipient: the zone of the mailbox, if the user named one for this contact (federation.md 3.5).
fn notice_zone(contact: &Contact) -> Option<&Zone> {
    let zone = contact.zone.as_ref()?;
    Some(contact.mailbox_zone.as_ref().unwrap_or(zone))
}
