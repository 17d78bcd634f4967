//! The TOML file: every key, what overrides it, and what is said about a wrong one (node.md 7, D3).

use std::fs;
use std::path::Path;

use dmp_node::check::{self, Grade};
use dmp_node::config::{self, AuthMode, Config, ConfigError, ConfigFile, Environment, Overrides};

fn read(toml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = ConfigFile::parse(Path::new("node.toml"), toml)?;
    let environment = Environment::from_pairs(variables.iter().copied()).with_file(Some(&file))?;
    Config::read(&environment, &Overrides::default())
}

#[track_caller]
fn error(toml: &str) -> String {
    read(toml, &[]).unwrap_err().to_string()
}

/// The example with the `#` before every key removed whose default it states, or before all keys.
fn uncommented(all: bool) -> String {
    let example = config::example();
    let mut lines = Vec::new();
    let mut is_example = false;
    for line in example.lines() {
        let key = line.strip_prefix('#').filter(|line| !line.starts_with(' '));
        match key {
            Some(setting) if all || !is_example => lines.push(setting),
            _ => lines.push(line),
        }
        is_example = line == "# No default; for example:";
    }
    lines.join("\n")
}

#[test]
fn the_defaults_of_the_example_are_those_of_the_code() {
    let stated = format!(
        "{:?}",
        read(&uncommented(false), &[("DMP_DOMAIN", "mesh.example")]).unwrap()
    );
    let environment = Environment::from_pairs([("DMP_DOMAIN", "mesh.example")]);
    let own = format!(
        "{:?}",
        Config::read(&environment, &Overrides::default()).unwrap()
    );
    assert_eq!(stated, own);
}

#[test]
fn every_example_is_a_value_that_its_key_takes() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "secret\n").unwrap();
    let cookie = directory.path().join("cookie");
    fs::write(&cookie, "00112233445566778899aabbccddeeff\n").unwrap();
    let toml = uncommented(true)
        .replace("/etc/dnsmesh/operator-token", token.to_str().unwrap())
        .replace("/etc/dnsmesh/peer-token", token.to_str().unwrap())
        .replace("/etc/dnsmesh/cookie-secret", cookie.to_str().unwrap());
    let config = read(&toml, &[]).unwrap();
    assert_eq!(config.zone.unwrap().to_string(), "mesh.example.com");
    assert_eq!(config.http.auth, AuthMode::MultiTenant);
    assert!(config.http.operator_token.unwrap().check("secret"));
}

#[test]
fn the_page_for_operators_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/config.md");
    assert_eq!(
        fs::read_to_string(page).unwrap(),
        config::reference(),
        "write it anew: dnsmesh node config --markdown > docs/operate/config.md"
    );
}

#[test]
fn a_variable_overrides_its_key_and_an_empty_one_does_not() {
    let toml = "zone = \"file.example\"\n[dns]\nport = 1053\nttl = 30\napex_ns = [\"ns1.example\", \"ns2.example\"]\n";
    let config = read(toml, &[("DMP_DNS_PORT", "2053"), ("DMP_DNS_TTL", "")]).unwrap();
    assert_eq!(config.zone.unwrap().to_string(), "file.example");
    assert_eq!((config.dns.port, config.dns.ttl), (2053, 30));
    assert_eq!(config.dns.apex_ns.len(), 2);
    let config = read(toml, &[("DMP_DOMAIN", "variable.example")]).unwrap();
    assert_eq!(config.zone.unwrap().to_string(), "variable.example");
}

