//! Altered and hostile content is dropped (crypto.md 5-7, 15.4).

use dmp_core::id::PrekeyId;
use dmp_core::keys::{AgreementPublicKey, AgreementSecret};
use dmp_core::open::{OpenError, open};
use dmp_core::record::Manifest;
use dmp_core::seal::SealError;
use rand_core::TryRng;

use crate::parties::*;
use crate::support::{NOW, TestRng, identity};

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
