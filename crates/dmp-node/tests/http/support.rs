//! A node of its own for each test, and a client that sends exactly the octets it is told to.

use crate::contract;
use dmp_core::keys::{AgreementPublicKey, AgreementSecret};
use dmp_core::registration::{Challenge, RegistrationSubject, prove_possession};
use dmp_node::clock::Clock;
use dmp_node::config::{Config, Environment, Overrides};
use dmp_node::supervise::Node;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The operator's token of nodes made by [`multi_tenant`].
pub(crate) const OPERATOR: &str = "operator-secret";
/// When the clock of every test node starts.
pub(crate) const START: u64 = 1_800_000_000;

pub(crate) struct TestNode {
    node: Node,
    pub(crate) clock: Clock,
    pub(crate) directory: TempDir,
}

impl Deref for TestNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl TestNode {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, settings).await
    }

    pub(crate) async fn start_in(directory: TempDir, settings: &[(&str, &str)]) -> Self {
        let database = directory.path().join("node.db");
        let basic = [
            ("DMP_DNS_HOST", "127.0.0.1"),
            ("DMP_HTTP_HOST", "127.0.0.1"),
            ("DMP_DNS_PORT", "0"),
            ("DMP_HTTP_PORT", "0"),
            ("DMP_DB_PATH", database.to_str().unwrap()),
        ];
        let settings = basic.iter().chain(settings).copied();
        let environment = Environment::from_pairs(settings);
        let config = Config::read(&environment, &Overrides::default()).unwrap();
        let clock = Clock::manual(START * 1000);
        let node = Node::start_at(config, clock.clone()).await.unwrap();
        Self {
            node,
            clock,
            directory,
        }
    }

    /// Stops the node and keeps its files.
    pub(crate) async fn stop(self) -> TempDir {
        self.node.shutdown().await;
        self.directory
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.http_address()).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: node.test\r\nConnection: close\r\n{headers}{length}\r\n"
        );
        let request = format!("{head}{body}");
        let answer = self.exchange(&request, method == "HEAD").await;
        contract::check(method, target, &answer);
        answer
    }

    /// Sends the octets and reads one answer.
    pub(crate) async fn raw(&self, octets: &str) -> Answer {
        self.exchange(octets, false).await
    }

    async fn exchange(&self, octets: &str, is_head: bool) -> Answer {
        let mut connection = self.connect().await;
        connection.send(octets).await;
        connection.answer(is_head).await.expect("an answer")
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "", "").await
    }

    pub(crate) async fn publish(&self, token: &str, name: &str, body: &str) -> Answer {
        self.request("POST", &format!("/v1/records/{name}"), &bearer(token), body)
            .await
    }

    pub(crate) async fn delete(&self, token: &str, name: &str, body: &str) -> Answer {
        self.request(
            "DELETE",
            &format!("/v1/records/{name}"),
            &bearer(token),
            body,
        )
        .await
    }

    /// The values at a name, as the operator sees them.
    pub(crate) async fn values(&self, name: &str) -> Vec<String> {
        let answer = self
            .request("GET", &format!("/v1/records/{name}"), &bearer(OPERATOR), "")
            .await;
        serde_json::from_value(answer.json()["values"].clone()).unwrap()
    }

    pub(crate) async fn challenge(&self) -> Value {
        let answer = self.get("/v1/registration/challenge").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Registers with a fresh challenge at `route`: `confirm` or `tsig-confirm`.
    pub(crate) async fn register(&self, route: &str, user: &User) -> Answer {
        let challenge = self.challenge().await;
        self.post_registration(route, &user.confirmation(&challenge))
            .await
    }

    pub(crate) async fn post_registration(&self, route: &str, body: &Value) -> Answer {
        self.request(
            "POST",
            &format!("/v1/registration/{route}"),
            "",
            &body.to_string(),
        )
        .await
    }

    /// Registers for a bearer token and gives it.
    pub(crate) async fn token_of(&self, user: &User) -> String {
        let answer = self.register("confirm", user).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }
}

