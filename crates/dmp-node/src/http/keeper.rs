//! Who sees to the certificate of the HTTP listener: reads it from the operator's files, at start, on demand and when they change
//! (product.md 3.2).

use super::certificate::{Certificate, CertificateFault, ExpiryWarning};
use super::tls::Tls;
use crate::clock::Clock;
use crate::config::TlsFiles;
use crate::repeated::log_repeated;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{MissedTickBehavior, interval};

/// Why certificate and key cannot be used. One line that names the variable and the file.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {}: {reason}", .path.display())]
pub struct TlsError {
    variable: &'static str,
    path: std::path::PathBuf,
    reason: String,
}

/// Keeps the certificate in force.
#[derive(Debug)]
pub(crate) struct Keeper {
    tls: Arc<Tls>,
    files: TlsFiles,
    clock: Clock,
}

impl Keeper {
    /// Reads certificate and key.
    pub(crate) fn of_files(files: TlsFiles, clock: Clock) -> Result<Self, TlsError> {
        let tls = Tls::new(read(&files)?);
        let tls = tls.map_err(|error| of_certificate(&files, error.to_string()))?;
        Ok(Self {
            tls: Arc::new(tls),
            files,
            clock,
        })
    }

    pub(crate) fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    /// Puts the files' content in force. If it cannot be used, what was in force stays.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        self.tls.install(read(&self.files)?);
        tracing::info!("the certificate of the HTTP listener was read again");
        Ok(())
    }

    /// Looks `every` so often whether a file has changed, and reloads then; a program that renews certificates writes two files one after the other, so a
    /// pair that does not fit is tried again. Runs until it is dropped.
    pub(crate) async fn keep(&self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.changed_at();
        let mut warning = ExpiryWarning::default();
        loop {
            ticks.tick().await;
            let now = self.changed_at();
            if now != seen {
                match self.reload() {
                    Ok(()) => seen = now,
                    Err(error) => {
                        log_repeated!(error, "the former certificate stays in force: {error}");
                    }
                }
            }
            warning.check(&self.tls.certificate(), self.clock.seconds());
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let changed_at = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
        [&self.files.certificate, &self.files.key].map(changed_at)
    }
}

fn read(files: &TlsFiles) -> Result<Certificate, TlsError> {
    let chain = fs::read(&files.certificate);
    let chain = chain.map_err(|error| of_certificate(files, error.to_string()))?;
    let key = fs::read(&files.key).map_err(|error| of_key(files, error.to_string()))?;
    let key = zeroize::Zeroizing::new(key);
    Certificate::from_pem(&chain, &key).map_err(|fault| match fault {
        CertificateFault::Chain(reason) => of_certificate(files, reason),
        CertificateFault::Key(reason) => of_key(files, reason),
    })
}

fn of_certificate(files: &TlsFiles, reason: String) -> TlsError {
    fault("DMP_HTTP_TLS_CERT", &files.certificate, reason)
}

fn of_key(files: &TlsFiles, reason: String) -> TlsError {
    fault("DMP_HTTP_TLS_KEY", &files.key, reason)
}

fn fault(variable: &'static str, path: &Path, reason: String) -> TlsError {
    TlsError {
        variable,
        path: path.to_owned(),
        reason,
    }
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

    fn open(files: TlsFiles) -> Result<Keeper, TlsError> {
        Keeper::of_files(files, Clock::system())
    }

    #[tokio::test]
    async fn changed_files_come_into_force_and_broken_ones_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let files = write(directory.path());
        let keeper = Arc::new(open(files.clone()).unwrap());
        let first = keeper.tls.certificate();
        fs::write(&files.key, "no key").unwrap();
        let line = keeper.reload().unwrap_err().to_string();
        assert!(line.starts_with("DMP_HTTP_TLS_KEY: "), "{line}");
        assert!(
            line.ends_with("key.pem: no private key in PEM form"),
            "{line}"
        );
        assert!(Arc::ptr_eq(&first, &keeper.tls.certificate()));

        let keeping = Arc::clone(&keeper);
        let every = Duration::from_millis(5);
        let keeping = tokio::spawn(async move { keeping.keep(every).await });
        while Arc::ptr_eq(&first, &keeper.tls.certificate()) {
            write(directory.path());
            tokio::time::sleep(every * 4).await;
        }
        keeping.abort();
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
            open(files).unwrap_err().to_string()
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
