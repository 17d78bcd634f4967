//! The members of a confirmation, parsed in the order in which node.md 6.5 refuses them.

use super::Refusal;
use dmp_core::keys::{AgreementPublicKey, SigningPublicKey};
use dmp_core::registration::{Challenge, RegistrationSubject};
use serde_json::{Map, Value};

/// What both confirmation routes need.
#[derive(Debug)]
pub struct Confirmation {
    /// Who registers.
    pub subject: RegistrationSubject,
    /// The key that signed.
    pub key: SigningPublicKey,
    /// Not verified yet.
    pub signature: [u8; 64],
    /// Not looked up yet.
    pub challenge: Challenge,
    /// Whether its text has the lower case it is issued in; any other was never issued (node.md 6.5).
    pub names_challenge_as_issued: bool,
}

impl Confirmation {
    /// Parses the members both routes need; the first wrong one is the refusal.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let subject = text(body, "subject")?;
        let key = text(body, "ed25519_spk")?;
        let challenge = text(body, "challenge")?;
        let signature = text(body, "signature")?;
        Ok(Self {
            subject: RegistrationSubject::parse(subject).map_err(Refusal::Subject)?,
            key: SigningPublicKey::from_bytes(octets("ed25519_spk", key)?),
            signature: octets("signature", signature)?,
            challenge: Challenge::from_bytes(octets("challenge", challenge)?),
            names_challenge_as_issued: !challenge.bytes().any(|byte| byte.is_ascii_uppercase()),
        })
    }
}

/// An agreement key that the user says is theirs.
#[derive(Debug)]
pub struct AgreementClaim {
    /// The key.
    pub key: AgreementPublicKey,
    /// That they have its private half; not verified yet.
    pub proof: Option<[u8; 32]>,
}

impl AgreementClaim {
    /// `None` without a key; a proof without a key, and members that are no text, count as absent.
    pub fn parse(body: &Map<String, Value>) -> Result<Option<Self>, Refusal> {
        let optional = |name| text(body, name).ok();
        let Some(key) = optional("x25519_pub") else {
            return Ok(None);
        };
        let key = AgreementPublicKey::from_bytes(octets("x25519_pub", key.trim())?);
        let proof = optional("x25519_pop");
        let proof = proof
            .map(|proof| octets("x25519_pop", proof.trim()))
            .transpose()?;
        Ok(Some(Self { key, proof }))
    }
}

fn text<'a>(body: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Refusal> {
    match body.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(Refusal::Missing(name)),
    }
}

fn octets<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], Refusal> {
    let octets = hex::decode(text).map_err(|_| Refusal::NotHex(field))?;
    octets
        .try_into()
        .map_err(|octets: Vec<u8>| Refusal::Length {
            field,
            expected: N,
            found: octets.len(),
        })
}
