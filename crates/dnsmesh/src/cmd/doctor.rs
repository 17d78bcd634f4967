//! `doctor` (cli.md 3.7; product.md 5.5): the engine of dmp-client looks, this file asks for it and prints.

mod network;

use std::sync::Arc;

use dmp_client::config::Config;
use dmp_client::connect;
use dmp_client::doctor::{
    Check, ConfiguredResolvers, ContactQuestion, Instruments, Level, NetworkInstruments,
    ResolverWitness, Witness, check_anchors, check_contact, check_files, check_node,
    check_published, check_settings, check_store, close_files,
};
use dmp_client::floors::Floors;
use dmp_client::home::host_of_endpoint;
use dmp_client::store::NewContact;
use dmp_core::id::UnixTime;
use dmp_core::keys::{Identity, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_net::scan::PUBLIC;
use dmp_net::{Entry, Upstream};
use serde::Serialize;

use self::network::Consent;
use super::Outcome;
use crate::args::doctor::{DoctorArgs, DoctorPart};
use crate::context::{Context, Unlocked};
use crate::exit::{Exit, Failure};
use crate::prompt::StandardInput;
use crate::report::{Report, line};
use crate::screen;
use crate::terminal::{Paint, paint};
use crate::time::{now, utc_of};

/// Looks at what was asked for.
pub(crate) async fn doctor(context: &Context, args: DoctorArgs) -> Outcome {
    match args.part {
        _ if args.repair => repair(context).await,
        None => home(context, args.fix).await,
        Some(DoctorPart::Network { public }) => {
            let consent = match (args.fix, args.yes) {
                (false, _) => Consent::No,
                (true, false) => Consent::Ask,
                (true, true) => Consent::Yes,
            };
            network::network(context, public, consent).await
        }
        Some(DoctorPart::Identity { public }) => identity(context, public).await,
        Some(DoctorPart::Contact { address }) => contact(context, &address).await,
    }
}

/// Configuration, node, and what the configured resolvers show.
async fn home(context: &Context, fix: bool) -> Outcome {
    // Not as other verbs read it, which make files private on the way: here that is a finding.
    let mut config = context.home.load_config()?;
    let mut fixed = Vec::new();
    if fix {
        let closed = close_files(&config, &context.home);
        let closed = closed.map_err(|error| Failure::user("doctor-fix", error))?;
        let made = closed
            .iter()
            .map(|path| format!("made {} private", path.display()));
        fixed.extend(made);
        if config.local_node_dns_server.is_empty()
            && let Some(place) = find_local_dns(context, &config).await?
        {
            config = place.save(context)?;
            fixed.push(format!(
                "saved the local DNS endpoint {}:{}",
                place.host, place.port
            ));
        }
    }
    let resolvers = connect::reader(&config, context.system_fallback())?;
    let instruments = NetworkInstruments::new(&config, resolvers.clone());
    let mut checks = check_node(&config, &instruments, time()).await;
    checks.extend(check_settings(&config, &context.home, time()));
    checks.extend(check_files(&config, &context.home));
    checks.extend(store(context, &config));
    let floors = Floors::of_home(&context.home);
    checks.extend(check_anchors(&resolvers, &config, &floors, time()).await);
    // Settings that make no profile are among the findings already.
    if let (Some(signing), Ok(profile)) = (signing_key(&config), connect::profile(&config)) {
        // In cluster mode commands ask its nodes; why they cannot is among the findings too.
        let look_ups = context.look_ups(&config).await;
        let reader = look_ups.map_or_else(|_| Arc::new(resolvers) as _, |found| found.reader);
        let witness = ConfiguredResolvers(reader.as_ref());
        checks.extend(check_published(&[&witness], &profile, &signing, time()).await);
    }
    Ok(Box::new(Findings {
        about: About::Home,
        header: header(context, &config),
        checks,
        fixed,
    }))
}

/// How the store is. Nobody is asked for a passphrase; one that cannot be had is a finding of its own.
fn store(context: &Context, config: &Config) -> Option<Check> {
    let derive = || {
        let passphrase = context.passphrase(config, StandardInput::Free).ok()?;
        Identity::derive(&passphrase, &config.salt().ok()?).ok()
    };
    let identity = context.has_passphrase(config).then(derive).flatten();
    check_store(&context.home, identity.as_ref(), time())
}

/// What strangers see.
async fn identity(context: &Context, public: bool) -> Outcome {
    let config = context.config()?;
    let profile = connect::profile(&config)?;
    let signing = match signing_key(&config) {
        Some(signing) => signing,
        None => context
            .unlock(StandardInput::Free)?
            .identity
            .signing_public(),
    };
    let witnesses: Vec<ResolverWitness> = resolvers(&config, public)?
        .into_iter()
        .map(ResolverWitness::new)
        .collect();
    let witnesses: Vec<&dyn Witness> = witnesses
        .iter()
        .map(|witness| -> &dyn Witness { witness })
        .collect();
    let mut checks = check_published(&witnesses, &profile, &signing, time()).await;
    let resolvers = connect::reader(&config, context.system_fallback())?;
    let instruments = NetworkInstruments::new(&config, resolvers);
    checks.extend(check_node(&config, &instruments, time()).await);
    checks.extend(check_settings(&config, &context.home, time()));
    checks.extend(check_files(&config, &context.home));
    Ok(Box::new(Findings {
        about: About::Identity,
        header: String::new(),
        checks,
        fixed: Vec::new(),
    }))
}

/// The way to somebody and back.
async fn contact(context: &Context, address: &str) -> Outcome {
    let (Unlocked { config, identity }, store) = context.unlock_store(StandardInput::Free)?;
    let profile = connect::profile(&config)?;
    let card = match store.find_contact(address)? {
        Some(contact) => contact.card,
        None => stranger(address)?,
    };
    let resolvers = connect::reader(&config, context.system_fallback())?;
    let instruments = NetworkInstruments::new(&config, resolvers.clone());
    let question = ContactQuestion {
        contact: &card,
        identity: &identity,
        claim_port: context.environment.connect.provider_dns_port,
    };
    let checks = check_contact(&question, &profile, &resolvers, &instruments, time()).await;
    Ok(Box::new(Findings {
        about: About::Contact,
        header: String::new(),
        checks,
        fixed: Vec::new(),
    }))
}

/// Somebody who is not pinned: the way to them can be looked at all the same.
fn stranger(address: &str) -> Result<NewContact, Failure> {
    let zone = address
        .split_once('@')
        .and_then(|(user, host)| Zone::parse(host).ok().filter(|_| !user.is_empty()));
    let Some(zone) = zone else {
        return Err(Failure::user(
            "send-unknown-contact",
            format!("unknown contact `{address}`"),
        )
        .hint("`dnsmesh contacts list` shows yours; user@host is looked up"));
    };
    let mut card = NewContact::new(address);
    card.zone = Some(zone);
    Ok(card)
}

/// Finds the home node's DNS port and saves it: two keys, nothing else.
async fn repair(context: &Context) -> Outcome {
    let config = context.home.load_config()?;
    let place = find_local_dns(context, &config).await?;
    if let Some(place) = &place {
        place.save(context)?;
    }
    Ok(Box::new(Repaired {
        place,
        endpoint: config.endpoint,
    }))
}

async fn find_local_dns(context: &Context, config: &Config) -> Result<Option<LocalDns>, Failure> {
    let Some(host) = host_of_endpoint(&config.endpoint) else {
        return Ok(None);
    };
    let resolvers = connect::reader(config, context.system_fallback())?;
    let found = NetworkInstruments::new(config, resolvers)
        .find_node(host)
        .await;
    Ok(found.map(|found| LocalDns {
        host: found.ip().to_string(),
        port: found.port(),
    }))
}

/// What `local_node_dns_*` are to be.
struct LocalDns {
    host: String,
    port: u16,
}

impl LocalDns {
    fn save(&self, context: &Context) -> Result<Config, Failure> {
        Ok(context.home.update_config(|config| {
            config.local_node_dns_server.clone_from(&self.host);
            config.local_node_dns_port = self.port;
        })?)
    }
}

/// The resolvers of the configuration one by one, and the well-known ones if asked for.
fn resolvers(config: &Config, public: bool) -> Result<Vec<Upstream>, Failure> {
    let entries = connect::resolver_entries(config)?;
    let mut all: Vec<Upstream> = Vec::new();
    for upstream in entries.iter().flat_map(Entry::upstreams) {
        if !all.contains(&upstream) {
            all.push(upstream);
        }
    }
    if public {
        for address in PUBLIC {
            let upstream = Upstream::from(std::net::SocketAddr::from((address, 53)));
            if !all.contains(&upstream) {
                all.push(upstream);
            }
        }
    }
    Ok(all)
}

/// The key that this home was used with; no passphrase is needed to look it up.
fn signing_key(config: &Config) -> Option<SigningPublicKey> {
    SigningPublicKey::from_hex(&config.verify_pubkey).ok()
}

fn time() -> UnixTime {
    UnixTime::new(now())
}

fn header(context: &Context, config: &Config) -> String {
    let endpoint = if config.endpoint.is_empty() {
        "(not set)"
    } else {
        &config.endpoint
    };
    format!(
        "CONFIG\n------\n  config: {}\n  username: {}\n  domain: {}\n  endpoint: {}\n\n",
        context.home.config_path().display(),
        screen::line(&config.username),
        screen::line(&config.domain),
        screen::line(endpoint),
    )
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum About {
    Home,
    Network,
    Identity,
    Contact,
}

/// The word of a level (cli.md 3.7).
fn word(level: Level) -> String {
    match level {
        Level::Ok => paint(Paint::Good, "PASS"),
        Level::Warn => paint(Paint::Doubtful, "WARN"),
        Level::Fail => paint(Paint::Bad, "FAIL"),
    }
}

/// The checks of one run.
struct Findings {
    about: About,
    header: String,
    checks: Vec<Check>,
    fixed: Vec<String>,
}

impl Findings {
    fn count(&self, level: Level) -> usize {
        let of_level = self.checks.iter().filter(|check| check.level == level);
        of_level.count()
    }
}

impl Report for Findings {
    fn text(&self) -> String {
        let mut text = self.header.clone();
        text.push_str("CHECKS\n------\n");
        for check in &self.checks {
            text.push_str(&format!(
                "  {}  {}\n",
                word(check.level),
                screen::line(&check.title)
            ));
            if !check.detail.is_empty() {
                text.push_str(&format!("        {}\n", screen::line(&check.detail)));
            }
            if let Some(until) = check.until {
                text.push_str(&format!("        until {}\n", utc_of(until)));
            }
            if let Some(remedy) = &check.remedy {
                text.push_str(&format!("        → {}\n", screen::line(remedy)));
            }
        }
        for fixed in &self.fixed {
            text.push_str(&format!("  fixed: {fixed}\n"));
        }
        let (warnings, failures) = (self.count(Level::Warn), self.count(Level::Fail));
        text.push_str(&match (failures, warnings) {
            (0, 0) => "\nDOCTOR: clean\n".to_owned(),
            (0, _) => format!("\nDOCTOR: {warnings} WARN\n"),
            _ => format!("\nDOCTOR: {failures} FAIL, {warnings} WARN\n"),
        });
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Finding<'a> {
            code: &'a str,
            level: &'a str,
            title: &'a str,
            detail: &'a str,
            expires_at: Option<String>,
            remedy: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Summary<'a> {
            about: About,
            ok: usize,
            warn: usize,
            fail: usize,
            fixed: &'a [String],
        }
        let findings = self.checks.iter().map(|check| {
            let level = match check.level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "fail",
            };
            line(
                "dmp.check/1",
                &Finding {
                    code: check.code,
                    level,
                    title: &check.title,
                    detail: &check.detail,
                    expires_at: check.until.map(utc_of),
                    remedy: check.remedy.as_deref(),
                },
            )
        });
        let summary = line(
            "dmp.doctor/1",
            &Summary {
                about: self.about,
                ok: self.count(Level::Ok),
                warn: self.count(Level::Warn),
                fail: self.count(Level::Fail),
                fixed: &self.fixed,
            },
        );
        findings.chain([summary]).collect()
    }

    fn exit(&self) -> Exit {
        if self.count(Level::Fail) > 0 {
            Exit::User
        } else {
            Exit::Done
        }
    }
}

/// The outcome of `--repair`; it has nothing to say on standard error (cli.md 3.7).
struct Repaired {
    place: Option<LocalDns>,
    endpoint: String,
}

impl Report for Repaired {
    fn text(&self) -> String {
        match &self.place {
            Some(LocalDns { host, port }) => {
                format!("doctor --repair: saved local DNS endpoint {host}:{port}\n")
            }
            None if self.endpoint.is_empty() => {
                "doctor --repair: no endpoint is configured, so there is no host to look at\n"
                    .to_owned()
            }
            None => format!(
                "doctor --repair: no node answers DNS at the usual ports of {}; set local_node_dns_server and local_node_dns_port by hand\n",
                screen::line(&self.endpoint)
            ),
        }
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            server: Option<&'a str>,
            port: Option<u16>,
        }
        line(
            "dmp.repair/1",
            &Members {
                server: self.place.as_ref().map(|place| place.host.as_str()),
                port: self.place.as_ref().map(|place| place.port),
            },
        )
    }

    fn exit(&self) -> Exit {
        if self.place.is_some() {
            Exit::Done
        } else {
            Exit::User
        }
    }
}
