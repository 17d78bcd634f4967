//! The DNS tools of BIND and Knot against our node: they are the outside oracle for its DNS and its UPDATE.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::{Name, Rtype};

use crate::Program::{Ours, Reference};
use crate::node::{Extras, Node};
use crate::proxy;
use crate::takeover;
use crate::user::{Credential, User};

const ZONE: &str = "alpha.test";

#[test]
fn dig_reads_every_value_over_udp_and_tcp() {
    let node = node_with_values("id-0123456789abcdef", 3);
    let name = format!("id-0123456789abcdef.{ZONE}");
    for transport in ["+notcp", "+tcp"] {
        let said = dig(&node, &[&name, "TXT", "+bufsize=1232", transport]);
        assert!(
            said.contains("status: NOERROR") && said.contains("ANSWER: 3"),
            "{said}"
        );
        assert!(
            said.contains("flags: qr aa"),
            "an authoritative answer: {said}"
        );
        assert!(!said.contains("flags: qr aa tc"), "{said}");
    }
}

#[test]
fn dig_sees_truncation_at_its_buffer_size_and_gets_everything_over_tcp() {
    // One value of 241 bytes takes 254 bytes of answer: 3 fit 1232 bytes and not 512, 8 fit neither.
    for (values, fits_1232) in [(3, true), (8, false)] {
        let node = node_with_values("chunks", values);
        let name = format!("chunks.{ZONE}");
        let complete = format!("ANSWER: {values}");
        for (option, fits) in [
            ("+noedns", false),
            ("+bufsize=512", false),
            ("+bufsize=1232", fits_1232),
        ] {
            let said = dig(&node, &[&name, "TXT", option, "+notcp", "+ignore"]);
            assert_eq!(
                said.contains("flags: qr aa tc"),
                !fits,
                "{option} {values}: {said}"
            );
            assert_eq!(said.contains(&complete), fits, "{option} {values}: {said}");
            let said = dig(&node, &[&name, "TXT", option]);
            assert!(said.contains(&complete), "dig asks again over TCP: {said}");
            let said = dig(&node, &[&name, "TXT", option, "+tcp"]);
            assert!(
                said.contains(&complete),
                "TCP is not bounded by the EDNS size: {said}"
            );
        }
        let said = dig(&node, &[&name, "TXT", "+bufsize=4096", "+notcp", "+ignore"]);
        assert_eq!(
            said.contains("flags: qr aa tc"),
            !fits_1232,
            "never over 1232 bytes on UDP (D12): {said}"
        );
    }
}

#[test]
fn dig_finds_names_in_any_case_and_gets_its_own_case_back() {
    let node = node_with_values("id-0123456789abcdef", 1);
    let asked = "iD-0123456789AbCdEf.AlPhA.tEsT.";
    let said = dig(&node, &[asked, "TXT"]);
    assert!(
        said.contains(&format!(";{asked}")),
        "the question is echoed byte for byte: {said}"
    );
    assert!(
        said.contains(&format!("\n{asked}")) && said.contains("ANSWER: 1"),
        "{said}"
    );
}

#[test]
fn dig_tells_missing_names_from_missing_types_and_foreign_zones() {
    let node = node_with_values("prekeys.id-0123456789ab", 1);
    let cases = [
        (format!("nothing.{ZONE}"), "TXT", "NXDOMAIN", 0, 1),
        (
            format!("prekeys.id-0123456789ab.{ZONE}"),
            "A",
            "NOERROR",
            0,
            1,
        ),
        (format!("id-0123456789ab.{ZONE}"), "TXT", "NOERROR", 0, 1), // an empty non-terminal
        (format!("nothing.{ZONE}"), "A", "NOERROR", 0, 1),           // D23
        (ZONE.to_owned(), "TXT", "NOERROR", 0, 1),
        (ZONE.to_owned(), "SOA", "NOERROR", 1, 0),
        (ZONE.to_owned(), "NS", "NOERROR", 1, 0),
        (ZONE.to_owned(), "A", "NOERROR", 1, 0),
        ("alpha.example".to_owned(), "TXT", "REFUSED", 0, 0),
    ];
    for (name, kind, status, answers, authorities) in cases {
        let said = dig(&node, &[&name, kind]);
        assert!(
            said.contains(&format!("status: {status}")),
            "{name} {kind}: {said}"
        );
        assert!(
            said.contains(&format!("ANSWER: {answers}, AUTHORITY: {authorities}")),
            "{name} {kind}: {said}"
        );
        if authorities == 1 {
            assert!(
                said.contains("\tSOA\t"),
                "a negative answer carries the SOA (RFC 2308 3): {said}"
            );
        }
    }
}

