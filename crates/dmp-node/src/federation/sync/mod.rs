//! Clusters: the nodes of one operator hold the same records (federation.md 4).
//!
//! The routes that a peer asks stand in `http`, what is stored with a replicated value in `store`.

mod accept;
mod peer;

pub use accept::{Accepted, Unacceptable, accept, may_replicate};
pub use peer::PeerUrl;
