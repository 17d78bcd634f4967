//! Publishing the own identity and finding somebody else's (client.md 6, records.md 8). Pins nobody.

use std::collections::BTreeMap;

use dmp_core::id::{Fingerprint, UnixTime};
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::{
    OwnerName, identity_owner_anchored, identity_owner_hashed, rotation_owner_hashed,
};
use dmp_core::record::{Binding, IdentityRecord, Revocation, Rotation, Subject, Versions};
use futures_util::future::join_all;
use thiserror::Error;

use super::publish::{delete_values, publish_capped};
use super::{Session, upkeep};
use crate::error::{Fault, StoreError, WriteError};
use crate::limits::IDENTITY_TTL;
use crate::mesh::{Lookup, Operation, Reader};

/// The note under which the value that is published now is remembered.
const PUBLISHED_NOTE: &str = "published identity";

/// How to publish the own identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishRequest {
    /// Lifetime in the node, seconds.
    pub ttl: u64,
    /// What the own client can receive: {1}, or {1, 2} to invite envelopes.
    pub versions: Versions,
}

impl Default for PublishRequest {
    fn default() -> Self {
        Self {
            ttl: IDENTITY_TTL,
            versions: Versions::default(),
        }
    }
}

/// An identity that others can find.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Where.
    pub owner: OwnerName,
    /// What.
    pub record: IdentityRecord,
    /// Lifetime in the node, seconds, as the node took it.
    pub ttl: u64,
    /// Own older values that were removed.
    pub removed: usize,
}

/// Why the identity was not published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The user name cannot stand in a record.
    #[error("this user name cannot be published")]
    UserName,
    /// The node did not take it.
    #[error("publish to {owner} failed: {error}")]
    Write {
        /// Where it should have gone.
        owner: OwnerName,
        /// Why not.
        error: WriteError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::UserName => Fault::Misuse,
            Self::Write { error, .. } => error.fault(),
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UserName => "identity-user-name",
            Self::Write { error, .. } => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

/// Publishes the own identity and then removes the own older values at that name, so that nobody finds two (D28). Values with other
/// keys are never touched.
///
/// # Errors
/// [`PublishError`]. That older values could not be removed is no error.
pub async fn identity_publish(
    session: &Session<'_>,
    request: &PublishRequest,
) -> Result<Published, PublishError> {
    let owner = session.profile.identity_owner();
    let record = IdentityRecord {
        username: session.profile.username.clone(),
        agreement: session.identity.agreement_public(),
        signing: session.identity.signing_public(),
        ts: session.clock.now(),
        versions: request.versions.clone(),
    };
    let value = record
        .sign(session.identity)
        .map_err(|_| PublishError::UserName)?;
    let remembered = session.store.note(PUBLISHED_NOTE)?;
    let add = |ttl| {
        vec![Operation::Add {
            owner: owner.clone(),
            ttl,
            value: value.clone(),
        }]
    };
    let ttl = publish_capped(session.writer, request.ttl, add)
        .await
        .map_err(|error| PublishError::Write {
            owner: owner.clone(),
            error,
        })?;
    session.store.set_note(PUBLISHED_NOTE, &value)?;
    upkeep::begin(session)?;
    let mut older = own_values(session, &owner, remembered).await;
    older.retain(|other| *other != value);
    let gone = delete_values(session, &owner, &older).await;
    Ok(Published {
        owner,
        record,
        ttl,
        removed: gone.into_iter().filter(|gone| *gone).count(),
    })
}

/// What became of the own identity records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpublished {
    /// Where they were.
    pub owner: OwnerName,
    /// Records that are gone.
    pub removed: usize,
    /// Records that the node would not delete.
    pub left: usize,
}

/// Deletes the own identity records, each by its exact value; records with other keys are never touched. From now on nobody finds the keys, and
/// nothing publishes them again before [`identity_publish`].
///
/// # Errors
/// Failures of the store.
pub async fn identity_unpublish(session: &Session<'_>) -> Result<Unpublished, StoreError> {
    let remembered = session.store.note(PUBLISHED_NOTE)?;
    session.store.set_note(PUBLISHED_NOTE, "")?;
    Ok(withdraw(session, remembered).await)
}

/// Deletes the records of the session's keys, the remembered one also where no resolver shows it.
pub(super) async fn withdraw(session: &Session<'_>, remembered: Option<String>) -> Unpublished {
    let owner = session.profile.identity_owner();
    let values = own_values(session, &owner, remembered).await;
    let gone = delete_values(session, &owner, &values).await;
    let removed = gone.iter().filter(|gone| **gone).count();
    Unpublished {
        owner,
        removed,
        left: gone.len() - removed,
    }
}

/// The record that was published last under the present keys, as it stands in the zone.
pub(super) fn published_value(session: &Session<'_>) -> Result<Option<String>, StoreError> {
    let value = session.store.note(PUBLISHED_NOTE)?;
    Ok(value.filter(|value| is_own(session, value)))
}

