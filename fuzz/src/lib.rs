//! What the fuzz targets share: fixed keys and a clock, and signatures over whatever the fuzzer thinks up,
//! so that it gets past the check and into the code behind it.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dmp_core::codec::RecordType;
use dmp_core::error::{EncodeError, RecordError};
use dmp_core::id::UnixTime;
use dmp_core::keys::{Identity, OperatorKey, Signer};
use dmp_core::signed::Verified;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest, Sha256};

/// The clock of every target, and of the vectors.
pub const NOW: UnixTime = UnixTime::new(1_800_000_000);

const PERSON: [u8; 32] = [1; 32];
const SUCCESSOR: [u8; 32] = [2; 32];
const OPERATOR: [u8; 32] = [3; 32];
const NEXT_OPERATOR: [u8; 32] = [4; 32];

/// Somebody whose signature the harness can make: the same key once for the library and once for any bytes.
pub enum Party {
    /// A user and the raw signing key.
    Person(Identity, SigningKey),
    /// An operator and the raw signing key.
    Operator(OperatorKey, SigningKey),
}

impl Party {
    /// The public key's bytes.
    pub fn public(&self) -> [u8; 32] {
        self.key().verifying_key().to_bytes()
    }

    /// As the records of both kinds of signers take it.
    pub fn signer(&self) -> Signer<'_> {
        match self {
            Party::Person(identity, _) => Signer::Person(identity),
            Party::Operator(operator, _) => Signer::Operator(operator),
        }
    }

    /// The user; panics for an operator.
    pub fn identity(&self) -> &Identity {
        match self {
            Party::Person(identity, _) => identity,
            Party::Operator(..) => panic!("an operator"),
        }
    }

    /// The operator; panics for a user.
    pub fn operator(&self) -> &OperatorKey {
        match self {
            Party::Operator(operator, _) => operator,
            Party::Person(..) => panic!("a user"),
        }
    }

    fn person(seed: [u8; 32]) -> Self {
        // crypto.md 3: the signing key's seed is SHA-256 of the identity's seed and this label.
        let signing = Sha256::new()
            .chain_update(seed)
            .chain_update(b"DMP-v1-Ed25519-signing-key")
            .finalize();
        Party::Person(
            Identity::from_seed(seed),
            SigningKey::from_bytes(&signing.into()),
        )
    }

    fn of_operator(seed: [u8; 32]) -> Self {
        Party::Operator(
            OperatorKey::from_ed25519_seed(seed),
            SigningKey::from_bytes(&seed),
        )
    }

    fn key(&self) -> &SigningKey {
        match self {
            Party::Person(_, key) | Party::Operator(_, key) => key,
        }
    }
}

/// The user who signs.
pub fn person() -> &'static Party {
    static PARTY: OnceLock<Party> = OnceLock::new();
    PARTY.get_or_init(|| Party::person(PERSON))
}

/// The key the user rotates to.
pub fn successor() -> &'static Party {
    static PARTY: OnceLock<Party> = OnceLock::new();
    PARTY.get_or_init(|| Party::person(SUCCESSOR))
}

/// The operator who signs.
pub fn operator() -> &'static Party {
    static PARTY: OnceLock<Party> = OnceLock::new();
    PARTY.get_or_init(|| Party::of_operator(OPERATOR))
}

/// The key the operator rotates to.
pub fn next_operator() -> &'static Party {
    static PARTY: OnceLock<Party> = OnceLock::new();
    PARTY.get_or_init(|| Party::of_operator(NEXT_OPERATOR))
}

/// The fuzzer's bytes as they may arrive: a TXT value if they are UTF-8.
pub fn as_text(data: &[u8], parse: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(data) {
        parse(text);
    }
}

/// The fuzzer's bytes as a record body with a signer's public key where the record has it.
pub fn body_with_key(
    data: &[u8],
    at: impl FnOnce(&[u8]) -> Option<usize>,
    signer: &Party,
) -> Vec<u8> {
    let mut body = data.to_vec();
    if let Some(at) = at(&body)
        && let Some(place) = body.get_mut(at..at.saturating_add(32))
    {
        place.copy_from_slice(&signer.public());
    }
    body
}

/// The value of a body under the signatures of these parties, in their order.
pub fn signed_value(kind: RecordType, body: &[u8], signers: &[&Party]) -> String {
    format!("{}{}", kind.prefix(), signed_payload(body, signers))
}

/// What stands behind the prefix of such a value, the same for every type.
pub fn signed_payload(body: &[u8], signers: &[&Party]) -> String {
    let mut blob = body.to_vec();
    for signer in signers {
        blob.extend_from_slice(&signer.key().sign(body).to_bytes());
    }
    STANDARD.encode(blob)
}

/// What was accepted has one canonical form: signed again it parses to the same record, and then signs to the same text.
pub fn assert_stable<T: PartialEq + Debug>(
    record: &T,
    sign: impl Fn(&T) -> Result<String, EncodeError>,
    parse: impl Fn(&str) -> Result<Verified<T>, RecordError>,
) {
    let canonical = sign(record).expect("what was parsed can be signed");
    let again = parse(&canonical).expect("what was signed parses");
    assert_eq!(*again, *record);
    assert_eq!(sign(&again), Ok(canonical));
}

/// Where the public key stands in a body of each type: behind fixed fields and a text whose length says so.
pub fn key_offset(kind: RecordType, body: &[u8]) -> Option<usize> {
    let byte = |at: usize| body.get(at).copied().map(usize::from);
    match kind {
        RecordType::Manifest => Some(16),
        RecordType::Identity => Some(1 + byte(0)? + 32),
        RecordType::Cluster | RecordType::Bootstrap | RecordType::Claim => Some(23),
        RecordType::Rotation | RecordType::Revocation => Some(9 + byte(8)?),
        RecordType::Heartbeat => Some(9 + 256 * byte(7)? + byte(8)?),
        RecordType::Chunk | RecordType::Prekey => None,
    }
}
