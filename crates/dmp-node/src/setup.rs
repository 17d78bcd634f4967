//! What a new node needs before strangers can use it: its settings, and the records that its parent zone must hold (node.md 10).
//!
//! Values and texts only: it asks nobody and touches no file.

mod edit;

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use thiserror::Error;
use toml::Value;
use zeroize::Zeroizing;

use crate::config::dns_name;
use crate::limits;
use crate::zone::Owner;

pub use edit::{EditError, Setting, edit, value};

/// Where a node stands in the DNS: its zone, the name by which the parent zone names it, its public addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    zone: Owner,
    parent: Owner,
    name_server: Owner,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// Why a node cannot stand there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Not a name of the DNS.
    #[error("{0:?} is not a DNS name")]
    Name(String),
    /// Nobody delegates a top-level domain to a node.
    #[error(
        "{0} has no parent zone that could delegate it: name a sub-domain of a zone that you have"
    )]
    TopLevel(Owner),
    /// The node serves no address but that of the zone's own name.
    #[error(
        "{name_server} lies inside of {zone}, which serves addresses for its own name only: name {zone} itself, or a host outside of it"
    )]
    Inside {
        /// The name server.
        name_server: Owner,
        /// The zone.
        zone: Owner,
    },
    /// Resolvers have to reach the node somewhere.
    #[error("a public address of the node is missing")]
    NoAddress,
    /// The settings hold one address of each family.
    #[error("one IPv4 and one IPv6 address at most: {0} is one too many")]
    Addresses(IpAddr),
    /// The address reaches no host or every host.
    #[error("{0} cannot be the address of a node")]
    Address(IpAddr),
}

impl Plan {
    /// A node for `zone`; without a name server of another name the zone is its own.
    pub fn new(
        zone: &str,
        name_server: Option<&str>,
        addresses: &[IpAddr],
    ) -> Result<Self, PlanError> {
        let name = |text: &str| dns_name(text).ok_or_else(|| PlanError::Name(text.to_owned()));
        let zone = name(zone)?;
        let name_server = name_server.map_or(Ok(zone.clone()), name)?;
        let (mut v4, mut v6) = (None, None);
        for address in addresses {
            if address.is_unspecified() || address.is_multicast() {
                return Err(PlanError::Address(*address));
            }
            let before = match address {
                IpAddr::V4(address) => v4.replace(*address).is_some(),
                IpAddr::V6(address) => v6.replace(*address).is_some(),
            };
            if before {
                return Err(PlanError::Addresses(*address));
            }
        }
        let Some(parent) = zone.parent() else {
            return Err(PlanError::TopLevel(zone));
        };
        if name_server != zone && name_server.is_under(&zone) {
            return Err(PlanError::Inside { name_server, zone });
        }
        if v4.is_none() && v6.is_none() {
            return Err(PlanError::NoAddress);
        }
        Ok(Self {
            zone,
            parent,
            name_server,
            v4,
            v6,
        })
    }

    /// The zone of the node.
    pub fn zone(&self) -> &Owner {
        &self.zone
    }

