//! Whether the HTTP listener of the settings says that the node is well, and whether a client would believe its certificate.
//!
//! It asks this machine: what a firewall lets through from outside cannot be seen from here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::online::PATIENCE;
use super::{Finding, Grade, advice};
use crate::acme::trusting;
use crate::config::{Config, TlsSource};

/// Asks for `/health`, over TLS if the listener speaks it.
pub(super) async fn health(config: &Config) -> Finding {
    let http = &config.http;
    let address = match http.host.address(http.port) {
        Ok(address) => reachable(address),
        Err(error) => return Finding::new(Grade::Fail, format!("HTTP: {error}")),
    };
    let Some(source) = &http.tls else {
        return judge(address, "HTTP", plain(address).await);
    };
    let Some(name) = name(config, source) else {
        let text = "HTTPS: not asked, for the settings name no host that its certificate is for";
        return Finding::new(Grade::Warn, text);
    };
    let roots = match source {
        TlsSource::Files(_) => None,
        TlsSource::Acme(acme) => acme.roots.as_deref(),
    };
    match trusting(roots) {
        Ok(trust) => judge(address, "HTTPS", secure(address, &name, trust).await),
        Err(reason) => Finding::new(Grade::Fail, format!("HTTPS: {reason}")),
    }
}

/// The name that clients connect to: the one that registration is bound to, else the first that a CA is asked for.
fn name(config: &Config, source: &TlsSource) -> Option<String> {
    let bound = config.registration.node_name.as_ref();
    let bound = bound.map(|name| name.host().to_owned());
    bound.or_else(|| match source {
        TlsSource::Files(_) => config.zone.as_ref().map(ToString::to_string),
        TlsSource::Acme(acme) => acme.names.first().map(ToString::to_string),
    })
}

/// The same listener as this machine reaches it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

fn judge(address: SocketAddr, protocol: &str, answer: io::Result<String>) -> Finding {
    match answer {
        Ok(status) if status == "200" => {
            Finding::new(Grade::Ok, format!("{protocol}: {address} is well"))
        }
        Ok(status) => {
            let text = format!("{protocol}: {address}: /health answers {status}");
            Finding::new(Grade::Fail, text).advise(advice::HTTP_DOWN)
        }
        // rustls tells what is wrong with a certificate as invalid data.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let text = format!("{protocol}: {address}: {error}");
            Finding::new(Grade::Warn, text).advise(advice::UNTRUSTED)
        }
        Err(error) => {
            let text = format!("{protocol}: {address}: {error}");
            Finding::new(Grade::Fail, text).advise(advice::HTTP_DOWN)
        }
    }
}

async fn plain(address: SocketAddr) -> io::Result<String> {
    let asked = async { status(TcpStream::connect(address).await?, &address.to_string()).await };
    timeout(PATIENCE, asked).await?
}

async fn secure(address: SocketAddr, name: &str, trust: ClientConfig) -> io::Result<String> {
    let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let connector = TlsConnector::from(Arc::new(trust));
        status(connector.connect(server, stream).await?, name).await
    };
    timeout(PATIENCE, asked).await?
}

/// The status of `/health`, three digits.
async fn status(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str) -> io::Result<String> {
    let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12]; // HTTP/1.1 200
    stream.read_exact(&mut head).await?;
    Ok(String::from_utf8_lossy(&head[9..]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::crypto::ring;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// A listener that answers one request and whose certificate, for `node.test`, lies in `root.pem`.
    async fn listener(directory: &std::path::Path, answer: &'static str) -> SocketAddr {
        let certified = rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
        std::fs::write(directory.join("root.pem"), certified.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(stream).await else {
                return;
            };
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\nHost: node.test\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        address
    }

    async fn look(address: SocketAddr, name: &str, roots: Option<&std::path::Path>) -> Finding {
        let trust = trusting(roots).unwrap();
        judge(address, "HTTPS", secure(address, name, trust).await)
    }

    #[tokio::test]
    async fn a_node_that_speaks_tls_is_asked_and_its_certificate_checked() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root.pem");

        let address = listener(directory.path(), "HTTP/1.1 200 OK\r\n\r\n").await;
        let found = look(address, "node.test", Some(&root)).await;
        assert_eq!(found.grade, Grade::Ok, "{}", found.text);

        let address = listener(directory.path(), "HTTP/1.1 503 No\r\n\r\n").await;
        let found = look(address, "node.test", Some(&root)).await;
        assert_eq!(found.grade, Grade::Fail);
        assert!(
            found.text.ends_with("/health answers 503"),
            "{}",
            found.text
        );

        for (name, roots) in [("node.test", None), ("other.test", Some(root.as_path()))] {
            let address = listener(directory.path(), "HTTP/1.1 200 OK\r\n\r\n").await;
            let found = look(address, name, roots).await;
            assert_eq!(found.grade, Grade::Warn, "{name}: {}", found.text);
            assert_eq!(found.advice, Some(advice::UNTRUSTED));
        }

        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        assert_eq!(look(address, "node.test", None).await.grade, Grade::Fail);
    }
}
