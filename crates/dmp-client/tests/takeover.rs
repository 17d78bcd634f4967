//! A home of the reference is taken over once, whole, and without touching its files (D4, client.md 2, 3.2, 5).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dmp_client::config::Config;
use dmp_client::home::Home;
use dmp_client::store::{Authorship, IntroId, NewIntro, Reason, Received, Store};
use dmp_client::takeover::{ReferenceHome, TakeoverError};
use dmp_core::id::{MsgId, PrekeyId, UnixTime};
use dmp_core::keys::{AgreementSecret, Identity, Salt, SigningPublicKey};
use dmp_core::name::Zone;
use dmp_core::record::PrekeyRecord;
use rusqlite::Connection;
use tempfile::TempDir;

const NOW: UnixTime = UnixTime::new(1_800_000_000);
const PREKEYS: &str = "CREATE TABLE prekeys (prekey_id INTEGER PRIMARY KEY, private_key BLOB NOT NULL, public_key BLOB NOT NULL,
    exp INTEGER NOT NULL, created_at INTEGER NOT NULL";

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/state-files")
        .join(name)
}

fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

/// A home with sample files, given as (sample, name in the home).
fn home_with(files: &[(&str, &str)]) -> (TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in files {
        fs::copy(sample(from), dir.path().join(to)).unwrap();
    }
    let home = Home::at(dir.path());
    (dir, home)
}

