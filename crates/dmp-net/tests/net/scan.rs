//! What a scan finds out about resolvers of every kind (product.md "doctor network"; federation.md 7.3).

use std::time::Duration;

use dmp_dns::query::Query;
use dmp_dns::{Name, Rcode, Rtype};
use dmp_net::Upstream;
use dmp_net::scan::{Probes, Reach, ResolverReport, Verdict, discover, scan};

use crate::server::*;

/// Long enough for loopback on a busy machine, short enough to wait for silence.
const PATIENCE: Duration = Duration::from_millis(600);
const DNSKEY: Rtype = Rtype(48);

fn probes() -> Probes {
    Probes {
        present: name("present.test"),
        signed: name("signed.test"),
        large: name("large.test"),
        bogus: name("bogus.test"),
        ..Probes::default()
    }
}

fn asked(request: &[u8]) -> (Name, Rtype) {
    let query = Query::parse(request).unwrap();
    let name = Name::from_wire(query.name()).unwrap();
    (name, query.rtype())
}

/// A validating resolver without faults.
fn good(request: &[u8]) -> Vec<u8> {
    let (name, rtype) = asked(request);
    let probes = probes();
    if name == probes.present {
        answer(request, Rcode::NOERROR, &[value("x")])
    } else if name == probes.signed && rtype == DNSKEY {
        let mut answer = answer(request, Rcode::NOERROR, &[(DNSKEY, vec![1; 800])]);
        answer[3] |= 0x20;
        answer
    } else if name == probes.large {
        answer(request, Rcode::NOERROR, &[value(&"v".repeat(2000))])
    } else if name == probes.bogus {
        answer(request, Rcode::SERVFAIL, &[])
    } else {
        answer(request, Rcode::NXDOMAIN, &[])
    }
}

async fn report_of(server: &Server) -> ResolverReport {
    let reports = scan(&[Upstream::from(server.address)], &probes(), PATIENCE).await;
    reports.into_iter().next().unwrap()
}

