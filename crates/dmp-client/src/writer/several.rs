//! Several publishers at once: each gets everything, and one that takes it is enough (client.md 14).
//!
//! What became of each is kept for the program to tell; here nothing is printed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;

use crate::error::WriteError;
use crate::mesh::{Applied, Capacity, Operation, Pending, Writer};

/// The first failure of each publisher or node of a cluster, by the name it was given. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(Arc<Mutex<BTreeMap<String, WriteError>>>);

impl Outcomes {
    /// Those that did not take everything, with the first reason; what was told is forgotten.
    #[must_use]
    pub fn take_failures(&self) -> Vec<(String, WriteError)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
            .into_iter()
            .collect()
    }

    pub(crate) fn note(&self, name: &str, failure: &WriteError) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .entry(name.to_owned())
            .or_insert_with(|| failure.clone());
    }
}

/// Publishers with the names under which their failures are told.
pub struct Several {
    members: Vec<(String, Box<dyn Writer>)>,
    outcomes: Outcomes,
}

impl Several {
    /// Writes to all of them.
    #[must_use]
    pub fn new(members: Vec<(String, Box<dyn Writer>)>) -> Self {
        Self {
            members,
            outcomes: Outcomes::default(),
        }
    }

    /// What each of them did.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes.clone()
    }
}

impl Writer for Several {
    /// One only where all are so: a member that takes many would have to take them one by one.
    fn capacity(&self) -> Capacity {
        let is_single = |(_, writer): &(_, Box<dyn Writer>)| writer.capacity() == Capacity::One;
        if !self.members.is_empty() && self.members.iter().all(is_single) {
            Capacity::One
        } else {
            Capacity::Many
        }
    }

    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let all = self.members.iter().map(async |(name, writer)| {
                let applied = writer.apply(operations).await;
                if let Some(failure) = applied.failure() {
                    self.outcomes.note(name, failure);
                }
                applied
            });
            // Each stored a prefix of the list, so what any of them stored is what the furthest one did.
            let furthest = join_all(all).await.into_iter().reduce(|best, applied| {
                let is_further = applied.stored() > best.stored()
                    || (applied.failure().is_none() && best.failure().is_some());
                if is_further { applied } else { best }
            });
            furthest.unwrap_or_else(|| {
                let nobody = WriteError::Misconfigured("no publisher is configured".to_owned());
                Applied::whole(operations, Err(nobody))
            })
        })
    }
}
