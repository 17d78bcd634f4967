//! From a domain to its cluster (federation.md 5, 12), and what is told of keys that were replaced or have ended (6.4, 6.6).

use std::sync::Arc;

use dmp_client::bootstrap::{
    Adopted, Anchor, FetchError, Unusable, adopt, discover, fetch, hearsay,
};
use dmp_client::cluster::{Cluster, InstallError, Transports};
use dmp_client::config::Config;
use dmp_client::doctor::{Level, check_anchors};
use dmp_client::floors::{FloorError, Floors};
use dmp_client::home::Home;
use dmp_client::mesh::{Reader, Writer};
use dmp_client::signing::{self, SignedRecord};
use dmp_client::successor::{KeyStanding, key_standing};
use dmp_core::error::{RecordError, Rejected};
use dmp_core::keys::OperatorKey;
use dmp_core::name::DomainName;
use dmp_core::record::{
    BootstrapEntry, BootstrapRecord, ClusterManifest, ClusterNode, Reason, Subject, SubjectKind,
};

use crate::world::{NOW, World, run, vectors};

const DOMAIN: &str = "users.test";
const DAY: u64 = 86_400;

fn key(number: u8) -> OperatorKey {
    OperatorKey::from_ed25519_seed([number; 32])
}

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

/// The domain under the key with number 1.
fn anchor() -> Anchor {
    Anchor {
        domain: name(DOMAIN),
        signer: key(1).public(),
    }
}

fn entry(priority: u16, base: &str, operator: &OperatorKey) -> BootstrapEntry {
    BootstrapEntry {
        priority,
        base: name(base),
        operator: operator.public(),
    }
}

fn record(signer: &OperatorKey, seq: u64, entries: &[BootstrapEntry]) -> String {
    let record = BootstrapRecord {
        seq,
        exp: NOW.saturating_add(DAY),
        signer: signer.public(),
        domain: name(DOMAIN),
        entries: entries.to_vec(),
    };
    record.sign(signer).unwrap()
}

fn manifest(operator: &OperatorKey, base: &str, seq: u64, endpoint: &str) -> String {
    let manifest = ClusterManifest {
        seq,
        exp: NOW.saturating_add(DAY),
        operator: operator.public(),
        name: name(base),
        nodes: vec![ClusterNode {
            id: "a".to_owned(),
            http_endpoint: endpoint.to_owned(),
            dns_endpoint: None,
        }],
    };
    manifest.sign(operator).unwrap()
}

/// Nodes that are the world itself, if their endpoint is a URL.
struct Wires(Arc<World>);

impl Wires {
    fn check(node: &ClusterNode) -> Result<(), String> {
        if node.http_endpoint.starts_with("https://") {
            Ok(())
        } else {
            Err("not a URL".to_owned())
        }
    }
}

impl Transports for Wires {
    fn writer(&self, node: &ClusterNode, _: &ClusterManifest) -> Result<Arc<dyn Writer>, String> {
        Self::check(node)?;
        Ok(self.0.clone())
    }

    fn reader(&self, node: &ClusterNode) -> Result<Arc<dyn Reader>, String> {
        Self::check(node)?;
        Ok(self.0.clone())
    }
}

#[test]
fn records_are_chosen_as_the_vectors_say() {
    let file = vectors("fed_manifest_select.json");
    let now = dmp_core::id::UnixTime::new(file["now"].as_u64().unwrap());
    let cases = file["bootstrap"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        run(async {
            let text = |member: &str| case[member].as_str().unwrap();
            let anchor = Anchor::parse(text("user_domain"), text("pinned_public_hex")).unwrap();
            let world = World::new();
            for value in case["rrset"].as_array().unwrap() {
                let owner = text("expect_owner").to_lowercase();
                world.zone.publish(&owner, value.as_str().unwrap(), DAY);
            }
            let found = fetch(world.as_ref(), &anchor, &Floors::in_memory(), now).await;
            let expected = &case["expect"];
            match found {
                Ok(record) => {
                    assert_eq!(record.seq, expected["seq"].as_u64().unwrap(), "{case}");
                    let bases: Vec<_> = record
                        .entries
                        .iter()
                        .map(|entry| entry.base.as_str())
                        .collect();
                    let wanted: Vec<_> = expected["entries"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|entry| entry[1].as_str().unwrap())
                        .collect();
                    assert_eq!(bases, wanted, "{case}");
                }
                Err(error) => assert!(expected.is_null(), "{error}: {case}"),
            }
        });
    }
}

