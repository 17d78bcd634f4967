//! Keys as types: what they may be used for is what they are. Offers no way to sign or decrypt arbitrary bytes.

use core::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::error::KeyError;
use crate::id::{Fingerprint, UserId, hex_newtype};
pub use crate::key_file::KeyFileError;
use crate::limits::{ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, SALT_LEN, SALT_MIN};

/// Turns X25519 private bytes into the Ed25519 seed of the same person (crypto.md 3).
const SIGNING_KEY_LABEL: &[u8] = b"DMP-v1-Ed25519-signing-key";
/// The fixed salt of configurations without one (crypto.md 2).
const LEGACY_SALT: &[u8] = b"DMP-default-v2-argon2id";
/// Separates the key of the local store from every key of the protocol (D17).
const STORE_KEY_LABEL: &[u8] = b"dnsmesh-client-store-v1";

hex_newtype!(
    /// An Ed25519 public key, 32 bytes, not yet known to be a valid point (`spk`).
    SigningPublicKey, 32
);
hex_newtype!(
    /// An X25519 public key, 32 bytes (`pub`).
    AgreementPublicKey, 32
);

impl SigningPublicKey {
    /// The first 16 hex digits: how a sender without a label is shown (crypto.md 3).
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(16);
        text
    }
}

impl AgreementPublicKey {
    /// The person that holds this key.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        UserId::from_bytes(Sha256::digest(self.as_bytes()).into())
    }
}

/// A person's two public keys: what is pinned, compared and shown as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PublicKeys {
    /// The X25519 key (`pub`).
    pub agreement: AgreementPublicKey,
    /// The Ed25519 key (`spk`).
    pub signing: SigningPublicKey,
}

impl PublicKeys {
    /// What people see of both.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.agreement, &self.signing)
    }
}

/// An X25519 private key: a person's long-term one, a prekey's or an ephemeral one.
#[derive(Clone)]
pub struct AgreementSecret(StaticSecret);

impl AgreementSecret {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self::from_bytes(*bytes)
    }

    /// Takes the raw bytes, which stay unclamped (crypto.md 2).
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let secret = Self(StaticSecret::from(bytes));
        bytes.zeroize();
        secret
    }

    /// The raw, unclamped bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> AgreementPublicKey {
        AgreementPublicKey::from_bytes(PublicKey::from(&self.0).to_bytes())
    }

    /// The shared secret, or `None` if the peer's key has low order and it would be zero (crypto.md 1).
    pub(crate) fn agree(&self, peer: &AgreementPublicKey) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*peer.as_bytes()));
        shared
            .was_contributory()
            .then(|| Zeroizing::new(shared.to_bytes()))
    }
}

impl fmt::Debug for AgreementSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AgreementSecret(of {})", self.public())
    }
}

/// The salt of an identity; losing it loses the identity (crypto.md 2). Not secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Salt(Vec<u8>);

impl Salt {
    /// A fresh salt of 32 bytes.
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = vec![0; SALT_LEN];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The salt of configurations that have none. Equal passphrases then give equal identities: for reading only.
    #[must_use]
    pub fn legacy() -> Self {
        Self(LEGACY_SALT.to_vec())
    }

    /// Reads a salt as the configuration stores it.
    ///
    /// # Errors
    /// [`KeyError::Salt`] if it is not hex or has fewer than 8 bytes.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let bytes = hex::decode(text).map_err(|_| KeyError::Salt)?;
        if bytes.len() < SALT_MIN {
            Err(KeyError::Salt)
        } else {
            Ok(Self(bytes))
        }
    }

    /// The text that [`Salt::from_hex`] reads.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

/// A person's private keys, both derived from one seed (crypto.md 2, 3).
pub struct Identity {
    agreement: AgreementSecret,
    agreement_public: AgreementPublicKey,
    signing: SigningKey,
}

