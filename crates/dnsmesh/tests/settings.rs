//! `token`, `tsig show|forget` and `config`: what lies in the home, read and changed without passphrase and network.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::User;
use serde_json::Value;

const TOKEN: &str = "dmp_v1_ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A user with no way to a passphrase.
fn user(dir: &tempfile::TempDir) -> User {
    User::new(dir.path(), "alice").without("DMP_PASSPHRASE")
}

fn initialised(dir: &tempfile::TempDir) -> User {
    let user = user(dir);
    user.run(&["init", "alice@mesh.test", "--no-probe-local-dns"])
        .expect(0);
    user
}

fn save(user: &User, host: &str, token: &str, subject: &str, expires: &str) {
    let dir = user.home.join("tokens");
    fs::create_dir_all(&dir).unwrap();
    fs::write(
        dir.join(format!("{host}.json")),
        format!(
            r#"{{"version":1,"node":"{host}","subject":"{subject}","token":"{token}","expires_at":{expires},"registered_spk":"aa","saved_at":1700000000}}"#
        ),
    )
    .unwrap();
}

/// The objects of JSON lines.
fn objects(output: &str) -> Vec<Value> {
    output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn token_list_has_the_references_columns_and_array_and_never_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir);
    let empty = user.run(&["token", "list"]).expect(0);
    assert_eq!(empty.stdout, "(no saved tokens)\n");
    assert_eq!(
        user.run(&["token", "list", "--json"]).expect(0).json(),
        Value::Array(vec![])
    );

    save(
        &user,
        "beta.test",
        "short",
        "alice\\u001b[2J@beta.test",
        "null",
    );
    save(&user, "alpha.test", TOKEN, "alice@alpha.test", "1900000000");
    fs::write(user.home.join("tokens/damaged.test.json"), "{broken").unwrap();
    fs::write(user.home.join("tokens/notes.txt"), "no token").unwrap();
    let listed = user.run(&["token", "list"]).expect(0).warns("damaged");
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            format!("{:<30} {:<30} EXPIRES", "NODE", "SUBJECT"),
            format!(
                "{:<30} {:<30} 2030-03-17T17:46:40Z",
                "alpha.test", "alice@alpha.test"
            ),
            format!("{:<30} {:<30} -", "beta.test", "alice\\x1b[2J@beta.test"),
        ]
    );
    let ran = user.run(&["token", "list", "--json"]).expect(0);
    for output in [&listed.stdout, &ran.stdout] {
        assert!(
            !output.contains(TOKEN) && !output.contains("short"),
            "{output}"
        );
    }
    let first = &ran.json()[0];
    let members: Vec<_> = first
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        members,
        [
            "expires_at",
            "node",
            "registered_spk",
            "saved_at",
            "schema",
            "subject",
            "token_len",
            "token_prefix",
            "version"
        ]
    );
    assert_eq!(
        (&first["token_prefix"], &first["token_len"]),
        (&"dmp_v1_ABCDEFGHI…".into(), &TOKEN.len().into())
    );
    let order = [
        "version",
        "node",
        "subject",
        "expires_at",
        "registered_spk",
        "saved_at",
        "token_prefix",
        "token_len",
    ]
    .map(|member| ran.stdout.find(&format!("\"{member}\"")).unwrap());
    assert!(order.is_sorted(), "{}", ran.stdout);
}

#[test]
fn token_forget_normalises_the_node_and_refuses_what_is_no_host() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(&dir);
    save(&user, "alpha.test", TOKEN, "a@alpha.test", "0");
    fs::write(user.home.join("secret.json"), "{}").unwrap();
    user.run(&["token", "forget", "ALPHA.test."])
        .expect(0)
        .says("forgot token for ALPHA.test.\n");
    assert!(!user.home.join("tokens/alpha.test.json").exists());
    for unknown in ["alpha.test", "../secret", "", "a/b"] {
        user.run(&["token", "forget", unknown])
            .expect(1)
            .nothing_on_stdout()
            .warns("dnsmesh: ");
    }
    assert!(user.home.join("secret.json").exists());
}

