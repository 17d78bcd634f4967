//! The HTTP client of a node for its peers: bounded in time and octets, http and https only, and nothing is followed (D18, W7).
//!
//! A cluster is usually private, so private addresses are spoken to; the token goes to the origin that was asked for and to no
//! other. No proxy of the system is used.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dmp_core::endpoint::is_public;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::PeerUrl;
use super::wire::{Ask, Fault};
use crate::acme::trusting;
use crate::config::PeerToken;
use crate::limits::{SYNC_ANSWER, SYNC_CONNECTIONS, SYNC_REQUEST};
use crate::repeated::log_repeated;

/// Asks peers; connections are used again.
pub(super) struct Client {
    tls: Arc<ClientConfig>,
    token: HeaderValue,
    idle: Mutex<HashMap<PeerUrl, Vec<Sender>>>,
}

type Sender = SendRequest<Full<Bytes>>;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the roots, if the operator named some. The error is one line.
    pub(super) fn new(token: &PeerToken, roots: Option<&Path>) -> Result<Self, String> {
        let tls = trusting(roots).map_err(|error| format!("DMP_SYNC_ROOTS: {error}"))?;
        let token = token.header().ok_or("the token cannot be sent")?;
        Ok(Self {
            tls: Arc::new(tls),
            token,
            idle: Mutex::default(),
        })
    }

    /// The body of an answer with status 200; empty for 204.
    pub(super) async fn ask(&self, peer: &PeerUrl, ask: Ask) -> Result<Vec<u8>, Fault> {
        let longest = ask.longest_answer();
        let end = Instant::now() + SYNC_ANSWER;
        let (sender, answer) = self.send(peer, &ask).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => {
                self.keep(peer, sender);
                return Ok(Vec::new());
            }
            status => return Err(Fault::Status(status.as_u16())),
        }
        let body = read(answer.into_body(), longest, end).await?;
        self.keep(peer, sender);
        Ok(body)
    }

    /// Sends over a connection that is open, or over a new one if it turns out to be closed: what is asked changes nothing.
    async fn send(&self, peer: &PeerUrl, ask: &Ask) -> Result<(Sender, Response<Incoming>), Fault> {
        while let Some(mut sender) = self.take(peer) {
            let request = self.request(peer, ask)?;
            match timeout(SYNC_REQUEST, sender.send_request(request)).await {
                Ok(Ok(answer)) => return Ok((sender, answer)),
                Ok(Err(_)) => {}
                Err(_) => return Err(Fault::Slow),
            }
        }
        let request = self.request(peer, ask)?;
        let exchange = async {
            let mut sender = self.connect(peer).await?;
            let answer = sender.send_request(request).await.map_err(unreachable)?;
            Ok((sender, answer))
        };
        timeout(SYNC_REQUEST, exchange)
            .await
            .unwrap_or(Err(Fault::Slow))
    }

    fn request(&self, peer: &PeerUrl, ask: &Ask) -> Result<Request<Full<Bytes>>, Fault> {
        let body = ask.body();
        let method = match body {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{}", peer.path(), ask.target()))
            .header(HOST, peer.authority())
            .header(AUTHORIZATION, self.token.clone())
            .header(ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(unreachable)
    }

    async fn connect(&self, peer: &PeerUrl) -> Result<Sender, Fault> {
        let addresses = lookup_host((peer.host(), peer.port()));
        let mut fault = Fault::Unreachable("the host has no address".to_owned());
        for address in addresses.await.map_err(unreachable)? {
            match self.connect_to(peer, address).await {
                Ok(sender) => return Ok(sender),
                Err(error) => fault = error,
            }
        }
        Err(fault)
    }

    async fn connect_to(&self, peer: &PeerUrl, address: SocketAddr) -> Result<Sender, Fault> {
        if !peer.is_https() && is_public(address.ip()) {
            log_repeated!(
                warn,
                "a peer at a public address is asked in the clear: records and the token can be read on the way"
            );
        }
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        // A small request must not wait for the answer to the one before it.
        stream.set_nodelay(true).map_err(unreachable)?;
        if !peer.is_https() {
            return converse(stream).await;
        }
        let name = ServerName::try_from(peer.host().to_owned()).map_err(unreachable)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await;
        converse(stream.map_err(unreachable)?).await
    }

    fn take(&self, peer: &PeerUrl) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let open = idle.get_mut(peer)?;
        open.retain(|sender| !sender.is_closed());
        let ready = open.iter().position(SendRequest::is_ready)?;
        Some(open.swap_remove(ready))
    }

    fn keep(&self, peer: &PeerUrl, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let open = idle.entry(peer.clone()).or_default();
        if open.len() < SYNC_CONNECTIONS {
            open.push(sender);
        }
    }

    /// Closes the connections to a peer that is none any more.
    pub(super) fn forget(&self, peer: &PeerUrl) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.remove(peer);
    }
}

/// The connection lives as long as its sender, and its task with it.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Sender, Fault> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(unreachable)?;
    // How it ends is told by the request that it was opened for.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// All of a body that comes steadily and is no longer than it may be.
async fn read(mut body: Incoming, longest: usize, end: Instant) -> Result<Vec<u8>, Fault> {
    let mut octets = Vec::new();
    loop {
        let next = end.min(Instant::now() + SYNC_REQUEST);
        let frame = timeout_at(next, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Fault::Slow)? else {
            return Ok(octets);
        };
        if let Ok(data) = frame.map_err(unreachable)?.into_data() {
            if octets.len() + data.len() > longest {
                return Err(Fault::TooLong);
            }
            octets.extend_from_slice(&data);
        }
    }
}

fn unreachable(error: impl fmt::Display) -> Fault {
    Fault::Unreachable(error.to_string())
}
