//! Many nodes as one mesh: what this node tells others about itself and what it learns of them (federation.md).
//!
//! Nodes of different operators meet over DNS alone; nothing here opens an HTTP connection to one of them.

pub mod heartbeat;
mod zones;

pub use zones::seed_zone;
