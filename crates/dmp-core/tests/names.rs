//! Names: publishable names, zones, owner names and addresses (records.md 4, crypto.md 11.4).

mod support;

use dmp_core::address::{Address, LookupAddress};
use dmp_core::error::NameError;
use dmp_core::id::{MailboxHash, MsgId, Slot, UserId};
use dmp_core::keys::SigningPublicKey;
use dmp_core::limits::{NAME_MAX, ZONE_MAX};
use dmp_core::name::{DomainName, Zone, validate_publishable};
use dmp_core::owner;
use serde_json::Value;
use support::{bytes, cases, number, optional_text, text};

#[test]
fn owner_names_are_those_of_the_vectors_in_lower_case_without_trailing_dots() {
    for case in cases("names.json", "cases", 109) {
        if text(&case, "kind") == "slot_selection" {
            let slot = MsgId::from_bytes(bytes(&case, "msg_id_hex")).slot();
            assert_eq!(u64::from(slot.get()), number(&case, "slot"), "{case}");
            continue;
        }
        let expected = optional_text(&case, "owner")
            .map(|owner| owner.trim_end_matches('.').to_ascii_lowercase());
        assert_eq!(owner_of(&case), expected, "{case}");
    }
    for case in cases("fed_claim_routing.json", "claim_owner_name", 3) {
        let zone = Zone::parse(text(&case, "zone")).expect("a zone");
        let recipient = UserId::from_bytes(bytes(&case, "recipient_id_hex"));
        let name = owner::claim_owner(&recipient, slot(&case), &zone);
        assert_eq!(name.as_str(), text(&case, "owner"));
    }
}

#[test]
fn publishable_names_are_judged_as_the_vectors_say() {
    for case in cases("dns_name_validation.json", "cases", 28) {
        let input = text(&case, "input");
        assert_eq!(
            validate_publishable(input).is_ok(),
            case["valid"] == true,
            "{case}"
        );
        let fits = input.trim_end_matches('.').len() <= 64;
        assert_eq!(
            DomainName::parse(input).is_ok(),
            case["valid"] == true && fits,
            "{case}"
        );
    }
}

#[test]
fn addresses_have_the_canonical_form_of_the_vectors_or_none() {
    for case in cases("address_canonicalization.json", "cases", 43) {
        let address = Address::parse(text(&case, "input")).ok();
        assert_eq!(
            address.as_ref().map(Address::as_str),
            optional_text(&case, "required"),
            "{case}"
        );
        if let Some(address) = address {
            assert_eq!(
                format!("{}@{}", address.local(), address.host()),
                address.as_str()
            );
            assert_eq!(Address::parse(address.as_str()), Ok(address));
        }
    }
}

#[test]
fn what_people_type_is_split_at_the_first_at_sign_and_trimmed() {
    let parse = |text| LookupAddress::parse(text).map(|address| (address.user, address.host));
    let pair = |user: &str, host: &str| Some((user.to_owned(), host.to_owned()));
    assert_eq!(
        parse(" Alice @ Mesh.Example.. "),
        pair("Alice", "Mesh.Example")
    );
    assert_eq!(parse("a@b@c"), pair("a", "b@c"));
    assert_eq!(parse("alice"), None);
    assert_eq!(parse("@host"), None);
    assert_eq!(parse("alice@."), None);
}

#[test]
fn the_longest_zone_leaves_room_for_every_owner_name() {
    let label = "a".repeat(63);
    let text = format!("{label}.{label}.{label}.{}", "b".repeat(ZONE_MAX - 3 * 64));
    let zone = Zone::parse(&text).expect("the longest zone");
    assert_eq!(zone.as_str().len(), ZONE_MAX);
    assert_eq!(
        Zone::parse(&format!("{text}b")),
        Err(NameError::TooLong(ZONE_MAX))
    );
    let (user, slot) = (UserId::from_bytes([1; 32]), Slot::new(9).expect("a slot"));
    let (message, sender) = (
        MsgId::from_bytes([2; 16]),
        SigningPublicKey::from_bytes([3; 32]),
    );
    let names = [
        owner::manifest_owner(&user, slot, &zone),
        owner::chunk_owner(&message, &user, &sender, u16::MAX, &zone),
        owner::claim_owner(&user, slot, &zone),
        owner::identity_owner_hashed("alice", &zone),
        owner::identity_owner_anchored(&zone),
        owner::prekey_owner("alice", &zone),
        owner::rotation_owner_hashed("alice", &zone),
        owner::rotation_owner_anchored(&zone),
        owner::heartbeat_owner(&zone),
        owner::seen_owner(&zone),
    ];
    let longest = names.iter().map(|name| name.as_str().len()).max();
    assert_eq!(longest, Some(NAME_MAX));
}

