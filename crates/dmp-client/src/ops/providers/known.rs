//! What is known of providers from one run to the next (client.md 7): the list of the last few minutes, without those that failed, and
//! which ones have worked. It lies in the encrypted store; that it cannot be kept costs queries and nothing else.

use std::collections::HashSet;

use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use serde::{Deserialize, Serialize};

use super::super::Session;
use super::super::lookup::Lookups;
use super::{Provider, ProviderConfig, at_home, find};
use crate::limits::{PROVIDERS_KEPT, PROVIDERS_PROVEN, PROVIDERS_REMEMBERED};
use crate::store::Store;

const NOTE: &str = "providers";

/// The note in the store.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    /// When the list was made, seconds.
    made: u64,
    /// What it was made from: candidates and seeds of the configuration.
    basis: Vec<String>,
    /// Zone and endpoint.
    list: Vec<(String, String)>,
    /// Zones that took a claim, and when they last did.
    proven: Vec<(String, u64)>,
}

/// The providers for a command: those of the last few minutes if there are any, else found anew; before them the node of the
/// recipient's zone, if it takes claims for everybody (W14).
pub(in crate::ops) async fn known(
    session: &Session<'_>,
    lookups: &Lookups<'_>,
    recipient: Option<&Zone>,
    now: UnixTime,
) -> Vec<Provider> {
    let config = &session.profile.providers;
    let ProviderConfig::Discovered { candidates, .. } = config else {
        return find(lookups, config, &[], now).await;
    };
    // Candidates are asked for the list.
    let recipient = recipient.filter(|zone| !candidates.contains(zone));
    let at_recipient = async {
        let found = at_home(lookups, recipient?, now).await?;
        Some(found.provider)
    };
    let general = async {
        let mut memory = Memory::of(session.store);
        let age = now.as_secs().checked_sub(memory.made);
        if age.is_some_and(|age| age < PROVIDERS_KEPT) && memory.basis == basis(config) {
            return memory.providers();
        }
        let found = find(lookups, config, &memory.proven(now), now).await;
        // Another command may have learnt something meanwhile.
        memory = Memory::of(session.store);
        memory.made = now.as_secs();
        memory.basis = basis(config);
        memory.list = found.iter().map(Provider::to_pair).collect();
        memory.save(session.store);
        found
    };
    let (at_recipient, general) = futures_util::future::join(at_recipient, general).await;
    let mut zones = HashSet::new();
    let together = at_recipient.into_iter().chain(general);
    together
        .filter(|provider| zones.insert(provider.zone.clone()))
        .collect()
}

/// Remembers which providers took a claim and leaves those that failed out of the list until it is made anew.
pub(in crate::ops) fn learn<'z>(
    session: &Session<'_>,
    outcomes: impl IntoIterator<Item = (&'z Zone, Worked)>,
    now: UnixTime,
) {
    if matches!(session.profile.providers, ProviderConfig::Fixed(_)) {
        return;
    }
    let mut memory = Memory::of(session.store);
    let mut is_changed = false;
    for (zone, worked) in outcomes {
        is_changed = true;
        memory.proven.retain(|(proven, _)| proven != zone.as_str());
        match worked {
            Worked::Yes => memory.proven.insert(0, (zone.to_string(), now.as_secs())),
            Worked::No => memory.list.retain(|(listed, _)| listed != zone.as_str()),
        }
    }
    if memory.list.is_empty() {
        memory.made = 0; // nobody is left: ask again
    }
    if is_changed {
        memory.proven.truncate(PROVIDERS_REMEMBERED);
        memory.save(session.store);
    }
}

/// What came of a provider in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::ops) enum Worked {
    /// It took a claim.
    Yes,
    /// It did not, or did not answer.
    No,
}

impl Memory {
    fn of(store: &Store) -> Self {
        let note = store.note(NOTE).ok().flatten();
        note.and_then(|note| serde_json::from_str(&note).ok())
            .unwrap_or_default()
    }

    fn save(&self, store: &Store) {
        if let Ok(note) = serde_json::to_string(self) {
            // The next run asks again.
            let _ = store.set_note(NOTE, &note);
        }
    }

    fn providers(&self) -> Vec<Provider> {
        let pairs = self.list.iter().filter_map(|(zone, endpoint)| {
            Some(Provider {
                zone: Zone::parse(zone).ok()?,
                endpoint: endpoint.clone(),
            })
        });
        pairs.collect()
    }

    fn proven(&self, now: UnixTime) -> Vec<Zone> {
        let since = now.as_secs().saturating_sub(PROVIDERS_PROVEN);
        let proven = self.proven.iter().filter(|(_, at)| *at >= since);
        proven
            .filter_map(|(zone, _)| Zone::parse(zone).ok())
            .collect()
    }
}

impl Provider {
    fn to_pair(&self) -> (String, String) {
        (self.zone.to_string(), self.endpoint.clone())
    }
}

/// What a list depends on.
fn basis(config: &ProviderConfig) -> Vec<String> {
    match config {
        ProviderConfig::Fixed(_) => Vec::new(),
        ProviderConfig::Discovered { candidates, seeds } => {
            let seeds = seeds
                .iter()
                .map(|seed| format!("{} {}", seed.zone, seed.endpoint));
            candidates
                .iter()
                .map(Zone::to_string)
                .chain(seeds)
                .collect()
        }
    }
}
