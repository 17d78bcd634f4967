//! `bootstrap discover`: the cluster that serves an address, and the move of this home to it (cli.md 3.13, federation.md 5).

use dmp_client::bootstrap::{self, Adopted, Anchor, Discovery, Unusable};
use dmp_client::config::Config;
use dmp_client::connect;
use dmp_client::floors::Floors;
use dmp_client::successor::KeyStanding;
use dmp_core::address::LookupAddress;
use dmp_core::id::UnixTime;
use dmp_core::name::DomainName;
use serde::Serialize;

use super::fetch::{Entry, no_pin, warnings};
use crate::args::bootstrap::DiscoverArgs;
use crate::cmd::signing::Role;
use crate::cmd::{Outcome, successor};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::report::{Report, line};
use crate::screen;
use crate::time::{now, utc_of};

/// Walks the two steps, prints what was found and, if asked to, moves this home there.
pub(super) async fn discover(context: &Context, args: &DiscoverArgs) -> Outcome {
    let config = context.config()?;
    let host = host(&args.address)?;
    let pinned = Anchor::of_config(&config)?;
    let is_home = pinned.as_ref().is_some_and(|pinned| pinned.domain == host);
    let anchor = match (&args.signer_spk, pinned) {
        (Some(signer), _) => Anchor::parse(host.as_str(), signer)?,
        (None, Some(pinned)) if is_home => pinned,
        (None, _) => return Err(no_pin(host.as_str())),
    };
    if args.auto_pin && !is_home {
        return Err(Failure::user(
            "bootstrap-other-domain",
            format!("{host} is not the domain that is pinned as your own: moving there would take your mailbox along"),
        )
        .hint("nothing was changed")
        .hint(format!(
            "if it is your own: `{}` first",
            Role::ZoneSigner.pin_command(host.as_str(), "KEY")
        )));
    }
    let found = find(context, &config, &anchor).await?;
    let adopted = if args.auto_pin {
        Some(move_to(context, &anchor, &found)?)
    } else {
        None
    };
    Ok(Box::new(Discovered {
        address: args.address.clone(),
        anchor,
        found,
        adopted,
    }))
}

/// The host of an address.
pub(crate) fn host(address: &str) -> Result<DomainName, Failure> {
    let parsed =
        LookupAddress::parse(address).and_then(|address| DomainName::parse(&address.host).ok());
    parsed.ok_or_else(|| {
        Failure::user(
            "bootstrap-address",
            format!("`{address}` is not user@host with a host name of at most 64 characters"),
        )
    })
}

/// What a domain offers, and how the key that says so stands.
pub(crate) struct Found {
    pub(crate) discovery: Discovery,
    pub(crate) standing: KeyStanding,
}

impl Found {
    /// Why no cluster can be used, one line each.
    fn reasons(&self) -> impl Iterator<Item = String> {
        self.discovery
            .skipped
            .iter()
            .map(|skipped| format!("{}: {}", skipped.entry.base, skipped.reason))
    }
}

/// Finds the record and the first usable cluster; nothing is changed.
pub(crate) async fn find(
    context: &Context,
    config: &Config,
    anchor: &Anchor,
) -> Result<Found, Failure> {
    let reader = connect::reader(config, context.system_fallback())?;
    let floors = Floors::of_home(&context.home);
    let connect = |manifest| connect::cluster(manifest, config, &context.home, &reader);
    let now = UnixTime::new(now());
    let (role, domain) = (Role::ZoneSigner, anchor.domain.as_str());
    match bootstrap::discover(&reader, anchor, &floors, now, connect).await {
        Ok(discovery) => Ok(Found {
            discovery,
            standing: successor::standing(&reader, role, domain, &anchor.signer).await,
        }),
        Err(error) => {
            Err(successor::explain(error.into(), &reader, role, domain, &anchor.signer).await)
        }
    }
}

/// Writes signer and cluster into the configuration and drops the credentials of the operator before, all in one change.
///
/// # Errors
/// No usable cluster, or a signer that was revoked: then nothing is written.
pub(crate) fn move_to(
    context: &Context,
    anchor: &Anchor,
    found: &Found,
) -> Result<Adopted, Failure> {
    if let KeyStanding::Revoked(_) = found.standing {
        let failure = Failure::new(
            Exit::Remote,
            "bootstrap-revoked",
            format!("the key that signs for {} was revoked", anchor.domain),
        )
        .hint("nothing was changed");
        let lines = successor::lines(found.standing, Role::ZoneSigner, anchor.domain.as_str());
        return Err(lines.into_iter().fold(failure, Failure::hint));
    }
    let Some((entry, _)) = &found.discovery.usable else {
        return Err(no_cluster(anchor, found));
    };
    let mut adopted = Adopted::default();
    context.home.update_config(|config| {
        adopted = bootstrap::adopt(config, anchor, entry);
    })?;
    Ok(adopted)
}

