//! `cluster pin` and `cluster disable`: what needs no network.

use dmp_client::cluster::Anchor;
use dmp_core::name::DomainName;
use serde::Serialize;

use crate::args::cluster::PinArgs;
use crate::cmd::Outcome;
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, line};

/// Stores both anchors. A cluster that was in use is not any more, and a token for the nodes of another one is forgotten: it belongs
/// to that operator (federation.md 8).
pub(super) fn pin(context: &Context, args: &PinArgs) -> Outcome {
    let anchor = Anchor::parse(&args.base_domain, &args.operator)
        .map_err(|error| Failure::user("cluster-anchor", error).hint("nothing was changed"))?;
    context.config()?;
    let mut forgot_token = false;
    context.home.update_config(|config| {
        let is_same = DomainName::parse(&config.cluster_base_domain)
            .map_or(config.cluster_base_domain.is_empty(), |base| {
                base == anchor.base
            });
        if !is_same && !config.cluster_node_token.is_empty() {
            config.cluster_node_token.clear();
            forgot_token = true;
        }
        config.cluster_base_domain = anchor.base.as_str().to_owned();
        config.cluster_operator_spk = anchor.operator.to_string();
        config.cluster_enabled = false;
    })?;
    Ok(Box::new(Pinned {
        anchor,
        forgot_token,
    }))
}

/// Switches the cluster off.
pub(super) fn disable(context: &Context) -> Outcome {
    let mut config = context.config()?;
    let changed = config.cluster_enabled;
    if changed {
        config = context
            .home
            .update_config(|config| config.cluster_enabled = false)?;
    }
    Ok(Box::new(Disabled {
        changed,
        zone: config.domain,
    }))
}

struct Pinned {
    anchor: Anchor,
    forgot_token: bool,
}

impl Report for Pinned {
    fn text(&self) -> String {
        format!(
            "pinned cluster operator key and base domain {}\nNext: dnsmesh cluster fetch, then dnsmesh cluster enable\n",
            self.anchor.base
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            base_domain: &'a str,
            operator_spk: String,
            token_forgotten: bool,
        }
        line(
            "dmp.cluster-pinned/1",
            &Members {
                base_domain: self.anchor.base.as_str(),
                operator_spk: self.anchor.operator.to_string(),
                token_forgotten: self.forgot_token,
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let note = "note: cluster_node_token was for the nodes of another cluster and is forgotten";
        self.forgot_token
            .then(|| note.to_owned())
            .into_iter()
            .collect()
    }
}

struct Disabled {
    changed: bool,
    zone: String,
}

impl Report for Disabled {
    fn text(&self) -> String {
        if self.changed {
            format!(
                "cluster mode disabled; your zone is {} again, and the pins are kept\n",
                crate::screen::line(&self.zone)
            )
        } else {
            "cluster mode was already disabled\n".to_owned()
        }
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            changed: bool,
            zone: &'a str,
        }
        let Self { changed, zone } = self;
        let changed = *changed;
        line("dmp.cluster-disabled/1", &Members { changed, zone })
    }
}
