//! A CA for tests: the server's side of RFC 8555, strict about what it is sent.
//!
//! Every request's signature, nonce and URL are checked; names are proven by really asking the node; certificate requests
//! are verified and signed by an intermediate of a root of its own. It keeps everything in memory.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use dmp_dns::message::{QueryBuilder, Response};
use dmp_dns::{Name, Rtype};
use dmp_node::clock::Clock;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response as HttpResponse};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Seconds that a certificate of this CA lives.
pub(crate) const LIFE: u64 = 90 * 86_400;

/// A running CA; it ends when dropped.
pub(crate) struct AcmeServer {
    ca: Arc<Ca>,
    task: JoinHandle<()>,
}

struct Ca {
    origin: String,
    clock: Clock,
    root: CertificateDer<'static>,
    intermediate: (String, Issuer<'static, KeyPair>),
    /// Where the node is: DNS, and its HTTPS port.
    node: watch::Sender<Option<(SocketAddr, SocketAddr)>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nonces: HashSet<String>,
    made: usize,
    has_refused_a_nonce: bool,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    refusal: Option<(u16, &'static str, Option<&'static str>)>,
    seen: Seen,
}

struct Account {
    key: Vec<u8>,
    thumbprint: String,
    contact: Value,
}

struct Order {
    account: usize,
    names: Vec<String>,
    token: String,
    /// For each name: pending, valid or invalid, and why.
    proven: Vec<Result<bool, String>>,
    chain: Option<String>,
}

/// What the CA was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    pub(crate) refused_nonces: usize,
    pub(crate) accounts: usize,
    pub(crate) orders: usize,
    pub(crate) issued: usize,
    /// Values of proofs that were found.
    pub(crate) proofs: Vec<String>,
}

/// Status, kind of error without its prefix, and what is said.
type Refusal = (u16, &'static str, String);
type Answer = Result<(u16, Option<String>, Body), Refusal>;

enum Body {
    Json(Value),
    Chain(String),
}

impl AcmeServer {
    pub(crate) async fn start(clock: Clock) -> Self {
        Self::begin(clock, None).await
    }

    /// Over TLS; the second is what its own server is trusted by, PEM.
    pub(crate) async fn start_over_tls(clock: Clock) -> (Self, String) {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let chain = vec![own.cert.der().clone()];
        let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::begin(clock, Some(acceptor)).await, own.cert.pem())
    }

    async fn begin(clock: Clock, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let authority = |name: &str| {
            let mut parameters = CertificateParams::new([]).unwrap();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let name_of = &mut parameters.distinguished_name;
            name_of.push(rcgen::DnType::CommonName, name);
            (parameters, KeyPair::generate().unwrap())
        };
        let (parameters, key) = authority("test root");
        let root = parameters.self_signed(&key).unwrap();
        let root_issuer = Issuer::new(parameters, key);
        let (parameters, key) = authority("test intermediate");
        let intermediate = parameters.signed_by(&key, &root_issuer).unwrap();
        let ca = Arc::new(Ca {
            origin: format!("{scheme}://{address}"),
            clock,
            root: root.der().clone(),
            intermediate: (intermediate.pem(), Issuer::new(parameters, key)),
            node: watch::Sender::new(None),
            state: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&ca)));
        Self { ca, task }
    }

    pub(crate) fn directory(&self) -> String {
        format!("{}/directory", self.ca.origin)
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.ca.root.clone()
    }

    /// Says where the node is whose names are asked for; until then no proof is looked at.
    pub(crate) fn meet(&self, dns: SocketAddr, https: SocketAddr) {
        self.ca.node.send_replace(Some((dns, https)));
    }

    /// Refuses every new order from now on, or none.
    pub(crate) fn refuse_orders(&self, refusal: Option<(u16, &'static str, Option<&'static str>)>) {
        self.ca.state().refusal = refusal;
    }

    pub(crate) fn seen(&self) -> Seen {
        self.ca.state().seen.clone()
    }

    /// The contacts of the newest account.
    pub(crate) fn contact(&self) -> Value {
        self.ca.state().accounts.last().unwrap().contact.clone()
    }

    /// Forgets every account.
    pub(crate) fn forget_accounts(&self) {
        for account in &mut self.ca.state().accounts {
            account.key.clear();
        }
    }
}

impl Drop for AcmeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, ca: Arc<Ca>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (ca, tls) = (Arc::clone(&ca), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, ca).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, ca).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, ca: Arc<Ca>) {
    let service = service_fn(move |request| respond(Arc::clone(&ca), request));
    let stream = TokioIo::new(stream);
    // A client that goes away is the client's business.
    let _ = http1::Builder::new()
        .serve_connection(stream, service)
        .await;
}

