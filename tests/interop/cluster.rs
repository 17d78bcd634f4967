//! One cluster of nodes of both makes: what is written at any of them is soon at all of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dmp_core::name::Zone;
use dmp_core::owner::{OwnerName, identity_owner_hashed, prekey_owner};

use crate::Program::{self, Ours, Reference};
use crate::node::{Extras, Node, free_port};
use crate::proxy;
use crate::user::{Credential, User};

const ZONE: &str = "mesh.test";
/// How long a few rounds of one second may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes on ports chosen before, each with the given others as peers.
fn cluster(programs: [Program; 3], peers: [&[usize]; 3]) -> [Node; 3] {
    let ports: [(u16, u16); 3] = std::array::from_fn(|_| (free_port().port(), free_port().port()));
    std::array::from_fn(|number| {
        let urls = peers[number]
            .iter()
            .map(|peer| format!("http://127.0.0.1:{}", ports[*peer].1));
        let urls: Vec<String> = urls.collect();
        let extras = Extras {
            ports: Some(ports[number]),
            environment: vec![
                ("DMP_SYNC_PEERS", urls.join(",")),
                (
                    "DMP_SYNC_PEER_TOKEN",
                    "peer-token-of-the-interop-suite-0123456789".to_owned(),
                ),
                ("DMP_SYNC_INTERVAL", "1".to_owned()),
            ],
            ..Extras::default()
        };
        Node::start_with(programs[number], ZONE, &extras)
    })
}

fn sorted(values: &[impl AsRef<str>]) -> BTreeSet<String> {
    values
        .iter()
        .map(|value| value.as_ref().to_owned())
        .collect()
}

/// Waits until the node holds exactly these values at the name.
fn holds(node: &Node, name: &str, values: &[impl AsRef<str>]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let held = sorted(&node.values(name));
        if held == sorted(values) {
            return;
        }
        assert!(Instant::now() < end, "{name}: {held:?}\n{}", node.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Values of several kinds, written at each node, come to the other two.
fn converges(programs: [Program; 3], peers: [&[usize]; 3]) {
    let nodes = cluster(programs, peers);
    // Real records of real clients: identity, prekeys.
    for (number, (program, name)) in [(Ours, "alice"), (Reference, "bob"), (Ours, "carol")]
        .into_iter()
        .enumerate()
    {
        let node = &nodes[number];
        // One for each: by the zone alone it could not tell them apart.
        let proxy = proxy::start(&[node]);
        let user = User::init(program, name, node, &[node], proxy).join(Credential::Bearer, node);
        drop(user);
    }
    let names = ["alice", "bob", "carol"].map(dmp_owner);
    for (number, names) in names.iter().enumerate() {
        for name in names {
            let values = nodes[number].values(name);
            assert!(!values.is_empty(), "{name}");
            for node in &nodes {
                holds(node, name, &values);
            }
        }
    }
    // Several values at one name, from all three.
    let values = ["one", "two", "three"];
    for (node, value) in nodes.iter().zip(values) {
        node.publish("shared.mesh.test", value, 600);
    }
    for node in &nodes {
        holds(node, "shared.mesh.test", &values);
    }
}

/// Where a user's identity and prekeys are.
fn dmp_owner(name: &str) -> [String; 2] {
    let zone = Zone::parse(ZONE).expect("a zone");
    [
        prekey_owner(name, &zone),
        identity_owner_hashed(name, &zone),
    ]
    .map(OwnerName::into_string)
}

#[test]
fn two_of_ours_and_one_of_the_reference_converge() {
    converges([Ours, Reference, Ours], [&[1, 2], &[0, 2], &[0, 1]]);
}

#[test]
fn ours_meet_through_a_reference_node_alone() {
    converges([Ours, Reference, Ours], [&[1], &[0, 2], &[1]]);
}

#[test]
fn reference_nodes_meet_through_one_of_ours_alone() {
    converges([Reference, Ours, Reference], [&[1], &[0, 2], &[1]]);
}

#[test]
fn what_is_deleted_at_ours_stays_deleted_at_ours_beside_a_reference_node() {
    let nodes = cluster([Ours, Reference, Ours], [&[1, 2], &[0, 2], &[0, 1]]);
    for value in ["stays", "goes"] {
        nodes[0].publish("name.mesh.test", value, 600);
    }
    for node in &nodes {
        holds(node, "name.mesh.test", &["stays", "goes"]);
    }
    nodes[2].delete("name.mesh.test", "goes");
    holds(&nodes[0], "name.mesh.test", &["stays"]);
    // The reference knows no deletes and offers the value on. A later value has come from it when its rounds have passed.
    nodes[1].publish("later.mesh.test", "written at the reference", 600);
    for node in [&nodes[0], &nodes[2]] {
        holds(node, "later.mesh.test", &["written at the reference"]);
        holds(node, "name.mesh.test", &["stays"]);
    }
    // Published again it lives again.
    nodes[0].publish("name.mesh.test", "goes", 600);
    for node in [&nodes[0], &nodes[2]] {
        holds(node, "name.mesh.test", &["stays", "goes"]);
    }
}
