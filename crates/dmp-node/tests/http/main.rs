//! The HTTP interface of a whole node over loopback sockets (node.md 6 and 14).

mod acme;
mod acme_server;
mod authorization;
mod contract;
mod heartbeat;
mod mailboxes;
mod metrics;
mod page;
mod process;
mod records;
mod registration;
mod server;
mod support;
mod sync;
mod tls;
