//! What the connections are served from, and the way a reload reaches it: the interface is replaced as a whole.

use super::Api;
use super::connections::Connections;
use crate::config::Config;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The interface in force, and the books of its connections.
#[derive(Debug)]
pub(crate) struct Service {
    api: ArcSwap<Api>,
    connections: Arc<Connections>,
}

impl Service {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self {
            connections: Connections::new(api.http.max_connections),
            api: ArcSwap::new(api),
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
