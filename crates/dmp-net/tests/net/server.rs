//! A DNS server made of one function: UDP and TCP on the same port of a loopback address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmp_dns::query::Query;
use dmp_dns::{Name, Rcode, Rtype, txt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Via {
    Udp,
    Tcp,
}

/// Every message that came in, in order.
pub(crate) type Log = Arc<Mutex<Vec<(Via, Vec<u8>)>>>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    log: Log,
}

impl Server {
    /// Starts a server that answers with what `respond` returns: any number of messages, none for silence.
    pub(crate) async fn start(
        respond: impl Fn(Via, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_delayed(Duration::ZERO, respond).await
    }

    /// The same without TCP: connections are refused.
    pub(crate) async fn start_udp(
        respond: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: udp.local_addr().unwrap(),
            log: Log::default(),
        };
        let respond = Arc::new(move |_, request: &[u8]| respond(request));
        tokio::spawn(serve_udp(udp, Duration::ZERO, server.log.clone(), respond));
        server
    }

    /// A server that takes its time over UDP.
    pub(crate) async fn start_delayed(
        delay: Duration,
        respond: impl Fn(Via, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // The same number may be taken on UDP; then another one is tried.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let (address, log) = (tcp.local_addr().unwrap(), Log::default());
        let respond = Arc::new(respond);
        tokio::spawn(serve_udp(udp, delay, log.clone(), respond.clone()));
        let seen = log.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let (seen, respond) = (seen.clone(), respond.clone());
                tokio::spawn(async move {
                    let len = stream.read_u16().await.unwrap();
                    let mut message = vec![0; usize::from(len)];
                    stream.read_exact(&mut message).await.unwrap();
                    seen.lock().unwrap().push((Via::Tcp, message.clone()));
                    let answers = respond(Via::Tcp, &message);
                    if answers.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    for answer in answers {
                        stream.write_u16(answer.len() as u16).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        Self { address, log }
    }

    pub(crate) fn log(&self) -> Vec<(Via, Vec<u8>)> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn transports(&self) -> Vec<Via> {
        self.log().into_iter().map(|(via, _)| via).collect()
    }
}

async fn serve_udp(
    socket: UdpSocket,
    delay: Duration,
    log: Log,
    respond: Arc<impl Fn(Via, &[u8]) -> Vec<Vec<u8>>>,
) {
    let mut datagram = vec![0; 65_535];
    while let Ok((len, from)) = socket.recv_from(&mut datagram).await {
        log.lock()
            .unwrap()
            .push((Via::Udp, datagram[..len].to_vec()));
        tokio::time::sleep(delay).await;
        for answer in respond(Via::Udp, &datagram[..len]) {
            // Who asked may be gone.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// An address nobody listens on: UDP and TCP are refused.
pub(crate) async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// An answer to `request`: this code, and these records at the question's name.
pub(crate) fn answer(request: &[u8], rcode: Rcode, records: &[(Rtype, Vec<u8>)]) -> Vec<u8> {
    let query = Query::parse(request).unwrap();
    let mut message = request[..12 + query.name().len() + 4].to_vec();
    message[2] = 0x80 | message[2] & 0x79;
    message[3] = rcode.0 as u8;
    message[6..12].copy_from_slice(&[0, records.len() as u8, 0, 0, 0, 0]);
    for (rtype, rdata) in records {
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&rtype.0.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        message.extend_from_slice(rdata);
    }
    message
}

/// One TXT value.
pub(crate) fn value(text: &str) -> (Rtype, Vec<u8>) {
    (Rtype::TXT, txt::encode_rdata(text.as_bytes()))
}

pub(crate) fn found(request: &[u8], text: &str) -> Vec<Vec<u8>> {
    vec![answer(request, Rcode::NOERROR, &[value(text)])]
}

pub(crate) fn says(rcode: Rcode) -> impl Fn(Via, &[u8]) -> Vec<Vec<u8>> {
    move |_, request| vec![answer(request, rcode, &[])]
}

/// Sets TC.
pub(crate) fn truncated(mut message: Vec<u8>) -> Vec<u8> {
    message[2] |= 2;
    message
}
