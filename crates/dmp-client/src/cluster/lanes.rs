//! The order of writes at one node. Writes at one name are made one after the other, also where the caller went on because other
//! nodes had answered: a slow node must not see an addition before the deletion that came first. Names do not wait for each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use dmp_core::owner::OwnerName;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::oneshot::{self, Receiver, Sender};

/// The last write begun at each name.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<OwnerName, Receiver<()>>>);

/// A place in the queue of a name.
pub(super) struct Turn {
    before: Option<Receiver<()>>,
    /// Its end lets the next one go.
    _end: Sender<()>,
}

impl Lanes {
    /// Joins the queue.
    pub(super) fn join(&self, owner: &OwnerName) -> Turn {
        let (end, ended) = oneshot::channel();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, ended| matches!(ended.try_recv(), Err(TryRecvError::Empty)));
        let before = last.insert(owner.clone(), ended);
        Turn { before, _end: end }
    }
}

impl Turn {
    /// Completes when everything before has ended, however that was.
    pub(super) async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = before.await;
        }
    }
}
