//! What outlives a restart: account, certificate and the booking of attempts, in a directory of their own beside the database.
//!
//! One directory for each CA, so that trying with a staging CA and then changing to the real one starts anew. Only the
//! node's user may read any of it; every file is replaced whole, so that a crash leaves the former or the new one.

use hyper::Uri;
use instant_acme::AccountCredentials;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

const ACCOUNT: &str = "account.json";
const CERTIFICATE: &str = "certificate.pem";
const BOOKING: &str = "attempts.json";

/// The directory of one CA.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

/// An account with the CA.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccount {
    pub(super) contact: Option<String>,
    pub(super) credentials: AccountCredentials,
}

/// Attempts that failed in a row, written before each one is made: not even a node that is restarted again and again asks
/// its CA more often than it may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Booking {
    /// What was asked for; a booking does not bind what is asked for differently.
    pub(super) names: Vec<String>,
    pub(super) challenge: String,
    pub(super) failures: u32,
    /// Unix second before which no attempt is made.
    pub(super) next_at: u64,
    /// Unix second before which the CA wants none, not even at the operator's word.
    pub(super) held_until: u64,
}

impl Files {
    /// Makes the directory for the CA with this directory URL: `<database>.acme/<host>-<hash>`.
    pub(super) fn open(database: &Path, ca: &Uri) -> io::Result<Self> {
        let digest = hex::encode(&Sha256::digest(ca.to_string())[..4]);
        let mut directory = database.as_os_str().to_owned();
        directory.push(".acme");
        let host = ca.host().unwrap_or_default().trim_matches(['[', ']']);
        let directory = PathBuf::from(directory).join(format!("{host}-{digest}"));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&directory)?;
        Ok(Self { directory })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn account(&self) -> io::Result<Option<StoredAccount>> {
        self.read_json(ACCOUNT)
    }

    pub(super) fn save_account(&self, account: &StoredAccount) -> io::Result<()> {
        self.write(ACCOUNT, &Zeroizing::new(serde_json::to_vec(account)?))
    }

    pub(super) fn forget_account(&self) -> io::Result<()> {
        fs::remove_file(self.directory.join(ACCOUNT))
    }

    pub(super) fn booking(&self) -> io::Result<Option<Booking>> {
        self.read_json(BOOKING)
    }

    pub(super) fn save_booking(&self, booking: &Booking) -> io::Result<()> {
        self.write(BOOKING, &serde_json::to_vec(booking)?)
    }

    /// Key and chain, PEM.
    pub(super) fn certificate(&self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.read(CERTIFICATE)
    }

    pub(super) fn save_certificate(&self, pem: &[u8]) -> io::Result<()> {
        self.write(CERTIFICATE, pem)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let text = self.read(name)?;
        Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
    }

    fn read(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match fs::read(self.directory.join(name)) {
            Ok(octets) => Ok(Some(Zeroizing::new(octets))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Temporary files are made with mode 0600.
    fn write(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.directory)?;
        file.write_all(octets)?;
        file.as_file().sync_all()?;
        file.persist(self.directory.join(name))?;
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_for_the_node_alone_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("node.db");
        let open = |ca: &str| Files::open(&database, &ca.parse().unwrap()).unwrap();
        let files = open("https://ca.example/directory");
        assert_eq!(files.booking().unwrap(), None);
        assert!(files.certificate().unwrap().is_none());
        let booking = Booking {
            names: vec!["node.example".to_owned()],
            failures: 3,
            next_at: 5,
            ..Booking::default()
        };
        files.save_booking(&Booking::default()).unwrap();
        files.save_booking(&booking).unwrap();
        files.save_certificate(b"secret").unwrap();
        let again = open("https://ca.example/directory");
        assert_eq!(again.booking().unwrap(), Some(booking));
        assert_eq!(again.certificate().unwrap().unwrap().as_slice(), b"secret");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(files.directory()), 0o700);
        for entry in fs::read_dir(files.directory()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        let staging = open("https://ca.example/staging");
        assert_eq!(
            staging.booking().unwrap(),
            None,
            "another CA is another start"
        );
    }
}
