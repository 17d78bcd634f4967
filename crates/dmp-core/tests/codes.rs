//! Both codes against the vectors, and the promise that any k of n shares suffice (crypto.md 8, 9).

mod support;

use dmp_core::erasure::{CodeError, CodePlan, Share, decode, encode};
use dmp_core::record::Chunk;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{cases, encode64, number, optional_text, property_config, text};

fn plan(case: &Value) -> CodePlan {
    CodePlan::new(number(case, "k") as u32, number(case, "n") as u32).expect("a plan")
}

fn share(hex_text: &str) -> Option<Share> {
    hex::decode(hex_text).expect("hex").try_into().ok()
}

#[test]
fn k_and_n_follow_from_the_length() {
    for case in cases("erasure_zfec.json", "choose_kn", 19) {
        let chosen = CodePlan::for_message_len(number(&case, "message_bytes") as usize).unwrap();
        assert_eq!(chosen, plan(&case), "{case}");
    }
    assert_eq!(CodePlan::for_message_len(25_084).unwrap().n(), 255);
    assert_eq!(
        CodePlan::for_message_len(25_085),
        Err(CodeError::TooLong {
            length: 25_085,
            limit: 25_084
        })
    );
    assert!(CodePlan::for_message_len(usize::MAX).is_err());
}

#[test]
fn plans_hold_1_to_n_of_at_most_1024() {
    for (k, n) in [
        (0, 1),
        (0, 0),
        (2, 1),
        (1, 1025),
        (1025, 1025),
        (u32::MAX, u32::MAX),
    ] {
        assert_eq!(CodePlan::new(k, n), None, "({k}, {n})");
    }
    assert!(CodePlan::new(1, 256).unwrap().is_decodable());
    assert!(!CodePlan::new(1, 257).unwrap().is_decodable());
    assert!(!CodePlan::new(1024, 1024).unwrap().is_decodable());
}

#[test]
fn parity_is_that_of_the_reference_matrix() {
    for case in cases("erasure_zfec.json", "matrix", 7) {
        let plan = plan(&case);
        let k = plan.k() as usize;
        let data = hex_rows(&case["data_blocks_hex"]);
        let length = data[0].len();
        for (share, expected) in parity_of(plan, &data)
            .iter()
            .zip(hex_rows(&case["parity_blocks_hex"]))
        {
            assert_eq!(share[64..64 + length], expected[..]);
        }

        // 60 unit vectors at a time, one per byte.
        let mut rows = vec![vec![0; k]; (plan.n() - plan.k()) as usize];
        for first in (0..k).step_by(60) {
            let columns = first..k.min(first + 60);
            let mut units = vec![vec![0; 60]; k];
            columns
                .clone()
                .for_each(|column| units[column][column - first] = 1);
            for (row, share) in rows.iter_mut().zip(parity_of(plan, &units)) {
                columns
                    .clone()
                    .for_each(|column| row[column] = share[64 + column - first]);
            }
        }
        if let Some(expected) = case.get("parity_rows_hex") {
            assert_eq!(rows, hex_rows(expected));
        } else {
            assert_eq!(hex::encode(&rows[0]), text(&case, "first_parity_row_hex"));
            assert_eq!(
                hex::encode(rows.last().unwrap()),
                text(&case, "last_parity_row_hex")
            );
            assert_eq!(
                hex::encode(Sha256::digest(rows.concat())),
                text(&case, "parity_rows_sha256_hex")
            );
        }
    }
}

fn hex_rows(rows: &Value) -> Vec<Vec<u8>> {
    let rows = rows.as_array().expect("an array").iter();
    rows.map(|row| hex::decode(row.as_str().expect("text")).expect("hex"))
        .collect()
}

/// The parity shares of data blocks laid at byte 64 of each share, clear of the length prefix in the first.
fn parity_of(plan: CodePlan, blocks: &[Vec<u8>]) -> Vec<Share> {
    let mut message = vec![0; plan.capacity()];
    for (index, block) in blocks.iter().enumerate() {
        let start = index * 128 + 64 - 4;
        message[start..start + block.len()].copy_from_slice(block);
    }
    encode(plan, &message)
        .expect("it fits")
        .split_off(blocks.len())
}

