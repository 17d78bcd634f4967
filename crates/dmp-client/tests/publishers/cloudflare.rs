//! The Cloudflare writer against a server that answers as the documented API does and refuses what that would refuse.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::{Capacity, Writer};
use dmp_client::writer::CloudflareWriter;
use dmp_core::name::Zone;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::server::{Answer, Request, serve};
use crate::suite::{self, Found, Odd, add, clear, delete, slot};

const TOKEN: &str = "token-that-nobody-may-see";
const RECORDS: &str = "/client/v4/zones/zone1/dns_records";

#[derive(Clone, Debug)]
struct Record {
    id: String,
    name: String,
    kind: String,
    content: String,
    ttl: u64,
}

/// Something that happens in the zone between two requests.
type Interference = Box<dyn FnOnce(&mut Vec<Record>) + Send>;

#[derive(Default)]
struct State {
    records: Vec<Record>,
    count: u32,
    requests: Vec<String>,
    /// Answered to the next requests instead of doing anything.
    faults: VecDeque<Answer>,
    /// Happens after the next list was answered.
    after_list: Option<Interference>,
}

type Shared = Arc<Mutex<State>>;

fn start() -> (Shared, CloudflareWriter) {
    let state = Shared::default();
    let shared = Arc::clone(&state);
    let address = serve(move |request| handle(&mut shared.lock().unwrap(), request));
    (state, writer(&format!("http://{address}/client/v4/")))
}

fn writer(api: &str) -> CloudflareWriter {
    let zone = Zone::parse("mesh.example").unwrap();
    CloudflareWriter::new(api, "zone1", zone, Zeroizing::new(TOKEN.to_owned())).unwrap()
}

fn failure(status: u16, code: i64, message: &str) -> Answer {
    let body = json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null});
    Answer::new(status, body.to_string())
}

fn success(result: Value) -> Answer {
    let body = json!({"success": true, "errors": [], "messages": [], "result": result});
    Answer::new(200, body.to_string())
}

fn shown(record: &Record) -> Value {
    json!({"id": record.id, "name": record.name, "type": record.kind, "content": record.content, "ttl": record.ttl, "proxied": false})
}

fn handle(state: &mut State, request: &Request) -> Answer {
    state
        .requests
        .push(format!("{} {}", request.method, request.path));
    if let Some(fault) = state.faults.pop_front() {
        return fault;
    }
    if request.headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return failure(403, 9109, "Invalid access token");
    }
    let id = request
        .path
        .strip_prefix(RECORDS)
        .map(|rest| rest.trim_start_matches('/').to_owned());
    match (request.method.as_str(), id.as_deref()) {
        ("GET", Some("")) => list(state, request),
        ("POST", Some("")) => match read(&state.records, request, None) {
            Ok(record) => {
                state.count += 1;
                let record = Record {
                    id: format!("rec{}", state.count),
                    ..record
                };
                state.records.push(record.clone());
                success(shown(&record))
            }
            Err(refusal) => refusal,
        },
        ("PUT", Some(id)) if state.records.iter().any(|record| record.id == id) => {
            match read(&state.records, request, Some(id)) {
                Ok(record) => {
                    let old = state.records.iter_mut().find(|old| old.id == id).unwrap();
                    *old = Record {
                        id: id.to_owned(),
                        ..record
                    };
                    success(shown(old))
                }
                Err(refusal) => refusal,
            }
        }
        ("DELETE", Some(id)) if state.records.iter().any(|record| record.id == id) => {
            assert_eq!(request.body, "");
            state.records.retain(|record| record.id != id);
            success(json!({"id": id}))
        }
        ("PUT" | "DELETE", Some(_)) => failure(404, 81044, "Record does not exist."),
        _ => failure(404, 7003, "Could not route to this path"),
    }
}

/// Two records a page, so that every list has several.
fn list(state: &mut State, request: &Request) -> Answer {
    assert_eq!(request.parameter("type"), Some("TXT"));
    let name = request.parameter("name").unwrap();
    let page: usize = request.parameter("page").unwrap().parse().unwrap();
    let all: Vec<Value> = state
        .records
        .iter()
        .filter(|record| record.kind == "TXT" && record.name == name)
        .map(shown)
        .collect();
    let pages = all.len().div_ceil(2);
    let result: Vec<Value> = all.into_iter().skip((page - 1) * 2).take(2).collect();
    if page >= pages
        && let Some(interfere) = state.after_list.take()
    {
        interfere(&mut state.records);
    }
    let body = json!({"success": true, "errors": [], "messages": [], "result": result,
        "result_info": {"page": page, "per_page": 2, "total_pages": pages}});
    Answer::new(200, body.to_string())
}

