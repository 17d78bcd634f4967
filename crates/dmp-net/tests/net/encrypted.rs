//! DNS over TLS and over HTTPS against servers with certificates of an authority made for the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmp_dns::query::Query;
use dmp_dns::{Rcode, Rtype};
use dmp_net::scan::{Probes, Reach, Verdict, scan};
use dmp_net::{Dnssec, Entry, Lookup, PoolOptions, ResolverPool, Trust};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::*;

/// An authority, and what it vouches for: 127.0.0.1 and dns.test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn trust(&self) -> Trust {
        Trust::of_pem(self.0.pem().as_bytes())
    }

    fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec!["dns.test".to_owned()]).unwrap();
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        params.subject_alt_names.push(SanType::IpAddress(address));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What came in, by connection.
type Seen = Arc<Mutex<Vec<Vec<Vec<u8>>>>>;

struct Secure {
    address: SocketAddr,
    seen: Seen,
}

impl Secure {
    /// Accepts connections and gives each to `serve`, with its number.
    async fn start<F: Future<Output = ()> + Send + 'static>(
        acceptor: TlsAcceptor,
        serve: impl Fn(TlsStream<TcpStream>, usize, Seen) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not like the certificate goes away.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let number = log.lock().unwrap().len();
                    log.lock().unwrap().push(Vec::new());
                    tokio::spawn(serve(stream, number, log.clone()));
                }
            }
        });
        Self { address, seen }
    }

    /// How many messages came over each connection.
    fn connections(&self) -> Vec<usize> {
        self.seen.lock().unwrap().iter().map(Vec::len).collect()
    }
}

