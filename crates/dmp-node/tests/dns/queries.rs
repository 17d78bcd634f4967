//! Existence, lifetimes and sizes as a resolver sees them (node.md 2.3-2.7).

use dmp_dns::message::{QueryBuilder, RecordData, Response};
use dmp_dns::{Rcode, Rtype};

use crate::support::{Node, add, delete_rrset, key, name, owner, row};

#[test]
fn an_expired_value_is_invisible_at_once_and_its_ancestors_with_it() {
    let node = Node::start();
    node.put("a.b.mesh.example", "short", 10);
    node.put("a.b.mesh.example", "long", 20);
    assert_eq!(node.txt("a.b.mesh.example"), ["long", "short"]);
    assert_eq!(
        node.query("b.mesh.example", Rtype::TXT).rcode,
        Rcode::NOERROR,
        "an empty non-terminal exists"
    );
    node.clock.advance(10);
    assert_eq!(node.txt("a.b.mesh.example"), ["long"]);
    node.clock.advance(10);
    assert_eq!(
        node.query("a.b.mesh.example", Rtype::TXT).rcode,
        Rcode::NXDOMAIN
    );
    assert_eq!(
        node.query("b.mesh.example", Rtype::TXT).rcode,
        Rcode::NXDOMAIN
    );
    assert_eq!(
        node.query("mesh.example", Rtype::TXT).rcode,
        Rcode::NOERROR,
        "the apex always exists"
    );
}

#[test]
fn the_ttl_is_the_shortest_remaining_life_and_the_served_ttl_at_most() {
    let node = Node::start();
    node.put("t.mesh.example", "one", 300);
    let ttl = |node: &Node| {
        node.query("t.mesh.example", Rtype::TXT)
            .answers
            .iter()
            .map(|record| record.ttl)
            .collect::<Vec<_>>()
    };
    assert_eq!(ttl(&node), [60]);
    node.put("t.mesh.example", "two", 40);
    assert_eq!(ttl(&node), [40, 40], "equal over the RRset");
    node.clock.advance(39);
    assert_eq!(ttl(&node), [1, 1]);
}

#[test]
fn the_serial_rises_with_every_change_and_never_falls_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let serial = |node: &Node| match node.query("mesh.example", Rtype::SOA).answers[0].data {
        RecordData::Soa { serial, .. } => serial,
        ref other => panic!("{other:?}"),
    };
    let node = Node::open(crate::support::settings(&directory));
    let first = serial(&node);
    assert_eq!(
        u64::from(first),
        crate::support::NOW,
        "it starts at the time of the store's creation (D23)"
    );
    node.put("a.mesh.example", "v", 300);
    node.put("b.mesh.example", "v", 300);
    let second = serial(&node);
    assert_eq!(second, first + 2);
    node.stop();
    let node = Node::open(crate::support::settings(&directory));
    assert_eq!(serial(&node), second);
}

#[test]
fn foreign_names_are_hosted_and_everything_else_outside_is_refused() {
    let node = Node::start();
    node.put("dmp.alice.other.example", "v", 300);
    assert_eq!(node.txt("dmp.alice.other.example"), ["v"]);
    let sibling = node.query("else.alice.other.example", Rtype::TXT);
    assert_eq!(
        (
            sibling.rcode,
            sibling.authoritative,
            sibling.authority.len()
        ),
        (Rcode::NXDOMAIN, true, 0)
    );
    let base = node.query("alice.other.example", Rtype::TXT);
    assert_eq!((base.rcode, base.answers.len()), (Rcode::NOERROR, 0));
    for elsewhere in ["other.example", "example", ".", "www.invalid"] {
        let response = node.query(elsewhere, Rtype::TXT);
        assert_eq!(
            (response.rcode, response.authoritative),
            (Rcode::REFUSED, false),
            "{elsewhere}"
        );
    }
}

#[test]
fn without_a_zone_every_name_is_answered_without_soa() {
    let node = Node::start_with(|settings| settings.zone = None);
    node.put("a.b.example", "v", 300);
    assert_eq!(node.txt("a.b.example"), ["v"]);
    for (asked, rcode) in [
        ("b.example", Rcode::NOERROR),
        ("example", Rcode::NOERROR),
        (".", Rcode::NOERROR),
        ("x.example", Rcode::NXDOMAIN),
    ] {
        let response = node.query(asked, Rtype::TXT);
        assert_eq!(
            (
                response.rcode,
                response.authoritative,
                response.authority.len()
            ),
            (rcode, true, 0),
            "{asked}"
        );
    }
}

#[test]
fn a_value_of_600_octets_comes_in_strings_of_255_255_and_90_of_one_record() {
    let node = Node::start();
    let value = "v".repeat(600);
    node.put("long.mesh.example", &value, 300);
    let query = QueryBuilder::new(name("long.mesh.example"), Rtype::TXT).build(1);
    let answer = node.udp(&query);
    let string = |length: u8| [&[length][..], &vec![b'v'; usize::from(length)]].concat();
    let rdata = [string(255), string(255), string(90)].concat();
    let data = [&(rdata.len() as u16).to_be_bytes()[..], &rdata].concat();
    assert!(answer.windows(data.len()).any(|octets| octets == data));
    assert_eq!(Response::parse(&answer).unwrap().answers.len(), 1);
}

