//! `setup`: one command from an empty home to a delivered message, stopped anywhere and run again (product.md 5.1).

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::node::{self, Node};
use common::{Ran, User};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

const STEPS: [&str; 7] = [
    "configuration",
    "passphrase",
    "node",
    "credential",
    "identity",
    "prekeys",
    "self-test",
];

/// The command line for a node on loopback, which nobody could find.
fn arguments(node: &Node, address: &str) -> Vec<String> {
    let port = node.dns.port().to_string();
    let dns = node.dns.to_string();
    let url = node.url();
    [
        "setup",
        address,
        "--node",
        &url,
        "--dns-resolvers",
        &dns,
        "--dns-server",
        "127.0.0.1",
        "--dns-port",
        &port,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn run(user: &User, arguments: &[String]) -> Ran {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    user.run(&arguments)
}

fn with_json(mut arguments: Vec<String>) -> Vec<String> {
    arguments.push("--json".into());
    arguments
}

/// Steps that ended, with whether they changed anything.
fn steps(ran: &Ran) -> Vec<(String, bool)> {
    let objects = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects
        .filter(|object| object["schema"] == "dmp.setup-step/1" && object["state"] == "done")
        .map(|object| {
            (
                object["step"].as_str().unwrap().to_owned(),
                object["changed"].as_bool().unwrap(),
            )
        })
        .collect()
}

fn nothing_changes(user: &User, arguments: &[String]) {
    let config = user.config();
    let again = run(user, &with_json(arguments.to_vec())).expect(0);
    let expected = STEPS.map(|step| (step.to_owned(), false));
    assert_eq!(steps(&again), expected, "{}", again.stdout);
    assert_eq!(user.config(), config);
}

fn delivers(dir: &Path, node: &Node, to: &User, address: &str) {
    let bob = User::new(dir, "bob");
    run(&bob, &arguments(node, "bob@alpha.test")).expect(0);
    for user in [&bob, to] {
        user.run(&["config", "set", "provider_seeds", ""]).expect(0);
    }
    to.run(&["recv"]).expect(0).says("(no new messages)\n");
    to.run(&["intro", "list"])
        .expect(0)
        .says("(no pending intros)\n");
    bob.run(&["identity", "fetch", address, "--add"]).expect(0);
    to.run(&["identity", "fetch", "bob@alpha.test", "--add"])
        .expect(0);
    bob.run(&["send", address, "welcome", "--require-fs"])
        .expect(0);
    to.run(&["recv"]).expect(0).says("  welcome\n");
}

#[test]
fn an_empty_home_becomes_a_working_address_and_the_second_run_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = User::new(dir.path(), "alice");
    let arguments = arguments(&node, "alice@alpha.test");
    let first = run(&alice, &arguments).expect(0);
    let done = first.stdout.lines().filter(|line| line.starts_with("done"));
    let words: Vec<_> = done
        .filter_map(|line| line.split_whitespace().find(|word| STEPS.contains(word)))
        .collect();
    assert_eq!(words, STEPS, "{}", first.stdout);
    let first = first.says("alice@alpha.test works.");
    assert!(first.stdout.contains("TSIG key "), "{}", first.stdout);
    nothing_changes(&alice, &arguments);
    // The address is known by now.
    run(&alice, &["setup".to_owned()]).expect(0);
    alice
        .run(&["doctor"])
        .expect(0)
        .says("PASS  node accepts the TSIG key\n");
    delivers(dir.path(), &node, &alice, "alice@alpha.test");
}

#[test]
fn a_node_without_updates_gives_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = node::command(dir.path(), "alpha.test");
    command.env("DMP_DNS_UPDATE_ENABLED", "0");
    let node = Node::spawn(command, "alpha.test");
    let alice = User::new(dir.path(), "alice");
    let arguments = arguments(&node, "alice@alpha.test");
    let ran = run(&alice, &arguments).expect(0);
    assert!(
        ran.stdout.contains("bearer token for 127.0.0.1"),
        "{}",
        ran.stdout
    );
    assert!(alice.home.join("tokens/127.0.0.1.json").exists());
    nothing_changes(&alice, &arguments);
}

