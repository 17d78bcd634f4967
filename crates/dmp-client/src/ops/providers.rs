//! Which claim providers a command uses (federation.md 3.2, 3.3), and which server takes a claim. Contacts no provider.

mod known;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::{heartbeat_owner, seen_owner};
use dmp_core::record::{Heartbeat, Skew};
use futures_util::future::join_all;

pub(super) use self::known::{Worked, known, learn};
use super::lookup::Lookups;
use crate::home::host_of_endpoint;
use crate::limits::{PROVIDERS_CONFIRMED, PROVIDERS_MAX};
use crate::mesh::{Lookup, Reader, UpdateTarget};

/// A node that takes claims for people it does not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provider {
    /// The zone of the claims.
    pub zone: Zone,
    /// Its HTTP origin; only the host counts here.
    pub endpoint: String,
}

/// Where providers come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProviderConfig {
    /// Exactly this one (`claim_provider_override`); nothing is asked.
    Fixed(Provider),
    /// Found in the feeds of nearby nodes, then the seeds (D26).
    Discovered {
        /// Zones whose feed is read: cluster base, TSIG zone, host of the endpoint.
        candidates: Vec<Zone>,
        /// Providers of last resort.
        seeds: Vec<Provider>,
    },
}

impl Default for ProviderConfig {
    /// No provider at all.
    fn default() -> Self {
        Self::Discovered {
            candidates: Vec::new(),
            seeds: Vec::new(),
        }
    }
}

impl Provider {
    /// The fixed provider of a configuration: a URL and optionally its zone, else the URL's host (federation.md 3.2, step 1).
    ///
    /// `None` without a scheme, or if an address literal or `localhost` would have to serve as the zone.
    #[must_use]
    pub fn fixed(url: &str, zone: Option<&Zone>) -> Option<Self> {
        let host = url.contains("://").then(|| url_host(url)).flatten()?;
        let zone = zone.cloned().or_else(|| zone_of_host(&host))?;
        Some(Self {
            zone,
            endpoint: url.to_owned(),
        })
    }

    /// The server that takes this provider's claims: the host of the endpoint, else the zone.
    #[must_use]
    pub fn target(&self) -> UpdateTarget {
        let host = url_host(&self.endpoint).unwrap_or_else(|| self.zone.as_str().to_owned());
        UpdateTarget { host, port: None }
    }
}

/// The providers to use, in order, at most three besides the seeds, found anew. Operations use what is known from earlier runs too.
pub async fn providers_find(
    reader: &dyn Reader,
    config: &ProviderConfig,
    now: UnixTime,
) -> Vec<Provider> {
    find(&Lookups::new(reader), config, &[], now).await
}

/// As [`providers_find`], among the look-ups of a command; `proven` are zones of providers that worked before.
async fn find(
    lookups: &Lookups<'_>,
    config: &ProviderConfig,
    proven: &[Zone],
    now: UnixTime,
) -> Vec<Provider> {
    let (candidates, seeds) = match config {
        ProviderConfig::Fixed(provider) => return vec![provider.clone()],
        ProviderConfig::Discovered { candidates, seeds } => (candidates, seeds),
    };
    let feeds = join_all(candidates.iter().map(|zone| feed(lookups, zone)));
    let at_home = join_all(
        candidates
            .iter()
            .map(async |zone| at_home(lookups, zone, now).await),
    );
    let seeds = join_all(
        seeds
            .iter()
            .map(async |seed| current_seed(lookups, seed, now).await),
    );
    let (feeds, at_home, seeds) = futures_util::future::join3(feeds, at_home, seeds).await;

    let mut seen = HashSet::new();
    let mut wires: Vec<String> = feeds.into_iter().flatten().collect();
    wires.retain(|wire| seen.insert(wire.clone()));
    let heard = rank(&wires, proven, now);
    let heard = confirm(lookups, heard, now).await;
    let mut zones = HashSet::new();
    let mut operators = HashSet::new();
    let ranked = at_home
        .into_iter()
        .flatten()
        .chain(heard)
        .filter(|found| {
            operators.insert(found.operator) && zones.insert(found.provider.zone.clone())
        })
        .take(PROVIDERS_MAX)
        .map(|found| found.provider);
    let mut endpoints = HashSet::new();
    let mut zones = HashSet::new();
    ranked
        .chain(seeds.into_iter().flatten())
        .filter(|provider| {
            let endpoint = provider.endpoint.trim_end_matches('/').to_ascii_lowercase();
            zones.insert(provider.zone.clone()) && endpoints.insert(endpoint)
        })
        .collect()
}

/// A provider and who operates it.
struct Found {
    provider: Provider,
    operator: SigningPublicKey,
}

impl Found {
    fn of(beat: &Heartbeat) -> Option<Self> {
        Some(Self {
            provider: Provider {
                zone: provider_zone(beat)?,
                endpoint: beat.endpoint.as_str().to_owned(),
            },
            operator: beat.operator,
        })
    }
}

/// What a zone passes on.
async fn feed(lookups: &Lookups<'_>, zone: &Zone) -> Vec<String> {
    match lookups.txt(zone, &seen_owner(zone)).await {
        Lookup::Found(values) => values,
        Lookup::Absent | Lookup::Unreachable(_) => Vec::new(),
    }
}

