//! Whole messages, byte for byte (crypto.md 4-10, 14).

use dmp_core::address::Address;
use dmp_core::erasure::decode;
use dmp_core::header::{MessageType, OuterHeader, parse_outer};
use dmp_core::id::{MsgId, PrekeyId, UnixTime, UserId};
use dmp_core::keys::{AgreementPublicKey, Identity};
use dmp_core::name::Zone;
use dmp_core::owner::{chunk_owner, manifest_owner};
use dmp_core::record::Chunk;
use dmp_core::seal::{SealRequest, Wire, seal};
use sha2::{Digest, Sha256};

use crate::parties::*;
use crate::support::{bytes, cases, number, optional_text, text};

#[test]
fn header_and_associated_data_are_those_of_the_vectors() {
    for case in cases("header_aad.json", "cases", 4) {
        let header = OuterHeader {
            message_type: match text(&case, "type") {
                "DATA" => MessageType::Data,
                "ACK" => MessageType::Ack,
                other => panic!("type {other}"),
            },
            msg_id: MsgId::from_bytes(bytes(&case, "msg_id_hex")),
            sender: UserId::from_bytes(bytes(&case, "sender_id_hex")),
            recipient: UserId::from_bytes(bytes(&case, "recipient_id_hex")),
            ts: UnixTime::new(number(&case, "ts")),
            ttl: number(&case, "ttl"),
        };
        let prekey = PrekeyId::new(number(&case, "prekey_id") as u32);
        assert_eq!(header.to_json(), text(&case, "outer_header_json"));
        assert_eq!(
            header.to_json().len() as u64,
            number(&case, "outer_header_len")
        );
        assert_eq!(header.associated_data(prekey), hex_of(&case, "aad_hex"));
        assert_eq!(OuterHeader::parse(header.to_json().as_bytes()), Ok(header));
    }
}

#[test]
fn messages_with_fixed_randomness_are_byte_identical() {
    for case in cases("message_e2e.json", "cases", 6) {
        let (fixed, note) = (&case["fixed"], text(&case, "note"));
        let sender = Identity::from_seed(bytes(&case["sender"], "x25519_private_hex"));
        let recipient = Identity::from_seed(bytes(&case["recipient"], "x25519_private_hex"));
        let prekey = case.get("prekey").map(|prekey| {
            let id = PrekeyId::new(number(prekey, "prekey_id") as u32).expect("not zero");
            (id, secret(prekey, "private_hex"))
        });
        let body = hex_of(&case, "message_utf8_hex");
        let own_zone = text(&case["sender"], "zone");
        let own_host = optional_text(&case["sender"], "identity_domain").unwrap_or(own_zone);
        let own_address =
            Address::new(text(&case["sender"], "username"), own_host).expect("an address");
        let wraps = body != hex_of(&case, "aead_plaintext_hex");
        let now = UnixTime::new(number(fixed, "now"));
        let mut rng = FixedRng(
            [
                hex_of(fixed, "ephemeral_private_hex"),
                hex_of(fixed, "nonce_hex"),
            ]
            .concat(),
        );
        let request = SealRequest {
            sender: &sender,
            recipient: &recipient.agreement_public(),
            prekey: prekey.as_ref().map(|(id, private)| (*id, private.public())),
            body: &body,
            from: wraps.then_some(&own_address),
            msg_id: MsgId::from_bytes(bytes(fixed, "msg_id_hex")),
            now,
            ttl: number(fixed, "ttl"),
            wire: Wire::Current,
        };
        let sealed = seal(&request, NO_CAP, &mut rng).expect(note);

        let zone = Zone::parse(own_zone).expect("a zone");
        assert_eq!(sealed.manifest, text(&case["manifest"], "txt"), "{note}");
        let owner = manifest_owner(&sealed.recipient, sealed.slot, &zone);
        assert_eq!(
            owner.as_str(),
            text(&case["manifest"], "owner_name"),
            "{note}"
        );
        assert_eq!(
            (sealed.plan.k().into(), sealed.plan.n().into()),
            (number(&case, "k"), number(&case, "n"))
        );
        assert_eq!(sealed.ttl, number(fixed, "ttl"));
        let chunks = case["chunks"].as_array().expect("chunks");
        assert_eq!(sealed.chunks.len(), chunks.len());
        for (index, (value, expected)) in sealed.chunks.iter().zip(chunks).enumerate() {
            match optional_text(expected, "txt") {
                Some(txt) => assert_eq!(value, txt, "{note}: chunk {index}"),
                None => assert_eq!(
                    hex::encode(Sha256::digest(value)),
                    text(expected, "txt_sha256_hex")
                ),
            }
            let share = Chunk::parse_txt(value)
                .unwrap()
                .unwrap_share()
                .expect("an undamaged chunk");
            match case.get("shares_hex") {
                Some(shares) => assert_eq!(hex::encode(share), shares[index].as_str().unwrap()),
                None => assert_eq!(
                    hex::encode(Sha256::digest(share)),
                    case["share_sha256_hex"][index].as_str().unwrap()
                ),
            }
            let owner = chunk_owner(
                &sealed.msg_id,
                &sealed.recipient,
                &sealed.sender,
                index as u16,
                &zone,
            );
            assert_eq!(owner.as_str(), text(expected, "owner_name"));
        }

        let held: Vec<_> = sealed
            .chunks
            .iter()
            .map(|value| Chunk::parse_txt(value).unwrap().unwrap_share().unwrap())
            .collect();
        let outer = decode(sealed.plan, (0..).zip(&held)).expect("all shares");
        assert_eq!(outer, hex_of(&case, "outer_message_hex"));
        let (header, _) = parse_outer(&outer).expect("an own outer message");
        assert_eq!(
            header.associated_data(request.prekey.map(|(id, _)| id)),
            hex_of(&case, "aad_hex")
        );

        let key = prekey
            .as_ref()
            .map_or(recipient.agreement(), |(_, private)| private);
        let opened = opened(&sealed, key, now).expect(note);
        let expected = &case["expected_receive"];
        assert_eq!(opened.body, hex_of(expected, "plaintext_hex"));
        assert_eq!(opened.ts.as_secs(), number(expected, "timestamp"));
        assert_eq!(opened.msg_id.to_string(), text(expected, "msg_id_hex"));
        assert_eq!(opened.sender_id, sender.user_id());
        assert_eq!(opened.from, wraps.then_some(own_address));
    }
}

