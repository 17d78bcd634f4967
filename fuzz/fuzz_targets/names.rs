//! Zones, domain names, identifiers and endpoints, and the owner names made of them.
#![no_main]

use dmp_core::endpoint::Endpoint;
use dmp_core::id::{Fingerprint, MailboxHash, Slot, UserId};
use dmp_core::name::{DomainName, Zone};
use dmp_core::{owner, record};
use dmp_dns::Name;
use dnsmesh_fuzz::as_text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    as_text(data, |text| {
        if let Ok(zone) = Zone::parse(text) {
            assert_eq!(Zone::parse(zone.as_str()).as_ref(), Ok(&zone));
            let slot = Slot::new(9).expect("a slot");
            for owner in [
                owner::identity_owner_hashed(text, &zone),
                owner::prekey_owner(text, &zone),
                owner::manifest_owner(&UserId::from_bytes([1; 32]), slot, &zone),
            ] {
                assert!(zone.contains(owner.as_str()));
                assert!(
                    owner.as_str().parse::<Name>().is_ok(),
                    "{owner:?} can be asked for"
                );
            }
        }
        if let Ok(domain) = DomainName::parse(text) {
            assert_eq!(DomainName::parse(domain.as_str()).as_ref(), Ok(&domain));
            let _ = owner::cluster_owner(&domain);
        }
        for kind in [
            record::SubjectKind::User,
            record::SubjectKind::ClusterOperator,
            record::SubjectKind::BootstrapSigner,
        ] {
            if let Ok(subject) = record::Subject::parse(kind, text) {
                let _ = subject.owner_names();
            }
        }
        if let Ok(mailbox) = MailboxHash::parse(text) {
            assert_eq!(mailbox.to_string(), text.to_ascii_lowercase());
        }
        if let Ok(print) = Fingerprint::parse(text) {
            assert_eq!(print.to_string(), text.to_ascii_lowercase());
        }
        let _ = Endpoint::parse(text);
        if let Ok(name) = text.parse::<Name>() {
            assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name));
        }
    });
    if let Ok(name) = Name::from_wire(data) {
        assert_eq!(name.as_wire(), data);
        assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name));
    }
});
