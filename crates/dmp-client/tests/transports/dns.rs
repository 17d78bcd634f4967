//! The UPDATE writer, the claim sender and the resolvers against a small name server.

use std::collections::HashMap;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use dmp_client::error::WriteError;
use dmp_client::mesh::{ClaimNotice, ClaimSender, Lookup, Operation, Reader, UpdateTarget, Writer};
use dmp_client::reader::Resolvers;
use dmp_client::writer::{DnsClaims, TsigCredential, TsigWriter};
use dmp_core::id::{MsgId, Slot, UserId};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::{chunk_owner, claim_owner, manifest_owner};
use dmp_dns::answer::{Exchange, ExtendedError, Reply, Standing, Transport, respond};
use dmp_dns::query::Query;
use dmp_dns::tsig::{Algorithm, Authentication, Key, authenticate};
use dmp_dns::update::{self, UpdateRequest};
use dmp_dns::{Name, Rcode};
use dmp_net::{PoolOptions, SystemFallback};

const SECRET: &str = "00112233445566778899aabbccddeeff";

/// What the server does with an authentic or unsigned UPDATE.
#[derive(Clone, Copy)]
enum Says {
    /// This code, signed if the request was.
    Code(Rcode, &'static str),
    /// NOERROR, never signed.
    Unsigned,
    /// NOERROR to this many changes, FORMERR to more, signed.
    AtMost(usize),
}

/// Over which transport a message came, how long it was, what it asked for.
type Log = Arc<Mutex<Vec<(&'static str, usize, Vec<update::Operation>)>>>;

struct Server {
    address: SocketAddr,
    log: Log,
}

impl Server {
    fn start(says: Says) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let log = Log::default();
        let seen = Arc::clone(&log);
        thread::spawn(move || {
            let mut datagram = vec![0; 65_535];
            while let Ok((len, from)) = udp.recv_from(&mut datagram) {
                udp.send_to(&serve(says, &seen, "udp", &datagram[..len]), from)
                    .unwrap();
            }
        });
        let seen = Arc::clone(&log);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let mut len = [0; 2];
                stream.read_exact(&mut len).unwrap();
                let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut message).unwrap();
                let answer = serve(says, &seen, "tcp", &message);
                stream
                    .write_all(&(answer.len() as u16).to_be_bytes())
                    .unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        Self { address, log }
    }

    fn log(&self) -> Vec<(&'static str, usize, Vec<update::Operation>)> {
        self.log.lock().unwrap().clone()
    }

    fn writer(&self) -> TsigWriter {
        let zone = Zone::parse("mesh.example").unwrap();
        let credential =
            TsigCredential::parse("k.mesh.example.", SECRET, "hmac-sha256", &zone).unwrap();
        TsigWriter::new(self.address, credential)
    }
}

fn serve(says: Says, log: &Log, via: &'static str, message: &[u8]) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let name: Name = "k.mesh.example".parse().unwrap();
    let key = Key::new(&name, Algorithm::HmacSha256, &hex::decode(SECRET).unwrap()).unwrap();
    let ring = HashMap::from([(name, Arc::new(key))]);
    let query = Query::parse(message).unwrap();
    let operations = UpdateRequest::parse(&query).unwrap().operations().unwrap();
    let count = operations.len();
    log.lock().unwrap().push((via, message.len(), operations));
    let (rcode, text) = match says {
        Says::Code(rcode, text) => (rcode, text),
        Says::Unsigned => (Rcode::NOERROR, ""),
        Says::AtMost(most) if count > most => (Rcode::FORMERR, ""),
        Says::AtMost(_) => (Rcode::NOERROR, ""),
    };
    let error = (!text.is_empty()).then_some(ExtendedError {
        code: ExtendedError::OTHER,
        text,
    });
    let reply = Reply {
        rcode,
        standing: Standing::Authoritative,
        error,
    };
    let exchange = Exchange::new(Transport::Tcp, now);
    let mut answer = vec![0; 1232];
    let written = respond(&query, reply, exchange, &mut answer);
    answer.truncate(written.len);
    if let (Ok(Authentication::Signed(authentic)), Says::Code(..) | Says::AtMost(_)) =
        (authenticate(&query, &ring, now), says)
    {
        authentic.sign_answer(&mut answer, now);
    }
    answer
}

