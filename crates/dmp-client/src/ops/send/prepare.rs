//! What a send must know before it seals: prekeys, whether envelopes are understood, whether the key still holds. Publishes nothing.

use dmp_core::address::Address;
use dmp_core::id::UnixTime;
use dmp_core::owner::prekey_owner;
use dmp_core::record::PrekeyRecord;
use futures_util::future::join_all;
use rand_core::CryptoRng;

use super::super::key_change::{key_state, receivable_versions};
use super::super::lookup::Lookups;
use super::super::{RotationPolicy, Session};
use super::{NoForwardSecrecy, SendError};
use crate::error::StoreError;
use crate::mesh::Lookup;
use crate::store::{Contact, KeyState};

/// Unused, live prekeys of the contact, or why there is none.
pub(super) async fn prekey_pool(
    session: &Session<'_>,
    lookups: &Lookups<'_>,
    contact: &Contact,
    now: UnixTime,
) -> Result<Result<Vec<PrekeyRecord>, NoForwardSecrecy>, StoreError> {
    let Some(signing) = contact.signing else {
        return Ok(Err(NoForwardSecrecy::NoSigningKey));
    };
    let Some(user) = contact.username() else {
        return Ok(Err(NoForwardSecrecy::NoUserName));
    };
    let used = session.store.used_prekeys(contact.id)?;
    let zones = contact.zones(&session.profile.mesh_zone);
    let answers = join_all(
        zones
            .into_iter()
            .map(async |zone| lookups.txt(zone, &prekey_owner(user, zone)).await),
    )
    .await;

    let mut pool: Vec<PrekeyRecord> = Vec::new();
    let mut unreachable = None;
    for answer in answers {
        match answer {
            Lookup::Found(values) => pool.extend(
                values
                    .iter()
                    .filter_map(|value| PrekeyRecord::parse(value, &signing, now).ok())
                    .map(|record| record.into_inner())
                    .filter(|record| record.is_live(now)),
            ),
            Lookup::Absent => {}
            Lookup::Unreachable(reason) => unreachable = Some(reason),
        }
    }
    pool.sort_by_key(|record| record.id);
    pool.dedup_by_key(|record| record.id);
    let any = !pool.is_empty();
    pool.retain(|record| !used.contains(&record.id));
    Ok(match (pool.is_empty(), any, unreachable) {
        (false, ..) => Ok(pool),
        (true, true, _) => Err(NoForwardSecrecy::AllUsed),
        (true, false, Some(reason)) => Err(NoForwardSecrecy::Unreachable(reason)),
        (true, false, None) => Err(NoForwardSecrecy::NonePublished),
    })
}

/// A random one of those that outlive the message, else of those with the longest life (client.md 9.2).
pub(super) fn choose(
    pool: &Result<Vec<PrekeyRecord>, NoForwardSecrecy>,
    message_expires: UnixTime,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<PrekeyRecord, NoForwardSecrecy> {
    let pool = pool.as_ref().map_err(Clone::clone)?;
    let longest = pool
        .iter()
        .map(|record| record.exp)
        .max()
        .unwrap_or_default();
    let best: Vec<&PrekeyRecord> = pool
        .iter()
        .filter(|record| record.exp >= message_expires.min(longest))
        .collect();
    let index = match best.len() {
        0 | 1 => 0,
        // 64 random bits over a pool of dozens: no value is noticeably preferred.
        count => usize::try_from(rng.next_u64() % count as u64).unwrap_or_default(),
    };
    best.get(index)
        .map(|record| (*record).clone())
        .ok_or(NoForwardSecrecy::NonePublished)
}

/// The own address, if the recipient's identity of the pinned key lists envelopes (crypto.md 11.5).
pub(super) async fn envelope_address(
    session: &Session<'_>,
    lookups: &Lookups<'_>,
    contact: &Contact,
) -> Option<Address> {
    let own = session.profile.address()?;
    let user = contact.username()?;
    let zone = contact.zone_or(&session.profile.mesh_zone);
    Address::new(user, zone.as_str()).ok()?;
    // A store that fails here fails the send at the outbox.
    let versions = receivable_versions(session.store, lookups, contact, user, zone).await;
    versions.ok()??.contains(2).then_some(own)
}

/// Refuses to send to a key that its owner revoked or replaced (federation.md 6.5).
pub(super) async fn key_change(
    session: &Session<'_>,
    lookups: &Lookups<'_>,
    contact: &Contact,
    now: UnixTime,
) -> Result<(), SendError> {
    let (store, own) = (session.store, &session.profile.mesh_zone);
    match key_state(store, lookups, contact, own, now).await? {
        KeyState::Revoked { .. } => Err(SendError::KeyRevoked(contact.label.clone())),
        KeyState::Replaced { by, .. } if session.profile.rotation == RotationPolicy::Follow => {
            Err(SendError::KeyReplaced {
                label: contact.label.clone(),
                successor: by,
            })
        }
        _ => Ok(()),
    }
}
