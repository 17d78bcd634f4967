//! What the parts of a running node share: settings, clock, index, store and access state, and the record operations
//! that HTTP and UPDATE have in common.
//!
//! It opens no socket. For other modules of this crate:
//! reading values is [`Context::values`] (from memory, never the file); record writes are [`Context::submit`];
//! tables of one's own are written with [`Store::transact`] and [`Draft::sql`], and what memory holds of them is swapped
//! in [`Draft::after_commit`].

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;

use crate::access::{Access, Author, Exemptions};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::settings::{Caps, Settings};
use crate::store::{Draft, Failure, OpenError, Published, Store, WriterTag};
use crate::update::ReplayCache;
use crate::zone::{Owner, Served, ZoneIndex};

/// The shared state of one node.
pub struct Context {
    live: ArcSwap<Live>,
    clock: Clock,
    zone: Arc<ZoneIndex>,
    store: Store,
    access: Arc<Access>,
    replay: ReplayCache,
    metrics: Arc<Metrics>,
}

/// What a reload replaces as a whole.
#[derive(Debug)]
pub(crate) struct Live {
    settings: Arc<Settings>,
    served: Served,
}

/// One record operation with its owner name already checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Append or refresh one value.
    Publish {
        /// Where.
        owner: Owner,
        /// What.
        value: String,
        /// For how many seconds.
        ttl: u64,
    },
    /// Delete one value.
    DeleteValue {
        /// Where.
        owner: Owner,
        /// What.
        value: String,
    },
    /// Delete the RRset.
    DeleteAll {
        /// Where.
        owner: Owner,
    },
}

/// What a submission did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Values that were not there before.
    pub added: usize,
    /// Values whose life starts anew.
    pub refreshed: usize,
    /// Values that went.
    pub removed: usize,
    /// Claims of others that went to make room for a new one (W-11).
    pub evicted: usize,
}

/// Why record operations are not acceptable (node.md 3.3). None of the submission is applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// TTL above the cap.
    #[error("ttl exceeds cap of {limit}s")]
    Ttl {
        /// The cap in seconds.
        limit: u64,
    },
    /// Value above the cap.
    #[error("value exceeds cap of {limit} bytes")]
    ValueTooLong {
        /// The cap in bytes.
        limit: u64,
    },
    /// The name would hold more values than the cap.
    #[error("RRset at {owner} already holds {values} values")]
    NameFull {
        /// The name.
        owner: Owner,
        /// Live values there, those earlier in the same submission included.
        values: u64,
    },
    /// The store is at one of its ceilings (node.md 5.3).
    #[error("the node holds as much as it may: {limit} {unit}")]
    StoreFull {
        /// The ceiling.
        limit: u64,
        /// What it counts.
        unit: &'static str,
    },
    /// The writer has its share of this mailbox (D13).
    #[error("this writer already holds {limit} values in mailbox {mailbox}")]
    MailboxQuota {
        /// The `mb-` label.
        mailbox: String,
        /// The share.
        limit: u64,
    },
    /// The writer has its share of what can be answered for one name of this mailbox (D13).
    #[error("this writer would hold more than {limit} bytes at one name of mailbox {mailbox}")]
    MailboxOctets {
        /// The `mb-` label.
        mailbox: String,
        /// The share.
        limit: u64,
    },
}

impl Context {
    /// Opens the store, loads the zone and starts the writer thread.
    pub fn open(settings: Settings, clock: Clock) -> Result<Arc<Self>, OpenError> {
        let metrics = Metrics::new();
        let zone = Arc::new(ZoneIndex::new(settings.zone.clone()));
        let store = Store::open(
            &settings.database,
            &settings.schema,
            clock.clone(),
            Arc::clone(&zone),
            settings.cleanup_interval,
            Arc::clone(&metrics),
        )?;
        store.leave_tombstones(settings.tombstone_life());
        let access = Arc::new(Access::new(settings.claims.clone()));
        Ok(Arc::new(Self {
            live: ArcSwap::from_pointee(Live::new(settings)),
            clock,
            zone,
            store,
            access,
            replay: ReplayCache::default(),
            metrics,
        }))
    }

