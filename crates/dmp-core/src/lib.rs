//! The DNS Mesh Protocol itself: records, keys, sealing, coding, trust. Pure.
//!
//! Knows no socket, file, clock, randomness, thread or environment: time and randomness are arguments.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod address;
pub mod codec;
pub mod endpoint;
pub mod envelope;
pub mod erasure;
pub mod error;
mod gf256;
pub mod header;
pub mod id;
mod key_file;
pub mod keys;
pub mod limits;
pub mod name;
pub mod open;
pub mod owner;
pub mod record;
pub mod registration;
pub mod replay;
pub mod rotation;
mod rs;
pub mod safety;
pub mod seal;
mod sealed;
pub mod signed;
pub mod trust;
pub mod uri;
#[cfg(test)]
mod wycheproof_tests;
