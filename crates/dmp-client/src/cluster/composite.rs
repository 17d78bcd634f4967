//! Which names the cluster answers for and which the world does (federation.md 4.6). Neither stands in for the other.

use std::sync::Arc;

use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;

use crate::mesh::{Lookup, Pending, Reader};

/// A reader that asks the cluster for names in its base domain and ordinary resolvers for all others.
#[derive(Clone)]
pub struct CompositeReader {
    base: Zone,
    inside: Arc<dyn Reader>,
    outside: Arc<dyn Reader>,
}

impl CompositeReader {
    /// `inside` for the base domain and everything below it, label by label; `outside` for the rest.
    #[must_use]
    pub fn new(base: Zone, inside: Arc<dyn Reader>, outside: Arc<dyn Reader>) -> Self {
        Self {
            base,
            inside,
            outside,
        }
    }
}

impl Reader for CompositeReader {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        if self.base.contains(owner.as_str()) {
            self.inside.txt(owner)
        } else {
            self.outside.txt(owner)
        }
    }

    fn begin_run(&self) {
        self.inside.begin_run();
        self.outside.begin_run();
    }
}
