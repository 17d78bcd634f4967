//! What strangers see of this user: identity record, prekeys, whether the key is revoked (product.md 5.5).

use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_core::record::{IdentityRecord, PrekeyRecord};
use dmp_core::trust::{RotationQuestion, Rotations};
use futures_util::future::{join, join_all};

use super::{Check, Sight, Witness};
use crate::limits::PREKEYS_LOW;
use crate::ops::Profile;

/// How the own identity record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There, under the own key.
    Published {
        /// The newest one.
        record: Box<IdentityRecord>,
        /// Seconds until it expires at the witness, where that is known.
        ttl: Option<u32>,
    },
    /// Only other keys are published under this name.
    OtherKeys,
    /// Nothing is.
    Absent,
    /// The witness could not be asked.
    Unreachable(String),
}

/// What one witness sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRecords {
    /// The identity record.
    pub identity: Standing,
    /// Keys of other people who publish under the same name.
    pub strangers: usize,
    /// Prekeys that senders can still pick; the error says why nobody knows.
    pub prekeys: Result<Vec<PrekeyRecord>, String>,
    /// Seconds until the first prekey record expires at the witness.
    pub prekeys_ttl: Option<u32>,
}

/// Looks at the own records through one witness.
pub async fn own_records(
    witness: &dyn Witness,
    profile: &Profile,
    signing: &SigningPublicKey,
    now: UnixTime,
) -> OwnRecords {
    let (identity_owner, prekey_owner) = (profile.identity_owner(), profile.prekey_owner());
    let (identity, prekeys) =
        join(witness.look(&identity_owner), witness.look(&prekey_owner)).await;
    let (identity, strangers) = standing(identity, profile, signing);
    let (prekeys, prekeys_ttl) = match prekeys {
        Sight::Values { values, ttl } => (Ok(live_prekeys(&values, signing, now)), ttl),
        Sight::Absent => (Ok(Vec::new()), None),
        Sight::Unreachable(reason) => (Err(reason), None),
    };
    OwnRecords {
        identity,
        strangers,
        prekeys,
        prekeys_ttl,
    }
}

/// Judges what several witnesses see, one line each for identity and prekeys, then what concerns the key itself.
pub async fn check_published(
    witnesses: &[&dyn Witness],
    profile: &Profile,
    signing: &SigningPublicKey,
    now: UnixTime,
) -> Vec<Check> {
    let zone = profile.identity_zone.as_ref().unwrap_or(&profile.mesh_zone);
    let seen = join_all(witnesses.iter().map(async |witness| {
        let question = RotationQuestion::new(&profile.username, zone, *signing);
        let rotations = async {
            match &question {
                Some(question) => values_at(*witness, &question.owner_names()).await,
                None => Vec::new(),
            }
        };
        let records = own_records(*witness, profile, signing, now);
        let (records, rotations) = join(records, rotations).await;
        (witness.name(), records, rotations)
    }))
    .await;
    let mut checks = Vec::new();
    for (name, records, _) in &seen {
        checks.push(identity_line(name, records, now));
        checks.push(prekey_line(name, records, now));
    }
    if seen.iter().any(|(_, records, _)| records.strangers > 0) {
        checks.push(Check::warn(
            "identity-ambiguous",
            "somebody else publishes under your name",
            "who looks you up sees several keys and has to compare fingerprints",
            "give your contacts your fingerprint: dnsmesh identity show",
        ));
    }
    let newest = seen
        .iter()
        .find_map(|(_, records, _)| match &records.identity {
            Standing::Published { record, .. } => Some(record),
            _ => None,
        });
    if let Some(record) = newest {
        checks.push(if record.versions.contains(2) {
            Check::ok(
                "identity-envelopes",
                "messages to you name their sender",
                "version 2 is advertised",
            )
        } else {
            Check::warn(
                "identity-envelopes",
                "messages to you do not name their sender",
                "version 2 is not advertised, so first messages of strangers arrive without a name",
                "dnsmesh identity publish --advertise-v2",
            )
        });
    }
    let rotations: Vec<String> = seen.into_iter().flat_map(|(.., values)| values).collect();
    checks.extend(key_line(profile, zone, signing, &rotations, now));
    checks
}

/// Verified, live prekeys of a key, each number once.
pub(super) fn live_prekeys(
    values: &[String],
    signing: &SigningPublicKey,
    now: UnixTime,
) -> Vec<PrekeyRecord> {
    let mut prekeys: Vec<PrekeyRecord> = values
        .iter()
        .filter_map(|value| PrekeyRecord::parse(value, signing, now).ok())
        .map(|record| record.into_inner())
        .filter(|record| record.is_live(now))
        .collect();
    prekeys.sort_by_key(|record| record.id);
    prekeys.dedup_by_key(|record| record.id);
    prekeys
}

