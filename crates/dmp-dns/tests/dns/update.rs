//! RFC 2136 as node.md 3.1 and 3.2 require it.

use dmp_dns::answer::{Reply, Standing, respond};
use dmp_dns::query::Query;
use dmp_dns::update::{BuildError, Operation, Prerequisite, Refusal, UpdateBuilder, UpdateRequest};
use dmp_dns::{Class, Rcode, Rtype, txt};

use crate::support::*;

/// An UPDATE for mesh.example with raw records: (owner, type, class, TTL, RDATA).
type Raw<'a> = (&'a str, Rtype, Class, u32, &'a [u8]);

fn message(prerequisites: &[Raw<'_>], updates: &[Raw<'_>]) -> Vec<u8> {
    let mut message = vec![
        0,
        1,
        5 << 3,
        0,
        0,
        1,
        0,
        prerequisites.len() as u8,
        0,
        updates.len() as u8,
        0,
        0,
    ];
    message.extend_from_slice(name("Mesh.example").as_wire());
    message.extend_from_slice(&[0, 6, 0, 1]);
    for (owner, rtype, class, ttl, rdata) in prerequisites.iter().chain(updates) {
        message.extend_from_slice(name(owner).as_wire());
        message.extend_from_slice(&rtype.0.to_be_bytes());
        message.extend_from_slice(&class.0.to_be_bytes());
        message.extend_from_slice(&ttl.to_be_bytes());
        message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        message.extend_from_slice(rdata);
    }
    message
}

