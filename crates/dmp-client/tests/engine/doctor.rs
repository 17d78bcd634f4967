//! The doctor's judgement: every row of cli.md 3.7, what strangers see, the way to a contact; no line without a remedy.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use dmp_client::config::{Config, YamlValue};
use dmp_client::doctor::{
    Check, ConfiguredResolvers, ContactQuestion, Health, Instruments, Level, Sight,
    SignatureTrouble, Witness, check_contact, check_files, check_node, check_published,
    check_settings, close_files,
};
use dmp_client::home::{Home, SavedToken};
use dmp_client::mesh::{Operation, Pending, Writer};
use dmp_client::ops::{PublishRequest, identity_publish};
use dmp_client::store::{KeyState, NewContact};
use dmp_core::id::UnixTime;
use dmp_core::keys::{Identity, Signer};
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_core::record::{Reason, Revocation, Rotation, Subject};

use crate::world::{NOW, Person, World, run};

/// Instruments that show what the test says.
struct Bench {
    health: Result<Health, String>,
    /// The only place where a node answers.
    node: Option<(&'static str, u16)>,
    found: Option<SocketAddr>,
    serves: bool,
    signature: Result<(), SignatureTrouble>,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            health: Ok(Health {
                status: 200,
                date: Some(NOW.as_secs()),
            }),
            node: Some(("192.0.2.1", 5353)),
            found: None,
            serves: true,
            signature: Ok(()),
        }
    }
}

impl Instruments for Bench {
    fn health<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Health, String>> {
        Box::pin(async { self.health.clone() })
    }

    fn node_at<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Option<SocketAddr>> {
        let answers = self.node == Some((host, port));
        Box::pin(async move { answers.then(|| ([192, 0, 2, 1], port).into()) })
    }

    fn find_node<'a>(&'a self, _: &'a str) -> Pending<'a, Option<SocketAddr>> {
        Box::pin(async { self.found })
    }

    fn serves<'a>(&'a self, _: SocketAddr, _: &'a Zone) -> Pending<'a, bool> {
        Box::pin(async { self.serves })
    }

    fn signed_update(&self) -> Pending<'_, Result<(), SignatureTrouble>> {
        Box::pin(async { self.signature.clone() })
    }
}

/// A configuration in which all is well.
fn config() -> Config {
    Config {
        username: "alice".into(),
        domain: "alpha.test".into(),
        endpoint: "https://node.test".into(),
        local_node_dns_server: "192.0.2.1".into(),
        local_node_dns_port: 5353,
        tsig_key_name: "alice.alpha.test.".into(),
        tsig_secret_hex: "00".into(),
        tsig_zone: "alpha.test".into(),
        tsig_dns_server: "192.0.2.1".into(),
        kdf_salt: "11".repeat(32),
        ..Config::default()
    }
}

/// Codes and levels in order; also checks that whatever is not well says what to do.
fn levels(checks: &[Check]) -> Vec<(&'static str, Level)> {
    for check in checks {
        assert_eq!(
            check.remedy.is_some(),
            check.level != Level::Ok,
            "{check:?}"
        );
        assert!(
            !check.title.is_empty() && !check.detail.is_empty(),
            "{check:?}"
        );
    }
    checks
        .iter()
        .map(|check| (check.code, check.level))
        .collect()
}

/// The level of the one check with this code.
#[track_caller]
fn level(checks: &[Check], code: &str) -> Level {
    let levels = levels(checks);
    let found: Vec<_> = levels.iter().filter(|(found, _)| *found == code).collect();
    assert_eq!(found.len(), 1, "{code}: {checks:?}");
    found[0].1
}

fn node(config: &Config, bench: &Bench) -> Vec<Check> {
    run(check_node(config, bench, NOW))
}

#[test]
fn a_healthy_node_passes_in_the_references_order() {
    use Level::Ok;
    assert_eq!(
        levels(&node(&config(), &Bench::default())),
        [
            ("endpoint", Ok),
            ("local-dns", Ok),
            ("own-zone", Ok),
            ("tsig", Ok),
            ("tsig-accepted", Ok),
            ("clock", Ok)
        ]
    );
}

