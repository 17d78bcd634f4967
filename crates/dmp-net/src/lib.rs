//! The way to other DNS servers: UDP, TCP, TLS and HTTPS exchanges, the resolver pool, signed and unsigned UPDATE.
//!
//! What a message says is dmp-dns's; what the answers mean is the caller's. Every wait here has a deadline, and "absent"
//! is never confused with "could not ask" (client.md 4.1, 11).
#![forbid(unsafe_code)]

mod channel;
pub mod exchange;
mod health;
pub mod limits;
mod peers;
pub mod pool;
mod query;
pub mod scan;
mod system;
pub mod target;
mod trust;
pub mod update;
pub mod upstream;

pub use pool::{Lookup, PoolOptions, ResolverPool};
pub use query::{Dnssec, ask};
pub use target::{Resolution, SystemFallback, update_target};
pub use trust::Trust;
pub use update::{UpdateClient, UpdateError};
pub use upstream::{Entry, Upstream};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_may_move_between_threads() {
        fn movable<T: Send>(_: &impl Fn() -> T) {}
        let server = std::net::SocketAddr::from(([127, 0, 0, 1], 53));
        let pool = ResolverPool::new(vec![server], PoolOptions::default()).unwrap();
        let name = dmp_dns::Name::root();
        let client = UpdateClient::new(server, name.clone(), None);
        movable(&|| pool.txt(&name));
        movable(&|| pool.addresses(&name));
        let message = client.message();
        movable(&|| client.send(&message));
        movable(&|| update_target("h", 53, Resolution::Pool(&pool, SystemFallback::Allowed)));
    }
}
