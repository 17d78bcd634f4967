//! Reading from every node of a cluster: what any of them has is there (federation.md 4.4). Nothing is cached or verified here.

use std::collections::HashSet;

use dmp_core::owner::OwnerName;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::Cluster;
use crate::limits::CLUSTER_READ_DEADLINE;
use crate::mesh::{Lookup, Pending, Reader};

/// The reader of a cluster.
///
/// Every node is asked, and nobody's answer ends the wait for the others. A node that says "absent" is healthy. Absent is what at
/// least one node says and none denies; if none could be asked, that is the answer.
#[derive(Clone, Debug)]
pub struct UnionReader(Cluster);

impl UnionReader {
    pub(super) const fn new(cluster: Cluster) -> Self {
        Self(cluster)
    }

    async fn ask(&self, owner: &OwnerName) -> Lookup {
        let members = self.0.members();
        let clock = &self.0.0.clock;
        let deadline = Instant::now() + CLUSTER_READ_DEADLINE;
        let mut waiting: HashSet<&str> = HashSet::new();
        let mut asked = FuturesUnordered::new();
        for node in &members.nodes {
            waiting.insert(&node.description.id);
            asked.push(async move { (node, node.reader.txt(owner).await) });
        }
        let (mut values, mut seen) = (Vec::new(), HashSet::new());
        let (mut is_absent, mut failures) = (false, Vec::new());
        loop {
            tokio::select! {
                biased; // what is known at the deadline counts
                answered = asked.next() => {
                    let Some((node, answer)) = answered else { break };
                    waiting.remove(node.description.id.as_str());
                    match answer {
                        Lookup::Found(found) => {
                            node.reads.succeeded(clock.now());
                            for value in found {
                                if seen.insert(value.clone()) {
                                    values.push(value);
                                }
                            }
                        }
                        Lookup::Absent => {
                            node.reads.succeeded(clock.now());
                            is_absent = true;
                        }
                        Lookup::Unreachable(why) => {
                            node.reads.failed(&why, clock.now());
                            failures.push(format!("node {}: {why}", node.description.id));
                        }
                    }
                }
                () = sleep_until(deadline) => break,
            }
        }
        for node in &members.nodes {
            let id = node.description.id.as_str();
            if waiting.contains(id) {
                node.reads.failed("no answer in time", clock.now());
                failures.push(format!("node {id}: no answer in time"));
            }
        }
        if !values.is_empty() {
            Lookup::Found(values)
        } else if is_absent {
            Lookup::Absent
        } else {
            Lookup::Unreachable(failures.join("; "))
        }
    }
}

impl Reader for UnionReader {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(self.ask(owner))
    }

    fn begin_run(&self) {
        for node in &self.0.members().nodes {
            node.reader.begin_run();
        }
    }
}
