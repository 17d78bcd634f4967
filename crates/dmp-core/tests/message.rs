//! Whole messages against the vectors, and what happens to altered, incomplete and over-long ones (crypto.md 4-10, 15.4).

mod support;

use std::convert::Infallible;

use dmp_core::address::Address;
use dmp_core::erasure::{CodeError, CodePlan, decode};
use dmp_core::error::RecordError;
use dmp_core::header::{MessageType, OuterHeader, parse_outer};
use dmp_core::id::{MsgId, PrekeyId, UnixTime, UserId};
use dmp_core::keys::{AgreementPublicKey, AgreementSecret, Identity};
use dmp_core::name::Zone;
use dmp_core::open::{HashPolicy, OpenError, Opened, Shares, open};
use dmp_core::owner::{chunk_owner, manifest_owner};
use dmp_core::record::{Chunk, Manifest};
use dmp_core::seal::{SealError, SealRequest, Sealed, Wire, body_limit, seal};
use dmp_core::signed::Verified;
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{NOW, TestRng, bytes, cases, identity, number, optional_text, text};

/// A node that takes any value.
const NO_CAP: usize = usize::MAX;

/// The randomness of a vector: the ephemeral private key, then the nonce.
struct FixedRng(Vec<u8>);

impl TryRng for FixedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("sealing draws bytes only")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("sealing draws bytes only")
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(target.len());
        target.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for FixedRng {}

fn hex_of(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).expect("hex")
}

fn secret(value: &Value, key: &str) -> AgreementSecret {
    AgreementSecret::from_bytes(bytes(value, key))
}

/// Verifies the manifest and gives every chunk to its collection.
fn collect(sealed: &Sealed, now: UnixTime) -> (Verified<Manifest>, Shares) {
    let manifest = Manifest::parse(&sealed.manifest, now).expect("an own manifest verifies");
    let mut shares =
        Shares::new(&manifest, HashPolicy::Required).expect("an own manifest binds its chunks");
    for (index, value) in (0..).zip(&sealed.chunks) {
        assert!(shares.offer(index, value), "chunk {index}");
    }
    (manifest, shares)
}

fn opened(sealed: &Sealed, key: &AgreementSecret, now: UnixTime) -> Result<Opened, OpenError> {
    let (manifest, shares) = collect(sealed, now);
    open(&manifest, &shares, key, now)
}

/// What the golden messages share: who, when, how long.
struct Plain {
    sender: Identity,
    recipient: Identity,
    mailbox: AgreementPublicKey,
}

impl Plain {
    fn new() -> Self {
        let recipient = identity(2);
        Self {
            sender: identity(1),
            mailbox: recipient.agreement_public(),
            recipient,
        }
    }

    fn seal<'a>(
        &'a self,
        body: &'a [u8],
        change: impl FnOnce(&mut SealRequest<'a>),
        cap: usize,
    ) -> Result<Sealed, SealError> {
        let mut request = SealRequest {
            sender: &self.sender,
            recipient: &self.mailbox,
            prekey: None,
            body,
            from: None,
            msg_id: MsgId::from_bytes(*b"0123456789abcdef"),
            now: NOW,
            ttl: 300,
            wire: Wire::Current,
        };
        change(&mut request);
        seal(&request, cap, &mut TestRng::new(7))
    }
}

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

