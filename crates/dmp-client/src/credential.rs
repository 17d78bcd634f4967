//! Which credential a home writes with, and how much longer it works (client.md 4.2, 4.3, 12). Asks nobody: the node may see it otherwise.

use crate::config::Config;
use crate::home::Home;
use crate::limits::CREDENTIAL_NOTICE;

/// What writes are authorised with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Which it is.
    pub kind: CredentialKind,
    /// When it expires, Unix seconds; none = never, or it is not known here.
    pub expires_at: Option<u64>,
}

/// The kinds, in the order in which they are preferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// The publishers of the configuration have their own.
    Publisher,
    /// The TSIG key of the configuration, by name.
    Tsig(String),
    /// The token that stands in the configuration, for its endpoint or for a cluster.
    ConfiguredToken,
    /// The token saved for the endpoint's host.
    SavedToken(String),
}

/// What is left of a credential's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nothing is known against it.
    Fine,
    /// It ends soon, at this Unix second.
    Ending(u64),
    /// It ended at this Unix second.
    Ended(u64),
}

impl Credential {
    /// The credential that commands of this home write with; none if they would write without.
    #[must_use]
    pub fn of_home(config: &Config, home: &Home, now: u64) -> Option<Self> {
        if config.publisher.is_some() {
            return Some(Self {
                kind: CredentialKind::Publisher,
                expires_at: None,
            });
        }
        if !config.tsig_key_name.is_empty() && !config.tsig_secret_hex.is_empty() {
            return Some(Self {
                kind: CredentialKind::Tsig(config.tsig_key_name.clone()),
                expires_at: config.tsig_expires_at,
            });
        }
        if config.http_token.is_some()
            || (config.cluster_active() && !config.cluster_node_token.is_empty())
        {
            return Some(Self {
                kind: CredentialKind::ConfiguredToken,
                expires_at: None,
            });
        }
        let saved = home.token_for_endpoint(&config.endpoint, now)?;
        Some(Self {
            kind: CredentialKind::SavedToken(saved.node.clone()),
            expires_at: saved.expires_at.and_then(|time| u64::try_from(time).ok()),
        })
    }

    /// Whether its owner should do something about it now.
    #[must_use]
    pub fn life(&self, now: u64) -> Life {
        match self.expires_at.filter(|time| *time > 0) {
            Some(time) if time <= now => Life::Ended(time),
            Some(time) if time - now <= CREDENTIAL_NOTICE => Life::Ending(time),
            _ => Life::Fine,
        }
    }

    /// The command that gets a new one.
    #[must_use]
    pub const fn renewal(&self) -> &'static str {
        match self.kind {
            CredentialKind::Tsig(_) => "dnsmesh tsig register",
            CredentialKind::Publisher
            | CredentialKind::ConfiguredToken
            | CredentialKind::SavedToken(_) => "dnsmesh register",
        }
    }
}

impl std::fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Publisher => f.write_str("credentials of the configured publisher"),
            Self::Tsig(name) => write!(f, "TSIG key {name}"),
            Self::ConfiguredToken => f.write_str("bearer token of the configuration"),
            Self::SavedToken(node) => write!(f, "bearer token for {node}"),
        }
    }
}
