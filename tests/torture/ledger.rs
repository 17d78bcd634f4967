//! What the nodes have promised: of every value, whether the last acknowledged request published or deleted it.

use std::collections::{BTreeMap, BTreeSet};

/// A name and a value at it.
pub(crate) type Pair = (String, String);

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Published, and the node said so.
    Live,
    /// Deleted, and the node said so.
    Deleted,
    /// The last request has no answer: it may have been done or not.
    Open,
}

/// The promises of one client, who alone writes at its names.
#[derive(Default)]
pub(crate) struct Ledger {
    promises: BTreeMap<Pair, Promise>,
    /// What was asked of which node, and what it said, for a failing run.
    story: BTreeMap<Pair, Vec<String>>,
}

impl Ledger {
    pub(crate) fn note(&mut self, pair: Pair, promise: Promise) {
        self.promises.insert(pair, promise);
    }

    /// Writes down what was asked of a node, and what it said.
    pub(crate) fn tell(&mut self, pair: &Pair, what: String) {
        self.story.entry(pair.clone()).or_default().push(what);
    }

    /// Everything that happened to a value.
    pub(crate) fn story(&self, pair: &Pair) -> String {
        self.story
            .get(pair)
            .map(|story| story.join("; "))
            .unwrap_or_default()
    }

    /// The values that may be live: those worth deleting.
    pub(crate) fn deletable(&self) -> Vec<&Pair> {
        let known = self.promises.iter();
        known
            .filter(|(_, promise)| **promise != Promise::Deleted)
            .map(|(pair, _)| pair)
            .collect()
    }

    /// Every value ever written.
    pub(crate) fn pairs(&self) -> Vec<&Pair> {
        self.promises.keys().collect()
    }

    /// The promises that a node breaks which holds exactly `held`, and how.
    pub(crate) fn broken(&self, held: &BTreeSet<Pair>) -> Vec<(&'static str, &Pair)> {
        let broken = |(pair, promise): (_, &Promise)| match *promise {
            Promise::Live if !held.contains(pair) => Some(("lost", pair)),
            Promise::Deleted if held.contains(pair) => Some(("resurrected", pair)),
            _ => None,
        };
        self.promises.iter().filter_map(broken).collect()
    }

    /// How many values are in each state: live, deleted, open.
    pub(crate) fn count(&self) -> [usize; 3] {
        [Promise::Live, Promise::Deleted, Promise::Open].map(|kind| {
            let promises = self.promises.values();
            promises.filter(|promise| **promise == kind).count()
        })
    }
}
