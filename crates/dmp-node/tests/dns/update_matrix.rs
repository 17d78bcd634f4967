//! node.md 3.8 and the errors of 3.7 row by row, over UDP and TCP.

use dmp_dns::message::Response;
use dmp_dns::tsig::{Algorithm, Key, TsigError, VerifyError, sign_request};
use dmp_dns::{Rcode, Rtype};

use crate::support::{
    NOW, Node, SECRET, add, delete_rrset, delete_value, key, name, owner, row, update,
};

const IN: u16 = 1;
const NONE: u16 = 254;
const ANY: u16 = 255;
const OWN: &str = "id-0123456789abcdef.mesh.example";
const SLOT: &str = "slot-3.mb-0123456789ab.mesh.example";

/// A node with a key as registration scopes it, and one for the whole zone.
fn node() -> Node {
    let mut user = row("user", &[OWN, "slot-*.mb-*.mesh.example"]);
    user.subject = "user@mesh.example".into();
    let mut expired = row("expired", &["mesh.example"]);
    expired.expires_at = NOW;
    Node::start_with(|settings| settings.caps.max_values_per_name = Some(2)).with_keys(vec![
        user,
        row("admin", &["mesh.example"]),
        expired,
    ])
}

/// An update whose zone section and update section hold these records.
fn raw(zone: &[Vec<u8>], updates: &[Vec<u8>]) -> Vec<u8> {
    let counts = [zone.len() as u8, updates.len() as u8];
    let header = [
        0x43,
        0x21,
        5 << 3,
        0,
        0,
        counts[0],
        0,
        0,
        0,
        counts[1],
        0,
        0,
    ];
    [&header[..], &zone.concat(), &updates.concat()].concat()
}

fn zone(owner: &str, rtype: Rtype, class: u16) -> Vec<u8> {
    let wire = name(owner);
    [wire.as_wire(), &rtype.0.to_be_bytes(), &class.to_be_bytes()].concat()
}

fn mesh() -> Vec<Vec<u8>> {
    vec![zone("mesh.example", Rtype::SOA, IN)]
}

fn record(owner: &str, rtype: Rtype, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let length = (rdata.len() as u16).to_be_bytes();
    [
        &zone(owner, rtype, class)[..],
        &ttl.to_be_bytes(),
        &length,
        rdata,
    ]
    .concat()
}

/// An add of `rdata` to the user's own name.
fn own(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
    record(OWN, rtype, IN, 60, rdata)
}

fn both_ways(node: &Node, message: &[u8]) -> [Vec<u8>; 2] {
    [node.udp(message), node.tcp(message)]
}

