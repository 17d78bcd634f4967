//! Manifest: as text from anywhere, and as a body that the harness signs.
#![no_main]

use dmp_core::codec::RecordType;
use dmp_core::record::Manifest;
use dnsmesh_fuzz::{NOW, as_text, body_with_key, key_offset, person, signed_value};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parse = |value: &str| Manifest::parse(value, NOW);
    as_text(data, |value| drop(parse(value)));
    let body = body_with_key(
        data,
        |body| key_offset(RecordType::Manifest, body),
        person(),
    );
    let value = signed_value(RecordType::Manifest, &body, &[person()]);
    if let Ok(record) = parse(&value) {
        assert_eq!(record.sign(person().identity()).as_ref(), Ok(&value));
    }
});
