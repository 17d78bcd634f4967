//! `fed_claim_routing.json`: which providers a command uses and where their claims go. Differences from the vectors: old heartbeats of a
//! feed count (W12), no date in the future helps (W13), and the zones of providers are asked themselves (W13, W14).

use dmp_client::ops::{Provider, ProviderConfig, providers_find};
use dmp_core::endpoint::Endpoint;
use dmp_core::id::UnixTime;
use dmp_core::keys::OperatorKey;
use dmp_core::name::Zone;
use dmp_core::record::Heartbeat;
use serde_json::Value;

use crate::world::{NOW, Person, World, run, vectors};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The provider list configuration that a client's settings come to (federation.md 3.2).
fn config(case: &Value) -> Option<ProviderConfig> {
    let settings = &case["config"];
    let setting = |key: &str| settings[key].as_str().filter(|value| !value.is_empty());
    let zone = |text: &str| Zone::parse(text).ok();
    if let Some(url) = setting("claim_provider_override") {
        return Provider::fixed(url, setting("claim_provider_zone").and_then(zone).as_ref())
            .map(ProviderConfig::Fixed);
    }
    let host = setting("endpoint")
        .and_then(|url| Provider::fixed(url, None))
        .map(|provider| provider.zone);
    let candidates = [
        setting("cluster_base_domain").and_then(zone),
        setting("tsig_zone").and_then(zone),
        host,
    ];
    let mut zones: Vec<Zone> = Vec::new();
    for candidate in candidates.into_iter().flatten() {
        if !zones.contains(&candidate) {
            zones.push(candidate);
        }
    }
    let seed = Provider {
        zone: zone("dmp.dnsmesh.io").unwrap(),
        endpoint: "https://dnsmesh.io".into(),
    };
    Some(ProviderConfig::Discovered {
        candidates: zones,
        seeds: vec![seed],
    })
}

