//! The user's configuration file `config.yaml` (client.md 3): all keys of the reference, our own, and whatever else stands in it.
//!
//! It reads and writes text only: where the file lies and how it is replaced is [`crate::home`]'s business, and nothing here is secret-aware.

mod contact;
mod key;
mod setting;

pub use contact::ContactEntry;
pub use key::{Key, UnknownKey};
pub use yaml_serde::Value as YamlValue;

use std::collections::BTreeMap;
use std::fmt;

use dmp_core::address::Address;
use dmp_core::keys::Salt;
use dmp_core::name::Zone;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use setting::Setting;

use crate::limits::MESSAGE_TTL;

/// Why a configuration cannot be used; every message names the key or the place in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a YAML mapping, or a key holds a value of the wrong kind.
    #[error("{0}")]
    Malformed(String),
    /// A key that this command needs holds something unusable.
    #[error("config key {key}: {reason}")]
    Unusable {
        /// The key as written in the file.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// The stable machine code (D32).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "config-malformed",
            Self::Unusable { .. } => "config-unusable",
        }
    }
}

/// Declares the keys once: field, type, default. From this list come the struct, its defaults, the loader and the writer.
macro_rules! keys {
    ($($(#[$doc:meta])* $key:ident: $kind:ty = $default:expr;)*) => {
        /// Everything `config.yaml` says. Field names are the file's keys; absent keys hold their defaults.
        #[derive(Clone, PartialEq)]
        pub struct Config {
            $($(#[$doc])* pub $key: $kind,)*
            /// Keys this version does not know, kept as they were.
            pub unknown: BTreeMap<String, YamlValue>,
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($key: $default,)* unknown: BTreeMap::new() }
            }
        }

        impl Config {
            fn read_key<'de, A: MapAccess<'de>>(&mut self, key: String, map: &mut A) -> Result<(), A::Error> {
                match key.as_str() {
                    $(stringify!($key) => self.$key = Setting::read(map)?.unwrap_or_else(|| $default),)*
                    _ => {
                        let value = map.next_value()?;
                        self.unknown.insert(key, value);
                    }
                }
                Ok(())
            }

            /// Every key, in the order of client.md 3.
            const KEYS: &[&'static str] = &[$(stringify!($key)),*];

            fn assign(&mut self, key: &str, text: &str) -> Result<(), &'static str> {
                match key {
                    $(stringify!($key) => self.$key = Setting::parse(text)?,)*
                    _ => {}
                }
                Ok(())
            }

            fn reset(&mut self, key: &str) {
                match key {
                    $(stringify!($key) => self.$key = $default,)*
                    _ => {}
                }
            }

            fn entries(&self) -> BTreeMap<String, YamlValue> {
                let mut entries = self.unknown.clone();
                $(if let Some(value) = self.$key.to_yaml() {
                    entries.insert(stringify!($key).to_owned(), value);
                })*
                entries
            }
        }
    };
}

keys! {
    /// Local part of the own address; hashed byte for byte into owner names.
    username: String = String::new();
    /// Mesh zone while no cluster is in use.
    domain: String = "mesh.local".to_owned();
    /// HTTP base URL of the home node.
    endpoint: String = String::new();
    /// Bearer token for `endpoint`; wins over a saved token of its host.
    http_token: Option<String> = None;
    /// Address of a single resolver; none = the system's.
    dns_host: Option<String> = None;
    /// Port of `dns_host`, and the last resort for same-zone notifications (client.md 4.6).
    dns_port: u16 = 5353;
    /// Resolver pool (federation.md 7.1); overrides `dns_host` when not empty.
    dns_resolvers: Vec<String> = Vec::new();
    /// File that holds the passphrase; `~` is the home directory.
    passphrase_file: Option<String> = None;
    /// Salt of the key derivation, 64 hex digits; together with the passphrase it is the identity.
    kdf_salt: String = String::new();
    /// Signing key remembered at the first derivation, to notice a mistyped passphrase.
    verify_pubkey: String = String::new();
    /// Zone of the identity record where it differs from the mesh zone.
    identity_domain: String = String::new();
    /// Deliver to the inbox while nobody is pinned.
    allow_tofu: bool = false;
    /// Take only answers with the AD flag.
    dnssec_required: bool = false;
    /// Cluster anchor: base domain.
    cluster_base_domain: String = String::new();
    /// Cluster anchor: operator key.
    cluster_operator_spk: String = String::new();
    /// Whether the pinned cluster is used.
    cluster_enabled: bool = false;
    /// Seconds between manifest refreshes; 0 or less = none in the background.
    cluster_refresh_interval: i64 = 3600;
    /// Bearer token for cluster nodes; empty = saved tokens, or `http_token` where `endpoint` belongs to the cluster.
    cluster_node_token: String = String::new();
    /// Bootstrap anchor: user domain.
    bootstrap_user_domain: String = String::new();
    /// Bootstrap anchor: signer key.
    bootstrap_signer_spk: String = String::new();
    /// Contacts as the reference keeps them; read once at take-over, then only preserved (D17).
    contacts: BTreeMap<String, ContactEntry> = BTreeMap::new();
    /// Fixed claim provider: URL.
    claim_provider_override: String = String::new();
    /// Fixed claim provider: zone.
    claim_provider_zone: String = String::new();
    /// TSIG key name, with a trailing dot; empty = writes go over HTTP.
    tsig_key_name: String = String::new();
    /// TSIG secret in hex.
    tsig_secret_hex: String = String::new();
    /// TSIG algorithm.
    tsig_algorithm: String = "hmac-sha256".to_owned();
    /// Zone section of UPDATE messages.
    tsig_zone: String = String::new();
    /// Host or address of the UPDATE server; empty = host of `endpoint`.
    tsig_dns_server: String = String::new();
    /// Its port; 0 counts as 53.
    tsig_dns_port: u16 = 53;
    /// Seconds between looks for claims of `recv --follow`.
    recv_primary_interval_seconds: i64 = 30;
    /// Longest time between walks through the zones of contacts of `recv --follow`, seconds.
    recv_secondary_interval_seconds: i64 = 600;
    /// Receive by claims only (client.md 10.1).
    recv_secondary_disable: bool = false;
    /// DNS listener of the home node for same-zone notifications.
    local_node_dns_server: String = String::new();
    /// Its port; the pair counts only when both are set.
    local_node_dns_port: u16 = 0;
    /// Own key: follow rotation chains of contacts (D22); absent = true.
    rotation_chain_enabled: Option<bool> = None;
    /// Own key: default lifetime of a message in seconds (D20).
    message_ttl: Option<u64> = None;
    /// Own key: provider seeds (D26); absent = the built-in one, empty = none.
    provider_seeds: Option<Vec<String>> = None;
    /// Own key: refuse to send without forward secrecy (D15); absent = false.
    require_forward_secrecy: Option<bool> = None;
    /// Own key: the longest value that the own node takes, in bytes; absent = what the node said, else 2048.
    max_value_bytes: Option<u64> = None;
    /// Own key: how the own zone is written, one mapping or a list of them (client.md 14); absent = by TSIG key or endpoint.
    publisher: Option<YamlValue> = None;
    /// Own key: when the TSIG key expires, Unix seconds (client.md 12); absent = never, or not known.
    tsig_expires_at: Option<u64> = None;
    /// Own key: fetch messages that strangers announce, into the quarantine (client.md 10.3); absent = true.
    accept_strangers: Option<bool> = None;
    /// Own key: how far keys are trusted that nobody compared; absent = `notify`, or `tofu` with `allow_tofu`.
    trust_policy: Option<TrustPolicy> = None;
}

impl Config {
    /// Reads the text of a `config.yaml`. A key that occurs twice counts as last written; an empty file is all defaults (client.md 3.1).
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        yaml_serde::from_str::<Option<Self>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|error| ConfigError::Malformed(error.to_string()))
    }

    /// The file's text: block style, keys sorted, every reference key present, own keys only where they are set.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        yaml_serde::to_string(&self.entries())
            .map_err(|error| ConfigError::Malformed(error.to_string()))
    }

    /// Whether messages that strangers announce are fetched into the quarantine (client.md 10.3).
    pub fn accepts_strangers(&self) -> bool {
        self.accept_strangers.unwrap_or(true)
    }

    /// How far keys are trusted that nobody compared.
    pub fn trust_policy(&self) -> TrustPolicy {
        self.trust_policy.unwrap_or(if self.allow_tofu {
            TrustPolicy::Tofu
        } else {
            TrustPolicy::Notify
        })
    }

    /// Whether the pinned cluster is in use: both anchors and the switch (client.md 4.2).
    pub fn cluster_active(&self) -> bool {
        self.cluster_enabled
            && !self.cluster_base_domain.is_empty()
            && !self.cluster_operator_spk.is_empty()
    }

    /// The zone of the user's mailbox, chunks, prekeys and hashed identity records (client.md 1).
    pub fn mesh_zone(&self) -> Result<Zone, ConfigError> {
        if self.cluster_active() {
            zone("cluster_base_domain", &self.cluster_base_domain)
        } else {
            zone("domain", &self.domain)
        }
    }

    /// The zone-anchored identity zone, when one is configured (client.md 1).
    pub fn identity_zone(&self) -> Result<Option<Zone>, ConfigError> {
        if self.identity_domain.is_empty() {
            Ok(None)
        } else {
            zone("identity_domain", &self.identity_domain).map(Some)
        }
    }

    /// The own canonical address under the identity zone, else the mesh zone; none when it has no canonical form.
    pub fn own_address(&self) -> Result<Option<Address>, ConfigError> {
        let zone = match self.identity_zone()? {
            Some(zone) => zone,
            None => self.mesh_zone()?,
        };
        Ok(Address::parse(&format!("{}@{zone}", self.username)).ok())
    }

    /// The derivation salt; a very old file without one means the fixed legacy salt (client.md 1).
    pub fn salt(&self) -> Result<Salt, ConfigError> {
        if self.kdf_salt.is_empty() {
            return Ok(Salt::legacy());
        }
        Salt::from_hex(&self.kdf_salt).map_err(|error| ConfigError::Unusable {
            key: "kdf_salt",
            reason: error.to_string(),
        })
    }

    /// Takes the TSIG key out, with all that belongs to it: writes go another way from now on.
    pub fn forget_tsig(&mut self) {
        let defaults = Self::default();
        self.tsig_key_name = defaults.tsig_key_name;
        self.tsig_secret_hex = defaults.tsig_secret_hex;
        self.tsig_algorithm = defaults.tsig_algorithm;
        self.tsig_zone = defaults.tsig_zone;
        self.tsig_dns_server = defaults.tsig_dns_server;
        self.tsig_dns_port = defaults.tsig_dns_port;
        self.tsig_expires_at = defaults.tsig_expires_at;
    }

    /// Lifetime given to a message when the user names none, in seconds (D20).
    pub fn default_message_ttl(&self) -> u64 {
        self.message_ttl.unwrap_or(MESSAGE_TTL)
    }

    /// The longest value that the own node takes, bytes, where the user stated it (client.md 8.5).
    pub fn max_value_bytes(&self) -> Option<usize> {
        self.max_value_bytes
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Whether rotation chains of contacts are followed (D22).
    pub fn follows_rotations(&self) -> bool {
        self.rotation_chain_enabled.unwrap_or(true)
    }

    /// Whether a send without forward secrecy is refused by default (D15).
    pub fn requires_forward_secrecy(&self) -> bool {
        self.require_forward_secrecy.unwrap_or(false)
    }
}

