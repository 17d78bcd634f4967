//! Refusals that security rests on: tampering, forged and low-order keys, lengths, far expiries (records.md 3.2, 20; D8).

mod support;

use dmp_core::codec::RecordType;
use dmp_core::error::{RecordError, Rejected};
use dmp_core::id::UnixTime;
use dmp_core::keys::SigningPublicKey;
use dmp_core::registration::{Challenge, NodeName, RegistrationSubject, verify_registration};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use support::sample::{Record, SIGNER, SUCCESSOR, one_of_each, signer};
use support::{NOW, bytes, cases, identity, signing_key, vectors, with_blob};

#[test]
fn every_changed_byte_of_a_value_is_refused_or_is_the_value_of_something_else() {
    for record in one_of_each() {
        let value = record.sign().expect("a valid record");
        let blob = support::blob(&value);
        for index in 0..blob.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut changed = blob.clone();
                changed[index] ^= mask;
                assert_refused_or_own(record.kind(), &with_blob(&value, &changed));
            }
        }
    }
}

#[test]
fn every_changed_character_of_a_value_is_refused_or_is_the_value_of_something_else() {
    for record in one_of_each() {
        let value = record.sign().expect("a valid record");
        for index in 0..value.len() {
            for character in ["A", "/", "=", " ", "-", "\n", ""] {
                let mut changed = value.clone();
                changed.replace_range(index..=index, character);
                if changed != value {
                    assert_refused_or_own(record.kind(), &changed);
                }
            }
        }
    }
}

#[test]
fn values_of_every_wrong_length_are_refused() {
    for record in one_of_each() {
        let value = record.sign().expect("a valid record");
        let blob = support::blob(&value);
        for length in 0..blob.len() {
            assert!(
                read(record.kind(), &with_blob(&value, &blob[..length])).is_err(),
                "{length} {value}"
            );
        }
        for surplus in 1..=66 {
            let mut longer = blob.clone();
            longer.resize(blob.len() + surplus, 0);
            assert!(
                read(record.kind(), &with_blob(&value, &longer)).is_err(),
                "+{surplus} {value}"
            );
        }
        for text in [
            "",
            "v",
            record.kind().prefix(),
            &value[1..],
            &format!(" {value}"),
            &format!("{value} "),
        ] {
            assert!(read(record.kind(), text).is_err(), "{text}");
        }
        assert!(read(record.kind(), &value.replace("v=dmp1", "v=dmp2")).is_err());
        assert!(read(record.kind(), &value.replace("v=dmp1", "V=DMP1")).is_err());
    }
}

#[test]
fn values_above_their_cap_are_refused_before_they_are_decoded() {
    for kind in RecordType::ALL
        .into_iter()
        .filter(|kind| *kind != RecordType::Chunk)
    {
        let value = format!("{}{}", kind.prefix(), "!".repeat(kind.value_max()));
        assert_eq!(
            read(kind, &value).expect_err("too long").code(),
            "malformed-too-long"
        );
        let value = format!(
            "{}{}",
            kind.prefix(),
            "!".repeat(kind.value_max() - kind.prefix().len())
        );
        assert_eq!(
            read(kind, &value).expect_err("no base64").code(),
            "malformed-base64"
        );
    }
    let longest: Vec<usize> = RecordType::ALL
        .into_iter()
        .map(RecordType::value_max)
        .collect();
    assert_eq!(
        longest,
        [241, 43_940, 632, 162, 1200, 1200, 1200, 1200, 255, 1200]
    );
}

#[test]
fn the_fourteen_low_order_keys_are_refused_for_every_signed_type() {
    let mut keys = 0;
    for case in cases("ed25519_low_order.json", "cases", 14) {
        let low = signing_key(&case, "public_key_hex");
        let forged = forgery();
        for record in one_of_each()
            .into_iter()
            .filter(|record| record.kind() != RecordType::Chunk)
        {
            let value = with_key_and_signature(&record, &low, &forged);
            let refused = Record::parse(record.kind(), &value, &low, NOW);
            assert_eq!(
                refused,
                Err(RecordError::Rejected(Rejected::LowOrderKey)),
                "{:?}",
                record.kind()
            );
        }
        keys += 1;
    }
    assert_eq!(keys, 14);
}

