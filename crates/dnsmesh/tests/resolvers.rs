//! `resolvers discover|list|test` against small servers on loopback; no resolver of the network is asked (cli.md 3.11).

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::User;
use dmp_dns::query::Query;
use dmp_dns::txt::encode_rdata;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A resolver over UDP that answers every TXT question with a value, or denies everything, until the test ends.
fn resolver(knows: bool) -> SocketAddr {
    serve(move |_| knows.then_some(b"x"))
}

/// One that has a record of this protocol at every name, though not a good one.
fn full() -> SocketAddr {
    serve(|_| Some(b"v=dmp1;t=identity;junk"))
}

/// One that fails, and how often it was asked.
fn failing() -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut request = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut request) {
            count.fetch_add(1, Ordering::SeqCst);
            let mut answer = answer(&request[..length], None);
            answer[3] = 2;
            let _ = socket.send_to(&answer, from);
        }
    });
    (address, asked)
}

/// One that knows a name that is there and denies all others, as one should.
fn honest() -> SocketAddr {
    serve(|name| {
        let name = name.to_ascii_lowercase();
        let is_there = name.windows(6).any(|part| part == b"google");
        is_there.then_some(b"x")
    })
}

/// A resolver over UDP; `text` is given names as they are on the wire.
fn serve(text: impl Fn(&[u8]) -> Option<&'static [u8]> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut request = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut request) {
            let query = Query::parse(&request[..length]).unwrap();
            let answer = answer(&request[..length], text(query.name()));
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

fn answer(request: &[u8], text: Option<&[u8]>) -> Vec<u8> {
    let query = Query::parse(request).unwrap();
    let mut answer = request[..12 + query.name().len() + 4].to_vec();
    answer[2] |= 0x80;
    answer[3] = if text.is_some() { 0 } else { 3 };
    answer[6..12].copy_from_slice(&[0, u8::from(text.is_some()), 0, 0, 0, 0]);
    if let Some(text) = text {
        let rdata = encode_rdata(text);
        answer.extend_from_slice(&[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, rdata.len() as u8]);
        answer.extend_from_slice(&rdata);
    }
    answer
}

/// The same resolver over TLS, with a certificate for its address; the certificate as PEM.
fn encrypted_resolver() -> (SocketAddr, String) {
    let address = Ipv4Addr::LOCALHOST.to_string();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![address]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::from(key))
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            thread::spawn(move || {
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut request).unwrap();
                    let answer = answer(&request, Some(b"x"));
                    let length = (answer.len() as u16).to_be_bytes();
                    stream.write_all(&[&length[..], &answer].concat()).unwrap();
                }
            });
        }
    });
    (address, cert.pem())
}

/// An address at which nobody answers.
fn dead() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn user(dir: &tempfile::TempDir, resolvers: &str) -> User {
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice", "--dns-resolvers", resolvers])
        .expect(0);
    user
}

fn listed(user: &User) -> Vec<String> {
    let ran = user.run(&["resolvers", "list"]).expect(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn list_prints_the_entries_or_a_hint_and_needs_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let bare = User::new(dir.path(), "bare");
    bare.run(&["resolvers", "list"])
        .expect(1)
        .warns("no config at");
    bare.run(&["init", "alice", "--no-default-resolvers"])
        .expect(0);
    bare.run(&["resolvers", "list"])
        .expect(0)
        .says("(no dns_resolvers configured");

    let user = user(&dir, "192.0.2.1,[2001:db8::1]:5353");
    assert_eq!(listed(&user), ["192.0.2.1", "[2001:db8::1]:5353"]);
    let json = user.run(&["--json", "resolvers", "list"]).expect(0).json();
    assert_eq!(json["resolvers"][1], "[2001:db8::1]:5353");
}

#[test]
fn discover_prints_who_answers_and_skips_what_is_no_address() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    let (knows, denies) = (resolver(true), resolver(false));
    let candidates = format!("{},dns.example,{knows},{denies},{knows}", dead());
    let discover = ["resolvers", "discover", "--candidates", &candidates];
    let ran = user.run(&discover).expect(0).warns("dns.example");
    assert_eq!(
        ran.stdout,
        format!("discovered 2 working resolver(s):\n  {knows}\n  {denies}\n")
    );

    let json = user
        .run(&[&["--json"], &discover[..]].concat())
        .expect(0)
        .json();
    assert_eq!(
        json["resolvers"],
        serde_json::json!([knows.to_string(), denies.to_string()])
    );
}

#[test]
fn discover_without_any_answer_fails_and_leaves_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir, "192.0.2.1");
    let before = user.config();
    let dead = dead().to_string();
    user.run(&[
        "resolvers",
        "discover",
        "--save",
        "--timeout",
        "0.5",
        "--candidates",
        &dead,
    ])
    .expect(2)
    .nothing_on_stdout()
    .warns("[resolvers-none]");
    assert_eq!(user.config(), before);
}

#[test]
fn discover_saves_only_into_a_configuration_and_keeps_entries_that_the_user_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let found = resolver(true).to_string();
    let save = ["resolvers", "discover", "--save", "--candidates", &found];
    let none = User::new(dir.path(), "none");
    none.run(&save).expect(1).warns("no config at");

    let user = user(&dir, "192.0.2.1,192.0.2.2:5353,[2001:db8::1]");
    user.run(&save).expect(0).says("saved 2 resolvers to ");
    assert_eq!(listed(&user), ["192.0.2.2:5353", &found]);
    user.run(&save).expect(0);
    assert_eq!(listed(&user), ["192.0.2.2:5353", &found], "each once");
    user.run(&[&save[..], &["--replace"]].concat()).expect(0);
    assert_eq!(listed(&user), [&found[..]]);
}

