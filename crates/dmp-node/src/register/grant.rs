//! What a registered user gets: the name of the key and the patterns of its scope (node.md 4.2, 4.3; D9).

use crate::config::ScopeMode;
use crate::limits::KEY_NAME_LOCAL_OCTETS;
use dmp_core::keys::{AgreementPublicKey, SigningPublicKey};
use dmp_core::registration::RegistrationSubject;
use sha2::{Digest, Sha256};

/// The key's name, with trailing dot: one label of at most 63 octets under the zone. The 64 bits of the subject's hash
/// keep two subjects apart whose local parts look the same once cut (D9).
pub fn key_name(subject: &RegistrationSubject, key: &SigningPublicKey, zone: &str) -> String {
    let in_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let local = subject.local().bytes().take(KEY_NAME_LOCAL_OCTETS);
    let local: String = local
        .map(|byte| {
            if in_label(byte) {
                char::from(byte)
            } else {
                '-'
            }
        })
        .collect();
    let spk8 = hex::encode(&key.as_bytes()[..4]);
    let subject16 = digest_hex(subject.as_str(), 8);
    format!("{local}-{spk8}-{subject16}.{zone}.")
}

/// The scope patterns, sorted. The mailbox is among them only if possession of its agreement key was proved.
pub fn scope_patterns(
    mode: ScopeMode,
    zone: &str,
    subject: &RegistrationSubject,
    key: &SigningPublicKey,
    proven: Option<&AgreementPublicKey>,
) -> Vec<String> {
    if mode == ScopeMode::Loose {
        return vec![zone.to_owned()];
    }
    let user = subject.local();
    let mut patterns = vec![
        format!("id-{}.{zone}", digest_hex(user, 8)),
        format!("id-{}.{zone}", digest_hex(user, 6)),
        format!("_dnsmesh-claim-{}.{zone}", key.short()),
    ];
    patterns.extend(proven.map(|key| format!("mb-{}.{zone}", key.user_id().mailbox())));
    if mode == ScopeMode::Default {
        let pools = [
            "_dnsmesh-claim-*",
            "slot-*.mb-*",
            "chunk-*-*",
            "claim-*.mb-*",
        ];
        patterns.extend(pools.map(|pool| format!("{pool}.{zone}")));
    }
    patterns.sort_unstable();
    patterns
}

/// The first octets of SHA-256 of a text, as hex.
pub(crate) fn digest_hex(text: &str, octets: usize) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..octets])
}
