//! Whose a mailbox is over DNS (D13): identity records of the holders of TSIG keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dmp_core::keys::{AgreementPublicKey, Identity};
use dmp_dns::Rcode;
use dmp_node::access::KeyRow;
use ed25519_dalek::{Signer, SigningKey};

use crate::support::{NOW, Node, add, delete_rrset, delete_value, key, row};

/// SHA-256("user") begins with these octets.
const USER: &str = "id-04f8996da763b7a9.mesh.example";
/// SHA-256("thief") begins with these octets.
const THIEF: &str = "id-8dd29add9992f700.mesh.example";

/// A record of a signer who need not know the private half of the X25519 key in it.
fn record(signing: &SigningKey, agreement: &AgreementPublicKey, at: u64) -> String {
    let mut body = b"\x04user".to_vec();
    body.extend(agreement.as_bytes());
    body.extend(signing.verifying_key().as_bytes());
    body.extend(at.to_be_bytes());
    body.extend(signing.sign(&body.clone()).to_bytes());
    format!("v=dmp1;t=identity;d={}", STANDARD.encode(body))
}

fn agreement() -> AgreementPublicKey {
    Identity::from_seed([9; 32]).agreement_public()
}

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// A key that came without a proof of possession.
fn unproven(label: &str, identity_name: &str, signing: &SigningKey) -> KeyRow {
    let mut row = row(label, &["slot-*.mb-*.mesh.example", identity_name]);
    row.subject = format!("{label}@mesh.example");
    row.registered_spk = Some(*signing.verifying_key().as_bytes());
    row
}

fn start(rows: Vec<KeyRow>) -> Node {
    let settings = |settings: &mut dmp_node::settings::Settings| {
        settings.caps.max_values_per_writer_per_mailbox = Some(2)
    };
    Node::start_with(settings).with_keys(rows)
}

fn put(node: &Node, who: &str, value: &str) -> Rcode {
    let slot = format!("slot-3.mb-{}.mesh.example", agreement().user_id().mailbox());
    node.update_rcode(&key(who), &[add(&slot, &format!("{who} {value}"))])
}

fn use_up(node: &Node, who: &str) {
    for value in ["a", "b"] {
        assert_eq!(put(node, who, value), Rcode::NOERROR);
    }
    assert_eq!(put(node, who, "c"), Rcode::REFUSED);
}

#[test]
fn the_holder_of_a_key_without_a_proof_is_exempt_while_an_identity_record_lives() {
    let node = start(vec![
        unproven("user", USER, &signer(1)),
        unproven("other", "id-0000000000000000.mesh.example", &signer(2)),
    ]);
    use_up(&node, "user");
    use_up(&node, "other");
    let mut forged = record(&signer(2), &agreement(), NOW);
    node.put(USER, &forged, 600);
    assert_eq!(put(&node, "user", "c"), Rcode::REFUSED, "another's key");
    node.update_rcode(&key("user"), &[delete_rrset(USER)]);
    forged = record(&signer(1), &agreement(), NOW);
    let octet = forged.len() - 10; // within the signature
    let other = if forged[octet..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    forged.replace_range(octet..=octet, other);
    node.put(USER, &forged, 600);
    assert_eq!(put(&node, "user", "c"), Rcode::REFUSED, "not verified");
    let own = record(&signer(1), &agreement(), NOW);
    node.put("id-ffffffffffffffff.mesh.example", &own, 600);
    assert_eq!(put(&node, "user", "c"), Rcode::REFUSED, "not at their name");

    let publish = |value: &str| node.update_rcode(&key("user"), &[add(USER, value)]);
    assert_eq!(publish(&own), Rcode::NOERROR);
    for value in ["c", "d"] {
        assert_eq!(put(&node, "user", value), Rcode::NOERROR, "{value}");
    }
    assert_eq!(put(&node, "other", "c"), Rcode::REFUSED);
    let gone = node.update_rcode(&key("user"), &[delete_value(USER, &own)]);
    assert_eq!(gone, Rcode::NOERROR);
    assert_eq!(put(&node, "user", "e"), Rcode::REFUSED, "deleted");
}

#[test]
fn where_two_signing_keys_claim_one_agreement_key_only_a_proof_exempts() {
    let user = unproven("user", USER, &signer(1));
    let thief = unproven("thief", THIEF, &signer(2));
    let node = start(vec![user.clone(), thief.clone()]);
    use_up(&node, "user");
    use_up(&node, "thief");
    node.put(USER, &record(&signer(1), &agreement(), NOW), 600);
    assert_eq!(put(&node, "user", "c"), Rcode::NOERROR);
    node.put(THIEF, &record(&signer(2), &agreement(), NOW), 600);
    assert_eq!(put(&node, "thief", "c"), Rcode::REFUSED);
    assert_eq!(put(&node, "user", "d"), Rcode::REFUSED, "it is nobody's");

    let proven = KeyRow {
        registered_x25519: Some(*agreement().as_bytes()),
        ..user
    };
    let node = node.with_keys(vec![proven, thief]);
    assert_eq!(put(&node, "user", "d"), Rcode::NOERROR);
    assert_eq!(put(&node, "thief", "c"), Rcode::REFUSED);
    let gone = node.update_rcode(&key("user"), &[delete_rrset(USER)]);
    assert_eq!(gone, Rcode::NOERROR);
    assert_eq!(
        put(&node, "thief", "c"),
        Rcode::REFUSED,
        "the only record that claims it, against a proof"
    );
}

#[test]
fn more_identity_records_than_are_looked_at_exempt_nobody() {
    let node = start(vec![unproven("user", USER, &signer(1))]);
    use_up(&node, "user");
    node.put(USER, &record(&signer(1), &agreement(), NOW), 600);
    assert_eq!(put(&node, "user", "c"), Rcode::NOERROR);
    let copy = |number: usize| format!("id-{number:016x}.mesh.example");
    let writer = row("all", &["mesh.example"]);
    let node = node.with_keys(vec![unproven("user", USER, &signer(1)), writer]);
    let add_copy = |number| node.put(&copy(number), &record(&signer(1), &agreement(), NOW), 600);
    (1..=15).for_each(add_copy);
    assert_eq!(put(&node, "user", "d"), Rcode::NOERROR);
    add_copy(16);
    assert_eq!(put(&node, "user", "e"), Rcode::REFUSED);
    let delete = |number| node.update_rcode(&key("all"), &[delete_rrset(&copy(number))]);
    assert_eq!(delete(1), Rcode::NOERROR);
    assert_eq!(
        put(&node, "user", "e"),
        Rcode::REFUSED,
        "the one that was too many is still not looked at"
    );
    assert_eq!(delete(16), Rcode::NOERROR);
    assert_eq!(put(&node, "user", "e"), Rcode::NOERROR);
    for at in 1..=2 {
        node.put(USER, &record(&signer(1), &agreement(), NOW + at), 600);
    }
    assert_eq!(put(&node, "user", "f"), Rcode::REFUSED, "17 values");
}
