//! Transaction signatures (RFC 8945) over messages that lie in memory: signing and checking, for both sides.
//!
//! HMAC-SHA-256, -384 and -512 with full-length MACs only. Nothing is remembered here: replays are the caller's
//! ([`Authenticated::mac`]), and so is the choice of keys ([`Keyring`]).

mod client;
mod record;
mod server;

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use client::{RequestSignature, VerifyError, sign_request};
pub use server::{Authenticated, Authentication, Unauthentic, authenticate};

use crate::name::Name;

/// The HMAC of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    /// `hmac-sha256`, 32 octets; what registration mints.
    HmacSha256,
    /// `hmac-sha384`, 48 octets.
    HmacSha384,
    /// `hmac-sha512`, 64 octets.
    HmacSha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// The name in configuration and, as a domain name, on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// Octets of a MAC.
    pub fn mac_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    fn wire(self) -> &'static [u8] {
        match self {
            Self::HmacSha256 => b"\x0bhmac-sha256\0",
            Self::HmacSha384 => b"\x0bhmac-sha384\0",
            Self::HmacSha512 => b"\x0bhmac-sha512\0",
        }
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    /// Ignores case and one trailing dot. MD5, SHA-1 and truncated algorithms are refused.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or(KeyError::Algorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not hmac-sha256, hmac-sha384 or hmac-sha512.
    #[error("TSIG algorithm is none of hmac-sha256, hmac-sha384, hmac-sha512")]
    Algorithm,
    /// The key name is not a domain name.
    #[error("TSIG key name is not a domain name")]
    Name,
    /// A secret of no octets proves nothing.
    #[error("TSIG secret is empty")]
    EmptySecret,
}

/// A TSIG key. The secret is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    secret: Zeroizing<Vec<u8>>,
}

impl Key {
    /// A key; its name is kept in lower case, as the MAC covers it (RFC 8945 4.3.3).
    pub fn new(name: &Name, algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::EmptySecret);
        }
        Ok(Self {
            name: name.to_lower(),
            algorithm,
            secret: Zeroizing::new(secret.to_vec()),
        })
    }

    /// Key name, lower case.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The HMAC.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Octets of a TSIG record by this key, without other data: what a signed message must leave room for.
    pub fn record_len(&self) -> usize {
        self.name.as_wire().len()
            + record::FIXED
            + self.algorithm.wire().len()
            + self.algorithm.mac_len()
    }
}

impl AsRef<Key> for Key {
    fn as_ref(&self) -> &Key {
        self
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.name, self.algorithm)
    }
}

/// The keys a server accepts now. A row may carry more than the key (its scope); what is revoked or expired is not found.
pub trait Keyring {
    /// What is known of a key, cheap to clone.
    type Row: AsRef<Key>;

    /// The row of the key with this name (lower-cased wire form).
    fn row(&self, name: &[u8]) -> Option<Self::Row>;
}

impl<S: BuildHasher> Keyring for HashMap<Name, Arc<Key>, S> {
    type Row = Arc<Key>;

    fn row(&self, name: &[u8]) -> Option<Arc<Key>> {
        self.get(&Name::from_wire(name).ok()?).cloned()
    }
}

/// The TSIG error field (RFC 8945 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TsigError(pub u16);

impl TsigError {
    /// No error.
    pub const NONE: Self = Self(0);
    /// The MAC does not verify.
    pub const BADSIG: Self = Self(16);
    /// The key is not known, or not with this algorithm.
    pub const BADKEY: Self = Self(17);
    /// The time lies outside the window.
    pub const BADTIME: Self = Self(18);
    /// The MAC is shorter than we accept.
    pub const BADTRUNC: Self = Self(22);
}

impl fmt::Display for TsigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("NOERROR"),
            Self::BADSIG => f.write_str("BADSIG"),
            Self::BADKEY => f.write_str("BADKEY"),
            Self::BADTIME => f.write_str("BADTIME"),
            Self::BADTRUNC => f.write_str("BADTRUNC"),
            Self(other) => write!(f, "TSIG error {other}"),
        }
    }
}