#[test]
fn the_provider_list_is_built_as_the_vectors_say_but_old_beats_of_a_feed_count() {
    let vectors = vectors("fed_claim_routing.json");
    for case in vectors["build"].as_array().unwrap() {
        let name = text(&case["name"]);
        run(async {
            let world = World::new();
            for (owner, values) in case["rrsets"].as_object().unwrap() {
                for value in values.as_array().unwrap() {
                    world.zone.publish(owner, text(value), 86_400);
                }
            }
            let expected: Vec<(String, String)> = case["expect_providers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| (text(&pair[0]).to_owned(), text(&pair[1]).to_owned()))
                .collect();
            let found = match config(case) {
                Some(config) => {
                    providers_find(&*world, &config, dmp_core::id::UnixTime::new(1_800_000_000))
                        .await
                }
                None => Vec::new(),
            };
            let found: Vec<_> = found
                .into_iter()
                .map(|provider| (provider.zone.to_string(), provider.endpoint))
                .collect();
            if name.starts_with("stale") {
                // A feed re-publishes beats of any age (D24): what the reference ignores here is used.
                assert_eq!(found.len(), expected.len() + 1, "{name}");
            } else {
                assert_eq!(found, expected, "{name}");
            }
            let mut asked = world.take_queries();
            // The nodes of the own zone and of the ranked providers are asked too (W13, W14).
            let beside = |query: &String| {
                let is_known = case["queries_in_order"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|known| known == query);
                !is_known && query.starts_with("_dnsmesh-heartbeat.")
            };
            asked.retain(|query| !beside(query));
            let mut queries: Vec<_> = case["queries_in_order"]
                .as_array()
                .unwrap()
                .iter()
                .map(|query| text(query).to_owned())
                .collect();
            asked.sort();
            queries.sort();
            assert_eq!(asked, queries, "{name}");
        });
    }
}

#[test]
fn the_three_newest_providers_of_a_feed_are_used_one_per_operator() {
    let vectors = vectors("fed_claim_routing.json");
    for case in vectors["select"].as_array().unwrap() {
        let name = text(&case["name"]);
        if case["k"].as_i64() != Some(3)
            || !case["override"].is_null()
            || case["now"].as_u64() != Some(1_800_000_000)
        {
            continue;
        }
        run(async {
            let world = World::new();
            let zone = Zone::parse("home.example").unwrap();
            for wire in case["wires"].as_array().unwrap() {
                world
                    .zone
                    .publish("_dnsmesh-seen.home.example", text(wire), 86_400);
            }
            let config = ProviderConfig::Discovered {
                candidates: vec![zone],
                seeds: Vec::new(),
            };
            let found =
                providers_find(&*world, &config, dmp_core::id::UnixTime::new(1_800_000_000)).await;
            let found: Vec<_> = found
                .into_iter()
                .map(|provider| (provider.zone.to_string(), provider.endpoint))
                .collect();
            let expected: Vec<_> = case["expect"]
                .as_array()
                .unwrap()
                .iter()
                .map(|provider| {
                    (
                        text(&provider["zone"]).to_owned(),
                        text(&provider["endpoint"]).to_owned(),
                    )
                })
                .filter(|(zone, _)| !zone.is_empty())
                .collect();
            assert_eq!(found, expected, "{name}");
        });
    }
}

#[test]
fn a_claim_goes_to_the_host_of_the_endpoint_else_to_the_zone() {
    let vectors = vectors("fed_claim_routing.json");
    for case in vectors["dns_target"].as_array().unwrap() {
        let Ok(zone) = Zone::parse(text(&case["zone"])) else {
            assert!(case["expect"].is_null(), "no provider without a zone");
            continue;
        };
        let target = Provider {
            zone,
            endpoint: text(&case["endpoint"]).to_owned(),
        }
        .target();
        assert_eq!(target.host, text(&case["expect"][0]));
        assert_eq!(target.port.unwrap_or(53), 53);
    }
}

/// A heartbeat of operator `number` for a zone, signed so many seconds ago, with or without the provider bit.
fn heartbeat(number: u8, zone: &str, age: i64, capabilities: u16) -> String {
    let key = OperatorKey::from_ed25519_seed([number; 32]);
    let ts = NOW.as_secs().saturating_add_signed(-age);
    let heartbeat = Heartbeat {
        endpoint: Endpoint::parse(&format!("https://{zone}")).unwrap(),
        operator: key.public(),
        version: String::new(),
        capabilities,
        claim_provider_zone: Some(zone.to_owned()),
        ts: UnixTime::new(ts),
        exp: UnixTime::new(ts + 80_000),
    };
    heartbeat.sign(&key).unwrap()
}

/// A world where `home.example` passes on these, each as (operator, zone, age, whether its own zone publishes it too).
fn feed(world: &World, beats: &[(u8, &str, i64, bool)]) {
    for (number, zone, age, is_published) in beats {
        let beat = heartbeat(*number, zone, *age, 1);
        world
            .zone
            .publish("_dnsmesh-seen.home.example", &beat, 80_000);
        if *is_published {
            let owner = format!("_dnsmesh-heartbeat.{zone}");
            world.zone.publish(&owner, &beat, 80_000);
        }
    }
}

fn discovered(candidates: &[&str]) -> ProviderConfig {
    let zones = candidates.iter().map(|zone| Zone::parse(zone).unwrap());
    ProviderConfig::Discovered {
        candidates: zones.collect(),
        seeds: Vec::new(),
    }
}

async fn found(world: &World) -> Vec<String> {
    let found = providers_find(world, &discovered(&["home.example"]), NOW).await;
    let zones = found.into_iter().map(|provider| provider.zone.to_string());
    zones.collect()
}

#[test]
fn a_provider_that_its_own_zone_speaks_for_comes_before_whoever_claims_to_be_newer() {
    run(async {
        let world = World::new();
        feed(
            &world,
            &[
                (1, "made-up.one", -300, false),
                (2, "made-up.two", -300, false),
                (3, "made-up.three", 0, false),
                (4, "real.four", 500, true),
                (5, "real.five", 90, true),
            ],
        );
        assert_eq!(
            found(&world).await,
            ["real.five", "real.four", "made-up.one"]
        );

        // One that does not take claims any more, and one whose zone is another operator's, are none.
        let world = World::new();
        feed(
            &world,
            &[(1, "moved.one", 10, false), (2, "stolen.two", 10, false)],
        );
        for (number, zone, capabilities) in [(1, "moved.one", 0), (9, "stolen.two", 1)] {
            let owner = format!("_dnsmesh-heartbeat.{zone}");
            let beat = heartbeat(number, zone, 5, capabilities);
            world.zone.publish(&owner, &beat, 80_000);
        }
        assert_eq!(found(&world).await, [""; 0]);
    });
}

#[test]
fn neither_many_keys_nor_many_names_nor_a_fast_clock_fill_the_list() {
    run(async {
        let world = World::new();
        feed(
            &world,
            &[
                // Ahead of time, three keys at one zone, three zones of one name, all of them answering.
                (1, "a.loud.example", -300, true),
                (2, "a.loud.example", -299, true),
                (3, "b.loud.example", -200, true),
                (4, "c.loud.example", -100, true),
                (5, "quiet.one", 120, true),
                (6, "quiet.two", 240, true),
            ],
        );
        assert_eq!(
            found(&world).await,
            ["a.loud.example", "quiet.one", "quiet.two"]
        );
        let asked = world.take_queries();
        assert!(asked.len() <= 2 + 6, "{asked:?}");
    });
}

#[test]
fn the_nodes_of_the_own_and_of_the_recipients_zone_are_where_both_sides_meet() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "home.example");
        let bob = world.person("bob", "far.example");
        alice.pin(&bob);
        for (number, zone) in [(1, "home.example"), (2, "far.example")] {
            let owner = format!("_dnsmesh-heartbeat.{zone}");
            let beat = heartbeat(number, zone, 20, 1);
            world.zone.publish(&owner, &beat, 80_000);
        }
        alice.profile.providers = discovered(&["home.example"]);
        let report = alice.send(&bob, "hello").await.unwrap();
        assert_eq!(report.provider_claims.sent, 2);
        let zones: Vec<String> = claimed(&world);
        assert_eq!(zones, ["far.example", "home.example"]);
    });
}

