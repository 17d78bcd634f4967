//! Response-rate limiting, cookies, identifier and datagram size at a running node (D12, node.md 2.6, 2.8).

use dmp_dns::cookie::{Cookie, Secret, Secrets};
use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::tsig::sign_request;
use dmp_dns::{Rcode, Rtype};
use dmp_node::settings::Settings;

use crate::support::{NOW, Node, add, key, name, row, update};

/// Three of a kind, and then none for the length of any test. One thread: what is sent first is decided first.
fn three(settings: &mut Settings) {
    (settings.dns_rate, settings.dns_burst) = (0.000_001, 3.0);
    settings.udp_threads = 1;
}

fn query(owner: &str) -> Vec<u8> {
    QueryBuilder::new(name(owner), Rtype::TXT).build(0x1234)
}

fn with_cookie(owner: &str, server: &[u8]) -> Vec<u8> {
    let cookie = Cookie {
        client: *b"a client",
        server,
    };
    let builder = QueryBuilder::new(name(owner), Rtype::TXT);
    builder.with_cookie(cookie).build(0x1234)
}

fn ask(node: &Node, request: &[u8]) -> Response {
    Response::parse(&node.udp(request)).unwrap()
}

#[test]
fn beyond_the_burst_every_second_query_is_sent_to_tcp_and_the_others_are_dropped() {
    for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let node = Node::start_with(|settings| {
            three(settings);
            settings.dns = address.parse().unwrap();
        });
        node.put("a.mesh.example", "v", 300);
        let request = query("a.mesh.example");
        for _ in 0..3 {
            assert_eq!(ask(&node, &request).answers.len(), 1);
        }
        for _ in 0..3 {
            node.send(&request); // dropped: what comes next answers what is sent next
            let mut told = request.clone();
            told[0] = 0x77;
            let answer = node.udp(&told);
            assert_eq!((answer[0], answer.len()), (0x77, request.len()));
            let response = Response::parse(&answer).unwrap();
            assert!(response.truncated && response.answers.is_empty());
        }
        let whole = Response::parse(&node.tcp(&request)).unwrap();
        assert_eq!(whole.answers.len(), 1, "TCP is not limited by it");
        assert_eq!(
            ask(&node, &query("none.mesh.example")).rcode,
            Rcode::NXDOMAIN,
            "another kind of answer"
        );
    }
}

#[test]
fn a_client_that_comes_back_with_the_cookie_it_was_given_is_not_limited() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let node = Node::start_with(|settings| {
            three(settings);
            settings.dns = address.parse().unwrap();
        });
        node.put("a.mesh.example", "v", 300);
        let first = ask(&node, &with_cookie("a.mesh.example", &[]));
        let server = first.cookie().unwrap().unwrap().server.to_vec();
        let proven = with_cookie("a.mesh.example", &server);
        for _ in 0..50 {
            assert_eq!(ask(&node, &proven).answers.len(), 1);
        }
        // A day later the secret has changed; the cookie is too old anyway, and the client is told so when limited.
        node.clock.advance(86_400);
        node.put("a.mesh.example", "v", 300);
        for _ in 0..2 {
            assert_eq!(
                ask(&node, &proven).rcode,
                Rcode::NOERROR,
                "a wrong one costs nothing"
            );
        }
        node.send(&proven);
        let told = ask(&node, &proven);
        assert_eq!(told.rcode, Rcode::BADCOOKIE);
        let server = told.cookie().unwrap().unwrap().server.to_vec();
        let response = ask(&node, &with_cookie("a.mesh.example", &server));
        assert_eq!(response.answers.len(), 1);
    }
}

#[test]
fn nodes_that_share_a_secret_accept_each_others_cookies() {
    let shared = Secrets::new(Secret::new([7; 16]), Some(Secret::new([8; 16])));
    let node = Node::start_with(|settings| {
        three(settings);
        settings.cookie_secrets = Some(shared);
    });
    let address = node.address.ip();
    for secret in [7, 8] {
        let pair = Secret::new([secret; 16]).make(b"a client", address, NOW);
        for _ in 0..10 {
            let response = ask(&node, &with_cookie("none.mesh.example", &pair[8..]));
            assert_eq!(response.rcode, Rcode::NXDOMAIN);
        }
    }
}

#[test]
fn a_query_for_a_cookie_alone_is_answered_over_both_transports() {
    let node = Node::start();
    let option = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08a client";
    let request = [&b"\x12\x34\0\0\0\0\0\0\0\0\0\x01"[..], option].concat();
    for answer in [node.udp(&request), node.tcp(&request)] {
        let response = Response::parse(&answer).unwrap();
        assert_eq!(response.rcode, Rcode::NOERROR);
        let cookie = response.cookie().unwrap().unwrap();
        assert_eq!((&cookie.client, cookie.server.len()), (b"a client", 16));
    }
}

