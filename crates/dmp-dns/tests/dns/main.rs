//! The crate from outside: vectors, the clauses of node.md, properties over arbitrary bytes, and `domain` as the oracle.

mod support;
mod vectors;
