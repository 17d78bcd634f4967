//! What must hold for any bytes, names and changes.

use dmp_dns::answer::{Exchange, Transport};
use dmp_dns::message::Response;
use dmp_dns::query::{NameBuffer, Query};
use dmp_dns::tsig::{Algorithm, Key, authenticate, sign_request};
use dmp_dns::update::{Operation, UpdateBuilder, UpdateRequest};
use dmp_dns::{Name, Rtype, txt};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::*;

/// Any name: labels of any octets, at most 255 octets in all.
fn any_name() -> impl Strategy<Value = Name> {
    vec(vec(any::<u8>(), 1..=63), 0..=8).prop_filter_map("at most 255 octets", |labels| {
        let mut wire: Vec<u8> = labels
            .iter()
            .flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied()))
            .collect();
        wire.push(0);
        Name::from_wire(&wire).ok()
    })
}

fn below(zone: Name) -> impl Strategy<Value = Name> {
    vec("[a-z0-9-]{1,20}", 0..=3).prop_map(move |labels| {
        let text: String = labels.iter().map(|label| format!("{label}.")).collect();
        format!("{text}{zone}").parse().unwrap()
    })
}

fn any_operation(zone: Name) -> impl Strategy<Value = Operation> {
    let value = prop_oneof![".{0,40}", "[ -~]{200,700}"];
    prop_oneof![
        (below(zone.clone()), 1..=i32::MAX as u32, value.clone())
            .prop_map(|(owner, ttl, value)| Operation::Add { owner, ttl, value }),
        (below(zone.clone()), value)
            .prop_map(|(owner, value)| Operation::DeleteValue { owner, value }),
        below(zone).prop_map(|owner| Operation::DeleteRrset { owner }),
    ]
}

/// A request near to being well-formed, so that every branch is met: a valid one with a few octets changed.
fn bent_request() -> impl Strategy<Value = Vec<u8>> {
    let zone = name("mesh.example");
    let update = vec(any_operation(zone.clone()), 0..4).prop_map(move |operations| {
        let mut builder = UpdateBuilder::new(&zone);
        operations
            .iter()
            .for_each(|operation| builder.push(operation).unwrap());
        builder.build(5)
    });
    let query = (
        below(name("mesh.example")),
        any::<u16>(),
        0..4u16,
        any::<u16>(),
        any::<bool>(),
    )
        .prop_map(|(owner, rtype, class, payload, edns)| {
            let message = query_wire(owner.as_wire(), rtype, class);
            if edns {
                with_opt(
                    message,
                    payload,
                    0,
                    true,
                    &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
                )
            } else {
                message
            }
        });
    let signed = prop_oneof![update, query].prop_flat_map(|message| {
        let mut signed = message.clone();
        let key = Key::new(&name("k"), Algorithm::HmacSha256, b"s").unwrap();
        let _ = sign_request(&key, &mut signed, NOW);
        prop_oneof![Just(message), Just(signed)]
    });
    (
        signed,
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    )
        .prop_map(|(mut message, changes)| {
            for (at, value) in changes {
                let at = at.index(message.len());
                message[at] = value;
            }
            message
        })
}

