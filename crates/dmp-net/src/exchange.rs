//! One request, one answer, one deadline: over UDP from a socket of its own, or over TCP.
//!
//! Every UDP request leaves from a fresh socket, so its port is the kernel's random choice, and answers from elsewhere
//! never reach it. Nothing is retried here but one identical retransmission over UDP.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep_until, timeout_at};

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
    /// The resolver answered over HTTPS with another status than 200.
    #[error("HTTP status {0}")]
    Status(u16),
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
    let now = Instant::now();
    let again = now + limits::retransmit(timeout);
    converse(&socket, request, again, now + timeout, &mut accept).await
}

/// A fresh socket for `server` alone.
pub(crate) async fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Sends now and once more at `retransmit`, and listens until `end`.
pub(crate) async fn converse<T>(
    socket: &UdpSocket,
    request: &[u8],
    retransmit: Instant,
    end: Instant,
    accept: &mut impl FnMut(&[u8]) -> Option<T>,
) -> Result<T, ExchangeError> {
    socket.send(request).await?;
    let mut again = Some(retransmit);
    let mut datagram = vec![0; limits::DATAGRAM];
    loop {
        tokio::select! {
            biased; // the clock first: a flood of garbage must not outlast the deadline
            () = sleep_until(again.map_or(end, |again| again.min(end))) => match again.take() {
                Some(again) if again < end => {
                    socket.send(request).await?;
                }
                _ => return Err(ExchangeError::Timeout),
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
