//! The file that an operator's private key lies in (records.md 15): all its forms are read, the one that says what it holds is written.
//!
//! Opens no file.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::keys::{OperatorKey, SigningPublicKey};

/// Label of an Ed25519 seed.
const SEED: &str = "ed25519_seed_hex";
/// Label of the public key beside it.
const PUBLIC: &str = "public_hex";
/// Label of the cluster generator: X25519 private bytes that the Ed25519 key is derived from.
const DERIVED_SEED: &str = "operator_seed_hex";
/// Its label of the public key.
const DERIVED_PUBLIC: &str = "operator_public_hex";

/// Why a file is no operator's key. Holds nothing of what may be secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
pub enum KeyFileError {
    /// None of the forms.
    #[error("neither 32 octets, nor 64 hex digits, nor a line `{SEED}=` or `{DERIVED_SEED}=`")]
    NoKey,
    /// Which of them is the key nobody can say.
    #[error("more than one private key")]
    SeveralKeys,
    /// A labelled line whose value is no key.
    #[error("line {0}: expected 64 hex digits")]
    Hex(usize),
    /// A file whose halves do not belong together: perhaps the seed is under the wrong label.
    #[error("the private key belongs to {derived}, but the file says {stated}")]
    OtherPublic {
        /// The key that the file names.
        stated: SigningPublicKey,
        /// The key that its seed gives.
        derived: SigningPublicKey,
    },
}

impl OperatorKey {
    /// The key in a file: 32 raw octets, also where some look like white space (W34), 64 hex digits, or lines with labels, of which those
    /// of the cluster generator mean another derivation. Unknown labels, empty lines and what begins with `#` are passed over.
    ///
    /// # Errors
    /// [`KeyFileError`]; a public key in the file has to be the one of the private key.
    pub fn from_file(octets: &[u8]) -> Result<Self, KeyFileError> {
        if let Ok(seed) = octets.try_into() {
            return Ok(Self::from_ed25519_seed(seed));
        }
        let text = core::str::from_utf8(octets).map_err(|_| KeyFileError::NoKey)?;
        if let Some(seed) = key_bytes(text) {
            return Ok(Self::from_ed25519_seed(*seed));
        }
        let (mut keys, mut stated) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let Some((label, value)) = line.split_once('=') else {
                continue;
            };
            let bytes = || key_bytes(value).ok_or(KeyFileError::Hex(index + 1));
            match label.trim() {
                SEED => keys.push(Self::from_ed25519_seed(*bytes()?)),
                DERIVED_SEED => keys.push(Self::from_x25519_private(*bytes()?)),
                PUBLIC | DERIVED_PUBLIC => stated.push(SigningPublicKey::from_bytes(*bytes()?)),
                _ => {}
            }
        }
        let key = keys.pop().ok_or(KeyFileError::NoKey)?;
        if !keys.is_empty() {
            return Err(KeyFileError::SeveralKeys);
        }
        let derived = key.public();
        match stated.into_iter().find(|stated| *stated != derived) {
            Some(stated) => Err(KeyFileError::OtherPublic { stated, derived }),
            None => Ok(key),
        }
    }

    /// The text of a file with this seed, which says what it holds; `purpose` is a word for people, on one line.
    #[must_use]
    pub fn file_text(seed: &[u8; 32], purpose: &str) -> Zeroizing<String> {
        let public = Self::from_ed25519_seed(*seed).public();
        let seed = Zeroizing::new(hex::encode(seed));
        Zeroizing::new(format!(
            "# Private key that signs {purpose} (dnsmesh). Who has it can sign in your name.\n{SEED}={}\n{PUBLIC}={public}\n",
            seed.as_str()
        ))
    }
}

/// 64 hex digits with white space around them.
fn key_bytes(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), bytes.as_mut_slice()).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(octets: &[u8]) -> Result<SigningPublicKey, KeyFileError> {
        OperatorKey::from_file(octets).map(|key| key.public())
    }

    #[test]
    fn a_written_file_is_read_back_and_names_both_halves() {
        let key = OperatorKey::from_ed25519_seed([7; 32]).public();
        let text = OperatorKey::file_text(&[7; 32], "cluster manifests");
        assert_eq!(public(text.as_bytes()), Ok(key));
        assert!(text.contains(&format!("\npublic_hex={key}\n")), "{text:?}");
    }

    #[test]
    fn all_forms_of_the_protocol_are_read_and_the_label_decides_the_derivation() {
        let direct = OperatorKey::from_ed25519_seed([0x20; 32]).public();
        let derived = OperatorKey::from_x25519_private([0x20; 32]).public();
        let digits = "20".repeat(32);
        // Raw octets that are all blanks are a key all the same (W34).
        assert_eq!(public(&[0x20; 32]), Ok(direct));
        assert_eq!(public(format!(" {digits}\n").as_bytes()), Ok(direct));
        assert_eq!(
            public(format!("# mine\n\ned25519_seed_hex = {digits}\nnote=x\n").as_bytes()),
            Ok(direct)
        );
        let generated = format!("operator_seed_hex={digits}\noperator_public_hex={derived}\n");
        assert_eq!(public(generated.as_bytes()), Ok(derived));
    }

    #[test]
    fn what_is_no_key_or_contradicts_itself_is_refused() {
        let digits = "20".repeat(32);
        let direct = OperatorKey::from_ed25519_seed([0x20; 32]).public();
        let derived = OperatorKey::from_x25519_private([0x20; 32]).public();
        for nothing in [&b""[..], &[0xff; 31], &[0; 33], b"public_hex=", b"seed"] {
            assert!(public(nothing).is_err(), "{nothing:?}");
        }
        assert_eq!(
            public(b"# k\ned25519_seed_hex=20\n"),
            Err(KeyFileError::Hex(2))
        );
        let two = format!("ed25519_seed_hex={digits}\noperator_seed_hex={digits}\n");
        assert_eq!(public(two.as_bytes()), Err(KeyFileError::SeveralKeys));
        let swapped = format!("ed25519_seed_hex={digits}\npublic_hex={derived}\n");
        assert_eq!(
            public(swapped.as_bytes()),
            Err(KeyFileError::OtherPublic {
                stated: derived,
                derived: direct
            })
        );
    }
}
