//! `identity fetch`: look somebody up, and pin the keys if asked to (cli.md 3.2, client.md 6.2, 6.3).

use std::sync::Arc;

use dmp_client::bootstrap::Anchor;
use dmp_client::cluster::UnionReader;
use dmp_client::config::Config;
use dmp_client::mesh::Reader;
use dmp_client::ops::{
    ContactError, FetchError, FetchRequest, Fetched, Place, Saved, contacts_add_fetched,
    identity_fetch,
};
use dmp_core::address::LookupAddress;
use dmp_core::id::{Fingerprint, UnixTime};
use dmp_core::name::Zone;
use serde::Serialize;

use crate::args::identity::FetchArgs;
use crate::cmd::Outcome;
use crate::cmd::bootstrap::{find, host, no_cluster, no_pin};
use crate::context::{Context, Unlocked};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Format, Report, document};
use crate::screen;
use crate::time::{now, utc_of};

/// Looks an identity up. Only `--add` needs the passphrase: contacts lie in the encrypted store (D17).
pub(crate) async fn fetch(context: &Context, args: FetchArgs) -> Outcome {
    let (config, store) = if args.add {
        let (Unlocked { config, .. }, store) = context.unlock_store(StandardInput::Free)?;
        (config, Some(store))
    } else {
        (context.config()?, None)
    };
    let request = request(&config, &args)?;
    let reader: Arc<dyn Reader> = if args.via_bootstrap {
        Arc::new(via_bootstrap(context, &config, &args.user).await?)
    } else {
        context.look_ups(&config).await?.reader
    };
    let now = UnixTime::new(now());
    let fetched = identity_fetch(&reader, &request, now).await?;
    let saved = store
        .as_ref()
        .map(|store| contacts_add_fetched(store, &fetched, now));
    let differs = match (&store, &saved) {
        (Some(store), Some(Ok(Saved::Kept { label }))) => store
            .contact(label)?
            .is_some_and(|contact| contact.keys() != Some(fetched.record.keys())),
        _ => false,
    };
    Ok(Box::new(Found {
        differs,
        fetched,
        saved,
        is_json: context.format == Format::Json,
    }))
}

/// The cluster of the own domain as it is published now, asked directly: the names of an address need not lie in the cluster's own zone
/// (federation.md 5). It is forgotten afterwards.
async fn via_bootstrap(
    context: &Context,
    config: &Config,
    address: &str,
) -> Result<UnionReader, Failure> {
    let host = host(address)?;
    let anchor = Anchor::of_config(config)?.filter(|anchor| anchor.domain == host);
    let anchor = anchor.ok_or_else(|| no_pin(host.as_str()))?;
    let found = find(context, config, &anchor).await?;
    match &found.discovery.usable {
        Some((_, cluster)) => Ok(cluster.reader()),
        None => Err(no_cluster(&anchor, &found)),
    }
}

/// What the arguments ask for.
pub(crate) fn request(config: &Config, args: &FetchArgs) -> Result<FetchRequest, Failure> {
    let zone = |text: &str| {
        Zone::parse(text).map_err(|error| Failure::user("fetch-zone", format!("`{text}`: {error}")))
    };
    let (user, place) = if args.user.contains('@') {
        let address = LookupAddress::parse(&args.user).ok_or_else(|| {
            Failure::user("fetch-address", format!("`{}` is not user@host", args.user))
        })?;
        let host = zone(&address.host)?;
        (address.user, Place::Address(host))
    } else {
        let stated = args.domain.as_deref().map(zone).transpose()?;
        let asked = stated.clone().map_or_else(|| config.mesh_zone(), Ok)?;
        (
            args.user.clone(),
            Place::Zone {
                zone: asked,
                stated,
            },
        )
    };
    let fingerprint = |text: &String| {
        Fingerprint::parse(text).map_err(|error| {
            Failure::user(
                "fetch-fingerprint",
                format!("--accept-fingerprint: {error}"),
            )
        })
    };
    Ok(FetchRequest {
        user,
        place,
        accept: args
            .accept_fingerprint
            .as_ref()
            .map(fingerprint)
            .transpose()?,
    })
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let failure = Self::new(Exit::Remote, error.code(), &error);
        match error {
            FetchError::Ambiguous { candidates, .. } => {
                let shown = candidates.iter().fold(failure, |failure, candidate| {
                    let record = &candidate.record;
                    let (agreement, signing) =
                        (record.agreement.to_string(), record.signing.short());
                    failure.hint(format!(
                        "fingerprint={}  x25519={}...  ed25519={signing}...  ts={}",
                        candidate.fingerprint,
                        agreement.get(..16).unwrap_or(&agreement),
                        record.ts.as_secs(),
                    ))
                });
                shown.hint("compare one over another channel, then add --accept-fingerprint <it>")
            }
            _ => failure,
        }
    }
}

