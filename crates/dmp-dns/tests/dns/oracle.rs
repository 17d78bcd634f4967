//! The same messages through NLnet Labs' `domain`: names, TSIG in both directions, messages it builds and reads.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use dmp_dns::message::Response;
use dmp_dns::query::Query;
use dmp_dns::tsig::{self, Authentication, authenticate, sign_request};
use dmp_dns::update::{Operation, UpdateBuilder, UpdateRequest};
use dmp_dns::{Name, Rcode, Rtype};
use domain::base::iana::Class;
use domain::base::{Message, MessageBuilder, Name as Theirs, Ttl};
use domain::rdata::tsig::Time48;
use domain::rdata::{A, Txt};
use domain::tsig::{Algorithm, ClientTransaction, Key, KeyName, ServerTransaction};

use crate::support::*;

const SECRET: &[u8] = b"another secret of some octets";

fn their_key() -> Arc<Key> {
    Arc::new(
        Key::new(
            Algorithm::Sha256,
            SECRET,
            KeyName::from_str("oracle.test").unwrap(),
            None,
            None,
        )
        .unwrap(),
    )
}

fn our_key() -> tsig::Key {
    tsig::Key::new(&name("oracle.test"), tsig::Algorithm::HmacSha256, SECRET).unwrap()
}

pub(crate) fn ring() -> HashMap<Name, Arc<tsig::Key>> {
    HashMap::from([(name("oracle.test"), Arc::new(our_key()))])
}

fn time(seconds: u64) -> Time48 {
    Time48::from_u64(seconds)
}

/// A message signed by `domain` with this fudge.
pub(crate) fn sign(message: Vec<u8>, now: u64, fudge: u16) -> Vec<u8> {
    sign_keeping(message, now, fudge).0
}

fn sign_keeping(message: Vec<u8>, now: u64, fudge: u16) -> (Vec<u8>, ClientTransaction<Arc<Key>>) {
    let read = Message::from_octets(message).unwrap();
    let mut builder = MessageBuilder::new_vec().question();
    *builder.header_mut() = read.header();
    for question in read.question() {
        builder.push(question.unwrap()).unwrap();
    }
    let mut builder = builder.answer().authority();
    for record in read.authority().unwrap() {
        let record = record.unwrap();
        if let Some(record) = record.into_record::<Txt<_>>().unwrap() {
            builder.push(record).unwrap();
        }
    }
    let mut builder = builder.additional();
    let transaction =
        ClientTransaction::request_with_fudge(their_key(), &mut builder, time(now), fudge).unwrap();
    (builder.finish(), transaction)
}

fn update() -> Vec<u8> {
    let mut update = UpdateBuilder::new(&name("mesh.example"));
    update
        .push(&Operation::Add {
            owner: name("id-1.mesh.example"),
            ttl: 60,
            value: "v".repeat(300),
        })
        .unwrap();
    update.build(7)
}

#[test]
fn our_server_accepts_their_client_and_they_accept_its_answer() {
    let (request, transaction) = sign_keeping(update(), NOW, 300);
    let query = Query::parse(&request).unwrap();
    let Ok(Authentication::Signed(authenticated)) = authenticate(&query, &ring(), NOW) else {
        panic!("not authenticated")
    };
    let operations = UpdateRequest::parse(&query).unwrap().operations().unwrap();
    assert_eq!(
        operations,
        [Operation::Add {
            owner: name("id-1.mesh.example"),
            ttl: 60,
            value: "v".repeat(300)
        }]
    );
    let mut answer = serve(&Zone::mesh(), &request, UDP);
    authenticated.sign_answer(&mut answer, NOW);
    let mut answer = Message::from_octets(answer).unwrap();
    transaction.answer(&mut answer, time(NOW)).unwrap();
}