#[test]
fn the_highest_record_of_the_pinned_signer_counts_and_never_an_older_one_again() {
    run(async {
        let world = World::new();
        let owner = "_dmp.users.test";
        let entries = [entry(10, "mesh.test", &key(2))];
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let look = || async {
            let floors = Floors::of_home(&home);
            fetch(world.as_ref(), &anchor(), &floors, NOW).await
        };
        assert!(matches!(look().await, Err(FetchError::Absent(_))));

        world
            .zone
            .publish(owner, &record(&key(9), 99, &entries), DAY);
        world.zone.publish(owner, "v=spf1 -all", DAY);
        assert!(matches!(
            look().await,
            Err(FetchError::Unusable {
                reason: RecordError::Rejected(Rejected::Signature),
                ..
            })
        ));
        let (old, new) = (record(&key(1), 3, &entries), record(&key(1), 4, &entries));
        world.zone.publish(owner, &old, DAY);
        world.zone.publish(owner, &new, DAY);
        assert_eq!(look().await.unwrap().seq, 4);
        assert_eq!(look().await.unwrap().seq, 4, "the same one again is fine");

        world.zone.delete_value(owner, &new);
        assert!(matches!(
            look().await,
            Err(FetchError::Floor {
                reason: FloorError::RolledBack { seq: 3, floor: 4 },
                ..
            })
        ));
        world.kill(DOMAIN);
        assert!(matches!(look().await, Err(FetchError::Unreachable { .. })));
    });
}

#[test]
fn clusters_are_tried_by_priority_and_those_that_cannot_be_used_are_passed_over() {
    run(async {
        let world = World::new();
        let [dead, none, forged, unspeakable, good, never] =
            ["dead", "none", "forged", "mute", "good", "never"]
                .map(|label| format!("{label}.test"));
        let entries = [
            entry(60, &never, &key(2)),
            entry(50, &good, &key(2)),
            entry(40, &unspeakable, &key(2)),
            entry(30, &forged, &key(2)),
            entry(20, &none, &key(2)),
            entry(10, &dead, &key(2)),
        ];
        world
            .zone
            .publish("_dmp.users.test", &record(&key(1), 1, &entries), DAY);
        world.kill(&dead);
        for (base, signer, endpoint) in [
            (&dead, key(2), "https://a.test"),
            // The zone signer's word for the domain is no word for a cluster.
            (&forged, key(1), "https://a.test"),
            (&unspeakable, key(2), "gopher"),
            (&good, key(2), "https://a.test"),
            (&never, key(2), "https://a.test"),
        ] {
            let value = manifest(&signer, base, 1, endpoint);
            world.zone.publish(&format!("cluster.{base}"), &value, DAY);
        }
        let connect = |manifest| {
            Cluster::new(
                manifest,
                Box::new(Wires(world.clone())),
                world.clock.clone(),
            )
        };
        let floors = Floors::in_memory();
        world.take_queries();
        let found = discover(world.as_ref(), &anchor(), &floors, NOW, connect)
            .await
            .unwrap();
        let (chosen, cluster) = found.usable.as_ref().unwrap();
        assert_eq!(chosen.base.as_str(), good);
        assert_eq!(cluster.manifest().name.as_str(), good);
        assert_eq!(found.best().unwrap(), chosen);
        let skipped: Vec<_> = found
            .skipped
            .iter()
            .map(|skipped| skipped.entry.base.as_str())
            .collect();
        assert_eq!(skipped, [&dead, &none, &forged, &unspeakable]);
        assert!(matches!(
            found.skipped.last().unwrap().reason,
            Unusable::Nodes(InstallError::Node { .. })
        ));
        let asked = world.take_queries();
        assert!(!asked.contains(&format!("cluster.{never}")), "{asked:?}");

        world.zone.delete_name(&format!("cluster.{good}"));
        world.zone.delete_name(&format!("cluster.{never}"));
        let found = discover(world.as_ref(), &anchor(), &floors, NOW, connect)
            .await
            .unwrap();
        assert!(found.usable.is_none());
        assert_eq!(found.skipped.len(), 6);
        assert_eq!(found.best().unwrap().base.as_str(), dead);
    });
}

