//! A sender, a recipient, and what a hostile sender can make.

use std::convert::Infallible;

use dmp_core::erasure::{CodePlan, decode};
use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::{AgreementPublicKey, AgreementSecret, Identity};
use dmp_core::open::{HashPolicy, OpenError, Opened, Shares, open};
use dmp_core::record::{Chunk, Manifest};
use dmp_core::seal::{SealError, SealRequest, Sealed, Wire, seal};
use dmp_core::signed::Verified;
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

use crate::support::{NOW, TestRng, bytes, identity, text};

/// A node that takes any value.
pub(crate) const NO_CAP: usize = usize::MAX;

/// The randomness of a vector: the ephemeral private key, then the nonce.
pub(crate) struct FixedRng(pub(crate) Vec<u8>);

impl TryRng for FixedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("sealing draws bytes only")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("sealing draws bytes only")
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(target.len());
        target.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for FixedRng {}

pub(crate) fn hex_of(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).expect("hex")
}

pub(crate) fn secret(value: &Value, key: &str) -> AgreementSecret {
    AgreementSecret::from_bytes(bytes(value, key))
}

/// Verifies the manifest and gives every chunk to its collection.
pub(crate) fn collect(sealed: &Sealed, now: UnixTime) -> (Verified<Manifest>, Shares) {
    let manifest = Manifest::parse(&sealed.manifest, now).expect("an own manifest verifies");
    let mut shares =
        Shares::new(&manifest, HashPolicy::Required).expect("an own manifest binds its chunks");
    for (index, value) in (0..).zip(&sealed.chunks) {
        assert!(shares.offer(index, value), "chunk {index}");
    }
    (manifest, shares)
}

pub(crate) fn opened(
    sealed: &Sealed,
    key: &AgreementSecret,
    now: UnixTime,
) -> Result<Opened, OpenError> {
    let (manifest, shares) = collect(sealed, now);
    open(&manifest, &shares, key, now)
}

/// What the golden messages share: who, when, how long.
pub(crate) struct Plain {
    pub(crate) sender: Identity,
    pub(crate) recipient: Identity,
    pub(crate) mailbox: AgreementPublicKey,
}

impl Plain {
    pub(crate) fn new() -> Self {
        let recipient = identity(2);
        Self {
            sender: identity(1),
            mailbox: recipient.agreement_public(),
            recipient,
        }
    }

    pub(crate) fn seal<'a>(
        &'a self,
        body: &'a [u8],
        change: impl FnOnce(&mut SealRequest<'a>),
        cap: usize,
    ) -> Result<Sealed, SealError> {
        let mut request = SealRequest {
            sender: &self.sender,
            recipient: &self.mailbox,
            prekey: None,
            body,
            from: None,
            msg_id: MsgId::from_bytes(*b"0123456789abcdef"),
            now: NOW,
            ttl: 300,
            wire: Wire::Current,
        };
        change(&mut request);
        seal(&request, cap, &mut TestRng::new(7))
    }
}

/// The outer message inside a sealed one.
pub(crate) fn outer_of(sealed: &Sealed) -> Vec<u8> {
    let shares: Vec<_> = sealed
        .chunks
        .iter()
        .map(|value| Chunk::parse_txt(value).unwrap().unwrap_share().unwrap())
        .collect();
    decode(sealed.plan, (0..).zip(&shares)).unwrap()
}

/// The sender's own manifest over chunks of another outer message: what a hostile correspondent can make.
pub(crate) fn resign(plain: &Plain, manifest: &Manifest, outer: &[u8]) -> Sealed {
    let plan = CodePlan::for_message_len(outer.len()).unwrap();
    let chunks: Vec<_> = dmp_core::erasure::encode(plan, outer)
        .unwrap()
        .iter()
        .map(Chunk::wrap)
        .collect();
    let chunk_hashes = chunks.iter().map(Chunk::hash).collect();
    let manifest = Manifest {
        plan,
        chunk_hashes,
        ..manifest.clone()
    };
    Sealed {
        msg_id: manifest.msg_id,
        recipient: manifest.recipient,
        sender: manifest.sender,
        plan,
        slot: manifest.msg_id.slot(),
        exp: manifest.exp,
        ttl: 300,
        manifest: manifest.sign(&plain.sender).unwrap(),
        chunks: chunks.iter().map(Chunk::to_txt).collect(),
    }
}

pub(crate) fn resigned(
    plain: &Plain,
    manifest: &Manifest,
    outer: &[u8],
) -> Result<Opened, OpenError> {
    opened(
        &resign(plain, manifest, outer),
        plain.recipient.agreement(),
        NOW,
    )
}
