//! The heartbeat of running nodes: found through DNS, passed on, listed, remembered (federation.md 2).

use crate::support::{OPERATOR, START, TestNode, multi_tenant};
use dmp_core::id::UnixTime;
use dmp_core::record::heartbeat::{Heartbeat, Skew};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Writes an operator's key, and says where.
fn key(directory: &Path, digit: &str) -> String {
    let path = directory.join("operator.key");
    std::fs::write(&path, format!("{}\n", digit.repeat(64))).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A node whose heartbeat is on and which asks `resolver`, if there is one.
async fn start(directory: TempDir, zone: &str, digit: &str, resolver: Option<String>) -> TestNode {
    let key = key(directory.path(), digit);
    let endpoint = format!("http://{zone}:8053");
    let mut settings = multi_tenant(&[]);
    settings.retain(|(name, _)| !["DMP_DOMAIN", "DMP_NODE_HOSTNAME"].contains(name));
    settings.extend([
        ("DMP_DOMAIN", zone),
        ("DMP_HEARTBEAT_ENABLED", "1"),
        ("DMP_HEARTBEAT_SELF_ENDPOINT", &endpoint),
        ("DMP_HEARTBEAT_OPERATOR_KEY_PATH", &key),
        ("DMP_HEARTBEAT_INTERVAL_SECONDS", "0.02"),
        ("DMP_HEARTBEAT_SEEDS", "https://A.test/, https://192.0.2.1"),
        ("DMP_HEARTBEAT_VERSION", "<b>&9"),
    ]);
    let nobody = "127.0.0.1:9".to_owned();
    let resolver = resolver.unwrap_or(nobody);
    settings.push(("DMP_HEARTBEAT_DNS_RESOLVERS", &resolver));
    TestNode::start_in(directory, &settings).await
}

async fn page_with(node: &TestNode, text: &str) -> String {
    for _ in 0..1_000 {
        let page = node.get("/").await.body;
        if page.contains(text) {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {text} in {}", node.get("/").await.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_learns_of_another_over_dns_lists_it_passes_it_on_and_remembers_it() {
    let a = start(TempDir::new().unwrap(), "a.test", "a", None).await;
    page_with(&a, "http://a.test:8053").await;
    let b = start(
        TempDir::new().unwrap(),
        "b.test",
        "b",
        Some(a.dns_address().to_string()),
    )
    .await;
    let page = page_with(&b, "<a href=\"http://a.test:8053\"").await;
    assert!(page.contains("<td>&lt;b&gt;&amp;9</td>"), "{page}");
    assert!(
        page.contains("<a href=\"http://b.test:8053\""),
        "this node is in its own list"
    );
    assert!(page.contains("<td>this node</td>"), "{page}");
    assert!(page.contains("<td>its own zone</td>"), "{page}");
    assert!(!page.contains("<b>"), "{page}");

    let own = b.values("_dnsmesh-heartbeat.b.test").await;
    let [own] = own.as_slice() else {
        panic!("{own:?}")
    };
    let own = Heartbeat::parse(own, Skew::INGEST, UnixTime::new(START)).unwrap();
    assert_eq!(
        own.capabilities, 0,
        "no provider unless the operator says so (D11)"
    );
    assert_eq!(own.claim_provider_zone.as_deref(), Some("b.test"));
    let passed_on = b.values("_dnsmesh-seen.b.test").await;
    assert_eq!(passed_on, a.values("_dnsmesh-heartbeat.a.test").await);

    let metrics = format!("Authorization: Bearer {OPERATOR}\r\n");
    let metrics = b.request("GET", "/metrics", &metrics, "").await.body;
    assert!(metrics.contains("\ndmp_heartbeat_peers 1.0\n"), "{metrics}");
    a.stop().await;
    let b = start(b.stop().await, "b.test", "b", None).await;
    page_with(&b, "http://a.test:8053").await;
    assert_eq!(b.values("_dnsmesh-heartbeat.b.test").await.len(), 1);
    assert_eq!(b.values("_dnsmesh-seen.b.test").await.len(), 1);
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_cannot_be_leaves_a_working_node() {
    let directory = TempDir::new().unwrap();
    let key = key(directory.path(), "c");
    let missing = directory.path().join("no.key");
    for (endpoint, key) in [
        ("https://mesh.test", missing.to_str().unwrap()),
        ("http://127.0.0.1:8053", key.as_str()),
        ("https://mesh.test/path", key.as_str()),
        ("", key.as_str()),
    ] {
        let settings = multi_tenant(&[
            ("DMP_HEARTBEAT_ENABLED", "1"),
            ("DMP_HEARTBEAT_SELF_ENDPOINT", endpoint),
            ("DMP_HEARTBEAT_OPERATOR_KEY_PATH", key),
        ]);
        let node = TestNode::start(&settings).await;
        assert_eq!(node.get("/health").await.status, 200, "{endpoint} {key}");
        assert!(node.get("/").await.body.contains("DMP_HEARTBEAT_ENABLED"));
        assert!(node.values("_dnsmesh-heartbeat.mesh.test").await.is_empty());
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_of_older_directories_are_gone() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    for target in ["/nodes", "/v1/nodes/seen", "/v1/info"] {
        assert_eq!(node.get(target).await.status, 404, "{target}");
    }
    for target in ["/v1/heartbeat", "/v1/claim/publish"] {
        assert_eq!(
            node.request("POST", target, "", "{}").await.status,
            404,
            "{target}"
        );
    }
}
