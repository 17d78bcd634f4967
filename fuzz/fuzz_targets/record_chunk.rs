//! Chunk: the TXT wrapper, canonical both ways.
#![no_main]

use dmp_core::record::Chunk;
use dnsmesh_fuzz::as_text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    as_text(data, |value| {
        if let Ok(chunk) = Chunk::parse_txt(value) {
            let canonical = chunk.to_txt();
            assert!(value == canonical || value.starts_with(&format!("{canonical};m=")));
        }
    });
});
