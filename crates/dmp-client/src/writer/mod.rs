//! Ways to change a zone (client.md 14): signed UPDATE to nodes and other servers, bearer HTTP, DNS providers, files of a local
//! server, memory, several at once. Each implements [`crate::mesh::Writer`] and appends; none reads back.

mod claims;
mod cloudflare;
mod http;
mod key_file;
mod memory;
mod presentation;
mod provider;
mod route53;
mod several;
mod tsig;
mod zone_file;

use dmp_core::name::Zone;

pub use self::claims::DnsClaims;
pub use self::cloudflare::{CLOUDFLARE_API, CloudflareWriter};
pub use self::http::HttpWriter;
pub use self::memory::MemoryZone;
pub use self::route53::{AwsCredentials, ROUTE53_API, Route53Writer};
pub use self::several::{Outcomes, Several};
pub use self::tsig::{TsigCredential, TsigWriter};
pub use self::zone_file::{FileForm, ZoneFileWriter};

use crate::error::WriteError;
use crate::mesh::Operation;

/// A value as a zone file has it: quoted pieces of at most 255 octets.
pub(crate) fn zone_file_value(value: &str) -> String {
    presentation::quote(value, presentation::Digits::Decimal)
}

/// What every back-end that is not our node checks before it asks anybody: the owner lies in its zone, the value can be split
/// (records.md 5.1). An owner name is at most 253 characters in labels of at most 63 by its type.
fn check(operation: &Operation, zone: &Zone) -> Result<(), WriteError> {
    if !zone.contains(operation.owner().as_str()) {
        return Err(WriteError::NotZone);
    }
    match operation {
        Operation::Add { value, .. } if !value.is_ascii() && value.len() > 255 => Err(
            WriteError::Unsuitable("it is longer than 255 bytes and not ASCII"),
        ),
        _ => Ok(()),
    }
}

/// The TTL cap that a node's refusal names: `ttl exceeds cap of <n>s` (node.md 6.4, crypto.md 14.1).
fn named_ttl_cap(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("ttl exceeds cap of ")?;
    let digits = rest.split_once('s')?.0;
    digits.parse().ok()
}
