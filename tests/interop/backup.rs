//! Backups are age files: the `age` program opens ours, and we open what it wrote.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Program::Ours;
use crate::user::User;

const PASSPHRASE: &str = "of the backup";

#[test]
fn the_age_program_opens_our_backup_and_we_open_one_that_it_encrypted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let secret = at("passphrase");
    std::fs::write(&secret, PASSPHRASE).expect("a file");
    let with = ["--passphrase-file", &secret];

    let alice = User::offline(Ours, "alice", "alpha.test");
    alice.ok(&[&["backup", "export", &at("ours.age")][..], &with].concat());
    age(
        &["--decrypt", "--output", &at("ours.tar"), &at("ours.age")],
        1,
    );
    let listed = Command::new("tar").args(["-tf", &at("ours.tar")]).output();
    let listed = String::from_utf8(listed.expect("tar").stdout).expect("UTF-8");
    assert_eq!(listed, "config.yaml\ndnsmesh.db\n");

    age(
        &[
            "--passphrase",
            "--output",
            &at("theirs.age"),
            &at("ours.tar"),
        ],
        2,
    );
    let again = User::nowhere(Ours, "alice", "alpha.test");
    again.ok(&[&["backup", "import", &at("theirs.age")][..], &with].concat());
    assert_eq!(again.signing_key(), alice.signing_key());
}

/// Runs `age` on a terminal of its own, since it takes a passphrase from nothing else.
fn age(arguments: &[&str], asked: usize) {
    let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("age {}", quoted.join(" ")))
        .arg("/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script of util-linux");
    let mut input = script.stdin.take().expect("a pipe");
    for _ in 0..asked {
        writeln!(input, "{PASSPHRASE}").expect("a passphrase");
    }
    // The pipe stays open until age ends: script would pass its end on as a character.
    let said = script.wait_with_output().expect("an end");
    drop(input);
    assert!(
        said.status.success(),
        "age {arguments:?}: {}",
        String::from_utf8_lossy(&said.stdout)
    );
    let output = arguments
        .iter()
        .skip_while(|word| **word != "--output")
        .nth(1);
    assert!(Path::new(output.expect("an output")).exists());
}
