//! Strangers who flood claims keep nobody out of a mailbox and take nothing from others (W-11).

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use dmp_core::id::{MsgId, Slot, UnixTime};
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::record::Claim;
use dmp_dns::Rcode;
use dmp_dns::message::Response;
use dmp_dns::update::Operation;
use dmp_node::limits::{CLAIM_SOURCE_BURST, CLAIMS_PER_SENDER};
use dmp_node::settings::{Claims, Settings};
use dmp_node::store::{Cursor, Deletes};

use crate::support::{NOW, Node, add, key, receive_framed, row, send_framed, update};

const VICTIM: &str = "mb-0123456789ab.mesh.example";
/// Two networks of /24, and everybody else's.
const FLOODER: &str = "127.0.66.1";
const HONEST: &str = "127.0.1.1";

/// A valid claim of the key that `seed` makes, different for every `number`.
fn claim(seed: u8, slot: u8, number: u16) -> String {
    let sender = Identity::from_seed([seed; 32]);
    let mut msg_id = [seed; 16];
    msg_id[..2].copy_from_slice(&number.to_be_bytes());
    let claim = Claim {
        msg_id: MsgId::from_bytes(msg_id),
        sender: sender.signing_public(),
        mailbox_zone: Zone::parse("sender.example").unwrap(),
        slot: Slot::new(slot).unwrap(),
        ts: UnixTime::new(NOW),
        exp: UnixTime::new(NOW + 3_000),
    };
    claim.sign(&sender).unwrap()
}

fn message(slot: u8, value: &str) -> Vec<u8> {
    update(&[add(&format!("claim-{slot}.{VICTIM}"), value)]).build(1)
}

/// Sends from an address of loopback, over TCP: whoever is there reads the answers.
fn over_tcp(node: &Node, from: &str, message: &[u8]) -> Response {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from = SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0);
    socket.bind(&from.into()).unwrap();
    socket.connect(&node.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    send_framed(&mut stream, message);
    Response::parse(&receive_framed(&mut stream).unwrap()).unwrap()
}

/// Sends from an address of loopback, over UDP: to the node it may be forged.
fn over_udp(node: &Node, from: &str, message: &[u8]) -> Response {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.send_to(message, node.address).unwrap();
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).unwrap();
    Response::parse(&answer[..length]).unwrap()
}

/// What the zone holds there, oldest first; more than a datagram carries.
fn values(node: &Node, owner: &str) -> Vec<String> {
    node.context.values(&crate::support::owner(owner))
}

/// An open provider whose claim names hold eight values; its loopback networks have no limits of rate, so that a test decides how
/// much a flooder gets in.
fn node_without_rates() -> Node {
    Node::start_with(|settings| {
        settings.claims = Claims {
            provider: true,
            rate: 0.0,
            ..Claims::default()
        };
        settings.caps.max_values_per_name = Some(8);
        settings.dns_rate_exempt = vec!["127.0.0.0/8".parse().unwrap()];
        settings.replicates = true;
    })
}

#[test]
fn a_flooder_with_many_keys_keeps_no_claim_out_and_pushes_none_out() {
    let node = node_without_rates();
    let owner = format!("claim-3.{VICTIM}");
    let flood = |keys: std::ops::Range<u8>| {
        for seed in keys {
            let response = over_tcp(&node, FLOODER, &message(3, &claim(seed, 3, 0)));
            assert_eq!(response.rcode, Rcode::NOERROR);
        }
    };
    flood(100..120);
    assert_eq!(values(&node, &owner).len(), 8, "the name is full");
    let honest = claim(1, 3, 0);
    assert_eq!(
        over_tcp(&node, HONEST, &message(3, &honest)).rcode,
        Rcode::NOERROR
    );
    flood(120..160);
    let held = values(&node, &owner);
    assert!(held.contains(&honest) && held.len() == 8);
    assert!(
        held.contains(&claim(159, 3, 0)) && !held.contains(&claim(152, 3, 0)),
        "what goes is the flooder's oldest"
    );
    let digest = node
        .context
        .store()
        .digest(&Cursor::default(), 100, Deletes::Shown, |_, _| true);
    let rows = digest.unwrap().rows;
    assert!(
        rows.iter().all(|row| row.deleted_at.is_none()),
        "other nodes may keep what had no room here"
    );
    // Somebody registered is not kept out either.
    let node = node.with_keys(vec![row("k", &["claim-*.mb-*.mesh.example"])]);
    assert_eq!(
        node.update_rcode(&key("k"), &[add(&owner, "signed")]),
        Rcode::NOERROR
    );
    let held = values(&node, &owner);
    assert!(held.contains(&honest) && held.contains(&"signed".to_owned()));
}

