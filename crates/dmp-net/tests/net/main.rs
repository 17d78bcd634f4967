//! The crate against small DNS servers on loopback, on ports the kernel chooses.

mod cookies;
mod encrypted;
mod pool;
mod scan;
mod server;
mod target;
mod update;
