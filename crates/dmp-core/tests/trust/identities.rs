//! Identity look-ups (crypto.md 11.7, D28).

use dmp_core::id::UnixTime;
use dmp_core::record::{IdentityRecord, Versions};
use dmp_core::trust::{Finding, IdentityQuestion, Pin, Reach};

use crate::support::{NOW, identity};
use crate::world::*;

#[test]
fn the_newest_record_of_the_wanted_key_wins_whatever_the_order() {
    let records = [
        identity_record("alice", ALICE, ALICE, 10),
        identity_record("alice", ALICE, CAROL, 30),
        identity_record("alice", MALLORY, MALLORY, 99),
        identity_record("alice", ALICE, BOB, 20),
        identity_record("bob", ALICE, BOB, 100),
        "v=dmp1;t=identity;d=garbage".to_owned(),
    ];
    let question = IdentityQuestion {
        user: "alice".to_owned(),
        host: zone("x.example"),
        wanted: spk(ALICE),
    };
    for rotate in 0..records.len() {
        let mut values: Vec<&str> = records.iter().map(String::as_str).collect();
        values.rotate_left(rotate);
        for reach in [Reach::All, Reach::Partial] {
            let Finding::Wanted(record) = question.judge(values.iter().copied(), reach) else {
                panic!("the wanted key is there");
            };
            assert_eq!(
                (record.ts, record.agreement),
                (UnixTime::new(30), identity(CAROL).agreement_public())
            );
        }
    }
}

#[test]
fn another_key_is_reported_only_when_every_name_was_asked() {
    let question = IdentityQuestion {
        user: "alice".to_owned(),
        host: zone("x.example"),
        wanted: spk(ALICE),
    };
    let squatter = identity_record("alice", MALLORY, MALLORY, 1);
    assert!(matches!(
        question.judge([squatter.as_str()], Reach::All),
        Finding::Other(_)
    ));
    assert_eq!(
        question.judge([squatter.as_str()], Reach::Partial),
        Finding::Unreachable
    );
    assert_eq!(question.judge([], Reach::All), Finding::Absent);
    assert_eq!(question.judge([], Reach::Partial), Finding::Unreachable);
}

#[test]
fn mixed_case_user_names_are_found() {
    let mixed = IdentityRecord {
        username: "Alice".to_owned(),
        agreement: identity(ALICE).agreement_public(),
        signing: spk(ALICE),
        ts: NOW,
        versions: Versions::default(),
    };
    let question = IdentityQuestion {
        user: "Alice".to_owned(),
        host: zone("mesh.example"),
        wanted: spk(ALICE),
    };
    let names: Vec<String> = question
        .owner_names()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "dmp.mesh.example",
            "id-3bc51062973c458d.mesh.example",
            "id-2bd806c97f0e00af.mesh.example"
        ]
    );
    // The envelope's address is lower case; the contact's name tells the hash to look for.
    let contact = Pin {
        username: Some("Alice".to_owned()),
        ..pin("alice", ALICE)
    };
    let world = World::with([contact]).publish(&names[1], mixed.sign(&identity(ALICE)).unwrap());
    let decision = world.pinned(&author(ALICE, ALICE, Some("alice@mesh.example")));
    assert_eq!(label(&decision), Some("alice@mesh.example"));
}