#[test]
fn the_endpoint_passes_warns_or_fails() {
    let endpoint = |bench: &Bench| level(&node(&config(), bench), "endpoint");
    let with = |health| Bench {
        health,
        ..Bench::default()
    };
    let status = |status| with(Ok(Health { status, date: None }));
    assert_eq!(endpoint(&Bench::default()), Level::Ok);
    assert_eq!(endpoint(&status(503)), Level::Warn);
    assert_eq!(endpoint(&status(302)), Level::Warn);
    assert_eq!(endpoint(&with(Err("refused".into()))), Level::Fail);

    let mut without = config();
    without.endpoint.clear();
    let checks = node(&without, &with(Err("must not be asked".into())));
    assert_eq!(level(&checks, "endpoint"), Level::Warn);
    assert!(
        !levels(&checks).iter().any(|(code, _)| *code == "local-dns"),
        "{checks:?}"
    );
}

#[test]
fn the_local_dns_endpoint_passes_warns_or_fails() {
    let mut none = config();
    none.local_node_dns_port = 0;
    let found = Bench {
        found: Some(([192, 0, 2, 1], 5353).into()),
        ..Bench::default()
    };
    let silent = Bench {
        node: None,
        ..Bench::default()
    };
    for (config, bench, expected, remedy) in [
        (&config(), &Bench::default(), Level::Ok, None),
        (&none, &found, Level::Warn, Some("--repair")),
        (
            &none,
            &Bench::default(),
            Level::Warn,
            Some("local_node_dns_server"),
        ),
        (&config(), &silent, Level::Fail, Some("--repair")),
    ] {
        let checks = node(config, bench);
        assert_eq!(level(&checks, "local-dns"), expected);
        let check = checks
            .iter()
            .find(|check| check.code == "local-dns")
            .unwrap();
        if let Some(word) = remedy {
            assert!(check.remedy.as_ref().unwrap().contains(word), "{check:?}");
        }
    }
    // A server that refuses everything looks like a node to the probe, but does not speak for the zone.
    let other = Bench {
        serves: false,
        ..Bench::default()
    };
    assert_eq!(level(&node(&config(), &other), "own-zone"), Level::Warn);
}

#[test]
fn a_public_resolver_as_dns_host_is_fine_only_beside_a_local_endpoint() {
    for public in [
        "1.1.1.1",
        "1.0.0.1",
        "8.8.8.8",
        "8.8.4.4",
        "9.9.9.9",
        "149.112.112.112",
        "208.67.222.222",
        "208.67.220.220",
    ] {
        let mut config = config();
        config.dns_host = Some(public.into());
        assert_eq!(
            level(&node(&config, &Bench::default()), "public-resolver"),
            Level::Ok
        );
        config.local_node_dns_server.clear();
        assert_eq!(
            level(&node(&config, &Bench::default()), "public-resolver"),
            Level::Warn
        );
    }
    let mut own = config();
    own.dns_host = Some("192.0.2.53".into());
    assert!(
        !levels(&node(&own, &Bench::default()))
            .iter()
            .any(|(code, _)| *code == "public-resolver")
    );
}

#[test]
fn a_key_that_the_node_does_not_take_fails_and_none_warns() {
    let with = |signature| Bench {
        signature: Err(signature),
        ..Bench::default()
    };
    let rejected = |server_time| {
        with(SignatureTrouble::Rejected {
            reason: "BADTIME".into(),
            server_time,
        })
    };
    for bench in [
        rejected(None),
        with(SignatureTrouble::Unreachable("no answer".into())),
        with(SignatureTrouble::Unusable("tsig_secret_hex".into())),
    ] {
        assert_eq!(
            level(&node(&config(), &bench), "tsig-accepted"),
            Level::Fail
        );
    }
    let checks = node(&config(), &rejected(Some(NOW.as_secs() + 900)));
    assert_eq!(level(&checks, "clock"), Level::Fail);
    assert!(
        checks
            .iter()
            .any(|check| check.detail == "900 seconds behind of the node"),
        "{checks:?}"
    );

    let mut elsewhere = config();
    elsewhere.publisher = Some(YamlValue::String("cloudflare".into()));
    elsewhere.endpoint.clear();
    elsewhere.tsig_key_name.clear();
    let checks = node(&elsewhere, &rejected(None));
    assert!(
        levels(&checks).iter().all(|(_, level)| *level == Level::Ok),
        "{checks:?}"
    );
    assert_eq!(level(&settings(&elsewhere), "credential"), Level::Ok);

    let mut none = config();
    none.tsig_secret_hex.clear();
    let checks = node(&none, &rejected(None));
    assert_eq!(level(&checks, "tsig"), Level::Warn);
    assert!(
        !levels(&checks)
            .iter()
            .any(|(code, _)| *code == "tsig-accepted")
    );
}

