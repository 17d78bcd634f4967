//! The settings that hold, each with where it comes from, and the settings of an environment file as TOML.
//!
//! Secrets are never shown: a setting may name their file.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::read::zone_chain;
use super::sync::{INTERVAL_NAMES, MANIFEST_NAMES};
use super::table::{self, Kind, SECRETS, SETTINGS, Setting};
use super::variables::{self, FOREIGN_DATABASES};
use super::{AuthMode, Config, ConfigError, Environment, Overrides};
use crate::store;

/// Where the secrets of a migrated environment go unless the operator says otherwise.
pub const SECRETS_DIRECTORY: &str = "/etc/dnsmesh";

/// One setting as it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The key, or the variable of what has none.
    pub key: &'static str,
    /// The value as TOML; `None` if there is none, or nobody may see it.
    pub value: Option<String>,
    /// Where it comes from: a variable, a place in the file, an option of the command line, another setting, or the default.
    pub origin: String,
}

/// An environment file as TOML.
#[derive(Debug)]
pub struct Migrated {
    /// The file to write.
    pub toml: String,
    /// Secrets that belong in files of their own: the file that `toml` names for each.
    pub secrets: Vec<Secret>,
    /// What could not be said in the file, or needs a look, one line each.
    pub notes: Vec<String>,
}

/// A secret with the file that is to hold it.
pub struct Secret {
    /// The variable it came in.
    pub variable: &'static str,
    /// The file that is to hold it.
    pub file: std::path::PathBuf,
    /// The text.
    pub text: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("variable", &self.variable)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Every setting as it holds.
    pub fn shown(&self) -> Vec<Shown> {
        let keyed = SETTINGS.iter().map(|setting| self.show(setting));
        let others = table::WITHOUT_KEY.iter().filter_map(|(variable, _)| {
            Some(Shown {
                key: variable,
                value: (!SECRETS.contains(variable)).then(|| quoted(self.given.told(variable, ""))),
                origin: self.given.origin(variable)?.to_owned(),
            })
        });
        keyed.chain(others).collect()
    }

    fn show(&self, setting: &Setting) -> Shown {
        let given = self.given.origin(setting.variable);
        let text = self.given.told(setting.variable, setting.default_text());
        // What follows from others when it is not set, and the zone, which older names override.
        let (text, follows) = match setting.key {
            "zone" => {
                let zone = self.zone.as_ref().map(ToString::to_string);
                let winner = zone_chain(&self.given)
                    .into_iter()
                    .find_map(|variable| self.given.origin(variable).map(|from| (variable, from)));
                let from = match winner {
                    Some(("DMP_DOMAIN", from)) => from.to_owned(),
                    Some((other, _)) => other.to_owned(),
                    None => "hostname".to_owned(),
                };
                (zone.unwrap_or_default(), Some(from))
            }
            "database" => (self.database.path.display().to_string(), None),
            "dns.host" => (self.dns.host.to_string(), None),
            "http.host" => (
                self.http.host.to_string(),
                Some("http.auth_mode".to_owned()),
            ),
            "http.auth_mode" => {
                let mode = match self.http.auth {
                    AuthMode::Open => "open",
                    AuthMode::Legacy => "legacy",
                    AuthMode::MultiTenant => "multi-tenant",
                };
                (mode.to_owned(), Some("the operator's token".to_owned()))
            }
            _ => (text.to_owned(), None),
        };
        let is_zone = setting.key == "zone";
        let origin = match (given, follows) {
            (_, Some(follows)) if is_zone && !text.is_empty() => follows,
            (Some(given), _) => given.to_owned(),
            (None, Some(follows)) if !is_zone => format!("follows from {follows}"),
            (None, _) => "default".to_owned(),
        };
        Shown {
            key: setting.key,
            value: (!text.is_empty() || setting.kind == Kind::List)
                .then(|| as_toml(setting, &text)),
            origin,
        }
    }
}

