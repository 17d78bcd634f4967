//! What holders of TCP connections can and cannot do to others (RFC 7766, RFC 9210, node.md 2.1, 2.8).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::{Rcode, Rtype};

use crate::support::{Node, name, receive_framed, send_framed};

fn query(owner: &str, id: u16) -> Vec<u8> {
    QueryBuilder::new(name(owner), Rtype::TXT).build(id)
}

/// Whether the node has closed this connection: waits for it.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(octets) => octets == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn is_served(stream: &mut TcpStream) -> bool {
    send_framed(stream, &query("a.mesh.example", 1));
    receive_framed(stream).is_some()
}

#[test]
fn at_the_cap_the_newcomer_gets_the_place_of_the_longest_idle() {
    let node = Node::start_with(|settings| settings.tcp_connections = Some(3));
    let mut held: Vec<_> = (0..3).map(|_| node.connect()).collect();
    for stream in &mut held {
        assert!(is_served(stream), "all three have their place");
    }
    assert!(
        is_served(&mut held[0]),
        "now the second is idle for longest"
    );
    let mut newcomer = node.connect();
    assert!(is_served(&mut newcomer));
    assert!(is_closed(&mut held[1]));
    assert!(is_served(&mut held[0]) && is_served(&mut held[2]));
}

#[test]
fn one_prefix_has_its_share_of_connections() {
    let node = Node::start_with(|settings| settings.tcp_connections_per_prefix = 2);
    let mut held: Vec<_> = (0..2).map(|_| node.connect()).collect();
    for stream in &mut held {
        assert!(is_served(stream));
    }
    let mut newcomer = node.connect();
    assert!(is_served(&mut newcomer));
    assert!(is_closed(&mut held[0]));
    assert!(is_served(&mut held[1]));
}

#[test]
fn without_a_setting_there_are_256_places_at_least() {
    let node = Node::start_with(|settings| {
        settings.max_concurrency = 2;
        settings.tcp_connections_per_prefix = 1_000;
    });
    let mut held: Vec<_> = (0..256).map(|_| node.connect()).collect();
    for stream in &mut held {
        assert!(is_served(stream));
    }
    let mut newcomer = node.connect();
    assert!(is_served(&mut newcomer));
    assert!(is_closed(&mut held[0]), "the one that was idle for longest");
    assert!(is_served(&mut held[1]) && is_served(&mut held[255]));
}

#[test]
fn clients_that_do_not_read_their_answers_hold_up_nobody() {
    let node = Node::start_with(|settings| settings.max_concurrency = 1);
    for index in 0..30 {
        node.put(
            "big.mesh.example",
            &format!("{index:02}{}", "x".repeat(1990)),
            300,
        );
    }
    let mut requests = Vec::new();
    for id in 0..400 {
        let message = query("big.mesh.example", id);
        requests.extend_from_slice(&(message.len() as u16).to_be_bytes());
        requests.extend_from_slice(&message);
    }
    // Twenty-four megabytes of answers each: more than any buffers on the way take.
    let mut deaf: Vec<_> = (0..4).map(|_| node.connect()).collect();
    for stream in &mut deaf {
        stream.write_all(&requests).unwrap();
    }
    for _ in 0..50 {
        let response = Response::parse(&node.tcp(&query("a.mesh.example", 1))).unwrap();
        assert_eq!(response.rcode, Rcode::NXDOMAIN);
    }
    // Whoever begins to read in time gets every answer.
    for _ in 0..400 {
        let answer = receive_framed(&mut deaf[0]).unwrap();
        assert_eq!(Response::parse(&answer).unwrap().answers.len(), 30);
    }
}

#[test]
fn a_request_that_comes_in_pieces_is_answered() {
    let node = Node::start();
    let mut stream = node.connect();
    stream.set_nodelay(true).unwrap();
    let message = query("a.mesh.example", 1);
    let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    for octet in framed {
        stream.write_all(&[octet]).unwrap();
    }
    assert!(receive_framed(&mut stream).is_some());
}
