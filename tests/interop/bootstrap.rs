//! From a domain to its cluster across programs: records that our tools sign, on a node of either make, found by a client of either make.

use crate::Program::{self, Ours, Reference};
use crate::node::Node;
use crate::proxy;
use crate::user::User;

#[test]
fn the_reference_moves_to_the_cluster_that_our_records_name() {
    moves(Ours, Reference);
}

#[test]
fn our_client_moves_to_a_cluster_whose_records_a_node_of_the_reference_holds() {
    moves(Reference, Ours);
}

/// A user pins the zone signer, reads the record, and goes where it leads.
fn moves(node: Program, client: Program) {
    let node = Node::start(node, "users.test");
    let proxy = proxy::start(&[&node]);
    let operator = User::offline(Ours, "operator", "users.test");
    let file = |name: &str| {
        let path = node.folder().path().join(name);
        path.to_str().expect("a path").to_owned()
    };
    let key = |name: &str| {
        let made = operator.ok(&["bootstrap", "keygen", &file(name)]);
        let (_, public) = made.trim().rsplit_once(' ').expect("a public key");
        public.to_owned()
    };
    let (signer, cluster) = (key("signer.key"), key("cluster.key"));
    let files = [file("signer.key"), file("cluster.key")];
    let place = format!("id=a,http=http://{},dns={}", node.http, node.dns);
    let sign = ["cluster", "sign", "users.test", "--key"];
    let sign = [&sign[..], &[&files[1], "--node", &place]].concat();
    node.publish("cluster.users.test", operator.ok(&sign).trim(), 300);
    let nowhere = format!("base=nowhere.test,key={cluster}");
    let real = format!("base=users.test,key={cluster}");
    let sign = ["bootstrap", "sign", "users.test", "--seq", "7", "--key"];
    let entries = ["--entry", &nowhere, "--entry", &real];
    let sign = [&sign[..], &[&files[0]], &entries].concat();
    node.publish("_dmp.users.test", operator.ok(&sign).trim(), 300);

    let alice = User::init(client, "alice", &node, &[&node], proxy);
    let pinned = alice.ok(&["bootstrap", "pin", "users.test", &signer]);
    assert!(
        pinned.contains("pinned bootstrap signer for users.test"),
        "{pinned}"
    );
    let fetched = alice.ok(&["bootstrap", "fetch"]);
    for line in [
        "user_domain: users.test\n",
        "seq:         7\n",
        "entries (sorted by priority):\n",
        "  priority=10  cluster=nowhere.test  operator_spk=",
        "  priority=20  cluster=users.test  operator_spk=",
    ] {
        assert!(fetched.contains(line), "{line}: {fetched}");
    }
    let found = alice.ok(&["bootstrap", "discover", &alice.address, "--auto-pin"]);
    for line in [
        "wrote config:\n".to_owned(),
        format!("  bootstrap_signer_spk  = {signer}\n"),
        "  cluster_base_domain   = users.test\n".to_owned(),
        format!("  cluster_operator_spk  = {cluster}\n"),
    ] {
        assert!(found.contains(&line), "{line}: {found}");
    }
    let config = std::fs::read_to_string(alice.config_home().join("config.yaml"));
    let config = config.expect("a configuration");
    for line in [
        "cluster_base_domain: users.test\n".to_owned(),
        format!("cluster_operator_spk: {}\n", cluster),
        "cluster_enabled: true\n".to_owned(),
    ] {
        let quoted = line.replace(": ", ": '").replace('\n', "'\n");
        assert!(
            config.contains(&line) || config.contains(&quoted),
            "{line}: {config}"
        );
    }
}
