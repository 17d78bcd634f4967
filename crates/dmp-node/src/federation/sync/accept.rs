//! Which values of a peer may be stored (federation.md 4.11). Pure: a decision from name, value, pinned key and time.
//!
//! A peer holds the token of the cluster, but what it passes on comes from strangers, so everything is verified here again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dmp_core::codec::RecordType;
use dmp_core::error::{Malformed, RecordError};
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::record::{
    Binding, Chunk, Claim, ClusterManifest, IdentityRecord, Manifest, Revocation, Rotation,
};
use thiserror::Error;

use crate::zone::Owner;

/// What all values of the protocol begin with.
const PROTOCOL: &str = "v=dmp";
/// Octets of a record that is looked at by its shape alone: one, and a signature.
const SHAPE_OCTETS: usize = 65;

/// A value that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// For as long as a writer may ask for.
    Ordinary,
    /// A cluster's manifest, which may live until it expires.
    Manifest {
        /// Seconds that it still lives, at least 1.
        life: u64,
        /// Whether the pinned key signed it.
        is_pinned: bool,
    },
}

/// Why a value may not be stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unacceptable {
    /// It is not what its type says, or its signature or time is wrong.
    #[error("{0}")]
    Record(RecordError),
    /// A type that never leaves its node, or that this version does not know.
    #[error("a type that is not replicated")]
    Type,
    /// Plain text where only records of the protocol belong.
    #[error("plain text at a name of the protocol")]
    Text,
}

/// Whether a peer may accept the value at all, by looks: what is not shown to peers cannot be in the way of the rest (W3).
pub fn may_replicate(owner: &Owner, value: &str) -> bool {
    if value.starts_with(PROTOCOL) {
        RecordType::of(value).is_some_and(|kind| kind != RecordType::Heartbeat)
    } else {
        !value.is_empty() && !is_of_protocol(owner)
    }
}

/// The check of 4.11. Owner name and type need not agree; readers look for each type at its names.
pub fn accept(
    owner: &Owner,
    value: &str,
    operator: Option<&SigningPublicKey>,
    now: UnixTime,
) -> Result<Accepted, Unacceptable> {
    let verified = match RecordType::of(value) {
        Some(RecordType::Manifest) => Manifest::parse(value, now).map(drop),
        Some(RecordType::Identity) => IdentityRecord::parse(value).map(drop),
        Some(RecordType::Claim) => Claim::parse(value, now).map(drop),
        Some(RecordType::Rotation) => Rotation::parse(value, Binding::default(), now).map(drop),
        Some(RecordType::Revocation) => {
            Revocation::parse(value, Binding::default(), None, now).map(drop)
        }
        Some(RecordType::Chunk) => chunk(value),
        Some(kind @ (RecordType::Prekey | RecordType::Bootstrap)) => shape(kind, value),
        Some(RecordType::Cluster) => return cluster(value, operator, now),
        Some(RecordType::Heartbeat) => return Err(Unacceptable::Type),
        None if value.starts_with(PROTOCOL) => return Err(Unacceptable::Type),
        None if value.is_empty() || is_of_protocol(owner) => return Err(Unacceptable::Text),
        None => Ok(()),
    };
    verified.map_err(Unacceptable::Record)?;
    Ok(Accepted::Ordinary)
}

fn chunk(value: &str) -> Result<(), RecordError> {
    let share = Chunk::parse_txt(value)
        .map_err(RecordError::Malformed)?
        .unwrap_share();
    share
        .map(drop)
        .ok_or(RecordError::Malformed(Malformed::Field("checksum")))
}

/// Without a pinned key its shape is all that is asked for; who signed it shows how long it lives.
fn cluster(
    value: &str,
    operator: Option<&SigningPublicKey>,
    now: UnixTime,
) -> Result<Accepted, Unacceptable> {
    shape(RecordType::Cluster, value).map_err(Unacceptable::Record)?;
    let signer = operator
        .copied()
        .or_else(|| ClusterManifest::claimed_operator(value).ok());
    let verified = signer.map(|signer| ClusterManifest::parse(value, &signer, None, now));
    match (verified, operator.is_some()) {
        (Some(Ok(manifest)), is_pinned) => Ok(Accepted::Manifest {
            life: manifest.exp.saturating_sub(now).max(1),
            is_pinned,
        }),
        (Some(Err(error)), true) => Err(Unacceptable::Record(error)),
        _ => Ok(Accepted::Ordinary),
    }
}

