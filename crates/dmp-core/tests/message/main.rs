//! Sealing and opening messages, through the public interface.

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod limits;
mod parties;
mod shares;
mod vectors;
