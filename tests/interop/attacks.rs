//! Messages that somebody else signed again: the chunks are genuine, the manifest names another author (D6).

use std::time::{SystemTime, UNIX_EPOCH};

use dmp_core::id::{Slot, UnixTime};
use dmp_core::keys::Identity;
use dmp_core::name::Zone;
use dmp_core::owner::{chunk_owner, claim_owner, manifest_owner};
use dmp_core::record::{Claim, Manifest};

use crate::Program::{Ours, Reference};
use crate::node::Node;
use crate::proxy;
use crate::user::{Credential, Message, User};

const ZONE: &str = "alpha.test";
const TEXT: &str = "what Alice wrote";

#[test]
fn a_message_re_signed_by_another_pinned_contact_stays_out_of_the_inbox() {
    let attacker = Identity::from_seed([0x66; 32]);
    let scene = Scene::set(Recipient::WithPrekeys);
    let (agreement, signing) = (attacker.agreement_public(), attacker.signing_public());
    let pin = [
        "contacts",
        "add",
        "mallory",
        &agreement.to_string(),
        "--signing-key",
        &signing.to_string(),
    ];
    scene.bob.ok(&pin);
    scene.sign_again(&attacker);
    scene.expect_only_alice(&attacker);
}

#[test]
fn a_message_re_signed_by_a_stranger_with_a_claim_stays_out_of_the_inbox() {
    for recipient in [Recipient::WithPrekeys, Recipient::WithoutPrekeys] {
        let attacker = Identity::from_seed([0x67; 32]);
        let scene = Scene::set(recipient);
        let slot = scene.sign_again(&attacker);
        scene.claim(&attacker, slot);
        scene.expect_only_alice(&attacker);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recipient {
    WithPrekeys,
    WithoutPrekeys,
}

/// Alice's message to Bob, taken out of the zone before Bob looked.
struct Scene {
    node: Node,
    alice: User,
    bob: User,
    zone: Zone,
    slot: Slot,
    value: String,
    manifest: Manifest,
}

impl Scene {
    fn set(recipient: Recipient) -> Self {
        let node = Node::start(Ours, ZONE);
        let proxy = proxy::start(&[&node]);
        let mut alice =
            User::init(Reference, "alice", &node, &[&node], proxy).join(Credential::Bearer, &node);
        let bob = User::init(Ours, "bob", &node, &[&node], proxy);
        let bob = match recipient {
            Recipient::WithPrekeys => bob.join(Credential::Tsig, &node),
            Recipient::WithoutPrekeys => {
                bob.register(Credential::Tsig, &node);
                bob.ok(&["identity", "publish"]);
                bob
            }
        };
        alice.pin(&bob);
        bob.pin(&alice);
        alice.send(&bob, TEXT);

        let zone = Zone::parse(ZONE).expect("a zone");
        let (id, sender) = (bob.user_id(), alice.signing_key());
        let (slot, value, manifest) = Slot::all()
            .flat_map(|slot| {
                node.values(manifest_owner(&id, slot, &zone).as_str())
                    .into_iter()
                    .map(move |v| (slot, v))
            })
            .map(|(slot, value)| {
                let manifest = Manifest::parse(&value, now())
                    .expect("a manifest")
                    .into_inner();
                (slot, value, manifest)
            })
            .find(|(_, _, manifest)| manifest.sender == sender)
            .expect("Alice's manifest");
        assert_eq!(
            manifest.prekey.is_some(),
            recipient == Recipient::WithPrekeys
        );
        node.delete(manifest_owner(&id, slot, &zone).as_str(), &value);
        Scene {
            node,
            alice,
            bob,
            zone,
            slot,
            value,
            manifest,
        }
    }

    /// Copies the chunks to the attacker's owner names and announces them under the attacker's signature.
    fn sign_again(&self, attacker: &Identity) -> Slot {
        let (message, recipient) = (&self.manifest.msg_id, &self.manifest.recipient);
        let sender = attacker.signing_public();
        for index in 0..u16::try_from(self.manifest.plan.n()).expect("at most 1024") {
            let from = chunk_owner(message, recipient, &self.manifest.sender, index, &self.zone);
            let to = chunk_owner(message, recipient, &sender, index, &self.zone);
            for value in self.node.values(from.as_str()) {
                self.node.publish(to.as_str(), &value, 300);
            }
        }
        let forged = Manifest {
            sender,
            ..self.manifest.clone()
        }
        .sign(attacker)
        .expect("a manifest");
        self.node.publish(
            manifest_owner(recipient, self.slot, &self.zone).as_str(),
            &forged,
            300,
        );
        self.slot
    }

    fn claim(&self, attacker: &Identity, slot: Slot) {
        let claim = Claim {
            msg_id: self.manifest.msg_id,
            sender: attacker.signing_public(),
            mailbox_zone: self.zone.clone(),
            slot,
            ts: now(),
            exp: self.manifest.exp,
        };
        let owner = claim_owner(&self.manifest.recipient, slot, &self.zone);
        self.node
            .publish(owner.as_str(), &claim.sign(attacker).expect("a claim"), 300);
    }

    /// The forgery waits in quarantine and costs Alice's message nothing: once visible again, it is delivered.
    fn expect_only_alice(&self, attacker: &Identity) {
        let said = self.bob.ok(&["recv"]);
        assert!(!said.contains(TEXT), "{said}");
        assert!(said.contains("(1 new intro(s)"), "{said}");
        let listed = self.bob.ok(&["intro", "list"]);
        assert!(
            listed.contains(&format!("sender_spk: {}", attacker.signing_public())),
            "{listed}"
        );
        assert!(
            listed.contains("reason: ") && listed.contains("authorship not proven"),
            "{listed}"
        );

        self.node.publish(
            manifest_owner(&self.manifest.recipient, self.slot, &self.zone).as_str(),
            &self.value,
            300,
        );
        let from = self.alice.signing_key().short();
        assert_eq!(
            self.bob.receive(),
            [Message {
                from,
                text: TEXT.to_owned()
            }]
        );
        assert_eq!(self.bob.receive(), []);
    }
}

fn now() -> UnixTime {
    UnixTime::new(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock after 1970")
            .as_secs(),
    )
}