#[expect(clippy::too_many_lines, reason = "the table of node.md 3.8")]
fn rows() -> Vec<(&'static str, Option<&'static str>, Vec<u8>, Rcode)> {
    let txt = |owner| record(owner, Rtype::TXT, IN, 60, b"\x01v");
    let of = |zone_name| vec![zone(zone_name, Rtype::SOA, IN)];
    let user = Some("user");
    let admin = Some("admin");
    let added = |operations: &[_]| update(operations).build(0x4321);
    let long = "x".repeat(2_049);
    let two_days = record(OWN, Rtype::TXT, IN, 172_800, b"\x01v");
    vec![
        (
            "add in scope",
            user,
            added(&[add(OWN, "v")]),
            Rcode::NOERROR,
        ),
        ("empty, signed", user, raw(&mesh(), &[]), Rcode::NOERROR),
        (
            "other zone",
            user,
            raw(&of("other.example"), &[txt("a.other.example")]),
            Rcode::NOTAUTH,
        ),
        (
            "child zone",
            user,
            raw(&of("sub.mesh.example"), &[txt("a.sub.mesh.example")]),
            Rcode::NOTAUTH,
        ),
        (
            "owner outside the zone",
            user,
            raw(&mesh(), &[txt("a.other.example")]),
            Rcode::NOTZONE,
        ),
        (
            "owner outside the zone, another type",
            user,
            raw(
                &mesh(),
                &[record("a.other.example", Rtype::A, IN, 60, &[127, 0, 0, 1])],
            ),
            Rcode::NOTZONE,
        ),
        (
            "out of scope",
            user,
            added(&[add("id-ffffffffffffffff.mesh.example", "v")]),
            Rcode::REFUSED,
        ),
        (
            "delete by a wildcard",
            user,
            added(&[delete_rrset(SLOT)]),
            Rcode::REFUSED,
        ),
        (
            "the apex",
            user,
            added(&[add("mesh.example", "v")]),
            Rcode::REFUSED,
        ),
        (
            "the heartbeat",
            user,
            added(&[add("_dnsmesh-heartbeat.mesh.example", "v")]),
            Rcode::REFUSED,
        ),
        (
            "in and out of scope",
            user,
            added(&[add(OWN, "mixed"), add("b.mesh.example", "v")]),
            Rcode::REFUSED,
        ),
        (
            "unsigned, no claim",
            None,
            added(&[add(OWN, "v")]),
            Rcode::REFUSED,
        ),
        ("unsigned, empty", None, raw(&mesh(), &[]), Rcode::REFUSED),
        (
            "unsigned, delete",
            None,
            added(&[delete_rrset(OWN)]),
            Rcode::REFUSED,
        ),
        (
            "unsigned, an address only",
            None,
            raw(&mesh(), &[own(Rtype::A, &[127, 0, 0, 1])]),
            Rcode::REFUSED,
        ),
        (
            "unsigned, unserved zone",
            None,
            raw(&of("other.example"), &[]),
            Rcode::NOTAUTH,
        ),
        ("unsigned, no zone", None, raw(&[], &[]), Rcode::FORMERR),
        (
            "TTL above the cap",
            user,
            raw(&mesh(), &[two_days]),
            Rcode::REFUSED,
        ),
        (
            "value above the cap",
            user,
            added(&[add(OWN, &long)]),
            Rcode::REFUSED,
        ),
        (
            "values above the cap of a name",
            user,
            added(&[add(OWN, "1"), add(OWN, "2"), add(OWN, "3")]),
            Rcode::REFUSED,
        ),
        (
            "octets that are not UTF-8",
            user,
            raw(&mesh(), &[own(Rtype::TXT, b"\x01\xff")]),
            Rcode::FORMERR,
        ),
        (
            "delete an absent set",
            user,
            added(&[delete_rrset(OWN)]),
            Rcode::NOERROR,
        ),
        (
            "delete an absent value",
            user,
            added(&[delete_value(OWN, "absent")]),
            Rcode::NOERROR,
        ),
        (
            "add an address",
            admin,
            raw(&mesh(), &[own(Rtype::A, &[127, 0, 0, 1])]),
            Rcode::REFUSED,
        ),
        (
            "add an alias",
            admin,
            raw(&mesh(), &[own(Rtype::CNAME, b"\0")]),
            Rcode::REFUSED,
        ),
        (
            "add a SOA",
            admin,
            raw(&mesh(), &[own(Rtype::SOA, &[0; 22])]),
            Rcode::REFUSED,
        ),
        (
            "add an unknown type",
            admin,
            raw(&mesh(), &[own(Rtype(0xff00), b"x")]),
            Rcode::REFUSED,
        ),
        (
            "zone of type A",
            admin,
            raw(&[zone("mesh.example", Rtype::A, IN)], &[]),
            Rcode::FORMERR,
        ),
        (
            "zone of class ANY",
            admin,
            raw(&[zone("mesh.example", Rtype::SOA, ANY)], &[]),
            Rcode::NOTAUTH,
        ),
        (
            "two zones",
            admin,
            raw(&[mesh(), mesh()].concat(), &[]),
            Rcode::FORMERR,
        ),
        (
            "add without data",
            admin,
            raw(&mesh(), &[own(Rtype::TXT, b"")]),
            Rcode::FORMERR,
        ),
        (
            "delete a set with data",
            admin,
            raw(&mesh(), &[record(OWN, Rtype::TXT, ANY, 0, b"\x01v")]),
            Rcode::FORMERR,
        ),
    ]
}

#[test]
fn every_update_is_answered_as_required_signed_where_it_was_and_changes_nothing_else() {
    let node = node();
    node.put(SLOT, "somebody's", 3_000);
    for (label, signer, message, expected) in rows() {
        let before = node.context.live_values();
        for over_tcp in [false, true] {
            node.clock.advance(1); // another signature each time
            let key = signer.map(key);
            let mut request = message.clone();
            let signature = key
                .as_ref()
                .map(|key| sign_request(key, &mut request, node.clock.seconds()).unwrap());
            let answer = if over_tcp {
                node.tcp(&request)
            } else {
                node.udp(&request)
            };
            if let Some(signature) = signature {
                let verdict = signature.verify_answer(&answer, node.clock.seconds());
                assert_eq!(verdict, Ok(()), "{label}");
            }
            let response = Response::parse(&answer).unwrap();
            assert_eq!(response.rcode, expected, "{label}");
            let served = !matches!(expected, Rcode::NOTAUTH | Rcode::FORMERR);
            assert!(!served || response.authoritative, "{label}");
            assert_eq!(answer[2] >> 3 & 15, 5, "{label}: the opcode is copied");
            if expected != Rcode::NOERROR {
                assert_eq!(node.context.live_values(), before, "{label}");
            }
        }
    }
    assert_eq!(node.txt(SLOT), ["somebody's"]);
}

