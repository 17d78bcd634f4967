//! Registration against a scripted node on loopback: what is signed, what is refused before signing, how statuses map (client.md 4.8, D7).

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use dmp_client::home::{Home, SavedToken};
use dmp_client::register::{NodeAddress, RegisterError, RegisterRequest, register, tsig_register};
use dmp_core::keys::{AgreementPublicKey, AgreementSecret, Identity, SigningPublicKey};
use dmp_core::registration::{
    Challenge, NodeName, RegistrationSubject, verify_possession, verify_registration,
};
use serde_json::{Value, json};

const CHALLENGE: &str = "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";
const SERVER_SECRET: [u8; 32] = [9; 32];

/// A node that gives the scripted answers in order, one per connection, and reports each request line and body.
struct ScriptedNode {
    address: NodeAddress,
    requests: Receiver<(String, Value)>,
}

fn scripted(answers: Vec<(u16, String)>) -> ScriptedNode {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address =
        NodeAddress::parse(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
    let (report, requests) = channel();
    thread::spawn(move || {
        let mut answers = VecDeque::from(answers);
        while let Some((status, body)) = answers.pop_front() {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut request_line, mut length) = (String::new(), 0);
            reader.read_line(&mut request_line).unwrap();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if header.trim().is_empty() {
                    break;
                }
            }
            let mut content = vec![0; length];
            reader.read_exact(&mut content).unwrap();
            let _ = report.send((
                request_line.trim().to_owned(),
                serde_json::from_slice(&content).unwrap_or(Value::Null),
            ));
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            (&stream).write_all(head.as_bytes()).unwrap();
        }
    });
    ScriptedNode { address, requests }
}

fn offer(node: &str) -> (u16, String) {
    let server = AgreementSecret::from_bytes(SERVER_SECRET).public();
    (200, json!({"challenge": CHALLENGE, "node": node, "expires_at": 1, "server_x25519_pub": server.to_string(), "version": 1}).to_string())
}

fn tsig_grant() -> (u16, String) {
    let grant = json!({"tsig_key_name": "alice-1.alpha.test.", "tsig_secret_hex": "aa", "tsig_algorithm": "hmac-sha256",
        "allowed_suffixes": ["slot-*.mb-*.alpha.test"], "subject": "alice@alpha.test", "zone": "alpha.test", "expires_at": 0});
    (200, grant.to_string())
}

fn identity() -> Identity {
    Identity::from_seed([7; 32])
}

fn request(node: &ScriptedNode, node_name: Option<&str>) -> RegisterRequest {
    RegisterRequest::new(
        node.address.clone(),
        node_name.map(str::to_owned),
        None,
        &["Alice@alpha.test".to_owned()],
    )
    .unwrap()
}

fn body_of(node: &ScriptedNode, path: &str) -> Value {
    let (line, body) = node.requests.recv().unwrap();
    assert!(line.contains(path), "{line}");
    body
}

fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member]
        .as_str()
        .unwrap_or_else(|| panic!("{member} missing in {body}"))
}

#[tokio::test]
async fn a_tsig_registration_signs_the_lower_cased_subject_and_proves_possession() {
    let node = scripted(vec![offer("alpha.test"), tsig_grant()]);
    let grant = tsig_register(&request(&node, None), &identity())
        .await
        .unwrap();
    assert_eq!(
        (
            grant.key_name.as_str(),
            grant.zone.as_str(),
            grant.expires_at
        ),
        ("alice-1.alpha.test.", "alpha.test", None)
    );

    body_of(&node, "GET /v1/registration/challenge ");
    let body = body_of(&node, "POST /v1/registration/tsig-confirm ");
    assert_eq!(text(&body, "subject"), "alice@alpha.test");
    let challenge = Challenge::from_hex(CHALLENGE).unwrap();
    let subject = RegistrationSubject::parse("alice@alpha.test").unwrap();
    let key = SigningPublicKey::from_hex(text(&body, "ed25519_spk")).unwrap();
    let signature: [u8; 64] = hex::decode(text(&body, "signature"))
        .unwrap()
        .try_into()
        .unwrap();
    verify_registration(
        &key,
        &challenge,
        &subject,
        &NodeName::parse("alpha.test").unwrap(),
        &signature,
    )
    .unwrap();
    let claimed = AgreementPublicKey::from_hex(text(&body, "x25519_pub")).unwrap();
    let proof: [u8; 32] = hex::decode(text(&body, "x25519_pop"))
        .unwrap()
        .try_into()
        .unwrap();
    verify_possession(
        &AgreementSecret::from_bytes(SERVER_SECRET),
        &claimed,
        &challenge,
        &subject,
        &proof,
    )
    .unwrap();
    assert_eq!(
        (key, claimed),
        (identity().signing_public(), identity().agreement_public())
    );
}

#[tokio::test]
async fn an_old_node_without_an_agreement_key_gets_no_proof() {
    let old = json!({"challenge": CHALLENGE, "node": "alpha.test"}).to_string();
    let node = scripted(vec![(200, old), tsig_grant()]);
    tsig_register(&request(&node, None), &identity())
        .await
        .unwrap();
    body_of(&node, "challenge");
    assert!(body_of(&node, "tsig-confirm").get("x25519_pub").is_none());
}