#[test]
fn a_changed_byte_anywhere_in_the_sealed_part_or_the_bound_header_fails_to_open() {
    let plain = Plain::new();
    let sealed = plain.seal(b"hello", |_| (), NO_CAP).unwrap();
    let (manifest, shares) = collect(&sealed, NOW);
    assert!(open(&manifest, &shares, plain.recipient.agreement(), NOW).is_ok());
    let outer = outer_of(&sealed);
    let trailer = outer.len() - 32;
    let header_end = 2 + usize::from(u16::from_be_bytes([outer[0], outer[1]]));
    for position in header_end..outer.len() {
        let mut altered = outer.clone();
        altered[position] ^= 1;
        let result = resigned(&plain, &manifest, &altered);
        if position < trailer {
            assert_eq!(result, Err(OpenError::NotSealedToKey), "byte {position}");
        } else {
            assert!(result.is_ok(), "trailer byte {position}");
        }
    }
    for position in 2..header_end {
        let mut altered = outer.clone();
        altered[position] ^= 1;
        let result = resigned(&plain, &manifest, &altered);
        // Constants that bind nothing: a digit of total or chunk may become another one.
        let unbound = ["\"total\":1", "\"chunk\":0"].iter().any(|member| {
            let header = std::str::from_utf8(&outer[2..header_end]).unwrap();
            2 + header.find(member).unwrap() + member.len() - 1 == position
        });
        assert_eq!(result.is_ok(), unbound, "header byte {position}");
    }
}

#[test]
fn every_value_bound_by_the_header_is_bound() {
    let plain = Plain::new();
    let sealed = plain.seal(b"hello", |_| (), NO_CAP).unwrap();
    let (manifest, _) = collect(&sealed, NOW);
    let outer = outer_of(&sealed);
    let header_end = 2 + usize::from(u16::from_be_bytes([outer[0], outer[1]]));
    let header = String::from_utf8(outer[2..header_end].to_vec()).unwrap();
    let rewritten = |from: &str, to: &str| {
        let header = header.replace(from, to);
        [
            &(header.len() as u16).to_be_bytes(),
            header.as_bytes(),
            &outer[header_end..],
        ]
        .concat()
    };
    for (from, to) in [
        ("\"ts\":1800000000", "\"ts\":1800000001"),
        ("\"ttl\":300", "\"ttl\":301"),
        ("\"sender\":\"", "\"sender\":\"00"),
    ] {
        // Sender ids keep their length.
        let altered = if to.ends_with("00") {
            let id = plain.sender.user_id().to_string();
            rewritten(&id, &format!("{}{}", "00", &id[2..]))
        } else {
            rewritten(from, to)
        };
        assert_eq!(
            resigned(&plain, &manifest, &altered),
            Err(OpenError::NotSealedToKey),
            "{from}"
        );
    }
    for (from, to) in [
        ("\"total\":1", "\"total\":256"),
        ("\"chunk\":0", "\"chunk\":12"),
    ] {
        assert!(
            resigned(&plain, &manifest, &rewritten(from, to)).is_ok(),
            "{from}"
        );
    }
    let other_id = "f".repeat(32);
    let altered = rewritten(&manifest.msg_id.to_string(), &other_id);
    assert_eq!(
        resigned(&plain, &manifest, &altered),
        Err(OpenError::OtherMessage)
    );
    let altered = rewritten(&manifest.recipient.to_string(), &"f".repeat(64));
    assert_eq!(
        resigned(&plain, &manifest, &altered),
        Err(OpenError::OtherRecipient)
    );
    let altered = rewritten("\"DATA\"", "\"ACK\"");
    assert_eq!(
        resigned(&plain, &manifest, &altered),
        Err(OpenError::NotData)
    );
}

#[test]
fn the_prekey_id_is_bound_and_the_other_key_is_never_tried() {
    let plain = Plain::new();
    let prekey = AgreementSecret::from_bytes([9; 32]);
    let id = PrekeyId::new(77).unwrap();
    let sealed = plain
        .seal(
            b"x",
            |request| request.prekey = Some((id, prekey.public())),
            NO_CAP,
        )
        .unwrap();
    assert_eq!(
        Manifest::parse(&sealed.manifest, NOW).unwrap().prekey,
        Some(id)
    );
    assert!(opened(&sealed, &prekey, NOW).is_ok());
    assert_eq!(
        opened(&sealed, plain.recipient.agreement(), NOW),
        Err(OpenError::NotSealedToKey)
    );

    let (manifest, _) = collect(&sealed, NOW);
    let outer = outer_of(&sealed);
    for other in [None, PrekeyId::new(78)] {
        let claimed = resign(
            &plain,
            &Manifest {
                prekey: other,
                ..manifest.clone().into_inner()
            },
            &outer,
        );
        assert_eq!(
            opened(&claimed, &prekey, NOW),
            Err(OpenError::NotSealedToKey),
            "{other:?}"
        );
    }
    let to_long_term = plain.seal(b"x", |_| (), NO_CAP).unwrap();
    assert_eq!(
        opened(&to_long_term, &prekey, NOW),
        Err(OpenError::NotSealedToKey)
    );
    assert_eq!(
        opened(&to_long_term, identity(3).agreement(), NOW),
        Err(OpenError::NotSealedToKey)
    );
}