#[test]
fn deleting_a_name_deletes_its_values_and_of_other_types_nothing() {
    let node = node();
    for (rtype, left) in [(Rtype::A, 1), (Rtype::ANY, 0)] {
        node.put(OWN, "v", 300);
        let mut message = raw(&mesh(), &[record(OWN, rtype, ANY, 0, b"")]);
        sign_request(&key("user"), &mut message, NOW).unwrap();
        assert_eq!(
            Response::parse(&node.udp(&message)).unwrap().rcode,
            Rcode::NOERROR
        );
        assert_eq!(node.txt(OWN).len(), left, "{rtype:?}");
    }
    node.put(OWN, "v", 300);
    let mut message = raw(&mesh(), &[record(OWN, Rtype::TXT, NONE, 0, b"\x01v")]);
    sign_request(&key("user"), &mut message, NOW).unwrap();
    assert_eq!(
        Response::parse(&node.udp(&message)).unwrap().rcode,
        Rcode::NOERROR
    );
    assert!(node.txt(OWN).is_empty(), "one value");
}

#[test]
fn with_updates_off_everything_is_refused_and_signatures_are_of_unknown_keys() {
    let node = Node::start_with(|settings| settings.update = false)
        .with_keys(vec![row("admin", &["mesh.example"])]);
    let unsigned = [
        update(&[add(OWN, "v")]).build(1),
        raw(&[], &[]),
        raw(&[zone("other.example", Rtype::SOA, IN)], &[]),
    ];
    for message in &unsigned {
        for answer in both_ways(&node, message) {
            assert_eq!(Response::parse(&answer).unwrap().rcode, Rcode::REFUSED);
        }
    }
    let mut signed = unsigned[0].clone();
    let admin = key("admin");
    let signature = sign_request(&admin, &mut signed, NOW).unwrap();
    for answer in both_ways(&node, &signed) {
        assert_eq!(Response::parse(&answer).unwrap().rcode, Rcode::NOTAUTH);
        let verdict = signature.verify_answer(&answer, NOW);
        assert_eq!(verdict, Err(VerifyError::Rejected(TsigError::BADKEY)));
    }
}