struct Found {
    fetched: Fetched,
    saved: Option<Result<Saved, ContactError>>,
    /// The contact that was kept has other keys than those that are published.
    differs: bool,
    is_json: bool,
}

impl Found {
    fn address(&self) -> String {
        format!("{}@{}", self.fetched.record.username, self.fetched.zone)
    }

    /// What became of the contact; the line of cli.md 3.2.
    fn saved_line(&self) -> Option<String> {
        Some(match self.saved.as_ref()?.as_ref().ok()? {
            Saved::Added { label } => format!("added contact {label} (pinned signing key)"),
            Saved::Upgraded { label } => {
                format!(
                    "upgraded contact `{label}` (filled in X25519 pubkey for {})",
                    self.fetched.record.username
                )
            }
            // Only `contacts add --force` replaces.
            Saved::Replaced { label } => format!("replaced the keys of contact {label}"),
            Saved::Kept { label } => {
                format!("(contact `{label}` already exists — not overwriting)")
            }
        })
    }
}

impl Report for Found {
    fn text(&self) -> String {
        let record = &self.fetched.record;
        let ts = record.ts.as_secs();
        let at = format!("{ts} ({})", utc_of(record.ts));
        let rows = [
            ("address:", self.address()),
            ("username:", record.username.clone()),
            ("public_key:", record.agreement.to_string()),
            ("signing_public_key:", record.signing.to_string()),
            ("published at:", at),
        ];
        let mut text: String = rows
            .iter()
            .map(|(label, value)| format!("{label:<20}{}\n", screen::line(value)))
            .collect();
        if let Some(line) = self.saved_line() {
            text.push_str(&screen::line(&line));
            text.push('\n');
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            username: &'a str,
            address: String,
            public_key: String,
            signing_public_key: String,
            ts: u64,
            dns_name: String,
        }
        let record = &self.fetched.record;
        document(
            "dmp.identity-record/1",
            &Members {
                username: &record.username,
                address: self.address(),
                public_key: record.agreement.to_string(),
                signing_public_key: record.signing.to_string(),
                ts: record.ts.as_secs(),
                dns_name: self.fetched.owner.to_string(),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.fetched.record.username != self.fetched.user {
            notes.push(format!(
                "note: the record says `{}`, you asked for `{}`",
                self.fetched.record.username, self.fetched.user
            ));
        }
        if self.differs {
            notes.push(
                "warning: these are not the keys that are pinned for this contact; `dnsmesh contacts accept-key` compares and replaces them"
                    .to_owned(),
            );
        }
        match &self.saved {
            Some(Err(error)) => {
                notes.push(format!("dnsmesh: not added: {error} [{}]", error.code()))
            }
            _ if self.is_json => notes.extend(self.saved_line()),
            _ => {}
        }
        notes
    }

    fn exit(&self) -> Exit {
        match &self.saved {
            Some(Err(_)) => Exit::Remote,
            _ => Exit::Done,
        }
    }
}
