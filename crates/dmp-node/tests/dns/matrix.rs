//! node.md 2.9 row by row, over UDP and TCP, IPv4 and IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};

use dmp_dns::message::{RecordData, Response};
use dmp_dns::tsig::sign_request;
use dmp_dns::{Rcode, Rtype};
use dmp_node::settings::Apex;

use crate::support::{NOW, Node, key, name, owner, receive_framed, row, send_framed};

/// What must come back.
enum Answer {
    /// AA, this many answers, no authority.
    Found(usize),
    /// AA, NOERROR or NXDOMAIN, no answer, the SOA in the authority section.
    Denied(Rcode),
    /// AA clear, all sections empty, question echoed.
    Bare(Rcode),
    /// The header alone.
    HeaderOnly(Rcode),
    /// Nothing at all.
    Silence,
}
use Answer::{Bare, Denied, Found, HeaderOnly, Silence};

/// A header with this opcode and these counts (QD, AN, NS, AR), and what follows it.
fn message(opcode: u8, counts: [u8; 4], body: &[u8]) -> Vec<u8> {
    let [questions, answers, authority, additional] = counts;
    let header = [
        0x12,
        0x34,
        opcode << 3,
        0,
        0,
        questions,
        0,
        answers,
        0,
        authority,
        0,
        additional,
    ];
    [&header[..], body].concat()
}

/// A question for the name in wire form.
fn question(wire: &[u8], rtype: u16, class: u16) -> Vec<u8> {
    [wire, &rtype.to_be_bytes(), &class.to_be_bytes()].concat()
}

fn ask(owner: &str, rtype: Rtype) -> Vec<u8> {
    ask_class(owner, rtype.0, 1)
}

fn ask_class(owner: &str, rtype: u16, class: u16) -> Vec<u8> {
    let wire = name(owner);
    message(0, [1, 0, 0, 0], &question(wire.as_wire(), rtype, class))
}

fn with_opcode(opcode: u8) -> Vec<u8> {
    let mut request = ask("a.mesh.example", Rtype::TXT);
    request[2] = opcode << 3;
    request
}

fn labels(labels: &[&[u8]]) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

fn with_opt(mut request: Vec<u8>, version: u8, options: &[u8]) -> Vec<u8> {
    request[11] += 1;
    request.extend_from_slice(&[0, 0, 41, 4, 0xd0, 0, version, 0, 0]);
    request.extend_from_slice(&(options.len() as u16).to_be_bytes());
    request.extend_from_slice(options);
    request
}

