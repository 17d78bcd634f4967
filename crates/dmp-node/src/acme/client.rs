//! The HTTP client for a CA: bounded in time and octets, https only, and nothing is followed (D18).
//!
//! It trusts the public roots that are built in, or those the operator named. It keeps no connection.

use crate::config::{AcmeConfig, is_loopback};
use crate::limits::{ACME_ANSWER_OCTETS, ACME_REQUEST};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A client for one CA. Clones share what the CA last said about coming back.
#[derive(Clone)]
pub(super) struct Client {
    tls: Arc<ClientConfig>,
    /// Whether http:// is spoken too, which only this machine is.
    plain: bool,
    retry_after: Arc<AtomicU64>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

type Answer = Result<BytesResponse, Error>;

impl Client {
    /// Reads the roots, if the operator named some.
    pub(super) fn new(config: &AcmeConfig) -> Result<Self, String> {
        let tls = trusting(config.roots.as_deref())?;
        Ok(Self {
            tls: Arc::new(tls),
            plain: config.directory.scheme_str() == Some("http"),
            retry_after: Arc::default(),
        })
    }

    /// Seconds that the CA wants to be left alone for, by its last refusal; asking forgets it.
    pub(super) fn take_retry_after(&self) -> Option<u64> {
        Some(self.retry_after.swap(0, Ordering::Relaxed)).filter(|seconds| *seconds > 0)
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let uri = request.uri().clone();
        let asked = tokio::time::timeout(ACME_REQUEST, self.ask(request));
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(_) => Err("no answer within 30 seconds".into()),
        };
        answer.map_err(|error| {
            let host = uri.host().unwrap_or_default();
            Error::Other(format!("{host}: {error}").into())
        })
    }

    async fn ask(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Fault> {
        let uri = std::mem::take(request.uri_mut());
        let host = uri.host().ok_or("a URL without a host")?.to_owned();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // Credentials in a URL are nothing that a CA would hand out.
        let authority = HeaderValue::from_str(authority.rsplit('@').next().unwrap_or_default())?;
        let headers = request.headers_mut();
        headers.insert(HOST, authority);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        *request.uri_mut() = target.parse::<Uri>()?;
        let literal = host.trim_matches(['[', ']']).to_owned();
        match uri.scheme_str() {
            Some("https") => {
                let port = uri.port_u16().unwrap_or(443);
                let stream = TcpStream::connect((literal.as_str(), port)).await?;
                let name = ServerName::try_from(literal)?;
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                self.converse(connector.connect(name, stream).await?, request)
                    .await
            }
            Some("http") if self.plain && is_loopback(&host) => {
                let port = uri.port_u16().unwrap_or(80);
                let stream = TcpStream::connect((literal.as_str(), port)).await?;
                self.converse(stream, request).await
            }
            _ => Err(format!("{uri} is not https").into()),
        }
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, Fault> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ACME_ANSWER_OCTETS).collect().await?;
            Ok::<_, Fault>((head, body.to_bytes()))
        };
        tokio::pin!(connection, answer);
        // The connection does the work; it may end before its last answer was taken.
        let (head, body) = tokio::select! {
            answer = &mut answer => answer?,
            ended = &mut connection => {
                ended?;
                answer.await?
            }
        };
        if !head.status.is_success() {
            let told = retry_after(&head.headers, SystemTime::now());
            self.retry_after.store(told.unwrap_or(0), Ordering::Relaxed);
            let media = head.headers.get(CONTENT_TYPE);
            let media = media
                .and_then(|media| media.to_str().ok())
                .unwrap_or_default();
            if !media.contains("json") {
                return Err(format!("the answer is {}", head.status).into());
            }
        }
        Ok(BytesResponse {
            parts: head,
            body: Box::new(body),
        })
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

/// The side of a client that trusts the public roots, or those in a file instead.
pub(crate) fn trusting(roots: Option<&Path>) -> Result<ClientConfig, String> {
    let roots = match roots {
        Some(path) => read_roots(path)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(tls.with_root_certificates(roots).with_no_client_auth())
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let fault = |reason: &dyn ToString| format!("{}: {}", path.display(), reason.to_string());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path).map_err(|error| fault(&error))? {
        let root = root.map_err(|error| fault(&error))?;
        roots.add(root).map_err(|error| fault(&error))?;
    }
    if roots.is_empty() {
        return Err(fault(&"no certificate in PEM form"));
    }
    Ok(roots)
}

/// Seconds, or a date (RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).map_or(0, |wait| wait.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn both_forms_of_retry_after_are_understood() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let told = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers, now)
        };
        assert_eq!(told("120"), Some(120));
        assert_eq!(told("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(told("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "past");
        assert_eq!(told("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[tokio::test]
    async fn nothing_but_https_is_spoken_whatever_a_ca_says() {
        let config = AcmeConfig {
            names: Vec::new(),
            directory: Uri::from_static("https://ca.example/directory"),
            contact: None,
            challenge: crate::config::ChallengeKind::Dns01,
            roots: None,
        };
        let client = Client::new(&config).unwrap();
        for url in [
            "http://127.0.0.1:9/order",
            "http://ca.example/order",
            "ftp://ca.example/",
            "/order",
        ] {
            let mut request = Request::new(BodyWrapper::default());
            *request.uri_mut() = url.parse().unwrap();
            let Err(error) = client.request(request).await else {
                panic!("{url}");
            };
            let error = error.to_string();
            assert!(
                error.ends_with("is not https") || error.ends_with("a URL without a host"),
                "{error}"
            );
        }
    }
}
