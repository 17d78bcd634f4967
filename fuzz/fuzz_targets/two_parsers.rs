//! One signed body under the prefix of every record type: at most one parser may accept it (D8).
#![no_main]

use dmp_core::codec::RecordType;
use dmp_core::keys::SigningPublicKey;
use dmp_core::record::{
    Binding, BootstrapRecord, Claim, ClusterManifest, Heartbeat, IdentityRecord, Manifest,
    PrekeyRecord, Revocation, Rotation, Skew,
};
use dnsmesh_fuzz::{NOW, body_with_key, key_offset, person, signed_payload, successor};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let signer = person();
    // The key stands where one type has it; another type must find it there too.
    let kind = RecordType::ALL[usize::from(choice) % RecordType::ALL.len()];
    let mut body = body_with_key(data, |body| key_offset(kind, body), signer);
    if kind == RecordType::Rotation {
        body = body_with_key(
            &body,
            |body| Some(key_offset(kind, body)? + 32),
            successor(),
        );
    }
    let once = signed_payload(&body, &[signer]);
    let twice = signed_payload(&body, &[signer, successor()]);
    let key = signer.signer().public();
    let accepted: Vec<RecordType> = RecordType::ALL
        .into_iter()
        .filter(|kind| {
            let payload = if *kind == RecordType::Rotation {
                &twice
            } else {
                &once
            };
            accepts(*kind, &format!("{}{payload}", kind.prefix()), &key)
        })
        .collect();
    assert!(accepted.len() <= 1, "{accepted:?}");
});

fn accepts(kind: RecordType, value: &str, key: &SigningPublicKey) -> bool {
    match kind {
        RecordType::Chunk => false, // not signed
        RecordType::Manifest => Manifest::parse(value, NOW).is_ok(),
        RecordType::Identity => IdentityRecord::parse(value).is_ok(),
        RecordType::Prekey => PrekeyRecord::parse(value, key, NOW).is_ok(),
        RecordType::Cluster => ClusterManifest::parse(value, key, None, NOW).is_ok(),
        RecordType::Bootstrap => BootstrapRecord::parse(value, key, None, NOW).is_ok(),
        RecordType::Rotation => Rotation::parse(value, Binding::default(), NOW).is_ok(),
        RecordType::Revocation => Revocation::parse(value, Binding::default(), None, NOW).is_ok(),
        RecordType::Claim => Claim::parse(value, NOW).is_ok(),
        RecordType::Heartbeat => Heartbeat::parse(value, Skew::Unlimited, NOW).is_ok(),
    }
}