async fn respond(
    ca: Arc<Ca>,
    request: Request<Incoming>,
) -> Result<HttpResponse<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path().to_owned();
    ca.state().seen.requests += 1;
    let answer = match (&head.method, path.as_str()) {
        (&Method::GET, "/directory") => Ok((200, None, Body::Json(ca.directory()))),
        (&Method::HEAD, "/nonce") => Ok((200, None, Body::Json(Value::Null))),
        (&Method::POST, path) => {
            let media = head.headers.get("content-type");
            assert_eq!(media.unwrap(), "application/jose+json");
            Arc::clone(&ca).post(path, &body).await
        }
        _ => Err((405, "malformed", format!("{} {path}", head.method))),
    };
    let mut retry = None;
    let (status, location, media, text) = match answer {
        Ok((status, location, Body::Json(json))) => {
            (status, location, "application/json", json.to_string())
        }
        Ok((status, location, Body::Chain(pem))) => {
            (status, location, "application/pem-certificate-chain", pem)
        }
        Err((status, kind, detail)) => {
            retry = ca
                .state()
                .refusal
                .and_then(|(_, refused, retry)| retry.filter(|_| refused == kind));
            let kind = format!("urn:ietf:params:acme:error:{kind}");
            let problem = json!({"type": kind, "detail": detail, "status": status});
            (
                status,
                None,
                "application/problem+json",
                problem.to_string(),
            )
        }
    };
    let mut response = HttpResponse::builder()
        .status(status)
        .header("content-type", media)
        .header("replay-nonce", ca.nonce());
    if let Some(location) = location {
        response = response.header("location", location);
    }
    if let Some(retry) = retry {
        response = response.header("retry-after", retry);
    }
    Ok(response.body(Full::from(text)).unwrap())
}

