//! The receive decision, sentence by sentence (crypto.md 15.2-15.4, federation.md 6.5, D2, D6, D11, D15, D22, D28).

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod authorship;
mod identities;
mod pinning;
mod world;
