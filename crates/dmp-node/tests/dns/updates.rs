//! UPDATE: order of checks, atomicity, scopes, quotas, prerequisites and the replay window (node.md 3).

use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::tsig::{Key, VerifyError, sign_request};
use dmp_dns::update::UpdateBuilder;
use dmp_dns::{Rcode, Rtype};
use dmp_node::access::Keyring;

use crate::support::{NOW, Node, add, delete_rrset, delete_value, key, name, owner, row, update};

/// A node with an administrative key `k` for the whole zone.
fn node() -> Node {
    Node::start().with_keys(vec![row("k", &["mesh.example"])])
}

#[test]
fn one_bad_operation_undoes_the_whole_message() {
    let node = Node::start().with_keys(vec![row("k", &["in.mesh.example"])]);
    node.put("in.mesh.example", "old", 300);
    let mixed = [
        delete_rrset("in.mesh.example"),
        add("in.mesh.example", "new"),
        add("out.mesh.example", "x"),
    ];
    assert_eq!(node.update_rcode(&key("k"), &mixed), Rcode::REFUSED);
    assert_eq!(node.txt("in.mesh.example"), ["old"]);
    let too_long = [
        add("in.mesh.example", "new"),
        add("in.mesh.example", &"x".repeat(2049)),
    ];
    assert_eq!(node.update_rcode(&key("k"), &too_long), Rcode::REFUSED);
    assert_eq!(node.txt("in.mesh.example"), ["old"]);
    assert_eq!(node.update_rcode(&key("k"), &mixed[..2]), Rcode::NOERROR);
    assert_eq!(node.txt("in.mesh.example"), ["new"]);
}

#[test]
fn operations_apply_in_wire_order() {
    let node = node();
    let operations = [
        add("o.mesh.example", "a"),
        delete_value("o.mesh.example", "a"),
        add("o.mesh.example", "a"),
        add("o.mesh.example", "b"),
    ];
    assert_eq!(node.update_rcode(&key("k"), &operations), Rcode::NOERROR);
    assert_eq!(node.context.values(&owner("o.mesh.example")), ["a", "b"]);
}

#[test]
fn values_longer_than_one_string_and_messages_longer_than_usual_are_taken() {
    let node = Node::start_with(|settings| settings.caps.max_value_bytes = Some(20_000))
        .with_keys(vec![row("k", &["mesh.example"])]);
    let long = "ä".repeat(9_000);
    assert_eq!(
        node.update_rcode(&key("k"), &[add("l.mesh.example", &long)]),
        Rcode::NOERROR,
        "a datagram over 8192 octets"
    );
    assert_eq!(node.context.values(&owner("l.mesh.example")), [long]);
}

#[test]
fn deleting_what_is_absent_succeeds() {
    let node = node();
    assert_eq!(
        node.update_rcode(&key("k"), &[delete_rrset("none.mesh.example")]),
        Rcode::NOERROR
    );
    assert_eq!(
        node.update_rcode(&key("k"), &[delete_value("none.mesh.example", "v")]),
        Rcode::NOERROR
    );
}

#[test]
fn only_values_that_would_be_new_count_against_the_cap_of_a_name() {
    let node = Node::start_with(|settings| settings.caps.max_values_per_name = Some(3))
        .with_keys(vec![row("k", &["mesh.example"])]);
    let values = [
        add("c.mesh.example", "1"),
        add("c.mesh.example", "2"),
        add("c.mesh.example", "3"),
    ];
    assert_eq!(node.update_rcode(&key("k"), &values), Rcode::NOERROR);
    assert_eq!(
        node.update_rcode(
            &key("k"),
            &[add("c.mesh.example", "2"), add("c.mesh.example", "1")]
        ),
        Rcode::NOERROR
    );
    let response = node.update(&key("k"), &update(&[add("c.mesh.example", "4")]));
    assert_eq!(response.rcode, Rcode::REFUSED);
    let swap = [
        delete_value("c.mesh.example", "3"),
        add("c.mesh.example", "4"),
    ];
    assert_eq!(
        node.update_rcode(&key("k"), &swap),
        Rcode::NOERROR,
        "room made in the same message counts"
    );
    assert_eq!(node.txt("c.mesh.example"), ["1", "2", "4"]);
}

