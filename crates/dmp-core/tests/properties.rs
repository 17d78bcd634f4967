//! What holds for all records and all input: round trips, no panic, no type taken for another (records.md 20.1-2, D8).

mod support;

use dmp_core::address::{Address, LookupAddress};
use dmp_core::codec::RecordType;
use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::name::{DomainName, Zone};
use dmp_core::record::{Chunk, Subject, SubjectKind};
use dmp_core::registration::{NodeName, RegistrationSubject};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use support::sample::{Record, SIGNER, SUCCESSOR, any_record, one_of_each, signer};
use support::{NOW, blob, encode64, with_blob};

proptest! {
    #![proptest_config(support::property_config(400))]

    #[test]
    fn what_is_signed_is_read_back_and_signs_to_the_same_text(record in any_record()) {
        let value = record.sign().expect("a valid record");
        prop_assert!(value.len() <= record.kind().value_max());
        let read = Record::parse(record.kind(), &value, &signer(), NOW);
        prop_assert_eq!(read.as_ref(), Ok(&record));
        prop_assert_eq!(read.expect("read").sign(), Ok(value));
    }

    #[test]
    fn no_record_is_accepted_as_another_type(record in any_record()) {
        assert_no_confusion(&record);
    }

    /// Bytes changed by somebody who holds the key: what is accepted has one meaning and one text.
    #[test]
    fn a_changed_and_signed_body_is_refused_or_reads_back(
        record in any_record(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in 0..4_usize,
        tail in vec(any::<u8>(), 0..3),
    ) {
        let kind = record.kind();
        prop_assume!(kind != RecordType::Chunk);
        let value = record.sign().expect("a valid record");
        let mut body = body(kind, &value);
        body.truncate(body.len() - cut);
        body.extend(tail);
        for (index, byte) in changes {
            let index = index.index(body.len());
            body[index] = byte;
        }
        let changed = with_blob(&value, &sign(kind, &body));
        if let Ok(read) = Record::parse(kind, &changed, &signer(), NOW) {
            let written = match read.sign() {
                Ok(written) => written,
                Err(error) => {
                    // An identity record with somebody else's agreement key can be read, but not written (D6).
                    let borrowed = matches!(&read, Record::Identity(read)
                        if read.agreement != support::identity(SIGNER).agreement_public());
                    prop_assert!(borrowed, "{}", error);
                    return Ok(());
                }
            };
            let again = Record::parse(kind, &written, &signer(), NOW);
            prop_assert_eq!(again.as_ref(), Ok(&read));
            // These have a second spelling: {1} as a suffix, dots and case of names, order of entries, the older heartbeat.
            let spelt_twice = matches!(
                kind,
                RecordType::Identity | RecordType::Cluster | RecordType::Bootstrap | RecordType::Claim | RecordType::Heartbeat
            );
            prop_assert!(written == changed || spelt_twice, "{} {}", written, changed);
        }
    }

    #[test]
    fn arbitrary_text_is_refused_without_panic(
        kind in select(RecordType::ALL.to_vec()),
        prefixed in any::<bool>(),
        text in "\\PC*|[A-Za-z0-9+/=;]{0,400}",
        now in any::<u64>(),
    ) {
        let value = if prefixed { format!("{}{text}", kind.prefix()) } else { text };
        let read = Record::parse(kind, &value, &signer(), UnixTime::new(now));
        prop_assert!(read.is_err() || kind == RecordType::Chunk);
    }

    #[test]
    fn arbitrary_bodies_are_refused_without_panic(
        kind in select(RecordType::ALL.to_vec()),
        magic in select(vec!["", "DMPCL01", "DMPBS01", "DMPROT1", "DMPRV01", "DMPHB03", "DMPHB02"]),
        bytes in vec(any::<u8>(), 0..400),
        signed in any::<bool>(),
        now in any::<u64>(),
    ) {
        let mut body = magic.as_bytes().to_vec();
        body.extend(bytes);
        let blob = if signed { sign(kind, &body) } else { body };
        let value = format!("{}{}", kind.prefix(), encode64(&blob));
        if let Ok(read) = Record::parse(kind, &value, &signer(), UnixTime::new(now)) {
            // 44 arbitrary bytes that the owner signed are a prekey, if their last 8 are no late time (D8).
            let harmless = matches!(read, Record::Chunk(_) | Record::Prekey(_));
            prop_assert!(harmless, "{:?}", read);
        }
    }

    #[test]
    fn names_addresses_and_endpoints_are_canonical_or_refused(text in "\\PC{0,40}|[a-zA-Z0-9.@:_/\\[\\]-]{0,60}") {
        if let Ok(zone) = Zone::parse(&text) {
            let below = format!("a.{}", text.trim_end_matches('.'));
            prop_assert_eq!(Zone::parse(zone.as_str()), Ok(zone.clone()));
            prop_assert!(zone.contains(zone.as_str()) && zone.contains(&below));
        }
        if let Ok(name) = DomainName::parse(&text) {
            prop_assert_eq!(DomainName::parse(name.as_str()), Ok(name));
        }
        if let Ok(address) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(address.as_str()), Ok(address.clone()));
            prop_assert!(LookupAddress::parse(address.as_str()).is_some());
        }
        if let Ok(subject) = RegistrationSubject::parse(&text) {
            prop_assert_eq!(RegistrationSubject::parse(subject.as_str()), Ok(subject));
        }
        if let Ok(node) = NodeName::parse(&text) {
            prop_assert!(NodeName::parse(node.host()).is_ok_and(|host| host.is_same_host(&node)));
        }
        if let Ok(endpoint) = Endpoint::parse(&text) {
            prop_assert_eq!(endpoint.as_str(), text.as_str());
        }
        for kind in [SubjectKind::User, SubjectKind::ClusterOperator, SubjectKind::BootstrapSigner] {
            if let Ok(subject) = Subject::parse(kind, &text) {
                prop_assert!(subject.owner_names().iter().all(|name| name.as_str().len() <= 253));
            }
        }
    }
}

