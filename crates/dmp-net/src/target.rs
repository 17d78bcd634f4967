//! From the name of a server that takes UPDATE to its address (client.md 4.7; federation.md 3.4).
//!
//! Who pinned resolvers trusts nobody else: with a pool, the system's resolver is not asked unless that is allowed.

use std::net::{IpAddr, SocketAddr};

use dmp_dns::Name;
use tokio::time::timeout;

use crate::limits;
use crate::pool::{Lookup, PoolOptions, ResolverPool};

/// Who may be asked for the address.
#[derive(Clone, Copy, Debug)]
pub enum Resolution<'a> {
    /// These resolvers; and the system only as the second says.
    Pool(&'a ResolverPool, SystemFallback),
    /// The system: nothing else is configured.
    System,
}

/// What to do when the pool finds no address (`DMP_ALLOW_SYSTEM_DNS_FALLBACK`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemFallback {
    /// Fail: a forged denial must not lead the writer elsewhere.
    Forbidden,
    /// Ask the system after all.
    Allowed,
}

/// Why a target has no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a host name and not an address.
    #[error("`{0}` is not a host name")]
    Host(String),
    /// Everybody asked says that there is no address.
    #[error("`{0}` has no address")]
    Absent(String),
    /// Nobody could be asked.
    #[error("`{host}` could not be resolved: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// What went wrong, resolver by resolver.
        why: String,
    },
}

/// The address to send an UPDATE to: a literal as it is, else A before AAAA of the host, else the address of one of its name servers.
///
/// `host` may carry brackets around an IPv6 literal and one trailing dot.
pub async fn update_target(
    host: &str,
    port: u16,
    resolution: Resolution<'_>,
) -> Result<SocketAddr, TargetError> {
    let bare = host.trim();
    let literal = bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(bare);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let is_name = !bare.is_empty()
        && bare
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && octet != b'\\');
    let name = bare
        .parse::<Name>()
        .ok()
        .filter(|_| is_name)
        .ok_or_else(|| TargetError::Host(host.to_owned()))?;

    let found = match timeout(limits::TARGET, addresses(&name, resolution)).await {
        Ok(found) => found,
        Err(_) => Lookup::Unreachable("no answer in time".to_owned()),
    };
    match found {
        Lookup::Found(addresses) => addresses
            .first()
            .map(|address| SocketAddr::new(*address, port))
            .ok_or_else(|| TargetError::Absent(host.to_owned())),
        Lookup::Absent => Err(TargetError::Absent(host.to_owned())),
        Lookup::Unreachable(why) => Err(TargetError::Unreachable {
            host: host.to_owned(),
            why,
        }),
    }
}

async fn addresses(name: &Name, resolution: Resolution<'_>) -> Lookup<IpAddr> {
    match resolution {
        Resolution::System => by_system(name).await,
        Resolution::Pool(pool, fallback) => match by_pool(pool, name).await {
            Lookup::Found(addresses) => Lookup::Found(addresses),
            _ if fallback == SystemFallback::Allowed => by_system(name).await,
            missing => missing,
        },
    }
}

async fn by_pool(pool: &ResolverPool, name: &Name) -> Lookup<IpAddr> {
    let mut outcome = pool.addresses(name).await;
    if matches!(outcome, Lookup::Found(_)) {
        return outcome;
    }
    match pool.name_servers(name).await {
        Lookup::Found(servers) => {
            for server in servers.iter().take(limits::NAME_SERVERS) {
                match pool.addresses(server).await {
                    Lookup::Found(addresses) => return Lookup::Found(addresses),
                    Lookup::Absent => {}
                    unreachable => outcome = unreachable,
                }
            }
            outcome
        }
        Lookup::Absent => outcome,
        Lookup::Unreachable(why) => Lookup::Unreachable(why),
    }
}

/// The system's way (hosts file included), then name servers as its resolvers know them.
async fn by_system(name: &Name) -> Lookup<IpAddr> {
    if let Some(address) = system_address(name).await {
        return Lookup::Found(vec![address]);
    }
    match ResolverPool::system(PoolOptions::system())
        .name_servers(name)
        .await
    {
        Lookup::Found(servers) => {
            for server in servers.iter().take(limits::NAME_SERVERS) {
                if let Some(address) = system_address(server).await {
                    return Lookup::Found(vec![address]);
                }
            }
            Lookup::Absent
        }
        Lookup::Absent => Lookup::Absent,
        Lookup::Unreachable(why) => Lookup::Unreachable(why),
    }
}

async fn system_address(name: &Name) -> Option<IpAddr> {
    let addresses: Vec<IpAddr> = tokio::net::lookup_host((name.to_string(), 0))
        .await
        .ok()?
        .map(|address| address.ip())
        .collect();
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| addresses.first())
        .copied()
}
