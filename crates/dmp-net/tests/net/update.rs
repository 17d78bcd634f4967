//! UPDATE messages: what counts as success, and what every failure is called.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dmp_dns::answer::{Exchange, ExtendedError, Reply, Standing, Transport, respond};
use dmp_dns::query::Query;
use dmp_dns::tsig::{Algorithm, Authentication, Key, TsigError, authenticate};
use dmp_dns::update::{Operation, UpdateRequest};
use dmp_dns::{Name, Rcode};
use dmp_net::{UpdateClient, UpdateError};

use crate::server::*;

fn key() -> Key {
    Key::new(
        &name("k.mesh.test"),
        Algorithm::HmacSha256,
        b"0123456789abcdef0123456789abcdef",
    )
    .unwrap()
}

fn ring() -> HashMap<Name, Arc<Key>> {
    HashMap::from([(name("k.mesh.test"), Arc::new(key()))])
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn add(value: &str) -> Operation {
    Operation::Add {
        owner: name("slot-1.mesh.test"),
        ttl: 300,
        value: value.into(),
    }
}

fn client(server: &Server) -> UpdateClient {
    UpdateClient::new(server.address, name("mesh.test"), Some(key()))
}

async fn send(client: &UpdateClient, operation: &Operation) -> Result<(), UpdateError> {
    let mut message = client.message();
    message.push(operation).unwrap();
    client.send(&message).await
}

/// What a node answers: the signature checked by its clock, then this code, signed.
fn node(request: &[u8], rcode: Rcode, reason: &'static str, clock: u64) -> Vec<u8> {
    let query = Query::parse(request).unwrap();
    let exchange = Exchange::new(Transport::Tcp, clock);
    match authenticate(&query, &ring(), clock) {
        Ok(authentication) => {
            let error = (!reason.is_empty()).then_some(ExtendedError {
                code: ExtendedError::OTHER,
                text: reason,
            });
            let mut answer = vec![0; 1232];
            let reply = Reply {
                rcode,
                standing: Standing::Authoritative,
                error,
            };
            let written = respond(&query, reply, exchange, &mut answer);
            answer.truncate(written.len);
            if let Authentication::Signed(authenticated) = authentication {
                authenticated.sign_answer(&mut answer, clock);
            }
            answer
        }
        Err(failure) => failure.answer(&query, exchange),
    }
}

#[tokio::test]
async fn a_signed_noerror_is_success() {
    let server = Server::start(|_, request| vec![node(request, Rcode::NOERROR, "", now())]).await;
    assert_eq!(send(&client(&server), &add("v")).await, Ok(()));
    let log = server.log();
    let query = Query::parse(&log[0].1).unwrap();
    let request = UpdateRequest::parse(&query).unwrap();
    assert_eq!(request.operations().unwrap(), [add("v")]);
    assert_eq!(
        (log[0].1[2..4].to_vec(), query.is_signed()),
        (vec![5 << 3, 0], true)
    );
}

#[tokio::test]
async fn without_a_key_the_message_is_unsigned_and_noerror_is_success() {
    let server = Server::start(|_, request| vec![node(request, Rcode::NOERROR, "", now())]).await;
    let claims = UpdateClient::new(server.address, name("mesh.test"), None);
    assert_eq!(send(&claims, &add("v")).await, Ok(()));
    assert!(!Query::parse(&server.log()[0].1).unwrap().is_signed());
}

#[tokio::test]
async fn a_refusal_carries_the_code_and_the_servers_words() {
    let server =
        Server::start(|_, request| vec![node(request, Rcode::REFUSED, "too many values", now())])
            .await;
    let error = send(&client(&server), &add("v")).await.unwrap_err();
    assert_eq!(
        error,
        UpdateError::Refused {
            rcode: Rcode::REFUSED,
            reason: Some("too many values".into())
        }
    );
    assert_eq!(
        error.to_string(),
        "the server answered REFUSED: too many values"
    );

    let silent = Server::start(|_, request| vec![node(request, Rcode::NOTZONE, "", now())]).await;
    let error = send(&client(&silent), &add("v")).await.unwrap_err();
    assert!(
        error.to_string().contains("NOTZONE") && error.to_string().contains("outside the zone"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unsigned_answer_to_a_signed_request_is_never_success() {
    let plain = |rcode: Rcode| move |_: Via, request: &[u8]| vec![answer(request, rcode, &[])];
    let noerror = Server::start(plain(Rcode::NOERROR)).await;
    assert_eq!(
        send(&client(&noerror), &add("v")).await,
        Err(UpdateError::Unsigned {
            rcode: Rcode::NOERROR
        })
    );
    let notauth = Server::start(plain(Rcode::NOTAUTH)).await;
    let error = send(&client(&notauth), &add("v")).await.unwrap_err();
    assert_eq!(
        error,
        UpdateError::NotAuthenticated {
            error: None,
            server_time: None
        }
    );
    assert!(
        error
            .to_string()
            .contains("key unknown, wrong secret or clock off")
    );
    // The reference's form: a header and nothing else.
    let header = Server::start(|_, request| {
        vec![vec![
            request[0],
            request[1],
            0x80 | 5 << 3,
            9,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]]
    })
    .await;
    assert_eq!(
        send(&client(&header), &add("v")).await,
        Err(UpdateError::NotAuthenticated {
            error: None,
            server_time: None
        })
    );
}

#[tokio::test]
async fn tsig_errors_are_named() {
    let server = Server::start(|_, request| vec![node(request, Rcode::NOERROR, "", now())]).await;
    let wrong = |key_name: &str, secret: &[u8]| {
        let key = Key::new(&name(key_name), Algorithm::HmacSha256, secret).unwrap();
        UpdateClient::new(server.address, name("mesh.test"), Some(key))
    };
    let unknown = send(&wrong("other.mesh.test", b"s"), &add("v")).await;
    assert_eq!(
        unknown,
        Err(UpdateError::NotAuthenticated {
            error: Some(TsigError::BADKEY),
            server_time: None
        })
    );
    let secret = send(&wrong("k.mesh.test", b"s"), &add("v")).await;
    assert_eq!(
        secret,
        Err(UpdateError::NotAuthenticated {
            error: Some(TsigError::BADSIG),
            server_time: None
        })
    );

    let late = now() + 4000;
    let ahead =
        Server::start(move |_, request| vec![node(request, Rcode::NOERROR, "", late)]).await;
    let time = send(&client(&ahead), &add("v")).await;
    assert_eq!(
        time,
        Err(UpdateError::NotAuthenticated {
            error: Some(TsigError::BADTIME),
            server_time: Some(late)
        })
    );
}

#[tokio::test]
async fn a_forged_answer_does_not_end_the_wait_for_the_true_one() {
    let server = Server::start(|_, request| {
        let genuine = node(request, Rcode::NOERROR, "", now());
        let mut forged = node(request, Rcode::REFUSED, "", now());
        let mac_at = forged.len() - 20;
        forged[mac_at] ^= 1;
        vec![forged, b"x".to_vec(), genuine]
    })
    .await;
    assert_eq!(send(&client(&server), &add("v")).await, Ok(()));
}

#[tokio::test]
async fn a_lost_datagram_is_sent_once_more_byte_for_byte() {
    let count = AtomicUsize::new(0);
    let server = Server::start(
        move |_, request| match count.fetch_add(1, Ordering::SeqCst) {
            0 => vec![],
            _ => vec![node(request, Rcode::NOERROR, "", now())],
        },
    )
    .await;
    let client = client(&server).with_timeout(Duration::from_secs(1));
    assert_eq!(send(&client, &add("v")).await, Ok(()));
    let log = server.log();
    assert_eq!((log.len(), &log[0]), (2, &log[1]));
}

#[tokio::test]
async fn silence_is_a_timeout_and_a_closed_port_is_unreachable() {
    let server = Server::start(|_, _| vec![]).await;
    let impatient = client(&server).with_timeout(Duration::from_millis(200));
    assert_eq!(send(&impatient, &add("v")).await, Err(UpdateError::Timeout));
    assert_eq!(server.transports(), [Via::Udp, Via::Udp]);
    let nobody = UpdateClient::new(closed().await, name("mesh.test"), None);
    assert!(matches!(
        send(&nobody, &add("v")).await,
        Err(UpdateError::Unreachable(_))
    ));
}

#[tokio::test]
async fn servfail_is_tried_once_more_with_another_id() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_, request| {
        let rcode = if count.fetch_add(1, Ordering::SeqCst) == 0 {
            Rcode::SERVFAIL
        } else {
            Rcode::NOERROR
        };
        vec![node(request, rcode, "", now())]
    })
    .await;
    let client = client(&server).with_timeout(Duration::from_secs(1));
    assert_eq!(send(&client, &add("v")).await, Ok(()));
    assert_eq!(server.log().len(), 2);

    let broken = Server::start(|_, request| vec![node(request, Rcode::SERVFAIL, "", now())]).await;
    let client = UpdateClient::new(broken.address, name("mesh.test"), Some(key()))
        .with_timeout(Duration::from_secs(1));
    assert_eq!(
        send(&client, &add("v")).await,
        Err(UpdateError::Refused {
            rcode: Rcode::SERVFAIL,
            reason: None
        })
    );
    assert_eq!(broken.log().len(), 2);
}

#[tokio::test]
async fn up_to_1232_octets_go_over_udp_and_more_over_tcp() {
    let server = Server::start(|_, request| vec![node(request, Rcode::NOERROR, "", now())]).await;
    let client = client(&server);
    let fixed = client.wire_len(&client.message()) + client.message().operation_len(&add("")) - 1;
    // Values above 1020 and up to 1275 octets have five strings.
    let fits = 1232 - fixed - 5;
    assert!((1021..1275).contains(&fits));
    for (len, via) in [(fits, Via::Udp), (fits + 1, Via::Tcp)] {
        assert_eq!(send(&client, &add(&"v".repeat(len))).await, Ok(()));
        let (used, message) = server.log().pop().unwrap();
        assert_eq!((used, message.len()), (via, 1232 + len - fits));
    }
}

#[tokio::test]
async fn a_truncated_answer_repeats_the_message_over_tcp() {
    let server = Server::start(|via, request| match via {
        Via::Udp => vec![truncated(answer(request, Rcode::NOERROR, &[]))],
        Via::Tcp => vec![node(request, Rcode::NOERROR, "", now())],
    })
    .await;
    assert_eq!(send(&client(&server), &add("v")).await, Ok(()));
    let log = server.log();
    assert_eq!((log[0].0, log[1].0), (Via::Udp, Via::Tcp));
    assert_eq!(log[0].1, log[1].1);
}

#[tokio::test]
async fn one_message_carries_many_changes_in_order() {
    let operations: Vec<Operation> = (0..60)
        .map(|index| add(&format!("{index:04}{}", "v".repeat(996))))
        .collect();
    let server = Server::start(|_, request| vec![node(request, Rcode::NOERROR, "", now())]).await;
    let client = client(&server);
    let mut message = client.message();
    operations
        .iter()
        .for_each(|operation| message.push(operation).unwrap());
    assert_eq!(client.send(&message).await, Ok(()));
    let log = server.log();
    assert_eq!(
        (log.len(), log[0].0, log[0].1.len()),
        (1, Via::Tcp, client.wire_len(&message))
    );
    let query = Query::parse(&log[0].1).unwrap();
    assert_eq!(
        UpdateRequest::parse(&query).unwrap().operations().unwrap(),
        operations
    );
}

#[tokio::test]
async fn each_operation_has_its_form_on_the_wire_and_the_signature_comes_last() {
    let long = "x".repeat(256);
    let rdata = [&[255][..], "x".repeat(255).as_bytes(), b"\x01x"].concat();
    let owner = name("slot-1.mesh.test");
    let (value, none) = (long.clone(), Vec::new());
    for (operation, class, ttl, rdata) in [
        (add(&long), 1, 300u32, &rdata),
        (
            Operation::DeleteValue {
                owner: owner.clone(),
                value,
            },
            254,
            0,
            &rdata,
        ),
        (Operation::DeleteRrset { owner }, 255, 0, &none),
    ] {
        let server =
            Server::start(|_, request| vec![node(request, Rcode::NOERROR, "", now())]).await;
        assert_eq!(send(&client(&server), &operation).await, Ok(()));
        let request = server.log()[0].1.clone();
        let id = &request[..2];
        let mut expected = id.to_vec();
        // Opcode UPDATE and no flags; one zone, no prerequisite, one change, OPT and TSIG.
        expected.extend([5 << 3, 0, 0, 1, 0, 0, 0, 1, 0, 2]);
        expected.extend(b"\x04mesh\x04test\0\0\x06\0\x01");
        expected.extend(b"\x06slot-1\xc0\x0c\0\x10");
        expected.extend([0, class]);
        expected.extend(ttl.to_be_bytes());
        expected.extend((rdata.len() as u16).to_be_bytes());
        expected.extend(rdata);
        expected.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
        // Type TSIG, class ANY, TTL 0; behind its length and the time: fudge 300, the MAC, the same id, no error.
        expected.extend(b"\x01k\x04mesh\x04test\0\0\xfa\0\xff\0\0\0\0");
        let (head, tail) = request.split_at(expected.len());
        assert_eq!(head, expected);
        assert_eq!(
            usize::from(u16::from_be_bytes([tail[0], tail[1]])),
            tail.len() - 2
        );
        assert!(tail[2..].starts_with(b"\x0bhmac-sha256\0"));
        let end = &tail[tail.len() - 42..];
        assert_eq!(end[..4], [1, 44, 0, 32], "fudge 300, a MAC of 32 octets");
        assert_eq!(end[36..], [id, &[0, 0, 0, 0][..]].concat());
    }
}
