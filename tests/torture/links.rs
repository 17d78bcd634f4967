//! The network between the nodes, which can be cut: a namespace with a link of its own for each, or relays in this process.

use std::env;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::cluster::NODES;

/// Set for the process that already lives in a network of its own.
const MOVED: &str = "DNSMESH_TORTURE_NETWORK";

/// Starts this test once more in a network and a mount namespace of its own, where it may do to the network what it likes, and waits
/// for it. `false` in that process itself, and where there are no rights or tools for it.
pub(crate) fn moved_into_a_private_network() -> bool {
    if env::var_os(MOVED).is_some() {
        return false;
    }
    let probe = "mount -t tmpfs none /run && ip netns add probe && ip netns exec probe true";
    let possible = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", probe])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!(
            "NOTICE: no network namespaces here (root and iproute2 are needed): partitions are made by relays in this process"
        );
        return false;
    }
    let program = env::current_exe().expect("the path of this program");
    let status = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none /run && exec \"$0\" \"$@\"",
        ])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(MOVED, "1")
        .status()
        .expect("unshare");
    assert!(status.success(), "the run in its own network failed");
    true
}

/// How the nodes reach each other and this process reaches them.
pub(crate) enum Links {
    /// Node n in namespace `n<n>`: one link to this process, one to the mesh.
    Namespaces,
    /// Everything on 127.0.0.1; the peers of each node are relays.
    Relays {
        nodes: Vec<Ports>,
        /// Row: who connects; column: to whom.
        relays: Vec<Vec<Relay>>,
    },
}

/// Where a node listens.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) dns: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Links {
    pub(crate) fn lay() -> Self {
        if env::var_os(MOVED).is_some() {
            lay_namespaces();
            return Self::Namespaces;
        }
        let nodes: Vec<Ports> = (0..NODES)
            .map(|_| Ports {
                dns: free_port(),
                http: free_port(),
            })
            .collect();
        let relays = (0..NODES)
            .map(|_| nodes.iter().map(|node| Relay::start(node.http)).collect())
            .collect();
        Self::Relays { nodes, relays }
    }

    /// Where this process reaches the node, whatever is cut.
    pub(crate) fn ports(&self, node: usize) -> Ports {
        match self {
            Self::Namespaces => {
                let address = IpAddr::V4(Ipv4Addr::new(10, 77, node as u8, 2));
                Ports {
                    dns: (address, 5353).into(),
                    http: (address, 8053).into(),
                }
            }
            Self::Relays { nodes, .. } => nodes[node],
        }
    }

    /// The base URL under which `from` knows `to`.
    pub(crate) fn peer(&self, from: usize, to: usize) -> String {
        match self {
            Self::Namespaces => format!("http://10.78.0.{}:8053", to + 1),
            Self::Relays { relays, .. } => format!("http://{}", relays[from][to].address),
        }
    }

    /// A command that runs where the node lives.
    pub(crate) fn command(&self, node: usize, program: &str) -> Command {
        match self {
            Self::Namespaces => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &format!("n{node}"), program]);
                command
            }
            Self::Relays { .. } => Command::new(program),
        }
    }

    /// Address and ports that the node listens on.
    pub(crate) fn listen(&self, node: usize) -> [(&'static str, String); 4] {
        let ports = self.ports(node);
        let address = match self {
            Self::Namespaces => "0.0.0.0".to_owned(),
            Self::Relays { .. } => ports.dns.ip().to_string(),
        };
        [
            ("DMP_DNS_HOST", address.clone()),
            ("DMP_DNS_PORT", ports.dns.port().to_string()),
            ("DMP_HTTP_HOST", address),
            ("DMP_HTTP_PORT", ports.http.port().to_string()),
        ]
    }

    /// Separates the node from its peers, or joins it to them again.
    pub(crate) fn set(&self, node: usize, connected: bool) {
        match self {
            Self::Namespaces => {
                let state = if connected { "up" } else { "down" };
                ip(&["link", "set", &format!("p{node}"), state]);
            }
            Self::Relays { relays, .. } => {
                for (from, row) in relays.iter().enumerate() {
                    for (to, relay) in row.iter().enumerate() {
                        if from == node || to == node {
                            relay.open.store(connected, Ordering::Release);
                        }
                    }
                }
            }
        }
    }
}

/// A TCP port that leads to a node as long as it is open.
pub(crate) struct Relay {
    address: SocketAddr,
    open: Arc<AtomicBool>,
}

impl Relay {
    /// Lives as long as the process.
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for a relay");
        let address = listener.local_addr().expect("its address");
        let open = Arc::new(AtomicBool::new(true));
        let is_open = Arc::clone(&open);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let (true, Ok(node)) = (is_open.load(Ordering::Acquire), TcpStream::connect(to))
                {
                    for (from, to) in [(&stream, &node), (&node, &stream)] {
                        let (from, to) = (from.try_clone(), to.try_clone());
                        let is_open = Arc::clone(&is_open);
                        thread::spawn(move || carry(from?, to?, &is_open));
                    }
                }
            }
        });
        Self { address, open }
    }
}

/// Copies octets until an end or a cut.
fn carry(mut from: TcpStream, mut to: TcpStream, is_open: &AtomicBool) -> io::Result<()> {
    let mut octets = [0; 16 * 1024];
    loop {
        let count = io::Read::read(&mut from, &mut octets)?;
        if count == 0 || !is_open.load(Ordering::Acquire) {
            return to.shutdown(std::net::Shutdown::Both);
        }
        io::Write::write_all(&mut to, octets.get(..count).unwrap_or_default())?;
    }
}

fn lay_namespaces() {
    ip(&["link", "set", "lo", "up"]);
    ip(&["link", "add", "mesh", "type", "bridge"]);
    ip(&["link", "set", "mesh", "up"]);
    for node in 0..NODES {
        let (name, number) = (format!("n{node}"), node.to_string());
        ip(&["netns", "add", &name]);
        let inside = |arguments: &[&str]| ip(&[&["-n", &name], arguments].concat());
        inside(&["link", "set", "lo", "up"]);
        // To this process, never cut.
        let (outer, address) = (format!("m{number}"), format!("10.77.{number}."));
        ip(&[
            "link", "add", &outer, "type", "veth", "peer", "name", "control", "netns", &name,
        ]);
        ip(&["address", "add", &format!("{address}1/30"), "dev", &outer]);
        ip(&["link", "set", &outer, "up"]);
        inside(&[
            "address",
            "add",
            &format!("{address}2/30"),
            "dev",
            "control",
        ]);
        inside(&["link", "set", "control", "up"]);
        // To the peers.
        let outer = format!("p{number}");
        ip(&[
            "link", "add", &outer, "type", "veth", "peer", "name", "peers", "netns", &name,
        ]);
        ip(&["link", "set", &outer, "master", "mesh", "up"]);
        inside(&[
            "address",
            "add",
            &format!("10.78.0.{}/24", node + 1),
            "dev",
            "peers",
        ]);
        inside(&["link", "set", "peers", "up"]);
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip");
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A loopback port that is free for UDP and TCP.
fn free_port() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("its address");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
