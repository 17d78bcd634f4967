//! Which resolvers show the heartbeats of which zones (federation.md 2.13): what users behind each of them would find.

use std::time::Duration;

use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, heartbeat_owner};
use dmp_core::record::{Heartbeat, Skew};
use futures_util::StreamExt;
use futures_util::stream;

use crate::limits::DIRECTORY_CHECKS_IN_FLIGHT;
use crate::mesh::{Lookup, Pending};

/// One resolver, asked by itself.
pub trait Witness: Send + Sync {
    /// What people call it.
    fn name(&self) -> &str;
    /// Where it is.
    fn address(&self) -> &str;
    /// What it answers, and how long that takes.
    fn ask<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, (Lookup, Duration)>;
}

/// What one resolver says of one zone.
#[derive(Clone, Debug)]
pub struct Check {
    /// The resolver.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The zone.
    pub zone: Zone,
    /// Where the node of the zone says to be, if the answer verified.
    pub endpoint: Option<String>,
    /// How long the answer took; `None` without one.
    pub latency: Option<Duration>,
    /// `ok`, `empty answer`, `answer did not verify` or `error: ` and why.
    pub detail: String,
}

impl Check {
    /// Whether a heartbeat came that verifies, of any age.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.endpoint.is_some()
    }
}

/// Asks every resolver for every zone, resolver by resolver.
pub async fn matrix(witnesses: &[Box<dyn Witness>], zones: &[Zone], now: UnixTime) -> Vec<Check> {
    let pairs = witnesses
        .iter()
        .flat_map(|witness| zones.iter().map(move |zone| (witness, zone)));
    let checks = stream::iter(pairs).map(async |(witness, zone)| {
        let (answer, took) = witness.ask(&heartbeat_owner(zone)).await;
        let (endpoint, latency, detail) = match answer {
            Lookup::Found(values) => {
                let beats = values.iter();
                let mut beats =
                    beats.filter_map(|wire| Heartbeat::parse(wire, Skew::Unlimited, now).ok());
                match beats.next() {
                    Some(beat) => (Some(beat.endpoint.to_string()), Some(took), "ok".to_owned()),
                    None => (None, Some(took), "answer did not verify".to_owned()),
                }
            }
            Lookup::Absent => (None, Some(took), "empty answer".to_owned()),
            Lookup::Unreachable(reason) => {
                // Who it was stands beside it.
                let own = format!("{}: ", witness.address());
                let reason = reason.strip_prefix(&own).unwrap_or(&reason);
                (None, None, format!("error: {reason}"))
            }
        };
        Check {
            name: witness.name().to_owned(),
            address: witness.address().to_owned(),
            zone: zone.clone(),
            endpoint,
            latency,
            detail,
        }
    });
    checks.buffered(DIRECTORY_CHECKS_IN_FLIGHT).collect().await
}