#[test]
fn a_low_order_recipient_or_ephemeral_key_is_refused() {
    let plain = Plain::new();
    for low in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let key = AgreementPublicKey::from_bytes(low);
        let result = plain.seal(
            b"x",
            |request| request.prekey = Some((PrekeyId::new(1).unwrap(), key)),
            NO_CAP,
        );
        assert_eq!(result, Err(SealError::UnusableKey));

        let sealed = plain.seal(b"x", |_| (), NO_CAP).unwrap();
        let (manifest, _) = collect(&sealed, NOW);
        let mut outer = outer_of(&sealed);
        let start = 2 + usize::from(u16::from_be_bytes([outer[0], outer[1]]));
        outer[start..start + 32].copy_from_slice(&low);
        assert_eq!(
            resigned(&plain, &manifest, &outer),
            Err(OpenError::NotSealedToKey)
        );
    }
}

#[test]
fn a_sealed_part_too_short_for_key_nonce_and_tag_is_dropped() {
    let plain = Plain::new();
    let sealed = plain.seal(b"", |_| (), NO_CAP).unwrap();
    let (manifest, _) = collect(&sealed, NOW);
    let outer = outer_of(&sealed);
    let start = 2 + usize::from(u16::from_be_bytes([outer[0], outer[1]]));
    for length in [0, 31, 32, 43, 44, 59] {
        let short = [&outer[..start + length], &[0; 32]].concat();
        assert_eq!(
            resigned(&plain, &manifest, &short),
            Err(OpenError::NotSealedToKey),
            "{length} bytes"
        );
    }
}

#[test]
fn a_message_lives_through_its_last_second_and_may_come_from_the_future() {
    let plain = Plain::new();
    let sealed = plain.seal(b"x", |_| (), NO_CAP).unwrap();
    let key = plain.recipient.agreement();
    assert!(opened(&sealed, key, NOW.saturating_add(300)).is_ok());
    assert_eq!(
        opened(&sealed, key, NOW.saturating_add(301)),
        Err(OpenError::Expired)
    );
    assert!(opened(&sealed, key, UnixTime::new(1_799_000_000)).is_ok());
}

#[test]
fn the_lifetime_is_cut_to_30_days_less_the_clock_difference() {
    let plain = Plain::new();
    let sealed = plain
        .seal(b"x", |request| request.ttl = u64::MAX, NO_CAP)
        .unwrap();
    assert_eq!(sealed.ttl, 2_591_700);
    assert_eq!(sealed.exp, NOW.saturating_add(2_591_700));
    assert!(Manifest::parse(&sealed.manifest, UnixTime::new(NOW.as_secs() - 300)).is_ok());
}