/// A message of this many chunks: the chunks, then the manifest.
fn message(chunks: u16) -> Vec<Operation> {
    let zone = Zone::parse("mesh.example").unwrap();
    let (msg_id, recipient) = (MsgId::from_bytes([1; 16]), UserId::from_bytes([2; 32]));
    let sender = SigningPublicKey::from_bytes([3; 32]);
    let mut operations: Vec<_> = (0..chunks)
        .map(|index| Operation::Add {
            owner: chunk_owner(&msg_id, &recipient, &sender, index, &zone),
            ttl: 300,
            value: format!("{index:0>241}"),
        })
        .collect();
    operations.push(Operation::Add {
        owner: manifest_owner(&recipient, Slot::new(4).unwrap(), &zone),
        ttl: 300,
        value: "m".repeat(420),
    });
    operations
}

/// The operations as wire names.
fn on_the_wire(operations: &[Operation]) -> Vec<update::Operation> {
    operations
        .iter()
        .map(|operation| match operation {
            Operation::Add { owner, ttl, value } => update::Operation::Add {
                owner: owner.as_str().parse().unwrap(),
                ttl: *ttl,
                value: value.clone(),
            },
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn a_whole_message_is_one_update_in_wire_order() {
    let server = Server::start(Says::Code(Rcode::NOERROR, ""));
    let operations = message(4);
    let applied = server.writer().apply(&operations).await;
    assert_eq!((applied.stored(), applied.messages.len()), (5, 1));
    let log = server.log();
    assert_eq!(
        (log.len(), log[0].0),
        (1, "tcp"),
        "more than 1232 octets go over TCP at once"
    );
    assert_eq!(log[0].1, applied.messages[0].bytes);
    assert_eq!(
        log[0].2,
        on_the_wire(&operations),
        "values over 255 octets are split and joined again"
    );
}

#[tokio::test]
async fn what_fits_a_datagram_is_a_datagram() {
    let server = Server::start(Says::Code(Rcode::NOERROR, ""));
    let operations = &message(2)[..2];
    assert_eq!(
        server.writer().apply(operations).await.into_result(),
        Ok(())
    );
    assert_eq!(server.log()[0].0, "udp");
}

#[tokio::test]
async fn what_no_message_holds_is_several_in_order() {
    let server = Server::start(Says::Code(Rcode::NOERROR, ""));
    let operations = message(255);
    let applied = server.writer().apply(&operations).await;
    assert_eq!(applied.stored(), 256);
    assert_eq!(applied.messages.len(), 2);
    let log = server.log();
    assert!(log.iter().all(|(_, len, _)| *len <= 65_535));
    let sent: Vec<_> = log
        .into_iter()
        .flat_map(|(_, _, operations)| operations)
        .collect();
    assert_eq!(sent, on_the_wire(&operations));
}

#[tokio::test]
async fn a_server_that_cannot_read_long_messages_gets_shorter_ones_in_order() {
    let server = Server::start(Says::AtMost(2));
    let operations = message(8);
    let applied = server.writer().apply(&operations).await;
    assert_eq!(applied.stored(), 9, "{:?}", applied.failure());
    let taken: Vec<_> = server
        .log()
        .into_iter()
        .map(|(_, _, operations)| operations)
        .filter(|operations| operations.len() <= 2)
        .flatten()
        .collect();
    assert_eq!(taken, on_the_wire(&operations));
    let nothing = Server::start(Says::AtMost(0));
    let failure = nothing.writer().apply(&operations).await;
    assert!(
        matches!(failure.failure(), Some(WriteError::Refused { reason, .. }) if reason.contains("FORMERR"))
    );
}

#[tokio::test]
async fn a_refusal_keeps_the_nodes_words_and_its_cap() {
    let server = Server::start(Says::Code(Rcode::REFUSED, "ttl exceeds cap of 600s"));
    let failure = server
        .writer()
        .apply(&message(1))
        .await
        .into_result()
        .unwrap_err();
    let reason = "ttl exceeds cap of 600s".to_owned();
    assert_eq!(
        failure,
        WriteError::Refused {
            reason,
            ttl_cap: Some(600)
        }
    );
    let server = Server::start(Says::Code(Rcode::REFUSED, ""));
    let failure = server
        .writer()
        .apply(&message(1))
        .await
        .into_result()
        .unwrap_err();
    assert_eq!(
        failure,
        WriteError::Refused {
            reason: String::new(),
            ttl_cap: None
        }
    );
    assert!(
        failure.to_string().contains("scope"),
        "the likely cause is said: {failure}"
    );
}

#[tokio::test]
async fn every_other_failure_has_its_own_name() {
    let failure = async |says| {
        Server::start(says)
            .writer()
            .apply(&message(1))
            .await
            .into_result()
            .unwrap_err()
    };
    assert_eq!(
        failure(Says::Code(Rcode::NOTZONE, "")).await,
        WriteError::NotZone
    );
    assert!(matches!(
        failure(Says::Code(Rcode::NOTAUTH, "")).await,
        WriteError::NotAuthorised(_)
    ));
    assert!(matches!(
        failure(Says::Code(Rcode::SERVFAIL, "")).await,
        WriteError::ServerFailure(_)
    ));
    assert!(matches!(
        failure(Says::Unsigned).await,
        WriteError::Unverified(_)
    ));

    let zone = Zone::parse("other.example").unwrap();
    let credential =
        TsigCredential::parse("k.mesh.example.", SECRET, "hmac-sha256", &zone).unwrap();
    let server = Server::start(Says::Code(Rcode::NOERROR, ""));
    let writer = TsigWriter::new(server.address, credential);
    assert_eq!(
        writer.apply(&message(1)).await.into_result(),
        Err(WriteError::NotZone)
    );
    assert!(server.log().is_empty(), "seen before anything was sent");

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let credential = TsigCredential::parse(
        "k.mesh.example.",
        SECRET,
        "hmac-sha256",
        &Zone::parse("mesh.example").unwrap(),
    )
    .unwrap();
    let failure = TsigWriter::new(closed, credential)
        .apply(&message(9))
        .await
        .into_result()
        .unwrap_err();
    assert!(matches!(failure, WriteError::Unreachable(_)), "{failure}");
}

#[test]
fn a_credential_says_what_is_wrong_with_it() {
    let zone = Zone::parse("mesh.example").unwrap();
    let parse = |name: &str, secret: &str, algorithm: &str| match TsigCredential::parse(
        name, secret, algorithm, &zone,
    ) {
        Err(WriteError::Misconfigured(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(parse("a..b", SECRET, "hmac-sha256").starts_with("tsig_key_name"));
    assert!(parse("k.", "xyz", "hmac-sha256").starts_with("tsig_secret_hex"));
    assert!(parse("k.", SECRET, "hmac-md5").starts_with("tsig_algorithm"));
}

#[tokio::test]
async fn a_claim_goes_unsigned_to_its_server() {
    let server = Server::start(Says::Code(Rcode::NOERROR, ""));
    let resolvers = Resolvers::configured(
        vec![server.address],
        PoolOptions::default(),
        SystemFallback::Forbidden,
    );
    let claims = DnsClaims::new(resolvers, server.address.port());
    let zone = Zone::parse("provider.example").unwrap();
    let notice = ClaimNotice {
        target: UpdateTarget {
            host: "127.0.0.1".into(),
            port: None,
        },
        owner: claim_owner(&UserId::from_bytes([2; 32]), Slot::new(1).unwrap(), &zone),
        zone,
        ttl: 300,
        value: "a claim".into(),
    };
    assert_eq!(claims.send(&notice).await, Ok(()));
    let log = server.log();
    assert_eq!((log.len(), log[0].0, log[0].2.len()), (1, "udp", 1));
    let unresolvable = ClaimNotice {
        target: UpdateTarget {
            host: "no host".into(),
            port: None,
        },
        ..notice
    };
    assert!(matches!(
        claims.send(&unresolvable).await,
        Err(WriteError::Unreachable(_))
    ));
}

#[tokio::test]
async fn nobody_to_ask_is_not_absence() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let resolvers = Resolvers::unpinned(vec![closed], PoolOptions::default());
    let owner = claim_owner(
        &UserId::from_bytes([2; 32]),
        Slot::new(1).unwrap(),
        &Zone::parse("mesh.example").unwrap(),
    );
    assert!(matches!(
        resolvers.txt(&owner).await,
        Lookup::Unreachable(_)
    ));
}
