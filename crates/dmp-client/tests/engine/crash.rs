//! A process may end at any moment: at every step over the network, and inside every transaction of the store. Whatever was cut
//! off, the message is in the other's inbox exactly once in the end, and its prekey is used up exactly once (D14, D15, D21).
//!
//! A step is cut off by never returning, before or after it took effect; then the operation is dropped and the store opened anew. A
//! transaction is cut off by triggers that let the n-th change fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dmp_client::error::WriteError;
use dmp_client::mesh::{
    Applied, ClaimNotice, ClaimSender, Lookup, Operation, Pending, Reader, Writer, system_random,
};
use dmp_client::ops::outbox::{AdvanceRequest, Selection, advance};
use dmp_client::ops::{self, ReceiveRequest, SendRequest, Session};
use dmp_client::store::{STORE_FILE, Store};
use dmp_core::keys::Identity;
use dmp_core::owner::OwnerName;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::world::{Person, World, run};

/// Longer than any lease of a process that is gone.
const LATER: Duration = Duration::from_secs(300);

/// Which side of a step's effect the process ends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    Before,
    After,
}

/// The world, until the n-th step.
struct Crash<'a> {
    world: &'a World,
    left: AtomicUsize,
    moment: Moment,
    dead: Notify,
}

impl<'a> Crash<'a> {
    fn at(world: &'a World, step: usize, moment: Moment) -> Self {
        Self {
            world,
            left: AtomicUsize::new(step),
            moment,
            dead: Notify::new(),
        }
    }

    /// Runs a step, unless it is the one that does not return.
    async fn step<T>(&self, effect: impl Future<Output = T>) -> T {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        let is_last = left == 1;
        if is_last && self.moment == Moment::Before {
            self.end().await;
        }
        let outcome = effect.await;
        if is_last {
            self.end().await;
        }
        outcome
    }

    async fn end(&self) {
        self.dead.notify_one();
        std::future::pending::<()>().await;
    }

    /// Runs an operation until it is over or the process ends; says whether it came to its end.
    async fn run<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.dead.notified() => None,
            outcome = operation => Some(outcome),
        }
    }
}

impl Reader for Crash<'_> {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(self.step(self.world.txt(owner)))
    }
}

impl Writer for Crash<'_> {
    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(self.step(self.world.apply(operations)))
    }
}

impl ClaimSender for Crash<'_> {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        Box::pin(self.step(ClaimSender::send(self.world, notice)))
    }
}

/// The person's session, over a world that ends.
fn session<'a>(person: &'a Person, crash: &'a Crash<'_>) -> Session<'a> {
    Session {
        reader: crash,
        writer: crash,
        claims: crash,
        ..person.session()
    }
}

/// Two people who know each other, both with a store on disk and three prekeys.
struct Scene {
    alice: Person,
    bob: Person,
    homes: [TempDir; 2],
}

impl Scene {
    async fn set() -> Self {
        let world = World::new();
        let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let person = |name, seed, home: &TempDir| {
            let identity = Identity::from_seed([seed; 32]);
            world.person_with(name, "mesh.test", identity, Some(home.path().to_owned()))
        };
        let mut alice = person("alice", 1, &homes[0]);
        let mut bob = person("bob", 2, &homes[1]);
        alice.publish(3).await;
        bob.publish(3).await;
        alice.meet(&bob).await;
        bob.meet(&alice).await;
        Self { alice, bob, homes }
    }

    /// Both processes end; the next ones find what is on the disk.
    async fn restart(&mut self) {
        tokio::time::sleep(LATER).await;
        for (person, home) in [&mut self.alice, &mut self.bob]
            .into_iter()
            .zip(&self.homes)
        {
            let placeholder = Store::in_memory(&person.identity, person.now()).unwrap();
            drop(std::mem::replace(&mut person.store, placeholder));
            person.store = Store::open(home.path(), &person.identity, person.now()).unwrap();
        }
    }

    /// What the sender's next runs do: take up what was recorded, or send again what was not.
    async fn finish_sending(&mut self, text: &str) {
        self.restart().await;
        if self.alice.store.outbox().unwrap().is_empty() {
            self.alice.send(&self.bob, text).await.unwrap();
        } else {
            let request = AdvanceRequest {
                selection: Selection::All,
                ..AdvanceRequest::default()
            };
            advance(&self.alice.session(), &request).await.unwrap();
        }
        assert_eq!(self.alice.store.outbox().unwrap().len(), 1);
    }

    /// What the receiver's next runs do, and what must be so after them.
    async fn finish_receiving(&mut self, expected: &[&str], case: &str) {
        self.restart().await;
        for _ in 0..3 {
            self.bob.receive().await;
        }
        let inbox = self.bob.store.messages().unwrap();
        let mut texts: Vec<_> = inbox
            .iter()
            .map(|message| String::from_utf8(message.body.clone()).unwrap())
            .collect();
        texts.sort();
        assert_eq!(texts, expected, "{case}");
        assert!(
            self.bob.store.unshown_messages().unwrap().is_empty(),
            "{case}"
        );
        assert!(
            inbox.iter().all(|message| message.prekey.is_some()),
            "{case}"
        );
        let left = 3 - expected.len();
        assert_eq!(
            self.bob.store.live_prekeys(self.bob.now()).unwrap(),
            left,
            "{case}"
        );
        assert!(self.bob.store.withdrawals().unwrap().is_empty(), "{case}");
        let owner = self.bob.profile.prekey_owner();
        let published = self.bob.world.zone.query(owner.as_str());
        assert_eq!(
            published.len(),
            left,
            "{case}: used prekeys are gone from the zone"
        );
    }
}

/// Lets the n-th change to a store fail, inside its transaction.
struct Failure {
    connection: Connection,
    triggers: Vec<String>,
}

