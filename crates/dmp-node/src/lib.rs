//! The node: authoritative DNS, UPDATE, store, registration and HTTP.
//!
//! This crate is a library: it prints nothing and ends no process; only `config` reads the environment.
//! `unsafe` code is denied but for `listen::socket`, the one audited module that calls `recvmmsg` and `sendmmsg`.

pub mod access;
pub mod acme;
pub mod check;
pub mod clock;
pub mod config;
pub mod context;
pub mod control;
pub mod credentials;
pub mod federation;
pub mod http;
pub mod import;
pub mod limits;
pub mod listen;
pub mod load;
pub mod metrics;
pub mod register;
pub mod reload;
mod repeated;
pub mod settings;
pub mod setup;
pub mod store;
pub mod supervise;
pub mod update;
pub mod zone;
