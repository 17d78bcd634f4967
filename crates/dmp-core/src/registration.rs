//! What a user proves to a node to get write access: the signature and the proof of possession of node.md 6.5.
//!
//! Opens no connection and decides nothing about scopes. All inputs are types, so that nothing else can be signed (D7).

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization as _;

use crate::error::{AddressError, KeyError, LocalPartError, NameError, Rejected};
use crate::id::hex_newtype;
use crate::keys::{AgreementPublicKey, AgreementSecret, Identity, SigningPublicKey};
use crate::limits::NAME_MAX;
use crate::name::{check_labels, is_letter_digit_hyphen, validate_publishable};
use crate::signed::verify;

/// The byte behind the signed text: the version of the ceremony.
const VERSION: u8 = 0x01;

hex_newtype!(
    /// The 32 random bytes that a node wants signed.
    Challenge, 32
);

/// Who registers: `local@domain`, canonical as node.md 6.5 says, which is wider than an
/// [`Address`](crate::address::Address) in the local part and wants at least two labels in the domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationSubject(String);

impl RegistrationSubject {
    /// Canonicalises: NFKC, trimmed, lower case.
    ///
    /// # Errors
    /// Text that then is not ASCII `[a-z0-9][a-z0-9._+-]*@` and a domain of two labels or more without trailing dot.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.nfkc().collect::<String>();
        let text = text.trim_matches(is_blank).to_lowercase();
        let (local, domain) = text.split_once('@').ok_or(AddressError::Shape)?;
        check_local(local).map_err(AddressError::Local)?;
        if domain.contains('@') {
            return Err(AddressError::Shape);
        }
        check_labels(domain, is_letter_digit_hyphen)?;
        if !domain.contains('.') {
            return Err(NameError::OneLabel.into());
        }
        Ok(Self(text))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        self.0.split_once('@').map_or("", |(local, _)| local)
    }

    /// The part behind the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for RegistrationSubject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for RegistrationSubject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RegistrationSubject({})", self.0)
    }
}

/// A node as it names itself: a host name or IP literal, with or without a port. Signed exactly as it was issued.
#[derive(Clone, Debug)]
pub struct NodeName {
    text: String,
    host: String,
}