async fn receive(stream: &mut TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

async fn send(stream: &mut TlsStream<TcpStream>, message: &[u8]) {
    stream.write_u16(message.len() as u16).await.unwrap();
    stream.write_all(message).await.unwrap();
}

/// The first label of the question as the value.
fn echo(request: &[u8]) -> Vec<u8> {
    let query = Query::parse(request).unwrap();
    let label = query.name()[1..=usize::from(query.name()[0])].to_vec();
    answer(
        request,
        Rcode::NOERROR,
        &[value(&String::from_utf8(label).unwrap())],
    )
}

/// Answers every question of a connection.
async fn echoes(mut stream: TlsStream<TcpStream>, number: usize, seen: Seen) {
    while let Some(message) = receive(&mut stream).await {
        send(&mut stream, &echo(&message)).await;
        seen.lock().unwrap()[number].push(message);
    }
}

fn pool(entry: &str, trust: Trust) -> ResolverPool {
    pool_with(entry, trust, PoolOptions::default())
}

fn pool_with(entry: &str, trust: Trust, options: PoolOptions) -> ResolverPool {
    let entry: Entry = entry.parse().unwrap();
    ResolverPool::new(vec![entry], options)
        .unwrap()
        .trusting(trust)
}

fn one(text: &str) -> Lookup {
    Lookup::Found(vec![text.to_owned()])
}

fn reason(lookup: Lookup) -> String {
    match lookup {
        Lookup::Unreachable(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn queries_over_tls_share_a_connection_and_have_lengths_in_steps_of_128() {
    let authority = Authority::new();
    let server = Secure::start(authority.acceptor(&[]), echoes).await;
    for entry in [
        format!("tls://{}", server.address),
        format!("tls://{}#dns.test", server.address),
    ] {
        server.seen.lock().unwrap().clear();
        let pool = pool(&entry, authority.trust());
        for label in ["a", "b"] {
            assert_eq!(pool.txt(&name(&format!("{label}.test"))).await, one(label));
        }
        assert_eq!(server.connections(), [2]);
    }
    let seen = server.seen.lock().unwrap();
    assert!(
        seen[0].iter().all(|message| message.len() == 128),
        "padded (RFC 8467)"
    );
    let query = Query::parse(&seen[0][0]).unwrap();
    assert!(query.edns().is_some() && query.cookie().is_none());
}

#[tokio::test]
async fn many_questions_are_under_way_at_once_and_answers_come_in_any_order() {
    let authority = Authority::new();
    let server = Secure::start(
        authority.acceptor(&[]),
        |mut stream, number, seen| async move {
            let mut all = Vec::new();
            while all.len() < 16 {
                all.push(receive(&mut stream).await.unwrap());
            }
            for message in all.iter().rev() {
                send(&mut stream, &echo(message)).await;
            }
            seen.lock().unwrap()[number] = all;
            let _ = receive(&mut stream).await;
        },
    )
    .await;
    let pool = Arc::new(pool(
        &format!("tls://{}", server.address),
        authority.trust(),
    ));
    let lookups: Vec<_> = (0..16)
        .map(|index| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.txt(&name(&format!("n{index}.test"))).await })
        })
        .collect();
    for (index, lookup) in lookups.into_iter().enumerate() {
        assert_eq!(lookup.await.unwrap(), one(&format!("n{index}")));
    }
    assert_eq!(server.connections(), [16]);
}

#[tokio::test]
async fn a_connection_that_the_resolver_closed_is_made_anew_without_anybody_noticing() {
    let authority = Authority::new();
    let server = Secure::start(
        authority.acceptor(&[]),
        |mut stream, number, seen| async move {
            let message = receive(&mut stream).await.unwrap();
            send(&mut stream, &echo(&message)).await;
            seen.lock().unwrap()[number].push(message);
            // The next question is read, and not answered.
            let _ = receive(&mut stream).await;
        },
    )
    .await;
    let pool = pool(&format!("tls://{}", server.address), authority.trust());
    for label in ["a", "b", "c"] {
        assert_eq!(pool.txt(&name(&format!("{label}.test"))).await, one(label));
    }
    assert_eq!(server.connections(), [1, 1, 1]);
}

#[tokio::test]
async fn a_certificate_has_to_be_for_the_name_or_the_address_and_from_somebody_trusted() {
    let authority = Authority::new();
    let plain = Server::start(|_, request| found(request, "in the clear")).await;
    let server = Secure::start(authority.acceptor(&[b"h2"]), echoes).await;
    let port = server.address.port();
    for (entry, trust) in [
        (
            format!("tls://127.0.0.1:{port}#other.test"),
            authority.trust(),
        ),
        (
            format!("https://other.test:{port}/q@127.0.0.1"),
            authority.trust(),
        ),
        (format!("tls://127.0.0.1:{port}"), Authority::new().trust()),
        (format!("https://127.0.0.1:{port}/q"), Trust::of_pem(b"")),
    ] {
        let why = reason(pool(&entry, trust).txt(&name("a.test")).await);
        assert!(why.contains("certificate") && why.contains(&entry), "{why}");
    }
    assert_eq!(server.connections(), [0; 0], "no handshake came to an end");

    let options = PoolOptions {
        timeout: Duration::from_millis(300),
        ..PoolOptions::default()
    };
    let entry = format!("tls://{}", plain.address);
    let to_plain = pool_with(&entry, authority.trust(), options);
    let why = reason(to_plain.txt(&name("a.test")).await);
    assert!(why.contains("tls://"), "{why}");
}

#[tokio::test]
async fn an_encrypted_resolver_asked_by_itself_is_not_asked_in_the_clear() {
    let plain = Server::start(|_, request| found(request, "in the clear")).await;
    let entry: Entry = format!("tls://{}", plain.address).parse().unwrap();
    let timeout = Duration::from_millis(300);
    let upstream = &entry.upstreams()[0];
    let asked = dmp_net::ask(upstream, &name("a.test"), Rtype::TXT, timeout).await;
    assert!(asked.is_err());
    let hello = plain.log();
    assert!(
        hello
            .iter()
            .all(|(via, message)| *via == Via::Tcp
                && !message.windows(4).any(|part| part == b"test")),
        "{hello:?}"
    );
}

#[tokio::test]
async fn silence_behind_the_handshake_is_a_timeout_and_the_next_query_makes_a_new_connection() {
    let authority = Authority::new();
    let server = Secure::start(
        authority.acceptor(&[]),
        |mut stream, number, seen| async move {
            while let Some(message) = receive(&mut stream).await {
                if number > 0 {
                    send(&mut stream, &echo(&message)).await;
                }
                seen.lock().unwrap()[number].push(message);
            }
        },
    )
    .await;
    let options = PoolOptions {
        timeout: Duration::from_millis(400),
        ..PoolOptions::default()
    };
    let entry = format!("tls://{}", server.address);
    let pool = pool_with(&entry, authority.trust(), options);
    assert!(reason(pool.txt(&name("a.test")).await).contains("no answer in time"));
    assert_eq!(pool.txt(&name("b.test")).await, one("b"));
    assert_eq!(server.connections(), [1, 1]);
}

#[tokio::test]
async fn required_dnssec_holds_over_tls_too() {
    let authority = Authority::new();
    let server = Secure::start(authority.acceptor(&[]), echoes).await;
    let options = PoolOptions {
        dnssec: Dnssec::Requested,
        ..PoolOptions::default()
    };
    let pool = pool_with(
        &format!("tls://{}", server.address),
        authority.trust(),
        options,
    );
    assert!(reason(pool.txt(&name("a.test")).await).contains("did not validate"));
    let seen = server.seen.lock().unwrap();
    assert!(Query::parse(&seen[0][0]).unwrap().edns().unwrap().dnssec_ok);
}

/// Serves DNS over HTTPS at `/q`, and elsewhere what servers get wrong.
async fn https(authority: &Authority) -> Secure {
    Secure::start(
        authority.acceptor(&[b"h2"]),
        |stream, number, seen| async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    assert_eq!(parts.method, "POST");
                    assert_eq!(parts.headers["content-type"], "application/dns-message");
                    assert_eq!(parts.headers["accept"], "application/dns-message");
                    let message = body.collect().await.unwrap().to_bytes().to_vec();
                    let (status, kind, body) = match parts.uri.path() {
                        "/q" => (200, "application/dns-message", echo(&message)),
                        "/moved" => (302, "application/dns-message", vec![]),
                        "/page" => (200, "text/html", echo(&message)),
                        "/long" => (200, "application/dns-message", vec![0; 100_000]),
                        _ => (404, "text/html", vec![]),
                    };
                    seen.lock().unwrap()[number].push(message);
                    let response = Response::builder()
                        .status(status)
                        .header("content-type", kind)
                        .header("location", "/q");
                    Ok::<_, hyper::Error>(response.body(Full::new(Bytes::from(body))).unwrap())
                }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = serving
                .serve_connection(TokioIo::new(stream), service)
                .await;
        },
    )
    .await
}

