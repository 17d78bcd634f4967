//! What was answered is in the file; what was refused left no trace; who else touches the file is told (D4, D14).

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use dmp_dns::Rcode;
use dmp_node::access::Author;
use dmp_node::clock::Clock;
use dmp_node::context::{Context, Operation};
use dmp_node::limits;
use dmp_node::settings::Settings;
use dmp_node::store::{Condition, Failure, OpenError};

use crate::support::{NOW, Node, add, delete_value, key, owner, row, settings, update};

fn open(settings: Settings) -> Result<Arc<Context>, OpenError> {
    Context::open(settings, Clock::manual(NOW * 1000))
}

fn publish(context: &Context, name: &str, value: &str) {
    let (name, value) = (owner(name), value.to_owned());
    let work = move |draft: &mut dmp_node::store::Draft<'_>| {
        draft.publish(&name, &value, 300, Author::Operator.tag());
        Ok::<_, std::convert::Infallible>(())
    };
    context.store().transact_blocking(work).unwrap();
}

#[test]
fn values_survive_reopening_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let long = "ü".repeat(400);
    let node = Node::open(settings(&directory)).with_keys(vec![row("k", &["mesh.example"])]);
    let operations = [
        add("a.mesh.example", "1"),
        add("a.mesh.example", &long),
        add("b.mesh.example", "gone"),
        add("a.mesh.example", "1"),
    ];
    assert_eq!(node.update_rcode(&key("k"), &operations), Rcode::NOERROR);
    assert_eq!(
        node.update_rcode(&key("k"), &[delete_value("b.mesh.example", "gone")]),
        Rcode::NOERROR
    );
    node.put("short.mesh.example", "v", 5);
    node.stop();
    let node = Node::open(settings(&directory));
    assert_eq!(
        node.context.values(&owner("a.mesh.example")),
        [long.as_str(), "1"],
        "a refreshed value moves to the end"
    );
    assert!(node.context.values(&owner("b.mesh.example")).is_empty());
    assert_eq!(node.context.live_values(), 3);
    node.stop();
    let context = Context::open(settings(&directory), Clock::manual((NOW + 5) * 1000)).unwrap();
    assert_eq!(
        context.live_values(),
        2,
        "what expired while the node was down does not come back"
    );
}