impl NodeName {
    /// Checks the form: `host`, `host:port`, an IPv4 or IPv6 address, an IPv6 address in brackets with or without port.
    ///
    /// # Errors
    /// Anything else; host names follow records.md 4.1 and have at most 253 characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let host = match text.strip_prefix('[') {
            Some(literal) => {
                let (address, rest) = literal.split_once(']').ok_or(NameError::Character('['))?;
                let address: Ipv6Addr = address.parse().map_err(|_| NameError::Character('['))?;
                if !rest.is_empty() {
                    check_port(rest.strip_prefix(':').ok_or(NameError::Character(']'))?)?;
                }
                address.to_string()
            }
            None => match text.parse::<IpAddr>() {
                Ok(address) => address.to_string(),
                Err(_) => host_name(text)?,
            },
        };
        Ok(Self {
            text: text.to_owned(),
            host,
        })
    }

    /// The text as issued.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host alone: lower case, without trailing dot, brackets and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether both name the same host, whatever their case and ports (D7).
    #[must_use]
    pub fn is_same_host(&self, other: &Self) -> bool {
        self.host == other.host
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Identity {
    /// Signs a registration. The caller has checked that the node is the one it dialled and the subject its own (D7).
    #[must_use]
    pub fn sign_registration(
        &self,
        challenge: &Challenge,
        subject: &RegistrationSubject,
        node: &NodeName,
    ) -> [u8; 64] {
        self.sign(&signed_bytes(challenge, subject, node))
    }
}

/// Verifies what [`Identity::sign_registration`] made.
///
/// # Errors
/// [`Rejected::LowOrderKey`] and [`Rejected::Signature`].
pub fn verify_registration(
    key: &SigningPublicKey,
    challenge: &Challenge,
    subject: &RegistrationSubject,
    node: &NodeName,
    signature: &[u8; 64],
) -> Result<(), Rejected> {
    verify(key, &signed_bytes(challenge, subject, node), signature)
}

/// Proves to the node that holds `server`'s private half that this secret's owner claims its public half (crypto.md 18).
///
/// # Errors
/// [`KeyError::LowOrder`] if the node's key would give everybody the same secret.
pub fn prove_possession(
    secret: &AgreementSecret,
    server: &AgreementPublicKey,
    challenge: &Challenge,
    subject: &RegistrationSubject,
) -> Result<[u8; 32], KeyError> {
    let mac = possession_mac(secret, server, challenge, subject, &secret.public())
        .ok_or(KeyError::LowOrder)?;
    Ok(mac.finalize().into_bytes().into())
}

/// Verifies what [`prove_possession`] made, in constant time.
///
/// # Errors
/// [`Rejected::LowOrderKey`] and [`Rejected::Proof`].
pub fn verify_possession(
    server: &AgreementSecret,
    claimed: &AgreementPublicKey,
    challenge: &Challenge,
    subject: &RegistrationSubject,
    proof: &[u8; 32],
) -> Result<(), Rejected> {
    possession_mac(server, claimed, challenge, subject, claimed)
        .ok_or(Rejected::LowOrderKey)?
        .verify_slice(proof)
        .map_err(|_| Rejected::Proof)
}

fn signed_bytes(challenge: &Challenge, subject: &RegistrationSubject, node: &NodeName) -> Vec<u8> {
    [
        challenge.as_bytes().as_slice(),
        subject.0.as_bytes(),
        node.text.as_bytes(),
        &[VERSION],
    ]
    .concat()
}

/// `None` if the peer's key has low order. HMAC takes keys of any length.
fn possession_mac(
    own: &AgreementSecret,
    peer: &AgreementPublicKey,
    challenge: &Challenge,
    subject: &RegistrationSubject,
    claimed: &AgreementPublicKey,
) -> Option<Hmac<Sha256>> {
    let shared = own.agree(peer)?;
    let mac = Hmac::<Sha256>::new_from_slice(shared.as_slice()).ok()?;
    Some(
        mac.chain_update(challenge.as_bytes())
            .chain_update(subject.0.as_bytes())
            .chain_update(claimed.as_bytes()),
    )
}

fn check_local(local: &str) -> Result<(), LocalPartError> {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let first = local.chars().next().ok_or(LocalPartError::Empty)?;
    if !plain(first) {
        return Err(LocalPartError::Character(first));
    }
    match local
        .chars()
        .find(|character| !plain(*character) && !"._+-".contains(*character))
    {
        Some(character) => Err(LocalPartError::Character(character)),
        None => Ok(()),
    }
}

fn host_name(text: &str) -> Result<String, NameError> {
    let (host, port) = text
        .split_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    port.map_or(Ok(()), check_port)?;
    validate_publishable(host)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > NAME_MAX {
        Err(NameError::TooLong(NAME_MAX))
    } else {
        Ok(host.to_ascii_lowercase())
    }
}

fn check_port(text: &str) -> Result<(), NameError> {
    match text.chars().find(|character| !character.is_ascii_digit()) {
        Some(character) => Err(NameError::Character(character)),
        None => text
            .parse::<u16>()
            .map(drop)
            .map_err(|_| NameError::Character(':')),
    }
}

/// White space as the reference trims it, which counts four control characters in.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Subjects in these vectors are not all canonical, which only this module can spell.
    #[test]
    fn proofs_of_possession_are_those_of_the_vectors() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../vectors/x25519_registration_pop.json"
        );
        let file = std::fs::read_to_string(file).expect("the vector file");
        let file: serde_json::Value = serde_json::from_str(&file).expect("JSON");
        let cases = file["cases"].as_array().expect("cases");
        assert_eq!(cases.len(), 2);
        for case in cases {
            let bytes = |key: &str| -> [u8; 32] {
                Challenge::from_hex(case[key].as_str().expect("text"))
                    .expect("hex")
                    .0
            };
            let challenge = Challenge(bytes("challenge_hex"));
            let subject = RegistrationSubject(case["subject"].as_str().expect("text").to_owned());
            let client = AgreementSecret::from_bytes(bytes("client_private_hex"));
            let server = AgreementSecret::from_bytes(bytes("server_ephemeral_private_hex"));
            assert_eq!(*client.public().as_bytes(), bytes("claimed_public_hex"));
            assert_eq!(
                *server.public().as_bytes(),
                bytes("server_ephemeral_public_hex")
            );
            let proof =
                prove_possession(&client, &server.public(), &challenge, &subject).expect("a proof");
            assert_eq!(proof, bytes("pop_hex"));
            assert_eq!(
                verify_possession(&server, &client.public(), &challenge, &subject, &proof),
                Ok(())
            );
        }
    }
}
