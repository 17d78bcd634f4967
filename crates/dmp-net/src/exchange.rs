//! One request, one answer, one deadline: over UDP from a socket of its own, or over TCP.
//!
//! Every UDP request leaves from a fresh socket, so its port is the kernel's random choice, and answers from elsewhere
//! never reach it. Nothing is retried here but one identical retransmission over UDP.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use dmp_dns::message::{CaseMatch, QueryBuilder, Response};
use dmp_dns::{Name, Rcode, Rtype};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cookies::CookieJar;
use crate::limits;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing acceptable arrived in time.
    #[error("no answer in time")]
    Timeout,
    /// The network said no: refused, unreachable, reset.
    #[error("{0}")]
    Network(#[from] io::Error),
    /// The other side answered over TCP, but not with an answer to this request.
    #[error("the answer is not an answer to the request")]
    Garbage,
}

/// A message id from the operating system's randomness.
pub fn random_id() -> io::Result<u16> {
    Ok(u16::from_be_bytes(random()?))
}

/// Sends `request` over UDP and hands every datagram that comes back from `server` to `accept`, until it returns something.
///
/// What `accept` turns down (a forgery, garbage) does not end the wait. The identical datagram goes out once more on the
/// way, after [`limits::retransmit`].
pub async fn udp<T>(
    server: SocketAddr,
    request: &[u8],
    timeout: Duration,
    mut accept: impl FnMut(&[u8]) -> Option<T>,
) -> Result<T, ExchangeError> {
    let socket = connect(server).await?;
    converse(&socket, request, timeout, &mut accept).await
}

/// A fresh socket for `server` alone.
async fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

async fn converse<T>(
    socket: &UdpSocket,
    request: &[u8],
    timeout: Duration,
    accept: &mut impl FnMut(&[u8]) -> Option<T>,
) -> Result<T, ExchangeError> {
    let deadline = Instant::now() + timeout;
    socket.send(request).await?;
    let mut again = Some(Instant::now() + limits::retransmit(timeout));
    let mut datagram = vec![0; dmp_dns::limits::MESSAGE];
    loop {
        tokio::select! {
            biased; // the clock first: a flood of garbage must not outlast the deadline
            () = sleep_until(again.unwrap_or(deadline)) => match again.take() {
                Some(_) => {
                    socket.send(request).await?;
                }
                None => return Err(ExchangeError::Timeout),
            },
            received = socket.recv(&mut datagram) => {
                if let Some(accepted) = datagram.get(..received?).and_then(&mut *accept) {
                    return Ok(accepted);
                }
            }
        }
    }
}

/// Sends `request` over a TCP connection of its own and returns the first message that comes back (RFC 7766).
pub async fn tcp(
    server: SocketAddr,
    request: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    let length =
        u16::try_from(request.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut framed = Vec::with_capacity(request.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(request);
    within(timeout, async {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&framed).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    })
    .await
}

/// How a single query goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dnssec {
    /// Answers are taken as they come.
    Ignored,
    /// DO is set; the caller looks at AD.
    Requested,
}

/// Which transports a query may use, and how long each.
#[derive(Clone, Copy, Debug)]
pub struct QueryPlan {
    /// One try.
    pub timeout: Duration,
    /// All tries together.
    pub total: Duration,
    /// Whether validation by the upstream is wanted.
    pub dnssec: Dnssec,
}

/// Asks one server one question: UDP with random case (DNS-0x20) and a cookie, then TCP if the answer is truncated, if its
/// question came back in other case or without the cookie it used to have, or if no answer came - a node whose rate limit
/// is reached stays silent on UDP only (client.md 4.1).
///
/// A server that wants another cookie (BADCOOKIE), or does not understand cookies (FORMERR), is asked once more over UDP.
pub async fn query(
    server: SocketAddr,
    name: &Name,
    rtype: Rtype,
    plan: QueryPlan,
    cookies: &CookieJar,
) -> Result<Response, ExchangeError> {
    let deadline = Instant::now() + plan.total;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        plan.timeout.min(left)
    };
    let builder = QueryBuilder::new(name.with_case(&random()?), rtype);
    let builder = if plan.dnssec == Dnssec::Requested {
        builder.with_dnssec()
    } else {
        builder
    };
    let mut silent = false;
    for _ in 0..2 {
        match query_udp(server, &builder, left(), cookies).await {
            Ok(Heard::Answer(response)) => return Ok(*response),
            Ok(Heard::OtherCookie) => {}
            Ok(Heard::Unconfirmed) => break,
            Err(ExchangeError::Timeout) => {
                silent = true;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let request = builder.for_tcp().build(random_id()?);
    let answer = match tcp(server, &request, left()).await {
        // Who is silent on UDP and has no TCP did not answer in time.
        Err(ExchangeError::Network(_)) if silent => return Err(ExchangeError::Timeout),
        answer => answer?,
    };
    let response = Response::parse(&answer).map_err(|_| ExchangeError::Garbage)?;
    if response.is_answer_to(&request, CaseMatch::Folded) {
        Ok(response)
    } else {
        Err(ExchangeError::Garbage)
    }
}

/// What an answer over UDP comes to.
enum Heard {
    Answer(Box<Response>),
    /// The same again, with the cookie that came or without any.
    OtherCookie,
    /// To be asked over TCP.
    Unconfirmed,
}

async fn query_udp(
    server: SocketAddr,
    builder: &QueryBuilder,
    timeout: Duration,
    cookies: &CookieJar,
) -> Result<Heard, ExchangeError> {
    let socket = connect(server).await?;
    let path = (server, socket.local_addr()?.ip());
    let own = cookies.show(path)?;
    let builder = builder.clone();
    let builder = match &own {
        Some(own) => builder.with_cookie(own.as_cookie()),
        None => builder,
    };
    let request = builder.build(random_id()?);
    let mut accept = |datagram: &[u8]| {
        let response = Response::parse(datagram).ok()?;
        if !response.is_answer_to(&request, CaseMatch::Folded) {
            return None;
        }
        // RFC 7873 5.3: an answer with another client's cookie, or with what is none, is not for us.
        let theirs = response.cookie().ok()?;
        if let (Some(own), Some(theirs)) = (&own, theirs) {
            if theirs.client != own.client {
                return None;
            }
            cookies.learn(path, theirs);
        }
        let exact = response.is_answer_to(&request, CaseMatch::Exact);
        if response.truncated || !exact {
            return Some(Heard::Unconfirmed);
        }
        match (&own, theirs.is_some()) {
            (Some(_), true) if response.rcode == Rcode::BADCOOKIE => Some(Heard::OtherCookie),
            (Some(own), false) if !own.server.is_empty() => {
                // Forged, or from a server that has stopped sending cookies; only TCP can tell.
                cookies.forget(path);
                Some(Heard::Unconfirmed)
            }
            (Some(_), false) if response.rcode == Rcode::FORMERR => {
                cookies.refuse(path);
                Some(Heard::OtherCookie)
            }
            _ => Some(Heard::Answer(Box::new(response))),
        }
    };
    converse(&socket, &request, timeout, &mut accept).await
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, ExchangeError> {
    match timeout_at(Instant::now() + timeout, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(ExchangeError::Timeout),
    }
}

pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(octets)
}
