//! A backup brings a whole home back with everything it remembers, and never harms what is there (client.md 2).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dmp_client::backup::{BackupError, Bundle, Present, RecoverySheet, SheetError};
use dmp_client::config::Config;
use dmp_client::error::StoreError;
use dmp_client::home::{Home, Locations, SavedToken};
use dmp_client::mesh::system_random;
use dmp_client::store::{
    Authorship, InboxMessage, MessageNumber, NewContact, NewPrekey, Received, Store,
};
use dmp_core::id::{MsgId, PrekeyId, UnixTime};
use dmp_core::keys::{AgreementSecret, Identity, Salt, SigningPublicKey};

const NOW: UnixTime = UnixTime::new(1_800_000_000);
/// The least work of scrypt: these tests are about content.
const WORK: u8 = 1;

fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

fn message(id: u8, prekey: u32) -> Received {
    Received::Inbox(InboxMessage {
        number: MessageNumber::UNSTORED,
        signer: SigningPublicKey::from_bytes([7; 32]),
        msg_id: MsgId::from_bytes([id; 16]),
        body: b"text".to_vec(),
        ts: NOW,
        manifest_ts: NOW,
        expires: NOW.saturating_add(300),
        received: NOW,
        contact: None,
        address: None,
        prekey: PrekeyId::new(prekey),
        authorship: Authorship::Proven,
        succession: None,
    })
}

/// A home with something of everything, and its open store.
fn full_home(dir: &Path) -> (Home, Store) {
    let home = Home::at(dir.join("home"));
    let config = Config {
        username: "alice".into(),
        domain: "alpha.test".into(),
        kdf_salt: "ab".repeat(32),
        tsig_secret_hex: "cd".repeat(32),
        ..Config::default()
    };
    home.save_config(&config).unwrap();
    let token = SavedToken {
        version: 1,
        node: "alpha.test".into(),
        subject: "alice@alpha.test".into(),
        token: "dmp_v1_X".into(),
        expires_at: None,
        registered_spk: String::new(),
        saved_at: 1,
    };
    home.save_token(&token).unwrap();
    fs::write(home.dir().join("cluster_manifest.wire"), "v=dmp1;t=cluster").unwrap();
    fs::write(home.dir().join("floors.json"), "{\"floors\": []}").unwrap();
    let store = Store::open(home.dir(), &identity(), NOW).unwrap();
    store.insert_contact(&NewContact::new("bob"), NOW).unwrap();
    store
        .block(&SigningPublicKey::from_bytes([9; 32]), "spam", NOW)
        .unwrap();
    let prekeys = [4, 5].map(|id| NewPrekey {
        id: PrekeyId::new(id).unwrap(),
        secret: AgreementSecret::from_bytes([id as u8; 32]),
        expires: NOW.saturating_add(86_400),
    });
    store.insert_prekeys(&prekeys, NOW).unwrap();
    store
        .commit_received(vec![message(1, 4)], &[], NOW)
        .unwrap();
    (home, store)
}

fn export(dir: &Path) -> (Home, PathBuf) {
    let (home, store) = full_home(dir);
    let file = dir.join("backup.age");
    Bundle::of(&home, &store)
        .unwrap()
        .write(&file, "backup", WORK, &mut system_random())
        .unwrap();
    (home, file)
}

fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_restored_home_has_everything_and_remembers_what_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let (old, file) = export(dir.path());
    assert_eq!(mode(&file), 0o600);
    let home = Home::at(dir.path().join("elsewhere/home"));
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let bundle = Bundle::open(&fs::read(&file).unwrap(), "backup").unwrap();
    let restored = bundle.restore(&home, Present::Keep, NOW).unwrap();
    assert_eq!(restored.set_aside, None);

    assert_eq!(home.load_config().unwrap(), old.load_config().unwrap());
    assert_eq!(
        home.token_for_endpoint("https://alpha.test", 0)
            .unwrap()
            .token,
        "dmp_v1_X"
    );
    assert_eq!(
        fs::read(home.dir().join("cluster_manifest.wire")).unwrap(),
        b"v=dmp1;t=cluster"
    );
    assert_eq!(
        fs::read(home.dir().join("floors.json")).unwrap(),
        b"{\"floors\": []}"
    );
    assert_eq!(mode(home.dir()), 0o700);
    for path in content(home.dir()).keys() {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }

    let store = Store::open(home.dir(), &identity(), NOW).unwrap();
    assert_eq!(store.contacts().unwrap()[0].label, "bob");
    assert!(
        store
            .is_blocked(&SigningPublicKey::from_bytes([9; 32]))
            .unwrap()
    );
    assert!(
        !store.has_prekey(PrekeyId::new(4).unwrap()).unwrap(),
        "consumed stays consumed"
    );
    assert!(store.has_prekey(PrekeyId::new(5).unwrap()).unwrap());
    let again = store
        .commit_received(vec![message(1, 4)], &[], NOW)
        .unwrap();
    assert!(
        again.inbox.is_empty(),
        "what was delivered before is not delivered again"
    );
    assert!(matches!(
        Store::open(home.dir(), &Identity::from_seed([2; 32]), NOW),
        Err(StoreError::WrongPassphrase)
    ));
}