#[test]
fn tsig_show_keeps_the_secret_and_bind_prints_a_clause() {
    let dir = tempfile::tempdir().unwrap();
    let user = initialised(&dir);
    for verb in ["show", "forget"] {
        user.run(&["tsig", verb])
            .expect(1)
            .nothing_on_stdout()
            .warns("no TSIG key is configured");
    }
    user.configure(
        "tsig_key_name: alice-1.mesh.test.\ntsig_secret_hex: 00ff10\ntsig_algorithm: hmac-sha512\n\
         tsig_zone: mesh.test\ntsig_dns_server: ns.mesh.test\ntsig_dns_port: 0\ntsig_expires_at: 1900000000\nfuture: kept",
    );
    let shown = user.run(&["tsig", "show"]).expect(0);
    assert_eq!(
        shown.stdout,
        "TSIG key:  alice-1.mesh.test.\nalgorithm: hmac-sha512\nzone:      mesh.test\n\
         DNS:       ns.mesh.test:53\nexpires:   2030-03-17T17:46:40Z\n"
    );
    let json = user.run(&["tsig", "show", "--json"]).expect(0).json();
    assert_eq!(
        (&json["schema"], &json["dns_port"], json.get("key_clause")),
        (&"dmp.tsig/1".into(), &53.into(), None)
    );
    assert!(!json.to_string().contains("00ff10"));
    let clause = "key \"alice-1.mesh.test.\" {\n\talgorithm hmac-sha512;\n\tsecret \"AP8Q\";\n};\n";
    let bind = user.run(&["tsig", "show", "--bind"]).expect(0);
    assert_eq!(bind.stdout, clause);
    assert_eq!(
        user.run(&["tsig", "show", "--bind", "--json"])
            .expect(0)
            .json()["key_clause"],
        clause
    );
    user.configure("tsig_key_name: 'a\"; };'");
    user.run(&["tsig", "show", "--bind"])
        .expect(1)
        .nothing_on_stdout();

    let salt = user.setting("kdf_salt");
    user.run(&["tsig", "forget"])
        .expect(0)
        .says("forgot TSIG key ")
        .warns("until it expires there");
    for key in [
        "tsig_key_name",
        "tsig_secret_hex",
        "tsig_zone",
        "tsig_dns_server",
    ] {
        assert_eq!(user.setting(key), "''", "{key}");
    }
    assert!(!user.config().contains("tsig_expires_at"));
    assert_eq!(
        (user.setting("kdf_salt"), user.setting("future")),
        (salt, "kept".into())
    );
}

#[test]
fn config_reads_and_changes_one_key_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let user = initialised(&dir);
    user.configure("future_key: [1, two]");
    let salt = user.setting("kdf_salt");
    for (key, value, stored) in [
        ("endpoint", "node.test/", "https://node.test"),
        ("dns-port", "53", "53"),
        ("allow_tofu", "yes", "true"),
        ("trust_policy", "verified-only", "verified-only"),
        (
            "dns_resolvers",
            "9.9.9.9, [2001:db8::53]:5353",
            "9.9.9.9,[2001:db8::53]:5353",
        ),
        (
            "claim-provider",
            "https://claims.test",
            "https://claims.test",
        ),
        ("identity_domain", "alice.example", "alice.example"),
        ("identity_domain", "", ""),
        ("recv_primary_interval_seconds", "-1", "-1"),
        ("message_ttl", "3600", "3600"),
        ("provider_seeds", "[]", ""),
        ("provider_seeds", "", ""),
        ("username", "123", "123"),
    ] {
        user.run(&["config", "set", key, value])
            .expect(0)
            .says(&format!(": {stored}\n"));
        let got = user.run(&["config", "get", key]).expect(0);
        assert_eq!(got.stdout, format!("{stored}\n"), "{key}");
    }
    assert_eq!(user.setting("username"), "'123'");
    assert_eq!(user.setting("provider_seeds"), "[]");
    assert_eq!(
        user.setting("claim_provider_override"),
        "https://claims.test"
    );
    assert_eq!(user.setting("kdf_salt"), salt);
    assert!(
        user.config().contains("future_key:\n- 1\n- two\n"),
        "{}",
        user.config()
    );
    let mode = fs::metadata(user.home.join("config.yaml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    user.run(&["config", "unset", "message_ttl"])
        .expect(0)
        .says("message_ttl: 86400\n");
    user.run(&["config", "unset", "dns_port"]).expect(0);
    assert_eq!(user.setting("dns_port"), "5353");
    assert!(!user.config().contains("message_ttl"));
    let path = user.run(&["config", "path"]).expect(0);
    assert_eq!(
        path.stdout,
        format!("{}\n", user.home.join("config.yaml").display())
    );
}

#[test]
fn what_a_key_does_not_take_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let user = initialised(&dir);
    let before = user.config();
    for (key, value) in [
        ("dns_port", "many"),
        ("dns_port", "70000"),
        ("allow_tofu", "maybe"),
        ("trust_policy", "paranoid"),
        ("dns_resolvers", "dns.example"),
        ("dns_resolvers", "8.8.8.8:0"),
        ("dns_host", "dns.example"),
        ("domain", ""),
        ("domain", "two words"),
        ("username", "al ice"),
        ("endpoint", "ftp://node.test"),
        ("kdf_salt", "abc"),
        ("verify_pubkey", "zz"),
        ("cluster_operator_spk", "00"),
        ("tsig_algorithm", "hmac-md5"),
        ("tsig_secret_hex", "0"),
        ("message_ttl", "0"),
        ("message_ttl", "2592001"),
        ("provider_seeds", "a b"),
        ("claim_provider_override", "claims.test"),
        ("contacts", "bob"),
    ] {
        user.run(&["config", "set", key, value])
            .expect(1)
            .nothing_on_stdout()
            .warns(&format!("config key {key}: "));
    }
    for verb in [
        &["config", "get", "dns_prot"][..],
        &["config", "set", "dns-prot", "1"],
        &["config", "unset", "dns_prot"],
    ] {
        user.run(verb)
            .expect(1)
            .nothing_on_stdout()
            .warns("did you mean dns_port?");
    }
    user.run(&["config", "get", "nonsense_of_all_kinds"])
        .expect(1)
        .warns("unknown configuration key");
    assert_eq!(user.config(), before);
    User::new(dir.path(), "nobody")
        .run(&["config", "list"])
        .expect(1)
        .warns("no config at ");
}

