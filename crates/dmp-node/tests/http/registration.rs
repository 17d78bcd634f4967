//! The registration ceremony: order of checks, possession, scopes, ownership (node.md 6.5, 4.2-4.4; D9).

use crate::support::{OPERATOR, START, TestNode, User, assert_refused, multi_tenant};
use dmp_node::access::KeyRow;
use dmp_node::credentials::Denied;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const TAKEN: &str = "subject already has a live token; re-registration must be signed with the previously-registered Ed25519 key";
const ROUTES: [&str; 2] = ["confirm", "tsig-confirm"];
const UNSIGNED: &str = "signature verification failed";

async fn node() -> TestNode {
    TestNode::start(&multi_tenant(&[])).await
}

fn alice() -> User {
    User::new("alice@mesh.test", 1)
}

/// Registers by TSIG with a proof of possession.
async fn register_with_agreement(node: &TestNode, user: &User) -> Value {
    let challenge = node.challenge().await;
    let body = user.with_agreement(&challenge, user.confirmation(&challenge));
    let answer = node.post_registration("tsig-confirm", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn keys(node: &TestNode) -> usize {
    node.context().access().keyring().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_has_the_members_clients_read() {
    let node = node().await;
    let challenge = node.challenge().await;
    assert_eq!(
        challenge["node"], "API.mesh.test",
        "the name is told as it was configured"
    );
    assert_eq!(challenge["expires_at"], START + 60);
    assert_eq!(challenge["version"], 1);
    for member in ["challenge", "server_x25519_pub"] {
        let text = challenge[member].as_str().unwrap();
        assert!(text.len() == 64 && text == text.to_lowercase(), "{text}");
        assert_ne!(node.challenge().await[member], challenge[member]);
    }
    assert_eq!(challenge.as_object().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_mints_a_token_or_a_key() {
    let node = node().await;
    let issued = node.register("confirm", &alice()).await.json();
    let token = issued["token"].as_str().unwrap();
    assert!(token.starts_with("dmp_v1_") && token.len() == 59, "{token}");
    assert_eq!(issued["subject"], "alice@mesh.test");
    assert_eq!(issued["expires_at"], START + 7_776_000);
    assert_eq!(
        (
            issued["rate_per_sec"].as_f64(),
            issued["rate_burst"].as_u64()
        ),
        (Some(10.0), Some(50))
    );

    let issued = register_with_agreement(&node, &alice()).await;
    assert_eq!(
        keys(&node),
        1,
        "the key is in force when the answer arrives"
    );
    let name = issued["tsig_key_name"].as_str().unwrap();
    let spk8 = &alice().spk()[..8];
    assert!(
        name.starts_with(&format!("alice-{spk8}-")) && name.ends_with(".mesh.test."),
        "{name}"
    );
    assert_eq!(issued["tsig_secret_hex"].as_str().unwrap().len(), 64);
    assert_eq!(issued["tsig_algorithm"], "hmac-sha256");
    assert_eq!(
        (&issued["subject"], &issued["zone"]),
        (&json!("alice@mesh.test"), &json!("mesh.test"))
    );
    assert_eq!(issued["expires_at"], START + 7_776_000);
    let mailbox = alice().agreement.public().user_id().mailbox();
    let suffixes = issued["allowed_suffixes"].as_array().unwrap();
    assert_eq!(suffixes.len(), 8);
    assert!(suffixes.contains(&json!(format!("mb-{mailbox}.mesh.test"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_without_a_lifetime_never_expire() {
    let node = TestNode::start(&multi_tenant(&[(
        "DMP_REGISTRATION_TOKEN_TTL_SECONDS",
        "0",
    )]))
    .await;
    assert_eq!(
        node.register("confirm", &alice()).await.json()["expires_at"],
        Value::Null
    );
    assert_eq!(
        node.register("tsig-confirm", &alice()).await.json()["expires_at"],
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_challenge_serves_one_confirmation() {
    let node = node().await;
    for (first, second) in [
        ("confirm", "confirm"),
        ("confirm", "tsig-confirm"),
        ("tsig-confirm", "confirm"),
    ] {
        let body = alice().confirmation(&node.challenge().await);
        assert_eq!(node.post_registration(first, &body).await.status, 200);
        let answer = node.post_registration(second, &body).await;
        assert_refused(&answer, 400, "challenge expired or unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_expires_and_a_bad_signature_uses_it_up_and_a_bad_body_does_not() {
    let node = node().await;
    let challenge = node.challenge().await;
    node.clock.advance(60);
    let late = node
        .post_registration("confirm", &alice().confirmation(&challenge))
        .await;
    assert_refused(&late, 400, "challenge expired or unknown");

    let challenge = node.challenge().await;
    node.clock.advance(59);
    let mut body = alice().confirmation(&challenge);
    body["signature"] = json!("00");
    let answer = node.post_registration("confirm", &body).await;
    assert_refused(&answer, 400, "signature: expected 64 bytes, got 1");
    let good = alice().confirmation(&challenge);
    assert_eq!(node.post_registration("confirm", &good).await.status, 200);

    let challenge = node.challenge().await;
    let forged = alice().signed(&challenge, "alice@mesh.test", "other.test", 1);
    assert_refused(
        &node.post_registration("confirm", &forged).await,
        401,
        UNSIGNED,
    );
    let good = alice().confirmation(&challenge);
    let answer = node.post_registration("confirm", &good).await;
    assert_refused(&answer, 400, "challenge expired or unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_refused_in_the_order_of_the_specification() {
    let node = node().await;
    let good = alice().confirmation(&node.challenge().await);
    for route in ROUTES {
        for body in ["[]", "{", "1"] {
            let answer = node
                .request("POST", &format!("/v1/registration/{route}"), "", body)
                .await;
            assert_refused(&answer, 400, "invalid body");
        }
        // Each member in turn is wrong, and so is every later one.
        let mut body = json!({});
        for member in ["subject", "ed25519_spk", "challenge", "signature"] {
            for wrong in [None, Some(json!("")), Some(json!(5)), Some(json!(null))] {
                let mut body = body.clone();
                if let Some(wrong) = wrong {
                    body[member] = wrong;
                }
                let answer = node.post_registration(route, &body).await;
                assert_refused(
                    &answer,
                    400,
                    &format!("missing or non-string field: {member}"),
                );
            }
            body[member] = json!("x");
        }
        let answer = node.post_registration(route, &body).await;
        assert_eq!(answer.status, 400);
        assert!(
            answer.error().starts_with("subject invalid: "),
            "{answer:?}"
        );
        body["subject"] = json!("alice@mesh.test");
        for (member, octets) in [("ed25519_spk", 32), ("signature", 64), ("challenge", 32)] {
            for wrong in ["x", "0", "é", "0x", " 00"] {
                body[member] = json!(wrong);
                let answer = node.post_registration(route, &body).await;
                assert_refused(&answer, 400, &format!("{member}: not valid hex"));
            }
            body[member] = json!("0011");
            let answer = node.post_registration(route, &body).await;
            assert_refused(
                &answer,
                400,
                &format!("{member}: expected {octets} bytes, got 2"),
            );
            body[member] = good[member].clone();
        }
        let mut upper = good.clone();
        upper["challenge"] = json!(good["challenge"].as_str().unwrap().to_uppercase());
        let answer = node.post_registration(route, &upper).await;
        assert_refused(&answer, 400, "challenge expired or unknown");
    }
    let mut good = good;
    good["requested_scope"] = json!(["unknown members are ignored"]);
    assert_eq!(node.post_registration("confirm", &good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_are_those_of_the_vectors() {
    let text = include_str!("../../../../vectors/node_http_names.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let allowed = "mesh.example,a.b,x.y,c.d";
    let node = TestNode::start(&multi_tenant(&[("DMP_REGISTRATION_ALLOWLIST", allowed)])).await;
    for (case, seed) in vectors["subjects"].as_array().unwrap().iter().zip(1..) {
        let subject = case["in"].as_str().unwrap();
        let mut user = User::new(subject, seed);
        let challenge = node.challenge().await;
        if case["ok"] == false {
            let answer = node
                .post_registration("confirm", &user.confirmation(&challenge))
                .await;
            assert_eq!(answer.status, 400, "{case}");
            assert!(
                answer.error().starts_with("subject invalid: "),
                "{case}: {answer:?}"
            );
            continue;
        }
        let canonical = case["canonical"].as_str().unwrap();
        user.signing = User::new(
            "",
            if canonical == "alice@mesh.example" {
                100
            } else {
                seed
            },
        )
        .signing;
        let body = user.signed(&challenge, canonical, "API.mesh.test", 1);
        let answer = node.post_registration("confirm", &body).await;
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        assert_eq!(answer.json()["subject"], canonical);
        if subject != canonical {
            let challenge = node.challenge().await;
            let as_typed = user.confirmation(&challenge);
            assert_refused(
                &node.post_registration("confirm", &as_typed).await,
                401,
                UNSIGNED,
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_must_be_over_this_challenge_subject_node_and_version_by_this_key() {
    let node = node().await;
    let user = alice();
    for route in ROUTES {
        for (subject, name, version) in [
            ("bob@mesh.test", "API.mesh.test", 1),
            ("alice@mesh.test", "api.mesh.test", 1),
            ("alice@mesh.test", "other.test", 1),
            ("alice@mesh.test", "API.mesh.test", 0),
            ("alice@mesh.test", "API.mesh.test", 2),
        ] {
            let body = user.signed(&node.challenge().await, subject, name, version);
            assert_refused(&node.post_registration(route, &body).await, 401, UNSIGNED);
        }
        let mut stolen = user.confirmation(&node.challenge().await);
        stolen["ed25519_spk"] = json!(User::new("", 9).spk());
        assert_refused(&node.post_registration(route, &stolen).await, 401, UNSIGNED);
        let mut moved = user.confirmation(&node.challenge().await);
        moved["challenge"] = node.challenge().await["challenge"].clone();
        assert_refused(&node.post_registration(route, &moved).await, 401, UNSIGNED);
    }
    assert_eq!(keys(&node), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn low_order_keys_sign_nothing() {
    let node = node().await;
    let text = include_str!("../../../../vectors/ed25519_low_order.json");
    let mut low_order = BTreeSet::new();
    collect_keys(&serde_json::from_str(text).unwrap(), &mut low_order);
    assert!(low_order.len() >= 14, "{}", low_order.len());
    for key in low_order {
        let mut body = alice().confirmation(&node.challenge().await);
        body["ed25519_spk"] = json!(key);
        // With R = A = the neutral element and s = 0, cofactored verification would accept this.
        body["signature"] = json!(format!("01{}", "00".repeat(63)));
        assert_refused(
            &node.post_registration("confirm", &body).await,
            401,
            UNSIGNED,
        );
    }
}

fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.len() == 64 && hex::decode(text).is_ok() => {
            keys.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_keys(member, keys)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_about_domains_or_owners_shows_without_a_valid_signature() {
    let node = node().await;
    for route in ROUTES {
        assert_eq!(node.register(route, &alice()).await.status, 200);
        for subject in ["alice@mesh.test", "carol@foreign.test"] {
            let user = User::new(subject, 9);
            let mut body = user.confirmation(&node.challenge().await);
            body["signature"] = json!("00".repeat(64));
            assert_refused(&node.post_registration(route, &body).await, 401, UNSIGNED);
        }
        let taken = User::new("alice@mesh.test", 9);
        assert_refused(&node.register(route, &taken).await, 409, TAKEN);
        let foreign = User::new("carol@foreign.test", 9);
        let answer = node.register(route, &foreign).await;
        assert_refused(&answer, 403, "subject not in registration allowlist");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowlist_is_exactly_its_domains() {
    let listed = multi_tenant(&[("DMP_REGISTRATION_ALLOWLIST", " Friends.Test. ,other.test")]);
    let node = TestNode::start(&listed).await;
    for (subject, status) in [
        ("a@friends.test", 200),
        ("b@other.test", 200),
        ("c@sub.friends.test", 403),
        ("d@mesh.test", 403),
        ("e@api.mesh.test", 403),
    ] {
        let seed = subject.as_bytes()[0];
        assert_eq!(
            node.register("confirm", &User::new(subject, seed))
                .await
                .status,
            status,
            "{subject}"
        );
    }
    let unlisted = crate::registration::node().await;
    for (subject, status) in [
        ("a@mesh.test", 200),
        ("b@api.mesh.test", 200),
        ("c@sub.mesh.test", 403),
    ] {
        let seed = subject.as_bytes()[0];
        assert_eq!(
            unlisted
                .register("confirm", &User::new(subject, seed))
                .await
                .status,
            status,
            "{subject}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailbox_is_granted_for_a_valid_proof_of_possession_only() {
    let node = node().await;
    let user = alice();
    let mailbox = format!(
        "mb-{}.mesh.test",
        user.agreement.public().user_id().mailbox()
    );
    let has_mailbox = |issued: &Value| {
        issued["allowed_suffixes"]
            .as_array()
            .unwrap()
            .contains(&json!(mailbox))
    };
    assert!(has_mailbox(&register_with_agreement(&node, &user).await));

    let proofs = |challenge: &Value, other: &Value| {
        [
            user.proof(challenge, "bob@mesh.test"),
            user.proof(other, "alice@mesh.test"),
            User::new("", 7).proof(challenge, "alice@mesh.test"),
            "00".repeat(32),
        ]
    };
    for case in 0..4 {
        let (challenge, other) = (node.challenge().await, node.challenge().await);
        let mut body = user.with_agreement(&challenge, user.confirmation(&challenge));
        body["x25519_pop"] = json!(proofs(&challenge, &other)[case]);
        let answer = node.post_registration("tsig-confirm", &body).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(
            answer
                .error()
                .starts_with("x25519_pop verification failed: "),
            "{answer:?}"
        );
    }
    for (member, wrong, error) in [
        ("x25519_pub", "zz", "x25519_pub: not valid hex"),
        ("x25519_pub", "00", "x25519_pub: expected 32 bytes, got 1"),
        ("x25519_pop", "zz", "x25519_pop: not valid hex"),
        ("x25519_pop", "00", "x25519_pop: expected 32 bytes, got 1"),
    ] {
        let challenge = node.challenge().await;
        let mut body = user.with_agreement(&challenge, user.confirmation(&challenge));
        body[member] = json!(wrong);
        assert_refused(
            &node.post_registration("tsig-confirm", &body).await,
            400,
            error,
        );
    }
    // Absent, empty or of another type: the key is dropped, and the pattern with it.
    for (member, value) in [
        ("x25519_pop", Value::Null),
        ("x25519_pop", json!("")),
        ("x25519_pop", json!(5)),
        ("x25519_pub", Value::Null),
        ("x25519_pub", json!(5)),
    ] {
        let challenge = node.challenge().await;
        let mut body = user.with_agreement(&challenge, user.confirmation(&challenge));
        body[member] = value;
        let answer = node.post_registration("tsig-confirm", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!has_mailbox(&answer.json()));
    }
    let challenge = node.challenge().await;
    let mut body = user.with_agreement(&challenge, user.confirmation(&challenge));
    let upper = format!(" {} ", user.agreement.public().to_string().to_uppercase());
    body["x25519_pub"] = json!(upper);
    let answer = node.post_registration("tsig-confirm", &body).await;
    assert!(has_mailbox(&answer.json()), "trimmed, in either case");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_order_agreement_key_proves_nothing() {
    let node = node().await;
    let challenge = node.challenge().await;
    let mut body = alice().with_agreement(&challenge, alice().confirmation(&challenge));
    body["x25519_pub"] = json!("00".repeat(32));
    assert_eq!(
        node.post_registration("tsig-confirm", &body).await.status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tight_and_loose_scopes_are_granted_as_configured() {
    let tight = TestNode::start(&multi_tenant(&[("DMP_TSIG_TIGHT_SCOPE", "1")])).await;
    let issued = register_with_agreement(&tight, &alice()).await;
    let suffixes = issued["allowed_suffixes"].as_array().unwrap();
    assert_eq!(suffixes.len(), 4);
    assert!(!issued["allowed_suffixes"].to_string().contains('*'));
    let loose = TestNode::start(&multi_tenant(&[("DMP_TSIG_LOOSE_SCOPE", "1")])).await;
    for (subject, seed) in [("alice@mesh.test", 1), ("bob@mesh.test", 2)] {
        let issued = loose
            .register("tsig-confirm", &User::new(subject, seed))
            .await
            .json();
        assert_eq!(
            issued["allowed_suffixes"],
            json!(["mesh.test"]),
            "many may hold the whole zone"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scope_is_anchored_at_the_served_zone_which_falls_back_to_the_host_name() {
    let mut settings = multi_tenant(&[]);
    settings.retain(|(name, _)| *name != "DMP_DOMAIN");
    let node = TestNode::start(&settings).await;
    let user = User::new("alice@api.mesh.test", 1);
    let issued = node.register("tsig-confirm", &user).await.json();
    assert_eq!(issued["zone"], "api.mesh.test");
    for suffix in issued["allowed_suffixes"].as_array().unwrap() {
        assert!(
            suffix.as_str().unwrap().ends_with(".api.mesh.test"),
            "{suffix}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_parts_of_64_characters_get_a_key_and_longer_ones_do_not() {
    let node = node().await;
    for (length, status) in [(47, 200), (48, 200), (64, 200), (65, 400)] {
        let subject = format!("{}@mesh.test", &"a.+_".repeat(17)[..length]);
        let answer = node
            .register("tsig-confirm", &User::new(&subject, length as u8))
            .await;
        assert_eq!(answer.status, status, "{length}: {answer:?}");
        if status == 200 {
            let issued = answer.json();
            let label = issued["tsig_key_name"]
                .as_str()
                .unwrap()
                .strip_suffix(".mesh.test.")
                .unwrap();
            assert!(
                label.len() <= 63 && !label.contains(['.', '+', '_']),
                "{label}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_registers_again_and_the_old_credential_is_dead() {
    let node = node().await;
    let first = node.token_of(&alice()).await;
    let second = node.token_of(&alice()).await;
    let body = r#"{"value": "x"}"#;
    assert_eq!(
        node.publish(&first, "dmp.alice.mesh.test", body)
            .await
            .status,
        401
    );
    assert_eq!(
        node.publish(&second, "dmp.alice.mesh.test", body)
            .await
            .status,
        201
    );

    let first = register_with_agreement(&node, &alice()).await;
    let second = node.register("tsig-confirm", &alice()).await.json();
    assert_eq!(first["tsig_key_name"], second["tsig_key_name"]);
    assert_ne!(first["tsig_secret_hex"], second["tsig_secret_hex"]);
    assert_eq!(
        second["allowed_suffixes"].as_array().unwrap().len(),
        7,
        "the mailbox was not proved again"
    );
    assert_eq!(keys(&node), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_keys_are_separate_ledgers() {
    let node = node().await;
    let other = User::new("alice@mesh.test", 2);
    assert_eq!(node.register("confirm", &alice()).await.status, 200);
    assert_eq!(node.register("tsig-confirm", &other).await.status, 200);
    assert_refused(&node.register("confirm", &other).await, 409, TAKEN);
    assert_refused(&node.register("tsig-confirm", &alice()).await, 409, TAKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_credential_locks_nobody_out() {
    let node = TestNode::start(&multi_tenant(&[(
        "DMP_REGISTRATION_TOKEN_TTL_SECONDS",
        "100",
    )]))
    .await;
    let other = User::new("alice@mesh.test", 2);
    for route in ROUTES {
        assert_eq!(node.register(route, &alice()).await.status, 200);
        assert_refused(&node.register(route, &other).await, 409, TAKEN);
    }
    node.clock.advance(100);
    for route in ROUTES {
        assert_eq!(node.register(route, &other).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_never_revived_and_the_subject_is_free_for_another() {
    let node = node().await;
    let name = node.register("tsig-confirm", &alice()).await.json()["tsig_key_name"].clone();
    let name = name.as_str().unwrap();
    assert!(node.credentials().revoke_key(name).await.unwrap());
    assert!(
        !node
            .credentials()
            .revoke_key("nobody.mesh.test.")
            .await
            .unwrap()
    );
    assert_eq!(keys(&node), 0, "revoked for the next packet");
    assert_eq!(node.register("tsig-confirm", &alice()).await.status, 403);
    let other = User::new("alice@mesh.test", 2);
    assert_eq!(node.register("tsig-confirm", &other).await.status, 200);
    assert_eq!(node.register("tsig-confirm", &alice()).await.status, 403);

    node.token_of(&alice()).await;
    assert_eq!(
        node.credentials()
            .revoke_tokens("alice@mesh.test")
            .await
            .unwrap(),
        1
    );
    assert_eq!(node.register("confirm", &alice()).await.status, 403);
    assert_eq!(node.register("confirm", &other).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_deny_list_is_told_only_to_who_signs() {
    let node = node().await;
    let by_subject = Denied::Subject("alice@mesh.test".to_owned());
    let by_key = Denied::SigningKey(*User::new("", 2).signing.verifying_key().as_bytes());
    node.credentials().deny(by_subject.clone()).await.unwrap();
    node.credentials().deny(by_key).await.unwrap();
    for user in [alice(), User::new("bob@mesh.test", 2)] {
        for route in ROUTES {
            assert_eq!(node.register(route, &user).await.status, 403);
            let forged = user.signed(&node.challenge().await, &user.subject, "API.mesh.test", 9);
            assert_refused(&node.post_registration(route, &forged).await, 401, UNSIGNED);
        }
    }
    assert!(node.credentials().allow(by_subject.clone()).await.unwrap());
    assert!(!node.credentials().allow(by_subject).await.unwrap());
    assert_eq!(node.register("confirm", &alice()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_whose_names_another_one_holds_is_refused() {
    let node = node().await;
    // The identity names hash the local part alone, so these two subjects would share them.
    let namesake = User::new("alice@api.mesh.test", 2);
    assert_eq!(node.register("tsig-confirm", &alice()).await.status, 200);
    assert_refused(&node.register("tsig-confirm", &namesake).await, 409, TAKEN);
    // The same agreement key means the same mailbox.
    let mut borrower = User::new("bob@mesh.test", 3);
    borrower.agreement = User::new("", 4).agreement;
    register_with_agreement(&node, &borrower).await;
    let thief = User::new("carol@mesh.test", 4);
    let challenge = node.challenge().await;
    let body = thief.with_agreement(&challenge, thief.confirmation(&challenge));
    assert_refused(
        &node.post_registration("tsig-confirm", &body).await,
        409,
        TAKEN,
    );
    assert_eq!(keys(&node), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_the_scope_of_an_operators_key_is_nobodys_while_that_key_lives() {
    let node = node().await;
    let registered = node.register("tsig-confirm", &alice()).await.json();
    let name = registered["tsig_key_name"].as_str().unwrap();
    assert!(node.credentials().delete_key(name).await.unwrap());
    let patterns = registered["allowed_suffixes"].as_array().unwrap().iter();
    let own = patterns
        .filter_map(Value::as_str)
        .find(|pattern| pattern.starts_with("id-"));
    let add = |name: &str, pattern: &str| {
        let row = KeyRow {
            name: name.to_owned(),
            algorithm: "hmac-sha256".to_owned(),
            secret: vec![7; 32].into(),
            allowed_suffixes: vec![pattern.to_owned()],
            expires_at: 0,
            subject: String::new(),
            registered_spk: None,
            registered_x25519: None,
        };
        let credentials = std::sync::Arc::clone(node.credentials());
        async move { credentials.add_key(row).await.unwrap() }
    };
    assert!(add("zone.", "mesh.test").await);
    assert!(add("own.", own.unwrap()).await);
    assert!(!add("own.", "mesh.test").await, "a key is never replaced");
    assert_refused(&node.register("tsig-confirm", &alice()).await, 409, TAKEN);
    assert!(node.credentials().revoke_key("own.").await.unwrap());
    assert_eq!(
        node.register("tsig-confirm", &alice()).await.status,
        200,
        "the zone as scope takes no name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_keys_that_race_for_a_subject_one_wins() {
    let node = node().await;
    for (route, round) in ROUTES.into_iter().zip(0..) {
        let subject = format!("racer{round}@mesh.test");
        let users: Vec<User> = (1..=8)
            .map(|seed| User::new(&subject, seed * 10 + round))
            .collect();
        let mut bodies = Vec::new();
        for user in &users {
            bodies.push(user.confirmation(&node.challenge().await));
        }
        let answers = bodies
            .iter()
            .map(|body| node.post_registration(route, body));
        let mut statuses = statuses(answers).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    }
    assert_eq!(keys(&node), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_that_races_with_itself_leaves_one_live_credential() {
    let node = node().await;
    for route in ROUTES {
        let mut bodies = Vec::new();
        for _ in 0..8 {
            bodies.push(alice().confirmation(&node.challenge().await));
        }
        let answers = bodies
            .iter()
            .map(|body| node.post_registration(route, body));
        assert_eq!(statuses(answers).await, [200; 8]);
    }
    assert_eq!(keys(&node), 1);
    let directory = node.stop().await;
    let database = rusqlite::Connection::open(directory.path().join("node.db")).unwrap();
    let live = "SELECT (SELECT count(*) FROM token WHERE revoked_at IS NULL), (SELECT count(*) FROM tsig_key)";
    let live: (u32, u32) = database
        .query_row(live, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(live, (1, 1));
}

async fn statuses(
    answers: impl Iterator<Item = impl Future<Output = crate::support::Answer>>,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    let mut pending: Vec<_> = answers.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        pending.retain_mut(|answer| match answer.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                statuses.push(answer.status);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_is_404_unless_everything_it_needs_is_there() {
    for without in [
        "DMP_REGISTRATION_ENABLED",
        "DMP_AUTH_MODE",
        "DMP_NODE_HOSTNAME",
    ] {
        let mut settings = multi_tenant(&[]);
        settings.retain(|(name, _)| *name != without);
        let node = TestNode::start(&settings).await;
        assert_refused(
            &node.get("/v1/registration/challenge").await,
            404,
            "not found",
        );
        for route in ROUTES {
            assert_refused(
                &node.post_registration(route, &json!({})).await,
                404,
                "not found",
            );
        }
    }
    let mut settings = multi_tenant(&[]);
    settings.retain(|(name, _)| *name != "DMP_DNS_UPDATE_ENABLED");
    let node = TestNode::start(&settings).await;
    let answer = node.post_registration("tsig-confirm", &json!({})).await;
    assert_refused(&answer, 404, "tsig registration disabled");
    assert_eq!(node.register("confirm", &alice()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_routes_share_one_limit_that_records_do_not_touch() {
    let mut settings = multi_tenant(&[]);
    settings.retain(|(name, _)| !name.starts_with("DMP_REGISTRATION_ENDPOINT"));
    let node = TestNode::start(&settings).await;
    for _ in 0..2 {
        assert_eq!(node.register("confirm", &alice()).await.status, 200);
    }
    let challenge = node.challenge().await;
    let limited = "registration rate limit exceeded";
    let answer = node
        .post_registration("confirm", &alice().confirmation(&challenge))
        .await;
    assert_refused(&answer, 429, limited);
    assert_refused(&node.get("/v1/registration/challenge").await, 429, limited);
    assert_refused(
        &node.post_registration("tsig-confirm", &json!({})).await,
        429,
        limited,
    );
    assert_eq!(
        node.publish(OPERATOR, "a.test", r#"{"value": "x"}"#)
            .await
            .status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_store_is_an_internal_error_without_a_word_more() {
    let node = node().await;
    let body = alice().confirmation(&node.challenge().await);
    let database = rusqlite::Connection::open(node.database()).unwrap();
    database.execute_batch("DROP TABLE token").unwrap();
    assert_refused(
        &node.post_registration("confirm", &body).await,
        500,
        "internal error",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_taken_over_under_another_name_is_dead_once_its_holder_registers_again() {
    let settings = multi_tenant(&[]);
    let node = TestNode::start(&settings).await;
    assert_eq!(node.register("tsig-confirm", &alice()).await.status, 200);
    let directory = node.stop().await;
    let database = rusqlite::Connection::open(directory.path().join("node.db")).unwrap();
    let renamed = "PRAGMA foreign_keys = OFF;
                   UPDATE tsig_key SET name = 'alice-6242e855-0fae28.mesh.test.';
                   UPDATE tsig_pattern SET key = 'alice-6242e855-0fae28.mesh.test.'";
    database.execute_batch(renamed).unwrap();
    drop(database);
    let node = TestNode::start_in(directory, &settings).await;
    assert_eq!(keys(&node), 1);
    assert_refused(
        &node
            .register("tsig-confirm", &User::new("alice@mesh.test", 2))
            .await,
        409,
        TAKEN,
    );
    assert_eq!(node.register("tsig-confirm", &alice()).await.status, 200);
    assert_eq!(keys(&node), 1);
}
