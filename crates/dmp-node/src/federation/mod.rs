//! Many nodes as one mesh: what this node tells others about itself and what it learns of them (federation.md).
//!
//! Nodes of different operators meet over DNS alone; HTTP connections go to nodes of the own cluster and to nobody else.

pub mod heartbeat;
pub mod sync;
mod zones;

pub use zones::seed_zone;

use std::time::Duration;

/// A tenth more or less, so that nodes do nothing in step (W35).
pub(crate) fn with_jitter(interval: Duration) -> Duration {
    let mut chance = [128];
    // Without randomness the interval is kept as it is.
    let _ = getrandom::fill(&mut chance);
    interval.mul_f64(0.9 + 0.2 * f64::from(chance[0]) / 255.0)
}