#[test]
fn a_snapshot_is_whole_while_others_write_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (home, store) = full_home(dir.path());
    fs::write(
        home.dir().join("dnsmesh.db.snapshot"),
        "left by a run that was killed",
    )
    .unwrap();
    let other = Store::open(home.dir(), &identity(), NOW).unwrap();
    let count = |bytes: &[u8]| {
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("dnsmesh.db"), bytes).unwrap();
        Store::check_file(&copy.path().join("dnsmesh.db")).unwrap();
        let copy = Store::open(copy.path(), &identity(), NOW).unwrap();
        copy.contacts().unwrap().len()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..40 {
                let card = NewContact::new(format!("contact {number}"));
                other.insert_contact(&card, NOW).unwrap();
            }
        });
        for _ in 0..5 {
            count(&store.snapshot().unwrap());
        }
    });
    assert_eq!(count(&store.snapshot().unwrap()), 41);
    assert!(!home.dir().join("dnsmesh.db.snapshot").exists());
}

#[test]
fn a_home_that_is_in_use_is_kept_unless_it_may_be_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (home, file) = export(dir.path());
    fs::write(home.dir().join("passphrase"), "mine").unwrap();
    let before = content(home.dir());
    let bundle = Bundle::open(&fs::read(&file).unwrap(), "backup").unwrap();
    assert!(matches!(
        bundle.restore(&home, Present::Keep, NOW),
        Err(BackupError::Occupied(_))
    ));
    assert_eq!(content(home.dir()), before);

    for _ in 0..2 {
        let aside = bundle
            .restore(&home, Present::SetAside, NOW)
            .unwrap()
            .set_aside
            .unwrap();
        assert!(aside.starts_with(dir.path()) && aside.join("config.yaml").exists());
        assert!(!home.dir().join("passphrase").exists());
    }
    let kept = dir.path().join(format!("home.before-{}", NOW.as_secs()));
    assert_eq!(fs::read(kept.join("passphrase")).unwrap(), b"mine");
}

#[test]
fn a_home_with_nothing_but_lock_files_counts_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = export(dir.path());
    let home = Home::at(dir.path().join("new"));
    fs::create_dir(home.dir()).unwrap();
    fs::write(home.dir().join("config.lock"), "").unwrap();
    fs::create_dir(dir.path().join("new.restoring")).unwrap();
    fs::write(
        dir.path().join("new.restoring/half"),
        "left by a run that was killed",
    )
    .unwrap();
    let bundle = Bundle::open(&fs::read(&file).unwrap(), "backup").unwrap();
    bundle.restore(&home, Present::Keep, NOW).unwrap();
    assert!(home.has_config() && !home.dir().join("half").exists());
}

#[test]
fn tokens_outside_of_the_home_are_added_but_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = export(dir.path());
    let bundle = Bundle::open(&fs::read(&file).unwrap(), "backup").unwrap();
    let home = |name: &str| {
        Home::locate(&Locations {
            config_flag: Some(dir.path().join(name)),
            tokens_flag: Some(dir.path().join("tokens")),
            ..Locations::default()
        })
        .unwrap()
    };
    let one = home("one");
    assert!(
        bundle
            .restore(&one, Present::Keep, NOW)
            .unwrap()
            .kept_tokens
            .is_empty()
    );
    assert!(one.token_for_endpoint("alpha.test", 0).is_some());
    let path = dir.path().join("tokens/alpha.test.json");
    fs::write(&path, "a newer one").unwrap();
    let kept = bundle
        .restore(&home("two"), Present::Keep, NOW)
        .unwrap()
        .kept_tokens;
    assert_eq!(kept, ["alpha.test"]);
    assert_eq!(fs::read(&path).unwrap(), b"a newer one");
}

