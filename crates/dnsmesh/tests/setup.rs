//! `node setup` (node.md 10): the settings it writes, the records it prints, and which wall its verification names. Parent zone and
//! resolver are played by the test on loopback addresses of their own.

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use common::node::Node;
use common::{Ran, program};

const ZONE: &str = "mesh.test";
const PARENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const NODE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const A: u16 = 1;
const NS: u16 = 2;

/// A directory for settings.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn settings(&self) -> String {
        fs::read_to_string(self.path("node.toml")).unwrap()
    }

    fn setup(&self, arguments: &[&str], input: &str) -> Ran {
        let config = self.path("node.toml");
        let config = config.to_str().unwrap();
        let mut child = program(&[&["node", "setup", "--config", config], arguments].concat())
            .env("DMP_DB_PATH", self.path("mesh.test/dmp.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        use std::io::Write;
        // It need not read all of it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }
}

#[test]
fn settings_and_token_are_written_once_and_the_records_are_ready_to_paste() {
    let site = Site::new();
    let given = ["--zone", "Mesh.Test", "--address", "127.0.0.1", "--yes"];
    let records = "; to add to the zone test, where its records are kept\n\
                   mesh.test. 3600 IN NS mesh.test.\n\
                   ; glue, in the same place: without it nobody can ask the first question\n\
                   mesh.test. 3600 IN A 127.0.0.1\n";
    let ran = site
        .setup(&given, "")
        .expect(0)
        .warns("node.toml written\n")
        .warns("operator token: a new one in ")
        .warns("127.0.0.1 is no public address");
    assert_eq!(ran.stdout, records);
    let token = fs::read_to_string(site.path("operator-token")).unwrap();
    assert_eq!(token.trim().len(), 64);
    for file in ["operator-token", "node.toml"] {
        let mode = fs::metadata(site.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{file}");
    }
    let settings = site.settings();
    assert!(!settings.contains(token.trim()), "by path, not by value");

    let again = site
        .setup(&given, "")
        .expect(0)
        .warns("node.toml has them already\n");
    assert_eq!(again.stdout, records);
    assert_eq!(site.settings(), settings);
    assert_eq!(
        fs::read_to_string(site.path("operator-token")).unwrap(),
        token
    );

    let config = site.path("node.toml");
    let check = ["node", "check", "--config", config.to_str().unwrap()];
    let database = site.path("dmp.db");
    let check: Ran = program(&check)
        .env("DMP_DB_PATH", database)
        .output()
        .unwrap()
        .into();
    let check = check.expect(0).says("ok    apex: NS mesh.test\n");
    assert!(!check.stdout.contains("warn"), "{}", check.stdout);
}

#[test]
fn questions_are_asked_for_what_no_flag_says_and_offer_what_is_set() {
    let site = Site::new();
    site.setup(&[], "mesh.example\n198.51.100.7, 2001:db8::7\nns.example\n")
        .expect(0)
        .warns("Zone of the node")
        .says("mesh.example. 3600 IN NS ns.example.\n")
        .says("ns.example. 3600 IN A 198.51.100.7\nns.example. 3600 IN AAAA 2001:db8::7\n");
    site.setup(&[], "\n\n\n")
        .expect(0)
        .warns("[mesh.example]")
        .warns("[198.51.100.7,2001:db8::7]")
        .warns("[ns.example]")
        .warns("has them already\n");
    Site::new()
        .setup(&["--address", "198.51.100.7"], "")
        .expect(1)
        .warns("--zone answers it on the command line")
        .nothing_on_stdout();
}

#[test]
fn an_operators_own_settings_are_changed_after_a_question_only_and_nothing_else_in_them() {
    let site = Site::new();
    let own =
        "# mine\nzone = \"old.test\" # for now\n\n[dns]\nport = 5353\n\n[log]\nlevel = \"DEBUG\"\n";
    fs::write(site.path("node.toml"), own).unwrap();
    let given = ["--zone", ZONE, "--address", "127.0.0.1", "--ns-name", ZONE];
    site.setup(&given, "n\n")
        .expect(1)
        .warns("nothing was changed");
    assert_eq!(site.settings(), own);
    assert!(!site.path("operator-token").exists());
    site.setup(&given, "y\n").expect(0);
    let settings = site.settings();
    assert!(settings.starts_with("# mine\nzone = \"mesh.test\"\n"));
    assert!(settings.contains("\nport = 5353\n") && settings.contains("\nlevel = \"DEBUG\"\n"));
    let copy = site.path("node.toml.before-setup");
    assert_eq!(fs::read_to_string(copy).unwrap(), own);
}

#[test]
fn https_is_for_a_proxy_on_this_machine_unless_the_node_is_to_have_its_own_certificate() {
    let site = Site::new();
    let given = ["--zone", ZONE, "--address", "198.51.100.7", "--yes"];
    site.setup(&given, "").expect(0);
    let proxied = site.settings();
    assert!(proxied.contains("\nhost = \"127.0.0.1\"\n") && !proxied.contains("\nport = 443\n"));
    let own = ["--acme", "--acme-contact", "admin@example.com"];
    site.setup(&[&given[..], &own].concat(), "").expect(0);
    let settings = site.settings();
    for line in [
        "host = \"0.0.0.0\"",
        "port = 443",
        "terms_agreed = true",
        "contact = \"admin@example.com\"",
    ] {
        assert!(settings.contains(&format!("\n{line}\n")), "{line}");
    }
    site.setup(&given, "")
        .expect(0)
        .warns("node.toml has them already\n");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    for (zone, address, name_server, reason) in [
        ("mesh", "127.0.0.1", "mesh", "has no parent zone"),
        ("mesh..test", "127.0.0.1", "x.test", "is not a DNS name"),
        (ZONE, "nowhere", ZONE, "\"nowhere\" is no address"),
        (ZONE, "0.0.0.0", ZONE, "cannot be the address of a node"),
        (
            ZONE,
            "127.0.0.1",
            "ns.mesh.test",
            "lies inside of mesh.test",
        ),
    ] {
        let site = Site::new();
        site.setup(&[], &format!("{zone}\n{address}\n{name_server}\n"))
            .expect(1)
            .warns(reason);
        assert_eq!(fs::read_dir(site.0.path()).unwrap().count(), 0);
    }
}

/// A record that a played server has: owner, type, and a name or an address.
#[derive(Clone)]
struct Record(&'static str, u16, Data);

#[derive(Clone)]
enum Data {
    Name(&'static str),
    Address(Ipv4Addr),
}

/// What a played server says to a question of this name and type: RCODE, answers, authority, additional.
type Script = fn(&str, u16) -> (u8, Vec<Record>, Vec<Record>, Vec<Record>);

/// A server over UDP until the process ends.
fn play(address: SocketAddr, script: Script) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut datagram) {
            let answer = answer(&datagram[..length], script);
            socket.send_to(&answer, client).unwrap();
        }
    });
    address
}

fn answer(query: &[u8], script: Script) -> Vec<u8> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let name = labels.join(".").to_ascii_lowercase();
    let rtype = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let (rcode, answers, authority, additional) = script(&name, rtype);
    let mut message = query[..2].to_vec();
    message.extend([0x80, rcode, 0, 1]);
    for section in [&answers, &authority, &additional] {
        message.extend((section.len() as u16).to_be_bytes());
    }
    message.extend(&query[12..at + 5]);
    for Record(owner, rtype, data) in [answers, authority, additional].concat() {
        message.extend(wire(owner));
        message.extend(rtype.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        let data = match data {
            Data::Name(name) => wire(name),
            Data::Address(address) => address.octets().to_vec(),
        };
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
    }
    message
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = std::iter::once(label.len() as u8);
        length.chain(label.bytes())
    });
    labels.chain([0]).collect()
}

