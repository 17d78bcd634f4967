//! Clusters (federation.md 4, 12): quorum, union, routing, refresh and pins over nodes that are imagined.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmp_client::cluster::{
    Anchor, Cluster, ClusterClaims, CompositeReader, FetchError, Health, InstallError, Installed,
    NodeHealth, Refresh, RefreshError, Refreshed, Transports, fetch,
};
use dmp_client::error::WriteError;
use dmp_client::floors::{FloorError, Floors};
use dmp_client::home::Home;
use dmp_client::mesh::{
    Applied, Capacity, ClaimNotice, ClaimSender, Lookup, Message, Operation, Pending, Reader,
    UpdateTarget, Writer,
};
use dmp_client::ops::{ReceiveRequest, SendRequest, Session, receive, send};
use dmp_client::writer::MemoryZone;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::name::{DomainName, Zone};
use dmp_core::owner::{OwnerName, identity_owner_hashed};
use dmp_core::record::{ClusterManifest, ClusterNode};
use dmp_core::signed::Verified;
use tokio::time::{Instant, sleep};

use crate::world::{CountingRng, NOW, Person, World, run, texts, vectors};

const BASE: &str = "mesh.test";

/// A node of the imagination.
struct Node {
    zone: MemoryZone,
    manner: Mutex<Manner>,
    /// What it took, in order.
    taken: Mutex<Vec<Operation>>,
}

/// How it behaves at the moment.
#[derive(Clone, Default)]
struct Manner {
    /// Before it takes a write.
    write_time: Duration,
    /// Before it answers a query.
    read_time: Duration,
    refuses: Option<WriteError>,
    is_mute: bool,
}

/// All nodes by their HTTP endpoint, and how they are reached.
#[derive(Clone)]
struct Machines {
    world: Arc<World>,
    nodes: Arc<Mutex<BTreeMap<String, Arc<Node>>>>,
    /// Endpoints that no transport can be made for, by the side that fails.
    unusable: Arc<Mutex<BTreeSet<(String, Side)>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Write,
    Read,
}

impl Machines {
    fn new() -> Self {
        Self {
            world: World::new(),
            nodes: Arc::default(),
            unusable: Arc::default(),
        }
    }

    fn at(&self, endpoint: &str) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap();
        let node = nodes.entry(endpoint.to_owned()).or_insert_with(|| {
            Arc::new(Node {
                zone: MemoryZone::new(self.world.clock.clone()),
                manner: Mutex::default(),
                taken: Mutex::default(),
            })
        });
        Arc::clone(node)
    }

    fn cluster(&self, manifest: Verified<ClusterManifest>) -> Result<Cluster, InstallError> {
        Cluster::new(manifest, Box::new(self.clone()), self.world.clock.clone())
    }

    /// A cluster of `count` nodes `a`, `b`, ... and those nodes.
    fn of(count: usize) -> (Self, Cluster, Vec<Arc<Node>>) {
        let machines = Self::new();
        let ids = &["a", "b", "c", "d", "e"][..count];
        let cluster = machines.cluster(manifest(1, ids)).unwrap();
        let nodes = ids.iter().map(|id| machines.at(&endpoint(id))).collect();
        (machines, cluster, nodes)
    }
}

impl Transports for Machines {
    fn writer(&self, node: &ClusterNode, _: &ClusterManifest) -> Result<Arc<dyn Writer>, String> {
        self.check(node, Side::Write)?;
        Ok(self.at(&node.http_endpoint))
    }

    fn reader(&self, node: &ClusterNode) -> Result<Arc<dyn Reader>, String> {
        self.check(node, Side::Read)?;
        Ok(self.at(&node.http_endpoint))
    }
}

impl Machines {
    fn check(&self, node: &ClusterNode, side: Side) -> Result<(), String> {
        let unusable = self.unusable.lock().unwrap();
        match unusable.contains(&(node.http_endpoint.clone(), side)) {
            true => Err("nobody can reach that".to_owned()),
            false => Ok(()),
        }
    }
}

impl Node {
    fn manner(&self) -> Manner {
        self.manner.lock().unwrap().clone()
    }

    fn be(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }

    fn refuse(&self, error: WriteError) {
        self.be(|manner| manner.refuses = Some(error));
    }

    fn has(&self, owner: &OwnerName) -> Vec<String> {
        self.zone.query(owner.as_str())
    }
}

impl Writer for Node {
    fn capacity(&self) -> Capacity {
        Capacity::One
    }

    fn apply<'a>(&'a self, operations: &'a [Operation]) -> Pending<'a, Applied> {
        Box::pin(async move {
            let Manner {
                write_time,
                refuses,
                ..
            } = self.manner();
            sleep(write_time).await;
            let outcome = match refuses {
                Some(error) => Err(error),
                None => {
                    self.taken.lock().unwrap().extend_from_slice(operations);
                    self.zone.apply(operations).await.into_result()
                }
            };
            Applied {
                messages: vec![Message {
                    operations: 0..operations.len(),
                    bytes: 0,
                    outcome,
                }],
            }
        })
    }
}

impl Reader for Node {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        Box::pin(async move {
            let Manner {
                read_time, is_mute, ..
            } = self.manner();
            sleep(read_time).await;
            if is_mute {
                return Lookup::Unreachable("refused".to_owned());
            }
            match self.zone.query(owner.as_str()) {
                values if values.is_empty() => Lookup::Absent,
                values => Lookup::Found(values),
            }
        })
    }
}

fn operator() -> OperatorKey {
    OperatorKey::from_ed25519_seed([7; 32])
}

fn anchor() -> Anchor {
    Anchor {
        base: DomainName::parse(BASE).unwrap(),
        operator: operator().public(),
    }
}

fn endpoint(id: &str) -> String {
    format!("http://{id}.test:8053")
}

fn node(id: &str, endpoint: &str) -> ClusterNode {
    ClusterNode {
        id: id.to_owned(),
        http_endpoint: endpoint.to_owned(),
        dns_endpoint: Some(format!("{id}.dns.test:5353")),
    }
}

fn signed(seq: u64, exp: UnixTime, nodes: Vec<ClusterNode>) -> String {
    let manifest = ClusterManifest {
        seq,
        exp,
        operator: operator().public(),
        name: DomainName::parse(BASE).unwrap(),
        nodes,
    };
    manifest.sign(&operator()).unwrap()
}

fn verified(wire: &str) -> Verified<ClusterManifest> {
    ClusterManifest::parse(wire, &operator().public(), None, NOW).unwrap()
}

/// Nodes at their usual endpoints, for a day.
fn wire(seq: u64, ids: &[&str]) -> String {
    let nodes = ids.iter().map(|id| node(id, &endpoint(id))).collect();
    signed(seq, NOW.saturating_add(86_400), nodes)
}

fn manifest(seq: u64, ids: &[&str]) -> Verified<ClusterManifest> {
    verified(&wire(seq, ids))
}

fn owner(user: &str) -> OwnerName {
    identity_owner_hashed(user, &Zone::parse(BASE).unwrap())
}

fn add(value: &str) -> Operation {
    Operation::Add {
        owner: owner("alice"),
        ttl: 60,
        value: value.to_owned(),
    }
}

fn delete(value: &str) -> Operation {
    Operation::DeleteValue {
        owner: owner("alice"),
        value: value.to_owned(),
    }
}

async fn write(cluster: &Cluster, operation: Operation) -> Result<(), WriteError> {
    cluster.writer().apply(&[operation]).await.into_result()
}

fn unreachable() -> WriteError {
    WriteError::Unreachable("connection refused".to_owned())
}

fn refusal(reason: &str, ttl_cap: Option<u64>) -> WriteError {
    WriteError::Refused {
        reason: reason.to_owned(),
        ttl_cap,
    }
}

fn health_of(cluster: &Cluster, id: &str) -> NodeHealth {
    let mut all = cluster.health().into_iter();
    all.find(|known| known.node.id == id).unwrap()
}