    /// What the node is told as of now. A later request may see others, so nobody keeps them.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.live.load().settings)
    }

    /// The settings with what follows from them, to be kept for a round of requests.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts other settings in force for whatever begins from now on. What only a restart can change (database, addresses,
    /// threads, zone) must be as it was.
    pub fn configure(&self, settings: Settings) {
        self.access.configure(settings.claims.clone());
        self.store.leave_tombstones(settings.tombstone_life());
        self.live.store(Arc::new(Live::new(settings)));
    }

    /// The node's time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The index of live values.
    pub fn zone(&self) -> &Arc<ZoneIndex> {
        &self.zone
    }

    /// The durable store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keyring and policies.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// What the node counts about itself.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn replay(&self) -> &ReplayCache {
        &self.replay
    }

    /// Live values of `owner`, oldest first; from memory.
    pub fn values(&self, owner: &Owner) -> Vec<String> {
        self.zone.values(owner, self.clock.seconds())
    }

    /// How many values are live.
    pub fn live_values(&self) -> u64 {
        self.zone.live_values()
    }

    /// Applies `operations` in order, all or none, and returns when they are durable. Whether `author` may touch these
    /// names has been decided by the caller; caps and quotas are applied here.
    pub async fn submit(
        &self,
        author: Author,
        operations: Vec<Operation>,
    ) -> Result<Applied, Failure<Refusal>> {
        self.store.check_admission()?;
        let (caps, access) = (self.settings().caps, Arc::clone(&self.access));
        self.store
            .transact(move |draft| apply(draft, &caps, &access, &author, &operations))
            .await
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the zone with all its values.
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Live {
    fn new(settings: Settings) -> Self {
        Self {
            served: Served::new(&settings),
            settings: Arc::new(settings),
        }
    }

    /// The settings themselves.
    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// What is served beside the stored values.
    pub(crate) fn served(&self) -> &Served {
        &self.served
    }
}

/// Applies `operations` to `draft` within `caps` (node.md 3.3, 3.6). Adds are all checked, in order and each against what
/// the earlier ones leave, before any of it can become durable.
pub(crate) fn apply(
    draft: &mut Draft<'_>,
    caps: &Caps,
    access: &Access,
    author: &Author,
    operations: &[Operation],
) -> Result<Applied, Refusal> {
    let mut applied = Applied::default();
    let mut exemptions = Exemptions::new(access);
    let tag = author.tag();
    for operation in operations {
        match operation {
            Operation::Publish { owner, value, ttl } => {
                caps.check_value(value, *ttl)?;
                let Some(tag) = tag_of(draft, author, tag, owner, value, *ttl) else {
                    applied.refreshed += 1;
                    continue;
                };
                applied.evicted +=
                    caps.check_room(draft, author, tag, owner, value, &mut exemptions)?;
                match draft.publish(owner, value, *ttl, tag) {
                    Published::New => {
                        caps.check_ceilings(draft, author)?;
                        applied.added += 1;
                    }
                    Published::Refreshed => applied.refreshed += 1,
                }
            }
            Operation::DeleteValue { owner, value } => {
                applied.removed += usize::from(draft.delete_value(owner, value));
            }
            Operation::DeleteAll { owner } => applied.removed += draft.delete_all(owner),
        }
    }
    Ok(applied)
}

/// The mark to store a value with. A claim can be read, and sent again, by everybody: a repetition by a stranger neither
/// takes it over nor shortens its life, and `None` says that nothing would change (W-11).
fn tag_of(
    draft: &mut Draft<'_>,
    author: &Author,
    tag: WriterTag,
    owner: &Owner,
    value: &str,
    ttl: u64,
) -> Option<WriterTag> {
    let Author::Claimant(_) = author else {
        return Some(tag);
    };
    let until = draft.now().saturating_add(ttl);
    match draft.values(owner).find(|live| &*live.text == value) {
        Some(live) => (live.expires_at < until).then_some(WriterTag(live.writer)),
        None => Some(tag),
    }
}
