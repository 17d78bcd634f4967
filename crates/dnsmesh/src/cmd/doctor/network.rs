//! `doctor network`: whether this network carries messages, resolver by resolver (product.md 5.5).

use std::time::Duration;

use dmp_client::connect;
use dmp_client::doctor::{Check, ResolverWitness, Witness, check_network};
use dmp_net::Upstream;
use dmp_net::scan::{Probes, ResolverReport, scan};

use super::{About, Findings, resolvers};
use crate::cmd::{Outcome, resolvers as table};
use crate::context::Context;
use crate::exit::Exit;
use crate::report::Report;

/// For one question to one resolver, as `resolvers test` waits (federation.md 7.3).
const SCAN_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks at every resolver, and through every one at the own zone.
pub(super) async fn network(context: &Context, public: bool) -> Outcome {
    let config = context.config()?;
    let upstreams: Vec<Upstream> = resolvers(&config, public)?;
    let reports = scan(&upstreams, &Probes::default(), SCAN_TIMEOUT).await;
    let checks: Vec<Check> = match connect::profile(&config) {
        Ok(profile) => {
            let witnesses: Vec<ResolverWitness> = upstreams
                .iter()
                .cloned()
                .map(ResolverWitness::new)
                .collect();
            let witnesses: Vec<&dyn Witness> = witnesses
                .iter()
                .map(|witness| -> &dyn Witness { witness })
                .collect();
            check_network(&reports, &witnesses, &profile).await
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Box::new(Network {
        reports,
        findings: Findings {
            about: About::Network,
            header: String::new(),
            checks,
            fixed: Vec::new(),
        },
    }))
}

struct Network {
    reports: Vec<ResolverReport>,
    findings: Findings,
}

impl Report for Network {
    fn text(&self) -> String {
        format!("{}\n{}", table::table(&self.reports), self.findings.text())
    }

    fn json(&self) -> String {
        table::json_lines(&self.reports) + &self.findings.json()
    }

    fn exit(&self) -> Exit {
        self.findings.exit()
    }
}
