//! A TSIG key of the operator's own as it is asked for: its form, and what to tell about it. Nothing is stored here.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dmp_dns::tsig::Algorithm;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Failed, FailedCode};
use crate::access::{KeyRow, Scope, ScopeKind};
use crate::limits::{KEY_SECRET_LEAST, KEY_SECRET_MOST};
use crate::settings::Settings;
use crate::zone::{Owner, OwnerError};

/// An administrative key to add (node.md 4.1): it belongs to no user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewKey {
    /// A domain name, in any letter case, with or without trailing dot.
    pub name: String,
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`.
    pub algorithm: String,
    /// What it signs with.
    pub secret: KeySecret,
    /// Patterns of node.md 3.4, at least one.
    pub scope: Vec<String>,
    /// Seconds it lives; `None` is for ever.
    pub lifetime: Option<u64>,
}

/// The secret of a key: wiped when dropped, never printed, base64 on the control socket.
#[derive(Clone)]
pub struct KeySecret(Zeroizing<Vec<u8>>);

/// Why something is no secret of a key. The text is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySecretError {
    /// Not the standard alphabet with its padding.
    #[error("the secret is not base64")]
    Form,
    /// So many octets.
    #[error(
        "the secret has {0} octets; between {KEY_SECRET_LEAST} and {KEY_SECRET_MOST} are taken"
    )]
    Length(usize),
}

impl KeySecret {
    /// As many random octets of the system as the HMAC yields (RFC 8945 8).
    ///
    /// # Errors
    /// The system gives none.
    pub fn random(algorithm: Algorithm) -> Result<Self, getrandom::Error> {
        let mut octets = Zeroizing::new(vec![0; algorithm.mac_len()]);
        getrandom::fill(&mut octets)?;
        Ok(Self(octets))
    }

    /// Reads base64, as key files hold it.
    pub fn from_base64(text: &str) -> Result<Self, KeySecretError> {
        // Room for all of it from the start: a buffer that grows leaves copies behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(text.len()));
        BASE64_STANDARD
            .decode_vec(text, &mut octets)
            .map_err(|_| KeySecretError::Form)?;
        match octets.len() {
            KEY_SECRET_LEAST..=KEY_SECRET_MOST => Ok(Self(octets)),
            length => Err(KeySecretError::Length(length)),
        }
    }

    /// The secret as key files hold it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(&*self.0))
    }
}

impl PartialEq for KeySecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(..)")
    }
}

impl Serialize for KeySecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for KeySecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = KeySecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret in base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<KeySecret, E> {
                KeySecret::from_base64(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Base64)
    }
}

impl NewKey {
    /// The key as it is stored when it is added at `now`, or the first thing that is wrong with it.
    pub(super) fn row(self, now: u64) -> Result<KeyRow, Failed> {
        let misuse = |reason: String| Failed::new(FailedCode::Misuse, reason);
        let name = Owner::parse(&self.name)
            .map_err(|error| misuse(format!("key name '{}': {error}", self.name)))?;
        let algorithm: Algorithm = self
            .algorithm
            .parse()
            .map_err(|error| misuse(format!("'{}': {error}", self.algorithm)))?;
        let patterns = self.scope.iter().map(|text| {
            pattern(text).map_err(|error| misuse(format!("scope pattern '{text}': {error}")))
        });
        let mut allowed_suffixes = patterns.collect::<Result<Vec<_>, _>>()?;
        if allowed_suffixes.is_empty() {
            return Err(misuse("a key needs at least one scope pattern".to_owned()));
        }
        allowed_suffixes.sort();
        allowed_suffixes.dedup();
        if self.lifetime == Some(0) {
            return Err(misuse("a key must live for at least a second".to_owned()));
        }
        Ok(KeyRow {
            name: format!("{name}."),
            algorithm: algorithm.name().to_owned(),
            secret: self.secret.0,
            allowed_suffixes,
            expires_at: self.lifetime.map_or(0, |life| now.saturating_add(life)),
            subject: String::new(),
            registered_spk: None,
            registered_x25519: None,
        })
    }
}

/// What keeps a key with these patterns from writing, one line each.
pub(super) fn doubts(patterns: &[String], settings: &Settings) -> Vec<String> {
    let Some(zone) = &settings.zone else {
        return vec!["no zone is served with these settings: every update gets NOTAUTH".to_owned()];
    };
    let reaches = |pattern: &String| {
        let scope = Scope::new(std::slice::from_ref(pattern), ScopeKind::Administrative);
        scope.is_some_and(|scope| scope.reaches(zone))
    };
    let outside = patterns.iter().filter(|pattern| !reaches(pattern));
    let mut doubts: Vec<String> = outside
        .map(|pattern| {
            format!("{pattern} matches nothing in {zone}: updates of other zones get NOTAUTH")
        })
        .collect();
    if !settings.update {
        doubts.push("updates are off (update.enabled): every update is REFUSED".to_owned());
    }
    doubts
}

/// The pattern as it is stored: lower case, no dot at either end (node.md 4.1).
fn pattern(text: &str) -> Result<String, OwnerError> {
    let text = text.trim_matches('.').to_ascii_lowercase();
    // What is true of a name is true of a pattern, but for `*`.
    Owner::parse(&text.replace('*', "-"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_key() -> NewKey {
        NewKey {
            name: "Ops.Mesh.Test".to_owned(),
            algorithm: "HMAC-SHA512.".to_owned(),
            secret: KeySecret(Zeroizing::new(vec![0x5a; 16])),
            scope: ["mesh.test.", "Slot-*.mb-*.Mesh.Test", ".mesh.test"]
                .map(str::to_owned)
                .to_vec(),
            lifetime: Some(60),
        }
    }

    #[test]
    fn a_key_is_stored_lower_case_with_its_patterns_sorted_and_unique() {
        let row = new_key().row(1_000).unwrap();
        assert_eq!(row.name, "ops.mesh.test.");
        assert_eq!(row.algorithm, "hmac-sha512");
        assert_eq!(row.allowed_suffixes, ["mesh.test", "slot-*.mb-*.mesh.test"]);
        assert_eq!((row.expires_at, row.subject.as_str()), (1_060, ""));
        let row = NewKey {
            lifetime: None,
            ..new_key()
        };
        assert_eq!(row.row(1_000).unwrap().expires_at, 0);
    }

    #[test]
    fn what_is_wrong_with_a_key_is_misuse_and_told() {
        let long = "x".repeat(64);
        let named = |name: &str| NewKey {
            name: name.to_owned(),
            ..new_key()
        };
        let scoped = |pattern: &str| NewKey {
            scope: vec!["mesh.test".to_owned(), pattern.to_owned()],
            ..new_key()
        };
        for (key, reason) in [
            (named(""), "key name ''"),
            (named("."), "key name '.'"),
            (named("a..b"), "key name 'a..b'"),
            (named("a b"), "key name 'a b'"),
            (named("a\".b"), "outside A-Z"),
            (named("*.mesh.test"), "outside A-Z"),
            (named(&long), "longer than 63"),
            (named(&"a.".repeat(128)), "longer than 255"),
            (scoped(""), "scope pattern ''"),
            (scoped("."), "scope pattern '.'"),
            (scoped("a..mesh.test"), "scope pattern 'a..mesh.test'"),
            (scoped("a\nb.mesh.test"), "outside A-Z"),
            (scoped("a,b"), "outside A-Z"),
            (scoped(&long), "longer than 63"),
            (
                NewKey {
                    scope: Vec::new(),
                    ..new_key()
                },
                "at least one scope pattern",
            ),
            (
                NewKey {
                    algorithm: "hmac-md5".to_owned(),
                    ..new_key()
                },
                "'hmac-md5': TSIG algorithm is none of",
            ),
            (
                NewKey {
                    lifetime: Some(0),
                    ..new_key()
                },
                "at least a second",
            ),
        ] {
            let failed = key.row(0).err().unwrap();
            assert_eq!(failed.code, FailedCode::Misuse);
            assert!(failed.reason.contains(reason), "{reason}: {failed}");
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_in_the_zone_is_told() {
        let scope =
            |pattern: &str| Scope::new(&[pattern.to_owned()], ScopeKind::Administrative).unwrap();
        let zone = Owner::parse("mesh.test").unwrap();
        for pattern in [
            "mesh.test",
            "a.b.mesh.test",
            "test",
            "*",
            "m*h.test",
            "x.*.*",
            "slot-*.mesh.test",
        ] {
            assert!(scope(pattern).reaches(&zone), "{pattern}");
        }
        for pattern in [
            "other.test",
            "xmesh.test",
            "mesh.test.example",
            "a.mash*.test",
            "example",
        ] {
            assert!(!scope(pattern).reaches(&zone), "{pattern}");
        }
    }

    #[test]
    fn a_secret_is_random_or_base64_of_at_least_16_octets_and_never_shows() {
        for (name, octets) in [
            ("hmac-sha256", 32),
            ("hmac-sha384", 48),
            ("hmac-sha512", 64),
        ] {
            let random = || KeySecret::random(name.parse().unwrap()).unwrap();
            let (one, other) = (random(), random());
            assert_eq!(one.0.len(), octets);
            assert!(one != other && one.0.iter().any(|octet| *octet != 0));
        }
        let of = |octets: usize| KeySecret::from_base64(&BASE64_STANDARD.encode(vec![1; octets]));
        assert_eq!(of(15), Err(KeySecretError::Length(15)));
        assert_eq!(of(1_025), Err(KeySecretError::Length(1_025)));
        assert!(of(16).is_ok() && of(1_024).is_ok());
        for text in [
            "not base64",
            "QUJD QUJD",
            "QUJDQUJDQUJDQUJDQUJDQUI",
            "\u{fc}",
        ] {
            assert_eq!(
                KeySecret::from_base64(text),
                Err(KeySecretError::Form),
                "{text}"
            );
        }
        let key = new_key();
        let shown = format!("{:?}", super::super::Request::KeyAdd(key.clone()));
        assert!(
            shown.contains("KeySecret(..)") && !shown.contains("Wlpa") && !shown.contains("90")
        );
        let sent = serde_json::to_string(&key).unwrap();
        assert!(sent.contains("\"WlpaWlpaWlpaWlpaWlpaWg==\""), "{sent}");
        assert_eq!(serde_json::from_str::<NewKey>(&sent).unwrap(), key);
        let refused = serde_json::from_str::<NewKey>(&sent.replace("Wg==", "W")).unwrap_err();
        assert!(!refused.to_string().contains("Wlpa"), "{refused}");
    }
}
