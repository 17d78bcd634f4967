//! Claim: as text from anywhere, and as a body that the harness signs.
#![no_main]

use dmp_core::codec::RecordType;
use dmp_core::record::Claim;
use dnsmesh_fuzz::{NOW, as_text, assert_stable, body_with_key, key_offset, person, signed_value};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parse = |value: &str| Claim::parse(value, NOW);
    as_text(data, |value| drop(parse(value)));
    let body = body_with_key(data, |body| key_offset(RecordType::Claim, body), person());
    let value = signed_value(RecordType::Claim, &body, &[person()]);
    if let Ok(record) = parse(&value) {
        assert_stable(&*record, |record| record.sign(person().identity()), parse);
    }
});
