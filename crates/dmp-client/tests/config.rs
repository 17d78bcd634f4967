//! `config.yaml`: the vectors of client.md 3 and what a rewrite must keep.

use std::fs;
use std::path::PathBuf;

use dmp_client::config::{Config, ContactEntry, TrustPolicy, YamlValue, normalize_endpoint};
use serde_json::{Value, json};

fn vector(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn as_json(config: &Config) -> Value {
    let yaml: YamlValue = yaml_serde::from_str(&config.to_yaml().unwrap()).unwrap();
    serde_json::to_value(yaml).unwrap()
}

/// What we read differently from the reference, on purpose: null and numbers in text keys, and a quoted "false".
fn expectation(label: &str, key: &str, value: &Value) -> Value {
    match (label, key, value) {
        ("nulls", "username" | "identity_domain", Value::Null) => json!(""),
        ("username numeric", "username", Value::Number(number)) => json!(number.to_string()),
        (_, "contacts", Value::Object(contacts)) => contacts
            .iter()
            .map(|(label, entry)| {
                let mut entry = entry.clone();
                if entry["remote_username"] == "" {
                    entry.as_object_mut().unwrap().remove("remote_username");
                }
                (label.clone(), entry)
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => value.clone(),
    }
}

#[test]
fn the_loader_vectors_hold() {
    let defaults: Value =
        serde_json::from_str(&vector("state-files/config-defaults.json")).unwrap();
    let file: Value = serde_json::from_str(&vector("config-loader.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 15);
    for case in cases {
        let label = case["label"].as_str().unwrap();
        let loaded = Config::from_yaml(case["yaml"].as_str().unwrap());
        let refused = case["result"].get("error").is_some() || label == "booleans yaml 1.1";
        if refused {
            assert!(loaded.is_err(), "{label}");
            continue;
        }
        let mut expected = defaults.clone();
        for (key, value) in case["result"]["non_default"].as_object().unwrap() {
            expected[key] = expectation(label, key, value);
        }
        let mut got = as_json(&loaded.unwrap_or_else(|error| panic!("{label}: {error}")));
        if label == "unknown keys ignored" {
            assert_eq!(
                got.as_object_mut().unwrap().remove("future_key"),
                Some(json!(7))
            );
        }
        assert_eq!(got, expected, "{label}");
    }
}

#[test]
fn the_words_of_yaml_1_1_are_booleans_and_a_quoted_false_is_refused() {
    let config = Config::from_yaml(
        "allow_tofu: yes\nrecv_secondary_disable: on\ndnssec_required: 1\ncluster_enabled: Off\n",
    )
    .unwrap();
    assert!(
        config.allow_tofu
            && config.recv_secondary_disable
            && config.dnssec_required
            && !config.cluster_enabled
    );
    let error = Config::from_yaml("cluster_enabled: \"false\"\n")
        .unwrap_err()
        .to_string();
    assert!(error.contains("cluster_enabled"), "{error}");
}

#[test]
fn defaults_are_the_references() {
    let defaults: Value =
        serde_json::from_str(&vector("state-files/config-defaults.json")).unwrap();
    assert_eq!(defaults.as_object().unwrap().len(), 34);
    assert_eq!(as_json(&Config::default()), defaults);
}

#[test]
fn a_file_of_the_reference_is_rewritten_byte_for_byte() {
    let text = vector("state-files/config.yaml");
    let config = Config::from_yaml(&text).unwrap();
    assert_eq!(config.to_yaml().unwrap(), text);
    assert_eq!(config.contacts["bob@beta.test"].domain, "beta.test");
    assert_eq!(config.contacts["dave"].signing, "");
    assert_eq!(
        config.contacts["intro-32bb4dd859e6"]
            .remote_username
            .as_deref(),
        Some("")
    );
}

#[test]
fn unknown_keys_survive_at_the_top_and_inside_contacts() {
    let text = "future_key: [1, {a: b}]\nusername: a\ncontacts:\n  bob: {pub: aa, colour: blue}\n";
    let again = Config::from_yaml(&Config::from_yaml(text).unwrap().to_yaml().unwrap()).unwrap();
    assert_eq!(
        again.unknown["future_key"],
        yaml_serde::from_str::<YamlValue>("[1, {a: b}]").unwrap()
    );
    assert_eq!(
        again.contacts["bob"].unknown["colour"],
        YamlValue::from("blue")
    );
}

#[test]
fn the_last_of_a_repeated_key_wins_also_among_contacts() {
    let config = Config::from_yaml(
        "domain: a.test\ncontacts: {bob: aa, bob: {pub: bb, pub: cc}}\ndomain: b.test\n",
    )
    .unwrap();
    assert_eq!(config.domain, "b.test");
    assert_eq!(
        config.contacts["bob"],
        ContactEntry {
            agreement: "cc".into(),
            ..ContactEntry::default()
        }
    );
}

#[test]
fn text_that_looks_like_a_number_keeps_every_digit() {
    let salt = "1234567890123456789012345678901234567890123456789012345678901e10";
    let config = Config::from_yaml(&format!("kdf_salt: {salt}\nverify_pubkey: 0012\n")).unwrap();
    assert_eq!(config.kdf_salt, salt);
    let again = Config::from_yaml(&config.to_yaml().unwrap()).unwrap();
    assert_eq!(
        (again.kdf_salt.as_str(), again.verify_pubkey.as_str()),
        (salt, "0012")
    );
}

#[test]
fn own_keys_are_written_only_where_set() {
    assert!(!Config::default().to_yaml().unwrap().contains("message_ttl"));
    let text = "message_ttl: \"3600\"\nprovider_seeds: []\nrequire_forward_secrecy: true\nrotation_chain_enabled: off\n";
    let config = Config::from_yaml(text).unwrap();
    assert_eq!(
        (
            config.default_message_ttl(),
            config.requires_forward_secrecy(),
            config.follows_rotations()
        ),
        (3600, true, false)
    );
    assert_eq!(config.provider_seeds, Some(Vec::new()));
    assert_eq!(
        Config::from_yaml(&config.to_yaml().unwrap()).unwrap(),
        config
    );
    let defaults = Config::default();
    assert_eq!(
        (
            defaults.default_message_ttl(),
            defaults.requires_forward_secrecy(),
            defaults.follows_rotations()
        ),
        (86_400, false, true)
    );
}

#[test]
fn a_bad_value_is_an_error_that_names_its_key() {
    for (text, key) in [
        ("dns_port: abc", "dns_port"),
        ("tsig_dns_port: 70000", "tsig_dns_port"),
        ("username: [a]", "username"),
        ("contacts: 5", "contacts"),
    ] {
        let error = Config::from_yaml(text).unwrap_err().to_string();
        assert!(error.contains(key), "{text}: {error}");
    }
}

#[test]
fn the_cluster_moves_the_mesh_zone_only_while_enabled() {
    let mut config = Config {
        cluster_base_domain: "Mesh.Test.".into(),
        cluster_operator_spk: "aa".into(),
        domain: "home.test".into(),
        ..Config::default()
    };
    assert_eq!(config.mesh_zone().unwrap().as_str(), "home.test");
    config.cluster_enabled = true;
    assert_eq!(config.mesh_zone().unwrap().as_str(), "mesh.test");
}

#[test]
fn the_own_address_prefers_the_identity_zone() {
    let mut config = Config {
        username: "alice".into(),
        domain: "mesh.test".into(),
        ..Config::default()
    };
    assert_eq!(
        config.own_address().unwrap().unwrap().to_string(),
        "alice@mesh.test"
    );
    config.identity_domain = "alice.example".into();
    assert_eq!(
        config.own_address().unwrap().unwrap().to_string(),
        "alice@alice.example"
    );
    config.username = "Al ice".into();
    assert!(config.own_address().unwrap().is_none());
}

#[test]
fn endpoints_get_a_scheme_and_lose_trailing_slashes() {
    for (text, expected) in [
        (" node.test/ ", "https://node.test"),
        ("http://n.test:8053//", "http://n.test:8053"),
        ("", ""),
    ] {
        assert_eq!(normalize_endpoint(text), expected);
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let config = Config {
        http_token: Some("secret-token".into()),
        tsig_secret_hex: "aabbcc".into(),
        ..Config::default()
    };
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("secret-token") && !shown.contains("aabbcc"),
        "{shown}"
    );
}

#[test]
fn the_trust_policy_decides_alone_where_it_is_set_and_else_the_switch_of_the_reference() {
    let policy = |text: &str| Config::from_yaml(text).map(|config| config.trust_policy());
    assert_eq!(policy("").unwrap(), TrustPolicy::Notify);
    assert_eq!(policy("allow_tofu: true").unwrap(), TrustPolicy::Tofu);
    assert_eq!(
        policy("allow_tofu: true\ntrust_policy: notify").unwrap(),
        TrustPolicy::Notify
    );
    assert_eq!(
        policy("trust_policy: verified-only").unwrap(),
        TrustPolicy::VerifiedOnly
    );
    let wrong = policy("trust_policy: Tofu").unwrap_err();
    assert!(
        wrong.to_string().contains("tofu, notify or verified-only"),
        "{wrong}"
    );
}
