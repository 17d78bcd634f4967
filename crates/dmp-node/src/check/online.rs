//! The delegation as resolvers see it, and the name servers as they answer (node.md 10): what makes a zone lame is found here.
//!
//! It asks and never writes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dmp_dns::message::{CaseMatch, QueryBuilder, RecordData, Response};
use dmp_dns::{Name, Rcode, Rtype};
use dmp_net::exchange::{ExchangeError, random_id, tcp, udp};
use dmp_net::{Lookup, PoolOptions, ResolverPool};

use super::behaviour::{limit, sizes};
use super::http::health;
use super::parent::{own_names, parent, spelt};
use super::{Finding, Grade, advice};
use crate::config::Config;

/// How long one question may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Which letters of a name are sent in the other case (DNS-0x20): every second one.
const CASE: [u8; 32] = [0b0101_0101; 32];

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Online {
    /// Resolvers; empty means those of this machine.
    pub resolvers: Vec<SocketAddr>,
    /// Port of the name servers: 53, but for tests.
    pub port: u16,
}

/// Looks at the zone of these settings from outside: at its parent's servers, through resolvers, and at each of its own servers.
pub async fn delegation(config: &Config, online: &Online) -> Vec<Finding> {
    let mut findings = vec![health(config).await];
    let Some(zone) = &config.zone else {
        findings.push(Finding::new(Grade::Fail, "delegation: there is no zone"));
        return findings;
    };
    let Ok(name) = zone.to_string().parse::<Name>() else {
        findings.push(Finding::new(
            Grade::Fail,
            format!("delegation: {zone} is no name"),
        ));
        return findings;
    };
    let pool = match ResolverPool::new(online.resolvers.clone(), PoolOptions::default()) {
        Ok(pool) => pool,
        Err(_) => ResolverPool::system(PoolOptions::default()),
    };
    let parent = parent(config, zone, &pool, online.port).await;
    findings.extend(parent.findings);
    let servers = match pool.name_servers(&name).await {
        Lookup::Found(servers) => servers,
        Lookup::Absent => {
            let text = format!("delegation: resolvers know no NS of {zone}");
            findings.push(
                Finding::new(Grade::Fail, text).advise(match parent.delegates {
                    true => advice::NEGATIVE_CACHE,
                    false => advice::NOT_DELEGATED,
                }),
            );
            return findings;
        }
        Lookup::Unreachable(reason) => {
            let text = format!("delegation: {reason}");
            findings.push(Finding::new(Grade::Fail, text).advise(advice::RESOLVER_FAILS));
            // Resolvers say that much and no more of a zone whose servers fail, so these are asked without them.
            ask_at_home(&mut findings, config, online.port, &name).await;
            return findings;
        }
    };
    findings.push(agreement(config, &servers));
    for server in servers {
        match pool.addresses(&server).await {
            Lookup::Found(addresses) => {
                for address in addresses {
                    let address = SocketAddr::new(address, online.port);
                    let place = format!("{server} at {address}");
                    ask(&mut findings, &place, address, &name).await;
                    findings.push(sizes(&place, address, &name).await);
                    findings.extend(limit(config, &place, address, &name).await);
                }
            }
            Lookup::Absent => {
                let text = format!("{server}: resolvers know no address of it");
                findings.push(Finding::new(Grade::Fail, text).advise(advice::NO_ADDRESS));
            }
            Lookup::Unreachable(reason) => {
                let text = format!("{server}: {reason}");
                findings.push(Finding::new(Grade::Fail, text).advise(advice::RESOLVER_FAILS));
            }
        }
    }
    findings
}

/// Asks the addresses that the settings give the zone.
async fn ask_at_home(findings: &mut Vec<Finding>, config: &Config, port: u16, zone: &Name) {
    let (v4, v6) = (config.dns.apex_a, config.dns.apex_aaaa);
    let own = v4.map(IpAddr::V4).into_iter();
    for address in own.chain(v6.map(IpAddr::V6)) {
        let address = SocketAddr::new(address, port);
        ask(
            findings,
            &format!("{address}, by the settings"),
            address,
            zone,
        )
        .await;
    }
}