#[test]
fn kdig_reads_values_over_udp_and_tcp() {
    let node = node_with_values("chunks", 8);
    let port = node.dns.port().to_string();
    for transport in ["+noignore", "+tcp"] {
        let name = format!("chunks.{ZONE}");
        let arguments = [
            "@127.0.0.1",
            "-p",
            &port,
            &name,
            "TXT",
            "+bufsize=1232",
            transport,
        ];
        let said = run("kdig", &arguments, "").said;
        assert!(
            said.contains("status: NOERROR") && said.contains("ANSWER: 8"),
            "{said}"
        );
    }
}

#[test]
fn nsupdate_adds_and_deletes_with_a_registered_key() {
    updates("nsupdate");
}

#[test]
fn knsupdate_adds_and_deletes_with_a_registered_key() {
    updates("knsupdate");
}

#[test]
fn nsupdate_is_told_why_it_was_refused() {
    let node = Node::start(Ours, ZONE);
    let key = Key::register(&node);
    let owner = key.owner();
    let add = format!("update add {owner} 300 TXT \"refused\"\n");

    let wrong_secret = Key {
        secret: STANDARD.encode([7; 32]),
        ..key.clone()
    };
    let unknown = Key {
        name: format!("nobody-0000.{ZONE}."),
        ..key.clone()
    };
    let cases = [
        (Some(&wrong_secret), add.clone(), "NOTAUTH"),
        (Some(&unknown), add.clone(), "NOTAUTH(BADKEY)"),
        (None, add.clone(), "REFUSED"),
        (
            Some(&key),
            format!("update add dmp.{ZONE} 300 TXT \"out of scope\"\n"),
            "REFUSED",
        ),
        (
            Some(&key),
            format!("prereq yxrrset {owner} TXT\n{add}"),
            "NXRRSET",
        ),
        (
            Some(&key),
            format!("prereq yxdomain {owner}\n{add}"),
            "NXDOMAIN",
        ),
    ];
    for (key, script, reason) in cases {
        let outcome = update("nsupdate", &node, key, &script);
        assert!(
            !outcome.success && outcome.said.contains(reason),
            "{script}{}",
            outcome.said
        );
    }
    assert_eq!(node.values(&owner), Vec::<String>::new());
    assert_eq!(node.values(&format!("dmp.{ZONE}")), Vec::<String>::new());

    let outcome = update(
        "nsupdate",
        &node,
        Some(&key),
        &format!("prereq nxdomain {owner}\n{add}"),
    );
    assert!(outcome.success, "{}", outcome.said);
    assert_eq!(node.values(&owner), ["refused"]);
}

#[test]
fn nsupdate_reads_the_key_file_that_an_operators_new_key_is_printed_as() {
    let node = Node::start(Ours, ZONE);
    let folder = node.folder();
    for algorithm in ["hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        let name = format!("ops-{algorithm}.{ZONE}");
        let output = Command::new(Ours.executable())
            .args(["node", "ctl", "key", "add", &name, "--scope", ZONE])
            .args(["--algorithm", algorithm])
            .env("DMP_DB_PATH", folder.path().join("node/dmp.db"))
            .output()
            .expect("the program");
        assert!(output.status.success(), "{output:?}");
        let file = folder.path().join(algorithm);
        std::fs::write(&file, output.stdout).expect("a key file");
        let owner = format!("{algorithm}.{ZONE}");
        for (change, values) in [
            (
                format!("add {owner} 300 TXT \"{algorithm}\""),
                vec![algorithm],
            ),
            (format!("delete {owner} TXT"), vec![]),
        ] {
            let script = format!(
                "server 127.0.0.1 {}\nzone {ZONE}\nupdate {change}\nsend\n",
                node.dns.port()
            );
            let outcome = run("nsupdate", &["-k", &file.display().to_string()], &script);
            assert!(outcome.success, "{change}: {}", outcome.said);
            assert_eq!(txt(&node, &owner), values);
        }
    }
}

