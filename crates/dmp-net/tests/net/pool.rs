//! Lookups: transports, forgeries, order, and the difference between absent and unreachable.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dmp_dns::query::Query;
use dmp_dns::{Rcode, Rtype};
use dmp_net::exchange::Dnssec;
use dmp_net::{Entry, Lookup, PoolOptions, ResolverPool};

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
    let asked = name("abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.test");
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

#[tokio::test]
async fn an_answer_in_other_case_is_confirmed_over_tcp() {
    let server = Server::start(|via, request| {
        let mut answer = found(
            request,
            if via == Via::Udp {
                "perhaps forged"
            } else {
                "true"
            },
        )
        .remove(0);
        let end = answer.len() - 16;
        answer[12..end].make_ascii_uppercase();
        vec![answer]
    })
    .await;
    let asked = name("abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.test");
    assert_eq!(
        pool(&[server.address]).txt(&asked).await,
        found_texts(&["true"])
    );
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
