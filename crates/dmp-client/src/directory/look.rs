//! One zone: who answers there, and whom it has heard of. Every value is verified; its age does not count (W12).

use std::cmp::Reverse;

use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, heartbeat_owner, seen_owner};
use dmp_core::record::{Heartbeat, Skew};

use crate::mesh::{Lookup, Reader};
use crate::ops::{url_host, zone_of_host};

/// A heartbeat that verified, and its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beat {
    /// What it says.
    pub heartbeat: Heartbeat,
    /// The text as it was received: whoever passes it on passes this on.
    pub wire: String,
}

/// A zone as a resolver shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The zone.
    pub zone: Zone,
    /// The heartbeats of its own nodes, newest first: one, unless nodes share the zone, or none that verifies.
    pub own: Vec<Beat>,
    /// The heartbeats of others that it passes on, newest first.
    pub seen: Vec<Beat>,
}

/// A zone could not be asked; the text says why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{owner}: {reason}")]
pub struct Unanswered {
    /// The name that was asked for.
    pub owner: OwnerName,
    /// What the resolvers did.
    pub reason: String,
}

impl Beat {
    /// Verifies a value: any age, but not from the future.
    #[must_use]
    pub fn parse(wire: &str, now: UnixTime) -> Option<Self> {
        let heartbeat = Heartbeat::parse(wire, Skew::PassedOn, now).ok()?;
        Some(Self {
            heartbeat: heartbeat.into_inner(),
            wire: wire.to_owned(),
        })
    }

    /// When it was signed; a clock that is ahead gains nothing by it (W13).
    #[must_use]
    pub fn heard(&self, now: UnixTime) -> UnixTime {
        self.heartbeat.ts.min(now)
    }

    /// The operator's key in the short form of lists.
    #[must_use]
    pub fn short_operator(&self) -> String {
        let key = self.heartbeat.operator.to_string();
        let tail = key.len().saturating_sub(4);
        format!(
            "{}...{}",
            key.get(..8).unwrap_or_default(),
            key.get(tail..).unwrap_or_default()
        )
    }
}

/// Asks for a zone's heartbeat and for those it passes on: two queries.
///
/// # Errors
/// A query to which nobody had an answer. A zone without heartbeats is no error.
pub async fn look(reader: &dyn Reader, zone: &Zone, now: UnixTime) -> Result<View, Unanswered> {
    let (own, seen) = futures_util::future::join(
        beats(reader, heartbeat_owner(zone), now),
        beats(reader, seen_owner(zone), now),
    )
    .await;
    Ok(View {
        zone: zone.clone(),
        own: own?,
        seen: seen?,
    })
}

/// The zone that an argument means: a zone, or a URL whose host it is. `None` for address literals, the own host, and what is no
/// name.
#[must_use]
pub fn zone_of(text: &str) -> Option<Zone> {
    let text = text.trim();
    if text.contains("://") {
        return zone_of_host(&url_host(text)?);
    }
    zone_of_host(&text.trim_end_matches(['/', '.']).to_ascii_lowercase())
}

/// The verified values at a name, newest first; of equal age in the order of their text, since an RRset has none.
async fn beats(
    reader: &dyn Reader,
    owner: OwnerName,
    now: UnixTime,
) -> Result<Vec<Beat>, Unanswered> {
    let values = match reader.txt(&owner).await {
        Lookup::Found(values) => values,
        Lookup::Absent => Vec::new(),
        Lookup::Unreachable(reason) => return Err(Unanswered { owner, reason }),
    };
    let beats = values.iter().filter_map(|wire| Beat::parse(wire, now));
    let mut beats: Vec<Beat> = beats.collect();
    beats.sort_by(|a, b| {
        let age = |beat: &Beat| Reverse(beat.heard(now));
        age(a).cmp(&age(b)).then_with(|| a.wire.cmp(&b.wire))
    });
    Ok(beats)
}