#[test]
fn one_writer_gets_its_share_of_a_mailbox_and_no_more() {
    let node = Node::start_with(|settings| {
        settings.caps.max_values_per_name = Some(8);
        settings.caps.max_values_per_writer_per_mailbox = Some(6);
    });
    let user = |label: &str, subject: &str, own: &str| {
        let mut row = row(label, &["slot-*.mb-*.mesh.example", own]);
        row.subject = subject.into();
        row
    };
    let mailbox = "mb-aaaaaaaaaaaa.mesh.example";
    let node = node.with_keys(vec![
        user("one", "one@mesh.example", "id-1.mesh.example"),
        user("same", "one@mesh.example", "id-1.mesh.example"),
        user("two", "two@mesh.example", "id-2.mesh.example"),
        user("owner", "owner@mesh.example", mailbox),
    ]);
    let put = |who: &str, slot: u8, value: &str| {
        node.update_rcode(
            &key(who),
            &[add(
                &format!("slot-{slot}.{mailbox}"),
                &format!("{who} {value}"),
            )],
        )
    };
    for value in ["a", "b", "c", "d"] {
        assert_eq!(put("one", 0, value), Rcode::NOERROR);
    }
    assert_eq!(put("one", 0, "e"), Rcode::REFUSED, "half of one name");
    assert_eq!(put("one", 1, "e"), Rcode::NOERROR);
    assert_eq!(put("same", 2, "f"), Rcode::NOERROR);
    assert_eq!(
        put("same", 3, "g"),
        Rcode::REFUSED,
        "the subject counts, not the key"
    );
    assert_eq!(
        put("one", 0, "a"),
        Rcode::NOERROR,
        "a refresh is no new value"
    );
    assert_eq!(
        put("two", 0, "a"),
        Rcode::NOERROR,
        "others are not affected"
    );
    for value in ["a", "b", "c"] {
        assert_eq!(
            put("owner", 0, value),
            Rcode::NOERROR,
            "the owner is exempt"
        );
    }
    assert_eq!(
        put("owner", 0, "d"),
        Rcode::REFUSED,
        "but not from the cap of the name"
    );
}

#[test]
fn one_writer_alone_never_makes_a_mailbox_too_long_to_be_answered() {
    let user = |label: &str| {
        let mut row = row(label, &["slot-*.mb-*.mesh.example"]);
        row.subject = format!("{label}@mesh.example");
        row
    };
    let node = Node::start().with_keys(vec![user("one"), user("two")]);
    let slot = "slot-3.mb-aaaaaaaaaaaa.mesh.example";
    for who in ["one", "two"] {
        let value = |number: usize| format!("{who}{number:02}{}", "x".repeat(2_000 - 5));
        for number in 0..16 {
            let added = [add(slot, &value(number))];
            assert_eq!(node.update_rcode(&key(who), &added), Rcode::NOERROR);
        }
        let over = node.update(&key(who), &update(&[add(slot, &value(16))]));
        assert_eq!(over.rcode, Rcode::REFUSED);
        assert_eq!(
            node.update_rcode(&key(who), &[add(slot, &value(0))]),
            Rcode::NOERROR
        );
    }
    let query = QueryBuilder::new(name(slot), Rtype::TXT).build(1);
    let response = Response::parse(&node.tcp(&query)).unwrap();
    assert_eq!(
        (response.rcode, response.answers.len()),
        (Rcode::NOERROR, 32)
    );
}

