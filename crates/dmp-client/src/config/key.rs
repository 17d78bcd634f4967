//! One key of `config.yaml` at a time, as `dnsmesh config` reads and changes it: names, values, what is secret, what a value must be.
//!
//! It changes the configuration in memory; the file is [`crate::home`]'s business.

use std::collections::BTreeSet;

use dmp_core::address::validate_local_part;
use dmp_core::keys::SigningPublicKey;
use dmp_core::limits::HORIZON_SHORT;
use dmp_core::name::Zone;
use dmp_dns::Name;
use dmp_dns::tsig::Algorithm;
use dmp_net::SystemFallback;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use yaml_serde::Value;

use super::{Config, ConfigError, normalize_endpoint};
use crate::connect;
use crate::home::host_of_endpoint;
use crate::limits::{MESSAGE_TTL, NODE_MAX_VALUE_BYTES};
use crate::publisher;

/// The name that hints of the reference use (cli.md 11, L3).
const ALIAS: (&str, &str) = ("claim_provider", "claim_provider_override");
/// Keys whose values are not shown to whoever looks over a shoulder.
const SECRET: [&str; 4] = [
    "http_token",
    "cluster_node_token",
    "tsig_secret_hex",
    "kdf_salt",
];
/// Fewer bytes carry no chunk (records.md 5.2), more fit no TXT record.
const VALUE_BYTES_LEAST: u64 = 256;
const VALUE_BYTES_MOST: u64 = 65_000;
/// More letters than this apart, two names have nothing to do with each other.
const TYPO: usize = 3;

/// A key that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(&'static str);

/// No such key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown configuration key `{name}`{}", .nearest.map(|near| format!("; did you mean {}?", near.0)).unwrap_or_default())]
pub struct UnknownKey {
    /// What was asked for.
    pub name: String,
    /// What may have been meant.
    pub nearest: Option<Key>,
}

impl Key {
    /// All keys, in the order of client.md 3.
    pub fn all() -> impl Iterator<Item = Self> {
        Config::KEYS.iter().copied().map(Self)
    }

    /// The key as somebody typed it: `-` counts as `_`, and `claim-provider` is `claim_provider_override`.
    ///
    /// # Errors
    /// [`UnknownKey`], with the nearest one.
    pub fn parse(text: &str) -> Result<Self, UnknownKey> {
        let name = text.trim().replace('-', "_").to_ascii_lowercase();
        let name = if name == ALIAS.0 { ALIAS.1 } else { &name };
        if let Some(key) = Self::all().find(|key| key.0 == name) {
            return Ok(key);
        }
        let nearest = Self::all()
            .map(|key| (distance(key.0, name), key))
            .min()
            .filter(|(distance, _)| *distance <= TYPO)
            .map(|(_, key)| key);
        Err(UnknownKey {
            name: text.to_owned(),
            nearest,
        })
    }

    /// The name as it stands in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// Whether its value is masked unless the user asks for it.
    #[must_use]
    pub fn is_secret(self) -> bool {
        SECRET.contains(&self.0)
    }
}

impl Config {
    /// The value in force: the one set, else the default. Null where nothing is set and nothing is the default.
    #[must_use]
    pub fn value(&self, key: Key) -> Value {
        let own_default = || match key.0 {
            "rotation_chain_enabled" => Value::Bool(self.follows_rotations()),
            "message_ttl" => Value::Number(MESSAGE_TTL.into()),
            "accept_strangers" => Value::Bool(self.accepts_strangers()),
            "trust_policy" => Value::String(self.trust_policy().name().to_owned()),
            "max_value_bytes" => Value::Number(NODE_MAX_VALUE_BYTES.into()),
            "require_forward_secrecy" => Value::Bool(self.requires_forward_secrecy()),
            _ => Value::Null,
        };
        self.entries().remove(key.0).unwrap_or_else(own_default)
    }

    /// Gives a key the value somebody typed, lists with commas, and checks that it can be used.
    ///
    /// # Errors
    /// [`ConfigError::Unusable`]; nothing is changed then.
    pub fn set(&mut self, key: Key, text: &str) -> Result<(), ConfigError> {
        let unusable = |reason: &dyn std::fmt::Display| ConfigError::Unusable {
            key: key.0,
            reason: reason.to_string(),
        };
        let mut changed = self.clone();
        let text = if key.0 == "endpoint" {
            normalize_endpoint(text)
        } else {
            text.to_owned()
        };
        changed
            .assign(key.0, &text)
            .map_err(|reason| unusable(&reason))?;
        changed.check(key)?;
        *self = changed;
        Ok(())
    }

    /// Gives a key its default.
    pub fn unset(&mut self, key: Key) {
        self.reset(key.0);
    }