#[test]
fn every_algorithm_of_a_key_is_that_of_the_tools() {
    let folder = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let (keys, database) = (
        folder.path().join("tsig.db"),
        folder.path().join("own/node.db"),
    );
    let sql = rusqlite::Connection::open(&keys).expect("a database");
    sql.execute_batch(
        "CREATE TABLE tsig_keys (name TEXT PRIMARY KEY, algorithm TEXT NOT NULL, secret BLOB NOT NULL,
         allowed_suffixes TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
         revoked INTEGER NOT NULL)",
    )
    .expect("a table");
    let algorithms = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];
    for algorithm in algorithms {
        let row =
            "INSERT INTO tsig_keys VALUES (?1 || '.alpha.test.', ?1, ?2, 'alpha.test', 1, 0, 0)";
        sql.execute(row, (algorithm, [7_u8; 32])).expect("a key");
    }
    drop(sql);
    takeover::import(&[keys], &database, &[]);
    let extras = Extras {
        folder: Some(folder),
        database: Some(database),
        ..Extras::default()
    };
    let node = Node::start_with(Ours, ZONE, &extras);
    for algorithm in algorithms {
        let signer = format!(
            "{algorithm}:{algorithm}.{ZONE}.:{}",
            STANDARD.encode([7; 32])
        );
        let owner = format!("{algorithm}.{ZONE}");
        for (tool, transport) in [
            ("nsupdate", None),
            ("nsupdate", Some("-v")),
            ("knsupdate", Some("-v")),
        ] {
            let arguments = transport.into_iter().chain(["-y", &signer]);
            let script = format!(
                "server 127.0.0.1 {}\nzone {ZONE}\nupdate add {owner} 300 TXT \"{tool} {}\"\nsend\n",
                node.dns.port(),
                transport.unwrap_or("udp"),
            );
            let outcome = run(tool, &arguments.collect::<Vec<_>>(), &script);
            assert!(outcome.success, "{tool} {algorithm}: {}", outcome.said);
        }
        assert_eq!(txt(&node, &owner).len(), 3, "{algorithm}");
        // Queries are signed and answered so too; dig says when the answer's signature does not hold.
        for transport in ["+notcp", "+tcp"] {
            let said = dig(&node, &[&owner, "TXT", "-y", &signer, transport]);
            assert!(
                said.contains("ANSWER: 3") && said.contains("TSIG PSEUDOSECTION"),
                "{said}"
            );
            assert!(
                !said.contains("WARNING") && !said.contains("BADSIG"),
                "{said}"
            );
        }
    }
    let wrong = format!(
        "hmac-sha256:hmac-sha512.{ZONE}.:{}",
        STANDARD.encode([7; 32])
    );
    let said = dig(&node, &[ZONE, "SOA", "-y", &wrong]);
    assert!(
        said.contains("BADKEY") && said.contains("NOTAUTH"),
        "{said}"
    );
}

#[test]
fn every_kind_of_prerequisite_decides() {
    let node = Node::start(Ours, ZONE);
    let key = Key::register(&node);
    let owner = key.owner();
    let add = format!("update add {owner} 300 TXT \"there\"\n");
    for tool in ["nsupdate", "knsupdate"] {
        let delete = update(
            tool,
            &node,
            Some(&key),
            &format!("update delete {owner} TXT\n"),
        );
        assert!(delete.success, "{}", delete.said);
        // Each holds or fails once while nothing is there, and once while the value is.
        for (prerequisite, absent, present) in [
            (format!("nxdomain {owner}"), "", "YXDOMAIN"),
            (format!("yxdomain {owner}"), "NXDOMAIN", ""),
            (format!("nxrrset {owner} TXT"), "", "YXRRSET"),
            (format!("yxrrset {owner} TXT"), "NXRRSET", ""),
            (format!("yxrrset {owner} TXT \"there\""), "NXRRSET", ""),
            (
                format!("yxrrset {owner} TXT \"other\""),
                "NXRRSET",
                "NXRRSET",
            ),
            (format!("yxrrset {ZONE} SOA"), "", ""),
        ] {
            for (state, expected) in [
                (&format!("update delete {owner} TXT\n"), absent),
                (&add, present),
            ] {
                assert!(update(tool, &node, Some(&key), state).success);
                let script = format!("prereq {prerequisite}\n{add}");
                let outcome = update(tool, &node, Some(&key), &script);
                let as_expected = if expected.is_empty() {
                    outcome.success
                } else {
                    !outcome.success && outcome.said.contains(expected)
                };
                assert!(as_expected, "{tool} {prerequisite}: {}", outcome.said);
            }
        }
    }
}

