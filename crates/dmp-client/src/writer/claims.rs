//! Leaving claims in other people's zones by unsigned UPDATE (client.md 4.5, federation.md 3.4).

use dmp_dns::update;
use dmp_net::UpdateClient;

use super::tsig::{to_name, write_error};
use crate::error::WriteError;
use crate::mesh::{ClaimNotice, ClaimSender, Pending};
use crate::reader::Resolvers;

/// Sends claims to the servers that take them.
#[derive(Clone, Debug)]
pub struct DnsClaims {
    resolvers: Resolvers,
    /// The port of servers that state none: 53, or `DMP_PROVIDER_DNS_PORT`.
    port: u16,
}

impl DnsClaims {
    /// A sender that resolves hosts as the client does otherwise.
    #[must_use]
    pub const fn new(resolvers: Resolvers, port: u16) -> Self {
        Self { resolvers, port }
    }

    async fn leave(&self, notice: &ClaimNotice) -> Result<(), WriteError> {
        let server = self.resolvers.server(&notice.target, self.port).await;
        let server = server.map_err(|error| WriteError::Unreachable(error.to_string()))?;
        let zone = notice.zone.as_str().parse();
        let zone = zone
            .map_err(|_| WriteError::Misconfigured(format!("{} is not a DNS name", notice.zone)))?;
        let client = UpdateClient::new(server, zone, None);
        let mut message = client.message();
        message
            .push(&update::Operation::Add {
                owner: to_name(&notice.owner)?,
                ttl: notice.ttl,
                value: notice.value.clone(),
            })
            .map_err(|_| WriteError::NotZone)?;
        client.send(&message).await.map_err(write_error)
    }
}

impl ClaimSender for DnsClaims {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        Box::pin(self.leave(notice))
    }
}
