//! What the node does to others while it is abused: floods in memory, with the time as an argument (D12).

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use dmp_dns::answer::Transport;
use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::{Rcode, Rtype};

use super::guard::{Guard, Sender};
use super::pipeline::{self, Buffers};
use super::prefix::mapped;
use crate::access::Author;
use crate::clock::Clock;
use crate::context::{Context, Operation};
use crate::settings::Settings;
use crate::zone::Owner;

const SECOND: u64 = 1_000_000;
const NOW: u64 = 1_800_000_000;
const VICTIM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

/// A node without sockets.
struct Node {
    context: Arc<Context>,
    guard: Guard,
    buffers: Buffers,
    _directory: tempfile::TempDir,
}

impl Node {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            database: directory.path().join("dmp.db"),
            zone: Some(Owner::parse("m.test").unwrap()),
            update: true,
            ..Settings::default()
        };
        change(&mut settings);
        let context = Context::open(settings, Clock::manual(NOW * 1000)).unwrap();
        let guard = Guard::new(&context).unwrap();
        // As much as fits a datagram under a name as short as possible: the best a reflector can hope for.
        let operations = (0..5).map(|index| Operation::Publish {
            owner: Owner::parse("b.m.test").unwrap(),
            value: format!("{index}{}", "x".repeat(218)),
            ttl: 86_400,
        });
        let submitted = context.submit(Author::Operator, operations.collect());
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(submitted)
            .unwrap();
        Self {
            context,
            guard,
            buffers: Buffers::default(),
            _directory: directory,
        }
    }

    /// What goes back for a datagram from `peer` at `micros`; empty for nothing.
    fn ask(&mut self, peer: IpAddr, at: u64, message: &[u8]) -> Vec<u8> {
        self.ask_by(self.guard.udp(), peer, at, message)
    }

    fn ask_by(&mut self, transport: Transport, peer: IpAddr, at: u64, message: &[u8]) -> Vec<u8> {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let (place, reader) = (Arc::clone(&answer), self.context.zone().reader());
        let reply = Box::new(move |answer| *place.lock().unwrap() = answer);
        let sender = Sender {
            transport,
            peer: mapped(peer),
            at,
        };
        pipeline::handle(
            &self.guard,
            &reader,
            message,
            sender,
            &mut self.buffers,
            reply,
        );
        std::mem::take(&mut answer.lock().unwrap())
    }
}

fn query(name: &str) -> Vec<u8> {
    QueryBuilder::new(name.parse().unwrap(), Rtype::TXT).build(7)
}

/// An address of the victim's prefix.
fn neighbour(number: u64) -> IpAddr {
    IpAddr::from([203, 0, 113, number as u8])
}

/// Octets in and out, second by second, of a flood of `rate` requests a second from one forged prefix.
fn flood(node: &mut Node, rate: u64, seconds: u64, request: &[u8]) -> Vec<(usize, usize)> {
    let second = |second| {
        let (mut octets_in, mut octets_out) = (0, 0);
        for number in 0..rate {
            let at = second * SECOND + number * SECOND / rate;
            octets_in += request.len();
            octets_out += node.ask(neighbour(number), at, request).len();
        }
        (octets_in, octets_out)
    };
    (0..seconds).map(second).collect()
}

#[test]
fn beyond_the_burst_a_flood_gets_no_more_octets_back_than_it_sends() {
    let kinds = [
        ("b.m.test", 0),
        ("none.m.test", 0),
        ("m.test", 0),
        ("elsewhere.test", 0),
        ("m.test", 5 << 3), // an UPDATE without a signature
    ];
    for (name, opcode) in kinds {
        let mut request = query(name);
        request[2] |= opcode;
        let mut node = Node::new(|_| {});
        let full = node.ask(IpAddr::from([192, 0, 2, 1]), 0, &request);
        assert!(!full.is_empty());
        let seconds = flood(&mut node, 4_000, 12, &request);
        // The burst is used up within the first second; then any ten seconds in a row.
        for window in seconds[1..].windows(10) {
            let octets_in: usize = window.iter().map(|second| second.0).sum();
            let octets_out: usize = window.iter().map(|second| second.1).sum();
            assert!(octets_out <= octets_in, "{name}: {octets_out} {octets_in}");
        }
    }
    let mut node = Node::new(|_| {});
    let largest = node.ask(VICTIM, 0, &query("b.m.test")).len();
    assert!((1150..=1232).contains(&largest), "{largest}");
}

#[test]
fn however_slow_a_flood_is_its_prefix_gets_the_rate_in_full_answers_and_half_of_its_octets_at_most()
{
    let request = query("b.m.test");
    for rate in [100, 200, 1_000] {
        let mut node = Node::new(|_| {});
        for (octets_in, octets_out) in &flood(&mut node, rate, 10, &request)[5..] {
            // One more for the token that the second began with.
            assert!(*octets_out <= 51 * 1232 + octets_in / 2, "{rate}");
        }
    }
}