#[test]
fn the_longest_text_follows_the_header_of_the_message_at_hand() {
    let plain = Plain::new();
    let longest = vec![b'x'; 24_725];
    for (ttl, limit) in [
        (300, 24_724),
        (86_400, 24_722),
        (2_591_700, 24_720),
        (2_592_000, 24_720),
    ] {
        let sealed = plain
            .seal(&longest[..limit], |request| request.ttl = ttl, NO_CAP)
            .unwrap();
        assert_eq!((sealed.plan.k(), sealed.plan.n()), (196, 255));
        assert_eq!(
            opened(&sealed, plain.recipient.agreement(), NOW)
                .unwrap()
                .body,
            longest[..limit]
        );
        let refused = plain.seal(&longest[..=limit], |request| request.ttl = ttl, NO_CAP);
        assert_eq!(
            refused,
            Err(SealError::TooLarge {
                body_bytes: limit + 1,
                limit_body_bytes: limit
            }),
            "ttl {ttl}"
        );
    }
    for short in [0, 1] {
        let sealed = plain.seal(&longest[..short], |_| (), NO_CAP).unwrap();
        assert_eq!(
            (sealed.plan.k(), sealed.plan.n(), sealed.manifest.len()),
            (3, 4, 420)
        );
        assert_eq!(
            opened(&sealed, plain.recipient.agreement(), NOW)
                .unwrap()
                .body,
            longest[..short]
        );
    }
}

#[test]
fn a_node_that_caps_values_caps_the_text() {
    let plain = Plain::new();
    let text = vec![b'x'; 3_733];
    for (ttl, limit) in [(300, 3_732), (86_400, 3_730)] {
        let sealed = plain
            .seal(&text[..limit], |request| request.ttl = ttl, 2_048)
            .unwrap();
        assert_eq!(sealed.plan.n(), 42);
        assert!(sealed.manifest.len() <= 2_048);
        let refused = plain.seal(&text[..=limit], |request| request.ttl = ttl, 2_048);
        assert_eq!(
            refused,
            Err(SealError::TooLarge {
                body_bytes: limit + 1,
                limit_body_bytes: limit
            })
        );
    }
    assert_eq!(
        plain.seal(b"", |_| (), 240),
        Err(SealError::NothingFits {
            max_value_bytes: 240
        })
    );
    assert!(plain.seal(b"", |_| (), 420).is_ok());
    assert!(matches!(
        plain.seal(b"", |_| (), 419),
        Err(SealError::NothingFits { .. })
    ));
}

#[test]
fn the_envelope_costs_18_bytes_and_the_address() {
    let plain = Plain::new();
    let address = Address::parse("alice@example.com").unwrap();
    let limit = 24_724 - 18 - address.as_str().len();
    let text = vec![b'x'; limit + 1];
    let sealed = plain
        .seal(
            &text[..limit],
            |request| request.from = Some(&address),
            NO_CAP,
        )
        .unwrap();
    let received = opened(&sealed, plain.recipient.agreement(), NOW).unwrap();
    assert_eq!(
        (received.body.len(), received.from.as_ref()),
        (limit, Some(&address))
    );
    let refused = plain.seal(&text, |request| request.from = Some(&address), NO_CAP);
    assert_eq!(
        refused,
        Err(SealError::TooLarge {
            body_bytes: limit + 1,
            limit_body_bytes: limit
        })
    );
}

#[test]
fn the_size_is_judged_before_anything_is_drawn() {
    let plain = Plain::new();
    let request = SealRequest {
        sender: &plain.sender,
        recipient: &AgreementPublicKey::from_bytes([0; 32]),
        prekey: None,
        body: &[0; 30_000],
        from: None,
        msg_id: MsgId::from_bytes([0; 16]),
        now: NOW,
        ttl: 300,
        wire: Wire::Current,
    };
    assert_eq!(body_limit(&request, NO_CAP), Some(24_724));
    let refused = seal(&request, NO_CAP, &mut FixedRng(Vec::new()));
    assert_eq!(
        refused,
        Err(SealError::TooLarge {
            body_bytes: 30_000,
            limit_body_bytes: 24_724
        })
    );
}

