//! Looking up through resolvers: the configured pool, or the system's (client.md 4.1, 4.7). Caches nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use dmp_core::owner::OwnerName;
use dmp_dns::Name;
use dmp_net::target::TargetError;
use dmp_net::{PoolOptions, Resolution, ResolverPool, SystemFallback, update_target};

use crate::mesh::{Lookup, Pending, Reader, UpdateTarget};

/// A reader over resolvers. Cloning shares their health.
#[derive(Clone, Debug)]
pub struct Resolvers {
    pool: Arc<ResolverPool>,
    /// Who resolves the hosts of UPDATE targets if the pool cannot; `None` for the system's own resolvers.
    fallback: Option<SystemFallback>,
}

impl Resolvers {
    /// Configured resolvers in priority order; hosts of UPDATE targets are resolved by them alone unless the fallback is allowed.
    ///
    /// `None` for an empty list.
    #[must_use]
    pub fn configured(
        upstreams: Vec<SocketAddr>,
        options: PoolOptions,
        fallback: SystemFallback,
    ) -> Option<Self> {
        let pool = ResolverPool::new(upstreams, options).ok()?;
        Some(Self {
            pool: Arc::new(pool),
            fallback: Some(fallback),
        })
    }

    /// One resolver for look-ups (`dns_host`); hosts of UPDATE targets are the system's business.
    #[must_use]
    pub fn single(upstream: SocketAddr, options: PoolOptions) -> Self {
        let pool = ResolverPool::new(vec![upstream], options)
            .unwrap_or_else(|_| ResolverPool::system(options));
        Self {
            pool: Arc::new(pool),
            fallback: None,
        }
    }

    /// The system's resolvers.
    #[must_use]
    pub fn system(options: PoolOptions) -> Self {
        Self {
            pool: Arc::new(ResolverPool::system(options)),
            fallback: None,
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

impl Reader for Resolvers {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            match owner.as_str().parse::<Name>() {
                Ok(name) => self.pool.txt(&name).await,
                Err(_) => Lookup::Unreachable(format!("{owner} is not a DNS name")),
            }
        })
    }
}
