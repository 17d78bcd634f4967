//! What the vector and property tests share: loading vectors, reading their members, fixed keys and randomness.
//!
//! Each test binary uses its own part of it.
#![allow(dead_code, unreachable_pub)]

pub(crate) mod sample;

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use dmp_core::error::RecordError;
use dmp_core::id::UnixTime;
use dmp_core::keys::{Identity, OperatorKey, SigningPublicKey};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The clock of the vector files that state no other.
pub(crate) const NOW: UnixTime = UnixTime::new(1_800_000_000);

/// The same cases on every run, unless `PROPTEST_RNG_SEED` asks for others.
pub(crate) fn property_config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x646d_7031);
    }
    config
}

/// One of the workspace's vector files.
pub(crate) fn vectors(file: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(file);
    read(path.clone()).unwrap_or_else(|| panic!("{} is missing", path.display()))
}

/// The cases of a vector file under `key`, and no fewer or more than `count`: a test must see every one of them.
pub(crate) fn cases(file: &str, key: &str, count: usize) -> Vec<Value> {
    let cases = vectors(file)[key]
        .as_array()
        .expect("an array of cases")
        .clone();
    assert_eq!(cases.len(), count, "cases of {file}");
    cases
}

/// One of the reference's own golden files, or `None` with a notice where they are not installed.
#[allow(
    clippy::print_stdout,
    reason = "who reads the test output must learn of the skip"
)]
pub(crate) fn upstream(file: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("DNSMESH_UPSTREAM_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/upstream"),
        PathBuf::from,
    );
    let found = read(folder.join(file));
    if found.is_none() {
        println!("skipped: {file} is not in {}", folder.display());
    }
    found.map(|value| value.as_array().expect("a bare array").clone())
}

/// A text member.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// A text member that may be null or absent.
pub(crate) fn optional_text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

/// A whole-number member.
pub(crate) fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {key} in {value}"))
}

/// A member of hex digits of exact length.
pub(crate) fn bytes<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(text(value, key), &mut bytes).expect("hex of the right length");
    bytes
}

/// The clock of a case.
pub(crate) fn now(case: &Value) -> UnixTime {
    UnixTime::new(number(case, "now"))
}

/// Whether a new implementation accepts the case: `required`, or `recommended` where that leaves the choice.
pub(crate) fn is_accepted(case: &Value) -> bool {
    let verdict = match text(case, "required") {
        "either" => text(case, "recommended"),
        required => required,
    };
    match verdict {
        "accept" => true,
        "reject" => false,
        other => panic!("verdict {other}"),
    }
}

/// Asserts that a parser judged the case as it must, and gives back what it accepted.
pub(crate) fn judge<T>(case: &Value, parsed: Result<T, RecordError>) -> Option<T> {
    match (is_accepted(case), parsed) {
        (true, Ok(record)) => Some(record),
        (false, Err(_)) => None,
        (true, Err(error)) => panic!("{case} must be accepted: {error}"),
        (false, Ok(_)) => panic!("{case} must be rejected"),
    }
}

/// The text of a golden case's `expected_wire_hex`.
pub(crate) fn wire(case: &Value) -> String {
    let bytes = hex::decode(text(case, "expected_wire_hex")).expect("hex");
    String::from_utf8(bytes).expect("a golden value is text")
}

/// A person's keys, one of 256.
pub(crate) fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

/// The same key pair in an operator's hands, which only a test may do.
pub(crate) fn operator(number: u8) -> OperatorKey {
    OperatorKey::from_x25519_private([number; 32])
}

/// Signs anything with the key of [`identity`] and [`operator`]; no public function of the library does.
pub(crate) fn sign(number: u8, body: &[u8]) -> [u8; 64] {
    let seed = Sha256::new()
        .chain_update([number; 32])
        .chain_update(b"DMP-v1-Ed25519-signing-key");
    SigningKey::from_bytes(&seed.finalize().into())
        .sign(body)
        .to_bytes()
}

/// A public key as it is, whether it is a point or not.
pub(crate) fn signing_key(value: &Value, key: &str) -> SigningPublicKey {
    SigningPublicKey::from_bytes(bytes(value, key))
}

/// The bytes behind the prefix of a value.
pub(crate) fn blob(value: &str) -> Vec<u8> {
    let start = prefix_len(value);
    decode64(&value[start..])
}

/// The value with other bytes behind its prefix.
pub(crate) fn with_blob(value: &str, blob: &[u8]) -> String {
    format!("{}{}", &value[..prefix_len(value)], encode64(blob))
}

/// Standard padded base64.
pub(crate) fn encode64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decode64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("base64")
}

fn prefix_len(value: &str) -> usize {
    dmp_core::codec::RecordType::of(value)
        .expect("a record")
        .prefix()
        .len()
}

fn read(path: PathBuf) -> Option<Value> {
    let bytes = fs::read(path).ok()?;
    Some(serde_json::from_slice(&bytes).expect("vector files are JSON"))
}

/// Reproducible randomness: SHA-256 of a counter.
pub(crate) struct TestRng(u64);

impl TestRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed << 32)
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for piece in target.chunks_mut(32) {
            self.0 += 1;
            piece.copy_from_slice(&Sha256::digest(self.0.to_be_bytes())[..piece.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}