/// The settings of an environment file as a TOML file that says the same, secrets in files under `secrets`.
///
/// # Errors
/// The file cannot be understood, or a node would not start with it.
pub fn migrate(environment_file: &str, secrets: &Path) -> Result<Migrated, ConfigError> {
    let environment = parse(environment_file)?;
    let config = Config::read(&environment, &Overrides::default())?;
    let mut migrated = Migrated {
        toml: String::from("# Made from an environment file by `dnsmesh node config migrate`.\n"),
        secrets: Vec::new(),
        notes: config.warnings.clone(),
    };
    let mut section = "";
    for setting in SETTINGS {
        let Some(value) = value(
            setting,
            &config,
            &environment,
            secrets,
            &mut migrated.secrets,
        )?
        else {
            continue;
        };
        let (table, key) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if table != section {
            section = table;
            // Writing to a String cannot fail.
            let _ = write!(migrated.toml, "\n[{table}]\n");
        }
        let _ = writeln!(migrated.toml, "{key} = {value}");
    }
    let strangers = environment
        .names()
        .filter(|name| variables::known().all(|known| known != *name));
    let strangers = strangers.map(|name| format!("{name} is not a setting of the node"));
    migrated.notes.extend(strangers);
    let databases = FOREIGN_DATABASES.iter().chain(&["DMP_DB_PATH"]);
    for variable in databases {
        if let Some(path) = environment.text(variable)?
            && is_foreign(Path::new(path))
        {
            migrated.notes.push(format!(
                "{variable}: {path} is a database of the reference node: set `database` to another file, and take this one over with \
                 `dnsmesh node import {path}`"
            ));
        }
    }
    Ok(migrated)
}

/// What the file says for a setting, as TOML.
fn value(
    setting: &Setting,
    config: &Config,
    environment: &Environment,
    directory: &Path,
    secrets: &mut Vec<Secret>,
) -> Result<Option<String>, ConfigError> {
    let mut secret = |variables: &[&'static str], name: &str| -> Result<_, ConfigError> {
        if environment.is_set(setting.variable) {
            return Ok(environment.text(setting.variable)?.map(quoted));
        }
        for variable in variables {
            if let Some(text) = environment.text(variable)? {
                let file = directory.join(name);
                let value = quoted(&file.display().to_string());
                secrets.push(Secret {
                    variable,
                    file,
                    text: text.to_owned().into(),
                });
                return Ok(Some(value));
            }
        }
        Ok(None)
    };
    match setting.key {
        "http.operator_token_file" => {
            secret(&["DMP_OPERATOR_TOKEN", "DMP_HTTP_TOKEN"], "operator-token")
        }
        "dns.cookie_secret_file" => secret(&["DMP_DNS_COOKIE_SECRET"], "cookie-secret"),
        "sync.peer_token_file" => secret(&["DMP_SYNC_PEER_TOKEN"], "peer-token"),
        "cluster.manifest_file" | "sync.interval" => {
            let [name, alias] = match setting.key {
                "sync.interval" => INTERVAL_NAMES,
                _ => MANIFEST_NAMES,
            };
            let text = environment.text(name)?.or(environment.text(alias)?);
            Ok(text.map(|text| as_toml(setting, text)))
        }
        "zone" => {
            let is_named = zone_chain(environment)
                .into_iter()
                .any(|variable| environment.is_set(variable));
            let zone = config.zone.as_ref().filter(|_| is_named);
            Ok(zone.map(|zone| quoted(&zone.to_string())))
        }
        _ => Ok(environment
            .text(setting.variable)?
            .map(|text| as_toml(setting, text))),
    }
}

/// Whether a file is a database that this node did not make.
fn is_foreign(path: &Path) -> bool {
    let mut header = Vec::new();
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut header));
    read.is_ok() && header.starts_with(b"SQLite format 3\0") && !store::is_ours(&header)
}

/// Lines of `NAME=value` as a service manager or a shell reads them: comments, quotes around a value, `export` before a name.
fn parse(text: &str) -> Result<Environment, ConfigError> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let wrong = |reason: &str| ConfigError::new(&format!("line {}", number + 1), reason);
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| wrong("is not of the form NAME=value"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong("has no name before the ="));
        }
        let value = match value
            .chars()
            .next()
            .filter(|quote| matches!(quote, '"' | '\''))
        {
            None => value,
            Some(quote) => value
                .strip_prefix(quote)
                .and_then(|rest| rest.strip_suffix(quote))
                .ok_or_else(|| wrong("has a quote that does not end"))?,
        };
        pairs.push((name, value));
    }
    Ok(Environment::from_pairs(pairs))
}

/// A value that has been read without an error, in the form of its kind.
fn as_toml(setting: &Setting, text: &str) -> String {
    match setting.kind {
        Kind::Text => quoted(text),
        Kind::Integer => text.to_owned(),
        Kind::Number => {
            let number = text.parse::<f64>().unwrap_or_default();
            format!("{number:?}")
        }
        Kind::Switch => {
            let is_on = ["1", "true", "yes", "on"].contains(&text.to_ascii_lowercase().as_str());
            is_on.to_string()
        }
        Kind::List => {
            let items = text.split(',').map(|item| item.trim().trim_matches('"'));
            let items = items.filter(|item| !item.is_empty()).map(quoted);
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
