//! What is shipped beside the program says the same as the program: image, compose files, package, installer, operator's pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dmp_node::config::{self, ConfigFile};
use dmp_node::limits;
use yaml_serde::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pages() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs/operate")).unwrap();
    let mut pages: Vec<PathBuf> = pages.map(|page| page.unwrap().path()).collect();
    pages.push(root().join("README.md"));
    pages
}

/// The words of a text that are variables of this project.
fn variables(text: &str) -> BTreeSet<&str> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !is_word(character));
    words
        .filter(|word| word.starts_with("DMP_") && !word.ends_with('_'))
        .collect()
}

/// One node each.
const COMPOSE: [&str; 3] = ["compose.yaml", "compose.prod.yaml", "compose.caddy.yaml"];
const CLUSTER: &str = "compose.cluster.yaml";

/// The file as Compose reads it: with what `<<` merges in.
fn compose(file: &str) -> Value {
    let mut compose: Value = yaml_serde::from_str(&read(file)).unwrap();
    compose.apply_merge().unwrap();
    compose
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_sequence().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_variable_in_what_is_shipped_is_a_setting_of_the_node() {
    let reference = config::reference();
    let known = variables(&reference);
    let files = [
        "Dockerfile",
        "dist/image-root",
        "dist/Caddyfile",
        "dist/cluster",
        CLUSTER,
    ];
    for file in files.iter().chain(&COMPOSE) {
        let text = read(file);
        for variable in variables(&text) {
            assert!(known.contains(variable), "{file}: {variable}");
        }
    }
}

#[test]
fn compose_files_publish_dns_over_both_transports_and_drop_every_power() {
    for file in COMPOSE {
        let compose = compose(file);
        let node = &compose["services"]["node"];
        has_only_texts(file, node);
        let ports = texts(&node["ports"]);
        let dns = |transport: &str| {
            let end = format!(":5353/{transport}");
            let port = ports.iter().find_map(|port| port.strip_suffix(&end));
            port.unwrap_or_else(|| panic!("{file}: no {end}"))
                .to_owned()
        };
        assert_eq!(dns("udp"), dns("tcp"), "{file}");
        let is_trial = file == "compose.yaml";
        for port in &ports {
            assert!(
                port.ends_with("/udp") || port.ends_with("/tcp"),
                "{file}: {port}"
            );
            assert_eq!(port.starts_with("127.0.0.1:"), is_trial, "{file}: {port}");
        }
        has_no_power(file, node);
        assert_eq!(texts(&node["volumes"]), ["data:/var/lib/dmp"], "{file}");
        assert!(compose["volumes"].get("data").is_some(), "{file}");
        for secret in texts(&node["secrets"]) {
            assert!(
                compose["secrets"].get(secret.as_str()).is_some(),
                "{file}: {secret}"
            );
        }
    }
}

/// Compose reads unquoted numbers and switches as such and takes texts only.
fn has_only_texts(file: &str, node: &Value) {
    for (name, value) in node["environment"].as_mapping().unwrap() {
        assert!(value.is_string(), "{file}: {name:?}");
    }
}

fn has_no_power(file: &str, node: &Value) {
    assert_eq!(node["read_only"].as_bool(), Some(true), "{file}");
    assert_eq!(texts(&node["cap_drop"]), ["ALL"], "{file}");
    assert_eq!(
        texts(&node["security_opt"]),
        ["no-new-privileges:true"],
        "{file}"
    );
}

#[test]
fn the_three_nodes_of_the_cluster_differ_in_name_place_and_data_only() {
    let compose = compose(CLUSTER);
    let mut others = Vec::new();
    let services = compose["services"].as_mapping().unwrap();
    for (index, (name, node)) in services.iter().enumerate() {
        let name = name.as_str().unwrap();
        has_only_texts(CLUSTER, node);
        has_no_power(CLUSTER, node);
        assert_eq!(node["environment"]["DMP_NODE_ID"].as_str(), Some(name));
        assert_eq!(
            texts(&node["ports"]),
            [
                format!("127.0.0.1:530{}:5353/udp", index + 1),
                format!("127.0.0.1:530{}:5353/tcp", index + 1),
                format!("127.0.0.1:810{}:8053/tcp", index + 1),
            ]
        );
        let address = node["networks"]["cluster"]["ipv4_address"].as_str();
        assert_eq!(address, Some(format!("10.53.54.1{}", index + 1).as_str()));
        let volume = name.strip_prefix("node-").unwrap();
        assert_eq!(texts(&node["volumes"]), [format!("{volume}:/var/lib/dmp")]);
        assert!(compose["volumes"].get(volume).is_some());
        let mut node = node.clone();
        for key in ["environment", "ports", "networks", "volumes"] {
            node.as_mapping_mut().unwrap().remove(key);
        }
        others.push(node);
    }
    assert_eq!(others.len(), 3);
    assert!(others.iter().all(|other| *other == others[0]));
}

#[test]
fn nothing_but_dns_and_https_is_published_in_production() {
    let http = |file: &str| -> Vec<String> {
        let compose = compose(file);
        let ports = compose["services"]["node"]["ports"].as_sequence().unwrap();
        let ports = ports.iter().map(|port| port.as_str().unwrap().to_owned());
        ports.filter(|port| !port.contains(":53:5353/")).collect()
    };
    assert_eq!(
        http("compose.prod.yaml"),
        ["${BIND_ADDRESS:-0.0.0.0}:443:8053/tcp"]
    );
    assert!(read("compose.prod.yaml").contains("DMP_ACME_ENABLED: \"1\""));
    assert_eq!(http("compose.caddy.yaml"), [""; 0]);
}

#[test]
fn the_image_holds_the_program_alone_and_runs_without_rights() {
    let dockerfile = read("Dockerfile");
    let (_, image) = dockerfile.split_once("\nFROM scratch\n").unwrap();
    let lines: Vec<&str> = image.lines().collect();
    for line in [
        "USER 10001:10001",
        "VOLUME [\"/var/lib/dmp\"]",
        "EXPOSE 5353/udp 5353/tcp 8053/tcp",
        "ENTRYPOINT [\"/usr/bin/dnsmesh\"]",
        "COPY --from=build /image /",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    let health = lines
        .iter()
        .find(|line| line.starts_with("HEALTHCHECK "))
        .unwrap();
    assert!(health.ends_with("CMD [\"/usr/bin/dnsmesh\", \"node\", \"health\"]"));
    assert!(!dockerfile.contains("ADD ") && !dockerfile.contains(":latest"));
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("COPY "))
            .count(),
        1
    );
}

