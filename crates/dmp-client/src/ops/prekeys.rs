//! Keeping the pool of own prekeys filled and visible (client.md 9.1, D15). Consumes none; when it is done unasked is in [`super::upkeep`].

use dmp_core::id::{PrekeyId, UnixTime};
use dmp_core::keys::{AgreementSecret, Identity};
use dmp_core::owner::OwnerName;
use dmp_core::record::PrekeyRecord;
use rand_core::CryptoRng;
use thiserror::Error;

use super::publish::{delete_values, record_ttl};
use super::{Session, upkeep};
use crate::error::{Fault, StoreError, WriteError};
use crate::limits::{MESSAGE_TTL, NODE_MAX_TTL, PREKEY_ID_TRIES, PREKEY_LIFETIME};
use crate::mesh::{Lookup, Operation};
use crate::store::{NewPrekey, Store};

/// The note under which the wanted size of the pool is remembered.
const TARGET_NOTE: &str = "prekey target";

/// How large the pool shall be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefreshRequest {
    /// Prekeys that shall be visible afterwards.
    pub count: usize,
    /// Lifetime of new ones, seconds; a week if nobody says otherwise (D15).
    pub lifetime: Option<u64>,
}

/// What is visible now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefreshReport {
    /// Where the pool is.
    pub owner: OwnerName,
    /// Prekeys that were to be visible.
    pub wanted: usize,
    /// Prekeys that the node took, old ones published again included.
    pub published: usize,
    /// Those of them that are new.
    pub fresh: usize,
    /// Prekeys with a private half here that senders can still pick.
    pub live: usize,
    /// Why the node did not take the rest.
    pub failure: Option<WriteError>,
}

/// How many prekeys senders can pick, and how many there should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stock {
    /// Published prekeys of the present key that nobody used yet.
    pub live: usize,
    /// What the last refresh was asked for; 0 if there never was one.
    pub target: usize,
}

impl Stock {
    /// Whether people who write may soon find none: less than a quarter is left.
    #[must_use]
    pub const fn is_low(self) -> bool {
        self.live * 4 < self.target
    }

    /// Whether it is time to fill it up: less than half is left.
    #[must_use]
    pub const fn wants_refill(self) -> bool {
        self.live * 2 < self.target
    }
}

/// The stock of own prekeys. Those that a replaced key signed do not count: nobody who pinned the present key takes them.
///
/// # Errors
/// Failures of the store.
pub fn prekeys_stock(
    store: &Store,
    identity: &Identity,
    now: UnixTime,
) -> Result<Stock, StoreError> {
    let target = store.note(TARGET_NOTE)?;
    let signer = identity.signing_public();
    Ok(Stock {
        live: store
            .published_prekeys(now)?
            .iter()
            .filter(|(_, wire, _)| PrekeyRecord::parse(wire, &signer, now).is_ok())
            .count(),
        target: target.and_then(|text| text.parse().ok()).unwrap_or(0),
    })
}

/// Why the pool was not refreshed at all.
#[derive(Debug, Error)]
pub enum RefreshError {
    /// No free prekey number was found.
    #[error("no free prekey number")]
    NoFreeId,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RefreshError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoFreeId => Fault::Bug,
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFreeId => "prekey-no-free-id",
            Self::Store(error) => error.code(),
        }
    }
}

/// One value of the pool.
struct Candidate {
    id: PrekeyId,
    wire: String,
    /// Seconds that the node may keep it.
    ttl: u64,
    fresh: bool,
}

