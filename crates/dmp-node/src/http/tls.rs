//! TLS of the HTTP listener: the operator's certificate and key from files, read again when they change (product.md 3.2).
//!
//! It obtains no certificate. TLS 1.2 and 1.3 with the defaults of rustls; HTTP/1.1 inside, as without TLS.

use crate::config::TlsFiles;
use crate::repeated::log_repeated;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

/// Why certificate and key cannot be used. One line that names the variable and the file.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {}: {reason}", .path.display())]
pub struct TlsError {
    variable: &'static str,
    path: std::path::PathBuf,
    reason: String,
}

/// The certificate in force.
pub(crate) struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads certificate and key.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let config = ArcSwap::new(read(&files)?);
        Ok(Self { files, config })
    }

    /// What the next connection is accepted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Puts the files' content in force. If it cannot be used, what was in force stays.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        self.config.store(read(&self.files)?);
        Ok(())
    }

    /// Looks `every` so often whether a file has changed, and reloads then; a program that renews certificates writes two files one after the other, so a
    /// pair that does not fit is tried again. Runs until it is dropped.
    pub(crate) async fn watch(&self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.changed_at();
        loop {
            ticks.tick().await;
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    seen = now;
                    tracing::info!("the certificate of the HTTP listener was read again");
                }
                Err(error) => {
                    log_repeated!(error, "the former certificate stays in force: {error}");
                }
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let changed_at = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
        [&self.files.certificate, &self.files.key].map(changed_at)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish()
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let fail = |variable, path: &Path, reason: String| TlsError {
        variable,
        path: path.to_owned(),
        reason,
    };
    let of_certificate = |reason| fail("DMP_HTTP_TLS_CERT", &files.certificate, reason);
    let of_key = |reason| fail("DMP_HTTP_TLS_KEY", &files.key, reason);
    let text = |error: io::Error| error.to_string();
    let pem = fs::read(&files.certificate)
        .map_err(text)
        .map_err(of_certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| of_certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(of_certificate("no certificate in PEM form".to_owned()));
    }
    let pem = zeroize::Zeroizing::new(fs::read(&files.key).map_err(text).map_err(of_key)?);
    let key = PrivateKeyDer::from_pem_slice(&pem);
    let key = key.map_err(|_| of_key("no private key in PEM form".to_owned()))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| of_certificate(error.to_string()))?;
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| of_key(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::CertifiedKey;

    fn write(directory: &Path) -> TlsFiles {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        };
        fs::write(&files.certificate, cert.pem()).unwrap();
        fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        files
    }

    #[tokio::test]
    async fn changed_files_come_into_force_and_broken_ones_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path());
        let tls = Arc::new(Tls::open(files.clone()).unwrap());
        let first = tls.config.load_full();
        fs::write(&files.key, "no key").unwrap();
        let line = tls.reload().unwrap_err().to_string();
        assert!(line.starts_with("DMP_HTTP_TLS_KEY: "), "{line}");
        assert!(
            line.ends_with("key.pem: no private key in PEM form"),
            "{line}"
        );
        assert!(Arc::ptr_eq(&first, &tls.config.load_full()));

        let watching = Arc::clone(&tls);
        let every = Duration::from_millis(5);
        let watching = tokio::spawn(async move { watching.watch(every).await });
        while Arc::ptr_eq(&first, &tls.config.load_full()) {
            write(directory.path());
            tokio::time::sleep(every * 4).await;
        }
        watching.abort();
    }

    #[test]
    fn files_that_do_not_fit_are_told_by_variable_and_path() {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path());
        let other = tempfile::tempdir().unwrap();
        let stranger = write(other.path());
        let open = |certificate: &Path, key: &Path| {
            let files = TlsFiles {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            };
            Tls::open(files).unwrap_err().to_string()
        };
        let line = open(&files.certificate, &stranger.key);
        assert!(line.starts_with("DMP_HTTP_TLS_KEY: "), "{line}");
        let line = open(&files.key, &files.key);
        assert!(
            line.ends_with("key.pem: no certificate in PEM form"),
            "{line}"
        );
        let line = open(&directory.path().join("none.pem"), &files.key);
        assert!(line.starts_with("DMP_HTTP_TLS_CERT: "), "{line}");
    }
}
