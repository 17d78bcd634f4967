//! The command line as cli.md describes it: usage, exit codes, streams, `init`, passphrases; no network is used.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{Ran, User, program};

fn usage(arguments: &[&str]) -> Ran {
    Ran::of(arguments, program(arguments).output().unwrap())
}

#[test]
fn usage_errors_are_told_on_stderr_with_status_2() {
    for arguments in [
        &[][..],
        &["unknown"],
        &["init"],
        &["init", "alice", "--unknown"],
        &["init", "alice", "--dns-port", "many"],
        &["init", "alice", "--dns-port", "70000"],
        &["init", "alice", "extra"],
        &["identity"],
        &["identity", "unknown"],
        &["tsig"],
        &["register"],
        &["register", "--node", "n.test", "--scheme", "gopher"],
        &["identity", "show", "--config-home", "/tmp"],
        &["recv", "--primary-only", "--skip-primary"],
        &["send", "bob"],
        &["send", "bob", "-x"],
        &["send", "bob", "text", "--ttl", "soon"],
        &["intro", "trust", "first"],
        &["intro", "accept"],
        &["contacts", "add", "bob"],
        &["node", "--dns-port", "-1"],
        &["node", "stop"],
        &["tsig", "register", "--node", "n.test", "--dns-port", "dns"],
    ] {
        let ran = usage(arguments).expect(2).nothing_on_stdout();
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    usage(&["--help"]).expect(0).says("Usage: dnsmesh");
    usage(&["-h"]).expect(0).says("Usage: dnsmesh");
    usage(&["init", "--help"]).expect(0).says("--dns-resolvers");
    usage(&["identity", "show", "-h"]).expect(0).says("--json");
    usage(&["--version"])
        .expect(0)
        .says(concat!("dnsmesh ", env!("CARGO_PKG_VERSION")));
}

/// Every flag of the reference, in both spellings, and abbreviated where that is unambiguous.
#[test]
fn every_flag_of_init_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "all");
    user.run(&[
        "init",
        "--domain",
        "mesh.test",
        "alice",
        "--endpoint=http://127.0.0.1:1/",
        "--http-token",
        "t",
        "--dns-host",
        "192.0.2.1",
        "--dns-port=53",
        "--dns-resolvers",
        "8.8.8.8, 8.8.4.4:53 ,2001:db8::53,[2001:DB8::53]:5353",
        "--no-default-res",
        "--identity-domain",
        " alice.example ",
        "--force",
        "--no-probe",
        "--allow-tofu",
        "--require-dnssec",
    ])
    .expect(0)
    .says("wrote config to ");
    for (key, value) in [
        ("username", "alice"),
        ("domain", "mesh.test"),
        ("endpoint", "http://127.0.0.1:1"),
        ("http_token", "t"),
        ("dns_host", "192.0.2.1"),
        ("dns_port", "53"),
        ("identity_domain", "alice.example"),
        ("allow_tofu", "true"),
        ("dnssec_required", "true"),
    ] {
        assert_eq!(user.setting(key), value, "{key}");
    }
    assert!(
        user.config()
            .contains("- 8.8.8.8\n- 8.8.4.4:53\n- 2001:db8::53\n- '[2001:db8::53]:5353'\n"),
        "{}",
        user.config()
    );
}

#[test]
fn init_takes_the_systems_and_encrypted_resolvers() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    let list = "system, tls://192.0.2.1#Dns.Example,https://dns.example/q@192.0.2.1";
    user.run(&["init", "alice", "--dns-resolvers", list])
        .expect(0);
    assert!(
        user.config().contains(
            "- system\n- tls://192.0.2.1#dns.example\n- https://dns.example/q@192.0.2.1\n"
        ),
        "{}",
        user.config()
    );
    let user = User::new(dir.path(), "wrong");
    user.run(&["init", "alice", "--dns-resolvers", "tls://dns.example"])
        .expect(1)
        .warns("tls://address");
}

