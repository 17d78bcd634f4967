//! What a node logs: the lines operators search for, and never a secret at any level (node.md 8).

use dmp_core::keys::Identity;
use dmp_core::registration::{Challenge, NodeName, RegistrationSubject};
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::supervise::Node;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn exchange(node: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(node).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_default()
}

#[test]
fn operators_find_their_lines_and_no_secret_is_among_them() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("node.db");
    let environment = Environment::from_pairs([
        ("DMP_DB_PATH", database.to_str().unwrap()),
        ("DMP_DNS_HOST", "127.0.0.1"),
        ("DMP_HTTP_HOST", "127.0.0.1"),
        ("DMP_DNS_PORT", "0"),
        ("DMP_HTTP_PORT", "0"),
        ("DMP_DOMAIN", "mesh.test"),
        ("DMP_NODE_HOSTNAME", "mesh.test"),
        ("DMP_AUTH_MODE", "multi-tenant"),
        ("DMP_OPERATOR_TOKEN", "operator-secret"),
        ("DMP_SYNC_PEER_TOKEN", "operator-secret"),
        ("DMP_REGISTRATION_ENABLED", "1"),
        ("DMP_DNS_UPDATE_ENABLED", "1"),
        ("DMP_LOG_LEVEL", "debug"),
    ]);
    let config = Config::read(&environment, &Overrides::default()).unwrap();
    let node = runtime.block_on(Node::start(config)).unwrap();
    let (dns, http) = (node.dns_address(), node.http_address());

    let user = Identity::from_seed([7; 32]);
    let mut secrets = vec!["operator-secret".to_owned(), "record value".to_owned()];
    for (route, member) in [("confirm", "token"), ("tsig-confirm", "tsig_secret_hex")] {
        let offer = exchange(http, "GET", "/v1/registration/challenge", "", "");
        let challenge = offer["challenge"].as_str().unwrap();
        let signature = user.sign_registration(
            &Challenge::from_hex(challenge).unwrap(),
            &RegistrationSubject::parse("alice@mesh.test").unwrap(),
            &NodeName::parse("mesh.test").unwrap(),
        );
        let body = json!({
            "subject": "alice@mesh.test",
            "ed25519_spk": user.signing_public().to_string(),
            "challenge": challenge,
            "signature": hex::encode(signature),
        });
        let target = format!("/v1/registration/{route}");
        let issued = exchange(http, "POST", &target, "", &body.to_string());
        secrets.push(issued[member].as_str().unwrap().to_owned());
        secrets.extend([challenge.to_owned(), hex::encode(signature)]);
        // Refused requests must not be told in the log either.
        exchange(http, "POST", &target, "", &body.to_string());
    }
    for token in [
        secrets[0].clone(),
        secrets[2].clone(),
        "wrong-secret".to_owned(),
    ] {
        let header = format!("Authorization: Bearer {token}\r\n");
        let target = "/v1/records/dmp.alice.mesh.test";
        exchange(
            http,
            "POST",
            target,
            &header,
            r#"{"value": "record value"}"#,
        );
        exchange(http, "GET", target, &header, "");
    }
    secrets.push("wrong-secret".to_owned());
    runtime.block_on(node.shutdown());

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for line in [
        format!("DMP DNS server listening on {dns}/udp+tcp"),
        format!("DMP HTTP API listening on http://{http}"),
        "DMP claims: zone=mesh.test provider=off receiver=on".to_owned(),
        "missing for production: DNS on loopback only".to_owned(),
        format!(
            "DMP node up: dns={dns}/udp http={http} db={} peers=0",
            database.display()
        ),
        "DMP_SYNC_PEER_TOKEN has no effect".to_owned(),
        "DMP node stopped".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}\n{text}");
    }
    // Peers and names are for those who debug.
    for line in text
        .lines()
        .filter(|line| !line.contains("DEBUG") && !line.contains("TRACE"))
    {
        assert!(!line.contains("alice"), "{line}");
    }
}
