//! What the home itself tells: settings that will not work as one thinks, credentials that end, files that others can read. Asks nobody.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use dmp_core::id::UnixTime;

use super::Check;
use crate::config::{Config, Key};
use crate::credential::{Credential, Life};
use crate::home::Home;

/// Judges the configuration, and the credential that writes are made with.
#[must_use]
pub fn check_settings(config: &Config, home: &Home, now: UnixTime) -> Vec<Check> {
    let mut checks = Vec::new();
    for key in Key::all() {
        if let Err(error) = config.check(key).or_else(|error| match key.name() {
            // Said below, with what is special about it.
            "username" => Ok(()),
            _ => Err(error),
        }) {
            checks.push(Check::fail(
                "setting",
                format!("{} cannot be used", key.name()),
                error.to_string(),
                format!("dnsmesh config set {} VALUE", key.name()),
            ));
        }
    }
    checks.extend(user_name(config));
    checks.extend(zones(config));
    checks.extend(credential(config, home, now));
    checks
}

/// Judges the modes of the files that hold secrets, and the passphrase file.
#[must_use]
pub fn check_files(config: &Config, home: &Home) -> Vec<Check> {
    let open = open_files(config, home);
    let mut checks = vec![if open.is_empty() {
        Check::ok(
            "file-modes",
            "files are private",
            home.dir().display().to_string(),
        )
    } else {
        let names: Vec<String> = open.iter().map(|path| path.display().to_string()).collect();
        Check::warn(
            "file-modes",
            "others can read files with secrets",
            names.join(", "),
            "dnsmesh doctor --fix, or chmod go-rwx",
        )
    }];
    let Some(path) = config
        .passphrase_file
        .as_ref()
        .map(|path| home.expand(path))
    else {
        return checks;
    };
    checks.push(match fs::read(&path).map(zeroize::Zeroizing::new) {
        Ok(content) if content.trim_ascii().is_empty() => Check::fail(
            "passphrase-file",
            "passphrase file is empty",
            path.display().to_string(),
            "write the passphrase into it, or dnsmesh config unset passphrase_file",
        ),
        Ok(_) => Check::ok(
            "passphrase-file",
            "passphrase file is readable",
            path.display().to_string(),
        ),
        Err(error) => Check::warn(
            "passphrase-file",
            "passphrase file cannot be read",
            format!("{}: {error}; you are asked instead", path.display()),
            "write the passphrase into it, or dnsmesh config unset passphrase_file",
        ),
    });
    checks
}

/// Takes from group and others what they may do with those files; what was changed. The owner can give it back.
///
/// # Errors
/// The first file that could not be changed.
pub fn close_files(config: &Config, home: &Home) -> io::Result<Vec<PathBuf>> {
    let open = open_files(config, home);
    for path in &open {
        let mode = fs::metadata(path)?.mode();
        fs::set_permissions(path, Permissions::from_mode(mode & 0o700))?;
    }
    Ok(open)
}

/// A directory with the sticky bit is shared by intent, and a link has no mode of its own.
fn open_files(config: &Config, home: &Home) -> Vec<PathBuf> {
    let mut paths = vec![home.dir().to_owned(), home.tokens_dir().to_owned()];
    let names = [
        "config.yaml",
        "config.yaml.bak",
        "dnsmesh.db",
        "dnsmesh.db-wal",
        "dnsmesh.db-shm",
    ];
    paths.extend(names.map(|name| home.dir().join(name)));
    let tokens = home.saved_tokens().unwrap_or_default();
    paths.extend(tokens.into_iter().map(|file| file.path));
    paths.extend(
        config
            .passphrase_file
            .as_ref()
            .map(|path| home.expand(path)),
    );
    paths.retain(|path| {
        fs::symlink_metadata(path).is_ok_and(|metadata| {
            let mode = metadata.mode();
            !metadata.is_symlink() && mode & 0o1000 == 0 && mode & 0o077 != 0
        })
    });
    paths
}

fn user_name(config: &Config) -> Option<Check> {
    let name = &config.username;
    if name.is_empty() {
        return Some(Check::fail(
            "user-name",
            "no user name",
            "the configuration has none, so nobody can write to you",
            "dnsmesh setup user@host",
        ));
    }
    if name.chars().any(|letter| letter.is_ascii_uppercase()) {
        return Some(Check::warn(
            "user-name",
            "user name has upper-case letters",
            format!(
                "`{name}`: others see no verified name for you, and registration writes it in lower case"
            ),
            format!(
                "dnsmesh config set username {}, then publish again and tell your contacts",
                name.to_ascii_lowercase()
            ),
        ));
    }
    dmp_core::address::validate_local_part(name)
        .err()
        .map(|error| {
            Check::warn(
                "user-name",
                "user name is not one that others take",
                format!("`{name}`: {error}"),
                "dnsmesh config set username NAME, then publish again",
            )
        })
}

fn zones(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if let (Ok(mesh), Ok(Some(identity))) = (config.mesh_zone(), config.identity_zone())
        && mesh != identity
    {
        checks.push(Check::warn(
            "identity-zone",
            "identity zone is not the mesh zone",
            format!("your address is under {identity}, your mailbox under {mesh}: clients that know one zone a contact look in the wrong one"),
            "dnsmesh config unset identity_domain, unless your contacts' clients know both",
        ));
    }
    let is_pinned =
        !config.cluster_base_domain.is_empty() && !config.cluster_operator_spk.is_empty();
    if is_pinned && !config.cluster_enabled {
        checks.push(Check::warn(
            "cluster",
            "cluster is pinned but not enabled",
            format!(
                "{} is not used; the mesh zone is {}",
                config.cluster_base_domain, config.domain
            ),
            "dnsmesh cluster enable, or dnsmesh config unset cluster_base_domain",
        ));
    }
    checks
}

fn credential(config: &Config, home: &Home, now: UnixTime) -> Option<Check> {
    let Some(credential) = Credential::of_home(config, home, now.as_secs()) else {
        return Some(Check::warn(
            "credential",
            "no credential",
            "writes are made without one; most nodes refuse that",
            "dnsmesh tsig register --node HOST",
        ));
    };
    let until = credential.expires_at.map(UnixTime::new);
    let kind = credential.kind.to_string();
    let check = match credential.life(now.as_secs()) {
        Life::Fine => Check::ok("credential", "credential lasts", kind),
        Life::Ending(_) => Check::warn(
            "credential",
            "credential expires soon",
            kind,
            credential.renewal(),
        ),
        Life::Ended(_) => Check::fail(
            "credential",
            "credential has expired",
            kind,
            credential.renewal(),
        ),
    };
    Some(check.until(until))
}
