//! A zone in memory and shorthands for messages.

use std::collections::HashMap;
use std::path::Path;

use dmp_dns::answer::{
    Answered, Apex, Authority, Exchange, NameServer, Transport, ZoneView, answer,
};
use dmp_dns::message::Response;
use dmp_dns::query::{Query, Unreadable};
use dmp_dns::txt::{self, PackedRrset};
use dmp_dns::{Name, Rtype};

pub(crate) const NOW: u64 = 1_800_000_000;

/// The zone of the vectors, and what else a test puts into it.
pub(crate) struct Zone {
    pub(crate) apex: Option<Apex>,
    pub(crate) hosted: Vec<Name>,
    records: HashMap<Vec<u8>, Vec<u8>>,
}

impl Zone {
    /// `mesh.example` as the vectors configure it.
    pub(crate) fn mesh() -> Self {
        let apex = Apex {
            name: name("mesh.example"),
            primary: name("ns1.example"),
            mailbox: name("hostmaster.mesh.example"),
            name_servers: vec![NameServer {
                name: name("ns1.example"),
                addresses: vec![],
            }],
            addresses: vec![
                "192.0.2.53".parse().unwrap(),
                "2001:db8::53".parse().unwrap(),
            ],
        };
        Self {
            apex: Some(apex),
            hosted: vec![],
            records: HashMap::new(),
        }
    }

    pub(crate) fn put(&mut self, owner: &str, value: &str, ttl: u64) -> &mut Self {
        let rrset = self
            .records
            .entry(name(owner).to_lower().as_wire().to_vec())
            .or_default();
        txt::pack(rrset, value.as_bytes(), NOW + ttl).unwrap();
        self
    }

    pub(crate) fn with(mut self, owner: &str, value: &str, ttl: u64) -> Self {
        self.put(owner, value, ttl);
        self
    }
}

impl ZoneView for Zone {
    fn txt(&self, owner: &[u8]) -> Option<PackedRrset<'_>> {
        self.records
            .get(owner)
            .map(|packed| PackedRrset::new(packed))
    }

    fn has_below(&self, owner: &[u8], now: u64) -> bool {
        self.records.iter().any(|(name, packed)| {
            name != owner
                && dmp_dns::name::is_under(name, owner)
                && PackedRrset::new(packed).rdata(now).next().is_some()
        })
    }

    fn authority(&self, owner: &[u8]) -> Authority<'_> {
        match &self.apex {
            Some(apex) if dmp_dns::name::is_under(owner, apex.name.as_wire()) => {
                Authority::Zone { apex, serial: 7 }
            }
            Some(_)
                if !self
                    .hosted
                    .iter()
                    .any(|base| dmp_dns::name::is_under(owner, base.as_wire())) =>
            {
                Authority::Elsewhere
            }
            _ => Authority::Hosted,
        }
    }

    fn ttl(&self) -> u32 {
        60
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) const UDP: Exchange<'_> = Exchange::new(Transport::UDP, NOW);
pub(crate) const TCP: Exchange<'_> = Exchange::new(Transport::Tcp, NOW);

/// What a server sends back for these bytes; empty means silence.
pub(crate) fn serve(zone: &Zone, request: &[u8], exchange: Exchange<'_>) -> Vec<u8> {
    serve_counted(zone, request, exchange).0
}

pub(crate) fn serve_counted(
    zone: &Zone,
    request: &[u8],
    exchange: Exchange<'_>,
) -> (Vec<u8>, Option<Answered>) {
    let mut out = vec![0xee; 65_535];
    match Query::parse(request) {
        Ok(query) => {
            let answered = answer(zone, &query, exchange, &mut out);
            out.truncate(answered.len);
            (out, Some(answered))
        }
        Err(unreadable) => {
            let len = unreadable.answer(request, &mut out);
            assert_eq!(len == 0, unreadable == Unreadable::Silent);
            out.truncate(len);
            (out, None)
        }
    }
}

/// A query without EDNS and without RD.
pub(crate) fn query(owner: &str, rtype: Rtype) -> Vec<u8> {
    query_wire(name(owner).as_wire(), rtype.0, 1)
}

pub(crate) fn query_wire(owner: &[u8], rtype: u16, class: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(owner);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend_from_slice(&class.to_be_bytes());
    message
}

/// Appends an OPT record with this payload size, version, DO bit and options.
pub(crate) fn with_opt(
    mut message: Vec<u8>,
    payload: u16,
    version: u8,
    dnssec_ok: bool,
    options: &[u8],
) -> Vec<u8> {
    message.extend_from_slice(&[0, 0, 41]);
    message.extend_from_slice(&payload.to_be_bytes());
    message.extend_from_slice(&[0, version, if dnssec_ok { 0x80 } else { 0 }, 0]);
    message.extend_from_slice(&(options.len() as u16).to_be_bytes());
    message.extend_from_slice(options);
    message[11] += 1;
    message
}

pub(crate) fn read(answer: &[u8]) -> Response {
    Response::parse(answer).unwrap()
}

/// One of the project's own vector files.
pub(crate) fn vectors(file: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn unhex(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}
