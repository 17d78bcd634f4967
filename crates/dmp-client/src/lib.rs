//! The client library: send and receive engines over traits, resolvers and writers, the encrypted local store.
//!
//! Prints nothing and decides no exit code. Engines see sockets, files, clocks and randomness only through arguments and traits.
#![forbid(unsafe_code)]

mod agent;
pub mod backup;
pub mod bootstrap;
pub mod cluster;
pub mod config;
pub mod connect;
pub mod credential;
pub mod directory;
pub mod doctor;
pub mod error;
pub mod floors;
pub mod home;
pub mod limits;
pub mod mesh;
pub mod ops;
pub mod passphrase;
pub mod probe;
mod publisher;
pub mod reader;
pub mod register;
pub mod signing;
pub mod store;
pub mod successor;
pub mod takeover;
pub mod writer;
