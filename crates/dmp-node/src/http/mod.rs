//! The HTTP interface: records, registration, peers, health, metrics and a landing page (node.md 6). HTTP/1.1, plain or
//! inside TLS.
//!
//! It asks no peer; that does [`crate::federation`].

mod authorize;
mod body;
mod certificate;
mod client;
mod connections;
mod keeper;
mod names;
mod page;
mod records;
mod registration;
mod reply;
mod route;
mod server;
mod service;
mod sync;
mod tls;
mod validity;

pub use body::{DeleteBody, InvalidBody, PublishBody, parse_object};
pub(crate) use certificate::{Certificate, ExpiryWarning};
pub(crate) use keeper::Keeper;
pub use keeper::TlsError;
pub use names::{NameClass, NameOwner, is_publishable_value, publishable_owner};
pub use route::{ROUTES, Route};
pub use server::{HttpListener, HttpServer};
pub(crate) use service::Service;
pub(crate) use tls::Tls;
pub(crate) use validity::Validity;

use crate::access::bucket::TokenBuckets;
use crate::config::{Config, HttpConfig, Rate, SyncConfig};
use crate::context::Context;
use crate::credentials::Credentials;
use crate::federation::heartbeat::Neighbourhood;
use crate::federation::sync::ClusterView;
use crate::limits::PEER_READINGS;
use crate::metrics::{self, Format, Observed, Role};
use crate::register::Registrar;
use crate::repeated::log_repeated;
use crate::store::Condition;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderMap};
use hyper::{Method, Request, StatusCode};
use page::Page;
use reply::Reply;
use route::Resource;
use serde_json::json;
use service::Reach;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What every request is answered from.
#[derive(Debug)]
pub struct Api {
    context: Arc<Context>,
    credentials: Arc<Credentials>,
    registrar: Option<Registrar>,
    http: HttpConfig,
    sync: SyncConfig,
    /// Without it everything is in the clear.
    tls: Option<Arc<Tls>>,
    page: Page,
    /// `None` without a heartbeat.
    neighbourhood: Option<Arc<Neighbourhood>>,
    cluster: Arc<ClusterView>,
    /// Roles that are on.
    roles: Vec<Role>,
    /// Requests for records, by client.
    general: Arc<TokenBuckets<IpAddr>>,
    /// Requests for registration, by client.
    registration: Arc<TokenBuckets<IpAddr>>,
    /// Requests for what is the peers' that show no token of a peer, by client.
    strangers: Arc<TokenBuckets<IpAddr>>,
    /// Places of peers' requests that read the store.
    peer_readings: Arc<Semaphore>,
}

/// Who sent a request, and what it says about itself.
#[derive(Debug)]
struct Client {
    address: IpAddr,
    /// What it is counted by.
    key: IpAddr,
    headers: HeaderMap,
}

impl Api {
    /// The interface over an open node.
    pub(crate) fn new(
        config: &Config,
        context: Arc<Context>,
        credentials: Arc<Credentials>,
        tls: Option<Arc<Tls>>,
        neighbourhood: Option<Arc<Neighbourhood>>,
        cluster: Arc<ClusterView>,
    ) -> Arc<Self> {
        let buckets = |rate: Rate| Arc::new(TokenBuckets::new(rate.per_second, rate.burst));
        let registrar = Registrar::open(config, Arc::clone(&context), Arc::clone(&credentials));
        Arc::new(Self {
            context,
            credentials,
            http: config.http.clone(),
            sync: config.sync.clone(),
            tls,
            page: Page::new(config, registrar.as_ref()),
            neighbourhood,
            cluster,
            roles: roles(config, registrar.as_ref()),
            registrar,
            general: buckets(config.http.rate),
            registration: buckets(config.registration.endpoint_rate),
            strangers: buckets(config.http.rate),
            peer_readings: Arc::new(Semaphore::new(PEER_READINGS)),
        })
    }

    /// The interface by other settings. What clients have used up stays used, and challenges that wait stay good.
    fn renewed(&self, config: &Config) -> Arc<Self> {
        let (context, credentials) = (Arc::clone(&self.context), Arc::clone(&self.credentials));
        let registrar = match &self.registrar {
            Some(registrar) => registrar.renewed(config),
            None => Registrar::open(config, Arc::clone(&context), Arc::clone(&credentials)),
        };
        for (buckets, rate) in [
            (&self.general, config.http.rate),
            (&self.strangers, config.http.rate),
            (&self.registration, config.registration.endpoint_rate),
        ] {
            buckets.configure(rate.per_second, rate.burst);
        }
        Arc::new(Self {
            context,
            credentials,
            http: config.http.clone(),
            sync: config.sync.clone(),
            tls: self.tls.clone(),
            page: Page::new(config, registrar.as_ref()),
            neighbourhood: self.neighbourhood.clone(),
            cluster: Arc::clone(&self.cluster),
            roles: roles(config, registrar.as_ref()),
            registrar,
            general: Arc::clone(&self.general),
            registration: Arc::clone(&self.registration),
            strangers: Arc::clone(&self.strangers),
            peer_readings: Arc::clone(&self.peer_readings),
        })
    }

