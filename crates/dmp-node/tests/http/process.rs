//! Starting, stopping and running whole nodes: sockets, files, and keys that work at once (node.md 4.4, 8; C9).

use crate::support::{OPERATOR, START, TestNode, User, multi_tenant, unhex};
use dmp_dns::message::Response;
use dmp_dns::tsig::{Algorithm, Key, RequestSignature, sign_request};
use dmp_dns::update::{Operation, UpdateBuilder};
use dmp_dns::{Name, Rcode};
use dmp_node::clock::Clock;
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::supervise::{Node, StartError};
use serde_json::Value;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

fn config(database: &Path, more: &[(&str, &str)]) -> Config {
    let basic = [
        ("DMP_DB_PATH", database.to_str().unwrap()),
        ("DMP_DNS_HOST", "127.0.0.1"),
        ("DMP_HTTP_HOST", "127.0.0.1"),
        ("DMP_DNS_PORT", "0"),
        ("DMP_HTTP_PORT", "0"),
    ];
    let environment = Environment::from_pairs(basic.iter().chain(more).copied());
    Config::read(&environment, &Overrides::default()).unwrap()
}

/// Sends one signed UPDATE that adds a value, and gives the answer and whether its signature verifies.
pub(crate) fn update(node: SocketAddr, issued: &Value, owner: &str, value: &str) -> (Rcode, bool) {
    let name = |text: &str| -> Name { text.parse().unwrap() };
    let secret = unhex(issued["tsig_secret_hex"].as_str().unwrap());
    let key_name = name(issued["tsig_key_name"].as_str().unwrap());
    let key = Key::new(&key_name, Algorithm::HmacSha256, &secret).unwrap();
    let mut builder = UpdateBuilder::new(&name(issued["zone"].as_str().unwrap()));
    let operation = Operation::Add {
        owner: name(owner),
        ttl: 60,
        value: value.to_owned(),
    };
    builder.push(&operation).unwrap();
    let mut message = builder.build(4711);
    let signature: RequestSignature<'_> = sign_request(&key, &mut message, START).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.send_to(&message, node).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let answer = &buffer[..length];
    let verifies = signature.verify_answer(answer, START).is_ok();
    (Response::parse(answer).unwrap().rcode, verifies)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_key_works_for_the_very_next_packet_and_a_revoked_one_stops_at_once() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let user = User::new("alice@mesh.test", 1);
    let first = node.register("tsig-confirm", &user).await.json();
    let owner = first["allowed_suffixes"][5].as_str().unwrap().to_owned();
    assert!(owner.starts_with("id-"), "{owner}");
    let dns = node.dns_address();
    assert_eq!(update(dns, &first, &owner, "v=1"), (Rcode::NOERROR, true));
    assert_eq!(node.values(&owner).await, ["v=1"]);

    let second = node.register("tsig-confirm", &user).await.json();
    assert_eq!(
        update(dns, &first, &owner, "v=2"),
        (Rcode::NOTAUTH, false),
        "the old secret is dead"
    );
    assert_eq!(update(dns, &second, &owner, "v=3"), (Rcode::NOERROR, true));

    let name = second["tsig_key_name"].as_str().unwrap();
    assert!(node.credentials().revoke_key(name).await.unwrap());
    assert_eq!(update(dns, &second, &owner, "v=4"), (Rcode::NOTAUTH, false));
    assert_eq!(node.values(&owner).await, ["v=1", "v=3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http_publishes_dns_serves() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let answer = node
        .publish(OPERATOR, "a.mesh.test", r#"{"value": "over http"}"#)
        .await;
    assert_eq!(answer.status, 201);
    let query =
        dmp_dns::message::QueryBuilder::new("A.mesh.test.".parse().unwrap(), dmp_dns::Rtype::TXT);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.send_to(&query.build(1), node.dns_address()).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let response = Response::parse(&buffer[..length]).unwrap();
    assert_eq!(
        response.txt(&"a.mesh.test.".parse().unwrap()),
        [b"over http"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_unless_everything_is_bound() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http_port = taken.local_addr().unwrap().port().to_string();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dns_address = free.local_addr().unwrap();
    drop(free);
    let directory = tempfile::tempdir().unwrap();
    let dns_port = dns_address.port().to_string();
    let ports = [
        ("DMP_HTTP_PORT", http_port.as_str()),
        ("DMP_DNS_PORT", dns_port.as_str()),
    ];
    let config = config(&directory.path().join("node.db"), &ports);
    let error = Node::start(config.clone()).await.unwrap_err();
    let line = error.to_string();
    assert!(
        line.starts_with("DMP_HTTP_HOST, DMP_HTTP_PORT: ") && line.contains(&http_port),
        "{line}"
    );
    assert!(!line.contains('\n'));
    assert!(
        UdpSocket::bind(dns_address).is_ok(),
        "the DNS port was given back"
    );
    // The same files and ports serve as soon as the other one is gone.
    drop(taken);
    let node = Node::start(config).await.unwrap();
    assert_eq!(node.http_address().port().to_string(), http_port);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_is_alive_and_not_ready() {
    let node = TestNode::start(&multi_tenant(&[])).await;
    let ready = async || {
        let answer = node.get("/ready").await;
        (answer.status, answer.json()["status"].clone())
    };
    assert_eq!(ready().await, (200, "ready".into()));
    node.context().store().set_draining(true);
    assert_eq!(ready().await, (503, "draining".into()));
    assert_eq!(node.get("/health").await.status, 200);
    node.context().store().set_draining(false);
    assert_eq!(ready().await, (200, "ready".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_port_in_use_is_told() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let config = config(
        &directory.path().join("node.db"),
        &[("DMP_DNS_PORT", &port)],
    );
    let line = Node::start(config).await.unwrap_err().to_string();
    assert!(
        line.starts_with("DMP_DNS_HOST, DMP_DNS_PORT: ") && line.contains(&port),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_reference_is_never_touched() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = directory.path().join("dmp_tokens.db");
    std::fs::write(&theirs, "SQLite format 3\0").unwrap();
    let database = directory.path().join("node.db");
    let config = config(
        &database,
        &[("DMP_TOKEN_DB_PATH", theirs.to_str().unwrap())],
    );
    let error = Node::start(config).await.unwrap_err();
    assert!(matches!(
        error,
        StartError::ForeignDatabase {
            variable: "DMP_TOKEN_DB_PATH",
            ..
        }
    ));
    assert!(error.to_string().contains("dnsmesh node import"), "{error}");
    assert!(!database.exists());
    assert_eq!(std::fs::read(&theirs).unwrap(), b"SQLite format 3\0");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_configuration_the_database_goes_where_it_can_be_written() {
    let home = tempfile::tempdir().unwrap();
    let environment = Environment::from_pairs([("HOME", home.path().to_str().unwrap())]);
    let overrides = Overrides {
        dns_port: Some(0),
        http_port: Some(0),
        ..Overrides::default()
    };
    let mut config = Config::read(&environment, &overrides).unwrap();
    // A place where nobody can make a directory.
    config.database.path = "/sys/dnsmesh/node.db".into();
    let node = Node::start(config.clone()).await.unwrap();
    assert_eq!(
        node.database(),
        home.path().join(".local/share/dnsmesh/node.db")
    );
    assert!(node.dns_address().ip().is_loopback() && node.http_address().ip().is_loopback());
    node.shutdown().await;
    config.database.fallback = None;
    let line = Node::start(config).await.unwrap_err().to_string();
    assert!(line.starts_with("DMP_DB_PATH: /sys/dnsmesh"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stops_when_told_and_starts_again_on_the_same_port() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("node.db");
    let mut ports = ("0".to_owned(), "0".to_owned());
    for _ in 0..2 {
        let ports_now = [
            ("DMP_DNS_PORT", ports.0.as_str()),
            ("DMP_HTTP_PORT", ports.1.as_str()),
        ];
        let config = config(&database, &ports_now);
        let node = Node::start_at(config, Clock::system()).await.unwrap();
        let (dns, http) = (node.dns_address().port(), node.http_address().port());
        ports = (dns.to_string(), http.to_string());
        let stopped = node.run_until(async {});
        tokio::time::timeout(Duration::from_secs(5), stopped)
            .await
            .expect("a prompt stop");
    }
}