/// The own records at the own name: those that are visible and the one that is remembered.
async fn own_values(
    session: &Session<'_>,
    owner: &OwnerName,
    remembered: Option<String>,
) -> Vec<String> {
    let visible = match session.reader.txt(owner).await {
        Lookup::Found(values) => values,
        Lookup::Absent | Lookup::Unreachable(_) => Vec::new(),
    };
    let mut values: Vec<String> = visible
        .into_iter()
        .chain(remembered)
        .filter(|value| is_own(session, value))
        .collect();
    values.sort();
    values.dedup();
    values
}

/// Whom to look up, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// The user name.
    pub user: String,
    /// Where to ask.
    pub place: Place,
    /// Which of several keys the user compared and wants.
    pub accept: Option<Fingerprint>,
}

/// Where an identity is sought (client.md 6.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `user@host`: at the zone-anchored name, then at the hashed one.
    Address(Zone),
    /// A bare name: at the hashed name of a zone that the user gave, or else of the own zone.
    Zone {
        /// The zone.
        zone: Zone,
        /// Whether the contact keeps it: only if the user gave it.
        stated: Option<Zone>,
    },
}

/// A record that was found and may be trusted as far as the user trusts what is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The record.
    pub record: IdentityRecord,
    /// Where it was found.
    pub owner: OwnerName,
    /// The user name that was asked for; the record's may differ in case.
    pub user: String,
    /// The label that a contact made from it gets: the address, or the bare name.
    pub label: String,
    /// The host or zone that was asked.
    pub zone: Zone,
    /// The zone that a contact made from it gets.
    pub contact_zone: Option<Zone>,
}

/// One of several identities under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// What the user compares.
    pub fingerprint: Fingerprint,
    /// The record.
    pub record: IdentityRecord,
}

/// Why there is no single identity.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FetchError {
    /// Nothing is published there.
    #[error("no identity record at {}", join(.owners))]
    NotFound {
        /// The names that were asked.
        owners: Vec<OwnerName>,
    },
    /// What is published there is nobody's identity, or not that user's.
    #[error("no identity record at {} verifies for this user", join(.owners))]
    NoneVerified {
        /// The names that were asked.
        owners: Vec<OwnerName>,
    },
    /// The name could not be asked.
    #[error("{owner} could not be asked: {reason}")]
    Unreachable {
        /// The name.
        owner: OwnerName,
        /// Why.
        reason: String,
    },
    /// Several keys, and no fingerprint that selects one.
    #[error("ambiguous: {} valid identity records at {owner}", .candidates.len())]
    Ambiguous {
        /// Where.
        owner: OwnerName,
        /// Which.
        candidates: Vec<Candidate>,
    },
    /// Every key there was revoked by its owner.
    #[error("every key at {owner} is revoked: ask for the new one over another channel")]
    AllRevoked {
        /// Where.
        owner: OwnerName,
    },
}

impl FetchError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotFound { .. } | Self::Unreachable { .. } => Fault::Unavailable,
            Self::NoneVerified { .. } => Fault::Malformed,
            Self::Ambiguous { .. } | Self::AllRevoked { .. } => Fault::Rejected,
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "identity-not-found",
            Self::NoneVerified { .. } => "identity-none-verified",
            Self::Unreachable { .. } => "identity-unreachable",
            Self::Ambiguous { .. } => "identity-ambiguous",
            Self::AllRevoked { .. } => "identity-revoked",
        }
    }
}

