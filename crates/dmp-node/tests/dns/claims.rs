//! Unsigned claims: both roles, the registered recipients of node.md 4.5 and D11, and the rate of one recipient.

use dmp_core::id::{MsgId, Slot, UnixTime};
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::record::{Claim, IdentityRecord, Versions};
use dmp_dns::Rcode;
use dmp_dns::message::Response;
use dmp_node::access::{KeyRow, Keyring, TokenHolder};
use dmp_node::settings::Claims;

use crate::support::{NOW, Node, add, delete_rrset, row, update};

fn sender() -> Identity {
    Identity::from_seed([1; 32])
}

fn claim(slot: u8, exp: u64) -> String {
    let claim = Claim {
        msg_id: MsgId::from_bytes([5; 16]),
        sender: sender().signing_public(),
        mailbox_zone: Zone::parse("sender.example").unwrap(),
        slot: Slot::new(slot).unwrap(),
        ts: UnixTime::new(NOW),
        exp: UnixTime::new(exp),
    };
    claim.sign(&sender()).unwrap()
}

fn mailbox(recipient: &Identity) -> String {
    recipient.user_id().mailbox().to_string()
}

fn notify(node: &Node, owner: &str, value: &str) -> Rcode {
    Response::parse(&node.udp(&update(&[add(owner, value)]).build(1)))
        .unwrap()
        .rcode
}

fn notify_recipient(node: &Node, recipient: &Identity) -> Rcode {
    notify(
        node,
        &format!("claim-3.mb-{}.mesh.example", mailbox(recipient)),
        &claim(3, NOW + 600),
    )
}

fn start(provider: bool, receiver: bool) -> Node {
    Node::start_with(|settings| {
        settings.claims = Claims {
            provider,
            receiver,
            ..Claims::default()
        }
    })
}

fn key_of(user: &Identity, patterns: &[&str]) -> KeyRow {
    let mut row = row("user", patterns);
    row.subject = "user@mesh.example".into();
    row.registered_spk = Some(*user.signing_public().as_bytes());
    row.registered_x25519 = Some(*user.agreement_public().as_bytes());
    row
}

#[test]
fn the_provider_takes_claims_for_everybody_and_nothing_but_claims() {
    let node = start(true, false);
    let owner = "claim-3.mb-0123456789ab.mesh.example";
    assert_eq!(notify(&node, owner, &claim(3, NOW + 600)), Rcode::NOERROR);
    assert_eq!(node.txt(owner).len(), 1);
    for (owner, value, why) in [
        (
            "claim-4.mb-0123456789ab.mesh.example",
            claim(3, NOW + 600),
            "slot and owner name differ (W-11)",
        ),
        (
            "claim-03.mb-0123456789ab.mesh.example",
            claim(3, NOW + 600),
            "a leading zero",
        ),
        (
            "x.claim-3.mb-0123456789ab.mesh.example",
            claim(3, NOW + 600),
            "a label too many",
        ),
        (
            "claim-3.mb-0123456789.mesh.example",
            claim(3, NOW + 600),
            "no mailbox hash",
        ),
        (owner, claim(3, NOW + 86_401), "lives too long"),
        (owner, "v=dmp1;t=claim;AAAA".into(), "no claim"),
        (owner, "v=dmp1;t=identity;d=AAAA".into(), "another record"),
    ] {
        assert_eq!(notify(&node, owner, &value), Rcode::REFUSED, "{why}");
    }
    let both = update(&[add(owner, &claim(3, NOW + 700)), delete_rrset(owner)]).build(1);
    assert_eq!(
        Response::parse(&node.udp(&both)).unwrap().rcode,
        Rcode::REFUSED
    );
    assert_eq!(
        node.txt(owner).len(),
        1,
        "one bad operation rejects all of them"
    );
}

#[test]
fn a_claim_is_stored_no_longer_than_it_lives() {
    let node = start(true, false);
    let owner = "claim-3.mb-0123456789ab.mesh.example";
    assert_eq!(notify(&node, owner, &claim(3, NOW + 20)), Rcode::NOERROR);
    node.clock.advance(20);
    assert!(node.txt(owner).is_empty());
}

#[test]
fn without_a_role_unsigned_updates_are_refused() {
    let node = start(false, false);
    assert_eq!(
        notify_recipient(&node, &Identity::from_seed([2; 32])),
        Rcode::REFUSED
    );
}

