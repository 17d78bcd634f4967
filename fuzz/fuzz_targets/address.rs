//! Addresses and address URIs: canonical or nonexistent.
#![no_main]

use dmp_core::address::{Address, LookupAddress, validate_local_part};
use dmp_core::registration::{NodeName, RegistrationSubject};
use dmp_core::uri::AddressUri;
use dnsmesh_fuzz::as_text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    as_text(data, |text| {
        if let Ok(address) = Address::parse(text) {
            assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(&address));
            assert_eq!(
                Address::new(address.local(), address.host()).as_ref(),
                Ok(&address)
            );
        }
        if let Ok(uri) = AddressUri::parse(text) {
            assert_eq!(AddressUri::parse(&uri.to_string()).as_ref(), Ok(&uri));
            assert_eq!(AddressUri::parse(&uri.to_scannable()).as_ref(), Ok(&uri));
        }
        let _ = LookupAddress::parse(text);
        let _ = validate_local_part(text);
        if let Ok(subject) = RegistrationSubject::parse(text) {
            assert_eq!(
                RegistrationSubject::parse(subject.as_str())
                    .expect("canonical")
                    .as_str(),
                subject.as_str()
            );
        }
        if let Ok(node) = NodeName::parse(text) {
            assert!(node.is_same_host(&NodeName::parse(node.host()).expect("its own host")));
        }
    });
});
