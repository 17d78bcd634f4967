//! A store of its own for each test, with a clock that a test moves.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmp_node::access::Author;
use dmp_node::clock::Clock;
use dmp_node::context::Context;
use dmp_node::settings::Settings;
use dmp_node::store::{Cursor, Deletes, DigestRow, Draft, Replicated};
use dmp_node::zone::Owner;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// When the clock of every store starts.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn owner(name: &str) -> Owner {
    Owner::parse(name).unwrap()
}

pub(crate) fn hash(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

pub(crate) struct Node {
    context: Option<Arc<Context>>,
    pub(crate) clock: Clock,
    pub(crate) directory: TempDir,
}

impl Deref for Node {
    type Target = Context;

    fn deref(&self) -> &Context {
        self.context.as_ref().unwrap()
    }
}

impl Node {
    /// A node of a cluster.
    pub(crate) fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), true)
    }

    /// A node that no other takes anything over from.
    pub(crate) fn alone() -> Self {
        Self::open(tempfile::tempdir().unwrap(), false)
    }

    fn open(directory: TempDir, replicates: bool) -> Self {
        let clock = Clock::manual(NOW * 1000);
        let settings = settings(&directory, replicates);
        Self {
            context: Some(Context::open(settings, clock.clone()).unwrap()),
            clock,
            directory,
        }
    }

    /// The same file at second `now`.
    pub(crate) fn reopen(&mut self, now: u64) {
        self.close();
        self.clock = Clock::manual(now * 1000);
        let settings = settings(&self.directory, true);
        self.context = Some(Context::open(settings, self.clock.clone()).unwrap());
    }

    /// Closes the file if it is open.
    pub(crate) fn close(&mut self) {
        if let Some(context) = self.context.take() {
            context.store().close();
        }
    }

    pub(crate) fn draft<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> T {
        let work = move |draft: &mut Draft<'_>| Ok::<_, Infallible>(work(draft));
        self.store().transact_blocking(work).unwrap()
    }

    pub(crate) fn publish(&self, name: &str, value: &str, ttl: u64) {
        let (name, value) = (owner(name), value.to_owned());
        self.draft(move |draft| draft.publish(&name, &value, ttl, Author::Operator.tag()));
    }

    pub(crate) fn delete(&self, name: &str, value: &str) -> bool {
        let (name, value) = (owner(name), value.to_owned());
        self.draft(move |draft| draft.delete_value(&name, &value))
    }

    pub(crate) fn replicate(
        &self,
        name: &str,
        value: &str,
        ttl: u64,
        written_at: Option<u64>,
    ) -> Replicated {
        let (name, value) = (owner(name), value.to_owned());
        self.draft(move |draft| draft.replicate(&name, &value, ttl, written_at))
    }

    pub(crate) fn bury(&self, name: &str, value: &str, deleted_at: u64, ttl: u64) -> bool {
        let (name, hash) = (owner(name), hash(value));
        self.draft(move |draft| draft.bury(&name, &hash, deleted_at, ttl))
    }

    pub(crate) fn holds(&self, name: &str, value: &str) -> bool {
        self.values(&owner(name)).iter().any(|held| held == value)
    }

    /// Every row of the digest, `limit` at a time, each page checked for its place in the order.
    pub(crate) fn digest(&self, limit: usize, deletes: Deletes) -> Vec<DigestRow> {
        let (mut rows, mut cursor) = (Vec::new(), Cursor::default());
        loop {
            let page = self
                .store()
                .digest(&cursor, limit, deletes, |_, _| true)
                .unwrap();
            assert!(page.rows.len() <= limit);
            for row in page.rows {
                assert!(row.cursor() > cursor, "{:?} after {cursor:?}", row.cursor());
                cursor = row.cursor();
                rows.push(row);
            }
            assert_eq!(page.next, cursor);
            if !page.has_more {
                return rows;
            }
        }
    }

    /// Waits until the writer has done something on its own account.
    pub(crate) fn wait_until(&self, is_done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_done(self) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never does");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The tombstones that another node would see.
    pub(crate) fn tombstones(&self) -> Vec<DigestRow> {
        let mut rows = self.digest(100, Deletes::Shown);
        rows.retain(|row| row.deleted_at.is_some());
        rows
    }
}

fn settings(directory: &TempDir, replicates: bool) -> Settings {
    Settings {
        database: directory.path().join("dmp.db"),
        zone: Some(owner("mesh.test")),
        replicates,
        cleanup_interval: Duration::from_millis(10),
        ..Settings::default()
    }
}
