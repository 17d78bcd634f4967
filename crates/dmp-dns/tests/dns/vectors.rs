//! The vectors of the specification, as far as they can be judged without a node around them.

use std::collections::HashMap;
use std::sync::Arc;

use dmp_dns::message::{RecordData, Response};
use dmp_dns::query::Query;
use dmp_dns::tsig::{Algorithm, Authentication, Key, TsigError, authenticate};
use dmp_dns::update::{Operation, UpdateRequest};
use dmp_dns::{Name, Rcode, txt};

use crate::support::*;

#[test]
fn every_query_vector_is_answered_as_required() {
    let file = vectors("node_dns_query.json");
    let mut zone = Zone::mesh();
    // Removing one label (node.md 2.3) would make the whole of `invalid` ours; a base of one label stays with the owner itself.
    zone.hosted.push(name("outside.invalid"));
    for record in file["records"].as_array().unwrap() {
        zone.put(
            record["name"].as_str().unwrap(),
            record["value"].as_str().unwrap(),
            record["ttl"].as_u64().unwrap(),
        );
    }
    let cases = file["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 33);
    for case in cases {
        let label = case["label"].as_str().unwrap();
        let request = unhex(&case["query_hex"]);
        let exchange = if case["transport"] == "tcp" { TCP } else { UDP };
        let answer = serve(&zone, &request, exchange);
        if case["class"] == "exact" {
            let reference = case["reference_response_hex"]
                .as_str()
                .map(|text| hex::decode(text).unwrap())
                .unwrap_or_default();
            match_reference(label, &answer, &reference);
        } else {
            match_required(label, &request, &answer);
        }
    }
}

/// The same message but for what node.md lets differ: AA of TC answers and of FORMERR, the SOA's numbers, compression, the OPT payload.
fn match_reference(label: &str, answer: &[u8], reference: &[u8]) {
    assert_eq!(answer.is_empty(), reference.is_empty(), "{label}");
    if reference.is_empty() {
        return;
    }
    let (mut ours, mut theirs) = (read(answer), read(reference));
    for response in [&mut ours, &mut theirs] {
        for record in response.answers.iter_mut().chain(&mut response.authority) {
            if let RecordData::Soa { serial, .. } = &mut record.data {
                *serial = 0;
            }
        }
    }
    assert_eq!(ours.authoritative, !label.starts_with("qd=0"), "{label}");
    ours.authoritative = theirs.authoritative;
    assert_eq!(ours, theirs, "{label}");
    assert_eq!(answer[2] & 1, reference[2] & 1, "RD of {label}");
    assert_eq!(answer[10..12], reference[10..12], "ARCOUNT of {label}");
}

fn match_required(label: &str, request: &[u8], answer: &[u8]) {
    let response = read(answer);
    let soa = |response: &Response| matches!(response.authority[..], [ref record] if matches!(record.data, RecordData::Soa { .. }));
    match label {
        "empty non-terminal TXT" => {
            assert_eq!(
                (response.rcode, response.answers.len()),
                (Rcode::NOERROR, 0),
                "{label}"
            );
            assert!(soa(&response), "{label}");
        }
        "ANY" => assert!(
            matches!(
                response.answers[0].data,
                RecordData::Other(dmp_dns::Rtype::HINFO, _)
            ),
            "{label}"
        ),
        "AXFR tcp" | "out of zone, no data" | "class CH" => {
            assert_eq!(
                (response.rcode, response.authoritative),
                (Rcode::REFUSED, false),
                "{label}"
            );
            assert!(response.authority.is_empty(), "{label}");
        }
        "opcode STATUS" | "opcode NOTIFY" => {
            assert_eq!(response.rcode, Rcode::NOTIMP, "{label}");
            assert_eq!(answer[12..], request[12..], "{label}");
        }
        "huge EDNS 4096" => assert!(
            response.truncated && response.authoritative && answer.len() <= 1232,
            "{label}"
        ),
        "huge TCP EDNS 1232" => assert_eq!(response.answers.len(), 1, "{label}"),
        "trailing garbage" => assert_eq!(
            answer,
            [0x12, 0x34, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            "{label}"
        ),
        "EDNS v1" => assert_eq!(
            (response.rcode, response.answers.len()),
            (Rcode::BADVERS, 0),
            "{label}"
        ),
        "EDNS DO" => {
            assert_eq!(response.answers.len(), 1, "{label}");
            assert_eq!(answer[answer.len() - 4], 0x80, "{label}");
        }
        other => panic!("no requirement known for {other}"),
    }
}

/// What must be known of an UPDATE before store, scopes and claim rules come into play. `None`: the node decides.
enum Stage {
    Authentication(TsigError),
    Parsing(Rcode),
    Node,
}

#[test]
fn every_update_vector_passes_authentication_and_parsing_as_required() {
    let file = vectors("node_update.json");
    let zone = name(file["zone"].as_str().unwrap());
    let mut ring = HashMap::new();
    for row in file["keys"].as_array().unwrap() {
        if row.get("expires_at").is_some() || row.get("revoked").is_some() {
            continue; // the node leaves such rows out of the ring
        }
        let key_name = name(row["name"].as_str().unwrap());
        let algorithm: Algorithm = row["algorithm"].as_str().unwrap().parse().unwrap();
        ring.insert(
            key_name.clone(),
            Arc::new(Key::new(&key_name, algorithm, &unhex(&row["secret_hex"])).unwrap()),
        );
    }
    let cases = file["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 36);
    for case in cases {
        let label = case["label"].as_str().unwrap();
        let request = unhex(&case["request_hex"]);
        let expected = match label {
            "unknown key" | "expired key" | "revoked key" | "algorithm mismatch" => {
                Stage::Authentication(TsigError::BADKEY)
            }
            "bad secret" => Stage::Authentication(TsigError::BADSIG),
            "bad time" => Stage::Authentication(TsigError::BADTIME),
            "owner outside zone" => Stage::Parsing(Rcode::NOTZONE),
            "non-utf8" => Stage::Parsing(Rcode::FORMERR),
            "A record add" => Stage::Parsing(Rcode::REFUSED),
            _ => Stage::Node,
        };
        let query = Query::parse(&request).unwrap();
        let authentication = authenticate(&query, &ring, NOW);
        let authenticated = match (authentication, &expected) {
            (Err(failure), Stage::Authentication(error)) => {
                assert_eq!(
                    (failure.rcode(), failure.error()),
                    (Rcode::NOTAUTH, *error),
                    "{label}"
                );
                continue;
            }
            (Err(failure), _) => panic!("{label}: {failure:?}"),
            (Ok(_), Stage::Authentication(_)) => panic!("{label}: accepted"),
            (Ok(Authentication::Unsigned), _) => None,
            (Ok(Authentication::Signed(authenticated)), _) => Some(authenticated),
        };
        assert_eq!(
            authenticated.is_some(),
            !case["request_mac_hex"]
                .as_str()
                .unwrap_or_default()
                .is_empty(),
            "{label}"
        );
        if let Some(authenticated) = &authenticated {
            assert_eq!(
                authenticated.mac(),
                unhex(&case["request_mac_hex"]),
                "{label}"
            );
            check_signed_like_the_reference(label, authenticated, case);
        }

        let update = UpdateRequest::parse(&query).unwrap();
        let served = Name::from_wire(update.zone()).unwrap() == zone;
        assert_eq!(
            served,
            !matches!(
                label,
                "zone not served" | "unsigned unserved zone (client probe)"
            ),
            "{label}"
        );
        assert_eq!(update.prerequisites(), Ok(vec![]), "{label}");
        match (update.operations(), &expected) {
            (Err(refusal), Stage::Parsing(rcode)) => assert_eq!(refusal.rcode, *rcode, "{label}"),
            (Ok(operations), Stage::Node) => check_operations(label, &operations),
            (other, _) => panic!("{label}: {other:?}"),
        }
    }
}

/// Strips the reference's signature from its answer and signs again: same key, same time, so the same bytes.
fn check_signed_like_the_reference(
    label: &str,
    authenticated: &dmp_dns::tsig::Authenticated<Arc<Key>>,
    case: &serde_json::Value,
) {
    let reference = unhex(&case["reference_response_hex"]);
    // Header and zone section are all that stands before the record, whose owner the reference compresses.
    let mut ours = reference[..12 + name("mesh.example").as_wire().len() + 4].to_vec();
    if label == "zone not served" {
        ours.truncate(12 + name("b.net").as_wire().len() + 4);
    }
    ours[11] -= 1;
    authenticated.sign_answer(&mut ours, NOW);
    let mac_len = authenticated.row().algorithm().mac_len();
    let mac_at = |message: &[u8]| message.len() - 6 - mac_len;
    assert_eq!(
        ours[mac_at(&ours)..],
        reference[mac_at(&reference)..],
        "{label}"
    );
}

fn check_operations(label: &str, operations: &[Operation]) {
    let owner = name("id-0123456789abcdef.mesh.example");
    match label {
        "add" => assert_eq!(
            operations,
            [Operation::Add {
                owner,
                ttl: 300,
                value: "v1".into()
            }]
        ),
        "add second value + delete first" => assert_eq!(
            operations,
            [
                Operation::Add {
                    owner: owner.clone(),
                    ttl: 300,
                    value: "v2".into()
                },
                Operation::DeleteValue {
                    owner,
                    value: "v1".into()
                }
            ]
        ),
        "delete RRset" | "delete absent RRset" => {
            assert_eq!(operations, [Operation::DeleteRrset { owner }])
        }
        "ttl over cap" => assert!(matches!(operations, [Operation::Add { ttl: 86_401, .. }])),
        "value at cap" => {
            assert!(matches!(operations, [Operation::Add { value, .. }] if value.len() == 2048))
        }
        "value over cap" => {
            assert!(matches!(operations, [Operation::Add { value, .. }] if value.len() == 2049))
        }
        "empty unsigned" | "empty signed" => assert!(operations.is_empty()),
        _ => assert!(!operations.is_empty(), "{label}"),
    }
}

#[test]
fn txt_values_split_as_the_vectors_say() {
    let file = vectors("txt_split.json");
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let bytes = case["utf8_bytes"].as_u64().unwrap() as usize;
        let value = vec![b'x'; bytes];
        let rdata = txt::encode_rdata(&value);
        assert_eq!(rdata.len(), txt::rdata_len(bytes));
        assert_eq!(txt::decode_rdata(&rdata).unwrap(), value);
        let mut lengths = Vec::new();
        let mut rest = &rdata[..];
        while let Some((&length, tail)) = rest.split_first() {
            lengths.push(u64::from(length));
            rest = &tail[usize::from(length)..];
        }
        // Outside ASCII the vectors count characters, or null where the reference refuses; here a value is octets, and
        // the publisher decides what may be one.
        if case["ascii"].as_bool().unwrap() {
            let expected = case["string_lengths"].as_array().unwrap();
            assert_eq!(
                lengths,
                expected
                    .iter()
                    .map(|length| length.as_u64().unwrap())
                    .collect::<Vec<_>>()
            );
        }
    }
}
