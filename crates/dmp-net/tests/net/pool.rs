//! Lookups: transports, forgeries, order, and the difference between absent and unreachable.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dmp_dns::query::Query;
use dmp_dns::{Rcode, Rtype};

use dmp_net::{Dnssec, Entry, Lookup, PoolOptions, ResolverPool};

use crate::server::*;

fn pool(upstreams: &[SocketAddr]) -> ResolverPool {
    ResolverPool::new(upstreams.to_vec(), PoolOptions::default()).unwrap()
}

/// For upstreams that stay silent: long enough for an answer of the others, short enough for a test.
fn impatient(upstreams: &[SocketAddr]) -> ResolverPool {
    let timeout = Duration::from_millis(250);
    ResolverPool::new(
        upstreams.to_vec(),
        PoolOptions {
            timeout,
            total: 2 * timeout,
            ..PoolOptions::default()
        },
    )
    .unwrap()
}

/// A name with letters enough that chance does not bring its case back.
const LONG: &str = "abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.test";

fn found_texts(values: &[&str]) -> Lookup {
    Lookup::Found(values.iter().map(|value| (*value).to_owned()).collect())
}

#[tokio::test]
async fn values_come_back_joined_and_one_that_is_not_utf8_is_skipped_alone() {
    let long = "v".repeat(700);
    let records = vec![
        value(&long),
        (Rtype::TXT, b"\x01\xff".to_vec()),
        value("other"),
    ];
    let server =
        Server::start(move |_, request| vec![answer(request, Rcode::NOERROR, &records)]).await;
    assert_eq!(
        pool(&[server.address]).txt(&name("a.test")).await,
        found_texts(&[&long, "other"])
    );

    let only = Server::start(|_, request| {
        vec![answer(
            request,
            Rcode::NOERROR,
            &[(Rtype::TXT, b"\x01\xff".to_vec())],
        )]
    })
    .await;
    assert_eq!(
        pool(&[only.address]).txt(&name("a.test")).await,
        Lookup::Absent
    );
}

#[tokio::test]
async fn a_query_asks_for_recursion_with_edns_1232_and_random_case() {
    let server = Server::start(|_, request| found(request, "x")).await;
    let pool = pool(&[server.address]);
    let asked = name(LONG);
    pool.txt(&asked).await;
    pool.txt(&asked).await;
    let log = server.log();
    let queries: Vec<Query<'_>> = log
        .iter()
        .map(|(_, message)| Query::parse(message).unwrap())
        .collect();
    assert!(
        queries
            .iter()
            .all(|query| query.message()[2] == 1 && query.edns().unwrap().payload == 1232)
    );
    assert_ne!(queries[0].name(), queries[1].name());
    assert!(queries[0].name().eq_ignore_ascii_case(asked.as_wire()));
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp_with_the_full_payload() {
    let server = Server::start(|via, request| match via {
        Via::Udp => vec![truncated(answer(request, Rcode::NOERROR, &[]))],
        Via::Tcp => found(request, "whole"),
    })
    .await;
    assert_eq!(
        pool(&[server.address]).txt(&name("a.test")).await,
        found_texts(&["whole"])
    );
    assert_eq!(server.transports(), [Via::Udp, Via::Tcp]);
    assert_eq!(
        Query::parse(&server.log()[1].1)
            .unwrap()
            .edns()
            .unwrap()
            .payload,
        65_535
    );
}

/// The answer with its question in capitals.
fn shouted(request: &[u8], text: &str) -> Vec<u8> {
    let mut answer = found(request, text).remove(0);
    let question = 12..12 + Query::parse(request).unwrap().name().len();
    answer[question].make_ascii_uppercase();
    answer
}

#[tokio::test]
async fn an_answer_in_other_case_is_confirmed_over_tcp_and_udp_left_alone_if_the_server_folds_there_too()
 {
    let server = Server::start(|via, request| {
        let forged = via == Via::Udp;
        vec![shouted(
            request,
            if forged { "perhaps forged" } else { "true" },
        )]
    })
    .await;
    let pool = pool(&[server.address]);
    for _ in 0..2 {
        assert_eq!(pool.txt(&name(LONG)).await, found_texts(&["true"]));
    }
    assert_eq!(server.transports(), [Via::Udp, Via::Tcp, Via::Tcp]);

    let forger = Server::start(|via, request| match via {
        Via::Udp => vec![shouted(request, "forged")],
        Via::Tcp => found(request, "true"),
    })
    .await;
    let pool = self::pool(&[forger.address]);
    for _ in 0..2 {
        assert_eq!(pool.txt(&name(LONG)).await, found_texts(&["true"]));
    }
    let both = [Via::Udp, Via::Tcp, Via::Udp, Via::Tcp];
    assert_eq!(
        forger.transports(),
        both,
        "it keeps case, so UDP stays worth a try"
    );
}

#[tokio::test]
async fn a_server_that_folds_case_and_has_no_tcp_is_believed_when_two_answers_agree() {
    let honest = Server::start_udp(|request| vec![shouted(request, "true")]).await;
    let pool = pool(&[honest.address]);
    assert_eq!(pool.txt(&name(LONG)).await, found_texts(&["true"]));
    let log = honest.log();
    assert_ne!(log[0].1[..2], log[1].1[..2], "asked anew, with another id");

    let count = std::sync::atomic::AtomicUsize::new(0);
    let forger = Server::start_udp(move |request| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        vec![shouted(request, if count == 0 { "forged" } else { "true" })]
    })
    .await;
    assert!(matches!(
        self::pool(&[forger.address]).txt(&name(LONG)).await,
        Lookup::Unreachable(_)
    ));
}

