//! What a user pins of a domain: its name and the key of its zone signer (federation.md 5). Nothing of it comes from DNS.

use dmp_core::error::{KeyError, NameError};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use dmp_core::owner::{OwnerName, bootstrap_owner};

use crate::config::{Config, ConfigError};

/// A domain whose signer is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// The domain of the users: what stands behind the `@`.
    pub domain: DomainName,
    /// The key that signs its bootstrap record.
    pub signer: SigningPublicKey,
}

/// Why a pair of texts is no anchor.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnchorError {
    /// The name.
    #[error("`{0}` is not a domain: {1}")]
    Domain(String, NameError),
    /// The key.
    #[error("the signer's key: {0}")]
    Signer(#[from] KeyError),
}

impl AnchorError {
    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Domain(..) => "bootstrap-domain",
            Self::Signer(_) => "bootstrap-key",
        }
    }
}

impl Anchor {
    /// An anchor as people write it: a DNS name and 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn parse(domain: &str, signer: &str) -> Result<Self, AnchorError> {
        let name = domain.trim();
        Ok(Self {
            domain: DomainName::parse(name)
                .map_err(|error| AnchorError::Domain(name.to_owned(), error))?,
            signer: SigningPublicKey::from_hex(signer.trim())?,
        })
    }

    /// The anchor of a configuration; none if it pins no domain or only half of one.
    ///
    /// # Errors
    /// [`ConfigError::Unusable`], naming the key.
    pub fn of_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let (domain, signer) = (&config.bootstrap_user_domain, &config.bootstrap_signer_spk);
        if domain.is_empty() || signer.is_empty() {
            return Ok(None);
        }
        Self::parse(domain, signer).map(Some).map_err(|error| {
            let key = match error {
                AnchorError::Domain(..) => "bootstrap_user_domain",
                AnchorError::Signer(_) => "bootstrap_signer_spk",
            };
            ConfigError::Unusable {
                key,
                reason: error.to_string(),
            }
        })
    }

    /// Where the record is.
    #[must_use]
    pub fn owner(&self) -> OwnerName {
        bootstrap_owner(&self.domain)
    }
}
