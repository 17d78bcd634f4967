//! The error matrix of node.md 3.7 and the chain of MACs, both sides ours.

use std::collections::HashMap;
use std::sync::Arc;

use dmp_dns::query::Query;
use dmp_dns::tsig::{
    Algorithm, Authenticated, Authentication, Key, KeyError, TsigError, Unauthentic, VerifyError,
    authenticate, sign_request,
};
use dmp_dns::update::{Operation, UpdateBuilder};
use dmp_dns::{Name, Rcode, Rtype};

use crate::support::*;

type Ring = HashMap<Name, Arc<Key>>;

fn key(algorithm: Algorithm) -> Key {
    Key::new(
        &name("Key1.Mesh.Example"),
        algorithm,
        b"a secret of thirty-two octets...",
    )
    .unwrap()
}

fn ring(algorithm: Algorithm) -> Ring {
    HashMap::from([(name("key1.mesh.example"), Arc::new(key(algorithm)))])
}

fn unsigned() -> Vec<u8> {
    let mut update = UpdateBuilder::new(&name("mesh.example"));
    update
        .push(&Operation::Add {
            owner: name("id-1.mesh.example"),
            ttl: 60,
            value: "v".into(),
        })
        .unwrap();
    update.build(0x4242)
}

fn signed(algorithm: Algorithm) -> Vec<u8> {
    let mut request = unsigned();
    sign_request(&key(algorithm), &mut request, NOW).unwrap();
    request
}

fn check(
    request: &[u8],
    ring: &Ring,
    now: u64,
) -> Result<Authenticated<Arc<Key>>, Unauthentic<Arc<Key>>> {
    match authenticate(&Query::parse(request).unwrap(), ring, now)? {
        Authentication::Signed(authenticated) => Ok(authenticated),
        Authentication::Unsigned => panic!("not signed"),
    }
}

#[test]
fn every_algorithm_signs_requests_and_answers_of_any_kind() {
    for algorithm in [
        Algorithm::HmacSha256,
        Algorithm::HmacSha384,
        Algorithm::HmacSha512,
    ] {
        for mut request in [unsigned(), query("txt.mesh.example", Rtype::TXT)] {
            let key = key(algorithm);
            let before = request.len();
            let signature = sign_request(&key, &mut request, NOW).unwrap();
            assert_eq!(request.len() - before, key.record_len());
            let authenticated = check(&request, &ring(algorithm), NOW).unwrap();
            assert_eq!(authenticated.row().name(), &name("key1.mesh.example"));

            let mut answer = serve(&Zone::mesh(), &request, UDP);
            let bare = answer.len();
            authenticated.sign_answer(&mut answer, NOW + 1);
            assert_eq!(answer.len() - bare, authenticated.answer_room());
            assert_eq!(signature.verify_answer(&answer, NOW + 2), Ok(()));
        }
    }
}

#[test]
fn an_answer_belongs_to_its_request() {
    let key = key(Algorithm::HmacSha256);
    let (mut first, mut second) = (unsigned(), unsigned());
    let signature = sign_request(&key, &mut first, NOW).unwrap();
    sign_request(&key, &mut second, NOW + 1).unwrap();
    let mut answer = serve(&Zone::mesh(), &second, UDP);
    check(&second, &ring(Algorithm::HmacSha256), NOW)
        .unwrap()
        .sign_answer(&mut answer, NOW);
    assert_eq!(
        signature.verify_answer(&answer, NOW),
        Err(VerifyError::Forged),
        "the request's MAC is part of the answer's"
    );
}

#[test]
fn unknown_keys_and_other_algorithms_are_badkey_unsigned() {
    let request = signed(Algorithm::HmacSha256);
    for ring in [Ring::new(), ring(Algorithm::HmacSha512)] {
        let failure = check(&request, &ring, NOW).unwrap_err();
        expect_unsigned_answer(&request, &failure, TsigError::BADKEY);
    }
    let mut md5 = signed(Algorithm::HmacSha256);
    let at = md5
        .windows(6)
        .rposition(|window| window == b"sha256")
        .unwrap();
    md5[at..at + 6].copy_from_slice(b"sha999");
    expect_unsigned_answer(
        &md5,
        &check(&md5, &ring(Algorithm::HmacSha256), NOW).unwrap_err(),
        TsigError::BADKEY,
    );
}

#[test]
fn a_wrong_mac_is_badsig_unsigned_also_when_the_time_is_wrong_too() {
    let mut request = signed(Algorithm::HmacSha256);
    let mac_at = request.len() - 6 - 32;
    request[mac_at] ^= 1;
    for now in [NOW, NOW + 5000] {
        let failure = check(&request, &ring(Algorithm::HmacSha256), now).unwrap_err();
        expect_unsigned_answer(&request, &failure, TsigError::BADSIG);
    }
}

