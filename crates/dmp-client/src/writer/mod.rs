//! Ways to change a zone: signed UPDATE, bearer HTTP, memory. Each implements [`crate::mesh::Writer`]; none reads back.

mod claims;
mod http;
mod memory;
mod tsig;

pub use self::claims::DnsClaims;
pub use self::http::HttpWriter;
pub use self::memory::MemoryZone;
pub use self::tsig::{TsigCredential, TsigWriter};

/// The TTL cap that a node's refusal names: `ttl exceeds cap of <n>s` (node.md 6.4, crypto.md 14.1).
fn named_ttl_cap(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("ttl exceeds cap of ")?;
    let digits = rest.split_once('s')?.0;
    digits.parse().ok()
}
