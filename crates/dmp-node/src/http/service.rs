//! What the connections are served from, and the way a reload reaches it: the interface is replaced as a whole.

use super::Api;
use super::connections::Connections;
use super::tls::Tls;
use crate::config::Config;
use crate::limits::{MONITOR_CONNECTIONS, PEER_CONNECTIONS};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The interface in force, and the books of its connections.
#[derive(Debug)]
pub(crate) struct Service {
    api: Arc<ArcSwap<Api>>,
    connections: Arc<Connections>,
    reach: Reach,
}

/// What a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everything that has no listener of its own.
    Whole,
    /// What the peers of a cluster ask for.
    Peers,
    /// Metrics, health and readiness, without a token and without TLS: for who is on this machine.
    Monitor,
}

impl Service {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        Self {
            connections: Connections::new(api.http.max_connections),
            api: Arc::new(ArcSwap::new(api)),
            reach: Reach::Whole,
        }
    }

    /// The same interface as monitors see it.
    pub(crate) fn monitor(&self) -> Self {
        Self {
            connections: Connections::new(MONITOR_CONNECTIONS),
            api: Arc::clone(&self.api),
            reach: Reach::Monitor,
        }
    }

    /// The same interface as peers see it where they have a listener of their own.
    pub(crate) fn peers(&self) -> Self {
        Self {
            connections: Connections::new(PEER_CONNECTIONS),
            api: Arc::clone(&self.api),
            reach: Reach::Peers,
        }
    }

    /// Brings other settings into force for the next request, also on connections that are open.
    pub(crate) fn configure(&self, config: &Config) {
        self.connections.configure(config.http.max_connections);
        self.api.store(self.api.load().renewed(config));
    }

    /// The interface in force, for one request.
    pub(super) fn api(&self) -> Arc<Api> {
        self.api.load_full()
    }

    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// What connections are encrypted with; `None` if they are not.
    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        match self.reach {
            Reach::Whole | Reach::Peers => self.api.load().tls.clone(),
            Reach::Monitor => None,
        }
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// What requests see of the settings.
    #[cfg(test)]
    pub(crate) fn shown(&self) -> String {
        let api = self.api();
        format!("{:?} {api:?}", self.connections)
    }
}
