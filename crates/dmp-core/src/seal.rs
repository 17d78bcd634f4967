//! From a text to the records that carry it: envelope, encryption, shares, chunks, manifest (crypto.md 4-10, 14).
//! Chooses no prekey, publishes nothing and signs no claim.

use rand_core::CryptoRng;
use thiserror::Error;

use crate::address::Address;
use crate::codec::RecordType;
use crate::envelope;
use crate::erasure::{CodeError, CodePlan, encode};
use crate::error::EncodeError;
use crate::header::{MessageType, OuterHeader, encode_outer};
use crate::id::{MsgId, PrekeyId, Slot, UnixTime, UserId};
use crate::keys::{AgreementPublicKey, Identity, SigningPublicKey};
use crate::limits::{CODE_DATA_SHARES_MAX, MESSAGE_LIFETIME_MAX, OUTER_FIXED_LEN};
use crate::record::{Chunk, Manifest};
use crate::sealed;

/// Which generation of receivers a message is written for (D2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wire {
    /// 0.7 and later: the manifest binds every chunk.
    #[default]
    Current,
    /// 0.5 and 0.6: no chunk hashes, no envelope. Only for contacts that a person marked so.
    Legacy,
}

/// One message to one recipient.
#[derive(Clone, Copy, Debug)]
pub struct SealRequest<'a> {
    /// Who writes and signs.
    pub sender: &'a Identity,
    /// The recipient's long-term key: whose mailbox it is.
    pub recipient: &'a AgreementPublicKey,
    /// The one-time key to encrypt to instead of the long-term key.
    pub prekey: Option<(PrekeyId, AgreementPublicKey)>,
    /// The text.
    pub body: &'a [u8],
    /// The own address for the version 2 envelope; `None` writes the bare text.
    pub from: Option<&'a Address>,
    /// The message's identity, fresh for every message.
    pub msg_id: MsgId,
    /// The clock.
    pub now: UnixTime,
    /// Lifetime, seconds; 2 591 700 at most are used, so that a slow clock does not refuse the manifest (crypto.md 14.1).
    pub ttl: u64,
    /// Whom it is written for.
    pub wire: Wire,
}

/// A message ready to be published: chunks first, then the manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The message.
    pub msg_id: MsgId,
    /// Whose mailbox the manifest goes to.
    pub recipient: UserId,
    /// Who signed the manifest; part of the chunks' owner names.
    pub sender: SigningPublicKey,
    /// How it is cut.
    pub plan: CodePlan,
    /// The slot to try first.
    pub slot: Slot,
    /// When it dies: `now + ttl`.
    pub exp: UnixTime,
    /// The lifetime really used, seconds.
    pub ttl: u64,
    /// The manifest's TXT value.
    pub manifest: String,
    /// The chunks' TXT values in index order.
    pub chunks: Vec<String>,
}

/// Why a message cannot be sealed; nothing was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SealError {
    /// The text is longer than this message can carry (misuse).
    #[error("the text has {body_bytes} bytes, this message can carry {limit_body_bytes}")]
    TooLarge {
        /// Bytes of the text.
        body_bytes: usize,
        /// Bytes that would fit with this header, envelope and node.
        limit_body_bytes: usize,
    },
    /// The node's cap on values excludes even the smallest message (misuse).
    #[error("no message fits values of {max_value_bytes} bytes")]
    NothingFits {
        /// The cap.
        max_value_bytes: usize,
    },
    /// The recipient's key has low order (rejected).
    #[error("the recipient's key is unusable")]
    UnusableKey,
    /// The code refused a size that was checked before (bug).
    #[error("bug in sealing: {0}")]
    Code(#[from] CodeError),
    /// The manifest could not be signed although its fields were made here (bug).
    #[error("bug in sealing: {0}")]
    Manifest(#[from] EncodeError),
}

/// Seals a message for a node that takes values of up to `max_value_bytes`.
///
/// Draws 32 bytes for the ephemeral key and 12 for the nonce from `rng`.
///
/// # Errors
/// [`SealError`]; the size is judged first, before anything is drawn or computed.
pub fn seal(
    request: &SealRequest<'_>,
    max_value_bytes: usize,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Sealed, SealError> {
    let limit_body_bytes =
        body_limit(request, max_value_bytes).ok_or(SealError::NothingFits { max_value_bytes })?;
    if request.body.len() > limit_body_bytes {
        return Err(SealError::TooLarge {
            body_bytes: request.body.len(),
            limit_body_bytes,
        });
    }
    let SealRequest {
        sender,
        recipient,
        prekey,
        msg_id,
        now,
        ..
    } = *request;
    let header = header(request);
    let (prekey_id, key) = prekey.map_or((None, *recipient), |(id, key)| (Some(id), key));
    let sealed = sealed::seal(
        &plaintext(request),
        &header.associated_data(prekey_id),
        &key,
        rng,
    )
    .ok_or(SealError::UnusableKey)?;
    let outer = encode_outer(&header, &sealed);
    let plan = CodePlan::for_message_len(outer.len())?;
    let chunks: Vec<Chunk> = encode(plan, &outer)?.iter().map(Chunk::wrap).collect();
    let manifest = Manifest {
        msg_id,
        sender: sender.signing_public(),
        recipient: header.recipient,
        plan,
        prekey: prekey_id,
        ts: now,
        exp: header.exp(),
        chunk_hashes: match request.wire {
            Wire::Current => chunks.iter().map(Chunk::hash).collect(),
            Wire::Legacy => Vec::new(),
        },
    };
    Ok(Sealed {
        msg_id,
        recipient: manifest.recipient,
        sender: manifest.sender,
        plan,
        slot: msg_id.slot(),
        exp: manifest.exp,
        ttl: header.ttl,
        manifest: manifest.sign(sender)?,
        chunks: chunks.iter().map(Chunk::to_txt).collect(),
    })
}

/// The longest text that this very message could carry, bytes; `None` if not even an empty one fits (crypto.md 10).
#[must_use]
pub fn body_limit(request: &SealRequest<'_>, max_value_bytes: usize) -> Option<usize> {
    let fits = |plan: &CodePlan| {
        let hashes = match request.wire {
            Wire::Current => plan.n() as usize,
            Wire::Legacy => 0,
        };
        Manifest::value_len(hashes) <= max_value_bytes
            && RecordType::Chunk.value_max() <= max_value_bytes
    };
    let largest = (1..=CODE_DATA_SHARES_MAX)
        .rev()
        .map(CodePlan::with_parity)
        .find(fits)?;
    let envelope = plaintext(request).len() - request.body.len();
    largest
        .capacity()
        .checked_sub(OUTER_FIXED_LEN + header(request).to_json().len() + envelope)
}

fn header(request: &SealRequest<'_>) -> OuterHeader {
    OuterHeader {
        message_type: MessageType::Data,
        msg_id: request.msg_id,
        sender: request.sender.user_id(),
        recipient: request.recipient.user_id(),
        ts: request.now,
        ttl: request.ttl.min(MESSAGE_LIFETIME_MAX),
    }
}

fn plaintext<'a>(request: &SealRequest<'a>) -> std::borrow::Cow<'a, [u8]> {
    let from = match request.wire {
        Wire::Current => request.from,
        Wire::Legacy => None,
    };
    envelope::encode(request.body, from)
}
