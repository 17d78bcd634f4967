//! The way to other DNS servers: UDP and TCP exchanges, the resolver pool, signed and unsigned UPDATE.
#![forbid(unsafe_code)]