#[tokio::test]
async fn a_server_that_takes_edns_for_an_error_is_asked_without_from_then_on() {
    for rcode in [Rcode::FORMERR, Rcode::NOTIMP] {
        let server = Server::start(
            move |_, request| match Query::parse(request).unwrap().edns() {
                Some(_) => vec![answer(request, rcode, &[])],
                None => found(request, "v"),
            },
        )
        .await;
        let pool = pool(&[server.address]);
        for _ in 0..2 {
            assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["v"]));
        }
        let log = server.log();
        let edns: Vec<bool> = log
            .iter()
            .map(|(_, request)| Query::parse(request).unwrap().edns().is_some())
            .collect();
        assert_eq!(
            edns,
            [true, true, false, false],
            "with cookie, without, not at all"
        );
    }
}

#[tokio::test]
async fn a_server_that_takes_edns_for_an_error_over_tcp_is_asked_without_there_too() {
    let server = Server::start(
        |via, request| match (via, Query::parse(request).unwrap().edns()) {
            (Via::Udp, _) => vec![truncated(answer(request, Rcode::NOERROR, &[]))],
            (Via::Tcp, Some(_)) => vec![answer(request, Rcode::FORMERR, &[])],
            (Via::Tcp, None) => found(request, "v"),
        },
    )
    .await;
    assert_eq!(
        pool(&[server.address]).txt(&name("a.test")).await,
        found_texts(&["v"])
    );
}

#[tokio::test]
async fn an_error_in_every_form_is_an_error() {
    let server = Server::start(says(Rcode::FORMERR)).await;
    let Lookup::Unreachable(why) = pool(&[server.address]).txt(&name("a.test")).await else {
        panic!("nothing was answered");
    };
    assert!(why.contains("FORMERR"), "{why}");
}

#[tokio::test]
async fn an_answer_larger_than_what_was_asked_for_is_read_whole() {
    let long = "v".repeat(4000);
    let server = Server::start(|_, request| found(request, &"v".repeat(4000))).await;
    assert_eq!(
        pool(&[server.address]).txt(&name("a.test")).await,
        found_texts(&[&long])
    );
    assert_eq!(server.transports(), [Via::Udp]);
}

#[tokio::test]
async fn forged_answers_do_not_end_the_wait() {
    let server = Server::start(|_, request| {
        let genuine = found(request, "genuine").remove(0);
        let mut wrong_id = found(request, "forged").remove(0);
        wrong_id[0] ^= 1;
        let mut wrong_question = found(request, "forged").remove(0);
        wrong_question[13] = b'z';
        vec![
            vec![],
            b"garbage".to_vec(),
            vec![0xff; 65_000],
            request.to_vec(),
            wrong_id,
            wrong_question,
            genuine,
        ]
    })
    .await;
    assert_eq!(
        pool(&[server.address]).txt(&name("a.test")).await,
        found_texts(&["genuine"])
    );
    assert_eq!(server.transports(), [Via::Udp]);
}