impl Identity {
    /// Derives the identity from a passphrase, used as it is: neither trimmed nor normalised.
    ///
    /// Takes about 30 ms and 32 MiB.
    ///
    /// # Errors
    /// [`KeyError::Derivation`] for a passphrase or salt of 4 GiB or more.
    pub fn derive(passphrase: &str, salt: &Salt) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        Params::new(
            ARGON2_MEMORY_KIB,
            ARGON2_PASSES,
            ARGON2_LANES,
            Some(seed.len()),
        )
        .and_then(|parameters| {
            Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters).hash_password_into(
                passphrase.as_bytes(),
                &salt.0,
                seed.as_mut(),
            )
        })
        .map_err(|_| KeyError::Derivation)?;
        Ok(Self::from_seed(*seed))
    }

    /// The identity whose raw X25519 private bytes these are.
    #[must_use]
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let agreement = AgreementSecret::from_bytes(seed);
        let signing = signing_key(&seed);
        seed.zeroize();
        Self {
            agreement_public: agreement.public(),
            agreement,
            signing,
        }
    }

    /// The key that verifies this person's records.
    #[must_use]
    pub fn signing_public(&self) -> SigningPublicKey {
        SigningPublicKey::from_bytes(self.signing.verifying_key().to_bytes())
    }

    /// The key that messages to this person are encrypted to when there is no prekey.
    #[must_use]
    pub const fn agreement_public(&self) -> AgreementPublicKey {
        self.agreement_public
    }

    /// The long-term decryption key.
    #[must_use]
    pub const fn agreement(&self) -> &AgreementSecret {
        &self.agreement
    }

    /// Who this is, on the wire.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.agreement_public.user_id()
    }

    /// Both public keys.
    #[must_use]
    pub fn public_keys(&self) -> PublicKeys {
        PublicKeys {
            agreement: self.agreement_public,
            signing: self.signing_public(),
        }
    }

    /// What people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.public_keys().fingerprint()
    }

    /// The key of the local store: HKDF-SHA-256 of the seed under its own label (D17).
    #[must_use]
    pub fn store_key(&self) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        // 32 bytes are one block of the 255 that HKDF gives: this cannot fail.
        let expanded = Hkdf::<Sha256>::new(None, self.agreement.as_bytes())
            .expand(STORE_KEY_LABEL, key.as_mut());
        debug_assert!(expanded.is_ok());
        key
    }

    /// Signs a body that this crate has built; crypto.md 17.5 forbids anything else.
    pub(crate) fn sign(&self, body: &[u8]) -> [u8; 64] {
        self.signing.sign(body).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({})", self.fingerprint())
    }
}

/// An operator's Ed25519 key: signs cluster manifests, bootstrap records and heartbeats, never a person's records.
pub struct OperatorKey(SigningKey);

impl OperatorKey {
    /// A heartbeat key file: the raw Ed25519 seed (records.md 15, kind a).
    #[must_use]
    pub fn from_ed25519_seed(mut seed: [u8; 32]) -> Self {
        let key = Self(SigningKey::from_bytes(&seed));
        seed.zeroize();
        key
    }

    /// The cluster generator's `operator_seed_hex`: X25519 private bytes that the Ed25519 key is derived from (records.md 15, kind b).
    #[must_use]
    pub fn from_x25519_private(mut private: [u8; 32]) -> Self {
        let key = Self(signing_key(&private));
        private.zeroize();
        key
    }

    /// The key to pin.
    #[must_use]
    pub fn public(&self) -> SigningPublicKey {
        SigningPublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs a body that this crate has built.
    pub(crate) fn sign(&self, body: &[u8]) -> [u8; 64] {
        self.0.sign(body).to_bytes()
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OperatorKey({})", self.public())
    }
}

/// Whoever may sign a rotation or revocation: a person for a person's key, an operator for an operator's.
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    /// A person's key.
    Person(&'a Identity),
    /// An operator's key.
    Operator(&'a OperatorKey),
}

impl Signer<'_> {
    /// The key that verifies.
    #[must_use]
    pub fn public(&self) -> SigningPublicKey {
        match self {
            Self::Person(identity) => identity.signing_public(),
            Self::Operator(operator) => operator.public(),
        }
    }

    pub(crate) fn sign(&self, body: &[u8]) -> [u8; 64] {
        match self {
            Self::Person(identity) => identity.sign(body),
            Self::Operator(operator) => operator.sign(body),
        }
    }
}

/// The Ed25519 key of X25519 private bytes (crypto.md 3).
fn signing_key(agreement_private: &[u8; 32]) -> SigningKey {
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(
        Sha256::new()
            .chain_update(agreement_private)
            .chain_update(SIGNING_KEY_LABEL)
            .finalize()
            .into(),
    );
    SigningKey::from_bytes(&seed)
}