/// The record in a body, if the API would take it.
fn read(records: &[Record], request: &Request, replaced: Option<&str>) -> Result<Record, Answer> {
    assert_eq!(
        request.headers.get("content-type").map(String::as_str),
        Some("application/json")
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    let (name, content, ttl) = (text("name"), text("content"), body["ttl"].as_u64().unwrap());
    assert_eq!(
        (body["type"].as_str(), body["proxied"].as_bool()),
        (Some("TXT"), Some(false))
    );
    if !(60..=86_400).contains(&ttl) {
        return Err(failure(400, 9021, "Invalid TTL."));
    }
    if !name.ends_with("mesh.example") || content.len() > 2_048 || !content.starts_with('"') {
        return Err(failure(400, 9000, "DNS name or content is invalid."));
    }
    if records.iter().any(|known| {
        known.name == name && known.content == content && replaced != Some(known.id.as_str())
    }) {
        return Err(failure(400, 81058, "An identical record already exists."));
    }
    Ok(Record {
        id: String::new(),
        name,
        kind: "TXT".to_owned(),
        content,
        ttl,
    })
}

/// What the zone serves: quoted strings joined, or the content as somebody typed it.
fn served(content: &str) -> String {
    if !content.starts_with('"') {
        return content.to_owned();
    }
    let (mut value, mut rest, mut inside) = (Vec::new(), content.bytes(), false);
    while let Some(octet) = rest.next() {
        match octet {
            b'"' => inside = !inside,
            b'\\' => {
                let first = rest.next().unwrap();
                if first.is_ascii_digit() {
                    let digits = [first, rest.next().unwrap(), rest.next().unwrap()];
                    value.push(std::str::from_utf8(&digits).unwrap().parse().unwrap());
                } else {
                    value.push(first);
                }
            }
            octet if inside => value.push(octet),
            _ => {}
        }
    }
    String::from_utf8(value).unwrap()
}

fn values(state: &Shared, name: &str) -> Vec<Found> {
    let state = state.lock().unwrap();
    let here = state
        .records
        .iter()
        .filter(|record| record.name == name && record.kind == "TXT");
    here.map(|record| (served(&record.content), Some(record.ttl as u32)))
        .collect()
}

fn foreign(content: &str) -> Record {
    Record {
        id: format!("f{}", content.len()),
        name: slot("mesh.example").into_string(),
        kind: "TXT".into(),
        content: content.into(),
        ttl: 300,
    }
}

#[tokio::test]
async fn it_behaves_as_every_publisher() {
    let (state, writer) = start();
    suite::hold(&writer, "mesh.example", Odd::Taken, async |owner| {
        values(&state, owner.as_str())
    })
    .await;
    suite::hold_to_its_zone(&writer, "mesh.example").await;
    assert!(state.lock().unwrap().records.is_empty());
}

#[tokio::test]
async fn a_value_is_found_on_any_page_quoted_or_as_typed_and_others_records_stay() {
    let (state, writer) = start();
    let owner = slot("mesh.example");
    let mut others: Vec<Record> = (1..=4).map(|length| foreign(&"o".repeat(length))).collect();
    others.push(Record {
        kind: "A".into(),
        content: "192.0.2.1".into(),
        ..foreign("192.0.2.1")
    });
    state.lock().unwrap().records = others;
    state.lock().unwrap().records.push(foreign("mine as typed"));
    writer
        .apply(&[add(&owner, 30, "mine as typed")])
        .await
        .into_result()
        .unwrap();
    assert_eq!(values(&state, owner.as_str()).len(), 5, "changed in place");
    assert!(
        values(&state, owner.as_str()).contains(&("mine as typed".into(), Some(60))),
        "60 is the shortest TTL"
    );
    state.lock().unwrap().records[5].content = "\"mine\" \" as typed\"".into();
    writer
        .apply(&[delete(&owner, "mine as typed")])
        .await
        .into_result()
        .unwrap();
    assert_eq!(values(&state, owner.as_str()).len(), 4);
    writer.apply(&[clear(&owner)]).await.into_result().unwrap();
    assert_eq!(
        state.lock().unwrap().records.len(),
        1,
        "other types are not ours"
    );
}

#[tokio::test]
async fn one_list_serves_all_changes_of_a_name() {
    let (state, writer) = start();
    assert_eq!(writer.capacity(), Capacity::One);
    let owner = slot("mesh.example");
    writer
        .apply(&[
            add(&owner, 300, "a"),
            add(&owner, 300, "b"),
            delete(&owner, "a"),
        ])
        .await
        .into_result()
        .unwrap();
    let methods: Vec<String> = state
        .lock()
        .unwrap()
        .requests
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(methods, ["GET", "POST", "POST", "DELETE"]);
}

#[tokio::test]
async fn what_others_change_meanwhile_survives_and_is_taken_into_account() {
    let (state, writer) = start();
    let owner = slot("mesh.example");
    // Somebody publishes the same value, and another, between our look and our change.
    state.lock().unwrap().after_list = Some(Box::new(|records| {
        records.extend([foreign("\"same\""), foreign("\"theirs\"")])
    }));
    writer
        .apply(&[add(&owner, 900, "same")])
        .await
        .into_result()
        .unwrap();
    let mut found = values(&state, owner.as_str());
    found.sort();
    assert_eq!(
        found,
        [("same".into(), Some(900)), ("theirs".into(), Some(300))]
    );
    // Somebody removes what we were about to refresh, or to delete.
    state.lock().unwrap().after_list = Some(Box::new(|records| {
        records.retain(|record| record.content != "\"same\"")
    }));
    writer
        .apply(&[add(&owner, 300, "same")])
        .await
        .into_result()
        .unwrap();
    assert_eq!(values(&state, owner.as_str()).len(), 2);
    state.lock().unwrap().after_list = Some(Box::new(|records| {
        records.retain(|record| record.content != "\"same\"")
    }));
    writer
        .apply(&[delete(&owner, "same")])
        .await
        .into_result()
        .unwrap();
    assert_eq!(
        values(&state, owner.as_str()),
        [("theirs".into(), Some(300))]
    );
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_for_as_long_as_it_says_within_bounds() {
    let (state, writer) = start();
    let owner = slot("mesh.example");
    let throttled = |seconds| Answer {
        retry_after: seconds,
        ..failure(429, 10_000, "Rate limited")
    };
    state.lock().unwrap().faults =
        VecDeque::from([throttled(Some(7)), throttled(None), failure(503, 0, "busy")]);
    let begun = tokio::time::Instant::now();
    writer
        .apply(&[add(&owner, 300, "a")])
        .await
        .into_result()
        .unwrap();
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_secs(7 + 2 + 4) && waited < Duration::from_secs(14),
        "{waited:?}"
    );

    state.lock().unwrap().faults = VecDeque::from([throttled(Some(3_600))]);
    let failed = writer.apply(&[add(&owner, 300, "b")]).await.into_result();
    assert!(
        matches!(&failed, Err(WriteError::ServerFailure(words)) if words.contains("3600 s")),
        "{failed:?}"
    );

    state.lock().unwrap().faults = (0..4).map(|_| throttled(Some(1))).collect();
    let applied = writer
        .apply(&[add(&owner, 300, "c"), add(&owner, 300, "d")])
        .await;
    assert!(matches!(
        applied.failure(),
        Some(WriteError::ServerFailure(_))
    ));
    assert_eq!(
        (applied.stored(), applied.messages.len()),
        (0, 1),
        "the list ends at the first failure"
    );
}

#[tokio::test]
async fn success_needs_both_the_status_and_the_word() {
    let (state, writer) = start();
    let owner = slot("mesh.example");
    let fails = async |fault: Answer| {
        state.lock().unwrap().faults = VecDeque::from([fault]);
        writer
            .apply(&[add(&owner, 300, "a")])
            .await
            .into_result()
            .unwrap_err()
    };
    assert!(
        matches!(fails(failure(200, 1004, "DNS Validation Error")).await, WriteError::Refused { reason, .. } if reason.contains("DNS Validation Error"))
    );
    assert!(matches!(
        fails(Answer::new(400, r#"{"success":true,"result":[]}"#)).await,
        WriteError::Refused { .. }
    ));
    assert!(matches!(
        fails(Answer::new(200, "<html>")).await,
        WriteError::Refused { .. }
    ));
    assert!(matches!(
        fails(failure(403, 10_000, "Authentication error")).await,
        WriteError::NotAuthorised(_)
    ));
    assert!(
        matches!(
            fails(Answer::new(307, "")).await,
            WriteError::Refused { .. }
        ),
        "no redirect is followed"
    );
    assert!(values(&state, owner.as_str()).is_empty());
}

#[tokio::test]
async fn the_token_stands_in_no_message_and_goes_to_no_other_place() {
    let (state, writer) = start();
    state.lock().unwrap().faults = VecDeque::from([failure(400, 1, &format!("bad token {TOKEN}"))]);
    let error = writer
        .apply(&[add(&slot("mesh.example"), 300, "a")])
        .await
        .into_result()
        .unwrap_err();
    for text in [
        format!("{error}"),
        format!("{error:?}"),
        format!("{writer:?}"),
    ] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    let zone = Zone::parse("mesh.example").unwrap();
    for api in [
        "http://api.example/v4",
        "ftp://127.0.0.1",
        "api.example",
        "",
    ] {
        let refused =
            CloudflareWriter::new(api, "zone1", zone.clone(), Zeroizing::new(TOKEN.into()));
        assert!(
            matches!(refused, Err(WriteError::Misconfigured(_))),
            "{api}"
        );
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let applied = self::writer(&format!("http://{closed}"))
        .apply(&[add(&slot("mesh.example"), 300, "a")])
        .await;
    assert!(
        matches!(applied.failure(), Some(WriteError::Unreachable(words)) if !words.contains(TOKEN))
    );
}