#[test]
fn secrets_are_masked_unless_asked_for_and_come_through_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let user = initialised(&dir);
    user.configure("password_of_tomorrow: hidden");
    user.run_with_input(&["config", "set", "http_token", "-"], b"operator-secret\n")
        .expect(0)
        .says("http_token: ********\n");
    assert_eq!(user.setting("http_token"), "operator-secret");
    let salt = user.setting("kdf_salt");
    let salt = salt.trim_matches('\'');
    for arguments in [
        &["config", "list"][..],
        &["config", "list", "--json", "--origin"],
        &["config", "get", "http_token"],
    ] {
        let output = user.run(arguments).expect(0).stdout;
        for secret in ["operator-secret", salt, "hidden"] {
            assert!(!output.contains(secret), "{arguments:?}: {output}");
        }
    }
    user.run(&["config", "get", "http_token", "--show-secrets"])
        .expect(0)
        .says("operator-secret\n");
    user.run(&["config", "list", "--show-secrets"])
        .expect(0)
        .says(salt)
        .says("password_of_tomorrow: hidden\n");
    let masked = user
        .run(&["config", "get", "http_token", "--json"])
        .expect(0)
        .json();
    assert_eq!(
        (&masked["schema"], &masked["value"], &masked["masked"]),
        (&"dmp.setting/1".into(), &Value::Null, &true.into())
    );
}

#[test]
fn list_says_where_each_value_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let user = initialised(&dir).with("DMP_PROVIDER_DNS_PORT", "5300");
    let lines = objects(
        &user
            .run(&["config", "list", "--origin", "--json"])
            .expect(0)
            .stdout,
    );
    let origin = |key: &str| {
        let line = lines
            .iter()
            .find(|line| line["key"] == key)
            .unwrap_or_else(|| panic!("no {key}"));
        (
            line["value"].to_string(),
            line["origin"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(
        origin("provider-dns-port"),
        ("\"5300\"".into(), "environment".into())
    );
    assert_eq!(origin("config-home").1, "environment");
    assert_eq!(origin("username"), ("\"alice\"".into(), "file".into()));
    assert_eq!(origin("message_ttl"), ("86400".into(), "default".into()));
    assert_eq!(origin("system-dns-fallback").1, "default");

    let home = dir.path().join("flag");
    let flag = home.to_str().unwrap();
    user.run(&["--config-home", flag, "init", "bob@mesh.test", "--no-probe"])
        .expect(0);
    user.without("DMP_TOKENS_HOME")
        .run(&["--config-home", flag, "config", "list", "--origin"])
        .expect(0)
        .says(&format!("flag         config-home: {flag}\n"))
        .says(&format!("flag         tokens-home: {flag}/tokens\n"))
        .says("file         username: bob\n");
}

/// Only with another salt is the old file kept: it is the identity.
#[test]
fn another_salt_keeps_the_old_file_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let user = initialised(&dir);
    let before = user.config();
    let salt = "11".repeat(32);
    let ran = user
        .run(&["config", "set", "kdf_salt", &salt])
        .expect(0)
        .warns("another identity");
    assert!(!ran.stdout.contains(&salt), "{}", ran.stdout);
    assert_eq!(
        fs::read_to_string(user.home.join("config.yaml.bak")).unwrap(),
        before
    );
}

#[test]
fn two_changes_at_once_are_both_kept() {
    let dir = tempfile::tempdir().unwrap();
    let user = initialised(&dir);
    let start = |key: &str, value: &str| {
        let mut command: Command = user.command(&["config", "set", key, value]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let running = [
        start("endpoint", "https://node.test"),
        start("dns_port", "53"),
        start("allow_tofu", "true"),
        start("identity_domain", "alice.example"),
    ];
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    for (key, value) in [
        ("endpoint", "https://node.test"),
        ("dns_port", "53"),
        ("allow_tofu", "true"),
        ("identity_domain", "alice.example"),
    ] {
        assert_eq!(user.setting(key), value, "{key}");
    }
}
