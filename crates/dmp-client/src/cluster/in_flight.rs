//! Writes that have not ended, counted by node. It ends none of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::WriteError;

/// How many writes each node still has. Cloning shares it.
#[derive(Clone)]
pub(super) struct InFlight(Arc<watch::Sender<BTreeMap<String, usize>>>);

/// One write, until it is dropped.
pub(super) struct Underway {
    all: InFlight,
    id: String,
}

impl Default for InFlight {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl InFlight {
    pub(super) fn begin(&self, id: &str) -> Underway {
        self.0
            .send_modify(|counts| *counts.entry(id.to_owned()).or_default() += 1);
        Underway {
            all: self.clone(),
            id: id.to_owned(),
        }
    }

    /// Waits for the end of all; says which nodes have not answered then.
    pub(super) async fn settle(&self, grace: Duration) -> Vec<String> {
        let mut counts = self.0.subscribe();
        let _ = timeout(grace, counts.wait_for(BTreeMap::is_empty)).await;
        counts.borrow().keys().cloned().collect()
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.all.0.send_modify(|counts| {
            if let Some(count) = counts.get_mut(&self.id) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&self.id);
                }
            }
        });
    }
}

/// What is known of a write whose end nobody waited for.
pub(super) fn unanswered() -> WriteError {
    WriteError::Unreachable("it had not answered yet; the cluster replicates what it missed".into())
}
