//! Who sees to the certificate of the HTTP listener: reads it from the operator's files, at start, on demand and when they change,
//! or has it renewed by the CA (product.md 3.2).
//!
//! How a CA is asked stands in [`crate::acme`].

use super::certificate::{Certificate, CertificateFault, ExpiryWarning};
use super::tls::Tls;
use crate::acme::{self, AcmeError, Renewal};
use crate::clock::Clock;
use crate::config::{TlsFiles, TlsSource};
use crate::context::Context;
use crate::limits::TLS_WATCH;
use crate::repeated::log_repeated;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Why there can be no certificate. One line that names the variable, and the file where it is about one.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operator's certificate or key cannot be used.
    #[error("{variable}: {}: {reason}", .path.display())]
    File {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Automatic certificates cannot be begun with.
    #[error(transparent)]
    Acme(#[from] AcmeError),
}

/// Keeps a certificate in force.
#[derive(Debug)]
pub(crate) enum Keeper {
    /// That of the operator's files.
    Files(FileKeeper),
    /// That of a CA.
    Acme(Box<Renewal>),
}

/// The operator's files.
#[derive(Debug)]
pub(crate) struct FileKeeper {
    tls: Arc<Tls>,
    files: TlsFiles,
    clock: Clock,
}

/// What an operator is told about the certificate.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateStatus {
    /// Where it comes from: `files`, `acme`, or `none yet`.
    certificate: &'static str,
    /// Unix second of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires_at: Option<u64>,
    #[serde(flatten)]
    renewal: Option<acme::Status>,
}

impl Keeper {
    /// Takes the certificate from where the settings say.
    pub(crate) fn open(source: TlsSource, context: &Arc<Context>) -> Result<Self, TlsError> {
        Ok(match source {
            TlsSource::Files(files) => {
                Self::Files(FileKeeper::open(files, context.clock().clone())?)
            }
            TlsSource::Acme(config) => {
                Self::Acme(Box::new(Renewal::open(config, Arc::clone(context))?))
            }
        })
    }

    pub(crate) fn tls(&self) -> &Arc<Tls> {
        match self {
            Self::Files(keeper) => &keeper.tls,
            Self::Acme(renewal) => renewal.tls(),
        }
    }

    /// Reads the files again; if they cannot be used, what was in force stays. A renewal that failed is tried again soon.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        match self {
            Self::Files(keeper) => keeper.reload(),
            Self::Acme(renewal) => {
                renewal.hurry();
                Ok(())
            }
        }
    }

    /// Keeps the certificate fresh until it is told to stop.
    pub(crate) async fn keep(&self, mut stop: watch::Receiver<bool>) {
        match self {
            Self::Files(keeper) => tokio::select! {
                () = keeper.watch(TLS_WATCH) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            },
            Self::Acme(renewal) => renewal.run(stop).await,
        }
    }

    pub(crate) fn status(&self) -> CertificateStatus {
        let renewal = match self {
            Self::Files(_) => None,
            Self::Acme(renewal) => Some(renewal.status()),
        };
        let is_placeholder = renewal
            .as_ref()
            .is_some_and(|renewal| renewal.is_placeholder);
        CertificateStatus {
            certificate: match self {
                _ if is_placeholder => "none yet",
                Self::Files(_) => "files",
                Self::Acme(_) => "acme",
            },
            certificate_expires_at: (!is_placeholder).then(|| self.tls().expires_at()),
            renewal,
        }
    }
}

impl FileKeeper {
    /// Reads certificate and key.
    fn open(files: TlsFiles, clock: Clock) -> Result<Self, TlsError> {
        let tls = Tls::new(read(&files)?);
        let tls = tls.map_err(|error| of_certificate(&files, error.to_string()))?;
        Ok(Self {
            tls: Arc::new(tls),
            files,
            clock,
        })
    }

    /// Puts the files' content in force. If it cannot be used, what was in force stays.
    fn reload(&self) -> Result<(), TlsError> {
        self.tls.install(read(&self.files)?);
        tracing::info!("the certificate of the HTTP listener was read again");
        Ok(())
    }

    /// Looks `every` so often whether a file has changed, and reloads then; a program that renews certificates writes two files one after the other, so a
    /// pair that does not fit is tried again. Runs until it is dropped.
    async fn watch(&self, every: Duration) {
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
    TlsError::File {
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

    fn open(files: TlsFiles) -> Result<FileKeeper, TlsError> {
        FileKeeper::open(files, Clock::system())
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
        let keeping = tokio::spawn(async move { keeping.watch(every).await });
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