#[test]
fn half_of_the_nodes_rounded_up_have_to_take_a_write_or_a_deletion() {
    run(async {
        for (count, quorum) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
            for failing in 0..=count {
                let (_, cluster, nodes) = Machines::of(count);
                for node in &nodes[..failing] {
                    node.refuse(unreachable());
                }
                for operation in [add("v=dmp1;x"), delete("v=dmp1;x"), delete("absent")] {
                    let outcome = write(&cluster, operation).await;
                    let enough = count - failing >= quorum;
                    assert_eq!(outcome.is_ok(), enough, "{failing} of {count} fail");
                }
            }
        }
    });
}

#[test]
fn a_write_is_done_with_the_quorum_and_slow_nodes_finish_behind_it() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        nodes[1].be(|manner| manner.write_time = Duration::from_millis(200));
        nodes[2].be(|manner| manner.write_time = Duration::from_secs(8));
        let begun = Instant::now();
        write(&cluster, add("v=dmp1;x")).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_millis(200));
        assert!(nodes[2].has(&owner("alice")).is_empty());
        assert_eq!(health_of(&cluster, "c").writes, Health::default());
        sleep(Duration::from_secs(8)).await;
        assert_eq!(nodes[2].has(&owner("alice")), ["v=dmp1;x"]);
        assert!(health_of(&cluster, "c").writes.last_success.is_some());
        assert_eq!(cluster.outcomes().take_failures(), []);
    });
}

#[test]
fn without_a_quorum_a_write_fails_after_five_seconds_and_says_what_each_node_did() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        nodes[0].refuse(unreachable());
        nodes[1].be(|manner| manner.write_time = Duration::from_secs(60));
        let begun = Instant::now();
        let failure = write(&cluster, add("v=dmp1;x")).await.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert_eq!(
            failure.to_string(),
            "no answer: connection refused (node a); no answer in time (node b); 1 of 3 nodes took it, and 2 have to"
        );
        assert_eq!(
            nodes[2].has(&owner("alice")),
            ["v=dmp1;x"],
            "nothing is undone"
        );
    });
}

#[test]
fn what_enough_nodes_refuse_is_refused_and_what_may_still_come_is_not() {
    run(async {
        let verdict = async |failures: &[WriteError]| {
            let (_, cluster, nodes) = Machines::of(3);
            for (node, failure) in nodes.iter().zip(failures) {
                node.refuse(failure.clone());
            }
            write(&cluster, add("v=dmp1;x")).await.unwrap_err()
        };
        let busy = WriteError::ServerFailure("HTTP 429".into());
        let forbidden = WriteError::NotAuthorised("HTTP 403 — forbidden".into());
        let [high, low] = [("3600", 3_600), ("300", 300)]
            .map(|(text, cap)| refusal(&format!("ttl exceeds cap of {text}s"), Some(cap)));

        // Two refuse: the third could not help. The lowest cap is one that all take.
        let refused = verdict(&[high.clone(), low.clone(), unreachable()]).await;
        assert!(
            matches!(&refused, WriteError::Refused { ttl_cap: Some(300), reason } if reason.contains("node c")),
            "{refused}"
        );
        // One refuses and one is away: with that one there would be two.
        let away = verdict(&[high.clone(), unreachable()]).await;
        assert!(matches!(away, WriteError::Unreachable(_)), "{away}");
        let waits = verdict(&[busy, unreachable()]).await;
        assert!(matches!(waits, WriteError::ServerFailure(_)), "{waits}");
        let refused = verdict(&[forbidden.clone(), forbidden.clone(), low]).await;
        assert!(matches!(refused, WriteError::Refused { .. }), "{refused}");
        let nobody = verdict(&[forbidden.clone(), forbidden]).await;
        assert!(
            matches!(&nobody, WriteError::NotAuthorised(reason) if reason.starts_with("HTTP 403")),
            "{nobody}"
        );
    });
}