#[test]
fn refusals_of_updates_say_why_to_who_speaks_edns() {
    let node = Node::start_with(|settings| settings.caps.max_values_per_name = Some(1))
        .with_keys(vec![row("k", &["in.mesh.example"])]);
    node.put("in.mesh.example", "v", 300);
    let reason = |response: Response| (response.rcode, response.extended_error.unwrap());
    let signed = |operation| reason(node.update(&key("k"), &update(&[operation])));
    let unsigned = |message: &[u8]| reason(Response::parse(&node.udp(message)).unwrap());
    let elsewhere = {
        let mut update = UpdateBuilder::new(&name("else.where"));
        update.push(&add("a.else.where", "v")).unwrap();
        update.build(1)
    };
    for (said, rcode, text) in [
        (
            signed(add("in.mesh.example", "w")),
            Rcode::REFUSED,
            "already holds 1 values",
        ),
        (
            signed(add("out.mesh.example", "w")),
            Rcode::REFUSED,
            "outside the scope",
        ),
        (
            unsigned(&update(&[add("a.mesh.example", "v")]).build(1)),
            Rcode::REFUSED,
            "must carry a claim",
        ),
        (unsigned(&elsewhere), Rcode::NOTAUTH, "not served here"),
    ] {
        assert_eq!((said.0, said.1.0), (rcode, 0), "{said:?}");
        assert!(said.1.1.contains(text), "{said:?}");
    }
    let out_of_zone = node.query("else.where", Rtype::TXT);
    assert_eq!(
        out_of_zone.extended_error.map(|(code, _)| code),
        Some(20),
        "Not Authoritative"
    );
    let sabotage = |draft: &mut dmp_node::store::Draft<'_>| {
        draft.sql().unwrap().execute_batch("ROLLBACK").unwrap();
        Ok::<_, ()>(())
    };
    node.context
        .store()
        .transact_blocking(sabotage)
        .unwrap_err();
    let read_only = signed(delete_rrset("in.mesh.example"));
    assert_eq!(read_only.0, Rcode::SERVFAIL);
    assert!(read_only.1.1.contains("read-only"), "{read_only:?}");
}

#[test]
fn self_service_wildcards_cover_only_the_shapes_clients_write() {
    let mut user = row("u", &["slot-*.mb-*.mesh.example", "chunk-*-*.mesh.example"]);
    user.subject = "u@mesh.example".into();
    let node = Node::start().with_keys(vec![user]);
    for (name, rcode) in [
        ("slot-3.mb-0123456789ab.mesh.example", Rcode::NOERROR),
        ("chunk-0001-0123456789ab.mesh.example", Rcode::NOERROR),
        ("slot-33.mb-0123456789ab.mesh.example", Rcode::REFUSED),
        ("slot-.mb-0123456789ab.mesh.example", Rcode::REFUSED),
        ("slot-3.mb-0123456789.mesh.example", Rcode::REFUSED),
        ("x.slot-3.mb-0123456789ab.mesh.example", Rcode::REFUSED),
        ("chunk-1-xyz.mesh.example", Rcode::REFUSED),
    ] {
        assert_eq!(
            node.update_rcode(&key("u"), &[add(name, "v")]),
            rcode,
            "{name}"
        );
    }
    assert_eq!(
        node.update_rcode(
            &key("u"),
            &[delete_rrset("slot-3.mb-0123456789ab.mesh.example")]
        ),
        Rcode::REFUSED,
        "a wildcard never deletes (D10)"
    );
}

#[test]
fn owner_names_with_other_octets_are_refused() {
    let node = node();
    for wire in [
        "a\\.b.mesh.example",
        "a\\032b.mesh.example",
        "*.mesh.example",
    ] {
        assert_eq!(
            node.update_rcode(&key("k"), &[add(wire, "v")]),
            Rcode::REFUSED,
            "{wire}"
        );
    }
}

