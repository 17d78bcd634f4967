//! Interoperability with real processes: the reference client and node, and the DNS tools of BIND and Knot.
//! The reference is a black box: it is started and driven, never read. Its programs are found through the
//! environment variable `DNSMESH_REFERENCE`, the `bin` directory of a virtual environment with `dnsmesh` 0.7.5.
//!
//! Everything runs on loopback with ports the kernel chose and directories of its own; nothing here tests a
//! library function, which the crates' own tests do.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stderr,
    reason = "a failing test shows the log of its node"
)]

mod attacks;
mod messages;
mod node;
mod proxy;
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
}

impl Program {
    /// The executable: the binary of this workspace or that of the reference's environment.
    fn executable(self) -> PathBuf {
        match self {
            Program::Ours => PathBuf::from(env!("CARGO_BIN_EXE_dnsmesh")),
            Program::Reference => {
                let bin = std::env::var_os("DNSMESH_REFERENCE").expect(
                    "DNSMESH_REFERENCE must name the bin directory of a virtual environment with dnsmesh 0.7.5 \
                     (python3 -m venv DIR && DIR/bin/pip install dnsmesh==0.7.5; DNSMESH_REFERENCE=DIR/bin)",
                );
                PathBuf::from(bin).join("dnsmesh")
            }
        }
    }
}
