//! Writing to every node of a cluster, done once half of them have it (federation.md 4.3, W26). It undoes nothing: what a minority
//! took stays there, and writing it again is harmless.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::members::Node;
use super::{Cluster, told};
use crate::error::{Fault, WriteError};
use crate::limits::CLUSTER_WRITE_DEADLINE;
use crate::mesh::{Applied, Capacity, Operation, Pending, Writer};

/// The writer of a cluster. It needs a runtime of tokio: writes that are still under way when the outcome is known go on by
/// themselves, and their outcome is told by [`Cluster::outcomes`] and [`Cluster::settle`].
#[derive(Clone, Debug)]
pub struct FanOut(Cluster);

impl FanOut {
    pub(super) const fn new(cluster: Cluster) -> Self {
        Self(cluster)
    }

    /// One operation at all nodes.
    async fn write(&self, operation: &Operation) -> Result<(), WriteError> {
        let members = self.0.members();
        let quorum = members.nodes.len().div_ceil(2);
        let deadline = Instant::now() + CLUSTER_WRITE_DEADLINE;
        let begun = members.nodes.iter().enumerate().map(|(index, node)| {
            let write = tokio::spawn(self.begin(node, operation));
            async move {
                let outcome = write.await;
                let ended = |error: tokio::task::JoinError| {
                    Err(WriteError::ServerFailure(error.to_string()))
                };
                (index, outcome.unwrap_or_else(ended))
            }
        });
        let mut running: FuturesUnordered<_> = begun.collect();
        let mut outcomes: Vec<Option<Result<(), WriteError>>> = vec![None; members.nodes.len()];
        let mut stored = 0;
        loop {
            tokio::select! {
                biased; // what is known at the deadline counts
                ended = running.next() => match ended {
                    None => break,
                    Some((index, outcome)) => {
                        stored += usize::from(outcome.is_ok());
                        if stored >= quorum {
                            return Ok(());
                        }
                        if let Some(place) = outcomes.get_mut(index) {
                            *place = Some(outcome);
                        }
                    }
                },
                () = sleep_until(deadline) => break,
            }
        }
        let outcomes = members.nodes.iter().zip(outcomes).map(|(node, outcome)| {
            let late = || Err(WriteError::Unreachable("no answer in time".to_owned()));
            (node.description.id.as_str(), outcome.unwrap_or_else(late))
        });
        Err(shortfall(quorum, &outcomes.collect::<Vec<_>>()))
    }

    /// The write at one node, which goes on whoever waits for it. Its place among the writes at this name is taken at once.
    fn begin(
        &self,
        node: &Arc<Node>,
        operation: &Operation,
    ) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
        let (cluster, node, operation) = (self.0.clone(), Arc::clone(node), operation.clone());
        let mut turn = node.lanes.join(operation.owner());
        let underway = cluster.0.in_flight.begin(&node.description.id);
        async move {
            turn.come().await;
            let applied = node.writer.apply(std::slice::from_ref(&operation)).await;
            let outcome = applied.into_result();
            let now = cluster.0.clock.now();
            match &outcome {
                Ok(()) => node.writes.succeeded(now),
                Err(error) => {
                    node.writes.failed(&error.to_string(), now);
                    cluster.0.outcomes.note(&told(&node.description.id), error);
                }
            }
            drop(underway);
            outcome
        }
    }
}

impl Writer for FanOut {
    fn capacity(&self) -> Capacity {
        Capacity::One
    }

    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let mut applied = Applied::default();
            for (index, operation) in operations.iter().enumerate() {
                if !applied.push(index..index + 1, self.write(operation).await) {
                    break;
                }
            }
            applied
        })
    }
}

/// Why too few nodes have it. Waiting helps if the nodes that could not do it now would have been enough; otherwise what the others
/// refuse decides, so that the caller may give way to it.
fn shortfall(quorum: usize, outcomes: &[(&str, Result<(), WriteError>)]) -> WriteError {
    let failures = || {
        let failure = |(id, outcome): &'_ (&'_ str, Result<(), WriteError>)| {
            let error = outcome.as_ref().err()?;
            Some((id.to_string(), error.clone()))
        };
        outcomes.iter().filter_map(failure)
    };
    let passes =
        |error: &WriteError| matches!(error.fault(), Fault::Unavailable | Fault::Malformed);
    let stored = outcomes.len() - failures().count();
    let could = stored + failures().filter(|(_, error)| passes(error)).count();
    let is_decisive = |error: &WriteError| passes(error) == (could >= quorum);
    let (decisive, others): (Vec<_>, Vec<_>) =
        failures().partition(|(_, error)| is_decisive(error));
    let tell = |(id, error): &(String, WriteError)| format!("{} (node {id})", words(error));
    let told: Vec<String> = decisive.iter().chain(&others).map(tell).collect();
    let reason = format!(
        "{}; {stored} of {} nodes took it, and {quorum} have to",
        told.join("; "),
        outcomes.len()
    );
    let among = |is: fn(&WriteError) -> bool| decisive.iter().any(|(_, error)| is(error));
    let first = decisive.first().map(|(_, error)| error.clone());
    if could >= quorum {
        return if among(|error| !matches!(error, WriteError::Unreachable(_))) {
            WriteError::ServerFailure(reason)
        } else {
            WriteError::Unreachable(reason)
        };
    }
    if among(|error| matches!(error, WriteError::Refused { .. })) {
        let caps = decisive.iter().filter_map(|(_, error)| match error {
            WriteError::Refused { ttl_cap, .. } => *ttl_cap,
            _ => None,
        });
        let ttl_cap = caps.min();
        return WriteError::Refused { reason, ttl_cap };
    }
    match first {
        Some(WriteError::NotAuthorised(_)) => WriteError::NotAuthorised(reason),
        Some(error) => error,
        None => WriteError::ServerFailure(reason),
    }
}

/// The node's own words.
fn words(error: &WriteError) -> String {
    match error {
        WriteError::Refused { reason, .. }
        | WriteError::NotAuthorised(reason)
        | WriteError::ServerFailure(reason)
        | WriteError::Unreachable(reason)
            if !reason.is_empty() =>
        {
            reason.clone()
        }
        _ => error.to_string(),
    }
}
