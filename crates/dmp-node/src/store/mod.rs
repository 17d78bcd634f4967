//! The durable store: one SQLite file, one writer thread, and answers that leave only after the commit is on the disk.
//!
//! Everything that changes goes through [`Store::transact`]: a closure that works on a [`Draft`], all of it kept or none.
//! Many closures share one commit (group commit). The store decides nothing about rights; the closures do.

mod backup;
mod digest;
mod draft;
pub(crate) mod intake;
mod loading;
pub(crate) mod offline;
mod patience;
mod schema;
mod stamps;
mod tombstones;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use thiserror::Error;

pub use backup::{BackupError, restore};
pub use digest::{
    Cursor, Deletes, DigestRow, InvalidCursor, IsListed, Page, Standing, StoredValue,
};
pub use draft::{Draft, Published, Replicated, WriterTag};
pub(crate) use schema::{is_ours, refuse_if_in_use};

use crate::clock::Clock;
use crate::limits;
use crate::metrics::Metrics;
use crate::zone::ZoneIndex;
use patience::Patience;
use stamps::Stamps;
use tombstones::Tombstones;
use writer::{Job, Message, Task};

/// Why the store does not open. Every text names the file and what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Not made by this program (D4).
    #[error("{} was not made by this node; if it is a database of the reference node, choose another DMP_DB_PATH and take it over with `dnsmesh node import {}`", .0.display(), .0.display())]
    Foreign(PathBuf),
    /// Made by a newer version of this program.
    #[error("{} has schema version {found}, this program knows up to {known}; upgrade the program", .path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Newest version this program reads.
        known: u32,
    },
    /// Another process has it open.
    #[error("{} is in use by {}", .path.display(), .holder.map_or("another node".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The database file.
        path: PathBuf,
        /// Process id of who has it, if that can be told.
        holder: Option<u32>,
    },
    /// A row that this program cannot have written.
    #[error("{}: row {row} is damaged ({reason}); restore a backup", .path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// Its row id.
        row: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refused.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// SQLite refused.
    #[error("{}: {error}", .path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        error: rusqlite::Error,
    },
}

/// Why a transaction is not in the store. Nothing of it is.
#[derive(Debug, Error)]
pub enum Failure<E> {
    /// The closure itself refused.
    #[error("{0}")]
    Refused(E),
    /// An earlier commit failed at the disk: the node serves what it has and takes nothing new (D14).
    #[error("the store is read-only after a failed commit")]
    ReadOnly,
    /// The disk or the database is full; reads go on, writing works again once there is room.
    #[error("the store is full")]
    Full,
    /// More requests wait than the writer's queue holds.
    #[error("too many writes are waiting")]
    Busy,
    /// The commit failed; the text is for the log, not for strangers.
    #[error("the store failed: {0}")]
    Unavailable(String),
    /// The operator lets the node take no writes for now.
    #[error("the node is draining and takes no writes")]
    Draining,
    /// The node is shutting down.
    #[error("the store is closed")]
    Stopped,
}

/// What the store can do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Reads and writes.
    Working,
    /// The last commit found no room; writes are tried again.
    Full,
    /// A commit failed at the disk; only a restart ends this.
    ReadOnly,
}

/// Handle to the open store; dropping the last one stops the writer thread after the queue is done.
#[derive(Debug)]
pub struct Store {
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    condition: Arc<AtomicU8>,
    draining: AtomicBool,
    reader: Mutex<Connection>,
    /// For what other nodes read; opened when the first asks.
    replica_reader: Mutex<Option<Connection>>,
    shared: Arc<Shared>,
    path: PathBuf,
    metrics: Arc<Metrics>,
}

/// What the writer thread and the threads that read have in common.
#[derive(Debug)]
struct Shared {
    zone: Arc<ZoneIndex>,
    clock: Clock,
    stamps: Mutex<Stamps>,
    tombstones: RwLock<Tombstones>,
    /// Seconds for which a delete leaves a tombstone at least; 0: deletes leave none.
    tombstone_life: AtomicU64,
}

