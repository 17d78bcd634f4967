//! `dnsmesh demo` as anybody would run it: two texts arrive, nothing stays behind, and with `--keep` everything can be looked at.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Ran, program};

const TEXTS: [&str; 2] = [
    "Hello Bob, this text reached you as DNS records.",
    "Hello Alice, so did mine. Nobody on the way could read it.",
];

/// The demo with its temporary directory under `dir`, and a proxy that would swallow whatever left loopback.
fn demo(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = program(&[&["demo"], arguments].concat());
    command
        .env("TMPDIR", dir)
        .env("http_proxy", "http://127.0.0.1:9")
        .env("https_proxy", "http://127.0.0.1:9");
    command
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn two_texts_arrive_and_nothing_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let ran: Ran = demo(dir.path(), &[]).output().unwrap().into();
    let ran = ran.expect(0);
    assert_eq!(ran.stderr, "");
    assert!(
        ran.stdout
            .contains(&format!("alice → bob  “{}”\n", TEXTS[0])),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains(&format!("bob → alice  “{}”\n", TEXTS[1])),
        "{}",
        ran.stdout
    );
    for shown in [
        "+ id-",
        "+ prekeys.id-",
        "+ chunk-0000-",
        "+ slot-",
        "+ claim-",
        "- prekeys.id-",
        " ms\n",
        " bytes  manifest",
    ] {
        assert!(
            ran.stdout.contains(shown),
            "{shown} is missing in {}",
            ran.stdout
        );
    }
    let widest = ran
        .stdout
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap();
    assert!(widest <= 100, "{widest} columns");
    assert!(is_empty(dir.path()));
}

#[test]
fn kept_it_can_be_looked_at_until_it_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), &["--keep"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let shown: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .collect();
    assert!(
        shown
            .iter()
            .any(|line| line.starts_with("  dig @127.0.0.1 -p ") && line.contains(" TXT id-")),
        "{shown:#?}"
    );

    let follow = |verb: &str| -> Ran {
        let line = shown
            .iter()
            .find(|line| line.contains("--config-home") && line.contains(verb));
        let line = line.unwrap_or_else(|| panic!("no {verb} in {shown:#?}"));
        Command::new("sh")
            .args(["-c", line])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .output()
            .unwrap()
            .into()
    };
    follow("identity show").expect(0).says("username: alice\n");
    follow("send").expect(0).says("sent → bob@mesh.test\n");
    follow("recv").expect(0).says("  one more\n");

    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let rest: Vec<String> = lines.collect();
    assert!(
        rest.iter().any(|line| line.contains("is removed")),
        "{rest:?}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(is_empty(dir.path()));
}

#[test]
fn a_cluster_loses_a_node_and_every_message_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let ran: Ran = demo(dir.path(), &["--cluster"]).output().unwrap().into();
    let ran = ran.expect(0);
    assert_eq!(ran.stderr, "");
    for shown in [
        "node-b       KILLED (SIGKILL)",
        "reads “One: three nodes have this.”",
        "reads “Two: a node dies while this is on its way.”",
        "reads “Three: nobody noticed.”",
        "reads “Four: and on it goes.”",
        "alice        reads “All four are here.”",
        "node-b starts again\n",
        "Every message arrived, and the three nodes hold the same\n",
    ] {
        assert!(
            ran.stdout.contains(shown),
            "{shown} is missing in {}",
            ran.stdout
        );
    }
    assert!(is_empty(dir.path()));
}