#[test]
fn a_minority_that_fails_is_told_by_name_and_its_health_recovers() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        nodes[1].refuse(unreachable());
        for _ in 0..2 {
            write(&cluster, add("v=dmp1;x")).await.unwrap();
        }
        cluster.settle(Duration::from_secs(1)).await;
        let told = cluster.outcomes().take_failures();
        assert_eq!(told, [("cluster node b".to_owned(), unreachable())]);
        let known = health_of(&cluster, "b").writes;
        assert_eq!(known.failures, 2);
        assert_eq!(
            known.error.as_deref(),
            Some("no answer: connection refused")
        );
        assert_eq!(known.last_failure, Some(NOW));

        nodes[1].be(|manner| manner.refuses = None);
        write(&cluster, add("v=dmp1;y")).await.unwrap();
        cluster.settle(Duration::from_secs(1)).await;
        let known = health_of(&cluster, "b").writes;
        assert_eq!((known.failures, known.error), (0, None));
        assert_eq!(cluster.outcomes().take_failures(), []);
    });
}

#[test]
fn a_command_that_is_done_gives_slow_nodes_a_moment_and_tells_who_needed_more() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        nodes[1].be(|manner| manner.write_time = Duration::from_millis(500));
        nodes[2].be(|manner| manner.write_time = Duration::from_secs(9));
        let first = Operation::Add {
            owner: owner("bob"),
            ttl: 60,
            value: "v=dmp1;b".to_owned(),
        };
        nodes[2].refuse(unreachable());
        write(&cluster, first).await.unwrap();
        let begun = Instant::now();
        cluster.settle(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let told = cluster.outcomes().take_failures();
        let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cluster node c"]);
        assert!(told[0].1.to_string().contains("not answered yet"));
        let begun = Instant::now();
        cluster.settle(Duration::from_secs(60)).await;
        assert_eq!(
            begun.elapsed(),
            Duration::from_millis(7_500),
            "it ends with the last write"
        );
    });
}

#[test]
fn a_slow_node_sees_the_writes_at_a_name_in_their_order_and_names_do_not_wait_for_each_other() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        nodes[2].be(|manner| manner.write_time = Duration::from_secs(3));
        write(&cluster, add("v=dmp1;x")).await.unwrap();
        write(&cluster, delete("v=dmp1;x")).await.unwrap();
        nodes[2].be(|manner| manner.write_time = Duration::from_millis(1));
        write(&cluster, add("v=dmp1;x")).await.unwrap();
        let other = Operation::Add {
            owner: owner("bob"),
            ttl: 60,
            value: "v=dmp1;b".to_owned(),
        };
        write(&cluster, other.clone()).await.unwrap();
        cluster.settle(Duration::from_secs(60)).await;
        assert_eq!(
            *nodes[2].taken.lock().unwrap(),
            [other, add("v=dmp1;x"), delete("v=dmp1;x"), add("v=dmp1;x")]
        );
        assert_eq!(nodes[2].has(&owner("alice")), ["v=dmp1;x"]);
    });
}

#[test]
fn only_a_live_manifest_with_a_higher_seq_is_installed_and_all_of_it_or_nothing() {
    run(async {
        let machines = Machines::new();
        let dead = signed(1, NOW, vec![node("a", &endpoint("a"))]);
        let dead = verified(&dead);
        sleep(Duration::from_secs(1)).await;
        assert!(matches!(
            machines.cluster(dead.clone()),
            Err(InstallError::Expired(_))
        ));

        let cluster = machines.cluster(manifest(5, &["a"])).unwrap();
        for seq in [4, 5] {
            let kept = cluster.install(manifest(seq, &["b"]));
            assert_eq!(kept, Ok(Installed::Kept));
        }
        let dead = verified(&signed(9, NOW, vec![node("b", &endpoint("b"))]));
        assert!(matches!(
            cluster.install(dead),
            Err(InstallError::Expired(_))
        ));

        for side in [Side::Write, Side::Read] {
            let bad = (endpoint("bad"), side);
            machines.unusable.lock().unwrap().insert(bad.clone());
            let refused = cluster.install(manifest(6, &["a", "b", "bad"]));
            assert!(matches!(refused, Err(InstallError::Node { id, .. }) if id == "bad"));
            assert_eq!(cluster.manifest().seq, 5);
            write(&cluster, add("v=dmp1;x")).await.unwrap();
            assert!(machines.at(&endpoint("b")).has(&owner("alice")).is_empty());
            machines.unusable.lock().unwrap().remove(&bad);
        }
        let moved = cluster.install(manifest(6, &["a", "b"]));
        assert_eq!(moved, Ok(Installed::Moved));
        write(&cluster, add("v=dmp1;x")).await.unwrap();
        cluster.settle(Duration::from_secs(1)).await;
        assert_eq!(
            machines.at(&endpoint("b")).has(&owner("alice")),
            ["v=dmp1;x"]
        );
    });
}

