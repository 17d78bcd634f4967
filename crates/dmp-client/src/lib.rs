//! The client library: send and receive engines, stores, publishers.
#![forbid(unsafe_code)]

pub mod config;
pub mod home;
pub mod limits;
pub mod passphrase;
