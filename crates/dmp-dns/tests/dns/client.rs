//! What a client makes of responses.

use dmp_dns::message::{CaseMatch, QueryBuilder, RecordData, Response};
use dmp_dns::query::Query;
use dmp_dns::{Malformed, Name, Rcode, Rtype};

use crate::support::*;

/// A response to `request` with these answer records (owner wire, type, RDATA).
fn response(request: &[u8], answers: &[(&[u8], Rtype, &[u8])]) -> Vec<u8> {
    let question_end = 12
        + Name::from_wire(&request[12..request.len() - 4 - 11])
            .unwrap()
            .as_wire()
            .len()
        + 4;
    let mut message = request[..question_end].to_vec();
    message[2] = 0x80;
    (message[7], message[11]) = (answers.len() as u8, 0);
    for (owner, rtype, rdata) in answers {
        message.extend_from_slice(owner);
        message.extend_from_slice(&rtype.0.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        message.extend_from_slice(rdata);
    }
    message
}

#[test]
fn a_query_has_rd_and_edns_1232_and_over_tcp_65535() {
    let builder = QueryBuilder::new(name("a.test"), Rtype::TXT);
    let message = builder.build(0x1234);
    assert_eq!(message[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    assert_eq!(
        message[message.len() - 11..],
        [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]
    );
    let tcp = builder.clone().for_tcp().build(1);
    assert_eq!(tcp[tcp.len() - 8..tcp.len() - 6], [0xff, 0xff]);
    let dnssec = builder.with_dnssec().build(1);
    assert_eq!(dnssec[dnssec.len() - 8..], [0x10, 0, 0, 0, 0x80, 0, 0, 0]);
}

#[test]
fn a_padded_query_has_a_multiple_of_128_octets() {
    for labels in 1..60 {
        let owner = name(&format!("{}.test", "a".repeat(labels)));
        let message = QueryBuilder::new(owner, Rtype::TXT).padded().build(1);
        assert_eq!(message.len(), 128);
        let query = Query::parse(&message).unwrap();
        assert_eq!(query.edns().map(|edns| edns.payload), Some(1232));
    }
    let long = name(&format!("{0}.{0}.test", "a".repeat(60)));
    assert_eq!(
        QueryBuilder::new(long, Rtype::TXT).padded().build(1).len(),
        256
    );
    let bare = QueryBuilder::new(name("a.test"), Rtype::TXT).without_edns();
    let message = bare.padded().build(1);
    assert_eq!(
        (message.len(), message[11]),
        (12 + 8 + 4, 0),
        "nothing to pad with"
    );
}

#[test]
fn a_response_must_repeat_id_and_question_and_with_random_case_byte_for_byte() {
    let asked = name("some.long.name.test").with_case(&[0b0101_0110; 32]);
    assert_eq!(asked, name("some.long.name.test"));
    assert_ne!(asked.as_wire(), name("some.long.name.test").as_wire());
    let request = QueryBuilder::new(asked, Rtype::TXT).build(7);
    let exact = response(&request, &[]);
    assert!(read(&exact).is_answer_to(&request, CaseMatch::Exact));
    let mut folded = exact.clone();
    folded[12..].make_ascii_lowercase();
    assert!(!read(&folded).is_answer_to(&request, CaseMatch::Exact));
    assert!(read(&folded).is_answer_to(&request, CaseMatch::Folded));
    let changes: [(usize, u8); 4] = [(1, 1), (13, 2), (2, 0x08), (exact.len() - 1, 2)];
    for (at, bits) in changes {
        let mut other = exact.clone();
        other[at] ^= bits;
        assert!(
            !read(&other).is_answer_to(&request, CaseMatch::Folded),
            "{at}"
        );
    }
    let bare = |rcode: u8| read(&[0, 7, 0x80, rcode, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(
        bare(9).is_answer_to(&request, CaseMatch::Exact),
        "header-only errors are answers"
    );
    assert!(!bare(0).is_answer_to(&request, CaseMatch::Exact));
}

#[test]
fn values_are_joined_per_record_and_found_through_aliases() {
    let request = QueryBuilder::new(name("a.test"), Rtype::TXT).build(7);
    let target = name("b.test");
    let message = response(
        &request,
        &[
            (&[0xc0, 12], Rtype::CNAME, target.as_wire()),
            (target.as_wire(), Rtype::TXT, b"\x01x\x00\x02yz"),
            (target.as_wire(), Rtype::TXT, b"\x01\xff"),
            (name("c.test").as_wire(), Rtype::TXT, b"\x05other"),
        ],
    );
    assert_eq!(read(&message).txt(&name("A.test")), [&b"xyz"[..], b"\xff"]);
    assert!(read(&message).txt(&name("nowhere.test")).is_empty());
    let ring = response(
        &request,
        &[(&[0xc0, 12], Rtype::CNAME, name("a.test").as_wire())],
    );
    assert!(read(&ring).txt(&name("a.test")).is_empty());
}

#[test]
fn malformed_responses_are_refused() {
    let request = QueryBuilder::new(name("a.test"), Rtype::TXT).build(7);
    let owner: &[u8] = &[0xc0, 12];
    let parse =
        |rtype, rdata: &[u8]| Response::parse(&response(&request, &[(owner, rtype, rdata)]));
    for (rtype, rdata) in [
        (Rtype::TXT, &b""[..]),
        (Rtype::TXT, b"\x05v"),
        (Rtype::A, b"abc"),
        (Rtype::A, b"abcde"),
        (Rtype::AAAA, b"abcd"),
        (Rtype::NS, b"\0\0"),
    ] {
        assert!(parse(rtype, rdata).is_err(), "{rtype} {rdata:?}");
    }
    assert_eq!(
        parse(Rtype(99), b"any").unwrap().answers[0].data,
        RecordData::Other(Rtype(99), b"any".to_vec())
    );
    assert_eq!(Response::parse(&request), Err(Malformed::Kind));
    let mut trailing = response(&request, &[]);
    trailing.push(0);
    assert_eq!(Response::parse(&trailing), Err(Malformed::Trailing));
    let mut claims = response(&request, &[]);
    (claims[6], claims[7]) = (0xff, 0xff);
    assert_eq!(
        Response::parse(&claims),
        Err(Malformed::Truncated),
        "a count alone allocates nothing"
    );
    // A name that points at itself, and two that point at each other.
    for pointer in [[0xc0u8, 24], [0xc0, 40]] {
        assert!(
            Response::parse(&response(&request, &[(&pointer, Rtype::A, &[1, 2, 3, 4])])).is_err()
        );
    }
}

#[test]
fn a_truncated_response_may_end_anywhere_behind_the_question() {
    let request = QueryBuilder::new(name("a.test"), Rtype::TXT).build(7);
    let mut message = response(&request, &[(&[0xc0, 12], Rtype::TXT, b"\x05value")]);
    message.truncate(message.len() - 3);
    assert_eq!(Response::parse(&message), Err(Malformed::Truncated));
    message[2] |= 2;
    let cut = read(&message);
    assert!(cut.truncated && cut.answers.is_empty());
    assert!(cut.is_answer_to(&request, CaseMatch::Exact));
}

#[test]
fn extended_codes_and_errors_are_read_from_opt() {
    let zone = Zone::mesh();
    let request = with_opt(query("other.test", Rtype::TXT), 1232, 3, false, &[]);
    assert_eq!(read(&serve(&zone, &request, UDP)).rcode, Rcode::BADVERS);
    let mut answer = vec![0, 1, 0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0];
    answer = with_opt(
        answer,
        1232,
        0,
        false,
        &[0, 15, 0, 4, 0, 18, b'n', b'o', 0, 15, 0, 2, 0, 0],
    );
    assert_eq!(read(&answer).extended_error, Some((18, "no".into())));
}
