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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cases() -> Vec<Value> {
        let text = include_str!("../../../../vectors/node_registration.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        vectors["vectors"].as_array().unwrap().clone()
    }

    fn subject(case: &Value) -> RegistrationSubject {
        RegistrationSubject::parse(case["in"]["subject"].as_str().unwrap()).unwrap()
    }

    fn key(case: &Value) -> SigningPublicKey {
        SigningPublicKey::from_hex(case["out"]["ed25519_spk_hex"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn scopes_are_those_of_the_vectors_in_all_three_modes() {
        let modes = [
            (ScopeMode::Default, "default"),
            (ScopeMode::Tight, "tight"),
            (ScopeMode::Loose, "loose"),
        ];
        for case in cases() {
            let (subject, key) = (subject(&case), key(&case));
            let zone = case["in"]["zone"].as_str().unwrap();
            let agreement = case["out"]["x25519_pub_hex"].as_str().unwrap();
            let agreement = AgreementPublicKey::from_hex(agreement).unwrap();
            for (mode, name) in modes {
                let expected = &case["out"]["allowed_suffixes_sorted"][name];
                let granted = |proven| json!(scope_patterns(mode, zone, &subject, &key, proven));
                assert_eq!(
                    granted(Some(&agreement)),
                    expected["with_pop"],
                    "{name} {case}"
                );
                assert_eq!(granted(None), expected["without_pop"], "{name} {case}");
            }
        }
    }

    #[test]
    fn key_names_are_ours_which_hash_more_of_the_subject() {
        for case in cases() {
            let zone = case["in"]["zone"].as_str().unwrap();
            let name = key_name(&subject(&case), &key(&case), zone);
            // The reference's is `<local>-<spk8>-<6 digits>`; ours differs as D9 says.
            let theirs = case["out"]["tsig_key_name"].as_str().unwrap();
            let (theirs, digits) = theirs
                .strip_suffix(&format!(".{zone}."))
                .unwrap()
                .rsplit_once('-')
                .unwrap();
            let ours = name.strip_suffix(&format!(".{zone}.")).unwrap();
            let start = format!("{}-{digits}", theirs.replace(['.', '+', '_'], "-"));
            assert!(ours.starts_with(&start), "{ours} {start}");
            assert_eq!(ours.len(), start.len() + 10);
        }
    }

    #[test]
    fn a_key_name_is_one_label_however_long_and_odd_the_local_part_is() {
        let key = SigningPublicKey::from_bytes([0xab; 32]);
        for local in ["a", &"a".repeat(64), &format!("0{}", "._+-".repeat(15))] {
            let subject = RegistrationSubject::parse(&format!("{local}@mesh.test")).unwrap();
            let name = key_name(&subject, &key, "mesh.test");
            let label = name.strip_suffix(".mesh.test.").unwrap();
            assert!(label.len() <= 63, "{label}");
            assert!(
                label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
                "{label}"
            );
        }
    }
}
