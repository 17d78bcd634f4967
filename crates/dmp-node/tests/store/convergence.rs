//! Three stores that read each other, with clocks that differ, end with the same values (federation.md 4.9, D24).

use std::collections::BTreeSet;

use dmp_node::store::{Cursor, Deletes, Standing};

use crate::support::{NOW, Node, owner};

const NODES: usize = 3;
/// Values that clients write and delete, by name and text.
const VALUES: u64 = 12;

/// Nodes, and how far each has read each other.
struct Cluster {
    nodes: Vec<Node>,
    read: [[Cursor; NODES]; NODES],
    random: u64,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let nodes: Vec<_> = (0..NODES).map(|_| Node::new()).collect();
        for (index, node) in nodes.iter().enumerate() {
            node.clock.set(NOW + 20 * index as u64);
        }
        Self {
            nodes,
            read: Default::default(),
            random: seed,
        }
    }

    /// A number below `bound` (Knuth's linear congruence).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    /// `reader` takes over one page of `from`; whether there was one.
    fn read_page(&mut self, reader: usize, from: usize, limit: usize) -> bool {
        let after = &self.read[reader][from];
        let from_store = self.nodes[from].store();
        let page = from_store.digest(after, limit, Deletes::Shown, |_, _| true);
        let page = page.unwrap();
        let pairs: Vec<_> = page
            .rows
            .iter()
            .map(|row| (owner(&row.name), row.hash))
            .collect();
        let standing = self.nodes[reader].store().standing(&pairs).unwrap();
        for (row, standing) in page.rows.iter().zip(standing) {
            let name = owner(&row.name);
            let is_known = match standing {
                Standing::Live { ttl, written_at } => {
                    ttl + 5 >= row.ttl && written_at >= row.written_at
                }
                Standing::Buried { deleted_at } => row.written_at <= Some(deleted_at),
                Standing::Absent => false,
            };
            match row.deleted_at {
                Some(at) => {
                    let (hash, ttl) = (row.hash, row.ttl);
                    self.nodes[reader].draft(move |draft| draft.bury(&name, &hash, at, ttl));
                }
                None if is_known => {}
                None => {
                    let values =
                        from_store.values_of(std::slice::from_ref(&name), 10_000, |_, _| true);
                    let values = values.unwrap().into_iter();
                    let mut wanted =
                        values.filter(|value| crate::support::hash(&value.value) == row.hash);
                    // What was deleted since it was listed comes as a tombstone later.
                    if let Some(value) = wanted.next() {
                        let written_at = row.written_at;
                        self.nodes[reader].draft(move |draft| {
                            draft.replicate(&name, &value.value, value.ttl, written_at)
                        });
                    }
                }
            }
        }
        self.read[reader][from] = page.next;
        !page.rows.is_empty()
    }

    /// Everybody reads everybody until nobody has news.
    fn settle(&mut self) {
        for _ in 0..20 {
            let mut is_news = false;
            for reader in 0..NODES {
                for from in (0..NODES).filter(|from| *from != reader) {
                    is_news |= self.read_page(reader, from, 1_000);
                }
            }
            if !is_news {
                return;
            }
        }
        panic!("the nodes tell each other news for ever");
    }

    /// The values that every node has; all have the same.
    #[track_caller]
    fn agreed(&self) -> BTreeSet<String> {
        let values_of = |node: &Node| -> BTreeSet<String> {
            let names = (0..VALUES).map(name);
            names.flat_map(|name| node.values(&owner(&name))).collect()
        };
        let first = values_of(&self.nodes[0]);
        for node in &self.nodes[1..] {
            assert_eq!(values_of(node), first);
        }
        first
    }
}

fn name(value: u64) -> String {
    format!("n{}.mesh.test", value % 4)
}

fn text(value: u64) -> String {
    format!("value {value}")
}

#[test]
fn nodes_that_were_written_to_apart_agree_in_the_end() {
    for seed in 0..6 {
        let mut cluster = Cluster::new(seed);
        for _ in 0..60 {
            let at = cluster.below(NODES as u64) as usize;
            let value = cluster.below(VALUES);
            match cluster.below(8) {
                0..3 => cluster.nodes[at].publish(&name(value), &text(value), 3_000),
                3..5 => drop(cluster.nodes[at].delete(&name(value), &text(value))),
                5 => {
                    let now = cluster.nodes[at].clock.seconds();
                    cluster.nodes[at].reopen(now);
                }
                6 => cluster.nodes.iter().for_each(|node| node.clock.advance(1)),
                _ => {
                    let from = (at + 1 + cluster.below(2) as usize) % NODES;
                    let limit = 1 + cluster.below(5) as usize;
                    cluster.read_page(at, from, limit);
                }
            }
        }
        cluster.settle();
        cluster.agreed();
    }
}

#[test]
fn what_is_done_after_everybody_has_read_everything_is_what_counts() {
    for seed in 10..13 {
        let mut cluster = Cluster::new(seed);
        let mut expected = BTreeSet::new();
        for _ in 0..25 {
            let at = cluster.below(NODES as u64) as usize;
            let value = cluster.below(VALUES);
            // The clocks of the nodes differ by up to 40 seconds, and none of them moves.
            if cluster.below(2) == 0 {
                cluster.nodes[at].publish(&name(value), &text(value), 3_000);
                expected.insert(text(value));
            } else {
                cluster.nodes[at].delete(&name(value), &text(value));
                expected.remove(&text(value));
            }
            cluster.settle();
            assert_eq!(cluster.agreed(), expected);
        }
    }
}
