//! How long a text may be and how long a message lives (crypto.md 10, 14.1, 16).

use dmp_core::address::Address;
use dmp_core::error::RecordError;
use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::AgreementPublicKey;
use dmp_core::open::OpenError;
use dmp_core::record::Manifest;
use dmp_core::seal::{SealError, SealRequest, Wire, body_limit, seal};

use crate::parties::*;
use crate::support::NOW;

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