#[test]
fn health_survives_a_move_of_a_node_and_late_answers_from_the_old_place_do_not_touch_it() {
    run(async {
        let (machines, cluster, nodes) = Machines::of(3);
        nodes[0].refuse(unreachable());
        nodes[1].refuse(unreachable());
        write(&cluster, add("v=dmp1;x")).await.unwrap_err();
        cluster.settle(Duration::from_secs(9)).await;
        // This one is still under way when node a moves.
        nodes[0].be(|manner| manner.write_time = Duration::from_secs(4));
        nodes[1].be(|manner| manner.refuses = None);
        write(&cluster, add("v=dmp1;y")).await.unwrap();
        let moved = vec![
            node("a", "http://elsewhere.test"),
            node("b", &endpoint("b")),
        ];
        let moved = signed(2, NOW.saturating_add(3_600), moved);
        assert_eq!(cluster.install(verified(&moved)), Ok(Installed::Moved));
        let before = health_of(&cluster, "a").writes;
        assert_eq!(before.failures, 1);
        cluster.settle(Duration::from_secs(9)).await;
        assert_eq!(health_of(&cluster, "a").writes, before);

        assert_eq!(health_of(&cluster, "b").writes.failures, 0);
        write(&cluster, add("v=dmp1;z")).await.unwrap();
        cluster.settle(Duration::from_secs(9)).await;
        let elsewhere = machines.at("http://elsewhere.test");
        assert_eq!(elsewhere.has(&owner("alice")), ["v=dmp1;z"]);
        assert_eq!(health_of(&cluster, "a").writes.failures, 0);
        assert_eq!(cluster.health().len(), 2, "node c is gone");
    });
}

#[test]
fn what_any_node_has_is_there_once_in_the_order_of_the_answers() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        let alice = owner("alice");
        let read = || async { cluster.reader().txt(&alice).await };
        assert_eq!(read().await, Lookup::Absent, "all say so");

        for (node, values, time) in [(0, ["1", "2"], 30), (1, ["2", "3"], 10)] {
            for value in values {
                nodes[node].zone.publish(alice.as_str(), value, 60);
            }
            nodes[node].be(|manner| manner.read_time = Duration::from_millis(time));
        }
        let found = |values: &[&str]| Lookup::Found(values.iter().map(|v| (*v).into()).collect());
        assert_eq!(read().await, found(&["2", "3", "1"]), "one is absent");

        nodes[0].be(|manner| manner.is_mute = true);
        assert_eq!(read().await, found(&["2", "3"]), "one fails");
        let known = health_of(&cluster, "a").reads;
        assert_eq!(
            (known.failures, known.error.as_deref()),
            (1, Some("refused"))
        );
        assert_eq!(
            health_of(&cluster, "c").reads.failures,
            0,
            "absent is healthy"
        );

        // A slow one is waited for, but not for ever.
        nodes[0].be(|manner| *manner = Manner::default());
        nodes[1].be(|manner| manner.read_time = Duration::from_secs(4));
        let begun = Instant::now();
        assert_eq!(read().await, found(&["1", "2", "3"]));
        assert_eq!(begun.elapsed(), Duration::from_secs(4));
        nodes[1].be(|manner| manner.read_time = Duration::from_secs(40));
        let begun = Instant::now();
        assert_eq!(read().await, found(&["1", "2"]));
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert_eq!(health_of(&cluster, "b").reads.failures, 1);
    });
}

#[test]
fn a_cluster_that_cannot_be_asked_is_not_an_absent_record() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        nodes[0].be(|manner| manner.is_mute = true);
        nodes[1].be(|manner| manner.read_time = Duration::from_secs(60));
        let alice = owner("alice");
        assert_eq!(cluster.reader().txt(&alice).await, Lookup::Absent);
        nodes[2].be(|manner| manner.is_mute = true);
        assert_eq!(
            cluster.reader().txt(&alice).await,
            Lookup::Unreachable(
                "node a: refused; node c: refused; node b: no answer in time".into()
            )
        );
    });
}

