//! A mesh of a thousand nodes in one process and virtual time: prints how it comes together, what it costs a node, and what a
//! hostile fifth achieves.
//!
//! `cargo run --release -p dmp-node --example mesh -- [NODES] [INTERVALS]`
#![allow(clippy::print_stdout, reason = "it is a program")]

#[path = "../tests/mesh/liar.rs"]
mod liar;
#[path = "../tests/mesh/world.rs"]
mod world;

use std::time::Instant;

use world::{Setting, World};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let mut number = |default| {
        arguments
            .next()
            .map_or(default, |given| given.expect("a number"))
    };
    let (nodes, intervals) = (number(1_000), number(36));
    let hostile = nodes / 5;
    for hostile in [0, hostile] {
        run(
            Setting {
                honest: nodes - hostile,
                hostile,
                seeds: 3,
                most_zones: 25,
                most_passed_on: 50,
                most_known: 2 * nodes,
            },
            intervals,
        );
    }
}

fn run(setting: Setting, intervals: usize) {
    let begun = Instant::now();
    println!("\n{setting:?}");
    println!(
        "interval  known least/mean  found least/mean  connected  rows mean  honest passed on  found and lost"
    );
    let mut world = World::new(setting);
    let (mut before, mut lost) = (world.acquaintances(), 0);
    let (mut connected, mut known_to_all) = (None, None);
    for interval in 1..=intervals {
        world.interval();
        let sight = world.sight();
        let after = world.acquaintances();
        let pairs = before.iter().zip(&after);
        lost += pairs
            .map(|(known, now)| known.difference(now).count())
            .sum::<usize>();
        before = after;
        if sight.is_connected {
            connected.get_or_insert(interval);
        }
        if least(&sight.known) == setting.honest - 1 {
            known_to_all.get_or_insert(interval);
        }
        let sum = |sum: (usize, usize), one: &(usize, usize)| (sum.0 + one.0, sum.1 + one.1);
        let (honest, all) = sight.passed_on.iter().fold((0, 0), sum);
        println!(
            "{interval:8}  {:10}/{:<5.0}  {:10}/{:<5.0}  {:9}  {:9.0}  {:15.1}%  {lost:14}",
            least(&sight.known),
            mean(&sight.known),
            least(&sight.confirmed),
            mean(&sight.confirmed),
            sight.is_connected,
            mean(&sight.rows),
            100.0 * honest as f64 / all.max(1) as f64,
        );
    }
    let traffic = world.take_traffic(intervals as f64 / 12.0);
    println!(
        "connected after {connected:?} intervals, everybody known to everybody after {known_to_all:?}; \
         a node asks {:.0} queries and moves {:.2} MB an hour; {:.0} s",
        traffic.queries_per_node,
        traffic.octets_per_node / 1e6,
        begun.elapsed().as_secs_f64()
    );
}

fn least(counts: &[usize]) -> usize {
    counts.iter().min().copied().unwrap_or(0)
}

fn mean(counts: &[usize]) -> f64 {
    counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64
}
