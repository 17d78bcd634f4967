//! Proof that a value was signed by the key it names. Decides nothing about whom to trust.

use core::ops::Deref;

use ed25519_dalek::{Signature, VerifyingKey};

use crate::error::Rejected;
use crate::keys::SigningPublicKey;

pub use crate::error::RecordError;

/// A record whose signature was verified by this crate; there is no other way to make one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Only parsers of this crate call this, after [`verify`].
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// Gives up the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The encodings of points of small order, canonical and not (records.md 3.2).
///
/// Under some of them a signature can be made without the private key.
const LOW_ORDER_KEYS: [[u8; 32]; 14] = [
    edge(0x01, 0x00, 0x00),
    edge(0x01, 0x00, 0x80),
    edge(0xec, 0xff, 0x7f),
    edge(0xec, 0xff, 0xff),
    edge(0x00, 0x00, 0x00),
    edge(0x00, 0x00, 0x80),
    edge(0xed, 0xff, 0x7f),
    edge(0xed, 0xff, 0xff),
    edge(0xee, 0xff, 0x7f),
    edge(0xee, 0xff, 0xff),
    order_eight(ORDER_EIGHT_A, 0x7a),
    order_eight(ORDER_EIGHT_A, 0xfa),
    order_eight(ORDER_EIGHT_B, 0x05),
    order_eight(ORDER_EIGHT_B, 0x85),
];

const ORDER_EIGHT_A: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
    0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x00,
];
const ORDER_EIGHT_B: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x00,
];

/// Verifies `signature` over `body` in the order of records.md 3.2.
///
/// # Errors
/// [`Rejected::LowOrderKey`] before the library is asked, else [`Rejected::Signature`].
pub(crate) fn verify(
    key: &SigningPublicKey,
    body: &[u8],
    signature: &[u8; 64],
) -> Result<(), Rejected> {
    if LOW_ORDER_KEYS.contains(key.as_bytes()) {
        return Err(Rejected::LowOrderKey);
    }
    VerifyingKey::from_bytes(key.as_bytes())
        .and_then(|key| key.verify_strict(body, &Signature::from_bytes(signature)))
        .map_err(|_| Rejected::Signature)
}

/// `first`, 30 times `middle`, `last`.
const fn edge(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// An encoding of a point of order 8: its last byte carries the sign.
const fn order_eight(mut bytes: [u8; 32], last: u8) -> [u8; 32] {
    bytes[31] = last;
    bytes
}