/// The settings of a node where users register, without limits that a test would run into.
pub(crate) fn multi_tenant<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let basic = [
        ("DMP_DOMAIN", "mesh.test"),
        ("DMP_NODE_HOSTNAME", "API.mesh.test"),
        ("DMP_AUTH_MODE", "multi-tenant"),
        ("DMP_OPERATOR_TOKEN", OPERATOR),
        ("DMP_REGISTRATION_ENABLED", "1"),
        ("DMP_DNS_UPDATE_ENABLED", "1"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC", "0"),
        ("DMP_HTTP_RATE", "0"),
    ];
    basic.iter().chain(more).copied().collect()
}

/// The header that carries a token; none for the empty token.
pub(crate) fn bearer(token: &str) -> String {
    if token.is_empty() {
        String::new()
    } else {
        format!("Authorization: Bearer {token}\r\n")
    }
}

/// Somebody who registers.
pub(crate) struct User {
    pub(crate) subject: String,
    pub(crate) signing: SigningKey,
    pub(crate) agreement: AgreementSecret,
}

impl User {
    /// Equal seeds are equal keys.
    pub(crate) fn new(subject: &str, seed: u8) -> Self {
        Self {
            subject: subject.to_owned(),
            signing: SigningKey::from_bytes(&[seed; 32]),
            agreement: AgreementSecret::from_bytes([seed; 32]),
        }
    }

    pub(crate) fn spk(&self) -> String {
        hex(self.signing.verifying_key().as_bytes())
    }

    /// A valid confirmation of the challenge, without an agreement key.
    pub(crate) fn confirmation(&self, challenge: &Value) -> Value {
        let node = challenge["node"].as_str().unwrap();
        self.signed(challenge, &self.subject, node, 1)
    }

    /// A confirmation whose signature is over the subject, node and version given.
    pub(crate) fn signed(
        &self,
        challenge: &Value,
        subject: &str,
        node: &str,
        version: u8,
    ) -> Value {
        let nonce = challenge["challenge"].as_str().unwrap();
        let bytes = [
            &unhex(nonce),
            subject.as_bytes(),
            node.as_bytes(),
            &[version],
        ]
        .concat();
        json!({
            "subject": self.subject,
            "ed25519_spk": self.spk(),
            "challenge": nonce,
            "signature": hex(&self.signing.sign(&bytes).to_bytes()),
        })
    }

    /// The confirmation with an agreement key and the proof of its possession.
    pub(crate) fn with_agreement(&self, challenge: &Value, mut confirmation: Value) -> Value {
        confirmation["x25519_pub"] = json!(self.agreement.public().to_string());
        confirmation["x25519_pop"] = json!(self.proof(challenge, &self.subject));
        confirmation
    }

    /// The proof of possession for a subject.
    pub(crate) fn proof(&self, challenge: &Value, subject: &str) -> String {
        let server = challenge["server_x25519_pub"].as_str().unwrap();
        let nonce = challenge["challenge"].as_str().unwrap();
        let proof = prove_possession(
            &self.agreement,
            &AgreementPublicKey::from_hex(server).unwrap(),
            &Challenge::from_hex(nonce).unwrap(),
            &RegistrationSubject::parse(subject).unwrap(),
        );
        hex(&proof.unwrap())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            received: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, octets: &str) {
        self.stream.write_all(octets.as_bytes()).await.unwrap();
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next answer; `None` if the connection ends before there is one.
    pub(crate) async fn answer(&mut self, is_head: bool) -> Option<Answer> {
        let end = loop {
            let found = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            match found {
                Some(end) => break end,
                None => self.receive().await.then_some(())?,
            }
        };
        let rest = self.received.split_off(end + 4);
        let head = String::from_utf8(std::mem::replace(&mut self.received, rest)).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap().to_owned();
        let headers: HashMap<String, String> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let length = if is_head { 0 } else { length };
        while self.received.len() < length {
            assert!(self.receive().await, "the body ends early");
        }
        let rest = self.received.split_off(length);
        let body = String::from_utf8(std::mem::replace(&mut self.received, rest)).unwrap();
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer {
            status,
            status_line,
            headers,
            body,
        })
    }

    /// Whether the node closes the connection without another octet.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && !self.receive().await
    }

    async fn receive(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let length = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..length]);
        length > 0
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) status_line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// Asserts status and error text at once.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (status, error),
        "{answer:?}"
    );
}
