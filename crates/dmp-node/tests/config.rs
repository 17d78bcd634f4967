//! The settings of node.md 7: every variable, its default, what it refuses, and what it says then.

use dmp_dns::cookie::{Cookie, Secret};
use dmp_node::config::{
    AuthMode, Config, ConfigError, Environment, LogFormat, LogLevel, Overrides, Rate, ScopeMode,
};
use dmp_node::settings::PrefixLengths;
use dmp_node::zone::Owner;
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = Environment::from_pairs(pairs.iter().copied());
    Config::read(&environment, &Overrides::default())
}

fn config(pairs: &[(&str, &str)]) -> Config {
    read(pairs).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

#[test]
fn no_setting_at_all_starts_on_loopback_and_says_what_is_missing() {
    let config = config(&[("HOME", "/home/alice")]);
    assert_eq!(config.dns.host.to_string(), "127.0.0.1");
    assert_eq!(config.http.host.to_string(), "127.0.0.1");
    assert_eq!(config.http.auth, AuthMode::Open);
    assert_eq!(config.database.path, PathBuf::from("/var/lib/dmp/dmp.db"));
    let fallback = PathBuf::from("/home/alice/.local/share/dnsmesh/node.db");
    assert_eq!(config.database.fallback, Some(fallback));
    let missing = config.missing_for_production().join("; ");
    for variable in [
        "DMP_DOMAIN",
        "DMP_DNS_HOST",
        "DMP_DNS_UPDATE_ENABLED",
        "DMP_OPERATOR_TOKEN",
        "DMP_REGISTRATION_ENABLED",
    ] {
        assert!(missing.contains(variable), "{missing}");
    }
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn the_data_directory_of_the_user_may_be_moved() {
    let config = config(&[("HOME", "/home/alice"), ("XDG_DATA_HOME", "/data")]);
    let fallback = PathBuf::from("/data/dnsmesh/node.db");
    assert_eq!(config.database.fallback, Some(fallback));
}

#[test]
fn one_setting_makes_the_defaults_public_but_never_unauthenticated_writes() {
    let config = config(&[("HOME", "/home/alice"), ("DMP_DOMAIN", "mesh.example")]);
    assert_eq!(config.dns.host.to_string(), "0.0.0.0");
    assert_eq!(config.http.host.to_string(), "127.0.0.1");
    assert_eq!(config.database.fallback, None);
}

#[test]
fn a_token_makes_the_http_default_public() {
    let config = config(&[("DMP_OPERATOR_TOKEN", "secret")]);
    assert_eq!(config.http.host.to_string(), "0.0.0.0");
    assert_eq!(config.http.auth, AuthMode::Legacy);
}

#[test]
fn open_mode_refuses_every_host_that_is_not_loopback() {
    for host in ["0.0.0.0", "0", "::", "[::]", "192.0.2.1", "node.example"] {
        let error = read(&[("DMP_HTTP_HOST", host)]).unwrap_err();
        assert_eq!(error.variable, "DMP_HTTP_HOST", "{host}");
        assert!(error.reason.contains("DMP_OPERATOR_TOKEN"), "{error}");
        config(&[("DMP_HTTP_HOST", host), ("DMP_ALLOW_OPEN_PUBLIC_BIND", "1")]);
        config(&[("DMP_HTTP_HOST", host), ("DMP_OPERATOR_TOKEN", "secret")]);
        let with_token_but_open = [
            ("DMP_HTTP_HOST", host),
            ("DMP_OPERATOR_TOKEN", "secret"),
            ("DMP_AUTH_MODE", "open"),
        ];
        assert!(read(&with_token_but_open).is_err(), "{host}");
    }
    for host in ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"] {
        config(&[("DMP_HTTP_HOST", host)]);
    }
}

#[test]
fn flags_override_the_environment() {
    let environment = Environment::from_pairs([
        ("DMP_DB_PATH", "/srv/a.db"),
        ("DMP_DNS_PORT", "53"),
        ("DMP_HTTP_PORT", "80"),
    ]);
    let overrides = Overrides {
        db_path: Some(PathBuf::from("b.db")),
        dns_port: Some(0),
        http_port: Some(8080),
        ..Overrides::default()
    };
    let config = Config::read(&environment, &overrides).unwrap();
    assert_eq!(config.database.path, PathBuf::from("b.db"));
    assert_eq!((config.dns.port, config.http.port), (0, 8080));
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let config = config(&[]);
    assert_eq!((config.dns.port, config.http.port), (5353, 8053));
    assert_eq!(config.dns.ttl, 60);
    assert_eq!(config.dns.rate, rate(50.0, 200.0));
    assert_eq!(config.dns.prefixes, PrefixLengths { v4: 24, v6: 56 });
    assert!(config.dns.rate_exempt.is_empty());
    assert!(config.dns.cookie_secrets.is_none() && config.dns.nsid.is_none());
    assert_eq!(config.dns.udp_payload, 1232);
    assert_eq!(config.dns.max_concurrency, 128);
    assert_eq!(config.dns.tcp_connections, None);
    assert_eq!(config.dns.tcp_connections_per_prefix, 128);
    assert!(config.dns.apex_a.is_none() && config.dns.apex_aaaa.is_none());
    assert!(config.dns.apex_ns.is_empty() && config.dns.apex_soa_rname.is_none());
    assert_eq!(config.zone, None);
    assert!(!config.update.enabled);
    assert_eq!(config.update.scope, ScopeMode::Default);
    assert!(!config.claims.provider && config.claims.receiver);
    assert_eq!(config.claims.max_ttl, Some(86_400));
    assert_eq!(config.claims.rate, rate(0.5, 30.0));
    assert_eq!(config.caps.max_ttl, Some(86_400));
    assert_eq!(config.caps.max_value_bytes, Some(2048));
    assert_eq!(config.caps.max_values_per_name, Some(64));
    assert_eq!(config.caps.max_values_per_writer_per_mailbox, Some(128));
    assert_eq!(config.http.rate, rate(10.0, 100.0));
    assert_eq!(config.http.max_connections, 64);
    assert!(config.http.trusted_proxies.is_empty());
    assert!(!config.registration.switched_on);
    assert_eq!(node_name(&config), None);
    assert!(config.registration.allowlist.is_empty());
    assert_eq!(
        config.registration.lifetime,
        Some(Duration::from_secs(7_776_000))
    );
    assert_eq!(config.registration.issued_rate, rate(10.0, 50.0));
    assert_eq!(config.registration.endpoint_rate, rate(5.0 / 3600.0, 5.0));
    assert_eq!(config.cleanup_interval, Duration::from_secs(60));
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn every_variable_reaches_its_field() {
    let config = config(&[
        ("DMP_DB_PATH", "/srv/node.db"),
        ("DMP_DNS_HOST", "::"),
        ("DMP_DNS_PORT", "53"),
        ("DMP_DNS_TTL", "30"),
        ("DMP_DNS_RATE", "1.5"),
        ("DMP_DNS_BURST", "0"),
        ("DMP_DNS_RATE_PREFIX_V4", "32"),
        ("DMP_DNS_RATE_PREFIX_V6", "48"),
        ("DMP_DNS_RATE_EXEMPT", "192.0.2.0/24"),
        ("DMP_DNS_COOKIE_SECRET", "000102030405060708090A0B0C0D0E0F"),
        ("DMP_DNS_NSID", "ns1.mesh.example"),
        ("DMP_DNS_UDP_PAYLOAD", "512"),
        ("DMP_DNS_MAX_CONCURRENCY", "7"),
        ("DMP_DNS_TCP_CONNECTIONS", "11"),
        ("DMP_DNS_TCP_CONNECTIONS_PER_PREFIX", "12"),
        ("DMP_DNS_APEX_A", "192.0.2.1"),
        ("DMP_DNS_APEX_AAAA", "2001:db8::1"),
        ("DMP_DNS_APEX_NS", "NS1.Mesh.Example., ns2.other.example"),
        ("DMP_DNS_APEX_SOA_RNAME", "Hostmaster.mesh.example."),
        ("DMP_DOMAIN", "Mesh.Example."),
        ("DMP_NODE_HOSTNAME", "API.mesh.example"),
        ("DMP_DNS_UPDATE_ENABLED", "Yes"),
        ("DMP_TSIG_TIGHT_SCOPE", "on"),
        ("DMP_CLAIM_PROVIDER", "TRUE"),
        ("DMP_RECEIVER_CLAIM_NOTIFICATIONS", "off"),
        ("DMP_CLAIM_MAX_TTL", "-1"),
        ("DMP_CLAIM_RATE_PER_USER_PER_SEC", "2"),
        ("DMP_CLAIM_RATE_BURST", "3"),
        ("DMP_HTTP_HOST", "192.0.2.1"),
        ("DMP_HTTP_PORT", "0"),
        ("DMP_OPERATOR_TOKEN", " secret "),
        ("DMP_HTTP_TOKEN", "ignored"),
        ("DMP_AUTH_MODE", "multi-tenant"),
        ("DMP_HTTP_RATE", "4"),
        ("DMP_HTTP_BURST", "5"),
        ("DMP_HTTP_MAX_CONCURRENCY", "6"),
        ("DMP_MAX_TTL", "0"),
        ("DMP_MAX_VALUE_BYTES", "100"),
        ("DMP_MAX_VALUES_PER_NAME", "8"),
        ("DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX", "9"),
        ("DMP_REGISTRATION_ENABLED", "True"),
        ("DMP_REGISTRATION_TOKEN_TTL_SECONDS", "0"),
        ("DMP_REGISTRATION_ISSUED_RATE_PER_SEC", "10"),
        ("DMP_REGISTRATION_ISSUED_RATE_BURST", "11"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC", "12"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_BURST", "13"),
        ("DMP_CLEANUP_INTERVAL", "0.5"),
        ("DMP_LOG_LEVEL", "debug"),
        ("DMP_LOG_FORMAT", "json"),
        ("DMP_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8"),
    ]);
    assert_eq!(config.database.path, PathBuf::from("/srv/node.db"));
    assert_eq!(config.dns.host.to_string(), "::");
    assert_eq!((config.dns.port, config.dns.ttl), (53, 30));
    assert_eq!(config.dns.rate, rate(1.5, 0.0));
    assert_eq!(config.dns.prefixes, PrefixLengths { v4: 32, v6: 48 });
    let exempt: IpAddr = "192.0.2.9".parse().unwrap();
    assert!(config.dns.rate_exempt[0].contains(exempt));
    let secrets = config.dns.cookie_secrets.as_ref().unwrap();
    let octets = std::array::from_fn(|index| index as u8);
    let pair = Secret::new(octets).make(&[7; 8], exempt, 1_000);
    let cookie = Cookie::parse(&pair).ok();
    assert!(secrets.judge(cookie, exempt, 1_000).is_valid());
    assert_eq!(config.dns.nsid.as_deref(), Some(&b"ns1.mesh.example"[..]));
    assert_eq!(config.dns.udp_payload, 512);
    assert_eq!(config.dns.max_concurrency, 7);
    assert_eq!(config.dns.tcp_connections, Some(11));
    assert_eq!(config.dns.tcp_connections_per_prefix, 12);
    assert_eq!(config.dns.apex_a.unwrap().to_string(), "192.0.2.1");
    assert_eq!(config.dns.apex_aaaa.unwrap().to_string(), "2001:db8::1");
    let name_servers = [name("ns1.mesh.example"), name("ns2.other.example")];
    assert_eq!(config.dns.apex_ns, name_servers);
    assert_eq!(
        config.dns.apex_soa_rname,
        Some(name("hostmaster.mesh.example"))
    );
    assert_eq!(config.zone, Some(name("mesh.example")));
    assert_eq!(node_name(&config), Some("API.mesh.example"));
    assert!(config.update.enabled);
    assert_eq!(config.update.scope, ScopeMode::Tight);
    assert!(config.is_claim_provider() && !config.is_claim_receiver());
    assert_eq!(config.claims.max_ttl, None);
    assert_eq!(config.claims.rate, rate(2.0, 3.0));
    assert_eq!(config.http.host.to_string(), "192.0.2.1");
    assert_eq!(config.http.port, 0);
    let token = config.http.operator_token.as_ref().unwrap();
    assert!(token.check("secret") && !token.check("ignored") && !token.check(""));
    assert_eq!(config.http.auth, AuthMode::MultiTenant);
    assert_eq!(config.http.rate, rate(4.0, 5.0));
    assert_eq!(config.http.max_connections, 6);
    assert_eq!(config.caps.max_ttl, None);
    assert_eq!(config.caps.max_value_bytes, Some(100));
    assert_eq!(config.caps.max_values_per_name, Some(8));
    assert_eq!(config.caps.max_values_per_writer_per_mailbox, Some(9));
    assert!(config.registration.switched_on);
    assert_eq!(config.registration.lifetime, None);
    assert_eq!(config.registration.issued_rate, rate(10.0, 11.0));
    assert_eq!(config.registration.endpoint_rate, rate(12.0, 13.0));
    assert_eq!(config.cleanup_interval, Duration::from_millis(500));
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.log.format, LogFormat::Json);
    let is_trusted = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        let mut proxies = config.http.trusted_proxies.iter();
        proxies.any(|proxy| proxy.contains(address))
    };
    assert!(is_trusted("127.0.0.1") && is_trusted("10.9.9.9") && !is_trusted("192.0.2.1"));
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.missing_for_production(), Vec::<&str>::new());
}

