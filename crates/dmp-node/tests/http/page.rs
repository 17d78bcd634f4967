//! The landing page (node.md 6.8).

use crate::support::{OPERATOR, TestNode, multi_tenant};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_the_same_for_everybody_and_loads_nothing() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    node.publish(OPERATOR, "a.mesh.test", r#"{"value": "x"}"#)
        .await;
    let page = node.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers["cache-control"], "public, max-age=30");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    let policy = &page.headers["content-security-policy"];
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert_eq!(node.get("/index.html").await.body, page.body);
    assert!(
        page.body.contains("<dt>Live records</dt><dd>1</dd>"),
        "{}",
        page.body
    );
    for loading in [
        "<script",
        "src=",
        "<link",
        "<img",
        "<iframe",
        "@import",
        "url(",
        "<form",
        "node.test",
    ] {
        assert!(!page.body.contains(loading), "{loading}");
    }
    let other = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(
        node.raw(other).await.body,
        page.body,
        "the Host header is not shown"
    );
    let head = node.request("HEAD", "/", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_how_one_gets_to_write() {
    let keys = TestNode::start(&multi_tenant(&[]))
        .await
        .get("/")
        .await
        .body;
    assert!(keys.contains("dnsmesh init you@mesh.test --endpoint https://API.mesh.test\n"));
    assert!(keys.contains("dnsmesh tsig register --node API.mesh.test\n"));
    assert!(keys.contains("<code>mesh.test</code>, <code>api.mesh.test</code>"));
    assert!(keys.contains("dig mesh.test SOA"));
    let tokens = multi_tenant(&[("DMP_DNS_UPDATE_ENABLED", "0")]);
    let tokens = TestNode::start(&tokens).await.get("/").await.body;
    assert!(tokens.contains("\ndnsmesh register --node API.mesh.test\n"));
    for (settings, expected) in [
        (
            vec![
                ("DMP_AUTH_MODE", "multi-tenant"),
                ("DMP_OPERATOR_TOKEN", "x"),
            ],
            "Ask the operator",
        ),
        (
            vec![("DMP_OPERATOR_TOKEN", "x")],
            "Only the operator writes here",
        ),
        (vec![], "<strong>Open:</strong>"),
    ] {
        let page = TestNode::start(&settings).await.get("/").await.body;
        assert!(page.contains(expected), "{page}");
        assert!(!page.contains("register"), "{page}");
    }
}
