//! Rotation: as text from anywhere, and as a body that both keys sign.
#![no_main]

use dmp_core::codec::RecordType;
use dmp_core::record::{Binding, Rotation, SubjectKind};
use dnsmesh_fuzz::{
    NOW, as_text, body_with_key, key_offset, next_operator, operator, person, signed_value,
    successor,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let parse = |value: &str| Rotation::parse(value, Binding::default(), NOW);
    as_text(data, |value| drop(parse(value)));
    for (old, new) in [(person(), successor()), (operator(), next_operator())] {
        let body = body_with_key(data, |body| key_offset(RecordType::Rotation, body), old);
        let body = body_with_key(
            &body,
            |body| Some(key_offset(RecordType::Rotation, body)? + 32),
            new,
        );
        let value = signed_value(RecordType::Rotation, &body, &[old, new]);
        if let Ok(rotation) = parse(&value) {
            let of_a_person = rotation.subject.kind() == SubjectKind::User;
            assert!(parse(&signed_value(RecordType::Rotation, &body, &[new, old])).is_err());
            let (old, new) = if of_a_person {
                (person(), successor())
            } else {
                (operator(), next_operator())
            };
            if rotation.old == old.signer().public() {
                assert_eq!(
                    rotation.sign(old.signer(), new.signer()).as_ref(),
                    Ok(&value)
                );
            }
        }
    }
});
