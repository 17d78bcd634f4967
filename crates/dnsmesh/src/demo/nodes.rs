//! What the demo of a cluster needs around its people: a temporary directory, a signed manifest, and three nodes as processes of their
//! own, which can be killed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dmp_client::config::Config;
use dmp_client::register::{NodeAddress, RegisterRequest, register};
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::name::DomainName;
use dmp_core::record::{ClusterManifest, ClusterNode};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::person::{Person, file_failure, random_text, settle};
use super::went_wrong;
use crate::exit::Failure;
use crate::time::now;

/// The zone of the cluster; `.test` is reserved and exists nowhere (RFC 6761 6.2).
const ZONE: &str = "mesh.test";
/// Seconds between two rounds of replication.
const INTERVAL: &str = "0.5";
/// Life of the manifest, seconds.
const MANIFEST_LIFE: u64 = 86_400;
/// How long a node may take to start.
const START: Duration = Duration::from_secs(20);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// Three nodes, their directory and the people.
pub(super) struct Nodes {
    dir: TempDir,
    operator: String,
    tokens: [String; 2],
    pub(super) nodes: Vec<Node>,
    pub(super) people: Vec<Person>,
}

/// One node, running or not.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) dns: SocketAddr,
    http: SocketAddr,
    process: Option<Child>,
}

