//! Looking up through resolvers: the configured pool, or the system's (client.md 4.1, 4.7). Caches nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dmp_core::owner::OwnerName;
use dmp_dns::Name;
use dmp_net::pool::NoUpstream;
use dmp_net::target::TargetError;
use dmp_net::{
    Entry, PoolOptions, Resolution, ResolverPool, SystemFallback, Upstream, update_target,
};

use crate::mesh::{Lookup, Pending, Reader, UpdateTarget};

/// How every record begins (records.md 2): other text at a name is nothing that this protocol put there.
const RECORD_PREFIX: &str = "v=dmp";

/// A reader over resolvers. Cloning shares their health.
#[derive(Clone, Debug)]
pub struct Resolvers {
    pool: Arc<ResolverPool>,
    /// Who resolves the hosts of UPDATE targets if the pool cannot; `None` for the system's own resolvers.
    fallback: Option<SystemFallback>,
}

impl Resolvers {
    /// Configured resolvers in priority order; hosts of UPDATE targets are resolved by them alone unless the fallback is
    /// allowed. An empty list means the system's.
    #[must_use]
    pub fn configured<E: Into<Entry>>(
        entries: Vec<E>,
        options: PoolOptions,
        fallback: SystemFallback,
    ) -> Self {
        Self {
            pool: pool(entries, options),
            fallback: Some(fallback),
        }
    }

    /// Resolvers that nobody pinned, `dns_host` or the system's: hosts of UPDATE targets are the system's business. An empty
    /// list means the system's.
    #[must_use]
    pub fn unpinned<E: Into<Entry>>(entries: Vec<E>, options: PoolOptions) -> Self {
        Self {
            pool: pool(entries, options),
            fallback: None,
        }
    }

    /// The resolvers as people know them, with those that are asked last for now: how long ago each failed.
    pub(crate) fn standing(&self) -> Vec<(String, Option<Duration>)> {
        let demoted = self.pool.demotions();
        let ago = |upstream: &Upstream| {
            let mut demoted = demoted.iter();
            demoted
                .find(|(other, _)| other == upstream)
                .map(|(_, ago)| *ago)
        };
        let upstreams = self.pool.upstreams();
        upstreams
            .iter()
            .map(|upstream| (upstream.to_string(), ago(upstream)))
            .collect()
    }

    /// Asks the resolver of that name last, because it failed so long ago.
    pub(crate) fn demote(&self, name: &str, ago: Duration) {
        for upstream in self.pool.upstreams() {
            if upstream.to_string() == name {
                self.pool.demote(&upstream, ago);
            }
        }
    }

    /// The address of a server that takes UPDATE; `port` stands in where the target states none (federation.md 3.4).
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn server(
        &self,
        target: &UpdateTarget,
        port: u16,
    ) -> Result<SocketAddr, TargetError> {
        let resolution = self.fallback.map_or(Resolution::System, |fallback| {
            Resolution::Pool(&self.pool, fallback)
        });
        update_target(&target.host, target.port.unwrap_or(port), resolution).await
    }
}

fn pool<E: Into<Entry>>(entries: Vec<E>, options: PoolOptions) -> Arc<ResolverPool> {
    let options = PoolOptions {
        plausible: |text| text.starts_with(RECORD_PREFIX),
        ..options
    };
    let pool = ResolverPool::new(entries, options);
    Arc::new(pool.unwrap_or_else(|NoUpstream| ResolverPool::system(options)))
}

impl Reader for Resolvers {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            match owner.as_str().parse::<Name>() {
                Ok(name) => self.pool.txt(&name).await,
                Err(_) => Lookup::Unreachable(format!("{owner} is not a DNS name")),
            }
        })
    }

    /// `system` stands for what the system uses then.
    fn begin_run(&self) {
        self.pool.begin_run();
    }
}
