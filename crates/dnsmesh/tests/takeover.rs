//! The first verb in a home of the reference takes it over and says so; a second one does not (D4).

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::User;
use tempfile::TempDir;

/// The home of the sample files and the user that it belongs to.
fn sample_home(files: &[(&str, &str)]) -> (TempDir, User) {
    let dir = tempfile::tempdir().unwrap();
    let user =
        User::new(dir.path(), "alice").with("DMP_PASSPHRASE", "correct horse battery staple");
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/state-files");
    fs::create_dir_all(user.home.join("tokens")).unwrap();
    for (from, to) in files {
        fs::copy(samples.join(from), user.home.join(to)).unwrap();
    }
    (dir, user)
}

const WHOLE: [(&str, &str); 5] = [
    ("config.yaml", "config.yaml"),
    ("prekeys.db", "prekeys.db"),
    ("intros.db", "intros.db"),
    ("replay_cache.json", "replay_cache.json"),
    ("tokens/alpha.test.json", "tokens/alpha.test.json"),
];

/// Every file below a directory with its content.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn the_first_verb_takes_over_and_the_second_finds_the_store() {
    let (_dir, user) = sample_home(&WHOLE);
    let before = content(&user.home);
    user.run(&["contacts", "list"])
        .expect(0)
        .says("bob@beta.test")
        .warns("taken over from the files of the reference: 3 contact(s), 2 prekey(s), 2 quarantined message(s), 1 blocked key(s)");
    user.run(&["intro", "list"])
        .expect(0)
        .says("carol@gamma.test");
    let second = user.run(&["contacts", "list"]).expect(0).says("dave");
    assert!(!second.stderr.contains("taken over"), "{}", second.stderr);

    let after = content(&user.home);
    for (path, bytes) in &before {
        assert_eq!(after.get(path), Some(bytes), "{}", path.display());
    }
    let new: Vec<_> = after
        .keys()
        .filter(|path| !before.contains_key(*path))
        .collect();
    let names: Vec<_> = new
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("dnsmesh.db") || *name == "config.lock"),
        "{names:?}"
    );
}

#[test]
fn a_wrong_passphrase_creates_nothing() {
    let (_dir, user) = sample_home(&WHOLE);
    let user = user.with("DMP_PASSPHRASE", "another one");
    let before = content(&user.home);
    user.run(&["contacts", "list"])
        .expect(1)
        .nothing_on_stdout()
        .warns("[passphrase-mismatch]");
    assert_eq!(content(&user.home), before);
}

#[test]
fn a_future_schema_is_refused_and_everything_stays() {
    for (file, name) in [
        ("prekeys-v99-future.db", "prekeys.db"),
        ("intros-v99-future.db", "intros.db"),
    ] {
        let (_dir, user) = sample_home(&[("config.yaml", "config.yaml"), (file, name)]);
        let before = content(&user.home);
        user.run(&["contacts", "list"])
            .expect(1)
            .nothing_on_stdout()
            .warns(&format!("{name} has schema version 99"))
            .warns("[takeover-future-schema]");
        let mut after = content(&user.home);
        after.retain(|path, _| !path.ends_with("config.lock"));
        assert_eq!(after, before);
    }
}

#[test]
fn files_that_others_could_read_are_made_private_and_told() {
    let (_dir, user) = sample_home(&WHOLE);
    let private = [
        "",
        "config.yaml",
        "prekeys.db",
        "intros.db",
        "replay_cache.json",
        "tokens",
        "tokens/alpha.test.json",
    ];
    let path = |name: &str| {
        if name.is_empty() {
            user.home.clone()
        } else {
            user.home.join(name)
        }
    };
    for name in private {
        let mode = if path(name).is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut ran = user.run(&["contacts", "list"]).expect(0);
    for name in private {
        ran = ran.warns(&format!("{} was open to others", path(name).display()));
        let mode = path(name).metadata().unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{name}");
    }
    for name in ["dnsmesh.db", "config.lock"] {
        let mode = path(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}
