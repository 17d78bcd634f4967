//! What a node logs: the lines operators search for, and never a secret at any level (node.md 8).

use dmp_core::keys::Identity;
use dmp_core::registration::{Challenge, NodeName, RegistrationSubject};
use dmp_dns::message::QueryBuilder;
use dmp_dns::tsig::{Algorithm, Key, sign_request};
use dmp_dns::update::{Operation, UpdateBuilder};
use dmp_dns::{Name, Rcode, Rtype};
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::metrics::log_panics;
use dmp_node::supervise::Node;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who asks, as the trusted proxy in front of the node says; over DNS it is [`DNS_CLIENT`].
const CLIENT: &str = "203.0.113.7";
/// Another loopback address than the node's own, which it tells of itself.
const DNS_CLIENT: &str = "127.0.0.77";

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
        "{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: {CLIENT}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
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
        ("DMP_HEARTBEAT_RETENTION_HOURS", "72"),
        ("DMP_REGISTRATION_ENABLED", "1"),
        ("DMP_DNS_UPDATE_ENABLED", "1"),
        ("DMP_LOG_LEVEL", "debug"),
        ("DMP_TRUSTED_PROXIES", "127.0.0.1"),
    ]);
    let config = Config::read(&environment, &Overrides::default()).unwrap();
    let node = runtime.block_on(Node::start(config)).unwrap();
    let (dns, http) = (node.dns_address(), node.http_address());

    let user = Identity::from_seed([7; 32]);
    let mut secrets = vec!["operator-secret".to_owned(), "record value".to_owned()];
    let mut key = Value::Null;
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
        key = issued.clone();
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
    let owners = over_dns(dns, &key);
    log_panics();
    for _ in 0..2 {
        let broken = std::panic::catch_unwind(|| panic!("while answering alice"));
        assert!(broken.is_err());
    }
    runtime.block_on(node.shutdown());

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for line in [
        format!("DMP DNS server listening on {dns}/udp+tcp"),
        format!("DMP HTTP API listening on http://{http}"),
        "DMP claims: zone=mesh.test provider=off receiver=on".to_owned(),
        "DNS on loopback only (DMP_DNS_HOST): nobody else can read this node".to_owned(),
        format!(
            "DMP node up: dns={dns}/udp http={http} db={} peers=0",
            database.display()
        ),
        "DMP_HEARTBEAT_RETENTION_HOURS has no effect".to_owned(),
        "DMP node stopped".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}\n{text}");
    }
    // Peers, users and names are for those who debug.
    let above_debug = text
        .lines()
        .filter(|line| !line.contains("DEBUG") && !line.contains("TRACE"));
    let mut private = vec!["alice".to_owned(), CLIENT.to_owned(), DNS_CLIENT.to_owned()];
    private.extend(owners);
    for line in above_debug {
        for private in &private {
            assert!(!line.contains(private), "{private} in {line}");
        }
    }
    let panics = text.matches("a bug: panic at crates/dmp-node/tests/log.rs:");
    assert_eq!(panics.count(), 1, "{text}");
    let claims = text.matches("claim for a recipient who is not registered here");
    assert_eq!(
        claims.count(),
        1,
        "what strangers repeat is told once a minute"
    );
}

/// A query, an update, a denied one, one with a wrong secret, two claims for strangers, and garbage; gives the first
/// labels of the owner names that were in them.
fn over_dns(node: SocketAddr, key: &Value) -> Vec<String> {
    let socket = UdpSocket::bind((DNS_CLIENT, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let exchange = |request: &[u8]| {
        socket.send_to(request, node).unwrap();
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer).unwrap();
        Rcode(u16::from(answer[..length][3] & 15))
    };
    let zone: Name = "mesh.test".parse().unwrap();
    let add = |owner: &str, value: &str| {
        let mut update = UpdateBuilder::new(&zone);
        let operation = Operation::Add {
            owner: owner.parse().unwrap(),
            ttl: 60,
            value: value.to_owned(),
        };
        update.push(&operation).unwrap();
        update.build(9)
    };
    let signed = |mut request: Vec<u8>, secret: &[u8]| {
        let name: Name = key["tsig_key_name"].as_str().unwrap().parse().unwrap();
        let key = Key::new(&name, Algorithm::HmacSha256, secret).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        sign_request(&key, &mut request, now.as_secs()).unwrap();
        request
    };
    let secret = hex::decode(key["tsig_secret_hex"].as_str().unwrap()).unwrap();
    let own = key["allowed_suffixes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .find(|pattern| pattern.starts_with("id-"))
        .unwrap();
    let query = QueryBuilder::new(own.parse().unwrap(), Rtype::TXT).build(1);
    let claim = "claim-1.mb-0123456789ab.mesh.test";
    let answers = [
        exchange(&query),
        exchange(&signed(add(own, "record value"), &secret)),
        exchange(&signed(
            add("id-elsewhere.mesh.test", "record value"),
            &secret,
        )),
        exchange(&signed(add(own, "record value"), &[9; 32])),
        exchange(&add(claim, "v=dmp1;t=claim;record value")),
        exchange(&add(claim, "v=dmp1;t=claim;record value")),
        exchange(&query[..20]),
    ];
    let expected = [
        Rcode::NXDOMAIN,
        Rcode::NOERROR,
        Rcode::REFUSED,
        Rcode::NOTAUTH,
        Rcode::REFUSED,
        Rcode::REFUSED,
        Rcode::FORMERR,
    ];
    assert_eq!(answers, expected);
    let first = |name: &str| name.split('.').next().unwrap().to_owned();
    vec![
        first(own),
        "id-elsewhere".to_owned(),
        "0123456789ab".to_owned(),
    ]
}