proptest! {
    #[test]
    fn names_survive_text_and_wire(name in any_name()) {
        let text = name.to_string();
        let again: Name = text.parse().unwrap();
        prop_assert_eq!(again.as_wire(), name.as_wire());
        let read = Name::from_wire(name.as_wire()).unwrap();
        prop_assert_eq!(read.as_wire(), name.as_wire());
        prop_assert_eq!(&name.to_lower(), &name);
        let labels: usize = name.labels().map(|label| label.len() + 1).sum();
        prop_assert_eq!(labels + 1, name.as_wire().len());
        if let Some(parent) = name.parent() {
            prop_assert!(name.is_under(&parent) && name.is_under(&name) && !parent.is_under(&name));
        }
    }

    #[test]
    fn values_survive_character_strings(value in vec(any::<u8>(), 0..2000)) {
        let rdata = txt::encode_rdata(&value);
        prop_assert_eq!(rdata.len(), txt::rdata_len(value.len()));
        prop_assert_eq!(txt::decode_rdata(&rdata).unwrap(), value);
    }

    #[test]
    fn packed_rrsets_give_back_what_is_live(values in vec((vec(any::<u8>(), 0..600), 0..100u64), 0..6)) {
        let mut packed = Vec::new();
        for (value, life) in &values {
            txt::pack(&mut packed, value, NOW + life).unwrap();
        }
        let live: Vec<Vec<u8>> = txt::PackedRrset::new(&packed).rdata(NOW + 50).map(|rdata| txt::decode_rdata(rdata).unwrap()).collect();
        let expected: Vec<Vec<u8>> = values.iter().filter(|(_, life)| *life > 50).map(|(value, _)| value.clone()).collect();
        prop_assert_eq!(live, expected);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..600)) {
        check_readers(&bytes);
    }

    #[test]
    fn bent_requests_never_panic_and_are_answered_within_limits(message in bent_request(), payload in 0..=1232u16, reserve in 0..200usize) {
        check_readers(&message);
        let zone = Zone::mesh().with("a.mesh.example", &"x".repeat(900), 300).with("b.mesh.example", "y", 5);
        for transport in [Transport::Udp { payload }, Transport::Tcp] {
            let answer = serve(&zone, &message, Exchange { reserve, ..Exchange::new(transport, NOW) });
            if answer.is_empty() {
                prop_assert!(message.len() < 12 || message[2] & 0x80 != 0);
                continue;
            }
            prop_assert_eq!(&answer[..2], &message[..2]);
            prop_assert_eq!(answer[2] & 0xf9, 0x80 | message[2] & 0x79);
            let response = Response::parse(&answer).unwrap();
            if let Ok(query) = Query::parse(&message) && query.has_question() && query.opcode().0 != 6 {
                prop_assert_eq!(&answer[12..12 + query.name().len() + 4], &message[12..12 + query.name().len() + 4]);
                let limit = match (transport, query.edns()) {
                    (Transport::Tcp, _) => 65_535,
                    (_, None) => 512,
                    (_, Some(edns)) => usize::from(edns.payload.min(payload)).max(512),
                };
                prop_assert!(answer.len() + reserve <= limit || response.answers.is_empty());
                prop_assert!(answer.len() <= limit);
            }
        }
    }

    #[test]
    fn updates_say_what_was_put_into_them(operations in vec(any_operation(name("mesh.example")), 0..12), id in any::<u16>()) {
        let mut builder = UpdateBuilder::new(&name("mesh.example"));
        for operation in &operations {
            builder.push(operation).unwrap();
        }
        let message = builder.build(id);
        let query = Query::parse(&message).unwrap();
        prop_assert_eq!(query.id(), id);
        prop_assert_eq!(UpdateRequest::parse(&query).unwrap().operations().unwrap(), operations);
    }

    #[test]
    fn case_bits_change_case_only(bits in any::<[u8; 32]>(), name in any_name()) {
        let mixed = name.with_case(&bits);
        prop_assert_eq!(&mixed, &name);
        let lower = [mixed.to_lower(), name.to_lower()];
        prop_assert_eq!(lower[0].as_wire(), lower[1].as_wire());
    }
}

fn check_readers(bytes: &[u8]) {
    let _ = Response::parse(bytes);
    let _ = txt::decode_rdata(bytes);
    let _ = Name::from_wire(bytes);
    let key = Key::new(&name("k"), Algorithm::HmacSha256, b"s").unwrap();
    let mut request = query("a.test", Rtype::TXT);
    let signature = sign_request(&key, &mut request, NOW).unwrap();
    let _ = signature.verify_answer(bytes, NOW);
    if let Ok(query) = Query::parse(bytes) {
        let mut buffer: NameBuffer = [0; 256];
        assert_eq!(query.lower_name(&mut buffer).len(), query.name().len());
        let ring = std::collections::HashMap::from([(name("k"), std::sync::Arc::new(key))]);
        if let Err(failure) = authenticate(&query, &ring, NOW) {
            assert!(!failure.answer(&query, UDP).is_empty());
        }
        if let Ok(update) = UpdateRequest::parse(&query) {
            let _ = (update.prerequisites(), update.operations());
        }
    }
}