impl Ca {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn directory(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.origin);
        json!({"newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order")})
    }

    fn nonce(&self) -> String {
        let mut state = self.state();
        state.made += 1;
        let nonce = BASE64.encode(Sha256::digest(state.made.to_be_bytes()));
        state.nonces.insert(nonce.clone());
        nonce
    }

    async fn post(self: Arc<Self>, path: &str, body: &[u8]) -> Answer {
        let request = self.verified(path, body)?;
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let number = |text: &str| text.parse::<usize>().unwrap();
        match segments[..] {
            ["account"] => Ok(self.new_account(&request)),
            ["account", id] => {
                assert_eq!(number(id), request.account);
                let contact = request.payload["contact"].clone();
                self.state().accounts[request.account].contact = contact;
                Ok((200, None, Body::Json(json!({"status": "valid"}))))
            }
            ["order"] => self.new_order(&request),
            ["order", id] => Ok((200, None, Body::Json(self.order(number(id))))),
            ["authz", id, name] => {
                let authorization = self.authorization(number(id), number(name));
                Ok((200, None, Body::Json(authorization)))
            }
            ["challenge", kind, id, name] => {
                assert_eq!(request.payload, json!({}), "RFC 8555 7.5.1");
                let (id, name, kind) = (number(id), number(name), kind.to_owned());
                tokio::spawn(Arc::clone(&self).validate(id, name, kind.clone()));
                Ok((200, None, Body::Json(self.challenge(&kind, id, name))))
            }
            ["finalize", id] => self.finalize(number(id), &request),
            ["certificate", id] => {
                let chain = self.state().orders[number(id)].chain.clone();
                Ok((200, None, Body::Chain(chain.unwrap())))
            }
            _ => Err((404, "malformed", path.to_owned())),
        }
    }

    /// RFC 8555 6.2 to 6.5.
    fn verified(&self, path: &str, body: &[u8]) -> Result<Verified, Refusal> {
        let jws: Value = serde_json::from_slice(body).unwrap();
        let field = |name: &str| jws[name].as_str().unwrap().to_owned();
        let (protected, payload) = (field("protected"), field("payload"));
        let signature = BASE64.decode(field("signature")).unwrap();
        let header: Value = serde_json::from_slice(&BASE64.decode(&protected).unwrap()).unwrap();
        assert_eq!(header["alg"], "ES256");
        assert_eq!(header["url"], format!("{}{path}", self.origin));
        let mut state = self.state();
        let nonce = header["nonce"].as_str().unwrap();
        let is_first = !std::mem::replace(&mut state.has_refused_a_nonce, true);
        if !state.nonces.remove(nonce) || is_first {
            state.seen.refused_nonces += 1;
            return Err((400, "badNonce", "not one of mine".to_owned()));
        }
        let (account, key, thumbprint) = match header["kid"].as_str() {
            Some(kid) => {
                assert!(header["jwk"].is_null());
                let number = kid.rsplit('/').next().unwrap().parse::<usize>().unwrap();
                assert_eq!(kid, format!("{}/account/{number}", self.origin));
                let account = state
                    .accounts
                    .get(number)
                    .filter(|account| !account.key.is_empty());
                let account = account
                    .ok_or_else(|| (400, "accountDoesNotExist", "who is that?".to_owned()))?;
                (number, account.key.clone(), account.thumbprint.clone())
            }
            None => {
                assert_eq!(path, "/account");
                let jwk = &header["jwk"];
                let coordinate = |name: &str| BASE64.decode(jwk[name].as_str().unwrap()).unwrap();
                let key = [vec![4], coordinate("x"), coordinate("y")].concat();
                // RFC 7638 3.2.
                let canonical = format!(
                    r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
                    jwk["x"], jwk["y"]
                );
                let thumbprint = BASE64.encode(Sha256::digest(canonical));
                (state.accounts.len(), key, thumbprint)
            }
        };
        let signed = format!("{protected}.{payload}");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key)
            .verify(signed.as_bytes(), &signature)
            .expect("a valid signature");
        let payload = BASE64.decode(payload).unwrap();
        Ok(Verified {
            account,
            key,
            thumbprint,
            payload: serde_json::from_slice(&payload).unwrap_or(Value::Null),
        })
    }

    fn new_account(&self, request: &Verified) -> (u16, Option<String>, Body) {
        assert_eq!(request.payload["termsOfServiceAgreed"], true);
        let mut state = self.state();
        state.seen.accounts += 1;
        state.accounts.push(Account {
            key: request.key.clone(),
            thumbprint: request.thumbprint.clone(),
            contact: request.payload["contact"].clone(),
        });
        let location = format!("{}/account/{}", self.origin, request.account);
        (201, Some(location), Body::Json(json!({"status": "valid"})))
    }

    fn new_order(&self, request: &Verified) -> Answer {
        let number = {
            let mut state = self.state();
            state.seen.orders += 1;
            if let Some((status, kind, _)) = state.refusal {
                return Err((status, kind, "not\nnow".to_owned()));
            }
            let identifiers = request.payload["identifiers"].as_array().unwrap();
            let names = identifiers.iter().map(|identifier| {
                assert_eq!(identifier["type"], "dns");
                identifier["value"].as_str().unwrap().to_owned()
            });
            let names: Vec<String> = names.collect();
            let number = state.orders.len();
            state.orders.push(Order {
                account: request.account,
                proven: names.iter().map(|_| Ok(false)).collect(),
                names,
                token: BASE64.encode(Sha256::digest(format!("token {number}"))),
                chain: None,
            });
            number
        };
        let location = format!("{}/order/{number}", self.origin);
        Ok((201, Some(location), Body::Json(self.order(number))))
    }

    fn order(&self, number: usize) -> Value {
        let state = self.state();
        let order = &state.orders[number];
        let at = |path: String| format!("{}/{path}", self.origin);
        let status = if order.chain.is_some() {
            "valid"
        } else if order.proven.iter().any(Result::is_err) {
            "invalid"
        } else if order.proven.iter().all(|proven| *proven == Ok(true)) {
            "ready"
        } else {
            "pending"
        };
        let authorizations =
            (0..order.names.len()).map(|name| at(format!("authz/{number}/{name}")));
        let mut json = json!({
            "status": status,
            "authorizations": authorizations.collect::<Vec<_>>(),
            "finalize": at(format!("finalize/{number}")),
        });
        if order.chain.is_some() {
            json["certificate"] = at(format!("certificate/{number}")).into();
        }
        json
    }

    fn authorization(&self, number: usize, name: usize) -> Value {
        let kinds = ["http-01", "dns-01", "tls-alpn-01"];
        let challenges = kinds.map(|kind| self.challenge(kind, number, name));
        let state = self.state();
        let order = &state.orders[number];
        let status = match order.proven[name] {
            Ok(false) => "pending",
            Ok(true) => "valid",
            Err(_) => "invalid",
        };
        json!({
            "status": status,
            "identifier": {"type": "dns", "value": order.names[name]},
            "challenges": challenges,
        })
    }

    fn challenge(&self, kind: &str, number: usize, name: usize) -> Value {
        let state = self.state();
        let order = &state.orders[number];
        let mut challenge = json!({
            "type": kind,
            "url": format!("{}/challenge/{kind}/{number}/{name}", self.origin),
            "token": order.token,
            "status": "pending",
        });
        match &order.proven[name] {
            Ok(false) => {}
            Ok(true) => challenge["status"] = "valid".into(),
            Err(reason) => {
                challenge["status"] = "invalid".into();
                challenge["error"] = json!({
                    "type": "urn:ietf:params:acme:error:unauthorized",
                    "detail": reason,
                    "status": 403,
                });
            }
        }
        challenge
    }

    /// Asks the node for the proof (RFC 8555 8.4, RFC 8737 3).
    async fn validate(self: Arc<Self>, number: usize, name: usize, kind: String) {
        let mut told = self.node.subscribe();
        let (dns, https) = told.wait_for(Option::is_some).await.unwrap().unwrap();
        let (host, authorization) = {
            let state = self.state();
            let order = &state.orders[number];
            let thumbprint = &state.accounts[order.account].thumbprint;
            (
                order.names[name].clone(),
                format!("{}.{thumbprint}", order.token),
            )
        };
        let digest = Sha256::digest(authorization);
        let outcome = match kind.as_str() {
            "dns-01" => record(dns, &host, &BASE64.encode(digest)).await,
            "tls-alpn-01" => handshake(https, &host, &digest).await,
            kind => Err(format!("nobody answers {kind}")),
        };
        let mut state = self.state();
        state.orders[number].proven[name] = match outcome {
            Ok(()) => {
                state.seen.proofs.push(BASE64.encode(digest));
                Ok(true)
            }
            Err(reason) => Err(reason),
        };
    }

    fn finalize(&self, number: usize, request: &Verified) -> Answer {
        let status = self.order(number)["status"].clone();
        if status != "ready" {
            return Err((403, "orderNotReady", status.to_string()));
        }
        let csr = BASE64
            .decode(request.payload["csr"].as_str().unwrap())
            .unwrap();
        let csr = CertificateSigningRequestParams::from_der(&csr.into());
        let mut csr = csr.expect("a certificate request signed by its key");
        {
            let mut state = self.state();
            let order = &mut state.orders[number];
            let names = csr.params.subject_alt_names.iter().map(|name| match name {
                SanType::DnsName(name) => name.as_str().to_owned(),
                other => panic!("{other:?}"),
            });
            assert_eq!(names.collect::<Vec<_>>(), order.names);
            let now = self.clock.seconds();
            let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
            csr.params.not_before = at(now);
            csr.params.not_after = at(now + LIFE);
            let (intermediate, issuer) = &self.intermediate;
            let leaf = csr.signed_by(issuer).unwrap().pem();
            order.chain = Some(format!("{leaf}{intermediate}"));
            state.seen.issued += 1;
        }
        Ok((200, None, Body::Json(self.order(number))))
    }
}