/// All values at several names; what could not be asked is as good as nothing.
pub(super) async fn values_at(witness: &dyn Witness, owners: &[OwnerName]) -> Vec<String> {
    let sights = join_all(owners.iter().map(|owner| witness.look(owner))).await;
    sights
        .into_iter()
        .flat_map(|sight| match sight {
            Sight::Values { values, .. } => values,
            Sight::Absent | Sight::Unreachable(_) => Vec::new(),
        })
        .collect()
}

fn standing(sight: Sight, profile: &Profile, signing: &SigningPublicKey) -> (Standing, usize) {
    let (values, ttl) = match sight {
        Sight::Values { values, ttl } => (values, ttl),
        Sight::Absent => return (Standing::Absent, 0),
        Sight::Unreachable(reason) => return (Standing::Unreachable(reason), 0),
    };
    let (own, others): (Vec<_>, Vec<_>) = values
        .iter()
        .filter_map(|value| IdentityRecord::parse(value).ok())
        .map(|record| record.into_inner())
        .filter(|record| record.username.eq_ignore_ascii_case(&profile.username))
        .partition(|record| record.signing == *signing);
    let standing = match own.into_iter().max_by_key(|record| record.ts) {
        Some(record) => Standing::Published {
            record: Box::new(record),
            ttl,
        },
        None if others.is_empty() => Standing::Absent,
        None => Standing::OtherKeys,
    };
    (standing, others.len())
}

fn identity_line(name: &str, records: &OwnRecords, now: UnixTime) -> Check {
    let code = "identity-record";
    match &records.identity {
        Standing::Published { record, ttl } => Check::ok(
            code,
            format!("identity record is visible through {name}"),
            format!("fingerprint {}", record.fingerprint()),
        )
        .until(ttl.map(|ttl| now.saturating_add(ttl.into()))),
        Standing::OtherKeys => Check::fail(
            code,
            format!("{name} shows another key under your name"),
            "who looks you up gets that key and cannot write to you",
            "dnsmesh identity publish",
        ),
        Standing::Absent => Check::warn(
            code,
            format!("identity record is not visible through {name}"),
            "nobody can look you up",
            "dnsmesh identity publish",
        ),
        Standing::Unreachable(reason) => Check::fail(
            code,
            format!("{name} does not answer for your zone"),
            reason,
            "dnsmesh doctor network",
        ),
    }
}

fn prekey_line(name: &str, records: &OwnRecords, now: UnixTime) -> Check {
    let code = "identity-prekeys";
    let refill = "dnsmesh identity refresh-prekeys";
    let prekeys = match &records.prekeys {
        Ok(prekeys) => prekeys,
        Err(reason) => {
            return Check::fail(
                code,
                format!("{name} does not answer for your prekeys"),
                reason,
                "dnsmesh doctor network",
            );
        }
    };
    let until = records
        .prekeys_ttl
        .map(|ttl| now.saturating_add(ttl.into()))
        .into_iter()
        .chain(prekeys.iter().map(|prekey| prekey.exp).max())
        .min();
    match prekeys.len() {
        0 => Check::warn(
            code,
            format!("no prekeys are visible through {name}"),
            "messages to you have no forward secrecy",
            refill,
        ),
        count if count < PREKEYS_LOW => Check::warn(
            code,
            format!("prekeys run out, as {name} shows"),
            format!("{count} left"),
            refill,
        )
        .until(until),
        count => Check::ok(
            code,
            format!("prekeys are visible through {name}"),
            format!("{count} left"),
        )
        .until(until),
    }
}

fn key_line(
    profile: &Profile,
    zone: &Zone,
    signing: &SigningPublicKey,
    rotations: &[String],
    now: UnixTime,
) -> Option<Check> {
    let question = RotationQuestion::new(&profile.username, zone, *signing)?;
    let mut known = Rotations::default();
    known.learn(&question, rotations.iter().map(String::as_str), now);
    if known.is_revoked(&question) {
        return Some(Check::fail(
            "identity-key",
            "your key is revoked",
            "nobody accepts messages under it any more",
            "use the new passphrase, or dnsmesh init --force for a new identity",
        ));
    }
    known.successor(&question).map(|successor| {
        Check::warn(
            "identity-key",
            "your key was replaced",
            format!("a rotation leads to {successor}"),
            "use the new passphrase",
        )
    })
}
