//! From a host to the address an UPDATE goes to.

use dmp_dns::query::Query;
use dmp_dns::{Rcode, Rtype};
use dmp_net::target::TargetError;
use dmp_net::{PoolOptions, Resolution, ResolverPool, SystemFallback, update_target};

use crate::server::*;

async fn pool_of(server: &Server) -> ResolverPool {
    ResolverPool::new(vec![server.address], PoolOptions::default()).unwrap()
}

#[tokio::test]
async fn literals_are_taken_as_they_are() {
    for (host, expected) in [
        ("192.0.2.1", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:5353"),
        (" [2001:db8::1] ", "[2001:db8::1]:5353"),
    ] {
        assert_eq!(
            update_target(host, 5353, Resolution::System)
                .await
                .unwrap()
                .to_string(),
            expected
        );
    }
}

#[tokio::test]
async fn what_is_no_host_is_a_failure_without_a_question() {
    let server = Server::start(says(Rcode::NXDOMAIN)).await;
    let pool = pool_of(&server).await;
    for host in ["", " ", "a\0b", "a b", "a..b", "a\\.b"] {
        let outcome =
            update_target(host, 53, Resolution::Pool(&pool, SystemFallback::Allowed)).await;
        assert_eq!(outcome, Err(TargetError::Host(host.to_owned())));
    }
    assert!(server.log().is_empty());
}

#[tokio::test]
async fn without_an_address_the_name_servers_are_tried_in_order() {
    let server = Server::start(|_, request| {
        let query = Query::parse(request).unwrap();
        let lower = query.name().to_ascii_lowercase();
        let second = lower == name("ns2.test").as_wire();
        let records = match query.rtype() {
            Rtype::NS => vec![
                (Rtype::NS, name("ns1.test").as_wire().to_vec()),
                (Rtype::NS, name("ns2.test").as_wire().to_vec()),
            ],
            Rtype::A if second => vec![(Rtype::A, vec![192, 0, 2, 9])],
            _ => vec![],
        };
        vec![answer(request, Rcode::NOERROR, &records)]
    })
    .await;
    let pool = pool_of(&server).await;
    let target = update_target(
        "mesh.test",
        53,
        Resolution::Pool(&pool, SystemFallback::Forbidden),
    )
    .await;
    assert_eq!(target.unwrap().to_string(), "192.0.2.9:53");
}

/// A delegation made to send resolvers in circles or against somebody else (NXNSAttack, TsuNAME).
#[tokio::test]
async fn a_hostile_delegation_costs_no_more_than_sixteen_queries() {
    let server = Server::start(|_, request| {
        let query = Query::parse(request).unwrap();
        let records = match query.rtype() {
            Rtype::NS => (0..40)
                .map(|index| {
                    (
                        Rtype::NS,
                        name(&format!("ns{index}.victim.test")).as_wire().to_vec(),
                    )
                })
                .collect(),
            _ => vec![(Rtype::CNAME, query.name().to_vec())],
        };
        vec![answer(request, Rcode::NOERROR, &records)]
    })
    .await;
    let pool = pool_of(&server).await;
    let resolution = Resolution::Pool(&pool, SystemFallback::Forbidden);
    let outcome = update_target("mesh.test", 53, resolution).await;
    assert_eq!(outcome, Err(TargetError::Absent("mesh.test".into())));
    let asked = server.log();
    assert!(asked.len() <= 16, "{} queries", asked.len());
    let victims: std::collections::HashSet<Vec<u8>> = asked
        .iter()
        .map(|(_, request)| Query::parse(request).unwrap().name().to_ascii_lowercase())
        .collect();
    assert!(victims.len() <= 8 + 1, "{} names", victims.len());
}

#[tokio::test]
async fn with_a_pool_the_system_is_asked_only_if_that_is_allowed() {
    let server = Server::start(says(Rcode::NXDOMAIN)).await;
    let pool = pool_of(&server).await;
    let forbidden = update_target(
        "localhost",
        53,
        Resolution::Pool(&pool, SystemFallback::Forbidden),
    )
    .await;
    assert_eq!(forbidden, Err(TargetError::Absent("localhost".into())));
    let allowed = update_target(
        "localhost",
        53,
        Resolution::Pool(&pool, SystemFallback::Allowed),
    )
    .await;
    assert!(allowed.unwrap().ip().is_loopback());
    assert!(
        update_target("localhost", 53, Resolution::System)
            .await
            .unwrap()
            .ip()
            .is_loopback()
    );
}

#[tokio::test]
async fn who_cannot_be_asked_is_not_absent() {
    let pool = ResolverPool::new(vec![closed().await], PoolOptions::default()).unwrap();
    let outcome = update_target(
        "mesh.test",
        53,
        Resolution::Pool(&pool, SystemFallback::Forbidden),
    )
    .await;
    assert!(
        matches!(outcome, Err(TargetError::Unreachable { .. })),
        "{outcome:?}"
    );
}