    /// Answers one request. A resource that is not there is 404 whatever the method; one that is there and lacks the
    /// method is 405 (node.md 6.1).
    async fn answer(
        self: Arc<Self>,
        reach: Reach,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Reply {
        let (head, body) = request.into_parts();
        let found = Resource::of(&head.uri);
        let Some((resource, route)) = found.filter(|(resource, _)| self.has(resource, reach))
        else {
            return Reply::not_found();
        };
        if !route.allows(&head.method) {
            return Reply::method_not_allowed(route.methods);
        }
        let address = client::address(peer, &head.headers, &self.http.trusted_proxies);
        let client = Client {
            address,
            key: client::limiter_key(address),
            headers: head.headers,
        };
        match (resource, head.method) {
            (Resource::Page, _) => {
                let now = self.context.clock().seconds();
                let nodes = self.neighbourhood.as_ref().map(|nodes| nodes.list(now));
                self.page
                    .reply(self.context.live_values(), nodes.as_deref(), now)
            }
            (Resource::Health, _) => self.health().await,
            (Resource::Ready, _) => self.ready(),
            (Resource::Metrics, _) => self.metrics(&client),
            (Resource::Stats, _) => {
                let stats = json!({ "records": self.context.live_values() });
                Reply::json(StatusCode::OK, &stats)
            }
            (Resource::Record(name), Method::POST) => {
                records::publish(&self, &client, &name, body).await
            }
            (Resource::Record(name), Method::DELETE) => {
                records::delete(&self, &client, &name, body).await
            }
            (Resource::Record(name), _) => records::query(&self, &client, &name),
            (Resource::Challenge, _) => registration::challenge(&self, &client),
            (Resource::Confirm, _) => registration::confirm(&self, &client, body).await,
            (Resource::TsigConfirm, _) => registration::tsig_confirm(&self, &client, body).await,
            (Resource::Digest, _) => {
                let query = head.uri.query().unwrap_or_default();
                sync::digest(&self, &client, query).await
            }
            (Resource::Pull, _) => sync::pull(&self, &client, body).await,
            (Resource::ClusterManifest, _) => sync::cluster_manifest(&self, &client),
        }
    }

    /// Whether the resource is there for who comes this way.
    fn has(&self, resource: &Resource, reach: Reach) -> bool {
        match resource {
            Resource::Challenge | Resource::Confirm | Resource::TsigConfirm => {
                reach == Reach::Whole && self.registrar.is_some()
            }
            Resource::Digest | Resource::Pull | Resource::ClusterManifest => {
                reach == Reach::Peers || self.sync.listen.is_none()
            }
            Resource::Health => true,
            _ => reach == Reach::Whole,
        }
    }

    /// Answers one request of a monitor on this machine.
    async fn answer_monitor(self: Arc<Self>, request: &Request<Incoming>) -> Reply {
        match Resource::of(request.uri()) {
            Some((_, route)) if !route.allows(request.method()) => {
                Reply::method_not_allowed(route.methods)
            }
            Some((Resource::Metrics, _)) => self.exposition(request.headers()),
            Some((Resource::Health, _)) => self.health().await,
            Some((Resource::Ready, _)) => self.ready(),
            _ => Reply::not_found(),
        }
    }

    /// What the node counts, for who may read it (node.md 6.2).
    fn metrics(&self, client: &Client) -> Reply {
        if !authorize::may_read(&self.http, &client.headers) {
            return Reply::error(StatusCode::UNAUTHORIZED, "unauthorized");
        }
        self.exposition(&client.headers)
    }

    fn exposition(&self, headers: &HeaderMap) -> Reply {
        let accept = headers.get(ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok());
        let format = Format::wanted_by(accept.unwrap_or_default());
        let (context, zone) = (&self.context, self.context.zone());
        let peers = self.cluster.peers();
        let failing = peers.iter().filter(|peer| peer.fault.is_some());
        let observed = Observed {
            records: context.live_values(),
            serial: zone.serial(),
            condition: context.store().condition(),
            store_octets: context.store().octets(),
            tsig_keys: context.access().keyring().len(),
            tokens: self.credentials.token_count(),
            roles: self.roles.clone(),
            certificate_expiry: self.tls.as_ref().map(|tls| tls.expires_at()),
            peers: peers.len(),
            peers_failing: failing.count(),
            sync_lag: self.cluster.lag(context.clock().seconds()),
        };
        let text = metrics::expose(context.metrics(), &observed, format);
        Reply::text(format.media_type(), text)
    }

    /// Whether the node takes what is its business, writes included; a balancer sends its clients elsewhere while not.
    fn ready(&self) -> Reply {
        let store = self.context.store();
        let status = match store.condition() {
            Condition::Working if store.is_draining() => "draining",
            Condition::Working => {
                return Reply::json(StatusCode::OK, &json!({ "status": "ready" }));
            }
            Condition::Full => "full",
            Condition::ReadOnly => "read-only",
        };
        Reply::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "status": status }),
        )
    }

    /// Looks something up in the store; what is wrong with it is for the log.
    async fn health(&self) -> Reply {
        let context = Arc::clone(&self.context);
        let lookup = move || {
            let row = context
                .store()
                .read(|sql| sql.prepare("SELECT 1 FROM token LIMIT 1")?.exists([]));
            (context.store().condition(), row)
        };
        let store = match tokio::task::spawn_blocking(lookup).await {
            Ok((Condition::Working, Ok(_))) => {
                return Reply::json(StatusCode::OK, &json!({ "status": "ok" }));
            }
            Ok((Condition::Full, _)) => "full",
            Ok((Condition::ReadOnly, _)) => "read-only",
            Ok((Condition::Working, Err(error))) => {
                log_repeated!(warn, %error, "the store does not answer");
                "unavailable"
            }
            Err(_) => "unavailable",
        };
        let body = json!({ "status": "degraded", "store": store });
        Reply::json(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}

/// The roles that are on, as metrics show them (D11).
fn roles(config: &Config, registrar: Option<&Registrar>) -> Vec<Role> {
    let roles = [
        (Role::ClaimProvider, config.is_claim_provider()),
        (Role::ClaimReceiver, config.is_claim_receiver()),
        (Role::Registration, registrar.is_some()),
        (Role::Update, config.update.enabled),
    ];
    let on = roles.into_iter().filter(|(_, is_on)| *is_on);
    on.map(|(role, _)| role).collect()
}
