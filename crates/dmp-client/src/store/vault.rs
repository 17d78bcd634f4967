//! Seals what the store keeps: ChaCha20-Poly1305 under a random data key, which itself lies wrapped under the identity (D17).
//! Knows no table and no file.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::StoreError;

/// Bytes of a nonce in front of every sealed value. Random: a store seals far fewer than the 2^32 values that this allows.
const NONCE_LEN: usize = 12;
/// What a wrapped data key is bound to.
const WRAP_CONTEXT: &str = "dnsmesh store data key";
/// Separates the key of the look-up tags from the data key.
const INDEX_LABEL: &[u8] = b"dnsmesh store index key";

/// The data key of an open store.
pub(super) struct Vault {
    data: Zeroizing<[u8; 32]>,
    index: Zeroizing<[u8; 32]>,
}

/// A keyed digest under which a row can be found without the file saying what it is about.
pub(super) type Tag = [u8; 32];

impl Vault {
    /// A vault with a fresh key.
    pub(super) fn generate() -> Result<Self, StoreError> {
        let mut data = Zeroizing::new([0; 32]);
        random(data.as_mut())?;
        Ok(Self::with_key(data))
    }

    /// Opens a wrapped data key; `None` for a key that did not wrap it.
    pub(super) fn unwrap(wrapped: &[u8], wrapping: &[u8; 32]) -> Option<Self> {
        let plain = open_under(wrapping, WRAP_CONTEXT, wrapped)?;
        let data: [u8; 32] = plain.as_slice().try_into().ok()?;
        Some(Self::with_key(Zeroizing::new(data)))
    }

    /// The data key for another start with the same identity.
    pub(super) fn wrap(&self, wrapping: &[u8; 32]) -> Result<Vec<u8>, StoreError> {
        seal_under(wrapping, WRAP_CONTEXT, self.data.as_ref())
    }

    /// Encrypts a value that can only be opened in the same context (its table).
    pub(super) fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        seal_under(&self.data, context, plain)
    }

    /// The plaintext, or `None` if the value is damaged or belongs elsewhere.
    pub(super) fn open(&self, context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        open_under(&self.data, context, sealed)
    }

    /// The look-up tag of a list of parts in a context.
    pub(super) fn tag(&self, context: &str, parts: &[&[u8]]) -> Tag {
        let mut mac = keyed(&self.index);
        for part in std::iter::once(context.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn with_key(data: Zeroizing<[u8; 32]>) -> Self {
        let mut mac = keyed(&data);
        mac.update(INDEX_LABEL);
        let index = Zeroizing::new(mac.finalize().into_bytes().into());
        Self { data, index }
    }
}

/// HMAC-SHA-256. A shorter key is one padded with zeros to the block (RFC 2104 2).
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    block[..key.len()].copy_from_slice(key);
    <Hmac<Sha256> as hmac::KeyInit>::new((&*block).into())
}

fn random(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|_| StoreError::NoRandomness)
}

fn seal_under(key: &[u8; 32], context: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    let cipher = ChaCha20Poly1305::new(&Key::from(*key));
    let sealed = cipher
        .encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: plain,
                aad: context.as_bytes(),
            },
        )
        .map_err(|_| StoreError::NoRandomness)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn open_under(key: &[u8; 32], context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let cipher = ChaCha20Poly1305::new(&Key::from(*key));
    let plain = cipher
        .decrypt(
            &Nonce::from(*nonce),
            Payload {
                msg: sealed,
                aad: context.as_bytes(),
            },
        )
        .ok()?;
    Some(Zeroizing::new(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_own_context_and_vault() {
        let vault = Vault::generate().unwrap();
        let sealed = vault.seal("a", b"text").unwrap();
        assert_eq!(vault.open("a", &sealed).unwrap().as_slice(), b"text");
        assert!(vault.open("b", &sealed).is_none());
        assert!(Vault::generate().unwrap().open("a", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(
                vault.open("a", &changed).is_none(),
                "byte {at} may not change"
            );
        }
    }

    #[test]
    fn a_wrap_opens_only_with_the_key_that_made_it() {
        let vault = Vault::generate().unwrap();
        let wrapped = vault.wrap(&[1; 32]).unwrap();
        let again = Vault::unwrap(&wrapped, &[1; 32]).unwrap();
        assert_eq!(*again.data, *vault.data);
        assert!(Vault::unwrap(&wrapped, &[2; 32]).is_none());
    }

    #[test]
    fn tags_do_not_confuse_where_one_part_ends() {
        let vault = Vault::generate().unwrap();
        assert_ne!(
            vault.tag("t", &[b"ab", b"c"]),
            vault.tag("t", &[b"a", b"bc"])
        );
        assert_ne!(vault.tag("t", &[b"a"]), vault.tag("u", &[b"a"]));
        assert_eq!(vault.tag("t", &[b"a"]), vault.tag("t", &[b"a"]));
    }
}
