//! Our own node as a publisher, over signed UPDATE and over HTTP, held to what every publisher does (client.md 14); and the key
//! `publisher` of the configuration as a user meets it.

mod common;
#[path = "../../dmp-client/tests/publishers/suite.rs"]
mod suite;

use std::fs;
use std::path::Path;

use common::node::{Node, OPERATOR_TOKEN, command_of};
use common::{Ran, User};
use dmp_client::mesh::{Lookup, Writer};
use dmp_client::writer::{HttpWriter, TsigCredential, TsigWriter};
use dmp_core::name::Zone;
use dmp_core::owner::OwnerName;
use dmp_net::{PoolOptions, ResolverPool};
use suite::{Found, Odd, hold, hold_to_its_zone};

const ZONE: &str = "mesh.test";

/// A node whose operator gave a script a key for the whole zone.
fn node_with_key(dir: &Path) -> (Node, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_dnsmesh"));
    let add = [
        "node",
        "ctl",
        "key",
        "add",
        "ops.mesh.test",
        "--scope",
        ZONE,
    ];
    let added: Ran = command_of(program, &add, dir, ZONE)
        .output()
        .unwrap()
        .into();
    let key = added.expect(0).stdout;
    (Node::start(dir, ZONE), key)
}

/// What the node serves at a name.
async fn served(resolvers: &ResolverPool, owner: &OwnerName) -> Vec<Found> {
    match resolvers.txt(&owner.as_str().parse().unwrap()).await {
        Lookup::Found(values) => values.into_iter().map(|value| (value, None)).collect(),
        Lookup::Absent => Vec::new(),
        Lookup::Unreachable(why) => panic!("{why}"),
    }
}

fn resolvers(node: &Node) -> ResolverPool {
    let entries = vec![node.dns];
    ResolverPool::new(entries, PoolOptions::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_node_is_a_publisher_like_every_other_by_update_and_by_http() {
    let dir = tempfile::tempdir().unwrap();
    let (node, key) = node_with_key(dir.path());
    let resolvers = resolvers(&node);
    let read = async |owner: &OwnerName| served(&resolvers, owner).await;
    let zone = Zone::parse(ZONE).unwrap();
    let credential = TsigCredential::from_key_file(&key, Some("ops.mesh.test"), &zone).unwrap();
    let by_update = TsigWriter::new(node.dns, credential);
    hold(&by_update, ZONE, Odd::Taken, read).await;
    hold_to_its_zone(&by_update, ZONE).await;

    let by_http = HttpWriter::new(&node.url(), Some(OPERATOR_TOKEN));
    hold(&by_http, ZONE, Odd::TakenUnquoted, read).await;
    let wrong = HttpWriter::new(&node.url(), Some("a token of nobody"));
    let failure = wrong
        .apply(&[suite::add(&suite::slot(ZONE), 60, "x")])
        .await;
    let failure = failure.into_result().unwrap_err();
    assert_eq!(failure.code(), "write-not-authorised");
    assert!(!failure.to_string().contains("of nobody"));
}

#[test]
fn a_user_publishes_through_what_the_configuration_names_and_nothing_secret_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (node, key) = node_with_key(dir.path());
    let secret = key.split('"').nth(3).unwrap().to_owned();
    let user = User::new(dir.path(), "alice");
    let dns = node.dns.to_string();
    user.run(&[
        "init",
        "alice",
        "--domain",
        ZONE,
        "--dns-resolvers",
        &dns,
        "--no-probe-local-dns",
    ])
    .expect(0);
    user.run(&["identity", "publish"])
        .expect(1)
        .warns("no endpoint");

    // No endpoint, no tsig_* keys: the publisher alone.
    fs::write(user.home.join("ops.key"), &key).unwrap();
    let publisher = format!(
        "{{kind: rfc2136, server: 127.0.0.1, port: {}, key_file: ops.key}}",
        node.dns.port()
    );
    user.run(&["config", "set", "publisher", &publisher])
        .expect(0);
    user.run(&["identity", "publish"])
        .expect(0)
        .says("published identity to ");
    user.run(&["identity", "refresh-prekeys", "--count", "3"])
        .expect(0)
        .says("published 3/3 prekeys to ");
    for verb in [&["config", "list"][..], &["config", "get", "publisher"]] {
        let shown = user.run(verb).expect(0).says("ops.key");
        assert!(!shown.stdout.contains(&secret));
    }
    user.run(&["identity", "show"]).expect(0);
    assert!(
        user.config().contains("kind: rfc2136"),
        "kept when the file is written again"
    );

    // A second one that is down is told, and does not spoil the first.
    let both = format!("[{publisher}, {{kind: zone-file, file: absent.zone}}]");
    user.run(&["config", "set", "publisher", &both]).expect(0);
    user.run(&["identity", "publish"])
        .expect(0)
        .warns("warning: publisher zone-file absent.zone: ");

    user.run(&["config", "set", "publisher", "{kind: cloudflare, zone: a}"])
        .expect(1)
        .warns("zone_id");
    for (wrong, word) in [
        ("{kind: rfc2136, server: 127.0.0.1}", "no key_file"),
        ("{kind: route53, zone_id: Z1}", "AWS_ACCESS_KEY_ID"),
        ("{kind: cloudflare, zone_id: a}", "CLOUDFLARE_API_TOKEN"),
        ("{kind: bind}", "rfc2136"),
    ] {
        user.configure(&format!("publisher: {wrong}"));
        let failed = user
            .run(&["identity", "publish"])
            .expect(1)
            .warns("publisher")
            .warns(word);
        assert!(!failed.stderr.contains(&secret));
    }
}

#[test]
fn records_go_into_the_files_of_local_name_servers() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "alice");
    user.run(&[
        "init",
        "alice",
        "--domain",
        ZONE,
        "--dns-resolvers",
        "127.0.0.1:9",
        "--no-probe-local-dns",
    ])
    .expect(0);
    let soa = format!("{ZONE}. 60 IN SOA ns.{ZONE}. host.{ZONE}. 1 3600 600 86400 1\n");
    fs::write(dir.path().join("zone"), soa).unwrap();
    user.configure(
        "publisher:\n- {kind: zone-file, file: ../zone}\n- {kind: dnsmasq, file: ../dnsmasq.conf}",
    );
    user.run(&["identity", "refresh-prekeys", "--count", "2"])
        .expect(0)
        .says("published 2/2 prekeys to ");
    let zone = fs::read_to_string(dir.path().join("zone")).unwrap();
    assert!(
        zone.contains(" 2 3600 ") && zone.matches("v=dmp1;t=prekey").count() == 2,
        "{zone}"
    );
    let options = fs::read_to_string(dir.path().join("dnsmasq.conf")).unwrap();
    assert_eq!(
        options.matches("txt-record=prekeys.id-").count(),
        2,
        "{options}"
    );
}
