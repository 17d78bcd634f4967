//! A cluster of three real nodes that loses machines and links while clients write: afterwards all nodes hold the same values, everything
//! that was acknowledged is there, and nothing that was deleted has come back.
//!
//! As root with the tools of iproute2 every node lives in a network namespace of its own and a partition takes its link down; elsewhere
//! the peers meet through relays of this process, which then cut. It measures nothing; `cargo bench -p dnsmesh --bench cluster` does.
//!
//! `ROUNDS` (default 20) and `SEED` (default: the time) come from the environment; a failing run prints both.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stderr,
    reason = "a run of minutes says where it is, and a failing one how to repeat it"
)]

mod cluster;
mod dice;
mod http;
mod ledger;
mod links;
mod rounds;

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn nothing_acknowledged_is_lost_and_nothing_deleted_comes_back() {
    if links::moved_into_a_private_network() {
        return;
    }
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds = number("ROUNDS").unwrap_or(20);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    let seed = number("SEED").unwrap_or(now.as_secs());
    eprintln!("ROUNDS={rounds} SEED={seed}");
    rounds::play(rounds, seed);
}
