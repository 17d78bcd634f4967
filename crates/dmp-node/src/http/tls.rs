//! TLS of the HTTP listener: the certificate in force, which every handshake that begins uses, and the answers to handshakes by which
//! a CA proves a name (RFC 8737).
//!
//! It neither reads nor obtains certificates ([`super::keeper`]). TLS 1.2 and 1.3 with the defaults of rustls; HTTP/1.1
//! inside, as without TLS.

use super::certificate::Certificate;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The HTTP listener's side of TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    in_force: Arc<InForce>,
}

/// What a handshake is answered with; swapped whole while others go on.
#[derive(Debug)]
struct InForce {
    certificate: ArcSwap<Certificate>,
    /// By server name; empty but while a CA is being asked.
    challenges: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

/// The protocol inside TLS that a CA asks for when it proves a name (RFC 8737 6.2).
pub(super) const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

impl Tls {
    pub(crate) fn new(certificate: Certificate) -> Result<Self, rustls::Error> {
        let in_force = Arc::new(InForce {
            certificate: ArcSwap::from_pointee(certificate),
            challenges: ArcSwap::default(),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&in_force) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec(), CHALLENGE_PROTOCOL.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            in_force,
        })
    }

    /// What the next connection is accepted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// The certificate in force.
    pub(crate) fn certificate(&self) -> Arc<Certificate> {
        self.in_force.certificate.load_full()
    }

    /// When the certificate in force ends, in Unix seconds.
    pub(crate) fn expires_at(&self) -> u64 {
        self.certificate().validity().not_after
    }

    /// Puts a certificate in force for the very next handshake.
    pub(crate) fn install(&self, certificate: Certificate) {
        self.in_force.certificate.store(Arc::new(certificate));
    }

    /// Answers the CA's handshake for `name` with this certificate from now on.
    pub(crate) fn answer_challenge(&self, name: &str, certificate: CertifiedKey) {
        let mut challenges = HashMap::clone(&self.in_force.challenges.load());
        challenges.insert(name.to_owned(), Arc::new(certificate));
        self.in_force.challenges.store(Arc::new(challenges));
    }

    /// Answers no handshake of a CA any more.
    pub(crate) fn end_challenges(&self) {
        self.in_force.challenges.store(Arc::default());
    }
}

impl ResolvesServerCert for InForce {
    /// A client that speaks the challenge protocol gets the answer to a challenge or nothing (RFC 8737 3).
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.any(|protocol| protocol == CHALLENGE_PROTOCOL) {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.challenges.load().get(&name).cloned();
        }
        Some(Arc::clone(self.certificate.load().key()))
    }
}
