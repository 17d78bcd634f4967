//! Reads typed settings out of `DMP_*` variables and says, in one line, which one is wrong and why.
//!
//! It knows no default and no meaning: those stand in the parent module. It reads no process state except in
//! [`Environment::of_process`], and no file except those with secrets.

use super::file::ConfigFile;
use super::{Overrides, table};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use zeroize::{Zeroize, Zeroizing};

/// Secrets, the older name of each or itself, and the variable that names a file to read it from.
const SECRET_FILES: [(&str, &str, &str); 3] = [
    (
        "DMP_OPERATOR_TOKEN",
        "DMP_HTTP_TOKEN",
        "DMP_OPERATOR_TOKEN_FILE",
    ),
    (
        "DMP_DNS_COOKIE_SECRET",
        "DMP_DNS_COOKIE_SECRET",
        "DMP_DNS_COOKIE_SECRET_FILE",
    ),
    (
        "DMP_SYNC_PEER_TOKEN",
        "DMP_SYNC_PEER_TOKEN",
        "DMP_SYNC_PEER_TOKEN_FILE",
    ),
];

/// A setting that stops the start: the variable and what is wrong with it, on one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct ConfigError {
    /// The variable to change, or the file and its key.
    pub variable: String,
    /// What is wrong and what would be right. Never holds the value of a secret.
    pub reason: String,
}

impl ConfigError {
    pub(crate) fn new(variable: &str, reason: impl Into<String>) -> Self {
        Self {
            variable: variable.to_owned(),
            reason: reason.into(),
        }
    }
}

/// The variables a node is configured by. An empty or blank value counts as unset (node.md 7).
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, Result<String, NotUtf8>>,
    /// Where the values came from that no variable gave: variable and place in the file.
    places: BTreeMap<String, String>,
}

