//! Whether a DMP node answers DNS at an address (node.md C1). It learns nothing else about it.

use std::net::SocketAddr;

use dmp_dns::update::Operation;
use dmp_dns::{Name, Rcode};
use dmp_net::{UpdateClient, UpdateError};
use tokio::time::timeout;

use crate::limits::{PROBE_LOOKUP, PROBE_PORTS, PROBE_TIMEOUT};
use crate::mesh::UpdateTarget;
use crate::reader::Resolvers;

/// Looks the host of a node up and asks its usual ports in turn; the first that answers as a node does.
pub async fn find_node_dns(host: &str, resolvers: &Resolvers) -> Option<SocketAddr> {
    let target = UpdateTarget {
        host: host.to_ascii_lowercase(),
        port: None,
    };
    let lookup = timeout(PROBE_LOOKUP, resolvers.server(&target, 0));
    let address = lookup.await.ok()?.ok()?.ip();
    for port in PROBE_PORTS {
        let server = SocketAddr::new(address, port);
        if is_node(host, server).await {
            return Some(server);
        }
    }
    None
}

/// Sends an unsigned update that no node accepts: a node refuses it or is not authoritative, anything else is no node.
///
/// `host` is the name the node goes by; it appears in the message only.
pub async fn is_node(host: &str, server: SocketAddr) -> bool {
    let (Ok(zone), Ok(owner)) = (
        host.parse::<Name>(),
        format!("_dmp-probe.{host}").parse::<Name>(),
    ) else {
        return false;
    };
    let client = UpdateClient::new(server, zone, None).with_timeout(PROBE_TIMEOUT);
    let mut message = client.message();
    let probe = Operation::Add {
        owner,
        ttl: 60,
        value: "v=dmp1;t=probe".to_owned(),
    };
    if message.push(&probe).is_err() {
        return false;
    }
    matches!(
        client.send(&message).await,
        Err(UpdateError::Refused {
            rcode: Rcode::REFUSED | Rcode::NOTAUTH,
            ..
        })
    )
}
