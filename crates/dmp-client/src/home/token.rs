//! Bearer tokens saved per host (client.md 5.4).

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Home, HomeError};
use crate::limits::TOKEN_EXPIRY_GRACE;

/// Why a token cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The host name does not make a safe file name.
    #[error("`{0}` cannot name a token file")]
    UnsafeHost(String),
    /// The directory or file could not be written.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// One token file. The members and their order are the reference's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct SavedToken {
    /// Format version, 1.
    pub version: u32,
    /// Host the token belongs to, without port.
    pub node: String,
    /// Address it was registered for.
    #[serde(default)]
    pub subject: String,
    /// The secret itself.
    pub token: String,
    /// Unix seconds; null, 0 or less = never.
    #[serde(default)]
    pub expires_at: Option<i64>,
    /// Signing key that registered, 64 hex digits.
    #[serde(default)]
    pub registered_spk: String,
    /// When the file was written, Unix seconds.
    #[serde(default)]
    pub saved_at: i64,
}

impl SavedToken {
    /// Reads a token file; damaged ones and ones without a token are none.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text)
            .ok()
            .filter(|token: &Self| !token.token.is_empty())
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whether a server might still take it: inside the grace after its expiry the server decides, because clocks differ.
    pub fn is_worth_sending(&self, now: u64) -> bool {
        match self.expires_at {
            Some(expiry) if expiry > 0 => {
                now <= expiry.unsigned_abs().saturating_add(TOKEN_EXPIRY_GRACE)
            }
            _ => true,
        }
    }
}

/// One file of the tokens directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says; none if it is damaged or holds no token.
    pub token: Option<SavedToken>,
}

impl Home {
    /// All token files, sorted by name. A directory that is not there holds none.
    ///
    /// # Errors
    /// [`HomeError::Io`] if the directory or a file in it cannot be read.
    pub fn saved_tokens(&self) -> Result<Vec<TokenFile>, HomeError> {
        let dir = self.tokens_dir();
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(HomeError::io(dir))?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(HomeError::io(dir))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = zeroize::Zeroizing::new(fs::read(&path).map_err(HomeError::io(&path))?);
            let token = str::from_utf8(&text).ok().and_then(SavedToken::from_json);
            files.push(TokenFile { path, token });
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    /// Deletes the token saved for a host; whether there was one. The node goes on taking it until it expires there.
    ///
    /// # Errors
    /// [`TokenError::UnsafeHost`] for what is no host, and failures of the file system.
    pub fn forget_token(&self, host: &str) -> Result<bool, TokenError> {
        let path = self.token_path(host)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(HomeError::io(&path)(error).into()),
        }
    }
}

impl fmt::Debug for SavedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedToken")
            .field("node", &self.node)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// The file name form of a host: lower case, no dots around, letters, digits, dots and hyphens only, so no path can be made of it.
pub fn token_host(host: &str) -> Result<String, TokenError> {
    let name = host.trim().trim_matches('.').to_ascii_lowercase();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let safe = bytes.len() <= 254
        && ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    if safe {
        Ok(name)
    } else {
        Err(TokenError::UnsafeHost(host.to_owned()))
    }
}

/// The host of a URL or of `host[:port]`, without user part, port and brackets.
pub fn host_of_endpoint(endpoint: &str) -> Option<&str> {
    let rest = endpoint
        .trim()
        .split_once("://")
        .map_or(endpoint.trim(), |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_port = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = match host_port.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        None => match host_port.split_once(':') {
            Some((host, port)) if !port.contains(':') => host,
            _ => host_port,
        },
    };
    (!host.is_empty()).then_some(host)
}
