//! Many nodes as one mesh: what this node tells others about itself and what it learns of them (federation.md).
//!
//! Nodes of different operators meet over DNS alone; HTTP connections go to nodes of the own cluster and to nobody else.

pub mod heartbeat;
pub mod sync;
mod zones;

pub use zones::seed_zone;