#[test]
fn no_type_is_taken_for_another_under_any_prefix() {
    let records = one_of_each();
    let kinds: Vec<RecordType> = records.iter().map(Record::kind).collect();
    assert_eq!(kinds, RecordType::ALL);
    for record in &records {
        let value = record.sign().expect("a valid record");
        assert_eq!(
            Record::parse(record.kind(), &value, &signer(), NOW).as_ref(),
            Ok(record)
        );
        assert_no_confusion(record);
    }
}

/// Puts the record's bytes, as they are and signed anew by the same key in every shape, under every other prefix.
fn assert_no_confusion(record: &Record) {
    let value = record.sign().expect("a valid record");
    let body = body(record.kind(), &value);
    for other in RecordType::ALL
        .into_iter()
        .filter(|other| *other != record.kind())
    {
        for blob in [blob(&value), sign(other, &body)] {
            let confused = format!("{}{}", other.prefix(), encode64(&blob));
            match Record::parse(other, &confused, &signer(), NOW) {
                Err(_) => {}
                // Any 168 bytes are a chunk until checksum and manifest hash are asked.
                Ok(Record::Chunk(chunk)) => {
                    let share = chunk.as_bytes()[8..136].try_into().expect("128 bytes");
                    assert_ne!(Chunk::wrap(share), chunk, "{:?} as chunk", record.kind());
                }
                Ok(read) => panic!("{record:?} was accepted as {read:?}"),
            }
        }
    }
}

/// What a value's signatures cover.
fn body(kind: RecordType, value: &str) -> Vec<u8> {
    let mut blob = blob(value);
    let signatures = match kind {
        RecordType::Chunk => 0,
        RecordType::Rotation => 128,
        _ => 64,
    };
    blob.truncate(blob.len() - signatures);
    blob
}

/// The body with the signatures that `kind` wants, made with the samples' keys.
fn sign(kind: RecordType, body: &[u8]) -> Vec<u8> {
    let signers: &[u8] = match kind {
        RecordType::Chunk => &[],
        RecordType::Rotation => &[SIGNER, SUCCESSOR],
        _ => &[SIGNER],
    };
    let mut blob = body.to_vec();
    for seed in signers {
        blob.extend(support::sign(*seed, body));
    }
    blob
}