#[expect(clippy::too_many_lines, reason = "the table of node.md 2.9")]
fn rows() -> Vec<(&'static str, Vec<u8>, Answer)> {
    let txt = |owner| ask(owner, Rtype::TXT);
    let plain = question(name("a.mesh.example").as_wire(), 16, 1);
    let suffix = [b"mesh".as_slice(), b"example"];
    let under_zone = |first: &[&[u8]]| question(&labels(&[first, &suffix].concat()), 16, 1);
    let l63 = [b'l'; 63];
    // Three such labels take 192 octets, the zone with its root 14: a label of 48 makes 255.
    let long = |last: usize| under_zone(&[&l63, &l63, &l63, &l63[..last]]);
    let mut rows = vec![
        ("TXT, existing", txt("a.mesh.example"), Found(2)),
        (
            "TXT, existing, random case",
            txt("A.mEsH.eXaMpLe"),
            Found(2),
        ),
        (
            "TXT, missing leaf",
            txt("none.mesh.example"),
            Denied(Rcode::NXDOMAIN),
        ),
        (
            "TXT, missing leaf, random case",
            txt("NoNe.mEsH.eXaMpLe"),
            Denied(Rcode::NXDOMAIN),
        ),
        (
            "TXT, empty non-terminal, random case",
            txt("C.Mesh.EXAMPLE"),
            Denied(Rcode::NOERROR),
        ),
        (
            "TXT, empty non-terminal",
            txt("c.mesh.example"),
            Denied(Rcode::NOERROR),
        ),
        (
            "TXT, expired",
            txt("old.mesh.example"),
            Denied(Rcode::NXDOMAIN),
        ),
        (
            "TXT, expired, others below",
            txt("older.mesh.example"),
            Denied(Rcode::NOERROR),
        ),
        (
            "other type, existing name",
            ask("a.mesh.example", Rtype::A),
            Denied(Rcode::NOERROR),
        ),
        (
            "other type, missing name",
            ask("none.mesh.example", Rtype::MX),
            Denied(Rcode::NOERROR),
        ),
        (
            "bare mailbox, empty",
            txt("mb-0123456789ab.mesh.example"),
            Denied(Rcode::NOERROR),
        ),
        ("apex SOA", ask("mesh.example", Rtype::SOA), Found(1)),
        ("apex NS", ask("mesh.example", Rtype::NS), Found(2)),
        ("apex A", ask("mesh.example", Rtype::A), Found(1)),
        ("apex AAAA", ask("mesh.example", Rtype::AAAA), Found(1)),
        (
            "apex type not configured",
            ask("mesh.example", Rtype::MX),
            Denied(Rcode::NOERROR),
        ),
        (
            "apex TXT, empty",
            txt("mesh.example"),
            Denied(Rcode::NOERROR),
        ),
        (
            "out of zone, not stored, TXT",
            txt("www.test"),
            Bare(Rcode::REFUSED),
        ),
        (
            "out of zone, other type",
            ask("www.test", Rtype::A),
            Bare(Rcode::REFUSED),
        ),
        ("root NS", ask(".", Rtype::NS), Bare(Rcode::REFUSED)),
        ("out of zone, stored", txt("dmp.other.test"), Found(1)),
        ("ANY, existing", ask("a.mesh.example", Rtype::ANY), Found(1)),
        (
            "ANY, missing",
            ask("none.mesh.example", Rtype::ANY),
            Denied(Rcode::NOERROR),
        ),
        (
            "AXFR",
            ask("mesh.example", Rtype::AXFR),
            Bare(Rcode::REFUSED),
        ),
        (
            "IXFR",
            ask("mesh.example", Rtype::IXFR),
            Bare(Rcode::REFUSED),
        ),
        (
            "CH version.bind",
            ask_class("version.bind", 16, 3),
            Bare(Rcode::REFUSED),
        ),
        ("DSO", with_opcode(6), HeaderOnly(Rcode::NOTIMP)),
        (
            "QDCOUNT 0",
            message(0, [0; 4], &[]),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "QDCOUNT 2",
            message(0, [2, 0, 0, 0], &plain.repeat(2)),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "extra records in a query",
            message(
                0,
                [1, 1, 0, 0],
                &[
                    &plain[..],
                    b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01",
                ]
                .concat(),
            ),
            Found(2),
        ),
        (
            "QR=1",
            {
                let mut response = txt("a.mesh.example");
                response[2] |= 0x80;
                response
            },
            Silence,
        ),
        (
            "eleven octets",
            message(0, [0; 4], &[])[..11].to_vec(),
            Silence,
        ),
        (
            "question cut",
            message(0, [1, 0, 0, 0], &plain[..6]),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "bad pointer",
            message(0, [1, 0, 0, 0], b"\xc0\xff\0\x10\0\x01"),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "label type 01",
            message(0, [1, 0, 0, 0], b"\x41ab\0\0\x10\0\x01"),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "label type 10",
            message(0, [1, 0, 0, 0], b"\x81ab\0\0\x10\0\x01"),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "trailing octets",
            [&txt("a.mesh.example")[..], &[0]].concat(),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "counts too high",
            message(0, [1, 0, 0, 9], &plain),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "any octets in a label",
            message(0, [1, 0, 0, 0], &under_zone(&[b"a.b\0\xff"])),
            Denied(Rcode::NXDOMAIN),
        ),
        (
            "dot in a label is not a cut",
            message(
                0,
                [1, 0, 0, 0],
                &question(&labels(&[b"a.mesh", b"example"]), 16, 1),
            ),
            Bare(Rcode::REFUSED),
        ),
        (
            "name of 255 octets",
            message(0, [1, 0, 0, 0], &long(48)),
            Denied(Rcode::NXDOMAIN),
        ),
        (
            "name of 256 octets",
            message(0, [1, 0, 0, 0], &long(49)),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "EDNS version 1",
            with_opt(txt("a.mesh.example"), 1, &[]),
            Bare(Rcode::BADVERS),
        ),
        (
            "EDNS, unknown option",
            with_opt(txt("a.mesh.example"), 0, &[0xff, 0xf0, 0, 1, 7]),
            Found(2),
        ),
        (
            "EDNS, cookie of five octets",
            with_opt(txt("a.mesh.example"), 0, b"\0\x0a\0\x05fiveo"),
            HeaderOnly(Rcode::FORMERR),
        ),
        (
            "two OPTs",
            with_opt(with_opt(txt("a.mesh.example"), 0, &[]), 0, &[]),
            HeaderOnly(Rcode::FORMERR),
        ),
    ];
    for rtype in [
        Rtype::OPT,
        Rtype::TSIG,
        Rtype::TKEY,
        Rtype(0),
        Rtype::NXNAME,
    ] {
        rows.push((
            "meta type",
            ask("a.mesh.example", rtype),
            Bare(Rcode::FORMERR),
        ));
    }
    for rtype in [Rtype::MAILA, Rtype::MAILB] {
        rows.push((
            "mail type",
            ask("a.mesh.example", rtype),
            Bare(Rcode::NOTIMP),
        ));
    }
    for class in [0, 2, 3, 4, 254, 255] {
        rows.push((
            "class",
            ask_class("a.mesh.example", 16, class),
            Bare(Rcode::REFUSED),
        ));
    }
    for opcode in [1, 2, 4] {
        rows.push(("opcode", with_opcode(opcode), Bare(Rcode::NOTIMP)));
    }
    for opcode in (7..16).chain([3]) {
        rows.push((
            "unassigned opcode",
            with_opcode(opcode),
            Bare(Rcode::NOTIMP),
        ));
    }
    rows
}

