//! Identities, derived keys and registration proofs (crypto.md 2, 3, 18; node.md 6.5; D7).

mod support;

use dmp_core::address::Address;
use dmp_core::error::{KeyError, Rejected};
use dmp_core::id::{Fingerprint, MsgId, PrekeyId, Slot, UnixTime};
use dmp_core::keys::{
    AgreementPublicKey, AgreementSecret, Identity, OperatorKey, Salt, SigningPublicKey,
};
use dmp_core::registration::{
    Challenge, NodeName, RegistrationSubject, prove_possession, verify_possession,
    verify_registration,
};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use serde_json::Value;
use support::{TestRng, bytes, cases, identity, optional_text, signing_key, text};

#[test]
fn a_passphrase_and_a_salt_give_the_identity_of_the_vectors() {
    for case in cases("argon2id_identity.json", "cases", 7) {
        let salt =
            optional_text(&case, "salt_hex").map_or_else(|| Ok(Salt::legacy()), Salt::from_hex);
        let Ok(salt) = salt else {
            assert!(text(&case, "note").contains("error"), "{case}");
            continue;
        };
        let identity = Identity::derive(text(&case, "passphrase"), &salt).expect("a derivation");
        assert_identity(&identity, &case);
        assert_eq!(
            hex::encode(identity.agreement().as_bytes()),
            text(&case, "x25519_private_hex")
        );
    }
}

#[test]
fn the_signing_key_follows_from_the_unclamped_agreement_key() {
    for case in cases("ed25519_from_x25519.json", "cases", 3) {
        let private = bytes(&case, "x25519_private_hex");
        let identity = Identity::from_seed(private);
        assert_identity(&identity, &case);
        assert_eq!(
            OperatorKey::from_x25519_private(private).public(),
            identity.signing_public()
        );
        let seed = OperatorKey::from_ed25519_seed(bytes(&case, "ed25519_seed_hex"));
        assert_eq!(seed.public(), identity.signing_public());
        assert_ne!(
            OperatorKey::from_ed25519_seed(private).public(),
            identity.signing_public()
        );
        let message = hex::decode(text(&case, "message_hex")).expect("hex");
        let signature = Signature::from_bytes(&bytes(&case, "signature_hex"));
        assert!(
            dalek(&identity.signing_public())
                .verify(&message, &signature)
                .is_ok()
        );
    }
}

#[test]
fn the_registration_signature_covers_the_bytes_of_the_vectors() {
    for case in cases("node_registration.json", "vectors", 3) {
        let (given, expected) = (&case["in"], &case["out"]);
        let challenge = Challenge::from_bytes(bytes(given, "challenge_hex"));
        let subject = RegistrationSubject::parse(text(given, "subject")).expect("a subject");
        assert_eq!(subject.as_str(), text(expected, "canonical_subject"));
        let node = NodeName::parse(text(given, "node")).expect("a node name");
        let key = signing_key(expected, "ed25519_spk_hex");
        let signature = bytes(expected, "signature_hex");
        assert_eq!(
            verify_registration(&key, &challenge, &subject, &node, &signature),
            Ok(())
        );

        let own = identity(9);
        let signature = own.sign_registration(&challenge, &subject, &node);
        let signed = hex::decode(text(expected, "signed_bytes_hex")).expect("hex");
        let verified =
            dalek(&own.signing_public()).verify(&signed, &Signature::from_bytes(&signature));
        assert!(verified.is_ok(), "{case}");

        let client = AgreementSecret::from_bytes(bytes(given, "x25519_private_hex"));
        let server =
            AgreementSecret::from_bytes(bytes(given, "server_ephemeral_x25519_private_hex"));
        assert_eq!(
            client.public().to_string(),
            text(expected, "x25519_pub_hex")
        );
        assert_eq!(
            server.public().to_string(),
            text(expected, "server_x25519_pub_hex")
        );
        let proof =
            prove_possession(&client, &server.public(), &challenge, &subject).expect("a proof");
        assert_eq!(hex::encode(proof), text(expected, "x25519_pop_hex"));
        assert_eq!(
            verify_possession(&server, &client.public(), &challenge, &subject, &proof),
            Ok(())
        );
    }
}