#[test]
fn lost_chunks_up_to_n_less_k_are_made_good_data_or_parity_alike() {
    let plain = Plain::new();
    let body = vec![b'y'; 1_000];
    let sealed = plain.seal(&body, |_| (), NO_CAP).unwrap();
    let (k, n) = (sealed.plan.k() as u16, sealed.plan.n() as u16);
    let manifest = Manifest::parse(&sealed.manifest, NOW).unwrap();
    for first_lost in 0..=k {
        let mut shares = Shares::new(&manifest, HashPolicy::Required).unwrap();
        let lost = first_lost..first_lost + (n - k);
        for index in (0..n).filter(|index| !lost.contains(index)) {
            assert!(!shares.is_complete());
            assert!(shares.offer(index, &sealed.chunks[usize::from(index)]));
        }
        assert!(shares.is_complete());
        assert!(shares.wanted().eq(lost.clone()));
        assert_eq!(
            open(&manifest, &shares, plain.recipient.agreement(), NOW)
                .unwrap()
                .body,
            body
        );
    }

    let mut shares = Shares::new(&manifest, HashPolicy::Required).unwrap();
    for index in 1..k {
        shares.offer(index, &sealed.chunks[usize::from(index)]);
    }
    let error = open(&manifest, &shares, plain.recipient.agreement(), NOW).unwrap_err();
    assert_eq!(
        error,
        OpenError::Code(CodeError::TooFewShares {
            held: usize::from(k) - 1,
            needed: k
        })
    );
    assert!(error.is_incomplete());
    assert!(!shares.hopeless(usize::from(n - k)));
    assert!(shares.hopeless(usize::from(n - k) + 1));
    assert!(
        shares.offer(0, &sealed.chunks[0]),
        "the message is whole once the chunk appears"
    );
    assert!(open(&manifest, &shares, plain.recipient.agreement(), NOW).is_ok());
}

#[test]
fn data_is_wanted_before_parity_and_nothing_beyond_k() {
    let plain = Plain::new();
    let sealed = plain.seal(&[b'z'; 500], |_| (), NO_CAP).unwrap();
    let manifest = Manifest::parse(&sealed.manifest, NOW).unwrap();
    let mut shares = Shares::new(&manifest, HashPolicy::Required).unwrap();
    let k = sealed.plan.k() as usize;
    assert_eq!(shares.needed(), k);
    assert!(shares.wanted().eq(0..sealed.plan.n() as u16));
    assert!(shares.offer(3, &sealed.chunks[3]));
    assert!(shares.offer(3, "anything, it is held already"));
    assert_eq!(shares.needed(), k - 1);
    assert!(shares.wanted().take(4).eq([0, 1, 2, 4]));
}

#[test]
fn garbage_beside_a_chunk_does_not_disturb_delivery() {
    let plain = Plain::new();
    let sealed = plain.seal(b"hello", |_| (), NO_CAP).unwrap();
    let foreign = plain.seal(b"other", |_| (), NO_CAP).unwrap();
    let (manifest, _) = collect(&sealed, NOW);
    let mut shares = Shares::new(&manifest, HashPolicy::Required).unwrap();
    let well_formed_poison = Chunk::wrap(&[0x55; 128]).to_txt();
    for (index, good) in (0..).zip(&sealed.chunks) {
        let neighbour = &sealed.chunks[(usize::from(index) + 2) % sealed.chunks.len()];
        for poison in [
            "",
            "v=spf1 -all",
            "v=dmp1;t=chunk;d=QUJD",
            &well_formed_poison,
            neighbour,
            &sealed.manifest,
        ] {
            assert!(!shares.offer(index, poison), "{poison}");
        }
        if foreign.chunks[usize::from(index)] != *good {
            assert!(!shares.offer(index, &foreign.chunks[usize::from(index)]));
        }
        assert!(shares.offer(index, good));
    }
    assert!(
        !shares.offer(sealed.plan.n() as u16, &sealed.chunks[0]),
        "an index the plan does not have"
    );
    assert_eq!(
        open(&manifest, &shares, plain.recipient.agreement(), NOW)
            .unwrap()
            .body,
        b"hello"
    );
}