#[test]
fn the_clock_is_compared_with_the_nodes_date() {
    for (off, expected) in [
        (0i64, Level::Ok),
        (-30, Level::Ok),
        (31, Level::Warn),
        (-300, Level::Warn),
        (301, Level::Fail),
    ] {
        let bench = Bench {
            health: Ok(Health {
                status: 200,
                date: NOW.as_secs().checked_add_signed(off),
            }),
            ..Bench::default()
        };
        assert_eq!(level(&node(&config(), &bench), "clock"), expected, "{off}");
    }
}

fn settings(config: &Config) -> Vec<Check> {
    check_settings(config, &Home::at("/nonexistent"), NOW)
}

#[test]
fn settings_that_surprise_are_told() {
    assert_eq!(levels(&settings(&config())), [("credential", Level::Ok)]);
    let with = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        settings(&config)
    };
    assert_eq!(
        level(
            &with(|config| config.username = "Alice".into()),
            "user-name"
        ),
        Level::Warn
    );
    assert_eq!(
        level(
            &with(|config| config.username = "al ice".into()),
            "user-name"
        ),
        Level::Warn
    );
    assert_eq!(
        level(&with(|config| config.username.clear()), "user-name"),
        Level::Fail
    );
    assert_eq!(
        level(
            &with(|config| config.identity_domain = "alice.example".into()),
            "identity-zone"
        ),
        Level::Warn
    );
    assert_eq!(
        level(
            &with(|config| config.dns_resolvers = vec!["dns.example".into()]),
            "setting"
        ),
        Level::Fail
    );
    let pinned = |config: &mut Config| {
        config.cluster_base_domain = "cluster.test".into();
        config.cluster_operator_spk = Identity::from_seed([1; 32]).signing_public().to_string();
    };
    let mut off = config();
    pinned(&mut off);
    assert_eq!(level(&settings(&off), "cluster"), Level::Warn);
    off.cluster_enabled = true;
    assert!(
        !levels(&settings(&off))
            .iter()
            .any(|(code, _)| *code == "cluster")
    );
}

#[test]
fn credentials_are_told_fourteen_days_before_they_end() {
    let day = 86_400;
    for (expires, expected) in [
        (None, Level::Ok),
        (Some(15 * day), Level::Ok),
        (Some(14 * day), Level::Warn),
        (Some(1), Level::Warn),
        (Some(0), Level::Fail),
    ] {
        let mut config = config();
        config.tsig_expires_at = expires.map(|left| NOW.as_secs() + left);
        let checks = settings(&config);
        assert_eq!(level(&checks, "credential"), expected, "{expires:?}");
        assert_eq!(
            checks[0].until.map(UnixTime::as_secs),
            config.tsig_expires_at
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let mut token = config();
    token.tsig_key_name.clear();
    assert_eq!(
        level(&check_settings(&token, &home, NOW), "credential"),
        Level::Warn
    );
    home.save_token(&SavedToken {
        version: 1,
        node: "node.test".into(),
        subject: String::new(),
        token: "t".into(),
        expires_at: Some(i64::try_from(NOW.as_secs() + 20 * day).unwrap()),
        registered_spk: String::new(),
        saved_at: 0,
    })
    .unwrap();
    assert_eq!(
        level(&check_settings(&token, &home, NOW), "credential"),
        Level::Ok
    );
}

#[test]
fn open_files_are_told_and_can_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("home"));
    let mut config = config();
    home.save_config(&config).unwrap();
    assert_eq!(
        levels(&check_files(&config, &home)),
        [("file-modes", Level::Ok)]
    );

    let secret = dir.path().join("passphrase");
    config.passphrase_file = Some(secret.display().to_string());
    assert_eq!(
        level(&check_files(&config, &home), "passphrase-file"),
        Level::Warn
    );
    std::fs::write(&secret, " \n").unwrap();
    assert_eq!(
        level(&check_files(&config, &home), "passphrase-file"),
        Level::Fail
    );
    std::fs::write(&secret, "word\n").unwrap();
    assert_eq!(
        level(&check_files(&config, &home), "passphrase-file"),
        Level::Ok
    );

    let open = |path: &std::path::Path| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap()
    };
    open(&home.config_path());
    open(&secret);
    let checks = check_files(&config, &home);
    assert_eq!(level(&checks, "file-modes"), Level::Warn);
    assert!(checks[0].detail.contains("config.yaml") && checks[0].detail.contains("passphrase"));
    assert_eq!(close_files(&config, &home).unwrap().len(), 2);
    assert_eq!(level(&check_files(&config, &home), "file-modes"), Level::Ok);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "word\n");
}

