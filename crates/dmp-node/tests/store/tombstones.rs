//! Of the last write and the last delete of a value the later one wins, and of equals the delete (federation.md 4.9, D24).

use dmp_node::limits::{MAX_TTL, TOMBSTONES};
use dmp_node::store::{Deletes, Replicated, restore};
use rusqlite::Connection;

use crate::support::{NOW, Node, owner};

const NAME: &str = "a.mesh.test";
/// The time of every step, in milliseconds.
const T: u64 = NOW * 1000;

/// Something that happens to one value.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A client publishes it.
    Publish,
    /// A client deletes it.
    Delete,
    /// Another node has it, written then.
    Value(Option<u64>, Replicated),
    /// Another node knows that it was deleted then; whether that is news.
    Deleted(u64, bool),
}

#[test]
fn the_later_of_write_and_delete_wins_and_of_equals_the_delete() {
    use Replicated::{Buried, Known, New, Refreshed};
    use Step::{Delete, Deleted, Publish, Value};
    let some = Some;
    #[rustfmt::skip]
    let table: &[(&[Step], bool)] = &[
        (&[Publish, Delete], false),
        (&[Publish, Delete, Publish], true),
        (&[Delete, Publish], true),
        (&[Publish, Deleted(T - 1, false)], true),
        (&[Publish, Deleted(T, true)], false),
        (&[Publish, Deleted(T + 1, true), Publish], true),
        (&[Deleted(T + 50_000, true), Publish], true),
        (&[Deleted(T + 50_000, true), Publish, Deleted(T + 50_000, false)], true),
        (&[Deleted(T + 50_000, true), Publish, Deleted(T + 50_001, true)], false),
        (&[Value(some(T + 50_000), New), Delete, Value(some(T + 50_000), Buried)], false),
        (&[Publish, Delete, Value(some(T - 1), Buried)], false),
        (&[Publish, Delete, Value(some(T), Buried)], false),
        (&[Publish, Delete, Value(some(T + 1), New)], true),
        (&[Publish, Delete, Value(some(T + 1), New), Deleted(T, false)], true),
        (&[Publish, Delete, Value(None, Buried)], false),
        (&[Delete, Value(some(T), Buried)], false),
        (&[Value(None, New), Deleted(1, true)], false),
        (&[Value(None, New), Value(some(5), Refreshed), Deleted(4, false)], true),
        (&[Value(some(5), New), Value(None, Known), Deleted(4, false)], true),
        (&[Value(some(5), New), Value(some(9), Refreshed), Deleted(6, false)], true),
        (&[Value(some(9), New), Value(some(5), Known), Deleted(6, false)], true),
        (&[Deleted(6, true), Deleted(6, false), Deleted(5, false), Deleted(7, true), Value(some(7), Buried)], false),
        (&[Deleted(6, true), Value(some(7), New)], true),
        (&[Value(some(T + 9), New), Publish, Deleted(T + 8, false)], true),
    ];
    for (steps, is_there) in table {
        let node = Node::new();
        for step in *steps {
            match *step {
                Publish => node.publish(NAME, "v", 300),
                Delete => drop(node.delete(NAME, "v")),
                Value(written_at, expected) => {
                    let replicated = node.replicate(NAME, "v", 300, written_at);
                    assert_eq!(replicated, expected, "{step:?} of {steps:?}");
                }
                Deleted(at, is_news) => {
                    assert_eq!(
                        node.bury(NAME, "v", at, 300),
                        is_news,
                        "{step:?} of {steps:?}"
                    );
                }
            }
        }
        assert_eq!(node.holds(NAME, "v"), *is_there, "{steps:?}");
        let rows = node.digest(10, Deletes::Shown);
        let live = rows.iter().filter(|row| row.deleted_at.is_none()).count();
        assert_eq!(live, usize::from(*is_there), "{steps:?}");
        assert_eq!(
            rows.len(),
            1,
            "a value or its tombstone, never both: {steps:?}"
        );
    }
}

#[test]
fn a_delete_is_shown_to_who_asks_for_deletes_and_to_nobody_else() {
    let node = Node::new();
    node.publish(NAME, "v", 300);
    node.publish(NAME, "w", MAX_TTL * 2);
    node.clock.advance(5);
    assert_eq!(node.draft(|draft| draft.delete_all(&owner(NAME))), 2);
    assert!(node.digest(10, Deletes::Hidden).is_empty());
    let mut rows = node.tombstones();
    rows.sort_by_key(|row| row.ttl);
    let lives: Vec<_> = rows.iter().map(|row| row.ttl).collect();
    assert_eq!(
        lives,
        [MAX_TTL, 2 * MAX_TTL - 5],
        "as long as the value could live"
    );
    for row in rows {
        assert_eq!(row.deleted_at, Some((NOW + 5) * 1000));
        assert_eq!((row.name.as_str(), row.written_at), (NAME, None));
    }
}

