//! Sockets: framing, pipelining, limits, addresses and ports (node.md 2.1, 2.8).

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::tsig::sign_request;
use dmp_dns::{Rcode, Rtype};
use dmp_node::clock::Clock;
use dmp_node::context::Context;
use dmp_node::listen::Listeners;
use dmp_node::settings::Settings;

use crate::support::{
    NOW, Node, add, key, name, receive_framed, row, send_framed, settings, update,
};

fn query(owner: &str, id: u16) -> Vec<u8> {
    QueryBuilder::new(name(owner), Rtype::TXT).build(id)
}

#[test]
fn one_tcp_connection_carries_many_requests_and_answers_each() {
    let node = Node::start().with_keys(vec![row("k", &["mesh.example"])]);
    node.put("a.mesh.example", "v", 300);
    let mut stream = node.connect();
    let mut sent = Vec::new();
    for id in 0..200_u16 {
        let message = if id % 10 == 0 {
            let mut message = update(&[add(&format!("u{id}.mesh.example"), "v")]).build(id);
            sign_request(&key("k"), &mut message, NOW).unwrap();
            message
        } else {
            query("a.mesh.example", id)
        };
        let length = u16::try_from(message.len()).unwrap();
        sent.extend_from_slice(&length.to_be_bytes());
        sent.extend_from_slice(&message);
    }
    stream.write_all(&sent).unwrap();
    let mut ids: Vec<u16> = (0..200)
        .map(|_| {
            let response = Response::parse(&receive_framed(&mut stream).unwrap()).unwrap();
            assert_eq!(response.rcode, Rcode::NOERROR);
            response.id
        })
        .collect();
    ids.sort_unstable();
    assert!(
        ids.iter().copied().eq(0..200),
        "each once, in whatever order"
    );
}

