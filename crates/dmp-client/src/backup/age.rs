//! The age file format, version 1, with a passphrase (age-encryption.org/v1): what `age -p` writes and `age -d` reads.
//!
//! One recipient kind, no plug-ins, no armour: the published crate brings ninety others for what is a header and a stream here.
//! Tests hold both directions against the `age` program.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_core::CryptoRng;
use scrypt::{Params, scrypt};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::BackupError;
use crate::limits::BACKUP_WORK_MAX;

const VERSION_LINE: &str = "age-encryption.org/v1";
const SCRYPT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
/// Bytes of a file key and of the scrypt salt.
const KEY_LEN: usize = 16;
/// Bytes of the payload's nonce.
const NONCE_LEN: usize = 16;
/// Plaintext bytes of one piece of the payload.
const PIECE: usize = 64 * 1024;
/// Bytes that authentication adds to a piece.
const TAG_LEN: usize = 16;

/// Encrypts under a passphrase; scrypt works with N = 2^`work`.
pub(super) fn encrypt(
    passphrase: &str,
    work: u8,
    plain: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, BackupError> {
    let mut file_key = Zeroizing::new([0; KEY_LEN]);
    let mut salt = [0; KEY_LEN];
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(file_key.as_mut());
    rng.fill_bytes(&mut salt);
    rng.fill_bytes(&mut nonce);

    let wrapping = wrapping_key(passphrase, &salt, work)?;
    let wrapped = ChaCha20Poly1305::new(&Key::from(*wrapping))
        .encrypt(&Nonce::default(), file_key.as_slice())
        .map_err(|_| BackupError::TooLarge)?;
    let mut file = format!(
        "{VERSION_LINE}\n-> scrypt {} {work}\n{}\n---",
        BASE64_STANDARD_NO_PAD.encode(salt),
        BASE64_STANDARD_NO_PAD.encode(wrapped),
    )
    .into_bytes();
    let mac = header_mac(&file_key, &file).finalize().into_bytes();
    file.extend_from_slice(format!(" {}\n", BASE64_STANDARD_NO_PAD.encode(mac)).as_bytes());
    file.extend_from_slice(&nonce);

    let cipher = ChaCha20Poly1305::new(&Key::from(*payload_key(&file_key, &nonce)));
    // Also an empty text has one piece, the last.
    let pieces = plain.len().div_ceil(PIECE).max(1);
    for number in 0..pieces {
        let start = number * PIECE;
        let piece = &plain[start..plain.len().min(start + PIECE)];
        let sealed = cipher
            .encrypt(&piece_nonce(number, number + 1 == pieces), piece)
            .map_err(|_| BackupError::TooLarge)?;
        file.extend_from_slice(&sealed);
    }
    Ok(file)
}

/// Decrypts a whole file; anything cut off, changed or added is an error.
pub(super) fn decrypt(passphrase: &str, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    let header = Header::read(file).ok_or(BackupError::NotABundle)?;
    if header.work > BACKUP_WORK_MAX {
        return Err(BackupError::WorkTooHigh(header.work));
    }
    let wrapping = wrapping_key(passphrase, &header.salt, header.work)?;
    let file_key = ChaCha20Poly1305::new(&Key::from(*wrapping))
        .decrypt(&Nonce::default(), header.wrapped.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| BackupError::WrongPassphrase)?;
    let file_key: Zeroizing<[u8; KEY_LEN]> = Zeroizing::new(
        file_key
            .as_slice()
            .try_into()
            .map_err(|_| BackupError::NotABundle)?,
    );
    header_mac(&file_key, header.authenticated)
        .verify_slice(&header.mac)
        .map_err(|_| BackupError::Damaged)?;

    let (nonce, mut rest) = header
        .payload
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(BackupError::Damaged)?;
    let cipher = ChaCha20Poly1305::new(&Key::from(*payload_key(&file_key, nonce)));
    let mut plain = Zeroizing::new(Vec::with_capacity(rest.len()));
    for number in 0.. {
        let (piece, behind) = rest.split_at(rest.len().min(PIECE + TAG_LEN));
        let is_last = behind.is_empty();
        let opened = cipher
            .decrypt(&piece_nonce(number, is_last), piece)
            .map(Zeroizing::new)
            .map_err(|_| BackupError::Damaged)?;
        if opened.is_empty() && number > 0 {
            return Err(BackupError::Damaged);
        }
        plain.extend_from_slice(&opened);
        rest = behind;
        if is_last {
            break;
        }
    }
    Ok(plain)
}

/// The header of a file with one scrypt recipient.
struct Header<'a> {
    salt: [u8; KEY_LEN],
    work: u8,
    wrapped: Vec<u8>,
    mac: Vec<u8>,
    /// Everything up to and with the three dashes.
    authenticated: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let mut rest = file;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let (line, behind) = rest.split_at(end);
            rest = &behind[1..];
            std::str::from_utf8(line).ok()
        };
        let is_version_1 = line()? == VERSION_LINE;
        let stanza = line()?.strip_prefix("-> scrypt ")?;
        let body = line()?;
        let mac = line()?.strip_prefix("--- ")?;
        let (salt, work) = stanza.split_once(' ')?;
        let is_canonical = work.bytes().all(|byte| byte.is_ascii_digit()) && !work.starts_with('0');
        let end = file.len() - rest.len() - 1 - mac.len() - 1;
        (is_version_1 && is_canonical).then_some(())?;
        Some(Self {
            salt: BASE64_STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?,
            work: work.parse().ok()?,
            wrapped: BASE64_STANDARD_NO_PAD.decode(body).ok()?,
            mac: BASE64_STANDARD_NO_PAD.decode(mac).ok()?,
            authenticated: &file[..end],
            payload: rest,
        })
    }
}

