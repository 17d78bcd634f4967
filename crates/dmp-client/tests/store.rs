//! The store keeps what it was given, tells nothing to who has no passphrase, and refuses what it does not know.

use std::os::unix::fs::PermissionsExt;

use dmp_client::error::StoreError;
use dmp_client::limits::PREKEY_GRACE;
use dmp_client::store::{
    Authorship, ContactChange, HeldPrekey, InboxMessage, LOCK_FILE, MessageNumber, NewContact,
    NewIntro, NewPrekey, Reason, Received, STORE_FILE, Store,
};
use dmp_core::id::{MsgId, PrekeyId, UnixTime};
use dmp_core::keys::{AgreementSecret, Identity, SigningPublicKey};
use dmp_core::name::Zone;

const NOW: UnixTime = UnixTime::new(1_800_000_000);

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn in_memory() -> Store {
    Store::in_memory(&identity(1), NOW).unwrap()
}

fn message(id: u8, body: &str) -> InboxMessage {
    InboxMessage {
        number: MessageNumber::UNSTORED,
        signer: SigningPublicKey::from_bytes([7; 32]),
        msg_id: MsgId::from_bytes([id; 16]),
        body: body.as_bytes().to_vec(),
        ts: NOW,
        manifest_ts: NOW,
        expires: NOW.saturating_add(300),
        received: NOW,
        contact: Some("alice".into()),
        address: None,
        prekey: None,
        authorship: Authorship::Proven,
        succession: None,
    }
}

fn sealed_to(prekey: PrekeyId, id: u8) -> Received {
    let mut message = message(id, "text");
    message.prekey = Some(prekey);
    Received::Inbox(message)
}

fn intro(id: u8, signer: u8) -> NewIntro {
    NewIntro {
        signer: SigningPublicKey::from_bytes([signer; 32]),
        msg_id: MsgId::from_bytes([id; 16]),
        body: b"hello".to_vec(),
        ts: NOW,
        zone: Zone::parse("alice.example").unwrap(),
        address: None,
        sender_id: Some(identity(3).user_id()),
        claimed: None,
        reason: Reason {
            code: "not-pinned".into(),
            text: "sender not pinned".into(),
        },
        prekey: PrekeyId::new(9),
        expires: NOW.saturating_add(300),
    }
}

fn prekey(id: u32, expires: UnixTime) -> NewPrekey {
    NewPrekey {
        id: PrekeyId::new(id).unwrap(),
        secret: AgreementSecret::from_bytes([id as u8; 32]),
        expires,
    }
}

#[test]
fn directory_and_database_belong_to_their_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("inner");
    let store = Store::open(&path, &identity(1), NOW).unwrap();
    store.record_replays(&[]).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_wrong_passphrase_is_an_error_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &identity(1), NOW).unwrap();
    store
        .insert_contact(&NewContact::new("alice"), NOW)
        .unwrap()
        .unwrap();
    drop(store);
    assert!(matches!(
        Store::open(home.path(), &identity(2), NOW),
        Err(StoreError::WrongPassphrase)
    ));
    let store = Store::open(home.path(), &identity(1), NOW).unwrap();
    assert_eq!(store.contacts().unwrap().len(), 1);
}

#[test]
fn a_store_that_lost_its_key_is_damaged_and_gets_no_new_one() {
    let home = tempfile::tempdir().unwrap();
    drop(Store::open(home.path(), &identity(1), NOW).unwrap());
    let file = rusqlite::Connection::open(home.path().join(STORE_FILE)).unwrap();
    file.execute("DELETE FROM wraps", ()).unwrap();
    drop(file);
    let refused = Store::open(home.path(), &identity(1), NOW);
    assert!(matches!(refused, Err(StoreError::Damaged("wraps"))));
}

#[test]
fn nothing_personal_lies_readable_in_the_files() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &identity(1), NOW).unwrap();
    let mut card = NewContact::new("readable-label");
    card.signing = Some(SigningPublicKey::from_bytes([7; 32]));
    store.insert_contact(&card, NOW).unwrap();
    store.insert_prekeys(&[prekey(5, NOW)], NOW).unwrap();
    store
        .commit_received(vec![Received::Inbox(message(1, "readable-text"))], &[], NOW)
        .unwrap();
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        for needle in [
            &b"readable"[..],
            &[7; 32],
            &[5; 32],
            hex::encode([7; 32]).as_bytes(),
            hex::encode([5; 32]).as_bytes(),
        ] {
            assert!(!contains(needle));
        }
    }
}