#[test]
fn dig_gets_options_types_and_classes_answered_as_the_standards_say() {
    let extras = Extras {
        environment: vec![("DMP_DNS_NSID", "ns-of-alpha".to_owned())],
        ..Extras::default()
    };
    let node = Node::start_with(Ours, ZONE, &extras);
    let name = format!("a.{ZONE}");
    node.publish(&name, "v", 300);
    for (arguments, expected) in [
        (
            vec![name.as_str(), "TXT", "+cookie"],
            vec!["(good)", "ANSWER: 1"],
        ),
        (
            vec![&name, "TXT", "+cookie=0011223344556677"],
            vec!["(good)", "ANSWER: 1"],
        ),
        (
            vec![&name, "TXT", "+nsid"],
            vec!["ns-of-alpha", "ANSWER: 1"],
        ),
        (
            vec![&name, "TXT", "+ednsopt=65001:00ff"],
            vec!["status: NOERROR", "ANSWER: 1"],
        ),
        (
            vec![&name, "TXT", "+subnet=192.0.2.0/24"],
            vec!["status: NOERROR", "ANSWER: 1"],
        ),
        (
            vec![&name, "TXT", "+dnssec"],
            vec!["flags: do", "ANSWER: 1"],
        ),
        (
            vec![&name, "TXT", "+edns=1", "+noednsneg"],
            vec!["status: BADVERS", "version: 0"],
        ),
        (vec![&name, "TXT", "+bufsize=4096"], vec!["udp: 1232"]),
        (vec![&name, "ANY", "+notcp"], vec!["RFC8482", "ANSWER: 1"]),
        (vec![&name, "TXT", "-c", "CH"], vec!["status: REFUSED"]),
        (
            vec!["version.bind", "TXT", "-c", "CH"],
            vec!["status: REFUSED"],
        ),
        (vec![ZONE, "AXFR"], vec!["Transfer failed"]),
        (vec![&name, "TXT", "+opcode=NOTIFY"], vec!["status: NOTIMP"]),
        (vec![&name, "TXT", "+opcode=STATUS"], vec!["status: NOTIMP"]),
        (
            vec!["+header-only", "+nocookie", "+noedns"],
            vec!["status: FORMERR"],
        ),
        (
            vec!["elsewhere.example", "TXT"],
            vec!["status: REFUSED", "EDE: 20"],
        ),
    ] {
        for transport in ["+notcp", "+tcp"] {
            let said = dig(&node, &[&arguments[..], &[transport]].concat());
            for expected in &expected {
                assert!(
                    said.contains(expected),
                    "{arguments:?} {transport} {expected}: {said}"
                );
            }
            assert!(!said.contains("WARNING"), "{arguments:?}: {said}");
        }
    }
}

/// Signed adds and deletes, one value in several strings, all of a message or nothing of it.
fn updates(tool: &str) {
    let node = Node::start(Ours, ZONE);
    let key = Key::register(&node);
    let owner = key.owner();
    let (long, rest) = ("x".repeat(255), "y".repeat(90));

    let script = format!(
        "update add {owner} 300 TXT \"one\"\nupdate add {owner} 300 TXT \"{long}\" \"{rest}\"\n"
    );
    let outcome = update(tool, &node, Some(&key), &script);
    assert!(outcome.success, "{}", outcome.said);
    let mut values = node.values(&owner);
    values.sort_by_key(String::len);
    assert_eq!(
        values,
        ["one".to_owned(), format!("{long}{rest}")],
        "strings of one record are one value"
    );
    let said = dig(&node, &[&owner, "TXT"]);
    assert!(said.contains(&format!("\"{long}\" \"{rest}\"")), "{said}");

    let outcome = update(
        tool,
        &node,
        Some(&key),
        &format!("update delete {owner} TXT \"{long}\" \"{rest}\"\n"),
    );
    assert!(outcome.success, "{}", outcome.said);
    assert_eq!(node.values(&owner), ["one"]);

    let both = format!(
        "update add {owner} 300 TXT \"two\"\nupdate add dmp.{ZONE} 300 TXT \"out of scope\"\n"
    );
    let outcome = update(tool, &node, Some(&key), &both);
    assert!(
        !outcome.success && outcome.said.contains("REFUSED"),
        "{}",
        outcome.said
    );
    assert_eq!(
        node.values(&owner),
        ["one"],
        "a refused message changes nothing"
    );

    for _ in 0..2 {
        let outcome = update(
            tool,
            &node,
            Some(&key),
            &format!("update delete {owner} TXT\n"),
        );
        assert!(
            outcome.success,
            "deleting what is absent is no error: {}",
            outcome.said
        );
        assert_eq!(node.values(&owner), Vec::<String>::new());
    }
    assert!(dig(&node, &[&owner, "TXT"]).contains("status: NXDOMAIN"));
}

