//! `bootstrap fetch`: the record of a domain under the pinned signer (cli.md 3.13).

use dmp_client::bootstrap::{self, Anchor, AnchorError, FetchError};
use dmp_client::config::Config;
use dmp_client::connect;
use dmp_client::floors::Floors;
use dmp_core::id::UnixTime;
use dmp_core::record::{BootstrapEntry, BootstrapRecord};
use serde::Serialize;

use crate::args::bootstrap::FetchArgs;
use crate::cmd::signing::Role;
use crate::cmd::{Outcome, successor};
use crate::context::Context;
use crate::exit::Failure;
use crate::report::{Report, line};
use crate::time::{now, utc_of};

/// Looks the record up and prints it.
pub(super) async fn fetch(context: &Context, args: &FetchArgs) -> Outcome {
    let config = context.config()?;
    let anchor = anchor(&config, args)?;
    let reader = connect::reader(&config, context.system_fallback())?;
    let floors = Floors::of_home(&context.home);
    let found = bootstrap::fetch(&reader, &anchor, &floors, UnixTime::new(now())).await;
    let domain = anchor.domain.as_str();
    match found {
        Ok(record) => {
            let standing =
                successor::standing(&reader, Role::ZoneSigner, domain, &anchor.signer).await;
            Ok(Box::new(Fetched {
                record: record.into_inner(),
                warnings: successor::lines(standing, Role::ZoneSigner, domain),
            }))
        }
        Err(error) => Err(successor::explain(
            error.into(),
            &reader,
            Role::ZoneSigner,
            domain,
            &anchor.signer,
        )
        .await),
    }
}

/// What to look up, and under which key: options override the pins, but a key is never taken for another domain than its own.
fn anchor(config: &Config, args: &FetchArgs) -> Result<Anchor, Failure> {
    let pinned = Anchor::of_config(config)?;
    match (&args.user_domain, &args.signer_spk, pinned) {
        (Some(domain), Some(signer), _) => Ok(Anchor::parse(domain, signer)?),
        (None, Some(signer), Some(pinned)) => Ok(Anchor::parse(pinned.domain.as_str(), signer)?),
        (None, None, Some(pinned)) => Ok(pinned),
        (Some(domain), None, Some(pinned)) => {
            let asked = Anchor::parse(domain, &pinned.signer.to_string())?;
            if asked.domain == pinned.domain {
                Ok(asked)
            } else {
                Err(no_pin(domain))
            }
        }
        (Some(domain), None, None) => Err(no_pin(domain)),
        (None, _, None) => Err(no_pin("your domain")),
    }
}

/// Nobody said which key signs for a domain.
pub(crate) fn no_pin(domain: &str) -> Failure {
    Failure::user(
        "bootstrap-no-pin",
        format!("no signer is pinned for {domain}"),
    )
    .hint("get the key from the operator over another channel; it is never learnt from DNS")
    .hint(Role::ZoneSigner.pin_command(domain, "KEY"))
}

impl From<AnchorError> for Failure {
    fn from(error: AnchorError) -> Self {
        Self::user(error.code(), error)
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let failure = Self::new(error.fault(), error.code(), &error);
        match error {
            FetchError::Floor { .. } | FetchError::Unusable { .. } => {
                failure.hint("nothing was changed; what is pinned stays in force")
            }
            _ => failure,
        }
    }
}

/// An entry of the record, as JSON has it.
#[derive(Serialize)]
pub(super) struct Entry {
    priority: u16,
    cluster_base_domain: String,
    operator_spk: String,
}

impl From<&BootstrapEntry> for Entry {
    fn from(entry: &BootstrapEntry) -> Self {
        Self {
            priority: entry.priority,
            cluster_base_domain: entry.base.to_string(),
            operator_spk: entry.operator.to_string(),
        }
    }
}

struct Fetched {
    record: BootstrapRecord,
    warnings: Vec<String>,
}

impl Report for Fetched {
    fn text(&self) -> String {
        let record = &self.record;
        let mut text = format!(
            "user_domain: {}\nseq:         {}\nexpires:     {}\nentries (sorted by priority):\n",
            record.domain,
            record.seq,
            record.exp.as_secs()
        );
        for entry in &record.entries {
            text.push_str(&format!(
                "  priority={}  cluster={}  operator_spk={}...\n",
                entry.priority,
                entry.base,
                entry.operator.short()
            ));
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            user_domain: &'a str,
            signer_spk: String,
            seq: u64,
            expires_at: String,
            entries: Vec<Entry>,
        }
        let record = &self.record;
        line(
            "dmp.bootstrap/1",
            &Members {
                user_domain: record.domain.as_str(),
                signer_spk: record.signer.to_string(),
                seq: record.seq,
                expires_at: utc_of(record.exp),
                entries: record.entries.iter().map(Entry::from).collect(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        warnings(&self.warnings)
    }
}

/// Lines about a key as warnings.
pub(super) fn warnings(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|line| format!("warning: {line}"))
        .collect()
}
