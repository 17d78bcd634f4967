//! `register` and `tsig register` against a scripted node: every answer has its exit code and its line (cli.md 3.8, 3.9); the probe of
//! `init`; expiring credentials told in time.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use common::node::{self, Node};
use common::{Ran, User};
use serde_json::{Value, json};

const CHALLENGE: &str = "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";

/// Answers of a node in order, one per connection; the request lines and bodies come out of the receiver.
fn scripted(at: &str, answers: Vec<(u16, String)>) -> (SocketAddr, Receiver<(String, Value)>) {
    let listener = TcpListener::bind(at).unwrap();
    let address = listener.local_addr().unwrap();
    let (report, requests) = channel();
    thread::spawn(move || {
        for (status, body) in answers {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            reader.read_line(&mut line).unwrap();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if header.trim().is_empty() {
                    break;
                }
            }
            let mut content = vec![0; length];
            reader.read_exact(&mut content).unwrap();
            // The test may not look.
            let _ = report.send((
                line,
                serde_json::from_slice(&content).unwrap_or(Value::Null),
            ));
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, requests)
}

fn offer() -> (u16, String) {
    (
        200,
        json!({"challenge": CHALLENGE, "node": "alpha.test"}).to_string(),
    )
}

fn error(status: u16) -> (u16, String) {
    (status, json!({"error": "because\u{1b}[2J"}).to_string())
}

fn user(dir: &tempfile::TempDir) -> User {
    let user = User::new(dir.path(), "alice");
    user.run(&["init", "alice@alpha.test", "--no-probe-local-dns"])
        .expect(0);
    user
}

fn tsig_grant() -> (u16, String) {
    let grant = json!({"tsig_key_name": "alice-1.alpha.test.", "tsig_secret_hex": "00ff", "tsig_algorithm": "hmac-sha256",
        "allowed_suffixes": ["id-1.alpha.test", "id-2.alpha.test"], "subject": "alice@alpha.test", "zone": "alpha.test",
        "expires_at": 1_900_000_000});
    (200, grant.to_string())
}

#[test]
fn every_answer_of_a_node_has_its_exit_code_and_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir);
    let before = user.config();
    let token: &[&str] = &["register"];
    let tsig: &[&str] = &["tsig", "register"];
    for (verb, answers, status, said) in [
        (token, vec![(404, String::new())], 1, "registration is disabled"),
        (tsig, vec![(404, String::new())], 1, "registration is disabled"),
        (token, vec![error(429)], 2, "rate-limits"),
        (token, vec![error(500)], 2, "HTTP 500: because"),
        (token, vec![(200, "<html>".into())], 2, "without the promised members"),
        (token, vec![(200, "{}".into())], 2, "without the promised members"),
        (token, vec![(302, String::new())], 2, "HTTP 302"),
        (token, vec![offer(), error(401)], 1, "rejected the signature"),
        (tsig, vec![offer(), error(401)], 1, "check the passphrase"),
        (token, vec![offer(), error(403)], 1, "does not register alice@alpha.test"),
        (tsig, vec![offer(), error(403)], 1, "does not register alice@alpha.test"),
        (token, vec![offer(), error(409)], 1, "held by another key"),
        (tsig, vec![offer(), error(409)], 1, "held by another key"),
        (tsig, vec![offer(), error(404)], 1, "takes no DNS updates"),
        (token, vec![offer(), error(404)], 1, "registration is disabled"),
        (tsig, vec![offer(), error(429)], 2, "rate-limits"),
        (token, vec![offer(), error(503)], 2, "HTTP 503"),
        (token, vec![offer(), (200, "{}".into())], 2, "without the promised members"),
        (tsig, vec![offer(), (200, "{}".into())], 2, "without the promised members"),
        // Nothing else than a challenge is signed (D7).
        (tsig, vec![(200, json!({"challenge": "00", "node": "alpha.test"}).to_string())], 1, "nothing was signed"),
        // A key with which nothing can be proved.
        (
            tsig,
            vec![(200, json!({"challenge": CHALLENGE, "node": "alpha.test", "server_x25519_pub": "00".repeat(32)}).to_string())],
            2,
            "possession cannot be proved",
        ),
    ] {
        let shown = format!("{verb:?} {answers:?}");
        let (address, _requests) = scripted("127.0.0.1:0", answers);
        let url = format!("http://{address}");
        let ran = user.run(&[verb, &["--node", &url]].concat());
        assert_eq!(ran.status, Some(status), "{shown}: {}", ran.stderr);
        let ran = ran.nothing_on_stdout().warns(said);
        assert!(ran.stderr.starts_with("dnsmesh: ") && !ran.stderr.contains('\u{1b}'), "{shown}: {}", ran.stderr);
    }
    // The key of this home was remembered by the first of them, and nothing else was changed.
    let key = user.setting("verify_pubkey");
    assert_eq!(user.config().replace(&key, "''"), before);
    user.run(&["token", "list"])
        .expect(0)
        .says("(no saved tokens)\n");
}

