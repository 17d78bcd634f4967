//! The pages that people see, in a real browser: what hostile nodes write into their heartbeats stays text, no script runs, and nothing
//! is loaded from anywhere (federation.md 2.11, 2.13). Needs Chromium.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::record::Heartbeat;

use crate::Program;
use crate::node::{Extras, Node};

/// The only way from the browser to anywhere: answers for one host, and writes down what is asked for.
struct Gate {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// A gate to the answer that `page` gives.
    fn to(page: impl Fn() -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for mut browser in listener.incoming().flatten() {
                let Some(target) = target(&mut browser) else {
                    continue;
                };
                let answer = if target == "http://page.test/" {
                    page()
                } else {
                    b"HTTP/1.1 404 none\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
                };
                log.lock().expect("the log").push(target);
                // A browser that has gone away needs no answer.
                let _ = browser.write_all(&answer);
            }
        });
        Self { address, asked }
    }

    /// What the browser makes of the page; everything that it asks for goes through the gate.
    fn rendered(&self) -> String {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let proxy = format!("--proxy-server=http://{}", self.address);
        let data = format!("--user-data-dir={}", profile.path().display());
        let mut command = Command::new(chromium());
        command.args([
            "--headless=new",
            "--no-sandbox", // the tests may run as root
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-extensions",
            "--disable-sync",
            "--no-first-run",
            "--proxy-bypass-list=<-loopback>",
            "--virtual-time-budget=2000",
            "--dump-dom",
            &proxy,
            &data,
            "http://page.test/",
        ]);
        command.env_clear().env("HOME", profile.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let ran = command.stdin(Stdio::null()).output().expect("a browser");
        String::from_utf8(ran.stdout).expect("a document in UTF-8")
    }

    /// What was asked for beside the page, its icon, which every browser asks for by itself, and what a Chromium asks its makers.
    fn strays(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("the log").clone();
        assert!(asked.contains(&"http://page.test/".to_owned()), "{asked:?}");
        let own = ["http://page.test/", "http://page.test/favicon.ico"];
        let makers = [".google.com", ".googleapis.com", ".gvt1.com"];
        let is_stray = |target: &String| {
            let host = target.strip_prefix("http://").unwrap_or(target);
            let host = host.split(['/', ':']).next().unwrap_or_default();
            !own.contains(&target.as_str()) && !makers.iter().any(|maker| host.ends_with(maker))
        };
        asked.into_iter().filter(is_stray).collect()
    }
}

/// The second word of a request.
fn target(browser: &mut TcpStream) -> Option<String> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match browser.read(&mut buffer).ok()? {
            0 => return None,
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    head.split(' ').nth(1).map(str::to_owned)
}

fn chromium() -> &'static str {
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    let found = programs.into_iter().find(|program| {
        let asked = Command::new(program).arg("--version").output();
        asked.is_ok_and(|ran| ran.status.success())
    });
    found.expect("Chromium is installed")
}

/// The page of a node, with its header.
fn page_of(node: SocketAddr) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut stream = TcpStream::connect(node).expect("the node's HTTP port");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: page.test\r\nConnection: close\r\n\r\n")
        .expect("a request");
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

/// What hostile operators write where a version is expected; each would leave a trace in the document.
const HOSTILE: [&str; 3] = [
    "<svg/onload=document.title=1>",
    "<img src=//evil.test/a>",
    "\"><script src=//e.test></script>",
];

fn heartbeat(number: u8, version: &str, age: u64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ts = since.expect("a clock").as_secs() - age;
    let key = OperatorKey::from_ed25519_seed([number; 32]);
    let heartbeat = Heartbeat {
        endpoint: Endpoint::parse(&format!("https://n{number}.example.com")).expect("an endpoint"),
        operator: key.public(),
        version: version.to_owned(),
        capabilities: 0,
        claim_provider_zone: Some("<b>\"'&<!--".to_owned()),
        ts: UnixTime::new(ts),
        exp: UnixTime::new(ts + 86_400),
    };
    heartbeat.sign(&key).expect("a heartbeat")
}