fn ns(zone: &'static str, server: &'static str) -> Vec<Record> {
    vec![Record(zone, NS, Data::Name(server))]
}

fn a(name: &'static str, address: Ipv4Addr) -> Vec<Record> {
    vec![Record(name, A, Data::Address(address))]
}

/// A resolver that has followed the delegation.
fn resolver(name: &str, rtype: u16) -> (u8, Vec<Record>, Vec<Record>, Vec<Record>) {
    match (name, rtype) {
        ("mesh.test", NS) => (0, ns(ZONE, ZONE), vec![], vec![]),
        _ => forgetful_resolver(name, rtype),
    }
}

/// A resolver that remembers from before that the zone is not delegated.
fn forgetful_resolver(name: &str, rtype: u16) -> (u8, Vec<Record>, Vec<Record>, Vec<Record>) {
    match (name, rtype) {
        ("test", NS) => (0, ns("test", "ns.test"), vec![], vec![]),
        ("ns.test", A) => (0, a("ns.test", PARENT), vec![], vec![]),
        ("mesh.test", A) => (0, a(ZONE, NODE), vec![], vec![]),
        _ => (0, vec![], vec![], vec![]),
    }
}

/// The parent zone with the records that the setup prints.
fn parent(name: &str, rtype: u16) -> (u8, Vec<Record>, Vec<Record>, Vec<Record>) {
    match (name, rtype) {
        ("mesh.test", NS) => (0, vec![], ns(ZONE, ZONE), a(ZONE, NODE)),
        _ => (0, vec![], vec![], vec![]),
    }
}

