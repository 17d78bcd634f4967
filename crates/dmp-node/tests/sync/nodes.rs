//! Real nodes on loopback: what is written at one is soon at all, what is deleted stays deleted, and a manifest changes who belongs
//! to the cluster.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::record::{ClusterManifest, ClusterNode};
use dmp_node::access::Author;
use dmp_node::config::{Environment, Overrides, Source};
use dmp_node::context::Operation;
use dmp_node::supervise::Node;
use dmp_node::zone::Owner;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A place for a node: its directory and its port.
struct Site {
    directory: TempDir,
    port: u16,
    settings: Vec<(&'static str, String)>,
}

impl Site {
    /// A port that the kernel chooses and that this test goes on using, also over a restart.
    fn new(id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            port: listener.local_addr().unwrap().port(),
            settings: vec![
                ("cluster.node_id", format!("{id:?}")),
                ("sync.interval", "0.05".to_owned()),
            ],
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn set(&mut self, key: &'static str, value: String) {
        self.settings.retain(|(other, _)| *other != key);
        self.settings.push((key, value));
    }

    fn peers(&mut self, peers: &[&str]) {
        self.set("sync.peers", format!("{peers:?}"));
    }

    fn write_settings(&self) -> Source {
        let path = |name: &str| format!("{:?}", self.directory.path().join(name));
        let token = self.directory.path().join("token");
        if !token.exists() {
            fs::write(&token, "the token of this cluster\n").unwrap();
        }
        let mut toml = format!(
            "database = {}\ncluster.manifest_file = {}\nsync.peer_token_file = {}\ndns.host = \"127.0.0.1\"\ndns.port = 0\n\
             http.host = \"127.0.0.1\"\nhttp.port = {}\nzone = \"mesh.example\"\n",
            path("node.db"),
            path("cluster.json"),
            path("token"),
            self.port
        );
        for (key, value) in &self.settings {
            toml.push_str(&format!("{key} = {value}\n"));
        }
        let file = self.directory.path().join("node.toml");
        fs::write(&file, toml).unwrap();
        let overrides = Overrides {
            config: Some(file),
            ..Overrides::default()
        };
        Source::fixed(Environment::default(), overrides)
    }

    async fn start(&self) -> Node {
        let source = self.write_settings();
        Node::start(source.read().unwrap()).await.unwrap()
    }
}

fn owner(name: &str) -> Owner {
    Owner::parse(&format!("{name}.mesh.example")).unwrap()
}

async fn publish(node: &Node, name: &str, value: &str) {
    let publish = Operation::Publish {
        owner: owner(name),
        value: value.to_owned(),
        ttl: 600,
    };
    let applied = node.context().submit(Author::Operator, vec![publish]).await;
    applied.unwrap();
}

async fn delete(node: &Node, name: &str, value: &str) {
    let delete = Operation::DeleteValue {
        owner: owner(name),
        value: value.to_owned(),
    };
    let applied = node.context().submit(Author::Operator, vec![delete]).await;
    assert_eq!(applied.unwrap().removed, 1);
}

fn has(node: &Node, name: &str, value: &str) -> bool {
    let values = node.context().values(&owner(name));
    values.iter().any(|held| held == value)
}

/// Waits until something holds; what never does fails after a time that no machine is too slow for.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a change that is written now has gone all the way round, so that what was written before it has too.
async fn settle(nodes: &[&Node], mark: &str) {
    for (number, node) in nodes.iter().enumerate() {
        publish(node, "settled", &format!("{mark} {number}")).await;
    }
    until("the nodes agree", || {
        let all = |node: &&Node| {
            (0..nodes.len()).all(|number| has(node, "settled", &format!("{mark} {number}")))
        };
        nodes.iter().all(all)
    })
    .await;
}

/// Three sites that know each other.
fn three() -> [Site; 3] {
    let mut sites = [Site::new("a"), Site::new("b"), Site::new("c")];
    let urls: Vec<String> = sites.iter().map(Site::url).collect();
    for (number, site) in sites.iter_mut().enumerate() {
        let others: Vec<&str> = urls
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
            .map(|(_, url)| url.as_str())
            .collect();
        site.peers(&others);
    }
    sites
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_converge_and_a_stopped_one_catches_up() {
    let sites = three();
    let (a, b, c) = (
        sites[0].start().await,
        sites[1].start().await,
        sites[2].start().await,
    );
    publish(&a, "one", "first").await;
    for value in 0..60 {
        publish(&b, "many", &format!("value {value}")).await;
    }
    until("the first value is everywhere", || {
        [&a, &b, &c]
            .into_iter()
            .all(|node| has(node, "one", "first"))
    })
    .await;
    until("all values of a name are everywhere", || {
        let all = |node: &Node| node.context().values(&owner("many")).len() == 60;
        all(&a) && all(&c)
    })
    .await;

    c.shutdown().await;
    for number in 0..1_500 {
        publish(&a, &format!("n{number}"), "while it was away").await;
    }
    delete(&a, "one", "first").await;
    let c = sites[2].start().await;
    until("it has caught up", || {
        (0..1_500).all(|number| has(&c, &format!("n{number}"), "while it was away"))
            && !has(&c, "one", "first")
    })
    .await;
    for node in [a, b, c] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_stays_deleted_after_a_restart_of_any_node() {
    let sites = three();
    let mut nodes = Vec::new();
    for site in &sites {
        nodes.push(site.start().await);
    }
    publish(&nodes[0], "mail", "short-lived").await;
    settle(&nodes.iter().collect::<Vec<_>>(), "before").await;
    delete(&nodes[1], "mail", "short-lived").await;
    settle(&nodes.iter().collect::<Vec<_>>(), "deleted").await;
    for (number, site) in sites.iter().enumerate() {
        let node = nodes.remove(number);
        node.shutdown().await;
        nodes.insert(number, site.start().await);
        settle(
            &nodes.iter().collect::<Vec<_>>(),
            &format!("restart of {number}"),
        )
        .await;
        for node in &nodes {
            assert!(
                !has(node, "mail", "short-lived"),
                "after a restart of {number}"
            );
        }
    }
    // Written again it is there again, everywhere.
    publish(&nodes[2], "mail", "short-lived").await;
    until("it is back", || {
        nodes.iter().all(|node| has(node, "mail", "short-lived"))
    })
    .await;
    for node in nodes {
        node.shutdown().await;
    }
}

fn manifest(key: &OperatorKey, seq: u64, sites: &[(&str, &Site)]) -> String {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let node = |(id, site): &(&str, &Site)| ClusterNode {
        id: (*id).to_owned(),
        http_endpoint: site.url(),
        dns_endpoint: None,
    };
    let manifest = ClusterManifest {
        seq,
        exp: UnixTime::new(now + 1_000_000),
        operator: key.public(),
        name: "mesh.example".parse().unwrap(),
        nodes: sites.iter().map(node).collect(),
    };
    manifest.sign(key).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_a_higher_seq_adds_and_removes_a_peer() {
    let key = OperatorKey::from_ed25519_seed([7; 32]);
    let [mut a, mut b, mut c] = [Site::new("a"), Site::new("b"), Site::new("c")];
    let operator = format!("{:?}", key.public().to_string());
    for site in [&mut a, &mut b, &mut c] {
        site.set("sync.operator_key", operator.clone());
    }
    // Two nodes begin with a manifest in their file, in two of its forms; the third knows one peer.
    let first = manifest(&key, 1, &[("a", &a), ("b", &b)]);
    fs::write(a.directory.path().join("cluster.json"), &first).unwrap();
    let json = serde_json::json!({ "wire": first }).to_string();
    fs::write(b.directory.path().join("cluster.json"), json).unwrap();
    let nodes = r#"{"nodes": []}"#;
    fs::write(c.directory.path().join("cluster.json"), nodes).unwrap();
    c.peers(&[&a.url()]);
    let (node_a, node_b, node_c) = (a.start().await, b.start().await, c.start().await);
    publish(&node_b, "one", "of b").await;
    until("a and b share their records, and c reads a", || {
        has(&node_a, "one", "of b") && has(&node_c, "one", "of b")
    })
    .await;
    publish(&node_c, "two", "of c").await;

    // The operator publishes it on one node; b has to find c, which nobody told it of.
    let second = manifest(&key, 2, &[("a", &a), ("b", &b), ("c", &c)]);
    let at = Owner::parse("cluster.mesh.example").unwrap();
    let publish_manifest = |wire: &str| {
        vec![Operation::Publish {
            owner: at.clone(),
            value: wire.to_owned(),
            ttl: 86_400,
        }]
    };
    let submitted = node_a
        .context()
        .submit(Author::Operator, publish_manifest(&second));
    submitted.await.unwrap();
    until("b and a have what c has", || {
        has(&node_a, "two", "of c") && has(&node_b, "two", "of c")
    })
    .await;
    // Somebody else's manifest changes nothing.
    let stranger = OperatorKey::from_ed25519_seed([8; 32]);
    let foreign = manifest(&stranger, 9, &[("a", &a)]);
    let submitted = node_a
        .context()
        .submit(Author::Operator, publish_manifest(&foreign));
    submitted.await.unwrap();
    publish(&node_c, "three", "of c").await;
    until("c still belongs to it", || has(&node_b, "three", "of c")).await;

    let third = manifest(&key, 3, &[("a", &a), ("b", &b)]);
    let submitted = node_a
        .context()
        .submit(Author::Operator, publish_manifest(&third));
    submitted.await.unwrap();
    let metrics = |node: &Node| {
        let address = node.http_address();
        async move { get(address, "/metrics").await }
    };
    for node in [&node_a, &node_b] {
        let end = Instant::now() + Duration::from_secs(60);
        while !metrics(node).await.contains("\ndmp_sync_peers 1") {
            assert!(Instant::now() < end, "c is not asked any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    publish(&node_c, "four", "of c").await;
    settle(&[&node_a, &node_b], "without c").await;
    assert!(!has(&node_a, "four", "of c") && !has(&node_b, "four", "of c"));
    // It holds over a restart, whatever the file says.
    node_b.shutdown().await;
    let node_b = b.start().await;
    settle(&[&node_a, &node_b], "after a restart").await;
    assert!(!has(&node_b, "four", "of c"));
    for node in [node_a, node_b, node_c] {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_brings_peers_and_token_into_force() {
    let [mut a, b] = [Site::new("a"), Site::new("b")];
    let (node_a, node_b) = (a.start().await, b.start().await);
    publish(&node_b, "one", "of b").await;
    a.peers(&[&b.url()]);
    fs::write(a.directory.path().join("token"), "another token\n").unwrap();
    a.write_settings();
    node_a.reloader().reload().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !get(node_a.http_address(), "/metrics")
        .await
        .contains("dmp_sync_rounds_total{result=\"status\"}")
        || get(node_a.http_address(), "/metrics")
            .await
            .contains("dmp_sync_rounds_total{result=\"status\"} 0")
    {
        assert!(Instant::now() < end, "a wrong token is told in the metrics");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!has(&node_a, "one", "of b"));
    fs::write(
        a.directory.path().join("token"),
        "the token of this cluster\n",
    )
    .unwrap();
    node_a.reloader().reload().unwrap();
    until("the right token opens it", || has(&node_a, "one", "of b")).await;
    node_a.shutdown().await;
    node_b.shutdown().await;
}

/// One GET, without a token.
async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A server that does to every request what `behave` says, and counts the requests that bear a token.
async fn server<F>(behave: impl Fn(tokio::net::TcpStream) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    url
}

async fn request_of(stream: &mut tokio::net::TcpStream) -> String {
    let mut octets = vec![0; 65_536];
    let read = stream.read(&mut octets).await.unwrap_or(0);
    String::from_utf8_lossy(&octets[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_peers_cost_a_node_nothing_but_their_own_records() {
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let seen = std::sync::Arc::clone(&told);
    // Where a redirect leads: nobody may ever come here.
    let elsewhere = server(move |mut stream| {
        let seen = std::sync::Arc::clone(&seen);
        async move {
            let request = request_of(&mut stream).await;
            seen.lock().unwrap().push(request);
        }
    })
    .await;
    let redirecting = server(move |mut stream| {
        let elsewhere = elsewhere.clone();
        async move {
            request_of(&mut stream).await;
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}/v1/sync/digest\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let huge = server(|mut stream| async move {
        request_of(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{\"records\": [")
            .await;
        let blanks = vec![b' '; 65_536];
        while stream.write_all(&blanks).await.is_ok() {}
    })
    .await;
    let wrong = server(|mut stream| async move {
        request_of(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
            .await;
    })
    .await;
    // Takes the request and never says anything.
    let silent = server(|mut stream| async move {
        request_of(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let [mut a, b] = [Site::new("a"), Site::new("b")];
    let closed = Site::new("nobody").url();
    a.peers(&[&redirecting, &huge, &wrong, &silent, &closed, &b.url()]);
    let (node_a, node_b) = (a.start().await, b.start().await);
    publish(&node_b, "one", "of b").await;
    until("an honest peer is read all the same", || {
        has(&node_a, "one", "of b")
    })
    .await;
    let end = Instant::now() + Duration::from_secs(60);
    for result in ["status", "malformed", "unreachable"] {
        let none = format!("dmp_sync_rounds_total{{result=\"{result}\"}} 0\n");
        while get(node_a.http_address(), "/metrics").await.contains(&none) {
            assert!(Instant::now() < end, "{result}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(told.lock().unwrap().is_empty(), "no redirect is followed");
    node_a.shutdown().await;
    node_b.shutdown().await;
}
