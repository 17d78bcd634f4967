//! The DNS half of the node against real sockets on loopback, with a clock that stands still until a test moves it.

mod claims;
mod crowding;
mod durability;
mod limits;
mod mailboxes;
mod matrix;
mod queries;
mod support;
mod tcp;
mod transport;
mod update_matrix;
mod updates;
mod vectors;
