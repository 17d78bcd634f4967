//! Following the manifest of a cluster while a program runs (federation.md 4.7). Nothing here runs by itself: whoever makes several
//! runs asks before each whether it is time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Anchor, Cluster, FetchError, InstallError, Installed, fetch};
use crate::floors::Floors;
use crate::mesh::Reader;

/// Why the cluster goes on with the manifest that it has.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// No manifest could be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There is one, but it cannot be used.
    #[error("the manifest with seq {seq} is not used: {reason}")]
    Install {
        /// Of the new one.
        seq: u64,
        /// Why not.
        reason: InstallError,
    },
}

/// What a refresh found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refreshed {
    /// A newer manifest is in use.
    Moved {
        /// Its seq.
        seq: u64,
    },
    /// There is none.
    Kept,
}

/// Looks for a newer manifest from time to time.
pub struct Refresh {
    cluster: Cluster,
    anchor: Anchor,
    /// Who is asked: the ordinary resolvers, not the nodes of the manifest in use.
    source: Arc<dyn Reader>,
    floors: Floors,
    /// None = only when asked for.
    interval: Option<Duration>,
    due: Mutex<Option<Instant>>,
}

impl Refresh {
    /// The first look is due one interval from now; an interval of zero means never.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        anchor: Anchor,
        source: Arc<dyn Reader>,
        floors: Floors,
        interval: Duration,
    ) -> Self {
        let interval = Some(interval).filter(|interval| !interval.is_zero());
        Self {
            cluster,
            anchor,
            source,
            floors,
            due: Mutex::new(interval.map(|interval| Instant::now() + interval)),
            interval,
        }
    }

    /// Looks if it is time to. The next look is due one interval later, whatever comes of this one.
    pub async fn if_due(&self) -> Option<Result<Refreshed, RefreshError>> {
        {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            (*due).filter(|due| *due <= now)?;
            *due = self.interval.map(|interval| now + interval);
        }
        Some(self.look().await)
    }

    /// Looks now. Both sides go over to a newer manifest, or none does.
    ///
    /// # Errors
    /// [`RefreshError`]; the cluster goes on as before.
    pub async fn look(&self) -> Result<Refreshed, RefreshError> {
        let now = self.cluster.0.clock.now();
        let fetched = fetch(self.source.as_ref(), &self.anchor, &self.floors, now).await?;
        let seq = fetched.manifest.seq;
        match self.cluster.install(fetched.manifest) {
            Ok(Installed::Moved) => Ok(Refreshed::Moved { seq }),
            Ok(Installed::Kept) => Ok(Refreshed::Kept),
            Err(reason) => Err(RefreshError::Install { seq, reason }),
        }
    }
}