#[test]
fn every_acknowledged_update_of_many_writers_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let context = open(settings(&directory)).unwrap();
    let barrier = Barrier::new(16);
    let acknowledged = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let (context, barrier, acknowledged) = (&context, &barrier, &acknowledged);
            scope.spawn(move || {
                barrier.wait();
                for index in 0..25 {
                    publish(context, &format!("w{writer}-{index}.mesh.example"), "v");
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    drop(context);
    let context = open(settings(&directory)).unwrap();
    assert_eq!(
        (acknowledged.into_inner(), context.live_values()),
        (400, 400)
    );
    assert_eq!(context.values(&owner("w15-24.mesh.example")), ["v"]);
}

#[test]
fn a_failing_request_undoes_its_records_its_sql_and_its_hooks_and_nobody_elses() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        schema: vec!["CREATE TABLE IF NOT EXISTS extra (n INTEGER)"],
        ..settings(&directory)
    };
    let context = open(settings).unwrap();
    let hooks = Arc::new(AtomicUsize::new(0));
    // Enqueued behind a request that holds the writer up, so that they share one commit.
    let (release, held) = std::sync::mpsc::channel::<()>();
    context
        .store()
        .transact_then(move |_| held.recv().map_err(|_| ()), |_| {});
    let (report, outcomes) = std::sync::mpsc::channel();
    for n in 0..10 {
        let (hooks, report) = (Arc::clone(&hooks), report.clone());
        let work = move |draft: &mut dmp_node::store::Draft<'_>| {
            draft.publish(
                &owner(&format!("n{n}.mesh.example")),
                "v",
                300,
                Author::Operator.tag(),
            );
            draft
                .sql()
                .unwrap()
                .execute("INSERT INTO extra VALUES (?1)", [n])
                .unwrap();
            draft.after_commit(move || {
                hooks.fetch_add(1, Ordering::Relaxed);
            });
            if n % 2 == 0 { Ok(n) } else { Err(n) }
        };
        context
            .store()
            .transact_then(work, move |result| report.send(result).unwrap());
    }
    release.send(()).unwrap();
    for n in 0..10 {
        match outcomes.recv().unwrap() {
            Ok(kept) => assert_eq!((kept, n % 2), (n, 0)),
            Err(Failure::Refused(refused)) => assert_eq!((refused, n % 2), (n, 1)),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(hooks.load(Ordering::Relaxed), 5);
    assert_eq!(context.live_values(), 5);
    let sum: i64 = context
        .store()
        .read(|sql| sql.query_row("SELECT sum(n) FROM extra", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(sum, 20);
    assert!(context.values(&owner("n1.mesh.example")).is_empty());
}

#[test]
fn later_requests_of_a_group_see_what_earlier_ones_did() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(&directory);
    settings.caps.max_values_per_name = Some(3);
    let context = open(settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let submit = |n: usize| {
        let operation = Operation::Publish {
            owner: owner("a.mesh.example"),
            value: n.to_string(),
            ttl: 300,
        };
        context.submit(Author::Operator, vec![operation])
    };
    let outcomes = runtime.block_on(async {
        let (a, b, c, d, e) = tokio::join!(submit(0), submit(1), submit(2), submit(3), submit(4));
        [a, b, c, d, e]
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    assert_eq!(context.values(&owner("a.mesh.example")).len(), 3);
}

#[test]
fn a_panicking_request_is_answered_and_the_writer_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let context = open(settings(&directory)).unwrap();
    let broken = |draft: &mut dmp_node::store::Draft<'_>| -> Result<(), ()> {
        draft.publish(
            &owner("broken.mesh.example"),
            "v",
            300,
            Author::Operator.tag(),
        );
        panic!("on purpose")
    };
    assert!(matches!(
        context.store().transact_blocking(broken),
        Err(Failure::Unavailable(_))
    ));
    publish(&context, "a.mesh.example", "v");
    assert_eq!(context.live_values(), 1);
}

#[test]
fn a_failed_commit_makes_the_node_read_only_and_it_says_so() {
    let node = Node::start().with_keys(vec![row("k", &["mesh.example"])]);
    assert_eq!(
        node.update_rcode(&key("k"), &[add("a.mesh.example", "v")]),
        Rcode::NOERROR
    );
    // Ends the group's transaction under the writer's hands, as a failing disk would.
    let sabotage = |draft: &mut dmp_node::store::Draft<'_>| {
        draft.publish(&owner("b.mesh.example"), "v", 300, Author::Operator.tag());
        draft.sql().unwrap().execute_batch("ROLLBACK").unwrap();
        Ok::<_, ()>(())
    };
    let outcome = node.context.store().transact_blocking(sabotage);
    assert!(
        matches!(outcome, Err(Failure::Unavailable(_))),
        "{outcome:?}"
    );
    assert_eq!(node.context.store().condition(), Condition::ReadOnly);
    assert!(
        node.txt("b.mesh.example").is_empty(),
        "what is not durable is not served"
    );
    let response = node.update(&key("k"), &update(&[add("c.mesh.example", "v")]));
    assert_eq!(response.rcode, Rcode::SERVFAIL);
    assert_eq!(node.txt("a.mesh.example"), ["v"], "reads go on");
}

#[test]
fn a_full_store_refuses_writes_and_recovers_without_restart() {
    let node = Node::start().with_keys(vec![row("k", &["mesh.example"])]);
    let limit = |pages: u32| {
        let work = move |draft: &mut dmp_node::store::Draft<'_>| {
            let sql = draft.sql().unwrap();
            sql.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| {
                row.get::<_, u32>(0)
            })
            .map_err(|_| ())
        };
        node.context.store().transact_blocking(work).unwrap()
    };
    limit(1); // SQLite takes the present size when that is larger
    let many: Vec<_> = (0..20)
        .map(|index| add(&format!("n{index}.mesh.example"), &"x".repeat(2_000)))
        .collect();
    let response = node.update(&key("k"), &update(&many));
    assert_eq!(response.rcode, Rcode::SERVFAIL);
    assert_eq!(node.context.store().condition(), Condition::Full);
    assert_eq!(node.context.live_values(), 0);
    limit(100_000);
    node.clock.advance(1); // another signature: the same request is judged again anyway, this shows a new one
    assert_eq!(node.update_rcode(&key("k"), &many), Rcode::NOERROR);
    assert_eq!(node.context.store().condition(), Condition::Working);
    assert_eq!(node.context.live_values(), 20);
}

