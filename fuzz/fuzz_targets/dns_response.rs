//! What a resolver may send to a client.
#![no_main]

use dmp_dns::message::{CaseMatch, QueryBuilder, Response};
use dmp_dns::{Name, Rtype};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(response) = Response::parse(data) else {
        return;
    };
    let name: Name = "txt.mesh.example".parse().expect("a name");
    let mut names = vec![name.clone()];
    names.extend(response.answers.iter().map(|record| record.owner.clone()));
    for name in &names {
        let values = response.txt(name).len();
        assert!(values <= response.answers.len());
        let _ = (response.addresses(name), response.name_servers(name).len());
    }
    let request = QueryBuilder::new(name, Rtype::TXT).build(response.id);
    let exact = response.is_answer_to(&request, CaseMatch::Exact);
    assert!(!exact || response.is_answer_to(&request, CaseMatch::Folded));
});