#[test]
fn a_registration_is_bound_to_key_challenge_subject_and_node() {
    let challenge = Challenge::from_bytes([5; 32]);
    let subject = RegistrationSubject::parse("alice@mesh.example").expect("a subject");
    let node = NodeName::parse("node.example").expect("a node name");
    let signer = identity(1);
    let signature = signer.sign_registration(&challenge, &subject, &node);
    let key = signer.signing_public();
    assert_eq!(
        verify_registration(&key, &challenge, &subject, &node, &signature),
        Ok(())
    );

    let other_key = identity(2).signing_public();
    let other_challenge = Challenge::from_bytes([6; 32]);
    let other_subject = RegistrationSubject::parse("bob@mesh.example").expect("a subject");
    let other_node = NodeName::parse("node.example:8053").expect("a node name");
    let mut other_signature = signature;
    other_signature[0] ^= 1;
    for refused in [
        verify_registration(&other_key, &challenge, &subject, &node, &signature),
        verify_registration(&key, &other_challenge, &subject, &node, &signature),
        verify_registration(&key, &challenge, &other_subject, &node, &signature),
        verify_registration(&key, &challenge, &subject, &other_node, &signature),
        verify_registration(&key, &challenge, &subject, &node, &other_signature),
    ] {
        assert_eq!(refused, Err(Rejected::Signature));
    }
}

#[test]
fn a_proof_of_possession_is_bound_to_all_its_parts() {
    let challenge = Challenge::from_bytes([5; 32]);
    let subject = RegistrationSubject::parse("alice@mesh.example").expect("a subject");
    let (client, server) = (
        AgreementSecret::from_bytes([1; 32]),
        AgreementSecret::from_bytes([2; 32]),
    );
    let proof = prove_possession(&client, &server.public(), &challenge, &subject).expect("a proof");
    let other = AgreementSecret::from_bytes([3; 32]);
    let other_challenge = Challenge::from_bytes([6; 32]);
    let other_subject = RegistrationSubject::parse("bob@mesh.example").expect("a subject");
    let mut other_proof = proof;
    other_proof[31] ^= 1;
    for refused in [
        verify_possession(&other, &client.public(), &challenge, &subject, &proof),
        verify_possession(&server, &other.public(), &challenge, &subject, &proof),
        verify_possession(
            &server,
            &client.public(),
            &other_challenge,
            &subject,
            &proof,
        ),
        verify_possession(
            &server,
            &client.public(),
            &challenge,
            &other_subject,
            &proof,
        ),
        verify_possession(
            &server,
            &client.public(),
            &challenge,
            &subject,
            &other_proof,
        ),
    ] {
        assert_eq!(refused, Err(Rejected::Proof));
    }
}

#[test]
fn a_key_that_gives_a_zero_secret_proves_nothing() {
    let challenge = Challenge::from_bytes([5; 32]);
    let subject = RegistrationSubject::parse("alice@mesh.example").expect("a subject");
    let secret = AgreementSecret::from_bytes([1; 32]);
    for low in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let low = AgreementPublicKey::from_bytes(low);
        assert_eq!(
            prove_possession(&secret, &low, &challenge, &subject),
            Err(KeyError::LowOrder)
        );
        let refused = verify_possession(&secret, &low, &challenge, &subject, &[0; 32]);
        assert_eq!(refused, Err(Rejected::LowOrderKey));
    }
}

#[test]
fn registration_subjects_have_the_canonical_form_of_the_vectors_or_none() {
    for case in cases("node_http_names.json", "subjects", 20) {
        let subject = RegistrationSubject::parse(text(&case, "in")).ok();
        assert_eq!(
            subject.as_ref().map(RegistrationSubject::as_str),
            optional_text(&case, "canonical"),
            "{case}"
        );
        assert_eq!(subject.is_some(), case["ok"] == true);
    }
    let subject = RegistrationSubject::parse(
        Address::parse("Alice@Mesh.Example.")
            .expect("an address")
            .as_str(),
    );
    let subject = subject.expect("every address with two labels is a subject");
    assert_eq!(
        (subject.local(), subject.domain()),
        ("alice", "mesh.example")
    );
}

