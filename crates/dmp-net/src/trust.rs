//! Whose certificates count when a resolver is spoken to over TLS.

use std::env;
use std::fmt;
use std::fs;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The variables that name a file of certificates, the first one first (cli.md 1.1).
const VARIABLES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];

/// The authorities that may vouch for a resolver.
#[derive(Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// The certificates of the file that `REQUESTS_CA_BUNDLE` or `SSL_CERT_FILE` names, else the public authorities built in.
    /// A file that cannot be read trusts nobody rather than everybody.
    pub fn of_environment() -> Self {
        let file = VARIABLES
            .iter()
            .find_map(|name| env::var_os(name).filter(|path| !path.is_empty()));
        match file {
            Some(path) => Self::of_pem(&fs::read(path).unwrap_or_default()),
            None => Self {
                roots: Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()),
            },
        }
    }

    /// The certificates of a PEM file; what is none is passed over.
    pub fn of_pem(pem: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
        Self {
            roots: Arc::new(roots),
        }
    }

    /// How a connection is made that offers these protocols (RFC 7301).
    pub(crate) fn client(&self, protocols: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(client)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.roots.len())
    }
}
