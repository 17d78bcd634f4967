//! `backup`: a home in one file and back, an identity on a page and back, and nothing harmed by a mistake.

mod common;

use std::fs;
use std::path::Path;

use common::{Ran, User};

/// A user with a store; nothing leaves this machine.
fn user(dir: &Path, name: &str) -> User {
    let user = User::new(dir, name).with("DMP_BACKUP_PASSPHRASE", "of the backup");
    user.run(&[
        "init",
        &format!("{name}@alpha.test"),
        "--no-default-resolvers",
    ])
    .expect(0);
    let keys = ["12", "34"].map(|byte| byte.repeat(32));
    user.run(&[
        "contacts",
        "add",
        "bob",
        &keys[0],
        "--signing-key",
        &keys[1],
    ])
    .expect(0);
    user
}

/// The same person on another machine: same passphrases, no files.
fn elsewhere(dir: &Path, user: &User) -> User {
    User::new(&dir.join("elsewhere"), user.name()).with("DMP_BACKUP_PASSPHRASE", "of the backup")
}

fn shown(user: &User) -> String {
    user.run(&["identity", "show", "--json"]).expect(0).json()["signing_public_key"].to_string()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_home_goes_into_one_file_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let alice = user(dir.path(), "alice");
    let (file, sheet) = (path(dir.path(), "a.age"), path(dir.path(), "sheet.txt"));
    alice
        .run(&["backup", "export", &file, "--sheet", &sheet])
        .expect(0)
        .says(&format!("wrote the backup to {file}"))
        .says(&format!("wrote the recovery sheet to {sheet}"))
        .warns("neither is in it");
    assert!(
        fs::read(&file)
            .unwrap()
            .starts_with(b"age-encryption.org/v1\n-> scrypt ")
    );
    alice
        .run(&["backup", "export", &file])
        .expect(1)
        .nothing_on_stdout()
        .warns("[backup-file-exists]");

    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let again = elsewhere(dir.path(), &alice);
    let passphrase = path(dir.path(), "passphrase");
    fs::write(&passphrase, "another one\n").unwrap();
    let wrong = ["backup", "import", &file, "--passphrase-file", &passphrase];
    again
        .run(&wrong)
        .expect(1)
        .warns("[backup-wrong-passphrase]")
        .warns("nothing was changed");
    assert!(!again.home.exists());
    again
        .run(&[
            "backup",
            "import",
            &file,
            "--passphrase-file",
            &path(dir.path(), "missing"),
        ])
        .expect(1)
        .warns("[backup-file]");
    fs::write(&passphrase, "of the backup\n").unwrap();
    again
        .run(&["backup", "import", &file, "--passphrase-file", &passphrase])
        .expect(0)
        .says("restored alice@alpha.test in ")
        .warns("identity refresh-prekeys");
    again.run(&["contacts", "list"]).expect(0).says("bob");
    assert_eq!(shown(&again), shown(&alice));

    again
        .run(&["backup", "import", &file])
        .expect(1)
        .warns("[backup-home-occupied]")
        .warns("--force` moves what is there aside");
    let forced: Ran = again
        .run(&["backup", "import", &file, "--force", "--json"])
        .expect(0);
    let aside = forced.json()["set_aside"].as_str().unwrap().to_owned();
    assert!(Path::new(&aside).join("dnsmesh.db").exists());
}

#[test]
fn an_identity_comes_back_from_its_sheet() {
    let dir = tempfile::tempdir().unwrap();
    let alice = user(dir.path(), "alice");
    let page = alice.run(&["backup", "sheet"]).expect(0).stdout;
    assert!(page.contains("address:       alice@alpha.test\n"), "{page}");
    assert!(!page.contains("passphrase of alice"), "{page}");

    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let again = elsewhere(dir.path(), &alice);
    let sheet = path(dir.path(), "typed.txt");
    fs::write(&sheet, page.replacen("salt:  ", "salt: 0", 1)).unwrap();
    again
        .run(&["backup", "restore-sheet", &sheet])
        .expect(1)
        .warns("[sheet-")
        .warns("nothing was written");
    assert!(!again.home.exists());
    again
        .run_with_input(&["backup", "restore-sheet", "-"], page.as_bytes())
        .expect(0)
        .says("restored the keys of alice@alpha.test in ")
        .warns("contacts, messages and credentials are not on the sheet");
    assert_eq!(shown(&again), shown(&alice));
    again
        .run_with_input(&["backup", "restore-sheet", "-"], page.as_bytes())
        .expect(1)
        .warns("[backup-home-occupied]");
    let other =
        elsewhere(&dir.path().join("elsewhere"), &alice).with("DMP_PASSPHRASE", "typed wrongly");
    other
        .run_with_input(&["backup", "restore-sheet", "-"], page.as_bytes())
        .expect(1)
        .warns("[sheet-mismatch]");
    assert!(!other.home.exists());
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let alice = user(dir.path(), "alice");
    let file = path(dir.path(), "a.age");
    alice.run(&["backup", "export", &file]).expect(0);
    let whole = fs::read(&file).unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let again = elsewhere(dir.path(), &alice);
    let mut altered = whole.clone();
    altered[whole.len() - 100] ^= 1;
    for (content, code) in [
        (&whole[..whole.len() - 1], "[backup-damaged]"),
        (&altered, "[backup-damaged]"),
        (&whole[..20], "[backup-not-a-bundle]"),
    ] {
        fs::write(&file, content).unwrap();
        again
            .run(&["backup", "import", &file])
            .expect(1)
            .nothing_on_stdout()
            .warns(code)
            .warns("nothing was changed");
        assert!(!again.home.exists());
    }
}
