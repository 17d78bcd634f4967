//! The crate from outside: vectors, the clauses of node.md, properties over arbitrary bytes, and `domain` as the oracle.

mod answers;
mod client;
mod cookies;
mod oracle;
mod properties;
mod support;
mod tsig;
mod update;
mod vectors;