#[test]
fn a_key_works_for_the_very_next_packet_and_stops_with_the_one_after_its_end() {
    let node = Node::start();
    let signed = |node: &Node, key: &Key| {
        let mut message = update(&[add("k.mesh.example", "v")]).build(1);
        let signature = sign_request(key, &mut message, node.clock.seconds()).unwrap();
        let answer = node.udp(&message);
        (
            Response::parse(&answer).unwrap().rcode,
            signature.verify_answer(&answer, node.clock.seconds()),
        )
    };
    let unknown = Err(VerifyError::Rejected(dmp_dns::tsig::TsigError::BADKEY));
    assert_eq!(signed(&node, &key("k")), (Rcode::NOTAUTH, unknown));
    let access = node.context.access();
    access.replace_keyring(access.keyring().with_key(row("k", &["mesh.example"])));
    assert_eq!(signed(&node, &key("k")), (Rcode::NOERROR, Ok(())));
    let mut expiring = row("k", &["mesh.example"]);
    expiring.expires_at = NOW + 10;
    access.replace_keyring(Keyring::new(vec![expiring], Vec::new()));
    node.clock.advance(9);
    assert_eq!(signed(&node, &key("k")).0, Rcode::NOERROR);
    node.clock.advance(1);
    assert_eq!(signed(&node, &key("k")), (Rcode::NOTAUTH, unknown));
    access.replace_keyring(access.keyring().with_key(row("k", &["mesh.example"])));
    assert_eq!(signed(&node, &key("k")).0, Rcode::NOERROR);
    access.replace_keyring(access.keyring().without_key("K.mesh.example."));
    assert_eq!(
        signed(&node, &key("k")),
        (Rcode::NOTAUTH, unknown),
        "revoked"
    );
    let wrong = Key::new(
        &name("k.mesh.example"),
        "hmac-sha256".parse().unwrap(),
        b"another secret",
    )
    .unwrap();
    access.replace_keyring(access.keyring().with_key(row("k", &["mesh.example"])));
    assert_eq!(
        signed(&node, &wrong),
        (
            Rcode::NOTAUTH,
            Err(VerifyError::Rejected(dmp_dns::tsig::TsigError::BADSIG))
        )
    );
}

#[test]
fn a_repeated_request_gets_the_cached_answer_and_changes_nothing() {
    let node = node();
    let mut message = update(&[add("r.mesh.example", "v")]).build(1);
    let key = key("k");
    let signature = sign_request(&key, &mut message, NOW).unwrap();
    let answer = node.udp(&message);
    assert_eq!(
        node.update_rcode(&key, &[delete_rrset("r.mesh.example")]),
        Rcode::NOERROR
    );
    node.clock.advance(299);
    assert_eq!(node.udp(&message), answer, "over UDP");
    assert_eq!(node.tcp(&message), answer, "and over TCP");
    message[..2].copy_from_slice(&[9, 9]);
    let under_another_id = node.udp(&message);
    assert_eq!(
        (&under_another_id[..2], &under_another_id[2..12]),
        (&[9, 9][..], &answer[2..12])
    );
    signature.verify_answer(&under_another_id, NOW).unwrap();
    assert!(
        node.txt("r.mesh.example").is_empty(),
        "what was deleted stays deleted"
    );
    node.clock.advance(2);
    assert_eq!(
        Response::parse(&node.udp(&message)).unwrap().rcode,
        Rcode::NOTAUTH,
        "outside the window the time is wrong"
    );
}

#[test]
fn a_refused_request_may_succeed_when_it_comes_again() {
    let node = Node::start_with(|settings| settings.caps.max_values_per_name = Some(1))
        .with_keys(vec![row("k", &["mesh.example"])]);
    node.put("r.mesh.example", "in the way", 10);
    let mut message = update(&[add("r.mesh.example", "v")]).build(1);
    sign_request(&key("k"), &mut message, NOW).unwrap();
    assert_eq!(
        Response::parse(&node.udp(&message)).unwrap().rcode,
        Rcode::REFUSED
    );
    node.clock.advance(10);
    assert_eq!(
        Response::parse(&node.udp(&message)).unwrap().rcode,
        Rcode::NOERROR
    );
}

/// An update with one prerequisite record before the add of `p.mesh.example`.
fn with_prerequisite(owner: &str, rtype: Rtype, class: u16, rdata: &[u8]) -> Vec<u8> {
    let message = update(&[add("p.mesh.example", "v")]).build(7);
    let zone_end = 12 + name("mesh.example").as_wire().len() + 4;
    let mut record = name(owner).as_wire().to_vec();
    record.extend_from_slice(&rtype.0.to_be_bytes());
    record.extend_from_slice(&class.to_be_bytes());
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    record.extend_from_slice(rdata);
    // The update section names its owners in full or by pointers into the zone section, so it can move.
    let mut message = [&message[..zone_end], &record, &message[zone_end..]].concat();
    message[7] = 1;
    message
}

