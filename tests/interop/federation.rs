//! Nodes of both makes find each other over DNS alone: heartbeats, what they have heard of others, and what `peers` shows.

use std::time::{Duration, Instant};

use crate::Program::{self, Ours, Reference};
use crate::node::{Extras, Node, free_port};
use crate::tools::txt;

/// How long a few rounds of one second may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with a heartbeat whose resolvers are the nodes themselves, in place of the DNS between them.
fn beating(program: Program, zone: &str, seeds: &str, ports: (u16, u16), resolvers: &str) -> Node {
    let folder = std::sync::Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let key = folder.path().join("operator.key");
    // A seed of its own for every zone.
    let seed: String = zone
        .bytes()
        .cycle()
        .take(32)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    std::fs::write(&key, seed).expect("a key file");
    let extras = Extras {
        folder: Some(folder),
        ports: Some(ports),
        environment: vec![
            ("DMP_HEARTBEAT_ENABLED", "1".to_owned()),
            (
                "DMP_HEARTBEAT_SELF_ENDPOINT",
                format!("https://node.{zone}"),
            ),
            ("DMP_HEARTBEAT_OPERATOR_KEY_PATH", key.display().to_string()),
            ("DMP_HEARTBEAT_SEEDS", seeds.to_owned()),
            ("DMP_HEARTBEAT_INTERVAL_SECONDS", "1".to_owned()),
            ("DMP_HEARTBEAT_DNS_RESOLVERS", resolvers.to_owned()),
        ],
        ..Extras::default()
    };
    Node::start_with(program, zone, &extras)
}

/// Waits until the node lists as many others as it is to find.
fn seen(node: &Node, count: usize) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = txt(node, &format!("_dnsmesh-seen.{}", node.zone));
        if seen.len() >= count || Instant::now() > end {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The one in the middle knows the other two, who know only it: everybody hears of everybody.
fn everybody_hears_of_everybody(programs: [Program; 3]) {
    let ports: Vec<(u16, u16)> = (0..3)
        .map(|_| (free_port().port(), free_port().port()))
        .collect();
    let resolvers: Vec<String> = ports
        .iter()
        .map(|(dns, _)| format!("127.0.0.1:{dns}"))
        .collect();
    let resolvers = resolvers.join(",");
    let zones = ["alpha.test", "beta.test", "gamma.test"];
    let nodes: Vec<Node> = (0..3)
        .map(|number| {
            let seeds = ["beta.test", "alpha.test,gamma.test", "beta.test"][number];
            beating(
                programs[number],
                zones[number],
                seeds,
                ports[number],
                &resolvers,
            )
        })
        .collect();
    for node in &nodes {
        let seen = seen(node, 2);
        assert_eq!(seen.len(), 2, "{} knows {seen:?}", node.zone);
    }
    // Each program's own view of each node.
    for viewer in [Ours, Reference] {
        for node in &nodes {
            let user = crate::user::User::nowhere(viewer, "anybody", "nowhere.test");
            let said = user.ok(&[
                "init",
                "anybody@nowhere.test",
                "--no-probe-local-dns",
                "--dns-resolvers",
                &resolvers,
            ]);
            assert!(!said.is_empty());
            let said = user.ok(&["peers", &node.zone]);
            assert!(
                said.contains(&format!("https://node.{}", node.zone)),
                "{viewer:?}: {said}"
            );
            assert!(said.contains("peers (2):"), "{viewer:?}: {said}");
        }
    }
}

#[test]
fn a_reference_node_between_two_of_ours_passes_each_on() {
    everybody_hears_of_everybody([Ours, Reference, Ours]);
}

#[test]
fn our_node_between_two_of_the_reference_passes_each_on() {
    everybody_hears_of_everybody([Reference, Ours, Reference]);
}
