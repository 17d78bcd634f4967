//! A request to an authoritative server with a small zone: whatever comes, the answer is a readable message within its limit.
#![no_main]

use std::collections::HashMap;
use std::sync::OnceLock;

use dmp_dns::answer::{
    Apex, Authority, Exchange, NameServer, Transport, ZoneView, answer, slipped,
};
use dmp_dns::cookie::{Secret, Secrets};
use dmp_dns::message::{CaseMatch, Response};
use dmp_dns::query::Query;
use dmp_dns::txt::{PackedRrset, pack};
use dmp_dns::{Name, limits};

const NOW: u64 = 1_800_000_000;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut out = vec![0; limits::MESSAGE];
    let query = match Query::parse(data) {
        Ok(query) => query,
        Err(unreadable) => {
            assert!(unreadable.answer(data, &mut out) <= limits::HEADER);
            return;
        }
    };
    for (transport, limit) in [
        (Transport::UDP, limits::UDP),
        (Transport::Tcp, limits::MESSAGE),
    ] {
        let secrets = Secrets::new(Secret::new([1; 16]), None);
        let client = [192, 0, 2, 1].into();
        let exchange = Exchange {
            cookie: secrets.judge(query.cookie(), client, NOW),
            nsid: Some(b"node-1"),
            ..Exchange::new(transport, NOW)
        };
        for answered in [
            answer(zone(), &query, exchange, &mut out),
            slipped(&query, exchange, &mut out),
        ] {
            assert!(answered.len <= limit);
        }
        let answered = answer(zone(), &query, exchange, &mut out);
        if answered.len > 0 {
            let response =
                Response::parse(&out[..answered.len]).expect("our own answer can be read");
            assert!(response.is_answer_to(data, CaseMatch::Exact) || !query.has_question());
        }
    }
});

struct Zone {
    apex: Apex,
    rrsets: HashMap<Vec<u8>, Vec<u8>>,
}

impl ZoneView for Zone {
    fn txt(&self, owner: &[u8]) -> Option<PackedRrset<'_>> {
        self.rrsets
            .get(owner)
            .map(|packed| PackedRrset::new(packed))
    }

    fn has_below(&self, owner: &[u8], _: u64) -> bool {
        self.rrsets
            .keys()
            .any(|name| name.len() > owner.len() && dmp_dns::name::is_under(name, owner))
    }

    fn authority(&self, name: &[u8]) -> Authority<'_> {
        if dmp_dns::name::is_under(name, self.apex.name.as_wire()) {
            Authority::Zone {
                apex: &self.apex,
                serial: 7,
            }
        } else {
            Authority::Elsewhere
        }
    }

    fn ttl(&self) -> u32 {
        60
    }
}

fn zone() -> &'static Zone {
    static ZONE: OnceLock<Zone> = OnceLock::new();
    ZONE.get_or_init(|| {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        let apex = Apex {
            name: name("mesh.example"),
            primary: name("ns1.mesh.example"),
            mailbox: name("hostmaster.mesh.example"),
            name_servers: vec![NameServer {
                name: name("ns1.mesh.example"),
                addresses: vec!["192.0.2.53".parse().expect("an address")],
            }],
            addresses: vec![
                "192.0.2.53".parse().expect("an address"),
                "2001:db8::53".parse().expect("an address"),
            ],
        };
        let mut rrsets = HashMap::new();
        for (owner, values, length) in [
            ("txt.mesh.example", 1, 5),
            ("many.mesh.example", 8, 241),
            ("a.b.mesh.example", 3, 700),
            ("old.mesh.example", 1, 9),
        ] {
            let expires = if owner.starts_with("old") {
                NOW - 1
            } else {
                NOW + 300
            };
            let mut packed = Vec::new();
            for value in 0..values {
                pack(&mut packed, &vec![b'a' + value; length], expires).expect("a short value");
            }
            rrsets.insert(name(owner).as_wire().to_vec(), packed);
        }
        Zone { apex, rrsets }
    })
}