#[test]
fn init_writes_a_private_config_with_the_default_resolvers() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    let ran = user.run(&["init", "alice"]).expect(0);
    assert_eq!(
        ran.stdout.lines().next(),
        Some(
            format!(
                "wrote config to {}",
                user.home.join("config.yaml").display()
            )
            .as_str()
        )
    );
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&user.home), mode(&user.home.join("config.yaml"))),
        (0o700, 0o600)
    );
    assert!(user.config().contains("- 1.1.1.1\n- 8.8.8.8\n"));
    assert_eq!(user.setting("kdf_salt").trim_matches('\'').len(), 64);
    assert_eq!(user.setting("domain"), "mesh.local");

    let user = User::new(dir.path(), "none");
    user.run(&["init", "alice", "--no-default-resolvers"])
        .expect(0);
    assert_eq!(user.setting("dns_resolvers"), "[]");
}

#[test]
fn a_second_init_is_refused_and_force_makes_a_new_salt_and_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice"]).expect(0);
    let before = user.config();
    user.run(&["init", "bob"])
        .expect(1)
        .nothing_on_stdout()
        .warns("dnsmesh: config already exists at ");
    assert_eq!(user.config(), before);
    let salt = user.setting("kdf_salt");
    user.run(&["init", "alice", "--force"]).expect(0);
    assert_ne!(user.setting("kdf_salt"), salt);
    assert_eq!(
        fs::read_to_string(user.home.join("config.yaml.bak")).unwrap(),
        before
    );
}

#[test]
fn init_splits_an_address_and_an_explicit_domain_wins() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments, username, domain) in [
        ("a", &["init", "alice@mesh.test"][..], "alice", "mesh.test"),
        (
            "b",
            &["init", "alice@mesh.test", "--domain", "other.test"],
            "alice",
            "other.test",
        ),
        (
            "c",
            &["init", "alice@mesh.test", "--domain", "mesh.local"],
            "alice",
            "mesh.test",
        ),
    ] {
        let user = User::new(dir.path(), name);
        user.run(arguments).expect(0);
        assert_eq!(
            (user.setting("username"), user.setting("domain")),
            (username.to_owned(), domain.to_owned())
        );
    }
}

#[test]
fn init_refuses_what_is_no_address_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let long = "a".repeat(65);
    for (arguments, names) in [
        (&["init", "alice@"][..], "alice@"),
        (&["init", "@h.test"], "@h.test"),
        (&["init", ""], "user name"),
        (&["init", "a b"], "' '"),
        (&["init", "a/b"], "'/'"),
        (&["init", "a+b"], "'+'"),
        (&["init", "grün"], "'ü'"),
        (&["init", "a\u{1b}b"], "user name"),
        (&["init", ".alice"], "'.'"),
        (&["init", "al..ice"], "user name"),
        (&["init", &long], "user name"),
        (&["init", "a@b@c.test"], "b@c.test"),
        (&["init", "alice@-h.test"], "-h.test"),
        (
            &["init", "alice", "--dns-resolvers", "dns.example"],
            "invalid --dns-resolvers",
        ),
        (
            &["init", "alice", "--dns-resolvers", "8.8.8.8:0"],
            "invalid --dns-resolvers",
        ),
        (
            &["init", "alice", "--dns-resolvers", "8.8.8.8:70000"],
            "invalid --dns-resolvers",
        ),
        (
            &["init", "alice", "--dns-resolvers", ","],
            "invalid --dns-resolvers",
        ),
    ] {
        let user = User::new(dir.path(), "u");
        let ran = user
            .run(arguments)
            .expect(1)
            .nothing_on_stdout()
            .warns(names);
        assert!(
            ran.stderr.starts_with("dnsmesh: ") && !ran.stderr.contains('\u{1b}'),
            "{arguments:?}: {:?}",
            ran.stderr
        );
        assert!(!user.home.exists(), "{arguments:?}");
    }
}

#[test]
fn init_lower_cases_the_name_and_warns_about_a_host_of_one_label() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "Alice@localmesh"])
        .expect(0)
        .warns("alice")
        .warns("one label");
    assert_eq!(user.setting("username"), "alice");
}

