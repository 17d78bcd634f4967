//! What the store keeps for other nodes: the digest and the tombstones (federation.md 4.9, D24).

mod convergence;
mod digest;
mod support;
mod tombstones;