/// Killed as soon as a step is told to be done, then run to the end: the same identity, and it works.
#[test]
fn stopped_after_any_step_the_next_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = User::new(dir.path(), "alice");
    let arguments = arguments(&node, "alice@alpha.test");
    let mut salt = None;
    for step in &STEPS[..6] {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = alice
            .command(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map_while(Result::ok).any(|line| {
            line.starts_with("done") && line.split_whitespace().any(|word| word == *step)
        });
        assert!(seen, "{step} was not reached");
        child.kill().unwrap();
        child.wait().unwrap();
        let now = alice.setting("kdf_salt");
        assert_eq!(salt.get_or_insert(now.clone()), &now, "after {step}");
    }
    run(&alice, &arguments).expect(0);
    nothing_changes(&alice, &arguments);
    delivers(dir.path(), &node, &alice, "alice@alpha.test");
}

#[test]
fn what_went_missing_is_repaired_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = User::new(dir.path(), "alice");
    let arguments = arguments(&node, "alice@alpha.test");
    run(&alice, &arguments).expect(0);
    let changed = |ran: Ran| -> Vec<String> {
        let changed = steps(&ran.expect(0)).into_iter();
        changed
            .filter(|(_, changed)| *changed)
            .map(|(step, _)| step)
            .collect()
    };
    // A key that the node does not know any more.
    let secret = "00".repeat(32);
    alice
        .run(&["config", "set", "tsig_secret_hex", &secret])
        .expect(0);
    let repaired = changed(run(&alice, &with_json(arguments.clone())));
    assert!(
        repaired.starts_with(&["credential".to_owned()]),
        "{repaired:?}"
    );
    assert_ne!(alice.setting("tsig_secret_hex").trim_matches('\''), secret);
    alice
        .run(&["config", "unset", "local_node_dns_port"])
        .expect(0);
    assert_eq!(
        changed(run(&alice, &with_json(arguments.clone()))),
        ["node"]
    );
    // A key that expires soon is renewed.
    let soon = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 86_400;
    alice
        .run(&["config", "set", "tsig_expires_at", &soon.to_string()])
        .expect(0);
    let renewed = changed(run(&alice, &with_json(arguments.clone())));
    assert!(renewed.contains(&"credential".to_owned()), "{renewed:?}");
    alice
        .run(&["doctor"])
        .expect(0)
        .says("PASS  credential lasts\n");
}

#[test]
fn without_anybody_to_ask_the_missing_flag_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let nobody = User::new(dir.path(), "nobody").without("DMP_PASSPHRASE");
    nobody.run(&["setup"]).expect(1).warns("setup user@host");
    assert!(!nobody.home.exists());
    nobody
        .run(&["setup", "alice"])
        .expect(1)
        .warns("expected user@host");
    nobody
        .run(&["setup", "al ice@alpha.test"])
        .expect(1)
        .warns("user name");

    let mut line = arguments(&node, "alice@alpha.test");
    let ran = run(&nobody, &line)
        .expect(1)
        .warns("--passphrase-file")
        .warns("DMP_PASSPHRASE");
    assert!(
        ran.stdout.contains("failed    passphrase"),
        "{}",
        ran.stdout
    );
    assert!(
        nobody
            .setting("verify_pubkey")
            .trim_matches('\'')
            .is_empty()
    );

    let file = dir.path().join("secret");
    fs::write(&file, "\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    line.extend(["--passphrase-file".to_owned(), file.display().to_string()]);
    run(&nobody, &line).expect(1).warns("is empty");
    fs::write(&file, "a passphrase in a file\n").unwrap();
    run(&nobody, &line).expect(0);
    // From now on the file is enough.
    nobody.run(&["identity", "show"]).expect(0);

    nobody
        .run(&["setup", "other@alpha.test"])
        .expect(1)
        .warns("belongs to alice@alpha.test")
        .warns("--config-home");
    let lost = User::new(dir.path(), "lost");
    let ran = lost
        .run(&[
            "setup",
            "alice@alpha.test",
            "--node",
            "http://127.0.0.1:1",
            "--dns-resolvers",
            &node.dns.to_string(),
        ])
        .expect(2)
        .warns("no node answers")
        .warns("run `dnsmesh setup` again");
    assert!(ran.stdout.contains("failed    node"), "{}", ran.stdout);
}

#[test]
fn another_key_under_the_address_stops_at_the_credential() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let first = User::new(dir.path(), "first");
    run(&first, &arguments(&node, "alice@alpha.test")).expect(0);
    let second = User::new(dir.path(), "second");
    let ran = run(&second, &arguments(&node, "alice@alpha.test"))
        .expect(1)
        .warns("held by another key");
    assert!(
        ran.stdout.contains("failed    credential"),
        "{}",
        ran.stdout
    );
}

