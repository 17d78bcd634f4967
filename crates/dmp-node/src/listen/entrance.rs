//! What all listeners share of the settings, and the way a reload reaches them.
//!
//! The threads keep a copy of the guard in force and look once a round whether there is another: one plain load.

use std::io;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::connections::Connections;
use super::guard::Guard;
use super::prefix::Prefix;
use crate::access::bucket::TokenBuckets;
use crate::context::Context;
use crate::settings::Settings;

/// Connections at least, and as a multiple of the requests in work (node.md 2.8).
const CONNECTIONS_LEAST: usize = 256;
const CONNECTIONS_PER_REQUEST: usize = 8;

/// The guard in force, and the books of TCP.
#[derive(Debug)]
pub(crate) struct Entrance {
    context: Arc<Context>,
    guard: ArcSwap<Guard>,
    connections: Arc<Connections>,
    /// Requests over TCP, by client.
    requests: TokenBuckets<Prefix>,
}

impl Entrance {
    /// As the settings ask.
    pub(super) fn new(context: &Arc<Context>) -> io::Result<Self> {
        let settings = context.settings();
        let (most, most_per_prefix) = most_connections(&settings);
        Ok(Self {
            context: Arc::clone(context),
            guard: ArcSwap::from_pointee(Guard::new(context)?),
            connections: Connections::new(most, most_per_prefix),
            requests: TokenBuckets::new(settings.dns_rate, settings.dns_burst),
        })
    }

    /// Brings the settings that the context holds now into force.
    pub(crate) fn configure(&self) {
        let settings = self.context.settings();
        let (most, most_per_prefix) = most_connections(&settings);
        self.connections.configure(most, most_per_prefix);
        self.requests
            .configure(settings.dns_rate, settings.dns_burst);
        self.guard.store(Arc::new(self.guard.load().renewed()));
    }

    /// What the node is made of.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The guard in force, for one request.
    pub(super) fn guard(&self) -> Arc<Guard> {
        self.guard.load_full()
    }

    /// The guard in force, for a thread that asks again and again.
    pub(super) fn guards(&self) -> Cache<&ArcSwap<Guard>, Arc<Guard>> {
        Cache::new(&self.guard)
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    pub(super) fn requests(&self) -> &TokenBuckets<Prefix> {
        &self.requests
    }
}

/// Open TCP connections: in all, and of one prefix.
fn most_connections(settings: &Settings) -> (usize, usize) {
    let by_work = settings.max_concurrency * CONNECTIONS_PER_REQUEST;
    let most = settings
        .tcp_connections
        .unwrap_or(by_work.max(CONNECTIONS_LEAST));
    (most, settings.tcp_connections_per_prefix)
}