#[test]
fn all_five_prerequisites_decide_after_authentication() {
    const ANY: u16 = 255;
    const NONE: u16 = 254;
    const IN: u16 = 1;
    let node = node();
    node.put("there.mesh.example", "v", 300);
    let there = "there.mesh.example";
    let none = "none.mesh.example";
    for (owner, rtype, class, rdata, expected) in [
        (there, Rtype::ANY, ANY, &b""[..], Rcode::NOERROR),
        (none, Rtype::ANY, ANY, b"", Rcode::NXDOMAIN),
        (none, Rtype::ANY, NONE, b"", Rcode::NOERROR),
        (there, Rtype::ANY, NONE, b"", Rcode::YXDOMAIN),
        (there, Rtype::TXT, ANY, b"", Rcode::NOERROR),
        (none, Rtype::TXT, ANY, b"", Rcode::NXRRSET),
        (there, Rtype::A, ANY, b"", Rcode::NXRRSET),
        (there, Rtype::A, NONE, b"", Rcode::NOERROR),
        (there, Rtype::TXT, NONE, b"", Rcode::YXRRSET),
        (there, Rtype::TXT, IN, b"\x01v", Rcode::NOERROR),
        (there, Rtype::TXT, IN, b"\x01w", Rcode::NXRRSET),
        ("mesh.example", Rtype::SOA, ANY, b"", Rcode::NOERROR),
        ("else.where", Rtype::ANY, ANY, b"", Rcode::NOTZONE),
        (there, Rtype::TXT, 3, b"", Rcode::FORMERR),
    ] {
        assert_eq!(
            node.update_rcode(&key("k"), &[delete_rrset("p.mesh.example")]),
            Rcode::NOERROR
        );
        node.clock.advance(1); // another second, so that no two requests are the same
        let mut message = with_prerequisite(owner, rtype, class, rdata);
        let key = key("k");
        let signature = sign_request(&key, &mut message, node.clock.seconds()).unwrap();
        let answer = node.udp(&message);
        signature
            .verify_answer(&answer, node.clock.seconds())
            .unwrap();
        let rcode = Response::parse(&answer).unwrap().rcode;
        assert_eq!(rcode, expected, "{owner} {rtype:?} {class}");
        assert_eq!(
            node.txt("p.mesh.example").len(),
            usize::from(expected == Rcode::NOERROR)
        );
    }
    // No oracle for those who may not write: a false one is not told.
    let unsigned = with_prerequisite(none, Rtype::ANY, ANY, b"");
    assert_eq!(
        Response::parse(&node.udp(&unsigned)).unwrap().rcode,
        Rcode::REFUSED
    );
}

#[test]
fn the_probe_of_clients_is_refused_also_while_update_is_off() {
    let probe = update(&[add("_dmp-probe.mesh.example", "v=dmp1;t=probe")]).build(1);
    for on in [true, false] {
        let node = Node::start_with(|settings| settings.update = on)
            .with_keys(vec![row("k", &["mesh.example"])]);
        assert_eq!(
            Response::parse(&node.udp(&probe)).unwrap().rcode,
            Rcode::REFUSED
        );
        let mut signed = probe.clone();
        sign_request(&key("k"), &mut signed, NOW).unwrap();
        let expected = if on { Rcode::NOERROR } else { Rcode::NOTAUTH };
        assert_eq!(Response::parse(&node.udp(&signed)).unwrap().rcode, expected);
    }
}

#[test]
fn a_signed_query_gets_a_signed_answer() {
    let node = node();
    node.put("q.mesh.example", "v", 300);
    for asked in ["q.mesh.example", "none.mesh.example", "else.where"] {
        let mut query = dmp_dns::message::QueryBuilder::new(name(asked), Rtype::TXT).build(3);
        let key = key("k");
        let signature = sign_request(&key, &mut query, NOW).unwrap();
        for answer in [node.udp(&query), node.tcp(&query)] {
            signature.verify_answer(&answer, NOW).unwrap();
        }
    }
}
