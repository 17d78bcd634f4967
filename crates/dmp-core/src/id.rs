//! The identifiers of the protocol as types: nobody confuses a message id with a user id. Derives no key.

use core::fmt;
use core::num::NonZeroU32;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use crate::error::KeyError;
use crate::keys::{AgreementPublicKey, SigningPublicKey};
use crate::limits::SLOT_COUNT;

/// A public value of fixed length that people and JSON see as lower-case hex.
macro_rules! hex_newtype {
    ($(#[$documentation:meta])* $name:ident, $length:literal) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Wraps the raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Reads exactly this many bytes of hex, either case.
            ///
            /// # Errors
            /// [`KeyError::Hex`](crate::error::KeyError::Hex) for any other text.
            pub fn from_hex(text: &str) -> Result<Self, crate::error::KeyError> {
                let mut bytes = [0; $length];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| crate::error::KeyError::Hex(2 * $length))?;
                Ok(Self(bytes))
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(formatter, "{}({})", stringify!($name), self)
            }
        }

        impl core::str::FromStr for $name {
            type Err = crate::error::KeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_hex(text)
            }
        }
    };
}
pub(crate) use hex_newtype;

hex_newtype!(
    /// A message's identity, 16 bytes (records.md 7).
    MsgId, 16
);
hex_newtype!(
    /// A person: SHA-256 of the X25519 public key, 32 bytes (crypto.md 3).
    UserId, 32
);
hex_newtype!(
    /// A mailbox as owner names show it: the first 6 bytes of SHA-256(user id), 12 hex digits (crypto.md 3).
    MailboxHash, 6
);
hex_newtype!(
    /// What people compare: the first 8 bytes of SHA-256(X25519 public || Ed25519 public), 16 hex digits (crypto.md 3).
    Fingerprint, 8
);

impl MsgId {
    /// A fresh random id with the version and variant bits of a UUID version 4 (records.md 7).
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        Self(bytes)
    }

    /// The slot that the sender tries first: `u32(msg_id[0..4]) mod 10` (records.md 4.2).
    #[must_use]
    pub fn slot(&self) -> Slot {
        let [a, b, c, d, ..] = self.0;
        let remainder = u32::from_be_bytes([a, b, c, d]) % u32::from(SLOT_COUNT);
        Slot(u8::try_from(remainder).unwrap_or_default())
    }
}

impl UserId {
    /// The mailbox of this person.
    #[must_use]
    pub fn mailbox(&self) -> MailboxHash {
        MailboxHash(leading(Sha256::digest(self.0).as_ref()))
    }
}

impl MailboxHash {
    /// Reads the 12 hex digits of an owner name, either case.
    ///
    /// # Errors
    /// [`KeyError::Hex`] for any other text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_hex(text)
    }
}

impl Fingerprint {
    /// The fingerprint of an identity's two public keys.
    #[must_use]
    pub fn of(agreement: &AgreementPublicKey, signing: &SigningPublicKey) -> Self {
        let digest = Sha256::new()
            .chain_update(agreement.as_bytes())
            .chain_update(signing.as_bytes())
            .finalize();
        Self(leading(digest.as_ref()))
    }

    /// Reads 16 hex digits, either case.
    ///
    /// # Errors
    /// [`KeyError::Hex`] for any other text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_hex(text)
    }
}

/// Seconds since 1970, as every record carries them (records.md 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// A point in time, seconds.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// Later by this many seconds, at most the last representable second (D31).
    #[must_use]
    pub const fn saturating_add(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this, zero if it is not earlier.
    #[must_use]
    pub const fn saturating_sub(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A one-time key's number, 1 to 2^32-1; "no prekey" is `None`, never zero (records.md 9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PrekeyId(NonZeroU32);

impl PrekeyId {
    /// `None` for zero.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for PrekeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One of the ten names of a mailbox (records.md 4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u8);

impl Slot {
    /// `None` above 9.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < SLOT_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// 0 to 9.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All ten, ascending: readers walk every one.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOT_COUNT).map(Self)
    }

    /// The nine others, ascending: where a writer goes when this name is full (D30).
    pub fn others(self) -> impl Iterator<Item = Self> {
        Self::all().filter(move |slot| *slot != self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The first bytes of a digest, which is always longer.
fn leading<const N: usize>(digest: &[u8]) -> [u8; N] {
    digest.first_chunk().copied().unwrap_or([0; N])
}