    /// Public addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (v4, v6) = (self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6));
        v4.into_iter().chain(v6)
    }

    /// The records to add, in presentation format, one a line; lines that begin with `;` say where.
    pub fn parent_records(&self) -> String {
        let Self {
            zone,
            parent,
            name_server,
            ..
        } = self;
        let mut text = format!("; to add to the zone {parent}, where its records are kept\n");
        record(&mut text, zone, "NS", &format!("{name_server}."));
        if name_server == zone {
            text.push_str(
                "; glue, in the same place: without it nobody can ask the first question\n",
            );
        } else {
            let told = format!(
                "; where the records of {name_server} are kept, unless they are there already\n"
            );
            text.push_str(&told);
        }
        for address in self.addresses() {
            let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
            record(&mut text, name_server, rtype, &address.to_string());
        }
        text
    }

    /// The settings that say where the node stands.
    pub fn place(&self) -> Vec<Setting> {
        let zone = Value::String(self.zone.to_string());
        let address = |address: Option<IpAddr>| address.map(|at| Value::String(at.to_string()));
        let name_server = Value::String(self.name_server.to_string());
        let rows = [
            ("zone", Some(zone.clone())),
            ("hostname", Some(zone)),
            ("dns.apex_a", address(self.v4.map(IpAddr::V4))),
            ("dns.apex_aaaa", address(self.v6.map(IpAddr::V6))),
            ("dns.apex_ns", Some(Value::Array(vec![name_server]))),
        ];
        rows.map(|(key, value)| Setting { key, value }).into()
    }

    /// What else a node needs that is open to users and speaks plain HTTP to nobody but a proxy on this machine. These are for
    /// keys that nobody has set.
    pub fn beginnings(&self, operator_token: &Path) -> Vec<Setting> {
        set([
            ("dns.host", text(self.every_address())),
            ("dns.port", Value::Integer(53)),
            ("update.enabled", Value::Boolean(true)),
            ("http.host", text("127.0.0.1")),
            (
                "http.operator_token_file",
                text(&operator_token.to_string_lossy()),
            ),
            ("http.auth_mode", text("multi-tenant")),
            (
                "http.trusted_proxies",
                Value::Array(vec![text("127.0.0.1")]),
            ),
            ("registration.enabled", Value::Boolean(true)),
        ])
    }

    /// HTTPS on port 443 with a certificate that the node obtains itself, from a CA whose terms the operator agrees to.
    pub fn automatic_certificate(&self, contact: Option<&str>) -> Vec<Setting> {
        let mut settings = set([
            ("http.host", text(self.every_address())),
            ("http.port", Value::Integer(443)),
            ("acme.enabled", Value::Boolean(true)),
            ("acme.terms_agreed", Value::Boolean(true)),
        ]);
        settings.extend(contact.map(|contact| Setting {
            key: "acme.contact",
            value: Some(text(contact)),
        }));
        settings
    }

    fn every_address(&self) -> &'static str {
        if self.v6.is_some() { "::" } else { "0.0.0.0" }
    }
}

/// A new operator's token: 256 bits of the system's randomness as 64 hex digits.
pub fn new_operator_token() -> io::Result<Zeroizing<String>> {
    let mut octets = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *octets).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Zeroizing::new(hex::encode(*octets)))
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn set<const N: usize>(rows: [(&'static str, Value); N]) -> Vec<Setting> {
    rows.map(|(key, value)| Setting {
        key,
        value: Some(value),
    })
    .into()
}

fn record(text: &mut String, owner: &Owner, rtype: &str, data: &str) {
    let ttl = limits::DELEGATION_TTL;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{owner}. {ttl} IN {rtype} {data}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(zone: &str, server: Option<&str>, addresses: &[&str]) -> Result<Plan, PlanError> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Plan::new(zone, server, &addresses)
    }

    #[test]
    fn a_zone_that_is_its_own_name_server_needs_glue_in_the_parent_zone() {
        let plan = plan("Mesh.Example.com.", None, &["192.0.2.53", "2001:db8::53"]).unwrap();
        assert_eq!(
            plan.parent_records(),
            "; to add to the zone example.com, where its records are kept\n\
             mesh.example.com. 3600 IN NS mesh.example.com.\n\
             ; glue, in the same place: without it nobody can ask the first question\n\
             mesh.example.com. 3600 IN A 192.0.2.53\n\
             mesh.example.com. 3600 IN AAAA 2001:db8::53\n"
        );
    }

    #[test]
    fn a_name_server_outside_of_the_zone_has_its_address_where_its_name_is_kept() {
        let plan = plan("mesh.example.com", Some("ns.example.net"), &["192.0.2.53"]).unwrap();
        assert_eq!(
            plan.parent_records(),
            "; to add to the zone example.com, where its records are kept\n\
             mesh.example.com. 3600 IN NS ns.example.net.\n\
             ; where the records of ns.example.net are kept, unless they are there already\n\
             ns.example.net. 3600 IN A 192.0.2.53\n"
        );
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused() {
        let refused = |zone, server, addresses: &[&str]| {
            plan(zone, server, addresses).unwrap_err().to_string()
        };
        let v4 = &["192.0.2.53"];
        assert!(refused("a..b", None, v4).contains("is not a DNS name"));
        assert!(refused("com", None, v4).contains("has no parent zone"));
        assert!(refused("m.example", Some("ns.m.example"), v4).contains("lies inside of"));
        assert!(refused("m.example", None, &[]).contains("is missing"));
        assert!(refused("m.example", None, &["192.0.2.1", "192.0.2.2"]).contains("one too many"));
        assert!(refused("m.example", None, &["0.0.0.0"]).contains("cannot be"));
    }

    #[test]
    fn an_operators_token_is_256_bits_and_never_the_same() {
        let (one, other) = (new_operator_token().unwrap(), new_operator_token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(*one, *other);
    }
}