impl Shared {
    fn stamps(&self) -> MutexGuard<'_, Stamps> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tombstones(&self) -> RwLockReadGuard<'_, Tombstones> {
        self.tombstones
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tombstones_mut(&self) -> RwLockWriteGuard<'_, Tombstones> {
        self.tombstones
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tombstone_life(&self) -> Option<u64> {
        Some(self.tombstone_life.load(Ordering::Acquire)).filter(|life| *life > 0)
    }
}

impl Store {
    /// Opens or creates the file, loads every unexpired value into `zone` and starts the writer thread.
    ///
    /// `schema` are the `CREATE TABLE IF NOT EXISTS` texts of other modules; `cleanup` is how often expired rows
    /// leave the file (they leave the index within [`limits::EXPIRY_TICK`]).
    pub fn open(
        path: &Path,
        schema: &[&str],
        clock: Clock,
        zone: Arc<ZoneIndex>,
        cleanup: Duration,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenError> {
        let opened = schema::open(path, schema, clock.millis())?;
        let patience = Patience::new(&clock, opened.state.clock);
        let now = clock.seconds();
        let trusted = patience.is_trusting().then_some(now);
        let expired = loading::load(&opened, path, &zone, now, trusted)?;
        let reader = schema::open_reader(path)?;
        let tombstones = Tombstones::load(&opened.connection);
        let shared = Arc::new(Shared {
            zone,
            clock,
            stamps: Mutex::new(Stamps::after(opened.state.stamp)),
            tombstones: RwLock::new(tombstones.map_err(|error| OpenError::Sqlite {
                path: path.into(),
                error,
            })?),
            tombstone_life: AtomicU64::new(0),
        });
        let condition = Arc::new(AtomicU8::new(0));
        let (queue, messages) = mpsc::sync_channel(limits::WRITER_QUEUE);
        let writer = writer::Writer::new(
            opened,
            Arc::clone(&shared),
            Arc::clone(&condition),
            expired,
            cleanup,
            patience,
            Arc::clone(&metrics),
        );
        let thread = std::thread::Builder::new()
            .name("dmp-store".into())
            .spawn(move || writer.run(&messages))
            .map_err(|error| OpenError::File {
                path: path.into(),
                error,
            })?;
        Ok(Self {
            queue,
            thread: Mutex::new(Some(thread)),
            condition,
            draining: AtomicBool::new(false),
            reader: Mutex::new(reader),
            replica_reader: Mutex::new(None),
            shared,
            path: path.into(),
            metrics,
        })
    }

    /// Runs `work` on the writer thread in the current group and waits until it is durable.
    ///
    /// An `Err` of `work` undoes what that closure did, and only that.
    pub async fn transact<T, E, F>(&self, work: F) -> Result<T, Failure<E>>
    where
        F: FnOnce(&mut Draft<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.transact_then(work, move |result| {
            // The asker may have gone away; what it asked for is done all the same.
            let _ = sender.send(result);
        });
        receiver.await.unwrap_or(Err(Failure::Stopped))
    }

    /// [`Store::transact`] for threads without an executor.
    pub fn transact_blocking<T, E, F>(&self, work: F) -> Result<T, Failure<E>>
    where
        F: FnOnce(&mut Draft<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.transact_then(work, move |result| {
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or(Err(Failure::Stopped))
    }

    /// Runs `work` as [`Store::transact`] does and hands the outcome to `done`: on the writer thread, after the commit
    /// and its hooks; at once on the calling thread when the request does not reach the queue. `done` must be short.
    pub fn transact_then<T, E, F, D>(&self, work: F, done: D)
    where
        F: FnOnce(&mut Draft<'_>) -> Result<T, E> + Send + 'static,
        D: FnOnce(Result<T, Failure<E>>) + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let metrics = Arc::clone(&self.metrics);
        let counted = move |result| {
            metrics.store_write(&result);
            done(result);
        };
        let job: Box<dyn Job> = Box::new(Task::new(work, counted));
        match self.queue.try_send(Message::Job(job)) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Job(job))) => job.finish(writer::Verdict::Busy),
            Err(TrySendError::Disconnected(Message::Job(job))) => {
                job.finish(writer::Verdict::Stopped)
            }
            Err(_) => {} // only jobs are sent here
        }
    }

    /// Reads from the file on a connection of its own; sees what is committed. Blocks the calling thread.
    pub fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        work(&self.reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// [`Store::read`] on a connection made for it: for readings so long that nobody must wait for them.
    pub fn read_apart<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, OpenError> {
        let connection = schema::open_reader(&self.path)?;
        work(&connection).map_err(|error| OpenError::Sqlite {
            path: self.path.clone(),
            error,
        })
    }

    /// Lets every delete from now on leave a tombstone for `life` seconds at least, which other nodes are told of; with
    /// `None`, deletes leave none. Those that are there stay in force.
    pub fn leave_tombstones(&self, life: Option<u64>) {
        let life = life.unwrap_or(0);
        self.shared.tombstone_life.store(life, Ordering::Release);
    }

    /// An error while users' writes are not taken. The operator's go on.
    pub(crate) fn check_admission<E>(&self) -> Result<(), Failure<E>> {
        if self.is_draining() {
            Err(Failure::Draining)
        } else {
            Ok(())
        }
    }

    /// Whether users' writes are refused for now.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Refuses users' writes from now on, or takes them again.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }

    /// Whether writes are possible.
    pub fn condition(&self) -> Condition {
        match self.condition.load(Ordering::Acquire) {
            writer::WORKING => Condition::Working,
            writer::FULL => Condition::Full,
            _ => Condition::ReadOnly,
        }
    }

    /// Octets of the database file and of its write-ahead log, where the system tells.
    pub(crate) fn octets(&self) -> [Option<u64>; 2] {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        [self.path.clone(), log.into()]
            .map(|file| std::fs::metadata(file).ok().map(|file| file.len()))
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes what is queued, closes the file and ends the writer thread. Later writes give [`Failure::Stopped`].
    pub fn close(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A full queue drains; an ended thread is what is wanted.
            let _ = self.queue.send(Message::Stop);
            // The last handle may be dropped by a finished request, that is on the writer thread itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
