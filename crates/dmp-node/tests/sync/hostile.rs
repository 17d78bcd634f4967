//! Peers that lie, and what is asked of them all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use dmp_node::federation::sync::{Ask, Exchange, Fault, Member, Reason, Terms};
use dmp_node::store::Cursor;
use serde_json::{Value, json};

use super::scripted::{Held, World, hash_of};

const NOW: u64 = 1_800_000_000_000;

fn terms() -> Terms {
    Terms {
        operator: None,
        base: None,
        max_ttl: 86_400,
    }
}

fn peer() -> Exchange {
    let member = Member::named("b", "http://b.example:8053").unwrap();
    Exchange::new(member, Cursor::default(), NOW)
}

fn body(value: Value) -> Result<Vec<u8>, Fault> {
    Ok(value.to_string().into_bytes())
}

/// One row of a peer: name, value, its milliseconds, seconds left, and when it was written.
type Row = (String, String, u64, u64, Option<u64>);

/// An honest peer with these rows, which answers a pull with `most` values at most.
fn honest(rows: Arc<Mutex<Vec<Row>>>, most: usize) -> impl FnMut(&Ask) -> Result<Vec<u8>, Fault> {
    move |ask| {
        let rows = rows.lock().unwrap();
        match ask {
            Ask::Digest(after) => {
                let mut listed: Vec<(Cursor, &Row)> = rows
                    .iter()
                    .map(|row| {
                        let cursor = Cursor {
                            ts: row.2,
                            name: row.0.clone(),
                            hash: Some(hash_of(&row.1)),
                        };
                        (cursor, row)
                    })
                    .filter(|(cursor, _)| cursor > after)
                    .collect();
                listed.sort_by(|(one, _), (other, _)| one.cmp(other));
                let has_more = listed.len() > 1_000;
                listed.truncate(1_000);
                let records: Vec<Value> = listed
                    .iter()
                    .map(|(cursor, row)| {
                        let mut record = json!({"name": row.0, "hash": hex::encode(cursor.hash.unwrap()),
                            "ts": row.2, "ttl": row.3});
                        if let Some(at) = row.4 {
                            record["written_at"] = json!(at);
                        }
                        record
                    })
                    .collect();
                body(json!({"records": records, "has_more": has_more, "next_cursor": "lie"}))
            }
            Ask::Pull(names) => {
                assert!(ask.body().unwrap().len() <= 16_000 && names.len() <= 256);
                let values: HashMap<&String, Vec<&Row>> =
                    rows.iter().fold(HashMap::new(), |mut all, row| {
                        all.entry(&row.0).or_default().push(row);
                        all
                    });
                let mut records = Vec::new();
                for name in names {
                    let of_name = values.get(name).cloned().unwrap_or_default();
                    if !records.is_empty() && records.len() + of_name.len() > most {
                        break;
                    }
                    for row in of_name {
                        records.push(json!({"name": row.0, "value": row.1, "ttl": row.3}));
                    }
                }
                body(json!({ "records": records }))
            }
            Ask::Manifest => Err(Fault::Status(404)),
        }
    }
}

fn rows(count: usize) -> Arc<Mutex<Vec<Row>>> {
    let row = |number: usize| {
        let name = format!("n{number}.a-rather-long-label-that-makes-the-request-fill.example.com");
        (
            name,
            format!("value {number}"),
            NOW - 100_000 + number as u64,
            300,
            None,
        )
    };
    Arc::new(Mutex::new((0..count).map(row).collect()))
}

