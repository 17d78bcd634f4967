//! Publishers against servers that check what they are asked (client.md 14), all held to the same expectations.

mod cloudflare;
mod files;
mod route53;
mod server;
mod several;
mod suite;

use std::sync::Arc;

use dmp_client::mesh::SystemClock;
use dmp_client::writer::MemoryZone;

#[tokio::test]
async fn memory_behaves_as_every_publisher() {
    let zone = MemoryZone::new(Arc::new(SystemClock));
    let read = async |owner: &dmp_core::owner::OwnerName| {
        zone.query(owner.as_str())
            .into_iter()
            .map(|value| (value, None))
            .collect()
    };
    suite::hold(&zone, "mesh.example", suite::Odd::Taken, read).await;
}
