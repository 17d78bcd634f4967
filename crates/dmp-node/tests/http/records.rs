//! Query, publish and delete (node.md 6.4), bounds (3.3, D13) and limits (2.8).

use crate::support::{Answer, OPERATOR, TestNode, User, assert_refused, bearer, multi_tenant};
use serde_json::json;

const NAME: &str = "id-0123456789abcdef.mesh.test";
const REQUIRED: &str = "value (str) and ttl (int > 0) required";

async fn node(more: &[(&str, &str)]) -> TestNode {
    let basic = [
        ("DMP_DOMAIN", "mesh.test"),
        ("DMP_OPERATOR_TOKEN", OPERATOR),
        ("DMP_HTTP_RATE", "0"),
    ];
    let settings: Vec<_> = basic.iter().chain(more).copied().collect();
    TestNode::start(&settings).await
}

async fn publish(node: &TestNode, body: &str) -> Answer {
    node.publish(OPERATOR, NAME, body).await
}

async fn publish_values(node: &TestNode, values: &[&str]) {
    for value in values {
        let answer = publish(node, &json!({ "value": value }).to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_published_queried_and_deleted() {
    let node = node(&[]).await;
    let answer = publish(&node, r#"{"value": "v=dmp1;t=x", "ttl": 60}"#).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (201, r#"{"ok": true}"#)
    );
    assert_eq!(answer.headers["content-type"], "application/json");

    let target = format!("/v1/records/{NAME}");
    let answer = node.request("GET", &target, &bearer(OPERATOR), "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        format!(r#"{{"name": "{NAME}", "values": ["v=dmp1;t=x"]}}"#)
    );

    let answer = node.delete(OPERATOR, NAME, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let answer = node.delete(OPERATOR, NAME, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (404, ""));
    let answer = node.request("GET", &target, &bearer(OPERATOR), "").await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.body,
        format!(r#"{{"name": "{NAME}", "values": []}}"#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_appended_and_expire() {
    let node = node(&[]).await;
    publish_values(&node, &["a"]).await;
    let answer = publish(&node, r#"{"value": "b", "ttl": 10}"#).await;
    assert_eq!(answer.status, 201);
    assert_eq!(node.values(NAME).await, ["a", "b"]);
    node.clock.advance(10);
    assert_eq!(node.values(NAME).await, ["a"]);
    node.clock.advance(290);
    assert_eq!(node.values(NAME).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_stored_in_lower_case_whatever_the_writer_sends() {
    let node = node(&[]).await;
    let answer = node
        .publish(OPERATOR, "A%2eMesh.Test./", r#"{"value": "x"}"#)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(node.values("a.mesh.test").await, ["x"]);
    assert_eq!(node.values("a.MESH.test.").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_publish_outside_the_zone() {
    let node = node(&[]).await;
    let answer = node
        .publish(OPERATOR, "dmp.other.example", r#"{"value": "x"}"#)
        .await;
    assert_eq!(answer.status, 201);
    assert_eq!(node.values("dmp.other.example").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_is_refused_in_the_order_of_the_specification() {
    let node = node(&[("DMP_MAX_TTL", "100"), ("DMP_MAX_VALUE_BYTES", "4")]).await;
    for body in ["[]", "1", "\"x\"", "null", "{", r#"{"value": "\ud800"}"#] {
        assert_refused(&publish(&node, body).await, 400, "invalid body");
    }
    for body in [
        "",
        "{}",
        r#"{"ttl": 5}"#,
        r#"{"value": 5}"#,
        r#"{"value": "x", "ttl": 0}"#,
    ] {
        assert_refused(&publish(&node, body).await, 400, REQUIRED);
    }
    for ttl in ["-1", "5.0", "true", "\"5\"", "null"] {
        let body = format!(r#"{{"value": "x", "ttl": {ttl}}}"#);
        assert_refused(&publish(&node, &body).await, 400, REQUIRED);
    }
    // From here on each request breaks the next rules too, and the first one is told.
    let bad = "a_b.mesh.test";
    let answer = node
        .publish(OPERATOR, bad, r#"{"value": "12345\"", "ttl": 101}"#)
        .await;
    assert_refused(&answer, 400, "ttl exceeds cap of 100s");
    let answer = node
        .publish(OPERATOR, bad, r#"{"value": "ééx", "ttl": 100}"#)
        .await;
    assert_refused(&answer, 400, "value exceeds cap of 4 bytes");
    let answer = node
        .publish(OPERATOR, bad, r#"{"value": "a\"b", "ttl": 100}"#)
        .await;
    assert_refused(&answer, 400, "invalid record name");
    for value in [r#"a\"b"#, r"a\nb", r"a\u0000", r"\u007f"] {
        let body = format!(r#"{{"value": "{value}", "ttl": 100}}"#);
        assert_refused(&publish(&node, &body).await, 400, "invalid record value");
    }
    assert_eq!(node.values(NAME).await, Vec::<String>::new());
    for value in ["", "é", r"a\\b", "1234"] {
        let answer = publish(&node, &format!(r#"{{"value": "{value}", "ttl": 100}}"#)).await;
        assert_eq!(answer.status, 201, "{value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_publishable_are_refused_and_never_reach_the_store() {
    let node = node(&[]).await;
    for name in [
        "*.mesh.test",
        "a%20b",
        "a..b",
        "-a.test",
        "a%2fb",
        "a%22",
        "b%C3%BCr.test",
        "a?b",
        "%00",
        "%2e",
    ] {
        let answer = node.publish(OPERATOR, name, r#"{"value": "x"}"#).await;
        assert_refused(&answer, 400, "invalid record name");
        assert_refused(
            &node.delete(OPERATOR, name, "").await,
            400,
            "invalid record name",
        );
    }
    assert_eq!(node.get("/stats").await.body, r#"{"records": 0}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_name_takes_a_refresh_and_no_new_value() {
    let node = node(&[("DMP_MAX_VALUES_PER_NAME", "2")]).await;
    publish_values(&node, &["a", "b"]).await;
    let answer = publish(&node, r#"{"value": "c\""}"#).await;
    assert_refused(
        &answer,
        413,
        &format!("RRset at {NAME} already holds 2 values"),
    );
    publish_values(&node, &["a"]).await;
    assert_eq!(node.values(NAME).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_only_the_cap_per_name_can_be_switched_off() {
    let node = node(&[("DMP_MAX_VALUES_PER_NAME", "0")]).await;
    for value in 0..70 {
        publish_values(&node, &[&format!("value {value}")]).await;
    }
    assert_eq!(node.values(NAME).await.len(), 70);
    let closed = crate::records::node(&[("DMP_MAX_TTL", "0")]).await;
    assert_refused(
        &publish(&closed, r#"{"value": "x"}"#).await,
        400,
        "ttl exceeds cap of 0s",
    );
    let closed = crate::records::node(&[("DMP_MAX_VALUE_BYTES", "0")]).await;
    assert_refused(
        &publish(&closed, r#"{"value": "x"}"#).await,
        400,
        "value exceeds cap of 0 bytes",
    );
    assert_eq!(publish(&closed, r#"{"value": ""}"#).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_with_a_value_takes_only_that_value() {
    let node = node(&[]).await;
    publish_values(&node, &["a", "b", "c"]).await;
    assert_eq!(
        node.delete(OPERATOR, NAME, r#"{"value": "b"}"#)
            .await
            .status,
        204
    );
    assert_eq!(node.values(NAME).await, ["a", "c"]);
    assert_eq!(
        node.delete(OPERATOR, NAME, r#"{"value": "b"}"#)
            .await
            .status,
        404
    );
    assert_eq!(
        node.delete(OPERATOR, NAME, r#"{"value": null}"#)
            .await
            .status,
        204
    );
    assert_eq!(node.values(NAME).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_whose_body_is_not_understood_deletes_nothing() {
    let node = node(&[]).await;
    publish_values(&node, &["a", "b"]).await;
    for body in ["{", "[]", "\"a\"", "1", "x"] {
        assert_refused(
            &node.delete(OPERATOR, NAME, body).await,
            400,
            "invalid body",
        );
    }
    for body in [
        r#"{"value": 1}"#,
        r#"{"value": ["a"]}"#,
        r#"{"value": "a\"b"}"#,
    ] {
        assert_refused(
            &node.delete(OPERATOR, NAME, body).await,
            400,
            "invalid record value",
        );
    }
    let oversized = format!(r#"{{"value": "{}"}}"#, "a".repeat(16_384));
    assert_refused(
        &node.delete(OPERATOR, NAME, &oversized).await,
        400,
        "invalid body",
    );
    let head = format!(
        "DELETE /v1/records/{NAME} HTTP/1.1\r\nHost: a\r\n{}",
        bearer(OPERATOR)
    );
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    assert_refused(
        &node.raw(&format!("{chunked}1\r\n{{\r\n0\r\n\r\n")).await,
        400,
        "invalid body",
    );
    // Bodies that end before they should.
    for request in [
        format!("{head}Content-Length: 9\r\n\r\n{{}}"),
        format!("{chunked}2\r\n{{}}\r\n"),
    ] {
        let mut connection = node.connect().await;
        connection.send(&request).await;
        connection.finish().await;
        if let Some(answer) = connection.answer(false).await {
            assert_refused(&answer, 400, "invalid body");
        }
    }
    assert_eq!(node.values(NAME).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_are_read_like_any_other() {
    let node = node(&[]).await;
    let head = |method| {
        let authorization = bearer(OPERATOR);
        format!(
            "{method} /v1/records/{NAME} HTTP/1.1\r\nHost: a\r\n{authorization}Transfer-Encoding: chunked\r\n\r\n"
        )
    };
    for value in ["a", "b"] {
        let body = format!("6\r\n{{\"valu\r\n8\r\ne\": \"{value}\"}}\r\n0\r\n\r\n");
        let answer = node.raw(&format!("{}{body}", head("POST"))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let body = "e\r\n{\"value\": \"a\"}\r\n0\r\n\r\n";
    assert_eq!(
        node.raw(&format!("{}{body}", head("DELETE"))).await.status,
        204
    );
    assert_eq!(node.values(NAME).await, ["b"]);
    assert_eq!(
        node.raw(&format!("{}0\r\n\r\n", head("DELETE")))
            .await
            .status,
        204
    );
    assert_eq!(node.values(NAME).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_16384_octets_is_read_and_a_longer_one_is_not() {
    let node = node(&[("DMP_MAX_VALUE_BYTES", "20000")]).await;
    let body = |length: usize| format!(r#"{{"value": "{}"}}"#, "a".repeat(length - 13));
    assert_eq!(body(16_384).len(), 16_384);
    assert_eq!(publish(&node, &body(16_384)).await.status, 201);
    assert_refused(&publish(&node, &body(16_385)).await, 400, "invalid body");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_records_are_limited_by_client() {
    let node = node(&[("DMP_HTTP_RATE", "0.0001"), ("DMP_HTTP_BURST", "2")]).await;
    assert_refused(&node.get("/v1/records/a.test").await, 401, "unauthorized");
    assert_eq!(publish(&node, r#"{"value": "x"}"#).await.status, 201);
    for method in ["GET", "POST", "DELETE"] {
        let answer = node.request(method, "/v1/records/a.test", "", "").await;
        assert_refused(&answer, 429, "rate limit exceeded");
    }
    assert_eq!(
        node.get("/health").await.status,
        200,
        "health is not limited"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let limits = [("DMP_HTTP_RATE", "0.0001"), ("DMP_HTTP_BURST", "1")];
    let target = "/v1/records/a.test";
    let from = |client: &str| {
        format!(
            "X-Forwarded-For: 203.0.113.1, {client}\r\n{}",
            bearer(OPERATOR)
        )
    };

    let behind = node(&[&limits[..], &[("DMP_TRUSTED_PROXIES", "127.0.0.0/8")]].concat()).await;
    assert_eq!(
        behind
            .request("GET", target, &from("192.0.2.1"), "")
            .await
            .status,
        404
    );
    assert_eq!(
        behind
            .request("GET", target, &from("192.0.2.1"), "")
            .await
            .status,
        429
    );
    assert_eq!(
        behind
            .request("GET", target, &from("192.0.2.2"), "")
            .await
            .status,
        404
    );

    let bare = node(&limits).await;
    assert_eq!(
        bare.request("GET", target, &from("192.0.2.1"), "")
            .await
            .status,
        404
    );
    assert_eq!(
        bare.request("GET", target, &from("192.0.2.2"), "")
            .await
            .status,
        429
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writer_cannot_fill_the_mailbox_of_another() {
    let settings = multi_tenant(&[("DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX", "3")]);
    let node = TestNode::start(&settings).await;
    let (alice, bob) = (
        User::new("alice@mesh.test", 1),
        User::new("bob@mesh.test", 2),
    );
    let (alice, bob) = (node.token_of(&alice).await, node.token_of(&bob).await);
    let slot = |slot: usize| format!("slot-{slot}.mb-0123456789ab.mesh.test");
    for number in 0..3 {
        let answer = node
            .publish(&alice, &slot(number), r#"{"value": "a"}"#)
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(
        node.publish(&alice, &slot(9), r#"{"value": "a"}"#)
            .await
            .status,
        429
    );
    assert_eq!(
        node.publish(&alice, &slot(0), r#"{"value": "a"}"#)
            .await
            .status,
        201,
        "a refresh"
    );
    assert_eq!(
        node.publish(&bob, &slot(9), r#"{"value": "b"}"#)
            .await
            .status,
        201
    );
    assert_eq!(
        node.publish(OPERATOR, &slot(9), r#"{"value": "o"}"#)
            .await
            .status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let settings = [
        ("DMP_DOMAIN", "mesh.test"),
        ("DMP_OPERATOR_TOKEN", OPERATOR),
    ];
    let node = TestNode::start(&settings).await;
    publish_values(&node, &["a", "b"]).await;
    let directory = node.stop().await;
    let node = TestNode::start_in(directory, &settings).await;
    assert_eq!(node.values(NAME).await, ["a", "b"]);
}