#[tokio::test]
async fn queries_over_https_share_a_connection_and_have_id_zero() {
    let authority = Authority::new();
    let server = https(&authority).await;
    let port = server.address.port();
    for entry in [
        format!("https://127.0.0.1:{port}/q"),
        format!("https://dns.test:{port}/q@127.0.0.1"),
    ] {
        server.seen.lock().unwrap().clear();
        let pool = Arc::new(pool(&entry, authority.trust()));
        assert_eq!(pool.txt(&name("first.test")).await, one("first"));
        let lookups: Vec<_> = (0..8)
            .map(|index| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.txt(&name(&format!("n{index}.test"))).await })
            })
            .collect();
        for (index, lookup) in lookups.into_iter().enumerate() {
            assert_eq!(lookup.await.unwrap(), one(&format!("n{index}")));
        }
        assert_eq!(server.connections(), [9], "{entry}");
    }
    let seen = server.seen.lock().unwrap();
    let good = |message: &Vec<u8>| message.starts_with(&[0, 0]) && message.len() == 128;
    assert!(seen[0].iter().all(good));
}

#[tokio::test]
async fn what_is_no_dns_message_over_https_is_a_failure_with_its_reason() {
    let authority = Authority::new();
    let server = https(&authority).await;
    for (path, told) in [
        ("missing", "HTTP status 404"),
        ("moved", "HTTP status 302"),
        ("page", "not an answer"),
        ("long", "limit"),
    ] {
        let entry = format!("https://{}/{path}", server.address);
        let why = reason(pool(&entry, authority.trust()).txt(&name("a.test")).await);
        assert!(why.contains(told), "{path}: {why}");
    }
    let old = Secure::start(authority.acceptor(&[]), echoes).await;
    let entry = format!("https://{}/q", old.address);
    let why = reason(pool(&entry, authority.trust()).txt(&name("a.test")).await);
    assert!(why.contains("HTTP/2"), "{why}");
}

#[tokio::test]
async fn a_scan_looks_at_encrypted_resolvers_too() {
    let authority = Authority::new();
    let (tls, https) = (
        Secure::start(authority.acceptor(&[]), echoes).await,
        https(&authority).await,
    );
    let upstreams: Vec<_> = [
        format!("tls://{}", tls.address),
        format!("https://{}/q", https.address),
        format!("tls://{}#other.test", tls.address),
    ]
    .iter()
    .flat_map(|entry| entry.parse::<Entry>().unwrap().upstreams())
    .collect();
    let probes = Probes {
        present: name("present.test"),
        signed: name("signed.test"),
        large: name("large.test"),
        bogus: name("bogus.test"),
        trust: authority.trust(),
    };
    let reports = scan(&upstreams, &probes, Duration::from_secs(5)).await;
    for report in &reports[..2] {
        assert!(matches!(report.encrypted, Reach::Answers(_)), "{report:?}");
        assert_eq!(
            (&report.udp, &report.tcp),
            (&Reach::NotAsked, &Reach::NotAsked)
        );
        assert_eq!(report.txt, Verdict::Yes);
        assert!(matches!(&report.nxdomain, Verdict::No(why) if why.contains("invents")));
    }
    assert!(matches!(&reports[2].encrypted, Reach::Fails(why) if why.contains("certificate")));
}
