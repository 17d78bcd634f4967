//! Answering a UDP query allocates nothing (design.md 4), counted over the whole process while a real node answers.
//!
//! A binary of its own: the counting allocator is global, and tests beside this one would be counted too.

use std::alloc::System;
use std::net::UdpSocket;
use std::time::Duration;

use dmp_dns::cookie::Cookie;
use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::{Rcode, Rtype};
use dmp_node::access::Author;
use dmp_node::clock::Clock;
use dmp_node::context::{Context, Operation};
use dmp_node::listen::Listeners;
use dmp_node::settings::Settings;
use dmp_node::zone::Owner;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn answering_a_udp_query_allocates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        database: directory.path().join("dmp.db"),
        udp_threads: 2,
        zone: Some(Owner::parse("mesh.example").unwrap()),
        // The limiter counts every answer; this client is spared what follows from it.
        dns_rate_exempt: vec!["127.0.0.1".parse().unwrap()],
        ..Settings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let context = Context::open(settings, Clock::system()).unwrap();
    let publish = |owner: &str, value: String| Operation::Publish {
        owner: Owner::parse(owner).unwrap(),
        value,
        ttl: 3_000,
    };
    let operations = (0..20).map(|index| publish("full.mesh.example", format!("{index:0200}")));
    let operations = operations.chain([
        publish("a.b.mesh.example", "v".into()),
        publish("dmp.other.example", "v".into()),
    ]);
    runtime
        .block_on(context.submit(Author::Operator, operations.collect()))
        .unwrap();
    let listeners = Listeners::bind(&context).unwrap();
    let address = listeners.address();
    let running = runtime
        .block_on(async { listeners.serve(&context) })
        .unwrap();

    // One of each kind: positive, in other case, empty non-terminal, missing, too long, other types, apex, foreign, refused.
    let queries: Vec<(Vec<u8>, Rcode)> = [
        ("a.b.mesh.example", Rtype::TXT, Rcode::NOERROR),
        ("A.b.Mesh.example", Rtype::TXT, Rcode::NOERROR),
        ("b.mesh.example", Rtype::TXT, Rcode::NOERROR),
        ("none.mesh.example", Rtype::TXT, Rcode::NXDOMAIN),
        ("full.mesh.example", Rtype::TXT, Rcode::NOERROR),
        ("a.b.mesh.example", Rtype::A, Rcode::NOERROR),
        ("a.b.mesh.example", Rtype::ANY, Rcode::NOERROR),
        ("mesh.example", Rtype::SOA, Rcode::NOERROR),
        ("dmp.other.example", Rtype::TXT, Rcode::NOERROR),
        ("elsewhere.example", Rtype::TXT, Rcode::REFUSED),
    ]
    .into_iter()
    .flat_map(|(name, rtype, rcode)| {
        let cookie = Cookie {
            client: [7; 8],
            server: &[],
        };
        let builder = QueryBuilder::new(name.parse().unwrap(), rtype);
        let with_cookie = builder.clone().with_cookie(cookie).build(7);
        [(builder.build(7), rcode), (with_cookie, rcode)]
    })
    .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.connect(address).unwrap();
    let mut answer = [0; 4_096];
    // Once before, for what a thread sets up when first used, and to see that these are the answers meant.
    for (query, rcode) in &queries {
        socket.send(query).unwrap();
        let length = socket.recv(&mut answer).unwrap();
        assert_eq!(Response::parse(&answer[..length]).unwrap().rcode, *rcode);
    }

    // Other threads of the process (the test harness, the store's tick) set something up now and then; what answering
    // costs shows in every round.
    let rounds = (0..10).map(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..10 {
            for (query, _) in &queries {
                socket.send(query).unwrap();
            }
            for _ in &queries {
                socket.recv(&mut answer).unwrap();
            }
        }
        let change = region.change();
        change.allocations + change.reallocations
    });
    let rounds: Vec<usize> = rounds.collect();
    assert!(
        rounds.contains(&0),
        "allocations in rounds of 200 queries: {rounds:?}"
    );
    runtime.block_on(running.stop());
}
