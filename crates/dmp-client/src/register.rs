//! Registration at a node (client.md 4.8): a signature over the node's challenge is exchanged for a bearer token or a TSIG key.
//!
//! The client signs only what D7 allows. Saving the credential is the caller's business, except that a token's place is proved
//! writable before the node mints it.

mod exchange;
mod node_address;

pub use node_address::{NodeAddress, Scheme};

use dmp_core::address::validate_local_part;
use dmp_core::keys::{AgreementPublicKey, Identity, SigningPublicKey};
use dmp_core::registration::{Challenge, NodeName, RegistrationSubject, prove_possession};
use zeroize::Zeroizing;

use crate::agent::is_loopback;
use crate::home::{Home, HomeError, SavedToken, TokenError};
use exchange::{Confirmation, Refusal, Route};

/// Why there is no credential. The variants are what a user can act on differently (cli.md 3.8).
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The node argument is no host, `host:port` or URL.
    #[error("`{0}` is not a node: expected host, host:port or URL")]
    NodeAddress(String),
    /// The subject is not the own address.
    #[error("subject {subject} is not yours: this configuration registers {own}")]
    ForeignSubject {
        /// What was asked for.
        subject: String,
        /// What could be.
        own: String,
    },
    /// The own address has no form that a node accepts.
    #[error(
        "the address {0} cannot be registered: it takes a user name of a-z, 0-9, `_`, `.` and `-` and a host of at least two labels"
    )]
    OwnAddress(String),
    /// The node's challenge must not be signed.
    #[error("nothing was signed: {0}")]
    NotSigned(String),
    /// No answer.
    #[error("cannot reach {base}: {reason}")]
    Unreachable {
        /// Scheme, host and port.
        base: String,
        /// What failed.
        reason: String,
    },
    /// The node does not offer registration.
    #[error("registration is disabled on {0}")]
    Disabled(String),
    /// The node does not take DNS UPDATE.
    #[error("TSIG registration is disabled on {0}: the node takes no DNS updates")]
    UpdateDisabled(String),
    /// Too many attempts.
    #[error("{0} rate-limits registrations; try again later")]
    RateLimited(String),
    /// The node found the signature or the proof wrong.
    #[error("{node} rejected the signature: {reason}")]
    Signature {
        /// The node.
        node: String,
        /// Its words.
        reason: String,
    },
    /// The operator does not let this subject register.
    #[error("{node} does not register {subject}: {reason}")]
    NotAllowed {
        /// The node.
        node: String,
        /// The subject.
        subject: String,
        /// Its words.
        reason: String,
    },
    /// Another key holds the subject.
    #[error("{subject} is held by another key at {node}")]
    Taken {
        /// The node.
        node: String,
        /// The subject.
        subject: String,
    },
    /// The node's key would give everybody the same shared secret.
    #[error("{0} offered a key that proves nothing; possession cannot be proved")]
    NoProof(String),
    /// Any other answer.
    #[error("{node} answered {reason}")]
    Unexpected {
        /// The node.
        node: String,
        /// Status and text.
        reason: String,
    },
    /// The token could not be saved, so none was asked for, or it was minted and the disk refused it.
    #[error("the token cannot be saved: {0}")]
    Save(#[from] TokenError),
}

impl RegisterError {
    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NodeAddress(_) => "register-node",
            Self::ForeignSubject { .. } => "register-foreign-subject",
            Self::OwnAddress(_) => "register-own-address",
            Self::NotSigned(_) => "register-not-signed",
            Self::Unreachable { .. } => "register-unreachable",
            Self::Disabled(_) => "register-disabled",
            Self::UpdateDisabled(_) => "register-update-disabled",
            Self::RateLimited(_) => "register-rate-limited",
            Self::Signature { .. } => "register-signature",
            Self::NotAllowed { .. } => "register-not-allowed",
            Self::Taken { .. } => "register-taken",
            Self::NoProof(_) => "register-no-proof",
            Self::Unexpected { .. } => "register-unexpected",
            Self::Save(_) => "register-save",
        }
    }
}

/// Who registers where.
#[derive(Debug, Clone)]
pub struct RegisterRequest {
    /// The node to dial.
    pub node: NodeAddress,
    /// The name the node signs with, where it is not its host (D7).
    pub node_name: Option<String>,
    /// Who registers.
    pub subject: RegistrationSubject,
}