/// The heartbeats that a zone publishes of its own nodes; `None` if it does not answer.
async fn own_beats(lookups: &Lookups<'_>, zone: &Zone, now: UnixTime) -> Option<Vec<Heartbeat>> {
    match lookups.txt(zone, &heartbeat_owner(zone)).await {
        Lookup::Found(values) => Some(parsed(&values, now)),
        Lookup::Absent => Some(Vec::new()),
        Lookup::Unreachable(_) => None,
    }
}

/// The node of the own or the recipient's zone: it never passes itself on, and is where both sides look (W14).
async fn at_home(lookups: &Lookups<'_>, zone: &Zone, now: UnixTime) -> Option<Found> {
    let beats = own_beats(lookups, zone, now).await?;
    let beat = beats.iter().filter(|beat| offers_claims(beat));
    let beat = beat.max_by_key(|beat| heard(beat, now))?;
    Found::of(beat).filter(|found| found.provider.zone == *zone)
}

/// Verified beats of providers in the order in which they are tried: whose zone worked before, then newest first, and no network of
/// zones before every other had its turn; one per operator. A clock that is ahead gains nothing (W13). Feeds re-publish old beats, so
/// that age alone is no reason against one (D24).
fn rank(wires: &[String], proven: &[Zone], now: UnixTime) -> Vec<Heartbeat> {
    let mut beats = parsed(wires, now);
    beats.retain(offers_claims);
    beats.sort_by_key(|beat| Reverse(heard(beat, now)));
    let mut operators: HashSet<SigningPublicKey> = HashSet::new();
    beats.retain(|beat| operators.insert(beat.operator));
    let mut turns: HashMap<String, usize> = HashMap::new();
    beats.sort_by_cached_key(|beat| {
        let zone = provider_zone(beat);
        let is_proven = zone.as_ref().is_some_and(|zone| proven.contains(zone));
        let turn = turns
            .entry(zone.as_ref().map(network).unwrap_or_default())
            .or_default();
        *turn += 1;
        (!is_proven, *turn)
    });
    beats
}

/// Asks the zones of the first ones whether they speak for themselves. Who does comes first and is taken as it is now; who says that it
/// takes no claims, or whose zone is another operator's, is left out; who cannot be asked, or says nothing, stays behind the others.
async fn confirm(lookups: &Lookups<'_>, beats: Vec<Heartbeat>, now: UnixTime) -> Vec<Found> {
    let first = beats.iter().filter_map(Found::of).take(PROVIDERS_CONFIRMED);
    let answers = join_all(first.map(async |found| {
        let beats = own_beats(lookups, &found.provider.zone, now).await;
        let beats = beats.filter(|beats| !beats.is_empty());
        (found, beats)
    }))
    .await;
    let (mut confirmed, mut unknown) = (Vec::new(), Vec::new());
    for (found, beats) in answers {
        let Some(beats) = beats else {
            unknown.push(found);
            continue;
        };
        let own = beats.iter().filter(|beat| beat.operator == found.operator);
        let newest = own.max_by_key(|beat| heard(beat, now));
        if let Some(current) = newest
            .filter(|beat| offers_claims(beat))
            .and_then(Found::of)
        {
            confirmed.push(current);
        }
    }
    confirmed.append(&mut unknown);
    confirmed
}

fn parsed(wires: &[String], now: UnixTime) -> Vec<Heartbeat> {
    let beats = wires.iter();
    let beats = beats.filter_map(|wire| Heartbeat::parse(wire, Skew::PassedOn, now).ok());
    beats.map(|beat| beat.into_inner()).collect()
}

fn heard(beat: &Heartbeat, now: UnixTime) -> UnixTime {
    beat.ts.min(now)
}

/// A seed as it announces itself now: moved, unchanged if it says nothing, `None` if it left the role.
async fn current_seed(lookups: &Lookups<'_>, seed: &Provider, now: UnixTime) -> Option<Provider> {
    let beats = own_beats(lookups, &seed.zone, now)
        .await
        .unwrap_or_default();
    if beats.is_empty() {
        return Some(seed.clone());
    }
    let beat = beats.into_iter().find(offers_claims)?;
    let zone = beat
        .claim_provider_zone
        .as_deref()
        .and_then(|zone| Zone::parse(zone).ok());
    Some(Provider {
        zone: zone.unwrap_or_else(|| seed.zone.clone()),
        endpoint: beat.endpoint.as_str().to_owned(),
    })
}

/// The last two labels of a zone: names below one that somebody had to register cost nothing.
fn network(zone: &Zone) -> String {
    let labels: Vec<&str> = zone.as_str().rsplitn(3, '.').take(2).collect();
    labels.join(".")
}

fn offers_claims(beat: &Heartbeat) -> bool {
    beat.capabilities & Heartbeat::CLAIM_PROVIDER != 0
}

/// The signed zone, else the host of the endpoint.
fn provider_zone(beat: &Heartbeat) -> Option<Zone> {
    match &beat.claim_provider_zone {
        Some(zone) => Zone::parse(zone).ok(),
        None => zone_of_host(&url_host(beat.endpoint.as_str())?),
    }
}

/// The host of a URL in lower case, without user, port, brackets and dot at the end; the scheme is optional.
pub(crate) fn url_host(url: &str) -> Option<String> {
    let host = host_of_endpoint(url)?
        .trim_end_matches('.')
        .to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

/// A host as a zone: not an address literal, not the own host.
pub(crate) fn zone_of_host(host: &str) -> Option<Zone> {
    let literal = host.parse::<std::net::IpAddr>().is_ok();
    if literal || host == "localhost" || host.ends_with(".localhost") {
        None
    } else {
        Zone::parse(host).ok()
    }
}
