//! `cluster` against real nodes (cli.md 3.12, walk-through C; federation.md 4, 12): three of them, without replication, so that what
//! one has only the client can have put there.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::User;
use common::node::{Node, OPERATOR_TOKEN, command};
use dmp_core::id::UnixTime;
use dmp_core::name::DomainName;
use dmp_core::record::{ClusterManifest, ClusterNode};

/// The base domain, which all nodes serve.
const BASE: &str = "mesh.test";

/// The operator of a cluster: three nodes, a key, and signed manifests.
struct Operator {
    dir: PathBuf,
    user: User,
    public: String,
}

impl Operator {
    fn new(dir: &Path) -> Self {
        let user = User::new(dir, "operator").with("DMP_OPERATOR_TOKEN", OPERATOR_TOKEN);
        let key = dir.join("operator.key");
        let made = user
            .run(&["cluster", "keygen", key.to_str().unwrap(), "--json"])
            .expect(0)
            .json();
        Self {
            dir: dir.to_owned(),
            public: made["public_key"].as_str().unwrap().to_owned(),
            user,
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Signs a manifest of these nodes and keeps it in a file.
    fn sign(&self, file: &str, nodes: &[Node], options: &[&str]) -> String {
        let key = self.path("operator.key");
        let nodes: Vec<String> = ["a", "b", "c"]
            .iter()
            .zip(nodes)
            .flat_map(|(id, node)| {
                // The last one goes by its name, which the nodes say for themselves.
                let dns = match *id {
                    "c" => format!("{BASE}:{}", node.dns.port()),
                    _ => node.dns.to_string(),
                };
                let node = format!("id={id},http={},dns={dns}", node.url());
                ["--node".to_owned(), node]
            })
            .collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let sign = ["cluster", "sign", BASE, "--key", &key];
        let value = self
            .user
            .run(&[&sign[..], &nodes, options].concat())
            .expect(0)
            .stdout;
        let path = self.path(file);
        fs::write(&path, value).unwrap();
        path
    }

    fn publish(&self, file: &str, node: &Node) {
        self.user
            .run(&["cluster", "publish", file, "--node", &node.url()])
            .expect(0)
            .says("published cluster to cluster.mesh.test");
    }
}

fn start(dir: &Path) -> Vec<Node> {
    ["a", "b", "c"]
        .iter()
        .map(|id| {
            let dir = dir.join(id);
            fs::create_dir_all(&dir).unwrap();
            Node::spawn(command(&dir, BASE), BASE)
        })
        .collect()
}

/// A user whose resolvers are these nodes and who has nothing of a single node.
fn person(dir: &Path, name: &str, nodes: &[Node]) -> User {
    let user = User::new(dir, name);
    let resolvers: Vec<_> = nodes.iter().map(|node| node.dns.to_string()).collect();
    let resolvers = resolvers.join(",");
    let address = format!("{name}@home.test");
    user.run(&["init", &address, "--dns-resolvers", &resolvers])
        .expect(0);
    user.configure("provider_seeds: []");
    user
}

/// What one node serves at a name.
fn served(node: &Node, owner: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = dmp_net::PoolOptions::default();
        let pool = dmp_net::ResolverPool::new(vec![node.dns], options).unwrap();
        match pool.txt(&owner.parse().unwrap()).await {
            dmp_net::Lookup::Found(values) => values,
            dmp_net::Lookup::Absent => Vec::new(),
            dmp_net::Lookup::Unreachable(why) => panic!("{why}"),
        }
    })
}

fn file(user: &User) -> Vec<u8> {
    fs::read(user.home.join("config.yaml")).unwrap()
}