#[test]
fn a_future_schema_is_refused_and_the_file_stays_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    drop(Store::open(home.path(), &identity(1), NOW).unwrap());
    let file = home.path().join(STORE_FILE);
    rusqlite::Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = std::fs::read(&file).unwrap();
    let refused = Store::open(home.path(), &identity(1), NOW).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::FutureSchema {
                found: 99,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("dnsmesh.db") && refused.to_string().contains("99"));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let other = rusqlite::Connection::open(home.path().join(STORE_FILE)).unwrap();
    other.execute_batch("CREATE TABLE prekeys (x)").unwrap();
    drop(other);
    assert!(matches!(
        Store::open(home.path(), &identity(1), NOW),
        Err(StoreError::NotAStore(_))
    ));
}

#[test]
fn a_delivered_message_stays_delivered_after_reopening() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path(), &identity(1), NOW).unwrap();
    let first = store
        .commit_received(vec![Received::Inbox(message(1, "once"))], &[], NOW)
        .unwrap();
    assert_eq!(first.inbox.len(), 1);
    drop(store);
    let store = Store::open(home.path(), &identity(1), NOW).unwrap();
    assert!(
        store
            .is_replay(
                &SigningPublicKey::from_bytes([7; 32]),
                &MsgId::from_bytes([1; 16])
            )
            .unwrap()
    );
    let again = store
        .commit_received(vec![Received::Inbox(message(1, "once"))], &[], NOW)
        .unwrap();
    assert!(again.inbox.is_empty());
    assert_eq!(store.messages().unwrap().len(), 1);
}

#[test]
fn a_message_is_handed_over_until_it_was_shown() {
    let store = in_memory();
    let stored = store
        .commit_received(vec![Received::Inbox(message(1, "text"))], &[], NOW)
        .unwrap();
    let unshown = store.unshown_messages().unwrap();
    assert_eq!(unshown, stored.inbox);
    store.mark_shown(&[unshown[0].number], NOW).unwrap();
    assert!(store.unshown_messages().unwrap().is_empty());
    assert_eq!(store.messages().unwrap().len(), 1);
}

#[test]
fn messages_come_in_the_order_of_writing_signing_and_id() {
    let store = in_memory();
    let at = |id: u8, ts: u64, manifest_ts: u64| {
        let mut message = message(id, "");
        message.ts = UnixTime::new(ts);
        message.manifest_ts = UnixTime::new(manifest_ts);
        Received::Inbox(message)
    };
    store
        .commit_received(
            vec![at(9, 5, 5), at(1, 5, 6), at(2, 5, 5), at(3, 4, 9)],
            &[],
            NOW,
        )
        .unwrap();
    let ids: Vec<u8> = store
        .messages()
        .unwrap()
        .iter()
        .map(|message| message.msg_id.as_bytes()[0])
        .collect();
    assert_eq!(ids, [3, 2, 9, 1]);
}

#[test]
fn a_prekey_is_consumed_with_the_inbox_and_never_with_the_quarantine() {
    let store = in_memory();
    let id = PrekeyId::new(9).unwrap();
    store
        .insert_prekeys(&[prekey(9, NOW.saturating_add(1000))], NOW)
        .unwrap();
    store
        .mark_prekey_published(id, "the published text")
        .unwrap();

    let quarantined = store
        .commit_received(vec![Received::Quarantine(intro(1, 7))], &[], NOW)
        .unwrap();
    assert_eq!(quarantined.quarantined.len(), 1);
    assert!(store.prekey_secret(id, NOW).unwrap().is_some());
    assert!(store.withdrawals().unwrap().is_empty());

    store
        .commit_received(vec![sealed_to(id, 2)], &[], NOW)
        .unwrap();
    assert!(store.prekey_secret(id, NOW).unwrap().is_none());
    let withdrawals = store.withdrawals().unwrap();
    assert_eq!(withdrawals.len(), 1);
    assert_eq!(withdrawals[0].value, "the published text");
    store.forget_withdrawals(&withdrawals).unwrap();
    assert!(store.withdrawals().unwrap().is_empty());
}