#[test]
fn a_cluster_signed_by_the_operator_counts_only_behind_a_record_of_the_zone_signer() {
    run(async {
        let world = World::new();
        let entries = [entry(10, "mesh.test", &key(2))];
        // The operator of a cluster cannot speak for the domain.
        world
            .zone
            .publish("_dmp.users.test", &record(&key(2), 1, &entries), DAY);
        world.zone.publish(
            "cluster.mesh.test",
            &manifest(&key(2), "mesh.test", 1, "https://a.test"),
            DAY,
        );
        let connect = |manifest| {
            Cluster::new(
                manifest,
                Box::new(Wires(world.clone())),
                world.clock.clone(),
            )
        };
        let found = discover(
            world.as_ref(),
            &anchor(),
            &Floors::in_memory(),
            NOW,
            connect,
        )
        .await;
        assert!(matches!(found, Err(FetchError::Unusable { .. })));
        assert_eq!(world.take_queries(), ["_dmp.users.test"]);
    });
}

#[test]
fn a_move_pins_everything_and_drops_what_belongs_to_the_operator_before() {
    let mut config = Config {
        username: "alice".into(),
        domain: DOMAIN.into(),
        bootstrap_user_domain: DOMAIN.into(),
        bootstrap_signer_spk: "aa".repeat(32),
        http_token: Some("secret".into()),
        cluster_node_token: "other".into(),
        tsig_key_name: "alice.old.test.".into(),
        tsig_secret_hex: "00".into(),
        tsig_zone: "old.test".into(),
        tsig_dns_server: "192.0.2.1".into(),
        ..Config::default()
    };
    let dropped = adopt(&mut config, &anchor(), &entry(1, "Mesh.test", &key(2)));
    assert_eq!(
        dropped,
        Adopted {
            tokens: true,
            tsig_key: Some("alice.old.test.".into()),
            publisher: false,
        }
    );
    let expected = Config {
        username: "alice".into(),
        domain: DOMAIN.into(),
        bootstrap_user_domain: DOMAIN.into(),
        bootstrap_signer_spk: key(1).public().to_string(),
        cluster_base_domain: "Mesh.test".into(),
        cluster_operator_spk: key(2).public().to_string(),
        cluster_enabled: true,
        ..Config::default()
    };
    assert!(config == expected, "nothing else changes");

    // A key that writes to the cluster's own zone goes on being used.
    config.tsig_key_name = "alice.mesh.test.".into();
    config.tsig_zone = "mesh.TEST.".into();
    let dropped = adopt(&mut config, &anchor(), &entry(1, "Mesh.test", &key(2)));
    assert_eq!(dropped, Adopted::default());
    assert_eq!(config.tsig_key_name, "alice.mesh.test.");
}

#[test]
fn without_a_key_only_who_claims_to_have_signed_is_told() {
    run(async {
        let world = World::new();
        let domain = name(DOMAIN);
        let ask = || hearsay(world.as_ref(), &domain, NOW);
        assert_eq!(ask().await, None);
        world
            .zone
            .publish("_dmp.users.test", "v=dmp1;t=bootstrap;AAAA", DAY);
        let entries = [entry(10, "mesh.test", &key(2))];
        // A digit of the number, behind the magic.
        let mut broken = record(&key(3), 1, &entries);
        let at = "v=dmp1;t=bootstrap;".len() + 14;
        broken.replace_range(at..=at, "B");
        world.zone.publish("_dmp.users.test", &broken, DAY);
        assert_eq!(
            ask().await,
            None,
            "what does not verify under its own key is nothing"
        );
        for seq in [1, 2] {
            world
                .zone
                .publish("_dmp.users.test", &record(&key(1), seq, &entries), DAY);
        }
        assert_eq!(ask().await.unwrap().signers, [key(1).public()]);
    });
}

