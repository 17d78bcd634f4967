//! `identity refresh-prekeys` (cli.md 3.2, D15).

use dmp_client::mesh::system_random;
use dmp_client::ops::{
    RefreshError, RefreshReport, RefreshRequest, Stock, Upkeep, maintain, refresh_prekeys,
};
use serde::Serialize;

use super::cause;
use crate::args::identity::RefreshArgs;
use crate::cmd::Outcome;
use crate::context::{Context, Online};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Report, line};

/// Brings the pool of one-time keys to the wanted size.
pub(crate) async fn refresh(context: &Context, args: RefreshArgs) -> Outcome {
    let online = context.go_online(StandardInput::Free).await?;
    let request = RefreshRequest {
        count: args.count,
        lifetime: args.ttl,
    };
    let report = refresh_prekeys(&online.session(), &request, &mut system_random()).await?;
    Ok(Box::new(Refreshed(report)))
}

/// Publishes again what is due, unasked; what went wrong is told and never fails the verb.
pub(crate) async fn upkeep(context: &Context, online: &Online) -> Result<(), Failure> {
    let done = maintain(&online.session(), &mut system_random()).await?;
    if let Some(Upkeep {
        failure: Some(failure),
        ..
    }) = done
    {
        context.format.note(&format!(
            "note: own records could not be published again: {failure}; it is tried again soon"
        ));
    }
    Ok(())
}

/// The warning that people who write may soon find no one-time key.
fn low_stock(stock: Stock) -> Option<String> {
    let Stock { live, target } = stock;
    stock.is_low().then(|| {
        format!(
            "warning: only {live} of {target} one-time keys are left; without one, messages to you have no forward secrecy: \
             dnsmesh identity refresh-prekeys"
        )
    })
}

impl From<RefreshError> for Failure {
    fn from(error: RefreshError) -> Self {
        Self::user(error.code(), error)
    }
}

struct Refreshed(RefreshReport);

impl Report for Refreshed {
    fn text(&self) -> String {
        let RefreshReport {
            owner,
            wanted,
            published,
            live,
            ..
        } = &self.0;
        format!(
            "published {published}/{wanted} prekeys to {owner}\n  local live prekey count: {live}\n"
        )
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members {
            owner: String,
            wanted: usize,
            published: usize,
            fresh: usize,
            live: usize,
            failure: Option<String>,
        }
        let RefreshReport {
            owner,
            wanted,
            published,
            fresh,
            live,
            failure,
        } = &self.0;
        let members = Members {
            owner: owner.to_string(),
            wanted: *wanted,
            published: *published,
            fresh: *fresh,
            live: *live,
            failure: failure.as_ref().map(cause),
        };
        line("dmp.prekeys/1", &members)
    }

    fn notes(&self) -> Vec<String> {
        let RefreshReport {
            failure,
            live,
            wanted,
            ..
        } = &self.0;
        let refused = failure
            .as_ref()
            .map(|error| format!("note: the node did not take the rest: {}", cause(error)));
        let stock = Stock {
            live: *live,
            target: *wanted,
        };
        refused.into_iter().chain(low_stock(stock)).collect()
    }

    fn exit(&self) -> Exit {
        if self.0.published == 0 && self.0.wanted > 0 {
            Exit::Remote
        } else {
            Exit::Done
        }
    }
}