#[test]
fn text_replay_entry_and_prekey_go_together_or_not_at_all() {
    for table in ["inbox", "replay", "withdrawals", "prekeys"] {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), &identity(1), NOW).unwrap();
        let id = PrekeyId::new(9).unwrap();
        store
            .insert_prekeys(&[prekey(9, NOW.saturating_add(1000))], NOW)
            .unwrap();
        store.mark_prekey_published(id, "wire").unwrap();
        let change = if table == "prekeys" {
            "DELETE"
        } else {
            "INSERT"
        };
        let other = rusqlite::Connection::open(home.path().join(STORE_FILE)).unwrap();
        other
            .execute_batch(&format!(
                "CREATE TRIGGER fails BEFORE {change} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
            ))
            .unwrap();
        let failed = store.commit_received(vec![sealed_to(id, 1)], &[], NOW);
        assert!(matches!(failed, Err(StoreError::Database(_))), "{table}");
        let signer = SigningPublicKey::from_bytes([7; 32]);
        let seen = store
            .is_replay(&signer, &MsgId::from_bytes([1; 16]))
            .unwrap();
        assert!(!seen && store.messages().unwrap().is_empty(), "{table}");
        assert!(store.prekey_secret(id, NOW).unwrap().is_some(), "{table}");

        other.execute_batch("DROP TRIGGER fails").unwrap();
        let stored = store.commit_received(vec![sealed_to(id, 1)], &[], NOW);
        assert_eq!(stored.unwrap().inbox.len(), 1, "{table}");
        assert!(store.prekey_secret(id, NOW).unwrap().is_none(), "{table}");
    }
}

#[test]
fn a_message_moves_from_the_quarantine_to_the_inbox_when_that_is_decided_later() {
    let store = in_memory();
    let quarantine = || Received::Quarantine(intro(1, 7));
    store.commit_received(vec![quarantine()], &[], NOW).unwrap();
    let moved = store
        .commit_received(vec![Received::Inbox(message(1, "hello"))], &[], NOW)
        .unwrap();
    assert_eq!(moved.inbox.len(), 1);
    assert!(store.intros().unwrap().is_empty());
    let again = store.commit_received(vec![quarantine()], &[], NOW).unwrap();
    assert!(again.quarantined.is_empty());
}

#[test]
fn accepting_a_quarantined_message_consumes_its_prekey() {
    let store = in_memory();
    let id = PrekeyId::new(9).unwrap();
    store
        .insert_prekeys(&[prekey(9, NOW.saturating_add(1000))], NOW)
        .unwrap();
    store
        .commit_received(vec![Received::Quarantine(intro(1, 7))], &[], NOW)
        .unwrap();
    let row = store.intros().unwrap().remove(0);
    let mut card = NewContact::new("intro");
    card.signing = Some(row.signer);
    let accepted = store
        .accept_intro(row.id, Some(ContactChange::New(&card)), NOW)
        .unwrap()
        .unwrap();
    assert_eq!(
        (accepted.body.as_slice(), accepted.authorship),
        (&b"hello"[..], Authorship::Accepted)
    );
    assert!(store.intros().unwrap().is_empty());
    assert!(store.prekey_secret(id, NOW).unwrap().is_none());
    assert!(store.contact("intro").unwrap().is_some());
    assert!(store.accept_intro(row.id, None, NOW).unwrap().is_none());
}

#[test]
fn a_held_prekey_lives_until_the_message_that_waits_for_it_expires() {
    let store = in_memory();
    let id = PrekeyId::new(9).unwrap();
    store
        .insert_prekeys(&[prekey(9, NOW.saturating_add(1000))], NOW)
        .unwrap();
    let held = HeldPrekey {
        id,
        until: NOW.saturating_add(100),
    };
    store
        .commit_received(vec![sealed_to(id, 1)], &[held], NOW)
        .unwrap();
    assert!(store.prekey_secret(id, NOW).unwrap().is_some());
    assert_eq!(store.live_prekeys(NOW).unwrap(), 0);
    store.purge(NOW.saturating_add(100)).unwrap();
    assert!(store.prekey_secret(id, NOW).unwrap().is_some());
    store.purge(NOW.saturating_add(101)).unwrap();
    assert!(store.prekey_secret(id, NOW).unwrap().is_none());
}

