//! The address URI: an address and both keys in one short text, made to be scanned or pasted. Looks nothing up.
//!
//! ```text
//! uri       = "dmp:" address "?" parameter *( "&" parameter )
//! parameter = name "=" value
//! name      = 1*( ALPHA / DIGIT / "-" )
//! value     = *( ALPHA / DIGIT / "-" / "." / "_" / "~" )
//! ```
//!
//! `address` is `user@host` (crypto.md 11.4). Parameters, in any order, each at most once: `x`, the X25519 key, and `s`, the Ed25519 key,
//! both required, 52 characters of base32 (RFC 4648 6, without padding, the four spare bits zero); `m`, the zone of the mailbox where it
//! is not the host of the address. The whole text is case-insensitive: people see it in lower case, a QR code carries it in
//! upper case, which takes a third less room. There is no percent-encoding, no fragment, and nothing but blanks around it.
//!
//! An unknown parameter is ignored, so that something may be added; one whose name begins with `req-` is a condition that a
//! reader must understand, so a URI with an unknown one is refused.

use core::fmt;
use core::str::FromStr;

use crate::address::Address;
use crate::error::UriError;
use crate::keys::{AgreementPublicKey, PublicKeys, SigningPublicKey};
use crate::limits::ADDRESS_URI_MAX;
use crate::name::Zone;

const SCHEME: &str = "dmp:";
/// RFC 4648 6, in the case that people see.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Characters of a key of 32 bytes: 256 bits in groups of five.
const KEY_CHARACTERS: usize = 52;

/// Who somebody is and with which keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressUri {
    /// The address.
    pub address: Address,
    /// Both keys.
    pub keys: PublicKeys,
    /// Where the mailbox lives, if not at the address's host (client.md 6.4).
    pub mailbox_zone: Option<Zone>,
}

impl AddressUri {
    /// Whether a text begins like such a URI, right or wrong: tells it from an address.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.trim()
            .get(..SCHEME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads a URI by the grammar above.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let text = text.trim();
        if text.len() > ADDRESS_URI_MAX {
            return Err(UriError::TooLong(ADDRESS_URI_MAX));
        }
        if !Self::is_meant(text) {
            return Err(UriError::Scheme);
        }
        let text = text.to_ascii_lowercase();
        let rest = text.strip_prefix(SCHEME).ok_or(UriError::Scheme)?;
        let (address, parameters) = rest.split_once('?').ok_or(UriError::Missing("x"))?;
        if address.contains(char::is_whitespace) {
            return Err(UriError::Form);
        }
        let address = Address::parse(address)?;
        let (mut agreement, mut signing, mut mailbox) = (None, None, None);
        let mut names = Vec::new();
        for parameter in parameters.split('&') {
            let (name, value) = parameter.split_once('=').ok_or(UriError::Form)?;
            if name.is_empty() || !name.chars().all(is_of_name) || !value.chars().all(is_of_value) {
                return Err(UriError::Form);
            }
            if names.contains(&name) {
                return Err(UriError::Twice(name.to_owned()));
            }
            names.push(name);
            match name {
                "x" => agreement = Some(key(value).ok_or(UriError::Key("x"))?),
                "s" => signing = Some(key(value).ok_or(UriError::Key("s"))?),
                "m" => mailbox = Some(Zone::parse(value).map_err(UriError::Mailbox)?),
                _ if name.starts_with("req-") => {
                    return Err(UriError::Required(name.to_owned()));
                }
                _ => {}
            }
        }
        let keys = PublicKeys {
            agreement: AgreementPublicKey::from_bytes(agreement.ok_or(UriError::Missing("x"))?),
            signing: SigningPublicKey::from_bytes(signing.ok_or(UriError::Missing("s"))?),
        };
        Ok(Self {
            mailbox_zone: mailbox.filter(|zone| zone.as_str() != address.host()),
            address,
            keys,
        })
    }

    /// The text for a QR code: upper case throughout.
    #[must_use]
    pub fn to_scannable(&self) -> String {
        self.to_string().to_ascii_uppercase()
    }
}

impl fmt::Display for AddressUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{SCHEME}{}?x={}&s={}",
            self.address,
            base32(self.keys.agreement.as_bytes()),
            base32(self.keys.signing.as_bytes())
        )?;
        match &self.mailbox_zone {
            Some(zone) => write!(formatter, "&m={zone}"),
            None => Ok(()),
        }
    }
}

impl FromStr for AddressUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

const fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '-'
}

const fn is_of_value(character: char) -> bool {
    is_of_name(character) || matches!(character, '.' | '_' | '~')
}

/// 52 lower-case characters for 32 bytes.
fn base32(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(KEY_CHARACTERS);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(character(buffer >> bits));
        }
    }
    // One bit is left; four zero bits fill its group.
    text.push(character(buffer << (5 - bits)));
    text
}

fn character(group: u32) -> char {
    usize::try_from(group & 31)
        .ok()
        .and_then(|index| BASE32.get(index))
        .map_or('a', |byte| char::from(*byte))
}

/// The reverse of [`base32`]: exactly 52 characters, spare bits zero.
fn key(text: &str) -> Option<[u8; 32]> {
    if text.len() != KEY_CHARACTERS {
        return None;
    }
    let mut bytes = Vec::with_capacity(32);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for character in text.bytes() {
        let group = BASE32.iter().position(|known| *known == character)?;
        buffer = buffer << 5 | u32::try_from(group).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).ok()?);
        }
    }
    let spare = buffer & ((1 << bits) - 1);
    bytes.try_into().ok().filter(|_| spare == 0)
}
