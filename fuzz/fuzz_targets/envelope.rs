//! The plaintext envelope: any plaintext has a body, and a claimed sender survives the way back.
#![no_main]

use dmp_core::envelope::{decode, encode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let envelope = decode(data);
    assert!(data.ends_with(envelope.body));
    let again = encode(envelope.body, envelope.from.as_ref());
    let decoded = decode(&again);
    if envelope.from.is_some() {
        assert_eq!((decoded.body, decoded.from), (envelope.body, envelope.from));
    }
});
