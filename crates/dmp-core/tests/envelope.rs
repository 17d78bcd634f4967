//! The plaintext envelope against the vectors (crypto.md 11.1-11.3).

mod support;

use dmp_core::address::Address;
use dmp_core::envelope::{Envelope, decode, encode};
use proptest::prelude::*;
use serde_json::Value;
use support::{cases, optional_text, property_config, text, upstream};

fn hex_of(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).expect("hex")
}

fn address(text: Option<&str>) -> Option<Address> {
    text.and_then(|text| Address::parse(text).ok())
}

#[test]
fn plaintexts_are_taken_apart_as_the_vectors_say() {
    for case in cases("envelope_more.json", "decode", 20) {
        let plaintext = hex_of(&case, "plaintext_hex");
        let from = case
            .get("required_claimed_from")
            .unwrap_or(&case["claimed_from"])
            .as_str();
        let Envelope {
            body,
            from: claimed,
        } = decode(&plaintext);
        assert_eq!(body, hex_of(&case, "body_hex"), "{case}");
        assert_eq!(claimed.as_ref().map(Address::as_str), from, "{case}");
    }
}

#[test]
fn bodies_are_wrapped_as_the_vectors_say() {
    for case in cases("envelope_more.json", "encode", 7) {
        let body = hex_of(&case, "body_hex");
        let plaintext = encode(&body, address(optional_text(&case, "sender_addr")).as_ref());
        assert_eq!(plaintext, hex_of(&case, "plaintext_hex"), "{case}");
    }
}

#[test]
fn the_golden_envelopes_are_written_and_read() {
    let (mut written, mut read) = (0, 0);
    for case in upstream("dmpv2_envelope.json").into_iter().flatten() {
        let inputs = &case["inputs"];
        let plaintext = match optional_text(inputs, "plaintext_hex") {
            Some(plaintext) => hex::decode(plaintext).unwrap(),
            None => {
                written += 1;
                let body = hex_of(inputs, "body_hex");
                let plaintext = encode(
                    &body,
                    address(optional_text(inputs, "sender_addr")).as_ref(),
                )
                .into_owned();
                assert_eq!(plaintext, hex_of(&case, "expected_plaintext_hex"), "{case}");
                plaintext
            }
        };
        read += 1;
        let Envelope { body, from } = decode(&plaintext);
        assert_eq!(body, hex_of(&case, "expected_decode_body_hex"), "{case}");
        assert_eq!(
            from.as_ref().map(Address::as_str),
            optional_text(&case, "expected_decode_from"),
            "{case}"
        );
    }
    assert!(
        [(5, 6), (0, 0)].contains(&(written, read)),
        "{written} written, {read} read"
    );
}

#[test]
fn a_header_of_any_depth_that_fits_is_read() {
    let depth = 124;
    let header = format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(header.len(), 254);
    let plaintext = format!("DMPV2:{header}\nbody");
    assert_eq!(
        decode(plaintext.as_bytes()),
        Envelope {
            body: b"body",
            from: None
        }
    );
}

proptest! {
    #![proptest_config(property_config(256))]

    #[test]
    fn what_is_wrapped_comes_out(body in proptest::collection::vec(any::<u8>(), 0..600), host in "[a-z]{1,20}(\\.[a-z]{1,20}){0,3}") {
        let from = Address::new("alice", &host).unwrap();
        let plaintext = encode(&body, Some(&from));
        prop_assert_eq!(decode(&plaintext), Envelope { body: &body, from: Some(from) });
    }

    #[test]
    fn anything_decodes_without_losing_a_byte_of_plain_text(text in "(DMPV2:)?[{}\"a-z:@.\\n]{0,40}") {
        let Envelope { body, from } = decode(text.as_bytes());
        prop_assert!(text.as_bytes().ends_with(body));
        prop_assert!(from.is_none() || body.len() < text.len());
    }
}
