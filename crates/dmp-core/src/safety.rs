//! The safety number: 60 digits that two people compare to know that each holds the other's keys. Decides nothing about trust.
//!
//! For each person, with `keys` = X25519 public key || Ed25519 public key (64 bytes):
//! h(0) = SHA-512(`dnsmesh-safety-number-v1` || keys), h(i) = SHA-512(h(i-1) || keys) for i = 1 to 5199. The first 30 bytes of
//! h(5199) are six big-endian integers of five bytes; each, modulo 100 000, gives five digits. The two strings of 30 digits, the smaller one
//! first, are the number, the same on both sides. The iterations make it dear to search for keys that share many digits.

use core::fmt;

use sha2::{Digest, Sha512};

use crate::keys::PublicKeys;
use crate::limits::{SAFETY_NUMBER_HASHES, SAFETY_NUMBER_LEN};

const LABEL: &[u8] = b"dnsmesh-safety-number-v1";
/// Bytes that give one group of digits.
const GROUP_BYTES: usize = 5;
/// Groups that one person contributes.
const GROUPS: usize = 6;

/// What two people compare, the same for both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SafetyNumber(String);

impl SafetyNumber {
    /// The number of two people, in either order. Takes a few milliseconds.
    #[must_use]
    pub fn of(one: &PublicKeys, other: &PublicKeys) -> Self {
        let (one, other) = (digits(one), digits(other));
        Self(if one <= other {
            one + &other
        } else {
            other + &one
        })
    }

    /// All digits, without blanks.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether somebody typed this number; white space between digits does not count.
    #[must_use]
    pub fn is(&self, typed: &str) -> bool {
        typed
            .chars()
            .filter(|character| !character.is_whitespace())
            .eq(self.0.chars())
    }

    /// Whether a text has the form of such a number: 60 digits and white space.
    #[must_use]
    pub fn is_form(typed: &str) -> bool {
        let mut digits = typed.chars().filter(|character| !character.is_whitespace());
        digits.all(|character| character.is_ascii_digit())
            && typed
                .chars()
                .filter(|character| !character.is_whitespace())
                .count()
                == SAFETY_NUMBER_LEN
    }

    /// The twelve groups of five digits.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        (0..SAFETY_NUMBER_LEN)
            .step_by(5)
            .filter_map(|start| self.0.get(start..start + 5))
    }
}

impl fmt::Display for SafetyNumber {
    /// Twelve groups of five digits, separated by blanks.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups().enumerate() {
            if index > 0 {
                formatter.write_str(" ")?;
            }
            formatter.write_str(group)?;
        }
        Ok(())
    }
}

/// The 30 digits of one person.
fn digits(keys: &PublicKeys) -> String {
    let (agreement, signing) = (keys.agreement.as_bytes(), keys.signing.as_bytes());
    let mut hash = Sha512::new()
        .chain_update(LABEL)
        .chain_update(agreement)
        .chain_update(signing)
        .finalize();
    for _ in 1..SAFETY_NUMBER_HASHES {
        hash = Sha512::new()
            .chain_update(hash)
            .chain_update(agreement)
            .chain_update(signing)
            .finalize();
    }
    let leading = hash.chunks_exact(GROUP_BYTES).take(GROUPS);
    leading
        .map(|bytes| {
            let number = bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte));
            format!("{:05}", number % 100_000)
        })
        .collect()
}
