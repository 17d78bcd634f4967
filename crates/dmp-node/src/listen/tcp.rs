//! TCP: many requests a connection, answered in the order they become ready (RFC 7766, node.md 2.1).
//!
//! Deadlines bound every state that a client can leave a connection in, and answers that a client does not read bound
//! what is read from it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dmp_dns::answer::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::connections::{Busy, Connection};
use super::entrance::Entrance;
use super::guard::Sender;
use super::pipeline::{self, Buffers};
use super::prefix::{Prefix, mapped};
use crate::context::Context;
use crate::limits::{TCP_MESSAGE_DEADLINE, TCP_PIPELINE, TCP_REQUESTS, TCP_UNSENT};
use crate::metrics::{ConnectionEvent, DnsTally, Dropped, Kind, Outcome, Request};
use crate::repeated::log_repeated;

/// Pause after a failed accept (no descriptors, no memory): the loop must neither end nor spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
struct Shared {
    entrance: Arc<Entrance>,
    /// Requests in work. Taken only when a whole request has been read, so idle connections hold none, and given back
    /// when the answer is made, so connections that do not read their answers hold none either.
    working: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// An answer on its way out, with the place in the pipeline that it gives back when written.
struct Outgoing {
    answer: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

/// What a request holds until its answer is made.
struct InWork {
    _working: OwnedSemaphorePermit,
    _busy: Busy,
}

/// Octets of answers on one connection that are not written yet.
#[derive(Default)]
struct Unsent {
    octets: AtomicUsize,
    written: Notify,
}

impl Unsent {
    fn add(&self, octets: usize) {
        self.octets.fetch_add(octets, Ordering::Relaxed);
    }

    fn remove(&self, octets: usize) {
        self.octets.fetch_sub(octets, Ordering::Relaxed);
        self.written.notify_one();
    }

    /// Waits until there is room for another answer.
    async fn room(&self) {
        while self.octets.load(Ordering::Relaxed) > TCP_UNSENT {
            self.written.notified().await;
        }
    }
}

/// Accepts connections until `stop`, then waits for those that are open to finish what is in work.
pub(super) async fn serve(
    entrance: Arc<Entrance>,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) {
    let context = Arc::clone(entrance.context());
    let working = context.settings().max_concurrency.max(1);
    let shared = Arc::new(Shared {
        working: Arc::new(Semaphore::new(working)),
        stop: stop.clone(),
        entrance,
    });
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let prefix = Prefix::of(mapped(peer.ip()), shared.entrance.guard().lengths());
                    if let Some(connection) = shared.entrance.connections().admit(prefix) {
                        tasks.spawn(converse(Arc::clone(&shared), stream, peer, connection));
                    } else {
                        let counts = &context.metrics().dns_connections;
                        counts.events.count(ConnectionEvent::Refused);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    let open = shared.entrance.connections().count();
                    log_repeated!(warn, %error, open, "accepting a TCP connection failed");
                    shared.entrance.connections().make_room();
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

/// Whether an error of `accept` is about a connection that is gone already; the next one is waiting (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
    )
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
    let context = shared.entrance.context();
    let counts = &context.metrics().dns_connections;
    let _open = counts.open();
    // Answers are whole messages; waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let (reading, writing) = stream.into_split();
    let (answers, outgoing) = mpsc::unbounded_channel(); // bounded by the pipeline's places and by `unsent`
    let unsent = Arc::new(Unsent::default());
    let mut writer = tokio::spawn(write(
        Arc::clone(context),
        writing,
        outgoing,
        Arc::clone(&unsent),
    ));
    let mut stop = shared.stop.clone();
    tokio::select! {
        () = read(&shared, reading, peer.ip(), &connection, &answers, &unsent) => {}
        () = answers.closed() => {} // the client does not read
        () = connection.evicted() => counts.events.count(ConnectionEvent::Evicted),
        () = stopped(&mut stop) => {}
    }
    // Reading is over; what is in work is still answered. The writer ends with the last of it, or when it is time.
    drop(answers);
    if timeout(TCP_MESSAGE_DEADLINE, &mut writer).await.is_err() {
        writer.abort();
    }
}

/// Reads and dispatches requests until the client, a deadline or a limit ends it.
async fn read(
    shared: &Shared,
    mut reading: OwnedReadHalf,
    peer: IpAddr,
    connection: &Connection,
    answers: &mpsc::UnboundedSender<Outgoing>,
    unsent: &Arc<Unsent>,
) {
    let pipeline = Arc::new(Semaphore::new(TCP_PIPELINE));
    let context = shared.entrance.context();
    let zone = Arc::clone(context.zone());
    let peer = mapped(peer);
    let (mut message, mut buffers) = (Vec::new(), Buffers::default());
    for _ in 0..TCP_REQUESTS {
        // More requests than places, or answers than are read, stay unread, which pushes back on the sender.
        let Ok(place) = Arc::clone(&pipeline).acquire_owned().await else {
            return;
        };
        unsent.room().await;
        let idle = shared.entrance.connections().idle_limit();
        let Ok(Ok(first)) = timeout(idle, reading.read_u8()).await else {
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
        let guard = shared.entrance.guard();
        let prefix = Prefix::of(peer, guard.lengths());
        if !guard.is_exempt(peer) && !shared.entrance.requests().take(&prefix) {
            let metrics = context.metrics();
            let request = Request::new(Transport::Tcp, peer, Kind::Unread);
            metrics.dns().request(request, Outcome::RateLimited);
            metrics.dropped(Transport::Tcp).count(Dropped::RateLimited);
            return;
        }
        let Ok(working) = Arc::clone(&shared.working).acquire_owned().await else {
            return;
        };
        let in_work = InWork {
            _working: working,
            _busy: connection.begin_request(),
        };
        let (answers, unsent) = (answers.clone(), Arc::clone(unsent));
        let reply = Box::new(move |answer: Vec<u8>| {
            drop(in_work);
            unsent.add(answer.len());
            // A connection that is gone takes no answer.
            let _ = answers.send(Outgoing {
                answer,
                _place: place,
            });
        });
        let sender = Sender {
            transport: Transport::Tcp,
            peer,
            at: guard.micros(),
        };
        pipeline::handle(
            &guard,
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
    unsent: Arc<Unsent>,
) {
    let mut framed = Vec::new();
    while let Some(Outgoing { answer, _place }) = outgoing.recv().await {
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
            let dropped = context.metrics().dropped(Transport::Tcp);
            dropped.count(Dropped::Unsent);
            return;
        }
        unsent.remove(answer.len());
    }
    let _ = writing.shutdown().await;
}