#[test]
fn messages_encode_to_the_shares_of_the_vectors() {
    for case in cases("erasure_zfec.json", "encode", 9) {
        let message = hex::decode(text(&case, "message_hex")).unwrap();
        let shares = encode(plan(&case), &message).unwrap();
        let shares: Vec<_> = shares.iter().map(hex::encode).collect();
        assert_eq!(Value::from(shares), case["shares_hex"]);
    }
}

#[test]
fn shares_decode_as_the_vectors_say() {
    for case in cases("erasure_zfec.json", "decode", 8) {
        let held: Option<Vec<(u16, Share)>> = case["shares"]
            .as_object()
            .expect("shares")
            .iter()
            .map(|(index, hex_text)| {
                Some((index.parse().unwrap(), share(hex_text.as_str().unwrap())?))
            })
            .collect();
        // A share of another length is not a share here.
        let message = held.and_then(|held| {
            decode(
                plan(&case),
                held.iter().map(|(index, share)| (*index, share)),
            )
            .ok()
        });
        assert_eq!(
            message.map(hex::encode).as_deref(),
            optional_text(&case, "message_hex"),
            "{}",
            case["note"]
        );
    }
}

#[test]
fn chunks_wrap_and_unwrap_as_the_vectors_say() {
    let (mut wrapped, mut unwrapped) = (0, 0);
    for case in cases("rs_block.json", "cases", 14) {
        let bytes = hex::decode(text(&case, "wrapped_hex")).unwrap();
        let value = format!("v=dmp1;t=chunk;d={}", encode64(&bytes));
        if text(&case, "op") == "wrap" {
            wrapped += 1;
            let chunk = Chunk::wrap(&share(text(&case, "block_hex")).expect("128 bytes"));
            assert_eq!(chunk.as_bytes()[..], bytes);
            assert_eq!(
                hex::encode(&chunk.as_bytes()[136..]),
                text(&case, "parity_hex")
            );
            assert_eq!(
                hex::encode(chunk.hash()),
                text(&case, "sha256_of_wrapped_hex")
            );
            assert_eq!(chunk.to_txt(), text(&case, "chunk_txt"));
        } else {
            unwrapped += 1;
            let share = Chunk::parse_txt(&value)
                .ok()
                .and_then(|chunk| chunk.unwrap_share());
            assert_eq!(
                share.map(hex::encode).as_deref(),
                optional_text(&case, "block_hex"),
                "{}",
                case["note"]
            );
        }
    }
    assert_eq!((wrapped, unwrapped), (4, 10));
}

#[test]
fn k_minus_1_shares_duplicates_and_foreign_indices_are_refused() {
    let plan = CodePlan::new(3, 4).unwrap();
    let shares = encode(plan, b"message").unwrap();
    let given = |indices: &[u16]| {
        decode(
            plan,
            indices
                .iter()
                .map(|&index| (index, &shares[usize::from(index % 4)])),
        )
    };
    assert_eq!(given(&[0, 1, 3]).unwrap(), b"message");
    assert_eq!(given(&[3, 1, 0]).unwrap(), b"message");
    assert_eq!(
        given(&[0, 3]),
        Err(CodeError::TooFewShares { held: 2, needed: 3 })
    );
    assert_eq!(
        given(&[]),
        Err(CodeError::TooFewShares { held: 0, needed: 3 })
    );
    assert_eq!(given(&[0, 1, 1]), Err(CodeError::ShareIndex(1)));
    assert_eq!(given(&[0, 1, 2, 4]), Err(CodeError::ShareIndex(4)));
    assert_eq!(
        given(&[0, 1, u16::MAX]),
        Err(CodeError::ShareIndex(u16::MAX))
    );
}

#[test]
fn sizes_beyond_the_field_or_the_plan_are_errors() {
    let beyond = CodePlan::new(1, 257).unwrap();
    assert_eq!(encode(beyond, b""), Err(CodeError::TooManyShares(257)));
    assert_eq!(
        decode(beyond, [(0, &[0; 128])]),
        Err(CodeError::TooManyShares(257))
    );
    let plan = CodePlan::new(2, 3).unwrap();
    assert_eq!(plan.capacity(), 252);
    assert_eq!(
        encode(plan, &[0; 253]),
        Err(CodeError::TooLong {
            length: 253,
            limit: 252
        })
    );
    assert_eq!(
        decode(plan, [(0, &[0xff; 128]), (1, &[0; 128])]),
        Err(CodeError::LengthPrefix)
    );
}

