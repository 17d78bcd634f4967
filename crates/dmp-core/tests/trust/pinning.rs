//! One X25519 key belongs to one signing key (D6).

use dmp_core::trust::{Holder, PinningRefused, Quarantine, TrustRefused, Unproven, check_pinning};

use crate::world::*;

#[test]
fn pinning_a_key_held_under_another_signing_key_is_refused_with_both_names() {
    let alice = pin("alice", ALICE);
    let row = Holder {
        name: "intro #7",
        signing: Some(spk(ALICE)),
        user_id: id(ALICE),
    };
    let mallory = Holder {
        name: "mallory",
        signing: Some(spk(MALLORY)),
        user_id: id(ALICE),
    };
    for (holder, held_by) in [(alice.holder().unwrap(), "alice"), (row, "intro #7")] {
        let refused = PinningRefused {
            wanted: "mallory".to_owned(),
            held_by: held_by.to_owned(),
        };
        assert!(refused.to_string().contains("mallory") && refused.to_string().contains(held_by));
        assert_eq!(check_pinning(&mallory, [holder]), Err(refused));
    }
    let again = Holder {
        name: "alice@alice.example",
        signing: Some(spk(ALICE)),
        user_id: id(ALICE),
    };
    assert_eq!(
        check_pinning(&again, [alice.holder().unwrap(), row]),
        Ok(())
    );
    let by_hand = Holder {
        signing: None,
        ..again
    };
    assert_eq!(check_pinning(&by_hand, [row]), Ok(()));
    assert_eq!(check_pinning(&row, [by_hand]), Ok(()));
    assert_eq!(signing_only("alice", ALICE).holder(), None);
}

#[test]
fn trusting_a_row_whose_key_is_pinned_but_unproven_is_refused() {
    let world = World::with([pin("alice", ALICE)]);
    let receiver = world.receiver();
    let doubtful = Quarantine::AuthorshipNotProven(Unproven::PinnedKeyDiffers);
    let refused = receiver.check_trusting("new", &author(ALICE, MALLORY, None), &doubtful, []);
    assert_eq!(
        refused,
        Err(TrustRefused::Unproven {
            label: "alice".to_owned()
        })
    );

    let elsewhere = Quarantine::PinnedElsewhere {
        label: "alice".to_owned(),
    };
    assert_eq!(
        receiver.check_trusting("alice", &author(ALICE, ALICE, None), &elsewhere, []),
        Ok(())
    );

    let stranger = author(MALLORY, MALLORY, None);
    assert_eq!(
        receiver.check_trusting("mallory", &stranger, &Quarantine::NotPinned, []),
        Ok(())
    );
    let copied = receiver.check_trusting(
        "mallory",
        &author(MALLORY, ALICE, None),
        &Quarantine::NotPinned,
        [],
    );
    let held = PinningRefused {
        wanted: "mallory".to_owned(),
        held_by: "alice".to_owned(),
    };
    assert_eq!(copied, Err(TrustRefused::KeyHeld(held)));
    let row = Holder {
        name: "intro #2",
        signing: Some(spk(CAROL)),
        user_id: id(MALLORY),
    };
    let copied = receiver.check_trusting("mallory", &stranger, &Quarantine::NotPinned, [row]);
    let held = PinningRefused {
        wanted: "mallory".to_owned(),
        held_by: "intro #2".to_owned(),
    };
    assert_eq!(copied, Err(TrustRefused::KeyHeld(held)));
}
