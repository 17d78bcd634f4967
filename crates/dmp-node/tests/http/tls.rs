//! HTTPS with the operator's certificate files.

use crate::support::{START, TestNode};
use dmp_node::clock::Clock;
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::supervise::Node;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes `cert.pem` and `key.pem` for `node.test`.
fn certify(directory: &Path) -> CertificateDer<'static> {
    let certified = rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), certified.cert.pem()).unwrap();
    let key = certified.signing_key.serialize_pem();
    std::fs::write(directory.join("key.pem"), key).unwrap();
    certified.cert.der().clone()
}

fn files(directory: &Path) -> [String; 2] {
    ["cert.pem", "key.pem"].map(|name| directory.join(name).to_str().unwrap().to_owned())
}

/// A connection that trusts `root` only.
async fn handshake(
    node: &TestNode,
    root: CertificateDer<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(node.http_address()).await.unwrap();
    let name = ServerName::try_from("node.test").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    connector.connect(name, stream).await
}

/// One request, after which the node closes the connection.
async fn ask(mut stream: TlsStream<TcpStream>, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: node.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(node: &TestNode, root: CertificateDer<'static>, target: &str) -> String {
    ask(handshake(node, root).await.unwrap(), target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificate_and_key_everything_is_inside_tls() {
    let directory = tempfile::tempdir().unwrap();
    let root = certify(directory.path());
    let [certificate, key] = files(directory.path());
    let settings = [
        ("DMP_HTTP_TLS_CERT", certificate.as_str()),
        ("DMP_HTTP_TLS_KEY", key.as_str()),
    ];
    let node = TestNode::start(&settings).await;
    let answer = get(&node, root.clone(), "/health").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#"{"status": "ok"}"#), "{answer}");
    let metrics = get(&node, root, "/metrics").await;
    assert!(metrics.contains(r#"dmp_http_requests_total{method="GET",status="200"} 1.0"#));

    let mut plain = node.connect().await;
    plain.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = plain.answer(false).await;
    assert!(answer.is_none(), "nothing in the clear: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let [certificate, key] = files(directory.path());
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    let [_, stranger] = files(other.path());
    let start = async |certificate: &str, key: &str| {
        let environment = Environment::from_pairs([
            (
                "DMP_DB_PATH",
                directory.path().join("node.db").to_str().unwrap(),
            ),
            ("DMP_DNS_HOST", "127.0.0.1"),
            ("DMP_DNS_PORT", "0"),
            ("DMP_HTTP_PORT", "0"),
            ("DMP_HTTP_TLS_CERT", certificate),
            ("DMP_HTTP_TLS_KEY", key),
        ]);
        let config = Config::read(&environment, &Overrides::default());
        let config = config.map_err(|error| error.to_string())?;
        let node = Node::start_at(config, Clock::manual(START * 1000)).await;
        node.map(drop).map_err(|error| error.to_string())
    };
    for (certificate, key, variable) in [
        (
            certificate.as_str(),
            stranger.as_str(),
            "DMP_HTTP_TLS_KEY: ",
        ),
        (&key, &key, "DMP_HTTP_TLS_CERT: "),
        ("/nowhere", &key, "DMP_HTTP_TLS_CERT: "),
        (&certificate, "", "DMP_HTTP_TLS_KEY"),
        ("", &key, "DMP_HTTP_TLS_CERT"),
    ] {
        let line = start(certificate, key).await.unwrap_err();
        assert!(line.starts_with(variable), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_serves_the_new_certificate_and_drops_no_connection() {
    let directory = tempfile::tempdir().unwrap();
    let former = certify(directory.path());
    let [certificate, key] = files(directory.path());
    let node = TestNode::start(&[
        ("DMP_HTTP_TLS_CERT", certificate.as_str()),
        ("DMP_HTTP_TLS_KEY", key.as_str()),
    ])
    .await;
    let open = handshake(&node, former.clone()).await.unwrap();

    std::fs::write(&key, "no key").unwrap();
    let line = node.reload_certificate().unwrap_err().to_string();
    assert!(line.starts_with("DMP_HTTP_TLS_KEY: "), "{line}");
    assert!(
        handshake(&node, former.clone()).await.is_ok(),
        "the former one stays"
    );

    let new = certify(directory.path());
    node.reload_certificate().unwrap();
    let answer = ask(open, "/health").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(handshake(&node, former).await.is_err());
    let metrics = get(&node, new, "/metrics").await;
    let expiry = "dmp_tls_certificate_expiry_timestamp_seconds";
    // What rcgen gives a certificate of which nothing is said: until 4096.
    assert!(
        metrics.contains(&format!("\n{expiry} 67090118400.0\n")),
        "{metrics}"
    );
}
