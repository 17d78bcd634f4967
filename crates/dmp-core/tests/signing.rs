//! What signers write and refuse: the rules of parsing hold for them too (records.md 3.4, 20.4-12).

mod support;

use dmp_core::endpoint::{Endpoint, is_public};
use dmp_core::erasure::CodePlan;
use dmp_core::error::{EncodeError, Malformed};
use dmp_core::id::{PrekeyId, UnixTime};
use dmp_core::keys::Signer;
use dmp_core::name::{DomainName, Zone};
use dmp_core::record::{
    BootstrapEntry, BootstrapRecord, Claim, ClusterManifest, ClusterNode, Heartbeat,
    IdentityRecord, Manifest, PrekeyRecord, Revocation, Rotation, Subject, SubjectKind, Versions,
};
use support::sample::{Record, one_of_each, signer};
use support::{NOW, identity, operator};

/// The sample of one type.
macro_rules! sample {
    ($kind:ident) => {
        one_of_each()
            .into_iter()
            .find_map(|record| match record {
                Record::$kind(record) => Some(record),
                _ => None,
            })
            .expect("a sample of every type")
    };
}

#[test]
fn only_the_key_in_the_record_may_sign_it() {
    let (stranger, foreign) = (identity(9), operator(9));
    let refused = Err(EncodeError::OtherKey);
    assert_eq!(sample!(Manifest).sign(&stranger), refused);
    assert_eq!(sample!(Identity).sign(&stranger), refused);
    assert_eq!(sample!(Claim).sign(&stranger), refused);
    assert_eq!(sample!(Cluster).sign(&foreign), refused);
    assert_eq!(sample!(Bootstrap).sign(&foreign), refused);
    assert_eq!(sample!(Heartbeat).sign(&foreign), refused);
    let (old, new) = (identity(1), identity(2));
    let rotation: Rotation = sample!(Rotation);
    assert_eq!(
        rotation.sign(Signer::Person(&old), Signer::Person(&stranger)),
        refused
    );
    assert_eq!(
        rotation.sign(Signer::Person(&stranger), Signer::Person(&new)),
        refused
    );
    assert_eq!(
        rotation.sign(Signer::Person(&new), Signer::Person(&old)),
        refused
    );
    let revocation: Revocation = sample!(Revocation);
    assert_eq!(revocation.sign(Signer::Person(&stranger)), refused);
}

#[test]
fn a_person_does_not_sign_for_an_operator_nor_an_operator_for_a_person() {
    let (person, next) = (identity(1), identity(2));
    let (operator, next_operator) = (operator(1), operator(2));
    let mut rotation: Rotation = sample!(Rotation);
    let mut revocation: Revocation = sample!(Revocation);
    let refused = Err(EncodeError::OtherKey);
    assert_eq!(
        rotation.sign(
            Signer::Operator(&operator),
            Signer::Operator(&next_operator)
        ),
        refused
    );
    assert_eq!(
        rotation.sign(Signer::Person(&person), Signer::Operator(&next_operator)),
        refused
    );
    assert_eq!(revocation.sign(Signer::Operator(&operator)), refused);
    rotation.subject =
        Subject::parse(SubjectKind::ClusterOperator, "mesh.example").expect("a subject");
    revocation.subject =
        Subject::parse(SubjectKind::BootstrapSigner, "example.com").expect("a subject");
    assert_eq!(
        rotation.sign(Signer::Person(&person), Signer::Person(&next)),
        refused
    );
    assert!(
        rotation
            .sign(
                Signer::Operator(&operator),
                Signer::Operator(&next_operator)
            )
            .is_ok()
    );
    assert_eq!(revocation.sign(Signer::Person(&person)), refused);
    assert!(revocation.sign(Signer::Operator(&operator)).is_ok());
}

#[test]
fn manifests_carry_all_hashes_or_none() {
    let manifest: Manifest = sample!(Manifest);
    for count in [0, 1, 3, 4, 5] {
        let manifest = Manifest {
            chunk_hashes: vec![[1; 32]; count],
            ..manifest.clone()
        };
        assert_eq!(
            manifest.sign(&identity(1)).is_ok(),
            count == 0 || count == 4,
            "{count} hashes"
        );
    }
    for (k, n) in [(0, 0), (0, 1), (2, 1), (1, 1025), (u32::MAX, u32::MAX)] {
        assert!(CodePlan::new(k, n).is_none(), "{k} of {n}");
    }
    let widest = Manifest {
        plan: CodePlan::new(1024, 1024).expect("the parser's limit"),
        chunk_hashes: vec![[1; 32]; 1024],
        ..manifest
    };
    let value = widest.sign(&identity(1)).expect("a valid manifest");
    assert_eq!((value.len(), Manifest::value_len(1024)), (43_940, 43_940));
    assert_eq!(
        (Manifest::value_len(255), Manifest::value_len(4)),
        (11_132, 420)
    );
    assert_eq!(*Manifest::parse(&value, NOW).expect("it parses"), widest);
}