#[test]
fn settings_in_the_operators_pages_are_settings_of_the_node() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let (block, _) = block.split_once("```").unwrap();
            ConfigFile::parse(&page, block).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn links_between_the_operators_pages_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').unwrap();
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !link.contains("://") {
                let place = page.parent().unwrap().join(file);
                assert!(place.exists(), "{}: {link}", page.display());
            }
        }
    }
}

/// Rows of the tables of a page: the cells without their blanks.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    rows.map(|row| row.split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn the_page_of_limits_tells_the_defaults_that_hold() {
    let page = read("docs/operate/limits.md");
    let reference = config::reference();
    let told = rows(&page);
    for setting in rows(&reference) {
        let key = setting[0].trim_matches('`');
        let is_limit = key.starts_with("limits.")
            || [
                "rate",
                "burst",
                "concurrency",
                "udp_payload",
                "connections",
                "per_prefix",
                "lifetime",
            ]
            .iter()
            .any(|end| key.ends_with(end))
            || key == "claims.max_ttl";
        if !is_limit {
            continue;
        }
        let row = told.iter().find(|row| row[0] == setting[0]);
        let row = row.unwrap_or_else(|| panic!("{key} is not on the page of limits"));
        let default = setting[2];
        assert_eq!(row[1].split(':').next().unwrap(), default, "{key}");
    }
}