#[test]
fn a_pin_is_checked_needs_no_network_and_does_not_switch_anything_on() {
    let dir = tempfile::tempdir().unwrap();
    let alice = person(dir.path(), "alice", &[]);
    let key = "AB".repeat(32);
    let before = file(&alice);
    for (key, base) in [
        ("abcd", BASE),
        (&"xy".repeat(32), BASE),
        (&"ab".repeat(33), BASE),
        (key.as_str(), "me sh"),
        (&key, ""),
        (&key, "a..b"),
    ] {
        alice
            .run(&["cluster", "pin", key, base])
            .expect(1)
            .warns("[cluster-anchor]")
            .nothing_on_stdout();
    }
    for verb in ["fetch", "enable", "status"] {
        alice
            .run(&["cluster", verb])
            .expect(1)
            .warns("[cluster-not-pinned]");
    }
    assert_eq!(file(&alice), before);

    alice.configure("cluster_node_token: of-another-operator");
    alice
        .run(&["cluster", "pin", &key, "Mesh.test."])
        .expect(0)
        .says("pinned cluster operator key and base domain Mesh.test\n");
    assert_eq!(alice.setting("cluster_base_domain"), "Mesh.test");
    assert_eq!(alice.setting("cluster_operator_spk"), key.to_lowercase());
    assert_eq!(alice.setting("cluster_enabled"), "false");
    assert_eq!(
        alice.setting("cluster_node_token"),
        "of-another-operator",
        "a token may be set before its cluster is pinned"
    );

    // In use, pinned again: the same operator's token stays, that of another cluster's does not.
    alice.configure("cluster_enabled: true");
    alice
        .run(&["cluster", "pin", &"cd".repeat(32), "mesh.TEST"])
        .expect(0);
    assert_eq!(alice.setting("cluster_enabled"), "false");
    assert_eq!(alice.setting("cluster_node_token"), "of-another-operator");
    alice
        .run(&["cluster", "pin", &key, "other.test"])
        .expect(0)
        .warns("cluster_node_token was for the nodes of another cluster");
    assert_eq!(alice.setting("cluster_node_token"), "''");

    alice
        .run(&["cluster", "disable"])
        .expect(0)
        .says("already disabled");
    alice.configure("cluster_enabled: true");
    alice
        .run(&["cluster", "disable"])
        .expect(0)
        .says("cluster mode disabled");
    assert_eq!(alice.setting("cluster_base_domain"), "other.test");
}

#[test]
fn a_pinned_cluster_that_is_not_enabled_changes_neither_zone_nor_node() {
    let dir = tempfile::tempdir().unwrap();
    let alice = person(dir.path(), "alice", &[]);
    let text = alice.config();
    let legacy: String = text
        .lines()
        .filter(|line| !line.starts_with("cluster_"))
        .map(|line| format!("{line}\n"))
        .collect();
    let pins = format!(
        "cluster_base_domain: {BASE}\ncluster_operator_spk: {}\n",
        "ab".repeat(32)
    );
    fs::write(alice.home.join("config.yaml"), legacy + &pins).unwrap();
    alice
        .run(&["identity", "show"])
        .expect(0)
        .says("domain: home.test");
    alice
        .run(&["identity", "publish"])
        .expect(1)
        .warns("[connect-no-endpoint]");
    // Enabled, it is the zone, and what needs no network asks nobody.
    alice.configure("cluster_enabled: true");
    alice
        .run(&["identity", "show"])
        .expect(0)
        .says("domain: mesh.test");
    alice.run(&["intro", "list"]).expect(0);
}