#[test]
fn identities_write_versions_only_when_they_say_something() {
    let record: IdentityRecord = sample!(Identity);
    let body_len = |versions: Versions| {
        let value = IdentityRecord {
            versions,
            ..record.clone()
        }
        .sign(&identity(1))
        .expect("valid");
        let blob = support::blob(&value);
        blob[..blob.len() - 64].to_vec()
    };
    let plain = body_len(Versions::default());
    assert_eq!(plain.len(), 73 + "alice".len());
    assert_eq!(body_len(Versions::new([1]).expect("not empty")), plain);
    let both = body_len(Versions::new([2, 1, 2]).expect("not empty"));
    assert_eq!(both, [plain.as_slice(), &[2, 1, 2]].concat());
    assert_eq!(Versions::new([]), None);
    assert_eq!(Versions::new(0..=255), None);
    assert!(Versions::default().contains(1) && !Versions::default().contains(2));
}

#[test]
fn usernames_have_1_to_64_bytes() {
    let record: IdentityRecord = sample!(Identity);
    for (username, valid) in [
        (String::new(), false),
        ("a".into(), true),
        ("a".repeat(64), true),
        ("a".repeat(65), false),
        ("é".repeat(32), true),
        ("é".repeat(33), false),
    ] {
        let record = IdentityRecord {
            username,
            ..record.clone()
        };
        assert_eq!(
            record.sign(&identity(1)).is_ok(),
            valid,
            "{}",
            record.username
        );
    }
    let borrowed = IdentityRecord {
        agreement: identity(2).agreement_public(),
        ..record
    };
    assert_eq!(borrowed.sign(&identity(1)), Err(EncodeError::OtherKey));
}

#[test]
fn the_highest_prekey_id_is_written() {
    let prekey = PrekeyRecord {
        id: PrekeyId::new(u32::MAX).expect("not zero"),
        ..sample!(Prekey)
    };
    let value = prekey.sign(&identity(1)).expect("valid");
    assert_eq!(value.len(), 162);
    assert_eq!(
        *PrekeyRecord::parse(&value, &signer(), NOW).expect("it parses"),
        prekey
    );
}

#[test]
fn clusters_have_1_to_32_distinct_nodes_within_1200_characters() {
    let manifest: ClusterManifest = sample!(Cluster);
    let sign = |nodes: Vec<ClusterNode>| {
        ClusterManifest {
            nodes,
            ..manifest.clone()
        }
        .sign(&operator(1))
    };
    let node = |id: &str, http: &str, dns: Option<&str>| ClusterNode {
        id: id.to_owned(),
        http_endpoint: http.to_owned(),
        dns_endpoint: dns.map(str::to_owned),
    };
    let many = |count: usize| {
        (0..count)
            .map(|index| node(&format!("n{index}"), "h", None))
            .collect::<Vec<_>>()
    };
    assert!(sign(many(1)).is_ok() && sign(many(32)).is_ok());
    assert!(sign(many(0)).is_err() && sign(many(33)).is_err());
    assert!(sign(vec![node("n", "h", None), node("n", "i", None)]).is_err());
    assert!(sign(vec![node("n", "h", None), node("N", "h", None)]).is_ok());
    let long = |length| "x".repeat(length);
    assert!(sign(vec![node(&long(16), &long(128), Some(&long(64)))]).is_ok());
    for bad in [
        node("", "h", None),
        node(&long(17), "h", None),
        node("é", "h", None),
        node("n", "", None),
        node("n", &long(129), None),
        node("n", "h", Some("")),
        node("n", "h", Some(&long(65))),
    ] {
        assert!(sign(vec![bad.clone()]).is_err(), "{bad:?}");
    }
    let realistic = (1..=6).map(|number| {
        node(
            &format!("node-{number:02}"),
            &format!("https://node-{number:02}.mesh.example.com:8053"),
            Some("203.0.113.200:53"),
        )
    });
    assert!(sign(realistic.collect()).expect("six nodes fit").len() <= 1200);
    let oversize = (0..8)
        .map(|number| node(&format!("n{number}"), &long(100), None))
        .collect();
    assert_eq!(
        sign(oversize),
        Err(EncodeError::Invalid(Malformed::TooLong))
    );
}

