//! The reference's own golden values: identical text on signing, the stated outcome on parsing (records.md 19, 20.1).

mod support;

use dmp_core::erasure::CodePlan;
use dmp_core::id::{MsgId, PrekeyId, UnixTime, UserId};
use dmp_core::keys::{AgreementPublicKey, Identity, OperatorKey, Signer};
use dmp_core::name::DomainName;
use dmp_core::record::{
    Binding, BootstrapEntry, BootstrapRecord, ClusterManifest, ClusterNode, IdentityRecord,
    Manifest, PrekeyRecord, Reason, Revocation, Rotation, Subject, SubjectKind, Versions,
};
use serde_json::Value;
use support::{bytes, number, optional_text, signing_key, text, upstream, wire};

/// A day before the `exp` that all live golden cases share.
const GOLDEN_NOW: UnixTime = UnixTime::new(2_051_222_400 - 86_400);

#[test]
fn manifests() {
    let Some(cases) = upstream("slot_manifest.json") else {
        return;
    };
    assert_eq!(cases.len(), 2);
    for case in &cases {
        let identity = person(case, "sender_seed_hex");
        if let Some(inputs) = inputs(case) {
            let plan = CodePlan::new(
                u32::try_from(number(inputs, "data_chunks")).expect("32 bits"),
                u32::try_from(number(inputs, "total_chunks")).expect("32 bits"),
            );
            let manifest = Manifest {
                msg_id: MsgId::from_bytes(bytes(inputs, "msg_id_hex")),
                sender: signing_key(inputs, "sender_spk_hex"),
                recipient: UserId::from_bytes(bytes(inputs, "recipient_id_hex")),
                plan: plan.expect("a plan"),
                prekey: PrekeyId::new(u32::try_from(number(inputs, "prekey_id")).expect("32 bits")),
                ts: time(inputs, "ts"),
                exp: time(inputs, "exp"),
                chunk_hashes: Vec::new(),
            };
            assert_eq!(manifest.sign(&identity).expect("valid"), wire(case));
        }
        let parsed = Manifest::parse(&wire(case), GOLDEN_NOW);
        assert_outcome(case, parsed.is_ok());
        if let Ok(manifest) = parsed {
            assert_eq!(
                u64::from(manifest.plan.n()),
                number(case, "expected_parse_total_chunks")
            );
            assert_eq!(manifest.sign(&identity).expect("valid"), wire(case));
        }
    }
}

#[test]
fn identities() {
    let Some(cases) = upstream("identity_record.json") else {
        return;
    };
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let identity = person(case, "identity_seed_hex");
        if let Some(inputs) = inputs(case) {
            let versions = inputs["versions"].as_array().map(|listed| {
                Versions::new(
                    listed
                        .iter()
                        .map(|version| version.as_u64().expect("a number") as u8),
                )
            });
            let record = IdentityRecord {
                username: text(inputs, "username").to_owned(),
                agreement: AgreementPublicKey::from_bytes(bytes(inputs, "x25519_pk_hex")),
                signing: signing_key(inputs, "ed25519_spk_hex"),
                ts: time(inputs, "ts"),
                versions: versions
                    .map_or_else(Versions::default, |versions| versions.expect("not empty")),
            };
            assert_eq!(record.sign(&identity).expect("valid"), wire(case));
        }
        let parsed = IdentityRecord::parse(&wire(case));
        assert_outcome(case, parsed.is_ok());
        if let Ok(record) = parsed {
            assert_eq!(record.username, text(case, "expected_parse_username"));
            let versions: Vec<u64> = record.versions.iter().map(u64::from).collect();
            let expected = case["expected_parse_versions"].as_array();
            let expected = expected.map_or_else(
                || vec![1],
                |listed| listed.iter().filter_map(Value::as_u64).collect(),
            );
            assert_eq!(versions, expected);
        }
    }
}