/// The request with its MAC of 32 octets cut to the first `keep`.
fn with_short_mac(request: &[u8], keep: usize) -> Vec<u8> {
    let mac_at = request.len() - 6 - 32;
    let mut short = [&request[..mac_at + keep], &request[request.len() - 6..]].concat();
    short[mac_at - 2..mac_at].copy_from_slice(&(keep as u16).to_be_bytes());
    let length_at = mac_at - 10 - b"\x0bhmac-sha256\0".len() - 2;
    let length = u16::from_be_bytes([request[length_at], request[length_at + 1]]);
    let length = length - (32 - keep as u16);
    short[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    short
}

/// A request that adds at the user's own name, signed so.
fn signed_with(key: &Key, now: u64) -> Vec<u8> {
    let mut message = update(&[add(OWN, "v")]).build(0x4321);
    sign_request(key, &mut message, now).unwrap();
    message
}

#[test]
fn every_signature_that_does_not_hold_gets_its_error_and_changes_nothing() {
    let node = node();
    let with = |label: &str, algorithm, secret: &[u8]| {
        let name = name(&format!("{label}.mesh.example"));
        Key::new(&name, algorithm, secret).unwrap()
    };
    let good = signed_with(&key("user"), NOW);
    let mut corrupt = good.clone();
    let in_mac = corrupt.len() - 20;
    corrupt[in_mac] ^= 1;
    let mut unknown_algorithm = good.clone();
    let at = good
        .windows(12)
        .position(|octets| octets == b"\x0bhmac-sha256")
        .unwrap();
    unknown_algorithm[at + 11] = b'7';
    // The record of the signature stands behind OPT, at the end.
    let unsigned = update(&[add(OWN, "v")]).build(0x4321);
    let (head, opt) = unsigned.split_at(unsigned.len() - 11);
    let record = &good[unsigned.len()..];
    let mut twice = [&good[..], record].concat();
    twice[11] += 1;
    let mut not_last = [head, record, opt].concat();
    not_last[11] += 1;

    let wrong_secret = with("user", Algorithm::HmacSha256, b"another secret");
    let other_algorithm = with("user", Algorithm::HmacSha512, &SECRET);
    let cases = [
        (
            "unknown key",
            signed_with(&key("nobody"), NOW),
            Some(TsigError::BADKEY),
        ),
        (
            "expired key",
            signed_with(&key("expired"), NOW),
            Some(TsigError::BADKEY),
        ),
        (
            "wrong secret",
            signed_with(&wrong_secret, NOW),
            Some(TsigError::BADSIG),
        ),
        ("corrupt MAC", corrupt, Some(TsigError::BADSIG)),
        (
            "another algorithm",
            signed_with(&other_algorithm, NOW),
            Some(TsigError::BADKEY),
        ),
        (
            "an algorithm nobody knows",
            unknown_algorithm,
            Some(TsigError::BADKEY),
        ),
        (
            "MAC of 16 octets",
            with_short_mac(&good, 16),
            Some(TsigError::BADTRUNC),
        ),
        ("MAC of 10 octets", with_short_mac(&good, 10), None),
        ("MAC of no octets", with_short_mac(&good, 0), None),
        ("two signatures", twice, None),
        ("signature not last", not_last, None),
    ];
    for (label, request, error) in cases {
        for answer in both_ways(&node, &request) {
            let response = Response::parse(&answer).unwrap();
            let Some(error) = error else {
                assert_eq!(response.rcode, Rcode::FORMERR, "{label}");
                let mut names = answer.windows(11);
                assert!(!names.any(|octets| octets == b"hmac-sha256"), "{label}");
                continue;
            };
            assert_eq!(response.rcode, Rcode::NOTAUTH, "{label}");
            let zone_end = 12 + name("mesh.example").as_wire().len() + 4;
            assert_eq!(
                answer[12..zone_end],
                request[12..zone_end],
                "{label}: echoed"
            );
            // The record's end: the MAC's length, the request's id, the error, no other data. Only what is short in itself
            // is answered under a signature (RFC 8945 5.3.2).
            let [high, low] = error.0.to_be_bytes();
            let end = [0x43, 0x21, high, low, 0, 0];
            assert!(answer.ends_with(&end), "{label}: {answer:02x?}");
            let unsigned = [&[0, 0][..], &end].concat();
            let is_signed = error == TsigError::BADTRUNC;
            assert_eq!(answer.ends_with(&unsigned), !is_signed, "{label}");
        }
    }
    assert!(node.context.values(&owner(OWN)).is_empty());
}

#[test]
fn a_wrong_time_is_told_with_the_servers_own_under_a_signature() {
    let node = node();
    for dated in [NOW - 301, NOW + 301] {
        let user = key("user");
        let mut request = update(&[add(OWN, "v")]).build(0x4321);
        let signature = sign_request(&user, &mut request, dated).unwrap();
        for answer in both_ways(&node, &request) {
            assert_eq!(Response::parse(&answer).unwrap().rcode, Rcode::NOTAUTH);
            let verdict = signature.verify_answer(&answer, NOW);
            assert_eq!(verdict, Err(VerifyError::Time { server: NOW }));
            let server_time = [&[0, 18, 0, 6][..], &NOW.to_be_bytes()[2..]].concat();
            assert!(answer.ends_with(&server_time), "{answer:02x?}");
        }
    }
    for dated in [NOW - 300, NOW + 300] {
        let response = node.udp(&signed_with(&key("user"), dated));
        assert_eq!(Response::parse(&response).unwrap().rcode, Rcode::NOERROR);
    }
}

#[test]
fn an_update_of_many_octets_is_taken_over_either_transport() {
    let node = Node::start().with_keys(vec![row("admin", &["mesh.example"])]);
    let many: Vec<_> = (0..9)
        .map(|n| add(&format!("n{n}.mesh.example"), &"x".repeat(1_900)))
        .collect();
    let request = |now| {
        let mut message = update(&many).build(1);
        sign_request(&key("admin"), &mut message, now).unwrap();
        assert!(message.len() > 16_384);
        message
    };
    for answer in [node.udp(&request(NOW)), node.tcp(&request(NOW + 1))] {
        assert_eq!(Response::parse(&answer).unwrap().rcode, Rcode::NOERROR);
    }
    assert_eq!(node.context.live_values(), 9);
}