impl Failure {
    fn after(home: &TempDir, changes: usize) -> Self {
        let connection = Connection::open(home.path().join(STORE_FILE)).unwrap();
        connection
            .execute_batch(&format!(
                "CREATE TABLE changes_left (n INTEGER); INSERT INTO changes_left VALUES ({changes})"
            ))
            .unwrap();
        let tables = [
            "contacts",
            "denylist",
            "inbox",
            "intros",
            "meta",
            "outbox",
            "prekeys",
            "replay",
            "used_prekeys",
            "withdrawals",
        ];
        let mut triggers = Vec::new();
        for table in tables {
            for change in ["INSERT", "UPDATE", "DELETE"] {
                let name = format!("fail_{change}_{table}");
                connection
                    .execute_batch(&format!(
                        "CREATE TRIGGER {name} BEFORE {change} ON {table} BEGIN
                             UPDATE changes_left SET n = n - 1;
                             SELECT RAISE(ABORT, 'the disk is gone') FROM changes_left WHERE n <= 0;
                         END"
                    ))
                    .unwrap();
                triggers.push(name);
            }
        }
        Self {
            connection,
            triggers,
        }
    }

    /// Lets everything succeed again; says how many changes were still allowed.
    fn end(self) -> usize {
        let left: i64 = self
            .connection
            .query_row("SELECT n FROM changes_left", (), |row| row.get(0))
            .unwrap();
        for name in &self.triggers {
            self.connection
                .execute_batch(&format!("DROP TRIGGER {name}"))
                .unwrap();
        }
        self.connection
            .execute_batch("DROP TABLE changes_left")
            .unwrap();
        usize::try_from(left).unwrap()
    }
}

/// More changes than any operation makes.
const ALL: usize = 1_000_000;

#[test]
fn a_sender_that_ends_at_any_step_has_sent_once_in_the_end() {
    for moment in [Moment::Before, Moment::After] {
        let mut steps = 0;
        for step in 1.. {
            let is_over = run(async {
                let mut scene = Scene::set().await;
                let crash = Crash::at(&scene.alice.world, step, moment);
                let (address, mut rng) = (scene.bob.address(), system_random());
                let request = SendRequest::new(&address, b"once");
                let session = session(&scene.alice, &crash);
                let sending = ops::send(&session, &request, &mut rng);
                let ended = crash.run(sending).await;
                let is_over = ended.is_some_and(|sent| sent.is_ok());
                scene.finish_sending("once").await;
                let case = format!("{moment:?} step {step}");
                scene.finish_receiving(&["once"], &case).await;
                is_over
            });
            steps = step;
            if is_over {
                break;
            }
        }
        assert!(steps > 5, "only {steps} steps were seen");
    }
}

#[test]
fn a_receiver_that_ends_at_any_step_has_each_message_once_in_the_end() {
    for moment in [Moment::Before, Moment::After] {
        let mut steps = 0;
        for step in 1.. {
            let is_over = run(async {
                let mut scene = Scene::set().await;
                scene.alice.send(&scene.bob, "one").await.unwrap();
                scene.alice.send(&scene.bob, "two").await.unwrap();
                let crash = Crash::at(&scene.bob.world, step, moment);
                let request = ReceiveRequest::default();
                let session = session(&scene.bob, &crash);
                let receiving = ops::receive(&session, &request);
                let is_over = crash.run(receiving).await.is_some();
                let case = format!("{moment:?} step {step}");
                scene.finish_receiving(&["one", "two"], &case).await;
                is_over
            });
            steps = step;
            if is_over {
                break;
            }
        }
        assert!(steps > 20, "only {steps} steps were seen");
    }
}

#[test]
fn a_sender_whose_store_fails_at_any_change_has_sent_once_in_the_end() {
    let changes = send_with_failure(ALL);
    assert!(changes >= 4, "only {changes} changes were seen");
    for change in 1..=changes {
        send_with_failure(change);
    }
}

/// Sends while the n-th change fails, and sets it right; says how many changes there were before.
fn send_with_failure(change: usize) -> usize {
    run(async {
        let mut scene = Scene::set().await;
        let failure = Failure::after(&scene.homes[0], change);
        let bob = scene.bob.address();
        // Whether it says so or not: what counts is what the next runs find.
        let _ = scene
            .alice
            .send_request(&SendRequest::new(&bob, b"once"))
            .await;
        let left = failure.end();
        scene.finish_sending("once").await;
        scene
            .finish_receiving(&["once"], &format!("change {change}"))
            .await;
        change - left
    })
}

#[test]
fn a_receiver_whose_store_fails_at_any_change_has_each_message_once_in_the_end() {
    let changes = receive_with_failure(ALL);
    assert!(changes > 8, "only {changes} changes were seen");
    for change in 1..=changes {
        receive_with_failure(change);
    }
}

/// Receives while the n-th change fails, and sets it right; says how many changes there were before.
fn receive_with_failure(change: usize) -> usize {
    run(async {
        let mut scene = Scene::set().await;
        scene.alice.send(&scene.bob, "one").await.unwrap();
        scene.alice.send(&scene.bob, "two").await.unwrap();
        let failure = Failure::after(&scene.homes[1], change);
        if let Ok(report) = ops::receive(&scene.bob.session(), &ReceiveRequest::default()).await {
            let numbers: Vec<_> = report.inbox.iter().map(|message| message.number).collect();
            // Where this fails, the next run shows the messages again.
            let _ = scene.bob.store.mark_shown(&numbers, scene.bob.now());
        }
        let left = failure.end();
        scene
            .finish_receiving(&["one", "two"], &format!("change {change}"))
            .await;
        change - left
    })
}
