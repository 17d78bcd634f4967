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
    let cipher = cipher(&*ephemeral.agree(recipient)?)?;
    let ciphertext = cipher
        .encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: plaintext,
                aad: associated_data,
            },
        )
        .ok()?;
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
    let cipher = cipher(&*key.agree(&AgreementPublicKey::from_bytes(*ephemeral))?)?;
    cipher
        .decrypt(
            &Nonce::from(*nonce),
            Payload {
                msg: ciphertext,
                aad: associated_data,
            },
        )
        .ok()
}

/// The cipher under the session key; always `Some`, since both the expansion and the cipher take 32 bytes.
fn cipher(shared: &[u8; 32]) -> Option<ChaCha20Poly1305> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(SESSION_SALT), shared)
        .expand(SESSION_INFO, key.as_mut())
        .ok()?;
    ChaCha20Poly1305::new_from_slice(key.as_ref()).ok()
}
