//! What the demo needs around its people: a temporary directory and a node on ports the kernel chooses.

use std::net::SocketAddr;
use std::path::Path;

use dmp_client::config::Config;
use dmp_client::register::{NodeAddress, RegisterRequest, tsig_register};
use dmp_node::config::{Config as NodeConfig, Environment, Overrides};
use dmp_node::supervise::Node;
use tempfile::TempDir;

use super::person::{Person, file_failure, random_text, settle};
use crate::exit::Failure;

/// The zone of the demo; `.test` is reserved and exists nowhere (RFC 6761 6.2).
const ZONE: &str = "mesh.test";

/// Node, directory and people.
pub(super) struct World {
    dir: TempDir,
    node: Node,
    pub(super) people: Vec<Person>,
}

impl World {
    /// Makes the directory and starts the node.
    pub(super) async fn start() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new()
            .prefix("dnsmesh-demo-")
            .tempdir()
            .map_err(file_failure)?;
        let database = dir.path().join("node/dmp.db");
        let environment = Environment::from_pairs([
            ("DMP_DB_PATH", database.to_string_lossy().as_ref()),
            ("DMP_DNS_HOST", "127.0.0.1"),
            ("DMP_DNS_PORT", "0"),
            ("DMP_HTTP_HOST", "127.0.0.1"),
            ("DMP_HTTP_PORT", "0"),
            ("DMP_DOMAIN", ZONE),
            ("DMP_NODE_HOSTNAME", ZONE),
            ("DMP_AUTH_MODE", "multi-tenant"),
            ("DMP_OPERATOR_TOKEN", &random_text()),
            ("DMP_REGISTRATION_ENABLED", "1"),
            ("DMP_DNS_UPDATE_ENABLED", "1"),
        ]);
        let config = NodeConfig::read(&environment, &Overrides::default())
            .map_err(|error| Failure::user("demo-node", error))?;
        let node = Node::start(config)
            .await
            .map_err(|error| Failure::user("demo-node", error))?;
        Ok(Self {
            dir,
            node,
            people: Vec::new(),
        })
    }

    /// Makes a home, registers it for a TSIG key and opens it; also returns how many name patterns the key may write at.
    pub(super) async fn register(&self, name: &str) -> Result<(Person, usize), Failure> {
        let config = Config {
            domain: ZONE.to_owned(),
            endpoint: self.http(),
            dns_resolvers: vec![self.dns().to_string()],
            local_node_dns_server: self.dns().ip().to_string(),
            local_node_dns_port: self.dns().port(),
            ..Config::default()
        };
        let (home, identity) = settle(self.dir.path(), name, config)?;
        let node = NodeAddress::parse(&self.http(), None)?;
        let request = RegisterRequest::new(node, None, None, &[format!("{name}@{ZONE}")])?;
        let grant = tsig_register(&request, &identity).await?;
        grant.save(&home, &self.dns().ip().to_string(), self.dns().port())?;
        Ok((Person::open(name, home, identity).await?, grant.scope.len()))
    }

    pub(super) fn zone(&self) -> &'static str {
        ZONE
    }

    pub(super) fn dns(&self) -> SocketAddr {
        self.node.dns_address()
    }

    /// The base URL.
    pub(super) fn http(&self) -> String {
        format!("http://{}", self.node.http_address())
    }

    pub(super) fn database(&self) -> &Path {
        self.node.database()
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the node and removes the directory.
    pub(super) async fn end(self) {
        let Self { dir, node, people } = self;
        drop(people);
        node.shutdown().await;
        drop(dir);
    }
}
