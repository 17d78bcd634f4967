//! TLS of the HTTP listener: the certificate in force, which every handshake that begins uses.
//!
//! It neither reads nor obtains certificates ([`super::keeper`]). TLS 1.2 and 1.3 with the defaults of rustls; HTTP/1.1
//! inside, as without TLS.

use super::certificate::Certificate;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
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
struct InForce(ArcSwap<Certificate>);

impl Tls {
    pub(crate) fn new(certificate: Certificate) -> Result<Self, rustls::Error> {
        let in_force = Arc::new(InForce(ArcSwap::from_pointee(certificate)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&in_force) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
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
        self.in_force.0.load_full()
    }

    /// When the certificate in force ends, in Unix seconds.
    pub(crate) fn expires_at(&self) -> u64 {
        self.certificate().validity().not_after
    }

    /// Puts a certificate in force for the very next handshake.
    pub(crate) fn install(&self, certificate: Certificate) {
        self.in_force.0.store(Arc::new(certificate));
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.load().key()))
    }
}
