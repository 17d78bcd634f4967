//! What the protocol costs a person's machine: sealing, opening, verifying, deriving the identity.
//! Measures no network; the figures and how they were taken are in `benches/README.md`.

#![allow(missing_docs, reason = "criterion_main makes an undocumented function")]
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot prepare its input has nothing to measure"
)]

use std::convert::Infallible;
use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dmp_core::erasure::CodePlan;
use dmp_core::id::{MsgId, UnixTime};
use dmp_core::keys::{Identity, Salt};
use dmp_core::open::{HashPolicy, Shares, open};
use dmp_core::record::{Chunk, Manifest};
use dmp_core::seal::{SealRequest, Sealed, Wire, seal};
use dmp_core::{erasure, record};
use rand_core::{TryCryptoRng, TryRng};

const NOW: UnixTime = UnixTime::new(1_800_000_000);

/// Costs nothing and repeats itself: the benchmarks measure the protocol, not a generator.
struct CheapRng(u8);

impl TryRng for CheapRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for byte in target {
            self.0 = self.0.wrapping_mul(141).wrapping_add(3);
            *byte = self.0;
        }
        Ok(())
    }
}

impl TryCryptoRng for CheapRng {}

fn sealed(sender: &Identity, recipient: &Identity, body: &[u8]) -> Sealed {
    let request = SealRequest {
        sender,
        recipient: &recipient.agreement_public(),
        prekey: None,
        body,
        from: None,
        msg_id: MsgId::from_bytes([8; 16]),
        now: NOW,
        ttl: 86_400,
        wire: Wire::Current,
    };
    seal(&request, usize::MAX, &mut CheapRng(1)).unwrap()
}

/// All chunks but the first `lost`, taken from their TXT values, and the message decrypted.
fn receive(manifest: &str, chunks: &[String], lost: u16, recipient: &Identity) -> usize {
    let manifest = Manifest::parse(manifest, NOW).unwrap();
    let mut shares = Shares::new(&manifest, HashPolicy::Required).unwrap();
    for (index, value) in (0..).zip(chunks).skip(usize::from(lost)) {
        if !shares.is_complete() {
            assert!(shares.offer(index, value));
        }
    }
    open(&manifest, &shares, recipient.agreement(), NOW)
        .unwrap()
        .body
        .len()
}

fn messages(criterion: &mut Criterion) {
    let (alice, bob) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let body: Vec<u8> = (0..24_576_u32).map(|index| (index % 251) as u8).collect();

    let mut group = criterion.benchmark_group("message");
    for (name, length) in [("100 B", 100), ("24 kB", body.len())] {
        let body = body.get(..length).unwrap();
        group.bench_function(format!("seal {name}"), |bencher| {
            bencher.iter(|| sealed(&alice, &bob, black_box(body)));
        });
        let Sealed {
            manifest,
            chunks,
            plan,
            ..
        } = sealed(&alice, &bob, body);
        for lost in [0, (plan.n() - plan.k()) as u16] {
            group.bench_function(
                format!("open {name}, {lost} of {} chunks lost", plan.n()),
                |bencher| {
                    bencher.iter(|| receive(black_box(&manifest), black_box(&chunks), lost, &bob));
                },
            );
        }
    }
    group.finish();
}

fn manifests(criterion: &mut Criterion) {
    let alice = Identity::from_seed([1; 32]);
    let mut group = criterion.benchmark_group("manifest");
    for n in [4, 42, 255] {
        let manifest = record::Manifest {
            msg_id: MsgId::from_bytes([8; 16]),
            sender: alice.signing_public(),
            recipient: alice.user_id(),
            plan: CodePlan::new(1, n).unwrap(),
            prekey: None,
            ts: NOW,
            exp: NOW.saturating_add(86_400),
            chunk_hashes: vec![[7; 32]; n as usize],
        };
        let value = manifest.sign(&alice).unwrap();
        group.bench_function(format!("verify and parse, n = {n}"), |bencher| {
            bencher.iter(|| Manifest::parse(black_box(&value), NOW).unwrap());
        });
    }
    group.finish();
}

fn codes(criterion: &mut Criterion) {
    let plan = CodePlan::for_message_len(25_000).unwrap();
    let message = vec![0xa5; 25_000];
    let shares = erasure::encode(plan, &message).unwrap();
    let mut group = criterion.benchmark_group("code");
    group.bench_function("encode 196 of 255 shares", |bencher| {
        bencher.iter(|| erasure::encode(plan, black_box(&message)).unwrap());
    });
    group.bench_function("decode 196 of 255 shares, 59 lost", |bencher| {
        bencher.iter(|| erasure::decode(plan, (59..).zip(shares.iter().skip(59))).unwrap());
    });
    let damaged = damaged_chunk(&shares);
    group.bench_function("repair a chunk with 16 wrong bytes", |bencher| {
        bencher.iter(|| black_box(&damaged).unwrap_share().unwrap());
    });
    group.bench_function("wrap 255 chunks", |bencher| {
        bencher.iter(|| {
            black_box(&shares)
                .iter()
                .map(Chunk::wrap)
                .collect::<Vec<_>>()
        });
    });
    group.finish();
}

/// A chunk that needs all the repair there is: 16 wrong bytes, 10 apart.
fn damaged_chunk(shares: &[erasure::Share]) -> Chunk {
    let mut bytes = *Chunk::wrap(shares.first().unwrap()).as_bytes();
    bytes
        .iter_mut()
        .skip(8)
        .step_by(10)
        .for_each(|byte| *byte ^= 0xff);
    Chunk::parse_txt(&format!("v=dmp1;t=chunk;d={}", STANDARD.encode(bytes))).unwrap()
}

fn identity(criterion: &mut Criterion) {
    let salt = Salt::legacy();
    let mut group = criterion.benchmark_group("identity");
    group.sample_size(20);
    group.bench_function("derive from the passphrase", |bencher| {
        bencher.iter_batched(
            || "correct horse battery staple",
            |passphrase| Identity::derive(passphrase, &salt).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, messages, manifests, codes, identity);
criterion_main!(benches);