/// Looks a person up (records.md 8.4). Needs no keys and no store.
///
/// The hashed name, under which anybody may publish, is used only after the zone-anchored name said that it holds no record of that
/// user. Records with equal user name and keys are one, the newest (D28).
///
/// # Errors
/// [`FetchError`].
pub async fn identity_fetch(
    reader: &dyn Reader,
    request: &FetchRequest,
    now: UnixTime,
) -> Result<Fetched, FetchError> {
    let user = &request.user;
    let (zone, owners, subject, rotation_owners) = match &request.place {
        Place::Address(host) => {
            let owners = vec![
                identity_owner_anchored(host),
                identity_owner_hashed(user, host),
            ];
            let subject = Subject::user(user, host.as_str()).ok();
            let rotations = subject
                .as_ref()
                .map(Subject::owner_names)
                .unwrap_or_default();
            (host, owners, subject, rotations)
        }
        Place::Zone { zone, .. } => {
            let owners = vec![identity_owner_hashed(user, zone)];
            (
                zone,
                owners,
                Subject::user(user, zone.as_str()).ok(),
                vec![rotation_owner_hashed(user, zone)],
            )
        }
    };
    let identities = join_all(owners.iter().map(|owner| reader.txt(owner)));
    let rotations = join_all(rotation_owners.iter().map(|owner| reader.txt(owner)));
    let (identities, rotations) = futures_util::future::join(identities, rotations).await;

    let (owner, records) = select(&owners, identities, user)?;
    let rotations: Vec<String> = rotations
        .into_iter()
        .flat_map(|answer| {
            if let Lookup::Found(values) = answer {
                values
            } else {
                Vec::new()
            }
        })
        .collect();
    let records = subject.map_or_else(
        || Ok(records.clone()),
        |subject| current(records.clone(), &subject, &rotations, now),
    );
    let mut records = records.map_err(|()| FetchError::AllRevoked {
        owner: owner.clone(),
    })?;
    if let (true, Some(accept)) = (records.len() > 1, request.accept) {
        let chosen: Vec<_> = records
            .iter()
            .filter(|record| record.fingerprint() == accept)
            .cloned()
            .collect();
        if !chosen.is_empty() {
            records = chosen;
        }
    }
    if records.len() > 1 {
        let candidates = records
            .into_iter()
            .map(|record| Candidate {
                fingerprint: record.fingerprint(),
                record,
            })
            .collect();
        return Err(FetchError::Ambiguous { owner, candidates });
    }
    let Some(record) = records.pop() else {
        return Err(FetchError::NoneVerified { owners });
    };
    let (label, contact_zone) = match &request.place {
        Place::Address(host) => (format!("{user}@{host}"), Some(host.clone())),
        Place::Zone { stated, .. } => (user.clone(), stated.clone()),
    };
    Ok(Fetched {
        record,
        owner,
        user: user.clone(),
        label,
        zone: zone.clone(),
        contact_zone,
    })
}

/// The verified records of the user at the first name that has any; exact spelling before any other.
fn select(
    owners: &[OwnerName],
    answers: Vec<Lookup>,
    user: &str,
) -> Result<(OwnerName, Vec<IdentityRecord>), FetchError> {
    let mut anything = false;
    for (owner, answer) in owners.iter().zip(answers) {
        let values = match answer {
            Lookup::Found(values) => values,
            Lookup::Absent => continue,
            Lookup::Unreachable(reason) => {
                return Err(FetchError::Unreachable {
                    owner: owner.clone(),
                    reason,
                });
            }
        };
        anything = true;
        let records: Vec<IdentityRecord> = values
            .iter()
            .filter_map(|value| IdentityRecord::parse(value).ok())
            .map(|record| record.into_inner())
            .collect();
        let exact: Vec<_> = records
            .iter()
            .filter(|record| record.username == user)
            .cloned()
            .collect();
        let found = if exact.is_empty() {
            let same =
                |record: &IdentityRecord| record.username.to_lowercase() == user.to_lowercase();
            records.into_iter().filter(same).collect()
        } else {
            exact
        };
        if !found.is_empty() {
            return Ok((owner.clone(), collapse(found)));
        }
    }
    let owners = owners.to_vec();
    Err(if anything {
        FetchError::NoneVerified { owners }
    } else {
        FetchError::NotFound { owners }
    })
}

/// One record per user name and pair of keys, the newest (D28).
fn collapse(records: Vec<IdentityRecord>) -> Vec<IdentityRecord> {
    let mut newest: BTreeMap<_, IdentityRecord> = BTreeMap::new();
    for record in records {
        let key = (record.username.clone(), record.agreement, record.signing);
        match newest.get(&key) {
            Some(known) if known.ts >= record.ts => {}
            _ => {
                newest.insert(key, record);
            }
        }
    }
    newest.into_values().collect()
}

/// Without revoked keys, and without superseded ones if exactly one is left then (records.md 8.4, steps 3 to 5).
fn current(
    mut records: Vec<IdentityRecord>,
    subject: &Subject,
    rotations: &[String],
    now: UnixTime,
) -> Result<Vec<IdentityRecord>, ()> {
    let binding = || Binding {
        key: None,
        subject: Some(subject),
    };
    let revoked: Vec<SigningPublicKey> = rotations
        .iter()
        .filter_map(|value| Revocation::parse(value, binding(), None, now).ok())
        .map(|revocation| revocation.revoked)
        .collect();
    records.retain(|record| !revoked.contains(&record.signing));
    if records.is_empty() {
        return Err(());
    }
    if records.len() > 1 {
        let old: Vec<SigningPublicKey> = rotations
            .iter()
            .filter_map(|value| Rotation::parse(value, binding(), now).ok())
            .map(|rotation| rotation.old)
            .collect();
        let newer: Vec<_> = records
            .iter()
            .filter(|record| !old.contains(&record.signing))
            .cloned()
            .collect();
        if newer.len() == 1 {
            records = newer;
        }
    }
    Ok(records)
}

/// A publication of the same person under the same keys.
fn is_own(session: &Session<'_>, value: &str) -> bool {
    IdentityRecord::parse(value).is_ok_and(|record| {
        record.username == session.profile.username
            && record.keys() == session.identity.public_keys()
    })
}

fn join(owners: &[OwnerName]) -> String {
    owners
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" or ")
}
