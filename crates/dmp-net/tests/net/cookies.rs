//! Cookies from the client's side (RFC 7873 5.1-5.3, client.md 4.1).

use dmp_dns::Rcode;
use dmp_dns::query::Query;
use dmp_net::{Lookup, PoolOptions, ResolverPool};

use crate::server::*;

fn pool(server: &Server) -> ResolverPool {
    ResolverPool::new(vec![server.address], PoolOptions::default()).unwrap()
}

/// Client and server cookie of a request.
fn shown(request: &[u8]) -> Option<([u8; 8], Vec<u8>)> {
    let cookie = Query::parse(request).unwrap().cookie()?;
    Some((cookie.client, cookie.server.to_vec()))
}

fn all_shown(server: &Server) -> Vec<Option<([u8; 8], Vec<u8>)>> {
    let log = server.log();
    log.iter().map(|(_, request)| shown(request)).collect()
}

/// Adds an OPT record with these data of a COOKIE option, and the upper bits of the response code.
fn with_cookie(mut answer: Vec<u8>, rcode: Rcode, data: &[u8]) -> Vec<u8> {
    answer[3] = (rcode.0 & 15) as u8;
    answer[11] = 1;
    answer.extend_from_slice(&[0, 0, 41, 4, 0xd0, (rcode.0 >> 4) as u8, 0, 0, 0, 0]);
    answer.extend_from_slice(&[4 + data.len() as u8, 0, 10, 0, data.len() as u8]);
    answer.extend_from_slice(data);
    answer
}

/// The value, and the client's cookie with this server cookie.
fn found_with(request: &[u8], text: &str, server: &[u8]) -> Vec<u8> {
    let answer = found(request, text).remove(0);
    match shown(request) {
        Some((client, _)) => with_cookie(answer, Rcode::NOERROR, &[&client, server].concat()),
        None => answer,
    }
}

fn value_of(lookup: Lookup) -> String {
    match lookup {
        Lookup::Found(mut values) => values.remove(0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_query_shows_the_clients_cookie_and_later_ones_the_servers_too() {
    let server = Server::start(|_, request| vec![found_with(request, "v", &[7; 16])]).await;
    let pool = pool(&server);
    for _ in 0..3 {
        assert_eq!(value_of(pool.txt(&name("a.test")).await), "v");
    }
    let shown = all_shown(&server);
    let client = shown[0].clone().unwrap().0;
    assert_eq!(shown[0], Some((client, vec![])));
    assert_eq!(shown[1], Some((client, vec![7; 16])));
    assert_eq!(shown[2], Some((client, vec![7; 16])));
    assert_eq!(server.transports(), [Via::Udp; 3]);

    let other = Server::start(|_, request| vec![found_with(request, "v", &[7; 16])]).await;
    self::pool(&other).txt(&name("a.test")).await;
    let others = all_shown(&other)[0].clone().unwrap();
    assert_ne!(
        others.0, client,
        "no two servers can tell that it is one client"
    );
}

#[tokio::test]
async fn badcookie_is_tried_once_more_with_the_cookie_that_came_and_then_over_tcp() {
    let good = Server::start(|_, request| {
        let (client, server) = shown(request).unwrap();
        if server == [7; 16] {
            return vec![found_with(request, "v", &server)];
        }
        let told = answer(request, Rcode::NOERROR, &[]);
        let pair = [&client[..], &[7; 16]].concat();
        vec![with_cookie(told, Rcode::BADCOOKIE, &pair)]
    })
    .await;
    assert_eq!(value_of(pool(&good).txt(&name("a.test")).await), "v");
    assert_eq!(good.transports(), [Via::Udp; 2]);

    let stubborn = Server::start(|via, request| match via {
        Via::Tcp => found(request, "v"),
        Via::Udp => {
            let (client, _) = shown(request).unwrap();
            let told = answer(request, Rcode::NOERROR, &[]);
            let pair = [&client[..], &[7; 16]].concat();
            vec![with_cookie(told, Rcode::BADCOOKIE, &pair)]
        }
    })
    .await;
    assert_eq!(value_of(pool(&stubborn).txt(&name("a.test")).await), "v");
    assert_eq!(stubborn.transports(), [Via::Udp, Via::Udp, Via::Tcp]);
}

#[tokio::test]
async fn an_answer_with_a_cookie_of_somebody_else_is_not_an_answer() {
    let server = Server::start(|_, request| {
        let forged = found(request, "forged").remove(0);
        let others = with_cookie(forged.clone(), Rcode::NOERROR, &[9; 24]);
        let broken = with_cookie(forged, Rcode::NOERROR, &[9; 11]);
        vec![others, broken, found_with(request, "true", &[7; 16])]
    })
    .await;
    assert_eq!(value_of(pool(&server).txt(&name("a.test")).await), "true");
}

#[tokio::test]
async fn an_answer_without_the_cookie_that_the_server_used_to_send_is_confirmed_over_tcp() {
    let server = Server::start(|via, request| {
        let known = shown(request).is_some_and(|(_, server)| !server.is_empty());
        match (via, known) {
            (Via::Udp, false) => vec![found_with(request, "first", &[7; 16])],
            (Via::Udp, true) => found(request, "perhaps forged"),
            (Via::Tcp, _) => found(request, "true"),
        }
    })
    .await;
    let pool = pool(&server);
    assert_eq!(value_of(pool.txt(&name("a.test")).await), "first");
    assert_eq!(value_of(pool.txt(&name("a.test")).await), "true");
    assert_eq!(
        value_of(pool.txt(&name("a.test")).await),
        "first",
        "learnt anew"
    );
}

#[tokio::test]
async fn a_server_that_does_not_understand_cookies_is_asked_without_from_then_on() {
    let server = Server::start(|_, request| match shown(request) {
        Some(_) => vec![answer(request, Rcode::FORMERR, &[])],
        None => found(request, "v"),
    })
    .await;
    let pool = pool(&server);
    for _ in 0..2 {
        assert_eq!(value_of(pool.txt(&name("a.test")).await), "v");
    }
    let shown: Vec<bool> = all_shown(&server).iter().map(Option::is_some).collect();
    assert_eq!(shown, [true, false, false]);
    assert_eq!(server.transports(), [Via::Udp; 3]);
}
