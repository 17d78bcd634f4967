//! `client-send-pipeline.json`: with all randomness fixed, exactly these writes in exactly this order, and the way back.

use dmp_client::mesh::Operation;
use dmp_client::ops::{self, SendRequest};
use dmp_client::store::{NewContact, NewPrekey};
use dmp_core::id::{MsgId, PrekeyId, UnixTime};
use dmp_core::keys::{AgreementSecret, Identity, Salt};
use dmp_core::name::Zone;
use dmp_core::record::{IdentityRecord, Versions};
use serde_json::Value;

use crate::world::{NOW, Person, ScriptedRng, World, bytes32, run, vectors};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn raw(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).unwrap()
}

fn person(world: &std::sync::Arc<World>, case: &Value) -> Person {
    let salt = Salt::from_hex(text(case, "kdf_salt")).unwrap();
    let identity = Identity::derive(text(case, "passphrase"), &salt).unwrap();
    assert_eq!(
        identity.agreement().as_bytes(),
        &bytes32(&case["x25519_private"])
    );
    assert_eq!(
        identity.signing_public().to_string(),
        text(case, "ed25519_public")
    );
    world.person_with(text(case, "username"), text(case, "zone"), identity, None)
}

fn introduce(one: &Person, other: &Person) {
    let mut card = NewContact::new(&other.profile.username);
    card.signing = Some(other.identity.signing_public());
    card.agreement = Some(other.identity.agreement_public());
    card.zone = Some(other.zone().clone());
    one.store.insert_contact(&card, NOW).unwrap().unwrap();
}

fn publish_identity(person: &Person, versions: &[u8]) {
    let record = IdentityRecord {
        username: person.profile.username.clone(),
        agreement: person.identity.agreement_public(),
        signing: person.identity.signing_public(),
        ts: NOW,
        versions: Versions::new(versions.iter().copied()).unwrap(),
    };
    let value = record.sign(&person.identity).unwrap();
    person
        .world
        .zone
        .publish(person.profile.identity_owner().as_str(), &value, 86_400);
}

async fn check(case: &Value) {
    let label = text(case, "label");
    let world = World::new();
    let (mut alice, bob) = (
        person(&world, &case["sender"]),
        person(&world, &case["recipient"]),
    );
    introduce(&alice, &bob);
    introduce(&bob, &alice);
    alice.profile.own_node = Some(dmp_client::mesh::UpdateTarget {
        host: "127.0.0.1".into(),
        port: Some(25_353),
    });
    let envelope = text(&case["derived"], "plaintext_hex").starts_with(&hex::encode("DMPV2:"));
    publish_identity(&alice, &[1, 2]);
    publish_identity(&bob, if envelope { &[1, 2] } else { &[1] });
    let prekey = case.get("prekey").map(|prekey| {
        let id = PrekeyId::new(prekey["id"].as_u64().unwrap() as u32).unwrap();
        let secret = AgreementSecret::from_bytes(bytes32(&prekey["private"]));
        let expires = UnixTime::new(prekey["exp"].as_u64().unwrap());
        bob.store
            .insert_prekeys(
                &[NewPrekey {
                    id,
                    secret,
                    expires,
                }],
                NOW,
            )
            .unwrap();
        bob.store
            .mark_prekey_published(id, text(prekey, "wire"))
            .unwrap();
        world
            .zone
            .publish(text(prekey, "name"), text(prekey, "wire"), 86_400);
        id
    });

    let inputs = &case["inputs"];
    let body = raw(inputs, "body_utf8_hex");
    let request = SendRequest {
        ttl: inputs["ttl"].as_u64().unwrap(),
        msg_id: Some(MsgId::from_hex(text(inputs, "msg_id")).unwrap()),
        ..SendRequest::new("bob", &body)
    };
    let mut rng = ScriptedRng([raw(inputs, "ephemeral_private"), raw(inputs, "nonce")].concat());
    let report = ops::send(&alice.session(), &request, &mut rng)
        .await
        .unwrap();
    assert!(rng.0.is_empty(), "{label}");

    let written: Vec<_> = world
        .take_written()
        .into_iter()
        .map(|operation| match operation {
            Operation::Add { owner, ttl, value } => (owner.into_string(), u64::from(ttl), value),
            other => panic!("{label}: {other:?}"),
        })
        .collect();
    let expected: Vec<_> = case["published"]
        .as_array()
        .unwrap()
        .iter()
        .map(|write| {
            (
                text(write, "name").to_owned(),
                write["ttl"].as_u64().unwrap(),
                text(write, "value").to_owned(),
            )
        })
        .collect();
    assert_eq!(written, expected, "{label}");
    assert_eq!(report.messages.len(), 1, "one request: {label}");
    let claims = world.claims.lock().unwrap().clone();
    let expected = case["recipient_zone_claim_update"].as_array().unwrap();
    assert_eq!(claims.len(), expected.len(), "{label}");
    for (claim, expected) in claims.iter().zip(expected) {
        assert_eq!(
            claim.zone,
            Zone::parse(text(expected, "update_zone")).unwrap(),
            "{label}"
        );
        assert_eq!(claim.owner.as_str(), text(expected, "name"), "{label}");
        assert_eq!(claim.value, text(expected, "value"), "{label}");
        assert_eq!(
            u64::from(claim.ttl),
            expected["ttl"].as_u64().unwrap(),
            "{label}"
        );
        let same_zone = claim.zone == *alice.zone();
        assert_eq!(
            claim.target.port,
            same_zone.then_some(25_353),
            "own zone: the own node, {label}"
        );
    }

    let received = bob.receive().await;
    let delivered = &case["delivered"];
    assert_eq!(received.inbox.len(), 1, "{label}: {:?}", received.dropped);
    let message = &received.inbox[0];
    assert_eq!(message.body, raw(delivered, "plaintext_hex"), "{label}");
    assert_eq!(
        message.ts.as_secs(),
        delivered["timestamp"].as_u64().unwrap(),
        "{label}"
    );
    assert_eq!(
        message.msg_id.to_string(),
        text(delivered, "msg_id"),
        "{label}"
    );
    let address = message
        .address
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    assert_eq!(address, text(delivered, "sender_label"), "{label}");
    let deleted: Vec<_> = world
        .take_written()
        .into_iter()
        .map(|operation| match operation {
            Operation::DeleteValue { owner, value } => (owner.into_string(), value),
            other => panic!("{label}: {other:?}"),
        })
        .filter(|(name, _)| !name.starts_with("claim-")) // ours; the reference leaves them to their end of life
        .collect();
    let expected: Vec<_> = case["receive_side_deletes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delete| {
            (
                text(delete, "name").to_owned(),
                text(delete, "value").to_owned(),
            )
        })
        .collect();
    assert_eq!(deleted, expected, "{label}");
    if let Some(id) = prekey {
        assert!(
            bob.store.prekey_secret(id, NOW).unwrap().is_none(),
            "{label}"
        );
    }
}

#[test]
fn every_case_is_written_and_read_byte_for_byte() {
    let vectors = vectors("client-send-pipeline.json");
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        run(check(case));
    }
}