#[test]
fn what_cannot_be_read_has_a_limit_too() {
    let mut node = Node::new(|_| {});
    let garbage = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 64];
    let answers: Vec<_> = (0..1000).map(|_| node.ask(VICTIM, 0, &garbage)).collect();
    let (answered, silent) = answers.split_at(200);
    assert!(answered.iter().all(|answer| answer.len() == 12));
    assert!(silent.iter().all(Vec::is_empty));
}

#[test]
fn real_clients_of_a_prefix_in_whose_name_a_flood_comes_get_through() {
    let mut node = Node::new(|_| {});
    let (attack, wanted) = (query("b.m.test"), query("B.M.TEST"));
    flood(&mut node, 4_000, 1, &attack);
    let mut answered = 0;
    for round in 0..100 {
        let at = SECOND + round * 1000;
        for number in 0..round % 7 {
            node.ask(neighbour(number), at, &attack);
        }
        // As dmp-net does it: the same once more, and over TCP when told so or after silence.
        let tries = [at, at + 1].map(|at| node.ask(VICTIM, at, &wanted));
        let short = tries.iter().find(|answer| !answer.is_empty());
        answered += usize::from(short.is_some());
        let whole = node.ask_by(Transport::Tcp, VICTIM, at, &wanted);
        assert_eq!(Response::parse(&whole).unwrap().answers.len(), 5);
    }
    assert_eq!(
        answered, 100,
        "of two in a row one is answered or told to come by TCP"
    );
}

#[test]
fn a_cookie_proves_an_address_and_lifts_the_limit() {
    let mut node = Node::new(|settings| (settings.dns_rate, settings.dns_burst) = (0.001, 1.0));
    let ask = |node: &mut Node, peer, server: &[u8]| {
        let cookie = dmp_dns::cookie::Cookie {
            client: *b"a client",
            server,
        };
        let builder = QueryBuilder::new("b.m.test".parse().unwrap(), Rtype::TXT);
        let answer = node.ask(peer, 0, &builder.with_cookie(cookie).build(7));
        (!answer.is_empty()).then(|| Response::parse(&answer).unwrap())
    };
    let first = ask(&mut node, VICTIM, &[]).unwrap();
    assert_eq!((first.rcode, first.answers.len()), (Rcode::NOERROR, 5));
    assert!(ask(&mut node, VICTIM, &[]).is_none(), "dropped");
    // The next is given a cookie to come back with instead of being sent to TCP.
    let told = ask(&mut node, VICTIM, &[]).unwrap();
    assert_eq!((told.rcode, told.truncated), (Rcode::BADCOOKIE, false));
    let counted: Vec<_> = node.context.metrics().limited.read().collect();
    assert_eq!(counted, [("slip", 0), ("cookie", 1), ("drop", 1)]);
    let server = told.cookie().unwrap().unwrap().server.to_vec();
    for _ in 0..10 {
        let response = ask(&mut node, VICTIM, &server).unwrap();
        assert_eq!(
            (response.rcode, response.answers.len()),
            (Rcode::NOERROR, 5)
        );
    }
    assert!(
        ask(&mut node, neighbour(8), &server).is_none(),
        "a stolen cookie proves nothing about another address"
    );
    node.context.clock().advance(3601);
    let stale = ask(&mut node, VICTIM, &server).unwrap();
    assert_eq!(stale.rcode, Rcode::BADCOOKIE, "an hour is over");
}

#[test]
fn kinds_prefixes_and_exempt_addresses_have_limits_of_their_own() {
    let mut node = Node::new(|settings| {
        (settings.dns_rate, settings.dns_burst) = (0.001, 1.0);
        settings.dns_rate_exempt = vec!["198.51.100.0/24".parse().unwrap()];
    });
    let two = |node: &mut Node, peer: &str, name: &str| {
        let peer = peer.parse().unwrap();
        [0, 0].map(|at| !node.ask(peer, at, &query(name)).is_empty())
    };
    assert_eq!(two(&mut node, "203.0.113.7", "b.m.test"), [true, false]);
    assert_eq!(two(&mut node, "203.0.113.7", "x.m.test"), [true, false]);
    assert_eq!(two(&mut node, "203.0.113.7", "m.test"), [true, false]);
    assert_eq!(two(&mut node, "203.0.113.7", "x.test"), [true, false]);
    assert_eq!(
        two(&mut node, "203.0.113.8", "m.test"),
        [true, false],
        "told, then dropped"
    );
    assert_eq!(two(&mut node, "203.0.114.7", "m.test"), [true, false]);
    assert_eq!(two(&mut node, "2001:db8::1", "m.test"), [true, false]);
    assert_eq!(two(&mut node, "2001:db8:0:100::1", "m.test"), [true, false]);
    for _ in 0..10 {
        assert_eq!(two(&mut node, "198.51.100.9", "m.test"), [true, true]);
    }
    let transport = Transport::Tcp;
    let over_tcp = (0..10).map(|_| node.ask_by(transport, VICTIM, 0, &query("m.test")));
    assert!(
        over_tcp
            .collect::<Vec<_>>()
            .iter()
            .all(|answer| !answer.is_empty())
    );
}