fn expect_unsigned_answer(request: &[u8], failure: &Unauthentic<Arc<Key>>, error: TsigError) {
    assert_eq!((failure.rcode(), failure.error()), (Rcode::NOTAUTH, error));
    let query = Query::parse(request).unwrap();
    let answer = failure.answer(&query, UDP);
    let response = read(&answer);
    assert_eq!(
        (response.rcode, response.authoritative, response.id),
        (Rcode::NOTAUTH, false, query.id())
    );
    assert_eq!(
        answer[12..12 + query.name().len()],
        *query.name(),
        "question echoed"
    );
    // Empty MAC, original id, error, no other data.
    let [id0, id1] = query.id().to_be_bytes();
    let [error0, error1] = error.0.to_be_bytes();
    assert_eq!(
        answer[answer.len() - 8..],
        [0, 0, id0, id1, error0, error1, 0, 0]
    );
    let mut again = unsigned();
    let key = key(Algorithm::HmacSha256);
    let signature = sign_request(&key, &mut again, NOW).unwrap();
    assert_eq!(
        signature.verify_answer(&answer, NOW),
        Err(VerifyError::Rejected(error))
    );
}

#[test]
fn a_time_outside_the_window_is_badtime_signed_with_the_servers_time() {
    let key = key(Algorithm::HmacSha256);
    for now in [NOW - 301, NOW + 301, NOW + (1 << 32), 0] {
        let mut request = unsigned();
        let signature = sign_request(&key, &mut request, NOW).unwrap();
        let failure = check(&request, &ring(Algorithm::HmacSha256), now).unwrap_err();
        assert_eq!(
            (failure.rcode(), failure.error()),
            (Rcode::NOTAUTH, TsigError::BADTIME)
        );
        let answer = failure.answer(&Query::parse(&request).unwrap(), UDP);
        assert_eq!(
            signature.verify_answer(&answer, NOW),
            Err(VerifyError::Time { server: now })
        );
        let mut tampered = answer.clone();
        *tampered.last_mut().unwrap() ^= 1;
        assert_eq!(
            signature.verify_answer(&tampered, NOW),
            Err(VerifyError::Forged)
        );
    }
    let request = signed(Algorithm::HmacSha256);
    for now in [NOW - 300, NOW + 300] {
        assert!(check(&request, &ring(Algorithm::HmacSha256), now).is_ok());
    }
}

#[test]
fn a_fudge_above_300_counts_as_300_and_a_smaller_one_as_itself() {
    // The fudge is covered by the MAC, so such requests come from another implementation: `domain`.
    for (fudge, late, accepted) in [
        (65_535, 300, true),
        (65_535, 301, false),
        (10, 10, true),
        (10, 11, false),
        (0, 0, true),
        (0, 1, false),
    ] {
        let request = crate::oracle::sign(unsigned(), NOW, fudge);
        let outcome = check(&request, &crate::oracle::ring(), NOW + late);
        assert_eq!(outcome.is_ok(), accepted, "fudge {fudge}, {late} s late");
    }
}

#[test]
fn short_macs_are_refused() {
    let request = signed(Algorithm::HmacSha256);
    let cut = |keep: usize| {
        let mac_at = request.len() - 6 - 32;
        let mut short = request[..mac_at + keep].to_vec();
        short.extend_from_slice(&request[request.len() - 6..]);
        short[mac_at - 2..mac_at].copy_from_slice(&(keep as u16).to_be_bytes());
        let rdlength_at = mac_at - 10 - b"\x0bhmac-sha256\0".len() - 2;
        let rdlength = u16::from_be_bytes([request[rdlength_at], request[rdlength_at + 1]])
            - (32 - keep as u16);
        short[rdlength_at..rdlength_at + 2].copy_from_slice(&rdlength.to_be_bytes());
        short
    };
    for keep in [16, 31] {
        let short = cut(keep);
        let failure = check(&short, &ring(Algorithm::HmacSha256), NOW).unwrap_err();
        assert_eq!(failure.error(), TsigError::BADTRUNC);
        assert_eq!(failure.answer(&Query::parse(&short).unwrap(), UDP)[3], 9);
    }
    for keep in [0, 10, 15] {
        let short = cut(keep);
        let failure = check(&short, &ring(Algorithm::HmacSha256), NOW).unwrap_err();
        assert_eq!(failure.rcode(), Rcode::FORMERR);
        let answer = failure.answer(&Query::parse(&short).unwrap(), UDP);
        assert_eq!(
            (read(&answer).rcode, answer[11]),
            (Rcode::FORMERR, 1),
            "OPT, no TSIG"
        );
    }
}

#[test]
fn a_tsig_record_that_is_not_last_or_not_alone_is_formerr() {
    let request = signed(Algorithm::HmacSha256);
    let record = &request[unsigned().len()..];
    let mut twice = request.clone();
    twice.extend_from_slice(record);
    twice[11] += 1;
    let mut before_opt = with_opt(query("txt.mesh.example", Rtype::TXT), 1232, 0, false, &[]);
    let opt = before_opt.split_off(before_opt.len() - 11);
    before_opt.extend_from_slice(record);
    before_opt.extend_from_slice(&opt);
    before_opt[11] = 2;
    let mut in_answer = query("txt.mesh.example", Rtype::TXT);
    in_answer.extend_from_slice(record);
    in_answer[7] = 1;
    for message in [twice, before_opt, in_answer] {
        let answer = serve(&Zone::mesh(), &message, UDP);
        assert_eq!((answer.len(), answer[3]), (12, 1));
    }
}

