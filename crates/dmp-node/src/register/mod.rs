//! Self-service registration: a challenge, and a bearer token or a TSIG key for who signs it (node.md 6.5).
//!
//! It knows no HTTP: inputs are JSON members, results are values, refusals carry the status and text of node.md 6.5.

mod body;
mod grant;
mod pending;
mod refusal;

pub use body::{AgreementClaim, Confirmation};
pub(crate) use grant::digest_hex;
pub use grant::{key_name, scope_patterns};
pub use refusal::Refusal;

use crate::config::{AuthMode, Config, Rate, ScopeMode};
use crate::context::Context;
use crate::credentials::{Credentials, KeyGrant, MintError, TokenGrant, TokenText};
use crate::limits::{CHALLENGE_SECONDS, SUBJECT_LOCAL_OCTETS};
use crate::store::Failure;
use crate::zone::Owner;
use dmp_core::keys::{AgreementPublicKey, AgreementSecret};
use dmp_core::registration::{Challenge, NodeName, verify_possession, verify_registration};
use pending::{Challenges, Pending};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The registration desk of a node, for as long as it runs.
#[derive(Debug)]
pub struct Registrar {
    context: Arc<Context>,
    credentials: Arc<Credentials>,
    challenges: Arc<Challenges>,
    node: NodeName,
    /// Domains whose subjects may register.
    domains: Vec<String>,
    zone: String,
    lifetime: Option<Duration>,
    issued_rate: Rate,
    /// What keys get; `None` while UPDATE is off.
    scope: Option<ScopeMode>,
}

/// What a user signs.
#[derive(Debug)]
pub struct Offer {
    /// To be signed, and named again at confirmation.
    pub challenge: Challenge,
    /// The node's name as it enters the signature.
    pub node: String,
    /// Unix second from which on it is refused.
    pub expires_at: u64,
    /// The public half of the key that a proof of possession is made against.
    pub server_agreement: AgreementPublicKey,
}

/// A bearer token, told once.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: TokenText,
    /// Canonical `user@host`.
    pub subject: String,
    /// Unix second of expiry; `None` is never.
    pub expires_at: Option<u64>,
    /// Requests it allows.
    pub rate: Rate,
}

/// A TSIG key, told once.
pub struct IssuedKey {
    /// Key name with trailing dot.
    pub name: String,
    /// The secret.
    pub secret: Zeroizing<[u8; 32]>,
    /// Scope patterns, sorted.
    pub allowed_suffixes: Vec<String>,
    /// Canonical `user@host`.
    pub subject: String,
    /// The served zone.
    pub zone: String,
    /// Unix second of expiry; 0 is never.
    pub expires_at: u64,
}

impl Registrar {
    /// The desk, if the operator opened it: registration on, multi-tenant mode, a node name and so a zone (node.md 6.5).
    pub fn open(
        config: &Config,
        context: Arc<Context>,
        credentials: Arc<Credentials>,
    ) -> Option<Self> {
        Self::with(config, context, credentials, Arc::default())
    }

    /// The desk by other settings; challenges that wait stay good. `None` if they close it.
    pub(crate) fn renewed(&self, config: &Config) -> Option<Self> {
        let (context, credentials) = (Arc::clone(&self.context), Arc::clone(&self.credentials));
        Self::with(config, context, credentials, Arc::clone(&self.challenges))
    }

    fn with(
        config: &Config,
        context: Arc<Context>,
        credentials: Arc<Credentials>,
        challenges: Arc<Challenges>,
    ) -> Option<Self> {
        let registration = &config.registration;
        if !registration.switched_on || config.http.auth != AuthMode::MultiTenant {
            return None;
        }
        let node = registration.node_name.clone()?;
        let zone = config.zone.as_ref()?.to_string();
        let domains = if registration.allowlist.is_empty() {
            vec![zone.clone(), node.host().to_owned()]
        } else {
            registration
                .allowlist
                .iter()
                .map(Owner::to_string)
                .collect()
        };
        Some(Self {
            context,
            credentials,
            challenges,
            node,
            domains,
            zone,
            lifetime: registration.lifetime,
            issued_rate: registration.issued_rate,
            scope: config.update.enabled.then_some(config.update.scope),
        })
    }

    /// Domains whose subjects may register.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Whether TSIG keys are given out.
    pub fn issues_keys(&self) -> bool {
        self.scope.is_some()
    }

    /// A fresh challenge, good once and for a minute.
    pub fn challenge(&self) -> Result<Offer, Refusal> {
        let now = self.context.clock().seconds();
        let expires_at = now.saturating_add(CHALLENGE_SECONDS);
        let challenge = Challenge::from_bytes(*random()?);
        let secret = AgreementSecret::from_bytes(*random()?);
        let server_agreement = secret.public();
        let pending = Pending { expires_at, secret };
        self.challenges.insert(challenge, pending, now);
        Ok(Offer {
            challenge,
            node: self.node.as_str().to_owned(),
            expires_at,
            server_agreement,
        })
    }

