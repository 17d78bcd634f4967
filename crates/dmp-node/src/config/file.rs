//! The TOML file: read, its keys matched with the table of settings, its values turned into the text that a variable would hold.
//!
//! Whether a value makes sense is decided where variables are read, so that both ways have one meaning.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Value;

use super::ConfigError;
use super::table::{Kind, SETTINGS, Setting};
use super::variables::edit_distance;

/// Where the file is when `--config` names none.
pub const DEFAULT_FILE: &str = "/etc/dnsmesh/node.toml";

/// The settings of one file.
#[derive(Debug, Default)]
pub struct ConfigFile {
    path: PathBuf,
    /// Variable, key and value.
    values: Vec<(&'static str, &'static str, String)>,
}

impl ConfigFile {
    /// Reads the file; the first thing wrong with it is the error.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::new(&path.display().to_string(), error.to_string()))?;
        Self::parse(path, &text)
    }

    /// The file at [`DEFAULT_FILE`], if there is one.
    pub fn read_default() -> Result<Option<Self>, ConfigError> {
        match fs::metadata(DEFAULT_FILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => Self::read(Path::new(DEFAULT_FILE)).map(Some),
        }
    }

    /// [`ConfigFile::read`] of a text; the path is for errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            let place = format!("{} line {line}", path.display());
            ConfigError::new(&place, error.message().replace('\n', " "))
        })?;
        let mut file = Self {
            path: path.into(),
            values: Vec::new(),
        };
        file.take("", &table)?;
        Ok(file)
    }

    pub(super) fn values(&self) -> &[(&'static str, &'static str, String)] {
        &self.values
    }

    /// A key as errors name it.
    pub(super) fn place(&self, key: &str) -> String {
        format!("{}: {key}", self.path.display())
    }

    fn take(&mut self, above: &str, table: &toml::Table) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if above.is_empty() {
                name.clone()
            } else {
                format!("{above}.{name}")
            };
            let is_table = SETTINGS.iter().any(|setting| {
                setting
                    .key
                    .strip_prefix(&*key)
                    .is_some_and(|rest| rest.starts_with('.'))
            });
            match (SETTINGS.iter().find(|setting| setting.key == key), value) {
                (Some(setting), value) => {
                    let text =
                        text(setting, value).ok_or_else(|| self.wrong_type(setting, value))?;
                    self.values.push((setting.variable, setting.key, text));
                }
                (None, Value::Table(table)) if is_table => self.take(&key, table)?,
                (None, _) => return Err(self.unknown(&key)),
            }
        }
        Ok(())
    }

    fn unknown(&self, key: &str) -> ConfigError {
        let nearest = SETTINGS
            .iter()
            .map(|setting| (distance(setting.key, key), setting.key))
            .min();
        let advice = match nearest {
            Some((distance, nearest)) if distance <= 3 => format!("; did you mean {nearest}?"),
            _ => "; `dnsmesh node config` lists all".to_owned(),
        };
        ConfigError::new(&self.place(key), format!("is not a setting{advice}"))
    }

    fn wrong_type(&self, setting: &Setting, value: &Value) -> ConfigError {
        let expected = match setting.kind {
            Kind::Text => "text in quotes",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Switch => "true or false",
            Kind::List => "a list of texts",
        };
        let found = value.type_str();
        ConfigError::new(
            &self.place(setting.key),
            format!("must be {expected}, not of type {found}"),
        )
    }
}

/// Letters apart; a key in the wrong table is as near as its own name.
fn distance(known: &str, written: &str) -> usize {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = edit_distance(known, written);
    if last(known) == last(written) {
        whole.min(1)
    } else {
        whole
    }
}

/// The value as a variable would hold it; `None` if it is of the wrong type.
fn text(setting: &Setting, value: &Value) -> Option<String> {
    match (setting.kind, value) {
        (Kind::Text, Value::String(text)) => Some(text.clone()),
        (Kind::Integer | Kind::Number, Value::Integer(number)) => Some(number.to_string()),
        (Kind::Number, Value::Float(number)) => Some(number.to_string()),
        (Kind::Switch, Value::Boolean(on)) => Some(on.to_string()),
        (Kind::List, Value::Array(items)) => {
            let items: Option<Vec<&str>> = items
                .iter()
                // A comma would make two items of one.
                .map(|item| item.as_str().filter(|text| !text.contains(',')))
                .collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}