/// Every file of a directory with its content.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file() && path.file_name().unwrap() != "config.lock")
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn database(home: &Home, name: &str, sql: &str) -> Connection {
    let connection = Connection::open(home.dir().join(name)).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

fn read(home: &Home) -> ReferenceHome {
    ReferenceHome::read(home, &Config::default(), NOW).unwrap()
}

fn read_config(yaml: &str) -> ReferenceHome {
    let dir = tempfile::tempdir().unwrap();
    ReferenceHome::read(
        &Home::at(dir.path()),
        &Config::from_yaml(yaml).unwrap(),
        NOW,
    )
    .unwrap()
}

#[test]
fn the_sample_home_is_taken_over_whole_and_its_files_stay_as_they_are() {
    let (dir, home) = home_with(&[
        ("config.yaml", "config.yaml"),
        ("prekeys.db", "prekeys.db"),
        ("intros.db", "intros.db"),
        ("replay_cache.json", "replay_cache.json"),
    ]);
    let config = home.load_config().unwrap();
    let salt = Salt::from_hex(&config.kdf_salt).unwrap();
    let identity = Identity::derive("correct horse battery staple", &salt).unwrap();
    assert_eq!(identity.signing_public().to_string(), config.verify_pubkey);
    let before = content(dir.path());

    let found = ReferenceHome::read(&home, &config, NOW).unwrap();
    assert_eq!(found.skipped, Vec::<String>::new());
    let (store, taken) = Store::take_over(dir.path(), &identity, NOW, &found).unwrap();
    let taken = taken.unwrap();
    assert_eq!(
        (taken.contacts, taken.prekeys, taken.intros, taken.denylist),
        (3, 2, 2, 1)
    );

    let contacts = store.contacts().unwrap();
    let labels: Vec<_> = contacts
        .iter()
        .map(|contact| contact.label.as_str())
        .collect();
    assert_eq!(labels, ["bob@beta.test", "dave", "intro-32bb4dd859e6"]);
    assert_eq!(contacts[0].username(), Some("bob"));
    assert!(contacts[1].agreement.is_some() && contacts[1].signing.is_none());
    assert!(contacts[2].agreement.is_none() && contacts[2].username().is_none());
    assert_eq!(contacts[2].zone, Some(Zone::parse("gamma.test").unwrap()));
    for id in [1001, 1002] {
        let id = PrekeyId::new(id).unwrap();
        assert!(store.prekey_secret(id, NOW).unwrap().is_some());
    }
    let intros = store.intros().unwrap();
    let seen: Vec<_> = intros
        .iter()
        .map(|intro| (intro.id.get(), intro.body.clone(), intro.received.as_secs()))
        .collect();
    assert_eq!(
        seen,
        [
            (2, b"\xff\0bin".to_vec(), 1_800_000_005),
            (1, b"hello from a stranger".to_vec(), 1_800_000_000)
        ]
    );
    assert_eq!(
        intros[1].address.as_ref().unwrap().as_str(),
        "carol@gamma.test"
    );
    assert_eq!(
        (intros[1].sender_id, &*intros[1].reason.code),
        (None, "not-pinned")
    );
    let blocked = &store.denylist().unwrap()[0];
    assert_eq!(
        (blocked.note.as_str(), blocked.blocked.as_secs()),
        ("spam", 1_800_000_009)
    );
    let delivered = SigningPublicKey::from_hex(
        "2adc8e61030d493cf7b13ea5e817a13566a023fc2dc1d64412bc8798af446c20",
    );
    let msg_id = MsgId::from_hex("ca0df2c95aa144c1d0ff2ff3c8f967fd").unwrap();
    assert!(store.is_replay(&delivered.unwrap(), &msg_id).unwrap());

    drop(store);
    let after = content(dir.path());
    for (path, bytes) in &before {
        assert_eq!(after.get(path), Some(bytes), "{}", path.display());
    }
    assert_eq!(
        after.len(),
        before.len() + 1,
        "only the store is new: {:?}",
        after.keys()
    );
    let (_, again) = Store::take_over(dir.path(), &identity, NOW, &found).unwrap();
    assert_eq!(again, None, "an existing store takes nothing over");
}

#[test]
fn prekeys_of_every_older_schema_are_read() {
    let row = "INSERT INTO prekeys VALUES (7, CAST(zeroblob(31) || x'05' AS BLOB), zeroblob(32), 1800000005, 1800000000";
    for (version, column, wire) in [
        (0, "", ""),
        (0, ", wire_record TEXT DEFAULT ''", ", ''"),
        (1, "", ""),
        (1, ", wire_record TEXT DEFAULT ''", ", NULL"),
        (2, ", wire_record TEXT DEFAULT ''", ", 'v=dmp1'"),
    ] {
        let (_dir, home) = home_with(&[]);
        let sql = format!("{PREKEYS}{column}); {row}{wire}); PRAGMA user_version = {version}");
        database(&home, "prekeys.db", &sql);
        let before = content(home.dir());
        let found = read(&home);
        assert_eq!(found.prekeys.len(), 1, "{version} {column}");
        assert_eq!(found.prekeys[0].secret.as_bytes()[31], 5);
        assert_eq!(content(home.dir()), before, "the file is not upgraded");
    }
    let (_dir, home) = home_with(&[("prekeys-v0-unstamped.db", "prekeys.db")]);
    assert_eq!(read(&home).prekeys[0].id.get(), 7);
}

#[test]
fn a_future_schema_is_refused_and_nothing_is_created() {
    for (file, name) in [
        ("prekeys-v99-future.db", "prekeys.db"),
        ("intros-v99-future.db", "intros.db"),
    ] {
        let (dir, home) = home_with(&[(file, name)]);
        let before = content(dir.path());
        let refused = ReferenceHome::read(&home, &Config::default(), NOW)
            .err()
            .unwrap();
        assert!(
            matches!(&refused, TakeoverError::FutureSchema { found: 99, path, .. } if path.ends_with(name)),
            "{refused}"
        );
        assert_eq!(content(dir.path()), before);
        assert!(!Store::exists(dir.path()));
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_instead_of_forgotten() {
    for content in [
        b"not a database, but long enough".as_slice(),
        b"SQLite format 3\0",
    ] {
        let (dir, home) = home_with(&[]);
        fs::write(dir.path().join("intros.db"), content.repeat(100)).unwrap();
        let refused = ReferenceHome::read(&home, &Config::default(), NOW)
            .err()
            .unwrap();
        assert!(
            matches!(refused, TakeoverError::Damaged { .. }),
            "{refused}"
        );
    }
}

#[test]
fn an_empty_file_holds_nothing() {
    let (dir, home) = home_with(&[]);
    fs::write(dir.path().join("prekeys.db"), "").unwrap();
    fs::write(dir.path().join("intros.db"), "").unwrap();
    assert!(read(&home).is_empty());
}

#[test]
fn rows_that_lie_in_the_write_ahead_log_count_and_the_log_stays() {
    let (dir, home) = home_with(&[]);
    let sql = format!(
        "PRAGMA journal_mode = WAL; {PREKEYS}); INSERT INTO prekeys VALUES (9, zeroblob(32), x'', 1900000000, 0)"
    );
    let open = database(&home, "prekeys.db", &sql);
    assert!(dir.path().join("prekeys.db-wal").metadata().unwrap().len() > 0);
    let before = content(dir.path());
    assert_eq!(read(&home).prekeys.len(), 1);
    assert_eq!(content(dir.path()), before);
    drop(open);
    assert!(
        !dir.path().join("prekeys.db.takeover").exists(),
        "no copy stays behind"
    );
}

#[test]
fn a_copy_that_a_killed_run_left_behind_goes() {
    let (dir, home) = home_with(&[("prekeys.db", "prekeys.db")]);
    let stale = dir.path().join("prekeys.db.takeover");
    fs::create_dir(&stale).unwrap();
    fs::write(stale.join("copy.db"), "half").unwrap();
    assert_eq!(read(&home).prekeys.len(), 2);
    assert!(!stale.exists());
}

#[test]
fn only_prekeys_that_can_still_be_needed_are_taken() {
    let (_dir, home) = home_with(&[]);
    let grace = dmp_client::limits::PREKEY_GRACE;
    let rows = [
        (0, 32, NOW.as_secs() + 100),
        (1, 32, NOW.as_secs() - grace),
        (2, 32, NOW.as_secs() - grace - 1),
        (3, 31, NOW.as_secs()),
    ];
    let rows = rows.map(|(id, length, exp)| {
        format!("INSERT INTO prekeys VALUES ({id}, zeroblob({length}), x'', {exp}, 0);")
    });
    database(
        &home,
        "prekeys.db",
        &format!("{PREKEYS}); {}", rows.concat()),
    );
    let found = read(&home);
    let ids: Vec<_> = found.prekeys.iter().map(|prekey| prekey.id.get()).collect();
    assert_eq!(ids, [1], "0 is no prekey, 2 is over, 3 is damaged");
    assert_eq!(found.skipped, ["prekey 3: its row is damaged"]);
}

#[test]
fn only_prekeys_that_senders_can_use_count_as_stock() {
    let (dir, home) = home_with(&[]);
    let sql = format!("{PREKEYS}, wire_record TEXT)");
    let connection = database(&home, "prekeys.db", &sql);
    let exp = NOW.saturating_add(86_400);
    let former = Identity::from_seed([9; 32]);
    for (id, signer, named) in [(5, &identity(), 5), (6, &former, 6), (7, &identity(), 8)] {
        let secret = AgreementSecret::from_bytes([id; 32]);
        let record = PrekeyRecord {
            id: PrekeyId::new(named).unwrap(),
            public: secret.public(),
            exp,
        };
        let row = (
            u32::from(id),
            secret.as_bytes(),
            exp.as_secs() as i64,
            record.sign(signer).unwrap(),
        );
        connection
            .execute("INSERT INTO prekeys VALUES (?1, ?2, x'', ?3, 0, ?4)", row)
            .unwrap();
    }
    let (store, _) = Store::take_over(dir.path(), &identity(), NOW, &read(&home)).unwrap();
    assert_eq!(store.live_prekeys(NOW).unwrap(), 1);
    let published = store.published_prekeys(NOW).unwrap();
    assert_eq!(published[0].0.get(), 5);
    for id in [6, 7] {
        let secret = store
            .prekey_secret(PrekeyId::new(id).unwrap(), NOW)
            .unwrap();
        assert!(secret.is_some(), "messages to {id} still open");
    }
}

#[test]
fn every_form_of_a_contact_is_taken_and_what_is_none_is_told() {
    let key = |byte: &str| byte.repeat(32);
    let found = read_config(&format!(
        "contacts:\n  plain: '{}'\n  number: 5\n  list: [1]\n  short: {{pub: aa}}\n  broken: {{pub: '{}', spk: zz}}\n  \
         keyless: {{pub: '', spk: ''}}\n  zoneless: {{spk: '{}', domain: 'a b'}}\n  \
         named: {{pub: '{}', spk: '{}', domain: Gamma.Test., remote_username: carol, colour: red}}\n  \
         unnamed: {{spk: '{}', domain: null, remote_username: ''}}\n",
        key("11"),
        key("22"),
        key("33"),
        key("44"),
        key("55"),
        key("66"),
    ));
    let labels: Vec<_> = found
        .contacts
        .iter()
        .map(|contact| contact.label.as_str())
        .collect();
    assert_eq!(labels, ["named", "plain", "unnamed"]);
    let [named, plain, unnamed] = &found.contacts[..] else {
        panic!("three");
    };
    assert_eq!(named.zone.as_ref().unwrap().to_string(), "gamma.test");
    assert_eq!(named.username(), Some("carol"));
    assert!(plain.agreement.is_some() && plain.signing.is_none() && plain.zone.is_none());
    assert_eq!(unnamed.username(), None);
    assert_eq!(
        found.skipped,
        [
            "contact broken: spk is not 64 hex digits",
            "contact keyless: it has no key",
            "contact short: pub is not 64 hex digits",
            "contact zoneless: domain is not a zone",
        ]
    );
}

#[test]
fn two_contacts_that_show_one_encryption_key_are_both_told_and_neither_is_taken() {
    let [stolen, alice, mallory] = ["11", "22", "33"].map(|byte| byte.repeat(32));
    let found = read_config(&format!(
        "contacts:\n  alice: {{pub: '{stolen}', spk: '{alice}'}}\n  mallory: {{pub: '{stolen}', spk: '{mallory}'}}\n  \
         ally: {{pub: '{stolen}'}}\n"
    ));
    let labels: Vec<_> = found
        .contacts
        .iter()
        .map(|contact| contact.label.as_str())
        .collect();
    assert_eq!(
        labels,
        ["ally"],
        "a contact without signing key contradicts nobody"
    );
    assert_eq!(found.skipped.len(), 2);
    for line in &found.skipped {
        assert!(line.contains("alice") && line.contains("mallory"), "{line}");
    }

    let same = read_config(&format!(
        "contacts:\n  bob: {{pub: '{stolen}', spk: '{alice}'}}\n  bob@beta.test: {{pub: '{stolen}', spk: '{alice}'}}\n"
    ));
    assert_eq!(
        (same.contacts.len(), same.skipped.len()),
        (2, 0),
        "one person, two labels"
    );
}

#[test]
fn a_damaged_replay_file_counts_as_none_and_damaged_entries_do() {
    let (dir, home) = home_with(&[]);
    let path = dir.path().join("replay_cache.json");
    for damaged in ["{", "{}", "\"x\""] {
        fs::write(&path, damaged).unwrap();
        let found = read(&home);
        assert!(found.replays.is_empty());
        assert_eq!(found.skipped, ["replay_cache.json: it is damaged"]);
    }
    let (spk, id, now) = ("11".repeat(32), "22".repeat(16), NOW.as_secs());
    let (past, other) = (now - 1, "33".repeat(16));
    fs::write(
        &path,
        format!(
            r#"[["{spk}", "{id}", {now}], ["{spk}", "{other}", {past}], ["x", "{id}", {now}], 7]"#
        ),
    )
    .unwrap();
    let found = read(&home);
    let expected = (
        SigningPublicKey::from_hex(&spk).unwrap(),
        MsgId::from_hex(&id).unwrap(),
        NOW,
    );
    assert_eq!(
        found.replays,
        [expected],
        "an entry that expires now still counts"
    );
    assert_eq!(found.skipped, ["2 damaged entries of replay_cache.json"]);
}

#[test]
fn numbers_of_the_quarantine_are_not_given_again_and_its_rows_can_be_accepted() {
    let (dir, home) = home_with(&[("intros.db", "intros.db")]);
    let sql = "DELETE FROM intros WHERE id = 2; UPDATE sqlite_sequence SET seq = 41";
    drop(database(&home, "intros.db", sql));
    let (store, _) = Store::take_over(dir.path(), &identity(), NOW, &read(&home)).unwrap();
    let first = store.intro(IntroId::new(1)).unwrap().unwrap();
    let message = store.accept_intro(first.id, None, NOW).unwrap().unwrap();
    assert_eq!(
        (message.authorship, message.ts.as_secs()),
        (Authorship::Accepted, 1_800_000_000)
    );
    let next = NewIntro {
        signer: SigningPublicKey::from_bytes([8; 32]),
        reason: Reason {
            code: "not-pinned".into(),
            text: "the sender is not pinned".into(),
        },
        ..first.message.clone()
    };
    let committed = store
        .commit_received(vec![Received::Quarantine(next)], &[], NOW)
        .unwrap();
    assert_eq!(committed.quarantined[0].get(), 42);
    let known = store
        .commit_received(vec![Received::Quarantine(first.message)], &[], NOW)
        .unwrap();
    assert!(
        known.quarantined.is_empty(),
        "what was quarantined there is known here"
    );
}

#[test]
fn rows_of_a_blocked_key_are_kept_as_the_reference_keeps_them() {
    let (dir, home) = home_with(&[("intros.db", "intros.db")]);
    let sql = "INSERT INTO denylist SELECT sender_spk, 1800000010, '' FROM intros WHERE id = 1";
    drop(database(&home, "intros.db", sql));
    let (store, taken) = Store::take_over(dir.path(), &identity(), NOW, &read(&home)).unwrap();
    let taken = taken.unwrap();
    assert_eq!((taken.intros, taken.denylist), (2, 2));
    assert_eq!(store.intros().unwrap().len(), 2);
}

#[test]
fn a_take_over_that_breaks_off_leaves_no_store_and_can_be_repeated() {
    let (dir, home) = home_with(&[("intros.db", "intros.db"), ("prekeys.db", "prekeys.db")]);
    let mut found = read(&home);
    let twice = read(&home).prekeys.pop().unwrap();
    found.prekeys.push(twice);
    Store::take_over(dir.path(), &identity(), NOW, &found).unwrap_err();
    assert!(!Store::exists(dir.path()));

    found.prekeys.pop();
    let (_, taken) = Store::take_over(dir.path(), &identity(), NOW, &found).unwrap();
    assert_eq!(taken.unwrap().prekeys, 2);
    assert!(Store::exists(dir.path()));
}

#[test]
fn of_processes_that_start_together_one_takes_over() {
    let (dir, home) = home_with(&[("intros.db", "intros.db"), ("prekeys.db", "prekeys.db")]);
    let taken: Vec<bool> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (store, taken) =
                        Store::take_over(dir.path(), &identity(), NOW, &read(&home)).unwrap();
                    assert_eq!(store.intros().unwrap().len(), 2);
                    taken.is_some()
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
}
