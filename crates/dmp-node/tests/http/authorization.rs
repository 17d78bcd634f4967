//! Who may write what: modes, the operator's token, users' tokens by class of name, audit (node.md 6.3, 6.6).

use crate::support::{OPERATOR, TestNode, User, assert_refused, bearer, hex, multi_tenant};
use sha2::{Digest, Sha256};
use std::time::Duration;

const BODY: &str = r#"{"value": "x"}"#;

fn digest(text: &str, digits: usize) -> String {
    hex(&Sha256::digest(text.as_bytes()))[..digits].to_owned()
}

async fn status(node: &TestNode, token: &str, name: &str) -> u16 {
    node.publish(token, name, BODY).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn in_open_mode_everybody_writes_even_with_an_operator_token() {
    let node = TestNode::start(&[]).await;
    assert_eq!(status(&node, "", "a.test").await, 201);
    assert_eq!(node.get("/v1/records/a.test").await.status, 200);
    let node =
        TestNode::start(&[("DMP_AUTH_MODE", "open"), ("DMP_OPERATOR_TOKEN", OPERATOR)]).await;
    assert_eq!(status(&node, "", "a.test").await, 201);
    assert_eq!(status(&node, "wrong", "a.test").await, 201);
    assert_refused(&node.get("/v1/records/a.test").await, 401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_legacy_mode_only_the_operator_writes() {
    let node = TestNode::start(&[("DMP_OPERATOR_TOKEN", OPERATOR)]).await;
    assert_eq!(status(&node, OPERATOR, "a.test").await, 201);
    let token = format!("dmp_v1_{}", "A".repeat(52));
    for wrong in ["", "wrong", &OPERATOR[1..], &format!("{OPERATOR}x"), &token] {
        assert_refused(
            &node.publish(wrong, "a.test", BODY).await,
            401,
            "unauthorized",
        );
        assert_refused(&node.delete(wrong, "a.test", "").await, 401, "unauthorized");
    }
    assert_eq!(node.values("a.test").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheme_is_bearer_and_one_space() {
    let node = TestNode::start(&[("DMP_OPERATOR_TOKEN", OPERATOR)]).await;
    for header in [
        "bearer ", "BEARER ", "Bearer  ", "Bearer", "Basic ", "Bearer\t", "",
    ] {
        let header = format!("Authorization: {header}{OPERATOR}\r\n");
        let answer = node
            .request("POST", "/v1/records/a.test", &header, BODY)
            .await;
        assert_refused(&answer, 401, "unauthorized");
    }
    let header = format!("authorization: Bearer {OPERATOR}\r\n");
    let answer = node
        .request("POST", "/v1/records/a.test", &header, BODY)
        .await;
    assert_eq!(answer.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_read_with_the_operators_token_only() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let alice = node.token_of(&User::new("alice@mesh.test", 1)).await;
    for token in ["", &alice] {
        let answer = node
            .request("GET", "/v1/records/a.test", &bearer(token), "")
            .await;
        assert_refused(&answer, 401, "unauthorized");
    }
    let closed = [
        ("DMP_AUTH_MODE", "multi-tenant"),
        ("DMP_HTTP_HOST", "127.0.0.1"),
    ];
    let node = TestNode::start(&closed).await;
    assert_refused(&node.get("/v1/records/a.test").await, 401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_writes_own_names_and_adds_to_the_shared_pools() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let token = node.token_of(&User::new("alice@mesh.test", 1)).await;
    let (hash16, hash12) = (digest("alice", 16), digest("alice", 12));
    let own = [
        "dmp.alice.mesh.test".to_owned(),
        "DMP.Alice.Mesh.Test.".to_owned(),
        "rotate.dmp.alice.mesh.test".to_owned(),
        format!("id-{hash16}.mesh.test"),
        format!("prekeys.id-{hash12}.mesh.test"),
    ];
    for name in &own {
        assert_eq!(status(&node, &token, name).await, 201, "{name}");
        assert_eq!(node.delete(&token, name, BODY).await.status, 204, "{name}");
    }
    for name in [
        "slot-1.mb-0123456789ab.mesh.test",
        "chunk-0001-0123456789ab.mesh.test",
    ] {
        assert_eq!(status(&node, &token, name).await, 201, "{name}");
        assert_refused(&node.delete(&token, name, BODY).await, 401, "unauthorized");
        assert_eq!(node.values(name).await, ["x"]);
    }
    let others = [
        "dmp.bob.mesh.test".to_owned(),
        "dmp.alice.other.test".to_owned(),
        "dmp.alice.sub.mesh.test".to_owned(),
        format!("id-{hash12}.mesh.test"),
        format!("id-{hash16}.other.test"),
        format!("id-{}.mesh.test", digest("bob", 16)),
        format!("prekeys.id-{}.mesh.test", digest("bob", 12)),
        format!("rotate.dmp.id-{hash12}.mesh.test"),
        "pk-1.0123456789ab.mesh.test".to_owned(),
        "claim-1.mb-0123456789ab.mesh.test".to_owned(),
        "cluster.mesh.test".to_owned(),
        "mesh.test".to_owned(),
        "_dnsmesh-heartbeat.mesh.test".to_owned(),
        "x".to_owned(),
    ];
    for name in &others {
        assert_refused(&node.publish(&token, name, BODY).await, 401, "unauthorized");
        assert_refused(&node.delete(&token, name, "").await, 401, "unauthorized");
        assert_eq!(status(&node, OPERATOR, name).await, 201, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_unknown_expired_or_revoked_are_refused() {
    let node = TestNode::start(&multi_tenant(&[(
        "DMP_REGISTRATION_TOKEN_TTL_SECONDS",
        "100",
    )]))
    .await;
    let (alice, bob) = (
        User::new("alice@mesh.test", 1),
        User::new("bob@mesh.test", 2),
    );
    let (alice, bob) = (node.token_of(&alice).await, node.token_of(&bob).await);
    let unknown = format!("dmp_v1_{}", "A".repeat(52));
    assert_eq!(status(&node, &unknown, "dmp.alice.mesh.test").await, 401);
    assert_eq!(
        status(&node, &alice.to_lowercase(), "dmp.alice.mesh.test").await,
        401
    );
    assert_eq!(status(&node, &alice, "dmp.alice.mesh.test").await, 201);
    assert_eq!(
        node.credentials()
            .revoke_tokens("alice@mesh.test")
            .await
            .unwrap(),
        1
    );
    assert_eq!(status(&node, &alice, "dmp.alice.mesh.test").await, 401);
    node.clock.advance(99);
    assert_eq!(status(&node, &bob, "dmp.bob.mesh.test").await, 201);
    node.clock.advance(1);
    assert_eq!(status(&node, &bob, "dmp.bob.mesh.test").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_over_its_rate_is_429_and_recovers_while_the_operator_is_never_throttled() {
    let limits = [
        ("DMP_REGISTRATION_ISSUED_RATE_PER_SEC", "20"),
        ("DMP_REGISTRATION_ISSUED_RATE_BURST", "1"),
    ];
    let node = TestNode::start(&multi_tenant(&limits)).await;
    let token = node.token_of(&User::new("alice@mesh.test", 1)).await;
    let name = "dmp.alice.mesh.test";
    let mut throttled = false;
    for _ in 0..50 {
        let answer = node.publish(&token, name, BODY).await;
        if answer.status == 429 {
            assert_refused(&answer, 429, "per-token rate limit exceeded");
            throttled = true;
            break;
        }
    }
    assert!(throttled);
    // What is not authorised is not counted and not told to be too much.
    assert_eq!(status(&node, &token, "dmp.bob.mesh.test").await, 401);
    for _ in 0..5 {
        assert_eq!(status(&node, OPERATOR, name).await, 201);
    }
    let recovery = async {
        while status(&node, &token, name).await != 201 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), recovery)
        .await
        .expect("the bucket refills");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_survive_a_restart() {
    let settings = multi_tenant(&[]);
    let node = TestNode::start(&settings).await;
    let user = User::new("alice@mesh.test", 1);
    let token = node.token_of(&user).await;
    assert_eq!(node.register("tsig-confirm", &user).await.status, 200);
    let directory = node.stop().await;
    let node = TestNode::start_in(directory, &settings).await;
    assert_eq!(status(&node, &token, "dmp.alice.mesh.test").await, 201);
    assert_eq!(node.context().access().keyring().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_holds_hashes_and_never_tells_who_delivered_to_whom() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let token = node.token_of(&User::new("alice@mesh.test", 1)).await;
    assert_eq!(status(&node, &token, "dmp.alice.mesh.test").await, 201);
    assert_eq!(
        status(&node, &token, "slot-1.mb-0123456789ab.mesh.test").await,
        201
    );
    assert_eq!(status(&node, &token, "dmp.bob.mesh.test").await, 401);
    assert_eq!(status(&node, &token, "cluster.mesh.test").await, 401);
    assert_eq!(
        status(&node, "not in the shape of a token", "cluster.mesh.test").await,
        401
    );
    let directory = node.stop().await;

    let database = rusqlite::Connection::open(directory.path().join("node.db")).unwrap();
    type Row = (String, bool, Option<String>, Option<String>, String);
    let rows: Vec<Row> = database
        .prepare("SELECT event, token_hash = ?1, subject, remote_addr, detail FROM token_audit ORDER BY id")
        .unwrap()
        .query_map([hex(&Sha256::digest(token.as_bytes()))], |row| {
            let is_token = row.get::<_, Option<bool>>(1)?.unwrap_or(false);
            Ok((row.get(0)?, is_token, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let (subject, remote) = (
        Some("alice@mesh.test".to_owned()),
        Some("127.0.0.1".to_owned()),
    );
    let row = |event: &str, who: bool, remote: &Option<String>, detail: &str| {
        let subject = subject.clone().filter(|_| who);
        (
            event.to_owned(),
            who,
            subject,
            remote.clone(),
            detail.to_owned(),
        )
    };
    assert_eq!(
        rows,
        [
            row("issued", true, &None, "self-service"),
            row("used", true, &remote, "own name"),
            row("used", false, &remote, "shared pool"),
            row("rejected", true, &remote, "not the owner"),
            row("rejected", false, &remote, "operator only"),
        ]
    );
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        let mut windows = octets.windows(token.len());
        assert!(!windows.any(|window| window == token.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_fill_the_audit_table() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let unknown = format!("dmp_v1_{}", "A".repeat(52));
    for _ in 0..90 {
        assert_eq!(status(&node, &unknown, "dmp.alice.mesh.test").await, 401);
    }
    let directory = node.stop().await;
    let database = rusqlite::Connection::open(directory.path().join("node.db")).unwrap();
    let count = "SELECT count(*) FROM token_audit";
    let rows: u32 = database.query_row(count, [], |row| row.get(0)).unwrap();
    assert!((1..90).contains(&rows), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_table_keeps_a_bounded_number_of_rows() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    node.token_of(&User::new("alice@mesh.test", 1)).await;
    let database = rusqlite::Connection::open(node.database()).unwrap();
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
                INSERT INTO token_audit (ts, event, detail) SELECT 1800000000, 'used', '' FROM n";
    database.execute(many, []).unwrap();
    node.credentials().clean_up().await;
    let count = "SELECT count(*), min(id) FROM token_audit";
    let kept: (u32, u32) = database
        .query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(kept, (100_000, 2), "the oldest went");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_look_alike_are_not_alike() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let token = node.token_of(&User::new("alice@mesh.test", 1)).await;
    // The first letter is Cyrillic, full width, or one with an accent.
    for first in ["%D0%B0", "%EF%BD%81", "%C3%A1"] {
        let name = format!("dmp.{first}lice.mesh.test");
        assert_refused(
            &node.publish(&token, &name, BODY).await,
            401,
            "unauthorized",
        );
        assert_refused(&node.delete(&token, &name, "").await, 401, "unauthorized");
    }
    let foreign = User::new("\u{430}lice@mesh.test", 2);
    assert_eq!(node.register("confirm", &foreign).await.status, 400);
    assert_eq!(status(&node, &token, "dmp.alice.mesh.test").await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_audit_rows_and_expired_tokens_are_cleaned_up() {
    let node = TestNode::start(&multi_tenant(&[(
        "DMP_REGISTRATION_TOKEN_TTL_SECONDS",
        "0",
    )]))
    .await;
    node.token_of(&User::new("alice@mesh.test", 1)).await;
    node.clock.advance(7_776_001);
    node.token_of(&User::new("bob@mesh.test", 2)).await;
    node.credentials().clean_up().await;
    let directory = node.stop().await;
    let database = rusqlite::Connection::open(directory.path().join("node.db")).unwrap();
    let subjects: Vec<String> = database
        .prepare("SELECT subject FROM token_audit")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(subjects, ["bob@mesh.test"]);
}