#[test]
fn their_server_accepts_our_client_and_we_accept_its_answer() {
    let key = our_key();
    let mut request = update();
    let signature = sign_request(&key, &mut request, NOW).unwrap();
    let mut request = Message::from_octets(request).unwrap();
    let transaction = ServerTransaction::request(&their_key(), &mut request, time(NOW))
        .unwrap()
        .unwrap();
    let answer = MessageBuilder::new_vec()
        .start_answer(&request, domain::base::iana::Rcode::NOERROR)
        .unwrap();
    let mut answer = answer.additional();
    transaction.answer(&mut answer, time(NOW)).unwrap();
    let answer = answer.finish();
    assert_eq!(signature.verify_answer(&answer, NOW), Ok(()));
    assert_eq!(read(&answer).rcode, Rcode::NOERROR);
}

#[test]
fn they_read_what_we_answer() {
    let zone = Zone::mesh().with("txt.mesh.example", &"x".repeat(300), 300);
    let answer = serve(&zone, &query("TXT.mesh.example", Rtype::TXT), UDP);
    let message = Message::from_octets(answer).unwrap();
    let records: Vec<_> = message
        .answer()
        .unwrap()
        .limit_to::<Txt<_>>()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].owner().to_string(), "TXT.mesh.example");
    assert_eq!(
        records[0].data().text::<Vec<u8>>(),
        "x".repeat(300).into_bytes()
    );
    let missing = serve(&zone, &query("nope.mesh.example", Rtype::TXT), UDP);
    let message = Message::from_octets(missing).unwrap();
    let soa = message
        .authority()
        .unwrap()
        .limit_to::<domain::rdata::Soa<_>>()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(soa.owner().to_string(), "mesh.example");
    assert_eq!(soa.data().mname().to_string(), "ns1.example");
    assert_eq!(soa.data().rname().to_string(), "hostmaster.mesh.example");
    assert_eq!(
        (soa.data().serial().into_int(), soa.data().retry().as_secs()),
        (7, 600)
    );
}

#[test]
fn we_read_what_they_answer() {
    let owner = Theirs::<Vec<u8>>::from_str("a.mesh.example").unwrap();
    let request = dmp_dns::message::QueryBuilder::new(name("a.mesh.example"), Rtype::TXT).build(9);
    let request = Message::from_octets(request).unwrap();
    let target = domain::base::StaticCompressor::new(Vec::new());
    let mut answer = MessageBuilder::from_target(target)
        .unwrap()
        .start_answer(&request, domain::base::iana::Rcode::NOERROR)
        .unwrap();
    answer
        .push((
            owner.clone(),
            Class::IN,
            Ttl::from_secs(30),
            Txt::<Vec<u8>>::build_from_slice(&[b'y'; 600]).unwrap(),
        ))
        .unwrap();
    answer
        .push((
            owner,
            Class::IN,
            Ttl::from_secs(30),
            A::from_octets(192, 0, 2, 1),
        ))
        .unwrap();
    let response = Response::parse(answer.finish().as_slice()).unwrap();
    assert!(response.is_answer_to(request.as_slice(), dmp_dns::message::CaseMatch::Exact));
    assert_eq!(response.txt(&name("A.mesh.example")), [&[b'y'; 600][..]]);
    assert_eq!(response.addresses(&name("a.mesh.example")).len(), 1);
}

#[test]
fn names_mean_the_same_to_both() {
    for text in [
        "mesh.example",
        "a\\.b.test",
        "\\000\\255x.test",
        "*.test",
        "xn--nxasmq6b.test",
    ] {
        let ours: Name = text.parse().unwrap();
        let theirs = Theirs::<Vec<u8>>::from_str(text).unwrap();
        assert_eq!(ours.as_wire(), theirs.as_slice(), "{text}");
    }
    for text in ["", "a..b", ".a", "a\\", "a\\25", "a\\256"] {
        assert!(text.parse::<Name>().is_err(), "{text}");
    }
    let label = "x".repeat(63);
    assert!(label.parse::<Name>().is_ok() && format!("{label}x").parse::<Name>().is_err());
    let long = format!("{label}.{label}.{label}.{}", "y".repeat(61));
    assert_eq!(long.parse::<Name>().unwrap().as_wire().len(), 255);
    assert!(format!("{long}y").parse::<Name>().is_err());
}