#[test]
fn a_file_that_sets_something_ends_the_loopback_start() {
    assert_eq!(read("", &[]).unwrap().dns.host.to_string(), "127.0.0.1");
    let config = read("zone = \"mesh.example\"", &[]).unwrap();
    assert_eq!(config.dns.host.to_string(), "0.0.0.0");
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    assert_eq!(
        error("[dns]\nprot = 53"),
        "node.toml: dns.prot: is not a setting; did you mean dns.port?"
    );
    assert_eq!(
        error("apex_a = \"192.0.2.1\""),
        "node.toml: apex_a: is not a setting; did you mean dns.apex_a?"
    );
    assert_eq!(
        error("[weather]\nforecast = 1"),
        "node.toml: weather: is not a setting; `dnsmesh node config` lists all"
    );
    assert!(error("dns = 5").contains("dns: is not a setting"));
    assert!(error("[zone]\nname = \"x\"").contains("must be text in quotes, not of type table"));
}

#[test]
fn a_wrong_value_is_told_with_its_key() {
    assert_eq!(
        error("[dns]\nport = \"53\""),
        "node.toml: dns.port: must be a whole number, not of type string"
    );
    assert_eq!(
        error("[dns]\nttl = 0"),
        "node.toml: dns.ttl: must be a whole number from 1 to 2147483647, not \"0\""
    );
    assert_eq!(
        error("zone = \"a..b\""),
        "node.toml: zone: must be a DNS name, not \"a..b\""
    );
    assert!(error("[http]\ntrusted_proxies = [\"10.0.0.0/8,::1\"]").contains("a list of texts"));
    assert!(error("zone = \"x\"\nzone =").starts_with("node.toml line 2: "));
    assert!(error("[update]\nenabled = 1").contains("true or false"));
}

#[test]
fn the_operator_token_comes_from_its_file_unless_a_variable_holds_one() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "from the file\n").unwrap();
    let toml = format!("[http]\noperator_token_file = {:?}", token.display());
    let holds = |variables: &[(&str, &str)], text: &str| {
        let config = read(&toml, variables).unwrap();
        config.http.operator_token.unwrap().check(text)
    };
    assert!(holds(&[], "from the file"));
    assert!(holds(&[("DMP_OPERATOR_TOKEN", "variable")], "variable"));
    assert!(holds(&[("DMP_HTTP_TOKEN", "alias")], "alias"));
    fs::write(&token, "two\nlines").unwrap();
    let told = error(&toml);
    assert!(
        told.starts_with("node.toml: http.operator_token_file: ") && !told.contains("two"),
        "{told}"
    );
    assert!(
        error("[http]\noperator_token_file = \"/nonexistent/token\"")
            .contains("/nonexistent/token")
    );
    let inline = error("[http]\noperator_token = \"a-secret\"");
    assert!(
        inline.contains("is not a setting") && !inline.contains("a-secret"),
        "{inline}"
    );
}

#[test]
fn monitors_have_a_listener_on_loopback_or_none() {
    let config = read("[http]\nmetrics_listen = \"[::1]:9153\"", &[]).unwrap();
    assert_eq!(config.http.monitor, Some("[::1]:9153".parse().unwrap()));
    assert_eq!(read("", &[]).unwrap().http.monitor, None);
    for wrong in ["0.0.0.0:9153", "127.0.0.1", "9153"] {
        let told = error(&format!("[http]\nmetrics_listen = {wrong:?}"));
        assert!(
            told.contains("http.metrics_listen: must be a loopback address"),
            "{told}"
        );
    }
}