impl Nodes {
    /// Makes directory, operator's key and manifest; nothing runs yet.
    pub(super) fn prepare() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new()
            .prefix("dnsmesh-demo-")
            .tempdir()
            .map_err(file_failure)?;
        let nodes = places()?;
        let key = OperatorKey::from_file(random_text().as_bytes())
            .map_err(|error| Failure::user("demo-keys", error))?;
        let name = DomainName::parse(ZONE).map_err(|error| Failure::user("demo-zone", error))?;
        let manifest = ClusterManifest {
            seq: 1,
            exp: UnixTime::new(now() + MANIFEST_LIFE),
            operator: key.public(),
            name,
            nodes: nodes
                .iter()
                .map(|node| ClusterNode {
                    id: node.name.clone(),
                    http_endpoint: node.http(),
                    dns_endpoint: Some(node.dns.to_string()),
                })
                .collect(),
        };
        let wire = manifest
            .sign(&key)
            .map_err(|error| Failure::user("demo-manifest", error))?;
        std::fs::write(dir.path().join("manifest"), wire).map_err(file_failure)?;
        Ok(Self {
            dir,
            operator: key.public().to_string(),
            tokens: [random_text(), random_text()],
            nodes,
            people: Vec::new(),
        })
    }

    /// Starts the node and waits until it answers.
    pub(super) async fn start(&mut self, number: usize) -> Result<(), Failure> {
        let (manifest, database) = (
            self.dir.path().join("manifest"),
            self.dir.path().join(format!("{number}/dmp.db")),
        );
        let [operator_token, peer_token] = &self.tokens;
        let program = std::env::current_exe().map_err(file_failure)?;
        let Some(node) = self.nodes.get_mut(number) else {
            return Err(went_wrong("there is no such node"));
        };
        let process = Command::new(program)
            .args(["node", "run"])
            .env_clear()
            .envs([
                ("DMP_DB_PATH", &*database.to_string_lossy()),
                ("DMP_DNS_HOST", &node.dns.ip().to_string()),
                ("DMP_DNS_PORT", &node.dns.port().to_string()),
                ("DMP_HTTP_HOST", &node.http.ip().to_string()),
                ("DMP_HTTP_PORT", &node.http.port().to_string()),
                ("DMP_DOMAIN", ZONE),
                ("DMP_NODE_HOSTNAME", &node.http.ip().to_string()),
                ("DMP_AUTH_MODE", "multi-tenant"),
                ("DMP_OPERATOR_TOKEN", operator_token),
                ("DMP_REGISTRATION_ENABLED", "1"),
                ("DMP_DNS_UPDATE_ENABLED", "1"),
                ("DMP_CLUSTER_FILE", &*manifest.to_string_lossy()),
                ("DMP_CLUSTER_BASE_DOMAIN", ZONE),
                ("DMP_NODE_ID", &node.name),
                ("DMP_SYNC_OPERATOR_SPK", &self.operator),
                ("DMP_SYNC_PEER_TOKEN", peer_token),
                ("DMP_SYNC_INTERVAL", INTERVAL),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(file_failure)?;
        let process = node.process.insert(process);
        let answers = async {
            while TcpStream::connect(node.http).await.is_err() {
                if process.try_wait().is_ok_and(|ended| ended.is_some()) {
                    return false;
                }
                sleep(LOOK).await;
            }
            true
        };
        match timeout(START, answers).await {
            Ok(true) => Ok(()),
            _ => Err(went_wrong("a node did not start")),
        }
    }

    /// SIGKILL.
    pub(super) async fn kill(node: &mut Node) -> Result<(), Failure> {
        match &mut node.process {
            Some(process) => process.kill().await.map_err(file_failure)?,
            None => return Err(went_wrong("the node does not run")),
        }
        node.process = None;
        Ok(())
    }

    /// Makes a home that has pinned the cluster, registers it for a token at every node and opens it.
    pub(super) async fn register(&self, name: &str) -> Result<Person, Failure> {
        let Some(first) = self.nodes.first() else {
            return Err(went_wrong("there are no nodes"));
        };
        let config = Config {
            domain: ZONE.to_owned(),
            endpoint: first.http(),
            dns_resolvers: self.nodes.iter().map(|node| node.dns.to_string()).collect(),
            local_node_dns_server: first.dns.ip().to_string(),
            local_node_dns_port: first.dns.port(),
            cluster_base_domain: ZONE.to_owned(),
            cluster_operator_spk: self.operator.clone(),
            cluster_enabled: true,
            ..Config::default()
        };
        let (home, identity) = settle(self.dir.path(), name, config)?;
        for node in &self.nodes {
            let address = NodeAddress::parse(&node.http(), None)?;
            let request = RegisterRequest::new(address, None, None, &[format!("{name}@{ZONE}")])?;
            register(&request, &identity, &home, now()).await?;
        }
        Person::open(name, home, identity).await
    }

    pub(super) fn operator(&self) -> &str {
        &self.operator
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends the nodes and removes the directory.
    pub(super) async fn end(mut self) {
        self.people.clear();
        for node in &mut self.nodes {
            if let Some(process) = &mut node.process {
                // It is gone in any case: a process is killed when its handle is dropped.
                let _ = process.kill().await;
            }
        }
    }
}

impl Node {
    pub(super) fn http(&self) -> String {
        format!("http://{}", self.http)
    }
}

/// A loopback address for each node, with ports that are free there.
fn places() -> Result<Vec<Node>, Failure> {
    let random = hex::decode(random_text()).unwrap_or_default();
    let [high, low, ..] = *random else {
        return Err(went_wrong("there is no randomness"));
    };
    // From 127.1.0.0 on, so that it is never the address that everything else uses.
    let address = |last| IpAddr::V4(Ipv4Addr::new(127, high.max(1), low, last));
    let place = |(last, name): (u8, &str)| {
        let address = address(last);
        let (udp, tcp) = (
            UdpSocket::bind((address, 0)).map_err(no_address)?,
            TcpListener::bind((address, 0)).map_err(no_address)?,
        );
        Ok(Node {
            name: name.to_owned(),
            dns: udp.local_addr().map_err(no_address)?,
            http: tcp.local_addr().map_err(no_address)?,
            process: None,
        })
    };
    [(1, "node-a"), (2, "node-b"), (3, "node-c")]
        .into_iter()
        .map(place)
        .collect()
}

fn no_address(error: std::io::Error) -> Failure {
    Failure::user(
        "demo-addresses",
        format!("three loopback addresses are needed, as Linux has them: {error}"),
    )
}
