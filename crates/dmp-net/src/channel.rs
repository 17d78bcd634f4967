//! One encrypted connection to one resolver, shared by all queries of a pool: DNS over TLS (RFC 7858) or HTTPS (RFC 8484).
//!
//! The certificate is verified, and there is no falling back to plain DNS. A connection is made when the first query needs it
//! and again when the resolver has closed it.

mod https;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dmp_dns::message::{CaseMatch, QueryBuilder, Response};
use dmp_dns::{Name, Rtype};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::exchange::ExchangeError;
use crate::query::{Dnssec, QueryPlan};
use crate::trust::Trust;
use crate::upstream::{Transport, Upstream};

/// The connection to an encrypted resolver, made or not.
#[derive(Debug)]
pub(crate) struct Channel {
    upstream: Upstream,
    trust: Trust,
    link: Mutex<Option<Link>>,
}

/// An open connection; clones use the same one.
#[derive(Clone, Debug)]
enum Link {
    Tls(tls::Link),
    Https(https::Link),
}

impl Channel {
    /// For an encrypted resolver; `None` for one of plain DNS.
    pub(crate) fn to(upstream: &Upstream, trust: &Trust) -> Option<Self> {
        match upstream.transport() {
            Transport::Plain => None,
            Transport::Tls { .. } | Transport::Https { .. } => Some(Self {
                upstream: upstream.clone(),
                trust: trust.clone(),
                link: Mutex::new(None),
            }),
        }
    }

    /// Asks one question, padded; the handshake counts as part of the first.
    pub(crate) async fn query(
        &self,
        name: &Name,
        rtype: Rtype,
        plan: QueryPlan,
    ) -> Result<Response, ExchangeError> {
        let builder = QueryBuilder::new(name.clone(), rtype);
        let builder = match plan.dnssec {
            Dnssec::Requested => builder.with_dnssec(),
            Dnssec::Ignored => builder,
        };
        self.ask(&builder, plan.timeout).await
    }

    /// The same for any question.
    pub(crate) async fn ask(
        &self,
        builder: &QueryBuilder,
        patience: Duration,
    ) -> Result<Response, ExchangeError> {
        let request = builder.clone().for_tcp().padded().build(0);
        let Ok(answer) = timeout(patience, self.exchange(&request)).await else {
            // The way may be cut without either end having noticed: the next query makes a new connection, those that wait
            // on this one keep it.
            if let Ok(mut kept) = self.link.try_lock() {
                *kept = None;
            }
            return Err(ExchangeError::Timeout);
        };
        let mut answer = answer?;
        // The id is the connection's business; within it the question tells that it is our answer.
        if let Some(id) = answer.get_mut(..2) {
            id.fill(0);
        }
        let response = Response::parse(&answer).map_err(|_| ExchangeError::Garbage)?;
        if response.is_answer_to(&request, CaseMatch::Folded) {
            Ok(response)
        } else {
            Err(ExchangeError::Garbage)
        }
    }

    /// A resolver may close a connection whenever it likes (RFC 7766 6.2.3): once more over a new one then.
    async fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let (link, is_new) = self.link().await?;
        match link.exchange(request).await {
            Err(ExchangeError::Network(_)) if !is_new => {
                self.link().await?.0.exchange(request).await
            }
            answer => answer,
        }
    }

    /// The connection, and whether it was made just now. Those who need it at the same time wait for one handshake.
    async fn link(&self) -> Result<(Link, bool), ExchangeError> {
        let mut kept = self.link.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| link.is_open()) {
            return Ok((link.clone(), false));
        }
        let link = self.connect().await?;
        *kept = Some(link.clone());
        Ok((link, true))
    }

    async fn connect(&self) -> Result<Link, ExchangeError> {
        let server = self.upstream.server_name()?;
        let address = self.upstream.address();
        match self.upstream.transport() {
            Transport::Https { path, .. } => {
                let stream = handshake(address, server, &self.trust, &[https::PROTOCOL]).await?;
                if stream.get_ref().1.alpn_protocol() != Some(https::PROTOCOL) {
                    return Err(broken("the server does not speak HTTP/2"));
                }
                let authority = self.upstream.authority();
                let link = https::Link::over(stream, &authority, path).await?;
                Ok(Link::Https(link))
            }
            Transport::Tls { .. } | Transport::Plain => {
                let stream = handshake(address, server, &self.trust, &[]).await?;
                Ok(Link::Tls(tls::Link::over(stream)))
            }
        }
    }
}

impl Link {
    async fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        match self {
            Self::Tls(link) => link.exchange(request).await,
            Self::Https(link) => link.exchange(request).await,
        }
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Tls(link) => link.is_open(),
            Self::Https(link) => link.is_open(),
        }
    }
}

async fn handshake(
    address: SocketAddr,
    server: ServerName<'static>,
    trust: &Trust,
    protocols: &[&[u8]],
) -> Result<TlsStream<TcpStream>, ExchangeError> {
    let client = trust.client(protocols).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::new(client));
    Ok(connector.connect(server, stream).await?)
}

/// A connection that is of no use, and why.
fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExchangeError {
    io::Error::other(why).into()
}
