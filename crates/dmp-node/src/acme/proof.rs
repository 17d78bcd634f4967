//! Proofs that a name is this node's: put where the CA looks, and taken away afterwards.
//!
//! It talks to no CA.

use crate::access::Author;
use crate::config::ChallengeKind;
use crate::context::{Context, Operation};
use crate::http::Tls;
use crate::limits::ACME_PROOF_SECONDS;
use crate::zone::Owner;
use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// What one order has put up. [`Proofs::withdraw`] has to be called however the order ends; should the node be killed
/// before, a record ends by its lifetime.
pub(super) struct Proofs<'a> {
    kind: ChallengeKind,
    context: &'a Context,
    tls: &'a Tls,
    records: Vec<Operation>,
}

impl<'a> Proofs<'a> {
    pub(super) fn new(kind: ChallengeKind, context: &'a Context, tls: &'a Tls) -> Self {
        Self {
            kind,
            context,
            tls,
            records: Vec::new(),
        }
    }

    /// Which of the challenges that the CA offers is answered.
    pub(super) fn challenge(&self) -> ChallengeType {
        match self.kind {
            ChallengeKind::Dns01 => ChallengeType::Dns01,
            ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }

    /// Returns when the CA can see it.
    pub(super) async fn put_up(
        &mut self,
        name: &str,
        key: &KeyAuthorization,
    ) -> Result<(), String> {
        match self.kind {
            ChallengeKind::Dns01 => self.publish(name, key.dns_value()).await,
            ChallengeKind::TlsAlpn01 => {
                let certificate = certificate(name, key.digest().as_ref());
                let certificate = certificate.map_err(|error| error.to_string())?;
                self.tls.answer_challenge(name, certificate);
                Ok(())
            }
        }
    }

    /// `_acme-challenge` and the name (RFC 8555 8.4), like any record.
    async fn publish(&mut self, name: &str, value: String) -> Result<(), String> {
        let owner = Owner::parse(&format!("_acme-challenge.{name}"));
        let owner = owner.map_err(|error| error.to_string())?;
        let caps = self.context.settings().caps;
        let ttl = ACME_PROOF_SECONDS.min(caps.max_ttl.unwrap_or(u64::MAX));
        self.records.push(Operation::DeleteValue {
            owner: owner.clone(),
            value: value.clone(),
        });
        let operation = Operation::Publish { owner, value, ttl };
        let published = self.context.submit(Author::Operator, vec![operation]).await;
        published.map(drop).map_err(|error| error.to_string())
    }

    /// Takes everything away.
    pub(super) async fn withdraw(self) {
        self.tls.end_challenges();
        if self.records.is_empty() {
            return;
        }
        let deleted = self.context.submit(Author::Operator, self.records).await;
        if let Err(error) = deleted {
            tracing::warn!("a proof for the CA stays in the zone for ten minutes: {error}");
        }
    }
}

/// The certificate that answers a handshake of the CA (RFC 8737 3).
fn certificate(
    name: &str,
    digest: &[u8],
) -> Result<CertifiedKey, Box<dyn std::error::Error + Send + Sync>> {
    let mut parameters = CertificateParams::new([name.to_owned()])?;
    parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let chain = vec![parameters.self_signed(&key)?.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // No check that chain and key fit: rustls reads no certificate with a critical extension that it does not know.
    let key = ring::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, key))
}