/// The zones of the claims since the last call, each once.
fn claimed(world: &World) -> Vec<String> {
    let claims = std::mem::take(&mut *world.claims.lock().unwrap());
    let mut zones: Vec<String> = claims.iter().map(|claim| claim.zone.to_string()).collect();
    zones.sort();
    zones.dedup();
    zones
}

#[test]
fn a_list_serves_for_some_minutes_and_loses_whoever_fails() {
    run(async {
        let world = World::new();
        let mut alice = world.person("alice", "home.example");
        let bob = world.person("bob", "home.example");
        alice.pin(&bob);
        feed(
            &world,
            &[(1, "good.one", 30, true), (2, "bad.two", 10, true)],
        );
        alice.profile.providers = discovered(&["home.example"]);
        let discovery = |world: &World| {
            let asked = world.take_queries();
            asked
                .iter()
                .filter(|name| name.starts_with("_dnsmesh-"))
                .count()
        };
        let send = async |alice: &mut Person| alice.send(&bob, "hello").await.unwrap();

        assert_eq!(send(&mut alice).await.provider_claims.sent, 2);
        assert!(discovery(&world) >= 4);
        assert_eq!(send(&mut alice).await.provider_claims.sent, 2);
        assert_eq!(discovery(&world), 0, "the list is known");

        world.kill("bad.two");
        let claims = send(&mut alice).await.provider_claims;
        assert_eq!((claims.sent, claims.tried), (1, 2));
        world.take_queries();
        let claims = send(&mut alice).await.provider_claims;
        assert_eq!((claims.sent, claims.tried), (1, 1), "it is not tried again");
        assert_eq!(discovery(&world), 0);

        // Later everybody is asked again, and who worked comes before who is merely newer.
        world.revive("bad.two");
        tokio::time::sleep(std::time::Duration::from_secs(301)).await;
        let claims = send(&mut alice).await.provider_claims;
        assert_eq!((claims.sent, claims.tried), (2, 2));
        assert!(discovery(&world) >= 4);
        let last = std::mem::take(&mut *world.claims.lock().unwrap());
        let last = &last[last.len() - 2..];
        assert_eq!(last[0].zone.as_str(), "good.one");
    });
}
