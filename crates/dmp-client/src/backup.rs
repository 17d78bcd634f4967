//! A whole home in one encrypted file, and back: configuration, store, tokens, cluster manifest (client.md 2).
//!
//! The file is an age file for a passphrase; inside is a tar archive with the files as they lie in a home, so that
//! `age -d FILE | tar -x` restores it by hand. The store goes in as it is, encrypted under the identity, with everything it
//! remembers: who was blocked, what was received, which prekeys were used up. Secrets outside of the home are not in it.

mod age;
mod archive;
mod sheet;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dmp_core::id::UnixTime;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

pub use self::archive::Bundle;
pub use self::sheet::{RecoverySheet, SheetError};
use crate::error::{Fault, Obstacle, StoreError};
use crate::home::{Home, HomeError, TokenError};

/// Why a backup was not made or not restored. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not open with this passphrase.
    #[error("this passphrase does not open the backup")]
    WrongPassphrase,
    /// It is no backup at all.
    #[error("this is not a backup encrypted with a passphrase")]
    NotABundle,
    /// It was cut off or altered.
    #[error("the backup is damaged: it was cut off or altered")]
    Damaged,
    /// It opens, but what is inside is not what a backup holds.
    #[error("the backup holds something else than a home: {0}")]
    Content(String),
    /// Opening it would take too much memory and time.
    #[error("the backup asks for scrypt with N = 2^{0}, which is more than this program does")]
    WorkTooHigh(u8),
    /// More than one file can hold.
    #[error("the home is too large for a backup")]
    TooLarge,
    /// There is something in the home.
    #[error("{} is not empty", .0.display())]
    Occupied(PathBuf),
    /// The file is there already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotABundle | Self::Damaged | Self::Content(_) => Fault::Malformed,
            Self::WrongPassphrase
            | Self::WorkTooHigh(_)
            | Self::TooLarge
            | Self::Occupied(_)
            | Self::Exists(_)
            | Self::Home(_) => Fault::Misuse,
            Self::File { .. } => Fault::Unavailable,
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongPassphrase => "backup-wrong-passphrase",
            Self::NotABundle => "backup-not-a-bundle",
            Self::Damaged => "backup-damaged",
            Self::Content(_) => "backup-content",
            Self::WorkTooHigh(_) => "backup-work-too-high",
            Self::TooLarge => "backup-too-large",
            Self::Occupied(_) => "backup-home-occupied",
            Self::Exists(_) => "backup-file-exists",
            Self::File { source, .. } => {
                Obstacle::of_file(source).map_or("backup-file", Obstacle::code)
            }
            Self::Home(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }

    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

impl From<TokenError> for BackupError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Home(error) => Self::Home(error),
            TokenError::UnsafeHost(host) => Self::Content(format!("a token of `{host}`")),
        }
    }
}

/// What to do with a home that is not empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Present {
    /// Refuse.
    Keep,
    /// Move the whole directory aside first.
    SetAside,
}

/// What a restore did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Where the former home is now.
    pub set_aside: Option<PathBuf>,
    /// Hosts whose saved token was left as it was, because a newer one lies outside of the home.
    pub kept_tokens: Vec<String>,
}

impl Bundle {
    /// Encrypts the bundle and writes it to a new file of mode 0600; an existing file is never replaced.
    ///
    /// # Errors
    /// [`BackupError::Exists`], failures of the file system; no part of the file stays.
    pub fn write(
        &self,
        path: &Path,
        passphrase: &str,
        work: u8,
        rng: &mut impl CryptoRng,
    ) -> Result<usize, BackupError> {
        // Asked before the work: the answer that counts is that of the creation below.
        if path.exists() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let file = age::encrypt(passphrase, work, &self.to_tar()?, rng)?;
        write_new(path, &file)?;
        Ok(file.len())
    }

    /// Decrypts and checks a whole bundle.
    ///
    /// # Errors
    /// What is wrong with it; see [`BackupError`].
    pub fn open(file: &[u8], passphrase: &str) -> Result<Self, BackupError> {
        Self::from_tar(&age::decrypt(passphrase, file)?)
    }

    /// Makes the bundle's files the home. They appear together, by one renaming.
    ///
    /// # Errors
    /// [`BackupError::Occupied`] for a home that holds anything and is not to be set aside; failures of the file system.
    pub fn restore(
        &self,
        home: &Home,
        present: Present,
        now: UnixTime,
    ) -> Result<Restored, BackupError> {
        let dir = home.dir();
        let is_free = is_free(dir)?;
        if !is_free && present == Present::Keep {
            return Err(BackupError::Occupied(dir.to_owned()));
        }
        let new = beside(dir, "restoring");
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::File {
                    path: new,
                    source: error,
                });
            }
            _ => {}
        }
        // Tokens may lie elsewhere; then they are written once the home is in place.
        let tokens_inside = home
            .tokens_dir()
            .strip_prefix(dir)
            .ok()
            .map(|path| new.join(path));
        self.lay_out(&new, tokens_inside.as_deref())?;
        let set_aside = if is_free {
            match fs::remove_dir_all(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::file(dir)(error));
                }
                _ => None,
            }
        } else {
            let aside = aside(dir, now);
            fs::rename(dir, &aside).map_err(BackupError::file(dir))?;
            Some(aside)
        };
        fs::rename(&new, dir).map_err(BackupError::file(dir))?;
        sync_directory(dir)?;
        let kept_tokens = if tokens_inside.is_some() {
            Vec::new()
        } else {
            self.add_tokens(home)?
        };
        Ok(Restored {
            set_aside,
            kept_tokens,
        })
    }
}

/// Whether a home holds nothing but what verbs that failed left there.
fn is_free(dir: &Path) -> Result<bool, BackupError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(BackupError::file(dir)(error)),
    };
    for entry in entries {
        let name = entry.map_err(BackupError::file(dir))?.file_name();
        if name != "lock" && name != "config.lock" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A name for the former home that nothing has yet.
fn aside(dir: &Path, now: UnixTime) -> PathBuf {
    let first = beside(dir, &format!("before-{}", now.as_secs()));
    let further = (2..).map(|number| beside(dir, &format!("before-{}-{number}", now.as_secs())));
    std::iter::once(first.clone())
        .chain(further)
        .find(|path| !path.exists())
        .unwrap_or(first)
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

/// Writes a new private file and makes it durable; a file that was not finished goes again.
///
/// # Errors
/// [`BackupError::Exists`], failures of the file system.
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let created = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(path.to_owned()));
        }
        created => created.map_err(BackupError::file(path))?,
    };
    if let Err(source) = file.write_all(content).and_then(|()| file.sync_all()) {
        // The first failure is the one to tell.
        let _ = fs::remove_file(path);
        return Err(BackupError::file(path)(source));
    }
    sync_directory(path)
}

/// Makes the entry of a file or directory in its parent durable.
fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(BackupError::file(parent))
}

/// Reads a file that holds secrets.
fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, BackupError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(Zeroizing::new(content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BackupError::file(path)(error)),
    }
}
