//! Why a registration was refused, with the status and text that clients know (node.md 6.5).

use crate::limits::SUBJECT_LOCAL_OCTETS;
use crate::metrics::Registration;
use dmp_core::error::{AddressError, Rejected};

/// A refused registration. Nothing was minted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A member is absent, empty or no text.
    #[error("missing or non-string field: {0}")]
    Missing(&'static str),
    /// The subject has no canonical form.
    #[error("subject invalid: {0}")]
    Subject(AddressError),
    /// A member that is not hex.
    #[error("{0}: not valid hex")]
    NotHex(&'static str),
    /// A member of hex of another length.
    #[error("{field}: expected {expected} bytes, got {found}")]
    Length {
        /// The member.
        field: &'static str,
        /// Octets it should have.
        expected: usize,
        /// Octets it has.
        found: usize,
    },
    /// Never issued, used before, or too old.
    #[error("challenge expired or unknown")]
    Challenge,
    /// Not signed by the key it names.
    #[error("signature verification failed")]
    Signature,
    /// A domain that this node does not register (D9).
    #[error("subject not in registration allowlist")]
    Domain,
    /// The claimed agreement key is not the claimant's.
    #[error("x25519_pop verification failed: {0}")]
    Possession(Rejected),
    /// The local part is longer than a subject may have.
    #[error("subject local part too long for TSIG key label (max {SUBJECT_LOCAL_OCTETS} chars)")]
    LocalPartTooLong,
    /// The operator denied the subject or its key (W-9).
    #[error("subject or key denied by the operator")]
    Denied,
    /// The subject, or a name it would get, belongs to another key (D9).
    #[error(
        "subject already has a live token; re-registration must be signed with the \
         previously-registered Ed25519 key"
    )]
    Owned,
    /// Bearer tokens only, since UPDATE is off.
    #[error("tsig registration disabled")]
    KeysDisabled,
    /// The operator lets the node take no writes for now.
    #[error("the node takes no writes now")]
    Draining,
    /// A fault of this node; the text is for its log.
    #[error("internal error")]
    Internal(String),
}

impl Refusal {
    /// How it is counted.
    pub(crate) fn counted_as(&self) -> Registration {
        match self {
            Self::Missing(_)
            | Self::Subject(_)
            | Self::NotHex(_)
            | Self::Length { .. }
            | Self::LocalPartTooLong
            | Self::KeysDisabled => Registration::Invalid,
            Self::Challenge => Registration::UnknownChallenge,
            Self::Signature | Self::Possession(_) => Registration::BadSignature,
            Self::Domain | Self::Denied => Registration::Denied,
            Self::Owned => Registration::Owned,
            Self::Draining => Registration::Draining,
            Self::Internal(_) => Registration::Internal,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Missing(_)
            | Self::Subject(_)
            | Self::NotHex(_)
            | Self::Length { .. }
            | Self::Challenge
            | Self::LocalPartTooLong => 400,
            Self::Signature | Self::Possession(_) => 401,
            Self::Domain | Self::Denied => 403,
            Self::KeysDisabled => 404,
            Self::Owned => 409,
            Self::Internal(_) => 500,
            Self::Draining => 503,
        }
    }
}