#[test]
fn expired_rows_leave_the_file() {
    let node = Node::start_with(|settings| {
        settings.cleanup_interval = std::time::Duration::from_millis(10)
    });
    node.put("a.mesh.example", "v", 10);
    node.put("b.mesh.example", "v", 100);
    node.clock.advance(10);
    let rows = || -> i64 {
        node.context
            .store()
            .read(|sql| sql.query_row("SELECT count(*) FROM record", [], |row| row.get(0)))
            .unwrap()
    };
    let patience = std::time::Instant::now();
    while rows() != 1 {
        assert!(
            patience.elapsed() < std::time::Duration::from_secs(20),
            "the row is still there"
        );
        std::thread::yield_now();
    }
    assert_eq!(node.context.live_values(), 1);
}

#[test]
fn files_are_for_their_owner_only_and_a_lax_mode_is_healed() {
    let directory = tempfile::tempdir().unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = settings(&directory).database;
    let context = open(settings(&directory)).unwrap();
    publish(&context, "a.mesh.example", "v");
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(
            mode(format!("{}{suffix}", path.display()).as_ref()),
            0o600,
            "{suffix}"
        );
    }
    drop(context);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(
        path.parent().unwrap(),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let _context = open(settings(&directory)).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(
        mode(path.parent().unwrap()),
        0o755,
        "a directory that was there keeps its mode (W-18)"
    );
}

#[test]
fn a_database_of_the_reference_is_refused_untouched_and_the_import_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dmp.db");
    let reference = rusqlite::Connection::open(&path).unwrap();
    reference.execute_batch("CREATE TABLE records (name TEXT, value TEXT, ttl INTEGER, created_at INTEGER, expires_at INTEGER, PRIMARY KEY (name, value))").unwrap();
    drop(reference);
    let before = std::fs::read(&path).unwrap();
    let error = open(Settings {
        database: path.clone(),
        ..settings(&directory)
    })
    .unwrap_err();
    assert!(matches!(error, OpenError::Foreign(_)));
    assert!(error.to_string().contains("dnsmesh node import"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(settings(&directory)).unwrap());
    rusqlite::Connection::open(settings(&directory).database)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        open(settings(&directory)),
        Err(OpenError::Newer { found: 99, .. })
    ));
}

#[test]
fn a_database_of_the_first_schema_is_brought_up_to_date_with_all_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = settings(&directory).database;
    let context = open(settings(&directory)).unwrap();
    publish(&context, "a.mesh.example", "v");
    context.store().close();
    drop(context);
    let first = rusqlite::Connection::open(&path).unwrap();
    first
        .execute_batch(
            "ALTER TABLE state DROP COLUMN live; ALTER TABLE state DROP COLUMN clock_at;
             ALTER TABLE state DROP COLUMN clock_row; ALTER TABLE state DROP COLUMN stamp;
             ALTER TABLE record DROP COLUMN written_at; DROP TABLE tombstone; PRAGMA user_version = 1;
             PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM;",
        )
        .unwrap();
    let pragma = |sql: &rusqlite::Connection, name| -> i64 {
        sql.pragma_query_value(None, name, |row| row.get(0))
            .unwrap()
    };
    assert_eq!(pragma(&first, "auto_vacuum"), 0);
    drop(first);
    let context = open(settings(&directory)).unwrap();
    assert_eq!(context.values(&owner("a.mesh.example")), ["v"]);
    publish(&context, "b.mesh.example", "v");
    context.store().close();
    let now = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(
        (pragma(&now, "user_version"), pragma(&now, "auto_vacuum")),
        (3, 2)
    );
    let live: i64 = now
        .query_row("SELECT live FROM state", [], |row| row.get(0))
        .unwrap();
    assert_eq!(live, 2, "the next start knows how much memory it takes");
}