/// A node whose neighbour passes on the heartbeats of hostile nodes, one of them two hours old; it knows them all.
fn among_hostile_nodes() -> (Node, Node) {
    let neighbour = Node::start(Program::Ours, "beta.test");
    for (number, version) in HOSTILE.iter().enumerate() {
        let age = if number == 0 { 7_300 } else { 20 };
        let beat = heartbeat(number as u8 + 1, version, age);
        neighbour.publish("_dnsmesh-seen.beta.test", &beat, 3_600);
    }
    let folder = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let key = folder.path().join("operator.key");
    std::fs::write(&key, [42; 32]).expect("a key file");
    let environment = vec![
        ("DMP_HEARTBEAT_ENABLED", "1".to_owned()),
        (
            "DMP_HEARTBEAT_SELF_ENDPOINT",
            "https://alpha.test".to_owned(),
        ),
        ("DMP_HEARTBEAT_OPERATOR_KEY_PATH", key.display().to_string()),
        ("DMP_HEARTBEAT_SEEDS", "beta.test".to_owned()),
        ("DMP_HEARTBEAT_DNS_RESOLVERS", neighbour.dns.to_string()),
    ];
    let extras = Extras {
        folder: Some(folder),
        environment,
        ..Extras::default()
    };
    let node = Node::start_with(Program::Ours, "alpha.test", &extras);
    let end = Instant::now() + Duration::from_secs(30);
    while !String::from_utf8_lossy(&page_of(node.http)).contains("https://n3.example.com") {
        assert!(Instant::now() < end, "{}", node.log());
        thread::sleep(Duration::from_millis(100));
    }
    (node, neighbour)
}

/// The hostile texts are there as text and nowhere as what they want to be.
fn is_only_text(document: &str, title: &str) {
    for text in HOSTILE {
        let text = text.replace('<', "&lt;").replace('>', "&gt;");
        assert!(document.contains(&text), "{text}: {document}");
    }
    assert!(
        document.contains(&format!("<title>{title}</title>")),
        "{document}"
    );
    for forbidden in ["<script", "<img", "<svg/", "<svg onload"] {
        assert!(!document.contains(forbidden), "{forbidden}: {document}");
    }
}

#[test]
fn the_landing_page_shows_hostile_nodes_as_text_and_loads_nothing() {
    let (node, _neighbour) = among_hostile_nodes();
    let http = node.http;
    let gate = Gate::to(move || page_of(http));
    let document = gate.rendered();
    is_only_text(&document, "DNS Mesh node for alpha.test");
    let rows: Vec<&str> = document.split("<tr>").skip(2).collect();
    assert_eq!(rows.len(), 1 + HOSTILE.len(), "{document}");
    assert!(
        rows[0].contains("https://alpha.test") && rows[0].contains("s ago"),
        "{document}"
    );
    let oldest = rows.last().expect("a row");
    assert!(
        oldest.contains("https://n1.example.com")
            && oldest.contains("<td class=\"stale\">2h ago</td>"),
        "{document}"
    );
    assert_eq!(gate.strays(), [""; 0]);
}

#[test]
fn the_directory_shows_hostile_nodes_as_text_and_loads_nothing() {
    let (node, neighbour) = among_hostile_nodes();
    let folder = node.folder();
    let public = folder.path().join("public");
    let resolvers = [&node, &neighbour].map(|node| node.dns.to_string());
    let written = Command::new(Program::Ours.executable())
        .args(["directory", "--seed", "alpha.test", "--seed", "beta.test"])
        .args([
            "--resolver",
            &resolvers[0],
            "--resolver",
            &resolvers[1],
            "--out-dir",
        ])
        .arg(&public)
        .env_clear()
        .env("HOME", folder.path())
        .output()
        .expect("the program");
    assert!(
        written.status.success(),
        "{}",
        String::from_utf8_lossy(&written.stderr)
    );
    let page = served(&public.join("index.html"));
    let gate = Gate::to(move || page.clone());
    let document = gate.rendered();
    is_only_text(&document, "DNS Mesh directory");
    assert!(
        document.contains("<svg viewBox") && document.contains("<span class=\"fresh\">ok, "),
        "{document}"
    );
    assert_eq!(gate.strays(), [""; 0]);
}

/// A file as a web server without any header of its own sends it.
fn served(file: &Path) -> Vec<u8> {
    let body = std::fs::read(file).expect("the page");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
