//! Dynamic update (RFC 2136): building messages on the client's side, reading them on the server's.
//!
//! Nothing is authorised, looked up or applied here; caps, scopes and the transaction are the node's. The response is
//! [`crate::answer::respond`].

mod build;
mod read;

pub use build::{BuildError, UpdateBuilder};
pub use read::{Refusal, UpdateRequest};

use crate::name::Name;
use crate::rcode::{Rcode, Rtype};

/// One change, as a client asks for it and a server applies it. Owners read from the wire are lower-case (W-5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Append a value to the RRset, or refresh it if it is there.
    Add {
        /// Owner name.
        owner: Name,
        /// Seconds to live; from the wire never 0 and never above 2^31 - 1 (node.md 3.2).
        ttl: u32,
        /// The value, all strings joined.
        value: String,
    },
    /// Remove one value, if it is there.
    DeleteValue {
        /// Owner name.
        owner: Name,
        /// The value, byte for byte.
        value: String,
    },
    /// Remove all values at the owner.
    DeleteRrset {
        /// Owner name.
        owner: Name,
    },
}

impl Operation {
    /// The owner name the operation touches.
    pub fn owner(&self) -> &Name {
        match self {
            Self::Add { owner, .. }
            | Self::DeleteValue { owner, .. }
            | Self::DeleteRrset { owner } => owner,
        }
    }
}

/// A condition on the zone before the update (RFC 2136 2.4). Owners are lower-case and inside the zone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Prerequisite {
    /// At least one record, of any type, at the owner; else NXDOMAIN.
    NameInUse(Name),
    /// No record of any type at the owner; else YXDOMAIN.
    NameNotInUse(Name),
    /// At least one record of this type at the owner; else NXRRSET.
    RrsetExists(Name, Rtype),
    /// No record of this type at the owner; else YXRRSET.
    RrsetAbsent(Name, Rtype),
    /// Exactly these values at the owner, in any order; else NXRRSET. TXT values are joined strings, others raw RDATA.
    RrsetEquals(Name, Rtype, Vec<Vec<u8>>),
}

impl Prerequisite {
    /// The response code when the condition does not hold (RFC 2136 3.2.5).
    pub fn rcode_if_false(&self) -> Rcode {
        match self {
            Self::NameInUse(_) => Rcode::NXDOMAIN,
            Self::NameNotInUse(_) => Rcode::YXDOMAIN,
            Self::RrsetExists(..) | Self::RrsetEquals(..) => Rcode::NXRRSET,
            Self::RrsetAbsent(..) => Rcode::YXRRSET,
        }
    }
}
