//! Looking the bootstrap record of a domain up (federation.md 5): the highest verified one, and never an older one than before.

use dmp_core::error::RecordError;
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::name::DomainName;
use dmp_core::owner::{OwnerName, bootstrap_owner};
use dmp_core::record::BootstrapRecord;
use dmp_core::signed::Verified;

use super::Anchor;
use crate::error::Fault;
use crate::floors::{FloorError, Floors};
use crate::mesh::{Lookup, Reader};

/// Why there is no bootstrap record to go by.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no record.
    #[error("no bootstrap record at {0}")]
    Absent(OwnerName),
    /// Nobody could be asked.
    #[error("{owner} could not be looked up: {why}")]
    Unreachable {
        /// Where.
        owner: OwnerName,
        /// Resolver by resolver.
        why: String,
    },
    /// None of the values there is a live record of this signer for this domain.
    #[error("no bootstrap record at {owner} verifies under the pinned key ({reason})")]
    Unusable {
        /// Where.
        owner: OwnerName,
        /// What is wrong with the first that is such a record at all, or else with the first value.
        reason: RecordError,
    },
    /// A newer one was seen before, or that cannot be known.
    #[error("the bootstrap record at {owner} is not taken: {reason}")]
    Floor {
        /// Where.
        owner: OwnerName,
        /// Why.
        reason: FloorError,
    },
}

impl FetchError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Absent(_) | Self::Unreachable { .. } => Fault::Unavailable,
            Self::Unusable { .. } => Fault::Rejected,
            Self::Floor { reason, .. } => reason.fault(),
        }
    }

    /// The stable machine code (D32).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Absent(_) => "bootstrap-no-record",
            Self::Unreachable { .. } => "bootstrap-unreachable",
            Self::Unusable { .. } => "bootstrap-unusable",
            Self::Floor { reason, .. } => reason.code(),
        }
    }
}

/// Looks the record up: of all values that verify under the pinned signer for the pinned domain the one with the highest seq, the
/// first of equals. One with a lower seq than was ever seen is refused (W22).
///
/// # Errors
/// [`FetchError`], naming the owner.
pub async fn fetch(
    reader: &dyn Reader,
    anchor: &Anchor,
    floors: &Floors,
    now: UnixTime,
) -> Result<Verified<BootstrapRecord>, FetchError> {
    let owner = anchor.owner();
    let values = match reader.txt(&owner).await {
        Lookup::Found(values) => values,
        Lookup::Absent => return Err(FetchError::Absent(owner)),
        Lookup::Unreachable(why) => return Err(FetchError::Unreachable { owner, why }),
    };
    let parse =
        |value: &str| BootstrapRecord::parse(value, &anchor.signer, Some(&anchor.domain), now);
    let chosen = BootstrapRecord::choose(
        values.iter().map(String::as_str),
        &anchor.signer,
        Some(&anchor.domain),
        now,
    );
    let Some(record) = chosen else {
        // What is refused says more than what is no such record at all.
        let reasons = values.iter().filter_map(|value| parse(value).err());
        let reason = reasons.reduce(|first, next| match (first, next) {
            (RecordError::Malformed(_), RecordError::Rejected(_)) => next,
            _ => first,
        });
        return Err(match reason {
            Some(reason) => FetchError::Unusable { owner, reason },
            None => FetchError::Absent(owner),
        });
    };
    match floors.accept(&owner, &anchor.signer, record.seq) {
        Ok(()) => Ok(record),
        Err(reason) => Err(FetchError::Floor { owner, reason }),
    }
}

/// What a domain publishes, as somebody may be told who has not pinned its signer. Nothing of it may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hearsay {
    /// Where it was found.
    pub owner: OwnerName,
    /// The keys that records for the domain name as their signers, each once.
    pub signers: Vec<SigningPublicKey>,
}

/// Whether a domain publishes bootstrap records at all, and by whom they claim to be signed; none if it does not or nobody answers.
pub async fn hearsay(reader: &dyn Reader, domain: &DomainName, now: UnixTime) -> Option<Hearsay> {
    let owner = bootstrap_owner(domain);
    let Lookup::Found(values) = reader.txt(&owner).await else {
        return None;
    };
    let mut signers = Vec::new();
    for value in &values {
        let Ok(signer) = BootstrapRecord::claimed_signer(value) else {
            continue;
        };
        let is_sound = BootstrapRecord::parse(value, &signer, Some(domain), now).is_ok();
        if is_sound && !signers.contains(&signer) {
            signers.push(signer);
        }
    }
    (!signers.is_empty()).then_some(Hearsay { owner, signers })
}
