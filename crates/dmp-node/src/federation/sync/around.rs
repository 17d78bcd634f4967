//! The real surroundings of a round: peers over HTTP, the store, and threads for what takes the processor.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::client::Client;
use super::doubt::Pair;
use super::members::Member;
use super::round::{Burial, Incoming, Surroundings};
use super::wire::{Ask, Fault};
use crate::access::Author;
use crate::context::Context;
use crate::limits::{SYNC_BATCH, SYNC_PATIENCE};
use crate::store::{Draft, Failure, Replicated, Standing};
use crate::zone::Owner;

/// This node and the way to its peers.
#[derive(Debug)]
pub(super) struct Around {
    context: Arc<Context>,
    client: Client,
    /// Half of the processors at most verify what peers send; the others answer queries.
    threads: Semaphore,
}

impl Around {
    pub(super) fn new(context: Arc<Context>, client: Client) -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self {
            context,
            client,
            threads: Semaphore::new(processors.div_ceil(2)),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// One transaction; while too many writes of clients wait, it waits too.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Draft<'_>) -> T + Send + Sync + 'static,
    ) -> Result<T, Fault> {
        let work = Arc::new(work);
        let mut waits = 0;
        loop {
            let work = Arc::clone(&work);
            let done = self
                .context
                .store()
                .transact(move |draft| Ok::<_, std::convert::Infallible>(work(draft)));
            match done.await {
                Ok(done) => return Ok(done),
                Err(Failure::Busy) if waits < SYNC_PATIENCE => {
                    waits += 1;
                    sleep(PAUSE).await;
                }
                Err(failure) => return Err(Fault::Store(failure.to_string())),
            }
        }
    }
}

/// Between two attempts to get into a full queue.
const PAUSE: Duration = Duration::from_millis(20);

impl Surroundings for Around {
    async fn ask(&self, peer: &Member, ask: Ask) -> Result<Vec<u8>, Fault> {
        self.client.ask(&peer.url, ask).await
    }

    async fn standing(&self, pairs: Vec<Pair>) -> Result<Vec<Standing>, Fault> {
        let context = Arc::clone(&self.context);
        let standing = self.work(move || context.store().standing(&pairs)).await;
        standing.map_err(|error| Fault::Store(error.to_string()))
    }

    fn holds(&self, owner: &Owner, value: &str) -> bool {
        self.context.values(owner).iter().any(|held| held == value)
    }

    async fn store(&self, values: Vec<Incoming>) -> Result<Vec<Replicated>, Fault> {
        let mut values = values;
        let mut done = Vec::with_capacity(values.len());
        while !values.is_empty() {
            let rest = values.split_off(SYNC_BATCH.min(values.len()));
            let caps = self.context.settings().caps;
            let stored = self.transact(move |draft| {
                let replicate = |value: &Incoming| {
                    // One value above the ceiling is the most that this lets in.
                    if caps.check_ceilings(draft, &Author::Operator).is_err() {
                        return Replicated::Full;
                    }
                    draft.replicate(&value.owner, &value.value, value.ttl, value.written_at)
                };
                values.iter().map(replicate).collect::<Vec<_>>()
            });
            done.extend(stored.await?);
            values = rest;
        }
        Ok(done)
    }

    async fn bury(&self, burials: Vec<Burial>) -> Result<u64, Fault> {
        let bury = move |draft: &mut Draft<'_>| {
            let mut new = 0;
            for burial in &burials {
                let Burial {
                    owner,
                    hash,
                    deleted_at,
                    ttl,
                } = burial;
                new += u64::from(draft.bury(owner, hash, *deleted_at, *ttl));
            }
            new
        };
        self.transact(bury).await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // Nobody closes it; without a place it goes on all the same.
        let _place = self.threads.acquire().await;
        match spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn now(&self) -> u64 {
        self.context.clock().millis()
    }
}
