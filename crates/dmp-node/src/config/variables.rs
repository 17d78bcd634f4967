//! Which variables the node knows, and the checks of those whose feature this version does not have.
//!
//! What the others are stands in `table`.

use super::environment::{ConfigError, Environment, must_be};
use super::table;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Files the reference keeps beside its record database; everything of ours is in the file of `DMP_DB_PATH`.
pub(crate) const FOREIGN_DATABASES: &[&str] = &[
    "DMP_TOKEN_DB_PATH",
    "DMP_TSIG_DB_PATH",
    "DMP_HEARTBEAT_DB_PATH",
];

/// What a value of a variable without a feature has to look like.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Switch,
    /// A whole number of at least this.
    Integer(i64),
    Number,
    /// An interval in seconds, more than 0.
    Interval,
    /// Comma list of resolver addresses, each with an optional port.
    Resolvers,
    /// 64 hex digits.
    PublicKey,
}

/// Variables that are checked and then have no effect in this version (federation.md 2, 4).
const WITHOUT_EFFECT: &[(&str, Kind)] = &[
    ("DMP_CLUSTER_FILE", Kind::Text),
    ("DMP_CLUSTER_MANIFEST_PATH", Kind::Text),
    ("DMP_NODE_ID", Kind::Text),
    ("DMP_SYNC_PEERS", Kind::Text),
    ("DMP_SYNC_PEER_TOKEN", Kind::Text),
    ("DMP_SYNC_INTERVAL", Kind::Interval),
    ("DMP_SYNC_INTERVAL_SECONDS", Kind::Interval),
    ("DMP_SYNC_OPERATOR_SPK", Kind::PublicKey),
    ("DMP_SYNC_SELF_ENDPOINT", Kind::Text),
    ("DMP_HEARTBEAT_ENABLED", Kind::Switch),
    ("DMP_HEARTBEAT_SELF_ENDPOINT", Kind::Text),
    ("DMP_HEARTBEAT_OPERATOR_KEY_PATH", Kind::Text),
    ("DMP_HEARTBEAT_SEEDS", Kind::Text),
    ("DMP_HEARTBEAT_INTERVAL_SECONDS", Kind::Interval),
    ("DMP_HEARTBEAT_TTL_SECONDS", Kind::Integer(1)),
    ("DMP_HEARTBEAT_MAX_PEERS", Kind::Integer(0)),
    ("DMP_HEARTBEAT_VERSION", Kind::Text),
    ("DMP_HEARTBEAT_RETENTION_HOURS", Kind::Number),
    ("DMP_HEARTBEAT_SEEN_MAX_ROWS", Kind::Integer(0)),
    ("DMP_HEARTBEAT_DNS_RESOLVERS", Kind::Resolvers),
    ("DMP_HEARTBEAT_DNSSEC_REQUIRED", Kind::Switch),
    ("DMP_HEARTBEAT_SUBMIT_RATE_PER_SEC", Kind::Number),
    ("DMP_HEARTBEAT_SUBMIT_BURST", Kind::Number),
    ("DMP_HEARTBEAT_SEEN_RATE_PER_SEC", Kind::Number),
    ("DMP_HEARTBEAT_SEEN_BURST", Kind::Number),
    ("DMP_HEARTBEAT_PUBLIC_SEED_URLS", Kind::Text),
    ("DMP_HEARTBEAT_PUBLIC_SEED_URLS_DISABLED", Kind::Switch),
];

/// Every variable of the node.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    let without_effect = WITHOUT_EFFECT.iter().map(|(name, _)| *name);
    let settings = table::SETTINGS.iter().map(|setting| setting.variable);
    let others = table::WITHOUT_KEY.iter().map(|(variable, _)| *variable);
    let others = others.chain(FOREIGN_DATABASES.iter().copied());
    settings.chain(others).chain(without_effect)
}

/// Checks the variables without a feature; one warning for each that asks for something.
pub(crate) fn check_without_effect(environment: &Environment) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (name, kind) in WITHOUT_EFFECT {
        if environment.is_set(name) && asks_for_something(environment, name, *kind)? {
            warnings.push(format!(
                "{name} has no effect: this version does not federate"
            ));
        }
    }
    Ok(warnings)
}

/// One warning for each set variable that is within two letters of a known one and so is probably a misspelling.
///
/// Others are left alone: a client's and an installer's variables share the prefix.
pub(crate) fn warn_of_misspellings(environment: &Environment) -> Vec<String> {
    let strangers = environment
        .names()
        .filter(|name| name.starts_with("DMP_") && known().all(|known| known != *name));
    strangers
        .filter_map(|name| {
            let near = known().find(|known| edit_distance(known, name) <= 2)?;
            Some(format!("{name} is not a setting; did you mean {near}?"))
        })
        .collect()
}

/// Whether the value asks for something this version cannot do; an error if it is no value at all.
fn asks_for_something(
    environment: &Environment,
    name: &str,
    kind: Kind,
) -> Result<bool, ConfigError> {
    match kind {
        Kind::Switch => return Ok(environment.switch(name)? == Some(true)),
        Kind::Text => drop(environment.text(name)?),
        Kind::Integer(least) => drop(environment.integer(name, least, least..=i64::MAX)?),
        Kind::Number => drop(environment.number(name, 0.0)?),
        Kind::Interval => drop(interval(environment, name, 1.0)?),
        Kind::Resolvers => check_resolvers(environment, name)?,
        Kind::PublicKey => {
            let text = environment.text(name)?.unwrap_or_default();
            if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(must_be(name, "64 hex digits", text));
            }
        }
    }
    Ok(true)
}

fn check_resolvers(environment: &Environment, name: &str) -> Result<(), ConfigError> {
    for item in environment.list(name)? {
        if item.parse::<IpAddr>().is_err() && item.parse::<SocketAddr>().is_err() {
            return Err(must_be(name, "IP addresses with an optional port", item));
        }
    }
    Ok(())
}

/// A number of seconds greater than 0.
pub(crate) fn interval(
    environment: &Environment,
    name: &str,
    default: f64,
) -> Result<Duration, ConfigError> {
    let seconds = environment.number(name, default)?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(interval) if !interval.is_zero() => Ok(interval),
        _ => {
            let found = environment.text(name)?.unwrap_or_default();
            Err(must_be(name, "a number of seconds greater than 0", found))
        }
    }
}

/// Letters to insert, delete or replace to get from one name to the other (Levenshtein).
pub(crate) fn edit_distance(from: &str, to: &str) -> usize {
    let to = to.as_bytes();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, left) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in to.iter().enumerate() {
            let replace = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_told_and_a_foreign_one_is_not() {
        let environment = Environment::from_pairs([
            ("DMP_OPERATOR_TOKE", "secret"),
            ("DMP_PASSPHRASE", "secret"),
            ("DMP_DOMAIN", "a.example"),
        ]);
        assert_eq!(
            warn_of_misspellings(&environment),
            ["DMP_OPERATOR_TOKE is not a setting; did you mean DMP_OPERATOR_TOKEN?"]
        );
    }

    #[test]
    fn names_are_listed_once() {
        let mut names: Vec<_> = known().collect();
        let total = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), total);
    }

    #[test]
    fn the_edit_distance_counts_letters() {
        assert_eq!(edit_distance("abc", "abc"), 0);
        assert_eq!(edit_distance("abc", "adc"), 1);
        assert_eq!(edit_distance("abc", "xabcd"), 2);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