#[test]
fn the_id_on_the_wire_may_differ_from_the_signed_one() {
    let mut request = signed(Algorithm::HmacSha256);
    request[0] ^= 0xff; // a forwarder's id
    assert!(check(&request, &ring(Algorithm::HmacSha256), NOW).is_ok());
}

#[test]
fn key_and_algorithm_names_are_compared_without_case() {
    let mut request = signed(Algorithm::HmacSha256);
    for needle in [&b"key1"[..], b"hmac"] {
        let at = request
            .windows(4)
            .rposition(|window| window == needle)
            .unwrap();
        request[at..at + 4].make_ascii_uppercase();
    }
    assert!(check(&request, &ring(Algorithm::HmacSha256), NOW).is_ok());
}

#[test]
fn a_request_with_any_octet_changed_is_refused() {
    let request = signed(Algorithm::HmacSha256);
    let ring = ring(Algorithm::HmacSha256);
    let tsig_at = unsigned().len();
    let mut refused = 0;
    for at in 2..request.len() {
        for bit in 0..8 {
            let mut tampered = request.clone();
            tampered[at] ^= 1 << bit;
            let Ok(query) = Query::parse(&tampered) else {
                refused += 1;
                continue;
            };
            match authenticate(&query, &ring, NOW) {
                Err(_) => refused += 1,
                // The type of the record was changed: an unsigned message, which has no rights.
                Ok(Authentication::Unsigned) => assert!(at > tsig_at, "{at}"),
                // The case of names in the TSIG record is not covered, on purpose (RFC 8945 4.3.3).
                Ok(Authentication::Signed(_)) => {
                    assert!(
                        at > tsig_at && bit == 5 && request[at].is_ascii_alphabetic(),
                        "octet {at} bit {bit}"
                    );
                }
            }
        }
    }
    assert!(refused > 8 * (request.len() - 2 - 60));
}

#[test]
fn an_answer_with_any_octet_changed_proves_nothing() {
    let key = key(Algorithm::HmacSha256);
    let mut request = query("txt.mesh.example", Rtype::TXT);
    let signature = sign_request(&key, &mut request, NOW).unwrap();
    let mut answer = serve(
        &Zone::mesh().with("txt.mesh.example", "hello", 300),
        &request,
        UDP,
    );
    let tsig_at = answer.len();
    check(&request, &ring(Algorithm::HmacSha256), NOW)
        .unwrap()
        .sign_answer(&mut answer, NOW);
    for at in 2..answer.len() {
        for bit in 0..8 {
            let mut tampered = answer.clone();
            tampered[at] ^= 1 << bit;
            let case = at > tsig_at && bit == 5 && answer[at].is_ascii_alphabetic();
            assert!(
                case || signature.verify_answer(&tampered, NOW).is_err(),
                "octet {at} bit {bit}"
            );
        }
    }
    assert_eq!(
        signature.verify_answer(&answer[..tsig_at], NOW),
        Err(VerifyError::Malformed)
    );
    assert_eq!(
        signature.verify_answer(&answer, NOW + 301),
        Err(VerifyError::Forged),
        "too old"
    );
}

#[test]
fn an_unsigned_answer_is_told_from_a_forged_one() {
    let key = key(Algorithm::HmacSha256);
    let mut request = query("txt.mesh.example", Rtype::TXT);
    let signature = sign_request(&key, &mut request, NOW).unwrap();
    let answer = serve(&Zone::mesh(), &request, UDP);
    assert_eq!(
        signature.verify_answer(&answer, NOW),
        Err(VerifyError::Unsigned)
    );
    assert_eq!(
        signature.verify_answer(&[0x12, 0x34, 0x80, 9, 0, 0, 0, 0, 0, 0, 0, 0], NOW),
        Err(VerifyError::Unsigned)
    );
    assert_eq!(
        signature.verify_answer(&[0; 5], NOW),
        Err(VerifyError::Malformed)
    );
}

#[test]
fn weak_algorithms_and_empty_secrets_make_no_key_and_secrets_are_not_printed() {
    for text in [
        "hmac-md5",
        "hmac-sha1",
        "hmac-sha256-128",
        "hmac-sha224",
        "",
    ] {
        assert_eq!(
            text.parse::<Algorithm>(),
            Err(KeyError::Algorithm),
            "{text}"
        );
    }
    assert_eq!("HMAC-SHA256.".parse(), Ok(Algorithm::HmacSha256));
    assert!(matches!(
        Key::new(&name("k"), Algorithm::HmacSha256, b""),
        Err(KeyError::EmptySecret)
    ));
    assert_eq!(
        format!("{:?}", key(Algorithm::HmacSha512)),
        "Key(key1.mesh.example, hmac-sha512)"
    );
}
