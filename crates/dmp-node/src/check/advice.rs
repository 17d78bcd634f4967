//! What to do about each of the ways in which a delegation is known to fail (node.md 10), one sentence or two each.

pub(super) const NOT_DELEGATED: &str = "Add the records that `dnsmesh node setup` prints to the parent zone, on every server that it has; a delegation of the same name as another record replaces it.";
pub(super) const NAMES_DISAGREE: &str = "Resolvers trust the names in the zone over those of its parent: make `dns.apex_ns` and the NS records of the parent zone the same.";
pub(super) const NO_GLUE: &str = "The name server lies inside of its own zone, so the parent zone must hold its A or AAAA record too.";
pub(super) const GLUE_DISAGREES: &str = "If the node has moved, change its address in the parent zone; otherwise correct `dns.apex_a` and `dns.apex_aaaa`.";
pub(super) const NEGATIVE_CACHE: &str = "The parent zone has the delegation, but this resolver still remembers an answer from before. Nothing is to be done but to wait, up to the last field of the parent zone's SOA in seconds, and to verify again.";
pub(super) const RESOLVER_FAILS: &str = "A resolver that finds the delegation and then gives up met one of the other failures told here; if none is told, ask another resolver with --resolver.";
pub(super) const NO_ADDRESS: &str = "Whoever follows the delegation needs the address of this name: add its A or AAAA record where the records of that name are kept.";
pub(super) const NO_UDP: &str = "Does the node run, is 53/udp open in every firewall on the way, and does nothing else hold port 53 (`ss -ulpn sport = :53`)?";
pub(super) const NO_TCP: &str = "Open 53/tcp too: resolvers fetch over TCP what does not fit a datagram, and some refuse a server without it. `ss -tlpn sport = :53` tells who holds the port.";
pub(super) const OTHER_SERVER: &str = "Another name server answers at this address, or the node has another zone: compare `zone` in the settings with the name in the parent zone.";
pub(super) const NO_SOA: &str = "A strict resolver takes a zone whose apex has no SOA for broken (lame). This node always has one, so something else answers at this address.";
pub(super) const NO_NEGATIVE_SOA: &str = "Without it resolvers do not remember that a name is absent and ask again each time. This node always sends it, so something on the way answers instead.";
pub(super) const NO_NS: &str = "Set `dns.apex_ns` to the names in the parent zone: strict resolvers ask the zone itself for its name servers and call it lame without an answer.";
pub(super) const NO_APEX_ADDRESS: &str = "Set `dns.apex_a` (and `dns.apex_aaaa`): strict resolvers ask the zone for the address of its name server instead of trusting the glue.";
pub(super) const EDNS_FAILS: &str = "Something on the way cuts or drops such messages: look at firewalls that inspect DNS, and at the MTU of tunnels.";
pub(super) const NO_LIMIT: &str = "Without a limit on answers forged questions turn this node against others: set `dns.rate` and `dns.burst`. Addresses in `dns.rate_exempt`, such as this one may be, have none.";
pub(super) const HTTP_DOWN: &str = "Does the node run with these settings? `dnsmesh node health` asks it on this machine, and its log tells why a listener did not start.";
pub(super) const UNTRUSTED: &str = "Clients refuse a certificate that no public CA vouches for: look at `https` in `dnsmesh node ctl status`, and at docs/operate/https.md.";
