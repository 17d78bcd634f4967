//! node.md 2.3-2.7 and 2.9, clause by clause.

use dmp_dns::answer::{
    AnswerClass, Exchange, ExtendedError, NameServer, Reply, Standing, Transport, respond, slipped,
};
use dmp_dns::message::RecordData;
use dmp_dns::query::{Query, Unreadable};
use dmp_dns::{Malformed, Rcode, Rtype};

use crate::support::*;

fn zone() -> Zone {
    Zone::mesh()
        .with("txt.mesh.example", "hello", 300)
        .with("a.b.c.mesh.example", "deep", 300)
        .with("mesh.example", "apex", 300)
}

fn ask(zone: &Zone, owner: &str, rtype: Rtype) -> dmp_dns::message::Response {
    read(&serve(zone, &query(owner, rtype), UDP))
}

fn has_soa(response: &dmp_dns::message::Response) -> bool {
    response.authority.len() == 1
        && response.authority[0].owner == name("mesh.example")
        && response.authority[0].ttl == 60
        && response.authority[0].data
            == RecordData::Soa {
                serial: 7,
                minimum: 60,
            }
}

#[test]
fn a_negative_answer_always_carries_the_soa() {
    let zone = zone();
    let missing = ask(&zone, "nope.mesh.example", Rtype::TXT);
    assert_eq!(
        (missing.rcode, missing.authoritative),
        (Rcode::NXDOMAIN, true)
    );
    assert!(has_soa(&missing));
    for (owner, rtype) in [
        ("txt.mesh.example", Rtype::A),
        ("mesh.example", Rtype::MX),
        ("c.mesh.example", Rtype::TXT),
        ("nope.mesh.example", Rtype::A),
    ] {
        let response = ask(&zone, owner, rtype);
        assert_eq!(
            (
                response.rcode,
                response.answers.len(),
                response.authoritative
            ),
            (Rcode::NOERROR, 0, true),
            "{owner}"
        );
        assert!(has_soa(&response), "{owner}");
    }
}

#[test]
fn no_ancestor_of_a_live_name_is_ever_nxdomain() {
    let mut zone = zone();
    for owner in ["b.c.mesh.example", "C.mesh.example", "mesh.example"] {
        assert_eq!(
            ask(&zone, owner, Rtype::TXT).rcode,
            Rcode::NOERROR,
            "{owner}"
        );
    }
    assert_eq!(
        ask(&zone, "x.c.mesh.example", Rtype::TXT).rcode,
        Rcode::NXDOMAIN
    );
    assert_eq!(
        ask(&zone, "cc.mesh.example", Rtype::TXT).rcode,
        Rcode::NXDOMAIN
    );
    zone.put("old.gone.mesh.example", "x", 0);
    assert_eq!(
        ask(&zone, "gone.mesh.example", Rtype::TXT).rcode,
        Rcode::NXDOMAIN,
        "what lies below has expired"
    );
}

#[test]
fn a_bare_mailbox_is_never_nxdomain() {
    let zone = zone();
    assert_eq!(
        ask(&zone, "mb-0123456789ab.mesh.example", Rtype::TXT).rcode,
        Rcode::NOERROR
    );
    assert_eq!(
        ask(&zone, "MB-0123456789AB.mesh.example", Rtype::TXT).rcode,
        Rcode::NOERROR,
        "looked up in lower case"
    );
    for other in [
        "mb-0123456789a.mesh.example",
        "mb-0123456789ag.mesh.example",
        "slot-1.mb-0123456789ab.mesh.example",
        "mb-0123456789ab.x.mesh.example",
    ] {
        assert_eq!(
            ask(&zone, other, Rtype::TXT).rcode,
            Rcode::NXDOMAIN,
            "{other}"
        );
    }
}

#[test]
fn names_elsewhere_are_refused_without_authority() {
    let mut zone = zone();
    zone.hosted.push(name("dmp.other.test"));
    for owner in ["other.test", "example", ".", "xmesh.example"] {
        for rtype in [Rtype::TXT, Rtype::NS] {
            let response = ask(&zone, owner, rtype);
            assert_eq!(
                (
                    response.rcode,
                    response.authoritative,
                    response.authority.len()
                ),
                (Rcode::REFUSED, false, 0),
                "{owner}"
            );
        }
    }
    let hosted = ask(&zone, "x.dmp.other.test", Rtype::TXT);
    assert_eq!(
        (hosted.rcode, hosted.authoritative, hosted.authority.len()),
        (Rcode::NXDOMAIN, true, 0)
    );
    zone.apex = None;
    let zoneless = ask(&zone, "anything.test", Rtype::TXT);
    assert_eq!(
        (
            zoneless.rcode,
            zoneless.authoritative,
            zoneless.authority.len()
        ),
        (Rcode::NXDOMAIN, true, 0)
    );
    assert_eq!(
        ask(&zone, "anything.test", Rtype::A).rcode,
        Rcode::NOERROR,
        "minimising resolvers ask other types first"
    );
}