#[test]
fn an_existing_file_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (home, store) = full_home(dir.path());
    let file = dir.path().join("backup.age");
    fs::write(&file, "something").unwrap();
    let bundle = Bundle::of(&home, &store).unwrap();
    let refused = bundle.write(&file, "backup", WORK, &mut system_random());
    assert!(matches!(refused, Err(BackupError::Exists(_))));
    assert_eq!(fs::read(&file).unwrap(), b"something");
}

#[test]
fn a_wrong_passphrase_and_a_damaged_file_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = export(dir.path());
    let bytes = fs::read(&file).unwrap();
    let open = |bytes: &[u8], passphrase| Bundle::open(bytes, passphrase).err().unwrap();
    assert!(matches!(
        open(&bytes, "other"),
        BackupError::WrongPassphrase
    ));
    assert!(matches!(
        open(&bytes[..bytes.len() - 1], "backup"),
        BackupError::Damaged
    ));
    assert!(matches!(
        open(b"no backup", "backup"),
        BackupError::NotABundle
    ));
    let mut altered = bytes.clone();
    let middle = bytes.len() / 2;
    altered[middle] ^= 1;
    assert!(matches!(open(&altered, "backup"), BackupError::Damaged));
}

#[test]
fn a_sheet_and_the_passphrase_give_the_same_keys() {
    let salt = Salt::from_hex(&"0123456789abcdef".repeat(4)).unwrap();
    let identity = Identity::derive("my passphrase", &salt).unwrap();
    let config = Config {
        username: "alice".into(),
        domain: "alpha.test".into(),
        identity_domain: "alice.example".into(),
        endpoint: "https://node.alpha.test".into(),
        kdf_salt: salt.to_hex(),
        ..Config::default()
    };
    let sheet = RecoverySheet::of(&config, &identity).unwrap();
    let page = sheet.to_string();
    assert!(!page.contains("my passphrase"));
    assert!(page.lines().all(|line| line.len() <= 90), "{page}");

    // As it is typed from paper: other order, blanks, capitals.
    let mut typed: Vec<String> = page
        .lines()
        .map(|line| line.replace("abcdef", "AB CDEF"))
        .collect();
    typed.reverse();
    let read = RecoverySheet::parse(&typed.join("\r\n")).unwrap();
    assert_eq!(read, sheet);
    let again = read.derive("my passphrase").unwrap();
    assert_eq!(again.signing_public(), identity.signing_public());
    let restored = read.config(&again);
    assert_eq!(
        (
            restored.username,
            restored.domain,
            restored.identity_domain,
            restored.endpoint,
            restored.kdf_salt
        ),
        (
            config.username,
            config.domain,
            config.identity_domain,
            config.endpoint,
            config.kdf_salt
        )
    );
    assert_eq!(
        restored.verify_pubkey,
        identity.signing_public().to_string()
    );
}

#[test]
fn a_typing_error_on_the_sheet_or_in_the_passphrase_is_found() {
    let salt = Salt::from_hex(&"01".repeat(32)).unwrap();
    let identity = Identity::derive("my passphrase", &salt).unwrap();
    let page = format!(
        "Address: Alice@Alpha.Test.\nsalt: {}\nfingerprint: {}\n",
        salt.to_hex(),
        identity.fingerprint()
    );
    let sheet = RecoverySheet::parse(&page).unwrap();
    assert_eq!(sheet.address.as_str(), "alice@alpha.test");
    assert!(matches!(
        sheet.derive("my passphrasf"),
        Err(SheetError::Mismatch { .. })
    ));
    let mistyped = RecoverySheet::parse(&page.replacen("0101", "0102", 1)).unwrap();
    assert!(matches!(
        mistyped.derive("my passphrase"),
        Err(SheetError::Mismatch { .. })
    ));
    for (line, text) in [
        ("salt", "salt: 01x"),
        ("address", "address: alice"),
        ("fingerprint", "fingerprint: 01"),
    ] {
        let wrong = format!("{page}{text}\n");
        assert_eq!(
            RecoverySheet::parse(&wrong),
            Err(SheetError::Unreadable(line))
        );
    }
    let short = page.replace("fingerprint", "finger print");
    assert_eq!(
        RecoverySheet::parse(&short),
        Err(SheetError::Missing("fingerprint"))
    );
}
