//! UPDATE: sections read on demand, and what was read can be written again.
#![no_main]

use dmp_dns::Name;
use dmp_dns::query::Query;
use dmp_dns::update::{UpdateBuilder, UpdateRequest};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(query) = Query::parse(data) else {
        return;
    };
    let Ok(request) = UpdateRequest::parse(&query) else {
        return;
    };
    let _ = request.prerequisites();
    let Ok(operations) = request.operations() else {
        return;
    };

    let zone = Name::from_wire(request.zone())
        .expect("the zone section holds a name")
        .to_lower();
    let mut builder = UpdateBuilder::new(&zone);
    for operation in &operations {
        let expected = builder.message_len() + builder.operation_len(operation);
        if builder.push(operation).is_err() {
            return; // uncompressed names can outgrow a message
        }
        assert_eq!(builder.message_len(), expected);
    }
    let message = builder.build(query.id());
    let query = Query::parse(&message).expect("our own message");
    let again = UpdateRequest::parse(&query).and_then(|request| request.operations());
    assert_eq!(again.as_ref(), Ok(&operations));
});
