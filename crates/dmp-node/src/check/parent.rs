//! The delegation where it is made: every server of the parent zone asked without a resolver in between (node.md 10).
//!
//! That tells a record that is missing from one that a resolver does not know yet.

use std::net::{IpAddr, SocketAddr};

use dmp_dns::message::{RecordData, Response};
use dmp_dns::{Name, Rtype};
use dmp_net::{Lookup, ResolverPool};

use super::online::{Transport, query};
use super::{Finding, Grade, advice};
use crate::config::Config;
use crate::limits;
use crate::zone::Owner;

/// What the servers of the parent zone say.
pub(super) struct Parent {
    /// One finding for each server, or one for all that cannot be asked.
    pub(super) findings: Vec<Finding>,
    /// Whether one of them delegates the zone as the settings want it.
    pub(super) delegates: bool,
}

/// Asks the servers of the nearest zone above.
pub(super) async fn parent(
    config: &Config,
    zone: &Owner,
    pool: &ResolverPool,
    port: u16,
) -> Parent {
    let mut findings = Vec::new();
    let mut delegates = false;
    match servers_above(zone, pool).await {
        Ok((above, servers)) => {
            for (server, address) in servers {
                let address = SocketAddr::new(address, port);
                let judged = judge(config, zone, address).await;
                delegates |= judged.as_ref().is_ok_and(|judged| judged.is_ok());
                let place = format!("parent {above}: {server} at {address}");
                findings.push(match judged {
                    Ok(Ok(told)) => Finding::new(Grade::Ok, format!("{place}: {told}")),
                    Ok(Err((told, advice))) => {
                        Finding::new(Grade::Fail, format!("{place}: {told}")).advise(advice)
                    }
                    Err(reason) => Finding::new(Grade::Warn, format!("{place}: {reason}")),
                });
            }
        }
        Err(reason) => {
            let told = format!("parent: not asked: {reason}");
            findings.push(Finding::new(Grade::Warn, told));
        }
    }
    Parent {
        findings,
        delegates,
    }
}

/// The zone above, which may begin several labels up, with the first address of each of its servers.
async fn servers_above(
    zone: &Owner,
    pool: &ResolverPool,
) -> Result<(Owner, Vec<(Name, IpAddr)>), String> {
    let mut above = zone.parent();
    while let Some(candidate) = above {
        let name: Name = candidate
            .to_string()
            .parse()
            .map_err(|_| format!("{candidate} is no name"))?;
        match pool.name_servers(&name).await {
            Lookup::Found(names) => {
                let mut servers = Vec::new();
                for server in names.into_iter().take(limits::PARENT_SERVERS) {
                    if let Lookup::Found(addresses) = pool.addresses(&server).await {
                        servers.extend(addresses.first().map(|address| (server, *address)));
                    }
                }
                return match servers.is_empty() {
                    false => Ok((candidate, servers)),
                    true => Err(format!("no server of {candidate} has an address")),
                };
            }
            Lookup::Absent => above = candidate.parent(),
            Lookup::Unreachable(reason) => return Err(reason),
        }
    }
    Err("no zone above is known".to_owned())
}

/// What one server of the parent zone says of ours; the outer error is for one that says nothing of use.
async fn judge(
    config: &Config,
    zone: &Owner,
    address: SocketAddr,
) -> Result<Result<String, (String, &'static str)>, String> {
    let name: Name = zone
        .to_string()
        .parse()
        .map_err(|_| format!("{zone} is no name"))?;
    let answer = query(address, &name, Rtype::NS, Transport::Udp).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let delegation = Delegation::read(&answer, &name);
    if delegation.servers.is_empty() {
        let told = format!("{} and no NS of {zone}", answer.rcode);
        return Ok(Err((told, advice::NOT_DELEGATED)));
    }
    let told = delegation.servers.join(", ");
    let own = own_names(config);
    if !own.is_empty() && own != delegation.servers {
        let told = format!("NS {told}, the settings say {}", own.join(", "));
        return Ok(Err((told, advice::NAMES_DISAGREE)));
    }
    if !delegation.servers.contains(&zone.to_string()) {
        return Ok(Ok(format!("NS {told}")));
    }
    let (v4, v6) = (config.dns.apex_a, config.dns.apex_aaaa);
    let mut own: Vec<IpAddr> = v4.map(IpAddr::V4).into_iter().collect();
    own.extend(v6.map(IpAddr::V6));
    own.sort_unstable();
    let list = |addresses: &[IpAddr]| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        texts.join(", ")
    };
    let glue = list(&delegation.glue);
    Ok(if delegation.glue.is_empty() {
        Err((format!("NS {told} without glue"), advice::NO_GLUE))
    } else if !own.is_empty() && own != delegation.glue {
        let told = format!(
            "NS {told} with glue {glue}, the settings say {}",
            list(&own)
        );
        Err((told, advice::GLUE_DISAGREES))
    } else {
        Ok(format!("NS {told} with glue {glue}"))
    })
}

/// The name servers that the settings name.
pub(super) fn own_names(config: &Config) -> Vec<String> {
    let mut own: Vec<String> = config.dns.apex_ns.iter().map(ToString::to_string).collect();
    own.sort_unstable();
    own
}

/// A name as the settings spell it.
pub(super) fn spelt(name: &Name) -> String {
    name.to_string().trim_end_matches('.').to_ascii_lowercase()
}

/// A referral, or the same from a server that has both zones.
struct Delegation {
    servers: Vec<String>,
    glue: Vec<IpAddr>,
}

impl Delegation {
    fn read(answer: &Response, zone: &Name) -> Self {
        let records = answer.answers.iter().chain(&answer.authority);
        let mut servers: Vec<String> = records
            .filter(|record| record.owner == *zone)
            .filter_map(|record| match &record.data {
                RecordData::Ns(server) => Some(spelt(server)),
                _ => None,
            })
            .collect();
        let additional = answer.additional.iter();
        let mut glue: Vec<IpAddr> = additional
            .filter(|record| record.owner == *zone)
            .filter_map(|record| match record.data {
                RecordData::A(address) => Some(address.into()),
                RecordData::Aaaa(address) => Some(address.into()),
                _ => None,
            })
            .collect();
        servers.sort_unstable();
        servers.dedup();
        glue.sort_unstable();
        Self { servers, glue }
    }
}
