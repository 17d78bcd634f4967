//! Replication inside a cluster (federation.md 4): one round with a scripted peer, and real nodes on loopback.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod hostile;
mod nodes;
mod scripted;
mod vectors;
