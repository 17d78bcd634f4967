//! Bearer tokens saved per host (client.md 5.4).

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::HomeError;
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