/// Publishes prekeys that have enough life left again, since nodes keep values for a day only, and fills the pool up with new ones.
/// The private half of a new prekey is stored before it is published and deleted if the node refuses it.
///
/// # Errors
/// [`RefreshError`]. That the node took fewer than wanted is not an error but in the report.
pub async fn refresh_prekeys(
    session: &Session<'_>,
    request: &RefreshRequest,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<RefreshReport, RefreshError> {
    let now = session.clock.now();
    session.store.purge(now)?;
    let lifetime = request.lifetime.unwrap_or(PREKEY_LIFETIME);
    let expires = now.saturating_add(lifetime);
    // An older prekey is worth showing while it outlives a message of the default lifetime, or half of a shorter life.
    let enough = now.saturating_add(MESSAGE_TTL.min(lifetime / 2));
    session
        .store
        .set_note(TARGET_NOTE, &request.count.to_string())?;
    upkeep::begin(session)?;
    let owner = session.profile.prekey_owner();
    withdraw_useless(session, &owner, now).await?;
    let mut pool: Vec<Candidate> = session
        .store
        .published_prekeys(enough)?
        .into_iter()
        .take(request.count)
        .map(|(id, wire, expires)| Candidate {
            id,
            wire,
            ttl: expires.saturating_sub(now),
            fresh: false,
        })
        .collect();

    let mut fresh: Vec<NewPrekey> = Vec::new();
    while pool.len() < request.count {
        let id = free_id(session, &fresh, rng)?;
        let secret = AgreementSecret::generate(rng);
        let record = PrekeyRecord {
            id,
            public: secret.public(),
            exp: expires,
        };
        // Signing a record of this type cannot fail.
        let Ok(wire) = record.sign(session.identity) else {
            return Err(RefreshError::NoFreeId);
        };
        fresh.push(NewPrekey {
            id,
            secret,
            expires,
        });
        pool.push(Candidate {
            id,
            wire,
            ttl: lifetime,
            fresh: true,
        });
    }
    session.store.insert_prekeys(&fresh, now)?;

    let (taken, failure) = publish(session, &owner, &pool).await;
    for (candidate, outcome) in pool
        .iter()
        .zip(&taken)
        .filter(|(candidate, _)| candidate.fresh)
    {
        match outcome {
            // Nobody knows whether it is visible: its private half stays, since senders may pick it.
            Outcome::Taken | Outcome::Unknown => session
                .store
                .mark_prekey_published(candidate.id, &candidate.wire)?,
            Outcome::Refused => session.store.discard_prekeys(&[candidate.id])?,
        }
    }
    let published = taken
        .iter()
        .filter(|outcome| **outcome == Outcome::Taken)
        .count();
    let fresh = pool
        .iter()
        .zip(&taken)
        .filter(|(candidate, outcome)| candidate.fresh && **outcome == Outcome::Taken)
        .count();
    Ok(RefreshReport {
        owner,
        wanted: request.count,
        published,
        fresh,
        live: session.store.live_prekeys(now)?,
        failure,
    })
}

/// Takes values out of the zone that senders would use in vain: the pool of a replaced key, whose mailbox nobody polls any more (it leaves the
/// store too), and own prekeys whose private halves are not here, as after a restore.
async fn withdraw_useless(
    session: &Session<'_>,
    owner: &OwnerName,
    now: UnixTime,
) -> Result<(), StoreError> {
    let signer = session.identity.signing_public();
    let own = |wire: &str| PrekeyRecord::parse(wire, &signer, now).ok();
    let (superseded, mut values): (Vec<_>, Vec<_>) = session
        .store
        .published_prekeys(now)?
        .into_iter()
        .filter(|(_, wire, _)| own(wire).is_none())
        .map(|(id, wire, _)| (id, wire))
        .unzip();
    if let Lookup::Found(visible) = session.reader.txt(owner).await {
        for value in visible {
            if let Some(record) = own(&value)
                && !session.store.has_prekey(record.id)?
            {
                values.push(value);
            }
        }
    }
    // What the node does not delete expires there within a day.
    delete_values(session, owner, &values).await;
    session.store.discard_prekeys(&superseded)
}

/// What became of one value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Taken,
    Refused,
    Unknown,
}

/// Publishes as many as the node takes. A node refuses a whole message for one value too many, so a refused message is halved; a
/// refused single value ends it, because the name is full then.
async fn publish(
    session: &Session<'_>,
    owner: &OwnerName,
    pool: &[Candidate],
) -> (Vec<Outcome>, Option<WriteError>) {
    let mut outcomes = vec![Outcome::Refused; pool.len()];
    let mut cap = NODE_MAX_TTL;
    let (mut next, mut size) = (0, pool.len());
    while next < pool.len() {
        let end = (next + size).min(pool.len());
        let operations: Vec<Operation> = pool[next..end]
            .iter()
            .map(|candidate| Operation::Add {
                owner: owner.clone(),
                ttl: record_ttl(candidate.ttl.min(cap)),
                value: candidate.wire.clone(),
            })
            .collect();
        let applied = session.writer.apply(&operations).await;
        let stored = applied.stored();
        outcomes[next..next + stored].fill(Outcome::Taken);
        next += stored;
        let Some(failure) = applied.failure() else {
            continue;
        };
        match failure {
            WriteError::Refused {
                ttl_cap: Some(named),
                ..
            } if *named < cap => cap = *named,
            WriteError::Refused { .. } if operations.len() - stored > 1 => {
                size = (operations.len() - stored) / 2
            }
            WriteError::Refused { .. } | WriteError::NotAuthorised(_) | WriteError::NotZone => {
                return (outcomes, Some(failure.clone()));
            }
            _ => {
                outcomes[next..end].fill(Outcome::Unknown);
                return (outcomes, Some(failure.clone()));
            }
        }
    }
    (outcomes, None)
}

/// A number that neither the store nor this pool uses (crypto.md 12).
fn free_id(
    session: &Session<'_>,
    fresh: &[NewPrekey],
    rng: &mut (dyn CryptoRng + Send),
) -> Result<PrekeyId, RefreshError> {
    for _ in 0..PREKEY_ID_TRIES {
        if let Some(id) = PrekeyId::new(rng.next_u32())
            && !fresh.iter().any(|prekey| prekey.id == id)
            && !session.store.has_prekey(id)?
        {
            return Ok(id);
        }
    }
    Err(RefreshError::NoFreeId)
}
