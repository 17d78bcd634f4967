//! What people compare and scan: safety numbers and address URIs, held to vectors that were computed from their definitions.

use dmp_core::error::UriError;
use dmp_core::keys::{AgreementPublicKey, PublicKeys, SigningPublicKey};
use dmp_core::limits::{SAFETY_NUMBER_HASHES, SAFETY_NUMBER_LEN};
use dmp_core::safety::SafetyNumber;
use dmp_core::uri::AddressUri;
use proptest::prelude::*;
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn keys(case: &Value) -> PublicKeys {
    PublicKeys {
        agreement: AgreementPublicKey::from_hex(case["x25519_hex"].as_str().unwrap()).unwrap(),
        signing: SigningPublicKey::from_hex(case["ed25519_hex"].as_str().unwrap()).unwrap(),
    }
}

fn person(seed: u8) -> PublicKeys {
    PublicKeys {
        agreement: AgreementPublicKey::from_bytes([seed; 32]),
        signing: SigningPublicKey::from_bytes([seed ^ 0xff; 32]),
    }
}

#[test]
fn safety_numbers_are_those_of_the_vectors_in_either_order() {
    let file = vectors("safety_number.json");
    assert_eq!(file["hashes"], SAFETY_NUMBER_HASHES);
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let (one, other) = (keys(&case["one"]), keys(&case["other"]));
        let number = SafetyNumber::of(&one, &other);
        assert_eq!(number.digits(), case["number"], "{}", case["note"]);
        assert_eq!(number.to_string(), case["shown"].as_str().unwrap());
        assert_eq!(number, SafetyNumber::of(&other, &one));
    }
}

#[test]
fn every_key_of_either_side_changes_the_safety_number() {
    let (alice, bob, other) = (person(1), person(2), person(3));
    let number = SafetyNumber::of(&alice, &bob);
    for (one, two) in [
        (
            PublicKeys {
                agreement: other.agreement,
                ..alice
            },
            bob,
        ),
        (
            PublicKeys {
                signing: other.signing,
                ..alice
            },
            bob,
        ),
        (
            alice,
            PublicKeys {
                agreement: other.agreement,
                ..bob
            },
        ),
        (
            alice,
            PublicKeys {
                signing: other.signing,
                ..bob
            },
        ),
    ] {
        assert_ne!(SafetyNumber::of(&one, &two), number);
    }
}

#[test]
fn a_typed_number_may_be_spaced_as_its_reader_likes_and_must_be_whole() {
    let number = SafetyNumber::of(&person(1), &person(2));
    assert_eq!(number.digits().len(), SAFETY_NUMBER_LEN);
    assert_eq!(number.groups().count(), 12);
    assert!(number.is(number.digits()));
    assert!(number.is(&number.to_string()));
    assert!(number.is(&format!("  {}\n", number.to_string().replace(' ', "\t  "))));
    assert!(!number.is(&number.digits()[1..]));
    assert!(!number.is(&format!("{}0", number.digits())));
    assert!(!number.is(""));
    assert!(SafetyNumber::is_form(&number.to_string()));
    assert!(!SafetyNumber::is_form(&number.digits()[1..]));
    assert!(!SafetyNumber::is_form(&number.digits().replace('1', "x")));
}

#[test]
fn address_uris_are_read_and_written_as_the_vectors_say() {
    let file = vectors("address_uri.json");
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let text = case["uri"].as_str().unwrap();
        let parsed = AddressUri::parse(text);
        if case["required"] == "reject" {
            assert!(parsed.is_err(), "{}: {text}", case["note"]);
            continue;
        }
        let uri = parsed.unwrap_or_else(|error| panic!("{}: {error}", case["note"]));
        assert_eq!(uri.address.as_str(), case["address"]);
        assert_eq!(uri.keys, keys(case));
        assert_eq!(
            uri.mailbox_zone.as_ref().map(|zone| zone.as_str()),
            case["mailbox_zone"].as_str()
        );
        assert_eq!(uri.to_string(), case["canonical"].as_str().unwrap());
        assert_eq!(uri.to_scannable(), case["scannable"].as_str().unwrap());
    }
}

#[test]
fn a_refused_uri_says_what_is_wrong_with_it() {
    let key = "a".repeat(52);
    for (text, error) in [
        ("http://mesh.example", UriError::Scheme),
        ("dmp:alice@mesh.example", UriError::Missing("x")),
        (
            &*format!("dmp:alice@mesh.example?x={key}"),
            UriError::Missing("s"),
        ),
        ("dmp:alice@mesh.example?x=abc", UriError::Key("x")),
        (
            &*format!("dmp:alice@mesh.example?x={key}&x={key}"),
            UriError::Twice("x".to_owned()),
        ),
        (
            &*format!("dmp:alice@mesh.example?req-new=1&x={key}&s={key}"),
            UriError::Required("req-new".to_owned()),
        ),
    ] {
        assert_eq!(AddressUri::parse(text), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn what_was_read_can_be_written_and_read_again(text in "\\PC{0,80}|dmp:[a-z@.?=&-]{0,40}|(?i)dmp:[a-z]{1,5}@[a-z]{1,9}\\?x=[a-z2-7]{51}[aq]&s=[a-z2-7]{51}[aq](&[a-z-]{0,5}=[a-z.]{0,9}){0,2}") {
        if let Ok(uri) = AddressUri::parse(&text) {
            prop_assert_eq!(AddressUri::parse(&uri.to_string()), Ok(uri.clone()));
            prop_assert_eq!(AddressUri::parse(&uri.to_scannable()), Ok(uri));
        }
    }

    #[test]
    fn a_changed_character_is_refused_or_read_as_what_it_says(agreement: [u8; 32], signing: [u8; 32], at in 0usize..140, other in "[a-z0-9@?&=.%#\n]") {
        let uri = AddressUri {
            address: dmp_core::address::Address::parse("alice@mesh.example").unwrap(),
            keys: PublicKeys {
                agreement: AgreementPublicKey::from_bytes(agreement),
                signing: SigningPublicKey::from_bytes(signing),
            },
            mailbox_zone: None,
        };
        let text = uri.to_string();
        prop_assert_eq!(AddressUri::parse(&text), Ok(uri.clone()));
        let mut changed = text.clone();
        let at = at % text.len();
        changed.replace_range(at..=at, &other);
        if let Ok(read) = AddressUri::parse(&changed) {
            prop_assert_eq!(read == uri, changed.trim() == text);
        }
    }
}