/// A resolver with a name, over the whole world, which tells lifetimes.
struct Named<'a>(&'static str, &'a World);

impl Witness for Named<'_> {
    fn name(&self) -> &str {
        self.0
    }

    fn look<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Sight> {
        Box::pin(async move {
            match ConfiguredResolvers(self.1).look(owner).await {
                Sight::Values { values, .. } => Sight::Values {
                    values,
                    ttl: Some(600),
                },
                other => other,
            }
        })
    }
}

async fn published(person: &Person) -> Vec<Check> {
    let witness = Named("r1", &person.world);
    let signing = person.identity.signing_public();
    check_published(&[&witness], &person.profile, &signing, person.now()).await
}

#[test]
fn what_strangers_see_is_told_with_the_dates_at_which_it_ends() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        let before = published(&alice).await;
        assert_eq!(
            levels(&before),
            [
                ("identity-record", Level::Warn),
                ("identity-prekeys", Level::Warn)
            ]
        );
        alice.publish(10).await;
        let after = published(&alice).await;
        assert_eq!(
            levels(&after),
            [
                ("identity-record", Level::Ok),
                ("identity-prekeys", Level::Ok),
                ("identity-envelopes", Level::Ok)
            ]
        );
        assert_eq!(after[0].until, Some(alice.now().saturating_add(600)));
        assert_eq!(after[1].until, Some(alice.now().saturating_add(600)));
        assert!(after[0].title.contains("r1"), "{after:?}");

        // Through a resolver that does not answer, nobody knows.
        world.kill("alpha.test");
        let dead = published(&alice).await;
        assert_eq!(
            levels(&dead),
            [
                ("identity-record", Level::Fail),
                ("identity-prekeys", Level::Fail)
            ]
        );
    });
}

#[test]
fn a_short_stock_a_plain_record_and_strangers_under_the_name_are_told() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        identity_publish(&alice.session(), &PublishRequest::default())
            .await
            .unwrap();
        alice.refresh(4).await;
        let checks = published(&alice).await;
        assert_eq!(level(&checks, "identity-prekeys"), Level::Warn);
        assert_eq!(level(&checks, "identity-envelopes"), Level::Warn);

        let other = world.person_with("alice", "alpha.test", Identity::from_seed([9; 32]), None);
        identity_publish(&other.session(), &PublishRequest::default())
            .await
            .unwrap();
        let checks = published(&alice).await;
        assert_eq!(level(&checks, "identity-ambiguous"), Level::Warn);
        assert_eq!(level(&checks, "identity-record"), Level::Ok);
        let third = world.person_with("alice", "alpha.test", Identity::from_seed([8; 32]), None);
        assert_eq!(
            level(&published(&third).await, "identity-record"),
            Level::Fail
        );
    });
}

async fn publish_rotation(alice: &Person, value: String) {
    let subject = Subject::user("alice", "alpha.test").unwrap();
    for owner in subject.owner_names() {
        let add = Operation::Add {
            owner,
            ttl: 3600,
            value: value.clone(),
        };
        alice.world.apply(&[add]).await.into_result().unwrap();
    }
}

fn revocation(alice: &Person) -> String {
    Revocation {
        subject: Subject::user("alice", "alpha.test").unwrap(),
        revoked: alice.identity.signing_public(),
        reason: Reason::Compromise,
        ts: alice.now(),
    }
    .sign(Signer::Person(&alice.identity))
    .unwrap()
}

fn rotation(alice: &Person, new: &Identity) -> String {
    Rotation {
        subject: Subject::user("alice", "alpha.test").unwrap(),
        old: alice.identity.signing_public(),
        new: new.signing_public(),
        seq: 1,
        ts: alice.now(),
        exp: alice.now().saturating_add(3600),
    }
    .sign(Signer::Person(&alice.identity), Signer::Person(new))
    .unwrap()
}

#[test]
fn a_revoked_or_replaced_own_key_is_told() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        alice.publish(10).await;
        publish_rotation(&alice, rotation(&alice, &Identity::from_seed([9; 32]))).await;
        assert_eq!(level(&published(&alice).await, "identity-key"), Level::Warn);
        publish_rotation(&alice, revocation(&alice)).await;
        assert_eq!(level(&published(&alice).await, "identity-key"), Level::Fail);
    });
}

/// The way between two people; `card` is how Bob pinned Alice.
async fn way(bob: &Person, card: &NewContact, bench: &Bench) -> Vec<Check> {
    let question = ContactQuestion {
        contact: card,
        identity: &bob.identity,
        claim_port: 53,
    };
    check_contact(&question, &bob.profile, &*bob.world, bench, bob.now()).await
}