#[test]
fn a_damaged_chunk_counts_once_repair_gives_the_announced_one() {
    let plain = Plain::new();
    let sealed = plain.seal(b"hello", |_| (), NO_CAP).unwrap();
    let (manifest, _) = collect(&sealed, NOW);
    let damaged = |from: usize, errors: usize| {
        let mut chunk = *Chunk::parse_txt(&sealed.chunks[1]).unwrap().as_bytes();
        for step in 0..errors {
            chunk[from + step * 9] ^= 0xff;
        }
        support::with_blob(&sealed.chunks[1], &chunk)
    };
    let offered = |value: &str| {
        Shares::new(&manifest, HashPolicy::Required)
            .unwrap()
            .offer(1, value)
    };
    assert!(offered(&damaged(8, 16)), "16 wrong bytes are repaired");
    assert!(!offered(&damaged(8, 17)), "17 are refused");
    assert!(
        offered(&damaged(0, 1)),
        "the checksum is part of what re-wrapping restores"
    );
    assert!(
        !Shares::new(&manifest, HashPolicy::Required)
            .unwrap()
            .offer(0, &damaged(8, 16)),
        "but only at its index"
    );
}

#[test]
fn a_manifest_without_hashes_is_refused_except_under_the_legacy_policy() {
    let plain = Plain::new();
    let address = Address::parse("alice@example.com").unwrap();
    let legacy = |request: &mut SealRequest<'_>| {
        request.wire = Wire::Legacy;
        request.ttl = 86_400;
    };
    let sealed = plain.seal(b"to an old peer", legacy, 2_048).unwrap();
    assert_eq!(sealed.manifest.len(), 252);
    let manifest = Manifest::parse(&sealed.manifest, NOW).unwrap();
    assert_eq!(
        Shares::new(&manifest, HashPolicy::Required).err(),
        Some(OpenError::NoChunkHashes)
    );

    let mut shares = Shares::new(&manifest, HashPolicy::LegacyAllowed).unwrap();
    assert!(!shares.offer(0, "v=dmp1;t=chunk;d=QUJD"));
    for (index, value) in (0..).zip(&sealed.chunks) {
        assert!(shares.offer(index, value));
    }
    let received = open(&manifest, &shares, plain.recipient.agreement(), NOW).unwrap();
    assert_eq!(received.body, b"to an old peer");

    let unwrapped = plain
        .seal(
            b"to an old peer",
            |request| {
                legacy(request);
                request.from = Some(&address);
            },
            2_048,
        )
        .unwrap();
    assert_eq!(unwrapped, sealed, "an old peer gets no envelope");

    let modern = plain.seal(b"x", |_| (), NO_CAP).unwrap();
    let modern_manifest = Manifest::parse(&modern.manifest, NOW).unwrap();
    let mut shares = Shares::new(&modern_manifest, HashPolicy::LegacyAllowed).unwrap();
    assert!(
        !shares.offer(0, &Chunk::wrap(&[1; 128]).to_txt()),
        "hashes bind whatever the policy"
    );
}

#[test]
fn the_first_well_formed_chunk_of_a_legacy_message_is_taken() {
    let plain = Plain::new();
    let sealed = plain
        .seal(b"x", |request| request.wire = Wire::Legacy, NO_CAP)
        .unwrap();
    let manifest = Manifest::parse(&sealed.manifest, NOW).unwrap();
    let mut shares = Shares::new(&manifest, HashPolicy::LegacyAllowed).unwrap();
    assert!(shares.offer(0, &Chunk::wrap(&[1; 128]).to_txt()));
    assert!(shares.offer(0, &sealed.chunks[0]), "held already");
    for (index, value) in (1..).zip(&sealed.chunks[1..]) {
        shares.offer(index, value);
    }
    assert!(open(&manifest, &shares, plain.recipient.agreement(), NOW).is_err());
}