#[test]
fn the_file_shrinks_after_mass_expiry_while_writes_go_on() {
    let node = Node::start_with(|settings| {
        settings.cleanup_interval = Duration::from_millis(10);
    });
    let text = "x".repeat(2_000);
    let store = node.context.store();
    let fill = move |draft: &mut dmp_node::store::Draft<'_>| {
        for index in 0..9_000 {
            let name = owner(&format!("n{index}.mesh.example"));
            draft.publish(&name, &text, 60, Author::Operator.tag());
        }
        Ok::<_, std::convert::Infallible>(())
    };
    store.transact_blocking(fill).unwrap();
    let octets = || std::fs::metadata(store.path()).unwrap().len();
    let half = 9_000 * 2_000 / 2;
    node.put("checkpoint.mesh.example", "v", 60);
    assert!(octets() > half, "{} octets", octets());
    node.put("stays.mesh.example", "v", 86_400);
    node.clock.advance(60);
    let patience = Instant::now();
    for index in 0.. {
        assert!(
            patience.elapsed() < Duration::from_secs(60),
            "{} octets",
            octets()
        );
        node.put(&format!("new{index}.mesh.example"), "v", 86_400);
        if octets() < half {
            break;
        }
    }
    assert_eq!(node.context.values(&owner("stays.mesh.example")), ["v"]);
    let path = store.path().to_owned();
    store.close();
    let integrity: String = rusqlite::Connection::open(path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(integrity, "ok");
}

const YEARS: u64 = 10 * 365 * 86_400;

#[test]
fn a_clock_that_jumps_ahead_erases_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let fast = || {
        let mut settings = settings(&directory);
        settings.cleanup_interval = Duration::from_millis(1);
        settings
    };
    let clock = Clock::manual(NOW * 1000);
    let context = Context::open(fast(), clock.clone()).unwrap();
    let a = owner("a.mesh.example");
    publish(&context, "a.mesh.example", "v");
    clock.set(NOW + YEARS);
    publish(&context, "b.mesh.example", "v");
    assert!(context.values(&a).is_empty(), "answers follow the clock");
    clock.advance(limits::CLOCK_HOLD.as_secs() - 1);
    publish(&context, "c.mesh.example", "v"); // the writer has looked at the clock again
    clock.set(NOW + 1);
    assert_eq!(
        context.values(&a),
        ["v"],
        "nothing was lost while it was wrong"
    );
    context.store().close();
    drop(context);

    // The same over a restart while the clock is wrong.
    let clock = Clock::manual((NOW + YEARS) * 1000);
    let context = Context::open(fast(), clock.clone()).unwrap();
    publish(&context, "d.mesh.example", "v");
    context.store().close();
    drop(context);
    let context = Context::open(fast(), Clock::manual((NOW + 2) * 1000)).unwrap();
    assert_eq!(context.values(&a), ["v"]);

    // A clock that stays where it is becomes the time in the end.
    context.store().close();
    drop(context);
    let clock = Clock::manual((NOW + YEARS) * 1000);
    let context = Context::open(fast(), clock.clone()).unwrap();
    clock.advance(limits::CLOCK_HOLD.as_secs());
    publish(&context, "e.mesh.example", "v");
    let patience = Instant::now();
    // The values of a, b and d; c and e live longer.
    while context.live_values() > 2 {
        assert!(patience.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

#[test]
fn a_clock_that_jumps_back_resurrects_nothing_and_costs_no_new_write() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW * 1000);
    let context = Context::open(settings(&directory), clock.clone()).unwrap();
    publish(&context, "dead.mesh.example", "v");
    clock.advance(400);
    publish(&context, "live.mesh.example", "v");
    context.store().close();
    drop(context);
    for back in [20, 399, 86_400, YEARS] {
        let clock = Clock::manual((NOW + 400 - back) * 1000);
        let context = Context::open(settings(&directory), clock).unwrap();
        assert!(
            context.values(&owner("dead.mesh.example")).is_empty(),
            "back by {back}"
        );
        assert_eq!(context.values(&owner("live.mesh.example")), ["v"]);
        publish(&context, "new.mesh.example", "v");
        context.store().close();
        drop(context);
        let again = Clock::manual((NOW + 401 - back) * 1000);
        let context = Context::open(settings(&directory), again).unwrap();
        assert_eq!(
            context.values(&owner("new.mesh.example")),
            ["v"],
            "back by {back}"
        );
        assert!(context.values(&owner("dead.mesh.example")).is_empty());
        context.store().close();
    }
}

#[test]
fn two_nodes_cannot_have_one_store() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(settings(&directory)).unwrap();
    assert!(matches!(
        open(settings(&directory)),
        Err(OpenError::InUse { .. })
    ));
}

#[test]
fn a_closed_store_answers_that_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let context = open(settings(&directory)).unwrap();
    context.store().close();
    let work = |_: &mut dmp_node::store::Draft<'_>| Ok::<_, ()>(());
    assert!(matches!(
        context.store().transact_blocking(work),
        Err(Failure::Stopped)
    ));
}