#[test]
fn the_other_spelling_of_the_operator_token_is_the_second_choice() {
    let config = config(&[("DMP_OPERATOR_TOKEN", ""), ("DMP_HTTP_TOKEN", "second")]);
    assert!(config.http.operator_token.unwrap().check("second"));
}

#[test]
fn loose_scope_wins_over_tight() {
    let both = [("DMP_TSIG_TIGHT_SCOPE", "1"), ("DMP_TSIG_LOOSE_SCOPE", "1")];
    assert_eq!(config(&both).update.scope, ScopeMode::Loose);
}

#[test]
fn a_claim_role_needs_a_zone_and_update() {
    assert!(!config(&[("DMP_CLAIM_PROVIDER", "1")]).is_claim_provider());
    let without_zone = config(&[("DMP_DNS_UPDATE_ENABLED", "1")]);
    assert!(!without_zone.is_claim_receiver());
    let with_both = config(&[("DMP_DNS_UPDATE_ENABLED", "1"), ("DMP_DOMAIN", "a.example")]);
    assert!(with_both.is_claim_receiver() && !with_both.is_claim_provider());
}

#[test]
fn a_wrong_value_is_one_line_that_names_the_variable() {
    let wrong = [
        ("DMP_DNS_HOST", "not a host"),
        ("DMP_DNS_PORT", "65536"),
        ("DMP_DNS_PORT", "-1"),
        ("DMP_DNS_TTL", "0"),
        ("DMP_DNS_TTL", "2147483648"),
        ("DMP_DNS_TTL", "sixty"),
        ("DMP_DNS_RATE", "fast"),
        ("DMP_DNS_BURST", "nan"),
        ("DMP_DNS_RATE_PREFIX_V4", "33"),
        ("DMP_DNS_RATE_PREFIX_V4", "7"),
        ("DMP_DNS_RATE_PREFIX_V6", "129"),
        ("DMP_DNS_RATE_EXEMPT", "everybody"),
        ("DMP_DNS_COOKIE_SECRET", "0001"),
        ("DMP_DNS_COOKIE_SECRET", "not hexadecimal, not at all"),
        ("DMP_DNS_NSID", &"x".repeat(65)),
        ("DMP_DNS_UDP_PAYLOAD", "511"),
        ("DMP_DNS_UDP_PAYLOAD", "1233"),
        ("DMP_DNS_MAX_CONCURRENCY", "0"),
        ("DMP_DNS_TCP_CONNECTIONS", "0"),
        ("DMP_DNS_TCP_CONNECTIONS_PER_PREFIX", "none"),
        ("DMP_DNS_APEX_A", "2001:db8::1"),
        ("DMP_DNS_APEX_AAAA", "192.0.2.1"),
        ("DMP_DNS_APEX_NS", "ns1.example, -"),
        ("DMP_DNS_APEX_NS", "a..b"),
        ("DMP_DNS_APEX_SOA_RNAME", "hostmaster@example.com"),
        ("DMP_SERVED_ZONE", "a b"),
        ("DMP_CLAIM_PROVIDER_ZONE", "a..b"),
        ("DMP_CLUSTER_BASE_DOMAIN", "a/b"),
        ("DMP_DOMAIN", "b\u{fc}r.example"),
        ("DMP_NODE_HOSTNAME", "host name"),
        ("DMP_DNS_UPDATE_ENABLED", "enabled"),
        ("DMP_TSIG_TIGHT_SCOPE", "2"),
        ("DMP_TSIG_LOOSE_SCOPE", "y"),
        ("DMP_CLAIM_PROVIDER", "maybe"),
        ("DMP_RECEIVER_CLAIM_NOTIFICATIONS", "none"),
        ("DMP_CLAIM_MAX_TTL", "1d"),
        ("DMP_CLAIM_RATE_PER_USER_PER_SEC", "inf"),
        ("DMP_CLAIM_RATE_BURST", ","),
        ("DMP_HTTP_HOST", "http://127.0.0.1"),
        ("DMP_HTTP_PORT", "http"),
        ("DMP_AUTH_MODE", "Legacy"),
        ("DMP_ALLOW_OPEN_PUBLIC_BIND", "sure"),
        ("DMP_HTTP_RATE", "1/s"),
        ("DMP_HTTP_BURST", "lots"),
        ("DMP_HTTP_MAX_CONCURRENCY", "0"),
        ("DMP_MAX_TTL", "1.5"),
        ("DMP_MAX_VALUE_BYTES", "2k"),
        ("DMP_MAX_VALUES_PER_NAME", "many"),
        ("DMP_MAX_VALUES_PER_WRITER_PER_MAILBOX", "x"),
        ("DMP_REGISTRATION_ENABLED", "ja"),
        ("DMP_REGISTRATION_ALLOWLIST", "a.example, b c"),
        ("DMP_REGISTRATION_TOKEN_TTL_SECONDS", "-1"),
        ("DMP_REGISTRATION_ISSUED_RATE_PER_SEC", "x"),
        ("DMP_REGISTRATION_ISSUED_RATE_BURST", "x"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_PER_SEC", "x"),
        ("DMP_REGISTRATION_ENDPOINT_RATE_BURST", "x"),
        ("DMP_CLEANUP_INTERVAL", "0"),
        ("DMP_CLEANUP_INTERVAL", "-5"),
        ("DMP_CLEANUP_INTERVAL", "1e300"),
        ("DMP_LOG_FORMAT", "xml"),
        ("DMP_TRUSTED_PROXIES", "proxy.example"),
        ("DMP_SYNC_INTERVAL", "0"),
        ("DMP_SYNC_INTERVAL_SECONDS", "-1"),
        ("DMP_SYNC_PEER_TOKEN", "two\nlines"),
        ("DMP_HEARTBEAT_ENABLED", "perhaps"),
        ("DMP_HEARTBEAT_TTL_SECONDS", "0"),
        ("DMP_HEARTBEAT_RETENTION_HOURS", "three"),
        ("DMP_HEARTBEAT_DNS_RESOLVERS", "1.1.1.1,resolver.example"),
        ("DMP_HEARTBEAT_DNSSEC_REQUIRED", "x"),
    ];
    for (variable, value) in wrong {
        let error = read(&[(variable, value)]).unwrap_err();
        assert_eq!(error.variable, variable, "{value}");
        let line = error.to_string();
        assert!(line.starts_with(&format!("{variable}: ")), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn an_empty_value_is_unset_for_every_variable() {
    let sources = [
        include_str!("../src/config/table.rs"),
        include_str!("../src/config/variables.rs"),
    ];
    let names: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.split('"'))
        .filter(|text| text.starts_with("DMP_") && !text.contains(' '))
        .collect();
    assert!(names.len() > 70, "{}", names.len());
    for name in names {
        let config = config(&[(name, "")]);
        assert_eq!(config.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(config.dns.host.to_string(), "127.0.0.1", "{name}");
    }
}

#[test]
fn settings_of_features_this_version_lacks_are_accepted_and_told() {
    for (variable, value) in [
        ("DMP_HEARTBEAT_RETENTION_HOURS", "72"),
        ("DMP_TOKEN_DB_PATH", "/srv/tokens.db"),
        ("DMP_TSIG_DB_PATH", "/srv/tsig.db"),
        ("DMP_HEARTBEAT_DB_PATH", "/srv/peers.db"),
    ] {
        let config = config(&[(variable, value)]);
        let warnings = config.warnings.join("\n");
        assert_eq!(config.warnings.len(), 1, "{warnings}");
        assert!(warnings.starts_with(variable), "{warnings}");
        assert!(!warnings.contains("secret"), "{warnings}");
    }
}

#[test]
fn the_settings_of_a_cluster_are_read_and_what_is_doubtful_is_told() {
    let key = "D75A980182B10AB7D54BFED3C964073A0EE172F3DAA62325AF021A68F707511A";
    let told = config(&[
        (
            "DMP_SYNC_PEERS",
            "http://10.0.0.2:8053/, HTTP://10.0.0.2:8053,https://c.example",
        ),
        ("DMP_CLUSTER_MANIFEST_PATH", "/srv/cluster.json"),
        ("DMP_NODE_ID", "node-a"),
        ("DMP_SYNC_SELF_ENDPOINT", "http://10.0.0.1:8053/"),
        ("DMP_SYNC_PEER_TOKEN", " a secret "),
        ("DMP_SYNC_INTERVAL_SECONDS", "2"),
        ("DMP_SYNC_OPERATOR_SPK", key),
        ("DMP_SYNC_ROOTS", "/srv/ca.pem"),
        ("DMP_SYNC_LISTEN", "10.0.0.1:8054"),
        ("DMP_CLUSTER_BASE_DOMAIN", "Mesh.Example."),
    ]);
    assert_eq!(told.warnings, Vec::<String>::new());
    let sync = &told.sync;
    let peers: Vec<String> = sync.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["http://10.0.0.2:8053", "https://c.example"]);
    assert_eq!(sync.manifest, Path::new("/srv/cluster.json"));
    assert_eq!(sync.node_id.as_deref(), Some("node-a"));
    assert_eq!(sync.listen, Some("10.0.0.1:8054".parse().unwrap()));
    let own = sync.own_endpoint.as_ref().map(ToString::to_string);
    assert_eq!(own.as_deref(), Some("http://10.0.0.1:8053"));
    let token = sync.token.as_ref().unwrap();
    assert!(token.check(b"Bearer a secret"));
    for other in [
        "a secret",
        "bearer a secret",
        "Bearer a secret ",
        "Bearer A secret",
        "",
    ] {
        assert!(!token.check(other.as_bytes()), "{other}");
    }
    assert!(!format!("{told:?}").contains("a secret"));
    assert_eq!(sync.interval, Duration::from_secs(2));
    assert_eq!(sync.operator.unwrap().to_string(), key.to_lowercase());
    assert_eq!(sync.base_domain.as_ref().unwrap().as_str(), "mesh.example");
    assert_eq!(told.zone.unwrap().to_string(), "mesh.example");

    let nothing = config(&[]).sync;
    assert_eq!(nothing.manifest, Path::new("/var/lib/dmp/cluster.json"));
    assert_eq!(nothing.interval, Duration::from_secs(10));
    assert!(nothing.peers.is_empty() && nothing.token.is_none() && nothing.operator.is_none());

    for (settings, warning) in [
        (
            vec![("DMP_SYNC_PEERS", "http://10.0.0.2")],
            "DMP_SYNC_PEERS is set but DMP_SYNC_PEER_TOKEN is not",
        ),
        (
            vec![
                ("DMP_CLUSTER_FILE", "/a"),
                ("DMP_CLUSTER_MANIFEST_PATH", "/b"),
            ],
            "DMP_CLUSTER_FILE and DMP_CLUSTER_MANIFEST_PATH are both set; DMP_CLUSTER_FILE counts",
        ),
        (
            vec![
                ("DMP_SYNC_INTERVAL", "3"),
                ("DMP_SYNC_INTERVAL_SECONDS", "4"),
            ],
            "DMP_SYNC_INTERVAL and DMP_SYNC_INTERVAL_SECONDS are both set; DMP_SYNC_INTERVAL counts",
        ),
        (
            vec![("DMP_SYNC_OPERATOR_SPK", "abc")],
            "DMP_SYNC_OPERATOR_SPK is not 64 hex digits",
        ),
        (
            vec![
                ("DMP_SYNC_PEERS", "file:///etc/passwd"),
                ("DMP_SYNC_PEER_TOKEN", "t"),
            ],
            "DMP_SYNC_PEERS: \"file:///etc/passwd\" is no http or https URL",
        ),
        (
            vec![
                ("DMP_SYNC_PEERS", "http://8.8.8.8:8053"),
                ("DMP_SYNC_PEER_TOKEN", "t"),
            ],
            "DMP_SYNC_PEERS: http://8.8.8.8:8053 is a public address in the clear",
        ),
        (
            vec![("DMP_SYNC_SELF_ENDPOINT", "node-a:8053")],
            "DMP_SYNC_SELF_ENDPOINT: \"node-a:8053\" is no http or https URL",
        ),
    ] {
        let told = config(&settings);
        assert_eq!(told.warnings.len(), 1, "{:?}", told.warnings);
        assert!(told.warnings[0].starts_with(warning), "{:?}", told.warnings);
        assert!(told.sync.operator.is_none() && told.sync.own_endpoint.is_none());
    }
    let both = config(&[
        ("DMP_CLUSTER_FILE", "/a"),
        ("DMP_CLUSTER_MANIFEST_PATH", "/b"),
    ]);
    assert_eq!(both.sync.manifest, Path::new("/a"));
}

#[test]
fn the_heartbeat_is_read_whether_it_is_on_or_not() {
    let settings = [
        ("DMP_HEARTBEAT_ENABLED", "on"),
        (
            "DMP_HEARTBEAT_SEEDS",
            "Dmp.example, https://B.example:8053/x, 192.0.2.1,",
        ),
        (
            "DMP_HEARTBEAT_DNS_RESOLVERS",
            "192.0.2.1, 192.0.2.2:5353, 2001:db8::1, [2001:db8::2]:54",
        ),
        ("DMP_HEARTBEAT_INTERVAL_SECONDS", "0.5"),
        ("DMP_HEARTBEAT_TTL_SECONDS", "2592000"),
    ];
    let on = config(&settings);
    let heartbeat = on.heartbeat.unwrap();
    let seeds: Vec<String> = heartbeat.seeds.iter().map(ToString::to_string).collect();
    assert_eq!(seeds, ["dmp.example", "b.example"]);
    assert_eq!(
        on.warnings,
        ["DMP_HEARTBEAT_SEEDS: 192.0.2.1 names no zone and is left out"]
    );
    let resolvers: Vec<String> = heartbeat
        .resolvers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        resolvers,
        [
            "192.0.2.1:53",
            "192.0.2.2:5353",
            "[2001:db8::1]:53",
            "[2001:db8::2]:54"
        ]
    );
    assert_eq!(
        (
            heartbeat.interval.as_millis(),
            heartbeat.ttl,
            heartbeat.most_zones
        ),
        (500, 2_592_000, 25)
    );
    assert!(config(&settings[1..]).heartbeat.is_none());
    for wrong in [
        ("DMP_HEARTBEAT_ENABLED", "perhaps"),
        ("DMP_HEARTBEAT_DNS_RESOLVERS", "dns.example"),
        ("DMP_HEARTBEAT_INTERVAL_SECONDS", "0"),
        ("DMP_HEARTBEAT_TTL_SECONDS", "2592001"),
        ("DMP_HEARTBEAT_MAX_PEERS", "-1"),
    ] {
        assert_eq!(read(&[wrong]).unwrap_err().variable, wrong.0);
    }
}

#[test]
fn an_unknown_log_level_is_info_with_a_warning() {
    let config = config(&[("DMP_LOG_LEVEL", "loud")]);
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(
        config.warnings,
        ["DMP_LOG_LEVEL: \"loud\" is no level, INFO is used"]
    );
}

#[test]
fn doubtful_combinations_are_told_at_start() {
    let overridden = [
        ("DMP_DOMAIN", "a.example"),
        ("DMP_CLUSTER_BASE_DOMAIN", "b.example"),
    ];
    let expected = "DMP_CLUSTER_BASE_DOMAIN overrides DMP_DOMAIN: the served zone is b.example";
    assert_eq!(config(&overridden).warnings, [expected]);

    let mut settings = vec![
        ("DMP_REGISTRATION_ENABLED", "1"),
        ("DMP_OPERATOR_TOKEN", "x"),
    ];
    for (missing, next) in [
        ("DMP_AUTH_MODE", ("DMP_AUTH_MODE", "multi-tenant")),
        ("DMP_NODE_HOSTNAME", ("DMP_NODE_HOSTNAME", "::1")),
        ("DMP_DOMAIN", ("DMP_DOMAIN", "mesh.test")),
        ("DMP_DNS_UPDATE_ENABLED", ("DMP_DNS_UPDATE_ENABLED", "1")),
    ] {
        let warnings = config(&settings).warnings;
        assert!(warnings[0].contains(missing), "{warnings:?}");
        settings.push(next);
    }
    assert_eq!(config(&settings).warnings, Vec::<String>::new());
    let nobody = config(&[("DMP_AUTH_MODE", "legacy")]);
    assert!(
        nobody.warnings[0].contains("nobody can write"),
        "{:?}",
        nobody.warnings
    );
}

#[test]
fn a_node_name_may_hold_a_port_or_an_address_which_is_no_zone() {
    let with_port = config(&[("DMP_NODE_HOSTNAME", "Host.Example:8053")]);
    assert_eq!(node_name(&with_port), Some("Host.Example:8053"));
    assert_eq!(with_port.zone, Some(name("host.example")));
    let with_address = config(&[("DMP_NODE_HOSTNAME", "[::1]:8053")]);
    assert_eq!(with_address.zone, None);
}

#[test]
fn secrets_never_show() {
    let config = config(&[
        ("DMP_OPERATOR_TOKEN", "hunter2"),
        ("DMP_SYNC_PEER_TOKEN", "hunter2"),
    ]);
    assert!(!format!("{config:?}").contains("hunter2"));
    let secret = "000102030405060708090a0b0c0d0e0";
    let error = read(&[("DMP_DNS_COOKIE_SECRET", secret)]).unwrap_err();
    assert!(!error.to_string().contains(secret), "{error}");
}

#[test]
fn the_served_zone_and_the_registration_settings_are_those_of_the_vectors() {
    let text = include_str!("../../../vectors/node_scope_zone.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let cases = vectors["zone_resolution"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let pairs = case["env"].as_object().unwrap();
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        let mut pairs: Vec<(&str, &str)> = pairs.collect();
        // The roles of claims need UPDATE, which the vectors leave out.
        pairs.push(("DMP_DNS_UPDATE_ENABLED", "1"));
        let config = config(&pairs);
        let zone = config
            .zone
            .as_ref()
            .map(Owner::to_string)
            .unwrap_or_default();
        assert_eq!(zone, case["served_zone"].as_str().unwrap(), "{case}");
        assert_eq!(zone, case["registration_zone"].as_str().unwrap(), "{case}");
        // D11: the provider role is off unless it was switched on, where the reference has it on.
        let switched_on = case["env"]["DMP_CLAIM_PROVIDER"] == "1";
        assert_eq!(config.is_claim_provider(), switched_on, "{case}");
        if switched_on {
            assert_eq!(
                zone,
                case["claim_provider_zone"].as_str().unwrap(),
                "{case}"
            );
        }
        let registration = &config.registration;
        let allowlist: Vec<String> = registration
            .allowlist
            .iter()
            .map(Owner::to_string)
            .collect();
        assert_eq!(
            registration.switched_on, case["registration_enabled_flag"],
            "{case}"
        );
        let node_name = node_name(&config).unwrap_or_default();
        assert_eq!(
            node_name,
            case["registration_node"].as_str().unwrap(),
            "{case}"
        );
        assert_eq!(serde_json::json!(allowlist), case["allowlist"], "{case}");
    }
}

fn name(text: &str) -> Owner {
    Owner::parse(text).unwrap()
}

fn node_name(config: &Config) -> Option<&str> {
    let name = config.registration.node_name.as_ref();
    name.map(|name| name.as_str())
}

fn rate(per_second: f64, burst: f64) -> Rate {
    Rate { per_second, burst }
}
