//! Several publishers at once: one that takes it is enough, and each failure is told by name.

use std::sync::Arc;

use dmp_client::error::WriteError;
use dmp_client::mesh::{Applied, Capacity, Message, Operation, Pending, SystemClock, Writer};
use dmp_client::writer::{MemoryZone, Several};

use crate::suite::{self, Odd, add, slot};

/// Takes this many operations and fails then.
struct Failing(usize);

impl Writer for Failing {
    fn capacity(&self) -> Capacity {
        Capacity::One
    }

    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        let message = |operations, outcome| Message {
            operations,
            bytes: 0,
            outcome,
        };
        let taken = self.0.min(operations.len());
        let failure = Err(WriteError::Unreachable(format!("after {taken}")));
        Box::pin(async move {
            Applied {
                messages: vec![
                    message(0..taken, Ok(())),
                    message(taken..operations.len(), failure),
                ],
            }
        })
    }
}

fn boxed(writer: impl Writer + 'static) -> Box<dyn Writer> {
    Box::new(writer)
}

#[tokio::test]
async fn it_behaves_as_every_publisher_while_one_member_is_dead() {
    let zone = MemoryZone::new(Arc::new(SystemClock));
    let mirror = MemoryZone::new(Arc::new(SystemClock));
    let several = Several::new(vec![
        ("dead".into(), boxed(Failing(0))),
        ("zone".into(), boxed(zone.clone())),
        ("mirror".into(), boxed(mirror.clone())),
    ]);
    let read = async |owner: &dmp_core::owner::OwnerName| {
        let values = zone.query(owner.as_str());
        assert_eq!(
            values,
            mirror.query(owner.as_str()),
            "every one gets everything"
        );
        values.into_iter().map(|value| (value, None)).collect()
    };
    assert_eq!(several.capacity(), Capacity::Many, "some of them take many");
    suite::hold(&several, "mesh.example", Odd::Taken, read).await;
    let failures = several.outcomes().take_failures();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].0, "dead");
    assert!(several.outcomes().take_failures().is_empty(), "told once");
}

#[tokio::test]
async fn the_furthest_counts_when_none_takes_everything() {
    let several = Several::new(vec![
        ("a".into(), boxed(Failing(1))),
        ("b".into(), boxed(Failing(2))),
        ("c".into(), boxed(Failing(0))),
    ]);
    assert_eq!(several.capacity(), Capacity::One, "all of them are so");
    let owner = slot("mesh.example");
    let applied = several
        .apply(&[
            add(&owner, 1, "x"),
            add(&owner, 1, "y"),
            add(&owner, 1, "z"),
        ])
        .await;
    assert_eq!(applied.stored(), 2);
    assert_eq!(
        applied.failure(),
        Some(&WriteError::Unreachable("after 2".into()))
    );
    let names: Vec<String> = several
        .outcomes()
        .take_failures()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn nobody_is_a_failure() {
    let applied = Several::new(Vec::new())
        .apply(&[add(&slot("mesh.example"), 1, "x")])
        .await;
    assert!(matches!(
        applied.into_result(),
        Err(WriteError::Misconfigured(_))
    ));
}
