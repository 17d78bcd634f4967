//! The home directory: where it lies, modes, atomic replacement, locking, tokens, passphrase and tripwire.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dmp_client::config::Config;
use dmp_client::home::{Home, HomeError, Locations, SavedToken, host_of_endpoint, token_host};
use dmp_client::passphrase::{self, PassphraseError, Tripwire};
use dmp_core::keys::SigningPublicKey;
use zeroize::Zeroizing;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn locations() -> Locations {
    Locations {
        user_home: Some("/home/u".into()),
        ..Locations::default()
    }
}

fn token(node: &str, expires_at: Option<i64>) -> SavedToken {
    SavedToken {
        version: 1,
        node: node.into(),
        subject: "alice@alpha.test".into(),
        token: "dmp_v1_X".into(),
        expires_at,
        registered_spk: "30".into(),
        saved_at: 1,
    }
}

#[test]
fn the_flag_beats_the_variable_and_moves_the_tokens() {
    let place = |locations: &Locations| {
        let home = Home::locate(locations).unwrap();
        (home.dir().to_owned(), home.tokens_dir().to_owned())
    };
    let path = |dir: &str, tokens: &str| (PathBuf::from(dir), PathBuf::from(tokens));
    assert_eq!(
        place(&locations()),
        path("/home/u/.dmp", "/home/u/.dmp/tokens")
    );
    let variable = Locations {
        config_variable: Some("/v".into()),
        ..locations()
    };
    assert_eq!(place(&variable), path("/v", "/home/u/.dmp/tokens"));
    let flag = Locations {
        config_flag: Some("/f".into()),
        ..variable.clone()
    };
    assert_eq!(place(&flag), path("/f", "/f/tokens"));
    let tokens = Locations {
        tokens_variable: Some("~/t".into()),
        ..flag.clone()
    };
    assert_eq!(place(&tokens), path("/f", "/home/u/t"));
    let tokens_flag = Locations {
        tokens_flag: Some("/tf".into()),
        ..tokens
    };
    assert_eq!(place(&tokens_flag), path("/f", "/tf"));
    assert_eq!(
        place(&Locations {
            config_variable: Some("".into()),
            ..locations()
        })
        .0,
        Path::new("/home/u/.dmp")
    );
    assert!(matches!(
        Home::locate(&Locations::default()),
        Err(HomeError::Nowhere)
    ));
}

#[test]
fn a_missing_config_says_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = Home::at(dir.path()).load_config().unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "no config at {}",
            dir.path().join("config.yaml").display()
        )),
        "{error}"
    );
}

#[test]
fn saving_makes_private_files_and_keeps_the_old_salt() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("new"));
    let mut config = Config {
        username: "alice".into(),
        kdf_salt: "aa".repeat(32),
        ..Config::default()
    };
    home.save_config(&config).unwrap();
    assert_eq!(
        (mode(home.dir()), mode(&home.config_path())),
        (0o700, 0o600)
    );
    assert_eq!(home.load_config().unwrap(), config);

    config.verify_pubkey = "bb".into();
    fs::write(home.dir().join("config.yaml.tmp"), "left behind by a crash").unwrap();
    home.save_config(&config).unwrap();
    let backup = home.dir().join("config.yaml.bak");
    assert!(!backup.exists(), "the salt did not change");

    config.kdf_salt = "cc".repeat(32);
    home.save_config(&config).unwrap();
    assert!(
        fs::read_to_string(&backup)
            .unwrap()
            .contains(&"aa".repeat(32))
    );
    assert_eq!(mode(&backup), 0o600);
    assert!(!home.dir().join("config.yaml.tmp").exists());
}

#[test]
fn wide_modes_are_tightened_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("h"));
    home.save_config(&Config::default()).unwrap();
    fs::set_permissions(home.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.config_path(), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        home.tighten().unwrap(),
        [home.dir().to_owned(), home.config_path()]
    );
    assert_eq!(
        (mode(home.dir()), mode(&home.config_path())),
        (0o700, 0o600)
    );
    assert!(home.tighten().unwrap().is_empty());
}

#[test]
fn concurrent_changes_of_the_config_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    home.save_config(&Config::default()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let home = &home;
            scope.spawn(move || {
                home.update_config(|config| config.dns_resolvers.push(format!("192.0.2.{number}")))
                    .unwrap()
            });
        }
    });
    assert_eq!(home.load_config().unwrap().dns_resolvers.len(), 8);
}

