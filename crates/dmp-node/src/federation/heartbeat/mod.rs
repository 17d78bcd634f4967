//! Heartbeats: how nodes of different operators find each other (federation.md 2).

mod fair;
mod memory;
mod seen;
mod tick;
mod worker;

pub(crate) use memory::{SCHEMA, newest, store};
pub use seen::{Change, Feed, Origin, Peer, PeerKey, Seen};
pub use tick::{Heart, Round, Surroundings, Terms};
pub use worker::{Neighbour, Neighbourhood, Source};
pub(crate) use worker::{Worker, terms};
