//! The store's bounds in rows and bytes (node.md 5.3): at a bound new values are refused, everything else goes on.

use dmp_node::access::Author;
use dmp_node::clock::Clock;
use dmp_node::context::{Applied, Context, Operation, Refusal};
use dmp_node::settings::{Caps, Settings};
use dmp_node::store::Failure;
use dmp_node::zone::Owner;
use std::sync::Arc;

struct Site {
    context: Arc<Context>,
    clock: Clock,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new(caps: Caps) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            database: directory.path().join("dmp.db"),
            caps,
            ..Settings::default()
        };
        let clock = Clock::manual(1_800_000_000_000);
        Self {
            context: Context::open(settings, clock.clone()).unwrap(),
            clock,
            _directory: directory,
        }
    }

    async fn submit(&self, operations: Vec<Operation>) -> Result<Applied, Failure<Refusal>> {
        self.context.submit(Author::Operator, operations).await
    }

    #[track_caller]
    fn is_full(result: Result<Applied, Failure<Refusal>>) {
        assert!(
            matches!(&result, Err(Failure::Refused(Refusal::StoreFull { .. }))),
            "{result:?}"
        );
    }
}

fn owner(name: &str) -> Owner {
    Owner::parse(name).unwrap()
}

fn publish(name: &str, value: &str, ttl: u64) -> Operation {
    Operation::Publish {
        owner: owner(name),
        value: value.to_owned(),
        ttl,
    }
}

#[tokio::test]
async fn at_the_ceiling_of_rows_new_values_are_refused_and_the_rest_goes_on() {
    let site = Site::new(Caps {
        max_records: Some(2),
        ..Caps::default()
    });
    let three = ["a", "b", "c"].map(|name| publish(&format!("{name}.mesh.test"), "v", 60));
    Site::is_full(site.submit(three.to_vec()).await);
    assert_eq!(site.context.live_values(), 0, "all or nothing");
    site.submit(three[..2].to_vec()).await.unwrap();
    Site::is_full(site.submit(vec![three[2].clone()]).await);
    assert_eq!(
        site.context.values(&owner("a.mesh.test")),
        ["v"],
        "reads are unaffected"
    );
    let refreshed = site.submit(vec![three[0].clone()]).await.unwrap();
    assert_eq!(refreshed.refreshed, 1);
    let replace = vec![
        Operation::DeleteAll {
            owner: owner("b.mesh.test"),
        },
        three[2].clone(),
    ];
    site.submit(replace).await.unwrap();
    assert_eq!(
        site.context.values(&owner("c.mesh.test")),
        ["v"],
        "room that was made is used"
    );
}

#[tokio::test]
async fn what_expires_makes_room_again() {
    let site = Site::new(Caps {
        max_records: Some(1),
        ..Caps::default()
    });
    site.submit(vec![publish("a.mesh.test", "v", 5)])
        .await
        .unwrap();
    Site::is_full(site.submit(vec![publish("b.mesh.test", "v", 60)]).await);
    site.clock.advance(5);
    while site.context.live_values() > 0 {
        tokio::task::yield_now().await; // the writer's tick takes it out within a second
    }
    site.submit(vec![publish("b.mesh.test", "v", 60)])
        .await
        .unwrap();
}

#[tokio::test]
async fn at_the_ceiling_of_bytes_new_values_are_refused_and_deleting_helps() {
    let site = Site::new(Caps {
        max_database_bytes: Some(200_000),
        ..Caps::default()
    });
    let value = "x".repeat(2_000);
    let name = |number: usize| format!("n{number}.mesh.test");
    let mut stored = 0;
    let refused = loop {
        match site.submit(vec![publish(&name(stored), &value, 60)]).await {
            Ok(_) => stored += 1,
            refused => break refused,
        }
    };
    Site::is_full(refused);
    assert!((50..100).contains(&stored), "{stored}");
    let half = (0..stored / 2).map(|number| Operation::DeleteAll {
        owner: owner(&name(number)),
    });
    site.submit(half.collect()).await.unwrap();
    site.submit(vec![publish("again.mesh.test", &value, 60)])
        .await
        .unwrap();
}