fn shape(kind: RecordType, value: &str) -> Result<(), RecordError> {
    let payload = value.strip_prefix(kind.prefix()).unwrap_or_default();
    if value.len() > kind.value_max() {
        return Err(RecordError::Malformed(Malformed::TooLong));
    }
    let blob = STANDARD
        .decode(payload)
        .map_err(|_| RecordError::Malformed(Malformed::Base64))?;
    if blob.len() < SHAPE_OCTETS {
        return Err(RecordError::Malformed(Malformed::Length));
    }
    Ok(())
}

/// Whether only records of the protocol belong at the name.
fn is_of_protocol(owner: &Owner) -> bool {
    let labels: Vec<&str> = owner.labels().take(3).collect();
    let is_mailbox = |label: &str| label.strip_prefix("mb-").is_some_and(is_hex);
    let is_numbered = |label: &str, prefix| label.strip_prefix(prefix).is_some_and(is_decimal);
    match *labels {
        [first, second, _]
            if is_mailbox(second)
                && (is_numbered(first, "slot-") || is_numbered(first, "claim-")) =>
        {
            true
        }
        ["prekeys", second, _] if second.strip_prefix("id-").is_some_and(is_hex) => true,
        [first, _, ..] => {
            let is_chunk = first
                .strip_prefix("chunk-")
                .and_then(|rest| rest.split_once('-'))
                .is_some_and(|(number, hash)| is_decimal(number) && is_hex(hash));
            is_chunk
                || is_mailbox(first)
                || first.strip_prefix("id-").is_some_and(is_hex)
                || matches!(first, "cluster" | "_dmp" | "dmp" | "rotate")
                || first.starts_with(NODE_LABEL)
        }
        [first] => first.starts_with(NODE_LABEL),
        [] => false,
    }
}

/// What a node says of itself and of others stands below such labels; no node speaks for another.
const NODE_LABEL: &str = "_dnsmesh-";

/// Whether a node's own word stands at the name.
pub(super) fn is_of_a_node(owner: &Owner) -> bool {
    owner
        .labels()
        .next()
        .is_some_and(|label| label.starts_with(NODE_LABEL))
}

fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_vectors_decide() {
        let text = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../vectors/fed_sync_accept.json"
        ));
        let vectors: Value = serde_json::from_str(text).unwrap();
        let now = UnixTime::new(vectors["now"].as_u64().unwrap());
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let owner = Owner::parse(case["owner"].as_str().unwrap()).unwrap();
            let value = case["value"].as_str().unwrap();
            let operator = case["pinned_operator_public_hex"].as_str();
            let operator = operator.map(|hex| SigningPublicKey::from_hex(hex).unwrap());
            let accepted = accept(&owner, value, operator.as_ref(), now);
            assert_eq!(
                accepted.is_ok(),
                case["accept"].as_bool().unwrap(),
                "{name}: {accepted:?}"
            );
            // What a peer may accept is shown to it, and what is refused for its looks is not.
            if accepted.is_ok() {
                assert!(may_replicate(&owner, value), "{name}");
            }
            if matches!(accepted, Err(Unacceptable::Type | Unacceptable::Text)) {
                assert!(!may_replicate(&owner, value), "{name}");
            }
        }
    }

    #[test]
    fn a_manifest_may_live_as_long_as_it_says_also_where_nobody_is_pinned() {
        let key = dmp_core::keys::OperatorKey::from_ed25519_seed([7; 32]);
        let now = UnixTime::new(1_800_000_000);
        let manifest = ClusterManifest {
            seq: 1,
            exp: UnixTime::new(1_800_500_000),
            operator: key.public(),
            name: "mesh.example".parse().unwrap(),
            nodes: vec![dmp_core::record::ClusterNode {
                id: "a".into(),
                http_endpoint: "http://a".into(),
                dns_endpoint: None,
            }],
        };
        let value = manifest.sign(&key).unwrap();
        let owner = Owner::parse("cluster.mesh.example").unwrap();
        let lives = |operator: Option<&SigningPublicKey>| accept(&owner, &value, operator, now);
        let life = 500_000;
        assert_eq!(
            lives(Some(&key.public())),
            Ok(Accepted::Manifest {
                life,
                is_pinned: true
            })
        );
        assert_eq!(
            lives(None),
            Ok(Accepted::Manifest {
                life,
                is_pinned: false
            })
        );
        let other = dmp_core::keys::OperatorKey::from_ed25519_seed([8; 32]).public();
        assert!(lives(Some(&other)).is_err());
    }
}
