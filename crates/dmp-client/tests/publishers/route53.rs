//! The Route 53 writer against a server that checks every signature by its own computation, and takes or refuses changes as the
//! documented API does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dmp_client::error::WriteError;
use dmp_client::mesh::Writer;
use dmp_client::writer::{AwsCredentials, Route53Writer};
use dmp_core::name::Zone;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::server::{Answer, Request, serve};
use crate::suite::{self, Found, Odd, add, clear, delete, slot};

const SECRET: &str = "secret/that+nobody+may+see";
const SESSION: &str = "session-token";

/// TTL and values of a name, as written by the caller.
type Sets = BTreeMap<String, (u32, Vec<String>)>;
type Interference = Box<dyn FnOnce(&mut Sets) + Send>;

#[derive(Default)]
struct State {
    sets: Sets,
    changes: usize,
    lists: usize,
    faults: VecDeque<Answer>,
    /// Happen after the next lists were answered, one each.
    after_list: VecDeque<Interference>,
}

type Shared = Arc<Mutex<State>>;

fn start() -> (Shared, Route53Writer) {
    let state = Shared::default();
    let shared = Arc::clone(&state);
    let address = serve(move |request| handle(&mut shared.lock().unwrap(), request));
    (state, writer(&format!("http://{address}"), SECRET))
}

fn writer(api: &str, secret: &str) -> Route53Writer {
    let credentials = AwsCredentials {
        access_key_id: "AKIDTEST".to_owned(),
        secret_access_key: Zeroizing::new(secret.to_owned()),
        session_token: Some(Zeroizing::new(SESSION.to_owned())),
    };
    Route53Writer::new(
        api,
        "us-east-1",
        "/hostedzone/Z1TEST",
        Zone::parse("mesh.example").unwrap(),
        credentials,
    )
    .unwrap()
}