#[test]
fn bootstrap_entries_are_sorted_stably_and_never_repeat() {
    let record: BootstrapRecord = sample!(Bootstrap);
    let entry = |priority: u16, base: &str| BootstrapEntry {
        priority,
        base: DomainName::parse(base).expect("a name"),
        operator: signer(),
    };
    let sign = |entries: Vec<BootstrapEntry>| {
        BootstrapRecord {
            entries,
            ..record.clone()
        }
        .sign(&operator(1))
    };
    let unsorted = vec![
        entry(20, "c.example"),
        entry(10, "z.example"),
        entry(5, "b.example"),
        entry(10, "a.example"),
    ];
    let value = sign(unsorted).expect("valid");
    let parsed = BootstrapRecord::parse(&value, &signer(), None, NOW).expect("it parses");
    let bases: Vec<&str> = parsed
        .entries
        .iter()
        .map(|entry| entry.base.as_str())
        .collect();
    assert_eq!(bases, ["b.example", "z.example", "a.example", "c.example"]);

    let many = |count: u16| {
        (0..count)
            .map(|priority| entry(priority, "m"))
            .collect::<Vec<_>>()
    };
    assert!(sign(many(16)).is_ok());
    assert!(sign(many(0)).is_err() && sign(many(17)).is_err());
    assert!(sign(vec![entry(1, "a.example"), entry(1, "A.Example.")]).is_err());
    assert!(sign(vec![entry(1, "a.example"), entry(2, "a.example")]).is_ok());
}

#[test]
fn rotations_lead_to_another_key_and_speak_of_a_well_formed_subject() {
    let old = identity(1);
    let same = Rotation {
        new: signer(),
        ..sample!(Rotation)
    };
    let refused = same.sign(Signer::Person(&old), Signer::Person(&old));
    assert!(matches!(refused, Err(EncodeError::Invalid(_))));

    use SubjectKind::{BootstrapSigner, ClusterOperator, User};
    for (kind, text, valid) in [
        (User, "alice@mesh.example", true),
        (User, "alice@mesh.example.", true),
        (User, "alice@mesh.example..", false),
        (User, "alice", false),
        (User, "@mesh.example", false),
        (User, " @mesh.example", false),
        (User, "alice@", false),
        (User, "alice@a_b", false),
        (User, "alice@b@c", false),
        (ClusterOperator, "mesh.example", true),
        (ClusterOperator, "mesh.example..", false),
        (ClusterOperator, "", false),
        (BootstrapSigner, "a_b.example", false),
        (BootstrapSigner, "example.com.", true),
    ] {
        assert_eq!(
            Subject::parse(kind, text).is_ok(),
            valid,
            "{kind:?} {text:?}"
        );
    }
    let user = |length: usize| format!("{}@h", "u".repeat(length - 2));
    assert!(Subject::parse(User, &user(255)).is_ok() && Subject::parse(User, &user(256)).is_err());
}

#[test]
fn subjects_compare_hosts_without_case_and_users_with_it() {
    let user = |text| Subject::parse(SubjectKind::User, text).expect("a subject");
    assert_eq!(user("alice@Mesh.Example."), user(" alice @ mesh.example "));
    assert_ne!(user("Alice@mesh.example"), user("alice@mesh.example"));
    let cluster = |text| Subject::parse(SubjectKind::ClusterOperator, text).expect("a subject");
    assert_eq!(cluster("Mesh.Example."), cluster("mesh.example"));
    let bootstrap =
        Subject::parse(SubjectKind::BootstrapSigner, "mesh.example").expect("a subject");
    assert_ne!(cluster("mesh.example"), bootstrap);
}