/// None of the clusters of a domain can be used.
pub(crate) fn no_cluster(anchor: &Anchor, found: &Found) -> Failure {
    let is_away = found
        .discovery
        .skipped
        .iter()
        .any(|skipped| matches!(skipped.reason, Unusable::Manifest(_)));
    let failure = Failure::new(
        Exit::Remote,
        "bootstrap-no-cluster",
        format!("no cluster of {} can be used now", anchor.domain),
    );
    let failure = found.reasons().fold(failure, Failure::hint);
    let failure = failure.hint("nothing was changed; what is pinned stays in force");
    if is_away {
        failure.hint("the operator can look with `dnsmesh cluster fetch`; try again later")
    } else {
        failure
    }
}

/// What a move took out of the configuration.
pub(crate) fn told(adopted: &Adopted) -> Vec<String> {
    let mut notes = Vec::new();
    if adopted.tokens {
        notes.push(
            "note: http_token and cluster_node_token were cleared: they belong to the operator before"
                .to_owned(),
        );
    }
    if let Some(name) = &adopted.tsig_key {
        notes.push(format!(
            "warning: the TSIG key {name} was taken out of the configuration: it writes to another zone, and all writes would have gone there"
        ));
    }
    if adopted.publisher {
        notes.push(
            "warning: `publisher` goes on saying how your zone is written; `dnsmesh config unset publisher` writes to the nodes of the cluster"
                .to_owned(),
        );
    }
    notes
}

struct Discovered {
    address: String,
    anchor: Anchor,
    found: Found,
    adopted: Option<Adopted>,
}

impl Report for Discovered {
    fn text(&self) -> String {
        let record = &self.found.discovery.record;
        let mut text = format!(
            "address:     {}\nuser_domain: {}  (seq={}, exp={})\n",
            screen::line(&self.address),
            record.domain,
            record.seq,
            record.exp.as_secs()
        );
        let Some(entry) = self.found.discovery.best() else {
            return text;
        };
        text.push_str(&format!(
            "shown entry: priority={}\n  cluster_base_domain: {}\n  operator_spk:        {}\n",
            entry.priority, entry.base, entry.operator
        ));
        if self.adopted.is_some() {
            text.push_str(&format!(
                "\nwrote config:\n  bootstrap_user_domain = {}\n  bootstrap_signer_spk  = {}\n  cluster_base_domain   = {}\n  \
                 cluster_operator_spk  = {}\n  cluster_enabled       = True\n",
                self.anchor.domain, self.anchor.signer, entry.base, entry.operator
            ));
        } else {
            text.push_str(&format!(
                "To use it: dnsmesh cluster pin {} {}\n           dnsmesh cluster enable\n",
                entry.operator, entry.base
            ));
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Cluster {
            #[serde(flatten)]
            entry: Entry,
            seq: u64,
            nodes: usize,
        }
        #[derive(Serialize)]
        struct SkippedEntry {
            #[serde(flatten)]
            entry: Entry,
            reason: String,
        }
        #[derive(Serialize)]
        struct Members<'a> {
            address: &'a str,
            user_domain: &'a str,
            signer_spk: String,
            seq: u64,
            expires_at: String,
            cluster: Option<Cluster>,
            skipped: Vec<SkippedEntry>,
            adopted: bool,
            dropped_tokens: bool,
            dropped_tsig_key: Option<&'a str>,
        }
        let Discovery {
            record,
            skipped,
            usable,
        } = &self.found.discovery;
        let adopted = self.adopted.as_ref();
        line(
            "dmp.bootstrap-discovery/1",
            &Members {
                address: &self.address,
                user_domain: record.domain.as_str(),
                signer_spk: record.signer.to_string(),
                seq: record.seq,
                expires_at: utc_of(record.exp),
                cluster: usable.as_ref().map(|(entry, cluster)| {
                    let manifest = cluster.manifest();
                    Cluster {
                        entry: entry.into(),
                        seq: manifest.seq,
                        nodes: manifest.nodes.len(),
                    }
                }),
                skipped: skipped
                    .iter()
                    .map(|skipped| SkippedEntry {
                        entry: (&skipped.entry).into(),
                        reason: skipped.reason.to_string(),
                    })
                    .collect(),
                adopted: adopted.is_some(),
                dropped_tokens: adopted.is_some_and(|adopted| adopted.tokens),
                dropped_tsig_key: adopted.and_then(|adopted| adopted.tsig_key.as_deref()),
            },
        )
    }

    fn notes(&self) -> Vec<String> {
        let domain = self.anchor.domain.as_str();
        let mut notes = warnings(&successor::lines(
            self.found.standing,
            Role::ZoneSigner,
            domain,
        ));
        let kind = if self.found.discovery.usable.is_some() {
            "note"
        } else {
            notes.push(
                "warning: no cluster of this domain can be used now; shown is the one that it prefers"
                    .to_owned(),
            );
            "warning"
        };
        notes.extend(
            self.found
                .reasons()
                .map(|reason| format!("{kind}: passed over {reason}")),
        );
        if let Some(adopted) = &self.adopted {
            notes.extend(told(adopted));
            notes.push(
                "note: `dnsmesh setup` registers at the nodes and publishes your keys there"
                    .to_owned(),
            );
        }
        notes
    }
}
