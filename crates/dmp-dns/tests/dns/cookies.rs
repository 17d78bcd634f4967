//! COOKIE and NSID in answers (RFC 7873 5.2, 5.4; RFC 5001; node.md 2.6).

use core::net::IpAddr;

use dmp_dns::answer::{Exchange, ExtendedError, Reply, Standing, Transport, respond, slipped};
use dmp_dns::cookie::{Cookie, Secret, Secrets};
use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::query::Query;
use dmp_dns::{Rcode, Rtype};

use crate::support::*;

const ADDRESS: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));
const CLIENT: [u8; 8] = *b"client 1";

fn secrets() -> Secrets {
    Secrets::new(Secret::new([7; 16]), None)
}

fn option(code: u8, data: &[u8]) -> Vec<u8> {
    [&[0, code, 0, data.len() as u8], data].concat()
}

fn with_cookie(message: Vec<u8>, server: &[u8]) -> Vec<u8> {
    let data = [&CLIENT, server].concat();
    with_opt(message, 1232, 0, false, &option(10, &data))
}

/// What a server that knows cookies sends back.
fn serve_judged(zone: &Zone, request: &[u8], exchange: Exchange<'_>) -> Response {
    let cookie = Query::parse(request).unwrap().cookie();
    let cookie = secrets().judge(cookie, ADDRESS, NOW);
    read(&serve(zone, request, Exchange { cookie, ..exchange }))
}

/// The server's part of the cookie that came back.
fn learnt(response: &Response) -> Vec<u8> {
    let cookie = response.cookie().unwrap().expect("a cookie");
    assert_eq!(cookie.client, CLIENT);
    cookie.server.to_vec()
}

#[test]
fn every_answer_to_a_request_with_a_cookie_carries_a_good_one_and_no_other_does() {
    let zone = Zone::mesh().with("txt.mesh.example", "hello", 300);
    for (owner, rtype, rcode) in [
        ("txt.mesh.example", Rtype::TXT, Rcode::NOERROR),
        ("none.mesh.example", Rtype::TXT, Rcode::NXDOMAIN),
        ("elsewhere.test", Rtype::TXT, Rcode::REFUSED),
        ("txt.mesh.example", Rtype::TSIG, Rcode::FORMERR),
    ] {
        for server in [&[][..], &[1; 16], &[1; 8], &[1; 32]] {
            let request = with_cookie(query(owner, rtype), server);
            let response = serve_judged(&zone, &request, UDP);
            assert_eq!(response.rcode, rcode, "a wrong cookie costs nothing");
            let again = with_cookie(query(owner, rtype), &learnt(&response));
            let cookie = Query::parse(&again).unwrap().cookie();
            assert!(secrets().judge(cookie, ADDRESS, NOW).is_valid());
        }
        let plain = with_opt(query(owner, rtype), 1232, 0, false, &[]);
        assert_eq!(serve_judged(&zone, &plain, UDP).cookie(), Ok(None));
    }
    let version = with_opt(
        query("txt.mesh.example", Rtype::TXT),
        1232,
        1,
        false,
        &option(10, &CLIENT),
    );
    let response = serve_judged(&zone, &version, UDP);
    assert_eq!(response.rcode, Rcode::BADVERS);
    assert_eq!(learnt(&response).len(), 16);
}

#[test]
fn a_cookie_of_a_wrong_length_is_formerr_and_of_two_the_first_counts() {
    let zone = Zone::mesh();
    for length in [0, 1, 7, 9, 15, 41, 64] {
        let options = option(10, &vec![0; length]);
        let request = with_opt(
            query("a.mesh.example", Rtype::TXT),
            1232,
            0,
            false,
            &options,
        );
        assert_eq!(read(&serve(&zone, &request, UDP)).rcode, Rcode::FORMERR);
    }
    let options = [option(10, &CLIENT), option(10, &[0; 8])].concat();
    let request = with_opt(
        query("a.mesh.example", Rtype::TXT),
        1232,
        0,
        false,
        &options,
    );
    learnt(&serve_judged(&zone, &request, UDP));
}

