//! How the program behaves towards the people in front of it (cli.md 1.3, product.md 5.2): what is quiet, what is coloured, what is asked.

mod common;

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};

use common::node::Node;
use common::{Ran, User, program};

fn user(dir: &Path) -> User {
    let user = User::new(dir, "u");
    user.run(&["init", "alice", "--no-probe-local-dns"])
        .expect(0);
    user
}

#[test]
fn quiet_leaves_out_notes_and_keeps_warnings_and_errors() {
    let dir = tempfile::tempdir().unwrap();
    let add = |name: &str, more: &[&str]| {
        let user = User::new(dir.path(), name);
        user.run(&[&["init", "Alice@one"], more].concat()).expect(0)
    };
    add("loud", &[])
        .warns("note: the user name is written in lower case")
        .warns("warning: ");
    let quiet = add("quiet", &["--quiet"]).warns("warning: ");
    assert!(!quiet.stderr.contains("note: "), "{}", quiet.stderr);
    assert!(!quiet.stderr.contains("hint: "), "{}", quiet.stderr);
    user(dir.path())
        .run(&["-q", "send", "bob", "x"])
        .expect(1)
        .warns("dnsmesh: ");
}

#[test]
fn verbose_tells_what_is_done_and_never_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(dir.path());
    let silent = user.run(&["identity", "show"]).expect(0);
    assert_eq!(silent.stderr, "");
    let told = user.run(&["-v", "identity", "show"]).expect(0);
    told.warns(" INFO dnsmesh::context: reading the configuration path=");
    let told = user
        .run(&["identity", "show", "-vv"])
        .expect(0)
        .warns(" DEBUG dnsmesh::");
    assert_eq!(told.stdout, silent.stdout);

    let node = Node::start(dir.path(), "alpha.test");
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let user = User::new(dir.path(), name);
        let (address, resolver) = (format!("{name}@alpha.test"), node.dns.to_string());
        user.run(&[
            "init",
            &address,
            "--endpoint",
            &node.url(),
            "--dns-resolvers",
            &resolver,
            "--no-probe-local-dns",
        ])
        .expect(0);
        user.configure("provider_seeds: []");
        user
    });
    let port = node.dns.port().to_string();
    let mut told = String::new();
    let mut run = |user: &User, arguments: &[&str]| {
        let ran = user.run(&[arguments, &["-vv"]].concat()).expect(0);
        told += &ran.stderr;
        ran.stdout
    };
    for user in [&alice, &bob] {
        run(user, &["register", "--node", &node.url()]);
        run(
            user,
            &[
                "tsig",
                "register",
                "--node",
                &node.url(),
                "--dns-server",
                "127.0.0.1",
                "--dns-port",
                &port,
            ],
        );
        run(user, &["identity", "publish"]);
    }
    run(&alice, &["identity", "fetch", "bob@alpha.test", "--add"]);
    run(&bob, &["identity", "fetch", "alice@alpha.test", "--add"]);
    run(&alice, &["send", "bob@alpha.test", "a text for bob alone"]);
    assert!(run(&bob, &["recv"]).contains("a text for bob alone"));
    let secrets = [
        "a text for bob alone".to_owned(),
        "passphrase of alice".to_owned(),
        "passphrase of bob".to_owned(),
        alice
            .setting("tsig_secret_hex")
            .trim_matches(['\'', '"'])
            .to_owned(),
        alice
            .setting("kdf_salt")
            .trim_matches(['\'', '"'])
            .to_owned(),
        "dmp_v1_".to_owned(),
    ];
    assert!(told.contains(" DEBUG "), "{told}");
    for secret in secrets {
        assert!(
            secret.len() > 6 && !told.contains(&secret),
            "{secret}: {told}"
        );
    }
}

#[test]
fn without_input_every_question_is_an_error_that_says_how_to_answer_it() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(dir.path()).without("DMP_PASSPHRASE");
    user.run_with_input(&["identity", "show", "--no-input"], b"passphrase of u\n")
        .expect(1)
        .nothing_on_stdout()
        .warns("--no-input forbids to ask")
        .warns("DMP_PASSPHRASE");
    let config = dir.path().join("node.toml");
    let mut setup = program(&[
        "node",
        "setup",
        "--no-input",
        "--config",
        config.to_str().unwrap(),
    ]);
    let ran: Ran = setup.stdin(Stdio::null()).output().unwrap().into();
    ran.expect(1)
        .warns("--no-input forbids to ask")
        .warns("--zone");
    assert!(!config.exists());
}

