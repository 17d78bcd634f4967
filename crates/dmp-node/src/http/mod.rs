//! The HTTP interface: records, registration, health (node.md 6). Plain HTTP/1.1, one JSON object per answer.
//!
//! It serves no page, no metrics and no synchronisation, and leaves TLS to a proxy in front of it.

mod authorize;
mod body;
mod client;
mod connections;
mod names;
mod records;
mod registration;
mod reply;
mod route;
mod server;

pub use body::{DeleteBody, InvalidBody, PublishBody, parse_object};
pub use names::{NameClass, NameOwner, is_publishable_value, publishable_owner};
pub use server::{HttpListener, HttpServer};

use crate::access::bucket::TokenBuckets;
use crate::config::{Config, HttpConfig, Rate};
use crate::context::Context;
use crate::credentials::Credentials;
use crate::register::Registrar;
use crate::store::Condition;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};
use reply::Reply;
use route::Resource;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

/// What every request is answered from.
#[derive(Debug)]
pub struct Api {
    context: Arc<Context>,
    credentials: Arc<Credentials>,
    registrar: Option<Registrar>,
    http: HttpConfig,
    /// Requests for records, by client.
    general: TokenBuckets<IpAddr>,
    /// Requests for registration, by client.
    registration: TokenBuckets<IpAddr>,
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
    pub fn new(config: &Config, context: Arc<Context>, credentials: Arc<Credentials>) -> Arc<Self> {
        let buckets = |rate: Rate| TokenBuckets::new(rate.per_second, rate.burst);
        let registrar = Registrar::open(config, Arc::clone(&context), Arc::clone(&credentials));
        Arc::new(Self {
            context,
            credentials,
            registrar,
            http: config.http.clone(),
            general: buckets(config.http.rate),
            registration: buckets(config.registration.endpoint_rate),
        })
    }

    /// Answers one request. A resource that is not there is 404 whatever the method; one that is there and lacks the
    /// method is 405 (node.md 6.1).
    async fn answer(self: Arc<Self>, peer: IpAddr, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let Some(resource) = Resource::of(&head.uri) else {
            return Reply::not_found();
        };
        let is_registration = matches!(
            resource,
            Resource::Challenge | Resource::Confirm | Resource::TsigConfirm
        );
        if is_registration && self.registrar.is_none() {
            return Reply::not_found();
        }
        if !resource.allows(&head.method) {
            return Reply::method_not_allowed(resource.methods());
        }
        let address = client::address(peer, &head.headers, &self.http.trusted_proxies);
        let client = Client {
            address,
            key: client::limiter_key(address),
            headers: head.headers,
        };
        match (resource, head.method) {
            (Resource::Health, _) => self.health().await,
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
        }
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
                tracing::warn!(%error, "the store does not answer");
                "unavailable"
            }
            Err(_) => "unavailable",
        };
        let body = json!({ "status": "degraded", "store": store });
        Reply::json(StatusCode::SERVICE_UNAVAILABLE, &body)
    }
}