/// A terminal of the test's own, on which the program asks.
struct Terminal {
    ours: File,
    heard: String,
}

impl Terminal {
    /// Starts the command with this terminal as the controlling one, standard output apart.
    fn start(command: &Command) -> (Self, std::process::Child) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = || {
            let path = Path::new(name.to_str().unwrap());
            File::options().read(true).write(true).open(path).unwrap()
        };
        let mut setsid = Command::new("setsid");
        setsid
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear();
        setsid.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let child = setsid
            .stdin(theirs())
            .stderr(theirs())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        (
            Self {
                ours: File::from(ours),
                heard: String::new(),
            },
            child,
        )
    }

    /// Waits for a question and answers it.
    fn answer(&mut self, question: &str, answer: &str) {
        while !self.heard.contains(question) {
            let mut byte = [0];
            self.ours
                .read_exact(&mut byte)
                .unwrap_or_else(|error| panic!("{error}: {}", self.heard));
            self.heard.push(char::from(byte[0]));
        }
        self.heard.clear();
        self.ours
            .write_all(format!("{answer}\n").as_bytes())
            .unwrap();
    }
}

fn end(child: std::process::Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn on_a_terminal_a_new_passphrase_is_asked_for_twice_and_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "alpha.test");
    let alice = User::new(dir.path(), "alice").without("DMP_PASSPHRASE");
    let mut words = arguments(&node, "alice@alpha.test");
    words.remove(1);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();

    let (mut terminal, child) = Terminal::start(&alice.command(&words));
    terminal.answer("Address to set up", "alice@alpha.test");
    terminal.answer("New passphrase: ", "one");
    terminal.answer("The same again: ", "other");
    assert_eq!(end(child).0, Some(1));

    let (mut terminal, child) = Terminal::start(&alice.command(&words));
    terminal.answer("New passphrase: ", "correct horse");
    terminal.answer("The same again: ", "correct horse");
    terminal.answer("so that you are not asked again?", "y");
    let (status, output) = end(child);
    assert_eq!(status, Some(0), "{output}");
    let kept = alice.home.join("passphrase");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "correct horse\n");
    assert_eq!(
        fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o600
    );
    alice.run(&["identity", "show"]).expect(0);
}

#[test]
fn on_a_terminal_init_asks_before_it_replaces_an_identity() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice@alpha.test", "--no-probe"])
        .expect(0);
    let before = user.config();
    let force = ["init", "alice@alpha.test", "--no-probe", "--force"];
    let (mut terminal, child) = Terminal::start(&user.command(&force));
    terminal.answer("Replace it? [y/N] ", "n");
    assert_eq!(end(child).0, Some(1));
    assert_eq!(user.config(), before);
    let (mut terminal, child) = Terminal::start(&user.command(&force));
    terminal.answer("Replace it? [y/N] ", "yes");
    assert_eq!(end(child).0, Some(0));
    assert_ne!(user.config(), before);
    assert_eq!(
        fs::read_to_string(user.home.join("config.yaml.bak")).unwrap(),
        before
    );
}

#[test]
fn a_passphrase_can_come_through_an_open_file() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new(dir.path(), "u");
    user.run(&["init", "alice@alpha.test", "--no-probe"])
        .expect(0);
    let shown = user.run(&["identity", "show"]).expect(0).stdout;
    let user = user.without("DMP_PASSPHRASE");
    let through = |input: &str, number: &str| {
        let user = User::new(dir.path(), "u")
            .without("DMP_PASSPHRASE")
            .with("DMP_PASSPHRASE_FD", number);
        user.run_with_input(&["identity", "show"], input.as_bytes())
    };
    assert_eq!(
        through("passphrase of u\nrest", "0").expect(0).stdout,
        shown
    );
    through("\n", "0")
        .expect(1)
        .warns("the passphrase is empty");
    through("mistyped\n", "0")
        .expect(1)
        .warns("passphrase mismatch");
    through("", "zero").expect(1).warns("DMP_PASSPHRASE_FD");
    through("", "4096")
        .expect(1)
        .warns("DMP_PASSPHRASE_FD=4096");
    // The variable itself comes first.
    let both = user
        .with("DMP_PASSPHRASE", "passphrase of u")
        .with("DMP_PASSPHRASE_FD", "4096");
    both.run(&["identity", "show"]).expect(0);
}
