//! The index as the answer function of `dmp_dns` sees it.

use std::net::IpAddr;

use dmp_dns::answer::{Apex, Authority, NameServer, ZoneView};
use dmp_dns::txt::PackedRrset;
use dmp_dns::{Name, Rtype};

use super::{Located, Owner, Reader};
use crate::settings::Settings;

/// What is served that does not come from the store: the apex's records (node.md 2.4) and the TTL.
#[derive(Clone, Debug)]
pub struct Served {
    apex: Option<Apex>,
    ttl: u32,
}

/// The index around one name that has been looked up.
#[derive(Clone, Copy)]
pub struct AnswerView<'a> {
    reader: &'a Reader<'a>,
    served: &'a Served,
    owner: &'a [u8],
    located: Option<PackedRrset<'a>>,
}

impl Served {
    /// The records that `settings` describe.
    pub fn new(settings: &Settings) -> Self {
        let apex = settings.zone.as_ref().map(|zone| {
            let configured = &settings.apex;
            let name = to_name(zone);
            let addresses: Vec<IpAddr> = configured
                .a
                .map(IpAddr::V4)
                .into_iter()
                .chain(configured.aaaa.map(IpAddr::V6))
                .collect();
            let name_server = |target: &Owner| NameServer {
                name: to_name(target),
                // A target inside the zone is this node: nobody else could serve its addresses.
                addresses: if target.is_under(zone) {
                    addresses.clone()
                } else {
                    Vec::new()
                },
            };
            Apex {
                primary: configured
                    .ns
                    .first()
                    .or(configured.hostname.as_ref())
                    .map_or_else(|| name.clone(), to_name),
                mailbox: configured
                    .soa_rname
                    .as_ref()
                    .map(to_name)
                    .or_else(|| hostmaster(zone))
                    .unwrap_or_else(|| name.clone()),
                name_servers: configured.ns.iter().map(name_server).collect(),
                name,
                addresses,
            }
        });
        Self {
            apex,
            ttl: settings.served_ttl.max(1),
        }
    }
}

impl Served {
    /// Whether the configuration puts a record of type `rtype` at the lower-case wire name (any type: [`Rtype::ANY`]).
    pub(crate) fn has(&self, owner: &[u8], rtype: Rtype) -> bool {
        let Some(apex) = &self.apex else { return false };
        let at_apex = apex.name.as_wire() == owner;
        let servers = apex
            .name_servers
            .iter()
            .filter(|server| server.name.as_wire() == owner);
        let mut addresses = servers
            .flat_map(|server| &server.addresses)
            .chain(at_apex.then_some(&apex.addresses).into_iter().flatten());
        match rtype {
            Rtype::SOA => at_apex,
            Rtype::NS => at_apex && !apex.name_servers.is_empty(),
            Rtype::A => addresses.any(IpAddr::is_ipv4),
            Rtype::AAAA => addresses.any(IpAddr::is_ipv6),
            Rtype::ANY => at_apex || addresses.next().is_some(),
            _ => false,
        }
    }
}

impl<'a> AnswerView<'a> {
    /// The view for `owner` (lower-case wire form), at which `located` was found and `scratch` filled.
    pub fn new(
        reader: &'a Reader<'a>,
        served: &'a Served,
        owner: &'a [u8],
        located: Located,
        scratch: &'a [u8],
    ) -> Self {
        Self {
            reader,
            served,
            owner,
            located: located.packed(scratch),
        }
    }

    /// What was located.
    pub fn located(&self) -> Option<PackedRrset<'a>> {
        self.located
    }
}

impl ZoneView for AnswerView<'_> {
    fn txt(&self, owner: &[u8]) -> Option<PackedRrset<'_>> {
        self.located.filter(|_| owner == self.owner)
    }

    fn has_below(&self, owner: &[u8], now: u64) -> bool {
        self.reader.has_below(owner, now)
    }

    fn authority(&self, name: &[u8]) -> Authority<'_> {
        let zone = self.reader.zone;
        match &self.served.apex {
            Some(apex) if dmp_dns::name::is_under(name, apex.name.as_wire()) => Authority::Zone {
                apex,
                serial: zone.serial(),
            },
            Some(_) if !zone.foreign.cover(name) => Authority::Elsewhere,
            _ => Authority::Hosted,
        }
    }

    fn ttl(&self) -> u32 {
        self.served.ttl
    }
}

/// RNAME when none is configured (D23); absent when the zone's name leaves no room for it.
fn hostmaster(zone: &Owner) -> Option<Name> {
    Owner::parse(&format!("hostmaster.{zone}"))
        .ok()
        .map(|owner| to_name(&owner))
}

fn to_name(owner: &Owner) -> Name {
    // Every owner name is a name; the root stands for what cannot happen.
    Name::from_wire(owner.as_wire()).unwrap_or_else(|_| Name::root())
}