    /// Whether the value of a key can be used: what a command would find out when it needs it.
    ///
    /// # Errors
    /// [`ConfigError::Unusable`].
    pub fn check(&self, key: Key) -> Result<(), ConfigError> {
        let unusable = |reason: String| Err(ConfigError::Unusable { key: key.0, reason });
        let zone = |text: &str| {
            Zone::parse(text)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let public_key = |text: &str| {
            SigningPublicKey::from_hex(text)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let outcome = match key.0 {
            "username" => validate_local_part(&self.username).map_err(|error| error.to_string()),
            "domain" => zone(&self.domain),
            "endpoint" => url(&self.endpoint),
            "dns_resolvers" => return connect::reader(self, SystemFallback::Forbidden).map(drop),
            "dns_host" => {
                // The pool would hide it.
                let mut single = self.clone();
                single.dns_resolvers.clear();
                return connect::reader(&single, SystemFallback::Forbidden).map(drop);
            }
            "kdf_salt" => return self.salt().map(drop),
            "publisher" => return self.publisher.as_ref().map_or(Ok(()), publisher::check),
            "verify_pubkey" => optional(&self.verify_pubkey, public_key),
            "identity_domain" => optional(&self.identity_domain, zone),
            "cluster_base_domain" => optional(&self.cluster_base_domain, zone),
            "cluster_operator_spk" => optional(&self.cluster_operator_spk, public_key),
            "bootstrap_user_domain" => optional(&self.bootstrap_user_domain, zone),
            "bootstrap_signer_spk" => optional(&self.bootstrap_signer_spk, public_key),
            "claim_provider_override" => url(&self.claim_provider_override),
            "claim_provider_zone" => optional(&self.claim_provider_zone, zone),
            "tsig_key_name" => optional(&self.tsig_key_name, |text| {
                text.parse::<Name>()
                    .map(drop)
                    .map_err(|error| error.to_string())
            }),
            "tsig_secret_hex" => hex::decode(&self.tsig_secret_hex)
                .map(drop)
                .map_err(|error| error.to_string()),
            "tsig_algorithm" => self
                .tsig_algorithm
                .parse::<Algorithm>()
                .map(drop)
                .map_err(|error| error.to_string()),
            "tsig_zone" => optional(&self.tsig_zone, zone),
            "message_ttl" => match self.default_message_ttl() {
                1..=HORIZON_SHORT => Ok(()),
                _ => Err(format!("expected 1 to {HORIZON_SHORT} seconds")),
            },
            "max_value_bytes" => match self.max_value_bytes {
                None | Some(VALUE_BYTES_LEAST..=VALUE_BYTES_MOST) => Ok(()),
                _ => Err(format!(
                    "expected {VALUE_BYTES_LEAST} to {VALUE_BYTES_MOST} bytes"
                )),
            },
            "provider_seeds" => self.provider_seeds.iter().flatten().try_for_each(|seed| {
                zone(
                    host_of_endpoint(seed)
                        .filter(|_| seed.contains("://"))
                        .unwrap_or(seed),
                )
            }),
            _ => Ok(()),
        };
        outcome.or_else(unusable)
    }

    /// The keys that stand in a file's text, known or not.
    ///
    /// # Errors
    /// [`ConfigError::Malformed`].
    pub fn keys_in(text: &str) -> Result<BTreeSet<String>, ConfigError> {
        yaml_serde::from_str::<Option<Names>>(text)
            .map(|names| names.map(|Names(names)| names).unwrap_or_default())
            .map_err(|error| ConfigError::Malformed(error.to_string()))
    }
}

/// The empty text, or one that passes.
fn optional(text: &str, check: impl FnOnce(&str) -> Result<(), String>) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { check(text) }
}

/// An HTTP base URL, or none.
fn url(text: &str) -> Result<(), String> {
    optional(text, |text| {
        let is_http = text.starts_with("https://") || text.starts_with("http://");
        let has_host =
            host_of_endpoint(text).is_some_and(|host| !host.contains(char::is_whitespace));
        if is_http && has_host {
            Ok(())
        } else {
            Err(format!("`{text}` is not an http or https URL"))
        }
    })
}

/// Letters to insert, remove or replace to get from one name to the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(other.bytes()) {
            let above = *cell;
            *cell = (diagonal + usize::from(a != b))
                .min(above + 1)
                .min(left + 1);
            (diagonal, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The keys of a mapping, repeated ones once.
struct Names(BTreeSet<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping of configuration keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.insert(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_of_names_is_that_of_levenshtein() {
        for (one, other, expected) in [
            ("dns_port", "dns_port", 0),
            ("dns_port", "dns_prot", 2),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("abc", "", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
