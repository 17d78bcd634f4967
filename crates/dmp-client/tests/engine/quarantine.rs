//! What the quarantine holds at most, and who loses when it is full.

use dmp_client::limits::{
    QUARANTINE_AGE, QUARANTINE_BYTES, QUARANTINE_ROWS, QUARANTINE_ROWS_PER_SENDER,
};
use dmp_client::ops::{IntroError, intros_purge, sender_block, sender_named, sender_unblock};
use dmp_client::store::{
    Committed, Intro, IntroPurge, NewContact, NewIntro, Reason, Received, Store,
};
use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::{Identity, SigningPublicKey};
use dmp_core::name::Zone;

use crate::world::NOW;

fn store() -> Store {
    Store::in_memory(&Identity::from_seed([1; 32]), NOW).unwrap()
}

fn key(number: u16) -> SigningPublicKey {
    let mut seed = [9; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    Identity::from_seed(seed).signing_public()
}

/// A message number `number` of a key, from a zone.
fn intro(signer: u16, number: u32, zone: &str, length: usize) -> NewIntro {
    let mut msg_id = [0; 16];
    msg_id[..4].copy_from_slice(&number.to_be_bytes());
    NewIntro {
        signer: key(signer),
        msg_id: MsgId::from_bytes(msg_id),
        body: vec![b'x'; length],
        ts: NOW,
        zone: Zone::parse(zone).unwrap(),
        address: None,
        sender_id: None,
        claimed: None,
        reason: Reason {
            code: "not-pinned".into(),
            text: "sender not pinned".into(),
        },
        prekey: None,
        expires: NOW.saturating_add(300),
    }
}

fn add(store: &Store, intros: impl IntoIterator<Item = NewIntro>) -> Committed {
    let received = intros.into_iter().map(Received::Quarantine).collect();
    store.commit_received(received, &[], NOW).unwrap()
}

/// How many rows wait from a key.
fn rows_of(store: &Store, signer: u16) -> Vec<Intro> {
    let mut rows = store.intros().unwrap();
    rows.retain(|row| row.signer == key(signer));
    rows
}

fn pin(store: &Store, signer: u16) {
    let mut card = NewContact::new("friend");
    card.signing = Some(key(signer));
    store.insert_contact(&card, NOW).unwrap().unwrap();
}

#[test]
fn a_key_with_too_many_rows_loses_its_own_oldest() {
    let store = store();
    add(&store, [intro(2, 0, "quiet.example", 5)]);
    let most = QUARANTINE_ROWS_PER_SENDER as u32;
    let committed = add(
        &store,
        (0..most + 3).map(|number| intro(1, number, "loud.example", 5)),
    );
    let displaced: Vec<_> = committed
        .displaced
        .iter()
        .map(|row| (row.signer, row.msg_id.as_bytes()[3]))
        .collect();
    assert_eq!(displaced, [(key(1), 0), (key(1), 1), (key(1), 2)]);
    assert_eq!(committed.quarantined.len(), QUARANTINE_ROWS_PER_SENDER);
    assert_eq!(rows_of(&store, 1).len(), QUARANTINE_ROWS_PER_SENDER);
    assert_eq!(rows_of(&store, 2).len(), 1);
}

#[test]
fn a_flood_of_fresh_keys_displaces_itself_and_nobody_elses_message() {
    let store = store();
    add(&store, [intro(60_000, 0, "early.example", 5)]);
    let flood = QUARANTINE_ROWS as u16 + 40;
    // Any number of zones below one name are one network.
    let zone = |number| format!("z{number}.flood.example");
    add(
        &store,
        (0..flood).map(|number| intro(number, 0, &zone(number), 5)),
    );
    assert_eq!(store.intros().unwrap().len(), QUARANTINE_ROWS);
    assert_eq!(rows_of(&store, 60_000).len(), 1, "what came before stays");
    let late = add(&store, [intro(60_001, 0, "late.example", 5)]);
    assert_eq!(late.quarantined.len(), 1, "and what comes later gets in");
    assert_eq!(late.displaced.len(), 1);
    assert!(late.displaced[0].zone.as_str().ends_with(".flood.example"));
    assert_eq!(rows_of(&store, 0).len(), 1, "the newest of equals goes");
    let again = add(&store, [intro(flood - 1, 0, "z.flood.example", 5)]);
    assert!(again.quarantined.is_empty(), "what gave way stays away");
}

#[test]
fn octets_are_bounded_too_and_the_heaviest_network_pays() {
    let store = store();
    add(
        &store,
        (0..10).map(|number| intro(60_000, number, "short.example", 5)),
    );
    let displaced = add(
        &store,
        (0..260).map(|number| intro(number, 0, "long.example", 8 * 1024)),
    )
    .displaced;
    assert!(!displaced.is_empty());
    assert!(
        displaced
            .iter()
            .all(|row| row.zone.as_str() == "long.example")
    );
    assert_eq!(rows_of(&store, 60_000).len(), 10);
    let texts: usize = store
        .intros()
        .unwrap()
        .iter()
        .map(|row| row.body.len())
        .sum();
    assert!(texts < QUARANTINE_BYTES);
}

#[test]
fn rows_of_pinned_people_count_nowhere_and_never_give_way() {
    let store = store();
    pin(&store, 7);
    let many = 2 * QUARANTINE_ROWS_PER_SENDER as u32;
    let friends = add(
        &store,
        (0..many).map(|number| intro(7, number, "flood.example", 8 * 1024)),
    );
    assert!(friends.displaced.is_empty());
    add(
        &store,
        (100..105 + QUARANTINE_ROWS as u16).map(|number| intro(number, 0, "flood.example", 5)),
    );
    assert_eq!(rows_of(&store, 7).len(), many as usize);
    assert_eq!(
        store.intros().unwrap().len(),
        QUARANTINE_ROWS + many as usize
    );
    let late = NOW.saturating_add(QUARANTINE_AGE + 1);
    assert_eq!(store.expire_intros(late).unwrap(), QUARANTINE_ROWS);
    assert_eq!(rows_of(&store, 7).len(), many as usize);
}

#[test]
fn strangers_messages_wait_for_ninety_days() {
    let store = store();
    add(&store, [intro(1, 0, "a.example", 5)]);
    let last = NOW.saturating_add(QUARANTINE_AGE);
    assert_eq!(store.expire_intros(last).unwrap(), 0);
    assert_eq!(store.expire_intros(last.saturating_add(1)).unwrap(), 1);
    assert!(store.intros().unwrap().is_empty());
}

#[test]
fn a_purge_deletes_the_expired_or_everything() {
    let store = store();
    let living = NewIntro {
        expires: NOW.saturating_add(900),
        ..intro(2, 0, "b.example", 5)
    };
    add(&store, [intro(1, 0, "a.example", 5), living]);
    let later: UnixTime = NOW.saturating_add(300);
    assert_eq!(intros_purge(&store, IntroPurge::Expired, later).unwrap(), 1);
    assert_eq!(rows_of(&store, 2).len(), 1);
    assert_eq!(intros_purge(&store, IntroPurge::All, later).unwrap(), 1);
}

#[test]
fn a_sender_is_named_by_key_by_label_or_as_the_list_showed_it() {
    let store = store();
    pin(&store, 7);
    add(&store, [intro(1, 0, "a.example", 5)]);
    let short: String = key(1).to_string().chars().take(12).collect();
    let listed = format!("intro-{short}");
    assert_eq!(sender_named(&store, &listed).unwrap(), key(1));
    assert_eq!(sender_named(&store, "friend").unwrap(), key(7));
    assert_eq!(
        sender_named(&store, &key(3).to_string()).unwrap(),
        key(3),
        "any key"
    );
    let unknown = sender_named(&store, "nobody").unwrap_err();
    assert!(matches!(unknown, IntroError::UnknownSender(_)));
    assert_eq!(unknown.code(), "sender-unknown");

    intros_purge(&store, IntroPurge::All, NOW).unwrap();
    assert!(sender_named(&store, &listed).is_err());
    sender_block(&store, &key(1), "", NOW).unwrap();
    assert_eq!(sender_named(&store, &listed).unwrap(), key(1));
    assert!(sender_unblock(&store, &key(1)).unwrap());
    assert!(!sender_unblock(&store, &key(1)).unwrap());
}
