//! Heartbeats: how nodes of different operators find each other (federation.md 2).

mod seen;
mod tick;

pub use seen::{Change, Peer, PeerKey, Seen};
pub use tick::{Heart, Round, Surroundings, Terms};
