//! Automatic certificates (RFC 8555), against a CA on loopback that really checks what it is sent.

use crate::acme_server::{AcmeServer, Anybody, LIFE, Seen};
use crate::support::START;
use dmp_node::clock::Clock;
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::control::{Connection, Request};
use dmp_node::supervise::Node;
use dmp_node::zone::Owner;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, crypto};
use serde_json::Value;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const DAY: u64 = 86_400;
const NAME: &str = "node.mesh.test";

/// A CA, and the files and the clock of a node that asks it.
struct World {
    ca: AcmeServer,
    clock: Clock,
    directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let clock = Clock::manual(START * 1_000);
        Self {
            ca: AcmeServer::start(clock.clone()).await,
            clock,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A node with automatic certificates; what `more` says wins.
    fn config(&self, more: &[(&str, &str)]) -> Result<Config, String> {
        let database = self.directory.path().join("node.db");
        let ca = self.ca.directory();
        let basic = [
            ("DMP_DNS_HOST", "127.0.0.1"),
            ("DMP_HTTP_HOST", "127.0.0.1"),
            ("DMP_DNS_PORT", "0"),
            ("DMP_HTTP_PORT", "0"),
            ("DMP_DB_PATH", database.to_str().unwrap()),
            ("DMP_DOMAIN", "mesh.test"),
            ("DMP_NODE_HOSTNAME", NAME),
            ("DMP_ACME_ENABLED", "1"),
            ("DMP_ACME_TERMS_AGREED", "1"),
            ("DMP_ACME_DIRECTORY", &ca),
        ];
        let environment = Environment::from_pairs(basic.iter().chain(more).copied());
        let config = Config::read(&environment, &Overrides::default());
        config.map_err(|error| error.to_string())
    }

    async fn start(&self, more: &[(&str, &str)]) -> Node {
        let node = self.start_unmet(more).await;
        self.ca.meet(node.dns_address(), node.http_address());
        node
    }

    /// A node whose proofs the CA does not look at yet.
    async fn start_unmet(&self, more: &[(&str, &str)]) -> Node {
        let config = self.config(more).unwrap();
        Node::start_at(config, self.clock.clone()).await.unwrap()
    }

    /// A connection by the clock of the test that trusts the CA's root only.
    async fn connect(&self, node: &Node, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.root()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let time = Arc::new(At(self.clock.clone()));
        let client = ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        connect(node, name, client).await
    }

    /// The first connection that the certificate allows.
    async fn connect_at_last(&self, node: &Node, name: &str) -> TlsStream<TcpStream> {
        until(async || self.connect(node, name).await.ok()).await
    }

    /// Waits until attempts to obtain a certificate have this many times failed.
    async fn failures(&self, node: &Node, count: u64) -> Value {
        let has_failed = async || {
            let status = status(node).await;
            (status["renewal_failures"] == count && status["renewal_error"].is_string())
                .then_some(status)
        };
        until(has_failed).await
    }
}

#[derive(Debug)]
struct At(Clock);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let since = Duration::from_secs(self.0.seconds());
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// A connection of somebody who trusts everybody.
async fn connect_unverified(
    node: &Node,
    name: &str,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    client.alpn_protocols = vec![protocol.to_vec()];
    connect(node, name, client).await
}

async fn connect(
    node: &Node,
    name: &str,
    client: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(node.http_address()).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
}

/// Asks again and again until there is an answer, for half a minute.
async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), asking);
    waited.await.expect("an answer within half a minute")
}