#[tokio::test]
async fn a_node_that_missed_thousands_catches_up_in_one_round() {
    for (count, most) in [(2_500, usize::MAX), (2_500, 100), (300, 1)] {
        let world = World::new(NOW, honest(rows(count), most));
        let mut exchange = peer();
        let round = exchange.round(&world, &terms()).await;
        let pages = count.div_ceil(1_000) as u64;
        assert_eq!(
            (round.new, round.pages),
            (count as u64, pages),
            "{most} values an answer"
        );
        assert_eq!(round.refused, [0; Reason::ALL.len()]);
        assert!(!round.has_more && round.fault.is_none());
        assert_eq!(exchange.mark().ts, NOW - 100_000 + count as u64 - 1);
        // The next round asks for nothing but news.
        let asked = world.asked.lock().unwrap().len();
        exchange.round(&world, &terms()).await;
        assert_eq!(world.asked.lock().unwrap().len(), asked + 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_asked_for_in_halves() {
    let mut answer = honest(rows(300), usize::MAX);
    let world = World::new(NOW, move |ask| match ask {
        Ask::Pull(names) if names.len() > 20 => Err(Fault::TooLong),
        ask => answer(ask),
    });
    let round = peer().round(&world, &terms()).await;
    assert_eq!((round.new, round.fault), (300, None));
}

#[tokio::test]
async fn one_row_that_nobody_may_have_never_blocks_the_rest() {
    let all = rows(300);
    for row in all.lock().unwrap().iter_mut().take(299) {
        row.1 = format!("v=dmp1;t=future;{}", row.1);
    }
    let world = World::new(NOW, honest(all, usize::MAX));
    let mut exchange = peer();
    let round = exchange.round(&world, &terms()).await;
    assert_eq!((round.new, round.refused(Reason::Record)), (1, 299));
    assert_eq!(
        exchange.mark().ts,
        NOW - 100_000 + 299,
        "all are dealt with"
    );
    let pulls = world.count(|ask| matches!(ask, Ask::Pull(_)));
    // Read again from the beginning, the refused are left alone for a while, and then tried once more.
    let mut anew = exchange.clone();
    anew.round(&world, &terms()).await;
    assert_eq!(world.count(|ask| matches!(ask, Ask::Pull(_))), pulls);
}

#[tokio::test]
async fn what_is_listed_and_never_handed_over_is_asked_for_twice_and_then_left_alone() {
    let all = rows(3);
    let mut answer = honest(all, usize::MAX);
    let world = World::new(NOW, move |ask| match ask {
        Ask::Pull(names) => {
            let kept: Vec<String> = names
                .iter()
                .filter(|name| !name.starts_with("n1."))
                .cloned()
                .collect();
            answer(&Ask::Pull(kept))
        }
        ask => answer(ask),
    });
    let mut exchange = peer();
    let round = exchange.round(&world, &terms()).await;
    assert_eq!((round.new, round.refused(Reason::Missing)), (2, 1));
    assert_eq!(
        exchange.mark().ts,
        NOW - 100_000,
        "not beyond what is missing"
    );
    exchange.round(&world, &terms()).await;
    let round = exchange.round(&world, &terms()).await;
    assert_eq!(round.refused(Reason::Missing), 0);
    assert_eq!(exchange.mark().ts, NOW - 100_000 + 2);
}

#[tokio::test]
async fn deletes_are_taken_over_and_the_later_of_write_and_delete_wins() {
    let (name, value) = ("a.example.com", "A");
    let tombstone = move |deleted_at: u64| {
        let hash = hex::encode(hash_of(value));
        json!({"records": [{"name": name, "hash": hash, "ts": NOW, "ttl": 86_400, "deleted_at": deleted_at}]})
    };
    let world = World::new(NOW, move |ask| match ask {
        Ask::Digest(_) => body(tombstone(NOW - 5)),
        ask => panic!("{ask:?}"),
    });
    world.hold(name, value, 300, Some(NOW - 10));
    let mut exchange = peer();
    let round = exchange.round(&world, &terms()).await;
    assert_eq!((round.buried, exchange.mark().ts), (1, NOW));
    assert!(world.live().is_empty());

    // Another peer that has not heard of it does not bring it back, unless it was written again.
    for (written_at, comes_back) in [
        (None, false),
        (Some(NOW - 10), false),
        (Some(NOW - 1), true),
    ] {
        let row = (name.to_owned(), value.to_owned(), NOW, 300, written_at);
        let other = World::new(NOW, honest(Arc::new(Mutex::new(vec![row])), usize::MAX));
        *other.held.lock().unwrap() = world.held.lock().unwrap().clone();
        let round = peer().round(&other, &terms()).await;
        assert_eq!(round.new == 1, comes_back, "{written_at:?}");
    }

    // One from the future is none.
    let world = World::new(NOW, move |_| body(tombstone(NOW + 60_001)));
    world.hold(name, value, 300, None);
    let round = peer().round(&world, &terms()).await;
    assert_eq!((round.buried, round.refused(Reason::Malformed)), (0, 1));
    assert_eq!(world.live().len(), 1);
}

#[tokio::test]
async fn a_newer_write_is_pulled_although_the_life_is_the_same() {
    let row = (
        "a.example.com".to_owned(),
        "A".to_owned(),
        NOW,
        300,
        Some(NOW - 1),
    );
    let world = World::new(NOW, honest(Arc::new(Mutex::new(vec![row])), usize::MAX));
    world.hold("a.example.com", "A", 300, Some(NOW - 10));
    let round = peer().round(&world, &terms()).await;
    assert_eq!(round.refreshed, 1);
    let key = ("a.example.com".to_owned(), "A".to_owned());
    let held = world.held.lock().unwrap()[&key].clone();
    let written_at = Some(NOW - 1);
    assert_eq!(
        held,
        Held::Live {
            ttl: 300,
            written_at
        }
    );
}

#[tokio::test]
async fn no_life_is_longer_than_a_writer_may_ask_for() {
    let row = (
        "a.example.com".to_owned(),
        "A".to_owned(),
        NOW,
        1 << 30,
        None,
    );
    let world = World::new(NOW, honest(Arc::new(Mutex::new(vec![row])), usize::MAX));
    peer().round(&world, &terms()).await;
    assert_eq!(world.live()[0].2, 86_400);
    // It is not asked for again for the sake of a life that it may not have.
    let row = (
        "a.example.com".to_owned(),
        "A".to_owned(),
        NOW,
        1 << 30,
        None,
    );
    let again = World::new(NOW, honest(Arc::new(Mutex::new(vec![row])), usize::MAX));
    again.hold("a.example.com", "A", 86_400, None);
    peer().round(&again, &terms()).await;
    assert_eq!(again.count(|ask| matches!(ask, Ask::Pull(_))), 0);
}

#[tokio::test]
async fn what_a_node_says_of_itself_stays_where_it_is() {
    let name = "_dnsmesh-heartbeat.example.com".to_owned();
    let row = (name, "v=dmp1;t=heartbeat;AAAA".to_owned(), NOW, 300, None);
    let world = World::new(NOW, honest(Arc::new(Mutex::new(vec![row])), usize::MAX));
    let mut exchange = peer();
    let round = exchange.round(&world, &terms()).await;
    assert_eq!(world.count(|ask| matches!(ask, Ask::Pull(_))), 0);
    assert_eq!((round.new, exchange.mark().ts), (0, NOW));
}

#[tokio::test]
async fn a_full_store_loses_nothing() {
    let all = rows(5);
    let mut world = World::new(NOW, honest(Arc::clone(&all), usize::MAX));
    world.has_room = false;
    let mut exchange = peer();
    let round = exchange.round(&world, &terms()).await;
    assert_eq!((round.new, round.refused(Reason::Full)), (0, 5));
    assert_eq!(*exchange.mark(), Cursor::default());
    world.has_room = true;
    let round = exchange.round(&world, &terms()).await;
    assert_eq!(round.new, 5);
}

#[tokio::test]
async fn a_peer_that_goes_round_in_circles_ends_the_round() {
    let page = |count: usize| {
        let hash = hex::encode(hash_of("A"));
        let record = json!({"name": "a.example.com", "hash": hash, "ts": 5, "ttl": 300});
        json!({"records": vec![record; count], "has_more": true})
    };
    let world = World::new(NOW, move |ask| match ask {
        Ask::Digest(_) => body(page(3)),
        _ => body(json!({"records": [{"name": "a.example.com", "value": "A", "ttl": 300}]})),
    });
    let mut exchange = peer();
    let round = exchange.round(&world, &terms()).await;
    assert_eq!((round.pages, round.new, round.has_more), (2, 1, false));
}

#[tokio::test]
async fn what_is_hidden_from_the_news_is_found_by_the_slow_walk() {
    let all = rows(1_500);
    let world = World::new(NOW, honest(Arc::clone(&all), usize::MAX));
    let mut exchange = peer();
    exchange.round(&world, &terms()).await;
    // A row that came under an old time, as after a backup was restored.
    let hidden = (
        "hidden.example.com".to_owned(),
        "H".to_owned(),
        7,
        300,
        None,
    );
    all.lock().unwrap().push(hidden);
    exchange.round(&world, &terms()).await;
    assert_eq!(world.live().len(), 1_500);
    *world.now.lock().unwrap() = NOW + 86_400_000;
    exchange.round(&world, &terms()).await;
    assert_eq!(world.live().len(), 1_501);
}
