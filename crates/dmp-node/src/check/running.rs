//! Whether the node on a database is alive: asked over its control socket, then as a DNS client asks it.
//!
//! What others can reach is for [`super::delegation`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use dmp_dns::{Name, Rtype};
use serde::Deserialize;

use super::online::{Transport, query};
use super::{Finding, Grade};
use crate::control::{Connection, Request};

/// What this needs of the status that a running node tells.
#[derive(Deserialize)]
struct Status {
    zone: Option<String>,
    store: String,
    dns: SocketAddr,
}

/// Asks the node that runs on `database` whether it is well: its store takes writes and its DNS answers over UDP.
pub async fn running(database: PathBuf) -> Finding {
    match answers(database).await {
        Ok(address) => Finding::new(Grade::Ok, format!("node: answering on {address}")),
        Err(reason) => Finding::new(Grade::Fail, format!("node: {reason}")),
    }
}

async fn answers(database: PathBuf) -> Result<SocketAddr, String> {
    let asked = tokio::task::spawn_blocking(move || status(database));
    let status = asked.await.map_err(|error| error.to_string())??;
    if status.store != "working" {
        return Err(format!("its store is {}", status.store));
    }
    let mut address = status.dns;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let zone = status.zone.and_then(|zone| zone.parse().ok());
    // A node without a zone refuses nothing and knows nothing; any answer shows that it lives.
    let name = zone.unwrap_or_else(Name::root);
    let answer = query(address, &name, Rtype::SOA, Transport::Udp).await;
    answer
        .map(|_| address)
        .map_err(|error| format!("{address}: {error}"))
}

fn status(database: PathBuf) -> Result<Status, String> {
    let connection = Connection::open(&database).map_err(|error| error.to_string())?;
    let mut connection =
        connection.ok_or_else(|| format!("none runs on {}", database.display()))?;
    let told = connection
        .request(&Request::Status, &mut |_| Ok(()))
        .map_err(|error| error.to_string())?;
    serde_json::from_value(told).map_err(|error| error.to_string())
}