/// Whether the names in the delegation are those that the node answers with.
fn agreement(config: &Config, servers: &[Name]) -> Finding {
    let mut seen: Vec<String> = servers.iter().map(spelt).collect();
    let own = own_names(config);
    seen.sort_unstable();
    let told = seen.join(", ");
    if own.is_empty() {
        let text = format!("delegation: NS {told}, and the zone itself has none");
        Finding::new(Grade::Warn, text).advise(advice::NO_NS)
    } else if own == seen {
        Finding::new(Grade::Ok, format!("delegation: NS {told}"))
    } else {
        let text = format!(
            "delegation: resolvers see NS {told}, the settings say {}",
            own.join(", ")
        );
        Finding::new(Grade::Fail, text).advise(advice::NAMES_DISAGREE)
    }
}

/// What a strict resolver wants of one address of a name server.
async fn ask(findings: &mut Vec<Finding>, server: &str, address: SocketAddr, zone: &Name) {
    let absent = format!("_dnsmesh-check.{zone}").parse::<Name>();
    let questions = [
        (
            "SOA over UDP, letters in any case",
            Ok(zone.clone()),
            Rtype::SOA,
            Transport::Udp,
        ),
        ("SOA over TCP", Ok(zone.clone()), Rtype::SOA, Transport::Tcp),
        (
            "SOA in negative answers",
            absent,
            Rtype::TXT,
            Transport::Udp,
        ),
    ];
    for (what, name, rtype, transport) in questions {
        let Ok(name) = name else { continue }; // the zone leaves no room for a longer name
        let verdict = match query(address, &name, rtype, transport).await {
            Ok(response) => judge(&response, rtype),
            Err(error) => Err((
                error.to_string(),
                match transport {
                    Transport::Udp => advice::NO_UDP,
                    Transport::Tcp => advice::NO_TCP,
                },
            )),
        };
        findings.push(match verdict {
            Ok(()) => Finding::new(Grade::Ok, format!("{server}: {what}")),
            Err((reason, advice)) => {
                Finding::new(Grade::Fail, format!("{server}: {what}: {reason}")).advise(advice)
            }
        });
    }
    let address_of_itself = async {
        let answer = query(address, zone, Rtype::NS, Transport::Udp).await.ok()?;
        let is_own_server = answer.name_servers(zone).contains(&zone);
        if !is_own_server {
            return None; // other names have their addresses elsewhere
        }
        for rtype in [Rtype::A, Rtype::AAAA] {
            let answer = query(address, zone, rtype, Transport::Udp).await.ok()?;
            if !answer.addresses(zone).is_empty() {
                return Some(true);
            }
        }
        Some(false)
    };
    let what = "address of the name server, which is the zone itself";
    findings.extend(address_of_itself.await.map(|is_there| {
        match is_there {
            true => Finding::new(Grade::Ok, format!("{server}: {what}")),
            false => Finding::new(Grade::Fail, format!("{server}: {what}: none"))
                .advise(advice::NO_APEX_ADDRESS),
        }
    }));
}

#[derive(Clone, Copy)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Asks one question of one address, with the letters of the name in mixed case.
pub(super) async fn query(
    address: SocketAddr,
    name: &Name,
    rtype: Rtype,
    transport: Transport,
) -> Result<Response, ExchangeError> {
    let builder = QueryBuilder::new(name.with_case(&CASE), rtype);
    let request = builder.build(random_id()?);
    let accept = |answer: &[u8]| {
        let response = Response::parse(answer).ok()?;
        response
            .is_answer_to(&request, CaseMatch::Exact)
            .then_some(response)
    };
    match transport {
        Transport::Udp => udp(address, &request, PATIENCE, accept).await,
        Transport::Tcp => {
            let answer = tcp(address, &request, PATIENCE).await?;
            accept(&answer).ok_or(ExchangeError::Garbage)
        }
    }
}

fn judge(response: &Response, rtype: Rtype) -> Result<(), (String, &'static str)> {
    let has_soa = |records: &[dmp_dns::message::Record]| {
        let mut records = records.iter();
        records.any(|record| matches!(record.data, RecordData::Soa { .. }))
    };
    if !matches!(response.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
        let told = format!("answered {}", response.rcode);
        Err((told, advice::OTHER_SERVER))
    } else if !response.authoritative {
        let told = "the answer is not authoritative".to_owned();
        Err((told, advice::OTHER_SERVER))
    } else if rtype == Rtype::SOA && !has_soa(&response.answers) {
        Err(("the answer holds no SOA".to_owned(), advice::NO_SOA))
    } else if rtype != Rtype::SOA && !has_soa(&response.authority) {
        let told = "the answer holds no SOA, so resolvers will not remember it".to_owned();
        Err((told, advice::NO_NEGATIVE_SOA))
    } else {
        Ok(())
    }
}
