//! Heartbeat rounds and the list of known nodes against the vectors (federation.md 2.7 to 2.10, `fed_heartbeat_worker.json`).
//!
//! The differences from the vectors are those of federation.md 10: the zone of a node is always the one it signs (W12), and a
//! container's name is no zone (W17).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::record::heartbeat::{Heartbeat, Skew};
use dmp_node::context::Operation;
use dmp_node::federation::heartbeat::{Heart, Peer, Seen, Surroundings, Terms};
use dmp_node::federation::seed_zone;
use dmp_node::zone::Owner;
use serde_json::Value;

fn vectors() -> Value {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../vectors/fed_heartbeat_worker.json"
    ));
    serde_json::from_str(text).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| text(value).to_owned()).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn the_list_of_known_nodes_keeps_the_newest_heartbeat_of_each_and_is_bounded() {
    let vectors = vectors();
    let vectors = &vectors["seen_store"];
    let mut seen = Seen::new(number(&vectors["max_rows"]) as usize);
    let mut lists = 0;
    for step in vectors["steps"].as_array().unwrap() {
        let now = number(&step["now"]);
        if text(&step["op"]) == "accept" {
            let accepted = seen.accept(text(&step["wire"]), now);
            assert_eq!(accepted, step["accepted"].as_bool().unwrap(), "{now}");
            continue;
        }
        lists += 1;
        let limit = number(&step["limit"]) as usize;
        let listed: Vec<_> = seen.list(now, limit).into_iter().map(told).collect();
        let expected = step["result"].as_array().unwrap().iter();
        let expected: Vec<_> = expected
            .map(|row| {
                let (key, endpoint) = (text(&row["operator_spk_hex"]), text(&row["endpoint"]));
                (key.to_owned(), endpoint.to_owned(), number(&row["ts"]))
            })
            .collect();
        assert_eq!(listed, expected, "{now}");
        let mut zones = texts(&step["harvest_zones"]);
        for zone in zones.iter_mut().filter(|zone| *zone == "p1.example.com") {
            *zone = "one-new.example.com".to_owned(); // W12
        }
        let own: Vec<_> = seen
            .zones(now, limit)
            .iter()
            .map(Owner::to_string)
            .collect();
        assert_eq!(own, zones, "{now}");
    }
    assert!(lists > 5);
}

fn told(peer: &Peer) -> (String, String, u64) {
    let heartbeat = &peer.heartbeat;
    let endpoint = heartbeat.endpoint.to_string();
    (
        heartbeat.operator.to_string(),
        endpoint,
        heartbeat.ts.as_secs(),
    )
}

#[test]
fn what_is_stored_comes_back_at_any_age_and_every_change_is_told_once() {
    let vectors = vectors();
    let steps = vectors["seen_store"]["steps"].as_array().unwrap();
    let now = number(&steps[0]["now"]);
    let mut seen = Seen::new(10);
    for step in &steps[..2] {
        assert!(seen.accept(text(&step["wire"]), now));
    }
    let changes = seen.take_changes();
    assert_eq!(changes.len(), 2);
    assert!(seen.take_changes().is_empty());

    let mut restored = Seen::new(10);
    for peer in seen.list(now, 10) {
        restored.restore(
            &peer.wire,
            peer.received_at,
            peer.origin.clone(),
            now + 3_000,
        );
    }
    assert_eq!(restored.list(now, 10).len(), 2);
    let end = seen
        .list(now, 10)
        .iter()
        .map(|peer| peer.heartbeat.exp.as_secs())
        .max()
        .unwrap();
    seen.expire(end);
    assert!(seen.list(now, 10).is_empty());
    assert_eq!(seen.take_changes().len(), 2);
}

/// The DNS of the world, and the own zone.
#[derive(Default)]
struct World {
    rrsets: BTreeMap<String, Vec<String>>,
    own: Mutex<BTreeMap<String, Vec<String>>>,
    asked: Mutex<Vec<String>>,
    /// Values that one name of the own zone may hold.
    room: Option<usize>,
}