#[test]
fn test_tells_of_each_resolver_what_it_can_do() {
    let dir = tempfile::tempdir().unwrap();
    let (invents, dead) = (resolver(true).to_string(), dead().to_string());
    let user = user(&dir, &format!("{invents},{dead}"));
    let ran = user
        .run(&["resolvers", "test", "--timeout", "0.5"])
        .expect(2);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("RESOLVER") && lines[0].ends_with("USABLE"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with(&invents) && lines[2].starts_with(&dead),
        "{lines:?}"
    );
    assert!(
        ran.stdout
            .contains(&format!("{invents}: nxdomain: invents text")),
        "{}",
        ran.stdout
    );

    let denies = resolver(false).to_string();
    let ran = user
        .run(&[
            "--json",
            "resolvers",
            "test",
            "--timeout",
            "0.5",
            &denies,
            &invents,
        ])
        .expect(2);
    let rows: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["resolver"], &rows[0]["nxdomain"]),
        (&denies.into(), &true.into())
    );
    assert_eq!(
        (&rows[0]["txt"], &rows[0]["tcp"]),
        (&false.into(), &false.into())
    );
    assert_eq!(
        (&rows[1]["txt"], &rows[1]["nxdomain"]),
        (&true.into(), &false.into())
    );
    assert_eq!(rows[1]["usable"], false);
}

#[test]
fn a_resolver_that_failed_is_asked_last_by_the_next_command_too() {
    let dir = tempfile::tempdir().unwrap();
    let (failing, asked) = failing();
    let user = user(&dir, &format!("{failing},{}", full()));
    let fetch = || {
        user.run(&["identity", "fetch", "bob@mesh.test"]).expect(2);
        asked.swap(0, Ordering::SeqCst)
    };
    let memory = user.home.join("resolvers.json");
    assert!(fetch() > 0);
    let kept = fs::read_to_string(&memory).unwrap();
    assert!(kept.contains(&failing.to_string()), "{kept}");
    assert_eq!(fetch(), 0, "another process knows");
    assert_eq!(
        fs::read_to_string(&memory).unwrap(),
        kept,
        "nothing new, nothing written"
    );

    let aged = kept.replace("\"failed_at\":1", "\"failed_at\":");
    fs::write(&memory, aged).unwrap();
    assert!(fetch() > 0, "it has cooled down");
    for text in ["", "{", "[]", "\u{0}"] {
        fs::write(&memory, text).unwrap();
        assert!(fetch() > 0, "{text:?} counts for nothing");
    }
}

#[test]
fn the_doctor_saves_resolvers_that_work_after_asking_and_keeps_what_the_user_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, works, own) = ("127.73.0.9", honest().to_string(), dead().to_string());
    let user = user(&dir, &[dead, &works, &own].join(","));
    user.run(&["doctor", "network"])
        .says("  WARN  127.73.0.9 is not usable\n");
    user.run(&["doctor", "network", "--fix"])
        .warns("the resolvers stay as they are: cannot ask");
    assert_eq!(listed(&user), [dead, &works, &own]);
    let asked = user.run_with_input(&["doctor", "network", "--fix"], b"n\n");
    assert!(
        asked
            .stderr
            .contains(&format!("Save {works}, {own} as dns_resolvers"))
    );
    assert_eq!(listed(&user), [dead, &works, &own]);

    user.run(&["doctor", "network", "--fix", "--yes"])
        .says(&format!("  fixed: dns_resolvers is {works}, {own} now\n"));
    assert_eq!(listed(&user), [works, own]);
    let again = user.run(&["doctor", "network", "--fix", "--yes"]);
    assert!(!again.stdout.contains("fixed:"), "{}", again.stdout);
    user.run(&["doctor", "--yes"]).expect(2);
}

#[test]
fn an_encrypted_resolver_needs_a_certificate_of_somebody_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (address, pem) = encrypted_resolver();
    let file = dir.path().join("authority.pem");
    fs::write(&file, pem).unwrap();
    let entry = format!("tls://{address}");
    let user = user(&dir, &entry);
    assert_eq!(listed(&user), [&entry[..]]);
    user.run(&["resolvers", "test"])
        .expect(2)
        .says(&format!("{entry}: tls: invalid peer certificate"));
    let user = user.with("SSL_CERT_FILE", file.to_str().unwrap());
    let row = user.run(&["resolvers", "test", "--json"]).json();
    assert_eq!(
        (&row["encrypted"], &row["txt"]),
        (&true.into(), &true.into())
    );
    assert_eq!((&row["udp"], &row["tcp"]), (&().into(), &().into()));
}

#[test]
fn answers_that_nobody_validated_are_told_as_such_where_dnssec_is_required() {
    let dir = tempfile::tempdir().unwrap();
    for knows in [true, false] {
        let user = User::new(dir.path(), if knows { "knows" } else { "denies" });
        let resolvers = resolver(knows).to_string();
        user.run(&[
            "init",
            "alice@mesh.test",
            "--require-dnssec",
            "--dns-resolvers",
            &resolvers,
        ])
        .expect(0);
        user.run(&["identity", "fetch", "bob@mesh.test"])
            .expect(2)
            .nothing_on_stdout()
            .warns("did not validate");
    }
}