#[test]
fn more_than_256_shares_are_refused_before_any_is_taken() {
    let plain = Plain::new();
    let sealed = plain.seal(b"x", |_| (), NO_CAP).unwrap();
    let (manifest, shares) = collect(&sealed, NOW);
    let mut huge = manifest.clone().into_inner();
    huge.plan = CodePlan::new(1, 257).unwrap();
    huge.chunk_hashes = vec![[0; 32]; 257];
    let huge = Manifest::parse(&huge.sign(&plain.sender).unwrap(), NOW).unwrap();
    let refused = OpenError::Code(CodeError::TooManyShares(257));
    assert_eq!(
        Shares::new(&huge, HashPolicy::Required).err(),
        Some(refused)
    );
    assert_eq!(
        Shares::new(&huge, HashPolicy::LegacyAllowed).err(),
        Some(refused)
    );
    assert_eq!(
        open(&huge, &shares, plain.recipient.agreement(), NOW),
        Err(OpenError::OtherShares)
    );
}

#[test]
fn shares_of_one_message_do_not_open_another() {
    let plain = Plain::new();
    let (_, shares) = collect(&plain.seal(b"x", |_| (), NO_CAP).unwrap(), NOW);
    let other = plain
        .seal(
            b"x",
            |request| request.msg_id = MsgId::from_bytes([1; 16]),
            NO_CAP,
        )
        .unwrap();
    let manifest = Manifest::parse(&other.manifest, NOW).unwrap();
    assert_eq!(
        open(&manifest, &shares, plain.recipient.agreement(), NOW),
        Err(OpenError::OtherShares)
    );
}

#[test]
fn any_content_that_decodes_is_at_worst_dropped() {
    let plain = Plain::new();
    let (manifest, _) = collect(&plain.seal(b"x", |_| (), NO_CAP).unwrap(), NOW);
    for seed in 0..200_u64 {
        let mut rng = TestRng::new(seed);
        let mut outer = vec![0; usize::try_from(seed * 3).unwrap()];
        rng.try_fill_bytes(&mut outer).unwrap();
        if seed % 2 == 0 && outer.len() > 2 {
            let length = (outer.len() as u16).saturating_sub(34);
            outer[..2].copy_from_slice(&length.to_be_bytes());
        }
        assert!(resigned(&plain, &manifest, &outer).is_err());
    }
}

/// The outer message inside a sealed one.
fn outer_of(sealed: &Sealed) -> Vec<u8> {
    let shares: Vec<_> = sealed
        .chunks
        .iter()
        .map(|value| Chunk::parse_txt(value).unwrap().unwrap_share().unwrap())
        .collect();
    decode(sealed.plan, (0..).zip(&shares)).unwrap()
}

/// The sender's own manifest over chunks of another outer message: what a hostile correspondent can make.
fn resign(plain: &Plain, manifest: &Manifest, outer: &[u8]) -> Sealed {
    let plan = CodePlan::for_message_len(outer.len()).unwrap();
    let chunks: Vec<_> = dmp_core::erasure::encode(plan, outer)
        .unwrap()
        .iter()
        .map(Chunk::wrap)
        .collect();
    let chunk_hashes = chunks.iter().map(Chunk::hash).collect();
    let manifest = Manifest {
        plan,
        chunk_hashes,
        ..manifest.clone()
    };
    Sealed {
        msg_id: manifest.msg_id,
        recipient: manifest.recipient,
        sender: manifest.sender,
        plan,
        slot: manifest.msg_id.slot(),
        exp: manifest.exp,
        ttl: 300,
        manifest: manifest.sign(&plain.sender).unwrap(),
        chunks: chunks.iter().map(Chunk::to_txt).collect(),
    }
}

fn resigned(plain: &Plain, manifest: &Manifest, outer: &[u8]) -> Result<Opened, OpenError> {
    opened(
        &resign(plain, manifest, outer),
        plain.recipient.agreement(),
        NOW,
    )
}

#[test]
fn a_manifest_over_the_horizon_never_reaches_the_chunks() {
    let plain = Plain::new();
    let sealed = plain
        .seal(b"x", |request| request.ttl = 2_591_700, NO_CAP)
        .unwrap();
    let too_early = UnixTime::new(NOW.as_secs() - 301);
    assert!(matches!(
        Manifest::parse(&sealed.manifest, too_early),
        Err(RecordError::Rejected(_))
    ));
}