impl Surroundings for World {
    async fn ask(&self, name: &Owner) -> Option<Vec<String>> {
        let name = name.to_string();
        let values = self.rrsets.get(&name).cloned().unwrap_or_default();
        self.asked.lock().unwrap().push(name);
        (values != ["!"]).then_some(values)
    }

    fn values(&self, name: &Owner) -> Vec<String> {
        let own = self.own.lock().unwrap();
        own.get(&name.to_string()).cloned().unwrap_or_default()
    }

    async fn write(&self, operations: Vec<Operation>) -> Result<(), String> {
        let mut own = self.own.lock().unwrap();
        let mut after = own.clone();
        for operation in operations {
            match operation {
                Operation::Publish { owner, value, .. } => {
                    let values = after.entry(owner.to_string()).or_default();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                Operation::DeleteValue { owner, value } => {
                    let values = after.entry(owner.to_string()).or_default();
                    values.retain(|other| *other != value);
                }
                Operation::DeleteAll { .. } => panic!("an RRset may be shared and is never wiped"),
            }
        }
        if self
            .room
            .is_some_and(|room| after.values().any(|values| values.len() > room))
        {
            return Err("no room".to_owned());
        }
        after.retain(|_, values| !values.is_empty());
        *own = after;
        Ok(())
    }
}

impl World {
    fn of(rrsets: &Value, own: &Value) -> Self {
        let read = |value: &Value| -> BTreeMap<String, Vec<String>> {
            let names = value.as_object().unwrap().iter();
            names
                .map(|(name, values)| (name.clone(), rrset(values)))
                .collect()
        };
        Self {
            rrsets: read(rrsets),
            own: Mutex::new(read(own)),
            ..Self::default()
        }
    }

