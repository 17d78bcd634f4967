//! DNS as the DNS Mesh Protocol needs it: names, messages, EDNS, TXT, TSIG, UPDATE, answers. Pure.
//!
//! Nothing here opens a socket, reads a clock or draws a random number: bytes, times and random bits are arguments. The
//! server's side ([`query`], [`answer`]) works on borrowed bytes and allocates nothing per query; the client's side
//! ([`message`]) and UPDATE ([`update`]) own what they return.
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod answer;
pub mod cookie;
pub mod limits;
pub mod message;
pub mod name;
pub mod query;
pub mod rcode;
pub mod reply;
pub mod tsig;
pub mod txt;
pub mod update;
mod wire;

pub use name::Name;
pub use rcode::{Class, Opcode, Rcode, Rtype};
pub use wire::Malformed;
