//! Ending the own key: by a successor that it signs over to, or by a revocation (federation.md 6.3, client.md 13). Pins nothing.

use dmp_core::id::UnixTime;
use dmp_core::keys::{Identity, Signer, SigningPublicKey};
use dmp_core::limits::HORIZON_LONG;
use dmp_core::owner::{OwnerName, rotation_owner_anchored, rotation_owner_hashed};
use dmp_core::record::{Reason, Revocation, Rotation, Subject, Versions};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::identity::{published_value, withdraw};
use super::publish::{publish_capped, record_ttl};
use super::{
    PublishError, PublishRequest, Published, Session, Unpublished, identity_publish,
    identity_unpublish,
};
use crate::error::{Fault, StoreError, WriteError};
use crate::limits::NODE_MAX_TTL;
use crate::mesh::Operation;

/// The note under which the last sequence number is remembered: numbers rise also when the clock does not.
const SEQUENCE_NOTE: &str = "rotation sequence";
/// The note under which published rotations and revocations are remembered, to be published again while they count.
const RECORDS_NOTE: &str = "rotation records";

/// Why a key is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RotationReason {
    /// Planned: the old key stays good for what it signed. No revocation, because one on the path stops everybody who follows it.
    #[default]
    Routine,
    /// Somebody else may hold the old key: it is revoked.
    Compromise,
    /// The old key is lost, or will be: it is revoked.
    LostKey,
}

/// How to rotate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotateRequest {
    /// Lifetime of the records in the node, seconds.
    pub ttl: u64,
    /// How long the rotation counts, seconds.
    pub lifetime: u64,
    /// Why.
    pub reason: RotationReason,
    /// What the client can receive under the new key.
    pub versions: Versions,
    /// Now in Unix milliseconds: the sequence number, unless an earlier rotation had a higher one.
    pub milliseconds: u64,
}

/// A key that has a successor.
#[derive(Debug)]
pub struct Rotated {
    /// Where rotation and revocation are.
    pub owner: OwnerName,
    /// The rotation.
    pub rotation: Rotation,
    /// What became of the revocation of the old key, if the reason wants one.
    pub revocation: Option<Result<(), WriteError>>,
    /// What became of the identity record of the new key.
    pub identity: Result<Published, PublishError>,
    /// What became of the identity record of the old key; it stays while the new one is not published.
    pub old_identity: Option<Unpublished>,
}

/// Why there is no rotation or revocation.
#[derive(Debug, Error)]
pub enum RotateError {
    /// The new passphrase gives the old keys.
    #[error("the new passphrase gives the same keys: nothing to rotate")]
    SameKey,
    /// The user name cannot be the subject of a rotation.
    #[error("`{0}` cannot be the subject of a rotation")]
    Subject(String),
    /// Shorter than a second or longer than five years.
    #[error("a rotation counts for 1 to {HORIZON_LONG} seconds")]
    Lifetime,
    /// The node did not take it. The local keys are the old ones.
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

impl RotateError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::SameKey | Self::Subject(_) | Self::Lifetime => Fault::Misuse,
            Self::Write { error, .. } => error.fault(),
            Self::Store(error) => error.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::SameKey => "rotate-same-key",
            Self::Subject(_) => "rotate-subject",
            Self::Lifetime => "rotate-lifetime",
            Self::Write { error, .. } => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

/// Checks what can be checked before anybody is asked anything.
///
/// # Errors
/// [`RotateError::SameKey`], [`RotateError::Subject`], [`RotateError::Lifetime`].
pub fn check_rotation(
    session: &Session<'_>,
    new: &Identity,
    request: &RotateRequest,
) -> Result<(), RotateError> {
    if new.signing_public() == session.identity.signing_public() {
        return Err(RotateError::SameKey);
    }
    if !(1..=HORIZON_LONG).contains(&request.lifetime) {
        return Err(RotateError::Lifetime);
    }
    place(session).map(|_| ())
}

/// Publishes that `new` follows the session's key, revokes the old key if the reason says so, and publishes the identity record of the new key in place of
/// the old one. The new identity can open the store before the first record is out.
///
/// # Errors
/// [`RotateError`]: the rotation is not published. What fails behind it is in the report.
pub async fn identity_rotate(
    session: &Session<'_>,
    new: &Identity,
    request: &RotateRequest,
) -> Result<Rotated, RotateError> {
    check_rotation(session, new, request)?;
    let (subject, owner) = place(session)?;
    let (old, now) = (session.identity, session.clock.now());
    let rotation = Rotation {
        subject: subject.clone(),
        old: old.signing_public(),
        new: new.signing_public(),
        seq: next_sequence(session, request.milliseconds)?,
        ts: now,
        exp: now.saturating_add(request.lifetime),
    };
    let value = rotation
        .sign(Signer::Person(old), Signer::Person(new))
        .map_err(|_| RotateError::Subject(subject.to_string()))?;

    let wrap = session.store.add_wrap(new)?;
    if let Err(error) = publish(session, &owner, &value, request.ttl).await {
        // Without an answer it may be published: then a second attempt with the same passphrase must find the store open.
        if matches!(error.fault(), Fault::Rejected | Fault::Misuse) {
            session.store.drop_wrap(wrap)?;
        }
        return Err(RotateError::Write { owner, error });
    }
    session.store.confirm_wrap(wrap, now)?;
    remember(session, &value, Some(rotation.exp))?;

    let revocation = match request.reason {
        RotationReason::Routine => None,
        RotationReason::Compromise => Some(Reason::Compromise),
        RotationReason::LostKey => Some(Reason::LostKey),
    };
    let revocation = match revocation {
        None => None,
        Some(reason) => Some(
            match revoke(session, &subject, &owner, reason, request.ttl).await {
                Err(RotateError::Write { error, .. }) => Err(error),
                Err(error) => return Err(error),
                Ok(()) => Ok(()),
            },
        ),
    };
    let old_record = published_value(session)?;
    let successor = Session {
        identity: new,
        ..*session
    };
    let request = PublishRequest {
        ttl: request.ttl,
        versions: request.versions.clone(),
    };
    let identity = identity_publish(&successor, &request).await;
    let old_identity = match &identity {
        Ok(_) => Some(withdraw(session, old_record).await),
        Err(_) => None,
    };
    Ok(Rotated {
        owner,
        rotation,
        revocation,
        identity,
        old_identity,
    })
}

/// A key that ended without a successor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revoked {
    /// Where the revocation is.
    pub owner: OwnerName,
    /// The key.
    pub key: SigningPublicKey,
    /// What became of its identity record.
    pub identity: Unpublished,
}

