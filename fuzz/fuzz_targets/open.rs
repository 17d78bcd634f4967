//! A message of the fuzzer's making under an authentic manifest: shares, outer message, header, key.
#![no_main]

use dmp_core::erasure::{CodePlan, encode};
use dmp_core::id::{MsgId, UserId};
use dmp_core::open::{HashPolicy, Shares, open};
use dmp_core::record::{Chunk, Manifest};
use dnsmesh_fuzz::{NOW, person};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&damage, outer)) = data.split_first() else {
        return;
    };
    let Ok(plan) = CodePlan::for_message_len(outer.len()) else {
        return;
    };
    let Ok(shares) = encode(plan, outer) else {
        return;
    };
    let chunks: Vec<Chunk> = shares.iter().map(Chunk::wrap).collect();
    let manifest = Manifest {
        msg_id: MsgId::from_bytes([7; 16]),
        sender: person().signer().public(),
        recipient: UserId::from_bytes([8; 32]),
        plan,
        prekey: None,
        ts: NOW,
        exp: NOW.saturating_add(60),
        chunk_hashes: chunks.iter().map(Chunk::hash).collect(),
    };
    let value = manifest.sign(person().identity()).expect("a manifest");
    let manifest = Manifest::parse(&value, NOW).expect("its own manifest");
    let mut shares = Shares::new(&manifest, HashPolicy::Required).expect("few enough shares");
    for (index, chunk) in chunks.iter().enumerate() {
        let mut text = chunk.to_txt().into_bytes();
        // One damaged character per chunk is within what the in-chunk code repairs.
        let at = 17 + (usize::from(damage) + index) % (text.len() - 17);
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        shares.offer(index as u16, std::str::from_utf8(&text).expect("ASCII"));
    }
    assert!(shares.is_complete());
    assert!(
        open(&manifest, &shares, person().identity().agreement(), NOW).is_err(),
        "nobody sealed this"
    );
});
