//! Where the passphrase comes from and how a mistyped one is noticed (cli.md 2).
//!
//! It prints and asks nothing: the prompt is passed in, warnings are returned.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dmp_core::keys::SigningPublicKey;
use zeroize::Zeroizing;

use crate::config::Config;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// An empty passphrase would give everyone the same keys for a known salt.
    #[error("the passphrase is empty")]
    Empty,
    /// The configured file holds nothing but white space.
    #[error("the passphrase file {} is empty", .0.display())]
    EmptyFile(PathBuf),
    /// The configured file exists but cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody could be asked.
    #[error("no passphrase: {0}")]
    Prompt(io::Error),
    /// The keys are not the ones this home was used with.
    #[error(
        "passphrase mismatch: it derives the signing key {derived}, the configuration remembers {remembered}"
    )]
    Mismatch {
        /// The key just derived.
        derived: SigningPublicKey,
        /// `verify_pubkey` as it stands in the file.
        remembered: String,
    },
}

impl PassphraseError {
    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty | Self::EmptyFile(_) => "passphrase-empty",
            Self::File { .. } => "passphrase-file",
            Self::Prompt(_) => "passphrase-prompt",
            Self::Mismatch { .. } => "passphrase-mismatch",
        }
    }
}

/// A passphrase and where it came from.
#[derive(Debug)]
pub struct Passphrase {
    /// The text; zeroised when dropped.
    pub text: Zeroizing<String>,
    /// The passphrase file, if it came from one that others can read.
    pub exposed_file: Option<PathBuf>,
}

/// Takes the passphrase from the environment, else from the file if it exists, else from the prompt.
pub fn obtain(
    variable: Option<String>,
    file: Option<&Path>,
    prompt: impl FnOnce() -> io::Result<Zeroizing<String>>,
) -> Result<Passphrase, PassphraseError> {
    if let Some(text) = variable.filter(|text| !text.is_empty()) {
        return Ok(Passphrase {
            text: Zeroizing::new(text),
            exposed_file: None,
        });
    }
    if let Some(path) = file.filter(|path| path.exists()) {
        return from_file(path);
    }
    let text = prompt().map_err(PassphraseError::Prompt)?;
    if text.is_empty() {
        Err(PassphraseError::Empty)
    } else {
        Ok(Passphrase {
            text,
            exposed_file: None,
        })
    }
}

/// Takes the passphrase from a file, without the white space around it.
///
/// # Errors
/// A file that cannot be read or holds nothing else.
pub fn from_file(path: &Path) -> Result<Passphrase, PassphraseError> {
    let failed = |source| PassphraseError::File {
        path: path.to_owned(),
        source,
    };
    let content = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    let text = content.trim();
    if text.is_empty() {
        return Err(PassphraseError::EmptyFile(path.to_owned()));
    }
    let exposed = fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0;
    Ok(Passphrase {
        text: Zeroizing::new(text.to_owned()),
        exposed_file: exposed.then(|| path.to_owned()),
    })
}

/// What the typo tripwire says about freshly derived keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tripwire {
    /// Nothing was remembered; the key now is, and the configuration wants saving.
    Armed,
    /// The remembered key.
    Passed,
}

/// Compares the derived signing key with `verify_pubkey`, or remembers it where none is set.
pub fn check_tripwire(
    config: &mut Config,
    derived: &SigningPublicKey,
) -> Result<Tripwire, PassphraseError> {
    let text = derived.to_string();
    if config.verify_pubkey.is_empty() {
        config.verify_pubkey = text;
        Ok(Tripwire::Armed)
    } else if config.verify_pubkey.eq_ignore_ascii_case(&text) {
        Ok(Tripwire::Passed)
    } else {
        Err(PassphraseError::Mismatch {
            derived: *derived,
            remembered: config.verify_pubkey.clone(),
        })
    }
}