#[test]
fn the_identity_point_signs_nothing() {
    let file = vectors("ed25519_low_order.json");
    let point = signing_key(&file["forgery"], "public_key_hex");
    let forged: [u8; 64] = bytes(&file["forgery"], "signature_hex");
    assert_eq!(forged, forgery());
    let message = hex::decode(support::text(&file["forgery"], "message_hex")).expect("hex");
    // The check is needed: a permissive verifier takes this signature for any message.
    let permissive = VerifyingKey::from_bytes(point.as_bytes()).expect("the identity point");
    assert!(
        permissive
            .verify(&message, &Signature::from_bytes(&forged))
            .is_ok()
    );

    let challenge = Challenge::from_bytes([7; 32]);
    let subject = RegistrationSubject::parse("mallory@mesh.example").expect("a subject");
    let node = NodeName::parse("node.example").expect("a node name");
    let mut keys = 0;
    for case in cases("ed25519_low_order.json", "cases", 14) {
        let low = signing_key(&case, "public_key_hex");
        let refused = verify_registration(&low, &challenge, &subject, &node, &forged);
        assert_eq!(refused, Err(Rejected::LowOrderKey));
        keys += 1;
    }
    assert_eq!(keys, 14);
}

#[test]
fn a_low_order_successor_is_refused_in_a_rotation() {
    let value = sample(RecordType::Rotation).sign().expect("a valid record");
    let mut body = support::blob(&value);
    body.truncate(body.len() - 128);
    let at = position(&body, identity(SUCCESSOR).signing_public().as_bytes());
    let mut keys = 0;
    for case in cases("ed25519_low_order.json", "cases", 14) {
        body[at..at + 32].copy_from_slice(signing_key(&case, "public_key_hex").as_bytes());
        let blob = [body.as_slice(), &support::sign(SIGNER, &body), &forgery()].concat();
        let refused = read(RecordType::Rotation, &with_blob(&value, &blob));
        assert_eq!(refused, Err(RecordError::Rejected(Rejected::LowOrderKey)));
        keys += 1;
    }
    assert_eq!(keys, 14);
}

#[test]
fn another_persons_signature_is_refused_for_every_signed_type() {
    let other = identity(9).signing_public();
    for record in one_of_each()
        .into_iter()
        .filter(|record| record.kind() != RecordType::Chunk)
    {
        let value = record.sign().expect("a valid record");
        let blob = support::blob(&value);
        let signature: [u8; 64] = *blob.last_chunk().expect("a signature");
        let refused = Record::parse(
            record.kind(),
            &with_key_and_signature(&record, &other, &signature),
            &other,
            NOW,
        );
        assert_eq!(
            refused,
            Err(RecordError::Rejected(Rejected::Signature)),
            "{:?}",
            record.kind()
        );
    }
}

/// Without this bound any 44 bytes that an owner once signed could serve as a prekey for ever (D8).
#[test]
fn a_prekey_that_expires_more_than_thirty_days_ahead_is_refused() {
    let Record::Prekey(mut prekey) = sample(RecordType::Prekey) else {
        panic!("not a prekey")
    };
    let at_bound = NOW.saturating_add(30 * 86_400);
    for (exp, expected) in [
        (at_bound, None),
        (at_bound.saturating_add(1), Some(Rejected::TooFarAhead)),
        (UnixTime::new(u64::MAX), Some(Rejected::TooFarAhead)),
    ] {
        prekey.exp = exp;
        let value = Record::Prekey(prekey.clone())
            .sign()
            .expect("a signer does not know the reader's clock");
        let refused = Record::parse(RecordType::Prekey, &value, &signer(), NOW).err();
        assert_eq!(refused, expected.map(RecordError::Rejected), "{exp}");
    }
}