#[test]
fn private_halves_go_a_day_after_their_prekey() {
    let store = in_memory();
    let id = PrekeyId::new(9).unwrap();
    store.insert_prekeys(&[prekey(9, NOW)], NOW).unwrap();
    let last = NOW.saturating_add(PREKEY_GRACE);
    store.purge(last).unwrap();
    assert!(store.prekey_secret(id, last).unwrap().is_some());
    assert!(
        store
            .prekey_secret(id, last.saturating_add(1))
            .unwrap()
            .is_none()
    );
    store.purge(last.saturating_add(1)).unwrap();
    assert!(!store.has_prekey(id).unwrap());
}

#[test]
fn a_replay_entry_lives_as_long_as_its_manifest() {
    let store = in_memory();
    let (signer, msg_id) = (
        SigningPublicKey::from_bytes([7; 32]),
        MsgId::from_bytes([1; 16]),
    );
    store.record_replays(&[(signer, msg_id, NOW)]).unwrap();
    store.purge(NOW).unwrap();
    assert!(store.is_replay(&signer, &msg_id).unwrap());
    store.purge(NOW.saturating_add(1)).unwrap();
    assert!(!store.is_replay(&signer, &msg_id).unwrap());
}

#[test]
fn blocking_keeps_the_first_note_and_silences_the_key() {
    let store = in_memory();
    store
        .commit_received(
            vec![
                Received::Quarantine(intro(1, 7)),
                Received::Quarantine(intro(2, 7)),
            ],
            &[],
            NOW,
        )
        .unwrap();
    let rows = store.intros().unwrap();
    assert_eq!(rows.len(), 2);
    store
        .block_intro(rows[0].id, "first", NOW)
        .unwrap()
        .unwrap();
    store.block(&rows[0].signer, "second", NOW).unwrap();
    assert_eq!(store.denylist().unwrap()[0].note, "first");
    assert_eq!(
        store.intros().unwrap().len(),
        1,
        "blocking removes one row only"
    );
    let silent = store
        .commit_received(vec![Received::Quarantine(intro(3, 7))], &[], NOW)
        .unwrap();
    assert!(silent.quarantined.is_empty());
    assert!(store.unblock(&rows[0].signer).unwrap());
    assert!(!store.is_blocked(&rows[0].signer).unwrap());
}

#[test]
fn a_label_is_taken_once_and_a_contact_is_found_by_its_local_part() {
    let store = in_memory();
    let card = NewContact::new("alice");
    assert!(store.insert_contact(&card, NOW).unwrap().is_some());
    assert!(store.insert_contact(&card, NOW).unwrap().is_none());
    assert_eq!(
        store.find_contact("alice@anywhere").unwrap().unwrap().label,
        "alice"
    );
    assert!(store.find_contact("bob").unwrap().is_none());
}

#[test]
fn the_lock_names_its_holder() {
    let home = tempfile::tempdir().unwrap();
    let one = Store::open(home.path(), &identity(1), NOW).unwrap();
    let two = Store::open(home.path(), &identity(1), NOW).unwrap();
    let held = one.lock_receiving("dnsmesh recv --follow").unwrap();
    let refused = || two.lock_receiving("dnsmesh recv").unwrap_err().to_string();
    let process = std::process::id();
    assert_eq!(
        refused(),
        format!("this home is in use by process {process} (dnsmesh recv --follow)")
    );
    for (text, holder) in [
        ("pid 7\n", "process 7"),
        ("", "another process"),
        ("pid x\na\u{1b}[2Jb\nmore\n", "another process (a[2Jb)"),
    ] {
        std::fs::write(home.path().join(LOCK_FILE), text).unwrap();
        assert_eq!(refused(), format!("this home is in use by {holder}"));
    }
    std::fs::write(home.path().join(LOCK_FILE), "x".repeat(1 << 20)).unwrap();
    assert!(refused().len() < 400);
    drop(held);
    two.lock_receiving("dnsmesh recv").unwrap();
}