#[test]
fn the_send_pipeline_publishes_the_recorded_values_in_the_recorded_order() {
    for case in cases("client-send-pipeline.json", "cases", 5) {
        let inputs = &case["inputs"];
        let label = text(&case, "label");
        let sender = Identity::from_seed(bytes(&case["sender"], "x25519_private"));
        let recipient = Identity::from_seed(bytes(&case["recipient"], "x25519_private"));
        let prekey = case.get("prekey").map(|prekey| {
            let id = PrekeyId::new(number(prekey, "id") as u32).expect("not zero");
            (id, AgreementPublicKey::from_bytes(bytes(prekey, "public")))
        });
        let body = hex_of(inputs, "body_utf8_hex");
        let zone = Zone::parse(text(&case["sender"], "zone")).expect("a zone");
        let own_address =
            Address::new(text(&case["sender"], "username"), zone.as_str()).expect("an address");
        let request = SealRequest {
            sender: &sender,
            recipient: &recipient.agreement_public(),
            prekey,
            body: &body,
            from: (body != hex_of(&case["derived"], "plaintext_hex")).then_some(&own_address),
            msg_id: MsgId::from_bytes(bytes(inputs, "msg_id")),
            now: UnixTime::new(number(&case, "now")),
            ttl: number(inputs, "ttl"),
            wire: Wire::Current,
        };
        let mut rng =
            FixedRng([hex_of(inputs, "ephemeral_private"), hex_of(inputs, "nonce")].concat());
        let sealed = seal(&request, NO_CAP, &mut rng).expect(label);
        let chunk_names = (0..sealed.chunks.len() as u16).map(|index| {
            chunk_owner(
                &sealed.msg_id,
                &sealed.recipient,
                &sealed.sender,
                index,
                &zone,
            )
        });
        let manifest_name = manifest_owner(&sealed.recipient, sealed.slot, &zone);
        let published: Vec<(String, String)> = chunk_names
            .chain([manifest_name])
            .map(|name| name.into_string())
            .zip(sealed.chunks.iter().chain([&sealed.manifest]).cloned())
            .collect();
        let expected: Vec<(String, String)> = case["published"]
            .as_array()
            .expect("published")
            .iter()
            .map(|record| {
                (
                    text(record, "name").to_owned(),
                    text(record, "value").to_owned(),
                )
            })
            .collect();
        assert_eq!(published, expected, "{label}");
        assert_eq!(
            u64::from(sealed.slot.get()),
            number(&case["derived"], "slot")
        );
    }
}