#[test]
fn a_token_is_saved_for_its_host_and_found_for_any_port() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    home.check_token_writable("Alpha.Test").unwrap();
    let path = home.save_token(&token("alpha.test", Some(1_000))).unwrap();
    assert_eq!(path, dir.path().join("tokens/alpha.test.json"));
    assert_eq!((mode(&path), mode(home.tokens_dir())), (0o600, 0o700));
    assert_eq!(
        fs::read_dir(home.tokens_dir()).unwrap().count(),
        1,
        "no temporary file stays"
    );
    assert_eq!(
        home.token_for_endpoint("http://ALPHA.test.:8053/", 0)
            .unwrap()
            .token,
        "dmp_v1_X"
    );
    assert!(home.token_for_endpoint("http://beta.test", 0).is_none());
    // client.md 5.4: not sent when more than 300 s past its expiry
    assert!(home.token_for_endpoint("alpha.test", 1_100).is_some());
    assert!(home.token_for_endpoint("alpha.test", 1_400).is_none());
    fs::write(&path, "{ damaged").unwrap();
    assert!(home.token_for_endpoint("alpha.test", 0).is_none());
}

#[test]
fn the_token_file_has_the_references_form() {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/state-files/tokens/alpha.test.json");
    let text = fs::read_to_string(sample).unwrap();
    let token = SavedToken::from_json(&text).unwrap();
    assert_eq!(token.expires_at, Some(1_803_215_349));
    assert_eq!(token.to_json(), text.trim_end());
    assert!(!format!("{token:?}").contains("dmp_v1_"));
}

#[test]
fn tokens_without_a_real_expiry_never_expire() {
    assert!(token("a.test", None).is_worth_sending(u64::MAX));
    assert!(token("a.test", Some(0)).is_worth_sending(u64::MAX));
}

#[test]
fn host_names_make_no_paths() {
    assert_eq!(token_host(" .Alpha.Test. ").unwrap(), "alpha.test");
    for unsafe_host in ["", ".", "../etc", "a/b", "a:80", "-a", "a_b", "[::1]"] {
        assert!(token_host(unsafe_host).is_err(), "{unsafe_host}");
    }
}

#[test]
fn the_host_of_an_endpoint_has_no_port_brackets_or_user() {
    for (endpoint, host) in [
        ("http://alpha.test", "alpha.test"),
        ("alpha.test:8053", "alpha.test"),
        ("https://u:p@alpha.test:1/x?y#z", "alpha.test"),
        ("http://[::1]:8053/", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(host_of_endpoint(endpoint), Some(host), "{endpoint}");
    }
    assert_eq!(host_of_endpoint("http://"), None);
}

#[test]
fn the_passphrase_comes_from_the_environment_then_the_file_then_the_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pw");
    fs::write(&file, " from file\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let ask = || Ok(Zeroizing::new("typed".to_owned()));
    let text = |variable: Option<&str>, file: Option<&Path>| {
        passphrase::obtain(variable.map(str::to_owned), file, ask).unwrap()
    };
    assert_eq!(*text(Some("from env"), Some(&file)).text, "from env");
    let read = text(Some(""), Some(&file));
    assert_eq!(
        (read.text.as_str(), read.exposed_file.as_deref()),
        ("from file", Some(file.as_path()))
    );
    assert_eq!(*text(None, Some(&dir.path().join("missing"))).text, "typed");
    assert_eq!(*text(None, None).text, "typed");
}

#[test]
fn an_empty_passphrase_is_refused_wherever_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pw");
    fs::write(&file, " \n").unwrap();
    let refuse_to_ask = || Err(io::Error::other("nobody there"));
    assert!(matches!(
        passphrase::obtain(None, Some(&file), refuse_to_ask),
        Err(PassphraseError::EmptyFile(_))
    ));
    assert!(matches!(
        passphrase::obtain(None, None, || Ok(Zeroizing::default())),
        Err(PassphraseError::Empty)
    ));
    assert!(matches!(
        passphrase::obtain(None, None, refuse_to_ask),
        Err(PassphraseError::Prompt(_))
    ));
}

#[test]
fn the_tripwire_arms_once_and_then_refuses_other_keys() {
    let (key, other) = (
        SigningPublicKey::from_bytes([1; 32]),
        SigningPublicKey::from_bytes([2; 32]),
    );
    let mut config = Config::default();
    assert_eq!(
        passphrase::check_tripwire(&mut config, &key).unwrap(),
        Tripwire::Armed
    );
    assert_eq!(config.verify_pubkey, key.to_string());
    config.verify_pubkey = config.verify_pubkey.to_uppercase();
    assert_eq!(
        passphrase::check_tripwire(&mut config, &key).unwrap(),
        Tripwire::Passed
    );
    let message = passphrase::check_tripwire(&mut config, &other)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("passphrase mismatch") && message.contains(&other.to_string()),
        "{message}"
    );
}
