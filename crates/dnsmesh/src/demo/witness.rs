//! Stands between the operations and the network and notes what passes, changing nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dmp_client::error::WriteError;
use dmp_client::mesh::{
    Applied, ClaimNotice, ClaimSender, Lookup, Operation, Pending, Reader, Writer,
};
use dmp_core::owner::OwnerName;

/// What passed since the last look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Names asked for.
    pub(super) queries: usize,
    /// From the first question to the last answer.
    pub(super) asking: Duration,
    /// Changes to the own zone.
    pub(super) writes: Vec<Write>,
    /// Claims left in other people's zones.
    pub(super) claims: Vec<Claim>,
    first_question: Option<Instant>,
}

impl Seen {
    /// Every name that was changed.
    pub(super) fn owners(self) -> impl Iterator<Item = OwnerName> {
        let own = self.writes.into_iter().flat_map(|write| write.changes);
        let claims = self.claims.into_iter().map(|claim| claim.change);
        own.chain(claims).map(|change| change.owner)
    }
}

/// One call of the writer.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) changes: Vec<Change>,
    pub(super) messages: usize,
    /// Of the requests on the wire.
    pub(super) bytes: usize,
    pub(super) took: Duration,
}

/// One claim.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) change: Change,
    pub(super) is_taken: bool,
    pub(super) took: Duration,
}

/// A value added to a name or removed from it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) owner: OwnerName,
    pub(super) is_removal: bool,
    pub(super) bytes: usize,
}

/// The three ways to the network, watched.
pub(super) struct Witness {
    reader: Box<dyn Reader>,
    writer: Box<dyn Writer>,
    claims: Box<dyn ClaimSender>,
    seen: Mutex<Seen>,
}

impl Witness {
    pub(super) fn new(
        reader: Box<dyn Reader>,
        writer: Box<dyn Writer>,
        claims: Box<dyn ClaimSender>,
    ) -> Self {
        Self {
            reader,
            writer,
            claims,
            seen: Mutex::default(),
        }
    }

    /// What passed since the last call.
    pub(super) fn take(&self) -> Seen {
        self.note(std::mem::take)
    }

    fn note<T>(&self, note: impl FnOnce(&mut Seen) -> T) -> T {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reader for Witness {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            let begin = Instant::now();
            let answer = self.reader.txt(owner).await;
            self.note(|seen| {
                seen.queries += 1;
                seen.asking = seen.first_question.get_or_insert(begin).elapsed();
            });
            answer
        })
    }
}

impl Writer for Witness {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let begin = Instant::now();
            let applied = self.writer.apply(operations).await;
            let stored = operations.iter().take(applied.stored());
            let write = Write {
                changes: stored.map(Change::of).collect(),
                messages: applied.messages.len(),
                bytes: applied.messages.iter().map(|message| message.bytes).sum(),
                took: begin.elapsed(),
            };
            self.note(|seen| seen.writes.push(write));
            applied
        })
    }
}

impl ClaimSender for Witness {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        Box::pin(async move {
            let begin = Instant::now();
            let outcome = self.claims.send(notice).await;
            let change = Change {
                owner: notice.owner.clone(),
                is_removal: false,
                bytes: notice.value.len(),
            };
            let claim = Claim {
                change,
                is_taken: outcome.is_ok(),
                took: begin.elapsed(),
            };
            self.note(|seen| seen.claims.push(claim));
            outcome
        })
    }
}

impl Change {
    fn of(operation: &Operation) -> Self {
        let (is_removal, bytes) = match operation {
            Operation::Add { value, .. } => (false, value.len()),
            Operation::DeleteValue { value, .. } => (true, value.len()),
            Operation::DeleteRrset { .. } => (true, 0),
        };
        Self {
            owner: operation.owner().clone(),
            is_removal,
            bytes,
        }
    }
}
