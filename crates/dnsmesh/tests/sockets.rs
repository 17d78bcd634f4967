//! Sockets that were opened before the process began (sd_listen_fds(3)): used by name, refused when they are something else.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::node;
use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::{Rcode, Rtype};

const PATIENCE: Duration = Duration::from_secs(20);

/// The descriptors of the standard streams move to 3 and up, and the shell becomes the node, so its process number holds.
const LAUNCHER: &str = "exec 3<&0 4<&1 5<&2 </dev/null >\"$0\" 2>&1; \
                        LISTEN_PID=$$ LISTEN_FDS=$1 LISTEN_FDNAMES=$2; shift 2; \
                        export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; exec \"$@\"";

/// A process that was given sockets, ended when dropped.
struct Launched {
    child: Child,
    log: PathBuf,
}

impl Launched {
    /// The node with up to three sockets of these names.
    fn new(dir: &Path, names: &str, sockets: Vec<OwnedFd>, variables: &[(&str, &str)]) -> Self {
        let log = dir.join("log");
        let count = sockets.len().to_string();
        let mut arguments = vec!["-c", LAUNCHER, log.to_str().unwrap(), &count, names];
        arguments.extend([env!("CARGO_BIN_EXE_dnsmesh"), "node"]);
        let mut command: Command =
            node::command_of(Path::new("/bin/sh"), &arguments, dir, "mesh.test");
        let mut streams = sockets.into_iter().map(Stdio::from);
        let mut next = || streams.next().unwrap_or_else(Stdio::null);
        command.stdin(next()).stdout(next()).stderr(next());
        command.envs(variables.iter().copied());
        Self {
            child: command.spawn().unwrap(),
            log,
        }
    }

    /// The status it ends with by itself, and what it says.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap().code();
        (status, fs::read_to_string(&self.log).unwrap())
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn query() -> Vec<u8> {
    QueryBuilder::new("mesh.test".parse().unwrap(), Rtype::SOA).build(7)
}

fn over_udp(node: SocketAddr) -> Rcode {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&query(), node).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    Response::parse(&answer[..length]).unwrap().rcode
}

fn over_tcp(node: SocketAddr) -> Rcode {
    let mut stream = TcpStream::connect(node).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let query = query();
    let length = u16::try_from(query.len()).unwrap();
    stream.write_all(&length.to_be_bytes()).unwrap();
    stream.write_all(&query).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Response::parse(&answer).unwrap().rcode
}

/// Status of a GET.
fn get(node: SocketAddr, target: &str) -> u16 {
    let mut stream = TcpStream::connect(node).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].parse().unwrap()
}

#[test]
fn passed_sockets_are_used_instead_of_the_configured_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    // As a service manager passes them; the node's threads wait for datagrams.
    udp.set_nonblocking(true).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let (dns, dns_tcp, web) = (udp.local_addr().unwrap(), address(&tcp), address(&http));
    let sockets = vec![udp.into(), tcp.into(), http.into()];
    let launched = Launched::new(dir.path(), "dns-udp:dns-tcp:http", sockets, &[]);
    assert_eq!(over_udp(dns), Rcode::NOERROR);
    assert_eq!(over_tcp(dns_tcp), Rcode::NOERROR);
    assert_eq!(get(web, "/ready"), 200);
    drop(launched);
}

#[test]
fn what_is_not_passed_is_bound_beside_it_and_monitors_have_a_listener() {
    let dir = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
    let (dns, monitor) = (udp.local_addr().unwrap(), metrics.local_addr().unwrap());
    let _launched = Launched::new(
        dir.path(),
        "dns:metrics",
        vec![udp.into(), metrics.into()],
        &[],
    );
    // The operator's token guards the other listener only.
    for (target, status) in [
        ("/metrics", 200),
        ("/health", 200),
        ("/ready", 200),
        ("/", 404),
        ("/v1/records/a.mesh.test", 404),
    ] {
        assert_eq!(get(monitor, target), status, "{target}");
    }
    assert_eq!(over_udp(dns), Rcode::NOERROR);
    assert_eq!(over_tcp(dns), Rcode::NOERROR, "the same number as UDP");
}

#[test]
fn sockets_of_a_wrong_name_or_kind_stop_the_start_with_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let public = || OwnedFd::from(TcpListener::bind("0.0.0.0:0").unwrap());
    let local = || OwnedFd::from(UnixDatagram::unbound().unwrap());
    let open = [("DMP_AUTH_MODE", "open")];
    let cases: Vec<(&str, Vec<OwnedFd>, &[_], &str)> = vec![
        (
            "dnsmesh-node.socket",
            vec![udp()],
            &[],
            "is no name of a socket",
        ),
        ("", vec![udp()], &[], "is no name of a socket"),
        (
            "dns-udp",
            vec![tcp()],
            &[],
            "is not of the kind that the name says",
        ),
        (
            "http",
            vec![udp()],
            &[],
            "is not of the kind that the name says",
        ),
        (
            "dns-udp",
            vec![local()],
            &[],
            "is no socket of IPv4 or IPv6",
        ),
        ("http:http", vec![tcp(), tcp()], &[], "is there twice"),
        ("metrics", vec![public()], &[], "is not on loopback"),
        (
            "http",
            vec![public()],
            &open,
            "everybody could write records over HTTP",
        ),
    ];
    for (names, sockets, variables, reason) in cases {
        let (status, said) = Launched::new(dir.path(), names, sockets, variables).end();
        assert_eq!(status, Some(1), "{names}: {said}");
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("LISTEN_"))
            .collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].contains(reason), "{names}: {said}");
    }
}
