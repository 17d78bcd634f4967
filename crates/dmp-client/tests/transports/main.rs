//! The writers and readers over real sockets on loopback.

mod cluster;
mod dns;
mod http;
