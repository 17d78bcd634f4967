//! The erasure code: any shares under any plan, and every message back from the shares the fuzzer leaves.
#![no_main]

use dmp_core::erasure::{CodePlan, decode, encode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[k, n, pick, ..], rest)) = data
        .split_at_checked(4)
        .map(|(head, rest)| (<&[u8; 4]>::try_from(head).unwrap(), rest))
    else {
        return;
    };
    let Some(plan) = CodePlan::new(u32::from(k), u32::from(n)) else {
        return;
    };

    let (blocks, _) = rest.as_chunks::<128>();
    let scattered = blocks
        .iter()
        .enumerate()
        .map(|(i, block)| ((i as u16).wrapping_mul(u16::from(pick)), block));
    let _ = decode(plan, scattered);

    if let Ok(shares) = encode(plan, rest) {
        let numbered = shares
            .iter()
            .enumerate()
            .map(|(index, share)| (index as u16, share));
        let kept = numbered
            .skip(usize::from(pick) % (usize::from(n - k) + 1))
            .take(usize::from(k));
        assert_eq!(decode(plan, kept).as_deref(), Ok(rest));
    }
});
