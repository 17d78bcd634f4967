//! Turns: how a bounded number of places is shared among parties that may invent as many names as they like.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::zone::Owner;

/// The last two labels of a zone: who owns a name can make any number of zones below it, but every such name costs something.
pub(super) fn network(zone: &Owner) -> Owner {
    let mut above = zone.clone();
    while above.label_count() > 2
        && let Some(parent) = above.parent()
    {
        above = parent;
    }
    above
}

/// The same items with one of each group first, then the second of each, and so on; groups come in the order of their first item,
/// and the order inside a group stays.
pub(super) fn fairly<T, G: Hash + Eq>(items: Vec<T>, group: impl Fn(&T) -> G) -> Vec<T> {
    let mut order: Vec<VecDeque<T>> = Vec::new();
    let mut groups: HashMap<G, usize> = HashMap::new();
    for item in items {
        let next = order.len();
        let place = *groups.entry(group(&item)).or_insert(next);
        match order.get_mut(place) {
            Some(members) => members.push_back(item),
            None => order.push(VecDeque::from([item])),
        }
    }
    let mut shared = Vec::new();
    while !order.is_empty() {
        order.retain_mut(|members| {
            shared.extend(members.pop_front());
            !members.is_empty()
        });
    }
    shared
}

/// Whose turn it was when: what was served longest ago, or never, comes first.
#[derive(Clone, Debug)]
pub(super) struct Turns<G> {
    served: HashMap<G, u64>,
    round: u64,
}

impl<G> Default for Turns<G> {
    fn default() -> Self {
        Self {
            served: HashMap::new(),
            round: 0,
        }
    }
}

impl<G: Hash + Eq> Turns<G> {
    /// Begins a round and forgets whose last turn is more than `kept` rounds past: they count as never served.
    pub(super) fn next_round(&mut self, kept: u64) {
        self.round += 1;
        let oldest = self.round.saturating_sub(kept);
        self.served.retain(|_, round| *round >= oldest);
    }

    /// The round of its last turn, 0 for never.
    pub(super) fn last(&self, party: &G) -> u64 {
        self.served.get(party).copied().unwrap_or(0)
    }

    /// It has its turn now.
    pub(super) fn serve(&mut self, party: G) {
        self.served.insert(party, self.round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_name_that_somebody_had_to_register() {
        let network = |zone: &str| network(&Owner::parse(zone).unwrap()).to_string();
        assert_eq!(network("a.b.example.org"), "example.org");
        assert_eq!(network("example.org"), "example.org");
        assert_eq!(network("localnet"), "localnet");
    }

    #[test]
    fn each_group_has_one_place_before_any_has_two() {
        let items = vec!["a1", "a2", "a3", "b1", "c1", "c2"];
        let shared = fairly(items, |item| item.as_bytes()[0]);
        assert_eq!(shared, ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }

    #[test]
    fn who_was_served_longest_ago_comes_first() {
        let mut turns = Turns::default();
        turns.next_round(2);
        turns.serve("a");
        turns.next_round(2);
        turns.serve("b");
        assert!(turns.last(&"c") < turns.last(&"a") && turns.last(&"a") < turns.last(&"b"));
        turns.next_round(1);
        assert_eq!(turns.last(&"a"), 0, "too long ago to be kept");
    }
}