#[test]
fn an_operator_signs_what_clients_can_use_and_each_manifest_follows_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::new(dir.path());
    let path = |name: &str| operator.path(name);
    operator
        .user
        .run(&["cluster", "keygen", &path("operator.key")])
        .expect(1)
        .warns("[key-file]");

    let toml = "[[nodes]]\nid = \"a\"\nhttp = \"https://a.test:8053\"\ndns = \"a.test:5353\"\n\n[[nodes]]\nid = \"b\"\nhttp = \"https://b.test\"\n";
    fs::write(path("nodes.toml"), toml).unwrap();
    let json = r#"{"nodes": [{"node_id": "c", "http_endpoint": "http://[::1]:8053", "dns_endpoint": "[::1]:53"}]}"#;
    fs::write(path("nodes.json"), json).unwrap();
    let (key, nodes) = (path("operator.key"), path("nodes.toml"));
    let sign = ["cluster", "sign", BASE, "--key", &key, "--nodes", &nodes];
    let first = operator
        .user
        .run(&[&sign[..], &["--seq", "41", "--valid", "30d"]].concat())
        .expect(0)
        .stdout;
    assert!(first.starts_with("v=dmp1;t=cluster;") && first.lines().count() == 1);
    fs::write(path("1.txt"), &first).unwrap();
    let (json, previous) = (path("nodes.json"), path("1.txt"));
    let second = operator
        .user
        .run(&[
            "cluster",
            "sign",
            BASE,
            "--key",
            &key,
            "--nodes",
            &json,
            "--node",
            "id=d,http=http://d.test",
            "--previous",
            &previous,
            "--json",
        ])
        .expect(0)
        .json();
    assert_eq!(second["seq"], 42);
    assert_eq!(second["owner"], "cluster.mesh.test");
    assert_eq!(second["signed_by"], operator.public);
    assert_eq!(second["nodes"][0]["dns"], "[::1]:53");
    assert_eq!(second["nodes"][1]["id"], "d");
    operator
        .user
        .run_with_input(&["cluster", "show", "-"], first.as_bytes())
        .expect(0)
        .says("cluster at cluster.mesh.test\n")
        .says("  node:      a  http=https://a.test:8053  dns=a.test:5353\n")
        .says("  node:      b  http=https://b.test  dns=-\n");

    // What is wrong is named, and nothing is printed.
    for (content, word) in [
        ("nodes = 1", "nodes.toml: "),
        ("[[nodes]]\nid = \"a\"\n", "http"),
        (
            "[[nodes]]\nid = \"a\"\nhttp = \"https://a.test\"\nport = 1\n",
            "port",
        ),
        (
            "[[nodes]]\nid = \"a\"\nhttp = \"https://a.test\"\ndns = \"a.test:x\"\n",
            "node a: `a.test:x`",
        ),
        (
            "[[nodes]]\nid = \"seventeen letters\"\nhttp = \"https://a.test\"\n",
            "seventeen letters",
        ),
    ] {
        fs::write(&nodes, content).unwrap();
        operator
            .user
            .run(&sign)
            .expect(1)
            .warns("[cluster-nodes-file]")
            .warns(word)
            .nothing_on_stdout();
    }
    let many: String = (0..33)
        .map(|index| format!("[[nodes]]\nid = \"n{index}\"\nhttp = \"http://n\"\n"))
        .collect();
    for (content, word) in [
        (many, "node count"),
        (toml.repeat(2), "node id"),
        (
            format!(
                "[[nodes]]\nid = \"a\"\nhttp = \"http://{}.test\"\n",
                "a".repeat(60)
            )
            .repeat(1)
                + &(1..12)
                    .map(|index| {
                        format!(
                            "[[nodes]]\nid = \"n{index}\"\nhttp = \"http://{}.test\"\n",
                            "b".repeat(60)
                        )
                    })
                    .collect::<String>(),
            "longer",
        ),
    ] {
        fs::write(&nodes, content).unwrap();
        operator
            .user
            .run(&sign)
            .expect(1)
            .warns("[signed-invalid]")
            .warns(word);
    }
    operator
        .user
        .run(&["cluster", "sign", BASE, "--key", &key])
        .expect(2);
}

