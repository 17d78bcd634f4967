//! How nodes of a cluster are spoken to: with whose token, and where their DNS is.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use dmp_client::cluster::{ClusterCredential, HomeTransports, Transports};
use dmp_client::config::Config;
use dmp_client::home::{Home, SavedToken};
use dmp_client::mesh::{Lookup, Operation, Reader, SystemClock};
use dmp_client::reader::Resolvers;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::name::{DomainName, Zone};
use dmp_core::owner::{OwnerName, identity_owner_hashed};
use dmp_core::record::{ClusterManifest, ClusterNode};
use dmp_net::{Dnssec, PoolOptions, SystemFallback};

fn node(http: &str, dns: Option<&str>) -> ClusterNode {
    ClusterNode {
        id: "a".to_owned(),
        http_endpoint: http.to_owned(),
        dns_endpoint: dns.map(str::to_owned),
    }
}

fn manifest(nodes: &[ClusterNode]) -> ClusterManifest {
    ClusterManifest {
        seq: 1,
        exp: UnixTime::new(u64::MAX),
        operator: OperatorKey::from_ed25519_seed([7; 32]).public(),
        name: DomainName::parse("Mesh.test").unwrap(),
        nodes: nodes.to_vec(),
    }
}

fn owner() -> OwnerName {
    identity_owner_hashed("alice", &Zone::parse("mesh.test").unwrap())
}

fn resolvers(server: SocketAddr) -> Resolvers {
    Resolvers::configured(
        vec![server],
        PoolOptions::default(),
        SystemFallback::Forbidden,
    )
}

fn transports(config: &Config, home: &Home, resolvers: Resolvers) -> HomeTransports {
    let options = PoolOptions {
        dnssec: if config.dnssec_required {
            Dnssec::Requested
        } else {
            Dnssec::Ignored
        },
        ..PoolOptions::system()
    };
    HomeTransports::new(config, home, resolvers, options, Arc::new(SystemClock))
}

fn nobody() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

#[tokio::test]
async fn tokens_go_to_whom_they_are_for() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let saved = SavedToken {
        version: 1,
        node: "saved.test".into(),
        subject: String::new(),
        token: "of-saved".into(),
        expires_at: None,
        registered_spk: String::new(),
        saved_at: 1,
    };
    home.save_token(&saved).unwrap();
    let nodes = [
        node("https://saved.test:8053", None),
        node("plain.test", None),
    ];
    let manifest = manifest(&nodes);
    let with = |endpoint: &str, http: Option<&str>, cluster: &str| {
        let config = Config {
            endpoint: endpoint.into(),
            http_token: http.map(str::to_owned),
            cluster_node_token: cluster.into(),
            ..Config::default()
        };
        let transports = transports(&config, &home, resolvers(nobody()));
        [0, 1].map(|index| transports.credential(&nodes[index], &manifest))
    };
    use ClusterCredential::{ClusterToken, HttpToken, None as Nothing, SavedToken as Saved};
    assert_eq!(with("", None, ""), [Saved, Nothing]);
    assert_eq!(with("", None, "c"), [ClusterToken; 2]);
    assert_eq!(with("https://x.test", Some("h"), "c"), [ClusterToken; 2]);
    // What was got from somebody else stays away from these nodes.
    assert_eq!(with("https://x.test", Some("h"), ""), [Saved, Nothing]);
    assert_eq!(with("https://x.mesh.test.evil", Some("h"), "")[1], Nothing);
    for own in [
        "",
        "https://PLAIN.test:99",
        "https://gate.mesh.test",
        "mesh.test",
    ] {
        assert_eq!(with(own, Some("h"), ""), [HttpToken; 2], "{own}");
    }

    // And that is what is sent.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let heard = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = [0; 2048];
        let length = stream.read(&mut request).unwrap();
        stream
            .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        String::from_utf8_lossy(&request[..length]).to_lowercase()
    });
    let config = Config {
        endpoint: "https://x.test".into(),
        http_token: Some("of-another".into()),
        ..Config::default()
    };
    let here = node(&url, None);
    let manifest = self::manifest(std::slice::from_ref(&here));
    let writer = transports(&config, &home, resolvers(nobody())).writer(&here, &manifest);
    let add = Operation::Add {
        owner: owner(),
        ttl: 60,
        value: "v=dmp1;x".into(),
    };
    let applied = writer.unwrap().apply(&[add]).await;
    assert_eq!(applied.stored(), 1);
    let heard = heard.join().unwrap();
    assert!(heard.starts_with("post /v1/records/id-"), "{heard}");
    assert!(!heard.contains("authorization"), "{heard}");

    for wrong in [
        node("ftp://a.test", None),
        node("https:///x", None),
        node("https://u@a.test", None),
    ] {
        let transports = transports(&config, &home, resolvers(nobody()));
        assert!(transports.writer(&wrong, &manifest).is_err(), "{wrong:?}");
    }
    let transports = transports(&config, &home, resolvers(nobody()));
    assert!(transports.reader(&node("a.test", Some("a b"))).is_err());
}