/// Declares the session's key to be at its end, for good, and removes its identity record. Everybody who pinned it stops trusting it.
///
/// # Errors
/// [`RotateError`]; nothing is published then.
pub async fn identity_revoke(
    session: &Session<'_>,
    reason: Reason,
    ttl: u64,
) -> Result<Revoked, RotateError> {
    let (subject, owner) = place(session)?;
    revoke(session, &subject, &owner, reason, ttl).await?;
    Ok(Revoked {
        owner,
        key: session.identity.signing_public(),
        identity: identity_unpublish(session).await?,
    })
}

/// The operations that publish what is remembered and still counts once more: nodes keep values for a day only (federation.md 6.3).
pub(super) fn again(session: &Session<'_>) -> Result<Vec<Operation>, StoreError> {
    let Ok((_, owner)) = place(session) else {
        return Ok(Vec::new());
    };
    let now = session.clock.now();
    let mut records = remembered(session)?;
    records.retain(|record| {
        record
            .expires
            .is_none_or(|expires| expires >= now.as_secs())
    });
    Ok(records
        .into_iter()
        .map(|record| Operation::Add {
            owner: owner.clone(),
            ttl: record_ttl(NODE_MAX_TTL),
            value: record.value,
        })
        .collect())
}

async fn revoke(
    session: &Session<'_>,
    subject: &Subject,
    owner: &OwnerName,
    reason: Reason,
    ttl: u64,
) -> Result<(), RotateError> {
    let revocation = Revocation {
        subject: subject.clone(),
        revoked: session.identity.signing_public(),
        reason,
        ts: session.clock.now(),
    };
    let value = revocation
        .sign(Signer::Person(session.identity))
        .map_err(|_| RotateError::Subject(subject.to_string()))?;
    publish(session, owner, &value, ttl)
        .await
        .map_err(|error| RotateError::Write {
            owner: owner.clone(),
            error,
        })?;
    remember(session, &value, None)?;
    Ok(())
}

async fn publish(
    session: &Session<'_>,
    owner: &OwnerName,
    value: &str,
    ttl: u64,
) -> Result<(), WriteError> {
    let add = |ttl| {
        vec![Operation::Add {
            owner: owner.clone(),
            ttl,
            value: value.to_owned(),
        }]
    };
    publish_capped(session.writer, ttl, add).await.map(|_| ())
}

/// Whose key it is, and where that is published: beside the identity record (federation.md 6.1).
fn place(session: &Session<'_>) -> Result<(Subject, OwnerName), RotateError> {
    let profile = session.profile;
    let user = &profile.username;
    let (host, owner) = match &profile.identity_zone {
        Some(zone) => (zone, rotation_owner_anchored(zone)),
        None => (
            &profile.mesh_zone,
            rotation_owner_hashed(user, &profile.mesh_zone),
        ),
    };
    let subject = Subject::user(user, host.as_str())
        .map_err(|_| RotateError::Subject(format!("{user}@{host}")))?;
    Ok((subject, owner))
}

fn next_sequence(session: &Session<'_>, milliseconds: u64) -> Result<u64, StoreError> {
    let last = session.store.note(SEQUENCE_NOTE)?;
    let last: u64 = last.and_then(|text| text.parse().ok()).unwrap_or(0);
    let next = milliseconds.max(last.saturating_add(1));
    session.store.set_note(SEQUENCE_NOTE, &next.to_string())?;
    Ok(next)
}

/// A rotation or revocation that is published; a revocation counts for ever.
#[derive(Serialize, Deserialize)]
struct Remembered {
    value: String,
    expires: Option<u64>,
}

fn remembered(session: &Session<'_>) -> Result<Vec<Remembered>, StoreError> {
    let note = session.store.note(RECORDS_NOTE)?;
    Ok(note
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default())
}

fn remember(
    session: &Session<'_>,
    value: &str,
    expires: Option<UnixTime>,
) -> Result<(), StoreError> {
    let mut records = remembered(session)?;
    records.push(Remembered {
        value: value.to_owned(),
        expires: expires.map(UnixTime::as_secs),
    });
    let text = serde_json::to_string(&records).unwrap_or_default();
    session.store.set_note(RECORDS_NOTE, &text)
}