fn operations(updates: &[Raw<'_>]) -> Result<Vec<Operation>, Rcode> {
    let message = message(&[], updates);
    let query = Query::parse(&message).unwrap();
    UpdateRequest::parse(&query)
        .unwrap()
        .operations()
        .map_err(|refusal| refusal.rcode)
}

fn prerequisites(section: &[Raw<'_>]) -> Result<Vec<Prerequisite>, Rcode> {
    let message = message(
        section,
        &[("x.mesh.example", Rtype::TXT, Class::IN, 60, b"\x01v")],
    );
    let query = Query::parse(&message).unwrap();
    let request = UpdateRequest::parse(&query).unwrap();
    assert_eq!(
        request.operations().unwrap().len(),
        1,
        "the sections do not run into each other"
    );
    request.prerequisites().map_err(|refusal| refusal.rcode)
}

#[test]
fn the_zone_section_is_one_soa_of_class_in() {
    let zone = |questions: u8, rtype: u8, class: u8| {
        let mut message = vec![0, 1, 5 << 3, 0, 0, questions, 0, 0, 0, 0, 0, 0];
        for _ in 0..questions {
            message.extend_from_slice(name("mesh.example").as_wire());
            message.extend_from_slice(&[0, rtype, 0, class]);
        }
        let query = Query::parse(&message).unwrap();
        UpdateRequest::parse(&query)
            .map(|update| update.zone().to_vec())
            .map_err(|refusal: Refusal| refusal.rcode)
    };
    assert_eq!(zone(1, 6, 1), Ok(name("mesh.example").as_wire().to_vec()));
    assert_eq!(zone(0, 6, 1), Err(Rcode::FORMERR));
    assert_eq!(zone(2, 6, 1), Err(Rcode::FORMERR));
    assert_eq!(zone(1, 1, 1), Err(Rcode::FORMERR));
    assert_eq!(
        [zone(1, 6, 3), zone(1, 6, 255), zone(1, 6, 254)],
        [
            Err(Rcode::NOTAUTH),
            Err(Rcode::NOTAUTH),
            Err(Rcode::NOTAUTH)
        ]
    );
}

#[test]
fn changes_come_out_in_wire_order_with_lower_case_owners() {
    let found = operations(&[
        (
            "A.MESH.example",
            Rtype::TXT,
            Class::IN,
            300,
            b"\x02\xc3\xa9\x01x",
        ),
        ("a.mesh.example", Rtype::TXT, Class::NONE, 0, b"\x01v"),
        ("b.mesh.example", Rtype::TXT, Class::ANY, 0, b""),
        ("c.mesh.example", Rtype::ANY, Class::ANY, 0, b""),
    ])
    .unwrap();
    assert_eq!(
        found,
        [
            Operation::Add {
                owner: name("a.mesh.example"),
                ttl: 300,
                value: "éx".into()
            },
            Operation::DeleteValue {
                owner: name("a.mesh.example"),
                value: "v".into()
            },
            Operation::DeleteRrset {
                owner: name("b.mesh.example")
            },
            Operation::DeleteRrset {
                owner: name("c.mesh.example")
            },
        ]
    );
    assert_eq!(
        found[0].owner().as_wire(),
        name("a.mesh.example").as_wire(),
        "stored in lower case"
    );
}

#[test]
fn a_character_may_straddle_two_strings_but_the_whole_must_be_utf8() {
    let add = |rdata: &[u8]| operations(&[("a.mesh.example", Rtype::TXT, Class::IN, 60, rdata)]);
    assert!(
        matches!(&add(b"\x01\xc3\x01\xa9").unwrap()[..], [Operation::Add { value, .. }] if value == "é")
    );
    assert!(matches!(&add(b"\0").unwrap()[..], [Operation::Add { value, .. }] if value.is_empty()));
    for bad in [&b"\x01\xc3"[..], b"\x02v", b""] {
        assert_eq!(add(bad), Err(Rcode::FORMERR), "{bad:?}");
    }
}

#[test]
fn ttl_zero_or_with_the_top_bit_becomes_sixty() {
    for (ttl, stored) in [
        (0, 60),
        (1, 1),
        (0x7fff_ffff, 0x7fff_ffff),
        (0x8000_0000, 60),
        (u32::MAX, 60),
    ] {
        let found =
            operations(&[("a.mesh.example", Rtype::TXT, Class::IN, ttl, b"\x01v")]).unwrap();
        assert!(
            matches!(found[..], [Operation::Add { ttl, .. }] if ttl == stored),
            "{ttl}"
        );
    }
}

#[test]
fn owners_outside_the_zone_are_notzone_whatever_their_type() {
    for (owner, rtype) in [
        ("mesh.other", Rtype::TXT),
        ("xmesh.example", Rtype::A),
        ("example", Rtype::ANY),
    ] {
        assert_eq!(
            operations(&[(owner, rtype, Class::IN, 60, b"\x01v")]),
            Err(Rcode::NOTZONE),
            "{owner}"
        );
    }
    // An owner that only reads like one inside: one label with a dot in it.
    assert_eq!(
        operations(&[("x\\.mesh.example", Rtype::TXT, Class::IN, 60, b"\x01v")]),
        Err(Rcode::NOTZONE)
    );
}

#[test]
fn other_types_are_never_stored_and_their_deletion_changes_nothing() {
    let address: Raw<'_> = ("a.mesh.example", Rtype::A, Class::IN, 60, &[192, 0, 2, 1]);
    assert_eq!(operations(&[address]), Err(Rcode::REFUSED));
    assert_eq!(
        operations(&[address, ("mesh.other", Rtype::TXT, Class::IN, 60, b"\x01v")]),
        Err(Rcode::NOTZONE),
        "the worse reason wins"
    );
    assert_eq!(
        operations(&[("a.mesh.example", Rtype::A, Class::ANY, 0, b"")]),
        Ok(vec![])
    );
    assert_eq!(
        operations(&[("a.mesh.example", Rtype::A, Class::NONE, 0, &[192, 0, 2, 1])]),
        Ok(vec![])
    );
    let formless: [Raw<'_>; 6] = [
        ("a.mesh.example", Rtype::TXT, Class::ANY, 0, b"\x01v"),
        ("a.mesh.example", Rtype::ANY, Class::IN, 60, b""),
        ("a.mesh.example", Rtype::ANY, Class::NONE, 0, b""),
        ("a.mesh.example", Rtype::AXFR, Class::ANY, 0, b""),
        ("a.mesh.example", Rtype::TXT, Class::CH, 60, b"\x01v"),
        ("a.mesh.example", Rtype::TXT, Class::NONE, 0, b""),
    ];
    for record in formless {
        assert_eq!(operations(&[record]), Err(Rcode::FORMERR), "{record:?}");
    }
}

#[test]
fn the_five_kinds_of_prerequisites_are_told_apart() {
    let a = || name("a.mesh.example");
    let found = prerequisites(&[
        ("a.mesh.example", Rtype::ANY, Class::ANY, 0, b""),
        ("a.mesh.example", Rtype::TXT, Class::ANY, 0, b""),
        ("a.mesh.example", Rtype::ANY, Class::NONE, 0, b""),
        ("a.mesh.example", Rtype::TXT, Class::NONE, 0, b""),
        ("A.mesh.example", Rtype::TXT, Class::IN, 0, b"\x01v\x01w"),
        ("a.mesh.example", Rtype::TXT, Class::IN, 0, b"\x01x"),
    ])
    .unwrap();
    let equals = Prerequisite::RrsetEquals(a(), Rtype::TXT, vec![b"vw".to_vec(), b"x".to_vec()]);
    assert_eq!(
        found,
        [
            Prerequisite::NameInUse(a()),
            Prerequisite::RrsetExists(a(), Rtype::TXT),
            Prerequisite::NameNotInUse(a()),
            Prerequisite::RrsetAbsent(a(), Rtype::TXT),
            equals
        ]
    );
    let rcodes: Vec<Rcode> = found.iter().map(Prerequisite::rcode_if_false).collect();
    assert_eq!(
        rcodes,
        [
            Rcode::NXDOMAIN,
            Rcode::NXRRSET,
            Rcode::YXDOMAIN,
            Rcode::YXRRSET,
            Rcode::NXRRSET
        ]
    );
}

#[test]
fn prerequisites_without_meaning_are_formerr_and_outside_the_zone_notzone() {
    let bad: [(Raw<'_>, Rcode); 6] = [
        (
            ("a.mesh.example", Rtype::ANY, Class::ANY, 1, b""),
            Rcode::FORMERR,
        ),
        (
            ("a.mesh.example", Rtype::TXT, Class::ANY, 0, b"\x01v"),
            Rcode::FORMERR,
        ),
        (
            ("a.mesh.example", Rtype::TXT, Class::NONE, 0, b"\x01v"),
            Rcode::FORMERR,
        ),
        (
            ("a.mesh.example", Rtype::ANY, Class::IN, 0, b""),
            Rcode::FORMERR,
        ),
        (
            ("a.mesh.example", Rtype::TXT, Class::CH, 0, b""),
            Rcode::FORMERR,
        ),
        (("a.other", Rtype::ANY, Class::ANY, 0, b""), Rcode::NOTZONE),
    ];
    for (record, rcode) in bad {
        assert_eq!(prerequisites(&[record]), Err(rcode), "{record:?}");
    }
}

#[test]
fn a_built_message_knows_its_size_and_splits_long_values() {
    let mut builder = UpdateBuilder::new(&name("mesh.example"));
    let long = "m".repeat(1000);
    let changes = [
        Operation::Add {
            owner: name("slot-1.mb-0123456789ab.mesh.example"),
            ttl: 300,
            value: long.clone(),
        },
        Operation::DeleteValue {
            owner: name("a.mesh.example"),
            value: String::new(),
        },
        Operation::DeleteRrset {
            owner: name("mesh.example"),
        },
    ];
    for change in &changes {
        let (before, grows) = (builder.message_len(), builder.operation_len(change));
        builder.push(change).unwrap();
        assert_eq!(builder.message_len(), before + grows);
    }
    let message = builder.build(77);
    assert_eq!(
        (message.len(), builder.operations()),
        (builder.message_len(), 3)
    );
    let query = Query::parse(&message).unwrap();
    assert_eq!((query.id(), query.edns().unwrap().payload), (77, 1232));
    assert_eq!(
        UpdateRequest::parse(&query).unwrap().operations().unwrap(),
        changes
    );
    assert!(
        message
            .windows(txt::rdata_len(1000))
            .any(|window| window == txt::encode_rdata(long.as_bytes()))
    );
}

#[test]
fn a_message_is_never_larger_than_dns_carries_nor_for_another_zone() {
    let mut builder = UpdateBuilder::new(&name("mesh.example"));
    let change = Operation::Add {
        owner: name("a.mesh.example"),
        ttl: 300,
        value: "v".repeat(2000),
    };
    while builder.push(&change).is_ok() {}
    assert_eq!(builder.push(&change), Err(BuildError::Full));
    assert!(
        builder.message_len() <= 65_535
            && builder.message_len() > 65_535 - builder.operation_len(&change)
    );
    assert!(Query::parse(&builder.build(1)).is_ok());
    let outside = Operation::DeleteRrset {
        owner: name("a.other"),
    };
    assert_eq!(builder.push(&outside), Err(BuildError::OutsideZone));
}

#[test]
fn the_response_echoes_the_zone_and_has_opt_only_if_the_request_had() {
    let plain = message(&[], &[]);
    let mut out = [0; 512];
    let reply = Reply {
        rcode: Rcode::NOERROR,
        standing: Standing::Authoritative,
        error: None,
    };
    let written = respond(&Query::parse(&plain).unwrap(), reply, UDP, &mut out);
    assert_eq!(out[..4], [0, 1, 0x80 | 5 << 3 | 4, 0]);
    assert_eq!(out[4..12], [0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(out[12..written.len], plain[12..]);
    let with_opt = UpdateBuilder::new(&name("mesh.example")).build(1);
    let written = respond(&Query::parse(&with_opt).unwrap(), reply, UDP, &mut out);
    assert_eq!((out[11], written.len), (1, plain.len() + 11));
}