#[test]
fn prekeys() {
    let Some(cases) = upstream("prekey.json") else {
        return;
    };
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let identity = person(case, "signer_seed_hex");
        if let Some(inputs) = inputs(case) {
            let record = PrekeyRecord {
                id: PrekeyId::new(u32::try_from(number(inputs, "prekey_id")).expect("32 bits"))
                    .expect("not zero"),
                public: AgreementPublicKey::from_bytes(bytes(inputs, "public_key_hex")),
                exp: time(inputs, "exp"),
            };
            assert_eq!(record.sign(&identity).expect("valid"), wire(case));
        }
        let parsed = PrekeyRecord::parse(
            &wire(case),
            &signing_key(case, "verify_with_signer_spk_hex"),
            GOLDEN_NOW,
        );
        assert_outcome(case, parsed.is_ok());
        if let Ok(record) = parsed {
            assert_eq!(
                u64::from(record.id.get()),
                number(case, "expected_parse_prekey_id")
            );
            assert_eq!(
                record.is_live(GOLDEN_NOW),
                !text(case, "description").starts_with("expired")
            );
        }
    }
}

#[test]
fn cluster_manifests() {
    let Some(cases) = upstream("cluster_manifest.json") else {
        return;
    };
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let operator = operator(case, "operator_seed_hex");
        if let Some(inputs) = inputs(case) {
            let nodes = inputs["nodes"]
                .as_array()
                .expect("nodes")
                .iter()
                .map(|node| ClusterNode {
                    id: text(node, "node_id").to_owned(),
                    http_endpoint: text(node, "http_endpoint").to_owned(),
                    dns_endpoint: optional_text(node, "dns_endpoint").map(str::to_owned),
                });
            let manifest = ClusterManifest {
                seq: number(inputs, "seq"),
                exp: time(inputs, "exp"),
                operator: signing_key(inputs, "operator_spk_hex"),
                name: DomainName::parse(text(inputs, "cluster_name")).expect("a name"),
                nodes: nodes.collect(),
            };
            assert_eq!(manifest.sign(&operator).expect("valid"), wire(case));
        }
        let key = optional_text(case, "verify_with_operator_spk_hex").map_or_else(
            || operator.public(),
            |_| signing_key(case, "verify_with_operator_spk_hex"),
        );
        let parsed = ClusterManifest::parse(&wire(case), &key, None, golden_now(case));
        assert_outcome(case, parsed.is_ok());
        if let Ok(manifest) = parsed {
            assert_eq!(manifest.seq, number(case, "expected_parse_seq"));
            assert_eq!(
                manifest.name.as_str(),
                text(case, "expected_parse_cluster_name")
            );
        }
    }
}

#[test]
fn bootstrap_records() {
    let Some(cases) = upstream("bootstrap_record.json") else {
        return;
    };
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let signer = operator(case, "signer_seed_hex");
        if let Some(inputs) = inputs(case) {
            let entries = inputs["entries"]
                .as_array()
                .expect("entries")
                .iter()
                .map(|entry| BootstrapEntry {
                    priority: u16::try_from(number(entry, "priority")).expect("16 bits"),
                    base: DomainName::parse(text(entry, "cluster_base_domain")).expect("a name"),
                    operator: signing_key(entry, "operator_spk_hex"),
                });
            let record = BootstrapRecord {
                seq: number(inputs, "seq"),
                exp: time(inputs, "exp"),
                signer: signing_key(inputs, "signer_spk_hex"),
                domain: DomainName::parse(text(inputs, "user_domain")).expect("a name"),
                entries: entries.collect(),
            };
            assert_eq!(record.sign(&signer).expect("valid"), wire(case));
        }
        let key = optional_text(case, "verify_with_signer_spk_hex").map_or_else(
            || signer.public(),
            |_| signing_key(case, "verify_with_signer_spk_hex"),
        );
        let parsed = BootstrapRecord::parse(&wire(case), &key, None, golden_now(case));
        assert_outcome(case, parsed.is_ok());
        if let Ok(record) = parsed {
            assert_eq!(record.seq, number(case, "expected_parse_seq"));
            assert_eq!(
                record.domain.as_str(),
                text(case, "expected_parse_user_domain")
            );
        }
    }
}