#[test]
fn neither_expiry_nor_refresh_nor_a_lone_node_leaves_a_tombstone() {
    let node = Node::new();
    node.publish(NAME, "short", 5);
    node.publish(NAME, "v", 300);
    node.publish(NAME, "v", 300);
    node.publish("_dnsmesh-seen.mesh.test", "v", 300);
    node.delete("_dnsmesh-seen.mesh.test", "v");
    node.clock.advance(5);
    assert!(node.tombstones().is_empty());
    let alone = Node::alone();
    alone.publish(NAME, "v", 300);
    alone.delete(NAME, "v");
    assert!(alone.tombstones().is_empty());
}

#[test]
fn a_delete_of_a_value_that_has_not_come_yet_keeps_it_out() {
    let node = Node::new();
    assert!(!node.delete(NAME, "v"));
    assert_eq!(node.replicate(NAME, "v", 300, Some(T)), Replicated::Buried);
    assert!(!node.holds(NAME, "v"));
}

#[test]
fn a_refused_request_leaves_tombstones_as_they_were() {
    let node = Node::new();
    node.publish(NAME, "kept", 300);
    node.delete(NAME, "gone");
    let before = node.tombstones();
    let refused = node.store().transact_blocking(|draft| {
        draft.delete_all(&owner(NAME));
        draft.publish(
            &owner(NAME),
            "gone",
            300,
            dmp_node::store::WriterTag::NOBODY,
        );
        draft.delete_value(&owner(NAME), "more");
        Err::<(), _>("refused")
    });
    assert!(refused.is_err());
    assert_eq!(node.tombstones(), before);
    assert!(node.holds(NAME, "kept"));
    node.replicate(NAME, "more", 300, None);
    assert!(node.holds(NAME, "more"));
}

#[test]
fn tombstones_survive_a_restart_and_a_restored_backup_and_end_with_their_time() {
    let mut node = Node::new();
    node.publish(NAME, "v", 300);
    node.delete(NAME, "v");
    let copy = node.directory.path().join("copy.db");
    node.store().backup(&copy).unwrap();
    node.reopen(NOW + 1);
    assert_eq!(node.replicate(NAME, "v", 300, Some(T)), Replicated::Buried);
    node.publish(NAME, "v", 300);
    let database = node.store().path().to_owned();
    node.close();
    restore(&copy, &database, &node.clock).unwrap();
    node.reopen(NOW + 2);
    assert_eq!(node.tombstones().len(), 1);
    assert_eq!(node.replicate(NAME, "v", 300, Some(T)), Replicated::Buried);
    node.clock.advance(MAX_TTL);
    assert!(node.tombstones().is_empty());
    node.wait_until(|node| {
        let rows = node.store().read(|sql| {
            let select = "SELECT count(*) FROM tombstone";
            sql.query_row(select, [], |row| row.get::<_, i64>(0))
        });
        rows.unwrap() == 0
    });
    assert_eq!(node.replicate(NAME, "v", 300, Some(T)), Replicated::New);
}

#[test]
fn a_value_of_another_node_lives_as_long_as_the_longer_of_both() {
    let node = Node::new();
    let ttl = |node: &Node| node.digest(10, Deletes::Hidden)[0].ttl;
    assert_eq!(node.replicate(NAME, "v", 100, Some(1)), Replicated::New);
    assert_eq!(node.replicate(NAME, "v", 50, Some(1)), Replicated::Known);
    assert_eq!(node.replicate(NAME, "v", 105, Some(1)), Replicated::Known);
    assert_eq!(ttl(&node), 100);
    assert_eq!(
        node.replicate(NAME, "v", 106, Some(1)),
        Replicated::Refreshed
    );
    assert_eq!(ttl(&node), 106);
    assert_eq!(
        node.replicate(NAME, "v", 50, Some(2)),
        Replicated::Refreshed
    );
    assert_eq!(
        ttl(&node),
        106,
        "a later write with less life takes none away"
    );
    let rows = node.digest(10, Deletes::Hidden);
    assert_eq!(rows[0].written_at, Some(2), "passed on as it came");
}

#[test]
fn what_the_index_cannot_hold_is_not_taken_over() {
    let node = Node::new();
    let long = "x".repeat(60_000);
    let mut taken = 0;
    while node.replicate(NAME, &format!("{taken}{long}"), 300, None) == Replicated::New {
        taken += 1;
    }
    assert_eq!(taken, 17, "a megabyte");
    let node = Node::new();
    let long = "x".repeat(65_280);
    assert_eq!(node.replicate(NAME, &long, 300, None), Replicated::Full);
}

#[test]
fn beyond_the_bound_the_oldest_deletes_are_forgotten() {
    let mut node = Node::new();
    let path = node.store().path().to_owned();
    node.close();
    let sql = Connection::open(path).unwrap();
    sql.execute_batch(&format!(
        "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {TOMBSTONES})
         INSERT INTO tombstone SELECT n, 'a', randomblob(32), 7, 7, {expires} FROM number;
         UPDATE state SET next_row = {TOMBSTONES} + 1;",
        expires = NOW + 300,
    ))
    .unwrap();
    drop(sql);
    node.reopen(NOW);
    node.draft(|draft| (0..9).all(|index| draft.bury(&owner(NAME), &[index; 32], 7, 300)));
    let rows = node.store().read(|sql| {
        let select = "SELECT count(*), min(id) FROM tombstone";
        sql.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?)))
    });
    assert_eq!(rows.unwrap(), (TOMBSTONES as i64, 10_i64));
}