/// Whose key it is, and the world with these records about it.
fn about(kind: SubjectKind, domain: &str, values: &[String]) -> (Arc<World>, Subject) {
    let world = World::new();
    let subject = Subject::parse(kind, domain).unwrap();
    for value in values {
        let owner = subject.owner_names().pop().unwrap();
        world.zone.publish(owner.as_str(), value, DAY);
    }
    (world, subject)
}

fn step(subject: &Subject, old: u8, new: u8, seq: u64) -> String {
    let exp = NOW.saturating_add(DAY);
    signing::rotation(subject.clone(), &key(old), &key(new), seq, NOW, exp).unwrap()
}

fn end(subject: &Subject, which: u8) -> String {
    signing::revocation(subject.clone(), &key(which), Reason::Compromise, NOW).unwrap()
}

#[test]
fn what_became_of_a_pinned_key_is_found_for_operators_and_zone_signers() {
    for (kind, domain) in [
        (SubjectKind::ClusterOperator, "mesh.test"),
        (SubjectKind::BootstrapSigner, DOMAIN),
    ] {
        let subject = Subject::parse(kind, domain).unwrap();
        let other = Subject::parse(kind, "elsewhere.test").unwrap();
        let step = |old, new, seq| step(&subject, old, new, seq);
        let end = |which| end(&subject, which);
        let successor = |number| KeyStanding::Replaced(key(number).public());
        for (values, expected) in [
            (vec![], KeyStanding::Unchanged),
            (vec![step(1, 2, 1)], successor(2)),
            (vec![step(2, 3, 2), step(1, 2, 1)], successor(3)),
            (vec![end(1)], KeyStanding::Revoked(Reason::Compromise)),
            (
                vec![step(1, 2, 1), end(1)],
                KeyStanding::Revoked(Reason::Compromise),
            ),
            (vec![step(1, 2, 1), step(1, 3, 2)], KeyStanding::Unclear),
            (vec![step(1, 2, 1), end(2)], KeyStanding::Unclear),
            (vec![step(1, 2, 5), step(2, 3, 5)], KeyStanding::Unclear),
            (vec![step(2, 3, 1), end(2)], KeyStanding::Unchanged),
            (
                vec![self::step(&other, 1, 2, 1), self::end(&other, 1)],
                KeyStanding::Unchanged,
            ),
        ] {
            run(async {
                let (world, subject) = about(kind, domain, &values);
                let pinned = key(1).public();
                let standing = key_standing(world.as_ref(), &subject, &pinned, NOW).await;
                assert_eq!(standing, expected, "{kind:?}: {} value(s)", values.len());
            });
        }
    }
}

