//! What the demo needs around its people: a temporary directory and a node on ports the kernel chooses.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dmp_client::config::Config;
use dmp_client::home::Home;
use dmp_client::mesh::system_random;
use dmp_client::register::{NodeAddress, RegisterRequest, tsig_register};
use dmp_core::keys::{Identity, Salt};
use dmp_node::config::{Config as NodeConfig, Environment, Overrides};
use dmp_node::supervise::Node;
use tempfile::TempDir;

use super::person::Person;
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
    ///
    /// The passphrase lies in a private file of the home, so that other commands can use the home while it exists.
    pub(super) async fn register(&self, name: &str) -> Result<(Person, usize), Failure> {
        let home = Home::at(self.dir.path().join(name));
        let (passphrase, salt) = (random_text(), Salt::generate(&mut system_random()));
        let passphrase_file = home.dir().join("passphrase");
        let identity = Identity::derive(&passphrase, &salt)
            .map_err(|error| Failure::user("demo-keys", error))?;
        home.save_config(&Config {
            username: name.to_owned(),
            domain: ZONE.to_owned(),
            endpoint: self.http(),
            dns_resolvers: vec![self.dns().to_string()],
            local_node_dns_server: self.dns().ip().to_string(),
            local_node_dns_port: self.dns().port(),
            provider_seeds: Some(Vec::new()),
            kdf_salt: salt.to_hex(),
            verify_pubkey: identity.signing_public().to_string(),
            passphrase_file: Some(passphrase_file.to_string_lossy().into_owned()),
            ..Config::default()
        })?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&passphrase_file);
        file.and_then(|mut file| file.write_all(passphrase.as_bytes()))
            .map_err(file_failure)?;

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

/// 256 random bits as text.
fn random_text() -> String {
    Salt::generate(&mut system_random()).to_hex()
}

fn file_failure(error: std::io::Error) -> Failure {
    Failure::user("demo-files", error)
}
