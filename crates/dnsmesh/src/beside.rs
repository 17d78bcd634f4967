//! Work beside a verb: it neither delays nor fails what the verb has to say, and what it has to say itself comes afterwards.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// At most one piece of work, begun by the verb and awaited when its outcome is printed.
#[derive(Debug, Default)]
pub(crate) struct Beside(Mutex<Option<JoinHandle<Option<String>>>>);

impl Beside {
    /// Begins the work on a thread of its own; it returns one line for the user, if there is something to tell. It must end by itself.
    pub(crate) fn start<F>(&self, work: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = Option<String>>,
    {
        let runtime = Handle::current();
        let task = tokio::task::spawn_blocking(move || runtime.block_on(work()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Waits for the end of it.
    pub(crate) async fn finish(&self) -> Option<String> {
        let task = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        task.await.ok().flatten()
    }
}