#[test]
fn a_check_grades_what_it_sees() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("data/dmp.db");
    let toml = format!(
        "zone = \"mesh.example\"\ndatabase = {:?}\n[dns]\nhost = \"127.0.0.1\"\napex_ns = [\"mesh.example\"]\n",
        database.display()
    );
    let findings = check::settings(&read(&toml, &[("DMP_DOMIAN", "x")]).unwrap());
    let graded = |text: &str| {
        let found = findings.iter().find(|finding| finding.text.contains(text));
        found
            .unwrap_or_else(|| panic!("{text} in {findings:?}"))
            .grade
    };
    assert_eq!(graded("zone: mesh.example"), Grade::Ok);
    assert_eq!(graded("to be created"), Grade::Ok);
    assert_eq!(graded("but has no address"), Grade::Warn);
    assert_eq!(graded("did you mean DMP_DOMAIN?"), Grade::Warn);
    assert_eq!(graded("UPDATE is off"), Grade::Warn);
    assert_eq!(check::verdict(&findings), Grade::Warn);
    assert!(
        !directory.path().join("data").exists(),
        "nothing was created"
    );
    let foreign = directory.path().join("foreign.db");
    fs::write(&foreign, "SQLite format 3\0 of somebody else").unwrap();
    let toml = format!("database = {:?}", foreign.display());
    let findings = check::settings(&read(&toml, &[]).unwrap());
    assert_eq!(check::verdict(&findings), Grade::Fail);
}

#[test]
fn a_migrated_environment_says_the_same_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let text = r#"
# as an installer of the reference writes it
DMP_DOMAIN=mesh.example
export DMP_NODE_HOSTNAME="mesh.example"
DMP_OPERATOR_TOKEN='a secret "token"'
DMP_DNS_COOKIE_SECRET=00112233445566778899aabbccddeeff
DMP_DB_PATH=/srv/dmp/node.db
DMP_DNS_PORT=53
DMP_DNS_RATE=7
DMP_DNS_UPDATE_ENABLED=Yes
DMP_RECEIVER_CLAIM_NOTIFICATIONS=0
DMP_DNS_APEX_NS=ns1.example, ns2.example
DMP_DNS_RATE_EXEMPT=192.0.2.0/24
DMP_HTTP_HOST=127.0.0.1
DMP_TRUSTED_PROXIES=127.0.0.1,::1
DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC=0.25
DMP_LOG_FORMAT=json
DMP_SYNC_PEERS=http://10.0.0.2:8053
DMP_SYNC_PEER_TOKEN=a peer's token
DMP_SYNC_INTERVAL_SECONDS=2
DMP_CLUSTER_MANIFEST_PATH=/srv/cluster.json
DMP_CLUSTER_BASE_DOMAIN=cluster.example
DMP_SERVED_ZONE=mesh.example
DMP_HEARTBEAT_SEEDS=dmp.example
DMP_HEARTBEAT_RETENTION_HOURS=72
SOMETHING_ELSE=1
DMP_MAX_TTL=
"#;
    let migrated = config::migrate(text, directory.path()).unwrap();
    assert!(
        !migrated.toml.contains("secret \"token"),
        "{}",
        migrated.toml
    );
    for secret in &migrated.secrets {
        fs::write(&secret.file, secret.text.as_bytes()).unwrap();
    }
    let variables: Vec<_> = migrated
        .secrets
        .iter()
        .map(|secret| secret.variable)
        .collect();
    assert_eq!(
        variables,
        [
            "DMP_DNS_COOKIE_SECRET",
            "DMP_OPERATOR_TOKEN",
            "DMP_SYNC_PEER_TOKEN"
        ]
    );
    let before = [
        ("DMP_DOMAIN", "mesh.example"),
        ("DMP_NODE_HOSTNAME", "mesh.example"),
        ("DMP_OPERATOR_TOKEN", "a secret \"token\""),
        ("DMP_DNS_COOKIE_SECRET", "00112233445566778899aabbccddeeff"),
        ("DMP_DB_PATH", "/srv/dmp/node.db"),
        ("DMP_DNS_PORT", "53"),
        ("DMP_DNS_RATE", "7"),
        ("DMP_DNS_UPDATE_ENABLED", "Yes"),
        ("DMP_RECEIVER_CLAIM_NOTIFICATIONS", "0"),
        ("DMP_DNS_APEX_NS", "ns1.example, ns2.example"),
        ("DMP_DNS_RATE_EXEMPT", "192.0.2.0/24"),
        ("DMP_HTTP_HOST", "127.0.0.1"),
        ("DMP_TRUSTED_PROXIES", "127.0.0.1,::1"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC", "0.25"),
        ("DMP_LOG_FORMAT", "json"),
        ("DMP_SYNC_PEERS", "http://10.0.0.2:8053"),
        ("DMP_SYNC_PEER_TOKEN", "a peer's token"),
        ("DMP_SYNC_INTERVAL_SECONDS", "2"),
        ("DMP_CLUSTER_MANIFEST_PATH", "/srv/cluster.json"),
        ("DMP_CLUSTER_BASE_DOMAIN", "cluster.example"),
        ("DMP_SERVED_ZONE", "mesh.example"),
        ("DMP_HEARTBEAT_SEEDS", "dmp.example"),
    ];
    let (before, after) = (
        read("", &before).unwrap(),
        read(&migrated.toml, &[]).unwrap(),
    );
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert!(
        after
            .http
            .operator_token
            .unwrap()
            .check("a secret \"token\"")
    );
    let notes = migrated.notes.join("\n");
    assert!(
        notes.contains("DMP_HEARTBEAT_RETENTION_HOURS has no effect"),
        "{notes}"
    );
    assert!(
        notes.contains("SOMETHING_ELSE is not a setting of the node"),
        "{notes}"
    );
}