    /// Checks the confirmation and mints a bearer token.
    pub async fn confirm(&self, body: &Map<String, Value>) -> Result<IssuedToken, Refusal> {
        let (confirmation, _) = self.authenticate(body)?;
        let token = TokenText::new(&random()?);
        let grant = TokenGrant {
            subject: confirmation.subject.as_str().to_owned(),
            spk: *confirmation.key.as_bytes(),
            rate: self.issued_rate,
            expires_at: self.expiry(),
        };
        let issued = IssuedToken {
            subject: grant.subject.clone(),
            expires_at: grant.expires_at,
            rate: grant.rate,
            token,
        };
        let hash = issued.token.hash();
        let minted = self.credentials.mint_token(grant, hash).await;
        minted.map_err(refused)?;
        Ok(issued)
    }

    /// Checks the confirmation and mints a TSIG key; the mailbox is in its scope only if possession of the agreement
    /// key was proved.
    pub async fn tsig_confirm(&self, body: &Map<String, Value>) -> Result<IssuedKey, Refusal> {
        let scope = self.scope.ok_or(Refusal::KeysDisabled)?;
        let (confirmation, pending) = self.authenticate(body)?;
        let agreement = proven_agreement(body, &confirmation, &pending)?;
        let Confirmation { subject, key, .. } = &confirmation;
        if subject.local().len() > SUBJECT_LOCAL_OCTETS {
            return Err(Refusal::LocalPartTooLong);
        }
        let patterns = scope_patterns(scope, &self.zone, subject, key, agreement.as_ref());
        // A pattern with `*`, and the zone itself, belong to many; the others to one subject (D9).
        let is_exclusive = |pattern: &&String| !pattern.contains('*') && **pattern != self.zone;
        let grant = KeyGrant {
            name: key_name(subject, key, &self.zone),
            subject: subject.as_str().to_owned(),
            spk: *key.as_bytes(),
            x25519: agreement.map(|key| *key.as_bytes()),
            exclusive: patterns.iter().filter(is_exclusive).cloned().collect(),
            allowed_suffixes: patterns,
            expires_at: self.expiry().unwrap_or(0),
        };
        let issued = IssuedKey {
            name: grant.name.clone(),
            secret: random()?,
            allowed_suffixes: grant.allowed_suffixes.clone(),
            subject: grant.subject.clone(),
            zone: self.zone.clone(),
            expires_at: grant.expires_at,
        };
        let minted = self.credentials.mint_key(grant, issued.secret.clone());
        minted.await.map_err(refused)?;
        Ok(issued)
    }

    /// The steps both routes share, in the order of node.md 6.5: nothing about domains or owners shows before the
    /// signature is verified, and the challenge is used up before that.
    fn authenticate(&self, body: &Map<String, Value>) -> Result<(Confirmation, Pending), Refusal> {
        let confirmation = Confirmation::parse(body)?;
        let now = self.context.clock().seconds();
        let pending = if confirmation.names_challenge_as_issued {
            self.challenges.take(&confirmation.challenge, now)
        } else {
            None
        };
        let pending = pending.ok_or(Refusal::Challenge)?;
        verify_registration(
            &confirmation.key,
            &confirmation.challenge,
            &confirmation.subject,
            &self.node,
            &confirmation.signature,
        )
        .map_err(|_| Refusal::Signature)?;
        let domain = confirmation.subject.domain();
        if !self.domains.iter().any(|listed| listed == domain) {
            return Err(Refusal::Domain);
        }
        Ok((confirmation, pending))
    }

    fn expiry(&self) -> Option<u64> {
        let now = self.context.clock().seconds();
        Some(now.saturating_add(self.lifetime?.as_secs()))
    }
}

/// The agreement key whose possession is proved; a key without a proof counts as absent (W-23).
fn proven_agreement(
    body: &Map<String, Value>,
    confirmation: &Confirmation,
    pending: &Pending,
) -> Result<Option<AgreementPublicKey>, Refusal> {
    let Some(AgreementClaim { key, proof }) = AgreementClaim::parse(body)? else {
        return Ok(None);
    };
    let Some(proof) = proof else {
        return Ok(None);
    };
    let Confirmation {
        challenge, subject, ..
    } = confirmation;
    verify_possession(&pending.secret, &key, challenge, subject, &proof)
        .map_err(Refusal::Possession)?;
    Ok(Some(key))
}

fn refused(failure: Failure<MintError>) -> Refusal {
    match failure {
        Failure::Refused(MintError::Denied) => Refusal::Denied,
        Failure::Refused(MintError::Owned) => Refusal::Owned,
        Failure::Draining => Refusal::Draining,
        failure => Refusal::Internal(failure.to_string()),
    }
}

/// 32 octets from the operating system.
fn random() -> Result<Zeroizing<[u8; 32]>, Refusal> {
    let mut octets = Zeroizing::new([0; 32]);
    match getrandom::fill(octets.as_mut_slice()) {
        Ok(()) => Ok(octets),
        Err(error) => Err(Refusal::Internal(error.to_string())),
    }
}
