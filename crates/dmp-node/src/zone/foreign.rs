//! Names that an operator publishes here without serving their zone: the implicit bases of node.md 2.3.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Owner;
use super::owner::parent_wire;

/// How many live owner names stand under each base.
#[derive(Debug, Default)]
pub(super) struct ForeignBases {
    counts: Mutex<HashMap<Owner, usize>>,
    bases: ArcSwap<HashSet<Box<[u8]>>>,
}

impl ForeignBases {
    /// Counts `owner`, which is under no served apex, in or out.
    pub(super) fn count(&self, owner: &Owner, is_there: bool) {
        let base = base_of(owner);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(base.clone()).or_default();
        let before = *count;
        *count = if is_there {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        let after = *count;
        if (before == 0) == (after == 0) {
            return;
        }
        let mut bases = HashSet::clone(&self.bases.load());
        if after == 0 {
            counts.remove(&base);
            bases.remove(base.as_wire());
        } else {
            bases.insert(base.as_wire().into());
        }
        self.bases.store(Arc::new(bases));
    }

    /// Whether the lower-case wire name is one of the bases or under one.
    pub(super) fn cover(&self, name: &[u8]) -> bool {
        let bases = self.bases.load();
        if bases.is_empty() {
            return false;
        }
        let mut rest = Some(name);
        while let Some(name) = rest {
            if bases.contains(name) {
                return true;
            }
            rest = parent_wire(name);
        }
        false
    }
}

/// The owner without its leading DMP labels, or without one label when it has none. A base has two labels at least:
/// nobody hosts a top-level domain here, so an owner with nothing longer above it stands for itself alone.
fn base_of(owner: &Owner) -> Owner {
    let labels: Vec<&str> = owner.labels().collect();
    let count = leading_dmp_labels(&labels).max(1);
    if labels.len() < count + 2 {
        return owner.clone();
    }
    (0..count).fold(owner.clone(), |base, _| base.parent().unwrap_or(base))
}

fn leading_dmp_labels(labels: &[&str]) -> usize {
    let is = |index: usize, prefix: &str| {
        labels
            .get(index)
            .is_some_and(|label| label.starts_with(prefix))
    };
    match labels {
        ["rotate", "dmp", ..] => 2,
        ["rotate" | "prekeys", ..] if is(1, "id-") => 2,
        ["dmp" | "cluster" | "_dmp", ..] => 1,
        _ if (is(0, "slot-") || is(0, "claim-")) && is(1, "mb-") => 2,
        _ if is(0, "pk-") => 2,
        _ if is(0, "id-") || is(0, "chunk-") || is(0, "_dnsmesh-") => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_dmp_labels_are_not_part_of_the_base() {
        for (owner, base) in [
            ("dmp.alice.example", "alice.example"),
            ("rotate.dmp.alice.example", "alice.example"),
            ("prekeys.id-0123456789ab.other.example", "other.example"),
            ("slot-3.mb-0123456789ab.other.example", "other.example"),
            ("chunk-0001-ab.other.example", "other.example"),
            ("pk-1.0123456789ab.other.example", "other.example"),
            ("www.other.example", "other.example"),
            ("outside.invalid", "outside.invalid"),
            ("dmp.invalid", "dmp.invalid"),
            ("single", "single"),
        ] {
            assert_eq!(
                base_of(&Owner::parse(owner).unwrap()),
                Owner::parse(base).unwrap(),
                "{owner}"
            );
        }
    }
}