/// How far keys are trusted that nobody compared over another channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TrustPolicy {
    /// The key that is seen first is believed: while nobody is pinned, everybody's messages go to the inbox, unverified.
    Tofu,
    /// Pinned keys are believed, new people wait in the quarantine, and every change is told.
    #[default]
    Notify,
    /// Only keys that were compared are written to and delivered from.
    VerifiedOnly,
}

impl TrustPolicy {
    const ALL: [Self; 3] = [Self::Tofu, Self::Notify, Self::VerifiedOnly];

    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tofu => "tofu",
            Self::Notify => "notify",
            Self::VerifiedOnly => "verified-only",
        }
    }
}

/// Trims, cuts trailing slashes and adds `https://` where no scheme is given (client.md 4.3); empty stays empty.
pub fn normalize_endpoint(text: &str) -> String {
    let bare = text.trim().trim_end_matches('/');
    if bare.is_empty() || bare.contains("://") {
        bare.to_owned()
    } else {
        format!("https://{bare}")
    }
}

fn zone(key: &'static str, text: &str) -> Result<Zone, ConfigError> {
    Zone::parse(text).map_err(|error| ConfigError::Unusable {
        key,
        reason: error.to_string(),
    })
}

impl fmt::Debug for Config {
    /// Names the user only: tokens and the TSIG secret stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("username", &self.username)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Config;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of configuration keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Config, A::Error> {
                let mut config = Config::default();
                while let Some(key) = map.next_key::<String>()? {
                    config.read_key(key, &mut map)?;
                }
                Ok(config)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}