#[test]
fn enabling_needs_a_manifest_and_a_failed_attempt_leaves_the_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = start(dir.path());
    let operator = Operator::new(dir.path());
    let alice = person(dir.path(), "alice", &nodes);
    alice
        .run(&["cluster", "pin", &operator.public, BASE])
        .expect(0);
    let pinned = file(&alice);
    for verb in ["fetch", "enable", "status"] {
        alice
            .run(&["cluster", verb])
            .expect(2)
            .warns("no manifest at cluster.mesh.test [cluster-no-manifest]")
            .nothing_on_stdout();
    }
    let first = operator.sign("first.txt", &nodes[..2], &["--seq", "5"]);
    operator.publish(&first, &nodes[0]);
    let wrong = person(dir.path(), "wrong", &nodes);
    wrong
        .run(&["cluster", "pin", &"ab".repeat(32), BASE])
        .expect(0);
    wrong
        .run(&["cluster", "enable"])
        .expect(2)
        .warns("[cluster-unusable]");
    // A node that nobody can reach; `sign` would not have let it pass.
    let key = dmp_client::signing::read_key(Path::new(&operator.path("operator.key"))).unwrap();
    let soon = std::time::SystemTime::now() + Duration::from_secs(3_600);
    let soon = soon
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let unusable = ClusterManifest {
        seq: 6,
        exp: UnixTime::new(soon),
        operator: key.public(),
        name: DomainName::parse(BASE).unwrap(),
        nodes: vec![ClusterNode {
            id: "a".to_owned(),
            http_endpoint: "ftp://a.test".to_owned(),
            dns_endpoint: None,
        }],
    };
    let unusable = unusable.sign(&key).unwrap();
    fs::write(operator.path("unusable.txt"), &unusable).unwrap();
    operator.publish(&operator.path("unusable.txt"), &nodes[1]);
    let hasty = person(dir.path(), "hasty", &nodes[1..2]);
    hasty
        .run(&["cluster", "pin", &operator.public, BASE])
        .expect(0);
    let before = file(&hasty);
    hasty
        .run(&["cluster", "enable"])
        .expect(2)
        .warns("node a: `ftp://a.test` is not an http or https URL [cluster-node]");
    assert_eq!(file(&hasty), before);
    assert_eq!(file(&alice), pinned);
    alice.configure(&format!("dns_resolvers: ['{}']", nodes[0].dns));
    let pinned = file(&alice);

    let found = alice
        .run(&["cluster", "fetch"])
        .expect(0)
        .says("cluster: mesh.test\n  seq:   5\n  exp:   ")
        .says("\n  nodes: 2\n    a  http=http://127.0.0.1:");
    assert!(found.stdout.contains(&format!("dns={}\n", nodes[0].dns)));
    assert_eq!(file(&alice), pinned);
    alice
        .run(&["cluster", "fetch", "--save"])
        .expect(0)
        .says("saved signed manifest wire to ");
    let saved = fs::read_to_string(alice.home.join("cluster_manifest.wire")).unwrap();
    assert_eq!(saved, fs::read_to_string(&first).unwrap().trim());

    alice
        .run(&["cluster", "enable"])
        .expect(0)
        .says("cluster: mesh.test\n")
        .says("cluster mode enabled.\n")
        .warns("there is no token for a, b");
    assert_eq!(alice.setting("cluster_enabled"), "true");
    let enabled = file(&alice);
    alice
        .run(&["cluster", "enable"])
        .expect(0)
        .says("already enabled");
    assert_eq!(file(&alice), enabled);

    // An older manifest, shown instead, is refused by every later command, and by none is the cluster left.
    let older = operator.sign("older.txt", &nodes[2..], &["--seq", "4"]);
    operator.publish(&older, &nodes[2]);
    alice.configure(&format!("dns_resolvers: ['{}']", nodes[2].dns));
    for arguments in [&["cluster", "fetch"][..], &["identity", "publish"]] {
        alice
            .run(arguments)
            .expect(2)
            .warns("cluster mesh.test: ")
            .warns(
                "it has seq 4, but seq 5 of the same key was seen there before [floor-rolled-back]",
            );
    }
    assert_eq!(served(&nodes[2], "cluster.mesh.test").len(), 1);
}

#[test]
fn through_three_nodes_two_people_write_to_each_other_and_one_node_may_die() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = start(dir.path());
    let operator = Operator::new(dir.path());
    let manifest = operator.sign("manifest.txt", &nodes, &[]);
    for node in &nodes {
        operator.publish(&manifest, node);
    }
    let people = ["alice", "bob"].map(|name| person(dir.path(), name, &nodes));
    for user in &people {
        user.configure(&format!("cluster_node_token: {OPERATOR_TOKEN}"));
        user.run(&["cluster", "pin", &operator.public, BASE])
            .expect(0);
        user.run(&["cluster", "enable"]).expect(0);
        user.run(&["identity", "publish"])
            .expect(0)
            .says("published identity to id-");
        user.run(&["identity", "refresh-prekeys", "--count", "3"])
            .expect(0);
    }
    let [alice, bob] = &people;
    let published = alice.run(&["identity", "publish", "--json"]).expect(0);
    let owner = published.json()["owner"].as_str().unwrap().to_owned();
    for node in &nodes {
        assert_eq!(served(node, &owner).len(), 1, "every node has it, once");
    }
    alice
        .run(&["identity", "fetch", "bob@mesh.test", "--add"])
        .expect(0);
    bob.run(&["identity", "fetch", "alice@mesh.test", "--add"])
        .expect(0);
    let status = alice
        .run(&["cluster", "status"])
        .expect(0)
        .says("cluster_enabled: True\n")
        .says("fan-out writer snapshot:\n")
        .says("union reader snapshot:\n");
    assert_eq!(status.stdout.matches("fails=0  err=None").count(), 6);
    assert_eq!(status.stdout.matches("token=cluster_node_token").count(), 3);

    nodes.remove(1).stop("KILL");
    alice
        .run(&["send", "bob@mesh.test", "through two"])
        .expect(0)
        .says("sent → bob@mesh.test")
        .warns("warning: cluster node b: no answer");
    bob.run(&["recv"]).expect(0).says("  through two\n");
    let status = alice.run(&["cluster", "status", "--json"]).expect(0).json();
    assert_eq!(status["nodes"][0]["http_error"], serde_json::Value::Null);
    assert!(status["nodes"][1]["http_error"].is_string());
    assert!(status["nodes"][1]["dns_error"].is_string());
    assert_eq!(status["nodes"][2]["seq"], status["seq"]);

    // One of three is no quorum: that is said, with what each node did, and reading goes on.
    nodes.remove(1).stop("KILL");
    bob.run(&["send", "alice@mesh.test", "through one"])
        .expect(2)
        .warns("send failed")
        .warns("(node b)")
        .warns("1 of 3 nodes took it, and 2 have to");
    alice
        .run(&["identity", "fetch", "bob@mesh.test"])
        .expect(0)
        .says("bob@mesh.test");

    // With no node left nothing is absent.
    nodes.remove(0).stop("KILL");
    alice
        .run(&["identity", "fetch", "bob@mesh.test"])
        .expect(2)
        .warns("cluster mesh.test: ");
}