#[test]
fn node_names_are_hosts_with_or_without_a_port() {
    let host = |text: &str| {
        NodeName::parse(text)
            .map(|name| name.host().to_owned())
            .ok()
    };
    assert_eq!(host("Node.Example"), Some("node.example".into()));
    assert_eq!(host("node.example.:8053"), Some("node.example".into()));
    assert_eq!(host("127.0.0.1:80"), Some("127.0.0.1".into()));
    assert_eq!(host("2001:DB8::1"), Some("2001:db8::1".into()));
    assert_eq!(host("[2001:db8:0::1]:443"), Some("2001:db8::1".into()));
    assert_eq!(host("localhost"), Some("localhost".into()));
    for bad in [
        "",
        ".",
        "a..b",
        "a b",
        "a\n",
        "é.fr",
        "-a",
        "a:b",
        "a:",
        "a:1:2",
        "a:70000",
        "[::1",
        "[::1]x",
        "[x]",
        "a/b",
        "user@host",
        "evil.example\u{1}",
        "https://a.example",
    ] {
        assert_eq!(host(bad), None, "{bad:?}");
    }
    let issued = NodeName::parse("Node.Example").expect("a name");
    assert_eq!(issued.as_str(), "Node.Example");
    assert!(issued.is_same_host(&NodeName::parse("node.example:8053").expect("a name")));
    assert!(!issued.is_same_host(&NodeName::parse("other.example").expect("a name")));
}

#[test]
fn secrets_are_not_shown() {
    let identity = identity(0xab);
    let shown = format!(
        "{identity:?} {:?} {:?}",
        identity.agreement(),
        OperatorKey::from_ed25519_seed([0xab; 32])
    );
    assert!(
        !shown.contains("abab") && !shown.contains("[171"),
        "{shown}"
    );
    assert_ne!(*identity.store_key(), [0xab; 32]);
    assert_ne!(*identity.store_key(), *self::identity(0xac).store_key());
}

#[test]
fn salts_are_hex_of_eight_bytes_or_more() {
    let salt = Salt::generate(&mut TestRng::new(1));
    assert_eq!(salt.to_hex().len(), 64);
    assert_eq!(Salt::from_hex(&salt.to_hex()), Ok(salt));
    assert!(Salt::from_hex("0011223344556677").is_ok());
    for bad in ["", "00112233445566", "001122334455667", "00112233445566zz"] {
        assert_eq!(Salt::from_hex(bad), Err(KeyError::Salt), "{bad}");
    }
}

#[test]
fn identifiers_keep_their_ranges() {
    assert_eq!(PrekeyId::new(0), None);
    assert_eq!(PrekeyId::new(u32::MAX).map(PrekeyId::get), Some(u32::MAX));
    assert_eq!(Slot::new(10), None);
    assert_eq!(
        Slot::all().map(Slot::get).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    );
    let four = Slot::new(4).expect("a slot");
    assert_eq!(
        four.others().map(Slot::get).collect::<Vec<_>>(),
        [0, 1, 2, 3, 5, 6, 7, 8, 9]
    );
    assert_eq!(
        UnixTime::new(u64::MAX).saturating_add(1),
        UnixTime::new(u64::MAX)
    );
    assert_eq!(UnixTime::new(5).saturating_sub(UnixTime::new(7)), 0);
    let id = MsgId::generate(&mut TestRng::new(2)).to_string();
    assert_eq!((&id[12..13], id.len()), ("4", 32));
    assert!(matches!(&id[16..17], "8" | "9" | "a" | "b"));
    assert_ne!(id, MsgId::generate(&mut TestRng::new(3)).to_string());
    let fingerprint = identity(1).fingerprint();
    assert_eq!(
        Fingerprint::parse(&fingerprint.to_string().to_uppercase()),
        Ok(fingerprint)
    );
    assert_eq!(SigningPublicKey::from_hex("00"), Err(KeyError::Hex(64)));
    let secret = AgreementSecret::generate(&mut TestRng::new(4));
    assert_eq!(
        AgreementSecret::from_bytes(*secret.as_bytes()).public(),
        secret.public()
    );
}

fn assert_identity(identity: &Identity, case: &Value) {
    assert_eq!(
        identity.agreement_public().to_string(),
        text(case, "x25519_public_hex")
    );
    assert_eq!(
        identity.signing_public().to_string(),
        text(case, "ed25519_public_hex")
    );
    assert_eq!(
        identity.signing_public().short(),
        text(case, "ed25519_public_hex")[..16]
    );
    assert_eq!(identity.user_id().to_string(), text(case, "user_id_hex"));
    assert_eq!(
        identity.user_id().mailbox().to_string(),
        text(case, "mailbox_hash12")
    );
    assert_eq!(
        identity.fingerprint().to_string(),
        text(case, "identity_fingerprint16")
    );
}

fn dalek(key: &SigningPublicKey) -> VerifyingKey {
    VerifyingKey::from_bytes(key.as_bytes()).expect("a point")
}