#[test]
fn an_endpoint_without_a_scheme_gets_https() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&[
        "init",
        "alice",
        "--endpoint",
        " node.test// ",
        "--no-probe-local-dns",
    ])
    .expect(0);
    assert_eq!(user.setting("endpoint"), "https://node.test");
}

#[test]
fn identity_show_needs_no_network() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&[
        "init",
        "alice@mesh.test",
        "--endpoint",
        "http://192.0.2.1",
        "--no-probe-local-dns",
        "--dns-resolvers",
        "192.0.2.1",
    ])
    .expect(0);
    let ran = user.run(&["identity", "show"]).expect(0);
    let members = [
        "username",
        "domain",
        "public_key",
        "signing_public_key",
        "user_id",
    ];
    let names: Vec<&str> = ran
        .stdout
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(names, members);
    assert!(
        ran.stdout
            .starts_with("username: alice\ndomain: mesh.test\npublic_key: ")
    );

    let json = user.run(&["identity", "show", "--json"]).expect(0);
    assert!(
        json.stdout.starts_with(
            "{\n  \"username\": \"alice\",\n  \"domain\": \"mesh.test\",\n  \"public_key\": "
        ),
        "{}",
        json.stdout
    );
    let document = json.json();
    for line in ran.stdout.lines() {
        let (member, value) = line.split_once(": ").unwrap();
        assert_eq!(document[member], value);
    }
    assert_eq!(
        user.setting("verify_pubkey").trim_matches('\''),
        document["signing_public_key"].as_str().unwrap()
    );
}

#[test]
fn the_sample_home_of_the_reference_gives_its_keys() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/state-files");
    let meta: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(vectors.join("config.yaml.meta.json")).unwrap())
            .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let user =
        User::new(dir.path(), "u").with("DMP_PASSPHRASE", meta["passphrase"].as_str().unwrap());
    fs::create_dir(&user.home).unwrap();
    fs::copy(vectors.join("config.yaml"), user.home.join("config.yaml")).unwrap();
    let shown = user.run(&["identity", "show", "--json"]).expect(0).json();
    assert_eq!(shown["public_key"], meta["x25519_public"]);
    assert_eq!(shown["signing_public_key"], meta["ed25519_public"]);
    assert_eq!(shown["user_id"], meta["user_id"]);
    assert_eq!(
        user.config(),
        fs::read_to_string(vectors.join("config.yaml")).unwrap(),
        "showing changes nothing"
    );
}

#[test]
fn without_a_config_every_verb_says_where_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    for arguments in [
        &["identity", "show"][..],
        &["register", "--node", "n.test"],
        &["tsig", "register", "--node", "n.test"],
    ] {
        let ran = user.run(arguments).expect(1).nothing_on_stdout();
        assert!(
            ran.stderr.starts_with(&format!(
                "dnsmesh: no config at {}",
                user.home.join("config.yaml").display()
            )),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_damaged_config_is_one_line_with_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice"]).expect(0);
    user.configure("dns_port: many");
    let ran = user.run(&["identity", "show"]).expect(1).warns("dns_port");
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn the_passphrase_comes_from_environment_file_or_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice"]).expect(0);
    let shown = user.run(&["identity", "show"]).expect(0).stdout;

    let file = dir.path().join("passphrase");
    fs::write(&file, "  passphrase of u \n\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    user.configure("passphrase_file: ~/passphrase");
    let user = user.without("DMP_PASSPHRASE");
    assert_eq!(user.run(&["identity", "show"]).expect(0).stdout, shown);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    user.run(&["identity", "show"])
        .expect(0)
        .warns("can be read by others");

    fs::write(&file, "\n").unwrap();
    user.run(&["identity", "show"]).expect(1).warns("is empty");
}

#[test]
fn a_mistyped_passphrase_trips_and_the_override_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice"]).expect(0);
    let right = user.run(&["identity", "show"]).expect(0).stdout;
    let remembered = user.setting("verify_pubkey");
    let user = user.with("DMP_PASSPHRASE", "mistyped");
    user.run(&["identity", "show"])
        .expect(1)
        .nothing_on_stdout()
        .warns("passphrase mismatch");
    let user = user.with("DMP_PASSPHRASE_OVERRIDE_VERIFY", "yes");
    user.run(&["identity", "show"])
        .expect(1)
        .warns("passphrase mismatch");
    let user = user.with("DMP_PASSPHRASE_OVERRIDE_VERIFY", "1");
    let other = user
        .run(&["identity", "show"])
        .expect(0)
        .warns("passphrase mismatch")
        .stdout;
    assert_ne!(other, right);
    assert_eq!(user.setting("verify_pubkey"), remembered);
}

#[test]
fn the_config_home_flag_beats_the_variable() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "variable");
    let flag = dir.path().join("flag");
    user.run(&["--config-home", flag.to_str().unwrap(), "init", "alice"])
        .expect(0)
        .says("flag/config.yaml");
    assert!(!user.home.exists() && flag.join("config.yaml").exists());
}

