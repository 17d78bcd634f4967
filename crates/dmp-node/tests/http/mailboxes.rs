//! Whose a mailbox is over HTTP (D13): identity records of the holders of bearer tokens.

use crate::support::{OPERATOR, START, TestNode, User, hex, multi_tenant};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dmp_core::keys::AgreementSecret;
use ed25519_dalek::Signer;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Somebody with a token who writes to the mailbox of `owner`.
struct Writer<'a> {
    node: &'a TestNode,
    user: &'a User,
    token: String,
    owner: &'a AgreementSecret,
}

impl<'a> Writer<'a> {
    async fn new(node: &'a TestNode, user: &'a User, owner: &'a AgreementSecret) -> Self {
        Self {
            node,
            user,
            token: node.token_of(user).await,
            owner,
        }
    }

    fn local_part(&self) -> &str {
        self.user.subject.split_once('@').unwrap().0
    }

    fn identity_name(&self) -> String {
        let hash = hex(&Sha256::digest(self.local_part())[..8]);
        format!("id-{hash}.mesh.test")
    }

    /// The body that publishes a record of this user with the X25519 key of the owner.
    fn identity(&self) -> String {
        let name = self.local_part();
        let mut record = vec![name.len() as u8];
        record.extend(name.as_bytes());
        record.extend(self.owner.public().as_bytes());
        record.extend(self.user.signing.verifying_key().as_bytes());
        record.extend(START.to_be_bytes());
        record.extend(self.user.signing.sign(&record.clone()).to_bytes());
        let value = format!("v=dmp1;t=identity;d={}", STANDARD.encode(record));
        json!({ "value": value, "ttl": 60 }).to_string()
    }

    async fn publish_identity(&self) {
        let (name, body) = (self.identity_name(), self.identity());
        let answer = self.node.publish(&self.token, &name, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    async fn delete_identity(&self) {
        let name = self.identity_name();
        let answer = self.node.delete(&self.token, &name, "").await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// The status of one more value in the mailbox.
    async fn put(&self, value: &str) -> u16 {
        let mailbox = self.owner.public().user_id().mailbox();
        let slot = format!("slot-4.mb-{mailbox}.mesh.test");
        let body = json!({ "value": format!("{} {value}", self.user.subject) }).to_string();
        self.node.publish(&self.token, &slot, &body).await.status
    }

    async fn use_up(&self) {
        for value in ["a", "b"] {
            assert_eq!(self.put(value).await, 201);
        }
        assert_eq!(self.put("c").await, 429);
    }
}

async fn start() -> TestNode {
    TestNode::start(&multi_tenant(&[(
        "DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX",
        "2",
    )]))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_of_a_token_is_exempt_while_an_identity_record_lives() {
    let node = start().await;
    let (alice, bob) = (
        User::new("alice@mesh.test", 1),
        User::new("bob@mesh.test", 2),
    );
    let bob = Writer::new(&node, &bob, &alice.agreement).await;
    let alice = Writer::new(&node, &alice, &alice.agreement).await;
    alice.use_up().await;
    bob.use_up().await;
    let elsewhere = "id-ffffffffffffffff.mesh.test";
    let answer = node.publish(OPERATOR, elsewhere, &alice.identity()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(alice.put("c").await, 429, "not at a name of the subject");

    alice.publish_identity().await;
    for value in ["c", "d"] {
        assert_eq!(alice.put(value).await, 201, "{value}");
    }
    assert_eq!(bob.put("c").await, 429);
    alice.delete_identity().await;
    assert_eq!(alice.put("e").await, 429, "deleted");
    alice.publish_identity().await;
    assert_eq!(alice.put("e").await, 201);
    node.clock.advance(60);
    assert_eq!(alice.put("f").await, 429, "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_borrowed_agreement_key_exempts_nobody_but_who_proves_it() {
    let node = start().await;
    let (alice, thief) = (
        User::new("alice@mesh.test", 1),
        User::new("thief@mesh.test", 2),
    );
    let thief = Writer::new(&node, &thief, &alice.agreement).await;
    let alice = Writer::new(&node, &alice, &alice.agreement).await;
    alice.use_up().await;
    thief.use_up().await;
    alice.publish_identity().await;
    thief.publish_identity().await;
    assert_eq!(thief.put("c").await, 429);
    assert_eq!(alice.put("c").await, 429, "it is nobody's");

    let challenge = node.challenge().await;
    let body = alice.user.confirmation(&challenge);
    let body = alice.user.with_agreement(&challenge, body);
    let answer = node.post_registration("tsig-confirm", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(alice.put("c").await, 201, "the token of who proved it");
    assert_eq!(thief.put("c").await, 429);
    alice.delete_identity().await;
    assert_eq!(
        thief.put("c").await,
        429,
        "the only record that claims it, against a proof"
    );
}
