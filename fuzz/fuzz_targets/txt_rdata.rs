//! TXT RDATA: strings joined to one value and cut again.
#![no_main]

use dmp_dns::txt::{decode_rdata, encode_rdata, rdata_len};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = decode_rdata(data);
    let rdata = encode_rdata(data);
    assert_eq!(rdata.len(), rdata_len(data.len()));
    assert_eq!(decode_rdata(&rdata).as_deref(), Ok(data));
});
