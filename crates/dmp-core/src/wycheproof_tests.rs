//! Project Wycheproof's hostile inputs against the primitives as this crate uses them. The cipher's are beside it.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wycheproof::TestResult;
use wycheproof::{eddsa, hkdf as hkdf_set, mac, xdh};

use crate::keys::{AgreementPublicKey, AgreementSecret, SigningPublicKey};
use crate::signed::verify;

#[test]
fn signatures_pass_strictly() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut valid, mut invalid, mut unspellable) = (0, 0, 0);
    for group in &set.test_groups {
        let key = SigningPublicKey::from_bytes(group.key.pk[..].try_into().unwrap());
        for test in &group.tests {
            let Ok(signature) = test.sig[..].try_into() else {
                assert!(test.result.must_fail(), "{}", test.tc_id);
                unspellable += 1;
                continue;
            };
            assert_eq!(
                verify(&key, &test.msg, &signature).is_err(),
                test.result.must_fail(),
                "{}",
                test.tc_id
            );
            if test.result.must_fail() {
                invalid += 1
            } else {
                valid += 1
            }
        }
    }
    assert_eq!((valid, invalid, unspellable), (88, 51, 12));
}

/// Of the "acceptable" cases those with a zero shared secret are refused (crypto.md 1); twist points and
/// non-canonical encodings are used, as X25519 (RFC 7748 5) says.
#[test]
fn agreement_refuses_exactly_the_keys_that_contribute_nothing() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut valid, mut acceptable_used, mut refused) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let private = AgreementSecret::from_bytes(test.private_key[..].try_into().unwrap());
        let public = AgreementPublicKey::from_bytes(test.public_key[..].try_into().unwrap());
        let shared = private.agree(&public);
        let zero = test.flags.contains(&xdh::TestFlag::ZeroSharedSecret);
        match (shared, test.result) {
            (None, TestResult::Acceptable) if zero => refused += 1,
            (Some(shared), result) if !zero => {
                assert_eq!(shared[..], test.shared_secret[..], "{}", test.tc_id);
                if result == TestResult::Valid {
                    valid += 1
                } else {
                    acceptable_used += 1
                }
            }
            (shared, result) => panic!(
                "{}: {result:?}, shared secret {}",
                test.tc_id,
                shared.is_some()
            ),
        }
    }
    assert_eq!((valid, acceptable_used, refused), (264, 223, 31));
}

#[test]
fn key_derivation_passes() {
    let set = hkdf_set::TestSet::load(hkdf_set::TestName::HkdfSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let expanded =
            Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        assert_eq!(expanded.is_err(), test.result.must_fail(), "{}", test.tc_id);
        if test.result.must_fail() {
            invalid += 1;
        } else {
            assert_eq!(okm, test.okm[..], "{}", test.tc_id);
            valid += 1;
        }
    }
    assert_eq!((valid, invalid), (83, 3));
}

#[test]
fn message_authentication_passes() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let mac = Hmac::<Sha256>::new_from_slice(&test.key)
                .unwrap()
                .chain_update(&test.msg[..]);
            // Half of the set truncates the tag; the protocol never does.
            let verified = if group.tag_size == 256 {
                mac.verify_slice(&test.tag)
            } else {
                mac.verify_truncated_left(&test.tag)
            };
            assert_eq!(verified.is_err(), test.result.must_fail(), "{}", test.tc_id);
            if test.result.must_fail() {
                invalid += 1
            } else {
                valid += 1
            }
        }
    }
    assert_eq!((valid, invalid), (66, 108));
}