#[test]
fn names_in_the_base_domain_go_to_the_cluster_and_all_others_outside() {
    run(async {
        let world = World::new();
        let [inside, outside] = [(); 2].map(|()| Arc::new(MemoryZone::new(world.clock.clone())));
        let cases = vectors("fed_parsers.json");
        let mut seen = 0;
        for case in cases["under_domain"].as_array().unwrap() {
            let [name, base] = [0, 1].map(|index| case[index].as_str().unwrap());
            // A pinned base is never empty, and owner names are canonical.
            let (Ok(base), Ok(zone)) = (Zone::parse(base), Zone::parse(name)) else {
                continue;
            };
            let owner = identity_owner_hashed("alice", &zone);
            inside.publish(owner.as_str(), "inside", 60);
            outside.publish(owner.as_str(), "outside", 60);
            let reader = CompositeReader::new(base, inside.clone(), outside.clone());
            let expected = if case[2] == true { "inside" } else { "outside" };
            let found = Lookup::Found(vec![expected.to_owned()]);
            assert_eq!(reader.txt(&owner).await, found, "{case}");
            seen += 1;
        }
        assert!(seen > 6);
        // Neither stands in for the other.
        let base = Zone::parse(BASE).unwrap();
        let reader = CompositeReader::new(base, inside.clone(), outside.clone());
        let only_outside = owner("bob");
        outside.publish(only_outside.as_str(), "outside", 60);
        assert_eq!(reader.txt(&only_outside).await, Lookup::Absent);
    });
}

#[test]
fn the_manifest_of_an_rrset_is_the_highest_that_verifies_as_the_vectors_say() {
    run(async {
        let vectors = vectors("fed_manifest_select.json");
        let now = UnixTime::new(vectors["now"].as_u64().unwrap());
        let world = World::new();
        for case in vectors["cluster"].as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap();
            let anchor = Anchor::parse(text("base_domain"), text("pinned_public_hex")).unwrap();
            let zone = MemoryZone::new(world.clock.clone());
            for value in case["rrset"].as_array().unwrap() {
                zone.publish(anchor.owner().as_str(), value.as_str().unwrap(), 60);
            }
            let fetched = fetch(&zone, &anchor, &Floors::in_memory(), now).await;
            // Difference W28: a manifest without nodes is none.
            let expected = case["expect"]["seq"]
                .as_u64()
                .filter(|_| !text("name").starts_with("zero nodes"));
            match (fetched, expected) {
                (Ok(fetched), Some(seq)) => {
                    assert_eq!(fetched.manifest.seq, seq, "{}", text("name"));
                    let values = case["rrset"].as_array().unwrap();
                    assert!(values.iter().any(|value| *value == fetched.wire));
                }
                (Err(FetchError::Absent(_) | FetchError::Unusable { .. }), None) => {}
                (other, expected) => panic!("{}: {other:?}, not {expected:?}", text("name")),
            }
        }
    });
}

#[test]
fn an_older_manifest_is_refused_in_every_later_process() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let world = World::new();
        let zone = MemoryZone::new(world.clock.clone());
        let owner = anchor().owner();
        let look = || async { fetch(&zone, &anchor(), &Floors::of_home(&home), NOW).await };
        assert!(matches!(look().await, Err(FetchError::Absent(_))));
        zone.publish(owner.as_str(), &wire(7, &["a"]), 60);
        zone.publish(owner.as_str(), &wire(8, &["a", "b"]), 60);
        assert_eq!(look().await.unwrap().manifest.seq, 8);
        zone.delete_value(owner.as_str(), &wire(8, &["a", "b"]));
        match look().await {
            Err(FetchError::Floor {
                reason: FloorError::RolledBack { seq: 7, floor: 8 },
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
        // The key of another operator has a floor of its own, and expiry raises none.
        let other = Anchor {
            operator: OperatorKey::from_ed25519_seed([8; 32]).public(),
            ..anchor()
        };
        let foreign = fetch(&zone, &other, &Floors::of_home(&home), NOW).await;
        assert!(matches!(foreign, Err(FetchError::Unusable { .. })));
        let dead = signed(99, UnixTime::new(NOW.as_secs() - 1), vec![node("a", "h")]);
        zone.publish(owner.as_str(), &dead, 60);
        zone.publish(owner.as_str(), &wire(8, &["c"]), 60);
        assert_eq!(look().await.unwrap().manifest.seq, 8);
    });
}

