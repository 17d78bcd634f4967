//! The order in which other nodes read what is stored (federation.md 4.9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use dmp_node::limits::{ROWS_PER_STAMP, STAMP_LEAD};
use dmp_node::store::{Cursor, Deletes, InvalidCursor, Replicated, Standing};
use rusqlite::Connection;

use crate::support::{NOW, Node, hash, owner};

/// Publishes `count` values in one transaction.
fn publish_many(node: &Node, prefix: &'static str, count: usize) {
    node.draft(move |draft| {
        for index in 0..count {
            let name = owner(&format!("{prefix}{}.mesh.test", index % 700));
            draft.replicate(&name, &format!("{prefix}-{index}"), 300, Some(1));
        }
    });
}

#[test]
fn rows_of_one_millisecond_are_ordered_by_name_and_hash_and_are_few() {
    let node = Node::new();
    publish_many(&node, "b", 2_500);
    publish_many(&node, "a", 30);
    for limit in [97, 1_000, 10_000] {
        let rows = node.digest(limit, Deletes::Hidden);
        let names: BTreeSet<_> = rows.iter().map(|row| (&row.name, row.hash)).collect();
        assert_eq!((rows.len(), names.len()), (2_530, 2_530), "limit {limit}");
    }
    let mut shares = BTreeMap::new();
    for row in node.digest(1_000, Deletes::Hidden) {
        assert!((NOW * 1000..NOW * 1000 + 10).contains(&row.ts));
        *shares.entry(row.ts).or_insert(0) += 1;
    }
    assert!(shares.values().all(|rows| *rows <= ROWS_PER_STAMP));
}

#[test]
fn a_page_ends_between_two_values_of_one_name_and_millisecond() {
    let node = Node::new();
    node.draft(|draft| {
        for index in 0..40 {
            draft.replicate(&owner("one.mesh.test"), &format!("{index}"), 300, None);
        }
    });
    let rows = node.digest(3, Deletes::Hidden);
    assert_eq!(rows.len(), 40);
    assert!(rows.iter().all(|row| row.ts == NOW * 1000));
}

#[test]
fn stamps_never_fall_back_over_a_restart_with_an_earlier_clock() {
    let mut node = Node::new();
    node.publish("first.mesh.test", "v", 90_000);
    node.clock.set(NOW - 3_600);
    node.publish("second.mesh.test", "v", 90_000);
    let before = node.digest(10, Deletes::Hidden);
    let watermark = before.last().unwrap().cursor();
    node.delete("second.mesh.test", "v");
    node.reopen(NOW - 7_200);
    node.publish("third.mesh.test", "v", 90_000);
    let page = node
        .store()
        .digest(&watermark, 10, Deletes::Hidden, |_, _| true);
    let names: Vec<_> = page.unwrap().rows.into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["third.mesh.test"]);
    let rows = node.digest(10, Deletes::Hidden);
    assert!(rows.last().unwrap().ts > NOW * 1000);
}