#[test]
fn a_migration_takes_the_zone_that_is_served_and_warns_of_the_reference_s_database() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("dmp.db");
    fs::write(&database, "SQLite format 3\0 of somebody else").unwrap();
    let text = format!(
        "DMP_DOMAIN=b.example\nDMP_CLUSTER_BASE_DOMAIN=a.example\nDMP_DB_PATH={}\n",
        database.display()
    );
    let migrated = config::migrate(&text, directory.path()).unwrap();
    assert!(
        migrated.toml.contains("zone = \"a.example\"\n"),
        "{}",
        migrated.toml
    );
    let notes = migrated.notes.join("\n");
    assert!(notes.contains("dnsmesh node import"), "{notes}");
    let wrong = |text: &str| {
        config::migrate(text, directory.path())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        wrong("A=1\nno setting"),
        "line 2: is not of the form NAME=value"
    );
    assert_eq!(wrong("A=\"1"), "line 1: has a quote that does not end");
    assert!(wrong("DMP_DNS_TTL=0").starts_with("DMP_DNS_TTL: must be"));
}

#[test]
fn what_is_shown_tells_the_origin_and_no_secret() {
    let toml = "hostname = \"node.example\"\n[dns]\nttl = 30\n";
    let variables = [
        ("DMP_DNS_RATE", "7"),
        ("DMP_SERVED_ZONE", "mesh.example"),
        ("DMP_OPERATOR_TOKEN", "a-secret"),
    ];
    let config = read(toml, &variables).unwrap();
    let shown = config.shown();
    let row = |key: &str| {
        let row = shown.iter().find(|row| row.key == key).unwrap();
        (row.value.as_deref(), row.origin.as_str())
    };
    assert_eq!(row("zone"), (Some("\"mesh.example\""), "DMP_SERVED_ZONE"));
    assert_eq!(row("dns.ttl"), (Some("30"), "node.toml: dns.ttl"));
    assert_eq!(row("dns.rate"), (Some("7.0"), "environment"));
    assert_eq!(row("dns.burst"), (Some("200.0"), "default"));
    assert_eq!(row("dns.apex_a"), (None, "default"));
    assert_eq!(row("dns.apex_ns"), (Some("[]"), "default"));
    assert_eq!(
        row("http.host"),
        (Some("\"0.0.0.0\""), "follows from http.auth_mode")
    );
    assert_eq!(
        row("http.auth_mode"),
        (Some("\"legacy\""), "follows from the operator's token")
    );
    assert_eq!(row("DMP_OPERATOR_TOKEN"), (None, "environment"));
    assert!(!format!("{shown:?}").contains("a-secret"));
}