#[test]
fn claims_fit_one_character_string_and_name_a_zone() {
    let claim: Claim = sample!(Claim);
    let sign = |claim: Claim| claim.sign(&identity(1));
    let zone = |length: usize| Zone::parse(&"a".repeat(length)).expect("a zone");
    assert_eq!(
        sign(Claim {
            mailbox_zone: zone(43),
            ..claim.clone()
        })
        .map(|value| value.len()),
        Ok(255)
    );
    assert!(
        sign(Claim {
            mailbox_zone: zone(44),
            ..claim.clone()
        })
        .is_err()
    );
    assert!(
        sign(Claim {
            exp: claim.ts,
            ..claim.clone()
        })
        .is_err()
    );
    let late = UnixTime::new(1 << 63);
    assert!(
        sign(Claim {
            exp: late,
            ..claim.clone()
        })
        .is_err()
    );
    assert!(
        sign(Claim {
            ts: late,
            exp: late.saturating_add(1),
            ..claim.clone()
        })
        .is_err()
    );
    let underscore = Claim {
        mailbox_zone: Zone::parse("_dmp.alice.example").expect("a zone"),
        ..claim
    };
    let value = sign(underscore.clone()).expect("underscores are allowed in a mailbox zone");
    assert_eq!(*Claim::parse(&value, NOW).expect("it parses"), underscore);
}

#[test]
fn heartbeats_keep_their_texts_within_bounds_and_are_deterministic() {
    let heartbeat: Heartbeat = sample!(Heartbeat);
    let sign = |heartbeat: Heartbeat| heartbeat.sign(&operator(1));
    assert_eq!(sign(heartbeat.clone()), sign(heartbeat.clone()));
    for (version, valid) in [("", true), ("0.7.5", true), ("é", false)] {
        let heartbeat = Heartbeat {
            version: version.to_owned(),
            ..heartbeat.clone()
        };
        assert_eq!(sign(heartbeat).is_ok(), valid, "{version:?}");
    }
    assert!(
        sign(Heartbeat {
            version: "v".repeat(33),
            ..heartbeat.clone()
        })
        .is_err()
    );
    let long = "z".repeat(65);
    for (zone, valid) in [
        (None, true),
        (Some(""), false),
        (Some("a b"), false),
        (Some("a\t"), false),
        (Some("é"), false),
        (Some(&long[..64]), true),
        (Some(long.as_str()), false),
    ] {
        let heartbeat = Heartbeat {
            claim_provider_zone: zone.map(str::to_owned),
            ..heartbeat.clone()
        };
        assert_eq!(sign(heartbeat).is_ok(), valid, "{zone:?}");
    }
    assert!(
        sign(Heartbeat {
            exp: heartbeat.ts,
            ..heartbeat.clone()
        })
        .is_err()
    );
    assert!(
        sign(Heartbeat {
            exp: UnixTime::new(1 << 63),
            ..heartbeat
        })
        .is_err()
    );
}

/// The holes that records.md 14 asks to close, beside those of the vectors.
#[test]
fn endpoints_name_a_public_host() {
    for bad in [
        "https://0177.0.0.1",
        "https://127.0.0.01",
        "https://0x7f.1",
        "https://a.example.1",
        "https://1.2.3.4.5",
        "https://192.0.0.8",
        "https://192.168.1.1:443",
        "https://[::ffff:10.0.0.1]",
        "https://[::10.0.0.1]",
        "https://[64:ff9b::a00:1]",
        "https://[64:ff9b::808:808]",
        "https://[2002:a00:1::]",
        "https://[2002:7f00:1::1]",
        "https://[2001::1]",
        "https://[3fff::1]",
        "https://[fe80::1%25eth0]",
        "https://[2606:4700::1111]:0",
        "https://a.localhost:80",
        "https://a.example.",
        "https://a.example:080x",
        "https://a.example:00000443x",
        "https://a.example:+1",
        "https://a.example:1:2",
        "https://a.example\\b",
        "https://-.example",
        "https://%61.example",
        "https://*.example",
        "https://https://a.example",
    ] {
        assert!(Endpoint::parse(bad).is_err(), "{bad}");
    }
    for good in [
        "https://node_1.example",
        "http://n",
        "https://xn--bcher-kva.example:65535",
        "https://[::ffff:8.8.8.8]",
        "https://[2002:808:808::1]",
        "https://100.128.0.1",
        "https://localhost.example",
    ] {
        assert!(Endpoint::parse(good).is_ok(), "{good}");
    }
    assert!(is_public("8.8.8.8".parse().expect("an address")));
    assert!(!is_public("169.254.169.254".parse().expect("an address")));
    assert!(!is_public("::1".parse().expect("an address")));
}