#[test]
fn forged_addresses_take_a_quarter_of_a_name_and_displace_nothing() {
    let node = node_without_rates();
    let owner = format!("claim-3.{VICTIM}");
    let (mut stored, mut advised) = (0, 0);
    for number in 0..40_u8 {
        let from = format!("127.0.{}.1", 100 + number);
        let response = over_udp(&node, &from, &message(3, &claim(100 + number, 3, 0)));
        match (response.rcode, response.truncated) {
            (Rcode::NOERROR, false) => stored += 1,
            (Rcode::SERVFAIL, true) => advised += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((stored, advised), (2, 38));
    for seed in 1..=6 {
        let response = over_tcp(&node, HONEST, &message(3, &claim(seed, 3, 0)));
        assert_eq!(response.rcode, Rcode::NOERROR);
    }
    assert_eq!(values(&node, &owner).len(), 8);
    // Whoever follows the advice gets in; the forged ones hold most of nothing and stay.
    let late = message(3, &claim(7, 3, 0));
    assert!(over_udp(&node, "127.0.2.1", &late).truncated);
    assert_eq!(over_tcp(&node, "127.0.2.1", &late).rcode, Rcode::NOERROR);
    let held = values(&node, &owner);
    assert!(held.contains(&claim(7, 3, 0)) && !held.contains(&claim(1, 3, 0)));
    assert!(held.contains(&claim(100, 3, 0)));
}

#[test]
fn whatever_one_network_and_forged_addresses_do_an_honest_claim_stays() {
    for over in [over_tcp, over_udp] {
        let node = node_without_rates();
        let owner = format!("claim-3.{VICTIM}");
        let honest = claim(1, 3, 0);
        assert_eq!(
            over(&node, HONEST, &message(3, &honest)).rcode,
            Rcode::NOERROR
        );
        // The same steps every time: keys, values that come again, short lives, forged addresses, passing time.
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        for _ in 0..300 {
            let value = match below(10) {
                0 => honest.clone(),
                _ => claim(100 + below(30) as u8, 3, below(3) as u16),
            };
            let added = Operation::Add {
                owner: crate::support::name(&owner),
                ttl: [1, 30, 300][below(3) as usize],
                value,
            };
            let message = update(&[added]).build(1);
            match below(3) {
                0 => over_udp(&node, &format!("127.0.{}.1", 100 + below(100)), &message),
                _ => over_tcp(&node, FLOODER, &message),
            };
            if below(4) == 0 && node.clock.seconds() < NOW + 250 {
                node.clock.advance(2);
            }
            let held = values(&node, &owner);
            assert!(held.contains(&honest) && held.len() <= 8);
        }
    }
}

#[test]
fn a_cookie_proves_a_claimants_address_as_well_as_tcp_does() {
    let node = Node::start_with(|settings| {
        settings.claims = Claims {
            provider: true,
            rate: 0.000_001,
            burst: 1.0,
            ..Claims::default()
        };
    });
    let with_cookie = |number, server: &[u8]| {
        let mut message = message(3, &claim(1, 3, number));
        // OPT stands at its end, without an option yet.
        let at = message.len() - 1;
        message[at] = 12 + server.len() as u8;
        message.extend_from_slice(&[0, 10, 0, 8 + server.len() as u8]);
        message.extend_from_slice(b"a client");
        message.extend_from_slice(server);
        Response::parse(&node.udp(&message)).unwrap()
    };
    assert_eq!(with_cookie(0, &[]).rcode, Rcode::NOERROR);
    let told = with_cookie(1, &[]);
    assert_eq!((told.rcode, told.truncated), (Rcode::BADCOOKIE, false));
    let server = told.cookie().unwrap().unwrap().server.to_vec();
    assert_eq!(with_cookie(1, &server).rcode, Rcode::NOERROR);
    let over = with_cookie(2, &server);
    let reason = over.extended_error.as_ref().map(|(_, text)| text.as_str());
    assert_eq!(reason, Some("too many claims at the moment"));
    assert_eq!(
        (over.rcode, over.truncated),
        (Rcode::SERVFAIL, false),
        "node.md C8"
    );
}

#[test]
fn one_network_uses_up_neither_the_limit_of_a_recipient_nor_the_budget_of_all() {
    let node = Node::start_with(|settings| {
        settings.claims = Claims {
            provider: true,
            rate: 0.000_001,
            ..Claims::default()
        };
    });
    let answers = |from: &str, slot: u8| -> Vec<Rcode> {
        let send = |number| over_tcp(&node, from, &message(slot, &claim(1, slot, number))).rcode;
        (0..31).map(send).collect()
    };
    let (granted, limited) = ([Rcode::NOERROR; 30], [Rcode::SERVFAIL]);
    assert_eq!(answers(FLOODER, 1), [&granted[..], &limited[..]].concat());
    assert_eq!(answers(HONEST, 2), [&granted[..], &limited[..]].concat());
    // Four networks' worth are taken in all, and no more.
    for network in [2, 3] {
        assert_eq!(
            answers(&format!("127.0.{network}.1"), 3)[29],
            Rcode::NOERROR
        );
    }
    assert_eq!(answers("127.0.4.1", 4)[0], Rcode::SERVFAIL);

    // Of the signatures that the node looks at a second, a network has its part, whatever the signatures are worth.
    let node = Node::start_with(provider);
    let mut forged = claim(1, 3, 0);
    forged.replace_range(15..16, "E"); // another magic octet under the same signature
    let forged = message(3, &forged);
    let spent = (0..10_000)
        .map(|_| over_tcp(&node, FLOODER, &forged).rcode)
        .position(|rcode| rcode == Rcode::SERVFAIL);
    assert!(
        spent.is_some_and(|spent| spent >= CLAIM_SOURCE_BURST as usize),
        "{spent:?}"
    );
    assert_eq!(over_tcp(&node, HONEST, &forged).rcode, Rcode::REFUSED);
    assert_eq!(
        over_tcp(&node, HONEST, &message(3, &claim(1, 3, 0))).rcode,
        Rcode::NOERROR
    );
}

fn provider(settings: &mut Settings) {
    settings.claims = Claims {
        provider: true,
        ..Claims::default()
    };
}

#[test]
fn who_sends_a_claim_again_neither_shortens_its_life_nor_takes_it_over() {
    let node = node_without_rates();
    let owner = format!("claim-3.{VICTIM}");
    let honest = claim(1, 3, 0);
    assert_eq!(
        over_tcp(&node, HONEST, &message(3, &honest)).rcode,
        Rcode::NOERROR
    );
    let shorter = Operation::Add {
        owner: crate::support::name(&owner),
        ttl: 1,
        value: honest.clone(),
    };
    let again = update(&[shorter]).build(1);
    assert_eq!(over_tcp(&node, FLOODER, &again).rcode, Rcode::NOERROR);
    node.clock.advance(2);
    assert!(values(&node, &owner).contains(&honest));
    // It lives longer, and is still the honest sender's.
    assert_eq!(
        over_tcp(&node, FLOODER, &message(3, &honest)).rcode,
        Rcode::NOERROR
    );
    for seed in 100..120 {
        over_tcp(&node, FLOODER, &message(3, &claim(seed, 3, 0)));
    }
    assert!(values(&node, &owner).contains(&honest));
}

#[test]
fn one_key_holds_a_bounded_number_of_claims_in_a_mailbox_and_loses_its_oldest() {
    let node = node_without_rates();
    let held = || -> Vec<String> {
        (0..10)
            .flat_map(|slot| values(&node, &format!("claim-{slot}.{VICTIM}")))
            .collect()
    };
    for number in 0..=CLAIMS_PER_SENDER as u16 {
        let slot = (number % 10) as u8;
        let response = over_tcp(&node, HONEST, &message(slot, &claim(1, slot, number)));
        assert_eq!(response.rcode, Rcode::NOERROR);
    }
    let now = held();
    assert_eq!(now.len(), CLAIMS_PER_SENDER);
    assert!(!now.contains(&claim(1, 0, 0)) && now.contains(&claim(1, 1, 1)));
    assert_eq!(
        over_tcp(&node, HONEST, &message(0, &claim(2, 0, 0))).rcode,
        Rcode::NOERROR
    );
    assert_eq!(
        held().len(),
        CLAIMS_PER_SENDER + 1,
        "other keys are counted by themselves"
    );
}

#[test]
fn the_claims_of_one_update_have_one_sender() {
    let node = node_without_rates();
    let owner = format!("claim-3.{VICTIM}");
    let both = |seed| {
        update(&[
            add(&owner, &claim(1, 3, 0)),
            add(&owner, &claim(seed, 3, 1)),
        ])
        .build(1)
    };
    assert_eq!(over_tcp(&node, HONEST, &both(2)).rcode, Rcode::REFUSED);
    assert!(values(&node, &owner).is_empty());
    assert_eq!(over_tcp(&node, HONEST, &both(1)).rcode, Rcode::NOERROR);
    assert_eq!(values(&node, &owner).len(), 2);
}

#[test]
fn strangers_leave_half_of_the_store_to_others() {
    let node = Node::start_with(|settings| {
        provider(settings);
        settings.caps.max_records = Some(4);
    })
    .with_keys(vec![row("k", &["mesh.example"])]);
    for number in 0..2 {
        let response = over_tcp(&node, HONEST, &message(3, &claim(1, 3, number)));
        assert_eq!(response.rcode, Rcode::NOERROR);
    }
    let response = over_tcp(&node, HONEST, &message(3, &claim(1, 3, 2)));
    assert_eq!(response.rcode, Rcode::SERVFAIL);
    for name in ["a.mesh.example", "b.mesh.example"] {
        assert_eq!(
            node.update_rcode(&key("k"), &[add(name, "v")]),
            Rcode::NOERROR
        );
    }
}
