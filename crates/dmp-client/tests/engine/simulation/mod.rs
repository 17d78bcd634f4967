//! Many small stories, each told by one seed: people write to each other through resolvers that lose, lie and remember, nodes that
//! forget to answer, and somebody who wants them to read the wrong thing. What must hold, whatever happens: nobody reads a text that was
//! not written to them, under another name than its author's, or twice; and once the network is whole again, everything written to
//! somebody who knows the writer is read.
//!
//! `SEEDS` (default 20) stories from `SEED` (default 0) on; a broken one names its seed. `SEED=n SEEDS=1` tells it again.

#![allow(
    clippy::print_stdout,
    reason = "a run of many thousand stories says what it saw"
)]

mod adversary;
mod network;
mod story;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use story::Tally;

#[test]
fn nothing_is_lost_doubled_altered_or_ascribed_to_another() {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let (first, count) = (number("SEED").unwrap_or(0), number("SEEDS").unwrap_or(20));
    let next = AtomicU64::new(first);
    let whole = Mutex::new(Tally::default());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let told = std::panic::catch_unwind(|| story::tell(seed));
                    let tally =
                        told.unwrap_or_else(|_| panic!("SEED={seed} SEEDS=1 tells it again"));
                    let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
                    *whole += tally;
                }
            });
        }
    });
    let whole = whole.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A run in which nothing happens proves nothing.
    assert!(
        whole.read > 0 && whole.attacks > 0 && whole.faults > 0,
        "{whole:?}"
    );
    println!("{count} stories from seed {first}: {whole:?}");
}
