//! What the nodes of a cluster read from each other (federation.md 4.9).

use crate::support::{
    Answer, Connection, OPERATOR, START, TestNode, assert_refused, bearer, multi_tenant,
};
use dmp_node::store::{Cursor, Draft};
use dmp_node::zone::Owner;
use rusqlite::{Connection as Database, params};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::Path;
use tempfile::TempDir;

const TOKEN: &str = "example-token";

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/fed_sync_server.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Cases in which this node does more than the frozen behaviour, with the row of federation.md 10 and what it answers.
fn differs(name: &str) -> Option<(&'static str, u64, Value)> {
    match name {
        "pull body over 16384 bytes" => Some(("W2", 200, json!({ "records": [] }))),
        _ => None,
    }
}

/// The settings that a case of the vectors needs, and whether there are rows.
fn site(name: &str, vectors: &Value) -> (Vec<(&'static str, String)>, bool) {
    let operator = vectors["pinned_operator_public_hex"].as_str().unwrap();
    let base = vectors["base_domain"].as_str().unwrap();
    let mut settings = vec![
        ("DMP_SYNC_PEER_TOKEN", TOKEN.to_owned()),
        ("DMP_SYNC_OPERATOR_SPK", operator.to_owned()),
        ("DMP_CLUSTER_BASE_DOMAIN", base.to_owned()),
        ("DMP_HTTP_RATE", "0".to_owned()),
    ];
    let without = match name {
        "manifest, no operator pinned on the server: highest seq by shape only" => {
            "DMP_SYNC_OPERATOR_SPK"
        }
        "manifest: no base domain" => "DMP_CLUSTER_BASE_DOMAIN",
        "no sync token configured at all" => "DMP_SYNC_PEER_TOKEN",
        _ => "",
    };
    settings.retain(|(key, _)| *key != without);
    (
        settings,
        name != "manifest: nothing stored" && without != "DMP_CLUSTER_BASE_DOMAIN",
    )
}

/// Writes the rows of the vectors as this node would have at those times.
fn fill(directory: &TempDir, vectors: &Value) {
    let sql = Database::open(directory.path().join("node.db")).unwrap();
    let rows = vectors["rows"].as_array().unwrap();
    for (index, row) in rows.iter().enumerate() {
        sql.execute(
            "INSERT INTO record (id, owner, value, ttl, stored_ms, expires_at, writer) VALUES (?1, ?2, ?3, 1, ?4, ?5, 0)",
            params![
                index as i64 + 1,
                row["name"].as_str(),
                row["value"].as_str(),
                row["stored_ts_ms"].as_i64(),
                row["expires_at"].as_i64()
            ],
        )
        .unwrap();
    }
    let last = rows.iter().map(|row| row["stored_ts_ms"].as_i64()).max();
    let state = params![rows.len() as i64 + 1, last];
    sql.execute("UPDATE state SET next_row = ?1, stamp = ?2", state)
        .unwrap();
}

async fn start(settings: &[(&str, String)], vectors: Option<&Value>) -> TestNode {
    let settings: Vec<_> = settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    let mut node = TestNode::start(&settings).await;
    if let Some(vectors) = vectors {
        let directory = node.stop().await;
        fill(&directory, vectors);
        node = TestNode::start_in(directory, &settings).await;
    }
    node.clock.advance(60);
    node
}

/// The body of a case; that of 22 kB is described only.
fn body_of(request: &Value) -> String {
    match request["body"].as_str() {
        Some(body) if body.starts_with('<') => {
            let name = |index: usize| format!("{}{index:03}.example.com", "x".repeat(70));
            json!({ "names": (0..256).map(name).collect::<Vec<_>>() }).to_string()
        }
        body => body.unwrap_or_default().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_vectors_is_answered_as_it_says() {
    let vectors = vectors();
    let now = vectors["now"].as_u64().unwrap();
    let mut running = None;
    for request in vectors["requests"].as_array().unwrap() {
        let name = request["name"].as_str().unwrap();
        let site = site(name, &vectors);
        if running.as_ref().is_none_or(|(_, other)| *other != site) {
            let rows = site.1.then_some(&vectors);
            running = Some((start(&site.0, rows).await, site));
        }
        let (node, _) = running.as_ref().unwrap();
        assert_eq!(node.clock.seconds(), now);
        let authorization = request["authorization"].as_str();
        let headers = authorization.map(|text| format!("Authorization: {text}\r\n"));
        let answer = node
            .request(
                request["method"].as_str().unwrap(),
                request["path"].as_str().unwrap(),
                &headers.unwrap_or_default(),
                &body_of(request),
            )
            .await;
        let (status, response) = match differs(name) {
            Some((_, status, response)) => (status, response),
            None => (
                request["status"].as_u64().unwrap(),
                request["response"].clone(),
            ),
        };
        assert_eq!(u64::from(answer.status), status, "{name}: {answer:?}");
        match response {
            Value::Null => assert_eq!(answer.body, "", "{name}"),
            response if status == 200 => assert_eq!(answer.json(), response, "{name}"),
            response => assert_eq!(answer.json()["error"], response["error"], "{name}"),
        }
    }
}

/// A node of a cluster in which the operator may publish.
async fn node() -> TestNode {
    TestNode::start(&multi_tenant(&[("DMP_SYNC_PEER_TOKEN", TOKEN)])).await
}

async fn get(node: &TestNode, target: &str) -> Answer {
    node.request("GET", target, &bearer(TOKEN), "").await
}

async fn pull(node: &TestNode, body: &str) -> Answer {
    node.request("POST", "/v1/sync/pull", &bearer(TOKEN), body)
        .await
}

/// Publishes and deletes behind the back of HTTP, where nothing is checked.
async fn draft(node: &TestNode, work: impl FnOnce(&mut Draft<'_>) + Send + 'static) {
    let work = move |draft: &mut Draft<'_>| {
        work(draft);
        Ok::<_, Infallible>(())
    };
    node.context().store().transact(work).await.unwrap();
}

fn owner(name: &str) -> Owner {
    Owner::parse(name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_times_of_writing_are_shown_to_who_asks_for_them() {
    let node = node().await;
    node.publish(OPERATOR, "a.mesh.test", r#"{"value": "kept"}"#)
        .await;
    node.publish(OPERATOR, "a.mesh.test", r#"{"value": "gone"}"#)
        .await;
    node.clock.advance(10);
    let body = r#"{"value": "gone"}"#;
    assert_eq!(node.delete(OPERATOR, "a.mesh.test", body).await.status, 204);
    let plain = get(&node, "/v1/sync/digest").await.json();
    let [row] = plain["records"].as_array().unwrap().as_slice() else {
        panic!("{plain}");
    };
    let members: Vec<_> = row.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["hash", "name", "ts", "ttl"],
        "as the reference has it"
    );
    let all = get(&node, "/v1/sync/digest?deleted=1").await.json();
    let rows = all["records"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["written_at"], START * 1000);
    assert_eq!(rows[1]["deleted_at"], (START + 10) * 1000);
    assert_eq!(rows[1]["ttl"], 86_400);
    assert!(rows[0].get("deleted_at").is_none() && rows[1].get("written_at").is_none());
    let values = pull(&node, r#"{"names": ["a.mesh.test"]}"#).await.json();
    let kept = json!({ "name": "a.mesh.test", "value": "kept", "ttl": 290 });
    assert_eq!(
        values,
        json!({ "records": [kept] }),
        "tombstones are not pulled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_length_together_hold_every_row_once() {
    let node = node().await;
    draft(&node, |draft| {
        for index in 0..50 {
            draft.replicate(&owner("one.mesh.test"), &format!("{index}"), 300, None);
        }
    })
    .await;
    for limit in [1, 7, 50, 51] {
        let (mut cursor, mut seen) = ("0::".to_owned(), Vec::new());
        loop {
            let target = format!("/v1/sync/digest?cursor={cursor}&limit={limit}");
            let page = get(&node, &target).await.json();
            let rows = page["records"].as_array().unwrap();
            seen.extend(
                rows.iter()
                    .map(|row| row["hash"].as_str().unwrap().to_owned()),
            );
            let next = page["next_cursor"].as_str().unwrap();
            let (next, last): (Cursor, Cursor) = (next.parse().unwrap(), cursor.parse().unwrap());
            assert!(next > last);
            cursor = next.to_string();
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!(seen.len(), 50, "limit {limit}");
        assert!(seen.is_sorted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_peers_must_refuse_is_not_shown_to_them() {
    let node = node().await;
    draft(&node, |draft| {
        let mut put = |name: &str, value: &str| {
            draft.publish(&owner(name), value, 300, dmp_node::store::WriterTag::NOBODY);
        };
        put("_dnsmesh-heartbeat.mesh.test", "v=dmp1;t=heartbeat;AAAA");
        put("other.mesh.test", "v=dmp1;t=heartbeat;AAAA");
        put("other.mesh.test", "v=dmp9;t=new;AAAA");
        put("slot-1.mb-0123456789ab.mesh.test", "plain");
        put("mesh.test", "v=spf1 -all");
    })
    .await;
    let page = get(&node, "/v1/sync/digest?deleted=1").await.json();
    let rows = page["records"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["name"]), (1, &json!("mesh.test")));
    let names = r#"{"names": ["_dnsmesh-heartbeat.mesh.test", "other.mesh.test", "MESH.test."]}"#;
    let values = pull(&node, names).await.json();
    assert_eq!(values["records"][0]["value"], "v=spf1 -all");
    assert_eq!(values["records"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_is_limited_and_holds_no_peer_up() {
    let settings = [
        ("DMP_SYNC_PEER_TOKEN", TOKEN),
        ("DMP_HTTP_RATE", "0.001"),
        ("DMP_HTTP_BURST", "2"),
    ];
    let node = TestNode::start(&settings).await;
    for status in [403, 403, 429, 429] {
        let answer = node.get("/v1/sync/digest").await;
        assert_eq!(answer.status, status);
        assert!(status == 403 || answer.headers.contains_key("retry-after"));
    }
    assert_refused(
        &node
            .request("POST", "/v1/sync/pull", &bearer("wrong"), "")
            .await,
        429,
        "rate limit exceeded",
    );
    for _ in 0..5 {
        assert_eq!(get(&node, "/v1/sync/digest").await.status, 200);
        assert_eq!(get(&node, "/v1/sync/cluster-manifest").await.status, 204);
        assert_eq!(pull(&node, r#"{"names": []}"#).await.status, 200);
    }
    let answer = node.get("/v1/records/a.mesh.test").await;
    assert_eq!(
        answer.status, 404,
        "nor do they take from what is everybody's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_token_opens_the_routes_of_peers() {
    let node = node().await;
    for authorization in [
        bearer(OPERATOR),
        bearer("example-tokens"),
        bearer("example-toke"),
        bearer("Example-token"),
        "Authorization: bearer example-token\r\n".to_owned(),
    ] {
        for (method, path) in [
            ("GET", "digest"),
            ("POST", "pull"),
            ("GET", "cluster-manifest"),
        ] {
            let target = format!("/v1/sync/{path}");
            let answer = node.request(method, &target, &authorization, "").await;
            assert_refused(&answer, 403, "forbidden");
        }
    }
    assert_eq!(node.values("a.mesh.test").await, Vec::<String>::new());
    let answer = node
        .publish(TOKEN, "a.mesh.test", r#"{"value": "v"}"#)
        .await;
    assert_eq!(answer.status, 401, "nor does that of peers open another");
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_with_a_listener_of_their_own_are_answered_there_and_nowhere_else() {
    let settings = [
        ("DMP_SYNC_PEER_TOKEN", TOKEN),
        ("DMP_SYNC_LISTEN", "127.0.0.1:0"),
    ];
    let node = TestNode::start(&multi_tenant(&settings)).await;
    for path in ["digest", "cluster-manifest"] {
        assert_eq!(get(&node, &format!("/v1/sync/{path}")).await.status, 404);
    }
    assert_eq!(pull(&node, r#"{"names": []}"#).await.status, 404);
    let ask = async |target: &str, authorization: &str| {
        let peers = node.peer_address().unwrap();
        let mut connection = Connection::to(peers).await;
        let head = "Host: node.test\r\nConnection: close\r\n";
        let request = format!("GET {target} HTTP/1.1\r\n{head}{authorization}\r\n");
        connection.send(&request).await;
        connection.answer(false).await.unwrap().status
    };
    for (target, status) in [
        ("/v1/sync/digest", 200),
        ("/v1/sync/cluster-manifest", 204),
        ("/health", 200),
        ("/v1/records/a.mesh.test", 404),
        ("/v1/registration/challenge", 404),
        ("/metrics", 404),
        ("/", 404),
    ] {
        assert_eq!(ask(target, &bearer(TOKEN)).await, status, "{target}");
    }
    assert_eq!(ask("/v1/sync/digest", "").await, 403);
    assert_eq!(
        node.challenge().await["version"],
        1,
        "the rest is where it was"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_of_the_longest_names_fits_and_its_answer_is_bounded() {
    let node = node().await;
    let long = format!("{0}.{0}.{0}.{1}", "n".repeat(63), "n".repeat(48));
    let name = |index: usize| format!("{long}{index:03}.mesh.test");
    assert_eq!(name(0).len() + 2, 255);
    draft(&node, {
        let owners: Vec<Owner> = (0..12).map(|index| owner(&name(index))).collect();
        move |draft| {
            for owner in &owners {
                for value in 0..16 {
                    let value = format!("{value}{}", "x".repeat(60_000));
                    draft.replicate(owner, &value, 300, None);
                }
            }
        }
    })
    .await;
    let body = json!({ "names": (0..256).map(name).collect::<Vec<_>>() }).to_string();
    let answer = pull(&node, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.status_line);
    let records = answer.json()["records"].as_array().unwrap().len();
    assert_eq!(records, 8 * 16, "whole names, as many as fit 8 MiB");
    let names = vec![name(0); 300];
    assert_refused(
        &pull(&node, &json!({ "names": names }).to_string()).await,
        400,
        "invalid body",
    );
}
