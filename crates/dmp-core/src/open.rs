//! From a manifest and the chunks found for it back to the text (crypto.md 15.4, steps 1 to 9 and 11).
//! Proves no authorship and delivers nothing: [`trust`](crate::trust) decides what becomes of an [`Opened`].

use std::collections::BTreeMap;

use thiserror::Error;

use crate::address::Address;
use crate::envelope;
use crate::erasure::{CodeError, CodePlan, Share, decode};
use crate::header::{HeaderError, MessageType, parse_outer};
use crate::id::{MsgId, UnixTime, UserId};
use crate::keys::{AgreementSecret, SigningPublicKey};
use crate::record::{Chunk, Manifest};
use crate::sealed;
use crate::signed::Verified;

/// Whether a manifest must bind its chunks (D2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashPolicy {
    /// Refuse a manifest without chunk hashes.
    Required,
    /// Take any well-formed chunk for a manifest without hashes: only for a contact that a person marked legacy.
    LegacyAllowed,
}

/// The shares of one message as they come in; holds only what belongs to the message.
#[derive(Clone, Debug)]
pub struct Shares {
    msg_id: MsgId,
    sender: SigningPublicKey,
    plan: CodePlan,
    /// Empty for a legacy manifest.
    hashes: Vec<[u8; 32]>,
    held: BTreeMap<u16, Share>,
}

/// A decrypted message. Who wrote it is not proven yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The text.
    pub body: Vec<u8>,
    /// When it claims to have been written.
    pub ts: UnixTime,
    /// Its lifetime, seconds.
    pub ttl: u64,
    /// The message.
    pub msg_id: MsgId,
    /// Who claims to have written it (D6).
    pub sender_id: UserId,
    /// The address that the envelope claims.
    pub from: Option<Address>,
}

/// Why a message is not readable; it is dropped, released and perhaps tried again (crypto.md 15.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// The manifest has no chunk hashes and its signer is no legacy contact.
    #[error("the manifest does not bind its chunks")]
    NoChunkHashes,
    /// The shares were collected for another manifest (misuse).
    #[error("these shares belong to another message")]
    OtherShares,
    /// The shares do not give a message.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// What they give is not an outer message.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A type that nobody sends.
    #[error("not a text message")]
    NotData,
    /// The header names another message than the manifest.
    #[error("the header names another message")]
    OtherMessage,
    /// The header names another recipient than the manifest.
    #[error("the header names another recipient")]
    OtherRecipient,
    /// The header's lifetime is over.
    #[error("expired")]
    Expired,
    /// Not sealed to this key, or altered.
    #[error("does not decrypt")]
    NotSealedToKey,
}

impl OpenError {
    /// Whether more chunks could make the message readable; every other failure is final.
    #[must_use]
    pub const fn is_incomplete(self) -> bool {
        matches!(self, Self::Code(CodeError::TooFewShares { .. }))
    }
}

impl Shares {
    /// An empty collection for a manifest.
    ///
    /// # Errors
    /// [`CodeError::TooManyShares`] above 256, [`OpenError::NoChunkHashes`] unless the policy allows it.
    pub fn new(manifest: &Verified<Manifest>, policy: HashPolicy) -> Result<Self, OpenError> {
        if !manifest.plan.is_decodable() {
            return Err(CodeError::TooManyShares(manifest.plan.n()).into());
        }
        if manifest.chunk_hashes.is_empty() && policy == HashPolicy::Required {
            return Err(OpenError::NoChunkHashes);
        }
        Ok(Self {
            msg_id: manifest.msg_id,
            sender: manifest.sender,
            plan: manifest.plan,
            hashes: manifest.chunk_hashes.clone(),
            held: BTreeMap::new(),
        })
    }

    /// Takes the share out of a TXT value found at the chunk name of `index`; true if that share is now held.
    ///
    /// A value whose hash is not the manifest's counts if it becomes the announced chunk after repair.
    pub fn offer(&mut self, index: u16, value: &str) -> bool {
        if self.held.contains_key(&index) {
            return true;
        }
        if u32::from(index) >= self.plan.n() {
            return false;
        }
        let share = Chunk::parse_txt(value)
            .ok()
            .and_then(|chunk| self.share_of(index, &chunk));
        share.map(|share| self.held.insert(index, share)).is_some()
    }

    /// The indices not held, ascending: data before parity, so a reader that asks for [`Shares::needed`] of them
    /// at a time fetches parity only for what is lost.
    pub fn wanted(&self) -> impl Iterator<Item = u16> + '_ {
        (0..u16::try_from(self.plan.n()).unwrap_or(u16::MAX))
            .filter(|index| !self.held.contains_key(index))
    }

    /// How many more shares are needed.
    #[must_use]
    pub fn needed(&self) -> usize {
        (self.plan.k() as usize).saturating_sub(self.held.len())
    }

    /// Whether the message can be rebuilt.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.needed() == 0
    }

    /// Whether it cannot be rebuilt any more, if `missing` indices are known to have no good chunk.
    #[must_use]
    pub const fn hopeless(&self, missing: usize) -> bool {
        missing > (self.plan.n() - self.plan.k()) as usize
    }

    fn share_of(&self, index: u16, chunk: &Chunk) -> Option<Share> {
        if self.hashes.is_empty() {
            return chunk.unwrap_share();
        }
        let expected = self.hashes.get(usize::from(index))?;
        if chunk.hash() == *expected {
            return chunk.unwrap_share();
        }
        // Damaged on its way: what the manifest announced is the only chunk of the repaired share.
        chunk
            .repair()
            .filter(|share| Chunk::wrap(share).hash() == *expected)
    }
}

/// Rebuilds and decrypts a message with the one key that its manifest names: the prekey's, else the long-term key.
///
/// # Errors
/// [`OpenError`]; nothing may be consumed then.
pub fn open(
    manifest: &Verified<Manifest>,
    shares: &Shares,
    key: &AgreementSecret,
    now: UnixTime,
) -> Result<Opened, OpenError> {
    if (shares.msg_id, shares.sender, shares.plan)
        != (manifest.msg_id, manifest.sender, manifest.plan)
    {
        return Err(OpenError::OtherShares);
    }
    let outer = decode(
        shares.plan,
        shares.held.iter().map(|(index, share)| (*index, share)),
    )?;
    let (header, sealed) = parse_outer(&outer)?;
    if header.message_type != MessageType::Data {
        return Err(OpenError::NotData);
    }
    if header.msg_id != manifest.msg_id {
        return Err(OpenError::OtherMessage);
    }
    if header.recipient != manifest.recipient {
        return Err(OpenError::OtherRecipient);
    }
    if now > header.exp() {
        return Err(OpenError::Expired);
    }
    let plaintext = sealed::open(sealed, &header.associated_data(manifest.prekey), key)
        .ok_or(OpenError::NotSealedToKey)?;
    let envelope = envelope::decode(&plaintext);
    Ok(Opened {
        body: envelope.body.to_vec(),
        ts: header.ts,
        ttl: header.ttl,
        msg_id: header.msg_id,
        sender_id: header.sender,
        from: envelope.from,
    })
}
