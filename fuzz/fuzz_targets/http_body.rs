//! What a stranger may send to the node over HTTP: JSON bodies and the names in the path.
#![no_main]

use dmp_node::http::{
    DeleteBody, NameClass, PublishBody, is_publishable_value, parse_object, publishable_owner,
};
use dmp_node::register::{AgreementClaim, Confirmation};
use dnsmesh_fuzz::as_text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(body) = parse_object(data) {
        if let Ok(confirmation) = Confirmation::parse(&body) {
            let subject = confirmation.subject.as_str();
            assert!(subject.is_ascii() && subject == subject.to_ascii_lowercase());
        }
        let _ = AgreementClaim::parse(&body);
        if let Some(publish) = PublishBody::parse(&body) {
            assert!(publish.ttl > 0);
            let _ = is_publishable_value(&publish.value);
        }
        let _ = DeleteBody::parse(&body);
    }
    as_text(data, |name| {
        let _ = (NameClass::of(name), publishable_owner(name));
    });
});
