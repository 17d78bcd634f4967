//! Which claim providers a command uses (federation.md 3.2, 3.3), and which server takes a claim. Contacts no provider.

use std::cmp::Reverse;
use std::collections::HashSet;

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::{heartbeat_owner, seen_owner};
use dmp_core::record::{Heartbeat, Skew};
use futures_util::future::join_all;

use super::lookup::Lookups;
use crate::home::host_of_endpoint;
use crate::limits::PROVIDERS_MAX;
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

/// The providers to use, in order, at most three besides the seeds.
pub async fn providers_find(
    reader: &dyn Reader,
    config: &ProviderConfig,
    now: UnixTime,
) -> Vec<Provider> {
    find(&Lookups::new(reader), config, now).await
}

/// As [`providers_find`], among the look-ups of a command.
pub(super) async fn find(
    lookups: &Lookups<'_>,
    config: &ProviderConfig,
    now: UnixTime,
) -> Vec<Provider> {
    let (candidates, seeds) = match config {
        ProviderConfig::Fixed(provider) => return vec![provider.clone()],
        ProviderConfig::Discovered { candidates, seeds } => (candidates, seeds),
    };
    let feeds = join_all(
        candidates
            .iter()
            .map(async |zone| lookups.txt(zone, &seen_owner(zone)).await),
    );
    let seeds = join_all(
        seeds
            .iter()
            .map(async |seed| current_seed(lookups, seed, now).await),
    );
    let (feeds, seeds) = futures_util::future::join(feeds, seeds).await;

    let feeds = feeds.into_iter().flat_map(|feed| {
        if let Lookup::Found(values) = feed {
            values
        } else {
            Vec::new()
        }
    });
    let mut seen = HashSet::new();
    let wires: Vec<String> = feeds.filter(|wire| seen.insert(wire.clone())).collect();
    let ranked = rank(&wires, PROVIDERS_MAX, now)
        .into_iter()
        .filter_map(|beat| {
            let zone = provider_zone(&beat)?;
            Some(Provider {
                zone,
                endpoint: beat.endpoint.as_str().to_owned(),
            })
        });
    let mut endpoints = HashSet::new();
    ranked
        .chain(seeds.into_iter().flatten())
        .filter(|provider| {
            endpoints.insert(provider.endpoint.trim_end_matches('/').to_ascii_lowercase())
        })
        .collect()
}

/// Verified beats of providers, newest first, one per operator. Feeds re-publish old beats, so their age does not count (D24).
fn rank(wires: &[String], count: usize, now: UnixTime) -> Vec<Heartbeat> {
    let mut beats: Vec<Heartbeat> = wires
        .iter()
        .filter_map(|wire| Heartbeat::parse(wire, Skew::Unlimited, now).ok())
        .map(|beat| beat.into_inner())
        .filter(offers_claims)
        .collect();
    beats.sort_by_key(|beat| Reverse(beat.ts));
    let mut operators: HashSet<SigningPublicKey> = HashSet::new();
    beats.retain(|beat| operators.insert(beat.operator));
    beats.truncate(count);
    beats
}

/// A seed as it announces itself now: moved, unchanged if it says nothing, `None` if it left the role.
async fn current_seed(lookups: &Lookups<'_>, seed: &Provider, now: UnixTime) -> Option<Provider> {
    let Lookup::Found(values) = lookups.txt(&seed.zone, &heartbeat_owner(&seed.zone)).await else {
        return Some(seed.clone());
    };
    let beats: Vec<Heartbeat> = values
        .iter()
        .filter_map(|wire| Heartbeat::parse(wire, Skew::Unlimited, now).ok())
        .map(|beat| beat.into_inner())
        .collect();
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
