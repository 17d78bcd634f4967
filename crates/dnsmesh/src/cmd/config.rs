//! `config get|set|unset|list|path` (cli.md 11, L3): the keys of `config.yaml` one at a time, checked as when they are used.
//!
//! Needs no passphrase. What it does not know in the file stays as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use dmp_client::config::{Config, Key, UnknownKey, YamlValue};
use dmp_net::SystemFallback;
use serde::Serialize;

use super::Outcome;
use crate::args::config::SettingCommand;
use crate::context::{Context, Environment};
use crate::exit::Failure;
use crate::prompt;
use crate::report::{Report, line};
use crate::screen;

/// Shown in place of a secret.
const MASK: &str = "********";
/// The value that means standard input.
const STANDARD_INPUT: &str = "-";

/// Does one of the five.
pub(crate) fn perform(context: &Context, command: SettingCommand) -> Outcome {
    match command {
        SettingCommand::Path => Ok(Box::new(Place(context.home.config_path()))),
        SettingCommand::Get { key, show_secrets } => {
            let key = Key::parse(&key)?;
            let file = File::read(context)?;
            Ok(Box::new(One(file.setting(key, Secrets::of(show_secrets)))))
        }
        SettingCommand::List {
            origin,
            show_secrets,
        } => {
            let file = File::read(context)?;
            let secrets = Secrets::of(show_secrets);
            let mut settings: Vec<_> = Key::all().map(|key| file.setting(key, secrets)).collect();
            settings.extend(file.unknown(secrets));
            let surroundings = if origin {
                surroundings(context)
            } else {
                Vec::new()
            };
            Ok(Box::new(Listed {
                settings,
                surroundings,
                origin,
            }))
        }
        SettingCommand::Set { key, value } => {
            let value = if value == STANDARD_INPUT {
                prompt::line("").map_err(|error| Failure::user("config-input", error))?
            } else {
                value
            };
            change(context, &key, |config, key| config.set(key, &value))
        }
        SettingCommand::Unset { key } => change(context, &key, |config, key| {
            config.unset(key);
            Ok(())
        }),
    }
}

/// Changes one key of the file as it stands now, if the outcome can be used.
fn change(
    context: &Context,
    key: &str,
    change: impl Fn(&mut Config, Key) -> Result<(), dmp_client::config::ConfigError>,
) -> Outcome {
    let key = Key::parse(key)?;
    let mut trial = context.config()?;
    let salt = trial.kdf_salt.clone();
    change(&mut trial, key)?;
    // The same change to the file as it stands under the lock; it was seen to work.
    context.home.update_config(|config| {
        let _ = change(config, key);
    })?;
    if trial.kdf_salt != salt {
        context.format.note(
            "warning: another salt makes another identity; the file as it was is kept as config.yaml.bak",
        );
    }
    let file = File::read(context)?;
    Ok(Box::new(Changed(file.setting(key, Secrets::Masked))))
}