#[test]
fn what_a_wrong_clock_has_dated_ahead_is_dated_anew_when_the_clock_is_right() {
    let mut node = Node::new();
    node.publish("early.mesh.test", "v", 3_000);
    node.clock.set(NOW + 290); // as far as a clock is set without being in doubt
    for name in ["a", "b", "gone"] {
        node.publish(&format!("{name}.mesh.test"), "v", 3_000);
    }
    node.delete("gone.mesh.test", "v");
    let ahead = node.digest(10, Deletes::Shown);
    node.clock.set(NOW + 1);
    let most = (NOW + 1) * 1000 + STAMP_LEAD + 10;
    let is_restamped = |node: &Node| {
        let rows = node.digest(10, Deletes::Shown);
        rows.len() == 4 && rows[3].ts <= most // while it is done, those rows are not shown
    };
    assert!(ahead.last().unwrap().ts > most);
    node.wait_until(is_restamped);
    let rows = node.digest(10, Deletes::Shown);
    assert_eq!(rows[0].ts, NOW * 1000, "what was right stays as it was");
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    let order = [
        "early.mesh.test",
        "a.mesh.test",
        "b.mesh.test",
        "gone.mesh.test",
    ];
    assert_eq!(names, order);
    let times: Vec<_> = rows
        .iter()
        .map(|row| row.written_at.or(row.deleted_at))
        .collect();
    let deleted_at = (NOW + 1) * 1000;
    let now = Some(deleted_at);
    assert_eq!(times, [Some(NOW * 1000), now, now, now]);
    let read = rows.last().unwrap().cursor();
    node.publish("late.mesh.test", "v", 3_000);
    let page = |node: &Node| {
        let page = node.store().digest(&read, 10, Deletes::Shown, |_, _| true);
        page.unwrap()
            .rows
            .into_iter()
            .map(|row| row.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(page(&node), ["late.mesh.test"]);
    let known = [(owner("gone.mesh.test"), hash("v"))];
    assert_eq!(
        node.store().standing(&known).unwrap(),
        [Standing::Buried { deleted_at }]
    );
    node.reopen(NOW + 2);
    assert_eq!(page(&node), ["late.mesh.test"]);
    assert_eq!(
        node.store().standing(&known).unwrap(),
        [Standing::Buried { deleted_at }]
    );
}

#[test]
fn pages_neither_skip_nor_repeat_while_writes_go_on() {
    const WRITES: usize = 400;
    let node = Node::new();
    let done = AtomicUsize::new(0);
    let mut seen = BTreeSet::new();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (node, done) = (&node, &done);
            scope.spawn(move || {
                for index in 0..WRITES {
                    // Falling names: what comes later sorts before what was read, but for its stamp.
                    let name = format!("n{:04}.w{writer}.mesh.test", WRITES - index);
                    node.publish(&name, "v", 300);
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
        let mut cursor = Cursor::default();
        loop {
            let is_over = done.load(Ordering::Acquire) == 2;
            let page = node
                .store()
                .digest(&cursor, 5, Deletes::Shown, |_, _| true)
                .unwrap();
            for row in &page.rows {
                assert!(row.cursor() > cursor);
                cursor = row.cursor();
                assert!(seen.insert(row.name.clone()), "{} came twice", row.name);
            }
            if is_over && page.rows.is_empty() {
                break;
            }
        }
    });
    assert_eq!(seen.len(), 2 * WRITES);
}

#[test]
fn a_refresh_moves_a_value_to_the_end_with_the_life_that_it_has_now() {
    let node = Node::new();
    node.publish("a.mesh.test", "v", 300);
    node.publish("b.mesh.test", "v", 300);
    node.clock.advance(10);
    node.publish("a.mesh.test", "v", 400);
    let rows = node.digest(10, Deletes::Hidden);
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.name.as_str(), row.ttl))
        .collect();
    assert_eq!(shown, [("b.mesh.test", 290), ("a.mesh.test", 400)]);
    assert_eq!(rows[1].written_at, Some((NOW + 10) * 1000));
}

#[test]
fn expired_values_and_heartbeats_are_not_listed() {
    let node = Node::new();
    node.publish("short.mesh.test", "v", 5);
    node.publish("_dnsmesh-heartbeat.mesh.test", "v", 300);
    node.publish("_dnsmesh-seen.mesh.test", "v", 300);
    node.publish("long.mesh.test", "v", 300);
    node.clock.advance(5);
    let rows = node.digest(10, Deletes::Shown);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].name.as_str(), rows[0].ttl),
        ("long.mesh.test", 295)
    );
    let names = ["short", "_dnsmesh-seen", "long", "none"];
    let names = names.map(|name| owner(&format!("{name}.mesh.test")));
    let values = node.store().values_of(&names, 10_000, |_, _| true).unwrap();
    assert_eq!(values.len(), 1);
    assert_eq!((values[0].value.as_str(), values[0].ttl), ("v", 295));
}

