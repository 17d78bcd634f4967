//! The header in front of the sealed part: its JSON and the outer message around it.
#![no_main]

use dmp_core::header::{OuterHeader, parse_outer};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok((header, sealed)) = parse_outer(data) {
        assert!(sealed.len() < data.len());
        assert!(header.exp() >= header.ts);
    }
    if let Ok(header) = OuterHeader::parse(data) {
        assert_eq!(OuterHeader::parse(header.to_json().as_bytes()), Ok(header));
    }
});