/// A reader that can be switched off.
struct Source {
    zone: MemoryZone,
    is_mute: Mutex<bool>,
}

impl Reader for Source {
    fn txt<'a>(&'a self, owner: &'a OwnerName) -> Pending<'a, Lookup> {
        if *self.is_mute.lock().unwrap() {
            return Box::pin(async { Lookup::Unreachable("no network".to_owned()) });
        }
        self.zone.txt(owner)
    }
}

#[test]
fn a_refresh_moves_both_sides_or_none_and_a_failing_one_stops_no_later_one() {
    run(async {
        let machines = Machines::new();
        let cluster = machines.cluster(manifest(1, &["a"])).unwrap();
        let source = Arc::new(Source {
            zone: MemoryZone::new(machines.world.clock.clone()),
            is_mute: Mutex::new(true),
        });
        let hour = Duration::from_secs(3_600);
        let refresh = Refresh::new(
            cluster.clone(),
            anchor(),
            source.clone(),
            Floors::in_memory(),
            hour,
        );
        let place = anchor().owner();
        assert!(refresh.if_due().await.is_none(), "the interval has begun");
        sleep(hour).await;
        let failed = refresh.if_due().await.unwrap();
        assert!(matches!(
            failed,
            Err(RefreshError::Fetch(FetchError::Unreachable { .. }))
        ));
        assert!(refresh.if_due().await.is_none());

        *source.is_mute.lock().unwrap() = false;
        source
            .zone
            .publish(place.as_str(), &wire(2, &["a", "b"]), 86_400);
        for side in [Side::Write, Side::Read] {
            let bad = (endpoint("b"), side);
            machines.unusable.lock().unwrap().insert(bad.clone());
            sleep(hour).await;
            let failed = refresh.if_due().await.unwrap();
            assert!(matches!(failed, Err(RefreshError::Install { seq: 2, .. })));
            assert_eq!(cluster.health().len(), 1);
            machines.unusable.lock().unwrap().remove(&bad);
        }
        sleep(hour).await;
        let moved = refresh.if_due().await.unwrap();
        assert!(matches!(moved, Ok(Refreshed::Moved { seq: 2 })));
        write(&cluster, add("v=dmp1;x")).await.unwrap();
        cluster.settle(Duration::from_secs(1)).await;
        let b = machines.at(&endpoint("b"));
        assert_eq!(b.has(&owner("alice")), ["v=dmp1;x"], "writes go there");
        b.zone.publish(owner("bob").as_str(), "v=dmp1;b", 60);
        assert_eq!(
            cluster.reader().txt(&owner("bob")).await,
            Lookup::Found(vec!["v=dmp1;b".into()]),
            "and reads"
        );
        assert!(matches!(refresh.look().await, Ok(Refreshed::Kept)));

        // An older one, shown again, changes nothing.
        source.zone.delete_name(place.as_str());
        source
            .zone
            .publish(place.as_str(), &wire(1, &["z"]), 86_400);
        assert!(matches!(
            refresh.look().await,
            Err(RefreshError::Fetch(FetchError::Floor { .. }))
        ));
        assert_eq!(cluster.manifest().seq, 2);

        let never = Refresh::new(
            cluster.clone(),
            anchor(),
            source,
            Floors::in_memory(),
            Duration::ZERO,
        );
        sleep(hour * 24).await;
        assert!(never.if_due().await.is_none());
    });
}

/// What a person does through a cluster.
fn session<'a>(person: &'a Person, reader: &'a dyn Reader, writer: &'a dyn Writer) -> Session<'a> {
    Session {
        reader,
        writer,
        ..person.session()
    }
}

