//! TCP: many requests a connection, answered in the order they become ready (RFC 7766, node.md 2.1).
//!
//! Deadlines bound every state that a client can leave a connection in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dmp_dns::answer::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::connections::{Busy, Connection, Connections, Prefix};
use super::pipeline::{self, Buffers, Sender};
use crate::access::bucket::TokenBuckets;
use crate::context::Context;
use crate::limits::{TCP_IDLE, TCP_MESSAGE_DEADLINE, TCP_PIPELINE, TCP_REQUESTS};
use crate::metrics::{ConnectionEvent, DnsTally, Dropped, Kind, Outcome, Request};
use crate::repeated::log_repeated;

/// Pause after a failed accept (no descriptors, no memory): the loop must neither end nor spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections at least, and as a multiple of the requests in work (node.md 2.8).
const CONNECTIONS_LEAST: usize = 256;
const CONNECTIONS_PER_REQUEST: usize = 8;

/// What all connections share.
struct Shared {
    context: Arc<Context>,
    limiter: TokenBuckets<Prefix>,
    /// Requests in work. Taken only when a whole request has been read, so idle connections hold none.
    working: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// An answer on its way out, with the places it gives back when written.
struct Outgoing {
    answer: Vec<u8>,
    _places: Places,
}

/// What a request holds until its answer is written or dropped.
struct Places {
    _pipeline: OwnedSemaphorePermit,
    _working: OwnedSemaphorePermit,
    _busy: Busy,
}

/// Accepts connections until `stop`, then waits for those that are open to finish what is in work.
pub(super) async fn serve(
    context: Arc<Context>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) {
    let settings = context.settings();
    let connections = Connections::new(
        (settings.max_concurrency * CONNECTIONS_PER_REQUEST).max(CONNECTIONS_LEAST),
    );
    let shared = Arc::new(Shared {
        limiter: TokenBuckets::new(settings.dns_rate, settings.dns_burst),
        working: Arc::new(Semaphore::new(settings.max_concurrency.max(1))),
        stop: stop.clone(),
        context: Arc::clone(&context),
    });
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(connection) = connections.admit(Prefix::of(peer.ip())) {
                        tasks.spawn(converse(Arc::clone(&shared), stream, peer, connection));
                    } else {
                        let counts = &context.metrics().dns_connections;
                        counts.events.count(ConnectionEvent::Refused);
                    }
                }
                Err(error) => {
                    log_repeated!(warn, %error, open = connections.count(), "accepting a TCP connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let drained = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(TCP_MESSAGE_DEADLINE, drained).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn converse(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    connection: Connection,
) {
    let counts = &shared.context.metrics().dns_connections;
    let _open = counts.open();
    // Answers are whole messages; waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let (reading, writing) = stream.into_split();
    let (answers, outgoing) = mpsc::unbounded_channel(); // bounded by the pipeline's places
    let writer = tokio::spawn(write(Arc::clone(&shared.context), writing, outgoing));
    let mut stop = shared.stop.clone();
    tokio::select! {
        () = read(&shared, reading, peer.ip(), &connection, answers) => {}
        () = connection.evicted() => counts.events.count(ConnectionEvent::Evicted),
        () = stopped(&mut stop) => {}
    }
    // Reading is over; what is in work is still answered. The writer ends with the last of it.
    let _ = writer.await;
}

/// Reads and dispatches requests until the client, a deadline or a limit ends it.
async fn read(
    shared: &Shared,
    mut reading: OwnedReadHalf,
    peer: IpAddr,
    connection: &Connection,
    answers: mpsc::UnboundedSender<Outgoing>,
) {
    let prefix = Prefix::of(peer);
    let sender = Sender {
        transport: Transport::Tcp,
        peer: peer.to_canonical(),
    };
    let pipeline = Arc::new(Semaphore::new(TCP_PIPELINE));
    let zone = Arc::clone(shared.context.zone());
    let (mut message, mut buffers) = (Vec::new(), Buffers::default());
    for _ in 0..TCP_REQUESTS {
        // More requests than places stay unread, which pushes back on the sender.
        let Ok(in_pipeline) = Arc::clone(&pipeline).acquire_owned().await else {
            return;
        };
        let Ok(Ok(first)) = timeout(TCP_IDLE, reading.read_u8()).await else {
            return;
        };
        if !matches!(
            timeout(
                TCP_MESSAGE_DEADLINE,
                read_rest(&mut reading, first, &mut message)
            )
            .await,
            Ok(Ok(true))
        ) {
            return;
        }
        if !shared.limiter.take(&prefix) {
            let metrics = shared.context.metrics();
            let request = Request::new(sender.transport, sender.peer, Kind::Unread);
            metrics.dns().request(request, Outcome::RateLimited);
            metrics
                .dropped(sender.transport)
                .count(Dropped::RateLimited);
            return;
        }
        let Ok(working) = Arc::clone(&shared.working).acquire_owned().await else {
            return;
        };
        let places = Places {
            _pipeline: in_pipeline,
            _working: working,
            _busy: connection.begin_request(),
        };
        let answers = answers.clone();
        let reply = Box::new(move |answer| {
            // A connection that is gone takes no answer.
            let _ = answers.send(Outgoing {
                answer,
                _places: places,
            });
        });
        pipeline::handle(
            &shared.context,
            &zone.reader(),
            &message,
            sender,
            &mut buffers,
            reply,
        );
    }
}

/// Reads the second length octet and the message; `false` for a message of no octets.
async fn read_rest(
    reading: &mut OwnedReadHalf,
    first: u8,
    message: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let length = usize::from(u16::from_be_bytes([first, reading.read_u8().await?]));
    message.clear();
    // Memory grows with what arrives, not with what the length claims.
    reading.take(length as u64).read_to_end(message).await?;
    Ok(length > 0 && message.len() == length)
}

/// Writes answers as they come, each with its length in front, until no sender is left.
async fn write(
    context: Arc<Context>,
    mut writing: OwnedWriteHalf,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
) {
    let mut framed = Vec::new();
    while let Some(Outgoing { answer, _places }) = outgoing.recv().await {
        let Ok(length) = u16::try_from(answer.len()) else {
            continue;
        };
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&answer);
        if !matches!(
            timeout(TCP_MESSAGE_DEADLINE, writing.write_all(&framed)).await,
            Ok(Ok(()))
        ) {
            context
                .metrics()
                .dropped(Transport::Tcp)
                .count(Dropped::Unsent);
            return;
        }
    }
    let _ = writing.shutdown().await;
}
