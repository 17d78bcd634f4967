//! Interoperability with real processes: the reference client and node, and the DNS tools of BIND and Knot.
//! The reference is a black box: it is started and driven, never read. Its programs are found through the
//! environment variables `DNSMESH_REFERENCE` and `DNSMESH_LEGACY`, the `bin` directories of virtual environments with
//! `dnsmesh` 0.7.5 and 0.5.1.
//!
//! Everything runs on loopback with ports the kernel chose and directories of its own; nothing here tests a
//! library function, which the crates' own tests do.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stderr,
    reason = "a failing test shows the log of its node"
)]

mod attacks;
mod backup;
mod bootstrap;
mod browser;
mod claims;
mod client_cluster;
mod client_takeover;
mod cluster;
mod crash;
mod encrypted;
mod federation;
mod legacy;
mod messages;
mod name_server;
mod node;
mod proxy;
mod publishers;
mod publishing;
mod quarantine;
mod rotation;
mod takeover;
mod tools;
mod user;

use std::path::PathBuf;

/// Whose program plays a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Ours,
    Reference,
    /// The reference of the generation before, whose manifests carry no chunk hashes (D2).
    Legacy,
}

impl Program {
    /// The executable: the binary of this workspace or that of an environment of the reference.
    fn executable(self) -> PathBuf {
        match self {
            Program::Ours => PathBuf::from(env!("CARGO_BIN_EXE_dnsmesh")),
            Program::Reference => installed("DNSMESH_REFERENCE", "0.7.5"),
            Program::Legacy => installed("DNSMESH_LEGACY", "0.5.1"),
        }
    }
}

/// The program of a reference release, in the directory that a variable names.
fn installed(variable: &str, version: &str) -> PathBuf {
    let bin = std::env::var_os(variable).unwrap_or_else(|| {
        panic!(
            "{variable} must name the bin directory of a virtual environment with dnsmesh {version} \
             (python3 -m venv DIR && DIR/bin/pip install dnsmesh=={version}; {variable}=DIR/bin)"
        )
    });
    PathBuf::from(bin).join("dnsmesh")
}
