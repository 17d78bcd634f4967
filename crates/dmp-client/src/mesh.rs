//! What the engines need from the world: a reader, a writer, a way to leave claims, a clock. Does no input or output itself.
//!
//! Every operation in [`crate::ops`] runs over these traits only, so that a simulation can drive it in one thread with virtual
//! time. The futures are `Send`, so that a program may also run operations on a thread pool.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dmp_core::id::UnixTime;
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
pub use dmp_net::Lookup;

use crate::error::WriteError;

/// A boxed future, because the traits below are used as trait objects.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Looks up TXT values. "Absent" and "could not ask" are different answers (client.md 4.1, 11).
pub trait Reader: Send + Sync {
    /// All TXT values at an owner name, the strings of each record joined.
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup>;

    /// Begins a new run of a process that makes several (`recv --follow`): who was given up in the last one is asked again
    /// (client.md 11).
    fn begin_run(&self) {}
}

impl<T: Reader + ?Sized> Reader for Arc<T> {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        (**self).txt(owner)
    }

    fn begin_run(&self) {
        (**self).begin_run();
    }
}

/// One change to a zone (client.md 4.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Append a value; an identical one has its lifetime refreshed.
    Add {
        /// Where.
        owner: OwnerName,
        /// Lifetime in the node, seconds.
        ttl: u32,
        /// The whole TXT value, split into strings only on the wire.
        value: String,
    },
    /// Remove one value; its absence is success.
    DeleteValue {
        /// Where.
        owner: OwnerName,
        /// The exact text to remove.
        value: String,
    },
    /// Remove every value at a name.
    DeleteRrset {
        /// Where.
        owner: OwnerName,
    },
}

impl Operation {
    /// The name that changes.
    #[must_use]
    pub const fn owner(&self) -> &OwnerName {
        match self {
            Self::Add { owner, .. }
            | Self::DeleteValue { owner, .. }
            | Self::DeleteRrset { owner } => owner,
        }
    }
}

/// One message of a writer: which operations it carried and what became of them.
#[derive(Clone, Debug)]
pub struct Message {
    /// Indices into the list handed to [`Writer::apply`].
    pub operations: Range<usize>,
    /// Size of the request on the wire, bytes; 0 where the back-end does not know it.
    pub bytes: usize,
    /// `Ok` only if the node has stored the changes durably and proved that it answered.
    pub outcome: Result<(), WriteError>,
}

/// What a writer did with a list of operations: one entry per message, in order, ending at the first failure.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The messages that were sent.
    pub messages: Vec<Message>,
}

impl Applied {
    /// Notes what became of operations whose size on the wire is not known; `false` if the list ends here.
    pub(crate) fn push(
        &mut self,
        operations: Range<usize>,
        outcome: Result<(), WriteError>,
    ) -> bool {
        let goes_on = outcome.is_ok();
        self.messages.push(Message {
            operations,
            bytes: 0,
            outcome,
        });
        goes_on
    }

    /// All operations with one outcome.
    pub(crate) fn whole(operations: &[Operation], outcome: Result<(), WriteError>) -> Self {
        let mut applied = Self::default();
        applied.push(0..operations.len(), outcome);
        applied
    }

    /// How many leading operations are stored.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.messages
            .iter()
            .take_while(|message| message.outcome.is_ok())
            .last()
            .map_or(0, |message| message.operations.end)
    }

    /// Why the list was not finished.
    #[must_use]
    pub fn failure(&self) -> Option<&WriteError> {
        self.messages
            .iter()
            .find_map(|message| message.outcome.as_ref().err())
    }

    /// `Ok` if every operation was stored.
    ///
    /// # Errors
    /// The failure that stopped the list.
    pub fn into_result(self) -> Result<(), WriteError> {
        self.messages
            .into_iter()
            .try_for_each(|message| message.outcome)
    }
}

/// How many operations one request of a writer carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Capacity {
    /// As many as fit a message.
    #[default]
    Many,
    /// A single one: independent values are better written side by side.
    One,
}

/// Changes the zone that this user may write to.
pub trait Writer: Send + Sync {
    /// What one request carries.
    fn capacity(&self) -> Capacity {
        Capacity::Many
    }

    /// Applies the operations in order, in as few messages as fit, and stops at the first failing message.
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied>;
}

/// Where an unsigned UPDATE goes (federation.md 3.4).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UpdateTarget {
    /// Host name or IP literal, lower case.
    pub host: String,
    /// `None` means the configured provider port, 53 unless overridden.
    pub port: Option<u16>,
}

/// A claim to be left at somebody's zone.
#[derive(Clone, Debug)]
pub struct ClaimNotice {
    /// The server that takes it.
    pub target: UpdateTarget,
    /// The zone section of the UPDATE.
    pub zone: Zone,
    /// The claim's owner name in that zone.
    pub owner: OwnerName,
    /// Lifetime in the node, seconds.
    pub ttl: u32,
    /// The signed claim.
    pub value: String,
}

/// Leaves claims by un-authenticated UPDATE, never through the authorised writer (client.md 4.5, 8).
pub trait ClaimSender: Send + Sync {
    /// One attempt, no retry.
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>>;
}

/// Long work that is counted while it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Values of a message on their way to the own node.
    Stored,
    /// Zones that are searched for messages.
    Searched,
    /// Chunks of messages that were found.
    Fetched,
}

/// Somebody who is told how far long work has come. Told often, from any thread: must return at once.
pub trait Watcher: Send + Sync {
    /// So many of so many are done; both may still grow.
    fn count(&self, what: Counted, done: usize, of: usize);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn count(&self, _: Counted, _: usize, _: usize) {}
}

/// Time as the engines see it.
pub trait Clock: Send + Sync {
    /// The current second.
    fn now(&self) -> UnixTime;
    /// Completes after the duration has passed on this clock.
    fn sleep(&self, duration: Duration) -> Pending<'_, ()>;
}

/// The operating system's clock and the runtime's timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixTime::new(since.map_or(0, |since| since.as_secs()))
    }

    fn sleep(&self, duration: Duration) -> Pending<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's randomness in the form that the engines take it.
///
/// The returned source panics if the operating system has none, in which case nothing here could go on.
#[must_use]
pub fn system_random() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}
