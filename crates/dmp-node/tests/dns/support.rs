//! A running node, a client that speaks to it, and shorthands for messages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::tsig::{Key, sign_request};
use dmp_dns::update::{Operation, UpdateBuilder};
use dmp_dns::{Name, Rcode, Rtype};
use dmp_node::access::{Author, KeyRow, Keyring};
use dmp_node::clock::Clock;
use dmp_node::context::{self, Context};
use dmp_node::listen::{Listeners, Running};
use dmp_node::settings::Settings;
use dmp_node::zone::Owner;

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const SECRET: [u8; 32] = [7; 32];
/// Every wait ends long after any answer could come and long before a test run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) context: Arc<Context>,
    pub(crate) clock: Clock,
    pub(crate) address: SocketAddr,
    running: Option<Running>,
    runtime: tokio::runtime::Runtime,
    socket: UdpSocket,
    _directory: Option<tempfile::TempDir>,
}

/// Settings of `mesh.example` with UPDATE on, in a directory of their own.
pub(crate) fn settings(directory: &tempfile::TempDir) -> Settings {
    Settings {
        database: directory.path().join("node/dmp.db"),
        udp_threads: 2,
        zone: Some(owner("mesh.example")),
        update: true,
        dns_rate: 0.0,
        ..Settings::default()
    }
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings(&directory);
        change(&mut settings);
        let mut node = Self::open(settings);
        node._directory = Some(directory);
        node
    }

    pub(crate) fn open(settings: Settings) -> Self {
        let clock = Clock::manual(NOW * 1000);
        let context = Context::open(settings, clock.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listeners = Listeners::bind(&context).unwrap();
        let address = listeners.address();
        let running = runtime
            .block_on(async { listeners.serve(&context) })
            .unwrap();
        let mut local = address;
        local.set_port(0);
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(address).unwrap();
        Self {
            context,
            clock,
            address,
            running: Some(running),
            runtime,
            socket,
            _directory: None,
        }
    }

    /// Sends one datagram and waits for one.
    pub(crate) fn udp(&self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.receive()
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, request: &[u8]) {
        self.socket.send(request).unwrap();
    }

    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut answer = vec![0; 65_535];
        let length = self.socket.recv(&mut answer).expect("the node answers");
        answer.truncate(length);
        answer
    }

    /// Sends a datagram that must not be answered: the next answer is that to a query sent after it.
    pub(crate) fn udp_silent(&self, request: &[u8]) {
        self.socket.send(request).unwrap();
        let sentinel = QueryBuilder::new(name("sentinel.invalid"), Rtype::TXT).build(0xbeef);
        assert_eq!(self.udp(&sentinel)[..2], [0xbe, 0xef]);
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn tcp(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        send_framed(&mut stream, request);
        receive_framed(&mut stream).expect("the node answers")
    }

    pub(crate) fn query(&self, owner: &str, rtype: Rtype) -> Response {
        Response::parse(&self.udp(&QueryBuilder::new(name(owner), rtype).build(0x1234))).unwrap()
    }

    /// Visible values of `owner`, sorted, over DNS.
    pub(crate) fn txt(&self, owner: &str) -> Vec<String> {
        let response = self.query(owner, Rtype::TXT);
        let values = response.txt(&name(owner)).into_iter();
        let mut values: Vec<String> = values
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
            .collect();
        values.sort();
        values
    }

    pub(crate) fn put(&self, owner: &str, value: &str, ttl: u64) {
        let operation = context::Operation::Publish {
            owner: self::owner(owner),
            value: value.into(),
            ttl,
        };
        self.runtime
            .block_on(self.context.submit(Author::Operator, vec![operation]))
            .unwrap();
    }

    pub(crate) fn with_keys(self, rows: Vec<KeyRow>) -> Self {
        self.context
            .access()
            .replace_keyring(Keyring::new(rows, Vec::new()));
        self
    }

    /// Signs the update with `key`, sends it, verifies the signature of the answer and gives the response.
    pub(crate) fn update(&self, key: &Key, update: &UpdateBuilder) -> Response {
        let mut message = update.build(0x4321);
        let signature = sign_request(key, &mut message, self.clock.seconds()).unwrap();
        let answer = self.udp(&message);
        signature
            .verify_answer(&answer, self.clock.seconds())
            .expect("the answer is signed");
        Response::parse(&answer).unwrap()
    }

    pub(crate) fn update_rcode(&self, key: &Key, operations: &[Operation]) -> Rcode {
        self.update(key, &update(operations)).rcode
    }

    pub(crate) fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shut_down();
    }
}

pub(crate) fn send_framed(stream: &mut TcpStream, message: &[u8]) {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).unwrap();
}

/// The next message, or `None` when the node has closed the connection.
pub(crate) fn receive_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    Some(message)
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn owner(text: &str) -> Owner {
    Owner::parse(text).unwrap()
}

/// An administrative key `<label>.mesh.example` with these patterns and [`SECRET`].
pub(crate) fn row(label: &str, patterns: &[&str]) -> KeyRow {
    KeyRow {
        name: format!("{label}.mesh.example."),
        algorithm: "hmac-sha256".into(),
        secret: SECRET.to_vec().into(),
        allowed_suffixes: patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect(),
        expires_at: 0,
        subject: String::new(),
        registered_spk: None,
        registered_x25519: None,
    }
}

pub(crate) fn key(label: &str) -> Key {
    Key::new(
        &name(&format!("{label}.mesh.example")),
        "hmac-sha256".parse().unwrap(),
        &SECRET,
    )
    .unwrap()
}

pub(crate) fn update(operations: &[Operation]) -> UpdateBuilder {
    let mut update = UpdateBuilder::new(&name("mesh.example"));
    for operation in operations {
        update.push(operation).unwrap();
    }
    update
}

pub(crate) fn add(owner: &str, value: &str) -> Operation {
    Operation::Add {
        owner: name(owner),
        ttl: 300,
        value: value.into(),
    }
}

pub(crate) fn delete_value(owner: &str, value: &str) -> Operation {
    Operation::DeleteValue {
        owner: name(owner),
        value: value.into(),
    }
}

pub(crate) fn delete_rrset(owner: &str) -> Operation {
    Operation::DeleteRrset { owner: name(owner) }
}