#[test]
fn with_a_node_away_messages_are_sent_and_read_and_with_two_away_the_send_waits() {
    run(async {
        let (machines, cluster, nodes) = Machines::of(3);
        let [alice, bob] = ["alice", "bob"].map(|name| machines.world.person(name, BASE));
        alice.pin(&bob);
        bob.pin(&alice);
        let (reader, writer) = (cluster.reader(), cluster.writer());
        let die = |node: &Node| {
            node.refuse(unreachable());
            node.be(|manner| manner.is_mute = true);
        };
        let request = |text: &'static str| SendRequest::new("bob@mesh.test", text.as_bytes());
        die(&nodes[0]);
        let mut rng = CountingRng(1);
        let sent = send(
            &session(&alice, &reader, &writer),
            &request("through two"),
            &mut rng,
        )
        .await;
        assert!(sent.is_ok(), "{sent:?}");
        cluster.settle(Duration::from_secs(1)).await;
        assert_eq!(cluster.outcomes().take_failures().len(), 1);
        let received = receive(&session(&bob, &reader, &writer), &ReceiveRequest::default())
            .await
            .unwrap();
        assert_eq!(texts(&received), ["through two"]);
        assert!(received.unreachable.is_empty());
        let numbers: Vec<_> = received.inbox.iter().map(|read| read.number).collect();
        bob.store.mark_shown(&numbers, NOW).unwrap();

        die(&nodes[1]);
        let sent = send(
            &session(&alice, &reader, &writer),
            &request("through one"),
            &mut rng,
        )
        .await;
        assert!(sent.is_err());
        die(&nodes[2]);
        let received = receive(&session(&bob, &reader, &writer), &ReceiveRequest::default())
            .await
            .unwrap();
        assert!(received.inbox.is_empty());
        assert_eq!(received.unreachable.len(), 1, "and the user is told");
    });
}

/// Takes claims at some servers only.
struct Servers {
    alive: BTreeSet<String>,
    asked: Mutex<Vec<String>>,
}

impl ClaimSender for &Servers {
    fn send<'a>(&'a self, notice: &'a ClaimNotice) -> Pending<'a, Result<(), WriteError>> {
        let host = notice.target.host.clone();
        let outcome = match self.alive.contains(&host) {
            true => Ok(()),
            false => Err(unreachable()),
        };
        self.asked.lock().unwrap().push(host);
        Box::pin(async { outcome })
    }
}

#[test]
fn a_claim_for_the_own_cluster_finds_a_node_that_is_there() {
    run(async {
        let (_, cluster, nodes) = Machines::of(3);
        let servers = Servers {
            alive: BTreeSet::from(["c.dns.test".to_owned()]),
            asked: Mutex::default(),
        };
        let zone = Zone::parse(BASE).unwrap();
        let claims = ClusterClaims::new(cluster.clone(), zone.clone(), &servers);
        let notice = |host: &str, zone: &Zone| ClaimNotice {
            target: UpdateTarget {
                host: host.to_owned(),
                port: Some(5353),
            },
            zone: zone.clone(),
            owner: owner("alice"),
            ttl: 60,
            value: "v=dmp1;t=claim;".to_owned(),
        };
        let asked = || std::mem::take(&mut *servers.asked.lock().unwrap());
        claims.send(&notice("a.dns.test", &zone)).await.unwrap();
        assert_eq!(asked(), ["a.dns.test", "b.dns.test", "c.dns.test"]);
        // Nodes that failed a moment ago come last.
        for node in &nodes[..2] {
            node.be(|manner| manner.is_mute = true);
        }
        cluster.reader().txt(&owner("alice")).await;
        claims.send(&notice("a.dns.test", &zone)).await.unwrap();
        assert_eq!(asked(), ["c.dns.test"]);
        // Other zones have nothing to do with it.
        let elsewhere = Zone::parse("elsewhere.test").unwrap();
        claims
            .send(&notice("ns.elsewhere.test", &elsewhere))
            .await
            .unwrap_err();
        assert_eq!(asked(), ["ns.elsewhere.test"]);
    });
}