#[test]
fn unsigned_updates_are_limited_before_they_change_anything_and_signed_ones_are_not() {
    let node = Node::start_with(|settings| {
        three(settings);
        settings.claims.provider = true;
    })
    .with_keys(vec![row("k", &["mesh.example"])]);
    let unsigned = update(&[add("a.mesh.example", "v")]).build(0x4321);
    for _ in 0..3 {
        assert_eq!(ask(&node, &unsigned).rcode, Rcode::REFUSED);
    }
    node.send(&unsigned);
    let told = ask(&node, &unsigned);
    assert_eq!((told.rcode, told.truncated), (Rcode::SERVFAIL, true));
    for index in 0..10 {
        let added = [add(&format!("n{index}.mesh.example"), "v")];
        assert_eq!(node.update_rcode(&key("k"), &added), Rcode::NOERROR);
    }
    let mut forged = update(&[add("b.mesh.example", "v")]).build(0x4321);
    sign_request(&key("unknown"), &mut forged, NOW).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&node, &forged).rcode, Rcode::NOTAUTH);
    }
    node.send(&forged);
    let told = ask(&node, &forged);
    assert_eq!((told.rcode, told.truncated), (Rcode::SERVFAIL, true));
}

#[test]
fn answers_to_what_cannot_be_read_are_limited() {
    let node = Node::start_with(three);
    let cut = [0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for _ in 0..3 {
        assert_eq!(node.udp(&cut)[3], 1);
    }
    for _ in 0..3 {
        node.udp_silent(&cut);
    }
}

#[test]
fn the_identifier_is_told_to_who_asks_once_it_is_set() {
    let ask_nsid = |node: &Node| {
        let mut request = query("a.mesh.example");
        let at = request.len() - 1;
        request[at] = 4;
        request.extend_from_slice(&[0, 3, 0, 0]);
        [node.udp(&request), node.tcp(&request)]
            .map(|answer| Response::parse(&answer).unwrap().nsid)
    };
    assert_eq!(ask_nsid(&Node::start()), [None, None]);
    let node = Node::start_with(|settings| settings.nsid = Some(b"ns1".to_vec()));
    assert_eq!(
        ask_nsid(&node),
        [Some(b"ns1".to_vec()), Some(b"ns1".to_vec())]
    );
    assert_eq!(ask(&node, &query("a.mesh.example")).nsid, None);
}

#[test]
fn a_smaller_datagram_limit_is_kept_and_told() {
    let node = Node::start_with(|settings| settings.udp_payload = 600);
    node.put("a.mesh.example", &"x".repeat(300), 300);
    node.put("b.mesh.example", &"x".repeat(700), 300);
    let answer = node.udp(&query("a.mesh.example"));
    let opt = [0, 0, 41, 600_u16.to_be_bytes()[0], 600_u16.to_be_bytes()[1]];
    assert!(answer.windows(5).any(|window| window == opt));
    assert!(ask(&node, &query("b.mesh.example")).truncated);
}

/// What `dig` prints; `None` where there is none.
#[expect(
    clippy::print_stdout,
    reason = "whoever runs the tests is told what was left out"
)]
fn dig(node: &Node, options: &[&str]) -> Option<String> {
    let port = node.address.port().to_string();
    let mut command = std::process::Command::new("dig");
    command.args(["@127.0.0.1", "-p", &port, "+norec", "+timeout=1"]);
    match command.args(options).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            println!("dig is not here, so it is not asked: {error}");
            None
        }
    }
}

#[test]
fn dig_agrees_on_cookies_and_finds_both_ways_through_a_limit() {
    let node = Node::start_with(|settings| {
        three(settings);
        settings.nsid = Some(b"ns1".to_vec());
    });
    node.put("a.mesh.example", "v", 300);
    let question = ["a.mesh.example", "TXT"];
    let Some(first) = dig(&node, &[&question[..], &["+cookie", "+nsid"]].concat()) else {
        return;
    };
    assert!(
        first.contains("(good)") && first.contains("\"ns1\""),
        "{first}"
    );
    for _ in 0..2 {
        ask(&node, &query("a.mesh.example"));
    }
    // The limit is reached: one try is dropped, the next is told how to come through.
    let cookie = dig(&node, &[&question[..], &["+cookie", "+tries=2"]].concat()).unwrap();
    assert!(cookie.contains("BADCOOKIE, retrying"), "{cookie}");
    assert!(
        cookie.contains("ANSWER: 1") && cookie.contains("(UDP)"),
        "{cookie}"
    );
    let tcp = dig(&node, &[&question[..], &["+nocookie", "+tries=2"]].concat()).unwrap();
    assert!(tcp.contains("retrying in TCP mode"), "{tcp}");
    assert!(tcp.contains("ANSWER: 1") && tcp.contains("(TCP)"), "{tcp}");
    let alone = ["+header-only", "+cookie"];
    let alone = dig(&node, &alone).unwrap();
    assert!(
        alone.contains("NOERROR") && alone.contains("(good)"),
        "{alone}"
    );
}
