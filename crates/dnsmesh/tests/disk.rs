//! What the program says when the disk lets it down: damaged rows of the store, and files that take no more.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Ran, User};

const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// A user without a node, with two contacts.
fn user(dir: &Path) -> User {
    let user = User::new(dir, "alice");
    user.run(&["init", "alice@alpha.test", "--no-probe-local-dns"])
        .expect(0);
    for name in ["bob", "carol"] {
        user.run(&["contacts", "add", name, KEY]).expect(0);
    }
    user
}

fn spoil_first_contact(user: &User) {
    let file = rusqlite::Connection::open(user.home.join("dnsmesh.db")).unwrap();
    let spoilt = file.execute("UPDATE contacts SET sealed = x'00' WHERE id = 1", ());
    assert_eq!(spoilt.unwrap(), 1);
}

#[test]
fn damaged_rows_are_told_once_a_run_and_found_by_the_doctor() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(dir.path());
    user.run(&["doctor"]).says("  PASS  store can be read\n");
    spoil_first_contact(&user);

    let list = user
        .run(&["contacts", "list"])
        .expect(0)
        .says("carol")
        .warns("warning: 1 row(s) of the table contacts in ")
        .warns("`dnsmesh backup import`");
    assert_eq!(list.stderr.matches("damaged").count(), 1, "{}", list.stderr);
    assert!(!list.stdout.contains("bob"));
    user.run(&["contacts", "show", "bob"])
        .expect(1)
        .warns("[store-damaged]");

    user.run(&["doctor"])
        .expect(1)
        .says("  FAIL  store has damaged rows\n        contacts: 1;");
    let unasked = user.without("DMP_PASSPHRASE");
    unasked
        .run(&["doctor"])
        .says("  PASS  store file is whole\n");
    unasked
        .with("DMP_PASSPHRASE", "another")
        .run(&["doctor"])
        .expect(1)
        .says("  FAIL  store does not open\n");
}

#[test]
fn a_file_that_takes_no_more_is_told_with_its_cause_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let user = user(dir.path());
    let command = user.command(&["contacts", "add", "dave", KEY]);
    // No file may grow any more. The signal that would end the process is ignored, so that the system refuses the write instead.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    Ran::from(limited.output().unwrap())
        .expect(1)
        .warns("[disk-quota]")
        .warns("a quota or a limit on file sizes is reached");
    user.run(&["contacts", "list"])
        .expect(0)
        .says("bob")
        .says("carol");
    user.run(&["contacts", "add", "dave", KEY]).expect(0);
}