/// A store with two rows in every list.
fn pairs(home: &std::path::Path) -> Store {
    let store = Store::open(home, &identity(1), NOW).unwrap();
    for id in [1, 2] {
        let mut card = NewContact::new(format!("contact {id}"));
        card.signing = Some(SigningPublicKey::from_bytes([id; 32]));
        store.insert_contact(&card, NOW).unwrap().unwrap();
        let received = vec![
            Received::Inbox(message(id, "text")),
            Received::Quarantine(intro(id + 10, id + 20)),
        ];
        store.commit_received(received, &[], NOW).unwrap();
        let blocked = SigningPublicKey::from_bytes([id + 30; 32]);
        store.block(&blocked, "", NOW).unwrap();
        let new = prekey(u32::from(id), NOW.saturating_add(600));
        store.insert_prekeys(&[new], NOW).unwrap();
        let number = PrekeyId::new(id.into()).unwrap();
        store.mark_prekey_published(number, "wire").unwrap();
    }
    store
}

const TABLES: [&str; 5] = ["contacts", "inbox", "intros", "denylist", "prekeys"];

/// Spoils one row of every table of [`TABLES`].
fn spoil(home: &std::path::Path) {
    let file = rusqlite::Connection::open(home.join(STORE_FILE)).unwrap();
    for (table, key) in TABLES.into_iter().zip(["id", "id", "id", "sender", "id"]) {
        let spoilt = file.execute(
            &format!(
                "UPDATE {table} SET sealed = x'00' WHERE {key} = (SELECT min({key}) FROM {table})"
            ),
            (),
        );
        assert_eq!(spoilt.unwrap(), 1);
    }
}

#[test]
fn a_damaged_row_costs_nobody_the_rows_beside_it_and_is_told_once() {
    let home = tempfile::tempdir().unwrap();
    let whole = pairs(home.path());
    assert_eq!(whole.inspect().unwrap(), []);
    drop(whole);
    spoil(home.path());

    let store = Store::open(home.path(), &identity(1), NOW).unwrap();
    assert_eq!(store.contacts().unwrap().len(), 1);
    assert_eq!(store.messages().unwrap().len(), 1);
    assert_eq!(store.unshown_messages().unwrap().len(), 1);
    assert_eq!(store.intros().unwrap().len(), 1);
    assert_eq!(store.denylist().unwrap().len(), 1);
    assert_eq!(store.published_prekeys(NOW).unwrap().len(), 1);
    let told = store.damage().news();
    let tables: Vec<(&str, usize)> = told.iter().map(|met| (met.table, met.rows)).collect();
    let mut expected = TABLES.map(|table| (table, 1));
    expected.sort_unstable();
    assert_eq!(tables, expected);
    store.contacts().unwrap();
    assert_eq!(store.damage().news(), [], "once");
    assert_eq!(store.inspect().unwrap(), told);

    // Asked for by name a damaged row is an error of its own, and a blocked key stays blocked.
    let first = store.contact("contact 1").unwrap_err();
    assert!(matches!(first, StoreError::Damaged("contacts")), "{first}");
    let blocked = SigningPublicKey::from_bytes([31; 32]);
    assert!(store.is_blocked(&blocked).unwrap());
    let file = rusqlite::Connection::open(home.path().join(STORE_FILE)).unwrap();
    for table in TABLES {
        let count = file.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| {
            row.get::<_, i64>(0)
        });
        assert_eq!(count.unwrap(), 2, "nothing is deleted from {table}");
    }
}

#[test]
fn messages_are_stored_and_accepted_beside_damaged_rows() {
    let home = tempfile::tempdir().unwrap();
    drop(pairs(home.path()));
    spoil(home.path());
    let store = Store::open(home.path(), &identity(1), NOW).unwrap();
    // So many of one key that its oldest rows have to give way, the damaged one not among them.
    let mut received: Vec<Received> = (40..60)
        .map(|id| Received::Quarantine(intro(id, 21)))
        .collect();
    // Sealed to the prekey whose row is damaged.
    received.push(sealed_to(PrekeyId::new(1).unwrap(), 60));
    let committed = store.commit_received(received, &[], NOW).unwrap();
    assert_eq!(committed.inbox.len(), 1);
    assert!(!committed.displaced.is_empty());
    assert!(!committed.displaced.iter().any(|row| row.id.get() == 1));
    let readable = store.intros().unwrap();
    store
        .accept_intro(readable[0].id, None, NOW)
        .unwrap()
        .unwrap();
}