#[test]
fn a_tsig_key_is_printed_without_its_secret_and_kept_with_its_expiry() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir);
    let (address, requests) = scripted("127.0.0.1:0", vec![offer(), tsig_grant()]);
    // Scheme in the argument, slash at the end, port: none of it goes into the server's name.
    let ran = user
        .run(&[
            "tsig",
            "register",
            "--node",
            &format!("http://{address}/"),
            "--dns-port",
            "0",
        ])
        .expect(0);
    assert_eq!(
        ran.stdout.lines().take(9).collect::<Vec<_>>(),
        [
            "registered alice@alpha.test on 127.0.0.1",
            "  TSIG key:  alice-1.alpha.test.",
            "  algorithm: hmac-sha256",
            "  zone:      alpha.test",
            "  DNS:       127.0.0.1:53/udp",
            "  scope:",
            "    - id-1.alpha.test",
            "    - id-2.alpha.test",
            "  expires:   2030-03-17T17:46:40Z",
        ]
    );
    assert!(!ran.stdout.contains("00ff"));
    let posted = requests.iter().nth(1).unwrap();
    assert!(
        posted.0.starts_with("POST /v1/registration/tsig-confirm "),
        "{}",
        posted.0
    );
    for (key, value) in [
        ("tsig_key_name", "alice-1.alpha.test."),
        ("tsig_secret_hex", "00ff"),
        ("tsig_dns_server", "127.0.0.1"),
        ("tsig_dns_port", "53"),
        ("tsig_expires_at", "1900000000"),
    ] {
        assert_eq!(user.setting(key).trim_matches('\''), value, "{key}");
    }
}

#[test]
fn brackets_and_port_of_a_node_are_not_part_of_the_dns_servers_name() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir);
    let (address, _requests) = scripted("[::1]:0", vec![offer(), tsig_grant()]);
    user.run(&[
        "tsig",
        "register",
        "--node",
        &address.to_string(),
        "--scheme",
        "http",
        "--dns-port",
        "5300",
    ])
    .expect(0)
    .says("registered alice@alpha.test on ::1\n");
    assert_eq!(user.setting("tsig_dns_server").trim_matches('\''), "::1");
    let (address, _requests) = scripted("127.0.0.1:0", vec![offer(), tsig_grant()]);
    user.run(&[
        "tsig",
        "register",
        "--node",
        &address.to_string(),
        "--scheme",
        "http",
        "--dns-server",
        "ns.alpha.test",
    ])
    .expect(0);
    assert_eq!(user.setting("tsig_dns_server"), "ns.alpha.test");
}

/// An address of this machine that no other run of the test uses: nodes are sought at fixed ports.
fn own_address() -> Ipv4Addr {
    let id = std::process::id();
    Ipv4Addr::new(127, 129 + (id >> 8 & 0x3f) as u8, (id & 0xff) as u8, 1)
}

#[test]
fn init_looks_the_node_up_by_name_and_saves_where_its_dns_answers() {
    let dir = tempfile::tempdir().unwrap();
    let address = own_address();
    let mut command = node::command(dir.path(), "alpha.test");
    command.env("DMP_DNS_APEX_A", address.to_string());
    let node = Node::spawn(command, "alpha.test");
    // What stands at the address of the name refuses updates, as a node does.
    let listener = UdpSocket::bind((IpAddr::from(address), 5353)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1232];
        while let Ok((length, client)) = listener.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            buffer[3] = 5;
            // Who asked may have gone.
            let _ = listener.send_to(&buffer[..length], client);
        }
    });
    let user = User::new(dir.path(), "u");
    user.run(&[
        "init",
        "alice@alpha.test",
        "--endpoint",
        "https://alpha.test",
        "--dns-resolvers",
        &node.dns.to_string(),
    ])
    .expect(0)
    .says(&format!(
        "  probed local DNS endpoint: {address}:5353\nwrote config to "
    ));
    assert_eq!(user.setting("local_node_dns_server"), address.to_string());
    assert_eq!(user.setting("local_node_dns_port"), "5353");
}

#[test]
fn a_credential_about_to_expire_is_told_when_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir);
    user.configure("endpoint: http://127.0.0.1:1\nprovider_seeds: []\ntsig_key_name: k.alpha.test.\ntsig_secret_hex: '00'\ntsig_zone: alpha.test\ntsig_dns_server: 127.0.0.1");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let send = |expires: u64| -> Ran {
        user.run(&["config", "set", "tsig_expires_at", &expires.to_string()])
            .expect(0);
        user.run(&["send", "nobody", "text"])
            .expect(1)
            .warns("unknown contact")
    };
    send(now + 13 * 86_400)
        .warns("warning: the TSIG key k.alpha.test. expires at ")
        .warns("dnsmesh tsig register");
    send(now - 1).warns("warning: the TSIG key k.alpha.test. expired at ");
    let fine = send(now + 15 * 86_400);
    assert!(!fine.stderr.contains("expire"), "{}", fine.stderr);
}

#[test]
fn a_token_that_does_not_lie_beside_the_configuration_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir).without("DMP_TOKENS_HOME");
    let grant = json!({"token": "dmp_v1_T", "subject": "alice@alpha.test", "expires_at": null});
    let (address, _requests) = scripted("127.0.0.1:0", vec![offer(), (200, grant.to_string())]);
    let ran = user
        .run(&["register", "--node", &format!("http://{address}")])
        .expect(0)
        .says("registered alice@alpha.test on 127.0.0.1\n")
        .says("(mode 0600)\n  expires at never\n")
        .warns("warning: tokens lie in ");
    assert!(!ran.stdout.contains("dmp_v1_T"));
    let home = user.home.to_str().unwrap().to_owned();
    let (address, _requests) = scripted("127.0.0.1:0", vec![offer(), (200, grant.to_string())]);
    let ran = user
        .run(&[
            "--config-home",
            &home,
            "register",
            "--node",
            &format!("http://{address}"),
        ])
        .expect(0);
    assert!(!ran.stderr.contains("tokens lie in"), "{}", ran.stderr);
    assert!(user.home.join("tokens/127.0.0.1.json").exists());
}
