//! TSIG: any message, and any message that the harness has signed, so that the fuzzer is past the MAC.
#![no_main]

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use dmp_dns::answer::{Exchange, Reply, Standing, Transport, respond};
use dmp_dns::query::Query;
use dmp_dns::tsig::{Algorithm, Authentication, Key, authenticate, sign_request};
use dmp_dns::update::UpdateRequest;
use dmp_dns::{Name, Rcode, limits};

const NOW: u64 = 1_800_000_000;
const EXCHANGE: Exchange<'_> = Exchange::new(Transport::Tcp, NOW);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(query) = Query::parse(data)
        && let Err(refused) = authenticate(&query, keyring(), NOW)
    {
        let _ = Query::parse(&refused.answer(&query, EXCHANGE));
    }

    let key = keyring().values().next().expect("one key");
    let mut message = data.to_vec();
    let Ok(signature) = sign_request(key, &mut message, NOW) else {
        return;
    };
    let query = Query::parse(&message).expect("signing keeps a message readable");
    let Ok(Authentication::Signed(authenticated)) = authenticate(&query, keyring(), NOW) else {
        panic!("our own signature holds");
    };
    if let Ok(request) = UpdateRequest::parse(&query) {
        let _ = (request.prerequisites(), request.operations());
    }
    let reply = Reply {
        rcode: Rcode::NOERROR,
        standing: Standing::Authoritative,
        error: None,
    };
    let mut out = vec![0; limits::MESSAGE];
    let exchange = Exchange {
        reserve: authenticated.answer_room(),
        ..EXCHANGE
    };
    let answered = respond(&query, reply, exchange, &mut out);
    if answered.len > 0 {
        out.truncate(answered.len);
        authenticated.sign_answer(&mut out, NOW);
        assert_eq!(signature.verify_answer(&out, NOW), Ok(()));
        out[2] ^= 1;
        assert!(signature.verify_answer(&out, NOW).is_err());
    }
});

fn keyring() -> &'static HashMap<Name, Arc<Key>> {
    static RING: OnceLock<HashMap<Name, Arc<Key>>> = OnceLock::new();
    RING.get_or_init(|| {
        let name: Name = "key1.mesh.example".parse().expect("a name");
        let key = Key::new(&name, Algorithm::HmacSha256, &[9; 32]).expect("a key");
        HashMap::from([(name, Arc::new(key))])
    })
}