fn card(bob: &Person, of: &Person) -> NewContact {
    bob.store.find_contact(&of.address()).unwrap().unwrap().card
}

fn alphas_node() -> Bench {
    Bench {
        node: Some(("alpha.test", 53)),
        ..Bench::default()
    }
}

#[test]
fn the_way_to_a_contact_and_back_passes_when_both_are_set_up() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        let mut bob = world.person("bob", "beta.test");
        alice.publish(10).await;
        bob.publish(10).await;
        bob.meet(&alice).await;
        bob.send(&alice, "hello").await.unwrap();
        let checks = way(&bob, &card(&bob, &alice), &alphas_node()).await;
        assert_eq!(
            levels(&checks),
            [
                ("contact-keys", Level::Ok),
                ("contact-identity", Level::Ok),
                ("contact-key", Level::Ok),
                ("contact-prekeys", Level::Ok),
                ("contact-claims", Level::Ok),
                ("contact-their-zone", Level::Ok),
                ("contact-slots", Level::Ok),
                ("contact-back", Level::Ok),
                ("contact-own-zone", Level::Ok)
            ]
        );
        assert!(
            checks
                .iter()
                .any(|check| check.detail == "1 of your messages to them can be seen"),
            "{checks:?}"
        );
    });
}

#[test]
fn what_is_missing_on_the_way_to_a_contact_is_told_step_by_step() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        let bob = world.person("bob", "beta.test");
        bob.pin(&alice);
        let checks = way(&bob, &card(&bob, &alice), &Bench::default()).await;
        for (code, expected) in [
            ("contact-keys", Level::Ok),
            ("contact-identity", Level::Warn),
            ("contact-prekeys", Level::Warn),
            ("contact-claims", Level::Warn),
            ("contact-back", Level::Warn),
        ] {
            assert_eq!(level(&checks, code), expected, "{code}");
        }

        alice.publish(10).await;
        let mut unpinned = NewContact::new("alice@alpha.test");
        unpinned.zone = Some(alice.zone().clone());
        let checks = way(&bob, &unpinned, &alphas_node()).await;
        assert_eq!(level(&checks, "contact-keys"), Level::Fail);
        assert_eq!(level(&checks, "contact-identity"), Level::Ok);

        // Somebody else's key is pinned under her name.
        let mut wrong = card(&bob, &alice);
        wrong.signing = Some(Identity::from_seed([9; 32]).signing_public());
        assert_eq!(
            level(&way(&bob, &wrong, &alphas_node()).await, "contact-identity"),
            Level::Fail
        );

        publish_rotation(&alice, rotation(&alice, &Identity::from_seed([9; 32]))).await;
        let checks = way(&bob, &card(&bob, &alice), &alphas_node()).await;
        assert_eq!(level(&checks, "contact-key"), Level::Fail);

        world.kill("alpha.test");
        // Known once, told for ever, also behind a zone that hides it.
        let mut revoked = card(&bob, &alice);
        revoked.key = KeyState::Revoked { since: NOW };
        let mut replaced = card(&bob, &alice);
        replaced.key = KeyState::Replaced {
            by: Identity::from_seed([9; 32]).signing_public(),
            since: NOW,
        };
        for known in [revoked, replaced] {
            let checks = way(&bob, &known, &alphas_node()).await;
            assert_eq!(level(&checks, "contact-key"), Level::Fail);
        }
        let checks = way(&bob, &card(&bob, &alice), &alphas_node()).await;
        for code in ["contact-identity", "contact-prekeys", "contact-their-zone"] {
            assert_eq!(level(&checks, code), Level::Fail, "{code}");
        }
        assert_eq!(level(&checks, "contact-own-zone"), Level::Ok);
        world.revive("alpha.test");
        world.kill("beta.test");
        let checks = way(&bob, &card(&bob, &alice), &alphas_node()).await;
        for code in ["contact-slots", "contact-back", "contact-own-zone"] {
            assert_eq!(level(&checks, code), Level::Fail, "{code}");
        }
    });
}

/// Looking costs time only where nobody answers, and then once: all look-ups of a run go out together.
#[test]
fn a_dead_zone_does_not_add_up() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "alpha.test");
        alice.publish(10).await;
        world.kill("alpha.test");
        let begun = tokio::time::Instant::now();
        published(&alice).await;
        assert!(
            begun.elapsed() <= Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    });
}
