//! Three nodes as processes that replicate to each other, killed and started again at will.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::http::request;
use crate::links::Links;

pub(crate) const NODES: usize = 3;
pub(crate) const ZONE: &str = "mesh.test";
const OPERATOR: &str = "operator-token-of-the-torture";
const PEERS: &str = "peer-token-of-the-torture-of-three-nodes";
/// Between two rounds of replication, seconds.
const INTERVAL: &str = "0.2";
/// Life of every value, seconds: longer than any run.
const TTL: u32 = 86_400;
const START: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    pub(crate) links: Links,
    folder: TempDir,
    nodes: [Mutex<Option<Child>>; NODES],
}

/// What a node said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is done and on the disk.
    Done,
    /// There is no such value.
    Absent,
    /// Nothing, or that it cannot now.
    Nothing,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let cluster = Self {
            links: Links::lay(),
            folder: tempfile::tempdir().expect("a temporary directory"),
            nodes: Default::default(),
        };
        for node in 0..NODES {
            cluster.run(node);
        }
        cluster
    }

    /// Starts the node unless it runs, and waits until it answers.
    pub(crate) fn run(&self, node: usize) {
        let mut process = self.process(node);
        if process.is_some() {
            return;
        }
        let folder = self.folder.path().join(node.to_string());
        std::fs::create_dir_all(&folder).expect("a directory");
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"));
        let log = log.expect("a log file");
        let peers = (0..NODES).filter(|peer| *peer != node);
        let peers: Vec<String> = peers.map(|peer| self.links.peer(node, peer)).collect();
        let mut command = self.links.command(node, env!("CARGO_BIN_EXE_dnsmesh"));
        command
            .args(["node", "run"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &folder)
            .env("DMP_DB_PATH", folder.join("dmp.db"))
            .env("DMP_SYNC_PEERS", peers.join(","))
            .envs(self.links.listen(node))
            .envs([
                ("DMP_DOMAIN", ZONE),
                ("DMP_NODE_HOSTNAME", ZONE),
                ("DMP_AUTH_MODE", "multi-tenant"),
                ("DMP_OPERATOR_TOKEN", OPERATOR),
                ("DMP_SYNC_PEER_TOKEN", PEERS),
                ("DMP_SYNC_INTERVAL", INTERVAL),
                ("DMP_HTTP_RATE", "0"),
                ("DMP_DNS_RATE", "0"),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        let mut child = command.spawn().expect("a node");
        let end = Instant::now() + START;
        while TcpStream::connect(self.http(node)).is_err() {
            let ended = child.try_wait().expect("the process");
            if ended.is_some() || Instant::now() > end {
                let _ = child.kill();
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("node {node} did not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        *process = Some(child);
    }

    /// SIGKILL, whatever it is doing.
    pub(crate) fn kill(&self, node: usize) {
        if let Some(mut child) = self.process(node).take() {
            child.kill().expect("a signal");
            child.wait().expect("an end");
        }
    }

    pub(crate) fn publish(&self, node: usize, name: &str, value: &str) -> Said {
        self.write(node, "POST", name, &json!({"value": value, "ttl": TTL}))
    }

    pub(crate) fn delete(&self, node: usize, name: &str, value: &str) -> Said {
        self.write(node, "DELETE", name, &json!({"value": value}))
    }

    /// Every live pair of name and hash of a value, as the node tells its peers.
    pub(crate) fn held(&self, node: usize) -> io::Result<BTreeSet<(String, String)>> {
        let mut held = BTreeSet::new();
        let mut cursor = "0::".to_owned();
        loop {
            let target = format!("/v1/sync/digest?cursor={cursor}&limit=10000");
            let (status, page) = request(self.http(node), PEERS, "GET", &target, None)?;
            let rows = page["records"].as_array();
            let (200, Some(rows)) = (status, rows) else {
                return Err(io::Error::other(format!("digest: {status} {page}")));
            };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            held.extend(
                rows.iter()
                    .map(|row| (text(&row["name"]), text(&row["hash"]))),
            );
            cursor = text(&page["next_cursor"]);
            if page["has_more"] != Value::Bool(true) {
                return Ok(held);
            }
        }
    }

    /// At which nodes the value is, asked one by one: for a failing run.
    pub(crate) fn holders(&self, name: &str, value: &str) -> Vec<usize> {
        let target = format!("/v1/records/{name}");
        let holds = |node: &usize| {
            let answer = request(self.http(*node), OPERATOR, "GET", &target, None);
            answer.is_ok_and(|(_, body)| body.to_string().contains(value))
        };
        (0..NODES).filter(holds).collect()
    }

    /// The logs of all nodes, for a failing run.
    pub(crate) fn logs(&self) -> String {
        let log = |node: usize| {
            let file = self.folder.path().join(node.to_string()).join("log");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let from = text.len().saturating_sub(4_000);
            format!("--- node {node}\n{}\n", text.get(from..).unwrap_or(&text))
        };
        (0..NODES).map(log).collect()
    }

    fn write(&self, node: usize, method: &str, name: &str, body: &Value) -> Said {
        let target = format!("/v1/records/{name}");
        match request(self.http(node), OPERATOR, method, &target, Some(body)) {
            Ok((201 | 204, _)) => Said::Done,
            Ok((404, _)) => Said::Absent,
            Ok((503, _)) | Err(_) => Said::Nothing,
            Ok((status, body)) => panic!("{method} {name} at node {node}: {status} {body}"),
        }
    }

    fn http(&self, node: usize) -> SocketAddr {
        self.links.ports(node).http
    }

    fn process(&self, node: usize) -> MutexGuard<'_, Option<Child>> {
        self.nodes[node]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..NODES {
            self.kill(node);
        }
    }
}

/// How a value appears in a digest.
pub(crate) fn hash(value: &str) -> String {
    Sha256::digest(value)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}