/// What a server answers: a code, whether it validated, and the addresses or texts.
#[derive(Clone, Copy)]
struct Says {
    rcode: u8,
    validated: bool,
    data: &'static [u8],
}

const NOTHING: Says = Says {
    rcode: 0,
    validated: false,
    data: b"",
};

/// A DNS server over UDP that answers every question the same, and counts them.
struct Server {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            says: Arc::new(Mutex::new(says)),
            asked: Arc::default(),
        };
        let (says, asked) = (Arc::clone(&server.says), Arc::clone(&server.asked));
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&query[..length], *says.lock().unwrap());
                socket.send_to(&answer, from).unwrap();
            }
        });
        server
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The question, echoed, with one record of its type if there is data.
fn answer(query: &[u8], says: Says) -> Vec<u8> {
    let name = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 1;
    let question = &query[12..name + 4];
    let count = u8::from(!says.data.is_empty());
    let mut answer = query[..2].to_vec();
    let authentic = if says.validated { 0x20 } else { 0 };
    answer.extend([0x84, authentic | says.rcode, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    if count == 1 {
        answer.extend([0xc0, 12]);
        answer.extend(&query[name..name + 4]);
        answer.extend([0, 0, 0, 60, 0, says.data.len() as u8]);
        answer.extend(says.data);
    }
    answer
}

#[tokio::test]
async fn a_nodes_dns_is_found_by_name_and_asked_itself_and_its_failures_are_not_absence() {
    let home = Home::at("/nonexistent");
    let resolver = Server::start(Says {
        data: &[127, 0, 0, 1],
        ..NOTHING
    });
    let there = Server::start(Says {
        data: b"\x08v=dmp1;x",
        ..NOTHING
    });
    let endpoint = format!("Ns.node.test:{}", there.address.port());
    let described = node("http://a.test", Some(&endpoint));
    let config = Config::default();
    let reader = transports(&config, &home, resolvers(resolver.address))
        .reader(&described)
        .unwrap();
    let found = Lookup::Found(vec!["v=dmp1;x".to_owned()]);
    for _ in 0..3 {
        assert_eq!(reader.txt(&owner()).await, found);
    }
    assert_eq!(resolver.asked(), 1, "the address is looked up once a run");
    reader.begin_run();
    assert_eq!(reader.txt(&owner()).await, found);
    assert_eq!(resolver.asked(), 2);

    for absent in [
        NOTHING,
        Says {
            rcode: 3,
            ..NOTHING
        },
    ] {
        there.say(absent);
        assert_eq!(reader.txt(&owner()).await, Lookup::Absent);
    }
    for failing in [2, 4, 5] {
        there.say(Says {
            rcode: failing,
            ..NOTHING
        });
        let answer = reader.txt(&owner()).await;
        assert!(matches!(answer, Lookup::Unreachable(_)), "{answer:?}");
    }

    // What was not validated counts as a failure where validation is wanted, a denial too.
    let strict = Config {
        dnssec_required: true,
        ..Config::default()
    };
    let strict = transports(&strict, &home, resolvers(resolver.address))
        .reader(&node("http://a.test", Some(&there.address.to_string())))
        .unwrap();
    for (validated, rcode) in [(false, 0), (false, 3), (true, 3)] {
        there.say(Says {
            rcode,
            validated,
            data: b"",
        });
        let answer = strict.txt(&owner()).await;
        assert_eq!(answer == Lookup::Absent, validated, "{answer:?}");
    }

    // Nobody listens, or nobody knows the name.
    let dead = node("http://a.test", Some("127.0.0.1:1"));
    resolver.say(NOTHING);
    let unknown = node("http://a.test", Some("other.test"));
    for node in [dead, unknown] {
        let transports = transports(&config, &home, resolvers(resolver.address));
        let answer = transports.reader(&node).unwrap().txt(&owner()).await;
        assert!(matches!(answer, Lookup::Unreachable(_)), "{answer:?}");
    }
    // A node without DNS of its own is asked through the resolvers.
    resolver.say(Says {
        data: b"\x08v=dmp1;y",
        ..NOTHING
    });
    let transports = transports(&config, &home, resolvers(resolver.address));
    let reader = transports.reader(&node("http://a.test", None)).unwrap();
    assert_eq!(
        reader.txt(&owner()).await,
        Lookup::Found(vec!["v=dmp1;y".to_owned()])
    );
}