#[test]
fn a_wide_home_is_made_private_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice"]).expect(0);
    fs::set_permissions(
        user.home.join("config.yaml"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    user.run(&["identity", "show"])
        .expect(0)
        .warns("config.yaml");
    user.run(&["identity", "show"]).expect(0);
    assert_eq!(
        fs::metadata(user.home.join("config.yaml"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn registration_refuses_what_is_not_the_own_address_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice@mesh.test"]).expect(0);
    for verb in [&["register"][..], &["tsig", "register"]] {
        let with = |more: &[&'static str]| user.run(&[verb, more].concat());
        with(&["--node", "n.test", "--subject", "bob@mesh.test"])
            .expect(1)
            .warns("bob@mesh.test")
            .nothing_on_stdout();
        with(&["--node", "ftp://n.test"])
            .expect(1)
            .warns("ftp://n.test");
        with(&["--node", "http://127.0.0.1:1"])
            .expect(2)
            .warns("dnsmesh: cannot reach http://127.0.0.1:1")
            .nothing_on_stdout();
    }
}

#[test]
fn a_reader_who_has_gone_away_is_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice"]).expect(0);
    let mut child = user
        .command(&["identity", "show"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

/// cli.md 3: every flag of every verb gets as far as the missing configuration.
#[test]
fn every_flag_of_the_other_verbs_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    let key = "11".repeat(32);
    for arguments in [
        &["identity", "show", "--json"][..],
        &[
            "identity",
            "publish",
            "--ttl",
            "60",
            "--advertise-v2",
            "--json",
        ],
        &[
            "identity",
            "refresh-prekeys",
            "--count",
            "3",
            "--ttl",
            "60",
            "--json",
        ],
        &[
            "identity",
            "fetch",
            "bob",
            "--domain",
            "d.test",
            "--add",
            "--accept-fingerprint",
            "00",
            "--json",
        ],
        &[
            "contacts",
            "add",
            "bob",
            &key,
            "--signing-key",
            &key,
            "--force",
            "--json",
        ],
        &["contacts", "list", "--json"],
        &[
            "contacts",
            "add",
            "bob@b.test",
            "--accept-fingerprint",
            "00",
        ],
        &[
            "contacts",
            "add",
            "dmp:bob@b.test",
            "--label",
            "l",
            "--force",
        ],
        &["contacts", "show", "bob", "--json"],
        &[
            "contacts",
            "set",
            "bob",
            "--label",
            "l",
            "--wire",
            "legacy",
            "--zone",
            "b.test",
            "--mailbox-zone",
            "",
            "--username",
            "b",
        ],
        &["contacts", "remove", "bob", "--yes"],
        &["contacts", "verify", "bob", "--number", "1 2"],
        &[
            "contacts",
            "accept-key",
            "bob",
            "--accept-fingerprint",
            "0011223344556677",
            "--yes",
        ],
        &["contacts", "block", "bob", "--note", "n"],
        &["contacts", "unblock", "bob"],
        &["identity", "show", "--uri"],
        &["identity", "qr"],
        &["identity", "unpublish"],
        &[
            "identity", "revoke", "--reason", "other", "--ttl", "60", "--yes",
        ],
        &[
            "identity",
            "rotate",
            "--new-passphrase-file",
            "f",
            "--ttl",
            "60",
            "--exp-seconds",
            "60",
            "--yes",
            "--reason",
            "lost_key",
            "--experimental",
            "--advertise-v2",
        ],
        &[
            "send",
            "bob",
            "--ttl=2h",
            "--require-fs",
            "--json",
            "--",
            "-text",
        ],
        &["send", "--ttl", "90", "bob", "-"],
        &["recv", "--primary-only", "--json"],
        &["recv", "--skip-primary"],
        &["recv", "--follow", "--for", "2m", "--dropped"],
        &["recv", "--exec", "cat", "--json"],
        &["intro", "list", "--json"],
        &["intro", "accept", "1", "--json"],
        &[
            "intro",
            "trust",
            "1",
            "--label",
            "l",
            "--username",
            "u",
            "--json",
        ],
        &["intro", "block", "1", "--note", "spam", "--json"],
        &["intro", "denied", "--json"],
        &["intro", "unblock", "bob", "--json"],
        &["intro", "purge", "--expired", "--json"],
        &["intro", "purge", "--all"],
        &[
            "register",
            "--node",
            "n.test",
            "--subject",
            "a@b.test",
            "--scheme",
            "http",
            "--node-name",
            "m.test",
            "--json",
        ],
        &[
            "tsig",
            "register",
            "--node",
            "n.test",
            "--dns-server",
            "192.0.2.1",
            "--dns-port",
            "53",
            "--json",
        ],
        &["identity", "fetch", "bob@b.test", "--via-bootstrap"],
        &["bootstrap", "pin", "b.test", &key, "--json"],
        &[
            "bootstrap",
            "fetch",
            "--user-domain",
            "b.test",
            "--signer-spk",
            &key,
            "--json",
        ],
        &[
            "bootstrap",
            "discover",
            "bob@b.test",
            "--signer-spk",
            &key,
            "--auto-pin",
            "--json",
        ],
    ] {
        let ran = user.run(arguments).expect(1).nothing_on_stdout();
        assert!(
            ran.stderr.contains("no config at "),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
    let json = user.run(&["contacts", "list", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(
        (&error["schema"], &error["code"], &error["exit"]),
        (&"dmp.error/1".into(), &"home-no-config".into(), &1.into())
    );
}

#[test]
fn without_a_terminal_the_passphrase_is_a_line_of_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&[
        "init",
        "alice@mesh.test",
        "--endpoint",
        "http://127.0.0.1:1",
        "--no-probe",
    ])
    .expect(0);
    let shown = user.run(&["identity", "show"]).expect(0).stdout;
    let user = user.without("DMP_PASSPHRASE");
    // A session of its own has no terminal, wherever the test runs.
    let detached = |arguments: &[&str], input: &str| -> Ran {
        let command = user.command(arguments);
        let mut setsid = std::process::Command::new("setsid");
        setsid
            .arg("--wait")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear();
        setsid.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let mut child = setsid
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The program may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    };
    assert_eq!(
        detached(&["identity", "show"], "passphrase of u\nmore")
            .expect(0)
            .stdout,
        shown
    );
    detached(&["identity", "show"], "mistyped\n")
        .expect(1)
        .warns("passphrase mismatch");
    detached(&["identity", "show"], "\n")
        .expect(1)
        .warns("the passphrase is empty");
    detached(&["identity", "show"], "")
        .expect(1)
        .warns("no passphrase: end of input");
    detached(&["send", "bob", "-"], "passphrase of u\n")
        .expect(1)
        .warns("there is no terminal to ask on");
}

#[test]
fn an_interrupt_ends_a_verb_with_status_130() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&[
        "init",
        "alice@mesh.test",
        "--endpoint",
        "http://127.0.0.1:1",
        "--no-probe",
    ])
    .expect(0);
    let mut child = user
        .command(&["send", "bob", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The store is opened after the handler is in place and before the message is read.
    while !user.home.join("dnsmesh.db").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let held_open = child.stdin.take();
    let ran: Ran = child.wait_with_output().unwrap().into();
    drop(held_open);
    assert_eq!(
        (ran.status, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(130), "", "")
    );
}