#[test]
fn rotations() {
    let Some(cases) = upstream("rotation_record.json") else {
        return;
    };
    assert_eq!(cases.len(), 4);
    for case in &cases {
        if let Some(inputs) = inputs(case) {
            let subject = subject(inputs);
            let rotation = Rotation {
                old: signing_key(inputs, "old_spk_hex"),
                new: signing_key(inputs, "new_spk_hex"),
                seq: number(inputs, "seq"),
                ts: time(inputs, "ts"),
                exp: time(inputs, "exp"),
                subject,
            };
            let signed = if rotation.subject.kind() == SubjectKind::User {
                let (old, new) = (person(case, "old_seed_hex"), person(case, "new_seed_hex"));
                rotation.sign(Signer::Person(&old), Signer::Person(&new))
            } else {
                let (old, new) = (
                    operator(case, "old_seed_hex"),
                    operator(case, "new_seed_hex"),
                );
                rotation.sign(Signer::Operator(&old), Signer::Operator(&new))
            };
            assert_eq!(signed.expect("valid"), wire(case));
        }
        let parsed = Rotation::parse(&wire(case), Binding::default(), golden_now(case));
        assert_outcome(case, parsed.is_ok());
        if let Ok(rotation) = parsed {
            assert_eq!(rotation.seq, number(case, "expected_parse_seq"));
            assert_eq!(
                rotation.subject.as_str(),
                text(case, "expected_parse_subject")
            );
        }
    }
}

#[test]
fn revocations() {
    let Some(cases) = upstream("revocation_record.json") else {
        return;
    };
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let identity = person(case, "revoked_seed_hex");
        if let Some(inputs) = inputs(case) {
            let revocation = Revocation {
                subject: subject(inputs),
                revoked: signing_key(inputs, "revoked_spk_hex"),
                reason: Reason::from_code(number(inputs, "reason_code") as u8).expect("a reason"),
                ts: time(inputs, "ts"),
            };
            assert_eq!(
                revocation.sign(Signer::Person(&identity)).expect("valid"),
                wire(case)
            );
        }
        let key = optional_text(case, "verify_with_expected_revoked_spk_hex")
            .map(|_| signing_key(case, "verify_with_expected_revoked_spk_hex"));
        let expected = Binding {
            key: key.as_ref(),
            subject: None,
        };
        let max_age = case["verify_with_max_age_seconds"].as_u64();
        let parsed = Revocation::parse(&wire(case), expected, max_age, golden_now(case));
        assert_outcome(case, parsed.is_ok());
        if let Ok(revocation) = parsed {
            assert_eq!(
                u64::from(revocation.reason.code()),
                number(case, "expected_parse_reason_code")
            );
            assert_eq!(
                revocation.subject.as_str(),
                text(case, "expected_parse_subject")
            );
        }
        if max_age.is_some() {
            assert!(Revocation::parse(&wire(case), expected, None, golden_now(case)).is_ok());
        }
    }
}

/// The fields to sign; cases that only parse another's wire have none.
fn inputs(case: &Value) -> Option<&Value> {
    case.get("inputs")
}

fn assert_outcome(case: &Value, accepted: bool) {
    assert_eq!(
        accepted,
        case.get("expected_parse_result").is_none(),
        "{case}"
    );
}

fn golden_now(case: &Value) -> UnixTime {
    case["verify_with_now"]
        .as_u64()
        .map_or(GOLDEN_NOW, UnixTime::new)
}

fn time(value: &Value, key: &str) -> UnixTime {
    UnixTime::new(number(value, key))
}

fn subject(inputs: &Value) -> Subject {
    let kind = match number(inputs, "subject_type") {
        1 => SubjectKind::User,
        2 => SubjectKind::ClusterOperator,
        _ => SubjectKind::BootstrapSigner,
    };
    Subject::parse(kind, text(inputs, "subject")).expect("a subject")
}

/// The seeds of the golden files are X25519 private bytes (records.md 15, kind b).
fn person(case: &Value, key: &str) -> Identity {
    Identity::from_seed(bytes(case, key))
}

fn operator(case: &Value, key: &str) -> OperatorKey {
    OperatorKey::from_x25519_private(bytes(case, key))
}
