//! The HTTP listener and its connections: bounded in number, in time and in what they may send (node.md 6.1, W-7).

use super::Api;
use super::connections::Place;
use super::reply::{ErrorMedia, Reply};
use super::service::{Reach, Service};
use super::tls::CHALLENGE_PROTOCOL;
use crate::limits::{DRAIN, HTTP_CONNECTION, HTTP_HEADER_OCTETS, HTTP_READ};
use crate::metrics::{ConnectionEvent, Part};
use crate::repeated::log_repeated;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Wait after an accept that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted, as tokio and the standard library have it.
const BACKLOG: i32 = 1_024;

/// A bound socket that answers nobody yet.
#[derive(Debug)]
pub struct HttpListener {
    socket: TcpListener,
    address: SocketAddr,
}

/// A running server.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl HttpListener {
    /// Binds; port 0 lets the kernel choose, and `::` takes both families whatever the system's default is.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Self::adopt(socket.into())
    }

    /// A socket that somebody else opened, which listens and does not block.
    pub(crate) fn adopt(socket: std::net::TcpListener) -> io::Result<Self> {
        let socket = TcpListener::from_std(socket)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer.
    pub(crate) fn serve(self, service: Service) -> HttpServer {
        let (stop, stopped) = watch::channel(false);
        let address = self.address;
        let service = Arc::new(service);
        let task = tokio::spawn(accept(self.socket, Arc::clone(&service), stopped));
        HttpServer {
            address,
            service,
            stop,
            task,
        }
    }
}

impl HttpServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where other settings are brought into force.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Accepts nothing more, finishes the requests in progress within [`DRAIN`], and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A panic of the accepting task was logged when it happened; there is nothing left to finish.
        let _ = self.task.await;
    }
}

async fn accept(socket: TcpListener, service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    // Those that are connected are told after the socket is closed, so that nobody new comes in between.
    let drain = watch::Sender::new(false);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    let place = service.connections().admit(peer.ip().to_canonical());
                    if let Some(place) = place {
                        let service = Arc::clone(&service);
                        tasks.spawn(connection(stream, peer.ip(), place, service, drain.subscribe()));
                    } else {
                        let api = service.api();
                        let counts = &api.context.metrics().http_connections;
                        counts.events.count(ConnectionEvent::Refused);
                    }
                }
                Err(error) => {
                    log_repeated!(warn, %error, "no HTTP connection was accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(socket);
    drain.send_replace(true);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("HTTP requests were still in progress and are cut");
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    place: Place,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    let api = service.api();
    let context = Arc::clone(&api.context);
    let counts = &context.metrics().http_connections;
    let _open = counts.open();
    let Some(tls) = service.tls() else {
        return converse(stream, peer, &place, service, stopped).await;
    };
    let handshake = tokio::time::timeout(HTTP_READ, tls.acceptor().accept(stream));
    let stream = tokio::select! {
        stream = handshake => stream,
        () = place.evicted() => return counts.events.count(ConnectionEvent::Evicted),
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    match stream {
        // The CA has seen what it came for (RFC 8737 3).
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(CHALLENGE_PROTOCOL) => {}
        Ok(Ok(stream)) => converse(stream, peer, &place, service, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    place: &Place,
    service: Arc<Service>,
    mut stopped: watch::Receiver<bool>,
) {
    let context = Arc::clone(&service.api().context);
    let service = service_fn(move |request| {
        let (api, reach) = (service.api(), service.reach());
        async move {
            let _occupied = place.occupy();
            Ok::<_, Infallible>(respond(api, reach, peer, request).await)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_READ)
        .max_buf_size(HTTP_HEADER_OCTETS);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = served.as_mut() => return log_end(ended),
        () = place.evicted() => {
            let counts = &context.metrics().http_connections;
            return counts.events.count(ConnectionEvent::Evicted);
        }
        () = tokio::time::sleep(HTTP_CONNECTION) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    served.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(DRAIN, served).await {
        log_end(ended);
    }
}

/// Answers in a task of its own, so that neither a client that goes away nor a bug in one request stops anything half
/// way.
async fn respond(
    api: Arc<Api>,
    reach: Reach,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let started = Instant::now();
    let context = Arc::clone(&api.context);
    let method = request.method().clone();
    let errors = ErrorMedia::wanted_by(request.headers());
    let answer = tokio::spawn(async move {
        match reach {
            Reach::Whole | Reach::Peers => api.answer(reach, peer, request).await,
            Reach::Monitor => api.answer_monitor(&request).await,
        }
    });
    let reply = answer.await.unwrap_or_else(|_| {
        context.metrics().panics.count(Part::Http);
        Reply::internal_error()
    });
    let status = reply.status().as_u16();
    let metrics = context.metrics();
    metrics.http_request(counted_method(&method), status, started.elapsed());
    tracing::debug!(%peer, %method, status, "http");
    reply.into_response(errors)
}

/// The methods that have a label of their own; any client can make up others.
fn counted_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