#[tokio::test]
async fn a_flood_of_forged_answers_does_not_outlast_the_deadline() {
    let server = Server::start(|_, request| {
        let mut forged = found(request, "forged").remove(0);
        (0..2000u16)
            .map(|id| {
                let own = u16::from_be_bytes([request[0], request[1]]);
                forged[..2].copy_from_slice(&own.wrapping_add(1 + id).to_be_bytes());
                forged.clone()
            })
            .collect()
    })
    .await;
    let pool = impatient(&[server.address]);
    assert!(matches!(
        pool.txt(&name("a.test")).await,
        Lookup::Unreachable(_)
    ));
}

#[tokio::test]
async fn resolvers_are_reached_over_ipv6_too() {
    let socket = std::net::UdpSocket::bind("[::1]:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut request = [0; 1500];
        let (length, from) = socket.recv_from(&mut request).unwrap();
        let answer = found(&request[..length], "six").remove(0);
        socket.send_to(&answer, from).unwrap();
    });
    assert_eq!(
        pool(&[address]).txt(&name("a.test")).await,
        found_texts(&["six"])
    );
}

#[tokio::test]
async fn silence_on_udp_is_asked_again_and_then_over_tcp_before_it_counts() {
    let server = Server::start(|via, request| {
        if via == Via::Udp {
            vec![]
        } else {
            found(request, "over tcp")
        }
    })
    .await;
    let pool = impatient(&[server.address]);
    assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["over tcp"]));
    assert_eq!(server.transports(), [Via::Udp, Via::Udp, Via::Tcp]);
    let log = server.log();
    assert_eq!(log[0], log[1], "the identical datagram");
}

#[tokio::test]
async fn errors_and_dead_upstreams_lead_to_the_next_one() {
    let refusing = Server::start(says(Rcode::REFUSED)).await;
    let failing = Server::start(says(Rcode::SERVFAIL)).await;
    let good = Server::start(|_, request| found(request, "here")).await;
    let pool = pool(&[
        closed().await,
        refusing.address,
        failing.address,
        good.address,
    ]);
    assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["here"]));
    assert_eq!(pool.txt(&name("b.test")).await, found_texts(&["here"]));
    assert_eq!(
        refusing.log().len(),
        1,
        "who failed cools down and is asked last"
    );
}

#[tokio::test]
async fn absent_and_unreachable_are_different() {
    let absent = Server::start(says(Rcode::NXDOMAIN)).await;
    let empty = Server::start(says(Rcode::NOERROR)).await;
    let refusing = Server::start(says(Rcode::REFUSED)).await;
    assert_eq!(
        pool(&[absent.address]).txt(&name("a.test")).await,
        Lookup::Absent
    );
    assert_eq!(
        pool(&[empty.address]).txt(&name("a.test")).await,
        Lookup::Absent
    );
    assert_eq!(
        pool(&[refusing.address, absent.address])
            .txt(&name("a.test"))
            .await,
        Lookup::Absent
    );
    let Lookup::Unreachable(why) = pool(&[refusing.address, closed().await])
        .txt(&name("a.test"))
        .await
    else {
        panic!("nobody could be asked");
    };
    assert!(
        why.contains("REFUSED") && why.contains(&refusing.address.to_string()),
        "{why}"
    );
}

#[tokio::test]
async fn who_denies_what_another_has_is_asked_last() {
    let liar = Server::start(says(Rcode::NXDOMAIN)).await;
    let honest = Server::start(|_, request| found(request, "here")).await;
    let pool = pool(&[liar.address, honest.address]);
    for _ in 0..3 {
        assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["here"]));
    }
    assert_eq!((liar.log().len(), honest.log().len()), (1, 3));
}

#[tokio::test]
async fn an_upstream_that_timed_out_twice_is_skipped_for_the_rest_of_the_run() {
    let silent = Server::start(|_, _| vec![]).await;
    let pool = impatient(&[silent.address]);
    for _ in 0..2 {
        assert!(matches!(
            pool.txt(&name("a.test")).await,
            Lookup::Unreachable(_)
        ));
    }
    let asked = silent.log().len();
    let begun = Instant::now();
    assert!(matches!(
        pool.txt(&name("a.test")).await,
        Lookup::Unreachable(_)
    ));
    assert!(begun.elapsed() < Duration::from_millis(250));
    assert_eq!(silent.log().len(), asked);
}

/// A pool that does not wait long for a silent upstream, but long enough for one that answers.
fn hedging(upstreams: &[SocketAddr]) -> ResolverPool {
    let options = PoolOptions {
        hedge: Duration::from_millis(250),
        ..PoolOptions::default()
    };
    ResolverPool::new(upstreams.to_vec(), options).unwrap()
}

