//! Which chunks are taken, how many are needed, what a legacy manifest allows (crypto.md 8, 9, 15.4, D2).

use dmp_core::address::Address;
use dmp_core::erasure::{CodeError, CodePlan};
use dmp_core::id::MsgId;
use dmp_core::open::{HashPolicy, OpenError, Shares, open};
use dmp_core::record::{Chunk, Manifest};
use dmp_core::seal::{SealRequest, Wire};

use crate::parties::*;
use crate::support::{NOW, with_blob};

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
        with_blob(&sealed.chunks[1], &chunk)
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