impl RegisterRequest {
    /// Checks that the wanted subject is one of the own addresses (D7) and has the one canonical form (D29); none wanted means
    /// the first of them.
    ///
    /// `own` are the addresses under the mesh zone and, if there is one, the identity zone.
    pub fn new(
        node: NodeAddress,
        node_name: Option<String>,
        wanted: Option<&str>,
        own: &[String],
    ) -> Result<Self, RegisterError> {
        let parse = |text: &str| {
            let subject = RegistrationSubject::parse(text).ok();
            subject
                .filter(|subject| validate_local_part(subject.local()).is_ok())
                .ok_or_else(|| RegisterError::OwnAddress(text.to_owned()))
        };
        let default = own.first().cloned().unwrap_or_default();
        let subject = match wanted {
            None => parse(&default)?,
            Some(text) => {
                let foreign = || RegisterError::ForeignSubject {
                    subject: text.to_owned(),
                    own: own.join(" or "),
                };
                let subject = parse(text).map_err(|_| foreign())?;
                let is_own = own
                    .iter()
                    .filter_map(|address| RegistrationSubject::parse(address).ok())
                    .any(|address| address == subject);
                if !is_own {
                    return Err(foreign());
                }
                subject
            }
        };
        Ok(Self {
            node,
            node_name,
            subject,
        })
    }
}

/// A minted and saved bearer token.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    /// The subject as the node registered it.
    pub subject: String,
    /// Unix seconds; none = never.
    pub expires_at: Option<i64>,
    /// The token file.
    pub path: std::path::PathBuf,
}

/// A minted TSIG key.
#[derive(Debug, Clone)]
pub struct TsigGrant {
    /// The subject as the node registered it.
    pub subject: String,
    /// Key name, with a trailing dot.
    pub key_name: String,
    /// The secret in hex.
    pub secret_hex: Zeroizing<String>,
    /// Algorithm name.
    pub algorithm: String,
    /// Zone of the updates.
    pub zone: String,
    /// Owner-name patterns the key may write.
    pub scope: Vec<String>,
    /// Unix seconds; none = never.
    pub expires_at: Option<i64>,
}

impl TsigGrant {
    /// Makes the key what the configuration writes with; from then on all writes are DNS UPDATE.
    pub fn save(&self, home: &Home, dns_server: &str, dns_port: u16) -> Result<(), HomeError> {
        home.update_config(|config| {
            config.tsig_key_name.clone_from(&self.key_name);
            config.tsig_secret_hex.clone_from(&self.secret_hex);
            config.tsig_algorithm.clone_from(&self.algorithm);
            config.tsig_zone.clone_from(&self.zone);
            config.tsig_dns_server = dns_server.to_owned();
            config.tsig_dns_port = dns_port;
            config.tsig_expires_at = self.expires_at.and_then(|time| u64::try_from(time).ok());
        })
        .map(drop)
    }
}

/// Registers for a bearer token and saves it for the node's host. `now` is Unix seconds.
pub async fn register(
    request: &RegisterRequest,
    identity: &Identity,
    home: &Home,
    now: u64,
) -> Result<TokenGrant, RegisterError> {
    home.check_token_writable(request.node.host())?;
    let challenge = challenge(request).await?;
    let confirmation = confirmation(request, identity, &challenge);
    let granted: exchange::Token = exchange::confirm(&request.node, Route::Token, confirmation)
        .await
        .map_err(|refusal| refused(request, refusal))?;
    let token = SavedToken {
        version: 1,
        node: crate::home::token_host(request.node.host())?,
        subject: granted.subject.clone(),
        token: granted.token.clone(),
        expires_at: granted.expires_at,
        registered_spk: identity.signing_public().to_string(),
        saved_at: i64::try_from(now).unwrap_or(i64::MAX),
    };
    let path = home.save_token(&token)?;
    Ok(TokenGrant {
        subject: granted.subject.clone(),
        expires_at: granted.expires_at,
        path,
    })
}

/// Registers for a TSIG key, with proof that the agreement key is the user's so that the own mailbox is in its scope.
pub async fn tsig_register(
    request: &RegisterRequest,
    identity: &Identity,
) -> Result<TsigGrant, RegisterError> {
    let challenge = challenge(request).await?;
    let mut confirmation = confirmation(request, identity, &challenge);
    if let Some(server) = &challenge.server_key {
        let proof = prove_possession(
            identity.agreement(),
            server,
            &challenge.challenge,
            &request.subject,
        )
        .map_err(|_| RegisterError::NoProof(request.node.to_string()))?;
        confirmation.x25519_pub = Some(identity.agreement_public().to_string());
        confirmation.x25519_pop = Some(hex::encode(proof));
    }
    let granted: exchange::TsigKey = exchange::confirm(&request.node, Route::Tsig, confirmation)
        .await
        .map_err(|refusal| refused(request, refusal))?;
    Ok(TsigGrant {
        subject: granted.subject,
        key_name: granted.tsig_key_name,
        secret_hex: Zeroizing::new(granted.tsig_secret_hex),
        algorithm: granted.tsig_algorithm,
        zone: granted.zone,
        scope: granted.allowed_suffixes,
        expires_at: granted.expires_at.filter(|expiry| *expiry > 0),
    })
}