    fn own_sorted(&self) -> BTreeMap<String, Vec<String>> {
        let mut own = self.own.lock().unwrap().clone();
        own.values_mut().for_each(|values| values.sort());
        own
    }
}

/// The values, or the mark of a query that fails.
fn rrset(value: &Value) -> Vec<String> {
    match value.as_str() {
        Some(mark) => vec![mark.to_owned()],
        None => texts(value),
    }
}

fn key(vectors: &Value, name: &str) -> OperatorKey {
    let seed = hex::decode(text(&vectors["keys"][name]["seed_hex"])).unwrap();
    OperatorKey::from_ed25519_seed(seed.try_into().unwrap())
}

fn terms(vectors: &Value, config: &Value) -> Terms {
    let limit = |name: &str, default| {
        config[name]
            .as_u64()
            .map_or(default, |limit| limit as usize)
    };
    let seeds = config["seed_zones"]
        .as_array()
        .map(|_| texts(&config["seed_zones"]));
    Terms {
        endpoint: Endpoint::parse(text(&config["self_endpoint"])).unwrap(),
        key: Arc::new(key(vectors, "self")),
        version: text(&config["version"]).to_owned(),
        capabilities: number(&config["capabilities"]) as u16,
        zone: seed_zone(text(&config["dns_zone"])),
        ttl: number(&config["ttl_seconds"]),
        seeds: seeds
            .unwrap_or_default()
            .iter()
            .filter_map(|seed| seed_zone(seed))
            .collect(),
        most_zones: limit("max_peers", 25),
        most_passed_on: limit("max_seen_publish", 50),
    }
}

#[tokio::test]
async fn rounds_ask_and_publish_what_the_vectors_say() {
    let vectors = vectors();
    let cases = vectors["worker_ticks"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let name = text(&case["name"]);
        let base = number(&vectors["now_base"]);
        let mut seen = Seen::new(10_000);
        for wire in texts(&case["initially_seen_wires"]) {
            assert!(seen.accept(&wire, base), "{name}");
        }
        let world = World::of(&case["world_rrsets"], &case["initial_own_rrsets"]);
        let peers = texts(&case["cluster_peers"]);
        let peers: Vec<Owner> = peers.iter().filter_map(|peer| seed_zone(peer)).collect();
        let peers: Vec<Owner> = peers
            .into_iter()
            .filter(|peer| peer.label_count() > 1)
            .collect();
        let mut heart = Heart::new(terms(&vectors, &case["config"]), seen);
        for tick in case["ticks"].as_array().unwrap() {
            let now = number(&tick["now"]);
            world.asked.lock().unwrap().clear();
            let round = heart.beat(&world, &peers, now).await;
            let mut expected = texts(&tick["dns_queries_in_order"]);
            expected.retain(|asked| !asked.ends_with(".node-b")); // W17
            expected.retain(|asked| !asked.ends_with(".p1.example.com")); // W12: it signs the zone q1.example.com
            let asked = world.asked.lock().unwrap().clone();
            assert_eq!(asked, expected, "{name} at {now}");
            assert_eq!(
                round.answered as u64,
                number(&tick["zones_succeeded"]),
                "{name} at {now}"
            );
            assert_eq!(round.faults, Vec::<String>::new(), "{name} at {now}");
            let after = tick["own_rrsets_after"].as_object().unwrap().iter();
            let after: BTreeMap<_, _> = after
                .map(|(name, values)| (name.clone(), texts(values)))
                .collect();
            assert_eq!(world.own_sorted(), after, "{name} at {now}");
        }
    }
}

#[tokio::test]
async fn exactly_one_heartbeat_is_our_own_also_after_restarts_and_others_stay() {
    let vectors = vectors();
    let config = &vectors["worker_ticks"][0]["config"];
    let now = number(&vectors["now_base"]);
    let sibling = {
        let mut other = terms(&vectors, config);
        other.key = Arc::new(key(&vectors, "p7"));
        let heartbeat = Heartbeat {
            endpoint: other.endpoint.clone(),
            operator: other.key.public(),
            version: String::new(),
            capabilities: 0,
            claim_provider_zone: None,
            ts: UnixTime::new(now),
            exp: UnixTime::new(now + 80_000),
        };
        heartbeat.sign(&other.key).unwrap()
    };
    let name = "_dnsmesh-heartbeat.self.example.com".to_owned();
    let world = World {
        own: Mutex::new(BTreeMap::from([(
            name.clone(),
            vec![sibling.clone(), "junk".to_owned()],
        )])),
        ..World::default()
    };
    for start in 0..3 {
        let mut heart = Heart::new(terms(&vectors, config), Seen::new(10));
        for tick in 0..3 {
            heart
                .beat(&world, &[], now + start * 1_000 + tick * 300)
                .await;
            let values = world.own.lock().unwrap()[&name].clone();
            assert_eq!(values.len(), 3, "{values:?}");
            assert!(values.contains(&sibling) && values.contains(&"junk".to_owned()));
            let own = heart.terms().key.public();
            let ours = values.iter().filter(|value| {
                let at = UnixTime::new(now);
                Heartbeat::parse(value, Skew::Unlimited, at).is_ok_and(|beat| beat.operator == own)
            });
            assert_eq!(ours.count(), 1);
        }
    }
}

#[tokio::test]
async fn a_name_without_room_gets_what_fits_and_the_rest_is_told() {
    let vectors = vectors();
    let case = vectors["worker_ticks"].as_array().unwrap().iter();
    let case = case
        .clone()
        .find(|case| text(&case["name"]).starts_with("max_seen_publish"))
        .unwrap();
    let base = number(&vectors["now_base"]);
    let mut seen = Seen::new(100);
    for wire in texts(&case["initially_seen_wires"]) {
        assert!(seen.accept(&wire, base));
    }
    let mut terms = terms(&vectors, &case["config"]);
    terms.most_passed_on = 50;
    let world = World {
        room: Some(3),
        ..World::default()
    };
    let round = Heart::new(terms, seen).beat(&world, &[], base).await;
    assert_eq!(round.faults.len(), 2, "{:?}", round.faults);
    let own = world.own.lock().unwrap();
    assert_eq!(own["_dnsmesh-seen.self.example.com"].len(), 3);
}
