//! The walk along a rotation chain and the question of revocation (records.md 12.4).

mod support;

use dmp_core::keys::{Signer, SigningPublicKey};
use dmp_core::limits::ROTATION_HOPS_MAX;
use dmp_core::record::{Rotation, Subject, SubjectKind};
use dmp_core::rotation::{is_revoked, walk};
use serde_json::Value;
use support::{NOW, cases, identity, now, number, optional_text, signing_key, text, vectors};

#[test]
fn chains_end_where_the_vectors_say() {
    let file = vectors("rotation_chain.json");
    let subject = Subject::parse(SubjectKind::User, text(&file, "subject")).expect("a subject");
    for case in cases("rotation_chain.json", "cases", 22) {
        let pinned = signing_key(&case, "pinned_hex");
        let values = values(&case["rrsets"], &subject);
        let current = walk(
            &pinned,
            &subject,
            values.iter().map(String::as_str),
            ROTATION_HOPS_MAX,
            now(&file),
        );
        let revoked = is_revoked(
            &pinned,
            &subject,
            values.iter().map(String::as_str),
            now(&file),
        );
        assert_eq!(
            hex(current),
            optional_text(&case, "resolved_hex").map(str::to_owned),
            "{}",
            case["note"]
        );
        assert_eq!(
            revoked,
            case["pinned_is_revoked"] == true,
            "{}",
            case["note"]
        );
    }
}

#[test]
fn chains_end_where_the_federation_vectors_say() {
    let file = vectors("fed_rotation_chain.json");
    let mut unspellable = 0;
    for case in cases("fed_rotation_chain.json", "cases", 41) {
        let kind = match number(&case, "subject_type") {
            1 => Some(SubjectKind::User),
            2 => Some(SubjectKind::ClusterOperator),
            3 => Some(SubjectKind::BootstrapSigner),
            _ => None,
        };
        let Some(subject) = kind.and_then(|kind| Subject::parse(kind, text(&case, "subject")).ok())
        else {
            // No such subject exists here: nothing is asked for, nothing resolved.
            assert_eq!(case["queries"], Value::Array(Vec::new()));
            assert_eq!(case["expect_current_public_hex"], Value::Null);
            unspellable += 1;
            continue;
        };
        let queries: Vec<Value> = subject
            .owner_names()
            .iter()
            .map(|name| Value::from(name.as_str()))
            .collect();
        assert_eq!(Value::Array(queries), case["queries"], "{}", case["name"]);
        let pinned = signing_key(&case, "pinned_public_hex");
        let values = values(&case["rrsets"], &subject);
        let hops = usize::try_from(number(&case, "max_hops")).expect("small");
        let current = walk(
            &pinned,
            &subject,
            values.iter().map(String::as_str),
            hops,
            now(&file),
        );
        let revoked = is_revoked(
            &pinned,
            &subject,
            values.iter().map(String::as_str),
            now(&file),
        );
        let expected = optional_text(&case, "expect_current_public_hex").map(str::to_owned);
        assert_eq!(hex(current), expected, "{}", case["name"]);
        assert_eq!(
            revoked,
            case["expect_pinned_revoked"] == true,
            "{}",
            case["name"]
        );
    }
    assert_eq!(unspellable, 2);
}

/// A cycle is refused wherever the hops end and whatever its sequences say (records.md 12.4, step 4).
#[test]
fn a_cycle_leads_nowhere() {
    let subject = Subject::user("alice", "mesh.example").expect("a subject");
    let keys = [identity(1), identity(2), identity(3)];
    let hop = |old: usize, new: usize, seq: u64| {
        let rotation = Rotation {
            subject: subject.clone(),
            old: keys[old].signing_public(),
            new: keys[new].signing_public(),
            seq,
            ts: NOW,
            exp: NOW,
        };
        rotation
            .sign(Signer::Person(&keys[old]), Signer::Person(&keys[new]))
            .expect("a valid rotation")
    };
    let pinned = keys[0].signing_public();
    for values in [
        vec![hop(0, 1, 1), hop(1, 0, 2)],
        vec![hop(0, 1, 1), hop(1, 0, 2), hop(0, 1, 3)],
        vec![hop(0, 1, 1), hop(1, 2, 2), hop(2, 0, 3), hop(0, 1, 4)],
        vec![hop(0, 1, 1), hop(1, 2, 2), hop(2, 1, 3), hop(1, 2, 4)],
    ] {
        for hops in 1..=6 {
            assert_eq!(
                walk(
                    &pinned,
                    &subject,
                    values.iter().map(String::as_str),
                    hops,
                    NOW
                ),
                None
            );
        }
    }
    let straight = [hop(0, 1, 1), hop(1, 2, 2)];
    let current = walk(
        &pinned,
        &subject,
        straight.iter().map(String::as_str),
        2,
        NOW,
    );
    assert_eq!(current, Some(keys[2].signing_public()));
}

/// The values at the subject's owner names; `"!"` is a query that fails, which counts as no values.
fn values(rrsets: &Value, subject: &Subject) -> Vec<String> {
    let at = |name: &str| rrsets[name].as_array().cloned().unwrap_or_default();
    subject
        .owner_names()
        .iter()
        .flat_map(|name| at(name.as_str()))
        .map(|value| value.as_str().expect("text").to_owned())
        .collect()
}

fn hex(key: Option<SigningPublicKey>) -> Option<String> {
    key.map(|key| key.to_string())
}