/// A challenge that passed D7: 32 bytes, from the node that was dialled or named.
struct Checked {
    challenge: Challenge,
    node: NodeName,
    server_key: Option<AgreementPublicKey>,
}

async fn challenge(request: &RegisterRequest) -> Result<Checked, RegisterError> {
    let offer = exchange::challenge(&request.node)
        .await
        .map_err(|refusal| refused(request, refusal))?;
    let not_signed = |reason: String| RegisterError::NotSigned(reason);
    let challenge = Challenge::from_hex(&offer.challenge)
        .map_err(|_| not_signed("the challenge is not 32 bytes in hex".to_owned()))?;
    let node = NodeName::parse(&offer.node).map_err(|_| {
        not_signed(format!(
            "the node calls itself `{}`, which is no host name",
            offer.node
        ))
    })?;
    if !names_the_dialled_node(request, &node) {
        return Err(not_signed(format!(
            "{} calls itself {node}; if that is right, add --node-name {}",
            request.node,
            node.host()
        )));
    }
    let server_key = match offer.server_x25519_pub.filter(|key| !key.is_empty()) {
        None => None,
        Some(key) => Some(
            AgreementPublicKey::from_hex(&key)
                .map_err(|_| RegisterError::NoProof(request.node.to_string()))?,
        ),
    };
    Ok(Checked {
        challenge,
        node,
        server_key,
    })
}

fn names_the_dialled_node(request: &RegisterRequest, announced: &NodeName) -> bool {
    match &request.node_name {
        Some(expected) => {
            NodeName::parse(expected).is_ok_and(|expected| expected.is_same_host(announced))
        }
        // On this machine nobody else can have answered.
        None if is_loopback(request.node.host()) => true,
        None => NodeName::parse(request.node.host())
            .is_ok_and(|dialled| dialled.is_same_host(announced)),
    }
}

fn confirmation(request: &RegisterRequest, identity: &Identity, checked: &Checked) -> Confirmation {
    let spk: SigningPublicKey = identity.signing_public();
    Confirmation {
        subject: request.subject.to_string(),
        ed25519_spk: spk.to_string(),
        challenge: checked.challenge.to_string(),
        signature: hex::encode(identity.sign_registration(
            &checked.challenge,
            &request.subject,
            &checked.node,
        )),
        x25519_pub: None,
        x25519_pop: None,
    }
}

fn refused(request: &RegisterRequest, refusal: Refusal) -> RegisterError {
    let node = request.node.host().to_owned();
    let subject = request.subject.to_string();
    match refusal {
        Refusal::Unreachable(reason) => RegisterError::Unreachable {
            base: request.node.to_string(),
            reason,
        },
        Refusal::Status {
            route: Route::Challenge | Route::Token,
            status: 404,
            ..
        } => RegisterError::Disabled(node),
        Refusal::Status {
            route: Route::Tsig,
            status: 404,
            ..
        } => RegisterError::UpdateDisabled(node),
        Refusal::Status { status: 429, .. } => RegisterError::RateLimited(node),
        Refusal::Status {
            route: Route::Token | Route::Tsig,
            status,
            reason,
        } => match status {
            401 => RegisterError::Signature { node, reason },
            403 => RegisterError::NotAllowed {
                node,
                subject,
                reason,
            },
            409 => RegisterError::Taken { node, subject },
            _ => RegisterError::Unexpected {
                node,
                reason: format!("HTTP {status}: {reason}"),
            },
        },
        Refusal::Status { status, reason, .. } => RegisterError::Unexpected {
            node,
            reason: format!("HTTP {status}: {reason}"),
        },
        Refusal::Shape(reason) => RegisterError::Unexpected { node, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_name_must_be_the_dialled_host_or_the_named_one() {
        let accepts = |dialled: &str, node_name: Option<&str>, announced: &str| {
            let request = RegisterRequest {
                node: NodeAddress::parse(dialled, None).unwrap(),
                node_name: node_name.map(str::to_owned),
                subject: RegistrationSubject::parse("alice@mesh.test").unwrap(),
            };
            names_the_dialled_node(&request, &NodeName::parse(announced).unwrap())
        };
        assert!(accepts("node.test:8053", None, "Node.Test."));
        assert!(accepts("node.test", None, "node.test:8053"));
        assert!(!accepts("node.test", None, "other.test"));
        assert!(accepts("node.test", Some("other.test"), "other.test"));
        assert!(!accepts("node.test", Some("other.test"), "node.test"));
        assert!(accepts("192.0.2.1", None, "192.0.2.1"));
        assert!(!accepts("192.0.2.1", None, "node.test"));
        assert!(accepts("127.0.0.1:8053", None, "node.test"));
        assert!(!accepts("127.0.0.1:8053", Some("other.test"), "node.test"));
    }
}