#[test]
fn whoever_follows_goes_over_to_a_newer_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = start(dir.path());
    let operator = Operator::new(dir.path());
    let first = operator.sign("first.txt", &nodes[..1], &["--seq", "1"]);
    operator.publish(&first, &nodes[0]);
    let alice = person(dir.path(), "alice", &nodes[..1]);
    alice.configure(&format!("cluster_node_token: {OPERATOR_TOKEN}"));
    alice.configure("cluster_refresh_interval: 1\nrecv_primary_interval_seconds: 1");
    alice
        .run(&["cluster", "pin", &operator.public, BASE])
        .expect(0);
    alice.run(&["cluster", "enable"]).expect(0);
    let mut follows = alice
        .command(&["recv", "--follow", "--for", "60s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follows.stderr.take().unwrap()).lines();
    // What the first run tells: by then the first manifest is in use.
    lines.next().unwrap().unwrap();
    let second = operator.sign("second.txt", &nodes, &["--seq", "2"]);
    operator.publish(&second, &nodes[0]);
    let moved = lines
        .map_while(Result::ok)
        .any(|line| line == "note: the cluster's manifest has seq 2 now");
    follows.kill().unwrap();
    follows.wait().unwrap();
    assert!(moved);
}

#[test]
fn with_a_tsig_key_own_writes_go_to_the_home_node_and_reads_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = start(dir.path());
    let operator = Operator::new(dir.path());
    let manifest = operator.sign("manifest.txt", &nodes, &[]);
    for node in &nodes {
        operator.publish(&manifest, node);
    }
    let alice = person(dir.path(), "alice", &nodes);
    alice
        .run(&["cluster", "pin", &operator.public, BASE])
        .expect(0);
    alice.run(&["cluster", "enable"]).expect(0);
    let (url, port) = (nodes[1].url(), nodes[1].dns.port().to_string());
    alice
        .run(&[
            "tsig",
            "register",
            "--node",
            &url,
            "--dns-server",
            "127.0.0.1",
            "--dns-port",
            &port,
        ])
        .expect(0)
        .says("registered alice@mesh.test");
    let published = alice.run(&["identity", "publish", "--json"]).expect(0);
    let owner = published.json()["owner"].as_str().unwrap().to_owned();
    let counts: Vec<_> = nodes
        .iter()
        .map(|node| served(node, &owner).len())
        .collect();
    assert_eq!(counts, [0, 1, 0]);
    let bob = person(dir.path(), "bob", &nodes);
    bob.run(&["cluster", "pin", &operator.public, BASE])
        .expect(0);
    bob.run(&["cluster", "enable"]).expect(0);
    bob.run(&["identity", "fetch", "alice@mesh.test"])
        .expect(0)
        .says("alice@mesh.test");
    // A key for another zone would be refused there, which is said when the cluster is put to use.
    alice.configure("tsig_zone: home.test");
    alice
        .run(&["cluster", "enable"])
        .expect(0)
        .warns("warning: writes go by the TSIG key for home.test");
}