impl From<UnknownKey> for Failure {
    fn from(error: UnknownKey) -> Self {
        Self::user("config-unknown-key", error).hint("`dnsmesh config list` shows all keys")
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl Origin {
    const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

/// What flags and environment decide, which is nothing of the file (cli.md 1.1).
fn surroundings(context: &Context) -> Vec<(&'static str, String, Origin)> {
    let Environment {
        locations, connect, ..
    } = &context.environment;
    let origin = |has_flag: bool, has_variable: bool| match (has_flag, has_variable) {
        (true, _) => Origin::Flag,
        (false, true) => Origin::Environment,
        (false, false) => Origin::Default,
    };
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let passphrase = if is_set("DMP_PASSPHRASE") {
        ("set", Origin::Environment)
    } else {
        ("from passphrase_file, else asked for", Origin::Default)
    };
    vec![
        (
            "config-home",
            context.home.dir().display().to_string(),
            origin(locations.config_flag.is_some(), is_set("DMP_CONFIG_HOME")),
        ),
        (
            "tokens-home",
            context.home.tokens_dir().display().to_string(),
            match (&locations.tokens_flag, is_set("DMP_TOKENS_HOME")) {
                (None, true) => Origin::Environment,
                _ => origin(
                    locations.tokens_flag.is_some() || locations.config_flag.is_some(),
                    false,
                ),
            },
        ),
        ("passphrase", passphrase.0.to_owned(), passphrase.1),
        (
            "provider-dns-port",
            connect.provider_dns_port.to_string(),
            origin(false, is_set("DMP_PROVIDER_DNS_PORT")),
        ),
        (
            "system-dns-fallback",
            (connect.system_fallback == SystemFallback::Allowed).to_string(),
            origin(false, is_set("DMP_ALLOW_SYSTEM_DNS_FALLBACK")),
        ),
    ]
}

/// Whether secrets are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrets {
    Masked,
    Shown,
}

impl Secrets {
    const fn of(show: bool) -> Self {
        if show { Self::Shown } else { Self::Masked }
    }
}

/// The file, with the names of the keys that stand in it.
struct File {
    config: Config,
    present: BTreeSet<String>,
}

impl File {
    fn read(context: &Context) -> Result<Self, Failure> {
        let config = context.config()?;
        // It was readable a moment ago; who changed it since gets "default" for an origin.
        let text = fs::read_to_string(context.home.config_path()).unwrap_or_default();
        let present = Config::keys_in(&text).unwrap_or_default();
        Ok(Self { config, present })
    }

    fn setting(&self, key: Key, secrets: Secrets) -> Setting {
        let origin = if self.present.contains(key.name()) {
            Origin::File
        } else {
            Origin::Default
        };
        let value = self.config.value(key);
        Setting::new(key.name(), value, origin, key.is_secret(), secrets)
    }

    /// What a later version or somebody else put there. It may be a secret.
    fn unknown(&self, secrets: Secrets) -> impl Iterator<Item = Setting> {
        self.config.unknown.iter().map(move |(name, value)| {
            Setting::new(name, value.clone(), Origin::File, true, secrets)
        })
    }
}

/// One key with its value.
#[derive(Serialize)]
struct Setting {
    key: String,
    value: Option<YamlValue>,
    origin: Origin,
    masked: bool,
}

impl Setting {
    fn new(key: &str, value: YamlValue, origin: Origin, is_secret: bool, secrets: Secrets) -> Self {
        let is_empty = matches!(&value, YamlValue::Null) || value.as_str() == Some("");
        let masked = is_secret && secrets == Secrets::Masked && !is_empty;
        Self {
            key: key.to_owned(),
            value: (!masked).then_some(value),
            origin,
            masked,
        }
    }

    /// As `config set` takes it: lists with commas.
    fn text(&self) -> String {
        let Some(value) = &self.value else {
            return MASK.to_owned();
        };
        let text = match value {
            YamlValue::Sequence(items) => items.iter().map(scalar).collect::<Vec<_>>().join(","),
            value => scalar(value),
        };
        screen::line(&text).into_owned()
    }
}

fn scalar(value: &YamlValue) -> String {
    match value {
        YamlValue::Null => String::new(),
        YamlValue::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

struct One(Setting);

impl Report for One {
    fn text(&self) -> String {
        self.0.text() + "\n"
    }

    fn json(&self) -> String {
        line("dmp.setting/1", &self.0)
    }
}

struct Changed(Setting);

impl Report for Changed {
    fn text(&self) -> String {
        format!("{}: {}\n", self.0.key, self.0.text())
    }

    fn json(&self) -> String {
        line("dmp.setting/1", &self.0)
    }
}

struct Listed {
    settings: Vec<Setting>,
    /// What flags and environment decide beside the file.
    surroundings: Vec<(&'static str, String, Origin)>,
    origin: bool,
}

impl Report for Listed {
    fn text(&self) -> String {
        let surroundings = self
            .surroundings
            .iter()
            .map(|(name, value, origin)| (*name, screen::line(value).into_owned(), *origin));
        let settings = self
            .settings
            .iter()
            .map(|setting| (setting.key.as_str(), setting.text(), setting.origin));
        surroundings
            .chain(settings)
            .map(|(name, value, origin)| {
                let origin = if self.origin {
                    format!("{:<12} ", origin.name())
                } else {
                    String::new()
                };
                format!("{origin}{name}: {value}").trim_end().to_owned() + "\n"
            })
            .collect()
    }

    fn json(&self) -> String {
        let surroundings = self.surroundings.iter().map(|(name, value, origin)| {
            let setting = Setting {
                key: (*name).to_owned(),
                value: Some(YamlValue::String(value.clone())),
                origin: *origin,
                masked: false,
            };
            line("dmp.setting/1", &setting)
        });
        let settings = self
            .settings
            .iter()
            .map(|setting| line("dmp.setting/1", setting));
        surroundings.chain(settings).collect()
    }
}

struct Place(PathBuf);

impl Report for Place {
    fn text(&self) -> String {
        format!("{}\n", self.0.display())
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            path: &'a std::path::Path,
        }
        line("dmp.config-path/1", &Members { path: &self.0 })
    }
}