fn node(address: &str) -> Node {
    let node = Node::start_with(|settings| {
        settings.dns = address.parse().unwrap();
        settings.apex = Apex {
            a: Some(Ipv4Addr::new(192, 0, 2, 53)),
            aaaa: Some("2001:db8::53".parse::<Ipv6Addr>().unwrap()),
            ns: vec![owner("ns1.example"), owner("ns2.example")],
            ..Apex::default()
        };
    })
    .with_keys(vec![row("k", &["mesh.example"])]);
    for (owner, value) in [
        ("a.mesh.example", "one"),
        ("a.mesh.example", "two"),
        ("a.b.c.mesh.example", "deep"),
        ("below.older.mesh.example", "v"),
        ("dmp.other.test", "v"),
    ] {
        node.put(owner, value, 3_000);
    }
    node.put("old.mesh.example", "v", 1);
    node.put("older.mesh.example", "v", 1);
    node.clock.advance(1);
    node
}

fn check(label: &str, request: &[u8], answer: &[u8], wanted: &Answer) {
    let response = Response::parse(answer).unwrap_or_else(|error| panic!("{label}: {error}"));
    let counts = [response.answers.len(), response.authority.len()];
    let (rcode, authoritative, expected) = match wanted {
        Found(answers) => (Rcode::NOERROR, true, [*answers, 0]),
        Denied(rcode) => (*rcode, true, [0, 1]),
        Bare(rcode) | HeaderOnly(rcode) => (*rcode, false, [0, 0]),
        Silence => unreachable!("{label}"),
    };
    assert_eq!(response.rcode, rcode, "{label}");
    assert_eq!(
        (response.authoritative, counts),
        (authoritative, expected),
        "{label}"
    );
    assert_eq!(
        (answer[2] & 0x78, answer[2] & 0x02),
        (request[2] & 0x78, 0),
        "{label}"
    );
    assert_eq!(answer[3] & 0xf0, 0, "{label}: RA, Z, AD, CD");
    if matches!(wanted, HeaderOnly(_)) {
        assert_eq!(answer[4..6], [0, 0], "{label}");
    } else {
        let end = 12 + name_len(request) + 4;
        assert_eq!(answer[12..end], request[12..end], "{label}: echoed");
    }
    if let Some(record) = response.authority.first() {
        assert_eq!(
            (&record.owner, record.ttl),
            (&name("mesh.example"), 60),
            "{label}"
        );
        assert!(
            matches!(record.data, RecordData::Soa { minimum: 60, .. }),
            "{label}"
        );
    }
}

/// Octets of the uncompressed name at offset 12.
fn name_len(request: &[u8]) -> usize {
    let mut length = 0;
    while request[12 + length] != 0 {
        length += 1 + usize::from(request[12 + length]);
    }
    length + 1
}

#[test]
fn every_row_is_answered_as_required_over_both_transports_and_families() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let node = node(address);
        for (label, request, wanted) in rows() {
            let label = format!("{label}, {address}");
            if matches!(wanted, Silence) {
                node.udp_silent(&request);
                // Over TCP the next request on the connection is the one that is answered.
                let mut stream = node.connect();
                send_framed(&mut stream, &request);
                send_framed(
                    &mut stream,
                    &[&[9, 9], &ask("mesh.example", Rtype::SOA)[2..]].concat(),
                );
                assert_eq!(receive_framed(&mut stream).unwrap()[..2], [9, 9], "{label}");
                continue;
            }
            let udp = node.udp(&request);
            check(&label, &request, &udp, &wanted);
            let tcp = node.tcp(&request);
            check(&label, &request, &tcp, &wanted);
            assert_eq!(udp.len(), tcp.len(), "{label}");
        }
    }
}

#[test]
fn answers_to_any_and_to_whoever_signs_are_those_of_the_table() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let node = node(address);
        let any = Response::parse(&node.udp(&ask("a.mesh.example", Rtype::ANY))).unwrap();
        let minimal = RecordData::Other(Rtype::HINFO, b"\x07RFC8482\0".to_vec());
        assert_eq!(any.answers[0].data, minimal);

        let mut request = ask("a.mesh.example", Rtype::TXT);
        let key = key("k");
        let signature = sign_request(&key, &mut request, NOW + 1).unwrap();
        for answer in [node.udp(&request), node.tcp(&request)] {
            signature.verify_answer(&answer, NOW + 1).unwrap();
            assert_eq!(Response::parse(&answer).unwrap().answers.len(), 2);
        }
        let at = request.len() - 20;
        request[at] ^= 1;
        for answer in [node.udp(&request), node.tcp(&request)] {
            let response = Response::parse(&answer).unwrap();
            assert_eq!(
                (response.rcode, response.authoritative),
                (Rcode::NOTAUTH, false)
            );
        }
    }
}