#[test]
fn the_ttl_is_the_shortest_remaining_life_at_least_one_and_at_most_the_configured() {
    let zone = Zone::mesh()
        .with("t.mesh.example", "a", 300)
        .with("t.mesh.example", "b", 17)
        .with("s.mesh.example", "c", 300);
    let response = ask(&zone, "t.mesh.example", Rtype::TXT);
    assert_eq!(
        response
            .answers
            .iter()
            .map(|record| record.ttl)
            .collect::<Vec<_>>(),
        [17, 17]
    );
    assert_eq!(ask(&zone, "s.mesh.example", Rtype::TXT).answers[0].ttl, 60);
    let at = |seconds| Exchange::new(Transport::UDP, NOW + seconds);
    let last = read(&serve(&zone, &query("t.mesh.example", Rtype::TXT), at(16)));
    assert_eq!(
        last.answers
            .iter()
            .map(|record| record.ttl)
            .collect::<Vec<_>>(),
        [1, 1]
    );
    let later = read(&serve(&zone, &query("t.mesh.example", Rtype::TXT), at(17)));
    assert_eq!(
        later.txt(&name("t.mesh.example")),
        [b"a"],
        "the expired value is left out at read time"
    );
}

#[test]
fn the_rrset_rotates_with_the_message_id() {
    let zone = Zone::mesh()
        .with("t.mesh.example", "a", 300)
        .with("t.mesh.example", "b", 300)
        .with("t.mesh.example", "c", 300);
    let mut firsts = std::collections::BTreeSet::new();
    for id in 0..3u8 {
        let mut request = query("t.mesh.example", Rtype::TXT);
        request[1] = id;
        let response = read(&serve(&zone, &request, UDP));
        let values = response
            .txt(&name("t.mesh.example"))
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>();
        assert_eq!(values.len(), 3);
        firsts.insert(values[0].clone());
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn udp_is_capped_at_512_without_edns_and_at_1232_with_it_and_tcp_never() {
    // 12 + 16 + 4 octets before the record, 12 in its head, 2 length octets: 466 of value make exactly 512.
    let fits = |len: usize| Zone::mesh().with("v.mesh.example", &"x".repeat(len), 300);
    assert_eq!(
        serve(&fits(466), &query("v.mesh.example", Rtype::TXT), UDP).len(),
        512
    );
    let over = serve(&fits(467), &query("v.mesh.example", Rtype::TXT), UDP);
    assert_eq!(over.len(), 32);
    assert!(read(&over).truncated && read(&over).authoritative);

    let edns = |payload| with_opt(query("v.mesh.example", Rtype::TXT), payload, 0, false, &[]);
    let big = fits(1172);
    for (payload, whole) in [
        (0, false),
        (511, false),
        (1231, false),
        (1232, true),
        (4096, true),
    ] {
        let answer = serve(&big, &edns(payload), UDP);
        assert_eq!(read(&answer).answers.len(), usize::from(whole), "{payload}");
        assert!(answer.len() <= 1232);
    }
    assert!(read(&serve(&fits(1173), &edns(65_535), UDP)).truncated);
    assert_eq!(read(&serve(&fits(4000), &edns(512), TCP)).answers.len(), 1);
    let reserved = Exchange { reserve: 1, ..UDP };
    assert!(
        read(&serve(
            &fits(466),
            &query("v.mesh.example", Rtype::TXT),
            reserved
        ))
        .truncated,
        "room for a signature"
    );
}

#[test]
fn an_answer_above_65535_octets_over_tcp_is_servfail() {
    let mut zone = Zone::mesh();
    for index in 0..40 {
        zone.put(
            "v.mesh.example",
            &format!("{index:02}{}", "x".repeat(1998)),
            300,
        );
    }
    let response = read(&serve(&zone, &query("v.mesh.example", Rtype::TXT), TCP));
    assert_eq!(
        (response.rcode, response.truncated, response.answers.len()),
        (Rcode::SERVFAIL, false, 0)
    );
}

#[test]
fn edns_is_answered_with_version_0_payload_1232_and_the_do_bit_copied() {
    let zone = zone();
    let plain = serve(&zone, &query("txt.mesh.example", Rtype::TXT), UDP);
    assert_eq!(plain[11], 0, "no OPT unless asked");
    let answer = serve(
        &zone,
        &with_opt(query("txt.mesh.example", Rtype::TXT), 4096, 0, true, &[]),
        UDP,
    );
    assert_eq!(
        answer[answer.len() - 11..],
        [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]
    );
    let badvers = serve(
        &zone,
        &with_opt(query("txt.mesh.example", Rtype::TXT), 4096, 1, false, &[]),
        UDP,
    );
    assert_eq!(
        badvers[badvers.len() - 11..],
        [0, 0, 41, 0x04, 0xd0, 1, 0, 0, 0, 0, 0]
    );
    assert_eq!((read(&badvers).rcode, badvers[3]), (Rcode::BADVERS, 0));
}

#[test]
fn malformed_edns_is_formerr_and_unknown_options_are_ignored() {
    let zone = zone();
    let with = |options: &[u8]| {
        serve(
            &zone,
            &with_opt(
                query("txt.mesh.example", Rtype::TXT),
                1232,
                0,
                false,
                options,
            ),
            UDP,
        )
    };
    let good: [&[u8]; 6] = [
        &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 3, 0, 0],
        &[0, 11, 0, 0],
        &[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2],
        &[0, 12, 0, 3, 0, 0, 0],
        &[0xff, 0xfe, 0, 1, 9, 0, 3, 0, 0],
    ];
    for options in good {
        assert_eq!(read(&with(options)).answers.len(), 1, "{options:?}");
    }
    let bad: [&[u8]; 7] = [
        &[0, 10, 0, 5, 1, 2, 3, 4, 5],
        &[0, 10, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[0, 8, 0, 3, 0, 1, 24],
        &[0, 8, 0, 4, 0, 1, 24, 0],
        &[0, 8, 0, 4, 0, 9, 0, 0],
        &[0, 3, 0, 1],
        &[0, 3, 0],
    ];
    for options in bad {
        assert_eq!(
            with(options),
            [0x12, 0x34, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            "{options:?}"
        );
    }
    let two = with_opt(
        with_opt(query("txt.mesh.example", Rtype::TXT), 1232, 0, false, &[]),
        1232,
        0,
        false,
        &[],
    );
    assert_eq!(read(&serve(&zone, &two, UDP)).rcode, Rcode::FORMERR);
    let mut in_answer = with_opt(query("txt.mesh.example", Rtype::TXT), 1232, 0, false, &[]);
    (in_answer[7], in_answer[11]) = (1, 0);
    assert_eq!(read(&serve(&zone, &in_answer, UDP)).rcode, Rcode::FORMERR);
    let mut owned = query("txt.mesh.example", Rtype::TXT);
    owned.extend_from_slice(&[1, b'x', 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    owned[11] = 1;
    assert_eq!(read(&serve(&zone, &owned, UDP)).rcode, Rcode::FORMERR);
}

#[test]
fn any_gets_a_minimal_answer_and_transfers_and_meta_types_none() {
    let zone = zone();
    let any = ask(&zone, "txt.mesh.example", Rtype::ANY);
    assert_eq!(
        any.answers
            .iter()
            .map(|record| &record.data)
            .collect::<Vec<_>>(),
        [&RecordData::Other(Rtype::HINFO, b"\x07RFC8482\0".to_vec())]
    );
    assert_eq!(ask(&zone, "mesh.example", Rtype::ANY).answers.len(), 1);
    assert_eq!(ask(&zone, "c.mesh.example", Rtype::ANY).answers.len(), 0);
    let codes = [
        (Rtype::AXFR, Rcode::REFUSED),
        (Rtype::IXFR, Rcode::REFUSED),
        (Rtype::OPT, Rcode::FORMERR),
        (Rtype::TSIG, Rcode::FORMERR),
        (Rtype::TKEY, Rcode::FORMERR),
        (Rtype(0), Rcode::FORMERR),
        (Rtype::NXNAME, Rcode::FORMERR),
        (Rtype::MAILA, Rcode::NOTIMP),
        (Rtype::MAILB, Rcode::NOTIMP),
    ];
    for (rtype, rcode) in codes {
        let response = ask(&zone, "txt.mesh.example", rtype);
        assert_eq!(
            (
                response.rcode,
                response.authoritative,
                response.answers.len()
            ),
            (rcode, false, 0),
            "{rtype}"
        );
    }
}

#[test]
fn other_classes_are_refused_and_other_opcodes_not_implemented() {
    let zone = zone();
    for class in [0, 2, 3, 4, 254, 255] {
        let response = read(&serve(
            &zone,
            &query_wire(name("txt.mesh.example").as_wire(), 16, class),
            UDP,
        ));
        assert_eq!(
            (response.rcode, response.authoritative),
            (Rcode::REFUSED, false),
            "{class}"
        );
    }
    for opcode in (1..16).filter(|opcode| *opcode != 5) {
        let mut request = query("txt.mesh.example", Rtype::TXT);
        request[2] = opcode << 3 | 1;
        let answer = serve(&zone, &request, UDP);
        assert_eq!(answer[2..4], [0x80 | opcode << 3 | 1, 4], "{opcode}");
        assert_eq!(answer.len() == 12, opcode == 6, "DSO gets the header alone");
        if opcode != 6 {
            assert_eq!(answer[12..], request[12..]);
        }
    }
    let mut dso = vec![0, 1, 6 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    dso.extend_from_slice(&[0, 1, 0, 4, 0, 0, 0, 0]);
    assert_eq!(
        serve(&zone, &dso, TCP),
        [0, 1, 0x80 | 6 << 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn a_query_has_exactly_one_question() {
    let zone = zone();
    let none = [0x12, 0x34, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        serve(&zone, &none, UDP),
        [0x12, 0x34, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    let mut two = query("txt.mesh.example", Rtype::TXT);
    two.extend_from_slice(&[0xc0, 12, 0, 16, 0, 1]);
    two[5] = 2;
    let answer = serve(&zone, &two, UDP);
    assert_eq!((read(&answer).rcode, answer.len()), (Rcode::FORMERR, 12));
    let opt = serve(&zone, &with_opt(none.to_vec(), 1232, 0, false, &[]), UDP);
    assert_eq!((opt.len(), opt[11]), (23, 1));
}

#[test]
fn what_is_no_request_stays_unanswered_and_what_cannot_be_read_gets_a_header() {
    let zone = zone();
    let good = query("txt.mesh.example", Rtype::TXT);
    assert!((0..12).all(|len| serve(&zone, &good[..len], UDP).is_empty()));
    let mut response = good.clone();
    response[2] |= 0x80;
    assert!(serve(&zone, &response, UDP).is_empty());
    assert_eq!(Query::parse(&response).unwrap_err(), Unreadable::Silent);

    let formerr = [0x12, 0x34, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    for len in 12..good.len() {
        assert_eq!(serve(&zone, &good[..len], UDP), formerr, "cut at {len}");
    }
    let question = |bytes: &[u8]| query_wire(bytes, 16, 1);
    let mut long = [3, b'a', b'b', b'c'].repeat(63);
    long.extend_from_slice(&[1, b'x', 0]);
    assert_eq!(long.len(), 255);
    assert_eq!(
        read(&serve(&zone, &question(&long), UDP)).rcode,
        Rcode::REFUSED,
        "255 octets are a name"
    );
    let mut longer = [3, b'a', b'b', b'c'].repeat(63);
    longer.extend_from_slice(&[2, b'x', b'x', 0]);
    for bytes in [&longer[..], &[0x40, 0], &[0x80, 0], &[0xc0, 12], &[0xc0, 0]] {
        assert_eq!(serve(&zone, &question(bytes), UDP), formerr, "{bytes:?}");
    }
    let mut counted = good.clone();
    counted[7] = 1;
    assert_eq!(serve(&zone, &counted, UDP), formerr, "counts too high");
    assert_eq!(
        Query::parse(&counted).unwrap_err(),
        Unreadable::Malformed(Malformed::Truncated)
    );
}

#[test]
fn labels_are_compared_as_labels_whatever_octets_they_hold() {
    let zone = zone();
    let dotted = [
        &b"\x08txt.mesh\x07example\0"[..],
        b"\x03a\0b\x04mesh\x07example\0",
        b"\x01*\x04mesh\x07example\0",
    ];
    let rcodes: Vec<Rcode> = dotted
        .iter()
        .map(|wire| read(&serve(&zone, &query_wire(wire, 16, 1), UDP)).rcode)
        .collect();
    assert_eq!(rcodes, [Rcode::REFUSED, Rcode::NXDOMAIN, Rcode::NXDOMAIN]);
}

#[test]
fn only_rd_is_copied_from_the_flags() {
    let zone = zone();
    let mut request = query("txt.mesh.example", Rtype::TXT);
    (request[2], request[3]) = (0x07, 0xff);
    let answer = serve(&zone, &request, UDP);
    assert_eq!(answer[2..4], [0x85, 0]);
}

#[test]
fn the_apex_answers_from_its_configuration() {
    let mut zone = zone();
    let apex = zone.apex.as_mut().unwrap();
    apex.name_servers = vec![
        NameServer {
            name: name("ns1.mesh.example"),
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        },
        NameServer {
            name: name("ns2.example"),
            addresses: vec![],
        },
    ];
    let ns = ask(&zone, "mesh.example", Rtype::NS);
    assert_eq!(
        ns.name_servers(&name("mesh.example")),
        [&name("ns1.mesh.example"), &name("ns2.example")]
    );
    assert_eq!(ns.additional.len(), 2, "glue of the target inside the zone");
    assert!(
        ns.additional
            .iter()
            .all(|record| record.owner == name("ns1.mesh.example"))
    );
    assert_eq!(
        ask(&zone, "ns1.mesh.example", Rtype::A)
            .addresses(&name("ns1.mesh.example"))
            .len(),
        1,
        "glue is served as well"
    );
    assert_eq!(
        ask(&zone, "ns1.mesh.example", Rtype::TXT).rcode,
        Rcode::NOERROR
    );
    let soa = ask(&zone, "mesh.example", Rtype::SOA);
    assert_eq!((soa.answers.len(), soa.authority.len()), (1, 0));
    assert_eq!(ask(&zone, "mesh.example", Rtype::AAAA).answers.len(), 1);
    zone.apex.as_mut().unwrap().addresses.clear();
    let none = ask(&zone, "mesh.example", Rtype::A);
    assert_eq!((none.rcode, none.answers.len()), (Rcode::NOERROR, 0));
    assert!(has_soa(&none));
}

#[test]
fn refusals_say_why_to_clients_with_edns() {
    let zone = zone();
    let request = with_opt(query("other.test", Rtype::TXT), 1232, 0, false, &[]);
    let refused = read(&serve(&zone, &request, UDP));
    assert_eq!(
        refused.extended_error,
        Some((ExtendedError::NOT_AUTHORITATIVE, String::new()))
    );

    let parsed = Query::parse(&request).unwrap();
    let mut out = [0; 512];
    let error = Some(ExtendedError {
        code: ExtendedError::PROHIBITED,
        text: "out of scope",
    });
    let reply = Reply {
        rcode: Rcode::REFUSED,
        standing: Standing::Authoritative,
        error,
    };
    let written = respond(&parsed, reply, UDP, &mut out);
    let response = read(&out[..written.len]);
    assert_eq!(
        (response.rcode, response.authoritative),
        (Rcode::REFUSED, true)
    );
    assert_eq!(response.extended_error, Some((18, "out of scope".into())));
}

#[test]
fn limiters_get_an_empty_tc_answer_and_every_answer_names_its_class() {
    let zone = zone();
    let request = query("txt.mesh.example", Rtype::TXT);
    let mut out = [0; 512];
    let slip = slipped(&Query::parse(&request).unwrap(), UDP, &mut out);
    assert_eq!(
        (slip.len, slip.class),
        (request.len(), AnswerClass::Truncated)
    );
    assert!(read(&out[..slip.len]).truncated);
    let class = |owner, rtype| {
        serve_counted(&zone, &query(owner, rtype), UDP)
            .1
            .unwrap()
            .class
    };
    assert_eq!(class("txt.mesh.example", Rtype::TXT), AnswerClass::Positive);
    assert_eq!(class("txt.mesh.example", Rtype::A), AnswerClass::NoData);
    assert_eq!(
        class("nope.mesh.example", Rtype::TXT),
        AnswerClass::NxDomain
    );
    assert_eq!(class("nope.example", Rtype::TXT), AnswerClass::Error);
    assert_eq!(Transport::UDP, Transport::Udp { payload: 1232 });
}
