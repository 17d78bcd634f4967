//! Look-ups of one command: each name is asked once, a bounded number at a time, and a dead zone is not asked for ever.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dmp_core::keys::{AgreementPublicKey, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, identity_owner_anchored, identity_owner_hashed};
use dmp_core::record::IdentityRecord;
use dmp_core::trust::{Finding, IdentityQuestion, Reach, RotationQuestion};
use futures_util::future::join_all;
use tokio::sync::{OnceCell, Semaphore};

use crate::limits::QUERIES_IN_FLIGHT;
use crate::mesh::{Lookup, Reader};

/// Failed queries after which a zone that never answered counts as dead for the rest of the command (client.md 11).
const FAILURES_OF_A_DEAD_ZONE: usize = 2;

/// The look-ups of one command.
pub(super) struct Lookups<'a> {
    reader: &'a dyn Reader,
    permits: Semaphore,
    names: Mutex<HashMap<OwnerName, Arc<OnceCell<Lookup>>>>,
    zones: Mutex<HashMap<Zone, ZoneHealth>>,
    queries: AtomicUsize,
}

/// What a zone's name servers did during the command.
#[derive(Clone, Default)]
pub(super) struct ZoneHealth {
    /// Queries that were answered, also with "absent".
    pub(super) answered: usize,
    /// Queries that were not.
    pub(super) failed: usize,
    /// Why the last one was not.
    pub(super) reason: String,
}

impl<'a> Lookups<'a> {
    pub(super) fn new(reader: &'a dyn Reader) -> Self {
        Self {
            reader,
            permits: Semaphore::new(QUERIES_IN_FLIGHT),
            names: Mutex::default(),
            zones: Mutex::default(),
            queries: AtomicUsize::new(0),
        }
    }

    /// The values at a name of a zone; the answer of the first look-up serves all later ones.
    pub(super) async fn txt(&self, zone: &Zone, owner: &OwnerName) -> Lookup {
        let cell = Arc::clone(
            self.names
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(owner.clone())
                .or_default(),
        );
        cell.get_or_init(|| self.ask(zone, owner)).await.clone()
    }

    /// Asks again for a name whose look-up failed; an answer is kept as it is.
    pub(super) async fn txt_again(&self, zone: &Zone, owner: &OwnerName) -> Lookup {
        {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Lookup::Unreachable(_)) = names.get(owner).and_then(|cell| cell.get()) {
                names.remove(owner);
            }
        }
        self.txt(zone, owner).await
    }

    /// How many queries were sent.
    pub(super) fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    /// What became of the queries to a zone.
    pub(super) fn health(&self, zone: &Zone) -> ZoneHealth {
        self.zones
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(zone)
            .cloned()
            .unwrap_or_default()
    }

    /// Whether a name was asked for already, so that asking again costs nothing.
    pub(super) fn is_known(&self, owner: &OwnerName) -> bool {
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(owner)
    }

    async fn ask(&self, zone: &Zone, owner: &OwnerName) -> Lookup {
        let permit = self.permits.acquire().await;
        let health = self.health(zone);
        if permit.is_err() || (health.answered == 0 && health.failed >= FAILURES_OF_A_DEAD_ZONE) {
            return Lookup::Unreachable(health.reason);
        }
        self.queries.fetch_add(1, Ordering::Relaxed);
        let answer = self.reader.txt(owner).await;
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let health = zones.entry(zone.clone()).or_default();
        match &answer {
            Lookup::Found(_) | Lookup::Absent => health.answered += 1,
            Lookup::Unreachable(reason) => {
                health.failed += 1;
                health.reason.clone_from(reason);
            }
        }
        answer
    }
}

/// The key that an identity is sought for.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Signing(&'a SigningPublicKey),
    Agreement(&'a AgreementPublicKey),
}

impl Wanted<'_> {
    fn is_in(self, record: &IdentityRecord) -> bool {
        match self {
            Self::Signing(key) => record.signing == *key,
            Self::Agreement(key) => record.agreement == *key,
        }
    }
}

/// The newest record of a user with the wanted key (crypto.md 11.7, D28): at the zone-anchored name and at the hashed ones, in the
/// given spelling and in lower case.
pub(super) async fn newest_identity(
    lookups: &Lookups<'_>,
    user: &str,
    host: &Zone,
    wanted: Wanted<'_>,
) -> Option<IdentityRecord> {
    let lower = user.to_lowercase();
    let owners = [
        identity_owner_anchored(host),
        identity_owner_hashed(user, host),
        identity_owner_hashed(&lower, host),
    ];
    let (values, _) = values_at(lookups, host, &owners).await;
    values
        .iter()
        .filter_map(|value| IdentityRecord::parse(value).ok())
        .map(|record| record.into_inner())
        .filter(|record| record.username.to_lowercase() == lower && wanted.is_in(record))
        .max_by_key(|record| record.ts)
}

/// Answers a question about a contact's keys; what could not be asked is as good as nothing (federation.md 6.4).
pub(super) async fn rotation_values(
    lookups: &Lookups<'_>,
    question: &RotationQuestion,
) -> Vec<String> {
    let host = question
        .subject
        .as_str()
        .rsplit_once('@')
        .and_then(|(_, host)| Zone::parse(host).ok());
    let Some(host) = host else { return Vec::new() };
    values_at(lookups, &host, &question.owner_names()).await.0
}

/// Answers a question about an address.
pub(super) async fn identity_finding(
    lookups: &Lookups<'_>,
    question: &IdentityQuestion,
) -> Finding {
    let (values, reach) = values_at(lookups, &question.host, &question.owner_names()).await;
    question.judge(values.iter().map(String::as_str), reach)
}

/// The values at several names of a zone together, and whether all of them answered.
async fn values_at(
    lookups: &Lookups<'_>,
    zone: &Zone,
    owners: &[OwnerName],
) -> (Vec<String>, Reach) {
    let (mut values, mut reach) = (Vec::new(), Reach::All);
    for answer in join_all(owners.iter().map(|owner| lookups.txt(zone, owner))).await {
        match answer {
            Lookup::Found(found) => values.extend(found),
            Lookup::Absent => {}
            Lookup::Unreachable(_) => reach = Reach::Partial,
        }
    }
    (values, reach)
}