async fn report(
    respond: impl Fn(Via, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> ResolverReport {
    report_of(&Server::start(respond).await).await
}

fn says_no(verdict: &Verdict, about: &str) -> bool {
    matches!(verdict, Verdict::No(reason) if reason.contains(about))
}

#[tokio::test]
async fn a_good_resolver_is_good_in_every_respect() {
    let server = Server::start(|_, request| vec![good(request)]).await;
    let report = report_of(&server).await;
    assert_eq!(report.upstream.to_string(), server.address.to_string());
    assert!(matches!(
        (&report.udp, &report.tcp),
        (Reach::Answers(_), Reach::Answers(_))
    ));
    assert_eq!(report.payload, Some(4096));
    let verdicts = [
        &report.edns,
        &report.txt,
        &report.case,
        &report.nxdomain,
        &report.dnssec,
    ];
    assert_eq!(verdicts, [&Verdict::Yes; 5]);
    assert!(report.is_usable() && report.latency().is_some());
}

#[tokio::test]
async fn a_resolver_that_invents_what_does_not_exist_is_not_usable() {
    let portal = report(|_, request| match asked(request) {
        (_, Rtype::A) => vec![answer(
            request,
            Rcode::NOERROR,
            &[(Rtype::A, vec![192, 0, 2, 9])],
        )],
        _ => vec![good(request)],
    })
    .await;
    assert!(says_no(&portal.nxdomain, "192.0.2.9"), "{portal:?}");
    assert!(says_no(&portal.dnssec, "signed wrongly"));
    assert!(!portal.is_usable());

    let wildcard = report(|_, request| found(request, "anything")).await;
    assert!(says_no(&wildcard.nxdomain, "invents text"), "{wildcard:?}");

    let failing = report(|_, request| match asked(request).0 {
        name if name == probes().present => vec![good(request)],
        _ => vec![answer(request, Rcode::REFUSED, &[])],
    })
    .await;
    assert!(says_no(&failing.nxdomain, "REFUSED"), "{failing:?}");
}

#[tokio::test]
async fn a_resolver_that_folds_case_is_found_out() {
    let report = report(|_, request| {
        let mut answer = good(request);
        let question = 12..12 + Query::parse(request).unwrap().name().len();
        answer[question].make_ascii_lowercase();
        vec![answer]
    })
    .await;
    assert!(says_no(&report.case, "letters"), "{report:?}");
    assert!(report.is_usable());
}

#[tokio::test]
async fn a_resolver_that_does_not_know_edns_still_answers_without() {
    let report = report(|_, request| match Query::parse(request).unwrap().edns() {
        Some(_) => vec![answer(request, Rcode::FORMERR, &[])],
        None => vec![good(request)],
    })
    .await;
    assert!(says_no(&report.edns, "FORMERR"), "{report:?}");
    assert!(says_no(&report.dnssec, "AD is missing"));
    assert_eq!(report.payload, Some(512));
    assert!(report.is_usable());
}

#[tokio::test]
async fn sizes_that_do_not_come_through_are_found_out() {
    let lossy = |limit: usize| {
        report(move |via, request| {
            let answer = good(request);
            let fits = via == Via::Tcp || answer.len() <= limit;
            fits.then_some(answer).into_iter().collect()
        })
    };
    let (small, medium) = tokio::join!(lossy(512), lossy(1232));
    assert_eq!((small.payload, medium.payload), (Some(512), Some(1232)));
    assert_eq!(
        (&small.dnssec, &medium.dnssec),
        (&Verdict::Unknown, &Verdict::Yes)
    );

    let cut = report(|via, request| match good(request) {
        answer if via == Via::Udp && answer.len() > 512 => vec![truncated(answer)],
        answer => vec![answer],
    })
    .await;
    assert_eq!(
        cut.payload,
        Some(512),
        "a truncated answer did not come whole"
    );
}

#[tokio::test]
async fn reach_is_told_for_each_transport() {
    let udp_only = report(|via, request| match via {
        Via::Udp => vec![good(request)],
        Via::Tcp => vec![],
    });
    let tcp_only = report(|via, request| match via {
        Via::Udp => vec![],
        Via::Tcp => vec![good(request)],
    });
    let (udp_only, tcp_only) = tokio::join!(udp_only, tcp_only);
    assert!(
        matches!(udp_only.tcp, Reach::Fails(_)) && udp_only.is_usable(),
        "{udp_only:?}"
    );
    assert!(
        matches!(tcp_only.udp, Reach::Fails(_)) && tcp_only.is_usable(),
        "{tcp_only:?}"
    );
    assert_eq!(tcp_only.payload, None);
    assert_eq!(
        (tcp_only.nxdomain, tcp_only.dnssec),
        (Verdict::Yes, Verdict::Yes)
    );
}

#[tokio::test]
async fn dead_and_silent_resolvers_are_reported_as_such_in_the_order_asked() {
    let silent = Server::start(|_, _| vec![]).await;
    let dead = closed().await;
    let works = Server::start(|_, request| vec![good(request)]).await;
    let all = [silent.address, dead, works.address].map(Upstream::from);
    let reports = scan(&all, &probes(), PATIENCE).await;
    let usable: Vec<bool> = reports.iter().map(ResolverReport::is_usable).collect();
    assert_eq!(usable, [false, false, true]);
    assert_eq!(reports[0].udp, Reach::Fails("no answer in time".to_owned()));
    assert!(matches!(&reports[1].tcp, Reach::Fails(why) if why.contains("refused")));
    assert_eq!(
        (&reports[1].txt, reports[1].latency()),
        (&Verdict::Unknown, None)
    );
    assert!(
        silent
            .log()
            .iter()
            .all(|(_, request)| asked(request).0 == probes().present),
        "who is silent is asked nothing more"
    );
}

#[tokio::test]
async fn discovery_keeps_who_answers_with_values_or_nxdomain_each_once() {
    let values = Server::start(|_, request| found(request, "x")).await;
    let absent = Server::start(says(Rcode::NXDOMAIN)).await;
    let empty = Server::start(says(Rcode::NOERROR)).await;
    let failing = Server::start(says(Rcode::SERVFAIL)).await;
    let silent = Server::start(|_, _| vec![]).await;
    let long = Server::start(|via, request| match via {
        Via::Udp => vec![truncated(answer(request, Rcode::NOERROR, &[]))],
        Via::Tcp => found(request, "x"),
    })
    .await;
    let servers = [&silent, &absent, &empty, &failing, &values, &long, &values];
    let candidates = servers.map(|server| Upstream::from(server.address));
    let working = discover(&candidates, &probes(), PATIENCE).await;
    let expected = [&absent, &values, &long].map(|server| Upstream::from(server.address));
    assert_eq!(working, expected);
}
