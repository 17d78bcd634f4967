//! The rounds themselves: clients write and delete, a node dies, a link is cut; at the end everything is joined and compared.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, NODES, Said, ZONE, hash};
use crate::dice::Dice;
use crate::ledger::{Ledger, Pair, Promise};

/// Clients that write at the same time, each at names of its own.
const CLIENTS: usize = 3;
/// Requests of one client in a round.
const REQUESTS: usize = 12;
/// Names of one client: few, so that values meet at them.
const NAMES: usize = 25;
/// Nodes order what happens to one value by their clocks, which count milliseconds; two requests of a client are further apart.
const TICK: Duration = Duration::from_millis(2);
/// How long the joined nodes may take to agree, at most.
const AGREEMENT: Duration = Duration::from_secs(60);

pub(crate) fn play(rounds: u64, seed: u64) {
    let cluster = Cluster::start();
    let mut dice = Dice::new(seed);
    let mut clients: Vec<(Dice, Ledger)> = (0..CLIENTS)
        .map(|_| (Dice::new(dice.next()), Ledger::default()))
        .collect();
    let (mut killed, mut cut) = (0, 0);
    for round in 0..rounds {
        if dice.once_in(2) {
            cut += 1;
            cluster.links.set(dice.below(NODES), false);
        }
        let victim = dice.once_in(2).then(|| dice.below(NODES));
        let moment = Duration::from_millis(dice.below(120) as u64);
        thread::scope(|scope| {
            for (number, (dice, ledger)) in clients.iter_mut().enumerate() {
                let cluster = &cluster;
                scope.spawn(move || write(cluster, number, round, dice, ledger));
            }
            if let Some(victim) = victim {
                thread::sleep(moment);
                cluster.kill(victim);
            }
        });
        if let Some(victim) = victim {
            killed += 1;
            cluster.run(victim);
        }
        if dice.once_in(3) {
            (0..NODES).for_each(|node| cluster.links.set(node, true));
        }
    }
    (0..NODES).for_each(|node| cluster.links.set(node, true));
    let begin = Instant::now();
    let held = agree(&cluster);
    let counts = clients.iter().map(|(_, ledger)| ledger.count());
    let [live, deleted, open] =
        counts.fold([0; 3], |sum, count| [0, 1, 2].map(|i| sum[i] + count[i]));
    eprintln!(
        "{rounds} rounds, {killed} kills, {cut} partitions: {live} values live, {deleted} deleted, {open} without an answer; \
         all nodes agree {} ms after the last join on {} values",
        begin.elapsed().as_millis(),
        held.len()
    );
    let broken: Vec<String> = clients
        .iter()
        .flat_map(|(_, ledger)| {
            let mut known = ledger.pairs();
            known.retain(|(name, value)| held.contains(&(name.clone(), hash(value))));
            let known = known.into_iter().cloned().collect::<BTreeSet<Pair>>();
            let broken = ledger.broken(&known).into_iter();
            let told = broken.map(|(fate, pair)| {
                let (name, value) = pair;
                let holders = cluster.holders(name, value);
                format!(
                    "{fate}: {name} {value:?}, held by {holders:?}: {}",
                    ledger.story(pair)
                )
            });
            told.collect::<Vec<String>>()
        })
        .collect();
    assert!(
        broken.is_empty(),
        "SEED={seed}: {broken:#?}\n{}",
        cluster.logs()
    );
}

/// One client's requests of a round.
fn write(cluster: &Cluster, client: usize, round: u64, dice: &mut Dice, ledger: &mut Ledger) {
    for request in 0..REQUESTS {
        thread::sleep(TICK);
        let node = dice.below(NODES);
        let known = ledger.deletable();
        let (pair, said, promise): (Pair, Said, Promise) = if dice.once_in(3) && !known.is_empty() {
            let pair = known[dice.below(known.len())].clone();
            let said = cluster.delete(node, &pair.0, &pair.1);
            (pair, said, Promise::Deleted)
        } else {
            // Sometimes a value that was there before: a refresh, or a return after a delete.
            let known = ledger.pairs();
            let pair = if dice.once_in(4) && !known.is_empty() {
                known[dice.below(known.len())].clone()
            } else {
                let name = format!("name-{}.client-{client}.{ZONE}", dice.below(NAMES));
                (
                    name,
                    format!("value {request} of round {round} of client {client}"),
                )
            };
            let said = cluster.publish(node, &pair.0, &pair.1);
            (pair, said, Promise::Live)
        };
        ledger.tell(
            &pair,
            format!("round {round}, node {node}: {promise:?}? {said:?}"),
        );
        match said {
            // A value that has not come to this node yet is deleted as well: the delete meets it wherever it is.
            Said::Done | Said::Absent => ledger.note(pair, promise),
            Said::Nothing => ledger.note(pair, Promise::Open),
        }
    }
}

/// Waits until all nodes hold the same, and returns it.
fn agree(cluster: &Cluster) -> BTreeSet<(String, String)> {
    let end = Instant::now() + AGREEMENT;
    loop {
        let held: Result<Vec<_>, _> = (0..NODES).map(|node| cluster.held(node)).collect();
        match held {
            Ok(held) if held.iter().all(|one| Some(one) == held.first()) => {
                return held.into_iter().next().unwrap_or_default();
            }
            held if Instant::now() > end => {
                let sizes = held.map(|held| held.iter().map(BTreeSet::len).collect::<Vec<_>>());
                panic!("the nodes do not agree: {sizes:?}\n{}", cluster.logs());
            }
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}