#[tokio::test]
async fn a_silent_upstream_does_not_hold_up_the_next_one_and_is_asked_last_then() {
    let silent = Server::start(|_, _| vec![]).await;
    let good = Server::start(|_, request| found(request, "here")).await;
    let pool = hedging(&[silent.address, good.address]);
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["here"]));
    }
    assert!(
        begun.elapsed() < PoolOptions::default().timeout,
        "no timeout was waited for"
    );
    assert_eq!((silent.log().len(), good.log().len()), (1, 5));
}

#[tokio::test]
async fn no_more_than_three_upstreams_are_asked_at_once() {
    let silent = [
        Server::start(|_, _| vec![]).await,
        Server::start(|_, _| vec![]).await,
        Server::start(|_, _| vec![]).await,
    ];
    let spare = Server::start(|_, request| found(request, "here")).await;
    let addresses = [&silent[0], &silent[1], &silent[2], &spare].map(|server| server.address);
    let timeout = Duration::from_millis(400);
    let options = PoolOptions {
        timeout,
        total: timeout,
        hedge: Duration::from_millis(20),
        ..PoolOptions::default()
    };
    let pool = ResolverPool::new(addresses.to_vec(), options).unwrap();
    let begun = Instant::now();
    assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["here"]));
    assert!(
        begun.elapsed() >= timeout,
        "the fourth waits for one of the three"
    );
    assert!(silent.iter().all(|server| !server.log().is_empty()));
}

#[tokio::test]
async fn a_denial_waits_for_the_others_and_a_found_value_convicts_it_also_when_asked_side_by_side()
{
    let liar = Server::start(says(Rcode::NXDOMAIN)).await;
    let slow = Server::start_delayed(Duration::from_millis(100), |_, request| {
        found(request, "here")
    })
    .await;
    let pool = hedging(&[liar.address, slow.address]);
    for _ in 0..2 {
        assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["here"]));
    }
    assert_eq!(pool.upstreams().len(), 2);
    let second: Vec<_> = liar.log().into_iter().skip(1).collect();
    assert!(
        slow.log().len() == 2 && second.len() <= 1,
        "asked last, if at all"
    );
}

#[tokio::test]
async fn the_deadline_of_a_query_holds_whoever_is_asked() {
    let silent = Server::start(|_, _| vec![]).await;
    let options = PoolOptions {
        deadline: Duration::from_millis(50),
        ..PoolOptions::default()
    };
    let pool = ResolverPool::new(vec![silent.address], options).unwrap();
    let begun = Instant::now();
    assert!(matches!(
        pool.txt(&name("a.test")).await,
        Lookup::Unreachable(_)
    ));
    assert!(begun.elapsed() < options.timeout);
}

#[tokio::test]
async fn invented_text_neither_hides_a_record_nor_convicts_anybody() {
    let inventing = Server::start(|_, request| found(request, "buy our service")).await;
    let denying = Server::start(says(Rcode::NXDOMAIN)).await;
    let honest = Server::start(|_, request| found(request, "v=dmp1;here")).await;
    let options = PoolOptions {
        plausible: |text| text.starts_with("v=dmp"),
        ..PoolOptions::default()
    };
    let pool_of =
        |upstreams: &[SocketAddr]| ResolverPool::new(upstreams.to_vec(), options).unwrap();
    let pool = pool_of(&[inventing.address, denying.address, honest.address]);
    for _ in 0..2 {
        assert_eq!(
            pool.txt(&name("a.test")).await,
            found_texts(&["v=dmp1;here"])
        );
    }
    assert_eq!(
        (inventing.log().len(), denying.log().len()),
        (1, 1),
        "both were convicted"
    );

    let pool = pool_of(&[inventing.address, denying.address]);
    for asked in 2..4 {
        assert_eq!(pool.txt(&name("a.test")).await, Lookup::Absent);
        assert_eq!(
            (inventing.log().len(), denying.log().len()),
            (asked, asked),
            "nobody was"
        );
    }
}

#[tokio::test]
async fn a_new_run_asks_everybody_again() {
    let silent = Server::start(|_, _| vec![]).await;
    let pool = impatient(&[silent.address]);
    for _ in 0..3 {
        pool.txt(&name("a.test")).await;
    }
    let asked = silent.log().len();
    pool.begin_run();
    pool.txt(&name("a.test")).await;
    assert!(silent.log().len() > asked);
}