/// The doctor's findings about the pinned keys, and its advice; no finding without one.
async fn findings(world: &World, config: &Config) -> (Vec<(&'static str, Level)>, String) {
    let checks = check_anchors(world, config, &Floors::in_memory(), NOW).await;
    let mut advice = String::new();
    for check in &checks {
        let is_fine = check.level == Level::Ok;
        assert_eq!(check.remedy.is_none(), is_fine, "{check:?}");
        advice.extend(check.remedy.clone());
    }
    let levels = checks.iter().map(|check| (check.code, check.level));
    (levels.collect(), advice)
}

#[test]
fn the_doctor_names_the_command_that_pins_a_successor_and_pins_nothing() {
    let config = Config {
        bootstrap_user_domain: DOMAIN.into(),
        bootstrap_signer_spk: key(1).public().to_string(),
        cluster_base_domain: "mesh.test".into(),
        cluster_operator_spk: key(2).public().to_string(),
        cluster_enabled: true,
        ..Config::default()
    };
    run(async {
        let world = World::new();
        let (found, _) = findings(&world, &config).await;
        assert_eq!(
            found,
            [
                ("bootstrap-record", Level::Warn),
                ("cluster-manifest", Level::Fail)
            ]
        );
        let entries = [entry(10, "mesh.test", &key(2))];
        let value = record(&key(1), 1, &entries);
        world.zone.publish("_dmp.users.test", &value, DAY);
        let value = manifest(&key(2), "mesh.test", 1, "https://a.test");
        world.zone.publish("cluster.mesh.test", &value, DAY);
        let (found, advice) = findings(&world, &config).await;
        assert_eq!(
            found,
            [
                ("bootstrap-record", Level::Ok),
                ("cluster-manifest", Level::Ok)
            ]
        );
        assert_eq!(advice, "");

        let signer = Subject::parse(SubjectKind::BootstrapSigner, DOMAIN).unwrap();
        let operator = Subject::parse(SubjectKind::ClusterOperator, "mesh.test").unwrap();
        let rotation = step(&signer, 1, 5, 1);
        world.zone.publish("rotate._dmp.users.test", &rotation, DAY);
        let revocation = end(&operator, 2);
        world
            .zone
            .publish("rotate.cluster.mesh.test", &revocation, DAY);
        let (found, advice) = findings(&world, &config).await;
        assert_eq!(
            found,
            [
                ("bootstrap-record", Level::Ok),
                ("anchor-key", Level::Warn),
                ("cluster-manifest", Level::Ok),
                ("anchor-key", Level::Fail)
            ]
        );
        let pin = format!("dnsmesh bootstrap pin {DOMAIN} {}", key(5).public());
        assert!(advice.contains(&pin), "{advice}");
        assert!(
            advice.contains("dnsmesh cluster pin KEY mesh.test"),
            "{advice}"
        );
    });
}

#[test]
fn publishing_removes_what_it_supersedes_and_nothing_else() {
    run(async {
        let world = World::new();
        let owner = "_dmp.users.test";
        let entries = [entry(10, "mesh.test", &key(2))];
        let (old, newer) = (record(&key(1), 1, &entries), record(&key(1), 9, &entries));
        let foreign = record(&key(7), 1, &entries);
        for value in [&old, &newer, &foreign, &"v=spf1 -all".to_owned()] {
            world.zone.publish(owner, value, DAY);
        }
        let publish = |value: String| {
            let world = world.clone();
            async move {
                let signed = SignedRecord::read(&value, NOW).unwrap();
                signing::publish(world.as_ref(), world.as_ref(), &signed, DAY, NOW)
                    .await
                    .unwrap()
            }
        };
        let mine = record(&key(1), 5, &entries);
        let done = publish(mine.clone()).await;
        assert_eq!((done.owner.as_str(), done.removed), (owner, 1));
        let mut left = world.zone.query(owner);
        left.sort();
        let mut wanted = vec![newer, foreign, "v=spf1 -all".to_owned(), mine];
        wanted.sort();
        assert_eq!(left, wanted);

        // Rotations and revocations stand side by side for good.
        let subject = Subject::parse(SubjectKind::BootstrapSigner, DOMAIN).unwrap();
        for value in [
            step(&subject, 1, 2, 1),
            step(&subject, 2, 3, 2),
            end(&subject, 1),
        ] {
            assert_eq!(publish(value).await.removed, 0);
        }
        assert_eq!(world.zone.query("rotate._dmp.users.test").len(), 3);
    });
}

#[test]
fn only_records_of_operators_that_verify_are_published() {
    let entries = [entry(10, "mesh.test", &key(2))];
    let value = record(&key(1), 1, &entries);
    assert!(SignedRecord::read(&format!(" {value}\n"), NOW).is_ok());
    assert!(SignedRecord::read("v=spf1 -all", NOW).is_err());
    assert!(SignedRecord::read(&value.replacen(";", ";;", 1), NOW).is_err());
    let later = NOW.saturating_add(2 * DAY);
    assert!(SignedRecord::read(&value, later).is_err(), "it has expired");
    let heartbeat = vectors("fed_live_samples.json").to_string();
    assert!(SignedRecord::read(&heartbeat, NOW).is_err());
}