/// A variable of the process whose value is no text.
#[derive(Clone)]
struct NotUtf8;

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self::from_os(std::env::vars_os())
    }

    /// Variables given as pairs of text; a later pair replaces an earlier one of the same name.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            environment.insert(name.into(), Ok(value.into()));
        }
        environment
    }

    /// These variables, and for each that is unset what the file says. A secret is read from the file that is named for it, unless
    /// a variable holds the secret.
    pub fn with_file(mut self, file: Option<&ConfigFile>) -> Result<Self, ConfigError> {
        for (file, (variable, key, value)) in file
            .iter()
            .flat_map(|file| file.values().iter().map(move |value| (file, value)))
        {
            if !self.is_set(variable) {
                self.insert((*variable).to_owned(), Ok(value.clone()));
                self.places.insert((*variable).to_owned(), file.place(key));
            }
        }
        for (secret, older, named_by) in SECRET_FILES {
            let Some(path) = self.text(named_by)?.map(str::to_owned) else {
                continue;
            };
            let wrong = |reason: String| self.locate(ConfigError::new(named_by, reason));
            let read = std::fs::read_to_string(&path);
            let text = Zeroizing::new(read.map_err(|error| wrong(format!("{path}: {error}")))?);
            let text = text.trim();
            if text.is_empty() || text.contains(char::is_control) {
                return Err(wrong(format!("{path} does not hold one line of text")));
            }
            if !self.is_set(secret) && !self.is_set(older) {
                self.places.insert(secret.to_owned(), path);
                self.insert(secret.to_owned(), Ok(text.to_owned()));
            }
        }
        Ok(self)
    }

    /// The same with digests in the place of secrets.
    pub(super) fn redacted(&self) -> Self {
        let mut redacted = self.clone();
        for secret in table::SECRETS {
            if let Some(Ok(value)) = redacted.values.get_mut(*secret) {
                let digest = hex::encode(Sha256::digest(value.trim()));
                value.zeroize();
                *value = digest;
            }
        }
        redacted
    }

    /// The same with what the command line sets in the place of what it overrides.
    pub(super) fn overridden(mut self, overrides: &Overrides) -> Self {
        let path = overrides.db_path.as_ref();
        let path = path.map(|path| path.display().to_string());
        for (variable, flag, value) in [
            ("DMP_DB_PATH", "--db-path", path),
            (
                "DMP_DNS_PORT",
                "--dns-port",
                overrides.dns_port.map(|port| port.to_string()),
            ),
            (
                "DMP_HTTP_PORT",
                "--http-port",
                overrides.http_port.map(|port| port.to_string()),
            ),
        ] {
            if let Some(value) = value {
                self.places.insert(variable.to_owned(), flag.to_owned());
                self.insert(variable.to_owned(), Ok(value));
            }
        }
        self
    }

    /// What holds for the variable: its value without blanks around it, else the default.
    pub(super) fn told<'a>(&'a self, variable: &str, default: &'a str) -> &'a str {
        match self.values.get(variable) {
            Some(Ok(value)) => value.trim(),
            // Never of settings that were read without an error.
            Some(Err(NotUtf8)) => "",
            None => default,
        }
    }

    /// Where the value comes from, unless it is the default.
    pub(super) fn origin(&self, variable: &str) -> Option<&str> {
        let place = self.places.get(variable).map(String::as_str);
        self.is_set(variable)
            .then_some(place.unwrap_or("environment"))
    }

    /// Takes the value of a variable from another environment.
    pub(super) fn copy(&mut self, variable: &str, from: &Self) {
        self.values.remove(variable);
        self.places.remove(variable);
        if let Some(value) = from.values.get(variable) {
            self.values.insert(variable.to_owned(), value.clone());
        }
        if let Some(place) = from.places.get(variable) {
            self.places.insert(variable.to_owned(), place.clone());
        }
    }

    /// The error with the key of the file in the place of the variable, if that is where the value stands.
    pub(crate) fn locate(&self, error: ConfigError) -> ConfigError {
        match self.places.get(&error.variable) {
            Some(place) => ConfigError::new(place, error.reason),
            None => error,
        }
    }

    fn from_os(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            let Ok(name) = name.into_string() else {
                continue;
            };
            environment.insert(name, value.into_string().map_err(|_| NotUtf8));
        }
        environment
    }

    fn insert(&mut self, name: String, value: Result<String, NotUtf8>) {
        match &value {
            Ok(text) if text.trim().is_empty() => self.values.remove(&name),
            _ => self.values.insert(name, value),
        };
    }

    /// Names of all variables that have a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether no variable has said it, but the file, the command line, or a file of a secret.
    pub(super) fn is_from_file(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The value as it stands, untrimmed.
    pub(crate) fn verbatim(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(NotUtf8)) => Err(ConfigError::new(name, "the value is not UTF-8 text")),
        }
    }

    /// The value without blanks around it.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        Ok(self.verbatim(name)?.map(str::trim))
    }

    /// A value that its type parses; `expected` completes "must be …".
    pub(crate) fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(must_be(name, expected, text)),
        }
    }

    /// A whole number inside `range`.
    pub(crate) fn integer<T: TryFrom<i64>>(
        &self,
        name: &str,
        default: T,
        range: RangeInclusive<i64>,
    ) -> Result<T, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        let value = text.parse().ok().filter(|value| range.contains(value));
        let value = value.and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| must_be(name, &describe(&range), text))
    }

    /// A finite number of any sign.
    pub(crate) fn number(&self, name: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(must_be(name, "a number", text)),
        }
    }

    /// A switch: `1 true yes on` or `0 false no off`, case-insensitive; `None` when unset.
    pub(crate) fn switch(&self, name: &str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(Some(true)),
            "0" | "false" | "no" | "off" => Ok(Some(false)),
            _ => Err(must_be(name, "1, true, yes, on, 0, false, no or off", text)),
        }
    }

    /// The non-empty items of a comma list, trimmed.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<&str>, ConfigError> {
        let items = self.text(name)?.unwrap_or_default().split(',');
        Ok(items
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect())
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        for value in self.values.values_mut().flatten() {
            value.zeroize();
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)")
    }
}

/// The error for a value of the wrong kind.
pub(crate) fn must_be(name: &str, expected: &str, found: &str) -> ConfigError {
    ConfigError::new(name, format!("must be {expected}, not {found:?}"))
}

fn describe(range: &RangeInclusive<i64>) -> String {
    match (*range.start(), *range.end()) {
        (i64::MIN, i64::MAX) => "a whole number".to_owned(),
        (start, i64::MAX) => format!("a whole number, {start} or more"),
        (start, end) => format!("a whole number from {start} to {end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_an_error_naming_its_variable() {
        use std::os::unix::ffi::OsStringExt;
        let pair = ("DMP_DNS_TTL".into(), OsString::from_vec(vec![0xff]));
        let environment = Environment::from_os([pair]);
        let error = environment.integer("DMP_DNS_TTL", 60, 1..=9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "DMP_DNS_TTL: the value is not UTF-8 text"
        );
    }

    #[test]
    fn an_empty_value_is_unset_and_so_replaces_an_earlier_one() {
        let environment =
            Environment::from_pairs([("A", "x"), ("A", ""), ("B", "  "), ("C", " c ")]);
        assert_eq!(environment.names().collect::<Vec<_>>(), ["C"]);
        assert_eq!(environment.text("C").unwrap(), Some("c"));
    }
}
