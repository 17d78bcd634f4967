//! The vectors of the reference, sent to a running node; where the reference is wrong, what node.md requires instead.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use dmp_dns::message::{RecordData, Response};
use dmp_dns::{Name, Rcode};
use dmp_node::access::{Action, KeyRow, Scope, ScopeKind};
use dmp_node::settings::Apex;
use serde_json::Value;

use crate::support::{Node, owner};

fn vectors(file: &str) -> Value {
    let path = format!("{}/../../vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The node of `node_dns_query.json`.
fn node(file: &Value) -> Node {
    let node = Node::start_with(|settings| {
        settings.claims.provider = true;
        settings.apex = Apex {
            a: Some(Ipv4Addr::new(192, 0, 2, 53)),
            aaaa: Some("2001:db8::53".parse::<Ipv6Addr>().unwrap()),
            ns: vec![owner("ns1.example")],
            soa_rname: Some(owner("hostmaster.example")),
            hostname: None,
        };
    });
    for record in file["records"].as_array().unwrap() {
        let text = |member: &str| record[member].as_str().unwrap();
        node.put(text("name"), text("value"), record["ttl"].as_u64().unwrap());
    }
    node
}

#[test]
fn every_query_vector_is_answered_as_required() {
    let file = vectors("node_dns_query.json");
    let node = node(&file);
    let cases = file["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 33);
    for case in cases {
        let label = case["label"].as_str().unwrap();
        let query = unhex(&case["query_hex"]);
        let reference = case["reference_response_hex"]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(|text| hex::decode(text).unwrap());
        let (Some(reference), true) = (&reference, case["class"] == "exact") else {
            if case["class"] == "exact" {
                node.udp_silent(&query);
            } else {
                let answer = if case["transport"] == "tcp" {
                    node.tcp(&query)
                } else {
                    node.udp(&query)
                };
                check_fixed(label, &answer);
            }
            continue;
        };
        let answer = if case["transport"] == "tcp" {
            node.tcp(&query)
        } else {
            node.udp(&query)
        };
        check_like(label, &answer, reference);
    }
}

/// Equal but for what the vectors allow: TTL, serial, order, compression, OPT payload; AA as node.md 2.5 requires.
fn check_like(label: &str, answer: &[u8], reference: &[u8]) {
    let (ours, theirs) = (
        Response::parse(answer).unwrap(),
        Response::parse(reference).unwrap(),
    );
    assert_eq!(
        (ours.id, ours.opcode, ours.rcode, ours.truncated),
        (theirs.id, theirs.opcode, theirs.rcode, theirs.truncated),
        "{label}"
    );
    let is_formerr = ours.rcode == Rcode::FORMERR;
    assert_eq!(
        ours.authoritative,
        !is_formerr && (theirs.authoritative || theirs.truncated),
        "{label}"
    );
    let question = if theirs.rcode == Rcode::FORMERR {
        12
    } else {
        12 + reference[12..]
            .iter()
            .position(|&octet| octet == 0)
            .unwrap()
            + 5
    };
    assert_eq!(
        answer[12..question],
        reference[12..question],
        "{label}: the question is echoed byte for byte"
    );
    assert_eq!(answer[11], reference[11], "{label}: OPT");
    let normal = |records: &[dmp_dns::message::Record]| {
        let mut lines: Vec<String> = records
            .iter()
            .map(|record| {
                assert!(
                    (1..=60).contains(&record.ttl),
                    "{label}: ttl {}",
                    record.ttl
                );
                let data = match &record.data {
                    RecordData::Soa { minimum, .. } => format!("SOA minimum {minimum}"),
                    data => format!("{data:?}"),
                };
                format!("{} {:?} {data}", record.owner.to_lower(), record.class)
            })
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(normal(&ours.answers), normal(&theirs.answers), "{label}");
    assert_eq!(
        normal(&ours.authority),
        normal(&theirs.authority),
        "{label}"
    );
}

fn check_fixed(label: &str, answer: &[u8]) {
    let response = Response::parse(answer).unwrap();
    let rcode = response.rcode;
    match label {
        "empty non-terminal TXT" => {
            assert_eq!(
                (rcode, response.answers.len(), response.authority.len()),
                (Rcode::NOERROR, 0, 1),
                "{label}"
            );
        }
        "ANY" | "huge TCP EDNS 1232" | "EDNS DO" => {
            assert_eq!(
                (rcode, response.answers.len()),
                (Rcode::NOERROR, 1),
                "{label}"
            );
        }
        "AXFR tcp" | "out of zone, no data" | "class CH" => {
            assert_eq!(
                (rcode, response.authoritative),
                (Rcode::REFUSED, false),
                "{label}"
            );
        }
        "opcode STATUS" | "opcode NOTIFY" => assert_eq!(rcode, Rcode::NOTIMP, "{label}"),
        "huge EDNS 4096" => assert!(response.truncated && answer.len() <= 1232, "{label}"),
        "trailing garbage" => assert_eq!((rcode, answer.len()), (Rcode::FORMERR, 12), "{label}"),
        "EDNS v1" => assert_eq!(
            (rcode, response.answers.len()),
            (Rcode::BADVERS, 0),
            "{label}"
        ),
        other => panic!("no requirement known for {other}"),
    }
}

#[test]
fn every_update_vector_in_order_ends_as_required() {
    let file = vectors("node_update.json");
    let rows = file["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row.get("revoked").is_none())
        .map(|row| KeyRow {
            name: row["name"].as_str().unwrap().into(),
            algorithm: row["algorithm"].as_str().unwrap().into(),
            secret: unhex(&row["secret_hex"]).into(),
            allowed_suffixes: match row.get("scope") {
                Some(scope) => scope
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|pattern| pattern.as_str().unwrap().into())
                    .collect(),
                None => vec!["mesh.example".into()],
            },
            expires_at: row.get("expires_at").map_or(0, |at| at.as_u64().unwrap()),
            subject: String::new(),
            registered_spk: None,
            registered_x25519: None,
        });
    let node = node(&vectors("node_dns_query.json")).with_keys(rows.collect());
    let cases = file["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 36);
    for case in cases {
        let label = case["label"].as_str().unwrap();
        let request = unhex(&case["request_hex"]);
        let expected = match label {
            "delete absent RRset" => 0, // RFC 2136 3.4.2.4
            "algorithm mismatch" => 9,  // BADKEY instead of silence
            "A record add" => 5,        // never stored
            _ => case["rcode"].as_u64().unwrap(),
        };
        // Over TCP in turn, since both transports lead to the same decision.
        let answer = if request.len().is_multiple_of(2) {
            node.tcp(&request)
        } else {
            node.udp(&request)
        };
        let response = Response::parse(&answer).unwrap();
        assert_eq!(u64::from(response.rcode.0), expected, "{label}");
        let reference = case["reference_response_hex"]
            .as_str()
            .map(|text| hex::decode(text).unwrap());
        if let (Some(reference), "exact", false) = (
            reference,
            case["class"].as_str().unwrap(),
            case["request_mac_hex"].as_str().unwrap_or("").is_empty(),
        ) {
            // The MAC covers everything but the TSIG record's own form, so it is the same only if all of that is.
            let mac = |message: &[u8]| message[message.len() - 6 - 32..].to_vec();
            if !answer
                .windows(12)
                .any(|window| window == b"\x0bhmac-sha512")
            {
                let same_bits = answer[2..4] == reference[2..4];
                assert_eq!(mac(&answer) == mac(&reference), same_bits, "{label}");
            }
        }
    }
    let mut expected: BTreeMap<String, Vec<String>> =
        serde_json::from_value(file["final_live_rrsets_reference"].clone()).unwrap();
    for (name, values) in &mut expected {
        values.sort();
        let mut ours = node.context.values(&owner(name));
        ours.sort();
        assert_eq!(ours, *values, "{name}");
    }
    let total: usize = expected.values().map(Vec::len).sum();
    // One value of the query vectors was stored with no life left; it counts until the next tick.
    assert!((total as u64..=total as u64 + 1).contains(&node.context.live_values()));
}

#[test]
fn every_scope_decision_is_as_the_reference_takes_it() {
    let file = vectors("node_scope_zone.json");
    let decisions = file["decisions"].as_array().unwrap();
    assert!(!decisions.is_empty());
    let scope = |name: &str, kind| {
        let patterns: Vec<String> = serde_json::from_value(file["scopes"][name].clone()).unwrap();
        Scope::new(&patterns, kind).unwrap()
    };
    for decision in decisions {
        let (set, text) = (
            decision["scope"].as_str().unwrap(),
            decision["owner"].as_str().unwrap(),
        );
        let name: Name = text.parse().unwrap();
        let owner = dmp_node::zone::Owner::from_wire(name.as_wire()).unwrap();
        let administrative = scope(set, ScopeKind::Administrative);
        for (action, member) in [(Action::Add, "add"), (Action::Delete, "delete")] {
            assert_eq!(
                administrative.covers(&owner, action),
                decision[member].as_bool().unwrap(),
                "{set} {member} {text}"
            );
            // Tightening takes away and never gives (W-22).
            let own = scope(set, ScopeKind::SelfService).covers(&owner, action);
            assert!(
                !own || decision[member].as_bool().unwrap(),
                "{set} {member} {text}"
            );
        }
    }
}