struct Verified {
    account: usize,
    key: Vec<u8>,
    thumbprint: String,
    payload: Value,
}

async fn record(dns: SocketAddr, host: &str, expected: &str) -> Result<(), String> {
    let name: Name = format!("_acme-challenge.{host}").parse().unwrap();
    let query = QueryBuilder::new(name.clone(), Rtype::TXT).build(7);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query, dns).await.unwrap();
    let mut answer = [0; 1_232];
    let length = socket.recv(&mut answer).await.unwrap();
    let answer = Response::parse(&answer[..length]).unwrap();
    let values = answer.txt(&name);
    match values.contains(&expected.as_bytes()) {
        true => Ok(()),
        false => Err(format!("{} values, none of them right", values.len())),
    }
}

/// The certificate must be for this one name, and its extension hold the digest (RFC 8737 3).
async fn handshake(https: SocketAddr, host: &str, digest: &[u8]) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    client.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect(https).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, stream);
    let stream = stream.await.map_err(|error| error.to_string())?;
    let connection = stream.get_ref().1;
    if connection.alpn_protocol() != Some(b"acme-tls/1") {
        return Err("the protocol was not agreed on".to_owned());
    }
    let certificate = &connection.peer_certificates().unwrap()[0];
    let holds = |part: &[u8]| certificate.windows(part.len()).any(|window| window == part);
    // A sequence of one dNSName.
    let length = host.len() as u8;
    let names = [&[0x30, length + 2, 0x82, length], host.as_bytes()].concat();
    if !holds(&names) {
        return Err("the certificate is not for this name alone".to_owned());
    }
    // id-pe-acmeIdentifier, critical, an OCTET STRING within an OCTET STRING.
    let extension = [
        b"\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f\x01\x01\xff\x04\x22\x04\x20",
        digest,
    ]
    .concat();
    match holds(&extension) {
        true => Ok(()),
        false => Err("the certificate does not hold the digest".to_owned()),
    }
}

/// Trusts everybody: the certificate itself is the proof.
#[derive(Debug)]
pub(crate) struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
        ]
    }
}