/// One request, after which the node closes the connection.
async fn get(mut stream: TlsStream<TcpStream>, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn leaf(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    assert_eq!(chain.len(), 2, "leaf and intermediate");
    chain[0].clone()
}

/// What `node ctl status` is told.
async fn status(node: &Node) -> Value {
    let database = node.database().to_owned();
    let ask = move || {
        let mut connection = Connection::open(&database).unwrap().unwrap();
        connection
            .request(&Request::Status, &mut |_| Ok(()))
            .unwrap()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn proofs_in_zone(node: &Node) -> Vec<String> {
    let owner = Owner::parse(&format!("_acme-challenge.{NAME}")).unwrap();
    node.context().values(&owner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_obtained_by_a_record_in_the_zone_which_is_gone_afterwards() {
    let world = World::new().await;
    let contact = [("DMP_ACME_CONTACT", "admin@mesh.test")];
    let node = world.start_unmet(&contact).await;
    let proof = until(async || proofs_in_zone(&node).pop()).await;
    assert!(
        world.connect(&node, NAME).await.is_err(),
        "until then nobody trusts the listener"
    );
    world.ca.meet(node.dns_address(), node.http_address());
    let stream = world.connect_at_last(&node, NAME).await;
    assert_eq!(proofs_in_zone(&node), Vec::<String>::new());
    let answer = get(stream, "/health").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = world.ca.seen();
    let expected = Seen {
        requests: seen.requests,
        refused_nonces: 1,
        accounts: 1,
        orders: 1,
        issued: 1,
        proofs: vec![proof],
    };
    assert_eq!(seen, expected);
    assert_eq!(
        world.ca.contact(),
        serde_json::json!(["mailto:admin@mesh.test"])
    );

    let metrics = get(world.connect(&node, NAME).await.unwrap(), "/metrics").await;
    let expiry = START + LIFE;
    for line in [
        format!("\ndmp_tls_certificate_expiry_timestamp_seconds {expiry}.0\n"),
        "\ndmp_acme_renewals_total{result=\"success\"} 1.0\n".to_owned(),
        "\ndmp_acme_renewals_total{result=\"failure\"} 0.0\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    let status = status(&node).await;
    assert_eq!(status["certificate"], "acme");
    assert_eq!(status["certificate_expires_at"], expiry);
    assert_eq!(status["renewal_failures"], 0);
    let renewal = status["renewal_at"].as_u64().unwrap() - START;
    assert!((60 * DAY..63 * DAY).contains(&renewal), "{renewal}");
    node.shutdown().await;

    let state = world.directory.path().join("node.db.acme");
    let ca = std::fs::read_dir(state)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut names = Vec::new();
    for file in std::fs::read_dir(ca).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        names.push((file.file_name().into_string().unwrap(), mode));
    }
    names.sort();
    let names: Vec<_> = names
        .iter()
        .map(|(name, mode)| (name.as_str(), *mode))
        .collect();
    let expected = ["account.json", "attempts.json", "certificate.pem"];
    assert_eq!(names, expected.map(|name| (name, 0o600)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_takes_the_stored_certificate_and_does_not_ask_the_ca() {
    let world = World::new().await;
    let node = world.start(&[]).await;
    let first = leaf(&world.connect_at_last(&node, NAME).await);
    node.shutdown().await;
    let seen = world.ca.seen();
    world.clock.advance(59 * DAY);
    let node = world.start(&[]).await;
    let again = leaf(&world.connect(&node, NAME).await.unwrap());
    assert_eq!(again, first);
    assert_eq!(status(&node).await["certificate"], "acme");
    node.shutdown().await;
    assert_eq!(world.ca.seen(), seen);

    let node = world
        .start(&[("DMP_ACME_NAMES", "node.mesh.test, api.mesh.test")])
        .await;
    world.connect_at_last(&node, "api.mesh.test").await;
    world.connect(&node, NAME).await.unwrap();
    assert_eq!(world.ca.seen().accounts, 1, "the account is taken up again");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_serves_the_new_certificate_and_drops_no_connection() {
    let world = World::new().await;
    let node = world.start(&[]).await;
    let open = world.connect_at_last(&node, NAME).await;
    let first = leaf(&open);
    world.clock.advance(63 * DAY);
    node.reload_certificate().unwrap();
    let renewed = async || {
        let stream = world.connect(&node, NAME).await.unwrap();
        (leaf(&stream) != first).then_some(stream)
    };
    let stream = until(renewed).await;
    let metrics = get(stream, "/metrics").await;
    let expiry = START + 63 * DAY + LIFE;
    let line = format!("\ndmp_tls_certificate_expiry_timestamp_seconds {expiry}.0\n");
    assert!(metrics.contains(&line), "{metrics}");
    let answer = get(open, "/health").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = world.ca.seen();
    assert_eq!((seen.accounts, seen.orders, seen.issued), (1, 2, 2));
    assert_eq!(proofs_in_zone(&node), Vec::<String>::new());
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_renewal_backs_off_over_restarts_and_keeps_the_certificate() {
    let world = World::new().await;
    let node = world.start(&[]).await;
    let first = leaf(&world.connect_at_last(&node, NAME).await);
    world.ca.refuse_orders(Some((500, "serverInternal", None)));
    world.clock.advance(63 * DAY);
    node.reload_certificate().unwrap();
    let status = world.failures(&node, 1).await;
    let wait = status["renewal_at"].as_u64().unwrap() - world.clock.seconds();
    assert!((300..375).contains(&wait), "{wait}");
    let error = status["renewal_error"].as_str().unwrap();
    assert!(
        error.contains("not now") && !error.contains('\n'),
        "{error:?}"
    );
    assert_eq!(status["certificate"], "acme");
    assert_eq!(leaf(&world.connect(&node, NAME).await.unwrap()), first);
    node.shutdown().await;

    let seen = world.ca.seen();
    let node = world.start(&[]).await;
    let status = self::status(&node).await;
    assert_eq!(status["renewal_failures"], 1);
    let booked = status["renewal_at"].as_u64().unwrap() - world.clock.seconds();
    assert_eq!(booked, wait, "a restart changes nothing");
    assert_eq!(leaf(&world.connect(&node, NAME).await.unwrap()), first);
    assert_eq!(world.ca.seen(), seen);

    world.clock.advance(wait);
    node.reload_certificate().unwrap();
    let status = world.failures(&node, 2).await;
    let wait = status["renewal_at"].as_u64().unwrap() - world.clock.seconds();
    assert!((600..750).contains(&wait), "{wait}");

    world.ca.refuse_orders(None);
    world.clock.advance(60);
    // The operator asks for it before its time.
    node.reload_certificate().unwrap();
    until(async || (leaf(&world.connect(&node, NAME).await.unwrap()) != first).then_some(())).await;
    assert_eq!(self::status(&node).await["renewal_failures"], 0);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_certificate_answers_and_waits_as_long_as_the_ca_says() {
    let world = World::new().await;
    world
        .ca
        .refuse_orders(Some((429, "rateLimited", Some("7200"))));
    let node = world.start(&[]).await;
    let status = world.failures(&node, 1).await;
    assert_eq!(status["certificate"], "none yet");
    assert_eq!(status["certificate_expires_at"], Value::Null);
    assert_eq!(status["renewal_at"], START + 7_200);
    world.clock.advance(3_600);
    node.reload_certificate().unwrap();
    let status = self::status(&node).await;
    assert_eq!(
        status["renewal_at"],
        START + 7_200,
        "not even the operator hurries it"
    );

    // Who skips the check, like a health check on the machine itself, is answered.
    let stream = connect_unverified(&node, NAME, b"http/1.1").await.unwrap();
    let answer = get(stream, "/metrics").await;
    let line = "\ndmp_tls_certificate_expiry_timestamp_seconds 86400.0\n";
    assert!(
        answer.contains(line),
        "long past, so that an alert fires: {answer}"
    );

    world.ca.refuse_orders(None);
    world.clock.advance(3_600);
    node.reload_certificate().unwrap();
    world.connect_at_last(&node, NAME).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_outside_the_zone_are_proven_by_a_handshake() {
    let world = World::new().await;
    let names = [("DMP_ACME_NAMES", "www.other.test, other.test")];
    let node = world.start(&names).await;
    let stream = world.connect_at_last(&node, "www.other.test").await;
    let answer = get(stream, "/health").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    world.connect(&node, "other.test").await.unwrap();
    let seen = world.ca.seen();
    assert_eq!((seen.orders, seen.proofs.len()), (1, 2));
    let challenged = connect_unverified(&node, "other.test", b"acme-tls/1").await;
    assert!(challenged.is_err(), "nobody asks any more");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_the_zone_may_be_proven_by_a_handshake_too() {
    let world = World::new().await;
    let node = world.start(&[("DMP_ACME_CHALLENGE", "tls-alpn-01")]).await;
    world.connect_at_last(&node, NAME).await;
    assert_eq!(world.ca.seen().proofs.len(), 1);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_the_ca_does_not_find_is_told_and_taken_away() {
    let world = World::new().await;
    let other = tempfile::tempdir().unwrap();
    let database = other.path().join("other.db");
    let node = world.start_unmet(&[]).await;
    let elsewhere = [
        ("DMP_DB_PATH", database.to_str().unwrap()),
        ("DMP_ACME_ENABLED", "0"),
    ];
    let elsewhere = world.start_unmet(&elsewhere).await;
    world.ca.meet(elsewhere.dns_address(), node.http_address());
    let status = world.failures(&node, 1).await;
    let error = status["renewal_error"].as_str().unwrap();
    assert!(error.starts_with("node.mesh.test: "), "{error}");
    assert!(error.contains("0 values, none of them right"), "{error}");
    assert_eq!(proofs_in_zone(&node), Vec::<String>::new());
    assert_eq!(status["certificate"], "none yet");
    elsewhere.shutdown().await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_while_it_asks_takes_its_proof_away_and_has_not_failed() {
    let world = World::new().await;
    let node = world.start_unmet(&[]).await;
    until(async || proofs_in_zone(&node).pop()).await;
    let context = Arc::clone(node.context());
    node.shutdown().await;
    let owner = Owner::parse(&format!("_acme-challenge.{NAME}")).unwrap();
    assert_eq!(context.values(&owner), Vec::<String>::new());
    drop(context);
    let node = world.start(&[]).await;
    world.connect_at_last(&node, NAME).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_ca_forgot_is_made_anew_and_a_new_contact_is_told() {
    let world = World::new().await;
    let node = world.start(&[]).await;
    let first = leaf(&world.connect_at_last(&node, NAME).await);
    assert_eq!(world.ca.contact(), serde_json::json!([]));
    node.shutdown().await;
    world.clock.advance(63 * DAY);
    let contact = [("DMP_ACME_CONTACT", "new@mesh.test")];
    let node = world.start(&contact).await;
    let is_new = async || {
        let stream = world.connect(&node, NAME).await.unwrap();
        (leaf(&stream) != first).then_some(())
    };
    until(is_new).await;
    assert_eq!(
        world.ca.contact(),
        serde_json::json!(["mailto:new@mesh.test"])
    );
    assert_eq!(world.ca.seen().accounts, 1);

    world.ca.forget_accounts();
    world.clock.advance(63 * DAY);
    node.reload_certificate().unwrap();
    let status = world.failures(&node, 1).await;
    assert!(
        status["renewal_error"]
            .as_str()
            .unwrap()
            .contains("accountDoesNotExist")
    );
    world.clock.advance(60);
    node.reload_certificate().unwrap();
    until(async || (world.ca.seen().issued == 3).then_some(())).await;
    assert_eq!(world.ca.seen().accounts, 2);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_the_ca_is_trusted_by_the_named_roots_only() {
    let mut world = World::new().await;
    let (ca, root) = AcmeServer::start_over_tls(world.clock.clone()).await;
    world.ca = ca;
    let node = world.start(&[]).await;
    let status = world.failures(&node, 1).await;
    let error = status["renewal_error"].as_str().unwrap();
    assert!(
        error.starts_with("127.0.0.1: invalid peer certificate"),
        "{error}"
    );
    assert_eq!(world.ca.seen(), Seen::default());
    node.shutdown().await;

    let roots = world.directory.path().join("roots.pem");
    std::fs::write(&roots, root).unwrap();
    let node = world
        .start(&[("DMP_ACME_ROOTS", roots.to_str().unwrap())])
        .await;
    world.clock.advance(60);
    node.reload_certificate().unwrap();
    world.connect_at_last(&node, NAME).await;
    node.shutdown().await;
}

#[tokio::test]
async fn settings_that_cannot_work_stop_the_start_and_are_named() {
    let world = World::new().await;
    let files = [
        ("DMP_HTTP_TLS_CERT", "cert.pem"),
        ("DMP_HTTP_TLS_KEY", "key.pem"),
    ];
    assert!(
        world
            .config(&files)
            .unwrap_err()
            .starts_with("DMP_ACME_ENABLED: ")
    );
    let many = vec!["a.test"; 101].join(",");
    for (variable, value, reason) in [
        ("DMP_ACME_TERMS_AGREED", "no", "must be on"),
        ("DMP_ACME_NAMES", "*.mesh.test", "no wildcard"),
        ("DMP_ACME_NAMES", "192.0.2.1", "no address"),
        ("DMP_ACME_NAMES", "localhost", "at least two labels"),
        ("DMP_ACME_NAMES", "a_b.mesh.test", "host names"),
        ("DMP_ACME_NAMES", &many, "100 is the most"),
        ("DMP_ACME_CONTACT", "admin", "one e-mail address"),
        (
            "DMP_ACME_CONTACT",
            "a@b.test,c@d.test",
            "one e-mail address",
        ),
        ("DMP_ACME_DIRECTORY", "http://ca.test/directory", "https://"),
        (
            "DMP_ACME_DIRECTORY",
            "ftp://127.0.0.1/directory",
            "https://",
        ),
        ("DMP_ACME_DIRECTORY", "directory", "https://"),
        ("DMP_ACME_CHALLENGE", "http-01", "port 80"),
        ("DMP_ACME_CHALLENGE", "dns-02", "dns-01 or tls-alpn-01"),
        ("DMP_ACME_ENABLED", "perhaps", "must be 1"),
    ] {
        let line = world.config(&[(variable, value)]).unwrap_err();
        assert!(line.starts_with(&format!("{variable}: ")), "{line}");
        assert!(line.contains(reason) && !line.contains('\n'), "{line}");
    }
    let outside = [
        ("DMP_ACME_NAMES", "other.test"),
        ("DMP_ACME_CHALLENGE", "dns-01"),
    ];
    let line = world.config(&outside).unwrap_err();
    assert!(
        line.starts_with("DMP_ACME_CHALLENGE: ") && line.contains("other.test"),
        "{line}"
    );
    let line = world.config(&[("DMP_NODE_HOSTNAME", "")]).unwrap_err();
    assert!(line.starts_with("DMP_ACME_NAMES: "), "{line}");
    let line = world
        .config(&[("DMP_NODE_HOSTNAME", "node:8053")])
        .unwrap_err();
    assert!(line.starts_with("DMP_NODE_HOSTNAME: "), "{line}");

    let config = world
        .config(&[("DMP_ACME_ROOTS", "/nowhere/roots.pem")])
        .unwrap();
    let refused = Node::start_at(config, world.clock.clone()).await;
    let line = refused.unwrap_err().to_string();
    assert!(
        line.starts_with("DMP_ACME_ROOTS: /nowhere/roots.pem: "),
        "{line}"
    );
    assert_eq!(world.ca.seen(), Seen::default());
}
