//! A node as a process on loopback, ours or the reference's, ended when dropped.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Program;

pub(crate) const OPERATOR_TOKEN: &str = "operator-token-of-the-interop-suite";
const START_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(crate) zone: String,
    pub(crate) dns: SocketAddr,
    pub(crate) http: SocketAddr,
    process: Child,
    folder: Arc<TempDir>,
}

/// What a node needs beyond what all nodes of the suite have.
#[derive(Clone, Default)]
pub(crate) struct Extras {
    /// The directory to keep everything in; a new one by default.
    pub(crate) folder: Option<Arc<TempDir>>,
    /// The database in it; `node/dmp.db` by default.
    pub(crate) database: Option<PathBuf>,
    /// DNS and HTTP ports; free ones by default.
    pub(crate) ports: Option<(u16, u16)>,
    /// Further variables of the environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Node {
    /// Starts a node that serves `zone`, with registration, UPDATE and receiver notifications on.
    pub(crate) fn start(program: Program, zone: &str) -> Self {
        Self::start_with(program, zone, &Extras::default())
    }

    /// [`Node::start`] with something more.
    pub(crate) fn start_with(program: Program, zone: &str, extras: &Extras) -> Self {
        // A port that was free can be taken before the node binds it; then another pair is tried.
        for _ in 0..3 {
            let new_folder = || Arc::new(tempfile::tempdir().expect("a temporary directory"));
            let folder = extras.folder.clone().unwrap_or_else(new_folder);
            let (dns, http) = match extras.ports {
                Some((dns, http)) => (([127, 0, 0, 1], dns).into(), ([127, 0, 0, 1], http).into()),
                None => (free_port(), free_port()),
            };
            let mut command = command(program, zone, dns.port(), http.port(), folder.path());
            if let Some(database) = &extras.database {
                command.env("DMP_DB_PATH", database);
            }
            command.envs(extras.environment.iter().cloned());
            let process = command
                .spawn()
                .unwrap_or_else(|error| panic!("{}: {error}", program.executable().display()));
            let mut node = Node {
                zone: zone.to_owned(),
                dns,
                http,
                process,
                folder,
            };
            if node.wait_until_it_answers() {
                return node;
            }
            eprintln!("{}", node.log());
        }
        panic!("the {program:?} node for {zone} did not start");
    }

    /// The live values at a name, as the node's operator sees them.
    pub(crate) fn values(&self, owner: &str) -> Vec<String> {
        let (status, body) = self.request(OPERATOR_TOKEN, "GET", owner, None);
        assert!(
            status == 200 || status == 404,
            "GET {owner}: {status} {body}"
        );
        let values = body["values"].as_array().expect("a list of values");
        values
            .iter()
            .map(|value| value.as_str().expect("text").to_owned())
            .collect()
    }

    /// Publishes a value with the operator's token, as somebody who may write everywhere.
    pub(crate) fn publish(&self, owner: &str, value: &str, ttl: u32) {
        let body = json!({"value": value, "ttl": ttl});
        let (status, body) = self.request(OPERATOR_TOKEN, "POST", owner, Some(body));
        assert_eq!(status, 201, "POST {owner}: {body}");
    }

    /// Deletes one value with the operator's token.
    pub(crate) fn delete(&self, owner: &str, value: &str) {
        let body = json!({"value": value});
        let (status, body) = self.request(OPERATOR_TOKEN, "DELETE", owner, Some(body));
        assert_eq!(status, 204, "DELETE {owner}: {body}");
    }

    /// Publishes a value with somebody's token; the status of the answer.
    pub(crate) fn publish_as(&self, token: &str, owner: &str, value: &str) -> u16 {
        let body = json!({"value": value, "ttl": 300});
        self.request(token, "POST", owner, Some(body)).0
    }

    /// Stops the process as a service manager does.
    pub(crate) fn stop(&mut self) {
        let id = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.is_ok_and(|status| status.success()), "kill {id}");
        self.process.wait().expect("an end");
    }

    /// The directory that holds the database, in `node`, and the log.
    pub(crate) fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn request(&self, token: &str, method: &str, owner: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let mut stream = TcpStream::connect(self.http).expect("the node's HTTP port");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a read timeout");
        write!(
            stream,
            "{method} /v1/records/{owner} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.http,
            body.len(),
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn wait_until_it_answers(&mut self) -> bool {
        let end = Instant::now() + START_DEADLINE;
        while Instant::now() < end {
            if self.process.try_wait().expect("the process").is_some() {
                return false;
            }
            if TcpStream::connect(self.http).is_ok() && TcpStream::connect(self.dns).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the node for {} ---\n{}", self.zone, self.log());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(program: Program, zone: &str, dns: u16, http: u16, folder: &Path) -> Command {
    let log = std::fs::File::create(folder.join("log")).expect("a log file");
    let mut command = Command::new(program.executable());
    command
        .arg("node")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("DMP_DB_PATH", folder.join("node").join("dmp.db"))
        .env("DMP_DNS_PORT", dns.to_string())
        .env("DMP_HTTP_PORT", http.to_string())
        .env("DMP_OPERATOR_TOKEN", OPERATOR_TOKEN);
    for name in ["DMP_DOMAIN", "DMP_NODE_HOSTNAME"] {
        command.env(name, zone);
    }
    for name in ["DMP_DNS_HOST", "DMP_HTTP_HOST", "DMP_DNS_APEX_A"] {
        command.env(name, "127.0.0.1");
    }
    command
        .env("DMP_AUTH_MODE", "multi-tenant")
        .env("DMP_DNS_APEX_NS", format!("ns.{zone}"));
    for name in [
        "DMP_REGISTRATION_ENABLED",
        "DMP_DNS_UPDATE_ENABLED",
        "DMP_RECEIVER_CLAIM_NOTIFICATIONS",
    ] {
        command.env(name, "1");
    }
    // Scripts are faster than people: no limit may be what a test measures.
    for name in [
        "DMP_DNS",
        "DMP_HTTP",
        "DMP_CLAIM",
        "DMP_REGISTRATION_ENDPOINT",
        "DMP_REGISTRATION_ISSUED",
    ] {
        let rate = match name {
            "DMP_DNS" | "DMP_HTTP" => format!("{name}_RATE"),
            "DMP_CLAIM" => format!("{name}_RATE_PER_USER_PER_SEC"),
            _ => format!("{name}_RATE_PER_SEC"),
        };
        let burst = match name {
            "DMP_DNS" | "DMP_HTTP" => format!("{name}_BURST"),
            _ => format!("{name}_RATE_BURST"),
        };
        command.env(rate, "100000").env(burst, "100000");
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    command
}

/// A loopback port that is free for UDP and TCP and was not handed out before.
pub(crate) fn free_port() -> SocketAddr {
    static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("its address");
        if UdpSocket::bind(address).is_ok()
            && HANDED_OUT
                .lock()
                .expect("the set of ports")
                .insert(address.port())
        {
            return address;
        }
    }
}