#[test]
fn values_are_given_in_the_order_of_the_digest_and_whole_names_within_a_bound() {
    let node = Node::new();
    for (name, value) in [("b", "2"), ("a", "1"), ("b", "3"), ("c", "4")] {
        node.clock.advance(1);
        node.publish(&format!("{name}.mesh.test"), value, 300);
    }
    let names = ["c", "b", "a"].map(|name| owner(&format!("{name}.mesh.test")));
    let values = |octets| {
        let values = node.store().values_of(&names, octets, |_, _| true).unwrap();
        values
            .into_iter()
            .map(|value| value.value)
            .collect::<String>()
    };
    assert_eq!(values(10_000), "2134");
    assert_eq!(values(200), "234", "the last name does not fit");
    assert_eq!(values(1), "4", "the first name is always there");
}

#[test]
fn what_a_node_has_of_a_value_is_told_with_its_life_and_last_write() {
    let node = Node::new();
    node.publish("a.mesh.test", "own", 300);
    node.clock.advance(100);
    assert_eq!(
        node.replicate("a.mesh.test", "other", 50, Some(7)),
        Replicated::New
    );
    node.replicate("a.mesh.test", "old", 50, None);
    node.delete("a.mesh.test", "gone");
    let pairs = ["own", "other", "old", "gone", "none"];
    let pairs = pairs.map(|value| (owner("a.mesh.test"), hash(value)));
    let live = |ttl, written_at| Standing::Live { ttl, written_at };
    assert_eq!(
        node.store().standing(&pairs).unwrap(),
        [
            live(200, Some(NOW * 1000)),
            live(50, Some(7)),
            live(50, None),
            Standing::Buried {
                deleted_at: (NOW + 100) * 1000
            },
            Standing::Absent
        ]
    );
}

#[test]
fn a_cursor_is_read_as_it_is_written() {
    let cursor = Cursor {
        ts: 17,
        name: "a:b".into(),
        hash: None,
    };
    assert_eq!("17:a".parse::<Cursor>().unwrap().name, "a");
    assert_eq!(Cursor::default().to_string(), "0::");
    assert_eq!("0::".parse(), Ok(Cursor::default()));
    let whole = Cursor {
        name: "a".into(),
        hash: Some([0xab; 32]),
        ..cursor
    };
    assert_eq!(whole.to_string().parse(), Ok(whole.clone()));
    assert!(whole > "17:a:".parse().unwrap() && whole < "17:aa:".parse().unwrap());
    let name = "n".repeat(254);
    for text in [
        "", "1", ":", ":a:", "-1::", "+1::", " 1::", "1:a:AB", "1:a:zz",
    ] {
        assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
    }
    let upper = whole.to_string().to_uppercase();
    for text in [upper, format!("1:{name}:"), format!("{whole}0")] {
        assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
    }
}

#[test]
fn a_database_of_the_second_schema_gets_an_order_and_keeps_the_times_of_its_values() {
    let mut node = Node::alone();
    for name in ["a", "b", "c", "d"] {
        node.publish(&format!("{name}.mesh.test"), "v", 300);
    }
    let path = node.store().path().to_owned();
    node.close();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&format!(
        "ALTER TABLE record DROP COLUMN written_at; ALTER TABLE state DROP COLUMN stamp; DROP TABLE tombstone;
         UPDATE record SET stored_ms = {before} WHERE owner = 'b.mesh.test';
         UPDATE record SET stored_ms = {after} WHERE owner = 'c.mesh.test';
         PRAGMA user_version = 2;",
        before = NOW * 1000 - 5,
        after = NOW * 1000 + 999_999,
    ))
    .unwrap();
    drop(old);
    node.reopen(NOW + 1);
    node.publish("e.mesh.test", "v", 300);
    let rows = node.digest(10, Deletes::Hidden);
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.name.as_str(),
                row.ts - NOW * 1000,
                row.written_at.unwrap(),
            )
        })
        .collect();
    let (begun, later) = (NOW * 1000, (NOW + 1) * 1000);
    assert_eq!(
        shown,
        [
            ("a.mesh.test", 0, begun),
            ("b.mesh.test", 0, begun - 5),
            ("c.mesh.test", 1_000, later),
            ("d.mesh.test", 1_000, begun),
            ("e.mesh.test", 1_001, later),
        ],
        "what seemed to come from the future was written by now"
    );
    node.close();
    let version: i64 = Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 3);
}
