//! Revocation: as text from anywhere, and as a body that the revoked key signs.
#![no_main]

use dmp_core::codec::RecordType;
use dmp_core::record::{Binding, Revocation, SubjectKind};
use dnsmesh_fuzz::{NOW, as_text, body_with_key, key_offset, operator, person, signed_value};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parse = |value: &str| Revocation::parse(value, Binding::default(), None, NOW);
    as_text(data, |value| drop(parse(value)));
    for revoked in [person(), operator()] {
        let body = body_with_key(
            data,
            |body| key_offset(RecordType::Revocation, body),
            revoked,
        );
        let value = signed_value(RecordType::Revocation, &body, &[revoked]);
        if let Ok(revocation) = parse(&value) {
            let of_a_person = revocation.subject.kind() == SubjectKind::User;
            let owner = if of_a_person { person() } else { operator() };
            if revocation.revoked == owner.signer().public() {
                assert_eq!(revocation.sign(owner.signer()).as_ref(), Ok(&value));
            }
        }
    }
});
