//! Clusters: the nodes of one operator hold the same records (federation.md 4).
//!
//! The routes that a peer asks stand in `http`, what is stored with a replicated value in `store`.

mod accept;
mod around;
mod client;
mod cluster_file;
mod doubt;
mod marks;
mod members;
mod peer;
mod round;
mod view;
mod wire;
mod worker;

pub use accept::{Accepted, Unacceptable, accept, may_replicate};
pub use cluster_file::ClusterFile;
pub use doubt::Pair;
pub(crate) use marks::SCHEMA;
pub use members::{Adopted, Member, Members, Own};
pub use peer::PeerUrl;
pub use round::{Burial, Exchange, Incoming, Reason, Round, Surroundings, Terms};
pub use view::{ClusterView, PeerView};
pub use wire::{Ask, Fault};
pub(crate) use worker::Worker;
