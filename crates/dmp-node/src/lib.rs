//! The node: authoritative DNS, UPDATE, store, registration and HTTP.

pub mod config;