#[tokio::test]
async fn many_queries_run_side_by_side() {
    let server = Server::start(|_, request| found(request, "x")).await;
    let pool = std::sync::Arc::new(pool(&[server.address]));
    let lookups: Vec<_> = (0..100)
        .map(|index| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.txt(&name(&format!("n{index}.test"))).await })
        })
        .collect();
    for lookup in lookups {
        assert_eq!(lookup.await.unwrap(), found_texts(&["x"]));
    }
    assert_eq!(server.log().len(), 100);
}

#[tokio::test]
async fn required_dnssec_drops_answers_without_ad() {
    let plain = Server::start(|_, request| found(request, "plain")).await;
    let validated = Server::start(|_, request| {
        let mut answer = found(request, "validated").remove(0);
        answer[3] |= 0x20;
        vec![answer]
    })
    .await;
    let options = PoolOptions {
        dnssec: Dnssec::Requested,
        ..PoolOptions::default()
    };
    let pool = ResolverPool::new(vec![plain.address, validated.address], options).unwrap();
    assert_eq!(pool.txt(&name("a.test")).await, found_texts(&["validated"]));
    let log = plain.log();
    let edns = *Query::parse(&log[0].1).unwrap().edns().unwrap();
    assert!(edns.dnssec_ok && edns.payload == 4096);
}

#[tokio::test]
async fn required_dnssec_takes_no_denial_without_ad_and_says_who_did_not_validate() {
    let options = PoolOptions {
        dnssec: Dnssec::Requested,
        ..PoolOptions::default()
    };
    let pool_of = |server: &Server| ResolverPool::new(vec![server.address], options).unwrap();
    for rcode in [Rcode::NXDOMAIN, Rcode::NOERROR] {
        let plain = Server::start(says(rcode)).await;
        let pool = pool_of(&plain);
        let unreachable = |lookup| match lookup {
            Lookup::Unreachable(why) => why,
            other => panic!("{other:?}"),
        };
        let why = unreachable(pool.txt(&name("a.test")).await);
        assert!(
            why.contains("did not validate") && why.contains(&plain.address.to_string()),
            "{why}"
        );
        assert!(matches!(
            pool.addresses(&name("a.test")).await,
            Lookup::Unreachable(_)
        ));

        let validated = Server::start(move |_, request| {
            let mut answer = answer(request, rcode, &[]);
            answer[3] |= 0x20;
            vec![answer]
        })
        .await;
        assert_eq!(
            pool_of(&validated).txt(&name("a.test")).await,
            Lookup::Absent
        );
    }
    let hostile = Server::start(says(Rcode::FORMERR)).await;
    pool_of(&hostile).txt(&name("a.test")).await;
    let log = hostile.log();
    let edns = |request: &[u8]| Query::parse(request).unwrap().edns().is_some();
    assert!(
        log.iter().all(|(_, request)| edns(request)),
        "never without EDNS"
    );
}

#[tokio::test]
async fn addresses_are_a_before_aaaa_and_name_servers_are_names() {
    let server = Server::start(|_, request| {
        let query = Query::parse(request).unwrap();
        let host = query.name().get(1).copied();
        let records = match (query.rtype(), host) {
            (Rtype::A, Some(b'a' | b'A')) => vec![(Rtype::A, vec![192, 0, 2, 1])],
            (Rtype::AAAA, _) => vec![(
                Rtype::AAAA,
                vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            )],
            (Rtype::NS, _) => vec![(Rtype::NS, name("ns.test").as_wire().to_vec())],
            _ => vec![],
        };
        vec![answer(request, Rcode::NOERROR, &records)]
    })
    .await;
    let pool = pool(&[server.address]);
    assert_eq!(
        pool.addresses(&name("a.test")).await,
        Lookup::Found(vec!["192.0.2.1".parse().unwrap()])
    );
    assert_eq!(
        pool.addresses(&name("b.test")).await,
        Lookup::Found(vec!["2001:db8::1".parse().unwrap()])
    );
    assert_eq!(
        pool.name_servers(&name("b.test")).await,
        Lookup::Found(vec![name("ns.test")])
    );
}

#[test]
fn a_pool_of_nobody_cannot_be_made_and_the_system_has_one() {
    assert!(ResolverPool::new(Vec::<Entry>::new(), PoolOptions::default()).is_err());
    assert!(
        !ResolverPool::system(PoolOptions::system())
            .upstreams()
            .is_empty()
    );
}