#[test]
fn the_page_of_limits_tells_the_fixed_bounds_as_they_are() {
    let page = read("docs/operate/limits.md");
    let seconds = |duration: std::time::Duration| format!("{} s", duration.as_secs());
    let (long, short) = limits::TCP_IDLE;
    let bounds = [
        ("UDP_ANSWER_OCTETS", limits::UDP_ANSWER_OCTETS.to_string()),
        ("VALUE_OCTETS", limits::VALUE_OCTETS.to_string()),
        ("NAME_CONTENT", limits::NAME_CONTENT.to_string()),
        (
            "MAILBOX_NAME_OCTETS",
            limits::MAILBOX_NAME_OCTETS.to_string(),
        ),
        (
            "IDENTITIES_PER_MAILBOX",
            limits::IDENTITIES_PER_MAILBOX.to_string(),
        ),
        ("RATE_BUCKETS", limits::RATE_BUCKETS.to_string()),
        ("BUCKET_KEYS", limits::BUCKET_KEYS.to_string()),
        (
            "TCP_MESSAGE_DEADLINE",
            seconds(limits::TCP_MESSAGE_DEADLINE),
        ),
        (
            "TCP_IDLE",
            format!("{} to {}", seconds(long), seconds(short)),
        ),
        ("TCP_REQUESTS", limits::TCP_REQUESTS.to_string()),
        ("TCP_PIPELINE", limits::TCP_PIPELINE.to_string()),
        ("TCP_UNSENT", limits::TCP_UNSENT.to_string()),
        ("TSIG_FUDGE", format!("{} s", limits::TSIG_FUDGE)),
        ("REPLAY_ENTRIES", limits::REPLAY_ENTRIES.to_string()),
        ("WRITER_QUEUE", limits::WRITER_QUEUE.to_string()),
        ("GROUP_REQUESTS", limits::GROUP_REQUESTS.to_string()),
        ("BODY_OCTETS", limits::BODY_OCTETS.to_string()),
        ("HTTP_HEADER_OCTETS", limits::HTTP_HEADER_OCTETS.to_string()),
        ("HTTP_READ", seconds(limits::HTTP_READ)),
        ("HTTP_CONNECTION", seconds(limits::HTTP_CONNECTION)),
        ("CHALLENGES", limits::CHALLENGES.to_string()),
        (
            "CHALLENGE_SECONDS",
            format!("{} s", limits::CHALLENGE_SECONDS),
        ),
        (
            "SUBJECT_LOCAL_OCTETS",
            limits::SUBJECT_LOCAL_OCTETS.to_string(),
        ),
        ("AUDIT_ROWS", limits::AUDIT_ROWS.to_string()),
        (
            "CONTROL_CONNECTIONS",
            limits::CONTROL_CONNECTIONS.to_string(),
        ),
        ("DRAIN", seconds(limits::DRAIN)),
    ];
    let told = rows(&page);
    let fixed = told.iter().filter(|row| {
        let name = row[0].trim_matches('`');
        name.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    });
    assert_eq!(fixed.count(), bounds.len());
    for (name, value) in bounds {
        let row = told.iter().find(|row| row[0] == format!("`{name}`"));
        assert_eq!(row.unwrap_or_else(|| panic!("{name}"))[1], value, "{name}");
    }
}

#[test]
fn metrics_on_the_page_of_limits_are_metrics_of_the_node() {
    let known = read("docs/operate/metrics.md");
    let page = read("docs/operate/limits.md");
    let words =
        page.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    for metric in words.filter(|word| word.starts_with("dmp_")) {
        assert!(known.contains(&format!("| `{metric}` |")), "{metric}");
    }
}
