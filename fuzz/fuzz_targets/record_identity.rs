//! IdentityRecord: as text from anywhere, and as a body that the harness signs.
#![no_main]

use dmp_core::codec::RecordType;
use dmp_core::record::IdentityRecord;
use dnsmesh_fuzz::{as_text, assert_stable, body_with_key, key_offset, person, signed_value};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    as_text(data, |value| drop(IdentityRecord::parse(value)));
    let mut body = body_with_key(
        data,
        |body| key_offset(RecordType::Identity, body),
        person(),
    );
    // The user's own agreement key, which only its holder can put into a record of this project's making.
    if let Some(at) = key_offset(RecordType::Identity, &body)
        && let Some(place) = at.checked_sub(32).and_then(|from| body.get_mut(from..at))
    {
        place.copy_from_slice(person().identity().agreement_public().as_bytes());
    }
    let value = signed_value(RecordType::Identity, &body, &[person()]);
    if let Ok(record) = IdentityRecord::parse(&value) {
        assert_stable(
            &*record,
            |record| record.sign(person().identity()),
            IdentityRecord::parse,
        );
    }
});