#[test]
fn colours_are_for_terminals_unless_asked_for_or_forbidden() {
    let check = |variables: &[(&str, &str)], more: &[&str]| {
        let mut command = program(&[&["node", "check"], more].concat());
        command
            .env("DMP_DB_PATH", "/nowhere/at/all.db")
            .envs(variables.iter().copied());
        let ran: Ran = command.output().unwrap().into();
        ran.stdout
    };
    let plain = check(&[], &[]);
    assert!(
        plain.contains("ok  ") && !plain.contains('\u{1b}'),
        "{plain}"
    );
    assert!(check(&[("CLICOLOR_FORCE", "1")], &[]).contains("\u{1b}[32mok\u{1b}[0m  "));
    assert!(check(&[], &["--color", "always"]).contains("\u{1b}[32m"));
    for (variables, more) in [
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")][..], &[][..]),
        (&[("CLICOLOR_FORCE", "1")], &["--color=never"]),
        (&[("CLICOLOR_FORCE", "0")], &[]),
    ] {
        assert_eq!(check(variables, more), plain);
    }
    let json = check(&[("CLICOLOR_FORCE", "1")], &["--json"]);
    assert!(
        !json.contains('\u{1b}') && !json.contains('\u{fdd1}'),
        "{json}"
    );

    let help = |more: &[&str]| -> String {
        let ran: Ran = program(&[more, &["--help"]].concat())
            .output()
            .unwrap()
            .into();
        ran.expect(0).stdout
    };
    assert!(!help(&[]).contains('\u{1b}'));
    assert!(help(&["--color", "always"]).contains('\u{1b}'));
}

/// What a terminal is sent by a run of the program: `script` makes one.
fn on_a_terminal(user: &User, arguments: &str, term: &str) -> String {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_dnsmesh"));
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_clear()
        .envs(user.variables())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", user.home.parent().unwrap())
        .env("TERM", term)
        .stdin(Stdio::null());
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn long_work_shows_itself_on_a_terminal_and_wipes_that_away() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(dir.path());
    let silence = UdpSocket::bind("127.0.0.1:0").unwrap();
    let test = format!(
        "resolvers test --timeout 0.7 {}",
        silence.local_addr().unwrap()
    );
    let shown = on_a_terminal(&user, &test, "xterm");
    let (before, after) = shown.rsplit_once("\r\u{1b}[K").unwrap();
    assert!(
        before.contains("\r\u{1b}[K| asking resolvers 0 s"),
        "{before:?}"
    );
    assert!(
        after.starts_with("RESOLVER ") && !after.contains("asking"),
        "{after:?}"
    );
    for (arguments, term) in [
        (test.clone(), "dumb"),
        (format!("{test} --json"), "xterm"),
        (format!("{test} --quiet"), "xterm"),
    ] {
        let shown = on_a_terminal(&user, &arguments, term);
        assert!(
            shown.contains("RESOLVER") || shown.contains("dmp.resolver/1"),
            "{shown:?}"
        );
        assert!(
            !shown.contains("asking") && !shown.contains("\u{1b}"),
            "{shown:?}"
        );
    }
    let piped = user.run(&test.split(' ').collect::<Vec<_>>());
    assert_eq!(piped.stderr, "");
}

#[test]
fn usage_errors_are_json_too() {
    let ran = |arguments: &[&str]| Ran::of(arguments, program(arguments).output().unwrap());
    for arguments in [
        &["--json", "recv", "--nonsense"][..],
        &["nonsense", "--json"],
        &["--json"],
    ] {
        let ran = ran(arguments).expect(2).nothing_on_stdout();
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(
            (error["code"].as_str(), error["exit"].as_u64()),
            (Some("usage"), Some(2))
        );
    }
    let help = program(&["recv", "--json", "--help"]).output().unwrap();
    Ran::from(help).expect(0).says("Usage: dnsmesh recv");
}

#[test]
fn a_dump_into_a_pipe_that_closes_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("dmp.db");
    let zone: String = (0..4_000)
        .map(|n| format!("n{n}.mesh.test. 600 IN TXT \"{}\"\n", "x".repeat(200)))
        .collect();
    let file = dir.path().join("zone");
    std::fs::write(&file, zone).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = program(arguments);
        command
            .env("DMP_DB_PATH", &database)
            .env("DMP_DOMAIN", "mesh.test")
            .env("HOME", dir.path());
        command
    };
    assert!(
        command(&["node", "load", file.to_str().unwrap()])
            .output()
            .unwrap()
            .status
            .success()
    );
    for format in [&[][..], &["--json"]] {
        let mut dump = command(&[&["node", "ctl", "zone", "dump"], format].concat());
        let mut dump = dump
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(dump.stdout.take());
        let ran: Ran = dump.wait_with_output().unwrap().into();
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    }
}