#[test]
fn the_receiver_role_admits_those_whom_node_md_4_5_registers() {
    let user = Identity::from_seed([2; 32]);
    let own = format!("mb-{}.mesh.example", mailbox(&user));
    let node = start(false, true);
    assert_eq!(
        notify_recipient(&node, &user),
        Rcode::REFUSED,
        "nobody is registered"
    );
    for (patterns, admitted) in [
        (vec![own.as_str()], true),
        (vec!["mesh.example"], true),
        (vec!["slot-*.mb-*.mesh.example"], true),
        (vec!["claim-*.mb-*.mesh.example"], true),
        (vec!["mb-*.mesh.example"], true),
        (vec!["id-0123456789abcdef.mesh.example"], false),
        (vec!["sub.mesh.example"], false),
        (vec!["mb-0123456789ab.sub.mesh.example"], false),
        (vec!["slot-*.mb-*.sub.mesh.example"], false),
    ] {
        node.context
            .access()
            .replace_keyring(Keyring::new(vec![key_of(&user, &patterns)], Vec::new()));
        let expected = if admitted {
            Rcode::NOERROR
        } else {
            Rcode::REFUSED
        };
        assert_eq!(notify_recipient(&node, &user), expected, "{patterns:?}");
    }
    let mut legacy = key_of(&user, &[&own]);
    legacy.registered_x25519 = None;
    node.context
        .access()
        .replace_keyring(Keyring::new(vec![legacy.clone()], Vec::new()));
    assert_eq!(
        notify_recipient(&node, &user),
        Rcode::NOERROR,
        "a row without the public key by its literal pattern"
    );
    legacy.expires_at = NOW;
    node.context
        .access()
        .replace_keyring(Keyring::new(vec![legacy], Vec::new()));
    assert_eq!(notify_recipient(&node, &user), Rcode::REFUSED, "expired");
}

#[test]
fn a_verified_identity_record_of_a_live_credential_registers_its_owner() {
    let user = Identity::from_seed([2; 32]);
    let record = |identity: &Identity| {
        let record = IdentityRecord {
            username: "user".into(),
            agreement: identity.agreement_public(),
            signing: identity.signing_public(),
            ts: UnixTime::new(NOW),
            versions: Versions::default(),
        };
        record.sign(identity).unwrap()
    };
    // SHA-256("user") begins with 04f8996da763b7a9.
    let hashed = "id-04f8996da763b7a9.mesh.example";
    let holder = |signing: [u8; 32], expires_at| {
        vec![TokenHolder {
            subject: "user@mesh.example".into(),
            registered_spk: signing,
            expires_at,
        }]
    };
    let signing = *user.signing_public().as_bytes();
    let node = start(false, true);
    let swap = |holders| {
        node.context
            .access()
            .replace_keyring(Keyring::new(Vec::new(), holders))
    };

    swap(holder(signing, 0));
    assert_eq!(
        notify_recipient(&node, &user),
        Rcode::REFUSED,
        "no record yet"
    );
    node.put("id-ffffffffffffffff.mesh.example", &record(&user), 600);
    assert_eq!(
        notify_recipient(&node, &user),
        Rcode::REFUSED,
        "not at a name of the subject"
    );
    node.put(hashed, &record(&user), 600);
    assert_eq!(notify_recipient(&node, &user), Rcode::NOERROR);
    swap(holder([9; 32], 0));
    assert_eq!(
        notify_recipient(&node, &user),
        Rcode::REFUSED,
        "the credential is another's"
    );
    swap(holder(signing, NOW));
    assert_eq!(
        notify_recipient(&node, &user),
        Rcode::REFUSED,
        "the credential has expired"
    );
    swap(holder(signing, 0));
    assert_eq!(notify_recipient(&node, &user), Rcode::NOERROR);
    node.clock.advance(600);
    assert_eq!(
        notify(
            &node,
            &format!("claim-3.mb-{}.mesh.example", mailbox(&user)),
            &claim(3, NOW + 900)
        ),
        Rcode::REFUSED,
        "the record has expired"
    );
}

#[test]
fn the_rate_of_one_recipient_is_servfail_and_leaves_others_alone() {
    let node = Node::start_with(|settings| {
        settings.claims = Claims {
            provider: true,
            rate: 0.000_001,
            burst: 3.0,
            ..Claims::default()
        };
    });
    let to = |mailbox: &str, exp| {
        notify(
            &node,
            &format!("claim-3.mb-{mailbox}.mesh.example"),
            &claim(3, exp),
        )
    };
    for exp in 1..=3 {
        assert_eq!(to("0123456789ab", NOW + exp), Rcode::NOERROR);
    }
    assert_eq!(to("0123456789ab", NOW + 4), Rcode::SERVFAIL);
    assert_eq!(to("ba9876543210", NOW + 4), Rcode::NOERROR);
}