#[test]
fn the_whole_field_can_be_used() {
    let plan = CodePlan::new(1, 256).unwrap();
    let shares = encode(plan, b"everywhere").unwrap();
    assert!(
        (0..)
            .zip(&shares)
            .all(|share| decode(plan, [share]).unwrap() == b"everywhere")
    );
    let plan = CodePlan::new(256, 256).unwrap();
    let shares = encode(plan, &[5; 30_000]).unwrap();
    assert_eq!(decode(plan, (0..).zip(&shares)).unwrap(), [5; 30_000]);
}

/// A plan of the specification's list with a message and any k of its share numbers.
fn plan_and_choice() -> impl Strategy<Value = (CodePlan, Vec<u8>, Vec<u16>)> {
    select(vec![(3_u32, 4_u32), (4, 6), (10, 13), (42, 55), (196, 255)]).prop_flat_map(|(k, n)| {
        let plan = CodePlan::new(k, n).expect("a plan");
        let message = proptest::collection::vec(any::<u8>(), 0..=plan.capacity());
        let choice = subsequence((0..n as u16).collect::<Vec<_>>(), k as usize).prop_shuffle();
        (Just(plan), message, choice)
    })
}

proptest! {
    #![proptest_config(property_config(64))]

    #[test]
    fn any_k_of_n_shares_rebuild_the_message_and_fewer_do_not((plan, message, choice) in plan_and_choice()) {
        let shares = encode(plan, &message).unwrap();
        let held: Vec<_> = choice.iter().map(|&index| (index, &shares[usize::from(index)])).collect();
        prop_assert_eq!(decode(plan, held.iter().copied()).unwrap(), message);
        let too_few = CodeError::TooFewShares { held: held.len() - 1, needed: plan.k() as u16 };
        prop_assert_eq!(decode(plan, held[1..].iter().copied()), Err(too_few));
    }

    #[test]
    fn up_to_16_wrong_bytes_of_a_chunk_are_repaired(
        share in any::<[u8; 32]>(),
        wrong in subsequence((8..168_usize).collect::<Vec<_>>(), 0..=16),
        error in 1..=255_u8,
    ) {
        let share: Share = share.repeat(4).try_into().unwrap();
        let mut bytes = *Chunk::wrap(&share).as_bytes();
        wrong.iter().for_each(|&position| bytes[position] ^= error);
        let damaged = Chunk::parse_txt(&format!("v=dmp1;t=chunk;d={}", encode64(&bytes))).unwrap();
        prop_assert_eq!(damaged.unwrap_share(), Some(share));
    }

    #[test]
    fn seventeen_wrong_bytes_never_pass_for_the_share(
        share in any::<[u8; 32]>(),
        wrong in subsequence((8..168_usize).collect::<Vec<_>>(), 17),
        error in 1..=255_u8,
    ) {
        let share: Share = share.repeat(4).try_into().unwrap();
        let mut bytes = *Chunk::wrap(&share).as_bytes();
        wrong.iter().for_each(|&position| bytes[position] ^= error);
        let damaged = Chunk::parse_txt(&format!("v=dmp1;t=chunk;d={}", encode64(&bytes))).unwrap();
        prop_assert_eq!(damaged.unwrap_share(), None);
    }

    #[test]
    fn arbitrary_shares_never_panic(
        k in 1..=300_u32,
        extra in 0..=300_u32,
        shares in proptest::collection::vec((any::<u16>(), any::<[u8; 32]>()), 0..20),
    ) {
        let plan = CodePlan::new(k, k + extra).unwrap();
        let shares: Vec<(u16, Share)> = shares
            .into_iter()
            .map(|(index, bytes)| (index % 320, bytes.repeat(4).try_into().unwrap()))
            .collect();
        let _ = decode(plan, shares.iter().map(|(index, share)| (*index, share)));
    }
}