#[test]
fn a_message_of_no_octets_or_a_cut_one_closes_the_connection() {
    let node = Node::start();
    let mut stream = node.connect();
    send_framed(&mut stream, &query("a.mesh.example", 1));
    assert!(receive_framed(&mut stream).is_some());
    stream.write_all(&[0, 0]).unwrap();
    assert_eq!(receive_framed(&mut stream), None);

    let mut stream = node.connect();
    stream.write_all(&[0, 40, 1, 2, 3]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(receive_framed(&mut stream), None);
    assert_eq!(
        node.query("mesh.example", Rtype::SOA).rcode,
        Rcode::NOERROR,
        "and the node goes on"
    );
}

#[test]
fn what_was_asked_before_the_client_stopped_sending_is_still_answered() {
    let node = Node::start().with_keys(vec![row("k", &["mesh.example"])]);
    let mut message = update(&[add("u.mesh.example", "v")]).build(1);
    sign_request(&key("k"), &mut message, NOW).unwrap();
    let mut stream = node.connect();
    send_framed(&mut stream, &message);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(
        Response::parse(&receive_framed(&mut stream).unwrap())
            .unwrap()
            .rcode,
        Rcode::NOERROR
    );
    assert_eq!(receive_framed(&mut stream), None);
}

#[test]
fn beyond_its_rate_a_tcp_client_is_closed_without_an_octet_and_udp_is_not_charged() {
    let node =
        Node::start_with(|settings| (settings.dns_rate, settings.dns_burst) = (0.000_001, 2.0));
    let mut stream = node.connect();
    for _ in 0..2 {
        send_framed(&mut stream, &query("a.mesh.example", 1));
        assert!(receive_framed(&mut stream).is_some());
    }
    send_framed(&mut stream, &query("a.mesh.example", 1));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(
        node.query("a.mesh.example", Rtype::TXT).rcode,
        Rcode::NXDOMAIN
    );
}

#[test]
fn idle_connections_hold_up_neither_udp_nor_other_connections() {
    let node = Node::start_with(|settings| settings.max_concurrency = 1);
    let held: Vec<_> = (0..20).map(|_| node.connect()).collect();
    assert!(!node.tcp(&query("a.mesh.example", 1)).is_empty());
    assert_eq!(
        node.query("a.mesh.example", Rtype::TXT).rcode,
        Rcode::NXDOMAIN
    );
    drop(held);
}

#[test]
fn responses_and_fragments_of_a_header_are_met_with_silence() {
    let node = Node::start();
    let mut response = query("a.mesh.example", 1);
    response[2] |= 0x80;
    node.udp_silent(&response);
    node.udp_silent(&[]);
    node.udp_silent(&response[..11]);
    let header_only = [0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        node.udp(&header_only),
        [0, 9, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        "a question that is not there is FORMERR"
    );
}

#[test]
fn both_transports_work_over_ipv6() {
    let node = Node::start_with(|settings| settings.dns = "[::1]:0".parse().unwrap());
    node.put("a.mesh.example", "v", 300);
    assert!(node.address.is_ipv6());
    assert_eq!(node.txt("a.mesh.example"), ["v"]);
    assert_eq!(
        Response::parse(&node.tcp(&query("a.mesh.example", 1)))
            .unwrap()
            .answers
            .len(),
        1
    );
}

/// Asks `to` from a socket that takes answers from there only.
fn ask_strictly(to: SocketAddr, message: &[u8]) -> Vec<u8> {
    let local: SocketAddr = if to.is_ipv4() {
        "127.0.0.1:0".parse().unwrap()
    } else {
        "[::1]:0".parse().unwrap()
    };
    let socket = UdpSocket::bind(local).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.connect(to).unwrap();
    socket.send(message).unwrap();
    let mut answer = [0; 2048];
    let length = socket
        .recv(&mut answer)
        .expect("an answer from the address that was asked");
    answer[..length].to_vec()
}

#[test]
fn on_a_wildcard_address_the_answer_comes_from_the_one_that_was_asked() {
    for (wildcard, asked) in [
        ("0.0.0.0:0", vec!["127.0.0.1", "127.0.0.2", "127.1.2.3"]),
        ("[::]:0", vec!["::1", "127.0.0.1", "127.0.0.2"]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            dns: wildcard.parse().unwrap(),
            ..settings(&directory)
        };
        let node = Node::open(settings).with_keys(vec![row("k", &["mesh.example"])]);
        for (index, address) in asked.into_iter().enumerate() {
            let to = SocketAddr::new(address.parse().unwrap(), node.address.port());
            assert!(
                !ask_strictly(to, &query("a.mesh.example", 1)).is_empty(),
                "{wildcard} {address}"
            );
            // An answer that leaves later, from the writer thread, too.
            let mut message = update(&[add(&format!("u{index}.mesh.example"), "v")]).build(1);
            sign_request(&key("k"), &mut message, NOW).unwrap();
            assert_eq!(
                Response::parse(&ask_strictly(to, &message)).unwrap().rcode,
                Rcode::NOERROR,
                "{wildcard} {address}"
            );
        }
    }
}

#[test]
fn nobody_else_can_bind_the_port_and_every_socket_of_the_node_answers() {
    for (address, threads) in [("127.0.0.1:0", 1), ("127.0.0.1:0", 4), ("[::1]:0", 4)] {
        let node = Node::start_with(|settings| {
            settings.dns = address.parse().unwrap();
            settings.udp_threads = threads;
        });
        let thief = socket2::Socket::new(
            socket2::Domain::for_address(node.address),
            socket2::Type::DGRAM,
            None,
        )
        .unwrap();
        thief.set_reuse_port(true).unwrap();
        thief.set_reuse_address(true).unwrap();
        thief
            .bind(&node.address.into())
            .expect_err("the port is taken, also for those who would share it");

        let directory = tempfile::tempdir().unwrap();
        let second = Settings {
            dns: node.address,
            ..settings(&directory)
        };
        let context = Context::open(second, Clock::system()).unwrap();
        let error = Listeners::bind(&context).expect_err("a second node is told");
        assert!(error.to_string().contains(&node.address.to_string()));

        // Sixty-four sources: were any socket of the group deaf, some of them would wait in vain.
        for id in 0..64 {
            assert!(!ask_strictly(node.address, &query("a.mesh.example", id)).is_empty());
        }
    }
}

#[test]
fn a_stopped_node_gives_its_port_back() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::open(settings(&directory));
    let _open = node.connect();
    let address = node.address;
    node.stop();
    let node = Node::open(Settings {
        dns: address,
        ..settings(&directory)
    });
    assert_eq!(node.query("mesh.example", Rtype::SOA).rcode, Rcode::NOERROR);
}