#[test]
fn text_at_the_apex_comes_from_the_store_also_where_the_apex_has_records_of_its_own() {
    let node = Node::start_with(|settings| {
        settings.apex.a = Some(std::net::Ipv4Addr::new(192, 0, 2, 53));
    });
    node.put("mesh.example", "v=at-the-apex", 300);
    assert_eq!(node.txt("MESH.example"), ["v=at-the-apex"]);
    assert_eq!(node.query("mesh.example", Rtype::A).answers.len(), 1);
}

#[test]
fn a_refresh_sets_the_life_anew_also_to_a_shorter_one() {
    let node = Node::start();
    node.put("r.mesh.example", "v", 300);
    node.put("r.mesh.example", "v", 10);
    node.clock.advance(10);
    assert!(node.txt("r.mesh.example").is_empty());
}

#[test]
fn a_name_that_holds_more_than_an_answer_carries_is_servfail_over_tcp() {
    let node = Node::start();
    for index in 0..33 {
        node.put(
            "huge.mesh.example",
            &format!("{index:02}{}", "x".repeat(2_000)),
            300,
        );
    }
    let query = QueryBuilder::new(name("huge.mesh.example"), Rtype::TXT).build(1);
    assert!(Response::parse(&node.udp(&query)).unwrap().truncated);
    for _ in 0..2 {
        let response = Response::parse(&node.tcp(&query)).unwrap();
        assert_eq!(
            (response.rcode, response.answers.len()),
            (Rcode::SERVFAIL, 0)
        );
    }
    node.put("huge.mesh.example", &format!("32{}", "x".repeat(2_000)), 1);
    node.clock.advance(1);
    let response = Response::parse(&node.tcp(&query)).unwrap();
    assert_eq!(response.answers.len(), 32, "whole as soon as it fits");
}

#[test]
fn mixed_case_writes_and_reads_meet() {
    let node = Node::start().with_keys(vec![row("k", &["mesh.example"])]);
    assert_eq!(
        node.update_rcode(&key("k"), &[add("MiXeD.mesh.EXAMPLE", "v")]),
        Rcode::NOERROR
    );
    assert_eq!(node.txt("mIxEd.Mesh.example"), ["v"]);
    assert_eq!(node.context.values(&owner("mixed.mesh.example")), ["v"]);
    assert_eq!(
        node.update_rcode(&key("k"), &[delete_rrset("mixed.MESH.example")]),
        Rcode::NOERROR
    );
    assert!(node.txt("mixed.mesh.example").is_empty());
}

#[test]
fn what_does_not_fit_a_datagram_comes_whole_over_tcp_whatever_edns_says() {
    let node = Node::start();
    for index in 0..20 {
        node.put("big.mesh.example", &format!("{index:02}").repeat(100), 300);
    }
    let query = QueryBuilder::new(name("big.mesh.example"), Rtype::TXT).build(1);
    let over_udp = node.udp(&query);
    assert!(over_udp.len() <= 1232);
    let response = Response::parse(&over_udp).unwrap();
    assert!(response.truncated && response.authoritative && response.answers.is_empty());
    let plain = {
        let mut plain = query[..query.len() - 11].to_vec();
        plain[11] = 0;
        plain
    };
    let over_udp = node.udp(&plain);
    assert!(over_udp.len() <= 512 && Response::parse(&over_udp).unwrap().truncated);
    let over_tcp = Response::parse(&node.tcp(&plain)).unwrap();
    assert_eq!(
        (over_tcp.truncated, over_tcp.answers.len()),
        (false, 20),
        "no EDNS"
    );
    for payload in [512_u16, 1232] {
        // The payload size is the class field of the OPT record at the end of the query.
        let mut query = query.clone();
        let at = query.len() - 8;
        query[at..at + 2].copy_from_slice(&payload.to_be_bytes());
        let response = Response::parse(&node.tcp(&query)).unwrap();
        assert_eq!(
            (response.truncated, response.answers.len()),
            (false, 20),
            "EDNS {payload}"
        );
    }
}

#[test]
fn many_queries_at_once_are_each_answered_once() {
    let node = Node::start();
    for index in 0..200 {
        node.put(
            &format!("n{index}.mesh.example"),
            &format!("value {index}"),
            300,
        );
    }
    // From several sources, so that the kernel spreads them over all sockets of the node.
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .set_read_timeout(Some(std::time::Duration::from_secs(20)))
                .unwrap();
            socket.connect(node.address).unwrap();
            socket
        })
        .collect();
    for (number, client) in clients.iter().enumerate() {
        for index in 0..200_u16 {
            let missing = index.is_multiple_of(3);
            let asked = if missing {
                format!("none{index}.mesh.example")
            } else {
                format!("n{index}.mesh.example")
            };
            client
                .send(&QueryBuilder::new(name(&asked), Rtype::TXT).build(index))
                .unwrap();
            if index % 50 == 49 {
                let mut seen = std::collections::BTreeSet::new();
                for _ in 0..50 {
                    let mut answer = [0; 2048];
                    let length = client.recv(&mut answer).unwrap();
                    let response = Response::parse(&answer[..length]).unwrap();
                    assert!(seen.insert(response.id), "client {number}: answered twice");
                    let expected = format!("value {}", response.id);
                    if response.id.is_multiple_of(3) {
                        assert_eq!(response.rcode, Rcode::NXDOMAIN);
                    } else {
                        assert_eq!(
                            response.txt(&name(&format!("n{}.mesh.example", response.id))),
                            [expected.as_bytes()]
                        );
                    }
                }
            }
        }
    }
}
