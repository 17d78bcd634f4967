//! `doctor network`: whether this network carries messages, resolver by resolver (product.md 5.5).

use std::time::Duration;

use dmp_client::config::Config;
use dmp_client::connect;
use dmp_client::doctor::{Check, ResolverWitness, Witness, check_network};
use dmp_net::scan::{Probes, ResolverReport, scan};
use dmp_net::{Entry, Upstream};

use super::{About, Findings, resolvers};
use crate::cmd::{Outcome, resolvers as table};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::report::Report;
use crate::{prompt, screen};

/// For one question to one resolver, as `resolvers test` waits (federation.md 7.3).
const SCAN_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether resolvers that work may be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// Only look.
    No,
    /// If the user says so.
    Ask,
    /// Without asking.
    Yes,
}

/// Looks at every resolver, and through every one at the own zone.
pub(super) async fn network(context: &Context, public: bool, consent: Consent) -> Outcome {
    let mut config = context.config()?;
    let mut upstreams: Vec<Upstream> = resolvers(&config, public)?;
    let mut reports = scan(&upstreams, &Probes::default(), SCAN_TIMEOUT).await;
    let mut fixed = Vec::new();
    if consent != Consent::No {
        let is_any_usable = reports.iter().any(ResolverReport::is_usable);
        if !is_any_usable && !public && !is_encrypted(&upstreams) {
            reports.extend(scan(&table::public(), &Probes::default(), SCAN_TIMEOUT).await);
        }
        if let Some(saved) = save_usable(context, &config, &reports, consent)? {
            config = saved;
            fixed.push(format!(
                "dns_resolvers is {} now",
                config.dns_resolvers.join(", ")
            ));
            upstreams = resolvers(&config, public)?;
            reports.retain(|report| upstreams.contains(&report.upstream));
        }
    }
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
            fixed,
        },
    }))
}

/// Somebody who looks names up over TLS only is not offered resolvers that everybody on the way can read.
fn is_encrypted(upstreams: &[Upstream]) -> bool {
    !upstreams.is_empty() && upstreams.iter().all(Upstream::is_encrypted)
}

/// Saves the usable resolvers: what a discovery once found and does not work any more goes, what the user wrote stays. `None` if nothing
/// changes, or is not to change.
fn save_usable(
    context: &Context,
    config: &Config,
    reports: &[ResolverReport],
    consent: Consent,
) -> Result<Option<Config>, Failure> {
    let own: Vec<Upstream> = config
        .dns_resolvers
        .iter()
        .filter(|entry| table::is_own(entry))
        .filter_map(|entry| entry.parse::<Entry>().ok())
        .flat_map(|entry| entry.upstreams())
        .collect();
    let usable = reports.iter().filter(|report| report.is_usable());
    let usable: Vec<String> = usable
        .filter(|report| !own.contains(&report.upstream))
        .map(|report| report.upstream.to_string())
        .collect();
    let has_working_default = config.dns_resolvers.is_empty()
        && resolvers(config, false)?
            .iter()
            .any(|upstream| usable.contains(&upstream.to_string()));
    if has_working_default || (usable.is_empty() && own.is_empty()) {
        return Ok(None);
    }
    let better = table::merged(&config.dns_resolvers, &usable);
    if better == config.dns_resolvers {
        return Ok(None);
    }
    if consent == Consent::Ask {
        let question = format!(
            "Save {} as dns_resolvers, instead of {}? [y/N] ",
            screen::line(&better.join(", ")),
            screen::line(&config.dns_resolvers.join(", ")),
        );
        if let Err(declined) = prompt::agreed(&question) {
            context.format.note(&format!(
                "warning: the resolvers stay as they are: {}",
                declined.reason
            ));
            return Ok(None);
        }
    }
    let saved = context
        .home
        .update_config(|stored| stored.dns_resolvers.clone_from(&better))?;
    Ok(Some(saved))
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
