//! `receive_scenarios.json`: complete zones, hostile ones included, and what a receiver must make of them.

use dmp_client::ops::RotationPolicy;
use dmp_client::store::{NewContact, NewPrekey};
use dmp_core::id::{PrekeyId, UnixTime};
use dmp_core::keys::{AgreementPublicKey, AgreementSecret, Identity, SigningPublicKey};
use dmp_core::name::Zone;
use serde_json::Value;

use crate::world::{NOW, World, bytes32, run, vectors};

fn hex_list(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

async fn check(case: &Value, rotation: RotationPolicy) {
    let note = case["note"].as_str().unwrap();
    assert_eq!(case["now"].as_u64().unwrap(), NOW.as_secs(), "{note}");
    let world = World::new();
    let recipient = &case["recipient"];
    let identity = Identity::from_seed(bytes32(&recipient["x25519_private_hex"]));
    let mut bob = world.person_with("bob", recipient["zone"].as_str().unwrap(), identity, None);
    bob.profile.rotation = rotation;
    for pinned in case["pinned"].as_array().unwrap() {
        let mut card = NewContact::new(pinned["name"].as_str().unwrap());
        card.zone = Some(Zone::parse(pinned["zone"].as_str().unwrap()).unwrap());
        card.signing = Some(SigningPublicKey::from_bytes(bytes32(
            &pinned["ed25519_hex"],
        )));
        card.agreement = Some(AgreementPublicKey::from_bytes(bytes32(
            &pinned["x25519_hex"],
        )));
        bob.store.insert_contact(&card, NOW).unwrap().unwrap();
    }
    let prekeys: Vec<_> = case["prekeys"].as_array().into_iter().flatten().collect();
    for prekey in &prekeys {
        let prekey = NewPrekey {
            id: PrekeyId::new(prekey["prekey_id"].as_u64().unwrap() as u32).unwrap(),
            secret: AgreementSecret::from_bytes(bytes32(&prekey["private_hex"])),
            expires: UnixTime::new(prekey["exp"].as_u64().unwrap()),
        };
        bob.store.insert_prekeys(&[prekey], NOW).unwrap();
    }
    for (owner, values) in case["zone_data"].as_object().unwrap() {
        for value in hex_list(values) {
            world.zone.publish(owner, &value, 86_400);
        }
    }

    let report = bob.receive().await;
    let expected = if case["required"] == "either" {
        &case["recommended"]
    } else {
        &case["required"]
    };
    let mut inbox: Vec<String> = report
        .inbox
        .iter()
        .map(|message| hex::encode(&message.body))
        .collect();
    inbox.sort();
    assert_eq!(
        inbox,
        hex_list(&expected["inbox"]),
        "inbox of: {note}; dropped {:?}",
        report.dropped
    );
    let rows = bob.store.intros().unwrap();
    let mut quarantine: Vec<String> = rows.iter().map(|row| hex::encode(&row.body)).collect();
    quarantine.sort();
    assert_eq!(
        quarantine,
        hex_list(&expected["quarantine"]),
        "quarantine of: {note}"
    );
    if let Some(left) = case["prekey_left_after_run"].as_bool() {
        let id = PrekeyId::new(prekeys[0]["prekey_id"].as_u64().unwrap() as u32).unwrap();
        assert_eq!(
            bob.store.prekey_secret(id, NOW).unwrap().is_some(),
            left,
            "prekey of: {note}"
        );
    }
    let nothing_came = inbox.is_empty()
        && quarantine.is_empty()
        && !case["zone_data"].as_object().unwrap().is_empty();
    let unpolled = [
        "pinned sender's message in a stranger's zone that is not polled",
        "nobody pinned: dropped",
    ];
    assert!(
        !nothing_came || unpolled.contains(&note) || !report.dropped.is_empty(),
        "no silent drop: {note}"
    );

    let again = bob.receive().await;
    assert!(
        again.inbox.is_empty() && again.intros.is_empty(),
        "second run of: {note}"
    );
}

#[test]
fn every_scenario_ends_as_required_with_and_without_rotation_walking() {
    let vectors = vectors("receive_scenarios.json");
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 49);
    for case in cases {
        for rotation in [RotationPolicy::Ignore, RotationPolicy::Follow] {
            run(check(case, rotation));
        }
    }
}
