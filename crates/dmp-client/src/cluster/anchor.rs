//! What a user pins of a cluster: its name and the key of its operator (federation.md 4.2). Nothing of it comes from DNS.

use dmp_core::error::{KeyError, NameError};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::{DomainName, Zone};
use dmp_core::owner::{OwnerName, cluster_owner};

use crate::config::{Config, ConfigError};

/// A pinned cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// The cluster's name, which is the zone of its users.
    pub base: DomainName,
    /// The key that signs its manifests.
    pub operator: SigningPublicKey,
}

/// Why a pair of texts is no anchor.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnchorError {
    /// The name.
    #[error("`{0}` is not a base domain: {1}")]
    Base(String, NameError),
    /// The key.
    #[error("the operator's key: {0}")]
    Operator(#[from] KeyError),
}

impl Anchor {
    /// An anchor as people write it: a DNS name and 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn parse(base: &str, operator: &str) -> Result<Self, AnchorError> {
        let name = base.trim();
        Ok(Self {
            base: DomainName::parse(name)
                .map_err(|error| AnchorError::Base(name.to_owned(), error))?,
            operator: SigningPublicKey::from_hex(operator.trim())?,
        })
    }

    /// The anchor of a configuration; none if it pins no cluster or only half of one.
    ///
    /// # Errors
    /// [`ConfigError::Unusable`], naming the key.
    pub fn of_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let (base, operator) = (&config.cluster_base_domain, &config.cluster_operator_spk);
        if base.is_empty() || operator.is_empty() {
            return Ok(None);
        }
        Self::parse(base, operator).map(Some).map_err(|error| {
            let key = match error {
                AnchorError::Base(..) => "cluster_base_domain",
                AnchorError::Operator(_) => "cluster_operator_spk",
            };
            ConfigError::Unusable {
                key,
                reason: error.to_string(),
            }
        })
    }

    /// Where the manifest is.
    #[must_use]
    pub fn owner(&self) -> OwnerName {
        cluster_owner(&self.base)
    }

    /// The zone of the cluster's users.
    #[must_use]
    pub fn zone(&self) -> Zone {
        Zone::from(&self.base)
    }
}