#[test]
fn a_query_without_a_question_asks_for_a_cookie_or_whether_one_is_still_good() {
    let zone = Zone::mesh();
    let empty = vec![0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let response = serve_judged(&zone, &with_cookie(empty.clone(), &[]), UDP);
    assert_eq!(response.rcode, Rcode::NOERROR);
    assert!(response.answers.is_empty() && response.authority.is_empty());
    let good = learnt(&response);
    let confirmed = serve_judged(&zone, &with_cookie(empty.clone(), &good), UDP);
    assert_eq!(
        (confirmed.rcode, learnt(&confirmed)),
        (Rcode::NOERROR, good)
    );
    let wrong = serve_judged(&zone, &with_cookie(empty.clone(), &[9; 16]), UDP);
    assert_eq!((wrong.rcode, learnt(&wrong).len()), (Rcode::BADCOOKIE, 16));
    let without = with_opt(empty.clone(), 1232, 0, false, &[]);
    assert_eq!(serve_judged(&zone, &without, UDP).rcode, Rcode::FORMERR);
    let mut two = with_cookie(empty, &[]);
    two.splice(
        12..12,
        [
            query("a.test", Rtype::TXT)[12..].to_vec(),
            query("b.test", Rtype::TXT)[12..].to_vec(),
        ]
        .concat(),
    );
    two[5] = 2;
    assert_eq!(serve_judged(&zone, &two, UDP).rcode, Rcode::FORMERR);
}

#[test]
fn room_for_the_cookie_is_kept_before_an_answer_is_cut() {
    // Without cookie 1172 octets of text make 1232 octets of answer (see the sizes of answers).
    let with_text = |octets: usize| Zone::mesh().with("v.mesh.example", &"x".repeat(octets), 300);
    let request = with_cookie(query("v.mesh.example", Rtype::TXT), &[]);
    let answer = |zone: &Zone| {
        let cookie = Query::parse(&request).unwrap().cookie();
        let cookie = secrets().judge(cookie, ADDRESS, NOW);
        serve(zone, &request, Exchange { cookie, ..UDP })
    };
    let full = answer(&with_text(1172 - 28));
    assert_eq!((full.len(), read(&full).truncated), (1232, false));
    let cut = read(&answer(&with_text(1172 - 27)));
    assert!(cut.truncated && cut.answers.is_empty());
    assert_eq!(learnt(&cut).len(), 16);
}

#[test]
fn the_identifier_goes_to_who_asks_and_never_costs_a_record() {
    let exchange = Exchange {
        nsid: Some(b"node-1"),
        ..UDP
    };
    let ask = |zone: &Zone, options: &[u8]| {
        let request = with_opt(query("v.mesh.example", Rtype::TXT), 1232, 0, false, options);
        serve(zone, &request, exchange)
    };
    let zone = Zone::mesh().with("v.mesh.example", "v", 300);
    let nsid = |answer: &[u8]| read(answer).nsid;
    assert_eq!(nsid(&ask(&zone, &option(3, b""))).unwrap(), b"node-1");
    assert_eq!(
        nsid(&ask(&zone, &option(3, b"ignored"))).unwrap(),
        b"node-1"
    );
    assert_eq!(nsid(&ask(&zone, &[])), None);
    let request = with_opt(
        query("v.mesh.example", Rtype::TXT),
        1232,
        0,
        false,
        &option(3, b""),
    );
    assert_eq!(nsid(&serve(&zone, &request, UDP)), None, "off by default");
    for (octets, room) in [(1162, true), (1163, false), (1172, false)] {
        let zone = Zone::mesh().with("v.mesh.example", &"x".repeat(octets), 300);
        let answer = ask(&zone, &option(3, b""));
        assert_eq!(nsid(&answer).is_some(), room, "{octets}");
        assert_eq!(read(&answer).answers.len(), 1);
    }
}

#[test]
fn an_explanation_gives_way_where_it_has_no_room() {
    let request = with_opt(query("v.mesh.example", Rtype::TXT), 512, 0, false, &[]);
    let parsed = Query::parse(&request).unwrap();
    let explained = |text: &str| {
        let reply = Reply {
            rcode: Rcode::REFUSED,
            standing: Standing::Authoritative,
            error: Some(ExtendedError { code: 18, text }),
        };
        let mut out = [0; 1232];
        let written = respond(&parsed, reply, UDP, &mut out);
        assert!(written.len <= 512);
        read(&out[..written.len]).extended_error.unwrap()
    };
    let room = 512 - request.len() - 6;
    assert_eq!(explained(&"x".repeat(room)), (18, "x".repeat(room)));
    assert_eq!(explained(&"x".repeat(room + 1)), (18, String::new()));
}

#[test]
fn a_limited_client_is_told_how_to_come_through_in_no_more_octets_than_it_sent() {
    let cases = [
        (query("v.mesh.example", Rtype::TXT), true, Rcode::NOERROR),
        (
            with_opt(
                query("v.mesh.example", Rtype::TXT),
                1232,
                0,
                false,
                &option(3, b""),
            ),
            true,
            Rcode::NOERROR,
        ),
        (
            with_cookie(query("v.mesh.example", Rtype::TXT), &[1; 16]),
            false,
            Rcode::BADCOOKIE,
        ),
    ];
    for (request, truncated, rcode) in cases {
        let query = Query::parse(&request).unwrap();
        let exchange = Exchange {
            cookie: secrets().judge(query.cookie(), ADDRESS, NOW),
            nsid: Some(b"a long identifier of this node"),
            ..UDP
        };
        let mut out = [0; 1232];
        let slip = slipped(&query, exchange, &mut out);
        let response = read(&out[..slip.len]);
        assert!(slip.len <= request.len());
        assert_eq!((response.truncated, response.rcode), (truncated, rcode));
        assert_eq!(response.cookie().unwrap().is_some(), !truncated);
    }
    let mut update = query("mesh.example", Rtype::SOA);
    update[2] = 5 << 3;
    let mut out = [0; 1232];
    let slip = slipped(&Query::parse(&update).unwrap(), UDP, &mut out);
    let response = read(&out[..slip.len]);
    assert_eq!(
        (response.truncated, response.rcode),
        (true, Rcode::SERVFAIL)
    );
}

#[test]
fn a_client_sends_its_cookie_and_reads_the_servers() {
    let zone = Zone::mesh().with("v.mesh.example", "v", 300);
    let client = QueryBuilder::new(name("v.mesh.example"), Rtype::TXT);
    let ask = |server: &[u8]| {
        let cookie = Cookie {
            client: CLIENT,
            server,
        };
        let request = client.clone().with_cookie(cookie).build(1);
        assert_eq!(Query::parse(&request).unwrap().cookie(), Some(cookie));
        serve_judged(&zone, &request, UDP)
    };
    let first = learnt(&ask(&[]));
    assert_eq!(learnt(&ask(&first)), first);
    let tcp = Exchange::new(Transport::Tcp, NOW);
    let request = with_cookie(query("v.mesh.example", Rtype::TXT), &[]);
    assert_eq!(
        learnt(&serve_judged(&zone, &request, tcp)),
        first,
        "over TCP too"
    );

    let mut bent = serve(
        &zone,
        &with_opt(query("v.mesh.example", Rtype::TXT), 1232, 0, false, &[]),
        UDP,
    );
    let at = bent.len() - 1;
    bent[at] = 5;
    bent.extend_from_slice(&[0, 10, 0, 1, 0]);
    assert!(read(&bent).cookie().is_err(), "no cookie has one octet");
}
