//! Settings of a running process: read again at SIGHUP and `node ctl reload`, told to the service manager (product.md 6, 7).

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::node::{self, Node};
use common::{Ran, program};
use dmp_dns::Rtype;
use dmp_dns::message::{QueryBuilder, RecordData, Response};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running node whose settings that a test changes stand in a file.
struct Site {
    dir: tempfile::TempDir,
    manager: UnixDatagram,
    node: Node,
}

impl Site {
    fn start(toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node.toml");
        fs::write(&file, toml).unwrap();
        let socket = dir.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_dnsmesh"));
        let arguments = ["node", "--config", file.to_str().unwrap()];
        let mut command = node::command_of(&program, &arguments, dir.path(), "mesh.test");
        command
            .env_remove("DMP_OPERATOR_TOKEN")
            .env("NOTIFY_SOCKET", &socket);
        let node = Node::spawn(command, "mesh.test");
        let site = Self { dir, manager, node };
        assert!(
            site.told()
                .starts_with("READY=1\nSTATUS=answering on 127.0.0.1:")
        );
        site
    }

    fn write(&self, toml: &str) {
        fs::write(self.dir.path().join("node.toml"), toml).unwrap();
    }

    fn ctl(&self, arguments: &[&str]) -> Ran {
        let mut command = program(&[&["node", "ctl"], arguments].concat());
        command.env("HOME", self.dir.path());
        command.env("DMP_DB_PATH", self.dir.path().join("mesh.test/dmp.db"));
        command.output().unwrap().into()
    }

    /// The next message to the service manager.
    fn told(&self) -> String {
        let mut text = [0; 1024];
        let length = self.manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    fn soa_minimum(&self) -> u32 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let query = QueryBuilder::new("mesh.test".parse().unwrap(), Rtype::SOA).build(7);
        socket.send_to(&query, self.node.dns).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        let response = Response::parse(&answer[..length]).unwrap();
        assert!(matches!(response.answers[0].data, RecordData::Soa { .. }));
        response.answers[0].ttl
    }
}

/// Status of a GET with a bearer token.
fn get(node: SocketAddr, target: &str, token: &str) -> u16 {
    let mut stream = TcpStream::connect(node).unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: n\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].parse().unwrap()
}

#[test]
fn ctl_reload_brings_the_file_into_force_and_tells_what_waits() {
    let site = Site::start("[dns]\nttl = 50\n");
    assert_eq!(site.soa_minimum(), 50);
    let (http, token) = (site.node.http, site.dir.path().join("token"));
    assert_eq!(get(http, "/metrics", "first"), 401);
    fs::write(&token, "first\n").unwrap();
    let with_token = |rest: &str| format!("{rest}\n[http]\noperator_token_file = {token:?}\n");
    site.write(&with_token("cleanup_interval = 30\n[dns]\nttl = 40\n"));
    let ran = site.ctl(&["reload"]).expect(0);
    assert_eq!(
        ran.stdout,
        "in force now: dns.ttl, http.operator_token_file, DMP_OPERATOR_TOKEN\nneeds a restart: cleanup_interval\n"
    );
    assert_eq!(site.soa_minimum(), 40);
    assert_eq!(get(http, "/metrics", "first"), 200);

    // A token that is replaced in its file.
    fs::write(&token, "second\n").unwrap();
    let json = site.ctl(&["reload", "--json"]).expect(0).json();
    assert_eq!(json["changed"], serde_json::json!(["DMP_OPERATOR_TOKEN"]));
    assert_eq!(
        (
            get(http, "/metrics", "first"),
            get(http, "/metrics", "second")
        ),
        (401, 200)
    );

    // A file that is wrong changes nothing, not even what is right in it.
    site.write(&with_token("[dns]\nttl = 30\nrate = \"fast\"\n"));
    let ran = site.ctl(&["reload"]).expect(1);
    assert!(
        ran.stderr.contains("dns.rate: must be a number"),
        "{}",
        ran.stderr
    );
    assert_eq!(site.soa_minimum(), 40);
    assert_eq!(get(http, "/metrics", "second"), 200);
    assert_eq!(site.node.stop("TERM"), Some(0));
}

#[test]
fn without_a_running_node_there_is_nothing_to_reload() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("dmp.db");
    let run = |arguments: &[&str]| -> Ran {
        let mut command = program(&[&["node"], arguments].concat());
        command
            .env("DMP_DB_PATH", &database)
            .env("HOME", dir.path());
        command.output().unwrap().into()
    };
    run(&["admin", "token", "issue", "a@mesh.test"]).expect(0);
    run(&["ctl", "reload"])
        .expect(1)
        .warns("no node is running on this database");
}

#[test]
fn a_hangup_reloads_and_the_service_manager_hears_of_it() {
    let site = Site::start("[dns]\nttl = 50\n");
    let hang_up = || {
        let sent = Command::new("kill")
            .args(["-HUP", &site.node.pid().to_string()])
            .status();
        assert!(sent.unwrap().success());
    };
    let begins = |text: String| {
        let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        micros.parse::<u64>().unwrap()
    };
    site.write("[dns]\nttl = 40\n");
    hang_up();
    assert!(begins(site.told()) > 0);
    assert!(site.told().starts_with("READY=1\nSTATUS=answering on "));
    assert_eq!(site.soa_minimum(), 40);
    site.write("[dns]\nttl = 0\n");
    hang_up();
    begins(site.told());
    let told = site.told();
    assert!(told.starts_with("READY=1\nSTATUS=answering on "), "{told}");
    assert!(
        told.contains("; reload refused: ") && told.contains("dns.ttl: must be"),
        "{told}"
    );
    assert_eq!(site.soa_minimum(), 40);
    let Site { node, manager, .. } = site;
    assert_eq!(node.stop("TERM"), Some(0));
    let mut text = [0; 64];
    let length = manager.recv(&mut text).unwrap();
    assert_eq!(&text[..length], b"STOPPING=1");
}

#[test]
fn to_be_told_twice_to_stop_is_harmless() {
    let site = Site::start("");
    // Something that has to be waited for: a request that never ends.
    let mut held = TcpStream::connect(site.node.http).unwrap();
    held.write_all(
        b"POST /v1/records/a.mesh.test HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\n",
    )
    .unwrap();
    let pid = site.node.pid().to_string();
    let stop = || Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(stop().success());
    assert_eq!(site.told(), "STOPPING=1");
    // The process is there until its status is asked for.
    assert!(stop().success());
    drop(held);
    assert_eq!(site.node.stop("TERM"), Some(0));
}
