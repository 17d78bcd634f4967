//! Users of both programs in one cluster whose nodes are of either make, without replication: whatever is read at a node was put there
//! by a client's fan-out.

use dmp_core::name::Zone;
use dmp_core::owner::identity_owner_hashed;

use crate::Program::{Ours, Reference};
use crate::node::{Node, OPERATOR_TOKEN};
use crate::proxy;
use crate::user::User;

const BASE: &str = "mesh.test";

#[test]
fn users_of_both_programs_share_a_cluster_of_both_nodes_and_one_node_may_end() {
    let mut nodes = [Ours, Reference, Ours].map(|program| Node::start(program, BASE));
    let proxy = proxy::start(&nodes.each_ref());
    let operator = User::offline(Ours, "operator", BASE);
    let folder = nodes[0].folder();
    let key = folder.path().join("operator.key");
    let key = key.to_str().expect("a path");
    let made = operator.ok(&["cluster", "keygen", key]);
    let (_, public) = made.trim().rsplit_once(' ').expect("a public key");
    let places: Vec<String> = nodes
        .iter()
        .zip(["a", "b", "c"])
        .map(|(node, id)| format!("id={id},http=http://{},dns={}", node.http, node.dns))
        .collect();
    let mut sign = vec!["cluster", "sign", BASE, "--key", key];
    for place in &places {
        sign.extend(["--node", place]);
    }
    let manifest = operator.ok(&sign);
    for node in &nodes {
        node.publish("cluster.mesh.test", manifest.trim(), 300);
    }

    let [mut alice, mut bob] = [(Ours, "alice"), (Reference, "bob")].map(|(program, name)| {
        let user = User::init(program, name, &nodes[0], &[&nodes[0], &nodes[2]], proxy);
        user.configure(&[("cluster_node_token", OPERATOR_TOKEN)]);
        user.ok(&["cluster", "pin", public, BASE]);
        let enabled = user.ok(&["cluster", "enable"]);
        assert!(enabled.contains("cluster mode enabled."), "{enabled}");
        user.ok(&["identity", "publish"]);
        user.ok(&["identity", "refresh-prekeys", "--count", "5"]);
        let zone = Zone::parse(BASE).expect("a zone");
        let owner = identity_owner_hashed(name, &zone);
        for node in &nodes {
            assert_eq!(node.values(owner.as_str()).len(), 1, "{name}: every node");
        }
        user
    });
    alice.pin(&bob);
    bob.pin(&alice);
    alice.send(&bob, "to the reference");
    bob.send(&alice, "to ours");
    let texts = |user: &User| -> Vec<String> {
        let messages = user.receive().into_iter();
        messages.map(|message| message.text).collect()
    };
    assert_eq!(texts(&bob), ["to the reference"]);
    assert_eq!(texts(&alice), ["to ours"]);

    // The reference would wait for the dead node in every look-up of a receive, so only ours receives.
    nodes[1].stop();
    alice.send(&bob, "with two");
    bob.send(&alice, "with two, back");
    assert_eq!(texts(&alice), ["with two, back"]);
}
