//! The writers and readers over real sockets on loopback.

mod dns;
mod http;