#[tokio::test]
async fn a_bearer_token_is_saved_for_the_host_without_its_port() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let granted = json!({"token": "dmp_v1_T", "subject": "alice@alpha.test", "expires_at": 99, "rate_per_sec": 1.0, "rate_burst": 1});
    let node = scripted(vec![offer("alpha.test"), (200, granted.to_string())]);
    let grant = register(&request(&node, None), &identity(), &home, 5)
        .await
        .unwrap();
    assert_eq!(grant.path, dir.path().join("tokens/127.0.0.1.json"));
    let saved = SavedToken::from_json(&std::fs::read_to_string(&grant.path).unwrap()).unwrap();
    assert_eq!(
        (saved.token.as_str(), saved.expires_at, saved.saved_at),
        ("dmp_v1_T", Some(99), 5)
    );
    body_of(&node, "challenge");
    assert!(body_of(&node, "confirm").get("x25519_pub").is_none());
}

#[tokio::test]
async fn no_token_is_asked_for_when_it_could_not_be_saved() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokens"), "in the way").unwrap();
    let node = scripted(vec![offer("alpha.test")]);
    let refused = register(&request(&node, None), &identity(), &Home::at(dir.path()), 0).await;
    assert!(
        matches!(refused, Err(RegisterError::Save(_))),
        "{refused:?}"
    );
    assert!(
        node.requests.try_recv().is_err(),
        "the node was not spoken to"
    );
}

#[tokio::test]
async fn what_d7_forbids_is_not_signed() {
    for (answer, node_name) in [
        (
            json!({"challenge": &CHALLENGE[2..], "node": "alpha.test"}),
            None,
        ),
        (
            json!({"challenge": format!("{CHALLENGE}00"), "node": "alpha.test"}),
            None,
        ),
        (
            json!({"challenge": CHALLENGE, "node": "alpha.test\u{1}"}),
            None,
        ),
        (json!({"challenge": CHALLENGE, "node": ""}), None),
        (
            json!({"challenge": CHALLENGE, "node": "evil.test"}),
            Some("alpha.test"),
        ),
    ] {
        let node = scripted(vec![(200, answer.to_string())]);
        let refused = tsig_register(&request(&node, node_name), &identity()).await;
        assert!(
            matches!(refused, Err(RegisterError::NotSigned(_))),
            "{answer}: {refused:?}"
        );
        body_of(&node, "challenge");
        assert!(node.requests.recv().is_err(), "nothing was posted");
    }
    let node = scripted(vec![offer("Alpha.Test.:8053"), tsig_grant()]);
    tsig_register(&request(&node, Some("alpha.test")), &identity())
        .await
        .unwrap();
}

#[tokio::test]
async fn statuses_are_told_apart() {
    let refusals = |status: u16| {
        vec![
            offer("alpha.test"),
            (status, json!({"error": "why"}).to_string()),
        ]
    };
    type Expected = fn(&RegisterError) -> bool;
    let cases: [(Vec<(u16, String)>, Expected); 9] = [
        (vec![(404, "{}".into())], |error| {
            matches!(error, RegisterError::Disabled(_))
        }),
        (vec![(429, "{}".into())], |error| {
            matches!(error, RegisterError::RateLimited(_))
        }),
        (vec![(200, "not json".into())], |error| {
            matches!(error, RegisterError::Unexpected { .. })
        }),
        (
            refusals(401),
            |error| matches!(error, RegisterError::Signature { reason, .. } if reason == "why"),
        ),
        (refusals(403), |error| {
            matches!(error, RegisterError::NotAllowed { .. })
        }),
        (refusals(404), |error| {
            matches!(error, RegisterError::UpdateDisabled(_))
        }),
        (refusals(409), |error| {
            matches!(error, RegisterError::Taken { .. })
        }),
        (refusals(429), |error| {
            matches!(error, RegisterError::RateLimited(_))
        }),
        (refusals(500), |error| {
            matches!(error, RegisterError::Unexpected { .. })
        }),
    ];
    for (answers, expected) in cases {
        let shown = format!("{answers:?}");
        let error = tsig_register(&request(&scripted(answers), None), &identity())
            .await
            .unwrap_err();
        assert!(expected(&error), "{shown}: {error:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let node = scripted(vec![(302, String::new()), offer("alpha.test")]);
    let refused = tsig_register(&request(&node, None), &identity()).await;
    assert!(
        matches!(refused, Err(RegisterError::Unexpected { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_node_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let node = NodeAddress::parse(&format!("http://127.0.0.1:{port}"), None).unwrap();
    let request = RegisterRequest::new(node, None, None, &["a@b.test".to_owned()]).unwrap();
    let error = tsig_register(&request, &identity())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("cannot reach http://127.0.0.1:{port}")),
        "{error}"
    );
}

#[test]
fn only_an_own_address_can_be_registered() {
    let node = || NodeAddress::parse("node.test", None).unwrap();
    let own = [
        "alice@mesh.test".to_owned(),
        "alice@alice.example".to_owned(),
    ];
    let subject = |wanted| {
        RegisterRequest::new(node(), None, wanted, &own).map(|request| request.subject.to_string())
    };
    assert_eq!(subject(None).unwrap(), "alice@mesh.test");
    assert_eq!(
        subject(Some("Alice@Alice.Example")).unwrap(),
        "alice@alice.example"
    );
    assert!(matches!(
        subject(Some("bob@mesh.test")),
        Err(RegisterError::ForeignSubject { .. })
    ));
    for unfit in ["alice@local", "al+ice@mesh.test", "al..ice@mesh.test"] {
        let refused = RegisterRequest::new(node(), None, None, &[unfit.to_owned()]);
        assert!(
            matches!(refused, Err(RegisterError::OwnAddress(_))),
            "{unfit}"
        );
    }
}
