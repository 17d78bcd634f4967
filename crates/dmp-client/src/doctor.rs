//! What is wrong, and what to do about it (cli.md 3.7; product.md 5.5): the home, the node, what strangers see, the way to a contact.
//!
//! It looks and judges. It changes nothing, prints nothing, and reaches the world through [`Instruments`] and [`Witness`] only.

mod anchors;
mod contact;
mod files;
mod instruments;
mod network;
mod node;
mod published;
mod store;

pub use anchors::check_anchors;
pub use contact::{ContactQuestion, check_contact};
pub use files::{check_files, check_settings, close_files};
pub use instruments::{NetworkInstruments, ResolverWitness};
pub use network::check_network;
pub use node::check_node;
pub use published::{OwnRecords, Standing, check_published, own_records};
pub use store::check_store;

use std::net::SocketAddr;

use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;

use crate::mesh::{Lookup, Pending, Reader};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, for programs; stable.
    pub code: &'static str,
    /// How it is.
    pub level: Level,
    /// That in a few words.
    pub title: String,
    /// What was seen.
    pub detail: String,
    /// When what was seen ends, where it ends.
    pub until: Option<UnixTime>,
    /// What to do; always there unless all is well.
    pub remedy: Option<String>,
}

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not as it could, or not for long.
    Warn,
    /// Something does not work.
    Fail,
}

impl Check {
    fn ok(code: &'static str, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code,
            level: Level::Ok,
            title: title.into(),
            detail: detail.into(),
            until: None,
            remedy: None,
        }
    }

    fn warn(
        code: &'static str,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Warn,
            remedy: Some(remedy.into()),
            ..Self::ok(code, title, detail)
        }
    }

    fn fail(
        code: &'static str,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(code, title, detail, remedy)
        }
    }

    fn until(mut self, time: Option<UnixTime>) -> Self {
        self.until = time;
        self
    }
}

/// The measurements that are no look-ups.
pub trait Instruments: Send + Sync {
    /// `GET <endpoint>/health`; the error says why nobody answered.
    fn health<'a>(&'a self, endpoint: &'a str) -> Pending<'a, Result<Health, String>>;

    /// Whether a node answers the probe at this place (node.md C1); an address if so.
    fn node_at<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Option<SocketAddr>>;

    /// The first of the usual ports of a host where a node answers the probe.
    fn find_node<'a>(&'a self, host: &'a str) -> Pending<'a, Option<SocketAddr>>;

    /// Whether a DNS server speaks for a zone: the probe alone cannot tell it from any server that refuses.
    fn serves<'a>(&'a self, server: SocketAddr, zone: &'a Zone) -> Pending<'a, bool>;

    /// A signed UPDATE that changes nothing.
    fn signed_update(&self) -> Pending<'_, Result<(), SignatureTrouble>>;
}

/// What an HTTP endpoint said about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// HTTP status.
    pub status: u16,
    /// The clock of the other side, Unix seconds, if it told.
    pub date: Option<u64>,
}

/// Why a signed UPDATE did not come back confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureTrouble {
    /// The settings make no key.
    Unusable(String),
    /// The server answered, and not that the signature is right.
    Rejected {
        /// What it said.
        reason: String,
        /// Its clock, Unix seconds, if it says that the clocks are too far apart.
        server_time: Option<u64>,
    },
    /// Nobody answered.
    Unreachable(String),
}

/// One resolver, or several that answer as one.
pub trait Witness: Send + Sync {
    /// How people know it.
    fn name(&self) -> &str;

    /// What it says about a name.
    fn look<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Sight>;
}

/// What a witness sees at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Values.
    Values {
        /// The texts.
        values: Vec<String>,
        /// Seconds until the first of them expires there, where the witness knows.
        ttl: Option<u32>,
    },
    /// Nothing.
    Absent,
    /// It could not be asked.
    Unreachable(String),
}

/// The configured resolvers together, which is how commands look names up.
pub struct ConfiguredResolvers<'a>(pub &'a dyn Reader);

impl Witness for ConfiguredResolvers<'_> {
    fn name(&self) -> &str {
        "the configured resolvers"
    }

    fn look<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Sight> {
        Box::pin(async move {
            match self.0.txt(owner).await {
                Lookup::Found(values) => Sight::Values { values, ttl: None },
                Lookup::Absent => Sight::Absent,
                Lookup::Unreachable(reason) => Sight::Unreachable(reason),
            }
        })
    }
}
