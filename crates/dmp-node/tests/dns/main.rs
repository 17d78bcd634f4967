//! The DNS half of the node against real sockets on loopback, with a clock that stands still until a test moves it.

mod claims;
mod durability;
mod queries;
mod support;
mod transport;
mod updates;
mod vectors;