#[test]
fn zones_are_canonical_and_contain_label_by_label() {
    let zone = Zone::parse("Mesh.Example..").expect("a zone");
    assert_eq!(zone.as_str(), "mesh.example");
    assert!(
        zone.contains("mesh.example")
            && zone.contains("MESH.example.")
            && zone.contains("a.b.Mesh.Example")
    );
    assert!(
        !zone.contains("notmesh.example")
            && !zone.contains("example")
            && !zone.contains("mesh.example.org")
    );
    assert!(!zone.contains("") && !zone.contains("é.example"));
    assert!(Zone::parse("_x.example").is_ok());
    for bad in [
        "", ".", "..", "a..b", ".a", "-a.b", "a-.b", "a b", "a\n", "é.fr", "*.a", "a/b",
    ] {
        assert!(Zone::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn domain_names_compare_without_regard_to_case_and_keep_it() {
    let name = DomainName::parse("Mesh.Example.").expect("a name");
    assert_eq!(name.as_str(), "Mesh.Example");
    assert_eq!(name, DomainName::parse("mesh.example").expect("a name"));
    assert_eq!(owner::cluster_owner(&name).as_str(), "cluster.mesh.example");
    assert!(DomainName::parse("mesh.example..").is_err());
    let longest = format!("{}.{}", "a".repeat(32), "b".repeat(31));
    assert!(
        DomainName::parse(&longest).is_ok() && DomainName::parse(&format!("{longest}.")).is_ok()
    );
    assert_eq!(
        DomainName::parse(&format!("{longest}b")),
        Err(NameError::TooLong(64))
    );
}

#[test]
fn mailbox_hashes_read_back() {
    let hash = UserId::from_bytes([7; 32]).mailbox();
    assert_eq!(hash.to_string().len(), 12);
    assert_eq!(
        MailboxHash::parse(&hash.to_string().to_uppercase()),
        Ok(hash)
    );
    assert!(
        MailboxHash::parse("0123456789a").is_err() && MailboxHash::parse("0123456789ag").is_err()
    );
}

/// The owner name of a case, or `None` where its zone is refused.
fn owner_of(case: &Value) -> Option<String> {
    let zone_text = text(case, "zone");
    let user = || text(case, "username");
    let name = match text(case, "kind") {
        "cluster" => owner::cluster_owner(&DomainName::parse(zone_text).ok()?),
        "bootstrap" => owner::bootstrap_owner(&DomainName::parse(zone_text).ok()?),
        "rotation_cluster" => owner::rotation_owner_cluster(&DomainName::parse(zone_text).ok()?),
        "rotation_bootstrap" => {
            owner::rotation_owner_bootstrap(&DomainName::parse(zone_text).ok()?)
        }
        kind => {
            let zone = Zone::parse(zone_text).ok()?;
            let recipient = || UserId::from_bytes(bytes(case, "recipient_id_hex"));
            match kind {
                "identity_hashed" => owner::identity_owner_hashed(user(), &zone),
                "prekey_pool" => owner::prekey_owner(user(), &zone),
                "rotation_user_hashed" => owner::rotation_owner_hashed(user(), &zone),
                "identity_zone_anchored" => owner::identity_owner_anchored(&zone),
                "rotation_user_zone_anchored" => owner::rotation_owner_anchored(&zone),
                "heartbeat" => owner::heartbeat_owner(&zone),
                "seen" => owner::seen_owner(&zone),
                "slot" => owner::manifest_owner(&recipient(), slot(case), &zone),
                "claim" => owner::claim_owner(&recipient(), slot(case), &zone),
                "chunk" => owner::chunk_owner(
                    &MsgId::from_bytes(bytes(case, "msg_id_hex")),
                    &recipient(),
                    &support::signing_key(case, "sender_spk_hex"),
                    u16::try_from(number(case, "chunk")).expect("an index"),
                    &zone,
                ),
                other => panic!("kind {other}"),
            }
        }
    };
    Some(name.into_string())
}

fn slot(case: &Value) -> Slot {
    Slot::new(u8::try_from(number(case, "slot")).expect("8 bits")).expect("a slot")
}