/// The last second of life of each type, and how far ahead it may lie (records.md 2, 18.14).
#[test]
fn expiry_is_exact_for_every_type() {
    use RecordType::{Bootstrap, Claim, Cluster, Heartbeat, Manifest, Prekey, Rotation};
    let (short, long) = (30 * 86_400, 5 * 365 * 86_400);
    for record in one_of_each() {
        let kind = record.kind();
        let value = record.sign().expect("a valid record");
        let exp = NOW.saturating_add(3_600);
        let at =
            |seconds: u64| Record::parse(kind, &value, &signer(), UnixTime::new(seconds)).err();
        let (before, after) = (exp.as_secs() - 1, exp.as_secs() + 1);
        let expired = Some(RecordError::Rejected(Rejected::Expired));
        match kind {
            Claim | Heartbeat => {
                assert_eq!((at(before), at(exp.as_secs())), (None, expired), "{kind:?}");
            }
            Cluster | Bootstrap | Rotation => {
                assert_eq!((at(exp.as_secs()), at(after)), (None, expired), "{kind:?}");
            }
            Manifest | Prekey => assert_eq!(at(after), None, "{kind:?} is dropped by its caller"),
            RecordType::Chunk | RecordType::Identity | RecordType::Revocation => {
                assert_eq!(at(u64::MAX), None, "{kind:?} has no expiry");
                continue;
            }
        }
        let horizon = if matches!(kind, Cluster | Bootstrap | Rotation) {
            long
        } else {
            short
        };
        let earliest = exp.as_secs() - horizon;
        let too_far = Some(RecordError::Rejected(Rejected::TooFarAhead));
        assert_eq!(
            at(earliest - 1),
            if kind == Claim {
                Some(RecordError::Rejected(Rejected::Future))
            } else {
                too_far
            }
        );
        if kind != Claim {
            assert_eq!(at(earliest), None, "{kind:?}");
        }
    }
}

fn sample(kind: RecordType) -> Record {
    one_of_each()
        .into_iter()
        .find(|record| record.kind() == kind)
        .expect("a sample of every type")
}

/// The signature that a permissive verifier takes for any message under the identity point.
fn forgery() -> [u8; 64] {
    let mut signature = [0; 64];
    signature[0] = 1;
    signature
}

/// The record's value with another key in the place of its signer's and other signatures.
fn with_key_and_signature(record: &Record, key: &SigningPublicKey, signature: &[u8; 64]) -> String {
    let value = record.sign().expect("a valid record");
    let mut blob = support::blob(&value);
    if record.kind() != RecordType::Prekey {
        let at = position(&blob, signer().as_bytes());
        blob[at..at + 32].copy_from_slice(key.as_bytes());
    }
    let signatures = if record.kind() == RecordType::Rotation {
        2
    } else {
        1
    };
    let body = blob.len() - 64 * signatures;
    blob.truncate(body);
    for _ in 0..signatures {
        blob.extend(signature);
    }
    with_blob(&value, &blob)
}

fn position(blob: &[u8], key: &[u8; 32]) -> usize {
    blob.windows(32)
        .position(|window| window == key)
        .expect("the key is in the body")
}

fn read(kind: RecordType, value: &str) -> Result<Record, RecordError> {
    Record::parse(kind, value, &signer(), NOW)
}

/// A signed type refuses; a chunk is bound by its hash alone, so another chunk must have another text.
fn assert_refused_or_own(kind: RecordType, changed: &str) {
    if let Ok(read) = read(kind, changed) {
        assert_eq!(kind, RecordType::Chunk, "{changed} was accepted");
        assert_eq!(read.sign().as_deref(), Ok(changed));
    }
}