fn failure(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(
        status,
        format!(
            "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}

fn handle(state: &mut State, request: &Request) -> Answer {
    if let Some(fault) = state.faults.pop_front() {
        return fault;
    }
    if let Err(reason) = check_signature(request) {
        return failure(403, "SignatureDoesNotMatch", &reason);
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/2013-04-01/hostedzone/Z1TEST/rrset") => list(state, request),
        ("POST", "/2013-04-01/hostedzone/Z1TEST/rrset/") => change(state, &request.body),
        _ => failure(404, "NoSuchHostedZone", "No hosted zone found"),
    }
}

/// Signature Version 4 as its specification puts it, for the headers that the request says it signed.
fn check_signature(request: &Request) -> Result<(), String> {
    let header = request.headers.get("authorization").ok_or("unsigned")?;
    let part = |name: &str| {
        let (_, rest) = header.split_once(name).unwrap();
        rest.split(", ").next().unwrap().to_owned()
    };
    let (credential, signed, signature) = (
        part("Credential="),
        part("SignedHeaders="),
        part("Signature="),
    );
    let scope: Vec<&str> = credential.split('/').collect();
    let date = request.headers.get("x-amz-date").ok_or("no date")?;
    if scope
        != [
            "AKIDTEST",
            &date[..8],
            "us-east-1",
            "route53",
            "aws4_request",
        ]
    {
        return Err(format!("scope {credential}"));
    }
    if date.len() != 16 || !is_now(date) {
        return Err(format!("date {date}"));
    }
    for needed in ["host", "x-amz-date", "x-amz-security-token"] {
        if !signed.split(';').any(|name| name == needed) {
            return Err(format!("{needed} is not signed"));
        }
    }
    if request
        .headers
        .get("x-amz-security-token")
        .map(String::as_str)
        != Some(SESSION)
    {
        return Err("session token".to_owned());
    }
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for name in signed.split(';') {
        canonical += &format!("{name}:{}\n", request.headers[name]);
    }
    canonical += &format!("\n{signed}\n{}", hex::encode(Sha256::digest(&request.body)));
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{}\n{}",
        scope[1..].join("/"),
        hex::encode(Sha256::digest(&canonical))
    );
    let keyed = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let key = scope[1..]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| {
            keyed(&key, part)
        });
    let expected = hex::encode(keyed(&key, &text));
    if signature == expected {
        Ok(())
    } else {
        Err("The request signature we calculated does not match".to_owned())
    }
}

/// Whether it is this minute or the one before: enough to see that the clock was asked and the calendar is right.
fn is_now(date: &str) -> bool {
    let second = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let of_day = |text: &str| {
        let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap();
        number(9..11) * 3_600 + number(11..13) * 60 + number(13..15)
    };
    (second % 86_400 + 86_400 - of_day(date)) % 86_400 < 60
}

fn list(state: &mut State, request: &Request) -> Answer {
    state.lists += 1;
    assert_eq!(
        (request.parameter("type"), request.parameter("maxitems")),
        (Some("TXT"), Some("1"))
    );
    let name = request.parameter("name").unwrap();
    // The list begins at the name or behind it, so what comes may be another one.
    let set = state.sets.range(name.to_owned()..).next().map_or_else(String::new, |(name, (ttl, values))| {
        let values: String = values.iter().map(|value| {
            format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", quick_xml::escape::escape(value.as_str()))
        }).collect();
        format!("<ResourceRecordSet><Name>{name}</Name><Type>TXT</Type><TTL>{ttl}</TTL><ResourceRecords>{values}</ResourceRecords></ResourceRecordSet>")
    });
    if let Some(interfere) = state.after_list.pop_front() {
        interfere(&mut state.sets);
    }
    Answer::new(
        200,
        format!(
            "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
         <ResourceRecordSets>{set}</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>"
        ),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    change_batch: Batch,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    changes: Changes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changes {
    change: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    action: String,
    resource_record_set: Set,
}

#[derive(Deserialize)]
struct Set {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "TTL")]
    ttl: u32,
    #[serde(rename = "ResourceRecords")]
    records: Records,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Records {
    resource_record: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    value: String,
}

/// All changes or none (API reference, ChangeResourceRecordSets).
fn change(state: &mut State, body: &str) -> Answer {
    state.changes += 1;
    let body: Body = quick_xml::de::from_str(body).unwrap();
    let changes = body.change_batch.changes.change;
    let records = || {
        changes
            .iter()
            .flat_map(|change| &change.resource_record_set.records.resource_record)
    };
    assert!(
        records().count() <= 1_000
            && records().map(|record| record.value.len()).sum::<usize>() <= 32_000,
        "quota"
    );
    let mut sets = state.sets.clone();
    for change in &changes {
        let set = &change.resource_record_set;
        let name = set.name.clone();
        assert!(set.kind == "TXT" && name.ends_with("mesh.example."));
        let values: Vec<String> = set
            .records
            .resource_record
            .iter()
            .map(|record| record.value.clone())
            .collect();
        let label = format!("[name='{name}', type='TXT']");
        let refused = match (change.action.as_str(), sets.get(&name)) {
            ("CREATE", Some(_)) => Some(format!(
                "[Tried to create resource record set {label} but it already exists]"
            )),
            ("CREATE", None) => {
                if values.iter().any(|value| strings(value).is_none()) {
                    Some(
                        "Invalid Resource Record: FATAL problem: InvalidCharacterString".to_owned(),
                    )
                } else {
                    sets.insert(name, (set.ttl, values));
                    None
                }
            }
            ("DELETE", None) => Some(format!(
                "[Tried to delete resource record set {label} but it was not found]"
            )),
            ("DELETE", Some(known)) if *known != (set.ttl, values) => Some(format!(
                "[Tried to delete resource record set {label} but the values provided do not match the current values]"
            )),
            ("DELETE", Some(_)) => {
                sets.remove(&name);
                None
            }
            (other, _) => panic!("{other}: an UPSERT would overwrite what others published"),
        };
        if let Some(message) = refused {
            return failure(400, "InvalidChangeBatch", &message);
        }
    }
    state.sets = sets;
    Answer::new(
        200,
        "<?xml version=\"1.0\"?><ChangeResourceRecordSetsResponse><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status></ChangeInfo></ChangeResourceRecordSetsResponse>",
    )
}

/// The value of quoted strings of at most 255 octets with octal escapes, as Route 53 serves it; `None` if it would refuse them.
fn strings(text: &str) -> Option<String> {
    let (mut value, mut length, mut inside) = (Vec::new(), 0, false);
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'"' => {
                (inside, length) = (!inside, 0);
                continue;
            }
            b' ' if !inside => continue,
            b'\\' => match octets.next()? {
                first @ b'0'..=b'7' => {
                    let digits = [first, octets.next()?, octets.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()?
                }
                escaped => escaped,
            },
            0x20..=0x7e => octet,
            _ => return None,
        };
        length += 1;
        value.push(octet);
        if !inside || length > 255 {
            return None;
        }
    }
    (!inside).then(|| String::from_utf8(value).unwrap())
}

fn values(state: &Shared, name: &str) -> Vec<Found> {
    let state = state.lock().unwrap();
    let set = state
        .sets
        .get(&format!("{name}."))
        .cloned()
        .unwrap_or_default();
    set.1
        .iter()
        .map(|value| (strings(value).unwrap(), Some(set.0)))
        .collect()
}

#[tokio::test]
async fn it_behaves_as_every_publisher() {
    let (state, writer) = start();
    suite::hold(&writer, "mesh.example", Odd::Taken, async |owner| {
        values(&state, owner.as_str())
    })
    .await;
    suite::hold_to_its_zone(&writer, "mesh.example").await;
    assert!(
        state.lock().unwrap().sets.is_empty(),
        "the last value takes the set with it"
    );
}

#[tokio::test]
async fn a_whole_message_is_one_change_and_the_longest_ttl_counts() {
    let (state, writer) = start();
    let owner = slot("mesh.example");
    let elsewhere = slot("sub.mesh.example");
    let operations = [
        add(&owner, 900, "a"),
        add(&elsewhere, 300, "b"),
        add(&owner, 300, "c"),
    ];
    let applied = writer.apply(&operations).await;
    assert_eq!((applied.stored(), applied.messages.len()), (3, 1));
    assert_eq!(state.lock().unwrap().lists, 2, "one look at each name");
    assert_eq!(state.lock().unwrap().changes, 1);
    assert_eq!(
        values(&state, owner.as_str()),
        [("a".into(), Some(900)), ("c".into(), Some(900))]
    );
    writer
        .apply(&[add(&owner, 60, "a"), delete(&owner, "x")])
        .await
        .into_result()
        .unwrap();
    assert_eq!(
        state.lock().unwrap().changes,
        1,
        "nothing to change is no request"
    );
}

#[tokio::test]
async fn what_no_change_holds_is_several_in_order() {
    let (state, writer) = start();
    let owners: Vec<_> = (0..20)
        .map(|index| slot(&format!("s{index}.mesh.example")))
        .collect();
    let value = "v".repeat(2_000);
    let operations: Vec<_> = owners.iter().map(|owner| add(owner, 300, &value)).collect();
    let applied = writer.apply(&operations).await;
    assert_eq!(applied.stored(), 20, "{:?}", applied.failure());
    assert_eq!(applied.messages.len(), 2);
    assert_eq!(state.lock().unwrap().sets.len(), 20);
}

#[tokio::test]
async fn values_that_others_publish_meanwhile_survive() {
    let (state, writer) = start();
    let owner = slot("mesh.example");
    let name = format!("{owner}.");
    let put = |values: &'static [&'static str]| -> Interference {
        let name = name.clone();
        Box::new(move |sets| {
            sets.insert(
                name,
                (
                    300,
                    values.iter().map(|value| format!("\"{value}\"")).collect(),
                ),
            );
        })
    };
    let gone = || -> Interference {
        let name = name.clone();
        Box::new(move |sets| {
            sets.remove(&name);
        })
    };
    // Created, then changed, then removed by somebody between our look and our change: each time we look again.
    state.lock().unwrap().after_list = VecDeque::from([put(&["theirs"]), put(&["theirs", "more"])]);
    writer
        .apply(&[add(&owner, 300, "ours")])
        .await
        .into_result()
        .unwrap();
    let mut found: Vec<String> = values(&state, owner.as_str())
        .into_iter()
        .map(|(value, _)| value)
        .collect();
    found.sort();
    assert_eq!(found, ["more", "ours", "theirs"]);
    state.lock().unwrap().after_list = VecDeque::from([put(&["ours", "third"])]);
    writer
        .apply(&[delete(&owner, "ours")])
        .await
        .into_result()
        .unwrap();
    assert_eq!(
        values(&state, owner.as_str()),
        [("third".into(), Some(300))]
    );
    state.lock().unwrap().after_list = VecDeque::from([gone()]);
    writer.apply(&[clear(&owner)]).await.into_result().unwrap();
    assert!(values(&state, owner.as_str()).is_empty());

    let endless = (0..50).map(|index| {
        if index % 2 == 0 {
            put(&["x"])
        } else {
            put(&["y"])
        }
    });
    state.lock().unwrap().after_list = endless.collect();
    let failed = writer
        .apply(&[add(&owner, 300, "ours")])
        .await
        .into_result();
    assert!(
        matches!(failed, Err(WriteError::ServerFailure(_))),
        "{failed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_change_and_throttling_are_waited_for() {
    let (state, writer) = start();
    let owner = slot("mesh.example");
    state.lock().unwrap().faults = VecDeque::from([
        failure(400, "Throttling", "Rate exceeded"),
        Answer {
            retry_after: Some(3),
            ..failure(400, "PriorRequestNotComplete", "wait")
        },
        failure(503, "ServiceUnavailable", "busy"),
    ]);
    let begun = tokio::time::Instant::now();
    writer
        .apply(&[add(&owner, 300, "a")])
        .await
        .into_result()
        .unwrap();
    assert!(
        begun.elapsed() >= Duration::from_secs(1 + 3 + 4),
        "{:?}",
        begun.elapsed()
    );
    state.lock().unwrap().faults = (0..4)
        .map(|_| failure(400, "Throttling", "Rate exceeded"))
        .collect();
    let failed = writer.apply(&[add(&owner, 300, "b")]).await.into_result();
    assert!(
        matches!(failed, Err(WriteError::ServerFailure(_))),
        "{failed:?}"
    );
}

#[tokio::test]
async fn refusals_are_told_apart_and_name_no_secret() {
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
        matches!(fails(failure(404, "NoSuchHostedZone", "none")).await, WriteError::Refused { reason, .. } if reason.contains("NoSuchHostedZone"))
    );
    assert!(matches!(
        fails(failure(403, "AccessDenied", "no")).await,
        WriteError::NotAuthorised(_)
    ));
    assert!(matches!(
        fails(Answer::new(200, "<html>")).await,
        WriteError::ServerFailure(_)
    ));
    assert!(matches!(
        fails(Answer::new(302, "")).await,
        WriteError::Refused { .. }
    ));
    let origin = serve(|request| handle(&mut State::default(), request));
    let wrong = self::writer(&format!("http://{origin}"), "wrong");
    let error = wrong
        .apply(&[add(&owner, 300, "a")])
        .await
        .into_result()
        .unwrap_err();
    assert!(matches!(error, WriteError::NotAuthorised(_)), "{error}");
    for text in [format!("{error:?}"), format!("{writer:?}")] {
        assert!(
            !text.contains("wrong\"") && !text.contains(SECRET) && !text.contains(SESSION),
            "{text}"
        );
    }
}