/// A TSIG key as a user's registration yields it, and whose it is.
#[derive(Clone)]
pub(crate) struct Key {
    user: String,
    name: String,
    secret: String,
}

impl Key {
    fn register(node: &Node) -> Self {
        let user = User::init(Reference, "carol", node, &[node], proxy::start(&[node]));
        user.register(Credential::Tsig, node);
        Key::of(&user)
    }

    /// The key that a registered user keeps.
    pub(crate) fn of(user: &User) -> Self {
        let secret = hex::decode(user.setting("tsig_secret_hex")).expect("hex");
        Key {
            user: user.name().to_owned(),
            name: user.setting("tsig_key_name"),
            secret: STANDARD.encode(secret),
        }
    }

    /// A name that it may write.
    fn owner(&self) -> String {
        let zone = dmp_core::name::Zone::parse(ZONE).expect("a zone");
        dmp_core::owner::identity_owner_hashed(&self.user, &zone).into_string()
    }

    /// Adds a value there.
    pub(crate) fn add(&self, node: &Node, value: &str) {
        let script = format!("update add {} 3000 TXT \"{value}\"\n", self.owner());
        let outcome = update("nsupdate", node, Some(self), &script);
        assert!(outcome.success, "{}", outcome.said);
    }
}

/// The values at a name, sorted, as one query over TCP tells them.
pub(crate) fn txt(node: &Node, name: &str) -> Vec<String> {
    let name: Name = name.parse().expect("a name");
    let query = QueryBuilder::new(name.clone(), Rtype::TXT).build(1);
    let mut stream = TcpStream::connect(node.dns).expect("the node's DNS port");
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    stream.write_all(&framed).expect("a query");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).expect("the whole of it");
    let response = Response::parse(&answer).expect("a DNS message");
    let values = response.txt(&name).into_iter();
    let mut values: Vec<String> = values
        .map(|value| String::from_utf8(value.to_vec()).expect("text"))
        .collect();
    values.sort();
    values
}

/// A node that holds so many values of a chunk's length at one name.
fn node_with_values(label: &str, count: u8) -> Node {
    let node = Node::start(Ours, ZONE);
    for value in 0..count {
        node.publish(
            &format!("{label}.{ZONE}"),
            &char::from(b'a' + value).to_string().repeat(241),
            300,
        );
    }
    node
}

struct Outcome {
    success: bool,
    said: String,
}

fn dig(node: &Node, arguments: &[&str]) -> String {
    let port = node.dns.port().to_string();
    let fixed = [
        "@127.0.0.1",
        "-p",
        &port,
        "+norecurse",
        "+tries=1",
        "+time=5",
    ];
    run("dig", &[&fixed, arguments].concat(), "").said
}

fn update(tool: &str, node: &Node, key: Option<&Key>, script: &str) -> Outcome {
    let signer = key.map(|key| format!("hmac-sha256:{}:{}", key.name, key.secret));
    let arguments: Vec<&str> = signer.iter().flat_map(|signer| ["-y", signer]).collect();
    let script = format!(
        "server 127.0.0.1 {}\nzone {ZONE}\n{script}send\n",
        node.dns.port()
    );
    run(tool, &arguments, &script)
}

/// Runs a tool with a script on standard input and returns everything it said.
fn run(tool: &str, arguments: &[&str], script: &str) -> Outcome {
    let mut process = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool} (Debian: bind9-dnsutils, knot-dnsutils): {error}"));
    process
        .stdin
        .take()
        .expect("standard input")
        .write_all(script.as_bytes())
        .expect("the script");
    let output = process.wait_with_output().expect("an end");
    let said = [output.stdout, output.stderr].concat();
    Outcome {
        success: output.status.success(),
        said: String::from_utf8_lossy(&said).into_owned(),
    }
}
