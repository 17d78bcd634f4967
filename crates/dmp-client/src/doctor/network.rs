//! Whether this network carries messages: resolvers that are usable, and the own zone through each of them (product.md 5.5).

use dmp_net::scan::{ResolverReport, Verdict};
use futures_util::future::join_all;

use super::{Check, Level, Sight, Witness};
use crate::ops::Profile;

/// Judges what a scan found, then what each resolver says about the own zone.
pub async fn check_network(
    reports: &[ResolverReport],
    witnesses: &[&dyn Witness],
    profile: &Profile,
) -> Vec<Check> {
    let mut checks: Vec<Check> = reports.iter().map(resolver).collect();
    if !checks.iter().any(|check| check.level == Level::Ok) {
        checks.push(Check::fail(
            "network",
            "no resolver is usable",
            "nothing can be looked up from here",
            "dnsmesh resolvers discover --save, or another network",
        ));
    }
    let owner = profile.identity_owner();
    let sights = join_all(witnesses.iter().map(|witness| witness.look(&owner))).await;
    for (witness, sight) in witnesses.iter().zip(sights) {
        checks.push(match sight {
            Sight::Values { .. } | Sight::Absent => Check::ok(
                "network-zone",
                format!("{} answers for your zone", witness.name()),
                profile.mesh_zone.as_str(),
            ),
            Sight::Unreachable(reason) => Check::warn(
                "network-zone",
                format!("{} does not answer for your zone", witness.name()),
                format!("{}: {reason}", profile.mesh_zone),
                "if no resolver does, the zone or its delegation is broken: ask the operator of the node",
            ),
        });
    }
    checks
}

fn resolver(report: &ResolverReport) -> Check {
    let code = "network-resolver";
    let who = &report.upstream;
    if let (true, Some(latency)) = (report.is_usable(), report.latency()) {
        return Check::ok(
            code,
            format!("{who} is usable"),
            format!("{} ms", latency.as_millis()),
        );
    }
    let why = match (report.latency(), &report.nxdomain, &report.txt) {
        (None, ..) => "it does not answer".to_owned(),
        (_, Verdict::No(why), _) | (_, _, Verdict::No(why)) => why.clone(),
        _ => "it does not answer questions about text".to_owned(),
    };
    Check::warn(
        code,
        format!("{who} is not usable"),
        why,
        "dnsmesh resolvers discover --save",
    )
}
