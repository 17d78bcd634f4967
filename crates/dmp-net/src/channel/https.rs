//! DNS over HTTPS (RFC 8484): POST requests side by side on one HTTP/2 connection. Nothing is cached and no redirect followed.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::broken;
use crate::exchange::ExchangeError;

/// HTTP/2 over TLS (RFC 9113 3.2), what RFC 8484 5.2 recommends as the least.
pub(super) const PROTOCOL: &[u8] = b"h2";
/// What goes both ways (RFC 8484 6).
const MESSAGE: &str = "application/dns-message";

/// An open connection. It closes when the last clone is gone.
#[derive(Clone, Debug)]
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    url: String,
}

impl Link {
    /// Takes a connection over; the requests go to this path.
    pub(super) async fn over(
        stream: TlsStream<TcpStream>,
        authority: &str,
        path: &str,
    ) -> Result<Self, ExchangeError> {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(async move {
            // Its end is seen by the next request.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            url: format!("https://{authority}{path}"),
        })
    }

    /// The answer to one message.
    pub(super) async fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(CONTENT_TYPE, MESSAGE)
            .header(ACCEPT, MESSAGE)
            .body(Full::from(request.to_vec()))
            .map_err(broken)?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(broken)?;
        message_in(sender.send_request(request).await.map_err(broken)?).await
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

async fn message_in(response: Response<Incoming>) -> Result<Vec<u8>, ExchangeError> {
    if response.status() != StatusCode::OK {
        return Err(ExchangeError::Status(response.status().as_u16()));
    }
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(MESSAGE)) {
        return Err(ExchangeError::Garbage);
    }
    let body = Limited::new(response.into_body(), dmp_dns::limits::MESSAGE);
    let body = body.collect().await.map_err(broken)?;
    Ok(body.to_bytes().to_vec())
}