/// What the verification says of a zone whose own server stands on loopback.
struct Verified {
    site: Site,
    server: SocketAddr,
}

impl Verified {
    fn new(site: Site, server: SocketAddr) -> Self {
        site.setup(&["--zone", ZONE, "--address", "127.0.0.1", "--yes"], "")
            .expect(0);
        Self { site, server }
    }

    fn verify(&self, parent: Script, resolver: Script) -> Ran {
        let parent_port = self.server.port();
        play((PARENT, parent_port).into(), parent);
        self.verify_with(resolver)
    }

    fn verify_with(&self, resolver: Script) -> Ran {
        let resolver = play((RESOLVER, 0).into(), resolver).to_string();
        let port = self.server.port().to_string();
        self.site.setup(
            &["--verify", "--resolver", &resolver, "--server-port", &port],
            "",
        )
    }
}

fn node(site: &Site) -> Node {
    fs::create_dir(site.path(ZONE)).unwrap();
    let mut command = common::node::command(site.0.path(), ZONE);
    command.env("DMP_DNS_APEX_NS", ZONE);
    Node::spawn(command, ZONE)
}

#[test]
fn a_delegation_that_stands_is_verified_from_the_parent_zone_to_the_node() {
    let site = Site::new();
    let node = node(&site);
    // The health of its HTTP is asked where the settings say; here the kernel chose the port.
    let http = format!("\n[http]\nport = {}\n", node.http.port());
    fs::write(site.path("node.toml"), http).unwrap();
    let verified = Verified::new(site, node.dns);
    verified
        .verify(parent, resolver)
        .expect(0)
        .says(&format!("ok    node: answering on {}\n", node.dns))
        .says(": NS mesh.test with glue 127.0.0.1\n")
        .says("ok    delegation: NS mesh.test\n")
        .says(": SOA over TCP\n")
        .says(": address of the name server, which is the zone itself\n")
        .says("ok    resolvers reach this node\n");
    verified
        .verify_with(forgetful_resolver)
        .expect(1)
        .says("fail  delegation: resolvers know no NS of mesh.test\n")
        .says("this resolver still remembers an answer from before");
    verified
        .verify_with(|name, rtype| match name {
            ZONE => (2, vec![], vec![], vec![]),
            _ => forgetful_resolver(name, rtype),
        })
        .expect(1)
        .says("fail  delegation: 127.0.0.3:")
        .says("by the settings: SOA over TCP\n");
    assert_eq!(node.stop("TERM"), Some(0));
    verified
        .verify_with(resolver)
        .expect(1)
        .says("fail  node: none runs on ")
        .says("is 53/udp open in every firewall on the way");
}

#[test]
fn each_wall_at_the_parent_zone_is_told_by_its_name() {
    for (script, fault, advice) in [
        (
            (|_, _| (3, vec![], vec![], vec![])) as Script,
            "NXDOMAIN and no NS of mesh.test\n",
            "Add the records that `dnsmesh node setup` prints",
        ),
        (
            |_, _| (0, vec![], ns(ZONE, "ns.elsewhere.test"), vec![]),
            "NS ns.elsewhere.test, the settings say mesh.test\n",
            "make `dns.apex_ns` and the NS records of the parent zone the same",
        ),
        (
            |_, _| (0, vec![], ns(ZONE, ZONE), vec![]),
            "NS mesh.test without glue\n",
            "the parent zone must hold its A or AAAA record too",
        ),
        (
            |_, _| {
                (
                    0,
                    vec![],
                    ns(ZONE, ZONE),
                    a(ZONE, Ipv4Addr::new(192, 0, 2, 9)),
                )
            },
            "with glue 192.0.2.9, the settings say 127.0.0.1\n",
            "If the node has moved, change its address in the parent zone",
        ),
    ] {
        // Its own server refuses everything and has no TCP.
        let server = play((NODE, 0).into(), |_, _| (5, vec![], vec![], vec![]));
        Verified::new(Site::new(), server)
            .verify(script, resolver)
            .expect(1)
            .says(fault)
            .says(advice)
            .says(": SOA over UDP, letters in any case: answered REFUSED\n")
            .says("Another name server answers at this address")
            .says("Open 53/tcp too");
    }
}