fn wrapping_key(
    passphrase: &str,
    salt: &[u8; KEY_LEN],
    work: u8,
) -> Result<Zeroizing<[u8; 32]>, BackupError> {
    let salt = [SCRYPT_LABEL, salt].concat();
    let mut key = Zeroizing::new([0; 32]);
    let parameters = Params::new(work, 8, 1).map_err(|_| BackupError::WorkTooHigh(work))?;
    scrypt(passphrase.as_bytes(), &salt, &parameters, key.as_mut())
        .map_err(|_| BackupError::WorkTooHigh(work))?;
    Ok(key)
}

fn header_mac(file_key: &[u8; KEY_LEN], header: &[u8]) -> Hmac<Sha256> {
    // A shorter key is one padded with zeros to the block (RFC 2104 2).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(derived(file_key, &[], b"header").as_ref());
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new((&*block).into());
    mac.update(header);
    mac
}

fn payload_key(file_key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN]) -> Zeroizing<[u8; 32]> {
    derived(file_key, nonce, b"payload")
}

fn derived(file_key: &[u8; KEY_LEN], salt: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    // 32 bytes are one block of the 255 that HKDF gives: this cannot fail.
    let expanded = Hkdf::<Sha256>::new(Some(salt), file_key).expand(label, key.as_mut());
    debug_assert!(expanded.is_ok());
    key
}

/// An 11-byte big-endian counter and the mark of the last piece.
fn piece_nonce(number: usize, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
    nonce[11] = u8::from(is_last);
    Nonce::from(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::system_random;

    /// The least work: these tests are about the form.
    const WORK: u8 = 1;

    fn sealed(plain: &[u8]) -> Vec<u8> {
        encrypt("passphrase", WORK, plain, &mut system_random()).unwrap()
    }

    #[test]
    fn what_was_encrypted_opens_with_its_passphrase_only() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let plain = vec![7; length];
            let file = sealed(&plain);
            assert_eq!(*decrypt("passphrase", &file).unwrap(), plain, "{length}");
            assert!(matches!(
                decrypt("other", &file),
                Err(BackupError::WrongPassphrase)
            ));
        }
    }

    #[test]
    fn no_byte_can_be_changed_and_none_taken_or_added() {
        let file = sealed(b"content");
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(decrypt("passphrase", &changed).is_err(), "byte {at}");
            assert!(decrypt("passphrase", &file[..at]).is_err(), "cut at {at}");
        }
        assert!(decrypt("passphrase", &[&file[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_file_cannot_end_between_two_pieces() {
        let file = sealed(&vec![7; 2 * PIECE]);
        let shorter = &file[..file.len() - PIECE - TAG_LEN];
        assert!(matches!(
            decrypt("passphrase", shorter),
            Err(BackupError::Damaged)
        ));
    }

    #[test]
    fn a_header_that_asks_for_endless_work_is_refused_before_any() {
        let text = String::from_utf8_lossy(&sealed(b"")[..60]).into_owned();
        let salt = text.split(' ').nth(2).unwrap();
        let header = format!("{VERSION_LINE}\n-> scrypt {salt} 40\nAAAA\n--- AAAA\n");
        assert!(matches!(
            decrypt("passphrase", header.as_bytes()),
            Err(BackupError::WorkTooHigh(40))
        ));
    }
}
